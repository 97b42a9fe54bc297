//! What is a policy and what is none.

use super::*;

fn error(text: &str) -> String {
    match Policy::parse(&name("test"), text) {
        Ok(policy) => panic!("taken: {text}: {policy:?}"),
        Err(error) => error.to_string(),
    }
}

/// Each of these is taken by OpenBao 2.7.2, and means this for the path `a`.
#[test]
fn what_clients_send_is_read() {
    for (text, expected) in [
        (" ", "deny"),
        ("# only a comment", "deny"),
        ("path \"a\" {}", "deny"),
        (r#"{"path":{"a":{"capabilities":["read"]}}}"#, "read"),
        (
            r#" {"path":[{"a":{"policy":"read"}},{"b":{"policy":"read"}}]}"#,
            "list read",
        ),
        (
            r#"{"path":{"b":{},"a":{"capabilities":["\u0072ead"]}}}"#,
            "read",
        ),
        ("path \"a\" {\n capabilities = [\"read\",]\n}", "read"),
        (
            r#"path "a" { capabilities = ["read"], min_wrapping_ttl = "1h" }"#,
            "read",
        ),
        (r#""path" "a" { "capabilities" = ["read"] }"#, "read"),
        (r#"path a { capabilities = ["read"] }"#, "read"),
        (r#"path "/a" { capabilities = ["read"] }"#, "read"),
        (
            r#"path "a" { policy = "read" capabilities=["sudo"]}"#,
            "list read sudo",
        ),
        (
            r#"path "a" { policy = "write" }"#,
            "create delete list read update",
        ),
        (
            r#"path "a" { policy = "sudo" }"#,
            "create delete list read sudo update",
        ),
        (
            r#"path "a" { capabilities = ["read", "deny", "list"] }"#,
            "deny",
        ),
        (r#"path "a" { capabilities = ["read", "read"] }"#, "read"),
        ("name = \"x\"\npath \"a\" {policy=\"read\"}", "list read"),
        (
            "path \"a\" { comment = \"x\" policy = \"read\" } # c\n// d\n/* e * / */",
            "list read",
        ),
        (
            "path \"b\" {} path \"a\" { policy = \"read\" }",
            "list read",
        ),
        ("path \"a\" {\r\n  policy = \"read\"\r\n}\r\n", "list read"),
        (
            "path \"a\" { policy = \"read\"\n allowed_parameters { x = [] } }",
            "list read",
        ),
        (
            "path \"a\" { policy = \"read\"\n allowed_parameters = { \"x\" = [1.5, -2, null] } }",
            "list read",
        ),
        (
            r#"path "${b}" {} path "" {} path "a*b" {} path "a" { policy = "deny" }"#,
            "deny",
        ),
    ] {
        assert_eq!(words(&set(text), "a"), expected, "{text}");
    }
    assert_eq!(
        words(&set(r#"path "\u00e9\"\\" { policy = "read" }"#), "a"),
        "deny"
    );
    assert_eq!(
        words(&set(r#"{"path":{"\ud83d\ude00":{"policy":"read"}}}"#), "😀"),
        "list read"
    );
}

#[test]
fn errors_say_where() {
    for (text, expected) in [
        (
            "path \"a\" {\n  capabilities = [\"raed\"]\n}",
            "line 2, column 19: invalid capability \"raed\"",
        ),
        (
            "path \"a\" { capabilities = [\"READ\"] }",
            "line 1, column 28: invalid capability",
        ),
        (
            "path \"a\" { policy = \"x\" }",
            "line 1, column 21: invalid policy \"x\"",
        ),
        (
            "path \"a\" { foo = 1 }",
            "line 1, column 12: invalid key \"foo\"",
        ),
        ("\n\npth \"a\" {}", "line 3, column 1: invalid key \"pth\""),
        (
            "path \"a/+*\" {}",
            "line 1, column 6: invalid use of wildcards",
        ),
        (
            "path \"a\" { capabilities = \"read\" }",
            "line 1, column 27: expected a list of strings",
        ),
        (
            "path \"a\" { capabilities = [1] }",
            "line 1, column 28: expected a string",
        ),
        (
            "path \"a\" { capabilities = [\"read\" }",
            "line 1, column 35: expected a comma or `]`",
        ),
        ("path \"a\" = { }", "line 1, column 10: expected `=` or `{`"),
        (
            "path { \"a\" = { } }",
            "line 1, column 1: expected `path \"the/path\" { … }`",
        ),
        ("path \"a\" \"b\" { }", "line 1, column 1: expected `path"),
        ("path = \"a\"", "line 1, column 1: expected `path"),
        (
            "path \"a\" { policy = \"read\" policy = \"deny\" }",
            "line 1, column 28: \"policy\" is given",
        ),
        (
            "path \"a\" {",
            "line 1, column 11: expected a closing brace",
        ),
        ("path \"a\" {}}", "line 1, column 12: expected a name"),
        (
            "path \"a\nb\" {}",
            "line 2, column 1: expected a closing quote",
        ),
        ("path 'a' {}", "line 1, column 6: expected `=` or `{`"),
        ("path \"\\q\" {}", "line 1, column 8: expected an escape"),
        (
            "path \"\\ud800\" {}",
            "line 1, column 8: expected an escape",
        ),
        ("x", "line 1, column 2: expected `=` or `{`"),
        (
            "/* open",
            "line 1, column 1: expected an end of this comment",
        ),
        ("{\"path\":{}} x", "line 1, column 13: expected the end"),
        ("{\"path\" \"a\"", "line 1, column 12: expected a colon"),
        (
            "{\"path\":{\"a\":1}}",
            "line 1, column 14: expected an object",
        ),
        ("{\"path\":[1]}", "line 1, column 10: expected an object"),
        (
            "path \"a\" { capabilities = <<E\nread\nE\n}",
            "line 1, column 27: expected a string in quotes",
        ),
        (
            "path \"a\" { min_wrapping_ttl = \"x\" }",
            "line 1, column 31: expected a time",
        ),
        (
            "path \"a\" { min_wrapping_ttl = \"2h\" max_wrapping_ttl = \"1h\" }",
            "line 1, column 6: max_wrapping_ttl cannot",
        ),
        (
            "path \"a\" { allowed_parameters = { x = \"a\" } }",
            "line 1, column 39: expected a list",
        ),
        (
            "path \"a\" { allowed_parameters = { x = [[1]] } }",
            "line 1, column 40: expected a string, a",
        ),
        (
            "path \"a\" { allowed_parameters = { x = [] X = [] } }",
            "line 1, column 42: \"X\" is given",
        ),
        (
            "path \"a\" { mfa_methods = [\"x\"] }",
            "line 1, column 12: \"mfa_methods\" is not supported",
        ),
        (
            "path \"a\" { expiration = \"2030-01-01T00:00:00Z\" }",
            "line 1, column 12: \"expiration\" is",
        ),
    ] {
        let error = error(text);
        assert!(
            error.starts_with(expected),
            "{text}\n  {error}\n  {expected}"
        );
    }
}

/// GHSA-59w7-v8rr-pr4p: user data in a template widened the grant. Here no template is filled.
#[test]
fn templates_give_nothing_and_cannot_deny() {
    let text =
        r#"path "kv/{{identity.entity.name}}/*" { policy = "read" } path "b" { policy = "read" }"#;
    let policy = policy(text);
    assert_eq!(policy.inert_paths(), ["kv/{{identity.entity.name}}/*"]);
    let set = PolicySet::compile([&policy]);
    for path in ["kv/{{identity.entity.name}}/a", "kv/*/a", "kv/+/a", "kv//a"] {
        if let Ok(path) = path.parse() {
            assert_eq!(set.capabilities(&path).words(), ["deny"]);
        }
    }
    assert_eq!(words(&set, "b"), "list read");
    let denying = r#"path "kv/{{identity.entity.name}}" { capabilities = ["deny"] }"#;
    assert!(error(denying).contains("cannot deny"));
    assert!(error(r#"path "kv/{{identity" {}"#).contains("unbalanced"));
}

#[test]
fn long_and_deep_texts_are_refused() {
    for depth in [10, 17, 100, 100_000] {
        let lists = format!("path \"a\" {{ x = {}", "[".repeat(depth));
        let objects = format!("path \"a\" {{ x = {}", "{a=".repeat(depth));
        let json = format!("{{\"path\":{}", "{\"a\":".repeat(depth));
        for text in [lists, objects, json] {
            let error = error(&text);
            assert!(error.contains("expected"), "{error}");
        }
    }
    let longest = " ".repeat(POLICY_BYTES_MAX);
    assert!(Policy::parse(&name("a"), &longest).is_ok());
    assert!(error(&format!("{longest} ")).contains("longer than"));
    let rules = "path \"a\" {}".repeat(POLICY_RULES_MAX);
    assert!(Policy::parse(&name("a"), &rules).is_ok());
    assert!(error(&format!("{rules} path \"b\" {{}}")).contains("more than 10000 rules"));
}

#[test]
fn messages_quote_little_and_no_control_characters() {
    let word = format!("\\u001b[31m{}", "x".repeat(10_000));
    let error = error(&format!("path \"a\" {{ capabilities = [\"{word}\"] }}"));
    assert!(error.len() < 300 && !error.contains('\u{1b}'), "{error}");
}

/// Every beginning of a policy, and every policy with one byte changed, is taken or refused.
#[test]
fn damaged_texts_do_not_panic() {
    let hcl = "# c\npath \"a/+/b*\" { /* d */ capabilities = [\"read\"],\n min_wrapping_ttl = 15\n \
               allowed_parameters = { \"é\" = [null, true, -1, \"\\u00e9\\ud83d\\ude00\"] } }";
    let json =
        r#"{"path":[{"a":{"capabilities":["read"],"allowed_parameters":{"x":[1,"\u00e9"]}}}]}"#;
    for text in [hcl, json] {
        for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
            let _ = Policy::parse(&name("a"), &text[..end]);
        }
        for at in 0..text.len() {
            for byte in [
                b'"', b'{', b'}', b'[', b'\\', b'*', b'/', b'<', b'=', b':', b',', 0, 0xff,
            ] {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] = byte;
                let damaged = String::from_utf8_lossy(&bytes).into_owned();
                if let Ok(policy) = Policy::parse(&name("a"), &damaged) {
                    let _ = words(&PolicySet::compile([&policy]), "a/x/bc");
                }
            }
        }
    }
}
