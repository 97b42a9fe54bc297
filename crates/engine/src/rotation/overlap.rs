//! The time in which an old value is still good beside the new one, and its end.
//!
//! A rotation is finished when AWSCURRENT has moved. Where its set-up says how long old and new
//! overlap, the record keeps the old version open until a deadline, or until everybody who reads
//! the secret has read the new one, whichever comes first. Then the old one is *retired*: whoever
//! checks values is told to refuse it, and its version is deleted (which can be undone). That is
//! noted before it is done and may be done twice, as the steps of a rotation.

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::path::SecretPath;
use strongroom_core::port::Ending;
use strongroom_core::port::Rotator;
use strongroom_core::port::RotatorError;
use strongroom_core::port::Writer;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_core::version::STAGE_PREVIOUS;

use super::Rotation;
use super::Rotations;
use super::retry_after;
use crate::context::OpContext;
use crate::error::Error;
use crate::ledger::Ledger;
use crate::ledger::Progress;
use crate::ledger::Reader;
use crate::ledger::consumers_of;
use crate::secrets::GraphError;
use crate::secrets::Snapshot;
use crate::secrets::Versions;

/// So often it is looked how far consumers are.
const LOOK: Span = Span::from_seconds(30);
/// Who has read a secret so lately is a consumer, unless somebody says.
pub const CONSUMERS_WITHIN: Span = Span::from_seconds(7 * 86_400);
/// How long a secret that is to be removed is left alone.
const DEPARTING: Span = Span::from_seconds(3600);
/// Old versions that wait for one end: each rotation that cuts an overlap short adds one.
const OLD_MAX: usize = 100;
/// Ends that are kept of each secret.
const ENDED_MAX: usize = super::HISTORY_MAX;

/// What becomes of the old value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// It is retired after so long at the latest; `None` leaves it as it is.
    pub overlap: Option<Span>,
    /// What its end waits for.
    pub wait: Wait,
    /// Who has read the secret so lately before the rotation is a consumer.
    pub consumers_within: Option<Span>,
}

/// What the end of an old value waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// For its deadline.
    #[default]
    Deadline,
    /// For everybody who reads the secret, and for its deadline at the latest.
    Consumers,
}

/// An old value that is still good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlap {
    /// The id of the version that took its place.
    pub token: String,
    /// The number of that version.
    pub version: u64,
    /// The old version; before it those whose overlap was cut short by another rotation.
    pub old: Vec<u64>,
    /// When the new version became the current one.
    pub began: Timestamp,
    /// When it ends at the latest.
    pub until: Timestamp,
    /// What it waits for.
    pub wait: Wait,
    /// Who has read the secret since then is a consumer.
    pub since: Timestamp,
    /// How often the old versions had been read before.
    pub reads_before: u64,
    /// When it is looked at again.
    pub look: Timestamp,
    /// Why it ends, once that is known: from then on it only goes on.
    pub ending: Option<EndedBy>,
    /// How often retiring it failed.
    pub attempts: u32,
    /// Why it failed last, and when.
    pub failure: Option<(Timestamp, RotatorError)>,
}

/// Why an old value is retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndedBy {
    /// Everybody has read the new one.
    Moved,
    /// Its time was over.
    Deadline,
    /// Somebody wanted it.
    Asked,
}

/// An old value that was retired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The id of the version that took its place.
    pub token: String,
    /// When it was retired.
    pub at: Timestamp,
    /// Why.
    pub by: EndedBy,
    /// How it stood then, in words.
    pub standing: String,
    /// How often the old value was read beside the new one.
    pub old_reads: u64,
    /// Consumers that had not read the new one.
    pub behind: u64,
}

/// What a look at an overlap came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// There is none, or it is not time.
    Nothing,
    /// It goes on.
    GoesOn,
    /// The old value has to be retired now.
    Ends(Overlap),
}

impl Wait {
    /// The word in policies.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Consumers => "consumers",
        }
    }

    /// What a word says.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Deadline, Self::Consumers];
        all.into_iter().find(|one| one.word() == word)
    }
}

impl EndedBy {
    /// A word for tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Moved => "consumers moved",
            Self::Deadline => "deadline",
            Self::Asked => "finished by hand",
        }
    }
}

impl Rotations {
    /// The places that a secret was read from whose old value is still good.
    ///
    /// # Errors
    /// As the ledger's.
    pub async fn readers(
        &self,
        path: &SecretPath,
        overlap: &Overlap,
    ) -> Result<Vec<Reader>, Error> {
        let ledger = Ledger::new(self.state.clone());
        let (name, source) = self.in_words(path);
        ledger.readers(&name, source, overlap.since).await
    }

    /// How far those are who read a secret whose old value is still good: of the places that are
    /// known those that are still there.
    ///
    /// # Errors
    /// As the ledger's.
    pub async fn progress(
        &self,
        path: &SecretPath,
        overlap: &Overlap,
        readers: &[Reader],
    ) -> Result<Progress, Error> {
        let ledger = Ledger::new(self.state.clone());
        let (name, source) = self.in_words(path);
        let reads = ledger.reads_of(&name, source, &overlap.old, overlap.began);
        let old_reads = reads.await?.unwrap_or(overlap.reads_before);
        Ok(Progress {
            version: overlap.version,
            consumers: consumers_of(readers),
            old_reads: old_reads.saturating_sub(overlap.reads_before),
        })
    }

    /// Looks whether an old value's time is over: the decision is noted before anything is done.
    ///
    /// # Errors
    /// `Damaged`, `Contended`, storage errors.
    pub async fn look(
        &self,
        path: &SecretPath,
        progress: &Progress,
        now: Timestamp,
    ) -> Result<Looked, Error> {
        let mut looked = Looked::Nothing;
        let changed = self.change(path, |rotation| {
            looked = Looked::Nothing;
            let Some(overlap) = rotation.overlap.as_mut().filter(|one| one.look <= now) else {
                return;
            };
            let is_same = overlap.version == progress.version;
            let ending = match overlap.ending {
                Some(ending) => Some(ending),
                None if overlap.until <= now => Some(EndedBy::Deadline),
                None if overlap.wait == Wait::Consumers && is_same && progress.has_all() => {
                    Some(EndedBy::Moved)
                }
                None => None,
            };
            overlap.ending = ending;
            // Whoever has decided does it; where that one is killed, it is looked at again.
            let next = now.plus(LOOK);
            overlap.look = match ending {
                Some(_) => next,
                None => next.min(overlap.until),
            };
            looked = match ending {
                Some(_) => Looked::Ends(overlap.clone()),
                None => Looked::GoesOn,
            };
        });
        changed.await?;
        Ok(looked)
    }

    /// Retires the old value, and notes what became of that.
    ///
    /// # Errors
    /// `Damaged`, `Contended`, storage errors. What the rotator failed with is noted, answered,
    /// and tried again.
    pub async fn retire(
        &self,
        context: &OpContext,
        path: &SecretPath,
        (overlap, progress): (&Overlap, &Progress),
        rotator: Result<&dyn Rotator, RotatorError>,
    ) -> Result<Result<(), RotatorError>, Error> {
        let now = context.now;
        let result = match rotator {
            Ok(rotator) => self.end_values(context, path, overlap, rotator).await,
            Err(error) => Err(error),
        };
        let changed = self.change(path, |rotation| {
            let Some(own) = &mut rotation.overlap else {
                return;
            };
            if own.token != overlap.token {
                return;
            }
            if let Err(error) = &result {
                own.look = now.plus(retry_after(own.attempts));
                own.attempts = own.attempts.saturating_add(1);
                own.failure = Some((now, error.clone()));
                rotation.failures += 1;
                return;
            }
            rotation.ended.push(Ended {
                token: overlap.token.clone(),
                at: now,
                by: own.ending.unwrap_or(EndedBy::Asked),
                standing: progress.to_string(),
                old_reads: progress.old_reads,
                behind: progress.behind().count() as u64,
            });
            let over = rotation.ended.len().saturating_sub(ENDED_MAX);
            rotation.ended.drain(..over);
            rotation.overlap = None;
        });
        changed.await?;
        Ok(result)
    }

    /// Ends the overlap at the next look, however far consumers are. False when there is none.
    ///
    /// # Errors
    /// `Damaged`, `Contended`, storage errors.
    pub async fn finish_now(&self, path: &SecretPath, now: Timestamp) -> Result<bool, Error> {
        let mut is_there = false;
        let changed = self.change(path, |rotation| {
            is_there = rotation.overlap.is_some();
            if let Some(overlap) = &mut rotation.overlap {
                overlap.ending = overlap.ending.or(Some(EndedBy::Asked));
                overlap.look = now;
            }
        });
        changed.await?;
        Ok(is_there)
    }

    /// Has the overlap looked at at a time. False when there is none.
    ///
    /// # Errors
    /// `Damaged`, `Contended`, storage errors.
    pub async fn look_at(&self, path: &SecretPath, at: Timestamp) -> Result<bool, Error> {
        let mut is_there = false;
        let changed = self.change(path, |rotation| {
            is_there = rotation.overlap.is_some();
            if let Some(overlap) = &mut rotation.overlap {
                overlap.look = at;
            }
        });
        changed.await?;
        Ok(is_there)
    }

    /// What the ledger calls a secret, and its source.
    fn in_words(&self, path: &SecretPath) -> (String, &str) {
        let (prefix, source) = &self.ledger;
        (format!("{prefix}{path}"), source)
    }

    async fn end_values(
        &self,
        context: &OpContext,
        path: &SecretPath,
        overlap: &Overlap,
        rotator: &dyn Rotator,
    ) -> Result<(), RotatorError> {
        let snapshot = self.living(path).await.map_err(super::steps::of_graph)?;
        let newest = snapshot.newest().map(|newest| newest.number);
        let current = self.current_of(context, &snapshot).await?;
        let mut over = std::collections::BTreeSet::new();
        for number in &overlap.old {
            let info = snapshot.version(*number);
            if info.is_none() || Some(*number) == newest {
                continue;
            }
            over.insert(*number);
            let value = self.secrets.value_in(&snapshot, *number, context.now);
            let value = value.await.map_err(super::steps::of_engine)?;
            if let (Some(current), Some(old), Writer::Engine) = (&current, &value, rotator.writer())
            {
                // What somebody has set again is not an old value.
                if current.value.ct_eq(&old.value) {
                    continue;
                }
                let ending = Ending {
                    current,
                    old,
                    now: context.now,
                };
                rotator.retire(&ending).await?;
            }
        }
        if !over.is_empty() {
            let over = Versions::Some(over);
            let deleted = self.secrets.delete(context, path, &over);
            deleted.await.map_err(super::steps::of_engine)?;
        }
        Ok(())
    }

    /// What an overlap begins with; `None` where there is no old value.
    pub(super) async fn old_of(&self, path: &SecretPath) -> Result<Option<Old>, GraphError> {
        let snapshot: Snapshot = match self.living(path).await {
            Ok(snapshot) => snapshot,
            Err(GraphError::MarkedForDeletion | GraphError::Engine(Error::NotFound { .. })) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let old = self.staged(&snapshot, STAGE_PREVIOUS);
        let (Some(newest), Some(old)) = (snapshot.newest(), old) else {
            return Ok(None);
        };
        Ok(Some(Old {
            token: self.secrets.version_id(&snapshot, newest),
            version: newest.number,
            old: old.number,
        }))
    }

    pub(super) async fn reads_before(&self, path: &SecretPath, old: &[u64]) -> Result<u64, Error> {
        let ledger = Ledger::new(self.state.clone());
        let ever = Timestamp::from_micros(i64::MIN);
        let (name, source) = self.in_words(path);
        let reads = ledger.reads_of(&name, source, old, ever);
        Ok(reads.await?.unwrap_or(0))
    }
}

/// The versions of a secret that was just rotated.
pub(super) struct Old {
    token: String,
    version: u64,
    pub(super) old: u64,
}

impl Rotation {
    /// The old versions that end with the one that was just rotated out.
    pub(super) fn old_versions(&self, old: u64) -> Vec<u64> {
        let known = self.overlap.as_ref().map_or(&[][..], |one| &one.old);
        let mut all: Vec<u64> = known.iter().copied().filter(|one| *one != old).collect();
        all.push(old);
        let over = all.len().saturating_sub(OLD_MAX);
        all.drain(..over);
        all
    }

    /// Notes that a value was rotated out; what was open before ends with it.
    pub(super) fn overlap_begins(&mut self, old: &Old, reads_before: u64, now: Timestamp) {
        let keep = self.setup.keep;
        if keep.overlap.is_none() && self.overlap.is_none() {
            return;
        }
        let within = keep.consumers_within.unwrap_or(CONSUMERS_WITHIN);
        let until = keep.overlap.map_or(now, |overlap| now.plus(overlap));
        self.overlap = Some(Overlap {
            token: old.token.clone(),
            version: old.version,
            old: self.old_versions(old.old),
            began: now,
            until,
            wait: keep.wait,
            since: now.plus(Span::from_seconds(-within.as_seconds())),
            reads_before,
            look: until.min(now.plus(LOOK)),
            ending: None,
            attempts: 0,
            failure: None,
        });
    }

    /// The old value becomes the current one again: it is not retired.
    pub(super) fn overlap_is_taken_back(&mut self) {
        self.overlap = None;
    }

    /// A secret that is to be removed is left alone for a while.
    pub(super) fn overlap_rests(&mut self, now: Timestamp) {
        if let Some(overlap) = &mut self.overlap {
            overlap.look = overlap.look.max(now.plus(DEPARTING));
        }
    }
}
