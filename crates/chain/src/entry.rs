//! One line of a chain.

use std::path::Path;
use std::path::PathBuf;

use strongroom_core::manifest;
use strongroom_core::time::Span;
use strongroom_core::uri::BackendUri;

use crate::error::ChainError;
use crate::error::ChainErrorKind;
use crate::remote;

/// Options of a chain entry that are the chain's, not the backend's.
const OF_THE_CHAIN: [&str; 3] = ["optional", "migrate", "max-age"];
/// Programs of others that may use the network on their own.
pub(crate) const PERHAPS_REMOTE: [&str; 3] = ["op", "bw", "exec"];

/// A parsed entry of a chain.
#[derive(Clone, Debug)]
pub struct Entry {
    /// As it was written.
    pub text: String,
    /// Without the chain's own options.
    pub uri: BackendUri,
    /// Its failures count as "not found".
    pub is_optional: bool,
    /// What is read from it moves to the store.
    pub migrates: bool,
    /// Its answers are kept, and used up to this age.
    pub max_age: Option<Span>,
}

impl Entry {
    /// Parses an entry of a chain.
    ///
    /// # Errors
    /// When it does not follow the grammar, or has an option of the chain that is wrong.
    pub fn parse(text: &str) -> Result<Self, ChainError> {
        let uri = parse_uri(text)?;
        let address = text.split('?').next().unwrap_or(text);
        let is_optional = match uri.option("optional") {
            None => false,
            Some(value) => strongroom_core::format::parse_bool(value).ok_or_else(|| {
                ChainError::usage(format!("chain entry {address}: optional is a boolean"))
            })?,
        };
        let migrates = match uri.option("migrate") {
            None => false,
            Some("store") if uri.scheme() == "dotenv" => true,
            Some("store") => {
                let message =
                    format!("chain entry {address}: only dotenv files migrate on reading");
                return Err(ChainError::usage(message)
                    .hint("strongroom migrate --from URI --to URI moves the others"));
            }
            Some(_) => {
                let message = format!("chain entry {address}: migrate knows the target store only");
                return Err(ChainError::usage(message).hint("write ?migrate=store"));
            }
        };
        let max_age = match uri.option("max-age") {
            None => None,
            Some(_) if !remote::PLANNED.contains(&uri.scheme()) => {
                return Err(ChainError::usage(format!(
                    "chain entry {address}: max-age is for backends over a network"
                )));
            }
            Some(text) => Some(parse_age(text).map_err(|why| {
                ChainError::usage(format!("chain entry {address}: max-age {why}"))
                    .hint("for example max-age=10m")
            })?),
        };
        let entry = Self {
            text: text.to_owned(),
            uri: uri.without(&OF_THE_CHAIN),
            is_optional,
            migrates,
            max_age,
        };
        entry.check_local_options(address)?;
        Ok(entry)
    }

    /// Those have no options of their own; the others look at theirs when they are opened.
    fn check_local_options(&self, address: &str) -> Result<(), ChainError> {
        if !matches!(self.scheme(), "store" | "env") {
            return Ok(());
        }
        let Some(option) = self.uri.unknown_option(&[]) else {
            return Ok(());
        };
        let message = format!("chain entry {address}: the option {option} is not known");
        Err(ChainError::usage(message).hint("known: optional=true"))
    }

    /// The kind of its backend.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.uri.scheme()
    }

    /// On this machine: opened without a runtime, asked before those over a network.
    #[must_use]
    pub fn is_local(&self) -> bool {
        !remote::SCHEMES.contains(&self.scheme())
    }

    /// True when it may ask something over a network.
    #[must_use]
    pub fn may_use_network(&self) -> bool {
        !self.is_local() || PERHAPS_REMOTE.contains(&self.scheme())
    }

    /// The entry as reports name it: its address without options.
    #[must_use]
    pub fn label(&self) -> String {
        let address = self.text.split('?').next().unwrap_or(&self.text);
        address.to_owned()
    }
}

/// An age: a time as in `10m` or `1h30m`; bare numbers are seconds.
///
/// # Errors
/// For any other text, in words that follow a name.
pub fn parse_age(text: &str) -> Result<Span, String> {
    match strongroom_core::lease::parse_duration(text) {
        Ok(_) if text.is_empty() => Err("is empty".to_owned()),
        Ok(span) => Ok(span),
        Err(error) => Err(format!("is no time: {error}")),
    }
}

fn parse_uri(text: &str) -> Result<BackendUri, ChainError> {
    BackendUri::parse(text).map_err(|error| {
        let scheme = text.split([':', '?']).next().unwrap_or_default();
        // What stands before the colon is no secret unless there is no colon at all.
        let shown = match text.contains(':') && scheme.len() <= 24 {
            true => format!("chain entry {scheme}:…: {error}"),
            false => format!("a chain entry is not understood: {error}"),
        };
        ChainError::usage(shown)
    })
}

/// The folder that paths are relative to: the manifest's, or the working one.
#[must_use]
pub fn base_of(manifest: Option<&Path>) -> PathBuf {
    let folder = manifest.and_then(Path::parent);
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

/// All schemes that this build knows.
#[must_use]
pub fn known_schemes() -> Vec<&'static str> {
    let local = strongroom_backends::open::SCHEMES.iter();
    let mut known = vec!["store", "env"];
    known.extend(local.map(|(scheme, _)| *scheme));
    known.extend(remote::SCHEMES);
    known
}

/// A scheme that is not known, or not built in.
#[must_use]
pub fn unknown_scheme(entry: &str, scheme: &str) -> ChainError {
    let known = known_schemes();
    let shown = entry.split('?').next().unwrap_or(entry);
    if remote::PLANNED.contains(&scheme) {
        let message = format!("chain entry {shown}: this program was built without {scheme}");
        return ChainError::new(ChainErrorKind::NotBuilt, message)
            .hint(format!("it knows {}", known.join(", ")));
    }
    let error = ChainError::usage(format!("chain entry {shown}: {scheme} is no backend"));
    match manifest::did_you_mean(scheme, known.iter().copied()) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint(format!("known: {}", known.join(", "))),
    }
}
