//! What is Kubernetes' own: objects with many keys, many writers, refusals.

use std::collections::BTreeMap;

use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Expected;
use strongroom_core::port::Lookup;
use strongroom_core::port::NewValue;
use strongroom_core::port::Removal;
use strongroom_core::secret::SecretValue;
use strongroom_fakes::wait;

use crate::world::World;
use crate::world::kubeconfig;
use crate::world::open;
use crate::world::read;
use crate::world::value;

#[test]
fn writers_of_other_keys_are_not_undone() {
    wait(async {
        let world = World::start().await;
        let backend = world.backend("k8s:shop/app").await;
        let count = 24;
        let writes = (0..count).map(|number| {
            let backend = &backend;
            async move {
                let address = format!("key-{number}");
                let mut new = value(&address);
                // Three ways of writing: blindly, demanding, with a description.
                match number % 3 {
                    0 => {}
                    1 => new.expected = Expected::Absent,
                    _ => new.annotation.description = Some(address.clone()),
                }
                backend.write(&address, &new).await.unwrap();
            }
        });
        futures_util::future::join_all(writes).await;
        for number in 0..count {
            let address = format!("key-{number}");
            assert_eq!(read(&backend, &address).await.as_ref(), Some(&address));
            let details = backend.details(&address).await.unwrap().unwrap();
            assert_eq!(details.description, (number % 3 == 2).then_some(address));
        }
    });
}

#[test]
fn one_of_two_who_expect_the_same_wins() {
    wait(async {
        let world = World::start().await;
        let backend = world.backend("k8s:shop/app").await;
        let version = backend
            .write("a", &value("0"))
            .await
            .unwrap()
            .version
            .unwrap();
        let writes = ["1", "2"].map(|text| {
            let new = NewValue {
                expected: Expected::Version(version.clone()),
                ..value(text)
            };
            let backend = &backend;
            async move { backend.write("a", &new).await.is_ok() }
        });
        let won = futures_util::future::join_all(writes).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
    });
}

#[test]
fn declared_secrets_lie_in_the_projects_object() {
    wait(async {
        let world = World::start().await;
        let backend = world.backend("k8s:shop").await;
        let lookup = |path: &str| Lookup {
            name: "X".into(),
            path: path.into(),
            place: format!("My_Shop/prod/{path}").parse().unwrap(),
        };
        let lookups = [lookup("jwt/secret_key"), lookup("absent"), lookup("b")];
        let text = |text: &str| SecretValue::copy_from(text.as_bytes());
        backend.set(&lookups[0], &text("one")).await.unwrap();
        backend.set(&lookups[2], &text("two")).await.unwrap();
        let object = world.fake.object("shop", "my-shop-prod").unwrap();
        assert_eq!(object["data"]["jwt__secret_key"], "b25l");
        let before = world.fake.requests();
        let found = backend.get_many(&lookups).await;
        assert_eq!(world.fake.requests(), before + 1);
        let found = found.into_iter().map(|found| found.unwrap().is_some());
        assert_eq!(found.collect::<Vec<_>>(), [true, false, true]);
    });
}

#[test]
fn the_last_key_takes_our_object_with_it_but_nobody_elses() {
    wait(async {
        let world = World::start().await;
        let backend = world.backend("k8s:shop").await;
        for address in ["ours/a", "ours/b", "theirs/a"] {
            backend.write(address, &value("x")).await.unwrap();
        }
        let foreign = r#"{"metadata":{"labels":{"app.kubernetes.io/managed-by":"helm"}}}"#;
        world.fake.merge("shop", "theirs", foreign);
        for address in ["ours/a", "ours/b", "theirs/a"] {
            assert!(backend.remove(address, Removal::Final).await.unwrap());
        }
        assert!(world.fake.object("shop", "ours").is_none());
        assert!(world.fake.object("shop", "theirs").is_some());
    });
}

#[test]
fn a_listing_outlives_its_tokens() {
    wait(async {
        let world = World::start().await;
        let backend = world.backend("k8s:shop").await;
        for number in 0..130 {
            backend
                .write(&format!("s{number:03}/k"), &value("x"))
                .await
                .unwrap();
        }
        let first = backend.page("", None, 110).await.unwrap();
        world.fake.expire_lists();
        let second = backend.page("", first.next.as_deref(), 110).await.unwrap();
        assert_eq!(second.next, None);
        let all: Vec<String> = first
            .addresses
            .into_iter()
            .chain(second.addresses)
            .collect();
        let expected: Vec<String> = (0..130).map(|number| format!("s{number:03}/k")).collect();
        assert_eq!(all, expected);
        let kind = backend
            .page("", Some("nonsense"), 5)
            .await
            .unwrap_err()
            .kind;
        assert_eq!(kind, BackendErrorKind::Invalid);
    });
}

#[test]
fn many_values_are_written_in_one_request() {
    wait(async {
        let world = World::start().await;
        let backend = world.backend("k8s:shop").await;
        backend.write("app/kept", &value("kept")).await.unwrap();
        let text = |text: &str| SecretValue::copy_from(text.as_bytes());
        let values: BTreeMap<_, _> =
            [("a/b".to_owned(), text("1")), ("c".to_owned(), text("2"))].into();
        let before = world.fake.requests();
        backend.apply("app", &values).await.unwrap();
        assert_eq!(world.fake.requests(), before + 1);
        backend.apply("new", &values).await.unwrap();
        let listed = backend.list().await.unwrap();
        assert_eq!(listed, ["app/a/b", "app/c", "app/kept", "new/a/b", "new/c"]);
        let error = backend.apply("No", &values).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Invalid);
    });
}

#[test]
fn refusals_have_kinds_and_fixes_and_no_values() {
    wait(async {
        let world = World::start().await;
        let check = async |line: &str, address: &str, kind| {
            let backend = world.backend(line).await;
            let error = backend
                .write(address, &value("canary-77"))
                .await
                .unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.hint.is_some(), "{error}");
            let shown = format!("{error} {error:?} {backend:?}");
            assert!(!shown.contains("canary"), "{shown}");
        };
        check("k8s:shop?context=stranger", "a/b", BackendErrorKind::Denied).await;
        check("k8s:forbidden", "a/b", BackendErrorKind::Denied).await;
        check("k8s:nowhere", "a/b", BackendErrorKind::Misconfigured).await;
        check("k8s:shop", "A/b", BackendErrorKind::Invalid).await;
        let backend = world.backend("k8s:shop").await;
        backend.write("ice/a", &value("1")).await.unwrap();
        world.fake.merge("shop", "ice", r#"{"immutable":true}"#);
        check("k8s:shop", "ice/a", BackendErrorKind::Invalid).await;
        world.fake.merge(
            "shop",
            "ice",
            r#"{"metadata":{"annotations":{"strongroom/keys":"["}}}"#,
        );
        let annotation = Annotation {
            description: Some("x".into()),
            ..Annotation::default()
        };
        let error = backend.annotate("ice/a", &annotation).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Malformed);
        let denied = world
            .backend("k8s:forbidden")
            .await
            .health()
            .await
            .unwrap_err();
        assert_eq!(denied.kind, BackendErrorKind::Denied);
    });
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    wait(async {
        let world = World::start().await;
        for line in [
            "k8s:shop?nonsense=1",
            "k8s:Shop",
            "k8s:shop/No_Name",
            "k8s://host/shop",
            "k8s:shop?context=none",
            "k8s:shop?timeout=0s",
            "k8s:shop?timeout=1y",
            "k8s:shop?key=fixed",
        ] {
            let error = open(line, &world.config()).await.unwrap_err();
            assert_eq!(error.kind, BackendErrorKind::Misconfigured, "{line}");
        }
        let plain = world.folder.path().join("plain");
        std::fs::write(&plain, kubeconfig("http://10.0.0.1", "canary-5")).unwrap();
        let error = open("k8s:shop", &plain).await.unwrap_err();
        assert!(error.message.contains("TLS"), "{error}");
        let broken = world.folder.path().join("broken");
        let text = kubeconfig("http://x", "canary-3").replace("users:", "users: canary-4\n?");
        std::fs::write(&broken, text).unwrap();
        let error = open("k8s:shop", &broken).await.unwrap_err();
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        let error = open("k8s:shop", &world.folder.path().join("none"))
            .await
            .unwrap_err();
        assert!(error.message.contains("none: entity not found"), "{error}");
    });
}
