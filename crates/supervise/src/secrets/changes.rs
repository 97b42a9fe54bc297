//! Changing secrets: all of a request or nothing of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use strongroom_core::registry::Class;
use strongroom_core::secret::SecretValue;
use strongroom_engine::Error as EngineError;

use super::Secrets;
use super::draw;
use super::fits;
use super::is_blank;
use crate::keep::Kept;
use crate::keep::Origin;
use crate::manifest::Secret;

/// A secret and its new value; an empty one clears an optional secret, and draws a generated one
/// anew.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) id: String,
    pub(crate) value: SecretValue,
}

/// How a request is meant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// Only what is in the request is checked: others may be missing still.
    pub(crate) is_partial: bool,
    /// Ids that nobody declared are kept.
    pub(crate) allows_unknown: bool,
    /// Nothing is stored.
    pub(crate) is_trial: bool,
}

/// What a request did.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    /// Ids that have the given value now.
    pub(crate) stored: Vec<String>,
    /// Ids that have no value any more.
    pub(crate) cleared: Vec<String>,
    /// Ids that were drawn.
    pub(crate) generated: Vec<String>,
    /// Those of them that had a value before.
    pub(crate) rotated: Vec<String>,
    /// Ids whose value begins or ends with white space.
    pub(crate) spaced: Vec<String>,
    /// How many values there are now.
    pub(crate) count: usize,
}

/// Why a request was refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Nobody declared these.
    Unknown(Vec<String>),
    /// What is wrong, by id; no value is quoted.
    Invalid(Vec<(String, String)>),
    /// A value cannot be drawn.
    Generate(String),
    /// The store failed.
    Store(EngineError),
}

impl Refusal {
    /// The problems of secrets in one line.
    pub(crate) fn in_a_line(problems: &[(String, String)]) -> String {
        let texts: Vec<String> = problems
            .iter()
            .map(|(id, problem)| format!("secret {id}: {problem}"))
            .collect();
        texts.join("; ")
    }
}

impl Secrets {
    /// Checks a request as a whole, then stores it.
    pub(crate) async fn change(
        &mut self,
        changes: Vec<Change>,
        manner: Manner,
    ) -> Result<Saved, Refusal> {
        let manifest = Arc::clone(&self.manifest);
        let unknown = changes.iter().map(|change| &change.id);
        let unknown: Vec<String> = unknown
            .filter(|id| manifest.secret(id).is_none())
            .cloned()
            .collect();
        if !unknown.is_empty() && !manner.allows_unknown {
            return Err(Refusal::Unknown(unknown));
        }
        // `None` for a secret that shall have no value.
        let mut next: BTreeMap<String, Option<Kept>> = BTreeMap::new();
        let mut saved = Saved::default();
        for change in changes {
            let (id, value) = (change.id, change.value);
            let is_generated = (manifest.secret(&id))
                .is_some_and(|secret| secret.class == Class::PerInstallGenerated);
            if value.is_empty() {
                if !is_generated {
                    saved.cleared.push(id.clone());
                }
                next.insert(id, None);
                continue;
            }
            if has_space_around(&value) {
                saved.spaced.push(id.clone());
            }
            saved.stored.push(id.clone());
            let origin = Origin::Given;
            next.insert(id, Some(Kept { value, origin }));
        }
        if !manner.is_partial || next.values().any(Option::is_none) {
            self.draw_into(&mut next, &mut saved, manner)?;
        }
        let problems = self.problems(&next, manner);
        if !problems.is_empty() {
            return Err(Refusal::Invalid(problems));
        }
        let mut count = self.kept.clone();
        for (id, kept) in &next {
            match kept {
                Some(kept) => count.insert(id.clone(), kept.clone()),
                None => count.remove(id),
            };
        }
        saved.count = count.len();
        if !manner.is_trial {
            self.store(next).await.map_err(Refusal::Store)?;
        }
        Ok(saved)
    }

    /// Draws what is to be drawn and would have no value.
    fn draw_into(
        &self,
        next: &mut BTreeMap<String, Option<Kept>>,
        saved: &mut Saved,
        manner: Manner,
    ) -> Result<(), Refusal> {
        let manifest = Arc::clone(&self.manifest);
        let generated = manifest.secrets.iter();
        for secret in generated.filter(|secret| secret.class == Class::PerInstallGenerated) {
            let had_value = self
                .kept
                .get(&secret.id)
                .is_some_and(|kept| !kept.value.is_empty());
            let is_wanted = match next.get(&secret.id) {
                Some(next) => next.is_none(),
                None => !had_value && !manner.is_partial,
            };
            if !is_wanted {
                continue;
            }
            let value = draw(secret)
                .map_err(|error| Refusal::Generate(format!("secret {}: {error}", secret.id)))?;
            let origin = match had_value {
                true => Origin::Rotated,
                false => Origin::Generated,
            };
            if had_value {
                saved.rotated.push(secret.id.clone());
            }
            saved.generated.push(secret.id.clone());
            next.insert(secret.id.clone(), Some(Kept { value, origin }));
        }
        Ok(())
    }

    fn problems(
        &self,
        next: &BTreeMap<String, Option<Kept>>,
        manner: Manner,
    ) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        for secret in &self.manifest.secrets {
            let changed = next.get(&secret.id);
            if changed.is_none() && manner.is_partial {
                continue;
            }
            let value = match changed {
                Some(next) => next.as_ref().map(|kept| &kept.value),
                None => self.value_of(&secret.id),
            };
            let is_clearing = manner.is_partial && changed.is_some_and(Option::is_none);
            if let Some(problem) = problem(secret, value).filter(|_| !is_clearing) {
                problems.push((secret.id.clone(), problem));
            }
        }
        problems
    }

    async fn store(&mut self, next: BTreeMap<String, Option<Kept>>) -> Result<(), EngineError> {
        let all = next.iter().map(|(id, kept)| (id.as_str(), kept.as_ref()));
        self.keep.change(all).await?;
        for (id, kept) in next {
            match kept {
                Some(kept) => {
                    self.unfetched.remove(&id);
                    self.kept.insert(id, kept);
                }
                None => {
                    self.kept.remove(&id);
                }
            }
        }
        Ok(())
    }
}

/// What is said of a value that does not fit, as older runtimes say it.
const MISMATCH: &str = "value does not match required format";

fn problem(secret: &Secret, value: Option<&SecretValue>) -> Option<String> {
    let value = value.filter(|value| !is_blank(value));
    match (value, &secret.format) {
        (None, _) => (secret.is_required).then(|| "required secret is missing".to_owned()),
        (Some(value), Some(format)) if !fits(secret, value) => {
            let format = format.as_str();
            Some(format!("{MISMATCH} {format:?}"))
        }
        (Some(_), _) => None,
    }
}

/// The same for whoever enters the value: what it looks like, and no pattern where there are words.
pub(crate) fn in_words(secret: &Secret, problem: &str) -> String {
    let Some(format) = &secret.format else {
        return problem.to_owned();
    };
    if !problem.starts_with(MISMATCH) {
        return problem.to_owned();
    }
    let words = |key: &str| {
        let text = secret.prompt.as_ref().and_then(|prompt| prompt.get(key));
        text.and_then(Value::as_str).filter(|text| !text.is_empty())
    };
    match words("hint").or(words("placeholder")) {
        Some(hint) => format!("this does not look as expected: {hint}"),
        None => format!("this does not fit {}", format.as_str()),
    }
}

fn has_space_around(value: &SecretValue) -> bool {
    // EXPOSE: looked at for white space at its ends only.
    let text = value.expose_secret_text();
    text.is_some_and(|text| text.trim() != text)
}
