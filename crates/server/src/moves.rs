//! Mounts that were moved, for clients that ask how far it is.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::PoisonError;

/// Moves that are remembered.
const MOVES_MAX: usize = 100;

/// An id with source and target.
type Move = (String, String, String);

/// The last moves.
#[derive(Default)]
pub(crate) struct Moves(Mutex<VecDeque<Move>>);

impl Moves {
    pub(crate) fn note(&self, id: &str, from: &str, to: &str) {
        let mut moves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        moves.push_back((id.into(), from.into(), to.into()));
        while moves.len() > MOVES_MAX {
            moves.pop_front();
        }
    }

    pub(crate) fn find(&self, id: &str) -> Option<(String, String)> {
        let moves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = moves.iter().find(|(known, _, _)| known == id);
        found.map(|(_, from, to)| (from.clone(), to.clone()))
    }
}
