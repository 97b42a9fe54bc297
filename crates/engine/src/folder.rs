//! Folders: they make listing cheap, and notice a record that has vanished.
//!
//! A folder's record counts its children and holds a keyed hash over them, in 256 buckets by
//! the first byte of a child's id. A secret counts with the very copy that is stored, so that
//! an old copy of a row put back does not fit either.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use strongroom_core::path::SecretPath;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::MergeFailed;
use strongroom_core::port::Precondition;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::port::StorageError;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::barrier::Field;

use crate::error::Error;
use crate::record;
use crate::record::Kind;
use crate::record::Summary;

/// Children read from storage at once.
pub(crate) const PAGE: usize = 512;
/// A reading that others disturb is repeated so often.
const READS_MAX: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bucket {
    count: u32,
    hash: [u8; 16],
}

/// What a folder knows of its children: buckets that are not empty, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Children(Vec<(u8, Bucket)>);

/// A stored bucket: its number, its count, its hash.
const BUCKET_BYTES: usize = 1 + 4 + 16;
/// First byte of what a folder stores.
const CHILDREN_FORMAT: u8 = 1;

impl Children {
    fn apply(&mut self, delta: &Delta) {
        let at = self
            .0
            .binary_search_by_key(&delta.bucket, |(number, _)| *number);
        let at = at.unwrap_or_else(|at| {
            self.0.insert(at, (delta.bucket, Bucket::default()));
            at
        });
        let (_, bucket) = &mut self.0[at];
        bucket.count = bucket.count.saturating_add_signed(delta.count);
        for (byte, change) in bucket.hash.iter_mut().zip(delta.hash) {
            *byte ^= change;
        }
        if *bucket == Bucket::default() {
            self.0.remove(at);
        }
    }

    fn total(&self) -> u64 {
        let counts = self.0.iter().map(|(_, bucket)| u64::from(bucket.count));
        counts.sum()
    }

    fn bucket(&self, number: u8) -> Bucket {
        let found = self.0.iter().find(|(other, _)| *other == number);
        found.map_or_else(Bucket::default, |(_, bucket)| bucket.clone())
    }

    fn open(barrier: &Barrier, id: RecordId, sealed: &[u8]) -> Option<Self> {
        let plain = barrier.open(id, Field::Value, sealed).ok()?;
        Self::decode(&plain)
    }

    fn seal(&self, barrier: &Barrier, id: RecordId) -> Vec<u8> {
        barrier.seal(id, Field::Value, &self.encode())
    }

    /// By hand: a folder is read and written with every secret below it.
    fn encode(&self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(1 + self.0.len() * BUCKET_BYTES);
        plain.push(CHILDREN_FORMAT);
        for (number, bucket) in &self.0 {
            plain.push(*number);
            plain.extend_from_slice(&bucket.count.to_le_bytes());
            plain.extend_from_slice(&bucket.hash);
        }
        plain
    }

    fn decode(plain: &[u8]) -> Option<Self> {
        let (&CHILDREN_FORMAT, body) = plain.split_first()? else {
            return None;
        };
        let chunks = body.chunks_exact(BUCKET_BYTES);
        if !chunks.remainder().is_empty() {
            return None;
        }
        let bucket = |chunk: &[u8]| -> Option<(u8, Bucket)> {
            let (number, rest) = chunk.split_first()?;
            let (count, hash) = rest.split_first_chunk::<4>()?;
            let bucket = Bucket {
                count: u32::from_le_bytes(*count),
                hash: hash.try_into().ok()?,
            };
            Some((*number, bucket))
        };
        chunks.map(bucket).collect::<Option<_>>().map(Self)
    }
}

/// A change of one bucket.
#[derive(Clone, Debug)]
struct Delta {
    bucket: u8,
    count: i32,
    hash: [u8; 16],
}

/// Tells one stored copy of a child from every other.
fn child_tag(
    barrier: &Barrier,
    id: RecordId,
    is_folder: bool,
    name: &[u8],
    value: &[u8],
) -> [u8; 16] {
    if is_folder {
        // A folder's record changes with every child below it: only its being there counts.
        return barrier.check_tag(&[b"folder", &id.0]);
    }
    let (name, value) = (Barrier::copy_of(name), Barrier::copy_of(value));
    barrier.check_tag(&[b"secret", &id.0, name, value])
}

/// Collects what a batch changes below its folders, and works out the changes of the folders.
pub(crate) struct FolderPlan<'a> {
    barrier: &'a Barrier,
    deltas: BTreeMap<(Reverse<usize>, String), Vec<Delta>>,
    known: Option<Found>,
}

/// A folder's record as it was read together with a secret of it.
pub(crate) struct Found {
    pub(crate) id: RecordId,
    pub(crate) record: Option<Record>,
}

impl<'a> FolderPlan<'a> {
    pub(crate) fn new(barrier: &'a Barrier, known: Option<Found>) -> Self {
        Self {
            barrier,
            deltas: BTreeMap::new(),
            known,
        }
    }

    /// A secret's record is replaced: `None` for "was not there" or "will not be there".
    pub(crate) fn secret(
        &mut self,
        path: &SecretPath,
        before: Option<&Record>,
        after: Option<&BatchItem>,
    ) {
        let mut hash = [0; 16];
        let mut count = 0;
        let id = record::id_of(self.barrier, Kind::Secret, path.as_str());
        let mut mix = |name: &[u8], value: &[u8]| {
            let tag = child_tag(self.barrier, id, false, name, value);
            for (byte, change) in hash.iter_mut().zip(tag) {
                *byte ^= change;
            }
        };
        if let Some(record) = before {
            mix(&record.name, &record.value);
            count -= 1;
        }
        if let Some(BatchItem {
            change: Change::Put { name, value, .. },
            ..
        }) = after
        {
            mix(name, value);
            count += 1;
        }
        self.add(
            path.folder(),
            Delta {
                bucket: id.0[0],
                count,
                hash,
            },
        );
    }

    fn add(&mut self, folder: &str, delta: Delta) {
        self.deltas
            .entry((Reverse(depth(folder)), folder.to_owned()))
            .or_default()
            .push(delta);
    }

    /// The changes of all folders touched, up to the root, deepest first.
    pub(crate) async fn changes(mut self, storage: &dyn Storage) -> Result<Vec<BatchItem>, Error> {
        let mut changes = Vec::new();
        while let Some(((_, folder), deltas)) = self.deltas.pop_first() {
            let id = record::id_of(self.barrier, Kind::Folder, &folder);
            let stored = match self.known.take_if(|known| known.id == id) {
                Some(known) => known.record,
                None => storage.get(id).await?,
            };
            let mut children = match &stored {
                Some(record) => Children::open(self.barrier, id, &record.value)
                    .ok_or_else(|| unreadable(self.barrier, record, &folder))?,
                None => Children::default(),
            };
            for delta in &deltas {
                children.apply(delta);
            }
            let is_root = folder.is_empty();
            let change = match stored {
                None if is_root => return Err(missing_root()),
                None => {
                    self.touch_parent(&folder, id, 1);
                    put_folder(self.barrier, &folder, id, &children)
                }
                Some(record) if children.total() == 0 && !is_root => {
                    self.touch_parent(&folder, id, -1);
                    let precondition = Precondition::Revision(record.revision);
                    BatchItem {
                        id,
                        precondition,
                        change: Change::Delete,
                    }
                }
                Some(_) => merge_folder(self.barrier, id, deltas, is_root),
            };
            changes.push(change);
        }
        Ok(changes)
    }

    fn touch_parent(&mut self, folder: &str, id: RecordId, count: i32) {
        let hash = child_tag(self.barrier, id, true, &[], &[]);
        self.add(
            parent_of(folder),
            Delta {
                bucket: id.0[0],
                count,
                hash,
            },
        );
    }
}

/// Folders are not kept empty, but for the root. Whether a change empties one is decided on what
/// was read; when others have taken the rest meanwhile, the change is planned again.
fn merge_folder(
    barrier: &Barrier,
    id: RecordId,
    deltas: Vec<Delta>,
    may_be_empty: bool,
) -> BatchItem {
    let barrier = barrier.clone();
    let merge = move |sealed: &[u8]| -> Result<Vec<u8>, MergeFailed> {
        let children = Children::open(&barrier, id, sealed);
        let mut children = children.ok_or(match barrier.is_under_later_key(sealed) {
            // Planning it again tells the caller so.
            true => MergeFailed::Outdated,
            false => MergeFailed::Unreadable,
        })?;
        for delta in &deltas {
            children.apply(delta);
        }
        if children.total() == 0 && !may_be_empty {
            return Err(MergeFailed::Outdated);
        }
        Ok(children.seal(&barrier, id))
    };
    BatchItem {
        id,
        precondition: Precondition::Exists,
        change: Change::Merge(Arc::new(merge)),
    }
}

fn put_folder(barrier: &Barrier, folder: &str, id: RecordId, children: &Children) -> BatchItem {
    let leaf = folder.rsplit('/').next().unwrap_or_default();
    let parent = if folder.is_empty() {
        record::NOWHERE
    } else {
        record::id_of(barrier, Kind::Folder, parent_of(folder))
    };
    let change = Change::Put {
        parent,
        name: record::seal_summary(barrier, id, &Summary::folder(leaf)),
        value: children.seal(barrier, id),
        due_at: None,
    };
    BatchItem {
        id,
        precondition: Precondition::Absent,
        change,
    }
}

/// The first record of a new store: its root folder.
pub(crate) fn root(barrier: &Barrier) -> BatchItem {
    let id = record::id_of(barrier, Kind::Folder, "");
    put_folder(barrier, "", id, &Children::default())
}

pub(crate) fn parent_of(folder: &str) -> &str {
    folder.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn depth(folder: &str) -> usize {
    if folder.is_empty() {
        0
    } else {
        folder.matches('/').count() + 1
    }
}

/// All children of a folder, as their name fields show them, checked against what the folder
/// knows; `None` if there is no folder.
pub(crate) async fn children(
    storage: &dyn Storage,
    barrier: &Barrier,
    folder: &str,
) -> Result<Option<Vec<Summary>>, Error> {
    let id = record::id_of(barrier, Kind::Folder, folder);
    for _ in 0..READS_MAX {
        let Some(folder_record) = storage.get(id).await? else {
            verify_absent(storage, barrier, folder).await?;
            return Ok(None);
        };
        let expected = Children::open(barrier, id, &folder_record.value);
        let expected = expected.ok_or_else(|| unreadable(barrier, &folder_record, folder))?;
        let mut found = Children::default();
        let mut listed = Vec::new();
        let mut after = None;
        loop {
            let page = storage.list(id, after, PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|record| record.id);
            for record in page {
                let summary = record::open_summary(barrier, &record)
                    .ok_or_else(|| unreadable(barrier, &record, folder))?;
                found.apply(&delta_of(barrier, &record, summary.is_folder));
                listed.push(summary);
            }
            if is_last {
                break;
            }
        }
        if found == expected {
            return Ok(Some(listed));
        }
        if is_unchanged(storage, &folder_record).await? {
            return Err(vanished(folder));
        }
    }
    Err(Error::Contended {
        path: shown(folder),
    })
}

/// Whether a record is still the one that was read. A folder's changes with its children, in
/// one commit, so that writes elsewhere do not disturb.
pub(crate) async fn is_unchanged(
    storage: &dyn Storage,
    record: &Record,
) -> Result<bool, StorageError> {
    let now = storage.get(record.id).await?;
    Ok(now.is_some_and(|now| now.revision == record.revision))
}

/// Nothing was found at a path: makes sure that nothing has vanished from there.
pub(crate) async fn verify_missing(
    storage: &dyn Storage,
    barrier: &Barrier,
    path: &SecretPath,
) -> Result<(), Error> {
    let id = record::id_of(barrier, Kind::Secret, path.as_str());
    verify_bucket(storage, barrier, path.folder(), id).await
}

async fn verify_absent(
    storage: &dyn Storage,
    barrier: &Barrier,
    folder: &str,
) -> Result<(), Error> {
    if folder.is_empty() {
        return Err(missing_root());
    }
    let id = record::id_of(barrier, Kind::Folder, folder);
    verify_bucket(storage, barrier, parent_of(folder), id).await
}

/// Nothing was found under the id of a child: checks its bucket of the nearest folder that
/// exists. The child must not be in it either, which a damaged index would make so.
async fn verify_bucket(
    storage: &dyn Storage,
    barrier: &Barrier,
    folder: &str,
    absent: RecordId,
) -> Result<(), Error> {
    let (mut folder, mut absent) = (folder, absent);
    for _ in 0..READS_MAX {
        let (id, record) = loop {
            let id = record::id_of(barrier, Kind::Folder, folder);
            match storage.get(id).await? {
                Some(record) => break (id, record),
                None if folder.is_empty() => return Err(missing_root()),
                None => {
                    absent = id;
                    folder = parent_of(folder);
                }
            }
        };
        let known = Children::open(barrier, id, &record.value);
        let known = known.ok_or_else(|| unreadable(barrier, &record, folder))?;
        let expected = known.bucket(absent.0[0]);
        let (found, is_listed) = read_bucket(storage, barrier, id, absent).await?;
        // It may have been made since it was asked for.
        let is_there = is_listed && storage.get(absent).await?.is_some();
        if found == Some(expected) && (is_there || !is_listed) {
            return Ok(());
        }
        if is_unchanged(storage, &record).await? {
            return Err(vanished(folder));
        }
    }
    Err(Error::Contended {
        path: shown(folder),
    })
}

/// The bucket that a child's id falls into, as its records are, and whether the child is in it;
/// no bucket when one of them does not open.
async fn read_bucket(
    storage: &dyn Storage,
    barrier: &Barrier,
    folder: RecordId,
    child: RecordId,
) -> Result<(Option<Bucket>, bool), StorageError> {
    let bucket = child.0[0];
    let mut children = Children::default();
    let mut is_listed = false;
    // The greatest id of the bucket before: pages come in id order.
    let mut after = bucket.checked_sub(1).map(|before| {
        let mut id = [0xff; 16];
        id[0] = before;
        RecordId(id)
    });
    loop {
        let page = storage.list(folder, after, PAGE).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|record| record.id);
        for record in page {
            if record.id.0[0] != bucket {
                return Ok((Some(children.bucket(bucket)), is_listed));
            }
            is_listed |= record.id == child;
            let Some(summary) = record::open_summary(barrier, &record) else {
                return Ok((None, is_listed));
            };
            children.apply(&delta_of(barrier, &record, summary.is_folder));
        }
        if is_last {
            return Ok((Some(children.bucket(bucket)), is_listed));
        }
    }
}

fn delta_of(barrier: &Barrier, record: &Record, is_folder: bool) -> Delta {
    let hash = child_tag(barrier, record.id, is_folder, &record.name, &record.value);
    Delta {
        bucket: record.id.0[0],
        count: 1,
        hash,
    }
}

fn shown(folder: &str) -> String {
    if folder.is_empty() {
        "the root folder".into()
    } else {
        format!("the folder {folder}")
    }
}

/// Why a folder's record, or the name of a child, cannot be read.
fn unreadable(barrier: &Barrier, record: &Record, folder: &str) -> Error {
    let mut fields = vec![(Field::Name, &*record.name, record::FORMAT)];
    if record.id == record::id_of(barrier, Kind::Folder, folder) {
        fields.push((Field::Value, &*record.value, CHILDREN_FORMAT));
    }
    let detail = "a record in it does not open";
    record::unreadable(barrier, record.id, &fields, shown(folder), detail)
}

fn vanished(folder: &str) -> Error {
    let detail =
        "its records are not the ones that were written (one has vanished or is an older copy)";
    Error::Damaged {
        what: shown(folder),
        detail: detail.into(),
    }
}

fn missing_root() -> Error {
    Error::Damaged {
        what: shown(""),
        detail: "its record is missing".into(),
    }
}
