//! Moving secrets between backends: what is there, what fits, and the copying itself.
//!
//! Migration, synchronisation and restoring are made of this. Nothing here remembers anything;
//! what has to survive a crash is in [`crate::migrate`].

pub mod backup;
pub mod carry;
mod fit;
pub mod names;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use futures_util::stream;
use futures_util::stream::StreamExt;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::Details;
use strongroom_core::port::Item;
use strongroom_core::port::VersionDetails;
use strongroom_core::version::STAGE_CURRENT;
use strongroom_core::version::STAGE_PREVIOUS;
use strongroom_core::version::VersionState;

pub use fit::Loss;
pub use fit::losses;
pub use fit::refusal;

/// Requests of ours that are under way at once.
pub const PARALLEL_MAX: usize = 8;
/// Addresses read in one call; a backend makes as few requests of them as it can.
const READ_MAX: usize = 200;
/// Addresses on a page.
const PAGE_MAX: usize = 500;
/// Most addresses of one backend that are handled.
pub const ADDRESSES_MAX: usize = 100_000;

/// Hears how far something is: done, of how many.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// All addresses that begin with a prefix, sorted, each once.
///
/// # Errors
/// As the backend; and when it holds over [`ADDRESSES_MAX`], or its pages do not end.
pub async fn addresses(backend: &dyn Backend, prefix: &str) -> Result<Vec<String>, BackendError> {
    let mut found = BTreeSet::new();
    let mut after: Option<String> = None;
    loop {
        let page = backend.page(prefix, after.as_deref(), PAGE_MAX).await?;
        let known = found.len();
        found.extend(page.addresses);
        let stands_still = page.next.is_some() && page.next == after && found.len() == known;
        if found.len() > ADDRESSES_MAX || stands_still {
            let message = format!("it lists over {ADDRESSES_MAX} secrets, or its pages do not end");
            let kind = strongroom_core::port::BackendErrorKind::Malformed;
            return Err(BackendError::new(kind, backend.describe(), message));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(found.into_iter().collect()),
        }
    }
}

/// The current versions of many addresses, in the order asked.
pub async fn read_all(
    backend: &dyn Backend,
    addresses: &[String],
    progress: Progress<'_>,
) -> Vec<Result<Option<Item>, BackendError>> {
    let mut found = Vec::with_capacity(addresses.len());
    for some in addresses.chunks(READ_MAX) {
        let answers = backend.read_many(some).await;
        let missing = some.len().saturating_sub(answers.len());
        found.extend(answers.into_iter().take(some.len()));
        // A backend that answers less than it was asked has failed, not found nothing.
        for _ in 0..missing {
            let kind = strongroom_core::port::BackendErrorKind::Malformed;
            let message = "it answered for fewer secrets than it was asked";
            found.push(Err(BackendError::new(kind, backend.describe(), message)));
        }
        progress(found.len(), addresses.len());
    }
    found
}

/// As [`read_all`], for who writes with `Expected::Absent` what is not there: where a listing is
/// cheaper, only what it shows is read.
pub async fn read_listed(
    backend: &dyn Backend,
    addresses: &[String],
) -> Vec<Result<Option<Item>, BackendError>> {
    let can = backend.capabilities();
    let is_told_apart = can.cas && can.names_by_token;
    let listed = match is_told_apart {
        true => backend.listed(addresses).await.ok().flatten(),
        false => None,
    };
    let Some(listed) = listed else {
        return read_all(backend, addresses, &|_, _| {}).await;
    };
    let is_listed = |address: &&String| listed.contains(address.as_str());
    let shown: Vec<String> = addresses.iter().filter(is_listed).cloned().collect();
    let mut found = read_all(backend, &shown, &|_, _| {}).await.into_iter();
    let each = addresses.iter().map(|address| match is_listed(&address) {
        true => found.next().unwrap_or(Ok(None)),
        false => Ok(None),
    });
    each.collect()
}

/// What is known of many secrets beside their values, in the order asked; nothing where the
/// backend keeps nothing.
pub async fn details_all(
    backend: &dyn Backend,
    addresses: &[String],
) -> Vec<Result<Option<Details>, BackendError>> {
    let can = backend.capabilities();
    if !(can.versions || can.description || can.tags) {
        return addresses.iter().map(|_| Ok(None)).collect();
    }
    stream::iter(addresses)
        .map(|address| backend.details(address))
        .buffered(PARALLEL_MAX)
        .collect()
        .await
}

/// The versions that can be read, oldest first; the current one is last, and the one that was
/// current before it the last but one.
#[must_use]
pub fn history(details: &Details, current: Option<&str>) -> Vec<String> {
    let live = details
        .versions
        .iter()
        .filter(|version| version.state == VersionState::Live);
    let (previous, earlier): (Vec<&VersionDetails>, Vec<&VersionDetails>) = live
        .filter(|version| Some(version.id.as_str()) != current)
        .partition(|version| version.stages.iter().any(|stage| stage == STAGE_PREVIOUS));
    // The one that was current before comes right before the current one, so that it has that
    // stage in the target, too: a version that waits to be current may be newer.
    let ids = earlier.into_iter().chain(previous);
    let mut ids: Vec<String> = ids.map(|version| version.id.clone()).collect();
    ids.extend(current.map(str::to_owned));
    ids
}

/// A version's stages beside those that every backend gives by itself; without an id, those of
/// the current version, which is the last where no stage says which it is.
#[must_use]
pub fn special_stages(details: Option<&Details>, version: Option<&str>) -> Vec<String> {
    let versions = details.map_or(&[][..], |details| details.versions.as_slice());
    let of = match version {
        Some(id) => versions.iter().find(|known| known.id == id),
        None => versions
            .iter()
            .find(|known| known.stages.iter().any(|stage| stage == STAGE_CURRENT))
            .or(versions.last()),
    };
    special(of.map_or(&[][..], |known| known.stages.as_slice()))
}

/// Those stages that a write has to give.
pub(crate) fn special(stages: &[String]) -> Vec<String> {
    let special = stages.iter().filter(|stage| is_special(stage));
    special.cloned().collect()
}

/// True for a stage that somebody gave, false for those that come by themselves.
fn is_special(stage: &str) -> bool {
    stage != STAGE_CURRENT && stage != STAGE_PREVIOUS
}

/// Addresses that more than one secret would go to.
#[must_use]
pub fn collisions<'a>(targets: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for target in targets {
        *seen.entry(target).or_default() += 1;
    }
    let twice = seen.into_iter().filter(|(_, count)| *count > 1);
    twice.map(|(target, _)| target).collect()
}
