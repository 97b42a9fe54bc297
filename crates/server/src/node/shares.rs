//! Which key slots unseal shares open, and old ones that are on their way out.
//!
//! New shares are of use only to those who have seen them, and nobody has seen them when a server
//! is killed before its answer left. So the old shares open the store until the answer has gone
//! out, and after a crash in between until the new ones have opened it once.

use std::sync::PoisonError;

use strongroom_core::time::Timestamp;
use strongroom_crypto::header::Header;
use strongroom_crypto::slot::SlotKind;

use super::Node;
use crate::core::Core;
use crate::vault::error::Fault;

/// The label of the slots that a server makes for unseal shares.
pub(crate) const LABEL: &str = "unseal shares";
/// After so long an answer has gone out, in seconds.
const ANSWERED_SECONDS: i64 = 2;

/// A key slot that shares open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShareSlot {
    pub(crate) id: u32,
    pub(crate) shares: u8,
    pub(crate) threshold: u8,
}

/// What a process knows of them.
#[derive(Default)]
pub(crate) struct ShareSlots {
    /// The one that was opened, or made, last.
    current: Option<u32>,
    /// The one that takes the others' place, and since when.
    successor: Option<(u32, Timestamp)>,
}

impl Node {
    /// The slots that shares open, the newest first.
    pub(crate) fn share_slots(header: &Header) -> Vec<ShareSlot> {
        let slots = header.slots().iter().filter_map(|slot| match slot.kind {
            SlotKind::Shamir { shares, threshold } => Some(ShareSlot {
                id: slot.id,
                shares,
                threshold,
            }),
            _ => None,
        });
        let mut slots: Vec<ShareSlot> = slots.collect();
        slots.sort_unstable_by_key(|slot| std::cmp::Reverse(slot.id));
        slots
    }

    /// The slot whose shares are asked for.
    pub(crate) fn share_slot(&self, header: &Header) -> Option<ShareSlot> {
        let slots = Self::share_slots(header);
        let current = self.known_slots().current;
        let is_current = |slot: &&ShareSlot| Some(slot.id) == current;
        slots.iter().find(is_current).or(slots.first()).copied()
    }

    /// The shares of this slot have opened the store.
    pub(crate) fn note_opened(&self, slot: ShareSlot) {
        self.known_slots().current = Some(slot.id);
    }

    /// The shares of a slot are in an answer that is about to go out: the others end soon.
    pub(crate) fn succeed_slots(&self, successor: u32, now: Timestamp) {
        let mut known = self.known_slots();
        known.current = Some(successor);
        known.successor = Some((successor, now));
    }

    /// Removes the slots that have a successor, when its shares must have been seen by now; without
    /// a time, at once: what seals is asked for after the answer that shows them.
    ///
    /// # Errors
    /// When the header cannot be read or written; it is tried again.
    pub(crate) fn retire_slots(&self, core: &Core, now: Option<Timestamp>) -> Result<(), Fault> {
        let successor = self.known_slots().successor;
        let is_seen =
            |since| now.is_none_or(|now: Timestamp| now.seconds_since(since) >= ANSWERED_SECONDS);
        match successor {
            Some((slot, since)) if is_seen(since) => self.keep_only(core, slot),
            _ => Ok(()),
        }
    }

    /// Removes all slots of shares but this one.
    ///
    /// # Errors
    /// When the header cannot be read or written.
    pub(crate) fn keep_only(&self, core: &Core, kept: u32) -> Result<(), Fault> {
        let mut header = self.header()?.ok_or(Fault::Uninitialised)?;
        let read_at = header.generation();
        let old: Vec<u32> = header
            .slots()
            .iter()
            .filter(|slot| matches!(slot.kind, SlotKind::Shamir { .. }))
            .filter(|slot| slot.id != kept && slot.label == LABEL)
            .map(|slot| slot.id)
            .collect();
        if !old.is_empty() && header.slots().iter().any(|slot| slot.id == kept) {
            core.with_keys(|keys| {
                let mut slots = old.iter();
                slots.try_for_each(|slot| header.remove_slot(keys, *slot, &*self.rng))
            })
            .map_err(|error| Fault::Internal(error.to_string()))?;
            self.keeper.replace_header(read_at, &header)?;
        }
        self.known_slots().successor = None;
        Ok(())
    }

    fn known_slots(&self) -> std::sync::MutexGuard<'_, ShareSlots> {
        let known = self.share_slots.lock();
        known.unwrap_or_else(PoisonError::into_inner)
    }
}
