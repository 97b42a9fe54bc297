//! The one place where the process environment is read.

use std::ffi::OsString;
use std::path::PathBuf;

use strongroom_chain::places;
use strongroom_core::port::Variables;

/// A copy of the environment, taken at start.
pub(crate) struct Environment {
    variables: Vec<(OsString, OsString)>,
}

impl Environment {
    /// Reads the environment of this process.
    pub(crate) fn of_process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
        }
    }

    /// With one variable set, as if it had been set for this process.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.into(), value.into()));
        self
    }

    /// All variables.
    pub(crate) fn variables(&self) -> &[(OsString, OsString)] {
        &self.variables
    }

    /// Those that are text, for backends that take their settings from the environment.
    pub(crate) fn for_backends(&self) -> Variables {
        let text = self.variables.iter();
        let text = text.filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
        Variables::new(text)
    }

    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&OsString> {
        self.variables
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty())
    }

    /// As `get`, for text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| value.to_str())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The user's name, for the audit log.
    pub(crate) fn user(&self) -> String {
        let uid = rustix::process::getuid().as_raw();
        match self.text("USER").or_else(|| self.text("LOGNAME")) {
            Some(name) => format!("{name} (uid {uid})"),
            None => format!("uid {uid}"),
        }
    }

    /// `$XDG_CONFIG_HOME/strongroom`.
    pub(crate) fn config_folder(&self) -> Option<PathBuf> {
        self.xdg("XDG_CONFIG_HOME", ".config")
    }

    /// `$XDG_DATA_HOME/strongroom`.
    pub(crate) fn data_folder(&self) -> Option<PathBuf> {
        self.xdg("XDG_DATA_HOME", ".local/share")
    }

    /// `$XDG_STATE_HOME/strongroom`.
    pub(crate) fn state_folder(&self) -> Option<PathBuf> {
        self.xdg("XDG_STATE_HOME", ".local/state")
    }

    /// `$XDG_CACHE_HOME/strongroom`.
    pub(crate) fn cache_folder(&self) -> Option<PathBuf> {
        self.xdg("XDG_CACHE_HOME", ".cache")
    }

    /// Folders that may be memory, for files of secrets.
    pub(crate) fn private_folders(&self) -> Vec<PathBuf> {
        let runtime = self.get("XDG_RUNTIME_DIR").map(PathBuf::from);
        runtime
            .into_iter()
            .chain([PathBuf::from("/dev/shm")])
            .collect()
    }

    fn xdg(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let get = |name: &str| self.get(name).map(PathBuf::from);
        places::xdg(get, variable, below_home)
    }
}
