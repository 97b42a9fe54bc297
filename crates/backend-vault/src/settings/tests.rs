use std::fs;

use super::credentials::Proof;
use super::*;

fn read(uri: &str, variables: &[(&str, &str)]) -> Result<Settings, BackendError> {
    let uri = BackendUri::parse(uri).unwrap();
    Settings::read(&uri, &Variables::new(variables.iter().copied()))
}

fn settings(uri: &str, variables: &[(&str, &str)]) -> Settings {
    match read(uri, variables) {
        Ok(settings) => settings,
        Err(error) => panic!("{uri}: {error}"),
    }
}

/// The error, which must not hold anything that is called a canary.
fn refused(uri: &str, variables: &[(&str, &str)], words: &[&str]) {
    let Err(error) = read(uri, variables) else {
        panic!("{uri} is taken");
    };
    let text = format!("{error} {error:?}");
    assert_eq!(error.kind, BackendErrorKind::Misconfigured, "{text}");
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("canary"), "{text}");
}

const ADDR: (&str, &str) = ("VAULT_ADDR", "https://vault.example:8200");

#[test]
fn the_server_is_in_the_address_or_a_variable() {
    let check = |uri: &str, variables: &[(&str, &str)], api: &str| {
        assert_eq!(settings(uri, variables).api.as_str(), api, "{uri}");
    };
    check("vault:secret", &[ADDR], "https://vault.example:8200/v1/");
    check("vault://a.test/secret", &[ADDR], "https://a.test:8200/v1/");
    check("vault://a.test:443/secret", &[], "https://a.test/v1/");
    check(
        "vault://a.test/secret?tls=false",
        &[],
        "http://a.test:8200/v1/",
    );
    check("vault://[::1]/secret", &[], "https://[::1]:8200/v1/");
    check("vault://[::1]:99/secret", &[], "https://[::1]:99/v1/");
    let bao = ("BAO_ADDR", "http://bao.test:80/proxy/");
    check("vault:", &[bao], "http://bao.test/proxy/v1/");
    check("vault:", &[ADDR, bao], "https://vault.example:8200/v1/");
    check("vault:", &[("VAULT_ADDR", "h:1")], "https://h:1/v1/");
    check(
        "vault:?tls=false",
        &[("VAULT_ADDR", "h:1")],
        "http://h:1/v1/",
    );
    refused("vault:secret", &[], &["no server is named", "VAULT_ADDR"]);
    refused("vault:///secret", &[], &["no host"]);
    refused("vault:?tls=true", &[bao], &["tls=true", "BAO_ADDR"]);
    for address in [
        "https://canary:canary@h",
        "unix:///canary",
        "https://h/?canary=1",
        "ftp://canary",
    ] {
        refused("vault:secret", &[("VAULT_ADDR", address)], &["VAULT_ADDR"]);
    }
}

#[test]
fn what_an_address_says_is_checked() {
    refused(
        "vault:secret?colour=red",
        &[ADDR],
        &["unknown option `colour`", "auth_mount", "kv"],
    );
    refused("vault:secret?kv=3", &[ADDR], &["kv is 1 or 2"]);
    refused("vault:secret?tls=maybe", &[ADDR], &["tls is neither"]);
    refused("vault:secret/../sys", &[ADDR], &["'.' or '..'"]);
    refused("vault:secret?name=fixed", &[ADDR], &["name template"]);
    refused("vault:secret?timeout=soon", &[ADDR], &["timeout", "30s"]);
    refused("vault:secret?timeout=0", &[ADDR], &["timeout"]);
    refused(
        "vault:secret",
        &[ADDR, ("VAULT_CLIENT_TIMEOUT", "11m")],
        &["VAULT_CLIENT_TIMEOUT"],
    );
    refused(
        "vault:secret",
        &[ADDR, ("VAULT_MAX_RETRIES", "-1")],
        &["VAULT_MAX_RETRIES"],
    );
    refused("vault:secret?ca_file=/no/such", &[ADDR], &["/no/such"]);
    refused(
        "vault:secret",
        &[ADDR, ("VAULT_CLIENT_CERT", "x")],
        &["VAULT_CLIENT_KEY"],
    );
    refused("vault://a@h/secret?namespace=b", &[], &["two namespaces"]);
    for (text, milliseconds) in [("5", 5000), ("5s", 5000), ("250ms", 250), ("2m", 120_000)] {
        let found = settings(&format!("vault:secret?timeout={text}"), &[ADDR]).timeout;
        assert_eq!(found, Duration::from_millis(milliseconds));
    }
}

#[test]
fn a_namespace_comes_from_the_nearest_place() {
    let check = |uri: &str, expected: Option<&str>| {
        let variables = [ADDR, ("VAULT_NAMESPACE", "env/")];
        assert_eq!(settings(uri, &variables).namespace.as_deref(), expected);
    };
    check("vault:secret", Some("env"));
    check("vault:secret?namespace=team/a", Some("team/a"));
    check("vault://team%2Fa@h/secret", Some("team/a"));
    assert_eq!(settings("vault:secret", &[ADDR]).namespace, None);
    refused(
        "vault:secret",
        &[ADDR, ("VAULT_NAMESPACE", "a\r\nX: canary")],
        &["namespace"],
    );
}

#[test]
fn reports_name_the_place_without_options() {
    let label = |uri: &str| settings(uri, &[ADDR]).label;
    assert_eq!(
        label("vault:secret/apps?kv=2&timeout=5"),
        "vault:secret/apps"
    );
    assert_eq!(label("vault:"), "vault");
    assert_eq!(
        label("vault://t@h:1/secret?tls=false"),
        "vault://t@h:1/secret"
    );
}

#[test]
fn the_token_is_of_the_family_of_the_server() {
    let place = |variables: &[(&str, &str)]| match settings("vault:secret", variables).auth {
        Auth::Token(credential) => credential.map(|credential| credential.place()),
        Auth::Login(_) => panic!("a login"),
    };
    let (vault, bao) = (("VAULT_TOKEN", "v"), ("BAO_TOKEN", "b"));
    let bao_address = ("BAO_ADDR", "http://h");
    assert_eq!(place(&[ADDR, vault, bao]).unwrap(), "VAULT_TOKEN");
    assert_eq!(place(&[bao_address, vault, bao]).unwrap(), "BAO_TOKEN");
    assert_eq!(place(&[ADDR, bao]).unwrap(), "BAO_TOKEN");
    assert_eq!(place(&[ADDR]), None);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".vault-token");
    let home = ("HOME", home.path().to_str().unwrap());
    assert_eq!(place(&[ADDR, home]), None);
    fs::write(&file, "t").unwrap();
    assert_eq!(place(&[ADDR, home]).unwrap(), file.to_str().unwrap());
    assert_eq!(place(&[ADDR, home, vault]).unwrap(), "VAULT_TOKEN");
    let other = ("VAULT_TOKEN_FILE", "/other");
    assert_eq!(place(&[ADDR, home, other]).unwrap(), "/other");
}

#[test]
fn a_token_goes_to_the_server_that_it_is_for() {
    let token = ("VAULT_TOKEN", "canary");
    let here = "vault://vault.example/secret";
    settings(here, &[ADDR, token]);
    settings("vault://VAULT.example:8200/secret", &[ADDR, token]);
    settings("vault://other.test/secret", &[token]);
    let words = ["VAULT_TOKEN", "VAULT_ADDR", "names another"];
    refused("vault://other.test/secret", &[ADDR, token], &words);
    refused("vault://vault.example:1/secret", &[ADDR, token], &words);
    refused(
        "vault://other.test/secret",
        &[("VAULT_ADDR", "no URL"), token],
        &words,
    );
    let login = [ADDR, token, ("VAULT_JWT", "x")];
    settings("vault://other.test/secret?auth=jwt", &login);
}

#[test]
fn a_login_needs_what_its_method_asks_for() {
    refused("vault:secret?auth=magic", &[ADDR], &["token, approle"]);
    refused(
        "vault:secret?auth=approle",
        &[ADDR],
        &["VAULT_ROLE_ID", "VAULT_ROLE_ID_FILE"],
    );
    refused(
        "vault:secret?auth=approle&role=x",
        &[ADDR],
        &["VAULT_ROLE_ID"],
    );
    refused("vault:secret?auth=kubernetes", &[ADDR], &["role=NAME"]);
    refused("vault:secret?auth=jwt", &[ADDR], &["VAULT_JWT"]);
    refused("vault:secret?auth=userpass", &[ADDR], &["VAULT_USERNAME"]);
    let user = ("VAULT_USERNAME", "ann");
    refused(
        "vault:secret?auth=userpass",
        &[ADDR, user],
        &["VAULT_PASSWORD"],
    );
    refused("vault:secret?role=x", &[ADDR], &["role is for"]);
    refused(
        "vault:secret?auth=jwt&auth_mount=../sys",
        &[ADDR, ("VAULT_JWT", "x")],
        &["auth_mount"],
    );
    let login = |uri: &str, variables: &[(&str, &str)]| match settings(uri, variables).auth {
        Auth::Login(login) => login,
        Auth::Token(_) => panic!("no login"),
    };
    let found = login(
        "vault:secret?auth=kubernetes&role=app&auth_mount=auth/k8s/",
        &[ADDR],
    );
    assert_eq!((found.method, &*found.mount), ("kubernetes", "k8s"));
    let Proof::Jwt { role, jwt } = found.proof else {
        panic!("another proof");
    };
    assert_eq!(role.as_deref(), Some("app"));
    assert_eq!(
        jwt.place(),
        "/var/run/secrets/kubernetes.io/serviceaccount/token"
    );
}
