//! Nothing secret stays in memory once it is dropped: reads the memory of this very process.

use std::fs::File;
use std::os::unix::fs::FileExt;

use strongroom_core::port::Durability;
use strongroom_core::port::Rng;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::version::Provenance;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::key::RootKey;
use strongroom_crypto::keyring::Keyring;
use strongroom_engine::Engine;
use strongroom_engine::secrets::WriteOptions;
use strongroom_testkit::rng::SeededRng;
use zeroize::Zeroizing;

use crate::support::NOW;
use crate::support::World;
use crate::support::context;
use crate::support::path;

/// What is looked for is itself in memory only under this mask.
const MASK: u8 = 0xa5;
/// The allocator keeps its lists in the first bytes of what is free.
const FREED_BYTES: usize = 16;
const CHUNK_BYTES: usize = 1 << 20;

/// Bytes that nobody else has in memory.
struct Needle(Vec<u8>);

impl Needle {
    /// The bytes that the stream of this seed begins with.
    fn of_seed(seed: u64, length: usize) -> Self {
        let mut plain = Zeroizing::new(vec![0; length]);
        SeededRng::new(seed).fill(&mut plain);
        Self(plain.iter().map(|byte| byte ^ MASK).collect())
    }

    /// The same as a text.
    fn text(seed: u64) -> Self {
        let mut needle = Self::of_seed(seed, 48);
        for byte in &mut needle.0 {
            *byte = (b'a' + (*byte ^ MASK) % 26) ^ MASK;
        }
        needle
    }

    fn plain(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.iter().map(|byte| byte ^ MASK).collect())
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        let end = &self.0[FREED_BYTES..];
        let first = end[0] ^ MASK;
        let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == first);
        starts
            .map(|(at, _)| &bytes[at..])
            .any(|rest| rest.len() >= end.len() && end.iter().zip(rest).all(|(a, b)| a ^ b == MASK))
    }

    /// Whether they stand anywhere in what this process can write to.
    fn is_in_memory(&self) -> bool {
        let memory = File::open("/proc/self/mem").unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mut buffer = Zeroizing::new(vec![0; CHUNK_BYTES + self.0.len()]);
        let regions = maps.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let (from, to) = words.next()?.split_once('-')?;
            let is_writable = words.next()?.starts_with("rw");
            let number = |text| u64::from_str_radix(text, 16).ok();
            is_writable.then_some((number(from)?, number(to)?))
        });
        for (from, to) in regions {
            for start in (from..to).step_by(CHUNK_BYTES) {
                // What has just been unmapped cannot be read: there is nothing.
                let read = memory.read_at(&mut buffer, start).unwrap_or(0);
                if self.is_in(&buffer[..read]) {
                    return true;
                }
            }
        }
        false
    }

    /// Found while it is there, and not when it is dropped.
    #[track_caller]
    fn goes_with<T>(&self, make: impl FnOnce() -> T) {
        let made = make();
        assert!(self.is_in_memory(), "it is not found while it is there");
        drop(made);
        assert!(!self.is_in_memory(), "it is still there");
    }
}

#[test]
fn a_value_goes_however_it_was_made() {
    let needle = Needle::text(1);
    needle.goes_with(|| SecretValue::copy_from(&needle.plain()));
    needle.goes_with(|| {
        let mut roomy = Vec::with_capacity(500);
        roomy.extend_from_slice(&needle.plain());
        SecretValue::new(roomy)
    });
    needle.goes_with(|| {
        let plain = needle.plain();
        SecretValue::from_text(std::str::from_utf8(&plain).unwrap().to_owned())
    });
    needle.goes_with(|| {
        let value = SecretValue::copy_from(&needle.plain());
        (value.clone(), Payload::detect(value))
    });
}

#[test]
fn keys_go() {
    let root = Needle::of_seed(2, 32);
    root.goes_with(|| RootKey::generate(&SeededRng::new(2)));
    let data = Needle::of_seed(3, 32);
    data.goes_with(|| {
        let keyring = Keyring::generate(&SeededRng::new(3), NOW);
        let barrier = Barrier::new([1; 16], &keyring);
        (keyring, barrier)
    });
}

#[test]
fn what_was_written_and_read_goes() {
    let needle = Needle::text(4);
    let world = World::new();
    let at = path("a/b");
    needle.goes_with(|| {
        let payload = Payload::detect(SecretValue::copy_from(&needle.plain()));
        let options = WriteOptions::new(Provenance::Set);
        let context = context();
        pollster::block_on(world.engine.write(&context, &at, &payload, &options)).unwrap();
        payload
    });
    needle.goes_with(|| pollster::block_on(world.engine.read(&context(), &at, None)).unwrap());
    needle.goes_with(|| pollster::block_on(world.engine.snapshot(&at)).unwrap());
}

#[test]
fn what_does_not_open_leaves_nothing() {
    let needle = Needle::text(5);
    let world = World::new();
    let payload = Payload::detect(SecretValue::copy_from(&needle.plain()));
    let options = WriteOptions::new(Provenance::Set);
    let (context, at) = (context(), path("a/b"));
    pollster::block_on(world.engine.write(&context, &at, &payload, &options)).unwrap();
    drop(payload);
    let stored = world
        .records()
        .into_iter()
        .max_by_key(|record| record.value.len());
    let mut stored = stored.unwrap();
    *stored.value.last_mut().unwrap() ^= 1;
    let changed = strongroom_core::port::BatchItem {
        id: stored.id,
        precondition: strongroom_core::port::Precondition::Any,
        change: strongroom_core::port::Change::Put {
            parent: stored.parent,
            name: stored.name,
            value: stored.value,
            due_at: stored.due_at,
        },
    };
    pollster::block_on(world.storage.commit(vec![changed], Durability::Durable)).unwrap();
    let engine = Engine::new(std::sync::Arc::clone(&world.storage), world.barrier.clone());
    pollster::block_on(engine.read(&context, &at, None)).unwrap_err();
    assert!(!needle.is_in_memory());
}
