//! What keys are for. Kubernetes annotates objects and not keys, so one annotation holds a JSON
//! object with an entry for each key.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::Annotation;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;

/// The annotation's name.
pub(crate) const ANNOTATION: &str = "strongroom/keys";

/// Descriptions and tags of an object's keys.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct About(BTreeMap<String, KeyAbout>);

/// Description and tags of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyAbout {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
}

impl About {
    /// What an object says.
    pub(crate) fn of(secret: &Secret, backend: &str) -> Result<Self, BackendError> {
        let annotations = secret.metadata.annotations.as_ref();
        let Some(text) = annotations.and_then(|all| all.get(ANNOTATION)) else {
            return Ok(Self::default());
        };
        serde_json::from_str(text).map_err(|_| {
            let message = format!("the annotation {ANNOTATION} of the Secret cannot be read");
            BackendError::new(BackendErrorKind::Malformed, backend, message)
                .with_hint("kubectl annotate secret NAME strongroom/keys- takes it away")
        })
    }

    pub(crate) fn key(&self, key: &str) -> KeyAbout {
        self.0.get(key).cloned().unwrap_or_default()
    }

    /// With a change for one key.
    pub(crate) fn annotated(mut self, key: &str, annotation: &Annotation) -> Self {
        let about = self.0.entry(key.to_owned()).or_default();
        if let Some(description) = &annotation.description {
            about.description = Some(description.clone()).filter(|text| !text.is_empty());
        }
        for (tag, value) in &annotation.tags {
            match value {
                Some(value) => about.tags.insert(tag.clone(), value.clone()),
                None => about.tags.remove(tag),
            };
        }
        if *about == KeyAbout::default() {
            self.0.remove(key);
        }
        self
    }

    /// Without a key.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.0.remove(key);
        self
    }

    /// The annotation's text; `None` when there is nothing to say.
    pub(crate) fn text(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| serde_json::to_string(self).unwrap_or_default())
    }
}
