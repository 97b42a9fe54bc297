//! Settings in layers: flag, environment, config file, default; each knows where it came from.

use std::path::PathBuf;

use strongroom_chain::passphrase;
use strongroom_chain::places::ConfigFile;
use strongroom_chain::places::read_config;
use strongroom_core::secret::SecretValue;
use strongroom_store_postgres::DatabaseUrl;

use crate::args::Global;
use crate::env::Environment;
use crate::error::CommandError;
use crate::error::Kind;

/// Said of what came from the command line, or a variable that stands for it.
pub(crate) const FROM_FLAG: &str = "a flag or its variable";

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
                from: FROM_FLAG,
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

    /// The address of a database that is named where a store file may be.
    pub(crate) fn database(&self) -> Option<Setting<SecretValue>> {
        let store = self.store.as_ref()?;
        let text = store.value.to_str()?;
        DatabaseUrl::is_meant_by(text).then(|| Setting {
            value: SecretValue::from_text(text.to_owned()),
            from: store.from,
        })
    }

    /// The store file.
    pub(crate) fn store(&self) -> Result<Setting<PathBuf>, CommandError> {
        if self.database().is_some() {
            return Err(CommandError::usage(
                "this works on a store file, and a database is named in its place",
            )
            .hint("strongroom serve serves it: name the server with --server"));
        }
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
