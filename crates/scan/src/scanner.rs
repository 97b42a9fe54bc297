//! One text: keywords first, patterns around them, then a judgement.

use std::ops::Range;

use aho_corasick::AhoCorasick;
use aho_corasick::MatchKind;
use regex_automata::Input;
use strongroom_core::redact::Patterns;

use crate::finding::Finding;
use crate::finding::STORED;
use crate::finding::STORED_TITLE;
use crate::judge;
use crate::judge::Candidate;
use crate::judge::FileKind;
use crate::place;
use crate::place::Lines;
use crate::rule;
use crate::rule::Kind;
use crate::rule::Rule;
use crate::rule::Severity;

/// Most findings in one text: a file with more is a list of them.
pub(crate) const FINDINGS_PER_TEXT_MAX: usize = 1_000;

/// Most matches of rules, of which several may be of one value.
const HITS_MAX: usize = 4 * FINDINGS_PER_TEXT_MAX;

/// Says what a value's fingerprint is.
pub type Fingerprint<'a> = &'a (dyn Fn(&[u8]) -> [u8; 16] + Sync);

/// What the store adds to a scan; without one nothing.
#[derive(Clone, Copy, Default)]
pub struct Lookout<'a> {
    /// Values of the store's secrets, by their paths.
    pub known: Option<&'a Patterns>,
    /// Fingerprints under a key of the store.
    pub fingerprint: Option<Fingerprint<'a>>,
}

/// All rules, ready for any number of texts and threads.
pub struct Scanner {
    rules: &'static [Rule],
    keywords: Option<AhoCorasick>,
    /// The rules of each keyword.
    of_keyword: Vec<Vec<usize>>,
}

/// A value in the text.
struct Hit {
    value: Range<usize>,
    kind: Option<Kind>,
    rule: &'static str,
    title: &'static str,
    severity: Severity,
    shown: usize,
    secret: Option<String>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new(rule::all())
    }
}

impl Scanner {
    /// A scanner with these rules.
    #[must_use]
    pub fn new(rules: &'static [Rule]) -> Self {
        let mut words: Vec<&'static str> = Vec::new();
        let mut of_keyword: Vec<Vec<usize>> = Vec::new();
        for (at, rule) in rules.iter().enumerate() {
            for word in rule.keywords {
                match words.iter().position(|known| known == word) {
                    Some(known) => of_keyword[known].push(at),
                    None => {
                        words.push(word);
                        of_keyword.push(vec![at]);
                    }
                }
            }
        }
        let keywords = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(&words)
            .ok();
        Self {
            rules,
            keywords,
            of_keyword,
        }
    }

    /// How many rules there are.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// What stands in a text, from the front to the back. `path` is what is told of where it is;
    /// its end says what kind of file it is.
    #[must_use]
    pub fn scan(&self, text: &[u8], path: &str, lookout: Lookout<'_>) -> Vec<Finding> {
        let file = FileKind::of(path);
        let mut hits = self.hits(text, file);
        if let Some(known) = lookout.known {
            let found = strongroom_core::redact::find(known, text);
            hits.extend(found.into_iter().map(|found| Hit {
                value: found.bytes,
                kind: None,
                rule: STORED,
                title: STORED_TITLE,
                severity: Severity::Critical,
                shown: 0,
                secret: Some(found.name),
            }));
        }
        let secrets = merged(hits.iter().map(|hit| hit.value.clone()).collect());
        let is_secret = |part: &Range<usize>| {
            let next = secrets.partition_point(|one| one.end <= part.start);
            secrets.get(next).is_some_and(|one| one.start < part.end)
        };
        let mut lines = Lines::of(text);
        let finding = |hit: Hit| {
            let (line, column) = lines.at(hit.value.start);
            let (end_line, end_column) = lines.at(hit.value.end);
            let value = text.get(hit.value.clone()).unwrap_or_default();
            Finding {
                rule: hit.rule,
                title: hit.title,
                severity: hit.severity,
                path: path.to_owned(),
                line,
                column,
                end_line,
                end_column,
                preview: place::preview(text, &hit.value, hit.shown, is_secret),
                fingerprint: lookout.fingerprint.map(|fingerprint| fingerprint(value)),
                secret: hit.secret,
            }
        };
        let hits = without_overlaps(hits);
        hits.into_iter()
            .take(FINDINGS_PER_TEXT_MAX)
            .map(finding)
            .collect()
    }

    fn hits(&self, text: &[u8], file: FileKind) -> Vec<Hit> {
        let Some(keywords) = &self.keywords else {
            return Vec::new();
        };
        let mut hits = Vec::new();
        // Up to where each rule has found something.
        let mut done = vec![0; self.rules.len()];
        let Ok(found) = keywords.try_find_overlapping_iter(text) else {
            return Vec::new();
        };
        for keyword in found {
            // More are not told, and a list of tokens has no end.
            if hits.len() >= HITS_MAX {
                break;
            }
            let rules = self.of_keyword.get(keyword.pattern().as_usize());
            for &at in rules.into_iter().flatten() {
                let (Some(rule), Some(done)) = (self.rules.get(at), done.get_mut(at)) else {
                    continue;
                };
                if keyword.start() >= *done {
                    around(text, file, rule, keyword.start(), done, &mut hits);
                }
            }
        }
        hits
    }
}

/// Tries a rule around one of its keywords.
fn around(
    text: &[u8],
    file: FileKind,
    rule: &Rule,
    keyword: usize,
    done: &mut usize,
    hits: &mut Vec<Hit>,
) {
    let Some(compiled) = rule.compiled() else {
        return;
    };
    let end = text.len().min(keyword + rule.reach);
    let mut start = keyword.saturating_sub(rule.before).max(*done);
    let mut slots = vec![None; compiled.regex.group_info().slot_len()];
    while start < end {
        // The whole text is looked at for what must stand around a match.
        let input = Input::new(text).range(start..end);
        if compiled.regex.search_slots(&input, &mut slots).is_none() {
            return;
        }
        let group = |index: usize| {
            let from = slots.get(2 * index).copied().flatten()?;
            let to = slots.get(2 * index + 1).copied().flatten()?;
            Some(from.get()..to.get())
        };
        let (Some(whole), Some(value)) = (group(0), group(compiled.value)) else {
            return;
        };
        let name = compiled.name.and_then(group).unwrap_or(0..0);
        let name = text.get(name).unwrap_or_default();
        let line = place::line_around(text, &value);
        let candidate = Candidate {
            rule,
            name: std::str::from_utf8(name).unwrap_or_default(),
            value: text.get(value.clone()).unwrap_or_default(),
            line: text.get(line).unwrap_or_default(),
            file,
        };
        if judge::is_secret(&candidate) {
            hits.push(Hit {
                value: value.clone(),
                kind: Some(rule.kind),
                rule: rule.id,
                title: rule.title,
                severity: rule.severity,
                shown: rule.shown,
                secret: None,
            });
        }
        // What ends a value may begin the next one.
        *done = value.end.max(whole.start + 1);
        start = *done;
    }
}

/// The same places, none of which overlap, from the front to the back.
fn merged(mut places: Vec<Range<usize>>) -> Vec<Range<usize>> {
    places.sort_unstable_by_key(|place| place.start);
    let mut out: Vec<Range<usize>> = Vec::with_capacity(places.len());
    for place in places {
        match out.last_mut() {
            Some(last) if place.start < last.end => last.end = last.end.max(place.end),
            _ => out.push(place),
        }
    }
    out
}

/// Of values that overlap one is told: what the store knows, then by kind, then the worst, then
/// the first.
fn without_overlaps(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by_key(|hit| (hit.kind, hit.severity, hit.value.start, hit.rule));
    let mut kept: Vec<Hit> = Vec::with_capacity(hits.len());
    // By their beginnings, so that a neighbour is found fast.
    let mut taken = std::collections::BTreeMap::<usize, usize>::new();
    for hit in hits {
        let before = taken.range(..hit.value.end).next_back();
        if before.is_some_and(|(_, end)| *end > hit.value.start) {
            continue;
        }
        taken.insert(hit.value.start, hit.value.end);
        kept.push(hit);
    }
    kept.sort_by_key(|hit| hit.value.start);
    kept
}

#[cfg(test)]
mod tests;
