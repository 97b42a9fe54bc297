//! Settings in layers: flag, environment, config file, default; each knows where it came from.

use std::path::PathBuf;

use strongroom_chain::passphrase;
use strongroom_chain::places::ConfigFile;
use strongroom_chain::places::read_config;
use strongroom_core::secret::SecretValue;

use crate::args::Global;
use crate::env::Environment;
use crate::error::CommandError;
use crate::error::Kind;

/// A setting and where it was found.
#[derive(Clone, Debug)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) from: &'static str,
}

/// Settings of the user, not of a project.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    store: Option<Setting<PathBuf>>,
    key_file: Option<Setting<PathBuf>>,
    passphrase_file: Option<PathBuf>,
    /// Values are shown on a terminal only after a question.
    pub(crate) asks_before_showing: bool,
}

impl Settings {
    pub(crate) fn load(global: &Global, environment: &Environment) -> Result<Self, CommandError> {
        let folder = environment.config_folder();
        let config = match &folder {
            Some(folder) => read_config(&folder.join("config.toml"))?,
            None => ConfigFile::default(),
        };
        let config_value = |path: Option<PathBuf>| {
            path.map(|value| Setting {
                value,
                from: "the config file",
            })
        };
        let flag = |path: &Option<PathBuf>| {
            path.clone().map(|value| Setting {
                value,
                from: "a flag or its variable",
            })
        };
        let default_value = |path: Option<PathBuf>| {
            path.map(|value| Setting {
                value,
                from: "the default",
            })
        };
        let data = environment
            .data_folder()
            .map(|folder| folder.join("store.db"));
        let store = flag(&global.store)
            .or_else(|| config_value(config.store))
            .or_else(|| default_value(data));
        let key_file = flag(&global.key_file)
            .or_else(|| config_value(config.key_file))
            .or_else(|| default_value(folder.map(|folder| folder.join("store.key"))));
        let passphrase_file = environment
            .get("STRONGROOM_PASSPHRASE_FILE")
            .map(PathBuf::from);
        let asks_before_showing = config.ask_before_showing.unwrap_or(false);
        Ok(Self {
            store,
            key_file,
            passphrase_file,
            asks_before_showing,
        })
    }

    pub(crate) fn store(&self) -> Result<Setting<PathBuf>, CommandError> {
        self.store.clone().ok_or_else(|| homeless("--store"))
    }

    pub(crate) fn key_file(&self) -> Result<Setting<PathBuf>, CommandError> {
        self.key_file.clone().ok_or_else(|| homeless("--key-file"))
    }

    /// The passphrase, if a file with it is named.
    pub(crate) fn passphrase(&self) -> Result<Option<SecretValue>, CommandError> {
        let Some(path) = &self.passphrase_file else {
            return Ok(None);
        };
        let read = passphrase::read(path).map_err(|error| {
            CommandError::new(Kind::Locked, "key.passphrase_file", error.to_string())
        });
        read.map(Some)
    }
}

fn homeless(flag: &str) -> CommandError {
    CommandError::usage(format!(
        "HOME is not set, so there is no default for {flag}"
    ))
    .hint(format!("give {flag}, or set HOME or the XDG variables"))
}
