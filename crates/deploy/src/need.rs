//! A secret that an application needs, whoever declared it.

use std::collections::BTreeMap;

use serde_json::Value;
use strongroom_core::manifest::Manifest;
use strongroom_core::registry::Class;
use strongroom_core::registry::Declaration;
use strongroom_core::registry::Delivery;

use crate::resource;
use crate::strategy::Strategy;
use crate::tier::Tier;

/// Whose a secret is, as far as its declaration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Belongs {
    /// The server's own.
    Infrastructure,
    /// The application's: drawn for each installation, or fetched.
    Service,
    /// A person's.
    User,
}

impl Belongs {
    /// Its word in documented answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Infrastructure => "infrastructure",
            Self::Service => "service",
            Self::User => "user",
        }
    }

    /// What a class says of whose a secret is.
    #[must_use]
    pub fn of_class(class: Class) -> Self {
        match class {
            Class::Infrastructure => Self::Infrastructure,
            Class::PerInstallGenerated | Class::RemoteFetch => Self::Service,
            Class::UserPrompt => Self::User,
        }
    }
}

/// What a person is shown who is asked for a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromptCopy {
    /// The question.
    pub label: Option<String>,
    /// How to get one.
    pub description: Option<String>,
    /// Where to get one.
    pub link: Option<String>,
    /// What an answer looks like.
    pub hint: Option<String>,
}

impl PromptCopy {
    /// True when nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How the application receives a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `env` or `file`.
    pub kind: &'static str,
    /// The variable, or the file's path below the application's data.
    pub name: String,
}

/// What is to be done in one tier, as somebody wrote it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// What is done.
    pub strategy: Option<Strategy>,
    /// A text that is filled in where the application runs, instead of a drawn value.
    pub template: Option<String>,
    /// What is done where the strategy cannot be.
    pub fallback: Option<Strategy>,
    /// What a person is shown.
    pub prompt: Option<PromptCopy>,
    /// How a value is drawn, as written.
    pub generator: Option<Value>,
    /// How the application receives it, if other than usual.
    pub target: Option<Target>,
    /// Why.
    pub reason: Option<String>,
    /// Where it is fetched, as written.
    pub source: Option<String>,
}

/// A secret that an application needs.
#[derive(Clone, Debug)]
pub struct Need {
    /// Its name in a bundle.
    pub id: String,
    /// The resource it belongs to, e.g. `postgres`.
    pub resource: Option<String>,
    /// Its name: an environment variable's.
    pub key: String,
    /// What kind of secret it is, in the words of the documented answers.
    pub kind: &'static str,
    /// Whether the application cannot start without it.
    pub is_required: bool,
    /// Whose it is; `None` where nobody said.
    pub belongs: Option<Belongs>,
    /// What its class makes of it, where somebody wrote one that says so.
    pub by_class: Option<Strategy>,
    /// What it is for.
    pub description: Option<String>,
    /// A pattern that its value matches.
    pub format: Option<String>,
    /// Who answers for it, and how that person is reached.
    pub owner: (Option<String>, Option<String>),
    /// What a person is shown.
    pub prompt: PromptCopy,
    /// How a value is drawn, as written.
    pub generator: Option<Value>,
    /// Where it is fetched, as written.
    pub source: Option<Value>,
    /// How the application receives it.
    pub target: Target,
    /// What is to be done by tier.
    pub rules: BTreeMap<Tier, Rule>,
}

impl Need {
    /// A secret of which nothing but its name is known.
    #[must_use]
    pub fn named(key: &str) -> Self {
        let belongs_to = resource::of_name(key).map(str::to_owned);
        Self {
            id: key.to_lowercase(),
            resource: belongs_to,
            key: key.to_owned(),
            kind: kind_of_name(key),
            is_required: true,
            belongs: None,
            by_class: None,
            description: None,
            format: None,
            owner: (None, None),
            prompt: PromptCopy::default(),
            generator: None,
            source: None,
            target: Target {
                kind: "env",
                name: key.to_owned(),
            },
            rules: BTreeMap::new(),
        }
    }

    /// Its name with its resource, as lists of what is blocked have it.
    #[must_use]
    pub fn full_name(&self) -> String {
        match &self.resource {
            Some(resource) => format!("{resource}:{}", self.key),
            None => self.key.clone(),
        }
    }
}

/// What kind of secret a name means, by the documented order of words.
#[must_use]
pub fn kind_of_name(name: &str) -> &'static str {
    let name = name.to_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&["PASSWORD", "PASS", "PWD"]) {
        "password"
    } else if has(&["TOKEN"]) {
        "token"
    } else if has(&["KEY"]) && has(&["API", "ACCESS"]) {
        "api_key"
    } else if has(&["SECRET", "CREDENTIAL"]) {
        "credential"
    } else if has(&["CERT", "TLS", "SSL"]) {
        "certificate"
    } else {
        "env_var"
    }
}

/// The secrets of a manifest, as one profile needs them; plain settings are none.
///
/// # Errors
/// What is wrong with its tables of tiers, all of it.
pub fn of_manifest(manifest: &Manifest, profile: &str) -> Result<Vec<Need>, Vec<String>> {
    let mut problems = Vec::new();
    let secrets = manifest.declarations().iter();
    let needs = secrets
        .filter(|declaration| declaration.is_sensitive)
        .map(|declaration| of_declaration(declaration, profile, &mut problems))
        .collect();
    match problems.is_empty() {
        true => Ok(needs),
        false => Err(problems),
    }
}

fn of_declaration(one: &Declaration, profile: &str, problems: &mut Vec<String>) -> Need {
    let mut need = Need::named(&one.name);
    need.resource = resource_of(one);
    need.is_required = one.is_required(profile);
    if one.is_classified {
        need.belongs = Some(Belongs::of_class(one.class));
        need.by_class = strategy_of_class(one.class);
    }
    need.description.clone_from(&one.description);
    need.format = one.format.as_ref().map(|format| format.as_str().to_owned());
    need.owner.0.clone_from(&one.owner);
    if let Some(prompt) = &one.prompt {
        need.prompt = PromptCopy {
            label: Some(prompt.label.clone()),
            description: prompt.description.clone(),
            link: prompt.link.clone(),
            hint: one.example.clone(),
        };
    }
    // A generator always has a form in JSON.
    let generator = one.generator.as_ref();
    need.generator = generator.and_then(|spec| serde_json::to_value(spec).ok());
    need.target = match &one.delivery {
        Delivery::Env(name) => Target {
            kind: "env",
            name: name.clone(),
        },
        Delivery::File { name, .. } => Target {
            kind: "file",
            name: format!("secrets/{name}"),
        },
        Delivery::Stdin | Delivery::None => need.target,
    };
    for (tier, rule) in &one.tiers {
        let place = format!("secrets.{}.tiers.{tier}", one.name);
        let strategy = rule.action.parse::<Strategy>();
        match (tier.parse::<Tier>(), strategy) {
            (Ok(tier), Ok(strategy)) => {
                let rule = Rule {
                    strategy: Some(strategy),
                    template: rule.template.clone(),
                    ..Rule::default()
                };
                if need.rules.insert(tier, rule).is_some() {
                    problems.push(format!("{place}: {tier} is there twice"));
                }
            }
            (Err(error), _) => problems.push(format!("{place}: {error}")),
            (_, Err(error)) => problems.push(format!("{place}: {error}")),
        }
    }
    need
}

/// The strategy that a class stands for; infrastructure stands for none.
#[must_use]
pub fn strategy_of_class(class: Class) -> Option<Strategy> {
    match class {
        Class::Infrastructure => None,
        Class::PerInstallGenerated => Some(Strategy::Generate),
        Class::UserPrompt => Some(Strategy::Prompt),
        Class::RemoteFetch => Some(Strategy::Fetch),
    }
}

/// As tagged, else by its path `resources/NAME/…`, else by its type or name.
fn resource_of(one: &Declaration) -> Option<String> {
    if let Some(tag) = one.tags.get("resource") {
        return Some(tag.clone());
    }
    let of_path = one.path.as_str().strip_prefix("resources/");
    let of_path = of_path.and_then(|rest| rest.split_once('/'));
    if let Some((resource, _)) = of_path {
        return Some(resource.to_owned());
    }
    let of_type = one.value_type.and_then(resource::of_type);
    of_type
        .or_else(|| resource::of_name(&one.name))
        .map(str::to_owned)
}
