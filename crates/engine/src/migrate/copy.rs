//! Copying: group by group, each written down before and after.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use futures_util::stream;
use futures_util::stream::StreamExt;
use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Details;
use strongroom_core::port::Expected;
use strongroom_core::port::Item;
use strongroom_core::port::NewValue;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::time::Timestamp;

use super::MigrateError;
use super::journal::Before;
use super::journal::Entry;
use super::journal::Journal;
use super::journal::State;
use super::journal::Todo;
use super::plan::Planned;
use super::plan::concerns_all;
use crate::transfer;
use crate::transfer::PARALLEL_MAX;
use crate::transfer::Progress;

/// Secrets that are written down, written, and read back together.
const GROUP: usize = 128;

/// What source and target hold of one secret.
#[derive(Clone, Debug, Default)]
struct Seen {
    item: Option<Item>,
    details: Option<Details>,
    found: Option<Item>,
    found_details: Option<Details>,
}

/// Copies every secret that is not there yet. What fails for itself is in its entry's state.
///
/// `planned` is what the plan has read, so that it is not read again; empty when a migration is
/// resumed.
///
/// # Errors
/// When source, target or the store cannot be used any more. The journal then says how far it
/// is, and the same call goes on from there.
pub async fn copy(
    journal: &mut Journal,
    source: &dyn Backend,
    target: &dyn Backend,
    planned: Vec<Planned>,
    progress: Progress<'_>,
) -> Result<(), MigrateError> {
    let mut known: BTreeMap<String, Planned> = planned
        .into_iter()
        .map(|planned| (planned.wish.to.clone(), planned))
        .collect();
    let entries = journal.entries.iter().enumerate();
    let pending: Vec<usize> = entries
        .filter(|(_, entry)| !entry.is_copied())
        .map(|(at, _)| at)
        .collect();
    let total = journal.entries.len();
    let mut done = total - pending.len();
    progress(done, total);
    for group in pending.chunks(GROUP) {
        let seen = look(journal, source, target, group, &mut known).await?;
        let writer = Writer {
            journal,
            source,
            target,
            is_stopped: AtomicBool::new(false),
        };
        let prepared = writer.prepare(group, seen);
        let changed: Vec<usize> = prepared.iter().map(|job| job.at).collect();
        for job in &prepared {
            if let Some(entry) = journal.entries.get_mut(job.at) {
                *entry = job.entry.clone();
            }
        }
        journal.save(&changed).await?;
        let base = done;
        let written = write_group(journal, source, target, prepared, &|so_far| {
            progress(base + so_far, total);
        })
        .await;
        done += group.len();
        let outcome = finish_group(journal, target, written).await?;
        progress(done, total);
        if let Some(error) = outcome {
            return Err(error.into());
        }
    }
    Ok(())
}

/// Reads what is not known of a group from the plan.
async fn look(
    journal: &Journal,
    source: &dyn Backend,
    target: &dyn Backend,
    group: &[usize],
    known: &mut BTreeMap<String, Planned>,
) -> Result<BTreeMap<usize, Seen>, BackendError> {
    let mut seen = BTreeMap::new();
    let mut unknown = Vec::new();
    for at in group {
        let Some(entry) = journal.entries.get(*at) else {
            continue;
        };
        match known.remove(&entry.to) {
            Some(planned) => {
                let found_details = None;
                seen.insert(
                    *at,
                    Seen {
                        item: planned.item,
                        details: planned.details,
                        found: planned.found,
                        found_details,
                    },
                );
            }
            None => unknown.push(*at),
        }
    }
    let entries = || unknown.iter().filter_map(|at| journal.entries.get(*at));
    let from: Vec<String> = entries().map(|entry| entry.from.clone()).collect();
    let to: Vec<String> = entries().map(|entry| entry.to.clone()).collect();
    let items = transfer::read_all(source, &from, &|_, _| {}).await;
    let details = transfer::details_all(source, &from).await;
    let found = transfer::read_all(target, &to, &|_, _| {}).await;
    let rows = unknown.iter().zip(items).zip(details).zip(found);
    for (((at, item), details), found) in rows {
        let row = Seen {
            item: item?,
            details: details?,
            found: found?,
            found_details: None,
        };
        seen.insert(*at, row);
    }
    // What is replaced is kept with its description and tags.
    let replaced: Vec<usize> = seen
        .iter()
        .filter(|(_, seen)| seen.found.is_some())
        .map(|(at, _)| *at)
        .collect();
    let to: Vec<String> = replaced
        .iter()
        .filter_map(|at| journal.entries.get(*at))
        .map(|entry| entry.to.clone())
        .collect();
    for (at, details) in replaced
        .iter()
        .zip(transfer::details_all(target, &to).await)
    {
        if let Some(seen) = seen.get_mut(at) {
            seen.found_details = details?;
        }
    }
    Ok(seen)
}

/// A secret about to be written.
struct Job {
    at: usize,
    entry: Entry,
    payload: Option<Payload>,
    expires_at: Option<Timestamp>,
    details: Option<Details>,
    failure: Option<BackendError>,
}

struct Writer<'a> {
    journal: &'a Journal,
    source: &'a dyn Backend,
    target: &'a dyn Backend,
    is_stopped: AtomicBool,
}

impl Writer<'_> {
    fn prepare(&self, group: &[usize], mut seen: BTreeMap<usize, Seen>) -> Vec<Job> {
        let jobs = group.iter().filter_map(|at| {
            let entry = self.journal.entries.get(*at)?.clone();
            let seen = seen.remove(at).unwrap_or_default();
            Some(self.prepared(*at, entry, seen))
        });
        jobs.collect()
    }

    /// What has to be written of a secret, from what the journal says and what is there.
    fn prepared(&self, at: usize, mut entry: Entry, seen: Seen) -> Job {
        let Some(item) = seen.item.filter(|item| !item.payload.value.is_empty()) else {
            entry.state = match entry.may_have_written() {
                true => State::Failed("the source does not hold it any more".into()),
                false => State::Skipped("not set".into()),
            };
            return Job {
                at,
                entry,
                payload: None,
                expires_at: None,
                details: None,
                failure: None,
            };
        };
        let fingerprint = self.journal.fingerprint(&item.payload.value);
        let is_going_on = entry.may_have_written()
            && entry.todo.last().map(|todo| todo.fingerprint) == Some(fingerprint);
        let found = seen.found.as_ref();
        let result = if is_going_on {
            self.go_on(&mut entry, found)
        } else {
            self.begin(
                &mut entry,
                found,
                seen.found_details,
                &item,
                seen.details.as_ref(),
            )
        };
        entry.state = match result {
            Ok(()) => State::Writing,
            Err(why) => State::Failed(why.into()),
        };
        let payload = (entry.state == State::Writing).then_some(item.payload);
        Job {
            at,
            entry,
            payload,
            expires_at: item.expires_at,
            details: seen.details,
            failure: None,
        }
    }

    /// Nothing was written yet, or the source has another value since.
    fn begin(
        &self,
        entry: &mut Entry,
        found: Option<&Item>,
        found_details: Option<Details>,
        item: &Item,
        details: Option<&Details>,
    ) -> Result<(), &'static str> {
        let is_ours = |found: &Item| {
            let fingerprint = self.journal.fingerprint(&found.payload.value);
            entry.made.contains(&fingerprint)
        };
        if entry.may_have_written() {
            if found.is_some_and(|found| !is_ours(found) && !is_before(entry, found)) {
                return Err("the target was changed by somebody else meanwhile");
            }
        } else {
            entry.before = found.map(|found| Before {
                payload: found.payload.clone(),
                version: found.version.clone(),
                description: found_details.as_ref().and_then(|it| it.description.clone()),
                tags: found_details.map(|it| it.tags).unwrap_or_default(),
                stages: found.stages.clone(),
                expires_at: found.expires_at,
            });
        }
        let versions = match details {
            Some(details) if self.copies_history(entry) => {
                transfer::history(details, item.version.as_deref())
            }
            _ => Vec::new(),
        };
        let current = self.journal.fingerprint(&item.payload.value);
        // Fingerprints of earlier versions are filled in as they are read.
        let earlier = versions.iter().rev().skip(1).rev();
        entry.todo = earlier
            .map(|id| Todo {
                version: Some(id.clone()),
                fingerprint: [0; 16],
            })
            .collect();
        entry.todo.push(Todo {
            version: None,
            fingerprint: current,
        });
        entry.done = 0;
        entry.last = found.and_then(|found| found.version.clone());
        if !entry.made.contains(&current) {
            entry.made.push(current);
        }
        Ok(())
    }

    fn copies_history(&self, entry: &Entry) -> bool {
        self.journal.header.with_history
            && entry.before.is_none()
            && self.target.capabilities().versions
    }

    /// A write was under way when the last process ended: did it arrive?
    fn go_on(&self, entry: &mut Entry, found: Option<&Item>) -> Result<(), &'static str> {
        const MEANWHILE: &str = "the target was changed by somebody else meanwhile";
        let Some(found) = found else {
            let is_expected = entry.done == 0 && entry.before.is_none();
            return if is_expected { Ok(()) } else { Err(MEANWHILE) };
        };
        let has_versions = found.version.is_some();
        if has_versions && found.version == entry.last {
            return Ok(());
        }
        let fingerprint = self.journal.fingerprint(&found.payload.value);
        let next = usize::try_from(entry.done).unwrap_or(usize::MAX);
        if entry.todo.get(next).map(|todo| todo.fingerprint) == Some(fingerprint) {
            entry.done += 1;
            entry.last.clone_from(&found.version);
            return Ok(());
        }
        let is_done = next >= entry.todo.len() && entry.made.contains(&fingerprint);
        if is_done || is_before(entry, found) && entry.done == 0 {
            return Ok(());
        }
        Err(MEANWHILE)
    }

    /// Writes what is left of a secret's versions.
    async fn write(&self, mut job: Job) -> Job {
        let Some(payload) = job.payload.clone() else {
            return job;
        };
        while let Some(todo) = next_todo(&job.entry) {
            if self.is_stopped.load(Ordering::Relaxed) {
                return job;
            }
            let outcome = match &todo.version {
                None => self.write_current(&job, payload.clone()).await,
                Some(version) => self.write_earlier(&mut job, version).await,
            };
            match outcome {
                Ok(version) => {
                    job.entry.done += 1;
                    job.entry.last = version;
                }
                Err(error) => {
                    if concerns_all(error.kind) {
                        self.is_stopped.store(true, Ordering::Relaxed);
                    } else {
                        job.entry.state = State::Failed(error.to_string());
                    }
                    job.failure = Some(error);
                    return job;
                }
            }
        }
        job
    }

    /// An earlier version: read, written down, written.
    async fn write_earlier(
        &self,
        job: &mut Job,
        version: &str,
    ) -> Result<Option<String>, BackendError> {
        let reference = VersionRef::Id(version.to_owned());
        let item = self.source.read(&job.entry.from, &reference).await?;
        let Some(item) = item.filter(|item| !item.payload.value.is_empty()) else {
            // It was destroyed meanwhile: there is nothing to copy.
            return Ok(job.entry.last.clone());
        };
        let fingerprint = self.journal.fingerprint(&item.payload.value);
        let at = usize::try_from(job.entry.done).unwrap_or(usize::MAX);
        if let Some(todo) = job.entry.todo.get_mut(at) {
            todo.fingerprint = fingerprint;
        }
        if !job.entry.made.contains(&fingerprint) {
            job.entry.made.push(fingerprint);
        }
        self.save(job).await?;
        self.write_one(job, item.payload, Some(version)).await
    }

    /// The current version; what was written before it is written down first, so that at most
    /// one write is ever in doubt.
    async fn write_current(
        &self,
        job: &Job,
        payload: Payload,
    ) -> Result<Option<String>, BackendError> {
        if job.entry.done > 0 {
            self.save(job).await?;
        }
        self.write_one(job, payload, None).await
    }

    async fn save(&self, job: &Job) -> Result<(), BackendError> {
        let saved = self.journal.save_entry(job.at, &job.entry).await;
        saved.map_err(|error| {
            let kind = BackendErrorKind::Unreachable;
            BackendError::new(kind, "store", error.to_string())
        })
    }

    async fn write_one(
        &self,
        job: &Job,
        payload: Payload,
        version: Option<&str>,
    ) -> Result<Option<String>, BackendError> {
        let can = self.target.capabilities();
        let entry = &job.entry;
        let mut value = NewValue::new(payload);
        if can.cas {
            value.expected = match (&entry.last, entry.done == 0 && entry.before.is_none()) {
                (None, true) => Expected::Absent,
                (Some(last), _) => Expected::Version(last.clone()),
                (None, false) => Expected::Any,
            };
        }
        // The same for every attempt at this value, so that a repeated write is one write.
        value.token = Some(format!(
            "strongroom-{}-{:08}-{:04}-{:04}",
            self.journal.header.id,
            job.at,
            entry.made.len(),
            entry.done
        ));
        let is_last = version.is_none();
        if can.stages {
            value.stages = transfer::special_stages(job.details.as_ref(), version);
        }
        if is_last {
            value.annotation = self.annotation(job, can);
        }
        match self.target.write(&entry.to, &value).await {
            Ok(stored) => Ok(stored.version),
            Err(error) if error.kind == BackendErrorKind::Conflict => {
                // An earlier attempt may have arrived after all.
                let found = self.target.read(&entry.to, &VersionRef::Current).await?;
                match found {
                    Some(found) if found.payload.value.ct_eq(&value.payload.value) => {
                        Ok(found.version)
                    }
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn annotation(&self, job: &Job, can: Capabilities) -> Annotation {
        let details = job.details.as_ref();
        let mut annotation = Annotation::default();
        if can.expiry {
            annotation.expires_at = job.expires_at.map(Some);
        }
        if can.description {
            annotation.description = details.and_then(|details| details.description.clone());
        }
        if can.tags {
            let own = details.map(|details| details.tags.clone());
            let tags = own.unwrap_or_default().into_iter();
            let tags = tags.chain(self.journal.header.tags.clone());
            annotation.tags = tags.map(|(key, value)| (key, Some(value))).collect();
        }
        annotation
    }
}

fn next_todo(entry: &Entry) -> Option<Todo> {
    let at = usize::try_from(entry.done).ok()?;
    entry.todo.get(at).cloned()
}

fn is_before(entry: &Entry, found: &Item) -> bool {
    let before = entry.before.as_ref();
    before.is_some_and(|before| before.payload.value.ct_eq(&found.payload.value))
}

async fn write_group(
    journal: &Journal,
    source: &dyn Backend,
    target: &dyn Backend,
    jobs: Vec<Job>,
    progress: &(dyn Fn(usize) + Sync),
) -> Vec<Job> {
    let writer = Writer {
        journal,
        source,
        target,
        is_stopped: AtomicBool::new(false),
    };
    let mut written = Vec::with_capacity(jobs.len());
    let mut running = stream::iter(jobs)
        .map(|job| writer.write(job))
        .buffer_unordered(PARALLEL_MAX);
    while let Some(job) = running.next().await {
        written.push(job);
        progress(written.len());
    }
    written
}

/// Reads back what was written, compares, and writes it all down. The failure that stops
/// everything, if there was one.
async fn finish_group(
    journal: &mut Journal,
    target: &dyn Backend,
    mut jobs: Vec<Job>,
) -> Result<Option<BackendError>, MigrateError> {
    let mut stop = None;
    for job in &mut jobs {
        let failure = job.failure.take();
        if let Some(error) = failure.filter(|error| concerns_all(error.kind)) {
            stop.get_or_insert(error);
        }
    }
    let is_written =
        |job: &&mut Job| job.entry.state == State::Writing && next_todo(&job.entry).is_none();
    let mut to_check: Vec<&mut Job> = jobs.iter_mut().filter(is_written).collect();
    let addresses: Vec<String> = to_check.iter().map(|job| job.entry.to.clone()).collect();
    let found = transfer::read_all(target, &addresses, &|_, _| {}).await;
    for (job, found) in to_check.iter_mut().zip(found) {
        let wanted = job.payload.as_ref().map(|payload| &payload.value);
        match (found, wanted) {
            (Ok(Some(found)), Some(wanted)) if found.payload.value.ct_eq(wanted) => {
                job.entry.state = State::Verified;
                job.entry.fingerprint = Some(journal.fingerprint(wanted));
            }
            (Ok(_), _) => {
                let why = "what was read back is not what was written";
                job.entry.state = State::Failed(why.into());
            }
            (Err(error), _) if concerns_all(error.kind) => {
                stop.get_or_insert(error);
            }
            (Err(error), _) => job.entry.state = State::Failed(error.to_string()),
        }
    }
    let changed: Vec<usize> = jobs.iter().map(|job| job.at).collect();
    for job in jobs {
        if let Some(entry) = journal.entries.get_mut(job.at) {
            *entry = job.entry;
        }
    }
    journal.save(&changed).await?;
    Ok(stop)
}
