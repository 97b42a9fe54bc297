//! The record of a rotation goes with its secret when that is moved or removed.

use std::sync::Arc;

use strongroom_core::path::SecretPath;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Precondition;

use super::Rotation;
use super::request::name_of;
use crate::error::Error;
use crate::secrets::Engine;
use crate::state;
use crate::state::Put;
use crate::state::Shelf;
use crate::state::State;

impl Engine {
    /// The change that removes a secret's rotation, for the commit that removes the secret.
    pub(crate) fn removed_rotation(&self, path: &SecretPath) -> BatchItem {
        let state = State::new(Arc::clone(&self.storage), self.barrier.clone());
        let id = state.id_of::<Rotation>(&name_of(self.secret_id(path)));
        state::delete(id, Precondition::Any)
    }

    /// The changes that have a secret's rotation follow it, for the commit that moves the secret.
    /// What is under way goes on at the new place.
    pub(crate) async fn moved_rotation(
        &self,
        from: &SecretPath,
        to: &SecretPath,
    ) -> Result<Vec<BatchItem>, Error> {
        let state = State::new(Arc::clone(&self.storage), self.barrier.clone());
        let found = state
            .load::<Rotation>(&name_of(self.secret_id(from)))
            .await?;
        let Some(found) = found else {
            return Ok(Vec::new());
        };
        let unchanged = found.unchanged();
        let mut rotation = found.value;
        if rotation.secret == rotation.path {
            rotation.secret = to.to_string();
        }
        rotation.path = to.to_string();
        let put = Put {
            name: &name_of(self.secret_id(to)),
            shown: &rotation.path,
            shelf: Shelf::Kind,
            due_at: rotation.due_at(),
            precondition: Precondition::Any,
        };
        Ok(vec![
            state.put(&put, &rotation),
            state::delete(found.id, unchanged),
        ])
    }
}
