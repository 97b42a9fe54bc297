//! Labels as tags, an annotation as the description, versions and their aliases.

use std::collections::HashMap;

use google_cloud_secretmanager_v1::model::Secret;
use google_cloud_secretmanager_v1::model::SecretVersion;
use google_cloud_secretmanager_v1::model::secret_version::State;
use google_cloud_wkt::Timestamp as Stamp;
use strongroom_core::port::Annotation;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::VersionDetails;
use strongroom_core::time::Timestamp;
use strongroom_core::version::VersionState;

/// The annotation that holds the description.
pub(crate) const DESCRIPTION: &str = "description";

const LABEL_CHARS_MAX: usize = 63;

/// Changes a secret's labels and annotations.
pub(crate) fn annotate(secret: &mut Secret, annotation: &Annotation) {
    let annotations = &mut secret.annotations;
    match annotation.description.as_deref() {
        None => {}
        Some("") => drop(annotations.remove(DESCRIPTION)),
        Some(text) => drop(annotations.insert(DESCRIPTION.into(), text.into())),
    }
    for (tag, value) in &annotation.tags {
        match value {
            Some(value) => secret.labels.insert(tag.clone(), value.clone()),
            None => secret.labels.remove(tag),
        };
    }
}

/// Refuses tags that are no labels.
pub(crate) fn check_labels(annotation: &Annotation, backend: &str) -> Result<(), BackendError> {
    let bad = annotation.tags.iter().find(|(tag, value)| {
        let value = value.as_deref();
        !is_label_key(tag) || value.is_some_and(|value| !is_label_value(value))
    });
    let Some((tag, _)) = bad else {
        return Ok(());
    };
    let shown: String = tag.chars().take(LABEL_CHARS_MAX).collect();
    let message = format!("the tag `{shown}` or its value is no label of Google Cloud");
    Err(
        BackendError::new(BackendErrorKind::Invalid, backend, message)
            .with_hint("lower-case letters, digits, _ and -, up to 63; keys begin with a letter"),
    )
}

/// Without the tags that are no labels.
pub(crate) fn with_labels_only(annotation: &Annotation) -> Annotation {
    let tags = annotation
        .tags
        .iter()
        .filter(|(tag, value)| is_label_key(tag) && value.as_deref().is_none_or(is_label_value));
    Annotation {
        description: annotation.description.clone(),
        tags: tags
            .map(|(tag, value)| (tag.clone(), value.clone()))
            .collect(),
        expires_at: annotation.expires_at,
    }
}

fn is_label_key(text: &str) -> bool {
    text.chars().next().is_some_and(char::is_alphabetic) && is_label_value(text)
}

fn is_label_value(text: &str) -> bool {
    let is_taken = |c: char| (c.is_alphanumeric() && !c.is_uppercase()) || matches!(c, '_' | '-');
    text.chars().count() <= LABEL_CHARS_MAX && text.chars().all(is_taken)
}

/// The last part of a resource name.
pub(crate) fn leaf(resource: &str) -> &str {
    resource.rsplit_once('/').map_or(resource, |(_, leaf)| leaf)
}

pub(crate) fn timestamp(stamp: &Stamp) -> Timestamp {
    let micros = stamp.seconds().saturating_mul(1_000_000);
    Timestamp::from_micros(micros.saturating_add(i64::from(stamp.nanos()) / 1_000))
}

/// A version without its value.
pub(crate) fn version(version: &SecretVersion, aliases: &HashMap<String, i64>) -> VersionDetails {
    let id = leaf(&version.name).to_owned();
    let created = version.create_time.as_ref().map(timestamp);
    let state = match version.state {
        State::Enabled => VersionState::Live,
        State::Destroyed => VersionState::Destroyed,
        // It is not told since when it is disabled: at the earliest, since it was made.
        _ => VersionState::Deleted {
            at: created.unwrap_or(Timestamp::from_micros(0)),
        },
    };
    let number = id.parse::<i64>().ok();
    let mut stages: Vec<String> = aliases
        .iter()
        .filter(|(_, of)| number == Some(**of))
        .map(|(alias, _)| alias.clone())
        .collect();
    stages.sort();
    VersionDetails {
        id,
        stages,
        created,
        state,
    }
}
