//! Copying: group by group, each written down before and after.
//!
//! The groups follow one another without a pause: while what was written is read back, the next
//! secrets are being written.

mod writer;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use futures_util::future;
use futures_util::stream;
use futures_util::stream::StreamExt;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::Details;
use strongroom_core::port::Item;

use self::writer::Job;
use self::writer::Writer;
use super::MigrateError;
use super::journal::Journal;
use super::journal::State;
use super::plan::Planned;
use super::plan::concerns_all;
use crate::transfer;
use crate::transfer::PARALLEL_MAX;
use crate::transfer::Progress;

/// Secrets that are written down together before they are written.
const GROUP: usize = 128;
/// Secrets that are read back together.
const READ_BACK: usize = 40;
/// Such readings under way beside the writes.
const READ_BACKS_MAX: usize = 3;

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
    let groups = groups(journal, planned);
    let total = journal.entries.len();
    let pending: usize = groups.iter().map(|group| group.at.len()).sum();
    let done = AtomicUsize::new(total - pending);
    progress(total - pending, total);
    let run = Run {
        writer: Writer::new(journal, source, target),
        failure: Mutex::new(None),
    };
    let count = |_: &Job| progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
    let jobs = stream::iter(groups)
        .take_while(|_| future::ready(!run.writer.is_stopped()))
        .then(|group| run.begin(group))
        .flat_map(stream::iter);
    let finished: Vec<Vec<Job>> = jobs
        .map(|job| run.writer.write(job))
        .buffer_unordered(PARALLEL_MAX)
        .inspect(count)
        .chunks(READ_BACK)
        .map(|jobs| run.finish(jobs))
        .buffer_unordered(READ_BACKS_MAX)
        .collect()
        .await;
    let failure = run.failure.into_inner();
    for job in finished.into_iter().flatten() {
        if let Some(entry) = journal.entries.get_mut(job.at) {
            *entry = job.entry;
        }
    }
    match failure.unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Secrets that are begun together, with what the plan has read of them.
struct Group {
    at: Vec<usize>,
    known: BTreeMap<usize, Seen>,
}

fn groups(journal: &Journal, planned: Vec<Planned>) -> Vec<Group> {
    let mut planned: BTreeMap<String, Planned> = planned
        .into_iter()
        .map(|planned| (planned.wish.to.clone(), planned))
        .collect();
    let entries = journal.entries.iter().enumerate();
    let pending: Vec<(usize, Option<Planned>)> = entries
        .filter(|(_, entry)| !entry.is_copied())
        .map(|(at, entry)| (at, planned.remove(&entry.to)))
        .collect();
    let mut groups = Vec::new();
    let mut pending = pending.into_iter().peekable();
    while pending.peek().is_some() {
        let mut group = Group {
            at: Vec::new(),
            known: BTreeMap::new(),
        };
        for (at, planned) in pending.by_ref().take(GROUP) {
            group.at.push(at);
            if let Some(planned) = planned {
                group.known.insert(at, Seen::of(planned));
            }
        }
        groups.push(group);
    }
    groups
}

impl Seen {
    fn of(planned: Planned) -> Self {
        Self {
            item: planned.item,
            details: planned.details,
            found: planned.found,
            found_details: None,
        }
    }
}

/// A copying at work.
struct Run<'a> {
    writer: Writer<'a>,
    /// The first that concerns everything.
    failure: Mutex<Option<MigrateError>>,
}

impl Run<'_> {
    /// Nothing more is begun; what is under way comes to its end.
    fn fail(&self, error: MigrateError) {
        self.writer.stop();
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
    }

    /// Writes down what is about to be written.
    async fn begin(&self, group: Group) -> Vec<Job> {
        let begun = async {
            let Writer {
                journal,
                source,
                target,
                ..
            } = self.writer;
            let seen = look(journal, source, target, group.at.as_slice(), group.known).await?;
            let jobs = self.writer.prepare(&group.at, seen);
            let entries = jobs.iter().map(|job| (job.at, &job.entry));
            journal.save_entries(entries).await?;
            Ok(jobs)
        };
        begun.await.unwrap_or_else(|error| {
            self.fail(error);
            Vec::new()
        })
    }

    /// Reads back what was written, compares, and writes it all down.
    async fn finish(&self, mut jobs: Vec<Job>) -> Vec<Job> {
        for job in &mut jobs {
            let failure = job.failure.take();
            if let Some(error) = failure.filter(|error| concerns_all(error.kind)) {
                self.fail(error.into());
            }
        }
        self.compare(&mut jobs).await;
        let entries = jobs.iter().map(|job| (job.at, &job.entry));
        if let Err(error) = self.writer.journal.save_entries(entries).await {
            self.fail(error);
        }
        jobs
    }

    async fn compare(&self, jobs: &mut [Job]) {
        let mut written: Vec<&mut Job> = jobs.iter_mut().filter(|job| job.is_written()).collect();
        let addresses: Vec<String> = written.iter().map(|job| job.entry.to.clone()).collect();
        let found = transfer::read_all(self.writer.target, &addresses, &|_, _| {}).await;
        for (job, found) in written.iter_mut().zip(found) {
            let wanted = job.payload.as_ref().map(|payload| &payload.value);
            match (found, wanted) {
                (Ok(Some(found)), Some(wanted)) if found.payload.value.ct_eq(wanted) => {
                    job.entry.state = State::Verified;
                    job.entry.fingerprint = Some(self.writer.journal.fingerprint(wanted));
                }
                (Ok(_), _) => {
                    let why = "what was read back is not what was written";
                    job.entry.state = State::Failed(why.into());
                }
                (Err(error), _) if concerns_all(error.kind) => self.fail(error.into()),
                (Err(error), _) => job.entry.state = State::Failed(error.to_string()),
            }
        }
    }
}

/// Reads what is not known of a group from the plan.
async fn look(
    journal: &Journal,
    source: &dyn Backend,
    target: &dyn Backend,
    group: &[usize],
    mut seen: BTreeMap<usize, Seen>,
) -> Result<BTreeMap<usize, Seen>, BackendError> {
    let is_unknown = |at: &&usize| !seen.contains_key(at);
    let unknown: Vec<usize> = group.iter().filter(is_unknown).copied().collect();
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
