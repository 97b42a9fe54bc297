//! The inventory: everything is looked at before anything is written.

use std::collections::BTreeMap;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Details;
use strongroom_core::port::Item;

use super::journal::Entry;
use super::journal::State;
use crate::transfer;
use crate::transfer::Loss;
use crate::transfer::Progress;

/// From where to where one secret goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Its address in the source.
    pub from: String,
    /// Its address in the target.
    pub to: String,
}

/// How a plan is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Another value that the target holds is replaced.
    pub overwrite: bool,
    /// Earlier versions are wanted too.
    pub with_history: bool,
}

/// What is to be done for one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The target holds none yet.
    Create,
    /// The target holds another value.
    Replace,
    /// The target holds this value.
    Unchanged,
    /// There is nothing to move; why.
    Skip(String),
    /// It cannot be moved; why.
    Refuse(String),
}

impl Step {
    /// The word in tables and JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Unchanged => "unchanged",
            Self::Skip(_) => "skip",
            Self::Refuse(_) => "refuse",
        }
    }

    /// True when nothing is to be written, and nothing is in the way.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Unchanged | Self::Skip(_))
    }

    /// Why, where there is something to say.
    #[must_use]
    pub fn remark(&self) -> Option<&str> {
        match self {
            Self::Skip(why) | Self::Refuse(why) => Some(why),
            _ => None,
        }
    }
}

/// One secret of a plan, with what was read of it.
#[derive(Clone, Debug)]
pub struct Planned {
    /// From where to where.
    pub wish: Wish,
    /// What is to be done.
    pub step: Step,
    /// What the target cannot hold of it.
    pub losses: Vec<Loss>,
    /// How many versions will be written.
    pub versions: usize,
    /// What the source holds.
    pub item: Option<Item>,
    /// What the source knows of it.
    pub details: Option<Details>,
    /// What the target holds.
    pub found: Option<Item>,
}

impl Planned {
    /// The journal's entry for it; what is refused has none.
    #[must_use]
    pub fn entry(&self, fingerprint: impl Fn(&Item) -> [u8; 16]) -> Option<Entry> {
        let state = match &self.step {
            Step::Create | Step::Replace => State::Planned,
            Step::Unchanged => State::Unchanged,
            Step::Skip(why) => State::Skipped(why.clone()),
            Step::Refuse(_) => return None,
        };
        let is_unchanged = state == State::Unchanged;
        let mut entry = Entry::new(self.wish.from.clone(), self.wish.to.clone(), state);
        if is_unchanged {
            entry.fingerprint = self.item.as_ref().map(fingerprint);
        }
        Some(entry)
    }
}

/// Looks at source and target, and says what has to be done.
///
/// # Errors
/// When one of them cannot be asked at all. What concerns one secret only is in its step.
pub async fn plan(
    source: &dyn Backend,
    target: &dyn Backend,
    wishes: Vec<Wish>,
    options: Options,
    progress: Progress<'_>,
) -> Result<Vec<Planned>, BackendError> {
    let can = target.capabilities();
    let from: Vec<String> = wishes.iter().map(|wish| wish.from.clone()).collect();
    let to: Vec<String> = wishes.iter().map(|wish| wish.to.clone()).collect();
    let items = transfer::read_all(source, &from, progress).await;
    let items = items
        .into_iter()
        .map(unless_all)
        .collect::<Result<Vec<_>, _>>()?;
    let details = transfer::details_all(source, &from).await;
    let details = details
        .into_iter()
        .map(unless_all)
        .collect::<Result<Vec<_>, _>>()?;
    // What is to be replaced is known before; what is made is demanded to be absent then.
    let found = match options.overwrite {
        true => transfer::read_all(target, &to, &|_, _| {}).await,
        false => transfer::read_listed(target, &to).await,
    };
    let found = found
        .into_iter()
        .map(unless_all)
        .collect::<Result<Vec<_>, _>>()?;
    let twice: BTreeMap<String, ()> = transfer::collisions(to.iter().map(String::as_str))
        .into_iter()
        .map(|to| (to.to_owned(), ()))
        .collect();
    let rows = wishes.into_iter().zip(items).zip(details).zip(found);
    let planned = rows.map(|(((wish, item), details), found)| {
        let row = Row {
            item,
            details,
            found,
            is_twice: twice.contains_key(&wish.to),
        };
        row.planned(wish, can, options)
    });
    Ok(planned.collect())
}

/// A failure that concerns everything ends the inventory; any other is a secret's own.
fn unless_all<T>(result: Result<T, BackendError>) -> Result<Result<T, BackendError>, BackendError> {
    match result {
        Err(error) if concerns_all(error.kind) => Err(error),
        other => Ok(other),
    }
}

/// True for a failure that the next request would meet as well.
pub(super) fn concerns_all(kind: BackendErrorKind) -> bool {
    matches!(
        kind,
        BackendErrorKind::Unreachable
            | BackendErrorKind::Throttled
            | BackendErrorKind::Sealed
            | BackendErrorKind::Misconfigured
    )
}

struct Row {
    item: Result<Option<Item>, BackendError>,
    details: Result<Option<Details>, BackendError>,
    found: Result<Option<Item>, BackendError>,
    is_twice: bool,
}

impl Row {
    fn planned(
        self,
        wish: Wish,
        target: strongroom_core::port::Capabilities,
        options: Options,
    ) -> Planned {
        let step = self.step(target, options);
        let item = self.item.ok().flatten();
        let details = self.details.ok().flatten();
        let found = self.found.ok().flatten();
        let with_history = options.with_history && found.is_none();
        let is_written = matches!(step, Step::Create | Step::Replace);
        let (losses, versions) = match &item {
            Some(item) if is_written => {
                let losses = transfer::losses(item, details.as_ref(), target, with_history);
                let known = details.as_ref().filter(|_| with_history && target.versions);
                let versions = known.map_or(1, |details| {
                    transfer::history(details, item.version.as_deref())
                        .len()
                        .max(1)
                });
                (losses, versions)
            }
            _ => (Vec::new(), 0),
        };
        Planned {
            wish,
            step,
            losses,
            versions,
            item,
            details,
            found,
        }
    }

    fn step(&self, target: strongroom_core::port::Capabilities, options: Options) -> Step {
        let item = match (&self.item, &self.details) {
            (Err(error), _) | (Ok(_), Err(error)) => return Step::Refuse(error.to_string()),
            (Ok(None), _) => return Step::Skip("not set".into()),
            (Ok(Some(item)), _) if item.payload.value.is_empty() => {
                return Step::Skip("not set: it is empty".into());
            }
            (Ok(Some(item)), _) => item,
        };
        if self.is_twice {
            return Step::Refuse("another secret would go to the same place".into());
        }
        if let Some(why) = transfer::refusal(item, target) {
            return Step::Refuse(why);
        }
        match &self.found {
            Err(error) => Step::Refuse(error.to_string()),
            Ok(None) => Step::Create,
            Ok(Some(found)) if found.payload.value.ct_eq(&item.payload.value) => Step::Unchanged,
            Ok(Some(_)) if options.overwrite => Step::Replace,
            Ok(Some(_)) => {
                Step::Refuse("the target holds another value (--overwrite replaces it)".into())
            }
        }
    }
}
