//! The header of SQLite's log index, which changes with every commit of any process.
//!
//! Its form is fixed (<https://sqlite.org/walformat.html>, "the WAL-index header"): two copies of
//! 48 bytes, each with a change counter and a checksum over the rest. Reading it costs one
//! system call; asking SQLite costs a transaction.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;

use super::with_suffix;

/// Length of one copy of the header.
const HEADER_BYTES: usize = 48;

/// The log index beside a store that is open, so that the file stays.
pub(super) struct LogIndex {
    path: std::path::PathBuf,
    file: OnceLock<File>,
}

impl LogIndex {
    pub(super) fn of(store: &Path) -> Self {
        Self {
            path: with_suffix(store, "-shm"),
            file: OnceLock::new(),
        }
    }

    /// Tells one state of the store from every later one; `None` while there is no index, or
    /// while somebody is just writing it.
    pub(super) fn sign(&self) -> Option<u64> {
        let file = match self.file.get() {
            Some(file) => file,
            None => {
                let opened = File::open(&self.path).ok()?;
                self.file.get_or_init(|| opened)
            }
        };
        let mut bytes = [0; HEADER_BYTES * 2];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let (one, two) = bytes.split_at(HEADER_BYTES);
        let is_written = bytes[12] == 1;
        if one != two || !is_written {
            return None;
        }
        // The change counter, and the checksum of the whole header.
        let counter = u32::from_ne_bytes(bytes[8..12].try_into().ok()?);
        let checksum = u32::from_ne_bytes(bytes[40..44].try_into().ok()?);
        Some(u64::from(counter) << 32 | u64::from(checksum))
    }
}
