use super::*;
use crate::port::Lookup;

fn parse(text: &str) -> BackendUri {
    BackendUri::parse(text).unwrap()
}

#[test]
fn the_parts_are_told_apart() {
    let uri = parse("aws:eu-central-1/storefront?profile=ops&optional");
    assert_eq!(uri.scheme(), "aws");
    assert_eq!(uri.authority(), None);
    assert_eq!(uri.path(), Some("eu-central-1/storefront"));
    assert_eq!(uri.option("profile"), Some("ops"));
    assert_eq!(uri.option("optional"), Some("true"));
    assert_eq!(uri.option("none"), None);
    assert_eq!(uri.unknown_option(&["profile"]), Some("optional"));

    let uri = parse("vault://ns@vault.example:8200/secret/app");
    assert_eq!(uri.authority(), Some("ns@vault.example:8200"));
    assert_eq!(uri.path(), Some("secret/app"));
    assert_eq!(parse("vault://host/").path(), Some(""));
    assert_eq!(parse("vault://host").path(), None);
    assert_eq!(parse("env").path(), None);
    assert_eq!(parse("env:").path(), None);
    assert_eq!(parse("dotenv:config/.env").path(), Some("config/.env"));
    assert_eq!(parse("dotenv:/etc/app.env").path(), Some("/etc/app.env"));
}

#[test]
fn what_was_parsed_is_shown_as_written() {
    for text in [
        "aws:eu-central-1/storefront?profile=ops",
        "vault://host:8200/secret",
        "env",
        "dotenv:.env?migrate=store&optional=true",
    ] {
        assert_eq!(parse(text).to_string(), text);
    }
    let uri = parse("aws:eu-central-1?optional=true&profile=ops");
    assert_eq!(
        uri.without(&["optional"]).to_string(),
        "aws:eu-central-1?profile=ops"
    );
}

#[test]
fn escapes_are_undone() {
    assert_eq!(parse("dotenv:a%20b%3f.env").path(), Some("a b?.env"));
    for text in [
        "dotenv:a%2",
        "dotenv:a%zz",
        "dotenv:%ff",
        "dotenv:a%0ab",
        "dotenv:%+1",
    ] {
        let error = BackendUri::parse(text).unwrap_err();
        assert!(
            matches!(error, ParseUriError::Escape { .. }),
            "{text}: {error}"
        );
    }
}

#[test]
fn no_error_quotes_what_may_be_a_secret() {
    for text in [
        "vault://root:canary-77c1@host/secret",
        "canary-77c1",
        "Canary-77c1:x",
        ":canary-77c1",
        "vault://host/canary-77c1\u{7}",
        "vault://host?token=canary-77c1&token=x",
        "vault://host?=canary-77c1",
    ] {
        let shown = match BackendUri::parse(text) {
            Ok(uri) => {
                assert_eq!(text, "canary-77c1");
                assert_eq!(uri.scheme(), text);
                continue;
            }
            Err(error) => error.to_string(),
        };
        assert!(!shown.contains("canary-77c1"), "{shown}");
    }
    let long = format!("env:{}", "x".repeat(URI_BYTES_MAX));
    assert_eq!(BackendUri::parse(&long), Err(ParseUriError::TooLong));
    assert!(BackendUri::parse(&long[..URI_BYTES_MAX]).is_ok());
}

#[test]
fn a_template_names_a_secret() {
    let lookup = Lookup {
        name: "JWT_SECRET".into(),
        path: "jwt/secret_key".into(),
        place: "storefront/production/jwt/secret_key".parse().unwrap(),
    };
    let check = |template: &str, expected: &str| {
        assert_eq!(
            Template::parse(template).unwrap().address(&lookup),
            expected
        );
    };
    check("{path}", "jwt/secret_key");
    check("{name}", "JWT_SECRET");
    check(
        "apps/{project}-{profile}/{path}",
        "apps/storefront-production/jwt/secret_key",
    );
    assert_eq!(Template::default().address(&lookup), lookup.place.as_str());
    assert_eq!(Template::below("").address(&lookup), "jwt/secret_key");
    assert_eq!(
        Template::below("/a/b/").address(&lookup),
        "a/b/jwt/secret_key"
    );
    for text in ["", "fixed", "{project}", "{path", "path}", "{what}"] {
        assert_eq!(Template::parse(text), Err(ParseTemplateError), "{text}");
    }
}
