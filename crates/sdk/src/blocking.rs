//! The same without async. Not for use inside an async runtime: there it would block it.

use strongroom_core::secret::SecretValue;
use tokio::runtime::Runtime;

use crate::builder::Builder;
use crate::error::GetError;
use crate::error::LoadError;

/// The declared secrets of one project and profile.
#[derive(Debug)]
pub struct Secrets {
    secrets: crate::Secrets,
    runtime: Runtime,
}

impl Secrets {
    /// As [`crate::Secrets::load`].
    ///
    /// # Errors
    /// As [`Builder::load`].
    pub fn load() -> Result<Self, LoadError> {
        Self::from_builder(Builder::new())
    }

    /// What a builder says.
    ///
    /// # Errors
    /// As [`Builder::load`].
    pub fn from_builder(builder: Builder) -> Result<Self, LoadError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(LoadError::Runtime)?;
        let secrets = runtime.block_on(builder.load())?;
        Ok(Self { secrets, runtime })
    }

    /// As [`crate::Secrets::get`].
    ///
    /// # Errors
    /// As there.
    pub fn get(&self, name: &str) -> Result<SecretValue, GetError> {
        self.runtime.block_on(self.secrets.get(name))
    }

    /// As [`crate::Secrets::refresh`].
    ///
    /// # Errors
    /// As there.
    pub fn refresh(&self, name: &str) -> Result<SecretValue, GetError> {
        self.runtime.block_on(self.secrets.refresh(name))
    }

    /// As [`crate::Secrets::get_or_env`].
    ///
    /// # Errors
    /// As there.
    pub fn get_or_env(&self, name: &str, variable: &str) -> Result<SecretValue, GetError> {
        let asked = self.secrets.get_or_env(name, variable);
        self.runtime.block_on(asked)
    }
}
