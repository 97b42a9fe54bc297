//! The deployment file, `strongroom.deploy.toml`: what is shipped where, which services others
//! take the place of, and deviations from what declarations say. It holds no value.

use std::collections::BTreeMap;

use serde::Deserialize;
use strongroom_core::time::Timestamp;

use crate::need::PromptCopy;
use crate::need::Rule;
use crate::need::Target;
use crate::plan::Override;
use crate::strategy::Strategy;
use crate::tier::Tier;

/// The name of the file.
pub const FILE_NAME: &str = "strongroom.deploy.toml";

/// A deployment file, checked.
#[derive(Clone, Debug, Default)]
pub struct Deployment {
    /// What is shipped, by name.
    pub profiles: BTreeMap<String, Profile>,
    /// Deviations from what declarations say.
    pub overrides: Vec<Override>,
    /// Scores that people set.
    pub scores: Vec<ScoreOverride>,
}

/// One application as it is shipped.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The application's name.
    pub scenario: Option<String>,
    /// Where it is shipped to; the first is meant when none is named.
    pub tiers: Vec<Tier>,
    /// The file that declares its secrets: a bundle manifest, a registry or a manifest.
    pub source: Option<SourceFile>,
    /// Services that others take the place of: from, to.
    pub swaps: BTreeMap<String, String>,
    /// Services that it leans on, beside those that its secrets belong to.
    pub services: Vec<String>,
    /// Other applications that it leans on.
    pub scenarios: Vec<String>,
    /// How often it was changed.
    pub version: u64,
}

/// Where an application's secrets are declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceFile {
    /// A bundle manifest.
    Bundle(String),
    /// A registry.
    Registry(String),
    /// A manifest of ours.
    Manifest(String),
}

/// A score that somebody set in place of the computed one.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreOverride {
    /// The application; `None` for every one.
    pub scenario: Option<String>,
    /// The tier.
    pub tier: Tier,
    /// 0 to 100.
    pub score: f64,
    /// Why.
    pub reason: String,
    /// When it stops being true.
    pub expires: Option<Timestamp>,
}

impl Deployment {
    /// Reads a deployment file.
    ///
    /// # Errors
    /// What is wrong with it; never a value that stands in it, but its words.
    pub fn read(text: &str) -> Result<Self, ReadDeploymentError> {
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let before = text.get(..at).unwrap_or_default();
            ReadDeploymentError {
                place: format!("line {}", before.matches('\n').count() + 1),
                message: own_message(error.message()),
            }
        })?;
        let mut deployment = Self::default();
        for (name, profile) in raw.profiles {
            let place = format!("profiles.{name}");
            let profile = profile.checked().map_err(|message| fail(&place, message))?;
            deployment.profiles.insert(name, profile);
        }
        for (at, one) in raw.overrides.into_iter().enumerate() {
            let place = format!("overrides[{at}]");
            deployment
                .overrides
                .push(one.checked().map_err(|message| fail(&place, message))?);
        }
        for (at, one) in raw.fitness.into_iter().enumerate() {
            let place = format!("fitness[{at}]");
            deployment
                .scores
                .push(one.checked().map_err(|message| fail(&place, message))?);
        }
        Ok(deployment)
    }
}

fn fail(place: &str, message: String) -> ReadDeploymentError {
    ReadDeploymentError {
        place: place.to_owned(),
        message,
    }
}

/// Messages that quote what was typed as a value are put in words of ours.
fn own_message(message: &str) -> String {
    let is_about_keys = ["unknown field", "missing field", "duplicate"]
        .iter()
        .any(|start| message.starts_with(start));
    match is_about_keys {
        true => message.to_owned(),
        false => "the text is not TOML, or a value is of the wrong type".to_owned(),
    }
}

/// Why a deployment file could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ReadDeploymentError {
    place: String,
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    profiles: BTreeMap<String, RawProfile>,
    #[serde(default)]
    overrides: Vec<RawOverride>,
    #[serde(default)]
    fitness: Vec<RawScore>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TierWord {
    Number(u8),
    Name(String),
}

impl TierWord {
    fn tier(&self) -> Result<Tier, String> {
        let parsed = match self {
            Self::Number(number) => number.to_string().parse::<Tier>(),
            Self::Name(name) => name.parse(),
        };
        parsed.map_err(|error| error.to_string())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProfile {
    scenario: Option<String>,
    #[serde(default)]
    tiers: Vec<TierWord>,
    bundle: Option<String>,
    registry: Option<String>,
    manifest: Option<String>,
    #[serde(default)]
    swaps: BTreeMap<String, String>,
    #[serde(default)]
    services: Vec<String>,
    #[serde(default)]
    scenarios: Vec<String>,
    version: Option<u64>,
}

impl RawProfile {
    fn checked(self) -> Result<Profile, String> {
        let mut sources = [
            self.bundle.map(SourceFile::Bundle),
            self.registry.map(SourceFile::Registry),
            self.manifest.map(SourceFile::Manifest),
        ]
        .into_iter()
        .flatten();
        let source = sources.next();
        if sources.next().is_some() {
            return Err("give one of bundle, registry and manifest, not several".to_owned());
        }
        let tiers = self.tiers.iter().map(TierWord::tier);
        Ok(Profile {
            scenario: self.scenario,
            tiers: tiers.collect::<Result<_, _>>()?,
            source,
            swaps: self.swaps,
            services: self.services,
            scenarios: self.scenarios,
            version: self.version.unwrap_or(1),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOverride {
    scenario: Option<String>,
    tier: TierWord,
    resource: Option<String>,
    secret: String,
    strategy: Option<String>,
    fallback: Option<String>,
    template: Option<String>,
    prompt_label: Option<String>,
    prompt_description: Option<String>,
    generator: Option<serde_json::Value>,
    file: Option<String>,
    env: Option<String>,
    reason: Option<String>,
    expires: Option<String>,
}

impl RawOverride {
    fn checked(self) -> Result<Override, String> {
        let strategy = |word: Option<String>| {
            let parsed = word.map(|word| word.parse::<Strategy>());
            parsed.transpose().map_err(|error| error.to_string())
        };
        let prompt = PromptCopy {
            label: self.prompt_label,
            description: self.prompt_description,
            ..PromptCopy::default()
        };
        let target = match (self.file, self.env) {
            (Some(_), Some(_)) => return Err("give 'file' or 'env', not both".to_owned()),
            (Some(name), None) => Some(Target { kind: "file", name }),
            (None, Some(name)) => Some(Target { kind: "env", name }),
            (None, None) => None,
        };
        Ok(Override {
            scenario: self.scenario,
            tier: self.tier.tier()?,
            resource: self.resource,
            secret: self.secret,
            rule: Rule {
                strategy: strategy(self.strategy)?,
                template: self.template,
                fallback: strategy(self.fallback)?,
                prompt: (!prompt.is_empty()).then_some(prompt),
                generator: self.generator,
                target,
                reason: self.reason,
                source: None,
            },
            expires: time(self.expires)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScore {
    scenario: Option<String>,
    tier: TierWord,
    score: f64,
    reason: String,
    expires: Option<String>,
}

impl RawScore {
    fn checked(self) -> Result<ScoreOverride, String> {
        if !(0.0..=100.0).contains(&self.score) {
            return Err("score is not between 0 and 100".to_owned());
        }
        Ok(ScoreOverride {
            scenario: self.scenario,
            tier: self.tier.tier()?,
            score: self.score,
            reason: self.reason,
            expires: time(self.expires)?,
        })
    }
}

fn time(text: Option<String>) -> Result<Option<Timestamp>, String> {
    let parsed = text.map(|text| text.parse::<Timestamp>());
    let expected = "expires is no day such as 2027-01-31 and no time with its zone";
    parsed.transpose().map_err(|_| expected.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_file_reads() {
        let deployment = Deployment::read(
            r#"
[profiles.wheel]
scenario = "picker-wheel"
tiers = [2, "mobile"]
bundle = "bundle.json"
swaps = { postgres = "sqlite" }

[[overrides]]
tier = "desktop"
secret = "STRIPE_KEY"
strategy = "prompt"
prompt_label = "Stripe key"
expires = "2027-01-31"

[[fitness]]
tier = "desktop"
score = 30
reason = "until the migration ships"
"#,
        )
        .unwrap();
        let profile = &deployment.profiles["wheel"];
        assert_eq!(profile.tiers, [Tier::Desktop, Tier::Mobile]);
        assert_eq!(
            profile.source,
            Some(SourceFile::Bundle("bundle.json".to_owned()))
        );
        assert_eq!(
            deployment.overrides[0].rule.strategy,
            Some(Strategy::Prompt)
        );
        assert!(deployment.overrides[0].expires.is_some());
        assert_eq!(deployment.scores[0].tier, Tier::Desktop);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, message) in [
            (
                "[[overrides]]\ntier = 6\nsecret = \"A\"",
                "overrides[0]: there is no tier '6'",
            ),
            (
                "[profiles.a]\ncolour = \"x\"",
                "line 2: unknown field `colour`",
            ),
            (
                "[profiles.a]\nbundle = \"a\"\nregistry = \"b\"",
                "profiles.a: give one of",
            ),
            (
                "[[fitness]]\ntier = 1\nscore = 120\nreason = \"\"",
                "fitness[0]: score is not",
            ),
            ("x = sk-live-123", "line 1: the text is not TOML"),
        ] {
            let error = Deployment::read(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
