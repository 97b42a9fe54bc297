//! The first run in a terminal: the same questions as the page asks, while nothing runs.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use strongroom_core::registry::Class;
use strongroom_core::secret::SecretValue;

use crate::error::SuperviseError;
use crate::folder::Folder;
use crate::folder::Lock;
use crate::manifest::Manifest;
use crate::manifest::Secret;
use crate::manifest::Target;
use crate::secrets::Change;
use crate::secrets::Manner;
use crate::secrets::Refusal;
use crate::secrets::Secrets;
use crate::secrets::in_words;
use crate::supervisor;
use crate::supervisor::Options;
use crate::telemetry::Telemetry;

/// An installation whose secrets are being set.
pub struct Dialogue {
    manifest: Arc<Manifest>,
    secrets: Secrets,
    telemetry: Telemetry,
    warnings: Vec<String>,
    _lock: Lock,
}

/// A secret, as a person is asked for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Question {
    /// Its name in the manifest.
    pub id: String,
    /// What a person calls it.
    pub label: String,
    /// How one gets a value.
    pub description: Option<String>,
    /// What a value looks like.
    pub hint: Option<String>,
    /// Where more is said.
    pub link: Option<String>,
    /// The application does not start without it.
    pub is_required: bool,
    /// It has a value that fits.
    pub is_set: bool,
    /// The application gets it as a file: it may have many lines.
    pub is_file: bool,
    /// It is drawn, not asked for.
    pub is_drawn: bool,
    /// A person enters it.
    pub is_asked: bool,
}

impl Dialogue {
    /// Opens the installation as a start does, and starts nothing.
    ///
    /// # Errors
    /// When the application cannot be run, or runs.
    pub async fn open(manifest: Manifest, mut options: Options) -> Result<Self, SuperviseError> {
        let manifest = Arc::new(manifest);
        let folder = Folder::make(&options.app_data)?;
        let lock = Lock::take(&folder)?;
        let fetched = std::mem::take(&mut options.fetched);
        let opened = supervisor::open(&manifest, &folder, &options, fetched).await?;
        let (telemetry, (secrets, warnings)) = opened;
        Ok(Self {
            manifest,
            secrets,
            telemetry,
            warnings,
            _lock: lock,
        })
    }

    /// What its user should look at.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// All secrets, in the manifest's order.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        let secrets = self.manifest.secrets.iter();
        secrets.map(|secret| self.question(secret)).collect()
    }

    fn question(&self, secret: &Secret) -> Question {
        let prompt = |key: &str| {
            let text = secret.prompt.as_ref().and_then(|prompt| prompt.get(key));
            let text = text.and_then(Value::as_str).filter(|text| !text.is_empty());
            text.map(str::to_owned)
        };
        Question {
            id: secret.id.clone(),
            label: prompt("label").unwrap_or_else(|| secret.id.clone()),
            description: prompt("description").or_else(|| secret.description.clone()),
            hint: prompt("hint").or_else(|| prompt("placeholder")),
            link: prompt("link"),
            is_required: secret.is_required,
            is_set: self.secrets.is_set(secret),
            is_file: matches!(secret.target, Target::File(_)),
            is_drawn: secret.class == Class::PerInstallGenerated,
            is_asked: secret.class == Class::UserPrompt,
        }
    }

    /// Required secrets that have no value.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        self.secrets.missing()
    }

    /// Checks a value and keeps it; what was kept before stays whatever comes after.
    ///
    /// # Errors
    /// What is wrong with the value, which is not quoted.
    pub async fn save(&mut self, id: &str, value: SecretValue) -> Result<(), String> {
        let manner = Manner {
            is_partial: true,
            ..Manner::default()
        };
        let id = id.to_owned();
        let saved = self.secrets.change(vec![Change { id, value }], manner);
        match saved.await {
            Ok(saved) => {
                let details = json!({ "count": saved.count });
                self.telemetry.note("secrets_updated", None, details);
                Ok(())
            }
            Err(Refusal::Invalid(problems)) => {
                let told = problems
                    .iter()
                    .map(|(id, problem)| match self.manifest.secret(id) {
                        Some(secret) => in_words(secret, problem),
                        None => problem.clone(),
                    });
                Err(told.collect::<Vec<_>>().join("; "))
            }
            Err(Refusal::Unknown(ids)) => Err(format!("there is no secret {}", ids.join(", "))),
            Err(Refusal::Generate(why)) => Err(why),
            Err(Refusal::Store(error)) => Err(error.to_string()),
        }
    }
}
