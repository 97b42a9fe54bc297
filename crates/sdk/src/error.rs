use strongroom_chain::ChainError;
use strongroom_chain::manifest::ReadManifestError;
use strongroom_chain::passphrase::PassphraseFileError;
use strongroom_chain::places::ConfigFileError;
use strongroom_chain::unlock::UnlockError;
use strongroom_core::port::BackendError;
use strongroom_store::embedded::OpenStoreError;

/// Secrets cannot be loaded: nothing was asked for yet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// No manifest in the working folder or above it, and none named.
    #[error("there is no strongroom.toml here or in any folder above")]
    NoManifest,
    /// The manifest cannot be read or has problems.
    #[error("{error}{}", problems(error))]
    Manifest {
        /// What is wrong.
        error: ReadManifestError,
    },
    /// The manifest has no such profile.
    #[error("there is no profile {name}; known here: {}", known.join(", "))]
    NoProfile {
        /// As it was asked for.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// The chain makes no sense.
    #[error("{0}")]
    Chain(#[from] ChainError),
    /// A backend cannot be opened.
    #[error("{0}")]
    Backend(#[from] BackendError),
    /// The user's config file cannot be used.
    #[error("{0}")]
    Config(#[from] ConfigFileError),
    /// Neither a path nor a home folder says where the store is.
    #[error("HOME is not set, so there is no default for the store")]
    NoHome,
    /// The store cannot be opened.
    #[error("{0}")]
    Store(#[from] OpenStoreError),
    /// The address of the database with the store makes no sense.
    #[cfg(feature = "postgres")]
    #[error("the address of the store's database: {0}")]
    Address(strongroom_store_postgres::UrlError),
    /// The database with the store cannot be opened.
    #[cfg(feature = "postgres")]
    #[error("{0}")]
    Database(#[from] strongroom_store_postgres::OpenDatabaseError),
    /// The store is in a database.
    #[cfg(not(feature = "postgres"))]
    #[error("the store is in PostgreSQL, and this program was built without the feature postgres")]
    NoPostgres,
    /// The store's key cannot be used.
    #[error("{0}")]
    Unlock(#[from] UnlockError),
    /// The file with the store's passphrase cannot be read.
    #[error("{0}")]
    Passphrase(#[from] PassphraseFileError),
    /// None of the store's key slots opened without asking a person.
    #[error("the store is locked: {}", refused.join("; "))]
    Locked {
        /// What was tried.
        refused: Vec<String>,
    },
    /// No runtime can be started for the blocking library.
    #[error("no runtime can be started: {0}")]
    Runtime(std::io::Error),
    /// The working folder is gone.
    #[error("the working folder is gone: {0}")]
    WorkingFolder(std::io::Error),
}

/// The problems of a manifest; they never quote a value.
fn problems(error: &ReadManifestError) -> String {
    let ReadManifestError::Invalid(problems) = error else {
        return String::new();
    };
    let shown = problems.iter().map(|problem| format!("\n  {problem}"));
    shown.collect()
}

/// A secret cannot be had. Never quotes a value.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// The manifest declares no such name.
    #[error("the manifest declares no {name}{}", near.as_ref()
        .map_or_else(String::new, |near| format!("; did you mean {near}?")))]
    Undeclared {
        /// As it was asked for.
        name: String,
        /// A declared name that is much like it.
        near: Option<String>,
    },
    /// Every backend of the chain was asked, and none has it.
    #[error("{name} has no value; looked in: {}; {fix}", looked_in.join(", "))]
    NotFound {
        /// Its name.
        name: String,
        /// Where it was looked for.
        looked_in: Vec<String>,
        /// The command that mends it.
        fix: String,
    },
    /// There is a value, and it does not fit the declaration: a placeholder, of another format,
    /// expired.
    #[error("{name} {}", problems.join("; "))]
    Rejected {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problems: Vec<String>,
    },
    /// A backend failed: whether it has the secret is not known.
    #[error("{0}")]
    Backend(BackendError),
}

impl GetError {
    /// True when every backend was asked and none has it.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}
