//! What is Key Vault's own.

use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Lookup;
use strongroom_core::port::Removal;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::time::Timestamp;
use strongroom_fakes::azure::CLIENT_SECRET;
use strongroom_fakes::wait;

use crate::world::World;
use crate::world::open;
use crate::world::read;
use crate::world::value;

#[test]
fn declared_secrets_lie_below_the_prefix() {
    wait(async {
        let world = World::start().await;
        let backend = world.backend("team-a", "").await;
        let lookup = Lookup {
            name: "JWT".into(),
            path: "jwt/key".into(),
            place: "app/prod/jwt/key".parse().unwrap(),
        };
        let absent = Lookup {
            path: "absent".into(),
            ..lookup.clone()
        };
        backend
            .set(&lookup, &SecretValue::copy_from(b"one"))
            .await
            .unwrap();
        backend.write("elsewhere", &value("two")).await.unwrap();
        assert_eq!(world.fake.names(), ["elsewhere", "team-a--jwt--key"]);
        assert_eq!(backend.list().await.unwrap(), ["team-a/jwt/key"]);
        let found = backend.get_many(&[lookup.clone(), absent]).await;
        let found: Vec<bool> = found.into_iter().map(|f| f.unwrap().is_some()).collect();
        assert_eq!(found, [true, false]);
        let named = world.backend("", "&name=x-{name}").await;
        assert_eq!(named.address(&lookup), "x-JWT");
    });
}

#[test]
fn a_declared_secret_says_when_it_expires() {
    const SECOND: i64 = 1_900_000_000;
    wait(async {
        let world = World::start().await;
        let backend = world.backend("app", "").await;
        let lookup = Lookup {
            name: "KEY".into(),
            path: "key".into(),
            place: "app/prod/key".parse().unwrap(),
        };
        let value = SecretValue::copy_from(b"one");
        backend.set(&lookup, &value).await.unwrap();
        world.fake.expire("app--key", SECOND);
        let mut found = backend.get_many(std::slice::from_ref(&lookup)).await;
        let found = found.pop().unwrap().unwrap().unwrap();
        let expiry = Timestamp::from_micros(SECOND * 1_000_000);
        assert_eq!(found.expires_at, Some(expiry));
    });
}

#[test]
fn a_new_version_keeps_the_tags_of_the_last() {
    wait(async {
        let world = World::start().await;
        let backend = world.backend("", "").await;
        let mut first = value("1");
        first.annotation.description = Some("kept".into());
        first.annotation.tags = [("team".to_owned(), Some("pay".to_owned()))].into();
        backend.write("a", &first).await.unwrap();
        backend.write("a", &value("2")).await.unwrap();
        let details = backend.details("a").await.unwrap().unwrap();
        assert_eq!(details.description.as_deref(), Some("kept"));
        assert_eq!(details.tags["team"], "pay");
    });
}

#[test]
fn the_content_type_tells_objects_from_text() {
    wait(async {
        let world = World::start().await;
        let backend = world.backend("", "").await;
        let mut object = value("{\"a\":1}");
        object.payload.shape = Shape::Fields;
        for (written, shape) in [(&object, Shape::Fields), (&value("{x"), Shape::Text)] {
            backend.write("a", written).await.unwrap();
            let found = backend.read("a", &VersionRef::Current).await.unwrap();
            assert_eq!(found.unwrap().payload.shape, shape);
        }
    });
}

#[test]
fn a_deleted_secret_keeps_its_name_until_it_is_purged() {
    wait(async {
        let world = World::start().await;
        let backend = world.backend("", "").await;
        backend.write("a", &value("1")).await.unwrap();
        assert!(backend.remove("a", Removal::Recoverable).await.unwrap());
        assert!(!backend.remove("a", Removal::Recoverable).await.unwrap());
        let error = backend.write("a", &value("canary-2")).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Conflict);
        let details = backend.details("a").await.unwrap().unwrap();
        assert!(details.removed.is_some());
        world.fake.protect_from_purge();
        let error = backend.remove("a", Removal::Final).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Denied);
        assert!(error.hint.unwrap().contains("not purged"));
        assert!(backend.restore("a").await.unwrap());
        assert!(!backend.restore("a").await.unwrap());
        assert_eq!(read(&backend, "a").await.unwrap(), "1");
    });
}

#[test]
fn what_is_refused_is_not_what_is_not_there() {
    wait(async {
        let world = World::start().await;
        let backend = world.backend("", "").await;
        backend.write("a", &value("1")).await.unwrap();
        world.fake.disable("a");
        let check = async |kind| {
            let error = backend.read("a", &VersionRef::Current).await.unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.hint.is_some(), "{error}");
            let shown = format!("{error:?} {backend:?}");
            assert!(!shown.contains("canary"), "{shown}");
        };
        check(BackendErrorKind::Denied).await;
        for (fault, kind) in [
            ((403, "ForbiddenByRbac"), BackendErrorKind::Denied),
            ((404, "PathNotFound"), BackendErrorKind::Malformed),
            ((400, "BadParameter"), BackendErrorKind::Invalid),
        ] {
            world.fake.fail_next(&[fault]);
            check(kind).await;
        }
        let hasty = world.backend("", "&timeout=1s").await;
        for (fault, kind) in [
            ((429, "Throttled"), BackendErrorKind::Throttled),
            ((503, "Busy"), BackendErrorKind::Unreachable),
        ] {
            world.fake.fail_next(&[fault; 40]);
            let error = hasty.read("a", &VersionRef::Current).await.unwrap_err();
            assert_eq!(error.kind, kind);
        }
        world.fake.fail_next(&[(503, "Busy"), (429, "Throttled")]);
        backend.write("b", &value("1")).await.unwrap();
    });
}

#[test]
fn who_is_not_known_is_told_so() {
    wait(async {
        let world = World::start().await;
        let folder = world.folder.path();
        let stranger = open(world.fake.port(), folder, "", "", "canary-wrong").await;
        let error = stranger.write("a", &value("canary-1")).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Denied);
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    });
}

#[test]
fn a_token_goes_to_the_vault_only() {
    wait(async {
        let world = World::start().await;
        let backend = world.backend("", "").await;
        for name in ["a", "b", "c"] {
            backend.write(name, &value("1")).await.unwrap();
        }
        let page = backend.page("", None, 1).await.unwrap();
        assert!(page.next.is_some());
        let elsewhere = backend
            .page("", Some("https://evil.example/secrets"), 1)
            .await;
        assert_eq!(elsewhere.unwrap_err().kind, BackendErrorKind::Malformed);
        world.fake.lead_elsewhere();
        let error = backend.page("", None, 1).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Malformed);
    });
}

#[test]
fn another_authority_is_not_trusted() {
    wait(async {
        let world = World::start().await;
        let other = World::start().await;
        let folder = other.folder.path();
        let backend = open(world.fake.port(), folder, "", "", CLIENT_SECRET).await;
        let error = backend.read("a", &VersionRef::Current).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Unreachable);
        assert!(error.message.contains("certificate"), "{error}");
    });
}
