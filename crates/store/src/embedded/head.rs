//! The head file: the last durable revision, sealed, outside the database.
//!
//! SQLite drops a damaged tail of its WAL without a word; a store that is behind its head
//! file has lost writes. Two slots are written in turn, so that a torn write leaves the other.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::RecordId;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::barrier::Field;

use super::OpenStoreError;
use super::Rollback;

const SLOT_BYTES: usize = 128;
const PLACE: RecordId = RecordId([0; 16]);

/// What the head file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) revision: u64,
    pub(super) header_generation: u64,
}

impl Head {
    /// The newest that either knows.
    fn join(&mut self, other: Self) {
        self.revision = self.revision.max(other.revision);
        self.header_generation = self.header_generation.max(other.header_generation);
    }
}

pub(super) struct HeadFile {
    file: File,
    barrier: Barrier,
    last: Mutex<Head>,
}

pub(super) fn path_of(store: &Path) -> PathBuf {
    let mut name = store.file_stem().unwrap_or_default().to_os_string();
    name.push(".head");
    store.with_file_name(name)
}

impl HeadFile {
    /// Writes the head file of a new store, on disk when this returns.
    pub(super) fn create(
        store: &Path,
        barrier: &Barrier,
        head: Head,
    ) -> Result<(), OpenStoreError> {
        let path = path_of(store);
        let file = open(&path, OFlags::CREATE | OFlags::TRUNC)?;
        let head_file = Self {
            file,
            barrier: barrier.clone(),
            last: Mutex::new(head),
        };
        head_file.reset(head);
        head_file
            .file
            .sync_all()
            .map_err(|error| OpenStoreError::Io {
                path,
                detail: error.to_string(),
            })
    }

    pub(super) fn open(
        store: &Path,
        barrier: &Barrier,
        rollback: Rollback,
    ) -> Result<Self, OpenStoreError> {
        let path = path_of(store);
        let nothing = Head {
            revision: 0,
            header_generation: 0,
        };
        let file = match (open(&path, OFlags::empty()), rollback) {
            (Ok(file), _) => file,
            (Err(_), Rollback::Accept) => open(&path, OFlags::CREATE)?,
            (Err(OpenStoreError::Missing { .. }), Rollback::Refuse) => {
                return Err(OpenStoreError::Head {
                    path,
                    problem: "is missing",
                });
            }
            (Err(error), Rollback::Refuse) => return Err(error),
        };
        let head = match (stored(&file, barrier), rollback) {
            (Some(head), _) => head,
            (None, Rollback::Accept) => nothing,
            (None, Rollback::Refuse) => {
                return Err(OpenStoreError::Head {
                    path,
                    problem: "is damaged",
                });
            }
        };
        Ok(Self {
            file,
            barrier: barrier.clone(),
            last: Mutex::new(head),
        })
    }

    pub(super) fn read(&self) -> Head {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a durable revision. Failing is harmless: the head lags.
    pub(super) fn advance(&self, revision: u64) {
        self.update(|head| head.revision = head.revision.max(revision));
    }

    /// Notes a new header.
    pub(super) fn note_header(&self, generation: u64) {
        self.update(|head| head.header_generation = head.header_generation.max(generation));
    }

    /// Forgets what was known, in both slots.
    pub(super) fn reset(&self, head: Head) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = head;
        for slot in 0..2 {
            self.write(head, slot);
        }
    }

    fn update(&self, change: impl FnOnce(&mut Head)) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Other processes write here too: what they know must not be forgotten.
        if let Some(stored) = stored(&self.file, &self.barrier) {
            last.join(stored);
        }
        change(&mut last);
        self.write(*last, last.revision % 2);
    }

    fn write(&self, head: Head, slot: u64) {
        let bytes = encode(&self.barrier, head);
        // A head that lags is harmless, so a failed write is no failure of the commit.
        let _ = self.file.write_all_at(&bytes, slot * SLOT_BYTES as u64);
    }
}

/// What both slots together say; `None` when neither opens.
fn stored(file: &File, barrier: &Barrier) -> Option<Head> {
    let mut bytes = [0; 2 * SLOT_BYTES];
    let length = file.read_at(&mut bytes, 0).unwrap_or(0);
    bytes[..length]
        .chunks(SLOT_BYTES)
        .filter_map(|slot| decode(barrier, slot))
        .reduce(|mut one, other| {
            one.join(other);
            one
        })
}

fn open(path: &Path, flags: OFlags) -> Result<File, OpenStoreError> {
    let flags = flags | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map(File::from)
        .map_err(|error| {
            if error == rustix::io::Errno::NOENT {
                OpenStoreError::Missing { path: path.into() }
            } else {
                OpenStoreError::Io {
                    path: path.into(),
                    detail: error.to_string(),
                }
            }
        })
}

fn encode(barrier: &Barrier, head: Head) -> [u8; SLOT_BYTES] {
    let plain = postcard::to_stdvec(&head).unwrap_or_default();
    let sealed = barrier.seal(PLACE, Field::Head, &plain);
    let mut slot = [0; SLOT_BYTES];
    // Two varints and the envelope are far below the size of a slot.
    slot[0] = u8::try_from(sealed.len()).unwrap_or(0);
    slot[1..=sealed.len()].copy_from_slice(&sealed);
    slot
}

fn decode(barrier: &Barrier, slot: &[u8]) -> Option<Head> {
    let (length, rest) = slot.split_first()?;
    let sealed = rest.get(..usize::from(*length))?;
    let plain = barrier.open(PLACE, Field::Head, sealed).ok()?;
    postcard::from_bytes(&plain).ok()
}
