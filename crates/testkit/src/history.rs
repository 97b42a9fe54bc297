//! Histories of operations on one secret: is there an order that explains every answer?
//!
//! The secret is a register with compare-and-set. The search is that of Wing and Gong: an operation
//! may stand next in the order if none that is left ended before it began. Those that change
//! nothing are placed as soon as they fit, as that never stands in the way of another; between
//! writes that fit it is tried both ways, and each state is tried once.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashSet;

/// One operation, from before it was sent until after it was answered.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it was sent.
    pub begin: u64,
    /// When it was answered. Nothing: there was no answer, and it may still happen.
    pub end: Option<u64>,
    /// What came of it.
    pub deed: Deed,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Version 0: there was none, and its value is 0.
    Read {
        /// The version it saw.
        version: u64,
        /// The value it saw.
        value: u64,
    },
    /// A write on condition that a version is current. Without an end it may have happened.
    Write {
        /// The version that had to be current; the next one is made.
        expected: u64,
        /// What was written: no two writes write the same.
        value: u64,
    },
    /// The version was not current.
    Refused {
        /// The version that had to be current.
        expected: u64,
    },
}

/// What is current: a version and its value.
type State = (u64, u64);

/// Looks for an order of all operations that explains every answer.
///
/// # Errors
/// What could not be placed at the furthest point that was reached.
pub fn linearize(history: &[Event]) -> Result<(), String> {
    let mut events: Vec<&Event> = history.iter().collect();
    events.sort_by_key(|event| event.begin);
    let mut search = Search {
        events,
        tried: HashSet::new(),
        furthest: (0, String::new()),
    };
    let mut open = vec![Point {
        placed: vec![false; search.events.len()],
        state: (0, 0),
    }];
    while let Some(mut point) = open.pop() {
        search.settle(&mut point);
        if search.is_done(&point) {
            return Ok(());
        }
        let key = (search.answered(&point), point.state);
        if search.tried.insert(key) {
            open.extend(search.following(&point));
        }
    }
    Err(search.furthest.1)
}

/// Some operations in an order, and what is current behind them.
struct Point {
    placed: Vec<bool>,
    state: State,
}

struct Search<'a> {
    events: Vec<&'a Event>,
    tried: HashSet<(Vec<bool>, State)>,
    /// How many answered operations were placed at most, and what then stood in the way.
    furthest: (usize, String),
}

impl Search<'_> {
    /// Places what changes nothing and fits, until nothing more does.
    fn settle(&self, point: &mut Point) {
        loop {
            let mut has_placed = false;
            for at in self.candidates(point) {
                if self.events[at].deed.keeps(point.state) {
                    point.placed[at] = true;
                    has_placed = true;
                }
            }
            if !has_placed {
                return;
            }
        }
    }

    /// What may stand next: it began before the first end of those that are left.
    fn candidates(&self, point: &Point) -> Vec<usize> {
        let left = || (0..self.events.len()).filter(|at| !point.placed[*at]);
        let first_end = left().filter_map(|at| self.events[at].end).min();
        let first_end = first_end.unwrap_or(u64::MAX);
        left()
            .take_while(|at| self.events[*at].begin <= first_end)
            .collect()
    }

    /// Which of the answered ones are placed. The others do not tell points apart: versions only
    /// grow, so that a write of an earlier one can never be placed any more.
    fn answered(&self, point: &Point) -> Vec<bool> {
        let both = self.events.iter().zip(&point.placed);
        let answered = both.filter(|(event, _)| event.end.is_some());
        answered.map(|(_, is_placed)| *is_placed).collect()
    }

    fn is_done(&self, point: &Point) -> bool {
        let mut both = self.events.iter().zip(&point.placed);
        both.all(|(event, is_placed)| *is_placed || event.end.is_none())
    }

    /// Each write that may be next, placed.
    fn following(&mut self, point: &Point) -> Vec<Point> {
        let mut found = Vec::new();
        for at in self.candidates(point) {
            if let Deed::Write { expected, value } = self.events[at].deed
                && expected == point.state.0
            {
                let mut placed = point.placed.clone();
                placed[at] = true;
                let state = (expected + 1, value);
                found.push(Point { placed, state });
            }
        }
        if found.is_empty() {
            self.note(point);
        }
        found
    }

    fn note(&mut self, point: &Point) {
        let answered = |at: &usize| self.events[*at].end.is_some();
        let placed = (0..self.events.len()).filter(|at| point.placed[*at]);
        let count = placed.filter(answered).count();
        if count < self.furthest.0 || (count == self.furthest.0 && !self.furthest.1.is_empty()) {
            return;
        }
        let candidates = self.candidates(point);
        let stuck: Vec<_> = candidates.into_iter().filter(answered).collect();
        let stuck: Vec<_> = stuck.iter().map(|at| self.events[*at]).take(4).collect();
        let (version, value) = point.state;
        let text =
            format!("behind version {version} (value {value}) none of these fits: {stuck:?}");
        self.furthest = (count, text);
    }
}

impl Deed {
    /// Whether it fits here and changes nothing.
    fn keeps(&self, state: State) -> bool {
        match *self {
            Self::Read { version, value } => (version, value) == state,
            Self::Refused { expected } => expected != state.0,
            Self::Write { .. } => false,
        }
    }
}

/// A version that somebody saw, or made, at one server.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// When it was asked.
    pub begin: u64,
    /// When it was answered.
    pub end: u64,
    /// Which version.
    pub version: u64,
}

/// At one server nobody sees an older version than one that was seen or made there before.
///
/// # Errors
/// The first sight of an older one.
pub fn never_goes_back(sights: &[Sight]) -> Result<(), String> {
    let mut ends: Vec<Sight> = sights.to_vec();
    ends.sort_by_key(|sight| sight.end);
    let mut begins: Vec<Sight> = sights.to_vec();
    begins.sort_by_key(|sight| sight.begin);
    let mut ended = ends.into_iter().peekable();
    let mut newest: Option<Sight> = None;
    for sight in begins {
        while let Some(over) = ended.next_if(|over| over.end < sight.begin) {
            if newest.is_none_or(|newest| over.version > newest.version) {
                newest = Some(over);
            }
        }
        if let Some(newest) = newest.filter(|newest| newest.version > sight.version) {
            return Err(format!("{sight:?} after {newest:?}"));
        }
    }
    Ok(())
}

/// What a folder was said to hold.
#[derive(Clone, Debug)]
pub struct Listing {
    /// When it was asked.
    pub begin: u64,
    /// When it was answered.
    pub end: u64,
    /// The names.
    pub names: BTreeSet<u64>,
}

/// Names are made and never removed: a listing has all that were acknowledged `bound` before it
/// was asked for, and none that nobody had begun to make. `made` has for each name when it was
/// begun, and when it was acknowledged.
///
/// # Errors
/// The first listing with a name too many or too few.
pub fn lists_follow(
    made: &BTreeMap<u64, (u64, Option<u64>)>,
    listings: &[Listing],
    bound: u64,
) -> Result<(), String> {
    for listing in listings {
        let has_to_be_there = |at: &Option<u64>| at.is_some_and(|at| at + bound < listing.begin);
        for (name, (_, end)) in made {
            if has_to_be_there(end) && !listing.names.contains(name) {
                return Err(format!(
                    "name {name}, acknowledged at {end:?}, is missing in a listing of {}",
                    listing.begin
                ));
            }
        }
        for name in &listing.names {
            let is_begun = |(begin, _): &(u64, Option<u64>)| *begin < listing.end;
            if made.get(name).is_none_or(|at| !is_begun(at)) {
                return Err(format!(
                    "a listing of {} has name {name}, which nobody had made",
                    listing.begin
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
