//! What takes several people: unsealing, new shares, a new root token.

use std::time::Duration;

use strongroom_core::port::Rng;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_crypto::shamir;
use strongroom_crypto::shamir::UnsealShare;
use zeroize::Zeroizing;

/// An attempt that nobody has given a share to for so long makes room for another, in seconds.
const IDLE_SECONDS_MAX: i64 = 600;

/// All ceremonies of a server.
#[derive(Default)]
pub(crate) struct Ceremonies {
    /// Unsealing.
    pub(crate) unseal: Attempt,
    /// A new root token.
    pub(crate) root: Option<RootAttempt>,
    /// New shares.
    pub(crate) rekey: Option<Rekey>,
}

/// Shares that were given so far.
#[derive(Default)]
pub(crate) struct Attempt {
    pub(crate) nonce: String,
    shares: Vec<UnsealShare>,
    touched: Option<Timestamp>,
}

/// What a share did.
pub(crate) enum Progress {
    /// It was not the last one.
    More,
    /// With it the secret is whole: if it is the right one, the slot opens.
    Whole(SecretValue),
}

/// A new root token that is being made.
pub(crate) struct RootAttempt {
    pub(crate) attempt: Attempt,
    /// What the token will be combined with, so that only who has it can read the token.
    pub(crate) otp: Zeroizing<String>,
    /// Shown to the one who began.
    pub(crate) otp_length: usize,
}

/// New shares that are being made.
pub(crate) struct Rekey {
    pub(crate) attempt: Attempt,
    pub(crate) shares: u8,
    pub(crate) threshold: u8,
    pub(crate) needs_verification: bool,
    /// The new secret, while it waits for its shares to be shown.
    pub(crate) waiting: Option<Waiting>,
}

/// New shares that were given out and have to be shown before they count.
pub(crate) struct Waiting {
    pub(crate) secret: SecretValue,
    pub(crate) attempt: Attempt,
}

impl Attempt {
    /// A new one.
    pub(crate) fn begin(rng: &dyn Rng, now: Timestamp) -> Self {
        Self {
            nonce: new_nonce(rng),
            shares: Vec::new(),
            touched: Some(now),
        }
    }

    /// Shares so far.
    pub(crate) fn count(&self) -> usize {
        self.shares.len()
    }

    /// Whether a share was given already.
    pub(crate) fn has(&self, share: &UnsealShare) -> bool {
        self.shares.iter().any(|other| other.is_same(share))
    }

    /// Forgets the shares.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether it has been left alone long enough to make room for another.
    pub(crate) fn is_idle(&self, now: Timestamp) -> bool {
        self.touched
            .is_none_or(|touched| now.seconds_since(touched) > IDLE_SECONDS_MAX)
    }

    /// Takes a share; the same one twice counts once.
    ///
    /// # Errors
    /// When the shares do not belong together; they are forgotten then.
    pub(crate) fn add(
        &mut self,
        share: UnsealShare,
        threshold: u8,
        now: Timestamp,
    ) -> Result<Progress, shamir::CombineError> {
        self.keep(share, now);
        if self.shares.len() < usize::from(threshold) {
            return Ok(Progress::More);
        }
        let whole = self.whole();
        self.shares.clear();
        whole.map(Progress::Whole)
    }

    /// Takes a share; the same one twice counts once.
    pub(crate) fn keep(&mut self, share: UnsealShare, now: Timestamp) {
        self.touched = Some(now);
        if !self.has(&share) {
            self.shares.push(share);
        }
    }

    /// What the shares so far are shares of, if they belong together.
    ///
    /// # Errors
    /// When they do not.
    pub(crate) fn whole(&self) -> Result<SecretValue, shamir::CombineError> {
        let whole = shamir::combine(&self.shares)?;
        Ok(SecretValue::copy_from(&whole))
    }
}

/// After so many failures in a row the next one takes longer: people mistype.
const FREE_FAILURES: u32 = 3;
/// The first delay; each is twice the one before.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// The longest one, which also those wait for who have the right shares.
const DELAY_MAX: Duration = Duration::from_secs(8);

/// How long the answer to a wrong set of shares is kept back, and the next share with it, after
/// so many of them in a row.
pub(crate) fn delay_after(failures: u32) -> Duration {
    let doublings = match failures.checked_sub(FREE_FAILURES + 1) {
        Some(doublings) => doublings,
        None => return Duration::ZERO,
    };
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    FIRST_DELAY.saturating_mul(factor).min(DELAY_MAX)
}

/// A random id.
pub(crate) fn new_nonce(rng: &dyn Rng) -> String {
    let mut bytes = [0; 16];
    rng.fill(&mut bytes);
    crate::core::uuid_text(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_takes_longer_each_time() {
        let millis: Vec<u128> = (0..12)
            .map(|count| delay_after(count).as_millis())
            .collect();
        let expected = [0, 0, 0, 0, 250, 500, 1000, 2000, 4000, 8000, 8000, 8000];
        assert_eq!(millis, expected);
        assert_eq!(delay_after(u32::MAX), DELAY_MAX);
    }
}
