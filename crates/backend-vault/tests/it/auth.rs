//! Logging in, staying logged in.

use std::fs;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use serde_json::json;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::VersionRef;
use tokio::time::Instant;

use super::support::Action;
use super::support::OpenBao;
use super::support::PATIENCE;
use super::support::Trap;
use super::support::lookup;
use super::support::open;
use super::support::read;
use super::support::shown;
use super::support::wait;

/// Signed once for these tests, by a key that is gone; ends in 2100.
const JWT: &str = "\
    eyJhbGciOiAiRVMyNTYiLCAidHlwIjogIkpXVCJ9.eyJpc3MiOiJrdWJlcm5ldGVzL3NlcnZpY2VhY2N\
    vdW50Iiwic3ViIjoic3lzdGVtOnNlcnZpY2VhY2NvdW50OmFwcHM6c3RvcmVmcm9udCIsImF1ZCI6WyJ\
    zdHJvbmdyb29tIl0sImlhdCI6MTcwMDAwMDAwMCwibmJmIjoxNzAwMDAwMDAwLCJleHAiOjQxMDI0NDQ\
    4MDAsImt1YmVybmV0ZXMuaW8vc2VydmljZWFjY291bnQvbmFtZXNwYWNlIjoiYXBwcyIsImt1YmVybmV\
    0ZXMuaW8vc2VydmljZWFjY291bnQvc2VjcmV0Lm5hbWUiOiJzIiwia3ViZXJuZXRlcy5pby9zZXJ2aWN\
    lYWNjb3VudC9zZXJ2aWNlLWFjY291bnQubmFtZSI6InN0b3JlZnJvbnQiLCJrdWJlcm5ldGVzLmlvL3N\
    lcnZpY2VhY2NvdW50L3NlcnZpY2UtYWNjb3VudC51aWQiOiIwYTFiIn0.z85UAmzk7gxD84EvgEZpA39\
    Nsy74EQfivUgV9cOVnSjGRavSxD9Wjr-NIQz-cU0T_46nSWIqzwwZ2Mt1uhZA0g";
const JWT_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEXSdTJXOhgC9h38wcWm+L22Wqnqnh\n\
    AAo3vy2xyD7yuJ470TOPnnwNHXa5v0K8hMmrv1uo6CySTmUaMskY5+s/zw==\n\
    -----END PUBLIC KEY-----";

/// An authority that nothing uses: the configuration wants one.
const CA: &str = "\
    -----BEGIN CERTIFICATE-----\n\
    MIIBdTCCARugAwIBAgIUIiWf+xkSQAuE4BVk+16274nd36IwCgYIKoZIzj0EAwIw\n\
    DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjgwNjU1MzhaGA8yMTI2MTEwNDA2NTUz\n\
    OFowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIYE\n\
    q87gpYRA1ocv+evdI7I6QaVnFfM6EESDQSnIsSqBPVL/wCT/XM85CxPwSm7AmZeD\n\
    c3NAoaRRwI1dVmDSmMajUzBRMB0GA1UdDgQWBBTdDDbvLK8mXdwdDh2cCutYhPdk\n\
    sTAfBgNVHSMEGDAWgBTdDDbvLK8mXdwdDh2cCutYhPdksTAPBgNVHRMBAf8EBTAD\n\
    AQH/MAoGCCqGSM49BAMCA0gAMEUCIQD0pFIXnACl5D912a225Tja5FdC8g5QptU8\n\
    f85bRHvOwgIgKgcEG0e0p0bq62IDl2MkuX4mqlLjLTBUoiBprJceEog=\n\
    -----END CERTIFICATE-----";

const POLICY: &str = r#"path "secret/data/*" { capabilities = ["read"] }"#;

/// A server with a secret at `a` and a policy that lets it be read.
async fn with_policy(server: &OpenBao) {
    let body = json!({ "policy": POLICY }).to_string();
    server.must("POST", "sys/policies/acl/app", &body).await;
    server
        .must("POST", "secret/data/a", r#"{"data":{"value":"v"}}"#)
        .await;
}

async fn with_approle(server: &OpenBao, role: &str) -> (String, String) {
    with_policy(server).await;
    server
        .must("POST", "sys/auth/approle", r#"{"type":"approle"}"#)
        .await;
    server.must("POST", "auth/approle/role/app", role).await;
    let id = server
        .must("GET", "auth/approle/role/app/role-id", "")
        .await;
    let secret = server
        .must("POST", "auth/approle/role/app/secret-id", "")
        .await;
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (
        text(&id["data"]["role_id"]),
        text(&secret["data"]["secret_id"]),
    )
}

#[test]
fn approle_logs_in_once_for_all_and_again_when_its_token_is_gone() {
    let server = OpenBao::start();
    wait(async {
        let role = r#"{"token_policies":["app"],"token_ttl":"1h"}"#;
        let (role_id, secret_id) = with_approle(&server, role).await;
        let port = server.port();
        let trap = Trap::start(move |_, _| Action::Forward(port)).await;
        let url = trap.url();
        let backend = open(
            "vault:secret?auth=approle",
            &[
                ("VAULT_ADDR", &url),
                ("VAULT_ROLE_ID", &role_id),
                ("VAULT_SECRET_ID", &secret_id),
            ],
        )
        .await
        .unwrap();
        let reads = (0..20).map(|_| read(&backend, "a"));
        for found in futures_util::future::join_all(reads).await {
            assert_eq!(found.unwrap().as_deref(), Some("v"));
        }
        assert_eq!(trap.count("POST /v1/auth/approle/login"), 1);
        let seen = trap.seen();
        let token = seen
            .iter()
            .rev()
            .find_map(|seen| seen.header("x-vault-token"));
        let body = json!({ "token": token.unwrap() }).to_string();
        server.must("POST", "auth/token/revoke", &body).await;
        let lookups: Vec<_> = (0..20).map(|_| lookup("A", "a")).collect();
        for found in backend.get_many(&lookups).await {
            assert!(found.unwrap().is_some());
        }
        assert_eq!(trap.count("POST /v1/auth/approle/login"), 2);
    });
}

#[test]
fn a_refused_login_says_what_to_check_and_shows_nothing() {
    let server = OpenBao::start();
    wait(async {
        let (role_id, _) = with_approle(&server, r#"{"token_policies":["app"]}"#).await;
        let url = server.url();
        let variables = [
            ("VAULT_ADDR", &*url),
            ("VAULT_ROLE_ID", &*role_id),
            ("VAULT_SECRET_ID", "canary-77aa"),
        ];
        let backend = open("vault:secret?auth=approle", &variables).await.unwrap();
        let error = read(&backend, "a").await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Denied);
        let shown_text = shown(&error);
        assert!(shown_text.contains("the approle login at `auth/approle` was refused"));
        assert!(
            shown_text.contains("check VAULT_ROLE_ID and VAULT_SECRET_ID"),
            "{shown_text}"
        );
        assert!(
            !shown_text.contains("canary") && !shown_text.contains(&role_id),
            "{shown_text}"
        );
        let uri = "vault:secret?auth=approle&auth_mount=elsewhere";
        let backend = open(uri, &variables).await.unwrap();
        let error = read(&backend, "a").await.unwrap_err();
        assert!(!shown(&error).contains("canary"));
        assert!(error.message.contains("auth/elsewhere"), "{error}");
    });
}

#[test]
fn userpass_and_jwt_log_in() {
    let server = OpenBao::start();
    wait(async {
        with_policy(&server).await;
        server
            .must("POST", "sys/auth/people", r#"{"type":"userpass"}"#)
            .await;
        server
            .must(
                "POST",
                "auth/people/users/ann",
                r#"{"password":"pw","token_policies":"app"}"#,
            )
            .await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "pw\n").unwrap();
        let url = server.url();
        let backend = open(
            "vault:secret?auth=userpass&auth_mount=people",
            &[
                ("VAULT_ADDR", &url),
                ("VAULT_USERNAME", "ann"),
                ("VAULT_PASSWORD_FILE", file.to_str().unwrap()),
            ],
        )
        .await
        .unwrap();
        assert_eq!(read(&backend, "a").await.unwrap().as_deref(), Some("v"));

        server
            .must("POST", "sys/auth/jwt", r#"{"type":"jwt"}"#)
            .await;
        let config = json!({ "jwt_validation_pubkeys": [JWT_KEY] }).to_string();
        server.must("POST", "auth/jwt/config", &config).await;
        let role = json!({
            "role_type": "jwt", "bound_audiences": ["strongroom"], "user_claim": "sub",
            "token_policies": ["app"],
        });
        server
            .must("POST", "auth/jwt/role/app", &role.to_string())
            .await;
        let variables = [("VAULT_ADDR", &*url), ("VAULT_JWT", JWT)];
        let backend = open("vault:secret?auth=jwt&role=app", &variables)
            .await
            .unwrap();
        assert_eq!(read(&backend, "a").await.unwrap().as_deref(), Some("v"));
        let backend = open("vault:secret?auth=jwt&role=none", &variables)
            .await
            .unwrap();
        let error = read(&backend, "a").await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Denied);
        assert!(!shown(&error).contains(JWT));
    });
}

/// OpenBao asks a Kubernetes API who the token is; the API is ours.
#[test]
fn kubernetes_logs_in_with_a_service_account() {
    let server = OpenBao::start();
    wait(async {
        with_policy(&server).await;
        let cluster = Trap::start(|_, _| {
            let review = json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                "status": {
                    "authenticated": true, "audiences": ["strongroom"],
                    "user": {
                        "username": "system:serviceaccount:apps:storefront", "uid": "0a1b",
                        "groups": ["system:serviceaccounts", "system:serviceaccounts:apps"],
                    },
                },
            });
            Action::Reply(
                201,
                "Content-Type: application/json\r\n",
                review.to_string(),
            )
        })
        .await;
        server
            .must("POST", "sys/auth/kubernetes", r#"{"type":"kubernetes"}"#)
            .await;
        let config = json!({
            "kubernetes_host": cluster.url(), "disable_local_ca_jwt": true,
            "kubernetes_ca_cert": CA,
            "token_reviewer_jwt": JWT,
        });
        server
            .must("POST", "auth/kubernetes/config", &config.to_string())
            .await;
        let role = json!({
            "bound_service_account_names": "storefront",
            "bound_service_account_namespaces": "apps", "token_policies": ["app"],
        });
        server
            .must("POST", "auth/kubernetes/role/app", &role.to_string())
            .await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, JWT).unwrap();
        let url = server.url();
        let variables = [
            ("VAULT_ADDR", &*url),
            ("VAULT_JWT_FILE", file.to_str().unwrap()),
        ];
        let backend = open("vault:secret?auth=kubernetes&role=app", &variables)
            .await
            .unwrap();
        assert_eq!(read(&backend, "a").await.unwrap().as_deref(), Some("v"));
    });
}

/// What a server answers that holds no secret, and knows every token.
fn quiet(line: &str) -> Action {
    match line {
        "GET /v1/sys/internal/ui/mounts/secret" => Action::Reply(
            200,
            "",
            r#"{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}"#.into(),
        ),
        "GET /v1/secret/data/a" => Action::Reply(404, "", r#"{"errors":[]}"#.into()),
        _ => Action::Reply(404, "", r#"{"errors":["unsupported path"]}"#.into()),
    }
}

#[test]
fn a_token_is_renewed_before_its_end() {
    wait(async {
        let trap = Trap::start(|seen, _| match &*seen.line {
            "GET /v1/auth/token/lookup-self" => {
                Action::Reply(200, "", r#"{"data":{"ttl":1,"renewable":true}}"#.into())
            }
            "POST /v1/auth/token/renew-self" => Action::Reply(
                200,
                "",
                r#"{"auth":{"lease_duration":3600,"renewable":true}}"#.into(),
            ),
            line => quiet(line),
        })
        .await;
        let url = trap.url();
        let variables = [("VAULT_ADDR", &*url), ("VAULT_TOKEN", "t")];
        let backend = open("vault:secret", &variables).await.unwrap();
        let until = Instant::now() + PATIENCE;
        while trap.count("POST /v1/auth/token/renew-self") == 0 {
            assert!(Instant::now() < until, "not renewed");
            assert_eq!(read(&backend, "a").await.unwrap(), None);
        }
        for _ in 0..10 {
            assert_eq!(read(&backend, "a").await.unwrap(), None);
        }
        assert_eq!(trap.count("POST /v1/auth/token/renew-self"), 1);
        assert_eq!(trap.count("GET /v1/auth/token/lookup-self"), 1);
    });
}

#[test]
fn a_real_token_is_renewed() {
    let server = OpenBao::start();
    wait(async {
        with_policy(&server).await;
        let token = server.token(POLICY, r#","ttl":"6s""#).await;
        let port = server.port();
        let trap = Trap::start(move |_, _| Action::Forward(port)).await;
        let url = trap.url();
        let variables = [("VAULT_ADDR", &*url), ("VAULT_TOKEN", &*token)];
        let backend = open("vault:secret", &variables).await.unwrap();
        let until = Instant::now() + PATIENCE;
        // Where the machine stands still for the last third, the token ends: no fault of ours.
        while trap.count("POST /v1/auth/token/renew-self") == 0 && Instant::now() < until {
            match read(&backend, "a").await {
                Ok(found) => assert_eq!(found.as_deref(), Some("v")),
                Err(error) => {
                    assert!(error.message.contains("has expired"), "{error}");
                    return;
                }
            }
        }
        assert_eq!(read(&backend, "a").await.unwrap().as_deref(), Some("v"));
    });
}

#[test]
fn a_token_file_that_another_program_renews_is_read_again() {
    let server = OpenBao::start();
    wait(async {
        with_policy(&server).await;
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".vault-token");
        fs::write(&file, "stale").unwrap();
        let url = server.url();
        let variables = [
            ("VAULT_ADDR", &*url),
            ("HOME", home.path().to_str().unwrap()),
        ];
        let backend = open("vault:secret", &variables).await.unwrap();
        let error = read(&backend, "a").await.unwrap_err();
        assert!(error.message.contains(".vault-token"), "{error}");
        fs::write(&file, "root\n").unwrap();
        assert_eq!(read(&backend, "a").await.unwrap().as_deref(), Some("v"));
        let token = server.token(POLICY, "").await;
        fs::write(&file, &token).unwrap();
        let body = json!({ "token": token }).to_string();
        let backend = open("vault:secret", &variables).await.unwrap();
        assert!(backend.read("a", &VersionRef::Current).await.is_ok());
        server.must("POST", "auth/token/revoke", &body).await;
        fs::write(&file, "root").unwrap();
        assert_eq!(read(&backend, "a").await.unwrap().as_deref(), Some("v"));
    });
}

#[test]
fn a_wrong_token_is_asked_about_once() {
    wait(async {
        let refused = AtomicUsize::new(0);
        let trap = Trap::start(move |_, _| {
            refused.fetch_add(1, Ordering::Relaxed);
            Action::Reply(403, "", r#"{"errors":["permission denied"]}"#.into())
        })
        .await;
        let url = trap.url();
        let variables = [("VAULT_ADDR", &*url), ("VAULT_TOKEN", "canary-1a2b")];
        let backend = open("vault:secret", &variables).await.unwrap();
        let lookups: Vec<_> = (0..50).map(|_| lookup("A", "a")).collect();
        for found in backend.get_many(&lookups).await {
            let error = found.unwrap_err();
            assert_eq!(error.kind, BackendErrorKind::Denied);
            assert!(
                error
                    .message
                    .contains("does not know the token in VAULT_TOKEN")
            );
            assert!(!shown(&error).contains("canary"));
        }
        // The mount, the lease of the token, and whether the token is known.
        assert_eq!(trap.seen().len(), 3);
    });
}
