//! Finding a manifest and reading it with the local file beside it.

use std::path::Path;
use std::path::PathBuf;

use strongroom_core::manifest;
use strongroom_core::manifest::Manifest;
use strongroom_core::manifest::Problem;
use strongroom_core::manifest::Source;

/// The manifest's name.
pub const MANIFEST_NAME: &str = "strongroom.toml";
/// The file beside it that overrides it and is not committed.
pub const LOCAL_NAME: &str = "strongroom.local.toml";

/// A manifest cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadManifestError {
    /// The file is not there, or not readable.
    #[error("{path} cannot be read: {why}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        why: String,
        /// There is no such file.
        is_missing: bool,
    },
    /// It is no text.
    #[error("{path} is not UTF-8 (byte {at})")]
    NotText {
        /// Which.
        path: String,
        /// Where.
        at: usize,
    },
    /// It has problems, told all at once.
    #[error("the manifest has problems")]
    Invalid(Vec<Problem>),
}

/// The nearest manifest in `folder` or above it.
#[must_use]
pub fn find(folder: &Path) -> Option<PathBuf> {
    let mut folders = folder.ancestors().map(|folder| folder.join(MANIFEST_NAME));
    folders.find(|candidate| candidate.is_file())
}

/// Reads one of the two files.
///
/// # Errors
/// When it cannot be read or is no text.
pub fn read(path: &Path) -> Result<String, ReadManifestError> {
    let cap = manifest::MANIFEST_BYTES_MAX as u64;
    let shown = || path.display().to_string();
    let bytes = strongroom_backends::file::read_capped(path, cap).map_err(|error| {
        ReadManifestError::Unreadable {
            path: shown(),
            why: error.to_string(),
            is_missing: !path.exists(),
        }
    })?;
    String::from_utf8(bytes.to_vec()).map_err(|error| ReadManifestError::NotText {
        path: shown(),
        at: error.utf8_error().valid_up_to(),
    })
}

/// The manifest of a text that lies at `path`; the local file beside it overrides it. With it come
/// notices.
///
/// # Errors
/// When the local file cannot be read, or they have problems.
pub fn parse(path: &Path, text: &str) -> Result<(Manifest, Vec<Problem>), ReadManifestError> {
    let local_path = path.with_file_name(LOCAL_NAME);
    let local = match local_path.is_file() {
        true => Some(read(&local_path)?),
        false => None,
    };
    let name = path.display().to_string();
    let local_name = local_path.display().to_string();
    let mut sources = vec![Source { name: &name, text }];
    if let Some(text) = &local {
        sources.push(Source {
            name: &local_name,
            text,
        });
    }
    Manifest::parse(&sources).map_err(ReadManifestError::Invalid)
}
