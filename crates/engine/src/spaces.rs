//! Removing a whole space of secrets, step by step: what was done stays done, and the rest is
//! found again after a crash.

use strongroom_core::path::SecretPath;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;

use crate::error::Error;
use crate::mounts::Doomed;
use crate::record;
use crate::record::Kind;
use crate::state;
use crate::state::Found;
use crate::state::Pages;
use crate::state::Shelf;
use crate::state::State;

/// Records removed in one commit.
const STEP_RECORDS: usize = 1024;

impl State {
    /// The spaces that wait for their removal.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn doomed(&self) -> Result<Vec<Found<Doomed>>, Error> {
        let all = self.all::<Doomed>(Shelf::Kind).await?;
        Ok(all.into_iter().map(|(_, found)| found).collect())
    }

    /// Removes some of a space's records; false when there was nothing left, and the order to
    /// remove it is gone too.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn remove_some(&self, doomed: &Found<Doomed>) -> Result<bool, Error> {
        let barrier = self.barrier().within(doomed.value.space);
        let root = record::id_of(&barrier, Kind::Folder, "");
        let mut batch = Vec::new();
        // The deepest folder that is first on the way down: the rest comes in later steps.
        let mut folder = (root, String::new());
        'down: loop {
            let mut pages = Pages::new(folder.0);
            while let Some(page) = pages.next(&**self.storage()).await? {
                for record in &page {
                    let summary = record::open_summary(&barrier, record);
                    let Some(summary) = summary else {
                        batch.push(drop(record.id));
                        continue;
                    };
                    let path = join(&folder.1, &summary.leaf);
                    if summary.is_folder {
                        folder = (record.id, path);
                        continue 'down;
                    }
                    batch.push(drop(record.id));
                    batch.extend(self.versions_below(&barrier, &path).await?);
                }
                if batch.len() >= STEP_RECORDS {
                    self.write(batch).await?;
                    return Ok(true);
                }
            }
            break;
        }
        let is_root = folder.0 == root;
        batch.push(drop(folder.0));
        if is_root {
            batch.push(state::delete(doomed.id, Precondition::Any));
        }
        self.write(batch).await?;
        Ok(!is_root)
    }

    async fn versions_below(
        &self,
        barrier: &strongroom_crypto::barrier::Barrier,
        path: &str,
    ) -> Result<Vec<BatchItem>, Error> {
        let mut batch = Vec::new();
        if path.parse::<SecretPath>().is_ok() {
            let mut pages = Pages::new(record::id_of(barrier, Kind::Versions, path));
            while let Some(page) = pages.next(&**self.storage()).await? {
                batch.extend(page.iter().map(|record| drop(record.id)));
            }
        }
        Ok(batch)
    }
}

fn drop(id: RecordId) -> BatchItem {
    state::delete(id, Precondition::Any)
}

fn join(folder: &str, leaf: &str) -> String {
    if folder.is_empty() {
        leaf.to_owned()
    } else {
        format!("{folder}/{leaf}")
    }
}
