//! What lists tell of all secrets of a mount, in memory: a page costs what it shows, and not what
//! the store holds. After a change, what has changed is read anew, and nothing else.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use strongroom_core::path::SecretPath;
use strongroom_core::port::RecordId;
use strongroom_core::time::Timestamp;
use strongroom_engine::Error;
use strongroom_engine::secrets::Snapshot;

use crate::core::Core;
use crate::core::Live;

/// Secrets of a mount that are kept in memory.
const ROWS_MAX: usize = 100_000;
/// Changes that are remembered between two lists; after more, everything is read anew.
const CHANGES_MAX: usize = 4096;

/// A secret, without its value.
pub(super) struct Row {
    /// What it is sorted by, unless somebody says; no two have the same.
    pub(super) key: String,
    pub(super) snapshot: Snapshot,
    id: RecordId,
}

/// The secrets of one mount as they were at one moment.
#[derive(Default)]
pub(super) struct Catalogue {
    /// By the date of making.
    pub(super) rows: Vec<Arc<Row>>,
    by_path: HashMap<String, Arc<Row>>,
    /// The records of the secrets, and of the folders that were looked into.
    records: HashSet<RecordId>,
}

#[derive(Default)]
struct Kept {
    catalogue: Option<Arc<Catalogue>>,
    /// What of it has changed since.
    changed: HashSet<RecordId>,
    /// How many are reading it anew, and everything that has changed since the first began.
    readers: usize,
    meanwhile: HashSet<RecordId>,
}

/// The catalogues of the mounts that were listed.
#[derive(Default)]
pub(crate) struct Catalogues(Mutex<HashMap<[u8; 16], Kept>>);

impl Catalogues {
    /// Notes that records were changed.
    pub(crate) fn note_changed(&self, ids: &[RecordId]) {
        self.lock().retain(|_, kept| {
            if let Some(catalogue) = &kept.catalogue {
                let known = |id: &&RecordId| catalogue.records.contains(*id);
                kept.changed.extend(ids.iter().filter(known));
            }
            if kept.readers > 0 {
                kept.meanwhile.extend(ids);
            }
            kept.changed.len().max(kept.meanwhile.len()) <= CHANGES_MAX
        });
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 16], Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// All secrets of a mount, from memory where nothing has changed since they were read.
    pub(super) async fn catalogue(&self, live: &Live) -> Result<Arc<Catalogue>, Error> {
        let mount = live.mount.uuid;
        let (before, changed) = {
            let mut kept = self.catalogues.lock();
            let kept = kept.entry(mount).or_default();
            if let (Some(catalogue), true) = (&kept.catalogue, kept.changed.is_empty()) {
                return Ok(Arc::clone(catalogue));
            }
            if kept.readers == 0 {
                kept.meanwhile.clear();
            }
            kept.readers += 1;
            (
                kept.catalogue.clone().unwrap_or_default(),
                kept.changed.clone(),
            )
        };
        let read = self.read_catalogue(live, &before, &changed).await;
        let mut kept = self.catalogues.lock();
        // When it is gone, too much has changed meanwhile.
        let Some(kept) = kept.get_mut(&mount) else {
            return read.map(Arc::new);
        };
        kept.readers = kept.readers.saturating_sub(1);
        let catalogue = Arc::new(read?);
        if catalogue.rows.len() <= ROWS_MAX {
            let records = &catalogue.records;
            kept.changed = records.intersection(&kept.meanwhile).copied().collect();
            kept.catalogue = Some(Arc::clone(&catalogue));
        }
        Ok(catalogue)
    }

    async fn read_catalogue(
        &self,
        live: &Live,
        before: &Catalogue,
        changed: &HashSet<RecordId>,
    ) -> Result<Catalogue, Error> {
        let mut new = Catalogue::default();
        let mut waiting = vec![String::new()];
        while let Some(folder) = waiting.pop() {
            new.records.insert(live.secrets.folder_id(&folder));
            for name in &self.listing(live, &folder).await?.names {
                let path = match folder.as_str() {
                    "" => name.clone(),
                    folder => format!("{folder}/{name}"),
                };
                if let Some(folder) = path.strip_suffix('/') {
                    waiting.push(folder.to_owned());
                    continue;
                }
                let known = before.by_path.get(&path);
                let row = match known.filter(|row| !changed.contains(&row.id)) {
                    Some(row) => Arc::clone(row),
                    None => match row_of(live, &path).await? {
                        Some(row) => Arc::new(row),
                        None => continue,
                    },
                };
                new.records.insert(row.id);
                new.rows.push(Arc::clone(&row));
                new.by_path.insert(path, row);
            }
        }
        new.rows.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(new)
    }
}

async fn row_of(live: &Live, path: &str) -> Result<Option<Row>, Error> {
    let Ok(path) = path.parse::<SecretPath>() else {
        return Ok(None);
    };
    let snapshot = live.secrets.snapshot(&path).await?;
    Ok(snapshot.map(|snapshot| Row {
        key: key_of(&time_key(snapshot.metadata().created), &path),
        id: live.secrets.secret_id(&path),
        snapshot: snapshot.without_value(),
    }))
}

/// What a secret is sorted by.
pub(super) fn key_of(sorted_by: &str, path: &SecretPath) -> String {
    format!("{sorted_by}\u{1}{path}")
}

/// A time as it is sorted.
pub(super) fn time_key(at: Timestamp) -> String {
    format!("{:020}", at.as_micros().max(0))
}
