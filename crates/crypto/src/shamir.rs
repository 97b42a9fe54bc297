//! A secret in `n` shares of which any `k` give it back, and fewer give nothing.
//!
//! Vault's layout, so that shares of either can be used with the other: arithmetic over GF(2^8)
//! with the polynomial of AES, one byte for each byte of the secret, then the x coordinate as the
//! **last** byte; x coordinates are distinct, not zero, and drawn at random. As in Vault, a secret
//! "in one share" is not split at all: the share is the secret, without a coordinate.
//!
//! - [`split`] makes shares, [`combine`] puts them together.
//! - [`UnsealShare::parse`] reads what an operator types: base64 or hexadecimal.
//!
//! No branch and no memory access depends on a secret byte: multiplication is eight masked steps,
//! without tables. Coordinates are no secret. A wrong share cannot be told from a right one here:
//! the result is another key, and whether it opens anything is for the caller to see.

use std::fmt;
use std::hint::black_box;

use data_encoding::BASE64;
use data_encoding::HEXLOWER;
use data_encoding::HEXLOWER_PERMISSIVE;
use strongroom_core::port::Rng;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroizing;

/// Most shares of a secret: as many as there are coordinates.
pub const SHARES_MAX: u8 = 255;

/// Longest secret that is split, in bytes.
pub const SPLIT_BYTES_MAX: usize = 4096;

/// One share of a secret.
pub struct UnsealShare(Zeroizing<Vec<u8>>);

impl UnsealShare {
    /// Reads a share as it is typed or sent: base64 or hexadecimal.
    ///
    /// # Errors
    /// When it is neither, or too short or too long to be one.
    pub fn parse(text: &SecretValue) -> Result<Self, ShareMalformed> {
        // EXPOSE: decoded into a wiped buffer.
        let text = text.expose_secret().trim_ascii();
        if text.len() > SPLIT_BYTES_MAX * 2 {
            return Err(ShareMalformed);
        }
        let bytes = HEXLOWER_PERMISSIVE
            .decode(text)
            .or_else(|_| BASE64.decode(text))
            .map_err(|_| ShareMalformed)?;
        let share = Self(Zeroizing::new(bytes));
        match share.0.len() {
            2.. => Ok(share),
            _ => Err(ShareMalformed),
        }
    }

    /// The share in base64, for whoever is to keep it.
    #[must_use]
    pub fn to_base64(&self) -> SecretValue {
        SecretValue::from_text(BASE64.encode(&self.0))
    }

    /// The share in hexadecimal, for whoever is to keep it.
    #[must_use]
    pub fn to_hex(&self) -> SecretValue {
        SecretValue::from_text(HEXLOWER.encode(&self.0))
    }

    /// True for the very same share.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let value = |share: &Self| SecretValue::copy_from(&share.0);
        value(self).ct_eq(&value(other))
    }

    fn coordinate(&self) -> Option<u8> {
        self.0.last().copied()
    }
}

impl fmt::Debug for UnsealShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnsealShare([redacted])")
    }
}

/// The text is no share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an unseal share is base64 or hexadecimal text")]
pub struct ShareMalformed;

/// Splits a secret into `shares`, any `threshold` of which give it back.
///
/// # Errors
/// When the numbers do not fit together, or the secret is empty or too long.
pub fn split(
    rng: &dyn Rng,
    secret: &[u8],
    shares: u8,
    threshold: u8,
) -> Result<Vec<UnsealShare>, SplitError> {
    if secret.is_empty() || secret.len() > SPLIT_BYTES_MAX {
        return Err(SplitError::Length);
    }
    if threshold == 0 || threshold > shares {
        return Err(SplitError::Threshold { threshold, shares });
    }
    if shares == 1 {
        return Ok(vec![UnsealShare(Zeroizing::new(secret.to_vec()))]);
    }
    if threshold == 1 {
        return Err(SplitError::ThresholdOfOne { shares });
    }
    let coordinates = draw_coordinates(rng, usize::from(shares));
    let mut split: Vec<UnsealShare> = coordinates
        .iter()
        .map(|_| UnsealShare(Zeroizing::new(Vec::with_capacity(secret.len() + 1))))
        .collect();
    // The polynomial of one byte: the byte itself, then as many random coefficients as make any
    // threshold less one of its values say nothing.
    let mut polynomial = Zeroizing::new(vec![0_u8; usize::from(threshold)]);
    for &byte in secret {
        rng.fill(&mut polynomial);
        if let Some(constant) = polynomial.first_mut() {
            *constant = byte;
        }
        for (share, &x) in split.iter_mut().zip(&coordinates) {
            let y = polynomial.iter().rev().fold(0, |y, &c| mul(y, x) ^ c);
            share.0.push(y);
        }
    }
    for (share, &x) in split.iter_mut().zip(&coordinates) {
        share.0.push(x);
    }
    Ok(split)
}

/// Puts shares of a secret together. Fewer than were asked for when it was split give other bytes.
///
/// # Errors
/// When there are none, or they cannot belong together.
pub fn combine(shares: &[UnsealShare]) -> Result<Zeroizing<Vec<u8>>, CombineError> {
    let first = shares.first().ok_or(CombineError::NoShares)?;
    if shares.len() == 1 {
        return Ok(first.0.clone());
    }
    if shares.iter().any(|share| share.0.len() != first.0.len()) {
        return Err(CombineError::Lengths);
    }
    let mut coordinates = Vec::with_capacity(shares.len());
    for x in shares.iter().filter_map(UnsealShare::coordinate) {
        if x == 0 {
            return Err(CombineError::Zero);
        }
        if coordinates.contains(&x) {
            return Err(CombineError::Duplicate);
        }
        coordinates.push(x);
    }
    let mut secret = Zeroizing::new(vec![0_u8; first.0.len() - 1]);
    for (share, &x) in shares.iter().zip(&coordinates) {
        let weight = weight_at_zero(x, &coordinates);
        for (byte, &y) in secret.iter_mut().zip(share.0.iter()) {
            *byte ^= mul(y, weight);
        }
    }
    Ok(secret)
}

/// Lagrange's basis polynomial of `x` at 0.
fn weight_at_zero(x: u8, coordinates: &[u8]) -> u8 {
    let others = coordinates.iter().filter(|&&other| other != x);
    // In this field minus is plus, and 0 - other is other.
    others.fold(1, |weight, &other| {
        mul(weight, mul(other, inverse(other ^ x)))
    })
}

/// Distinct coordinates that are not zero, in random order: a shuffle of all of them.
fn draw_coordinates(rng: &dyn Rng, count: usize) -> Vec<u8> {
    let mut all: Vec<u8> = (1..=SHARES_MAX).collect();
    for at in 0..count.min(all.len()) {
        let rest = all.len() - at;
        all.swap(at, at + below(rng, rest));
    }
    all.truncate(count);
    all
}

/// A number below `bound`, which is at most 255, each as likely as any other.
fn below(rng: &dyn Rng, bound: usize) -> usize {
    let fair = 256 - 256 % bound;
    loop {
        let mut byte = [0_u8];
        rng.fill(&mut byte);
        let drawn = usize::from(byte[0]);
        if drawn < fair {
            return drawn % bound;
        }
    }
}

/// The product in GF(2^8), polynomial x^8 + x^4 + x^3 + x + 1.
fn mul(a: u8, b: u8) -> u8 {
    let (mut a, mut product) = (a, 0);
    for bit in 0..8 {
        // All ones or all zeros; out of the compiler's sight, so that it makes no branch of it.
        product ^= a & black_box(((b >> bit) & 1).wrapping_neg());
        a = (a << 1) ^ (0x1b & black_box((a >> 7).wrapping_neg()));
    }
    product
}

/// The inverse: a^254.
fn inverse(a: u8) -> u8 {
    let mut power = a;
    for _ in 0..6 {
        power = mul(mul(power, power), a);
    }
    mul(power, power)
}

/// Why a secret cannot be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// Nothing, or too much.
    #[error("a secret of 1 to {SPLIT_BYTES_MAX} bytes can be split")]
    Length,
    /// More are needed than there are, or none.
    #[error("the threshold ({threshold}) must be from 1 to the number of shares ({shares})")]
    Threshold {
        /// The threshold.
        threshold: u8,
        /// The number of shares.
        shares: u8,
    },
    /// Each share would be the secret.
    #[error("with {shares} shares the threshold must be at least 2")]
    ThresholdOfOne {
        /// The number of shares.
        shares: u8,
    },
}

/// Why shares cannot be put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CombineError {
    /// None.
    #[error("there are no shares")]
    NoShares,
    /// Of different lengths.
    #[error("the shares are not of one secret: their lengths differ")]
    Lengths,
    /// One twice, or two with one coordinate.
    #[error("a share was given twice")]
    Duplicate,
    /// A coordinate that no share has.
    #[error("one of the shares is not a share")]
    Zero,
}

#[cfg(test)]
mod tests;
