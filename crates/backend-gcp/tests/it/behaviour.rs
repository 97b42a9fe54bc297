//! What is Secret Manager's own.

use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Lookup;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::SecretValue;
use strongroom_fakes::google::Fake;
use strongroom_fakes::wait;

use crate::world::open;
use crate::world::read;
use crate::world::value;

#[test]
fn declared_secrets_lie_below_the_prefix() {
    wait(async {
        let fake = Fake::start().await;
        let backend = open("shop/team-a", fake.port(), "").await;
        let lookup = Lookup {
            name: "JWT".into(),
            path: "jwt/secret_key".into(),
            place: "app/prod/jwt/secret_key".parse().unwrap(),
        };
        let absent = Lookup {
            path: "absent".into(),
            ..lookup.clone()
        };
        let new = SecretValue::copy_from(b"one");
        backend.set(&lookup, &new).await.unwrap();
        backend.write("elsewhere", &value("two")).await.unwrap();
        assert_eq!(fake.names(), ["elsewhere", "team-a__jwt__secret_key"]);
        assert_eq!(backend.list().await.unwrap(), ["team-a/jwt/secret_key"]);
        let found = backend.get_many(&[lookup.clone(), absent]).await;
        let found: Vec<bool> = found.into_iter().map(|f| f.unwrap().is_some()).collect();
        assert_eq!(found, [true, false]);
        let whole = open("shop", fake.port(), "").await;
        assert_eq!(whole.address(&lookup), "app/prod/jwt/secret_key");
        let named = open("shop", fake.port(), "&name=x-{name}").await;
        assert_eq!(named.address(&lookup), "x-JWT");
    });
}

#[test]
fn a_value_that_was_damaged_on_the_way_is_noticed() {
    wait(async {
        let fake = Fake::start().await;
        let backend = open("shop", fake.port(), "").await;
        backend.write("a", &value("canary-55")).await.unwrap();
        fake.damage_values();
        let error = backend.read("a", &VersionRef::Current).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Damaged);
        assert!(!format!("{error:?}").contains("canary"));
    });
}

#[test]
fn a_disabled_version_is_not_a_secret_that_is_not_there() {
    wait(async {
        let fake = Fake::start().await;
        let backend = open("shop", fake.port(), "").await;
        backend.write("a", &value("x")).await.unwrap();
        fake.set_state("a", 1, "DISABLED");
        let error = backend.read("a", &VersionRef::Current).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Denied);
        assert!(error.message.contains("version 1"), "{error}");
        fake.set_state("a", 1, "DESTROYED");
        assert_eq!(read(&backend, "a").await, None);
    });
}

#[test]
fn two_who_describe_at_once_both_do() {
    wait(async {
        let fake = Fake::start().await;
        let backend = open("shop", fake.port(), "").await;
        backend.write("a", &value("x")).await.unwrap();
        let changes = (0..8).map(|number| {
            let backend = &backend;
            async move {
                let tag = format!("t{number}");
                let annotation = Annotation {
                    tags: [(tag, Some("1".to_owned()))].into(),
                    ..Annotation::default()
                };
                backend.annotate("a", &annotation).await.unwrap();
            }
        });
        futures_util::future::join_all(changes).await;
        assert_eq!(backend.details("a").await.unwrap().unwrap().tags.len(), 8);
    });
}

#[test]
fn refusals_have_kinds_and_fixes_and_no_values() {
    wait(async {
        let fake = Fake::start().await;
        let check = async |path: &str, address: &str, kind| {
            let backend = open(path, fake.port(), "").await;
            let error = backend
                .write(address, &value("canary-66"))
                .await
                .unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.hint.is_some(), "{error}");
            assert!(!format!("{error:?}").contains("canary"));
        };
        check("forbidden", "a", BackendErrorKind::Denied).await;
        check("nowhere", "a", BackendErrorKind::Misconfigured).await;
        check("shop", &"x".repeat(256), BackendErrorKind::Invalid).await;
        fake.fail_next(&[401]);
        check("shop", "a", BackendErrorKind::Denied).await;
        let backend = open("shop", fake.port(), "").await;
        let annotation = Annotation {
            tags: [("Team".to_owned(), Some("x".to_owned()))].into(),
            ..Annotation::default()
        };
        backend.write("a", &value("x")).await.unwrap();
        let error = backend.annotate("a", &annotation).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Invalid);
        let denied = open("forbidden", fake.port(), "").await.health().await;
        assert_eq!(denied.unwrap_err().kind, BackendErrorKind::Denied);
    });
}
