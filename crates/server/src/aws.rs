//! The door for AWS clients: JSON 1.1 at `POST /`, requests signed with access keys.
//!
//! The same engine, paths and policies as Vault's door: the secret `P` is `secret/data/P` there
//! and the name `P` here. Nothing here decides but how that is said in AWS's words.

pub(crate) mod accessed;
mod call;
pub(crate) mod catalogue;
pub(crate) mod dispatch;
pub(crate) mod error;
mod iam;
mod input;
pub(crate) mod keys;
pub(crate) mod name;
pub(crate) mod op;
mod secrets;
pub(crate) mod sigv4;
mod sts;
#[cfg(test)]
mod tests;
mod wire;

/// The answer with the current value of a secret, as it was given in one region.
pub(crate) struct InRegion {
    region: String,
    rendered: crate::vault::reply::Rendered,
    /// The hashes of what tells one value from another, for the lines of a batch.
    brief: String,
}

/// What AWS's names say of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The region; `None` for the one that a request is signed for.
    pub region: Option<String>,
    /// The account.
    pub account: String,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            region: None,
            account: "000000000000".into(),
        }
    }
}

/// Whether a text is the name of a region: words and a number, e.g. `eu-central-1`.
pub(crate) fn is_region(text: &str) -> bool {
    let mut parts = text.rsplit('-');
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    let mut words = 0;
    parts.next().is_some_and(is_number)
        && parts.all(|part| {
            words += 1;
            is_word(part)
        })
        && words > 0
        && text.len() <= 128
}
