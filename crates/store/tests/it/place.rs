//! Where a store may lie, and what opening one does.

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use strongroom_core::port::Durability;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;
use strongroom_engine::Engine;
use strongroom_store::embedded::FORMAT;
use strongroom_store::embedded::OpenStoreError;
use strongroom_store::embedded::Rollback;
use strongroom_store::embedded::StoreFile;
use strongroom_store::embedded::UnsafePlace;
use strongroom_store::embedded::Writes;
use strongroom_testkit::store_contract::id;
use strongroom_testkit::store_contract::put;

use crate::support::Place;

fn write(storage: &dyn Storage, number: u64, value: &[u8]) -> u64 {
    let batch = vec![put(id(number), value)];
    pollster::block_on(storage.commit(batch, Durability::Durable)).unwrap()
}

fn read(storage: &dyn Storage, number: u64) -> Option<Vec<u8>> {
    let found = pollster::block_on(storage.get(id(number))).unwrap();
    found.map(|record| record.value)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn open_error(place: &Place) -> OpenStoreError {
    place.try_open(Rollback::Refuse).err().unwrap()
}

/// Runs SQL on the file as another program would.
fn sql(place: &Place, statement: &str) {
    let connection = rusqlite::Connection::open(place.store()).unwrap();
    connection.execute_batch(statement).unwrap();
}

#[test]
fn a_new_store_opens_with_what_was_written() {
    let place = Place::empty();
    let missing = StoreFile::open(&place.store()).err().unwrap();
    assert!(
        matches!(missing, OpenStoreError::Missing { .. }),
        "{missing}"
    );
    let created = place.create().unwrap();
    assert_eq!(created.header().store_id(), place.keys.header.store_id());
    assert!(created.warnings().is_empty());
    drop(created);
    write(&place.open(Writes::Inline), 1, b"one");
    write(&place.open(Writes::Grouped), 2, b"two");
    let storage = place.open(Writes::Inline);
    assert_eq!(read(&storage, 1).unwrap(), b"one");
    assert_eq!(read(&storage, 2).unwrap(), b"two");
    assert!(storage.integrity().unwrap().is_empty());
}

#[test]
fn the_folders_above_are_made_for_the_owner_only() {
    let place = Place::empty();
    let path = place.folder().join("a/b/store.db");
    let first = Engine::first_records(&place.keys.barrier);
    StoreFile::create(&path, &place.keys.header, &place.keys.barrier, first).unwrap();
    assert_eq!(mode(&place.folder().join("a")), 0o700);
    assert_eq!(mode(&place.folder().join("a/b")), 0o700);
}

#[test]
fn a_second_create_is_refused_and_changes_nothing() {
    let place = Place::new();
    write(&place.open(Writes::Inline), 1, b"one");
    let before = place.snapshot();
    let error = place.create().err().unwrap();
    assert!(matches!(error, OpenStoreError::Exists { .. }), "{error}");
    assert_eq!(place.snapshot(), before);
}

#[test]
fn a_create_that_fails_leaves_nothing() {
    let place = Place::empty();
    let mut conflict = put(id(1), b"x");
    conflict.precondition = strongroom_core::port::Precondition::Exists;
    let (header, barrier) = (&place.keys.header, &place.keys.barrier);
    let result = StoreFile::create(&place.store(), header, barrier, vec![conflict]);
    assert!(result.is_err());
    assert!(place.snapshot().is_empty());
}

#[test]
fn creating_at_a_dangling_link_touches_nothing() {
    let place = Place::empty();
    std::os::unix::fs::symlink(place.folder().join("elsewhere"), place.store()).unwrap();
    let error = place.create().err().unwrap();
    assert!(matches!(error, OpenStoreError::Exists { .. }), "{error}");
    assert!(!place.head().exists());
    assert!(!place.folder().join("elsewhere").exists());
}

/// SQLite would play an old log into a new file of the same name.
#[test]
fn a_log_left_of_an_earlier_store_is_not_played_into_a_new_one() {
    let place = Place::new();
    let storage = place.open(Writes::Inline);
    write(&storage, 1, b"of the earlier store");
    drop(storage);
    fs::remove_file(place.store()).unwrap();
    assert!(place.file("-wal").exists());
    let before = place.snapshot();
    let error = place.create().err().unwrap();
    assert!(matches!(error, OpenStoreError::LeftOver { .. }), "{error}");
    assert_eq!(place.snapshot(), before);
    fs::remove_file(place.file("-wal")).unwrap();
    place.create().unwrap();
    assert_eq!(read(&place.open(Writes::Inline), 1), None);
}

#[test]
fn modes_that_are_too_wide_are_mended_with_a_warning() {
    let place = Place::new();
    let storage = place.open(Writes::Inline);
    write(&storage, 1, b"one");
    drop(storage);
    let files = [place.store(), place.file("-wal"), place.head()];
    for path in &files {
        set_mode(path, 0o644);
    }
    let file = StoreFile::open(&place.store()).unwrap();
    assert_eq!(file.warnings().len(), files.len(), "{:?}", file.warnings());
    assert!(file.warnings()[0].contains("mode 644"));
    for path in &files {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    drop(file);
    assert!(
        StoreFile::open(&place.store())
            .unwrap()
            .warnings()
            .is_empty()
    );
}

#[test]
fn links_and_pipes_are_refused() {
    for suffix in ["", "-wal", "head"] {
        let place = Place::new();
        let storage = place.open(Writes::Inline);
        write(&storage, 1, b"one");
        drop(storage);
        let path = match suffix {
            "head" => place.head(),
            suffix => place.file(suffix),
        };
        let other = place.folder().join("other");

        fs::hard_link(&path, &other).unwrap();
        let error = open_error(&place);
        let is_refused = matches!(
            error,
            OpenStoreError::Unsafe(UnsafePlace::HardLinked { .. })
        );
        assert!(is_refused, "{suffix}: {error}");

        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let target = fs::read(&other).unwrap();
        let error = open_error(&place);
        let is_refused = matches!(error, OpenStoreError::Unsafe(UnsafePlace::NotAFile { .. }));
        assert!(is_refused, "{suffix}: {error}");
        assert_eq!(fs::read(&other).unwrap(), target);

        fs::remove_file(&path).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        let error = open_error(&place);
        let is_refused = matches!(error, OpenStoreError::Unsafe(UnsafePlace::NotAFile { .. }));
        assert!(is_refused, "{suffix}: {error}");
    }
}

#[test]
fn a_folder_that_others_can_write_is_refused() {
    for wide in [0o777, 0o770, 0o1777, 0o702] {
        let place = Place::new();
        set_mode(place.folder(), wide);
        let error = open_error(&place);
        let is_refused = matches!(
            error,
            OpenStoreError::Unsafe(UnsafePlace::SharedFolder { .. })
        );
        assert!(is_refused, "{wide:o}: {error}");
    }
    let place = Place::empty();
    set_mode(place.folder(), 0o777);
    assert!(place.create().is_err());
    assert!(place.snapshot().is_empty());
}

/// The umask belongs to the whole process, so that this runs in one of its own.
#[test]
fn umask_000_makes_no_file_that_others_can_read() {
    const NAME: &str = "place::umask_000_makes_no_file_that_others_can_read";
    const MARK: &str = "STRONGROOM_TEST_UMASK_FOLDER";
    let Some(folder) = std::env::var_os(MARK) else {
        let place = Place::empty();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env(MARK, place.folder())
            .status();
        assert!(status.unwrap().success());
        return;
    };
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut place = Place::empty();
    place.move_to(Path::new(&folder).join("made"));
    place.create().unwrap();
    let storage = place.open(Writes::Inline);
    write(&storage, 1, b"one");
    storage.back_up().unwrap();
    assert_eq!(mode(place.folder()), 0o700);
    let mut seen = Vec::new();
    for entry in fs::read_dir(place.folder()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        seen.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    seen.sort();
    let expected = [
        "store.db",
        "store.db-shm",
        "store.db-wal",
        "store.db.bak",
        "store.head",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let place = Place::new();
    sql(&place, &format!("PRAGMA user_version = {}", FORMAT + 1));
    open_error(&place);
    let before = place.snapshot();
    let error = open_error(&place);
    assert!(
        matches!(error, OpenStoreError::Newer { found, .. } if found == FORMAT + 1),
        "{error}"
    );
    assert_eq!(place.snapshot(), before);
}

/// The layout of format 1, in which the id was the key of the table.
const TO_FORMAT_1: &str = "
    CREATE TABLE first (
        id BLOB PRIMARY KEY, parent BLOB NOT NULL, name BLOB NOT NULL, value BLOB NOT NULL,
        due_at INTEGER, revision INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
    INSERT INTO first SELECT id, parent, name, value, due_at, revision FROM record;
    DROP TABLE record;
    ALTER TABLE first RENAME TO record;
    CREATE INDEX record_parent ON record (parent, id);
    CREATE INDEX record_due ON record (due_at) WHERE due_at IS NOT NULL;
    CREATE INDEX record_revision ON record (revision);
    PRAGMA user_version = 1;
";

#[test]
fn a_store_of_the_first_format_is_brought_up_with_everything_in_it() {
    let place = Place::new();
    let storage = place.open(Writes::Inline);
    for number in 0..50 {
        write(&storage, number, &[number as u8; 3000]);
    }
    drop(storage);
    sql(&place, TO_FORMAT_1);
    for _ in 0..2 {
        let storage = place.open(Writes::Inline);
        for number in 0..50 {
            let found = read(&storage, number).unwrap();
            assert_eq!(found, [number as u8; 3000], "{number}");
        }
        assert_eq!(storage.integrity().unwrap(), Vec::<String>::new());
    }
    let connection = rusqlite::Connection::open(place.store()).unwrap();
    let format: u32 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    assert_eq!(format, FORMAT);
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let some: Vec<u8> = b"not a database, but long enough to look at. ".repeat(200);
    for content in [&b""[..], b"x", &some, &some[..100]] {
        let place = Place::new();
        let storage = place.open(Writes::Inline);
        write(&storage, 1, b"one");
        drop(storage);
        fs::write(place.store(), content).unwrap();
        for with_log in [true, false] {
            if !with_log {
                fs::remove_file(place.file("-wal")).unwrap();
            }
            let before = place.snapshot();
            let error = open_error(&place);
            assert!(matches!(error, OpenStoreError::Damaged { .. }), "{error}");
            assert_eq!(place.snapshot(), before);
        }
    }
    let place = Place::empty();
    rusqlite::Connection::open(place.store())
        .unwrap()
        .execute_batch("CREATE TABLE other (x)")
        .unwrap();
    set_mode(&place.store(), 0o600);
    let error = open_error(&place);
    assert!(matches!(error, OpenStoreError::Damaged { .. }), "{error}");
}

#[test]
fn a_header_is_replaced_only_from_the_one_that_was_read() {
    let place = Place::new();
    let storage = place.open(Writes::Inline);
    let read_at = storage.read_header().unwrap().generation();
    let mut header = place.keys.header.clone();
    header.reseal(&place.keys.unsealed, &SystemRng);
    storage.replace_header(read_at, &header).unwrap();
    assert_eq!(storage.read_header().unwrap().generation(), read_at + 1);
    header.reseal(&place.keys.unsealed, &SystemRng);
    let again = storage.replace_header(read_at, &header);
    assert!(
        matches!(again, Err(StorageError::Conflict { .. })),
        "{again:?}"
    );
    assert_eq!(storage.read_header().unwrap().generation(), read_at + 1);
}

/// The header may be replaced by others while a person types a passphrase.
#[test]
fn a_header_replaced_between_opening_and_unlocking_is_no_rollback() {
    let place = Place::new();
    let waiting = StoreFile::open(&place.store()).unwrap();
    let other = place.open(Writes::Inline);
    let mut header = place.keys.header.clone();
    header.reseal(&place.keys.unsealed, &SystemRng);
    other
        .replace_header(place.keys.header.generation(), &header)
        .unwrap();
    waiting
        .unlock(&place.keys.barrier, Writes::Inline, Rollback::Refuse)
        .unwrap();
}

#[test]
fn a_header_put_back_is_a_rollback() {
    let place = Place::new();
    let storage = place.open(Writes::Inline);
    let mut header = place.keys.header.clone();
    header.reseal(&place.keys.unsealed, &SystemRng);
    storage
        .replace_header(place.keys.header.generation(), &header)
        .unwrap();
    // An instance that opened before knows the old generation only; it must not forget the new.
    write(&storage, 1, b"one");
    write(&storage, 2, b"two");
    drop(storage);
    place.open(Writes::Inline);
    place.put_header(&place.keys.header);
    let error = open_error(&place);
    assert!(
        matches!(error, OpenStoreError::RolledBack { .. }),
        "{error}"
    );
}

#[test]
fn an_older_copy_put_back_is_refused_until_it_is_accepted() {
    let place = Place::new();
    let storage = place.open(Writes::Inline);
    write(&storage, 1, b"old");
    drop(storage);
    let old = place.snapshot();
    let storage = place.open(Writes::Inline);
    write(&storage, 1, b"new");
    drop(storage);
    let mixed = old.with(&place.head(), fs::read(place.head()).unwrap());
    place.put_back(&mixed);
    let error = open_error(&place);
    let OpenStoreError::RolledBack {
        found, expected, ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(found + 1, expected);
    assert_eq!(place.snapshot(), mixed);
    let storage = place.try_open(Rollback::Accept).unwrap();
    assert_eq!(read(&storage, 1).unwrap(), b"old");
    drop(storage);
    // Accepted once, it is the truth from now on.
    let storage = place.open(Writes::Inline);
    write(&storage, 1, b"newer");
    drop(storage);
    assert_eq!(read(&place.open(Writes::Inline), 1).unwrap(), b"newer");
}

#[test]
fn a_lost_log_is_a_rollback() {
    let place = Place::new();
    let storage = place.open(Writes::Inline);
    write(&storage, 1, b"one");
    drop(storage);
    fs::remove_file(place.file("-wal")).unwrap();
    let error = open_error(&place);
    assert!(
        matches!(error, OpenStoreError::RolledBack { .. }),
        "{error}"
    );
}

#[test]
fn a_head_file_that_is_gone_or_damaged_or_of_another_store_is_refused() {
    let other = Place::new();
    let contents = [
        None,
        Some(Vec::new()),
        Some(vec![0; 256]),
        Some(vec![0xff; 256]),
        Some(fs::read(other.head()).unwrap()),
    ];
    for content in contents {
        let place = Place::new();
        let storage = place.open(Writes::Inline);
        write(&storage, 1, b"one");
        drop(storage);
        match &content {
            None => fs::remove_file(place.head()).unwrap(),
            Some(bytes) => fs::write(place.head(), bytes).unwrap(),
        }
        let before = place.snapshot();
        let error = open_error(&place);
        assert!(matches!(error, OpenStoreError::Head { .. }), "{error}");
        assert_eq!(place.snapshot(), before);
        let storage = place.try_open(Rollback::Accept).unwrap();
        assert_eq!(read(&storage, 1).unwrap(), b"one");
        drop(storage);
        // From now on the head is known again.
        let storage = place.open(Writes::Inline);
        write(&storage, 2, b"two");
        drop(storage);
        fs::remove_file(place.file("-wal")).unwrap();
        assert!(place.try_open(Rollback::Refuse).is_err());
    }
}

#[test]
fn another_stores_keys_do_not_open_it() {
    let (place, other) = (Place::new(), Place::new());
    let file = StoreFile::open(&place.store()).unwrap();
    let result = file.unlock(&other.keys.barrier, Writes::Inline, Rollback::Refuse);
    assert!(matches!(result.err().unwrap(), OpenStoreError::Head { .. }));
}

#[test]
fn a_backup_is_made_daily_and_found_and_put_back() {
    const HOUR: i64 = 3_600 * 1_000_000;
    let place = Place::new();
    let storage = place.open(Writes::Inline);
    assert_eq!(storage.last_backup(), None);
    write(&storage, 1, b"in the copy");
    let backup = storage.back_up_daily(0).unwrap().unwrap();
    assert_eq!(backup.path, place.file(".bak"));
    assert_eq!(storage.last_backup(), Some(backup.clone()));
    assert_eq!(
        strongroom_store::embedded::find_backup(&place.store()),
        Some(backup.clone())
    );
    assert_eq!(
        storage.back_up_daily(backup.made + 23 * HOUR).unwrap(),
        None
    );
    write(&storage, 1, b"after the copy");
    drop(storage);

    fs::write(place.store(), b"damaged").unwrap();
    let kept = strongroom_store::embedded::restore_backup(&place.store()).unwrap();
    assert_eq!(fs::read(&kept).unwrap(), b"damaged");
    let error = open_error(&place);
    assert!(
        matches!(error, OpenStoreError::RolledBack { .. }),
        "{error}"
    );
    let storage = place.try_open(Rollback::Accept).unwrap();
    assert_eq!(read(&storage, 1).unwrap(), b"in the copy");
    write(&storage, 2, b"goes on");
    drop(storage);
    // It is a store like any other again: with a log, and readers that do not wait for writers.
    assert!(place.file("-wal").exists());
    assert_eq!(read(&place.open(Writes::Inline), 2).unwrap(), b"goes on");
    assert_eq!(mode(&place.store()), 0o600);
}

#[test]
fn a_restore_without_a_backup_changes_nothing() {
    let place = Place::new();
    let before = place.snapshot();
    assert!(strongroom_store::embedded::restore_backup(&place.store()).is_err());
    assert_eq!(place.snapshot(), before);
}

#[test]
fn copies_made_at_once_are_whole() {
    let place = Place::new();
    let storage = place.open(Writes::Grouped);
    for number in 0..50 {
        write(&storage, number, &[7; 3000]);
    }
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let storage = &storage;
            scope.spawn(move || {
                for round in 0..4 {
                    storage.back_up().unwrap();
                    write(storage, 100 + thread * 10 + round, b"x");
                }
            });
        }
    });
    drop(storage);
    strongroom_store::embedded::restore_backup(&place.store()).unwrap();
    let storage = place.try_open(Rollback::Accept).unwrap();
    assert!(storage.integrity().unwrap().is_empty());
    for number in 0..50 {
        assert_eq!(read(&storage, number).unwrap(), [7; 3000]);
    }
    drop(storage);
    let left: Vec<_> = place
        .snapshot()
        .0
        .into_iter()
        .filter(|(path, _)| path.to_string_lossy().contains(".new-"))
        .collect();
    assert!(left.is_empty());
}

#[test]
fn times_before_the_epoch_do_not_make_a_copy_due() {
    let place = Place::new();
    let storage = place.open(Writes::Inline);
    storage.back_up().unwrap();
    let early = Timestamp::from_micros(i64::MIN).as_micros();
    assert_eq!(storage.back_up_daily(early).unwrap(), None);
}
