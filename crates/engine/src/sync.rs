//! Synchronisation: a target is made to hold what a source holds, as a plan says beforehand.

use std::collections::BTreeSet;

use futures_util::stream;
use futures_util::stream::StreamExt;
use strongroom_core::port::Annotation;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Expected;
use strongroom_core::port::NewValue;
use strongroom_core::port::Removal;

use crate::migrate;
use crate::migrate::Planned;
use crate::migrate::Step;
use crate::migrate::Wish;
use crate::transfer;
use crate::transfer::PARALLEL_MAX;
use crate::transfer::Progress;

/// What has to be done to make a target like its source.
#[derive(Clone, Debug)]
pub struct SyncPlan {
    /// The source's secrets.
    pub items: Vec<Planned>,
    /// Addresses that only the target has, where they are to be removed.
    pub deletes: Vec<String>,
}

/// What was done with one address, and how it ended.
#[derive(Debug)]
pub struct Applied {
    /// The address in the target.
    pub address: String,
    /// `create`, `update` or `delete`.
    pub action: &'static str,
    /// How it ended.
    pub result: Result<(), BackendError>,
}

/// Looks at both sides. With `prune`, what lies below that prefix in the target and in no wish
/// is to be removed.
///
/// # Errors
/// When one of them cannot be asked.
pub async fn plan(
    source: &dyn Backend,
    target: &dyn Backend,
    wishes: Vec<Wish>,
    prune: Option<&str>,
    progress: Progress<'_>,
) -> Result<SyncPlan, BackendError> {
    let options = migrate::Options {
        overwrite: true,
        with_history: false,
    };
    let items = migrate::plan(source, target, wishes, options, progress).await?;
    let mut deletes = Vec::new();
    if let Some(prefix) = prune {
        let wanted: BTreeSet<&str> = items.iter().map(|item| item.wish.to.as_str()).collect();
        let there = transfer::addresses(target, prefix).await?;
        let extra = there.into_iter().filter(|it| !wanted.contains(it.as_str()));
        deletes = extra.collect();
    }
    Ok(SyncPlan { items, deletes })
}

enum Job {
    Write(Box<Planned>),
    Delete(String),
}

/// Does what a plan says; every write is read back. What fails does not keep the rest.
pub async fn apply(target: &dyn Backend, plan: SyncPlan, progress: Progress<'_>) -> Vec<Applied> {
    let is_written = |item: &Planned| matches!(item.step, Step::Create | Step::Replace);
    let writes = plan
        .items
        .into_iter()
        .filter(is_written)
        .map(|item| Job::Write(Box::new(item)));
    let deletes = plan.deletes.into_iter().map(Job::Delete);
    let jobs: Vec<Job> = writes.chain(deletes).collect();
    let total = jobs.len();
    let mut running = stream::iter(jobs)
        .map(|job| run(target, job))
        .buffer_unordered(PARALLEL_MAX);
    let mut applied = Vec::with_capacity(total);
    while let Some(done) = running.next().await {
        applied.push(done);
        progress(applied.len(), total);
    }
    drop(running);
    applied.sort_by(|a, b| a.address.cmp(&b.address));
    applied
}

async fn run(target: &dyn Backend, job: Job) -> Applied {
    match job {
        Job::Delete(address) => {
            let removed = target.remove(&address, Removal::Recoverable).await;
            Applied {
                address,
                action: "delete",
                result: removed.map(|_| ()),
            }
        }
        Job::Write(planned) => {
            let action = match planned.step {
                Step::Create => "create",
                _ => "update",
            };
            let result = write(target, &planned).await;
            Applied {
                address: planned.wish.to.clone(),
                action,
                result,
            }
        }
    }
}

async fn write(target: &dyn Backend, planned: &Planned) -> Result<(), BackendError> {
    let Some(item) = &planned.item else {
        return Ok(());
    };
    let can = target.capabilities();
    let mut value = NewValue::new(item.payload.clone());
    if can.cas {
        // What the plan has shown is what is replaced, not what somebody wrote since.
        let version = planned.found.as_ref().map(|found| found.version.clone());
        value.expected = match version {
            None => Expected::Absent,
            Some(Some(version)) => Expected::Version(version),
            Some(None) => Expected::Any,
        };
    }
    if let Some(details) = &planned.details {
        let tags = details.tags.iter();
        let tags = tags.map(|(key, value)| (key.clone(), Some(value.clone())));
        value.annotation = Annotation {
            description: details.description.clone().filter(|_| can.description),
            tags: tags.filter(|_| can.tags).collect(),
            expires_at: None,
        };
    }
    if can.expiry {
        value.annotation.expires_at = item.expires_at.map(Some);
    }
    if can.stages {
        value.stages = transfer::special_stages(planned.details.as_ref(), None);
    }
    target.write(&planned.wish.to, &value).await?;
    let back = std::slice::from_ref(&planned.wish.to);
    let read = target.read_many(back).await.into_iter().next();
    match read.transpose()?.flatten() {
        Some(found) if found.payload.value.ct_eq(&item.payload.value) => Ok(()),
        _ => {
            let message = format!(
                "{}: what was read back is not what was written",
                planned.wish.to
            );
            let kind = BackendErrorKind::Conflict;
            Err(BackendError::new(kind, target.describe(), message))
        }
    }
}
