//! What happens to secrets, one by one.

use strongroom_core::metadata::TAG_KEY_CHARS_MAX;
use strongroom_core::metadata::TAG_VALUE_CHARS_MAX;
use strongroom_core::metadata::TAGS_MAX;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::time::Timestamp;
use strongroom_core::version::Provenance;
use strongroom_core::version::VersionState;
use strongroom_engine::Error;
use strongroom_engine::secrets::VALUE_BYTES_MAX;
use strongroom_engine::secrets::Versions;
use strongroom_engine::secrets::WriteOptions;

use crate::support::NOW;
use crate::support::World;
use crate::support::code;
use crate::support::context;
use crate::support::path;
use crate::support::some;
use crate::support::text;

const NONE: [u64; 0] = [];

#[test]
fn what_is_written_is_read() {
    let world = World::new();
    assert_eq!(code(world.get("a/b")), "secret.not_found");
    let written = world.set("a/b", "one");
    assert_eq!((written.version, written.is_new), (1, true));
    assert_eq!(world.get("a/b").unwrap(), "one");
    // Neither the folder nor what is below the secret is a secret.
    for other in ["a", "a/b/c", "b", "a/B", "a/b "] {
        assert_eq!(code(world.get(other)), "secret.not_found", "{other}");
    }
    world.assert_sound();
}

#[test]
fn bytes_and_shape_come_back_exactly() {
    let world = World::new();
    let cases = [
        (&b""[..], Shape::Text),
        (b"123456", Shape::Text),
        (b"null", Shape::Text),
        (b"a\n", Shape::Text),
        (b"\xff\x00", Shape::Binary),
        (b"{\"a\":1}", Shape::Fields),
    ];
    for (number, (bytes, shape)) in cases.into_iter().enumerate() {
        let at = path(&format!("name-{number}"));
        let payload = Payload {
            value: SecretValue::copy_from(bytes),
            shape,
        };
        let options = WriteOptions::new(Provenance::Set);
        pollster::block_on(world.engine.write(&context(), &at, &payload, &options)).unwrap();
        let read = pollster::block_on(world.engine.read(&context(), &at, None)).unwrap();
        assert_eq!(read.payload.value.expose_secret(), bytes);
        assert_eq!(read.payload.shape, shape);
    }
}

#[test]
fn a_value_has_a_bound() {
    let world = World::new();
    let at_bound = "x".repeat(VALUE_BYTES_MAX);
    world.set("great", &at_bound);
    assert!(world.get("great").unwrap() == at_bound);
    let past = world.try_set("great", &format!("{at_bound}x"), |_| {});
    assert_eq!(code(past), "request.limit");
    assert_eq!(world.numbers("great"), [1]);
}

#[test]
fn versions_are_numbered_and_stay_readable() {
    let world = World::new();
    for (number, value) in (1..).zip(["one", "two", "three"]) {
        assert_eq!(world.set("name", value).version, number);
    }
    assert_eq!(world.get("name").unwrap(), "three");
    for (number, value) in (1..).zip(["one", "two", "three"]) {
        assert_eq!(world.get_version("name", Some(number)).unwrap(), value);
    }
    for unknown in [0, 4, u64::MAX] {
        assert_eq!(
            code(world.get_version("name", Some(unknown))),
            "secret.not_found"
        );
    }
    let stages: Vec<Vec<String>> = world
        .versions("name")
        .into_iter()
        .map(|version| version.stages)
        .collect();
    let none: Vec<String> = Vec::new();
    let expected = [none, vec!["AWSPREVIOUS".into()], vec!["AWSCURRENT".into()]];
    assert_eq!(stages, expected);
}

#[test]
fn the_current_value_makes_no_new_version_unless_forced() {
    let world = World::new();
    world.set("name", "one");
    let again = world.set("name", "one");
    assert_eq!((again.version, again.is_new), (1, false));
    let forced = world.try_set("name", "one", |options| options.force = true);
    assert_eq!(forced.unwrap().version, 2);
    // An earlier value is no current one.
    world.set("name", "two");
    assert_eq!(world.set("name", "one").version, 4);
    // The same bytes in another shape are another value.
    let payload = Payload {
        shape: Shape::Binary,
        ..text("one")
    };
    let options = WriteOptions::new(Provenance::Set);
    let (context, at) = (context(), path("name"));
    let write = world.engine.write(&context, &at, &payload, &options);
    assert_eq!(pollster::block_on(write).unwrap().version, 5);
    // A deleted value is not current either.
    world.delete("name", &Versions::Newest).unwrap();
    assert_eq!(world.set("name", "one").version, 6);
}

#[test]
fn metadata_can_change_with_the_same_value() {
    let world = World::new();
    world.set("name", "one");
    let written = world.try_set("name", "one", |options| {
        options.metadata.description = Some("what for".into());
    });
    let written = written.unwrap();
    assert_eq!((written.version, written.is_new), (1, false));
    let found = pollster::block_on(world.engine.describe(&path("name"))).unwrap();
    assert_eq!(found.metadata.description.as_deref(), Some("what for"));
}

#[test]
fn cas_takes_the_version_that_is_there_only() {
    let world = World::new();
    let with = |cas| {
        move |options: &mut WriteOptions| {
            options.cas = Some(cas);
            options.force = true;
        }
    };
    assert_eq!(
        code(world.try_set("name", "x", with(1))),
        "secret.version_mismatch"
    );
    world.try_set("name", "one", with(0)).unwrap();
    let refused = world.try_set("name", "x", with(0)).unwrap_err();
    let is_mismatch = matches!(
        refused,
        Error::VersionMismatch {
            expected: 0,
            found: 1,
            ..
        }
    );
    assert!(is_mismatch, "{refused}");
    world.try_set("name", "two", with(1)).unwrap();
    assert_eq!(
        code(world.try_set("name", "x", with(1))),
        "secret.version_mismatch"
    );
    assert_eq!(
        code(world.try_set("name", "x", with(3))),
        "secret.version_mismatch"
    );
    // Deleting makes no new version.
    world.delete("name", &Versions::All).unwrap();
    world.try_set("name", "three", with(2)).unwrap();
    assert_eq!(world.get("name").unwrap(), "three");
}

#[test]
fn the_oldest_versions_are_dropped() {
    let world = World::new();
    for number in 1..=12 {
        world.set("name", &format!("value {number}"));
    }
    assert_eq!(world.numbers("name"), (3..=12).collect::<Vec<u64>>());
    assert_eq!(code(world.get_version("name", Some(2))), "secret.not_found");
    assert_eq!(world.get_version("name", Some(3)).unwrap(), "value 3");
    // A smaller number counts from the next write on.
    world
        .tag("name", |patch| patch.max_versions = Some(2))
        .unwrap();
    assert_eq!(world.numbers("name").len(), 10);
    world.set("name", "value 13");
    assert_eq!(world.numbers("name"), [12, 13]);
    world
        .tag("name", |patch| patch.max_versions = Some(1))
        .unwrap();
    world.set("name", "value 14");
    assert_eq!(world.numbers("name"), [14]);
    world
        .tag("name", |patch| patch.max_versions = Some(0))
        .unwrap();
    world.set("name", "value 15");
    assert_eq!(world.numbers("name"), [15]);
    // A head, the root folder and the audit log: no value is left behind.
    let audit = pollster::block_on(world.engine.audit_log(None, 1000)).unwrap();
    assert_eq!(world.records().len(), audit.len() + 2);
    world.assert_sound();
}

#[test]
fn rollback_makes_an_earlier_value_a_new_version() {
    let world = World::new();
    world.set("name", "one");
    world.set("name", "two");
    assert_eq!(world.rollback("name", 1).unwrap().version, 3);
    assert_eq!(world.get("name").unwrap(), "one");
    let newest = world.versions("name").pop().unwrap();
    assert_eq!(newest.provenance, Provenance::RolledBack(1));
    // Also to the current one.
    assert_eq!(world.rollback("name", 3).unwrap().version, 4);
    assert_eq!(code(world.rollback("name", 9)), "secret.not_found");
    assert_eq!(code(world.rollback("other", 1)), "secret.not_found");
    world.delete("name", &some([2])).unwrap();
    assert_eq!(code(world.rollback("name", 2)), "secret.gone");
}

#[test]
fn deleted_versions_come_back_by_undelete() {
    let world = World::new();
    for value in ["one", "two", "three"] {
        world.set("name", value);
    }
    assert_eq!(world.delete("name", &Versions::Newest).unwrap(), [3]);
    let gone = world.get("name").unwrap_err();
    let is_gone = matches!(
        gone,
        Error::Gone {
            version: 3,
            state: "deleted",
            ..
        }
    );
    assert!(is_gone, "{gone}");
    assert_eq!(world.get_version("name", Some(2)).unwrap(), "two");
    assert_eq!(world.delete("name", &some([1, 3, 9])).unwrap(), [1]);
    assert_eq!(code(world.get_version("name", Some(1))), "secret.gone");
    assert_eq!(world.undelete("name", &Versions::All).unwrap(), [1, 3]);
    assert_eq!(world.get("name").unwrap(), "three");
    assert_eq!(world.get_version("name", Some(1)).unwrap(), "one");
    assert_eq!(world.undelete("name", &Versions::All).unwrap(), NONE);
    assert_eq!(
        code(world.delete("other", &Versions::All)),
        "secret.not_found"
    );
    // A value deleted while it was newest can be undeleted after the next write.
    world.delete("name", &Versions::Newest).unwrap();
    world.set("name", "four");
    world.undelete("name", &some([3])).unwrap();
    assert_eq!(world.get_version("name", Some(3)).unwrap(), "three");
    world.assert_sound();
}

#[test]
fn destroyed_versions_are_gone_for_good() {
    let world = World::new();
    for value in ["one", "two", "three"] {
        world.set("name", value);
    }
    world.delete("name", &some([1])).unwrap();
    let before = world.records().len();
    assert_eq!(world.destroy("name", &some([1, 3])).unwrap(), [1, 3]);
    assert_eq!(
        world.records().len(),
        before - 1 + 1,
        "a version less, an audit row more"
    );
    for (number, state) in [(1, "destroyed"), (3, "destroyed")] {
        let gone = world.get_version("name", Some(number)).unwrap_err();
        assert!(matches!(gone, Error::Gone { state: found, .. } if found == state));
    }
    assert_eq!(world.undelete("name", &Versions::All).unwrap(), NONE);
    assert_eq!(world.get_version("name", Some(2)).unwrap(), "two");
    assert_eq!(world.destroy("name", &some([1])).unwrap(), NONE);
    assert_eq!(world.set("name", "four").version, 4);
    assert_eq!(code(world.get_version("name", Some(3))), "secret.gone");
    let states: Vec<VersionState> = world.versions("name").iter().map(|v| v.state).collect();
    let (live, destroyed) = (VersionState::Live, VersionState::Destroyed);
    assert_eq!(states, [destroyed, live, destroyed, live]);
    world.assert_sound();
}

#[test]
fn a_removed_secret_leaves_neither_records_nor_folders() {
    let world = World::new();
    let before = world.records().len();
    for value in ["one", "two", "three"] {
        world.set("a/b/c/name", value);
    }
    world.destroy("a/b/c/name", &some([1])).unwrap();
    world.remove("a/b/c/name").unwrap();
    assert_eq!(code(world.get("a/b/c/name")), "secret.not_found");
    assert_eq!(code(world.remove("a/b/c/name")), "secret.not_found");
    let audit = pollster::block_on(world.engine.audit_log(None, 100)).unwrap();
    assert_eq!(world.records().len(), before + audit.len());
    assert_eq!(world.list(""), Vec::<String>::new());
    // Its successor begins anew.
    assert_eq!(world.set("a/b/c/name", "new").version, 1);
    assert_eq!(
        code(world.get_version("a/b/c/name", Some(2))),
        "secret.not_found"
    );
    world.assert_sound();
}

#[test]
fn rename_takes_versions_and_metadata_along() {
    let world = World::new();
    world.set("a/name", "one");
    world.set("a/name", "two");
    world
        .tag("a/name", |patch| patch.owner = Some("me".into()))
        .unwrap();
    world.destroy("a/name", &some([1])).unwrap();
    world.set("a/name", "three");
    world.rename("a/name", "b/c/other").unwrap();
    assert_eq!(code(world.get("a/name")), "secret.not_found");
    assert_eq!(world.get("b/c/other").unwrap(), "three");
    assert_eq!(world.get_version("b/c/other", Some(2)).unwrap(), "two");
    assert_eq!(code(world.get_version("b/c/other", Some(1))), "secret.gone");
    let found = pollster::block_on(world.engine.describe(&path("b/c/other"))).unwrap();
    assert_eq!(found.metadata.owner.as_deref(), Some("me"));
    assert_eq!(world.list(""), ["b/"]);
    // In the same folder, and into one that is below its own name.
    world.rename("b/c/other", "b/c/again").unwrap();
    world.rename("b/c/again", "b/c/again/deeper").unwrap();
    world.rename("b/c/again/deeper", "b/c/again").unwrap();
    assert_eq!(world.list_recursive(""), ["b/c/again"]);
    assert_eq!(
        code(world.rename("b/c/again", "b/c/again")),
        "request.invalid"
    );
    assert_eq!(code(world.rename("nothing", "x")), "secret.not_found");
    world.set("taken", "x");
    assert_eq!(code(world.rename("b/c/again", "taken")), "secret.exists");
    assert_eq!(world.get("taken").unwrap(), "x");
    world.assert_sound();
}

#[test]
fn copies_are_secrets_of_their_own() {
    let world = World::new();
    world.set("a/b", "one");
    world.set("a/b", "two");
    for target in ["a/c", "a/b/c", "other/deep/name", "top"] {
        world.copy("a/b", target).unwrap();
        assert_eq!(world.get(target).unwrap(), "two");
        assert_eq!(world.get_version(target, Some(1)).unwrap(), "one");
        assert_eq!(code(world.copy("a/b", target)), "secret.exists");
    }
    world.set("a/b", "three");
    world.destroy("a/c", &Versions::All).unwrap();
    assert_eq!(world.get("a/b/c").unwrap(), "two");
    assert_eq!(world.get("a/b").unwrap(), "three");
    assert_eq!(world.list("a"), ["a/b", "a/b/", "a/c"]);
    assert_eq!(code(world.copy("a/b", "a/b")), "request.invalid");
    world.assert_sound();
}

#[test]
fn folders_come_and_go_with_what_is_in_them() {
    let world = World::new();
    assert_eq!(world.list(""), Vec::<String>::new());
    assert_eq!(world.list("nowhere"), Vec::<String>::new());
    for at in ["b/x", "a", "a/y/z", "B", "a/k", "ä/ü"] {
        world.set(at, "value");
    }
    assert_eq!(world.list(""), ["B", "a", "a/", "b/", "ä/"]);
    assert_eq!(world.list("a"), ["a/k", "a/y/"]);
    assert_eq!(world.list("a/y"), ["a/y/z"]);
    let all = ["B", "a", "a/k", "a/y/z", "b/x", "ä/ü"];
    assert_eq!(world.list_recursive(""), all);
    assert_eq!(world.list_recursive("a"), ["a/k", "a/y/z"]);
    world.remove("a/y/z").unwrap();
    assert_eq!(world.list("a"), ["a/k"]);
    world.remove("a/k").unwrap();
    assert_eq!(world.list(""), ["B", "a", "b/", "ä/"]);
    assert_eq!(world.get("a").unwrap(), "value");
    for at in ["a", "b/x", "B", "ä/ü"] {
        world.remove(at).unwrap();
    }
    assert_eq!(world.list(""), Vec::<String>::new());
    world.assert_sound();
}

#[test]
fn a_listing_shows_what_is_known_without_the_value() {
    let world = World::new();
    world.set("one", "same");
    world.set("two", "same");
    world.set("three", "other");
    let expiry = Timestamp::from_micros(NOW.as_micros() + 5);
    world
        .tag("three", |patch| patch.expires_at = Some(Some(expiry)))
        .unwrap();
    world.delete("two", &Versions::Newest).unwrap();
    let entries = pollster::block_on(world.engine.list(&context(), "")).unwrap();
    let [one, three, two] = entries.as_slice() else {
        panic!("{entries:?}")
    };
    assert_eq!(one.fingerprint, two.fingerprint);
    assert_ne!(one.fingerprint, three.fingerprint);
    assert!(one.is_live && !two.is_live);
    assert_eq!((one.expires_at, three.expires_at), (None, Some(expiry)));
    let due = pollster::block_on(world.storage.due(expiry.as_micros() + 1, 9)).unwrap();
    assert_eq!(due.len(), 1);
}

#[test]
fn a_great_folder_is_listed_whole() {
    let world = World::new();
    let count = 1200;
    for number in 0..count {
        world.set(&format!("folder/name-{number:04}"), "value");
    }
    let expected: Vec<String> = (0..count).map(|n| format!("folder/name-{n:04}")).collect();
    assert_eq!(world.list("folder"), expected);
    assert_eq!(code(world.get("folder/name-9999")), "secret.not_found");
    world.assert_sound();
}

#[test]
fn the_deepest_path_works() {
    let world = World::new();
    let deep = ["a"; 256].join("/");
    world.set(&deep, "value");
    assert_eq!(world.get(&deep).unwrap(), "value");
    assert_eq!(world.list_recursive(""), [deep.as_str()]);
    world.assert_sound();
    world.remove(&deep).unwrap();
    assert_eq!(world.list(""), Vec::<String>::new());
}

#[test]
fn tags_have_bounds() {
    let world = World::new();
    world.set("name", "value");
    let set = |key: String, value: Option<String>| {
        world.tag("name", |patch| {
            patch.tags.insert(key, value);
        })
    };
    set(
        "k".repeat(TAG_KEY_CHARS_MAX),
        Some("v".repeat(TAG_VALUE_CHARS_MAX)),
    )
    .unwrap();
    set(
        "ü".repeat(TAG_KEY_CHARS_MAX),
        Some("ü".repeat(TAG_VALUE_CHARS_MAX)),
    )
    .unwrap();
    assert_eq!(
        code(set("k".repeat(TAG_KEY_CHARS_MAX + 1), Some("v".into()))),
        "request.limit"
    );
    assert_eq!(
        code(set("k".into(), Some("v".repeat(TAG_VALUE_CHARS_MAX + 1)))),
        "request.limit"
    );
    for (key, value) in [("", "v"), ("a\nb", "v"), ("k", "a\u{1b}b")] {
        assert_eq!(code(set(key.into(), Some(value.into()))), "request.invalid");
    }
    for number in 0..TAGS_MAX - 2 {
        set(format!("key-{number}"), Some(String::new())).unwrap();
    }
    assert_eq!(
        code(set("one more".into(), Some("v".into()))),
        "request.limit"
    );
    set("key-0".into(), None).unwrap();
    set("one more".into(), Some("v".into())).unwrap();
    let found = pollster::block_on(world.engine.describe(&path("name"))).unwrap();
    assert_eq!(found.metadata.tags.len(), TAGS_MAX);
    assert_eq!(world.numbers("name"), [1]);
    assert_eq!(code(world.tag("other", |_| {})), "secret.not_found");
}

#[test]
fn many_secrets_are_read_at_once() {
    let world = World::new();
    world.set("a/one", "1");
    world.set("two", "2");
    world.set("gone", "3");
    world.delete("gone", &Versions::Newest).unwrap();
    let paths = ["two", "nothing", "a/one", "gone", "two"].map(path);
    let found = pollster::block_on(world.engine.read_many(&context(), &paths)).unwrap();
    let values: Vec<Option<Vec<u8>>> = found
        .into_iter()
        .map(|found| {
            let secret = found.unwrap()?;
            Some(secret.payload.value.expose_secret().to_vec())
        })
        .collect();
    let value = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(values, [value("2"), None, value("1"), None, value("2")]);
}
