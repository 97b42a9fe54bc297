//! Revoking tokens with their descendants and with what belongs to them.

use strongroom_core::port::BatchItem;
use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;
use strongroom_core::time::Timestamp;

use super::Accessor;
use super::Kept;
use super::Token;
use super::owner_of;
use crate::error::Error;
use crate::state;
use crate::state::Kind;
use crate::state::Shelf;
use crate::state::State;

/// Most changes of one commit; a larger family is revoked in steps, the youngest first.
const BATCH_MAX: usize = 4096;
/// Records that background work looks at in one go.
const DUE_MAX: usize = 4096;

impl State {
    /// Revokes a token, its descendants, their cubbyholes and accessors. The ids of all tokens
    /// that are gone; none if there was no such token.
    ///
    /// # Errors
    /// `Damaged`, storage errors. The token itself stays dead also when it could not be cleared.
    pub async fn revoke(&self, id: RecordId) -> Result<Vec<RecordId>, Error> {
        let mut gone = Vec::new();
        // A child may be made just before its parent is gone: it is found in the second round.
        loop {
            let family = self.family(id).await?;
            if family.is_empty() {
                return Ok(gone);
            }
            let mut steps = Vec::new();
            for (member, token) in family.iter().rev() {
                steps.push(self.removal(*member, token).await?);
            }
            if steps.iter().map(Vec::len).sum::<usize>() > BATCH_MAX {
                self.mark_doomed(id).await?;
            }
            let mut batch = Vec::new();
            for step in steps {
                if batch.len() + step.len() > BATCH_MAX && !batch.is_empty() {
                    self.write(std::mem::take(&mut batch)).await?;
                }
                batch.extend(step);
            }
            self.write(batch).await?;
            for (member, _) in &family {
                self.bereave_late(*member).await?;
            }
            gone.extend(family.into_iter().map(|(member, _)| member));
        }
    }

    /// A lease may have been begun after a token's removal was put together, and before it was
    /// done: none can be begun from then on.
    async fn bereave_late(&self, id: RecordId) -> Result<(), Error> {
        match self.bereave(id).await? {
            Some(bereft) => self.write(vec![bereft]).await,
            None => Ok(()),
        }
    }

    /// Revokes a token alone: its children have no parent from then on.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn revoke_orphan(&self, id: RecordId) -> Result<(), Error> {
        let Some(found) = self.token(id).await? else {
            return Ok(());
        };
        self.mark_doomed(id).await?;
        for (_, child) in self.all::<Token>(Shelf::Of(&owner_of(id))).await? {
            let orphan = Token {
                parent: None,
                ..child.value
            };
            let precondition = Precondition::Revision(child.revision);
            // One that was renewed or revoked meanwhile is looked at again by the next round.
            if !self
                .commit(vec![self.put_token(child.id, &orphan, precondition)])
                .await?
            {
                return Err(state::contended());
            }
        }
        let removal = self.removal(id, &found.value).await?;
        self.write(removal).await?;
        self.bereave_late(id).await
    }

    /// Tokens whose time is over, oldest first.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn due_tokens(&self, now: Timestamp) -> Result<Vec<RecordId>, Error> {
        let mut limit = DUE_MAX;
        loop {
            // A token is dead from the very moment of its end on.
            let before = now.as_micros().saturating_add(1);
            let due = self.storage().due(before, limit).await?;
            let is_all = due.len() < limit;
            let is_token =
                |label: Option<(Kind, String)>| label.is_some_and(|(kind, _)| kind == Kind::Token);
            let tokens: Vec<RecordId> = due
                .iter()
                .filter(|record| is_token(self.label(record)))
                .map(|record| record.id)
                .collect();
            // Other records may be due as well, and stand before all tokens.
            if is_all || !tokens.is_empty() {
                return Ok(tokens);
            }
            limit = limit.saturating_mul(4);
        }
    }

    /// Revokes tokens whose parent is gone, and removes accessors without a token; how many.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn tidy_tokens(&self) -> Result<Vec<RecordId>, Error> {
        let mut gone = Vec::new();
        for (name, accessor) in self.all::<Accessor>(Shelf::Kind).await? {
            let id = RecordId(accessor.value.token);
            match self.token(id).await? {
                None => {
                    let id = self.id_of::<Accessor>(&name);
                    let unchanged = accessor.unchanged();
                    self.commit(vec![state::delete(id, unchanged)]).await?;
                }
                Some(found) => {
                    let Some(parent) = found.value.parent else {
                        continue;
                    };
                    if self.token(RecordId(parent)).await?.is_none() {
                        gone.extend(self.revoke(id).await?);
                    }
                }
            }
        }
        Ok(gone)
    }

    /// A token and its descendants, parents before their children.
    async fn family(&self, id: RecordId) -> Result<Vec<(RecordId, Token)>, Error> {
        let mut family = Vec::new();
        if let Some(found) = self.token(id).await? {
            family.push((id, found.value));
        }
        let mut waiting = vec![id];
        while let Some(parent) = waiting.pop() {
            for (_, child) in self.all::<Token>(Shelf::Of(&owner_of(parent))).await? {
                waiting.push(child.id);
                family.push((child.id, child.value));
            }
        }
        Ok(family)
    }

    /// The changes that remove a token with what belongs to it.
    async fn removal(&self, id: RecordId, token: &Token) -> Result<Vec<BatchItem>, Error> {
        let mut batch = vec![state::delete(id, Precondition::Any)];
        let accessor = self.id_of::<Accessor>(&token.accessor);
        batch.push(state::delete(accessor, Precondition::Any));
        for kept in self.ids::<Kept>(Shelf::Of(&owner_of(id))).await? {
            batch.push(state::delete(kept, Precondition::Any));
        }
        batch.extend(self.bereave(id).await?);
        Ok(batch)
    }

    async fn mark_doomed(&self, id: RecordId) -> Result<(), Error> {
        loop {
            let Some(mut found) = self.token(id).await? else {
                return Ok(());
            };
            if found.value.is_doomed {
                return Ok(());
            }
            found.value.is_doomed = true;
            let put = self.put_token(id, &found.value, Precondition::Revision(found.revision));
            if self.commit(vec![put]).await? {
                return Ok(());
            }
        }
    }
}
