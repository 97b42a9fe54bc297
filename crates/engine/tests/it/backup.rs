//! Backups: all or nothing, and nothing of a changed one.

use strongroom_core::port::Backend;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::SystemRng;
use strongroom_crypto::header::Header;
use strongroom_crypto::header::Unsealed;
use strongroom_crypto::slot::SlotKind;
use strongroom_crypto::slot::WrapContext;
use strongroom_engine::backend::StoreBackend;
use strongroom_engine::transfer::backup::Backup;
use strongroom_engine::transfer::backup::BackupBackend;
use strongroom_engine::transfer::backup::BackupError;
use strongroom_engine::transfer::backup::Contents;
use strongroom_engine::transfer::backup::collect;

use crate::support::NOW;
use crate::support::World;
use crate::support::context;

/// Changes that are tried.
const TAMPERS: usize = 1000;

fn key() -> SecretValue {
    SecretValue::copy_from(b"the key of the test")
}

fn sealed() -> Vec<u8> {
    let world = World::new();
    for (at, value) in [("a/b", "one"), ("a/b", "two"), ("c", "three")] {
        world.set(at, value);
    }
    world
        .tag("c", |patch| patch.description = Some("what".into()))
        .unwrap();
    let store = StoreBackend::new(world.engine.clone(), context(), String::new());
    let saved = pollster::block_on(collect(&store, "", &|_, _| {})).unwrap();
    let contents = Contents {
        created: NOW,
        from: "store".into(),
        secrets: 2,
        versions: 3,
    };
    let (mut header, unsealed) = Header::create(&SystemRng, NOW);
    let context = WrapContext {
        rng: &SystemRng,
        now: NOW,
    };
    header
        .add_slot(&unsealed, SlotKind::KeyFile, "", &key(), &context)
        .unwrap();
    Backup { contents, saved }.seal(&header, &unsealed).unwrap()
}

fn unlock(header: &Header) -> Result<Unsealed, BackupError> {
    let slot = header.slots().first().map_or(0, |slot| slot.id);
    Ok(header.unseal(slot, &key())?)
}

#[test]
fn what_was_saved_is_read_like_any_backend() {
    let backup = Backup::open(&sealed(), unlock).unwrap();
    assert_eq!((backup.contents.secrets, backup.contents.versions), (2, 3));
    let backend = BackupBackend::new("file".into(), backup);
    pollster::block_on(async {
        let read = async |version: VersionRef| {
            let item = backend.read("a/b", &version).await.unwrap().unwrap();
            // EXPOSE: a test compares what was saved.
            item.payload.value.expose_secret().to_vec()
        };
        assert_eq!(read(VersionRef::Current).await, b"two");
        assert_eq!(read(VersionRef::Id("1".into())).await, b"one");
        let details = backend.details("c").await.unwrap().unwrap();
        assert_eq!(details.description.as_deref(), Some("what"));
        let page = backend.page("", None, 1).await.unwrap();
        assert_eq!(
            (page.addresses, page.next),
            (vec!["a/b".into()], Some("a/b".into()))
        );
    });
}

#[test]
fn nothing_of_a_changed_backup_opens() {
    let bytes = sealed();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % bound as u64).unwrap()
    };
    for round in 0..TAMPERS {
        let mut changed = bytes.clone();
        let at = draw(bytes.len());
        match round % 4 {
            0 => changed[at] ^= 1 << draw(8),
            1 => changed.truncate(at),
            2 => changed.insert(at, u8::try_from(draw(256)).unwrap()),
            _ => {
                let other = draw(bytes.len());
                changed.swap(at, other);
            }
        }
        if changed == bytes {
            continue;
        }
        assert!(
            Backup::open(&changed, unlock).is_err(),
            "round {round} at {at}"
        );
    }
    assert!(Backup::open(&[bytes.as_slice(), b"x"].concat(), unlock).is_err());
    assert!(Backup::open(&bytes, unlock).is_ok());
}
