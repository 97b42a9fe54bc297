//! Flipped bits and cut files: the truth or an error, never anything else.

use std::fs;
use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use strongroom_store::embedded::OpenStoreError;
use strongroom_store::embedded::Rollback;

use crate::support::Snapshot;
use crate::vault::ReadOnly;
use crate::vault::Vault;
use crate::vault::fold_log;

/// Of all places in a range, so many are tried unless slow tests are asked for.
const SAMPLES: usize = 60;
const PAGE_BYTES: usize = 4096;

/// Every place of the range, or a sample that is spread over it.
fn places(range: Range<usize>) -> impl Iterator<Item = usize> {
    let is_slow = std::env::var_os("RUN_SLOW_TESTS").is_some();
    let step = if is_slow {
        1
    } else {
        // Odd, so that no place within a page is left out for good.
        (range.len() / SAMPLES) | 1
    };
    range.step_by(step)
}

/// What opening and reading a damaged store came to.
#[derive(Debug, Default)]
struct Tally {
    whole: usize,
    partly: usize,
    refused: usize,
}

struct Patient {
    vault: Vault,
    sound: Snapshot,
}

impl Patient {
    fn new() -> Self {
        let mut vault = Vault::filled(30, 3);
        // Most lies in the store only, the newest of one in the log.
        fold_log(&vault.place);
        vault.write_newer(1);
        let sound = vault.place.snapshot();
        assert!(!sound.bytes(&vault.place.file("-wal")).is_empty());
        Self { vault, sound }
    }

    /// Opens and reads the store, whose files were just damaged.
    fn examine(&self, what: &str, tally: &mut Tally) {
        let before = self.vault.place.snapshot();
        match self.vault.place.try_open(Rollback::Refuse) {
            Err(error) => {
                let is_clear = !matches!(
                    error,
                    OpenStoreError::Missing { .. } | OpenStoreError::Exists { .. }
                );
                assert!(is_clear, "{what}: {error}");
                let after = self.vault.place.snapshot();
                assert_eq!(before, after, "{what}: files were changed by a refusal");
                tally.refused += 1;
            }
            Ok(storage) => {
                let engine = self.vault.engine(Arc::new(ReadOnly(Arc::new(storage))));
                match self.vault.assert_truth_or_error(&engine, what) {
                    0 => tally.whole += 1,
                    _ => tally.partly += 1,
                }
            }
        }
    }

    fn flip(&self, path: &Path, places: impl Iterator<Item = usize>, tally: &mut Tally) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = self.sound.bytes(path).to_vec();
        self.vault.place.put_back(&self.sound);
        for at in places {
            for change in [1 << (at % 8), 0xff] {
                let file = OpenOptions::new().write(true).open(path).unwrap();
                file.write_all_at(&[bytes[at] ^ change], at as u64).unwrap();
                self.examine(&format!("{name} byte {at} xor {change:#x}"), tally);
                file.write_all_at(&bytes[at..=at], at as u64).unwrap();
            }
        }
    }

    fn cut(&self, path: &Path, lengths: impl Iterator<Item = usize>, tally: &mut Tally) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = self.sound.bytes(path).to_vec();
        for length in lengths {
            self.vault.place.put_back(&self.sound);
            fs::write(path, &bytes[..length]).unwrap();
            self.examine(&format!("{name} cut to {length}"), tally);
        }
    }
}

#[test]
fn a_sound_store_reads_whole() {
    let patient = Patient::new();
    let mut tally = Tally::default();
    patient.examine("sound", &mut tally);
    assert_eq!(tally.whole, 1);
}

#[test]
fn flipped_bits_in_the_first_page_are_noticed() {
    let patient = Patient::new();
    let mut tally = Tally::default();
    let path = patient.vault.place.store();
    patient.flip(&path, 0..100, &mut tally);
    patient.flip(&path, places(100..PAGE_BYTES), &mut tally);
    assert!(tally.refused > 0, "{tally:?}");
}

#[test]
fn flipped_bits_in_the_store_are_noticed() {
    let patient = Patient::new();
    let mut tally = Tally::default();
    let path = patient.vault.place.store();
    let length = patient.sound.bytes(&path).len();
    patient.flip(&path, places(PAGE_BYTES..length), &mut tally);
    // How many hit pages that the log does not cover is chance: ids are random.
    assert!(tally.whole > 0, "{tally:?}");
}

#[test]
fn flipped_bits_in_the_log_are_noticed() {
    let patient = Patient::new();
    let mut tally = Tally::default();
    let path = patient.vault.place.file("-wal");
    let length = patient.sound.bytes(&path).len();
    patient.flip(&path, 0..32 + 24, &mut tally);
    patient.flip(&path, places(32 + 24..length), &mut tally);
    assert!(tally.refused > 0, "{tally:?}");
    // The log has checksums: either all of it counts, or the store is behind its head.
    assert_eq!(tally.partly, 0, "{tally:?}");
}

#[test]
fn flipped_bits_in_a_store_without_a_log_are_noticed() {
    let patient = Patient::new();
    fold_log(&patient.vault.place);
    let patient = Patient {
        sound: patient.vault.place.snapshot(),
        ..patient
    };
    let mut tally = Tally::default();
    let path = patient.vault.place.store();
    let length = patient.sound.bytes(&path).len();
    patient.flip(&path, places(0..PAGE_BYTES), &mut tally);
    patient.flip(&path, places(PAGE_BYTES..length), &mut tally);
    patient.cut(&path, places(0..length), &mut tally);
    assert!(tally.partly > 0 && tally.refused > 0, "{tally:?}");
}

#[test]
fn flipped_bits_in_the_head_file_are_harmless_or_refused() {
    let patient = Patient::new();
    let mut tally = Tally::default();
    let path = patient.vault.place.head();
    let length = patient.sound.bytes(&path).len();
    patient.flip(&path, 0..length, &mut tally);
    patient.cut(&path, 0..length, &mut tally);
    assert_eq!(tally.partly, 0, "{tally:?}");
    assert!(tally.whole > 0 && tally.refused > 0, "{tally:?}");
}

#[test]
fn cut_files_are_noticed() {
    let patient = Patient::new();
    let mut tally = Tally::default();
    for path in [
        patient.vault.place.store(),
        patient.vault.place.file("-wal"),
    ] {
        let length = patient.sound.bytes(&path).len();
        patient.cut(&path, places(0..length), &mut tally);
    }
    assert!(tally.refused > 0, "{tally:?}");
}
