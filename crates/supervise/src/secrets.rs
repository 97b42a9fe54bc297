//! The secrets of one installation: what is declared, what is kept, what is missing.

mod changes;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use strongroom_core::generate::GenerateError;
use strongroom_core::registry::Class;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::SystemRng;
use strongroom_engine::Error as EngineError;

pub(crate) use changes::Change;
pub(crate) use changes::Manner;
pub(crate) use changes::Refusal;
pub(crate) use changes::Saved;
pub(crate) use changes::in_words;

use crate::error::SuperviseError;
use crate::import;
use crate::keep::Keep;
use crate::keep::Kept;
use crate::keep::Origin;
use crate::manifest::Manifest;
use crate::manifest::Secret;
use crate::now;

/// Values that were fetched, or why they could not be, by their ids.
pub(crate) type Fetched = BTreeMap<String, Result<SecretValue, String>>;

/// The secrets of one installation.
pub(crate) struct Secrets {
    manifest: Arc<Manifest>,
    keep: Keep,
    kept: BTreeMap<String, Kept>,
    /// Why a secret could not be fetched.
    unfetched: BTreeMap<String, String>,
}

/// What a start did to the secrets: names for telemetry.
#[derive(Debug, Default)]
pub(crate) struct Begun {
    pub(crate) imported: Option<(usize, &'static str)>,
    pub(crate) warnings: Vec<String>,
    pub(crate) fetched: Vec<String>,
    pub(crate) generated: Vec<String>,
}

impl Secrets {
    /// Reads what is kept, takes over what an earlier installation left in clear, takes what was
    /// fetched, and draws what is to be drawn and is not there.
    pub(crate) async fn begin(
        manifest: Arc<Manifest>,
        keep: Keep,
        old: &Path,
        fetched: Fetched,
    ) -> Result<(Self, Begun), SuperviseError> {
        let kept = keep.all().await?;
        let mut secrets = Self {
            manifest,
            keep,
            kept,
            unfetched: BTreeMap::new(),
        };
        let mut begun = Begun::default();
        secrets.import(old, &mut begun).await?;
        for (id, result) in fetched {
            match result {
                Ok(value) => {
                    let is_known = secrets.kept.get(&id);
                    if !is_known.is_some_and(|kept| kept.value.ct_eq(&value)) {
                        secrets.put(&id, value, Origin::Remote).await?;
                    }
                    begun.fetched.push(id);
                }
                Err(why) => {
                    secrets.unfetched.insert(id, why);
                }
            }
        }
        begun.generated = secrets.generate_missing().await?;
        Ok((secrets, begun))
    }

    async fn import(&mut self, path: &Path, begun: &mut Begun) -> Result<(), SuperviseError> {
        let Some(old) = import::read(path)? else {
            return Ok(());
        };
        if old.was_open {
            let text = "others could read the secrets that an earlier installation kept in clear";
            begun.warnings.push(format!("{text}: change them"));
        }
        let mut count = 0;
        for (id, value) in &old.values {
            let is_there = self.kept.get(id).is_some_and(|kept| !is_blank(&kept.value));
            if is_there || value.is_empty() {
                continue;
            }
            self.put(id, value.clone(), Origin::Imported).await?;
            count += 1;
        }
        // Only what the store gives back is taken out of the file.
        let stored = self.keep.all().await?;
        for (id, value) in &old.values {
            if !value.is_empty() && !stored.contains_key(id) {
                return Err(SuperviseError::Import {
                    path: path.into(),
                    why: format!("{id} is not in the store; nothing was removed"),
                });
            }
        }
        begun.imported = Some((count, old.form));
        old.remove(path)
    }

    async fn put(
        &mut self,
        id: &str,
        value: SecretValue,
        origin: Origin,
    ) -> Result<(), EngineError> {
        let kept = Kept { value, origin };
        self.keep.put(id, &kept).await?;
        self.kept.insert(id.to_owned(), kept);
        Ok(())
    }

    async fn generate_missing(&mut self) -> Result<Vec<String>, SuperviseError> {
        let manifest = Arc::clone(&self.manifest);
        let generated = manifest.secrets.iter();
        let generated = generated.filter(|secret| secret.class == Class::PerInstallGenerated);
        let mut ids = Vec::new();
        for secret in generated {
            if self
                .kept
                .get(&secret.id)
                .is_some_and(|kept| !kept.value.is_empty())
            {
                continue;
            }
            let value = draw(secret).map_err(|source| SuperviseError::Generate {
                id: secret.id.clone(),
                source,
            })?;
            self.put(&secret.id, value, Origin::Generated).await?;
            ids.push(secret.id.clone());
        }
        Ok(ids)
    }

    /// Required secrets without a value, in the manifest's order.
    pub(crate) fn missing(&self) -> Vec<String> {
        let required = self
            .manifest
            .secrets
            .iter()
            .filter(|secret| secret.is_required);
        let missing = required.filter(|secret| self.value_of(&secret.id).is_none());
        missing.map(|secret| secret.id.clone()).collect()
    }

    /// Why a secret could not be fetched, for those that are missing or as old as their last fetch.
    pub(crate) fn unfetched(&self) -> &BTreeMap<String, String> {
        &self.unfetched
    }

    /// A value that is more than white space.
    pub(crate) fn value_of(&self, id: &str) -> Option<&SecretValue> {
        let kept = self.kept.get(id)?;
        (!is_blank(&kept.value)).then_some(&kept.value)
    }

    /// Whether a secret has a value that fits.
    pub(crate) fn is_set(&self, secret: &Secret) -> bool {
        let value = self.value_of(&secret.id);
        value.is_some_and(|value| fits(secret, value))
    }

    /// Writes down that a service is given these secrets.
    pub(crate) async fn note(&self, service: &str, ids: &[String]) -> Result<(), EngineError> {
        let values = ids
            .iter()
            .filter_map(|id| Some((id.as_str(), self.value_of(id)?)));
        let values: Vec<_> = values.collect();
        self.keep.note(service, &values).await
    }

    /// All values with their names, to be masked where they must not be seen.
    pub(crate) fn values(&self) -> Vec<(String, SecretValue)> {
        let values = self.kept.iter();
        values
            .map(|(id, kept)| (id.clone(), kept.value.clone()))
            .collect()
    }

    /// The declared secrets, without any value.
    pub(crate) fn list(&self) -> Value {
        let listed = self.manifest.secrets.iter();
        Value::Array(listed.map(|secret| self.describe(secret)).collect())
    }

    fn describe(&self, secret: &Secret) -> Value {
        let value = self.value_of(&secret.id);
        let mut row = json!({
            "id": secret.id,
            "class": secret.class.word(),
            "required": secret.is_required,
            "has_value": value.is_some(),
            "status": match value {
                None => "missing",
                Some(value) if fits(secret, value) => "configured",
                Some(_) => "invalid",
            },
            "source": self.source(secret),
        });
        if let Some(text) = &secret.description {
            row["description"] = text.as_str().into();
        }
        if let Some(format) = &secret.format {
            row["format"] = format.as_str().into();
        }
        if let Some(prompt) = &secret.prompt {
            row["prompt"] = Value::Object(prompt.clone());
        }
        if let Some(why) = self.unfetched.get(&secret.id) {
            row["problem"] = why.as_str().into();
        }
        row
    }

    fn source(&self, secret: &Secret) -> &'static str {
        let origin = self.kept.get(&secret.id).map(|kept| kept.origin);
        match (origin, secret.class) {
            (Some(Origin::Given), _) => "user_provided",
            (Some(Origin::Generated | Origin::Rotated), _) => "generated",
            (Some(Origin::Remote), _) => "remote",
            (Some(Origin::Imported) | None, Class::PerInstallGenerated) => "generated",
            (Some(Origin::Imported) | None, Class::RemoteFetch) => "remote",
            (Some(Origin::Imported) | None, _) => "user_provided",
        }
    }

    /// What is due at the end; a problem is told.
    pub(crate) fn finish(&self) -> Option<String> {
        self.keep.finish()
    }
}

fn draw(secret: &Secret) -> Result<SecretValue, GenerateError> {
    let format = secret.format.as_deref();
    let spec = &secret.generator;
    spec.generate_matching(format, None, &SystemRng, now())
}

/// Nothing, or nothing but white space.
fn is_blank(value: &SecretValue) -> bool {
    // EXPOSE: looked at for white space only.
    match value.expose_secret_text() {
        Some(text) => text.trim().is_empty(),
        None => false,
    }
}

/// Whether a value has its declared format; white space around it does not count.
fn fits(secret: &Secret, value: &SecretValue) -> bool {
    let Some(format) = &secret.format else {
        return true;
    };
    // EXPOSE: to check the value against its declared format; goes nowhere.
    let bytes = value.expose_secret();
    let text = std::str::from_utf8(bytes).map(str::trim);
    format.is_match(text.map_or(bytes, str::as_bytes))
}
