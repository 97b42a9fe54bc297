//! The port to the places where secrets live: our own store, and everybody else's.
//!
//! A chain asks a backend for declared secrets ([`Backend::get_many`], [`Backend::set`]).
//! Migration, synchronisation and backup speak of *addresses*, the backend's own names of its
//! secrets ([`Backend::read`], [`Backend::write`], [`Backend::page`] and what follows). A backend
//! says beforehand what it can do ([`Backend::capabilities`]); what it cannot do is an error of
//! kind [`BackendErrorKind::Unsupported`], which is what the methods here do unless overridden.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::BoxFuture;
use crate::path::SecretPath;
use crate::secret::Payload;
use crate::secret::SecretValue;
use crate::time::Timestamp;
use crate::version::VersionState;

/// What a backend is asked for: a declared secret, by its name and its place.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// The declared name, which is also its environment variable.
    pub name: String,
    /// Its path inside the project and profile, e.g. `jwt/secret_key`.
    pub path: String,
    /// Its full place in a store: `<project>/<profile>/<path>`, or an absolute path.
    pub place: SecretPath,
}

/// A value that a backend found.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The value.
    pub value: SecretValue,
    /// The backend's own name for the version, if it has versions.
    pub version: Option<String>,
    /// When it stops being valid, if the backend knows.
    pub expires_at: Option<Timestamp>,
}

/// What a backend can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Values can be written.
    pub write: bool,
    /// Earlier versions are kept and can be read.
    pub versions: bool,
    /// How many versions of a secret are kept, if the backend itself bounds them.
    pub versions_max: Option<usize>,
    /// Versions carry stages (movable labels).
    pub stages: bool,
    /// Names can be listed.
    pub list: bool,
    /// Values can be removed.
    pub delete: bool,
    /// What was removed can be brought back.
    pub restore: bool,
    /// Single versions can be deleted, brought back and destroyed.
    pub single_versions: bool,
    /// A write can demand what must be there before it.
    pub cas: bool,
    /// A version that is written with a token has the token for its name.
    pub names_by_token: bool,
    /// Descriptions are kept.
    pub description: bool,
    /// Tags are kept.
    pub tags: bool,
    /// A time of expiry is kept.
    pub expiry: bool,
    /// Any bytes are kept as they are; otherwise only UTF-8 text.
    pub binary: bool,
    /// The backend can rotate a secret itself.
    pub rotate: bool,
    /// Longest value in bytes, if there is a bound.
    pub value_bytes_max: Option<usize>,
}

/// Which version of a secret is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionRef {
    /// The one that is read by default.
    Current,
    /// By the backend's own name for it (a number, an id).
    Id(String),
    /// The one that carries a stage, e.g. `AWSPREVIOUS`.
    Stage(String),
}

/// One version of a secret as a backend gives it.
#[derive(Clone, Debug)]
pub struct Item {
    /// The bytes and what they are.
    pub payload: Payload,
    /// The backend's own name for the version, if it has versions.
    pub version: Option<String>,
    /// The version's stages.
    pub stages: Vec<String>,
    /// When the version was made.
    pub created: Option<Timestamp>,
    /// When it stops being valid.
    pub expires_at: Option<Timestamp>,
}

impl From<Item> for Fetched {
    fn from(item: Item) -> Self {
        Self {
            value: item.payload.value,
            version: item.version,
            expires_at: item.expires_at,
        }
    }
}

/// What must be there for a write to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Anything.
    #[default]
    Any,
    /// No live secret.
    Absent,
    /// This version, by the backend's own name, is the current one.
    Version(String),
}

/// Facts about a secret that are not its value: what to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotation {
    /// A new description; `None` leaves the one that is there.
    pub description: Option<String>,
    /// Tags to set, or (with `None`) to take away; others are left.
    pub tags: BTreeMap<String, Option<String>>,
    /// A new time of expiry, or none at all; `None` leaves the one that is there.
    pub expires_at: Option<Option<Timestamp>>,
}

impl Annotation {
    /// True when there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.description.is_none() && self.tags.is_empty() && self.expires_at.is_none()
    }
}

/// A value to be written.
#[derive(Clone, Debug)]
pub struct NewValue {
    /// The bytes and what they are.
    pub payload: Payload,
    /// What must be there before.
    pub expected: Expected,
    /// Makes a repeated write of the same value one write, where the backend knows such tokens.
    /// At least 32 characters.
    pub token: Option<String>,
    /// Stages beside the current one that the new version gets, where the backend has stages.
    pub stages: Vec<String>,
    /// Written with the value where the backend can hold it, left out where it cannot.
    pub annotation: Annotation,
}

impl NewValue {
    /// A plain write of a value, whatever is there.
    #[must_use]
    pub fn new(payload: Payload) -> Self {
        Self {
            payload,
            expected: Expected::Any,
            token: None,
            stages: Vec::new(),
            annotation: Annotation::default(),
        }
    }
}

/// What a write left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The backend's own name for the version that holds the value now.
    pub version: Option<String>,
    /// False when the backend found the value there already and made nothing new.
    pub is_new: bool,
}

/// One page of the addresses a backend holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Addresses in the backend's order; every live secret is on exactly one page.
    pub addresses: Vec<String>,
    /// What to ask the next page with; `None` on the last.
    pub next: Option<String>,
}

/// Everything known about a secret but its values.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// What it is for.
    pub description: Option<String>,
    /// Its labels.
    pub tags: BTreeMap<String, String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it last changed.
    pub updated: Option<Timestamp>,
    /// When it is or was removed; a secret that can be restored has this.
    pub removed: Option<Timestamp>,
    /// Its versions, oldest first; empty where the backend has none.
    pub versions: Vec<VersionDetails>,
    /// When the backend rotates it next, if it does.
    pub rotates_at: Option<Timestamp>,
    /// What it has that stays with its backend.
    pub bound: Vec<Bound>,
}

/// What a secret has that belongs to its backend, and goes nowhere else with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bound {
    /// A policy of its own.
    ResourcePolicy,
    /// Regions that it can be read in, too.
    Replicas,
}

/// What is known of a version without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionDetails {
    /// The backend's own name for it.
    pub id: String,
    /// Its stages.
    pub stages: Vec<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Whether it can be read.
    pub state: VersionState,
}

/// How far a removal goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It can be brought back where the backend can do that; for good elsewhere.
    Recoverable,
    /// For good, with all versions.
    Final,
}

/// What is done to single versions of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionChange {
    /// They can be brought back.
    Delete,
    /// What was deleted can be read again.
    Undelete,
    /// Their values are gone for good.
    Destroy,
}

/// A place where secrets are looked up (and, if it can, written).
pub trait Backend: Send + Sync {
    /// The name of its kind in a chain: `store`, `dotenv`, `aws`, `vault`.
    fn scheme(&self) -> &'static str;

    /// What a person reads in a report, e.g. `dotenv:.env`. Never a credential.
    fn describe(&self) -> String;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Looks many secrets up at once, in as few requests as the backend allows. `None` is "not
    /// found"; every other failure is an error, and never "not found".
    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async move {
            let addresses: Vec<String> =
                lookups.iter().map(|lookup| self.address(lookup)).collect();
            let found = self.read_many(&addresses).await.into_iter();
            found
                .map(|found| found.map(|item| item.map(Fetched::from)))
                .collect()
        })
    }

    /// Writes one declared secret; what that left.
    fn set<'a>(
        &'a self,
        lookup: &'a Lookup,
        value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async move {
            let value = NewValue::new(Payload::detect(value.clone()));
            self.write(&self.address(lookup), &value).await
        })
    }

    /// The names it holds, sorted.
    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>>;

    /// The address at which it keeps (or would keep) a declared secret.
    fn address(&self, lookup: &Lookup) -> String {
        lookup.place.to_string()
    }

    /// Asks whether it can be used, with as little as possible: reachable, authenticated, open.
    /// A short phrase for a person, e.g. `OpenBao 2.7.2, unsealed`.
    fn health(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(std::future::ready(Ok("ready".into())))
    }

    /// Reads one version of the secret at an address; `None` when there is none (any more).
    fn read<'a>(
        &'a self,
        address: &'a str,
        version: &'a VersionRef,
    ) -> BoxFuture<'a, Result<Option<Item>, BackendError>> {
        let _ = (address, version);
        Box::pin(std::future::ready(Err(self.unsupported("read by address"))))
    }

    /// Reads the current versions of many addresses, in as few requests as the backend allows.
    fn read_many<'a>(
        &'a self,
        addresses: &'a [String],
    ) -> BoxFuture<'a, Vec<Result<Option<Item>, BackendError>>> {
        Box::pin(async move {
            let mut found = Vec::with_capacity(addresses.len());
            for address in addresses {
                found.push(self.read(address, &VersionRef::Current).await);
            }
            found
        })
    }

    /// Writes a value at an address.
    fn write<'a>(
        &'a self,
        address: &'a str,
        value: &'a NewValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        let _ = (address, value);
        Box::pin(std::future::ready(
            Err(self.unsupported("write by address")),
        ))
    }

    /// The addresses that begin with `prefix`, `limit` at the most on a page.
    fn page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, BackendError>> {
        let _ = (prefix, after, limit);
        Box::pin(std::future::ready(Err(self.unsupported("list"))))
    }

    /// Of many addresses those that may be there, where a listing tells so in fewer requests than
    /// reading them; `None` where it does not. What was made in the last minutes may be missing:
    /// who writes it then demands that it is absent.
    fn listed<'a>(
        &'a self,
        addresses: &'a [String],
    ) -> BoxFuture<'a, Result<Option<BTreeSet<String>>, BackendError>> {
        let _ = addresses;
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Everything known about a secret but its values; `None` when there is none.
    fn details<'a>(
        &'a self,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Option<Details>, BackendError>> {
        let _ = address;
        Box::pin(std::future::ready(Err(self.unsupported("describe"))))
    }

    /// Changes description and tags.
    fn annotate<'a>(
        &'a self,
        address: &'a str,
        annotation: &'a Annotation,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        let _ = (address, annotation);
        Box::pin(std::future::ready(Err(self.unsupported("keep metadata"))))
    }

    /// Removes a secret; says whether there was one.
    fn remove<'a>(
        &'a self,
        address: &'a str,
        removal: Removal,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        let _ = (address, removal);
        Box::pin(std::future::ready(Err(self.unsupported("remove"))))
    }

    /// Brings a removed secret back; says whether there was one to bring back.
    fn restore<'a>(&'a self, address: &'a str) -> BoxFuture<'a, Result<bool, BackendError>> {
        let _ = address;
        Box::pin(std::future::ready(Err(self.unsupported("restore"))))
    }

    /// Changes single versions, by the backend's own names for them.
    fn change_versions<'a>(
        &'a self,
        address: &'a str,
        versions: &'a [String],
        change: VersionChange,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        let _ = (address, versions, change);
        Box::pin(std::future::ready(Err(
            self.unsupported("change single versions")
        )))
    }

    /// Has the backend rotate a secret; the version it makes.
    fn rotate<'a>(
        &'a self,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, BackendError>> {
        let _ = address;
        Box::pin(std::future::ready(Err(self.unsupported("rotate"))))
    }

    /// The error for what the backend cannot do.
    fn unsupported(&self, what: &str) -> BackendError {
        let backend = self.describe();
        let scheme = self.scheme();
        let article = match scheme.starts_with('a') || scheme.starts_with('e') {
            true => "an",
            false => "a",
        };
        let message = format!("{article} {scheme} backend cannot {what}");
        BackendError::new(BackendErrorKind::Unsupported, backend, message)
    }
}

/// The addresses on all pages below a prefix, sorted, each once.
///
/// # Errors
/// As [`Backend::page`].
pub async fn every_address(
    backend: &dyn Backend,
    prefix: &str,
) -> Result<Vec<String>, BackendError> {
    let mut addresses = BTreeSet::new();
    let mut after = None;
    loop {
        let page = backend.page(prefix, after.as_deref(), PAGE_MAX).await?;
        addresses.extend(page.addresses);
        after = page.next;
        if after.is_none() {
            return Ok(addresses.into_iter().collect());
        }
    }
}

/// Addresses asked for at once when all are wanted.
const PAGE_MAX: usize = 1_000;

/// How a backend failed, for code that branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendErrorKind {
    /// Not allowed, or not known who asks.
    Denied,
    /// Not there, not answering, or not in time.
    Unreachable,
    /// It asks for fewer requests; trying again did not help in time.
    Throttled,
    /// Closed: a key is needed.
    Sealed,
    /// What it holds cannot be read.
    Malformed,
    /// It cannot do that.
    Unsupported,
    /// It refuses this name or value (too long, not allowed there).
    Invalid,
    /// What was expected to be there is not.
    Conflict,
    /// What is stored was damaged.
    Damaged,
    /// What is stored was written by a newer program.
    Newer,
    /// Its settings make no sense or are not complete.
    Misconfigured,
}

/// A backend failed; "not found" is not a failure.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{backend}: {message}")]
#[non_exhaustive]
pub struct BackendError {
    /// What kind of failure.
    pub kind: BackendErrorKind,
    /// Which backend, as [`Backend::describe`] says.
    pub backend: String,
    /// What failed and where, never a value or a credential.
    pub message: String,
    /// The one thing to do about it, if it is known.
    pub hint: Option<String>,
}

impl BackendError {
    /// A failure of a backend.
    #[must_use]
    pub fn new(
        kind: BackendErrorKind,
        backend: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            backend: backend.into(),
            message: message.into(),
            hint: None,
        }
    }

    /// With the one thing to do about it.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}
