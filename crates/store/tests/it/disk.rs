//! A disk that takes no more.

use std::path::Path;
use std::process::Command;

use strongroom_core::port::Durability;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_store::embedded::Rollback;
use strongroom_store::embedded::Writes;
use strongroom_testkit::store_contract::id;
use strongroom_testkit::store_contract::put;

use crate::support::Place;

fn commit(storage: &dyn Storage, number: u64, value: &[u8]) -> Result<u64, StorageError> {
    let batch = vec![put(id(number), value)];
    pollster::block_on(storage.commit(batch, Durability::Durable))
}

fn read(storage: &dyn Storage, number: u64) -> Option<Vec<u8>> {
    let found = pollster::block_on(storage.get(id(number))).unwrap();
    found.map(|record| record.value)
}

/// The limit belongs to the whole process, so that this runs in one of its own; the shell sees
/// to it that the process is not ended by the signal.
#[test]
fn after_a_failed_write_nothing_is_acknowledged_and_reading_goes_on() {
    const NAME: &str = "disk::after_a_failed_write_nothing_is_acknowledged_and_reading_goes_on";
    const MARK: &str = "STRONGROOM_TEST_DISK_FOLDER";
    const LIMITED: &str = "trap '' XFSZ; ulimit -f 400; exec \"$0\" \"$@\"";
    if let Some(folder) = std::env::var_os(MARK) {
        for writes in [Writes::Inline, Writes::Grouped] {
            write_until_it_fails(&Path::new(&folder).join(format!("{writes:?}")), writes);
        }
        return;
    }
    let place = Place::empty();
    let status = Command::new("sh")
        .args(["-c", LIMITED])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env(MARK, place.folder())
        .status();
    assert!(status.unwrap().success());
}

fn write_until_it_fails(folder: &Path, writes: Writes) {
    let mut place = Place::empty();
    place.move_to(folder.into());
    place.create().unwrap();
    let storage = place.open(writes);
    let mut acknowledged = 0;
    let error = loop {
        match commit(&storage, acknowledged, &[7; 3000]) {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(acknowledged > 3, "{acknowledged}");
    assert!(matches!(error, StorageError::ReadOnly { .. }), "{error}");
    let again = commit(&storage, 1_000_000, b"small");
    assert!(
        matches!(again, Err(StorageError::ReadOnly { .. })),
        "{again:?}"
    );
    let check = |storage: &dyn Storage| {
        for number in 0..acknowledged {
            assert_eq!(read(storage, number).unwrap(), [7; 3000]);
        }
        assert_eq!(read(storage, acknowledged), None);
        assert_eq!(read(storage, 1_000_000), None);
    };
    check(&storage);
    drop(storage);
    // Opened again it is what was acknowledged, no more and no less.
    check(&place.try_open(Rollback::Refuse).unwrap());
}
