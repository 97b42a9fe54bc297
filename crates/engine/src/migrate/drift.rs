//! Whether a target still holds what was migrated.

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;

use super::journal::Journal;
use crate::transfer;
use crate::transfer::Progress;

/// How a migrated secret stands later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// As it was migrated.
    Same,
    /// It has another value.
    Changed,
    /// It is not there.
    Missing,
}

impl Drift {
    /// The word in tables and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Changed => "changed",
            Self::Missing => "missing",
        }
    }
}

/// Compares the target with the journal, by fingerprint: the entry's number and how it stands.
///
/// # Errors
/// When the target cannot be read.
pub async fn drift(
    journal: &Journal,
    target: &dyn Backend,
    progress: Progress<'_>,
) -> Result<Vec<(usize, Drift)>, BackendError> {
    let entries = journal.entries.iter().enumerate();
    let there: Vec<_> = entries
        .filter(|(_, entry)| entry.state.is_there())
        .collect();
    let addresses: Vec<String> = there.iter().map(|(_, entry)| entry.to.clone()).collect();
    let found = transfer::read_all(target, &addresses, progress).await;
    let mut drifts = Vec::with_capacity(there.len());
    for ((at, entry), found) in there.into_iter().zip(found) {
        let drift = match found? {
            None => Drift::Missing,
            Some(item) => {
                let fingerprint = journal.fingerprint(&item.payload.value);
                match entry.fingerprint == Some(fingerprint) {
                    true => Drift::Same,
                    false => Drift::Changed,
                }
            }
        };
        drifts.push((at, drift));
    }
    Ok(drifts)
}
