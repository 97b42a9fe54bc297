//! Memory for the bodies of all requests that are under way. Whoever sends one has not said yet
//! who he is, so there is a bound; small bodies have a share that large ones cannot take.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use crate::vault::error::Fault;

/// Bytes of a body that come from the share of small ones.
pub(crate) const SMALL_BYTES: usize = 16 * 1024;
/// Memory for the beginnings of all bodies, in KiB.
const SMALL_KIB_MAX: usize = 128 * 1024;
/// Memory for what is behind the beginnings, in KiB.
const LARGE_KIB_MAX: usize = 64 * 1024;

/// What is left.
pub(crate) struct Bodies {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self {
            small: Arc::new(Semaphore::new(SMALL_KIB_MAX)),
            large: Arc::new(Semaphore::new(LARGE_KIB_MAX)),
        }
    }
}

/// What one body takes, given back when it goes.
#[derive(Debug, Default)]
pub(crate) struct Share {
    small: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// Lets a body take `bytes` in all. Nobody waits: who holds a part while he waits for the
    /// rest would keep others from ending.
    pub(crate) fn grow(&self, share: &mut Share, bytes: usize) -> Result<(), Fault> {
        extend(&self.small, &mut share.small, bytes.min(SMALL_BYTES))?;
        let rest = bytes.saturating_sub(SMALL_BYTES);
        extend(&self.large, &mut share.large, rest)
    }
}

fn extend(
    left: &Arc<Semaphore>,
    held: &mut Option<OwnedSemaphorePermit>,
    bytes: usize,
) -> Result<(), Fault> {
    let has = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let more = bytes.div_ceil(1024).saturating_sub(has);
    if more == 0 {
        return Ok(());
    }
    let more = u32::try_from(more).map_err(|_| Fault::TooLarge)?;
    let more = Arc::clone(left).try_acquire_many_owned(more);
    let more = more.map_err(|_| Fault::Busy)?;
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_leave_room_for_small_ones() {
        let bodies = Bodies::default();
        let mut shares: [Share; 3] = Default::default();
        for share in &mut shares[..2] {
            for mib in [1, 16, 32] {
                bodies.grow(share, mib << 20).unwrap();
            }
        }
        let refused = bodies.grow(&mut shares[2], 1 << 20);
        assert!(matches!(refused, Err(Fault::Busy)), "{refused:?}");
        bodies.grow(&mut shares[2], SMALL_BYTES).unwrap();
        shares[0] = Share::default();
        bodies.grow(&mut shares[2], 32 << 20).unwrap();
        drop(shares);
        assert_eq!(bodies.small.available_permits(), SMALL_KIB_MAX);
        assert_eq!(bodies.large.available_permits(), LARGE_KIB_MAX);
    }
}
