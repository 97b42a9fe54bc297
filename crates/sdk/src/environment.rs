//! The one place where this library reads the process environment.

use std::ffi::OsString;

use strongroom_core::port::Variables;

/// A copy of the environment, taken when secrets are loaded.
pub(crate) struct Environment {
    pub(crate) all: Vec<(OsString, OsString)>,
    /// Those that are text.
    pub(crate) variables: Variables,
}

impl Environment {
    pub(crate) fn of_process() -> Self {
        Self::of(std::env::vars_os().collect())
    }

    pub(crate) fn of(all: Vec<(OsString, OsString)>) -> Self {
        let text = all.iter();
        let text = text.filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
        let variables = Variables::new(text);
        Self { all, variables }
    }

    /// A variable that is set and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.variables.text(name).filter(|text| !text.is_empty())
    }
}
