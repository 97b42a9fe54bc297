use std::sync::OnceLock;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_crypto::SystemRng;
use strongroom_crypto::keyring::Keyring;

use super::*;

fn barrier() -> Barrier {
    let keyring = Keyring::generate(&SystemRng, Timestamp::from_micros(0));
    Barrier::new([1; 16], &keyring)
}

fn lookup(name: &str) -> Lookup {
    Lookup {
        name: name.to_owned(),
        path: name.to_lowercase(),
        place: format!("shop/development/{}", name.to_lowercase())
            .parse()
            .unwrap(),
    }
}

fn kept(name: &str, seconds: i64, value: &[u8]) -> Kept {
    Kept {
        name: name.to_owned(),
        source: "vault:secret".to_owned(),
        fetched: Timestamp::from_micros(seconds * 1_000_000),
        found: Some(Fetched {
            value: SecretValue::copy_from(value),
            version: Some("3".to_owned()),
            expires_at: None,
        }),
    }
}

fn value_of(cache: &Cache, id: RecordId) -> Option<Vec<u8>> {
    let found = cache.look(id)?.found?;
    Some(found.value.expose_secret().to_owned())
}

#[test]
fn an_answer_opens_for_its_own_question_only() {
    let barrier = barrier();
    let cache = Cache::new(&barrier);
    let me = Identity::new(&barrier, &[b"vault:secret", b"root"]);
    let id = cache.id(&me, &lookup("A"));
    cache.put(id, &kept("A", 5, b"value"));
    let bytes = cache.merged(None).unwrap();
    let read = Cache::parse(&barrier, &bytes).unwrap();
    assert_eq!(value_of(&read, id).unwrap(), b"value");
    assert!(read.look(read.id(&me, &lookup("B"))).is_none());
    // Parts are framed: the same bytes cut elsewhere are somebody else.
    let other = Identity::new(&barrier, &[b"vault:secretr", b"oot"]);
    assert!(read.look(read.id(&other, &lookup("A"))).is_none());
    // Under another question's id the same bytes do not open.
    let stolen = read.id(&me, &lookup("B"));
    let mut moved = bytes.clone();
    let at = MAGIC.len() + 1;
    moved[at..at + ID_BYTES].copy_from_slice(&stolen.0);
    let moved = Cache::parse(&barrier, &moved).unwrap();
    assert!(moved.look(stolen).is_none());
    assert_eq!(moved.damaged(), 1);
}

#[test]
fn a_newer_answer_of_another_process_stays() {
    let barrier = barrier();
    let me = Identity::new(&barrier, &[b"x"]);
    let (first, second) = (Cache::new(&barrier), Cache::new(&barrier));
    let id = first.id(&me, &lookup("A"));
    first.put(id, &kept("A", 5, b"older"));
    second.put(id, &kept("A", 9, b"newer"));
    let disk = second.merged(None).unwrap();
    let disk = first.merged(Some(&disk)).unwrap();
    let read = Cache::parse(&barrier, &disk).unwrap();
    assert_eq!(value_of(&read, id).unwrap(), b"newer");
    // A refusal of before leaves what was answered after it, and takes the rest.
    let third = Cache::new(&barrier);
    third.forget(id, Timestamp::from_micros(8_000_000));
    let disk = third.merged(Some(&disk)).unwrap();
    assert!(value_of(&Cache::parse(&barrier, &disk).unwrap(), id).is_some());
    let fourth = Cache::new(&barrier);
    fourth.forget(id, Timestamp::from_micros(9_000_000));
    let disk = fourth.merged(Some(&disk)).unwrap();
    assert!(Cache::parse(&barrier, &disk).unwrap().look(id).is_none());
}

#[test]
fn the_oldest_answers_make_room() {
    let barrier = barrier();
    let me = Identity::new(&barrier, &[b"x"]);
    let cache = Cache::new(&barrier);
    for at in 0..=ENTRIES_MAX {
        let name = format!("K{at}");
        cache.put(cache.id(&me, &lookup(&name)), &kept(&name, 1, b"v"));
    }
    let read = Cache::parse(&barrier, &cache.merged(None).unwrap()).unwrap();
    let names: Vec<String> = read.entries().into_iter().map(|kept| kept.name).collect();
    assert_eq!(names.len(), ENTRIES_MAX);
    assert_eq!(names.first().map(String::as_str), Some("K1"));
    let large = Cache::new(&barrier);
    for name in ["A", "B", "C"] {
        let value = vec![b'x'; CACHE_BYTES_MAX / 5 * 2];
        large.put(large.id(&me, &lookup(name)), &kept(name, 1, &value));
    }
    let bytes = large.merged(None).unwrap();
    assert!(bytes.len() <= CACHE_BYTES_MAX);
    assert_eq!(Cache::parse(&barrier, &bytes).unwrap().entries().len(), 2);
}

#[test]
fn ages_are_closed_intervals_and_the_future_is_no_age() {
    let kept = kept("A", 100, b"v");
    let at = |micros| Timestamp::from_micros(micros);
    let span = Span::from_seconds(10);
    assert!(kept.is_within(span, at(100_000_000)));
    assert!(kept.is_within(span, at(110_000_000)));
    assert!(!kept.is_within(span, at(110_000_001)));
    assert!(!kept.is_within(span, at(99_999_999)));
}

fn failing(kind: BackendErrorKind, manner: Manner, cache: &std::sync::Arc<Cache>) -> CachedBackend {
    CachedBackend {
        scheme: "vault",
        label: "vault:secret".to_owned(),
        identity: Identity::new(&cache.barrier, &[b"x"]),
        manner,
        cache: std::sync::Arc::clone(cache),
        now: Timestamp::from_micros(200_000_000),
        open: Box::new(move || {
            let error = BackendError::new(kind, "vault:secret", "it fails");
            Box::pin(std::future::ready(Err(error)))
        }),
        opened: OnceLock::new(),
    }
}

#[test]
fn a_failure_is_no_answer_but_for_a_not_found_of_allowed_age() {
    let barrier = barrier();
    let me = Identity::new(&barrier, &[b"x"]);
    let cache = Cache::new(&barrier);
    let id = cache.id(&me, &lookup("A"));
    let absent = Kept {
        found: None,
        ..kept("A", 195, b"")
    };
    cache.put(id, &absent);
    let bytes = cache.merged(None).unwrap();
    let asked = |kind, seconds| {
        let cache = std::sync::Arc::new(Cache::parse(&barrier, &bytes).unwrap());
        let manner = Manner::MaxAge(Span::from_seconds(seconds));
        let backend = failing(kind, manner, &cache);
        let lookups = [lookup("A"), lookup("B")];
        let answers = pollster::block_on(backend.get_many(&lookups));
        assert!(answers[1].is_err());
        answers
            .into_iter()
            .next()
            .unwrap()
            .map(|found| found.is_some())
    };
    assert!(matches!(
        asked(BackendErrorKind::Unreachable, 10),
        Ok(false)
    ));
    assert!(matches!(asked(BackendErrorKind::Throttled, 10), Ok(false)));
    assert!(asked(BackendErrorKind::Unreachable, 4).is_err());
    assert!(asked(BackendErrorKind::Denied, 10).is_err());
    assert!(asked(BackendErrorKind::Sealed, 10).is_err());
}
