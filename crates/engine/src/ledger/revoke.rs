//! Revoking: exposures are marked for good, and their secrets until they have another value.

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::Precondition;
use strongroom_core::time::Timestamp;

use super::Exposure;
use super::Ledger;
use crate::error::Error;
use crate::state;
use crate::state::Found;
use crate::state::Kind;
use crate::state::Put;
use crate::state::Shelf;
use crate::state::Stored;

/// Exposures in one commit.
const PIECE: usize = 256;

/// A secret whose value has to be replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its path or address.
    pub secret: String,
    /// Where it is kept.
    pub source: String,
    /// Keyed hash of the value that was given away.
    pub fingerprint: [u8; 16],
    /// Since when.
    pub at: Timestamp,
    /// Who said so.
    pub by: String,
    /// Why, in words.
    pub reason: String,
}

impl Stored for Mark {
    const KIND: Kind = Kind::Mark;
}

impl Mark {
    /// That what somebody was given has to be replaced.
    #[must_use]
    pub fn of(exposure: &Exposure, at: Timestamp, by: &str, reason: &str) -> Self {
        Self {
            secret: exposure.given.secret.clone(),
            source: exposure.given.source.clone(),
            fingerprint: exposure.given.fingerprint,
            at,
            by: by.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

impl Ledger {
    /// Revokes exposures, and marks secrets as due. An exposure that is revoked stays so.
    ///
    /// # Errors
    /// `Contended` when exposures were changed meanwhile: what was done stays done, and the rest
    /// may be asked for again. Storage errors.
    pub async fn revoke(
        &self,
        exposures: &[Found<Exposure>],
        marks: &[Mark],
        at: Timestamp,
        by: &str,
    ) -> Result<(), Error> {
        // First what has to be done, then what was done: cut off in between, it is due.
        let put = |mark: &Mark| {
            let name = format!("{}\0{}", mark.source, mark.secret);
            let put = Put {
                shown: &mark.secret,
                ..Put::named(&name, Shelf::Kind)
            };
            self.state.put(&put, mark)
        };
        for piece in marks.chunks(PIECE) {
            self.state.write(piece.iter().map(put).collect()).await?;
        }
        let open = exposures.iter().filter(|one| one.value.revoked.is_none());
        let open: Vec<&Found<Exposure>> = open.collect();
        for piece in open.chunks(PIECE) {
            let batch = piece.iter().map(|found| {
                let mut exposure = found.value.clone();
                exposure.revoked = Some((at, by.to_owned()));
                self.put_exposure(found.id, &exposure, found.unchanged())
            });
            self.state.write(batch.collect()).await?;
        }
        Ok(())
    }

    /// The marks that were set, by secret; whether they are still due is asked with `standing`.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn marks(&self) -> Result<Vec<Mark>, Error> {
        let all = self.state.all::<Mark>(Shelf::Kind).await?;
        Ok(all.into_iter().map(|(_, found)| found.value).collect())
    }

    /// Takes a mark away: somebody has replaced the value where the ledger cannot see it.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn settle(&self, mark: &Mark) -> Result<(), Error> {
        let name = format!("{}\0{}", mark.source, mark.secret);
        let id = self.state.id_of::<Mark>(&name);
        self.state
            .write(vec![state::delete(id, Precondition::Any)])
            .await
    }
}
