//! Changes of what is known about a secret beside its value.

use std::collections::BTreeMap;

use strongroom_core::metadata;
use strongroom_core::metadata::Metadata;
use strongroom_core::registry::Class;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;

use crate::error::Error;

/// Metadata to change; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct MetadataPatch {
    /// New description.
    pub description: Option<String>,
    /// Tags to set, or to remove where `None`.
    pub tags: BTreeMap<String, Option<String>>,
    /// New owner.
    pub owner: Option<String>,
    /// New class.
    pub class: Option<Class>,
    /// New expiry, or none.
    pub expires_at: Option<Option<Timestamp>>,
    /// New interval of rotation, or none.
    pub rotate_every: Option<Option<Span>>,
    /// Versions to keep.
    pub max_versions: Option<u32>,
}

impl MetadataPatch {
    /// Applies the changes; true if there were any.
    pub(super) fn apply(&self, metadata: &mut Metadata) -> Result<bool, Error> {
        let before = metadata.clone();
        if let Some(text) = &self.description {
            metadata.description = Some(text.clone()).filter(|text| !text.is_empty());
        }
        if let Some(owner) = &self.owner {
            metadata.owner = Some(owner.clone()).filter(|owner| !owner.is_empty());
        }
        for (key, value) in &self.tags {
            check_tag(key, value.as_deref())?;
            match value {
                Some(value) => metadata.tags.insert(key.clone(), value.clone()),
                None => metadata.tags.remove(key),
            };
        }
        if metadata.tags.len() > metadata::TAGS_MAX {
            let limit = format!("{} tags", metadata::TAGS_MAX);
            return Err(Error::LimitExceeded {
                what: "the number of tags".into(),
                limit,
            });
        }
        metadata.class = self.class.or(metadata.class);
        metadata.expires_at = self.expires_at.unwrap_or(metadata.expires_at);
        metadata.rotate_every = self.rotate_every.unwrap_or(metadata.rotate_every);
        metadata.max_versions = self.max_versions.unwrap_or(metadata.max_versions);
        Ok(*metadata != before)
    }
}

fn check_tag(key: &str, value: Option<&str>) -> Result<(), Error> {
    let is_bad = |text: &str| text.chars().any(char::is_control);
    if key.is_empty() || is_bad(key) || value.is_some_and(is_bad) {
        let message = "a tag has an empty key or a control character".into();
        return Err(Error::Invalid { message });
    }
    let too_long = key.chars().count() > metadata::TAG_KEY_CHARS_MAX
        || value.is_some_and(|value| value.chars().count() > metadata::TAG_VALUE_CHARS_MAX);
    if too_long {
        let limit = format!(
            "{} characters for its key and {} for its value",
            metadata::TAG_KEY_CHARS_MAX,
            metadata::TAG_VALUE_CHARS_MAX
        );
        return Err(Error::LimitExceeded {
            what: "a tag".into(),
            limit,
        });
    }
    Ok(())
}
