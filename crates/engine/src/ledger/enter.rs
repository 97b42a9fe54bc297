//! Entering deliveries: from the shelf where they wait to the log and the exposures.

use std::collections::BTreeMap;

use strongroom_core::port::Durability;
use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;
use strongroom_core::port::StorageError;

use super::Delivery;
use super::ENTERED;
use super::Exposure;
use super::Given;
use super::ITEMS_MAX;
use super::Ledger;
use super::Sight;
use super::WAITING;
use crate::error::Error;
use crate::state;
use crate::state::Found;
use crate::state::Put;
use crate::state::Shelf;

/// Deliveries that are entered in one commit, of few secrets each.
const PIECE: usize = 128;
/// A piece that others disturb is read again so often.
const ATTEMPTS_MAX: usize = 64;

impl Ledger {
    /// Enters all deliveries that wait; how many there were.
    ///
    /// # Errors
    /// `Contended`, `Damaged`, storage errors.
    pub async fn enter(&self) -> Result<usize, Error> {
        let mut entered = 0;
        loop {
            match self.enter_some().await? {
                0 => return Ok(entered),
                some => entered += some,
            }
        }
    }

    /// Enters some of the deliveries that wait; how many, and 0 when none is left.
    ///
    /// # Errors
    /// As `enter`.
    pub async fn enter_some(&self) -> Result<usize, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let waiting = self.waiting_piece().await?;
            if waiting.is_empty() || self.enter_piece(&waiting).await? {
                return Ok(waiting.len());
            }
        }
        Err(state::contended())
    }

    /// As many as are entered at once.
    async fn waiting_piece(&self) -> Result<Vec<Found<Delivery>>, Error> {
        let shelf = self.state.shelf_of::<Delivery>(Shelf::Of(WAITING));
        let page = self.state.storage().list(shelf, None, PIECE).await?;
        let mut waiting = Vec::with_capacity(page.len());
        let mut secrets = 0;
        for record in &page {
            let found = self.state.open::<Delivery>(record)?;
            secrets += found.value.items.len();
            if secrets > ITEMS_MAX && !waiting.is_empty() {
                break;
            }
            waiting.push(found);
        }
        Ok(waiting)
    }

    /// False when somebody else was faster.
    async fn enter_piece(&self, waiting: &[Found<Delivery>]) -> Result<bool, Error> {
        let mut changed: BTreeMap<RecordId, Exposure> = BTreeMap::new();
        for found in waiting {
            for (given, count) in &found.value.items {
                let (id, exposure) = self.exposure(found, given, *count);
                match changed.get_mut(&id) {
                    Some(known) => known.add(&exposure),
                    None => _ = changed.insert(id, exposure),
                }
            }
        }
        let ids: Vec<RecordId> = changed.keys().copied().collect();
        let records = self.state.storage().get_many(&ids).await?;
        let mut batch = Vec::with_capacity(waiting.len() + 2 * changed.len());
        for ((id, exposure), record) in changed.into_iter().zip(records) {
            let known = record.map(|record| self.state.open::<Exposure>(&record));
            let (exposure, precondition) = match known.transpose()? {
                Some(mut known) => {
                    known.value.add(&exposure);
                    let unchanged = known.unchanged();
                    (known.value, unchanged)
                }
                None => {
                    batch.push(self.sight(id, &exposure));
                    (exposure, Precondition::Absent)
                }
            };
            batch.push(self.put_exposure(id, &exposure, precondition));
        }
        for found in waiting {
            batch.push(match found.value.is_repeat {
                true => state::delete(found.id, found.unchanged()),
                false => {
                    let put = Put::named("", Shelf::Of(ENTERED)).when(found.unchanged());
                    self.state.put_by_id(found.id, &put, &found.value)
                }
            });
        }
        // What a power cut takes waits again.
        let committed = self.state.storage().commit(batch, Durability::Relaxed);
        match committed.await {
            Ok(_) => Ok(true),
            Err(StorageError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn exposure(&self, found: &Found<Delivery>, given: &Given, count: u64) -> (RecordId, Exposure) {
        let delivery = &found.value;
        // No part of this holds a NUL, so that no other has the same name.
        let name = [
            given.secret.as_str(),
            &given.source,
            given.version.as_deref().unwrap_or_default(),
            &super::id_text(given.fingerprint),
            delivery.channel.word(),
            &delivery.to,
            &delivery.who,
        ];
        let id = self.state.id_of::<Exposure>(&name.join("\0"));
        let exposure = Exposure {
            given: given.clone(),
            who: delivery.who.clone(),
            channel: delivery.channel,
            to: delivery.to.clone(),
            first: delivery.at,
            last: delivery.at,
            count,
            delivery: (!delivery.is_repeat).then_some(found.id.0),
            revoked: None,
        };
        (id, exposure)
    }

    pub(super) fn put_exposure(
        &self,
        id: RecordId,
        exposure: &Exposure,
        precondition: Precondition,
    ) -> strongroom_core::port::BatchItem {
        let shelf = Shelf::Of(&exposure.given.secret);
        let put = Put::named(&exposure.given.secret, shelf).when(precondition);
        self.state.put_by_id(id, &put, exposure)
    }

    fn sight(&self, id: RecordId, exposure: &Exposure) -> strongroom_core::port::BatchItem {
        let sight = Sight { exposure: id.0 };
        let name = super::id_text(id.0);
        let put = Put {
            name: &name,
            shown: &exposure.who,
            ..Put::named(&name, Shelf::Of(super::person(&exposure.who)))
        };
        self.state.put(&put, &sight)
    }
}

impl Exposure {
    /// The same was given once more.
    fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.first = self.first.min(other.first);
        let (newer, older) = match other.last >= self.last {
            true => (other.delivery, self.delivery),
            false => (self.delivery, other.delivery),
        };
        self.delivery = newer.or(older);
        self.last = self.last.max(other.last);
    }
}
