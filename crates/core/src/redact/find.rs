//! Where known values stand in a text that is there as a whole.

use std::cmp::Reverse;
use std::ops::Range;

use super::Patterns;
use super::index::Probes;
use super::store::Verdict;

/// A value in a text, raw or encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it stands.
    pub bytes: Range<usize>,
    /// The secret's name.
    pub name: String,
}

/// Every known value in a text, from the front to the back; of those that overlap the first, and
/// of those the longest.
#[must_use]
pub fn find(patterns: &Patterns, text: &[u8]) -> Vec<Found> {
    let inner = &*patterns.0;
    let (mut hits, mut matches) = (Vec::new(), Vec::new());
    inner.index.scan(text, &mut Probes::default(), &mut hits);
    for hit in hits {
        let Some(form) = inner.forms.form(hit.form) else {
            continue;
        };
        let Some(bytes) = text.get(hit.at..hit.at + form.len()) else {
            continue;
        };
        if form.may_start(text, hit.at)
            && inner.forms.agrees(form, 0, bytes)
            && let Verdict::Yes(found) = form.settle(text, hit.at, true)
        {
            matches.push(found);
        }
    }
    matches.sort_unstable();
    let mut found: Vec<Found> = Vec::new();
    for one in matches {
        let Reverse(end) = one.end;
        if found.last().is_none_or(|last| last.bytes.end <= one.start) {
            found.push(Found {
                bytes: one.start..end,
                name: inner.forms.name(one.secret).to_owned(),
            });
        }
    }
    found
}
