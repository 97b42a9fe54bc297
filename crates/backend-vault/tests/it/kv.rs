//! Addresses, values, versions and metadata.

use std::collections::BTreeSet;

use serde_json::json;
use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Expected;
use strongroom_core::port::NewValue;
use strongroom_core::port::Removal;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::version::VersionState;

use super::support::Action;
use super::support::OpenBao;
use super::support::Trap;
use super::support::lookup;
use super::support::open;
use super::support::read;
use super::support::wait;

fn text(value: &str) -> NewValue {
    NewValue::new(Payload::detect(SecretValue::copy_from(value.as_bytes())))
}

fn fields(json: &str) -> NewValue {
    NewValue::new(Payload {
        value: SecretValue::copy_from(json.as_bytes()),
        shape: Shape::Fields,
    })
}

#[test]
fn a_chain_writes_where_other_clients_look() {
    let server = OpenBao::start();
    wait(async {
        server
            .must(
                "POST",
                "sys/mounts/team",
                r#"{"type":"kv","options":{"version":"2"}}"#,
            )
            .await;
        server
            .must("POST", "sys/mounts/old/kv", r#"{"type":"kv"}"#)
            .await;
        let jwt = lookup("JWT_SECRET", "jwt/secret_key");
        for (uri, place) in [
            ("vault:secret", "secret/data/jwt/secret_key"),
            ("vault:secret/apps", "secret/data/apps/jwt/secret_key"),
            ("vault:", "secret/data/storefront/production/jwt/secret_key"),
            ("vault:team/a/b", "team/data/a/b/jwt/secret_key"),
            ("vault:old/kv/apps", "old/kv/apps/jwt/secret_key"),
            ("vault:secret?name=x/{name}", "secret/data/x/JWT_SECRET"),
            ("vault:?name=team/{path}", "team/data/jwt/secret_key"),
        ] {
            let backend = server.open(uri).await;
            let value = SecretValue::copy_from(uri.as_bytes());
            backend.set(&jwt, &value).await.unwrap();
            let answer = server.must("GET", place, "").await;
            let data = answer["data"].clone();
            let object = if place.starts_with("old/") {
                data
            } else {
                data["data"].clone()
            };
            assert_eq!(object, json!({ "value": uri }), "{place}");
            let found = backend.get_many(std::slice::from_ref(&jwt)).await;
            let found = found.into_iter().next().unwrap().unwrap().unwrap();
            assert!(found.value.ct_eq(&value), "{place}");
            let address = backend.address(&jwt);
            assert_eq!(
                read(&backend, &address).await.unwrap().as_deref(),
                Some(uri)
            );
        }
        let backend = server.open("vault:").await;
        let listed = backend.list().await.unwrap();
        let expected = [
            "apps/jwt/secret_key",
            "jwt/secret_key",
            "old/kv/apps/jwt/secret_key",
            "storefront/production/jwt/secret_key",
            "team/a/b/jwt/secret_key",
            "team/jwt/secret_key",
            "x/JWT_SECRET",
        ];
        assert_eq!(listed, expected);
        for address in &listed {
            assert!(
                read(&backend, address).await.unwrap().is_some(),
                "{address}"
            );
        }
    });
}

#[test]
fn objects_of_others_are_fields_and_one_can_be_picked() {
    let server = OpenBao::start();
    wait(async {
        let body = r#"{"data":{"user":"app","password":"p w","port":5432,"big":12345678901}}"#;
        server.must("POST", "secret/data/db", body).await;
        let backend = server.open("vault:secret").await;
        let item = backend
            .read("db", &VersionRef::Current)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(item.payload.shape, Shape::Fields);
        let found = read(&backend, "db").await.unwrap().unwrap();
        let expected = r#"{"big":12345678901,"password":"p w","port":5432,"user":"app"}"#;
        assert_eq!(found, expected);
        backend.write("copy", &fields(&found)).await.unwrap();
        assert_eq!(read(&backend, "copy").await.unwrap().unwrap(), expected);

        let one = server.open("vault:secret?field=password").await;
        assert_eq!(read(&one, "db").await.unwrap().as_deref(), Some("p w"));
        one.write("db", &text("new")).await.unwrap();
        one.write("fresh", &text("only")).await.unwrap();
        let answer = server.must("GET", "secret/data/db", "").await;
        let data = &answer["data"]["data"];
        assert_eq!(
            (&data["password"], &data["user"]),
            (&json!("new"), &json!("app"))
        );
        assert_eq!(read(&one, "fresh").await.unwrap().as_deref(), Some("only"));
        let removed = one.remove("db", Removal::Final).await.unwrap_err();
        assert_eq!(removed.kind, BackendErrorKind::Unsupported);
        let other = server.open("vault:secret?field=nope").await;
        assert_eq!(read(&other, "db").await.unwrap(), None);
    });
}

#[test]
fn a_write_where_nothing_may_be_takes_the_place_of_what_was_deleted() {
    let server = OpenBao::start();
    wait(async {
        let backend = server.open("vault:secret").await;
        backend.write("a", &text("one")).await.unwrap();
        assert!(backend.remove("a", Removal::Recoverable).await.unwrap());
        assert!(!backend.remove("a", Removal::Recoverable).await.unwrap());
        let absent = NewValue {
            expected: Expected::Absent,
            ..text("two")
        };
        let stored = backend.write("a", &absent).await.unwrap();
        assert_eq!(stored.version.as_deref(), Some("2"));
        let again = backend.write("a", &absent).await.unwrap_err();
        assert_eq!(again.kind, BackendErrorKind::Conflict);
        assert!(!backend.restore("a").await.unwrap());

        server
            .must("POST", "secret/config", r#"{"cas_required":true}"#)
            .await;
        backend.write("a", &text("three")).await.unwrap();
        backend.write("b", &text("one")).await.unwrap();
        assert_eq!(read(&backend, "a").await.unwrap().as_deref(), Some("three"));
        assert_eq!(read(&backend, "b").await.unwrap().as_deref(), Some("one"));
    });
}

#[test]
fn listings_are_sorted_and_hold_live_secrets_only() {
    let server = OpenBao::start();
    wait(async {
        let backend = server.open("vault:secret/top").await;
        let mut expected = BTreeSet::new();
        for address in [
            "a",
            "a-b",
            "a/x",
            "a/y/z",
            "a0",
            "b/c d?",
            "ключ/é",
            "gone",
            "b/gone",
        ] {
            backend.write(address, &text("v")).await.unwrap();
            if address.ends_with("gone") {
                assert!(backend.remove(address, Removal::Recoverable).await.unwrap());
            } else {
                expected.insert(address.to_owned());
            }
        }
        let expected: Vec<String> = expected.into_iter().collect();
        assert_eq!(backend.list().await.unwrap(), expected);
        for limit in 1..=expected.len() + 1 {
            let mut found = Vec::new();
            let mut after = None;
            loop {
                let page = backend.page("", after.as_deref(), limit).await.unwrap();
                assert!(page.addresses.len() <= limit);
                found.extend(page.addresses);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{limit}");
        }
        let page = backend.page("a", None, 10).await.unwrap();
        assert_eq!(page.addresses, ["a", "a-b", "a/x", "a/y/z", "a0"]);
        let page = backend.page("nothing/", None, 10).await.unwrap();
        assert_eq!(page.addresses, [""; 0]);
    });
}

#[test]
fn metadata_of_others_stays_and_old_policies_do() {
    let server = OpenBao::start();
    wait(async {
        let backend = server.open("vault:secret").await;
        let mut new = text("v");
        new.annotation = Annotation {
            description: Some("signs tokens".into()),
            tags: [
                ("team".to_owned(), Some("pay".to_owned())),
                ("too-long".to_owned(), Some("x".repeat(600))),
                ("empty".to_owned(), Some(String::new())),
                ("description".to_owned(), Some("a tag".to_owned())),
            ]
            .into(),
            ..Annotation::default()
        };
        backend.write("a", &new).await.unwrap();
        let policy = r#"
            path "secret/data/*" { capabilities = ["create", "read", "update"] }
            path "secret/metadata/*" { capabilities = ["create", "read", "update"] }
        "#;
        let token = server.token(policy, "").await;
        let without_patch = server.open_as(&token, "vault:secret").await;
        let annotation = Annotation {
            description: None,
            tags: [
                ("owner".to_owned(), Some("ops".to_owned())),
                ("team".to_owned(), None),
            ]
            .into(),
            ..Annotation::default()
        };
        without_patch.annotate("a", &annotation).await.unwrap();
        let details = backend.details("a").await.unwrap().unwrap();
        assert_eq!(details.description.as_deref(), Some("signs tokens"));
        let tags: Vec<_> = details
            .tags
            .iter()
            .map(|(key, text)| (&**key, &**text))
            .collect();
        assert_eq!(tags, [("owner", "ops")]);
        assert!(details.created.is_some() && details.updated >= details.created);
        assert!(details.removed.is_none());
        backend.remove("a", Removal::Recoverable).await.unwrap();
        let details = backend.details("a").await.unwrap().unwrap();
        assert!(details.removed.is_some());
        assert!(matches!(
            details.versions[0].state,
            VersionState::Deleted { .. }
        ));
        let odd = backend.annotate("a", &new.annotation).await.unwrap_err();
        assert_eq!(odd.kind, BackendErrorKind::Invalid);
        let nowhere = backend.annotate("none", &annotation).await.unwrap_err();
        assert_eq!(nowhere.kind, BackendErrorKind::Conflict);
        let nowhere = without_patch
            .annotate("none", &annotation)
            .await
            .unwrap_err();
        assert_eq!(nowhere.kind, BackendErrorKind::Conflict);
    });
}

#[test]
fn an_end_that_is_known_beforehand_is_told() {
    let server = OpenBao::start();
    wait(async {
        server
            .must(
                "POST",
                "secret/metadata/a",
                r#"{"delete_version_after":"1h"}"#,
            )
            .await;
        let backend = server.open("vault:secret").await;
        assert!(backend.details("a").await.unwrap().is_none());
        backend.write("a", &text("v")).await.unwrap();
        let item = backend
            .read("a", &VersionRef::Current)
            .await
            .unwrap()
            .unwrap();
        let seconds = item
            .expires_at
            .unwrap()
            .seconds_since(item.created.unwrap());
        assert_eq!(seconds, 3600);
        assert!(
            backend
                .details("a")
                .await
                .unwrap()
                .unwrap()
                .removed
                .is_none()
        );
        assert_eq!(backend.list().await.unwrap(), ["a"]);
    });
}

/// OpenBao has no engine with leases that needs nothing else; its answers are as recorded.
#[test]
fn leased_credentials_are_read_with_their_end() {
    wait(async {
        let trap = Trap::start(|seen, _| {
            let date = "Date: Sat, 28 Nov 2026 06:00:00 GMT\r\n";
            let body = match &*seen.line {
                "GET /v1/sys/internal/ui/mounts/database/creds" => {
                    r#"{"data":{"path":"database/","type":"database","options":null}}"#
                }
                "GET /v1/database/creds/app" => {
                    r#"{"lease_id":"database/creds/app/x","lease_duration":3600,"renewable":true,
                        "data":{"username":"u","password":"p"}}"#
                }
                _ => r#"{"data":{"ttl":0}}"#,
            };
            Action::Reply(200, date, body.into())
        })
        .await;
        let url = trap.url();
        let variables = [("VAULT_ADDR", &*url), ("VAULT_TOKEN", "t")];
        let backend = open("vault:database/creds", &variables).await.unwrap();
        let item = backend
            .read("app", &VersionRef::Current)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(item.expires_at.unwrap().to_string(), "2026-11-28T07:00:00Z");
        let fields = item.payload.value.expose_secret_text().unwrap();
        assert_eq!(fields, r#"{"username":"u","password":"p"}"#);
        assert!(!backend.capabilities().write);
        let refused = backend.write("app", &text("x")).await.unwrap_err();
        assert_eq!(refused.kind, BackendErrorKind::Unsupported);
        let picked = open("vault:database/creds?field=password", &variables)
            .await
            .unwrap();
        assert_eq!(read(&picked, "app").await.unwrap().as_deref(), Some("p"));
    });
}
