//! Where the user's files are, and the settings that say otherwise.

use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;

const CONFIG_BYTES_MAX: u64 = 64 * 1024;

/// `config.toml` of the user.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ConfigFile {
    /// The store.
    pub store: Option<PathBuf>,
    /// The key file that opens it.
    pub key_file: Option<PathBuf>,
    /// Values are shown on a terminal only after a question.
    pub ask_before_showing: Option<bool>,
}

/// The config file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFileError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// Which.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It has an unknown key, or is no TOML.
    #[error("{path}:{line} is not understood")]
    Malformed {
        /// Which.
        path: String,
        /// Where, from 1.
        line: usize,
    },
}

/// Reads the user's config file; one that is not there says nothing.
///
/// # Errors
/// When it cannot be read, or is not understood.
pub fn read_config(path: &Path) -> Result<ConfigFile, ConfigFileError> {
    let shown = || path.display().to_string();
    let mut text = String::new();
    match std::fs::File::open(path) {
        Ok(file) => file
            .take(CONFIG_BYTES_MAX)
            .read_to_string(&mut text)
            .map(|_| ()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(ConfigFile::default());
        }
        Err(error) => Err(error),
    }
    .map_err(|source| ConfigFileError::Unreadable {
        path: shown(),
        source,
    })?;
    toml::from_str(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
        ConfigFileError::Malformed {
            path: shown(),
            line,
        }
    })
}

/// Where plugins lie beside the user's own.
pub const PLUGIN_FOLDERS: [&str; 2] = [
    "/usr/local/lib/strongroom/plugins",
    "/usr/lib/strongroom/plugins",
];

/// `$XDG_…/strongroom`, e.g. of `XDG_DATA_HOME`, else `below_home` in the home folder. `get` gives
/// the variables that are set and not empty.
#[must_use]
pub fn xdg(
    get: impl Fn(&str) -> Option<PathBuf>,
    variable: &str,
    below_home: &str,
) -> Option<PathBuf> {
    let base = get(variable)
        .filter(|path| path.is_absolute())
        .or_else(|| get("HOME").map(|home| home.join(below_home)))?;
    Some(base.join("strongroom"))
}
