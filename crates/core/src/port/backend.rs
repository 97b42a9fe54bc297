//! The port to the places where secrets live: our own store, and everybody else's.

use super::BoxFuture;
use crate::path::SecretPath;
use crate::secret::SecretValue;
use crate::time::Timestamp;

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
    /// Earlier versions can be read.
    pub versions: bool,
    /// Names can be listed.
    pub list: bool,
    /// Values can be removed.
    pub delete: bool,
}

/// A place where secrets are looked up (and, if it can, written).
pub trait Backend: Send + Sync {
    /// The name of its kind in a chain: `store`, `dotenv`, `env`, `files`.
    fn scheme(&self) -> &'static str;
    /// What a person reads in a report, e.g. `dotenv:.env`.
    fn describe(&self) -> String;
    /// What it can do.
    fn capabilities(&self) -> Capabilities;
    /// Looks many secrets up at once. `None` is "not found"; every other failure is an error.
    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>>;
    /// Writes one value.
    fn set<'a>(
        &'a self,
        lookup: &'a Lookup,
        value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<(), BackendError>>;
    /// The names it holds, sorted.
    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>>;
}

/// How a backend failed, for code that branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendErrorKind {
    /// Not allowed.
    Denied,
    /// Not there or not answering.
    Unreachable,
    /// Closed: a key is needed.
    Sealed,
    /// What it holds cannot be read.
    Malformed,
    /// It cannot do that.
    Unsupported,
    /// What is stored was damaged.
    Damaged,
}

/// A backend failed; "not found" is not a failure.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{backend}: {message}")]
pub struct BackendError {
    /// What kind of failure.
    pub kind: BackendErrorKind,
    /// Which backend, as [`Backend::describe`] says.
    pub backend: String,
    /// What failed and where, never a value.
    pub message: String,
}
