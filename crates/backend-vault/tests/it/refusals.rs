//! What people read when it does not work: cause and cure, and nothing that is secret.

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::NewValue;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_testkit::port::Port;

use super::support::Action;
use super::support::OpenBao;
use super::support::Trap;
use super::support::open;
use super::support::read;
use super::support::shown;
use super::support::wait;

/// Kind, and words that have to be in the message or the hint.
fn check(error: &BackendError, kind: BackendErrorKind, words: &[&str]) {
    let text = shown(error);
    assert_eq!(error.kind, kind, "{text}");
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("canary"), "{text}");
    assert!(error.hint.is_some(), "{text}");
}

#[test]
fn a_wrong_or_missing_token() {
    let server = OpenBao::start();
    wait(async {
        let backend = server.open_as("canary-0a0a", "vault:secret").await;
        let words = &[
            "VAULT_TOKEN",
            "has expired",
            "vault token lookup",
            "VAULT_ADDR",
        ];
        let error = read(&backend, "a").await.unwrap_err();
        check(&error, BackendErrorKind::Denied, words);
        let error = backend.health().await.unwrap_err();
        check(&error, BackendErrorKind::Denied, words);
        let url = server.url();
        let backend = open("vault:secret", &[("VAULT_ADDR", &url)]).await.unwrap();
        let error = read(&backend, "a").await.unwrap_err();
        check(
            &error,
            BackendErrorKind::Denied,
            &["no token", "VAULT_TOKEN", "auth=approle"],
        );
        let variables = [("VAULT_ADDR", &*url), ("VAULT_TOKEN", "canary\u{7f}")];
        let backend = open("vault:secret", &variables).await.unwrap();
        let error = read(&backend, "a").await.unwrap_err();
        check(&error, BackendErrorKind::Misconfigured, &["VAULT_TOKEN"]);
    });
}

#[test]
fn a_token_without_the_right_policy() {
    let server = OpenBao::start();
    wait(async {
        server
            .must(
                "POST",
                "secret/data/other",
                r#"{"data":{"value":"canary"}}"#,
            )
            .await;
        let policy = r#"path "secret/data/apps/*" { capabilities = ["list", "update"] }"#;
        let token = server.token(policy, "").await;
        let backend = server.open_as(&token, "vault:secret").await;
        let kind = BackendErrorKind::Denied;
        let error = read(&backend, "apps/db").await.unwrap_err();
        let words = [
            "`secret/data/apps/db`",
            "needs `read`",
            "`list, update`",
            "policy",
        ];
        check(&error, kind, &words);
        // Denied alike, whether or not it is there.
        let there = read(&backend, "other").await.unwrap_err();
        let not_there = read(&backend, "othex").await.unwrap_err();
        check(&there, kind, &["`secret/data/other`", "`deny`"]);
        assert_eq!(there.message.replace("other", "othex"), not_there.message);
        let value = NewValue::new(Payload::detect(SecretValue::copy_from(b"canary")));
        let error = backend.write("other", &value).await.unwrap_err();
        check(&error, kind, &["create", "update"]);
        let error = backend.list().await.unwrap_err();
        check(&error, kind, &["`secret/metadata/`", "needs `list`"]);
        let backend = server.open_as(&token, "vault:nowhere").await;
        let error = read(&backend, "a").await.unwrap_err();
        check(&error, kind, &["`nowhere/`", "bao secrets list"]);
        // With kv= the mount is not asked about; that nothing is there is said all the same.
        let backend = server.open("vault:nowhere?kv=2").await;
        let error = read(&backend, "a").await.unwrap_err();
        check(
            &error,
            BackendErrorKind::Misconfigured,
            &["no handler for route", "secrets list"],
        );
    });
}

#[test]
fn a_wrong_address_or_namespace_or_version() {
    let server = OpenBao::start();
    wait(async {
        let nobody = Port::claim();
        let url = format!("http://127.0.0.1:{}", nobody.number());
        let variables = [("VAULT_ADDR", &*url), ("VAULT_TOKEN", "canary")];
        let backend = open("vault:secret", &variables).await.unwrap();
        let words = [&*url, "connection refused", "VAULT_ADDR", "vault status"];
        let error = read(&backend, "a").await.unwrap_err();
        check(&error, BackendErrorKind::Unreachable, &words);
        let error = backend.health().await.unwrap_err();
        check(&error, BackendErrorKind::Unreachable, &words);
        let uri = "vault://host.invalid/secret";
        let backend = open(uri, &[("VAULT_TOKEN", "canary")]).await.unwrap();
        let error = read(&backend, "a").await.unwrap_err();
        check(
            &error,
            BackendErrorKind::Unreachable,
            &["https://host.invalid:8200"],
        );
        let backend = server.open("vault:secret?namespace=nope").await;
        let error = read(&backend, "a").await.unwrap_err();
        check(
            &error,
            BackendErrorKind::Misconfigured,
            &["no namespace `nope`"],
        );
        let backend = server.open("vault:secret?kv=1").await;
        let error = read(&backend, "a").await.unwrap_err();
        check(
            &error,
            BackendErrorKind::Misconfigured,
            &["KV version 2", "kv="],
        );
    });
}

#[test]
fn a_sealed_server() {
    let server = OpenBao::start();
    wait(async {
        let backend = server.open("vault:secret").await;
        let phrase = backend.health().await.unwrap();
        assert_eq!(phrase, "server 2.7.2, unsealed, `secret/` is KV version 2");
        server.must("PUT", "sys/seal", "").await;
        let words = ["is sealed", "bao operator unseal"];
        let error = read(&backend, "a").await.unwrap_err();
        check(&error, BackendErrorKind::Sealed, &words);
        let error = backend.health().await.unwrap_err();
        check(&error, BackendErrorKind::Sealed, &words);
    });
}

#[test]
fn tls_trusts_the_named_authority_and_no_other() {
    let server = OpenBao::start_tls();
    wait(async {
        let authority = server.certificates.join("vault-ca.pem");
        let authority = authority.to_str().unwrap();
        let port = server.port();
        let host = format!("vault://127.0.0.1:{port}/secret");
        let token = ("VAULT_TOKEN", "root");
        let backend = open(&format!("{host}?ca_file={authority}"), &[token])
            .await
            .unwrap();
        assert_eq!(read(&backend, "a").await.unwrap(), None);
        let backend = open(&host, &[token, ("VAULT_CACERT", authority)])
            .await
            .unwrap();
        assert_eq!(read(&backend, "a").await.unwrap(), None);
        let folder = server.certificates.to_str().unwrap();
        let wrong = open(&host, &[token, ("VAULT_CAPATH", folder)]).await.err();
        // The folder holds the server's key as well, which is no certificate.
        check(
            &wrong.unwrap(),
            BackendErrorKind::Misconfigured,
            &["holds no PEM certificate"],
        );

        let backend = open(&host, &[token]).await.unwrap();
        let error = read(&backend, "a").await.unwrap_err();
        check(
            &error,
            BackendErrorKind::Unreachable,
            &["not trusted", "VAULT_CACERT", "ca_file"],
        );
        let other_name = [
            token,
            ("VAULT_CACERT", authority),
            ("VAULT_TLS_SERVER_NAME", "x.test"),
        ];
        let backend = open(&host, &other_name).await.unwrap();
        let error = read(&backend, "a").await.unwrap_err();
        check(
            &error,
            BackendErrorKind::Unreachable,
            &["not trusted", "VAULT_TLS_SERVER_NAME"],
        );
        let same_name = [
            token,
            ("VAULT_CACERT", authority),
            ("VAULT_TLS_SERVER_NAME", "localhost"),
        ];
        let backend = open(&host, &same_name).await.unwrap();
        assert_eq!(read(&backend, "a").await.unwrap(), None);

        let skip = [token, ("VAULT_SKIP_VERIFY", "true")];
        let error = open(&host, &skip).await.err().unwrap();
        check(
            &error,
            BackendErrorKind::Misconfigured,
            &["VAULT_SKIP_VERIFY", "ca_file"],
        );
        let error = open(&format!("{host}?insecure=true"), &[token])
            .await
            .err()
            .unwrap();
        check(
            &error,
            BackendErrorKind::Misconfigured,
            &["insecure=true", "ca_file"],
        );
        let backend = open(&format!("{host}?insecure=true"), &skip).await.unwrap();
        assert_eq!(read(&backend, "a").await.unwrap(), None);

        let backend = open(&format!("{host}?tls=false"), &[token]).await.unwrap();
        let error = read(&backend, "a").await.unwrap_err();
        check(
            &error,
            BackendErrorKind::Unreachable,
            &["speaks TLS only", "https://"],
        );
    });
}

#[test]
fn plain_http_where_tls_is_expected() {
    let server = OpenBao::start();
    wait(async {
        let uri = format!("vault://127.0.0.1:{}/secret", server.port());
        let backend = open(&uri, &[("VAULT_TOKEN", "root")]).await.unwrap();
        let error = read(&backend, "a").await.unwrap_err();
        check(
            &error,
            BackendErrorKind::Unreachable,
            &["does not speak TLS", "tls=false"],
        );
    });
}

#[test]
fn another_kind_of_server() {
    wait(async {
        for (status, body) in [(404, "<html>"), (200, "<html>"), (404, "{}"), (418, "")] {
            let trap = Trap::start(move |_, _| Action::Reply(status, "", body.into())).await;
            let url = trap.url();
            let variables = [("VAULT_ADDR", &*url), ("VAULT_TOKEN", "canary")];
            for uri in ["vault:secret", "vault:"] {
                let backend = open(uri, &variables).await.unwrap();
                for error in [
                    read(&backend, "a").await.unwrap_err(),
                    backend.health().await.unwrap_err(),
                ] {
                    assert!(
                        matches!(
                            error.kind,
                            BackendErrorKind::Misconfigured | BackendErrorKind::Malformed
                        ),
                        "{status} {body}: {error:?}"
                    );
                    assert!(shown(&error).contains("VAULT_ADDR"), "{}", shown(&error));
                }
            }
        }
    });
}

#[test]
fn an_echo_of_what_was_sent_is_not_shown() {
    wait(async {
        let trap = Trap::start(|seen, _| {
            if seen.line.contains("ui/mounts") {
                let mount = r#"{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}"#;
                return Action::Reply(200, "", mount.into());
            }
            let echo = format!(
                "{} {}",
                seen.body,
                seen.header("x-vault-token").unwrap_or("")
            );
            let body = serde_json::json!({ "errors": [echo, "plain words"] }).to_string();
            Action::Reply(400, "", body)
        })
        .await;
        let url = trap.url();
        let variables = [("VAULT_ADDR", &*url), ("VAULT_TOKEN", "canary-token")];
        let backend = open("vault:secret", &variables).await.unwrap();
        let value = NewValue::new(Payload::detect(SecretValue::copy_from(b"canary-value")));
        let write = backend.write("a", &value).await.unwrap_err();
        let read = read(&backend, "a").await.unwrap_err();
        for error in [write, read] {
            let text = shown(&error);
            assert!(
                text.contains("plain words") && !text.contains("canary"),
                "{text}"
            );
        }
    });
}
