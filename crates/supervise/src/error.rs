//! Why an application cannot be started.

use std::io;
use std::path::PathBuf;

use strongroom_chain::keyfile::KeyFileError;
use strongroom_chain::unlock::UnlockError;
use strongroom_core::generate::GenerateError;
use strongroom_deploy::json::ReadError;
use strongroom_deploy::lint::Finding;
use strongroom_engine::Error as EngineError;
use strongroom_store::embedded::OpenStoreError;

/// Why an application cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuperviseError {
    /// The manifest cannot be read.
    #[error("the bundle manifest {} cannot be read: {why}", .path.display())]
    ReadManifest {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// The manifest is not one.
    #[error("the bundle manifest {}: {source}", .path.display())]
    Manifest {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: ReadError,
    },
    /// The manifest says what must not, or cannot, be done on somebody's machine.
    #[error("the bundle manifest {} cannot be run", .path.display())]
    Unfit {
        /// Which.
        path: PathBuf,
        /// Everything that is in the way.
        findings: Vec<Finding>,
    },
    /// The application's folder cannot be used.
    #[error("{} cannot be used: {why}", .path.display())]
    Folder {
        /// Which file or folder.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// The application runs already.
    #[error("the application runs already{}", owner(*.pid, *.port))]
    Running {
        /// The process that runs it, if it said.
        pid: Option<u32>,
        /// Where it listens, if it said.
        port: Option<u16>,
    },
    /// The installation's store cannot be opened.
    #[error(transparent)]
    OpenStore(#[from] OpenStoreError),
    /// The key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The store cannot be opened by any key.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    /// No key that is there opens the store.
    #[error("the application's secrets are locked: none of the store's key slots opened ({slots})")]
    Locked {
        /// Kinds of its slots.
        slots: String,
        /// One line for each slot that was tried.
        refused: Vec<String>,
    },
    /// The key file would lie in the folder of the store it opens.
    #[error("the key file {} would lie beside the store it opens", .path.display())]
    KeyBesideStore {
        /// The key file.
        path: PathBuf,
    },
    /// A secret cannot be read or written.
    #[error(transparent)]
    Secret(#[from] EngineError),
    /// The secrets of an earlier installation cannot be taken over.
    #[error("the secrets of an earlier installation in {}: {why}", .path.display())]
    Import {
        /// The old file.
        path: PathBuf,
        /// What is wrong with it; nothing of it is quoted.
        why: String,
    },
    /// A secret cannot be drawn.
    #[error("secret {id}: {source}")]
    Generate {
        /// Which.
        id: String,
        /// Why not.
        source: GenerateError,
    },
    /// A service asks for a port, and there is none.
    #[error("service {service}: no port from {min} to {max} is free for {port}")]
    NoPort {
        /// Whose.
        service: String,
        /// Its name in the manifest.
        port: String,
        /// First of the range.
        min: u16,
        /// Last of the range.
        max: u16,
    },
    /// The control API cannot listen.
    #[error("the control API cannot listen on {host}: {source}")]
    Listen {
        /// Where.
        host: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl SuperviseError {
    /// A stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::ReadManifest { .. } => "supervise.manifest_unreadable",
            Self::Manifest { .. } => "supervise.manifest",
            Self::Unfit { .. } => "supervise.unfit",
            Self::Folder { .. } => "supervise.folder",
            Self::Running { .. } => "supervise.running",
            Self::OpenStore(_) => "supervise.store",
            Self::KeyFile(_) => "supervise.key_file",
            Self::Unlock(_) | Self::Locked { .. } => "supervise.locked",
            Self::KeyBesideStore { .. } => "supervise.key_beside_store",
            Self::Secret(error) => error.code(),
            Self::Import { .. } => "supervise.import",
            Self::Generate { .. } => "supervise.generate",
            Self::NoPort { .. } => "supervise.no_port",
            Self::Listen { .. } => "supervise.listen",
        }
    }
}

fn owner(pid: Option<u32>, port: Option<u16>) -> String {
    let pid = pid.map(|pid| format!(" as process {pid}"));
    let port = port.map(|port| format!(", its control API on port {port}"));
    pid.unwrap_or_default() + &port.unwrap_or_default()
}
