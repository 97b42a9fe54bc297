//! Stages: labels that move from version to version, each on at most one.

use strongroom_core::version::STAGE_CURRENT;
use strongroom_core::version::STAGE_PREVIOUS;
use strongroom_core::version::VersionInfo;

use crate::error::Error;
use crate::record::Head;

/// Most stages of one version, as with AWS.
const STAGES_MAX: usize = 20;
/// Longest name of a stage, in characters, as with AWS.
const STAGE_CHARS_MAX: usize = 256;

/// True for a stage that somebody gave; the others come and go by themselves.
pub(super) fn is_special(stage: &str) -> bool {
    stage != STAGE_CURRENT && stage != STAGE_PREVIOUS
}

/// Refuses names that are none.
pub(super) fn check(stages: &[String]) -> Result<(), Error> {
    for stage in stages {
        if stage.is_empty() || stage.chars().any(char::is_control) {
            let message = "a stage is empty or has a control character".into();
            return Err(Error::Invalid { message });
        }
        if stage.chars().count() > STAGE_CHARS_MAX {
            return Err(Error::LimitExceeded {
                what: "the name of a stage".into(),
                limit: format!("{STAGE_CHARS_MAX} characters"),
            });
        }
    }
    Ok(())
}

/// Moves stages to the newest version; true if that changed anything.
pub(super) fn give(head: &mut Head, stages: &[String]) -> Result<bool, Error> {
    let mut is_changed = false;
    let Some((newest, earlier)) = head.versions.split_last_mut() else {
        return Ok(false);
    };
    for stage in stages.iter().filter(|stage| is_special(stage)) {
        for version in &mut *earlier {
            let before = version.stages.len();
            version.stages.retain(|known| known != stage);
            is_changed |= version.stages.len() < before;
        }
        if !newest.stages.contains(stage) {
            newest.stages.push(stage.clone());
            is_changed = true;
        }
    }
    if newest.stages.len() > STAGES_MAX {
        return Err(Error::LimitExceeded {
            what: "the number of stages of a version".into(),
            limit: STAGES_MAX.to_string(),
        });
    }
    Ok(is_changed)
}

/// The place of the oldest version without a stage of its own; of the oldest where all have one.
/// The newest is never meant.
pub(super) fn first_without(head: &Head) -> usize {
    let has_none = |version: &VersionInfo| !version.stages.iter().any(|it| is_special(it));
    let newest = head.versions.len().saturating_sub(1);
    let earlier = head.versions.iter().take(newest);
    let mut earlier = earlier.enumerate();
    earlier
        .find(|(_, version)| has_none(version))
        .map_or(0, |(at, _)| at)
}
