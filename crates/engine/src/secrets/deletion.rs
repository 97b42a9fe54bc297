//! Deletions that are planned, and can be taken back until they are due.

use std::borrow::Cow;

use strongroom_core::audit::Action;
use strongroom_core::aws::Deletion;
use strongroom_core::path::SecretPath;
use strongroom_core::port::BatchItem;
use strongroom_core::time::Timestamp;
use strongroom_core::version::VersionState;

use super::ATTEMPTS_MAX;
use super::Engine;
use super::GraphError;
use super::Snapshot;
use super::graph::contended;
use super::graph::set_facts;
use super::write::Draft;
use crate::context::OpContext;
use crate::error::Error;
use crate::record::Head;

impl Snapshot {
    /// The deletion that is planned, unless a later change has taken it back.
    #[must_use]
    pub fn deletion(&self) -> Option<Deletion> {
        deletion_of(&self.head)
    }
}

impl Engine {
    /// Deletes all versions and plans the removal of the secret. `items` go into the same commit.
    ///
    /// # Errors
    /// `NotFound`, `MarkedForDeletion`, and those of every write.
    pub async fn plan_deletion(
        &self,
        context: &OpContext,
        path: &SecretPath,
        due: Timestamp,
        items: &[BatchItem],
    ) -> Result<Snapshot, GraphError> {
        for _ in 0..ATTEMPTS_MAX {
            let (record, mut head) = self.require(path).await?;
            if deletion_of(&head).is_some() {
                return Err(GraphError::MarkedForDeletion);
            }
            for info in &mut head.versions {
                if info.state == VersionState::Live {
                    // One whose time was over stays deleted when this is taken back.
                    info.state = match info.state_at(context.now) {
                        VersionState::Live => VersionState::Deleted { at: context.now },
                        over => over,
                    };
                }
            }
            let mut facts = head.aws.as_deref().cloned().unwrap_or_default();
            facts.deletion = Some(Deletion {
                asked: context.now,
                due,
            });
            set_facts(&mut head, facts);
            let draft = Draft {
                items: items.to_vec(),
                ..Draft::default()
            };
            let settled = self.settle(context, Action::Delete, Some(record), head, draft);
            if let Some(snapshot) = settled.await? {
                return Ok(snapshot);
            }
        }
        Err(contended(path))
    }

    /// Takes a planned deletion back, with what it deleted.
    ///
    /// # Errors
    /// `NotFound`, and those of every write.
    pub async fn restore(
        &self,
        context: &OpContext,
        path: &SecretPath,
    ) -> Result<Snapshot, GraphError> {
        for _ in 0..ATTEMPTS_MAX {
            let (record, mut head) = self.require(path).await?;
            let mut facts = head.aws.as_deref().cloned().unwrap_or_default();
            let Some(deletion) = facts.deletion.take() else {
                return Ok(Snapshot::of(head, record.revision));
            };
            for info in &mut head.versions {
                if info.state == (VersionState::Deleted { at: deletion.asked }) {
                    info.state = VersionState::Live;
                }
            }
            set_facts(&mut head, facts);
            let draft = Draft::default();
            let settled = self.settle(context, Action::Undelete, Some(record), head, draft);
            if let Some(snapshot) = settled.await? {
                return Ok(snapshot);
            }
        }
        Err(contended(path))
    }

    /// Removes a secret whose planned deletion is due; false when nothing is due any more.
    ///
    /// # Errors
    /// Those of every write.
    pub async fn remove_if_due(
        &self,
        context: &OpContext,
        path: &SecretPath,
    ) -> Result<bool, Error> {
        let removed = self.remove_if(context, path, |head| {
            deletion_of(head).is_some_and(|deletion| deletion.due <= context.now)
        });
        match removed.await {
            Err(Error::NotFound { .. }) => Ok(false),
            removed => removed,
        }
    }
}

/// The deletion that is planned. A version that can be read has taken it back, whoever wrote it.
pub(super) fn deletion_of(head: &Head) -> Option<Deletion> {
    let deletion = head.aws.as_ref()?.deletion?;
    (!has_live(head)).then_some(deletion)
}

/// The head as it is written: a deletion that was taken back is forgotten for good, so that nothing
/// brings it to life again.
pub(super) fn settled(head: &Head) -> Cow<'_, Head> {
    match &head.aws {
        Some(facts) if facts.deletion.is_some() && has_live(head) => {
            let mut facts = (**facts).clone();
            facts.deletion = None;
            let mut head = head.clone();
            set_facts(&mut head, facts);
            Cow::Owned(head)
        }
        _ => Cow::Borrowed(head),
    }
}

fn has_live(head: &Head) -> bool {
    let mut versions = head.versions.iter();
    versions.any(|info| info.state == VersionState::Live)
}
