//! Tags, times, versions. The description is a tag: Key Vault has no other place for it.

use std::collections::HashMap;

use azure_security_keyvault_secrets::models::SecretAttributes;
use azure_security_keyvault_secrets::models::SecretProperties;
use strongroom_core::port::Annotation;
use strongroom_core::port::VersionDetails;
use strongroom_core::time::Timestamp;
use strongroom_core::version::VersionState;

/// The tag that holds the description.
pub(crate) const DESCRIPTION: &str = "description";

pub(crate) type Tags = HashMap<String, String>;

/// Changes tags as an annotation says.
pub(crate) fn annotate(tags: &mut Tags, annotation: &Annotation) {
    match annotation.description.as_deref() {
        None => {}
        Some("") => drop(tags.remove(DESCRIPTION)),
        Some(text) => drop(tags.insert(DESCRIPTION.into(), text.into())),
    }
    for (tag, value) in &annotation.tags {
        match value {
            Some(value) => tags.insert(tag.clone(), value.clone()),
            None => tags.remove(tag),
        };
    }
}

/// The name in an id, `https://host/secrets/NAME/VERSION`.
pub(crate) fn name(id: Option<&str>) -> Option<&str> {
    id?.split('/').nth(4)
}

/// The version in an id.
pub(crate) fn version(id: Option<&str>) -> Option<&str> {
    id?.split('/').nth(5)
}

/// A point in time as the library holds it.
macro_rules! stamp {
    ($time:expr) => {
        $time.map(|time| {
            let micros = time.unix_timestamp().saturating_mul(1_000_000);
            strongroom_core::time::Timestamp::from_micros(micros)
        })
    };
}
pub(crate) use stamp;

pub(crate) fn created(attributes: Option<&SecretAttributes>) -> Option<Timestamp> {
    stamp!(attributes.and_then(|attributes| attributes.created))
}

/// A version without its value.
pub(crate) fn details(properties: &SecretProperties) -> VersionDetails {
    let attributes = properties.attributes.as_ref();
    let created = created(attributes);
    let is_enabled = attributes.and_then(|attributes| attributes.enabled);
    let changed = stamp!(attributes.and_then(|attributes| attributes.updated)).or(created);
    VersionDetails {
        id: version(properties.id.as_deref())
            .unwrap_or_default()
            .to_owned(),
        stages: Vec::new(),
        created,
        state: match is_enabled {
            Some(false) => VersionState::Deleted {
                at: changed.unwrap_or(Timestamp::from_micros(0)),
            },
            _ => VersionState::Live,
        },
    }
}
