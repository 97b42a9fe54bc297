//! The local audit log: sealed rows in the store itself.

use strongroom_core::audit::AuditEvent;
use strongroom_core::port::Durability;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_core::time::Timestamp;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::barrier::Field;

use crate::error::Error;
use crate::folder::PAGE;
use crate::record;
use crate::record::Kind;
use crate::secrets::Engine;

impl Engine {
    /// Writes an audit record and waits for the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn audit(&self, event: &AuditEvent) -> Result<(), Error> {
        let item = record::put_audit(&self.barrier, event);
        self.storage.commit(vec![item], Durability::Durable).await?;
        Ok(())
    }

    /// An audit record, sealed: [`Self::put_notes`] writes it into the store later. Whoever keeps
    /// it meanwhile learns nothing from it.
    #[must_use]
    pub fn sealed_note(&self, event: &AuditEvent) -> Vec<u8> {
        let (id, value) = record::sealed_audit(&self.barrier, event);
        [&id.0, value.as_slice()].concat()
    }

    /// Whether these bytes are a note of this store, as it was made.
    #[must_use]
    pub fn is_note(&self, note: &[u8]) -> bool {
        split(note)
            .and_then(|(id, value)| record::open_sealed_audit(&self.barrier, id, value))
            .is_some()
    }

    /// Writes sealed notes as audit records, in one commit, and waits for the disk. What is written
    /// twice is there once.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn put_notes(&self, notes: &[Vec<u8>]) -> Result<(), Error> {
        let items = notes.iter().filter_map(|note| {
            let (id, value) = split(note)?;
            let value = value.to_vec();
            Some(record::put_sealed_audit(&self.barrier, id, value))
        });
        let items = items.collect();
        self.storage.commit(items, Durability::Durable).await?;
        Ok(())
    }

    /// What seals this engine's records: for what is sealed with the same keys elsewhere.
    #[must_use]
    pub fn barrier(&self) -> &Barrier {
        &self.barrier
    }

    /// The audit records since a time, oldest first; of more than `limit`, the newest.
    ///
    /// # Errors
    /// `Damaged` when one does not open.
    pub async fn audit_log(
        &self,
        since: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<AuditEvent>, Error> {
        let parent = record::id_of(&self.barrier, Kind::Audit, "");
        let mut after = since.map(|since| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&since.as_micros().to_be_bytes());
            RecordId(id)
        });
        let mut events = std::collections::VecDeque::new();
        loop {
            let page = self.storage.list(parent, after, PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|record| record.id);
            for record in &page {
                let event = record::open_audit(&self.barrier, record)
                    .ok_or_else(|| unreadable(&self.barrier, record))?;
                events.push_back(event);
                if events.len() > limit {
                    events.pop_front();
                }
            }
            if is_last {
                return Ok(events.into());
            }
        }
    }
}

fn split(note: &[u8]) -> Option<(RecordId, &[u8])> {
    let (id, value) = note.split_first_chunk()?;
    Some((RecordId(*id), value))
}

fn unreadable(barrier: &Barrier, record: &Record) -> Error {
    let value = (Field::Value, &*record.value, record::FORMAT);
    let (what, detail) = ("the audit log".into(), "a record in it does not open");
    record::unreadable(barrier, record.id, &[value], what, detail)
}
