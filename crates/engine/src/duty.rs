//! Background work that one of several servers does: who does it holds a record with a lease.
//!
//! Whoever finds work claims the duty, and is the only one to do it until the lease is over. A
//! server that dies leaves its lease behind; the others take the duty over when it is over. It
//! counts as over when nobody has renewed it for its whole length while this server looked, which
//! needs no two clocks to agree, or when it ended long ago by the clock, as after a night.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::Precondition;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;

use crate::error::Error;
use crate::state::Found;
use crate::state::Kind;
use crate::state::Put;
use crate::state::Shelf;
use crate::state::State;
use crate::state::Stored;

/// How long a duty is held without a word of its holder, where nothing is in a hurry.
pub const LEASE_SECONDS: u16 = 20;
/// Clocks of servers are at most so far apart; where they are further, work may be done twice.
const SKEW_SECONDS: i64 = 60;

/// Who has a duty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duty {
    /// Drawn by each server at its start; empty after somebody has laid the duty down.
    pub holder: String,
    /// When the lease is over, unless it is renewed.
    pub lease_until: Timestamp,
}

impl Stored for Duty {
    const KIND: Kind = Kind::Duty;
}

impl Duty {
    fn is_long_over(&self, now: Timestamp) -> bool {
        self.lease_until.plus(Span::from_seconds(SKEW_SECONDS)) < now
    }
}

/// The moment a question is asked: by the clock, and by one that is never set.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// What the clock says.
    pub now: Timestamp,
    /// Time since the process began.
    pub steady: Duration,
}

/// One server's side of a duty.
#[derive(Debug)]
pub struct Post {
    name: &'static str,
    holder: String,
    seconds: u16,
    /// Until when nobody else has it, by the steady clock.
    held_until: Option<Duration>,
    /// Somebody else's lease: its revision, and since when that was seen.
    watched: Option<(u64, Duration)>,
}

impl Post {
    /// A duty that is not held yet. Others take it over after so many seconds without a word.
    #[must_use]
    pub fn new(name: &'static str, holder: &str, seconds: u16) -> Self {
        Self {
            name,
            holder: holder.to_owned(),
            seconds,
            held_until: None,
            watched: None,
        }
    }

    /// Takes the duty, or holds it for longer; false while somebody else has it.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn take(&mut self, state: &State, at: Moment) -> Result<bool, Error> {
        let lease = self.lease();
        // Half of it is left at least for the work that comes now.
        if self
            .held_until
            .is_some_and(|until| at.steady + lease / 2 < until)
        {
            return Ok(true);
        }
        self.held_until = None;
        let found = state.load::<Duty>(self.name).await?;
        let unchanged = match &found {
            None => Precondition::Absent,
            Some(found) if self.may_take(found, at) => found.unchanged(),
            Some(_) => return Ok(false),
        };
        let duty = Duty {
            holder: self.holder.clone(),
            lease_until: at.now.plus(Span::from_seconds(self.seconds.into())),
        };
        let put = Put::named(self.name, Shelf::Kind).when(unchanged);
        if !state.commit(vec![state.put(&put, &duty)]).await? {
            return Ok(false);
        }
        self.held_until = Some(at.steady + lease);
        self.watched = None;
        Ok(true)
    }

    fn may_take(&mut self, found: &Found<Duty>, at: Moment) -> bool {
        let duty = &found.value;
        if duty.holder.is_empty() || duty.holder == self.holder {
            return true;
        }
        let is_known = |(revision, _): &&(u64, Duration)| *revision == found.revision;
        let Some((_, since)) = self.watched.as_ref().filter(is_known) else {
            self.watched = Some((found.revision, at.steady));
            return duty.is_long_over(at.now);
        };
        at.steady >= *since + self.lease() || duty.is_long_over(at.now)
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// Looks who has the duty before there is anything to do, so that a holder that is gone is
    /// missed by then.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn watch(&mut self, state: &State, at: Moment) -> Result<(), Error> {
        if self.held_until.is_some_and(|until| at.steady < until) {
            return Ok(());
        }
        if let Some(found) = state.load::<Duty>(self.name).await? {
            self.may_take(&found, at);
        }
        Ok(())
    }

    /// Lays the duty down, so that others need not wait for the end of its lease.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn lay_down(&mut self, state: &State, now: Timestamp) -> Result<(), Error> {
        if self.held_until.take().is_none() {
            return Ok(());
        }
        let found = state.load::<Duty>(self.name).await?;
        let Some(found) = found.filter(|found| found.value.holder == self.holder) else {
            return Ok(());
        };
        let nobody = Duty {
            holder: String::new(),
            lease_until: now,
        };
        let put = Put::named(self.name, Shelf::Kind).when(found.unchanged());
        // Whoever has taken it meanwhile keeps it.
        state.commit(vec![state.put(&put, &nobody)]).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
