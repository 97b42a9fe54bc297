//! After a new data key: everything that is under an older one is sealed anew.

use strongroom_core::audit::Action;
use strongroom_core::path::SecretPath;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::Durability;
use strongroom_core::port::Precondition;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::port::StorageError;
use strongroom_core::version::VersionState;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::barrier::Field;

use super::ATTEMPTS_MAX;
use super::Engine;
use super::write::Draft;
use crate::context::OpContext;
use crate::error::Error;
use crate::folder;
use crate::folder::PAGE;
use crate::record;
use crate::record::Kind;

impl Engine {
    /// Seals everything that is under an older data key anew: secrets with their versions,
    /// folders, audit records. How many secrets that were.
    ///
    /// # Errors
    /// When a record does not open or storage fails.
    pub async fn reseal(&self, context: &OpContext, active: u32) -> Result<u64, Error> {
        let mut resealed = 0;
        for entry in self.secrets_below("").await? {
            let Ok(path) = entry.path.parse::<SecretPath>() else {
                continue;
            };
            for attempt in 1.. {
                match self.reseal_secret(context, &path, active).await? {
                    Some(was_old) => {
                        resealed += u64::from(was_old);
                        break;
                    }
                    None if attempt < ATTEMPTS_MAX => {}
                    None => {
                        return Err(Error::Contended {
                            path: path.to_string(),
                        });
                    }
                }
            }
        }
        self.reseal_folders(active).await?;
        self.reseal_children(record::id_of(&self.barrier, Kind::Audit, ""), active)
            .await?;
        for parent in crate::migrate::parents(self).await? {
            self.reseal_children(parent, active).await?;
        }
        Ok(resealed)
    }

    /// Whether a secret was under an older key; `None` when others were faster.
    async fn reseal_secret(
        &self,
        context: &OpContext,
        path: &SecretPath,
        active: u32,
    ) -> Result<Option<bool>, Error> {
        let (record, head) = match self.require(path).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(Some(false)),
            Err(error) => return Err(error),
        };
        let mut draft = Draft::default();
        let newest = head.newest().map_or(0, |version| version.number);
        for version in &head.versions {
            if version.number == newest || version.state == VersionState::Destroyed {
                continue;
            }
            let id = record::version_id(&self.barrier, path, version.number);
            let stored = self.storage.get(id).await?;
            if stored.is_some_and(|stored| is_old(&stored.value, active)) {
                let value = match self.value_of(&head, version.number).await {
                    Err(Error::Damaged { .. })
                        if !folder::is_unchanged(&*self.storage, &record).await? =>
                    {
                        return Ok(None);
                    }
                    result => result?,
                };
                let put = record::put_version(&self.barrier, path, version.number, &value);
                draft.items.push(put);
            }
        }
        if draft.items.is_empty() && !is_old(&record.value, active) {
            return Ok(Some(false));
        }
        draft.heads.push(self.head_change(Some(record), &head));
        let is_done = self.apply(context, Action::Keys, draft).await?;
        Ok(is_done.then_some(true))
    }

    /// Folders whose children were all new already, and every folder's name.
    async fn reseal_folders(&self, active: u32) -> Result<(), Error> {
        let mut waiting = vec![record::id_of(&self.barrier, Kind::Folder, "")];
        while let Some(id) = waiting.pop() {
            self.reseal_record(id, active).await?;
            let mut after = None;
            loop {
                let page = self.storage.list(id, after, PAGE).await?;
                let is_last = page.len() < PAGE;
                after = page.last().map(|record| record.id);
                let is_folder = |record: &&Record| {
                    record::open_summary(&self.barrier, record)
                        .is_some_and(|summary| summary.is_folder)
                };
                waiting.extend(page.iter().filter(is_folder).map(|record| record.id));
                if is_last {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn reseal_children(&self, parent: RecordId, active: u32) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.storage.list(parent, after, PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|record| record.id);
            let mut batch = Vec::new();
            for record in page.iter().filter(|record| is_old(&record.value, active)) {
                batch.push(self.resealed(record)?);
            }
            if !batch.is_empty() {
                self.storage.commit(batch, Durability::Durable).await?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    async fn reseal_record(&self, id: RecordId, active: u32) -> Result<(), Error> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(record) = self.storage.get(id).await? else {
                return Ok(());
            };
            if !is_old(&record.value, active) && !is_old(&record.name, active) {
                return Ok(());
            }
            let batch = vec![self.resealed(&record)?];
            match self.storage.commit(batch, Durability::Durable).await {
                Ok(_) => return Ok(()),
                Err(StorageError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended {
            path: "a folder".into(),
        })
    }

    /// The record with both fields sealed under the active key, if nobody changes it meanwhile.
    fn resealed(&self, record: &Record) -> Result<BatchItem, Error> {
        let again = |field: Field, sealed: &[u8]| -> Result<Vec<u8>, Error> {
            if sealed.is_empty() {
                return Ok(Vec::new());
            }
            let plain = self.barrier.open(record.id, field, sealed);
            let plain = plain.map_err(|_| {
                let what = "the store".into();
                let field = (field, sealed, record::FORMAT);
                let detail = "a record in it does not open";
                record::unreadable(&self.barrier, record.id, &[field], what, detail)
            })?;
            Ok(self.barrier.seal(record.id, field, &plain))
        };
        Ok(BatchItem {
            id: record.id,
            precondition: Precondition::Revision(record.revision),
            change: Change::Put {
                parent: record.parent,
                name: again(Field::Name, &record.name)?,
                value: again(Field::Value, &record.value)?,
                due_at: record.due_at,
            },
        })
    }
}

fn is_old(sealed: &[u8], active: u32) -> bool {
    !sealed.is_empty() && Barrier::key_of(sealed) != Some(active)
}
