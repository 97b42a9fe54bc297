//! Several secrets changed at once: all of them or none.

use strongroom_core::audit::Action;
use strongroom_core::audit::Outcome;
use strongroom_core::path::SecretPath;
use strongroom_core::secret::Payload;

use super::Draft;
use super::HeadChange;
use super::WriteOptions;
use crate::context::OpContext;
use crate::error::Error;
use crate::record;
use crate::secrets::ATTEMPTS_MAX;
use crate::secrets::Engine;
use crate::secrets::Trail;

/// One secret of several.
#[derive(Clone, Debug)]
pub struct Together {
    /// Which; no two have the same.
    pub path: SecretPath,
    /// Its new value; without one it is removed with all its versions, if it is there.
    pub value: Option<(Payload, WriteOptions)>,
}

impl Engine {
    /// Changes several secrets in one transaction, its audit records within.
    ///
    /// # Errors
    /// As `write`; then nothing is changed.
    pub async fn change_together(
        &self,
        context: &OpContext,
        changes: &[Together],
    ) -> Result<(), Error> {
        let result = self.try_together(context, changes).await;
        let paths: Vec<&SecretPath> = changes.iter().map(|change| &change.path).collect();
        self.note_failure(context, Action::Write, &paths, result)
            .await
    }

    async fn try_together(&self, context: &OpContext, changes: &[Together]) -> Result<(), Error> {
        for _ in 0..ATTEMPTS_MAX {
            let (mut draft, mut removed) = (Draft::default(), Vec::new());
            for change in changes {
                let found = self.find(&change.path).await?;
                match (&change.value, found) {
                    (Some((payload, options)), found) => {
                        let (path, draft) = (&change.path, &mut draft);
                        self.draft_write(context, path, payload, options, found, draft)?;
                    }
                    (None, Some((record, head))) => {
                        draft.items.extend(self.drop_versions(&head));
                        removed.push(HeadChange {
                            path: change.path.clone(),
                            before: Some(record),
                            after: None,
                        });
                    }
                    (None, None) => {}
                }
            }
            if draft.heads.is_empty() && removed.is_empty() {
                return Ok(());
            }
            let action = match draft.heads.is_empty() {
                true => Action::Destroy,
                false => Action::Write,
            };
            // The record of the write names all; what goes has one of its own, too.
            if self.trail == Trail::Store && action == Action::Write && !removed.is_empty() {
                let paths = removed.iter().map(|change| change.path.to_string());
                let event = context.event(Action::Destroy, paths.collect(), Outcome::Allowed);
                draft.items.push(record::put_audit(&self.barrier, &event));
            }
            draft.heads.append(&mut removed);
            if self.apply(context, action, draft).await? {
                return Ok(());
            }
        }
        let paths = changes.iter().map(|change| change.path.to_string());
        Err(Error::Contended {
            path: paths.collect::<Vec<String>>().join(", "),
        })
    }
}
