//! Writing secrets: what is left to do of each, and doing it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

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

use super::Seen;
use crate::migrate::journal::Before;
use crate::migrate::journal::Entry;
use crate::migrate::journal::Journal;
use crate::migrate::journal::State;
use crate::migrate::journal::Todo;
use crate::migrate::plan::concerns_all;
use crate::transfer;

/// A secret about to be written.
pub(super) struct Job {
    /// Its number in the journal.
    pub(super) at: usize,
    pub(super) entry: Entry,
    /// Nothing where there is nothing to write.
    pub(super) payload: Option<Payload>,
    expires_at: Option<Timestamp>,
    details: Option<Details>,
    pub(super) failure: Option<BackendError>,
}

impl Job {
    /// All of it is written, and nobody has looked since.
    pub(super) fn is_written(&self) -> bool {
        self.entry.state == State::Writing && next_todo(&self.entry).is_none()
    }
}

/// Writes secrets of one migration, until something fails that concerns them all.
pub(super) struct Writer<'a> {
    pub(super) journal: &'a Journal,
    pub(super) source: &'a dyn Backend,
    pub(super) target: &'a dyn Backend,
    is_stopped: AtomicBool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        journal: &'a Journal,
        source: &'a dyn Backend,
        target: &'a dyn Backend,
    ) -> Self {
        Self {
            journal,
            source,
            target,
            is_stopped: AtomicBool::new(false),
        }
    }

    /// Begins no other write.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    pub(super) fn prepare(&self, group: &[usize], mut seen: BTreeMap<usize, Seen>) -> Vec<Job> {
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
            self.go_on(at, &mut entry, found)
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
            Ok(state) => state,
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
    ) -> Result<State, &'static str> {
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
        Ok(State::Writing)
    }

    fn copies_history(&self, entry: &Entry) -> bool {
        self.journal.header.with_history
            && entry.before.is_none()
            && self.target.capabilities().versions
    }

    /// A write was under way when the last process ended: did it arrive?
    fn go_on(
        &self,
        at: usize,
        entry: &mut Entry,
        found: Option<&Item>,
    ) -> Result<State, &'static str> {
        const MEANWHILE: &str = "the target was changed by somebody else meanwhile";
        let is_first = entry.done == 0 && entry.before.is_none();
        let Some(found) = found else {
            return if is_first {
                Ok(State::Writing)
            } else {
                Err(MEANWHILE)
            };
        };
        let has_versions = found.version.is_some();
        if has_versions && found.version == entry.last {
            return Ok(State::Writing);
        }
        let fingerprint = self.journal.fingerprint(&found.payload.value);
        let next = usize::try_from(entry.done).unwrap_or(usize::MAX);
        if entry.todo.get(next).map(|todo| todo.fingerprint) == Some(fingerprint) {
            if is_first && entry.todo.len() == 1 && !self.is_ours(at, entry, found) {
                entry.was_there(fingerprint);
                return Ok(State::Unchanged);
            }
            entry.done += 1;
            entry.last.clone_from(&found.version);
            return Ok(State::Writing);
        }
        let is_done = next >= entry.todo.len() && entry.made.contains(&fingerprint);
        if is_done || is_before(entry, found) && entry.done == 0 {
            return Ok(State::Writing);
        }
        Err(MEANWHILE)
    }

    /// Whether what has the right value is what the next write of this migration left, as far as
    /// the target can tell.
    fn is_ours(&self, at: usize, entry: &Entry, found: &Item) -> bool {
        let names_by_token = self.target.capabilities().names_by_token;
        !names_by_token || found.version == Some(self.token(at, entry))
    }

    /// The same for every attempt at a value, so that a repeated write is one write.
    fn token(&self, at: usize, entry: &Entry) -> String {
        format!(
            "strongroom-{}-{at:08}-{:04}-{:04}",
            self.journal.header.id,
            entry.made.len(),
            entry.done
        )
    }

    /// Writes what is left of a secret's versions.
    pub(super) async fn write(&self, mut job: Job) -> Job {
        let Some(payload) = job.payload.clone() else {
            return job;
        };
        while let Some(todo) = next_todo(&job.entry) {
            if self.is_stopped() {
                return job;
            }
            let outcome = match &todo.version {
                None => self.write_current(&job, payload.clone()).await,
                Some(version) => self.write_earlier(&mut job, version).await,
            };
            match outcome {
                Ok(Written::Version(version)) => {
                    job.entry.done += 1;
                    job.entry.last = version;
                }
                Ok(Written::WasThere) => {
                    job.entry.was_there(todo.fingerprint);
                    return job;
                }
                Err(error) => {
                    if concerns_all(error.kind) {
                        self.stop();
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
    async fn write_earlier(&self, job: &mut Job, version: &str) -> Result<Written, BackendError> {
        let reference = VersionRef::Id(version.to_owned());
        let item = self.source.read(&job.entry.from, &reference).await?;
        let Some(item) = item.filter(|item| !item.payload.value.is_empty()) else {
            // It was destroyed meanwhile: there is nothing to copy.
            return Ok(Written::Version(job.entry.last.clone()));
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
    async fn write_current(&self, job: &Job, payload: Payload) -> Result<Written, BackendError> {
        if job.entry.done > 0 {
            self.save(job).await?;
        }
        self.write_one(job, payload, None).await
    }

    async fn save(&self, job: &Job) -> Result<(), BackendError> {
        let saved = self.journal.save_entries([(job.at, &job.entry)]).await;
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
    ) -> Result<Written, BackendError> {
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
        value.token = Some(self.token(job.at, entry));
        let is_last = version.is_none();
        if can.stages {
            value.stages = transfer::special_stages(job.details.as_ref(), version);
        }
        if is_last {
            value.annotation = self.annotation(job, can);
        }
        match self.target.write(&entry.to, &value).await {
            Ok(stored) => Ok(Written::Version(stored.version)),
            Err(error) if error.kind == BackendErrorKind::Conflict => {
                let found = self.target.read(&entry.to, &VersionRef::Current).await?;
                let is_same = |found: &Item| found.payload.value.ct_eq(&value.payload.value);
                let Some(found) = found.filter(is_same) else {
                    return Err(error);
                };
                let is_only = value.expected == Expected::Absent && entry.todo.len() == 1;
                match self.is_ours(job.at, entry, &found) {
                    // An earlier attempt has arrived after all.
                    true => Ok(Written::Version(found.version)),
                    false if is_only => Ok(Written::WasThere),
                    false => Err(error),
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

/// What a write came to.
enum Written {
    /// The version that holds the value now.
    Version(Option<String>),
    /// Somebody else's version has held this value already.
    WasThere,
}

fn next_todo(entry: &Entry) -> Option<Todo> {
    let at = usize::try_from(entry.done).ok()?;
    entry.todo.get(at).cloned()
}

fn is_before(entry: &Entry, found: &Item) -> bool {
    let before = entry.before.as_ref();
    before.is_some_and(|before| before.payload.value.ct_eq(&found.payload.value))
}
