//! What every backend has to do by address, as one suite:
//! `backend_contract!(name, wait, make)`.
//!
//! `make` is called for each case and returns a backend that is empty, or at least holds nothing
//! under the addresses `contract/<case>/…`, and something to keep alive with it; `wait` runs a
//! future to its end. What a backend does not claim in its capabilities has to be an error of
//! kind `Unsupported`.
//!
//! A backend whose addresses cannot look like that (a variable's name, say) gives a fourth
//! argument: a `fn(&str) -> String` that spells such an address its way. Different addresses have
//! to stay different, and what begins with another has to begin with it still.

#![expect(clippy::unwrap_used, reason = "a case fails by panicking, as tests do")]

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Expected;
use strongroom_core::port::NewValue;
use strongroom_core::port::Removal;
use strongroom_core::port::Stored;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;

/// Makes a module with one test for each case of the contract.
#[macro_export]
macro_rules! backend_contract {
    ($name:ident, $wait:expr, $make:expr) => {
        $crate::backend_contract!($name, $wait, $make, str::to_owned);
    };
    ($name:ident, $wait:expr, $make:expr, $spell:expr) => {
        $crate::backend_contract!(@cases $name, $wait, $make, $spell;
            what_is_not_there_is_not_found
            what_is_not_claimed_is_refused
            awkward_values_come_back_exactly
            binary_values_come_back_or_are_refused
            many_are_read_at_once_in_the_order_asked
            a_write_replaces_what_was_there
            what_a_write_expects_is_kept
            earlier_versions_can_be_read
            stages_name_versions
            stages_move_with_a_write
            a_time_of_expiry_is_kept
            pages_hold_every_address_once
            descriptions_and_tags_are_kept
            a_removed_secret_is_gone
            a_removed_secret_can_be_restored
            a_value_over_the_bound_is_refused_and_nothing_is_lost
            no_error_shows_a_value
            it_is_healthy
        );
    };
    (@cases $name:ident, $wait:expr, $make:expr, $spell:expr; $($case:ident)+) => {
        mod $name {
            use super::*;
            $(
                #[test]
                fn $case() {
                    let (backend, _kept) = $make;
                    let spell: fn(&str) -> String = $spell;
                    let at = |case: &str, leaf: &str| spell(&format!("contract/{case}/{leaf}"));
                    $wait($crate::backend_contract::$case(&*backend, &at));
                }
            )+
        }
    };
}

/// Values that programs like to change: looks like a number, a boolean, JSON, an end of line.
pub const AWKWARD: &[&str] = &[
    "123456",
    "true",
    "null",
    "[1,2]",
    "{\"a\":1.10,\"b\":[true]}",
    "{\"value\":\"inner\"}",
    "\"quoted\"",
    " leading and trailing ",
    "ends with a newline\n",
    "-----BEGIN KEY-----\r\nline\r\n-----END KEY-----\n",
    "$HOME ${NAME} %s \\n {{x}} <&>",
    "ключ 🔑 é",
    "a=b#c'd\"e",
];

fn text(value: &str) -> NewValue {
    NewValue::new(Payload::detect(SecretValue::copy_from(value.as_bytes())))
}

fn expecting(value: &str, expected: Expected) -> NewValue {
    NewValue {
        expected,
        ..text(value)
    }
}

async fn put(backend: &dyn Backend, address: &str, value: &str) -> Stored {
    backend.write(address, &text(value)).await.unwrap()
}

async fn read(backend: &dyn Backend, address: &str, version: VersionRef) -> Option<Vec<u8>> {
    let item = backend.read(address, &version).await.unwrap();
    // EXPOSE: a test compares what came back.
    item.map(|item| item.payload.value.expose_secret().to_vec())
}

async fn current(backend: &dyn Backend, address: &str) -> Option<Vec<u8>> {
    read(backend, address, VersionRef::Current).await
}

fn assert_unsupported<T>(result: Result<T, BackendError>) {
    let kind = result.err().map(|error| error.kind);
    assert_eq!(kind, Some(BackendErrorKind::Unsupported));
}

/// Absent is `None` by every way of asking, never an error and never an empty value.
pub async fn what_is_not_there_is_not_found(
    backend: &dyn Backend,
    at: &dyn Fn(&str, &str) -> String,
) {
    let address = at("absent", "none");
    assert_eq!(current(backend, &address).await, None);
    let many = backend.read_many(std::slice::from_ref(&address)).await;
    assert_eq!(many.len(), 1);
    assert!(many.into_iter().all(|found| found.unwrap().is_none()));
    if backend.capabilities().delete {
        let removed = backend.remove(&address, Removal::Recoverable).await;
        assert!(!removed.unwrap());
    }
    if backend.capabilities().description {
        assert!(backend.details(&address).await.unwrap().is_none());
    }
}

/// What is not among the capabilities is an error of kind `Unsupported`, whether or not there is
/// anything to do it to.
pub async fn what_is_not_claimed_is_refused(
    backend: &dyn Backend,
    at: &dyn Fn(&str, &str) -> String,
) {
    let capabilities = backend.capabilities();
    let address = at("unclaimed", "u");
    if capabilities.write {
        put(backend, &address, "value").await;
    }
    if !capabilities.versions {
        let version = VersionRef::Id("1".into());
        assert_unsupported(backend.read(&address, &version).await);
    }
    if !capabilities.stages {
        // Labels of its own it may well read; this one it never gave.
        let version = VersionRef::Stage("AWSCURRENT".into());
        match backend.read(&address, &version).await {
            Ok(found) => assert!(found.is_none()),
            refused => assert_unsupported(refused),
        }
    }
    if !capabilities.delete {
        assert_unsupported(backend.remove(&address, Removal::Final).await);
    }
    if !capabilities.restore {
        assert_unsupported(backend.restore(&address).await);
    }
    if !capabilities.rotate {
        assert_unsupported(backend.rotate(&address).await);
    }
}

/// Text stays text, to the byte.
pub async fn awkward_values_come_back_exactly(
    backend: &dyn Backend,
    at: &dyn Fn(&str, &str) -> String,
) {
    if !backend.capabilities().write {
        return assert_unsupported(backend.write("x", &text("x")).await);
    }
    for (index, value) in AWKWARD.iter().enumerate() {
        let address = at("awkward", &format!("a{index}"));
        put(backend, &address, value).await;
        let found = current(backend, &address).await.unwrap();
        assert_eq!(String::from_utf8(found).unwrap(), *value);
    }
}

/// Any bytes, where the backend says so; else a refusal, not a changed value.
pub async fn binary_values_come_back_or_are_refused(
    backend: &dyn Backend,
    at: &dyn Fn(&str, &str) -> String,
) {
    let capabilities = backend.capabilities();
    if !capabilities.write {
        return;
    }
    let address = at("binary", "all");
    let bytes: Vec<u8> = (0..=255).collect();
    let value = NewValue::new(Payload::detect(SecretValue::copy_from(&bytes)));
    let written = backend.write(&address, &value).await;
    if capabilities.binary {
        written.unwrap();
        assert_eq!(current(backend, &address).await.unwrap(), bytes);
    } else {
        assert!(written.is_err());
        assert_eq!(current(backend, &address).await, None);
    }
}

/// More than a bulk request holds, with gaps.
pub async fn many_are_read_at_once_in_the_order_asked(
    backend: &dyn Backend,
    at: &dyn Fn(&str, &str) -> String,
) {
    if !backend.capabilities().write {
        return;
    }
    const COUNT: usize = 23;
    let addresses: Vec<String> = (0..COUNT)
        .rev()
        .map(|number| at("many", &format!("m{number:02}")))
        .collect();
    for address in addresses.iter().step_by(2) {
        put(backend, address, address).await;
    }
    let found = backend.read_many(&addresses).await;
    assert_eq!(found.len(), COUNT);
    for (index, (address, found)) in addresses.iter().zip(found).enumerate() {
        let found = found.unwrap().map(|item| item.payload.value);
        // EXPOSE: a test compares what came back.
        let found = found.map(|value| value.expose_secret().to_vec());
        let expected = (index % 2 == 0).then(|| address.clone().into_bytes());
        assert_eq!(found, expected, "{address}");
    }
}

/// The last write is what is read.
pub async fn a_write_replaces_what_was_there(
    backend: &dyn Backend,
    at: &dyn Fn(&str, &str) -> String,
) {
    let capabilities = backend.capabilities();
    if !capabilities.write {
        return;
    }
    let address = at("replace", "r");
    let first = put(backend, &address, "first").await;
    assert!(first.is_new);
    let second = put(backend, &address, "second").await;
    assert!(second.is_new);
    assert_eq!(current(backend, &address).await.unwrap(), b"second");
    if capabilities.versions {
        assert!(first.version.is_some() && first.version != second.version);
    }
}

/// Check-and-set: absent, and by version.
pub async fn what_a_write_expects_is_kept(
    backend: &dyn Backend,
    at: &dyn Fn(&str, &str) -> String,
) {
    let capabilities = backend.capabilities();
    if !capabilities.write {
        return;
    }
    let address = at("cas", "c");
    if !capabilities.cas {
        let value = expecting("x", Expected::Absent);
        return assert_unsupported(backend.write(&address, &value).await);
    }
    let conflict = |result: Result<Stored, BackendError>| {
        assert_eq!(result.unwrap_err().kind, BackendErrorKind::Conflict);
    };
    let value = expecting("one", Expected::Version("1".into()));
    conflict(backend.write(&address, &value).await);
    let first = backend
        .write(&address, &expecting("one", Expected::Absent))
        .await
        .unwrap();
    conflict(
        backend
            .write(&address, &expecting("two", Expected::Absent))
            .await,
    );
    assert_eq!(current(backend, &address).await.unwrap(), b"one");
    let Some(version) = first.version else {
        return;
    };
    let two = expecting("two", Expected::Version(version.clone()));
    backend.write(&address, &two).await.unwrap();
    let three = expecting("three", Expected::Version(version));
    conflict(backend.write(&address, &three).await);
    assert_eq!(current(backend, &address).await.unwrap(), b"two");
}

/// By the name that the write gave back.
pub async fn earlier_versions_can_be_read(
    backend: &dyn Backend,
    at: &dyn Fn(&str, &str) -> String,
) {
    let capabilities = backend.capabilities();
    if !capabilities.write || !capabilities.versions {
        return;
    }
    let address = at("versions", "v");
    let first = put(backend, &address, "first").await.version.unwrap();
    let second = put(backend, &address, "second").await.version.unwrap();
    let by_id = |id: &str| VersionRef::Id(id.to_owned());
    assert_eq!(
        read(backend, &address, by_id(&first)).await.unwrap(),
        b"first"
    );
    assert_eq!(
        read(backend, &address, by_id(&second)).await.unwrap(),
        b"second"
    );
    let details = backend.details(&address).await.unwrap().unwrap();
    let ids: Vec<&String> = details.versions.iter().map(|version| &version.id).collect();
    assert_eq!(ids, [&first, &second]);
}

/// The current and the previous version carry the stages that AWS gives them.
pub async fn stages_name_versions(backend: &dyn Backend, at: &dyn Fn(&str, &str) -> String) {
    let capabilities = backend.capabilities();
    if !capabilities.write || !capabilities.stages {
        return;
    }
    let address = at("stages", "s");
    put(backend, &address, "first").await;
    put(backend, &address, "second").await;
    let by = |stage: &str| VersionRef::Stage(stage.to_owned());
    assert_eq!(
        read(backend, &address, by("AWSCURRENT")).await.unwrap(),
        b"second"
    );
    assert_eq!(
        read(backend, &address, by("AWSPREVIOUS")).await.unwrap(),
        b"first"
    );
    assert_eq!(read(backend, &address, by("NO-SUCH-STAGE")).await, None);
}

/// A stage that a write gives is taken from the version that had it, and from no other; a version
/// with a stage of its own is one of those that are kept.
pub async fn stages_move_with_a_write(backend: &dyn Backend, at: &dyn Fn(&str, &str) -> String) {
    let capabilities = backend.capabilities();
    if !capabilities.write || !capabilities.stages {
        return;
    }
    let address = at("moves", "m");
    let staged = |value: &str, stages: &[&str]| NewValue {
        stages: stages.iter().map(|stage| (*stage).to_owned()).collect(),
        ..text(value)
    };
    let by = |stage: &str| VersionRef::Stage(stage.to_owned());
    let first = staged("first", &["BLUE", "GREEN"]);
    let first = backend.write(&address, &first).await.unwrap();
    let mut second = staged("second", &["GREEN"]);
    if let (true, Some(version)) = (capabilities.cas, first.version) {
        // moto forgets the stages of what an unconditional write replaces; AWS does not.
        second.expected = Expected::Version(version);
    }
    backend.write(&address, &second).await.unwrap();
    assert_eq!(read(backend, &address, by("BLUE")).await.unwrap(), b"first");
    assert_eq!(
        read(backend, &address, by("GREEN")).await.unwrap(),
        b"second"
    );
    let details = backend.details(&address).await.unwrap().unwrap();
    let mut stages: Vec<&str> = details
        .versions
        .iter()
        .flat_map(|version| version.stages.iter().map(String::as_str))
        .collect();
    stages.sort_unstable();
    assert_eq!(stages, ["AWSCURRENT", "AWSPREVIOUS", "BLUE", "GREEN"]);
    let kept = capabilities.versions_max.unwrap_or_default();
    for number in 0..kept {
        put(backend, &address, &format!("later {number}")).await;
    }
    assert_eq!(read(backend, &address, by("BLUE")).await.unwrap(), b"first");
}

/// With the value, and changed afterwards.
pub async fn a_time_of_expiry_is_kept(backend: &dyn Backend, at: &dyn Fn(&str, &str) -> String) {
    let capabilities = backend.capabilities();
    if !capabilities.write || !capabilities.expiry {
        return;
    }
    let address = at("expiry", "e");
    let times = [4_000_000_000_000_000, 5_000_000_000_000_000].map(Timestamp::from_micros);
    let found = async || {
        let item = backend.read(&address, &VersionRef::Current).await.unwrap();
        item.unwrap().expires_at
    };
    let mut value = text("value");
    value.annotation.expires_at = Some(Some(times[0]));
    backend.write(&address, &value).await.unwrap();
    assert_eq!(found().await, Some(times[0]));
    put(backend, &address, "another value").await;
    assert_eq!(found().await, Some(times[0]));
    for wanted in [Some(times[1]), None] {
        let annotation = Annotation {
            expires_at: Some(wanted),
            ..Annotation::default()
        };
        backend.annotate(&address, &annotation).await.unwrap();
        assert_eq!(found().await, wanted);
    }
}

/// Pages smaller than what is there, by prefix.
pub async fn pages_hold_every_address_once(
    backend: &dyn Backend,
    at: &dyn Fn(&str, &str) -> String,
) {
    let capabilities = backend.capabilities();
    if !capabilities.list {
        return assert_unsupported(backend.page("", None, 10).await);
    }
    if !capabilities.write {
        return;
    }
    let expected: BTreeSet<String> = (0..7)
        .map(|number| at("pages", &format!("p{number}")))
        .collect();
    for address in &expected {
        put(backend, address, "value").await;
    }
    put(backend, &at("pagesother", "p"), "value").await;
    let prefix = at("pages", "");
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = backend.page(&prefix, after.as_deref(), 3).await.unwrap();
        assert!(page.addresses.len() <= 3);
        found.extend(page.addresses);
        after = page.next;
        if after.is_none() {
            break;
        }
        assert!(found.len() <= 7, "pages do not end");
    }
    assert_eq!(found.len(), 7);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
}

/// Where the backend claims them.
pub async fn descriptions_and_tags_are_kept(
    backend: &dyn Backend,
    at: &dyn Fn(&str, &str) -> String,
) {
    let capabilities = backend.capabilities();
    if !capabilities.write {
        return;
    }
    let address = at("annotate", "a");
    put(backend, &address, "value").await;
    if !capabilities.description && !capabilities.tags {
        let annotation = Annotation {
            description: Some("what it is".into()),
            ..Annotation::default()
        };
        return assert_unsupported(backend.annotate(&address, &annotation).await);
    }
    let tag = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
    let mut annotation = Annotation::default();
    if capabilities.description {
        annotation.description = Some("what it is for".into());
    }
    if capabilities.tags {
        annotation.tags = [tag("team", Some("pay")), tag("old", Some("1"))].into();
    }
    backend.annotate(&address, &annotation).await.unwrap();
    annotation.tags = if capabilities.tags {
        [tag("old", None)].into()
    } else {
        BTreeMap::new()
    };
    annotation.description = None;
    backend.annotate(&address, &annotation).await.unwrap();
    let details = backend.details(&address).await.unwrap().unwrap();
    if capabilities.description {
        assert_eq!(details.description.as_deref(), Some("what it is for"));
    }
    if capabilities.tags {
        let tags: Vec<_> = details.tags.iter().collect();
        assert_eq!(tags, [(&"team".to_owned(), &"pay".to_owned())]);
    }
    assert_eq!(current(backend, &address).await.unwrap(), b"value");
}

/// Not found, not listed, and free to be written again after a final removal.
pub async fn a_removed_secret_is_gone(backend: &dyn Backend, at: &dyn Fn(&str, &str) -> String) {
    let capabilities = backend.capabilities();
    if !capabilities.write {
        return;
    }
    let address = at("remove", "r");
    if !capabilities.delete {
        return assert_unsupported(backend.remove(&address, Removal::Final).await);
    }
    put(backend, &address, "value").await;
    assert!(backend.remove(&address, Removal::Final).await.unwrap());
    assert_eq!(current(backend, &address).await, None);
    if capabilities.list {
        let page = backend.page(&at("remove", ""), None, 10).await.unwrap();
        assert_eq!(page.addresses, [""; 0]);
    }
    put(backend, &address, "again").await;
    assert_eq!(current(backend, &address).await.unwrap(), b"again");
}

/// With its value and its earlier version.
pub async fn a_removed_secret_can_be_restored(
    backend: &dyn Backend,
    at: &dyn Fn(&str, &str) -> String,
) {
    let capabilities = backend.capabilities();
    if !capabilities.write || !capabilities.delete {
        return;
    }
    let address = at("restore", "r");
    put(backend, &address, "value").await;
    if !capabilities.restore {
        return assert_unsupported(backend.restore(&address).await);
    }
    assert!(
        backend
            .remove(&address, Removal::Recoverable)
            .await
            .unwrap()
    );
    assert_eq!(current(backend, &address).await, None);
    assert!(backend.restore(&address).await.unwrap());
    assert_eq!(current(backend, &address).await.unwrap(), b"value");
}

/// At the bound it is kept, one byte past it it is refused, and what was there stays.
pub async fn a_value_over_the_bound_is_refused_and_nothing_is_lost(
    backend: &dyn Backend,
    at: &dyn Fn(&str, &str) -> String,
) {
    let capabilities = backend.capabilities();
    let (true, Some(bytes_max)) = (capabilities.write, capabilities.value_bytes_max) else {
        return;
    };
    let address = at("bound", "b");
    let greatest = "x".repeat(bytes_max);
    put(backend, &address, &greatest).await;
    let refused = backend
        .write(&address, &text(&format!("{greatest}x")))
        .await;
    assert_eq!(refused.unwrap_err().kind, BackendErrorKind::Invalid);
    assert_eq!(
        current(backend, &address).await.unwrap(),
        greatest.as_bytes()
    );
}

/// Refused writes do not quote what was written.
pub async fn no_error_shows_a_value(backend: &dyn Backend, at: &dyn Fn(&str, &str) -> String) {
    let canary = "canary-4bb0a1c2";
    let long = format!("{}/{}", at("errors", "n"), "n".repeat(5000));
    for address in [long.as_str(), "", "contract//double", "contract/../up"] {
        if let Err(error) = backend.write(address, &text(canary)).await {
            assert!(!format!("{error} {error:?}").contains(canary));
        }
    }
}

/// And says so in a phrase.
pub async fn it_is_healthy(backend: &dyn Backend, _at: &dyn Fn(&str, &str) -> String) {
    assert!(!backend.health().await.unwrap().is_empty());
}
