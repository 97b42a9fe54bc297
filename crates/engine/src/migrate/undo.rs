//! Putting a target back as it was.

use std::collections::BTreeMap;

use futures_util::stream;
use futures_util::stream::StreamExt;
use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::Item;
use strongroom_core::port::NewValue;
use strongroom_core::port::Removal;

use super::MigrateError;
use super::journal::Before;
use super::journal::Entry;
use super::journal::Journal;
use super::journal::State;
use super::plan::concerns_all;
use crate::transfer;
use crate::transfer::PARALLEL_MAX;
use crate::transfer::Progress;

/// Secrets that are put back and written down together.
const GROUP: usize = 128;

/// Puts back what the target held before, secret by secret. What somebody has changed since is
/// left as it is, and its entry says so.
///
/// # Errors
/// When the target or the store cannot be used any more; the same call goes on from there.
pub async fn undo(
    journal: &mut Journal,
    target: &dyn Backend,
    progress: Progress<'_>,
) -> Result<(), MigrateError> {
    let is_waiting = |entry: &Entry| entry.may_have_written() && entry.state != State::Restored;
    let waiting: Vec<usize> = (0..journal.entries.len())
        .filter(|at| journal.entries.get(*at).is_some_and(is_waiting))
        .collect();
    let total = waiting.len();
    let mut done = 0;
    for group in waiting.chunks(GROUP) {
        let entries = || group.iter().filter_map(|at| journal.entries.get(*at));
        let to: Vec<String> = entries().map(|entry| entry.to.clone()).collect();
        let found = transfer::read_all(target, &to, &|_, _| {}).await;
        let jobs: Vec<(usize, Entry, Option<Item>)> = group
            .iter()
            .zip(found)
            .filter_map(|(at, found)| Some((*at, journal.entries.get(*at)?.clone(), found)))
            .map(|(at, entry, found)| Ok((at, entry, found?)))
            .collect::<Result<_, BackendError>>()?;
        let undone: Vec<(usize, Result<State, BackendError>)> = {
            let journal = &*journal;
            stream::iter(jobs)
                .map(|(at, entry, found)| async move {
                    (at, put_back(journal, target, &entry, found).await)
                })
                .buffer_unordered(PARALLEL_MAX)
                .collect()
                .await
        };
        let mut stop = None;
        for (at, result) in undone {
            let Some(entry) = journal.entries.get_mut(at) else {
                continue;
            };
            match result {
                Ok(state) => entry.state = state,
                Err(error) if concerns_all(error.kind) => stop = Some(error),
                Err(error) => entry.state = State::Kept(error.to_string()),
            }
        }
        journal.save(group).await?;
        done += group.len();
        progress(done, total);
        if let Some(error) = stop {
            return Err(error.into());
        }
    }
    Ok(())
}

async fn put_back(
    journal: &Journal,
    target: &dyn Backend,
    entry: &Entry,
    found: Option<Item>,
) -> Result<State, BackendError> {
    let kept = |why: &str| Ok(State::Kept(why.to_owned()));
    let is_ours = |found: &Item| {
        let fingerprint = journal.fingerprint(&found.payload.value);
        entry.made.contains(&fingerprint)
    };
    match (&entry.before, found) {
        (None, None) => Ok(State::Restored),
        (Some(before), Some(found)) if found.payload.value.ct_eq(&before.payload.value) => {
            Ok(State::Restored)
        }
        (_, Some(found)) if !is_ours(&found) => kept("it was changed since"),
        (Some(_), None) => kept("it was removed since"),
        (None, Some(_)) if !target.capabilities().delete => kept("the target removes nothing"),
        (None, Some(_)) => {
            let removal = removal(target, entry).await?;
            target.remove(&entry.to, removal).await?;
            Ok(State::Restored)
        }
        (Some(before), Some(_)) => {
            write_back(journal, target, entry, before).await?;
            Ok(State::Restored)
        }
    }
}

/// Versions that are not ours are not destroyed with those that are.
async fn removal(target: &dyn Backend, entry: &Entry) -> Result<Removal, BackendError> {
    let can = target.capabilities();
    if !(can.versions && can.restore) {
        return Ok(Removal::Final);
    }
    let details = target.details(&entry.to).await?;
    let versions = details.map_or(0, |details| details.versions.len());
    let ours = entry.todo.len().max(1);
    match versions > ours {
        true => Ok(Removal::Recoverable),
        false => Ok(Removal::Final),
    }
}

async fn write_back(
    journal: &Journal,
    target: &dyn Backend,
    entry: &Entry,
    before: &Before,
) -> Result<(), BackendError> {
    annotate_back(journal, target, entry, before).await?;
    // Last, since a value that is back says that all of it is.
    let mut value = NewValue::new(before.payload.clone());
    if target.capabilities().stages {
        value.stages = transfer::special(&before.stages);
    }
    target.write(&entry.to, &value).await.map(|_| ())
}

async fn annotate_back(
    journal: &Journal,
    target: &dyn Backend,
    entry: &Entry,
    before: &Before,
) -> Result<(), BackendError> {
    let can = target.capabilities();
    if !(can.description || can.tags || can.expiry) {
        return Ok(());
    }
    let details = target.details(&entry.to).await?.unwrap_or_default();
    let mut annotation = Annotation::default();
    if can.description && details.description != before.description {
        annotation.description = Some(before.description.clone().unwrap_or_default());
    }
    if can.tags {
        let gone = details.tags.keys().chain(journal.header.tags.keys());
        let gone = gone.filter(|key| !before.tags.contains_key(*key));
        let mut tags: BTreeMap<String, Option<String>> =
            gone.map(|key| (key.clone(), None)).collect();
        let own = before.tags.iter();
        tags.extend(own.map(|(key, value)| (key.clone(), Some(value.clone()))));
        annotation.tags = tags;
    }
    if can.expiry {
        annotation.expires_at = Some(before.expires_at);
    }
    if annotation.is_empty() {
        return Ok(());
    }
    target.annotate(&entry.to, &annotation).await
}
