//! Looks for answers that no order of the operations on one key explains.
//!
//! Every write that succeeds says which version it made, and every read which one it saw: the
//! versions are the order of the writes, and a read stands behind the write it saw. What is left
//! to look at is that this order keeps to real time, and that nothing was seen that nobody wrote.

use std::collections::BTreeMap;

/// One operation, from before it was sent until after it was answered.
pub(super) struct Event {
    pub(super) begin: u64,
    /// Nothing: there was no answer, and it may still happen.
    pub(super) end: Option<u64>,
    pub(super) deed: Deed,
}

/// What came of an operation.
pub(super) enum Deed {
    /// Version 0: there was none.
    Read { version: u64, value: u64 },
    /// A check-and-set that succeeded, or whose outcome nobody knows.
    Written {
        version: Option<u64>,
        value: u64,
        expected: u64,
    },
    /// The current version was another one.
    Refused { expected: u64 },
    /// No answer to a read, or one that says nothing.
    Nothing,
}

/// When a version was made: not before `begin`, and at `end` it was there.
#[derive(Clone, Copy)]
struct Made {
    begin: u64,
    end: u64,
}

/// What cannot be explained, in words.
pub(super) fn violations(history: &[Event]) -> Vec<String> {
    let mut found = Vec::new();
    let values = values_of(history, &mut found);
    let versions = versions_of(history, &values, &mut found);
    in_order(history, &mut found);
    for event in history {
        let (Deed::Refused { expected }, Some(end)) = (&event.deed, event.end) else {
            continue;
        };
        // It was right all the time: made before, and the next one begun after, or never.
        let was_made = match *expected {
            0 => true,
            number => versions
                .get(&number)
                .is_some_and(|made| made.end < event.begin),
        };
        let next = versions.get(&(expected + 1));
        let could_be_next = history.iter().any(|other| {
            let is_same = match other.deed {
                Deed::Written {
                    version: None,
                    expected: of,
                    ..
                } => of == *expected,
                _ => false,
            };
            is_same && other.begin <= end
        });
        let is_past = next.is_some_and(|made| made.begin <= end);
        if was_made && !is_past && !could_be_next {
            found.push(format!(
                "version {expected} was current, and was refused as if not"
            ));
        }
    }
    found
}

/// Who wrote which value: no two alike, and each makes the version behind the expected one.
fn values_of(history: &[Event], found: &mut Vec<String>) -> BTreeMap<u64, (Option<u64>, u64, u64)> {
    let mut values = BTreeMap::new();
    let mut makers = BTreeMap::new();
    for event in history {
        if let Deed::Written {
            version,
            value,
            expected,
        } = event.deed
        {
            values.insert(value, (version, expected, event.begin));
            if let Some(version) = version {
                if version != expected + 1 {
                    found.push(format!(
                        "version {version} was made where {expected} was expected"
                    ));
                }
                if makers.insert(version, value).is_some() {
                    found.push(format!("version {version} was made twice"));
                }
            }
        }
    }
    values
}

/// When each version was made, also those that only a read tells of.
fn versions_of(
    history: &[Event],
    values: &BTreeMap<u64, (Option<u64>, u64, u64)>,
    found: &mut Vec<String>,
) -> BTreeMap<u64, Made> {
    let mut versions: BTreeMap<u64, Made> = BTreeMap::new();
    let mut contents = BTreeMap::new();
    for event in history {
        let end = event.end.unwrap_or(u64::MAX);
        let (version, value, begin) = match event.deed {
            Deed::Written {
                version: Some(version),
                value,
                ..
            } => (version, value, event.begin),
            Deed::Read { version, value } if version > 0 => match values.get(&value) {
                Some((_, expected, begin)) if expected + 1 == version => (version, value, *begin),
                _ => {
                    found.push(format!(
                        "version {version} holds a value that nobody wrote there"
                    ));
                    continue;
                }
            },
            _ => continue,
        };
        if contents
            .insert(version, value)
            .is_some_and(|other| other != value)
        {
            found.push(format!("version {version} holds two values"));
        }
        let made = versions.entry(version).or_insert(Made { begin, end });
        made.end = made.end.min(end);
        if end < begin {
            found.push(format!("version {version} was seen before it was written"));
        }
    }
    versions
}

/// Whatever ended before something else began stands before it.
fn in_order(history: &[Event], found: &mut Vec<String>) {
    let place = |event: &Event| match event.deed {
        Deed::Read { version, .. } => Some((version, false)),
        Deed::Written {
            version: Some(version),
            ..
        } => Some((version, true)),
        _ => None,
    };
    let mut ends: Vec<(u64, u64)> = history
        .iter()
        .filter_map(|event| Some((event.end?, place(event)?.0)))
        .collect();
    ends.sort_unstable();
    let mut begins: Vec<(u64, u64, bool)> = history
        .iter()
        .filter_map(|event| {
            place(event).map(|(version, is_write)| (event.begin, version, is_write))
        })
        .collect();
    begins.sort_unstable();
    let mut ended = ends.into_iter().peekable();
    let mut latest = None;
    for (begin, version, is_write) in begins {
        while let Some((_, of)) = ended.next_if(|(end, _)| *end < begin) {
            latest = latest.max(Some(of));
        }
        let Some(seen) = latest else {
            continue;
        };
        if version < seen || (is_write && version == seen) {
            let what = if is_write { "made" } else { "seen" };
            found.push(format!(
                "version {version} was {what} after version {seen} was there"
            ));
        }
    }
}
