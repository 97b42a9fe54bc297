//! The registry of declarations: what an application needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::format::Pattern;
use crate::format::ValueType;
use crate::generate::GeneratorSpec;
use crate::manifest::Prompt;
use crate::manifest::Rotation;
use crate::manifest::TierStrategy;
use crate::path::SecretPath;

/// Where a secret's value comes from, and who may hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The server's own: never leaves it.
    Infrastructure,
    /// Drawn by a generator, once for each installation.
    PerInstallGenerated,
    /// Typed in by a person.
    UserPrompt,
    /// Fetched from another secrets manager.
    #[serde(alias = "delegate", alias = "fetch")]
    RemoteFetch,
}

impl Class {
    /// The word in manifests and tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Infrastructure => "infrastructure",
            Self::PerInstallGenerated => "per_install_generated",
            Self::UserPrompt => "user_prompt",
            Self::RemoteFetch => "remote_fetch",
        }
    }
}

/// How an application receives a value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Target {
    /// In an environment variable.
    Env {
        /// The variable; default: the declared name.
        name: Option<String>,
    },
    /// In a file in a private memory folder.
    File {
        /// The file's name in that folder; default: the declared name.
        name: Option<String>,
        /// The variable that holds the file's path; default: the declared name and `_FILE`.
        env: Option<String>,
        /// Its mode, e.g. `0400`; default `0600`.
        mode: Option<String>,
    },
    /// On standard input.
    Stdin,
    /// Not given to the application.
    None,
}

/// Where a value is delivered, worked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// In this environment variable.
    Env(String),
    /// In a file.
    File {
        /// Its name.
        name: String,
        /// The variable that holds its path.
        env: String,
        /// Its mode.
        mode: u32,
    },
    /// On standard input.
    Stdin,
    /// Nowhere.
    None,
}

/// One declared secret or setting, checked.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// The declared name: the environment variable unless the delivery says otherwise.
    pub name: String,
    /// Its path below project and profile.
    pub path: SecretPath,
    /// Where its value comes from.
    pub class: Class,
    /// False when nobody said where its value comes from, and the class is only the usual one.
    pub is_classified: bool,
    /// What it is for.
    pub description: Option<String>,
    /// False for a plain setting.
    pub is_sensitive: bool,
    /// A pattern its value matches.
    pub format: Option<Arc<Pattern>>,
    /// What kind of value it is.
    pub value_type: Option<ValueType>,
    /// Least length, in characters.
    pub min_length: Option<usize>,
    /// Least entropy, in bits.
    pub min_entropy: Option<f64>,
    /// How it is generated.
    pub generator: Option<GeneratorSpec>,
    /// How often it changes.
    pub rotation: Option<Rotation>,
    /// Credentials that a server makes for each run, and removes after it.
    pub dynamic: Option<Dynamic>,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What a person is shown who has to type it in.
    pub prompt: Option<Prompt>,
    /// Absolute places in a store, asked when its own is empty.
    pub fallback: Vec<SecretPath>,
    /// A value that shows the form.
    pub example: Option<String>,
    /// How the application receives it.
    pub delivery: Delivery,
    /// What happens to it in each tier.
    pub tiers: BTreeMap<String, TierStrategy>,
    pub(crate) required: BTreeMap<String, bool>,
    pub(crate) default: BTreeMap<String, String>,
}

/// Credentials that a server makes for each run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dynamic {
    /// Where they are read.
    pub path: String,
    /// What of them is the value.
    pub form: DynamicForm,
}

/// What of some credentials is a declaration's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DynamicForm {
    /// One field.
    Field(String),
    /// A text with `{{field}}` in it.
    Template(String),
    /// All fields, as JSON.
    Whole,
}

/// Stands for every profile that is not named.
pub(crate) const EVERY_OTHER: &str = "*";

impl Declaration {
    /// Whether the application cannot start without it in a profile.
    #[must_use]
    pub fn is_required(&self, profile: &str) -> bool {
        by_profile(&self.required, profile).copied().unwrap_or(true)
    }

    /// The value when nobody gives one; only settings have one.
    #[must_use]
    pub fn default(&self, profile: &str) -> Option<&str> {
        by_profile(&self.default, profile).map(String::as_str)
    }
}

fn by_profile<'a, T>(values: &'a BTreeMap<String, T>, profile: &str) -> Option<&'a T> {
    values.get(profile).or_else(|| values.get(EVERY_OTHER))
}
