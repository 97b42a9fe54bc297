//! Which backends are asked: what was set, else what the environment points to.

use strongroom_core::manifest::Profile;

use crate::app::App;
use crate::chain;
use crate::error::CommandError;

/// Overrides every other setting of a chain: entries separated by commas.
const VARIABLE: &str = "STRONGROOM_CHAIN";

/// The entries of a chain, and why they are these.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) entries: Vec<String>,
    pub(crate) why: String,
    /// What the environment points to and is not asked, and why not.
    pub(crate) not_taken: Vec<(String, String)>,
    /// Somebody wrote it down; otherwise it was found.
    pub(crate) is_explicit: bool,
}

impl Chain {
    /// The chain of a profile: the environment's, the manifest's, or one that is detected.
    pub(crate) fn of(app: &App, profile: &Profile) -> Self {
        let explicit = |entries: Vec<String>, why: &str| {
            let not_taken = not_named(app, &entries);
            Self {
                entries,
                why: why.to_owned(),
                not_taken,
                is_explicit: true,
            }
        };
        if let Some(text) = app.environment.text(VARIABLE) {
            let entries = text.split(',').map(str::trim);
            let entries = entries.filter(|entry| !entry.is_empty());
            return explicit(entries.map(str::to_owned).collect(), VARIABLE);
        }
        match &profile.chain {
            Some(chain) => explicit(chain.clone(), "the manifest"),
            None => Self::detected(app),
        }
    }

    /// AWS where a region is set and credentials resolve, Vault where its address is set, else
    /// the store.
    fn detected(app: &App) -> Self {
        let mut not_taken = Vec::new();
        let mut taken: Option<(String, String)> = None;
        if let Some((variable, region)) = aws_region(app) {
            match aws_state(app) {
                AwsState::Ready => {
                    let why = format!("{variable} is set and AWS credentials resolve");
                    taken = Some((format!("aws:{region}"), why));
                }
                AwsState::NoCredentials => {
                    let why = format!("{variable} is set, but no AWS credentials resolve");
                    not_taken.push(("aws".to_owned(), why));
                }
                AwsState::NotBuilt => {
                    let why = format!("{variable} is set, but this program was built without aws");
                    not_taken.push(("aws".to_owned(), why));
                }
            }
        }
        if app.environment.has("VAULT_ADDR") {
            let is_built = chain::known_schemes().contains(&"vault");
            match (&taken, is_built) {
                (None, true) => taken = Some(("vault:".to_owned(), "VAULT_ADDR is set".to_owned())),
                (Some((first, _)), true) => {
                    let why = format!("VAULT_ADDR is set, but {first} comes first");
                    not_taken.push(("vault".to_owned(), why));
                }
                (_, false) => {
                    let why = "VAULT_ADDR is set, but this program was built without vault";
                    not_taken.push(("vault".to_owned(), why.to_owned()));
                }
            }
        }
        let (first, why) = taken.unwrap_or_else(|| ("store".to_owned(), "the default".to_owned()));
        Self {
            entries: vec![first, "env".to_owned()],
            why,
            not_taken,
            is_explicit: false,
        }
    }

    /// The entries, parsed.
    pub(crate) fn parsed(&self) -> Result<Vec<chain::Entry>, CommandError> {
        let entries = self.entries.iter();
        entries.map(|entry| chain::Entry::parse(entry)).collect()
    }

    /// True when the environment points to something beside the default.
    pub(crate) fn is_remarkable(&self) -> bool {
        !self.not_taken.is_empty() || self.entries.first().is_some_and(|entry| entry != "store")
    }

    /// `aws:us-east-1 → env (AWS_REGION is set and AWS credentials resolve)`
    pub(crate) fn line(&self) -> String {
        let mut line = format!("{} ({})", self.entries.join(" → "), self.why);
        for (name, why) in &self.not_taken {
            line.push_str(&format!("; not {name}: {why}"));
        }
        line
    }
}

fn aws_region(app: &App) -> Option<(&'static str, &str)> {
    ["AWS_REGION", "AWS_DEFAULT_REGION"]
        .into_iter()
        .find_map(|variable| Some((variable, app.environment.text(variable)?)))
}

/// What the environment points to, and a chain that was written down does not name.
fn not_named(app: &App, entries: &[String]) -> Vec<(String, String)> {
    let names = |scheme: &str| {
        let mut schemes = entries
            .iter()
            .filter_map(|entry| entry.split([':', '?']).next());
        schemes.any(|known| known == scheme)
    };
    let mut found = Vec::new();
    if let Some((variable, _)) = aws_region(app).filter(|_| !names("aws")) {
        let why = format!("{variable} is set, but the chain does not name it");
        found.push(("aws".to_owned(), why));
    }
    if app.environment.has("VAULT_ADDR") && !names("vault") {
        let why = "VAULT_ADDR is set, but the chain does not name it".to_owned();
        found.push(("vault".to_owned(), why));
    }
    found
}

/// Whether AWS can be used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AwsState {
    Ready,
    NoCredentials,
    NotBuilt,
}

fn aws_state(app: &App) -> AwsState {
    let _ = app;
    let _ = (AwsState::Ready, AwsState::NoCredentials);
    AwsState::NotBuilt
}
