//! The manifest as written: every field optional, unknown ones refused.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::format::ValueType;
use crate::generate::GeneratorSpec;
use crate::registry::Class;
use crate::registry::Target;
use crate::rotator::RotatorSpec;

/// A Strongroom manifest.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "strongroom.toml")]
pub(super) struct RawManifest {
    /// The project.
    #[serde(default)]
    pub(super) project: RawProject,
    /// How its profiles differ.
    #[serde(default)]
    pub(super) profiles: BTreeMap<String, RawProfile>,
    /// The secrets and settings the application needs; the key is the environment variable.
    #[serde(default)]
    pub(super) secrets: BTreeMap<String, RawDeclaration>,
    /// How often the secrets of a `pattern` change that say nothing of it themselves.
    #[serde(default)]
    pub(super) rotation: BTreeMap<String, Rotation>,
}

/// The project.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProject {
    /// The first segment of the secrets' places in a store.
    pub(super) name: Option<String>,
    /// What the project is.
    pub(super) description: Option<String>,
    /// The profile that is taken when nobody names one.
    pub(super) default_profile: Option<String>,
}

/// A profile.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProfile {
    /// Take over the settings of another profile (never its values).
    pub(super) inherits: Option<String>,
    /// Backends that are asked, in order: `store`, `dotenv:.env`, `env`, `files:/run/secrets`.
    pub(super) chain: Option<Vec<String>>,
    /// Placeholders, plain http and values shared with other profiles are errors.
    pub(super) strict: Option<bool>,
    /// Names whose placeholder values are let through.
    pub(super) allow_placeholders: Option<Vec<String>>,
    /// Variables that the child inherits beside the usual ones; `*` at the end matches any rest.
    pub(super) inherit_env: Option<Vec<String>>,
}

/// One secret or setting.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDeclaration {
    /// Its path in a store, below project and profile. Default: the key.
    pub(super) path: Option<String>,
    /// Where its value comes from.
    pub(super) class: Option<Class>,
    /// What it is for.
    pub(super) description: Option<String>,
    /// Whether the application can start without it; by profile if it differs. Default: true.
    pub(super) required: Option<ByProfile<bool>>,
    /// A regular expression that its value matches (linear time, unanchored unless you anchor).
    pub(super) format: Option<String>,
    /// What kind of value it is.
    #[serde(rename = "type")]
    pub(super) value_type: Option<ValueType>,
    /// Least length, in characters.
    pub(super) min_length: Option<usize>,
    /// Least entropy, in bits, as estimated from the value.
    pub(super) min_entropy: Option<f64>,
    /// How it is generated.
    pub(super) generator: Option<GeneratorSpec>,
    /// How often it changes.
    pub(super) rotation: Option<Rotation>,
    /// Credentials that a server makes for each run, e.g. `database/creds/readonly#password`.
    pub(super) dynamic: Option<RawDynamic>,
    /// Labels.
    pub(super) tags: Option<BTreeMap<String, String>>,
    /// Who answers for it.
    pub(super) owner: Option<String>,
    /// What a person is shown who has to type it in.
    pub(super) prompt: Option<Prompt>,
    /// Absolute paths in a store that are asked when its own place is empty.
    pub(super) fallback: Option<Vec<String>>,
    /// The value when nobody gives one; settings only. By profile if it differs.
    pub(super) default: Option<ByProfile<Scalar>>,
    /// A value that shows the form; a secret equal to it is a placeholder.
    pub(super) example: Option<String>,
    /// False for a plain setting: not stored sealed, not redacted.
    pub(super) sensitive: Option<bool>,
    /// How the application receives it. Default: the environment variable of its name.
    pub(super) target: Option<Target>,
    /// What happens to it when the application is shipped.
    pub(super) tiers: Option<BTreeMap<String, TierStrategy>>,
}

/// Credentials that a server makes for each run.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RawDynamic {
    /// Where they are read; behind a `#` the field that is meant, else all of them as JSON.
    Path(String),
    /// Put together from their fields.
    Formed(FormedDynamic),
}

/// Credentials that a value is put together from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FormedDynamic {
    /// Where they are read.
    pub(super) path: String,
    /// The value, with `{{username}}`, `{{password}}` and the like for their fields.
    pub(super) template: String,
}

/// One value for all profiles, or one for each; `*` for the others.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum ByProfile<T> {
    /// For all.
    One(T),
    /// For each.
    Each(BTreeMap<String, T>),
}

/// A setting's value.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Scalar {
    /// `true`, `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text.
    Text(String),
}

impl Scalar {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Text(value) => value.clone(),
        }
    }
}

/// How often a secret changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// Which secrets: a pattern of paths, `*` for any letters and `?` for one. Only in
    /// `[rotation]`.
    pub pattern: Option<String>,
    /// Interval, e.g. `30d`; or `schedule`.
    pub every: Option<String>,
    /// When exactly, in UTC: `rate(10 days)` or `cron(0 8 1 * ? *)`.
    pub schedule: Option<String>,
    /// How long the window is in which it begins, e.g. `2h`.
    pub window: Option<String>,
    /// Secrets that are due together begin within so long. Default: 10m.
    pub jitter: Option<String>,
    /// Warn so long before.
    pub notify_before: Option<String>,
    /// Who answers for them. Only in `[rotation]`: a declaration has its own `owner`.
    pub owner: Option<String>,
    /// The old value stays valid so long at most.
    pub overlap: Option<String>,
    /// What the end of the old value waits for. Default: deadline.
    pub wait: Option<OverlapWait>,
    /// Who has read the secret so lately is waited for. Default: 7d.
    pub consumers_within: Option<String>,
    /// What rotates it. Default: a new value is drawn.
    pub rotator: Option<RotatorSpec>,
}

/// What the end of an old value waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OverlapWait {
    /// Until `overlap` is over.
    Deadline,
    /// Until everybody who reads the secret has read the new value, or `overlap` is over.
    Consumers,
}

impl OverlapWait {
    /// The word in manifests and policies.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Consumers => "consumers",
        }
    }
}

/// What a person is shown who has to type a value in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// The question.
    pub label: String,
    /// How to get one.
    pub description: Option<String>,
    /// Where to get one.
    pub link: Option<String>,
}

/// What happens to a secret in one tier.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TierStrategy {
    /// What is done.
    pub action: String,
    /// With which template.
    pub template: Option<String>,
}
