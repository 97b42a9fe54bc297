//! The path of a rule: exact, with `+` for a segment, with `*` at its end for the rest.

use std::cmp::Reverse;

/// The path of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
    /// As written, without a leading `/`.
    text: Box<str>,
    kind: Kind,
}

/// How a pattern is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// By equality.
    Exact,
    /// Segment by segment, to the last one.
    Segments,
    /// Segment by segment, the last one by its beginning.
    Prefix,
}

/// What makes one pattern more specific than another; the greatest wins. In order: where its
/// first wildcard stands, whether it reaches to the end of the path, how few segments are
/// wildcards, how long it is, and at last the order of the alphabet, so that it is always one.
type Specificity<'a> = (usize, bool, Reverse<usize>, usize, &'a str);

impl Pattern {
    /// `None` for `+*`, which could be read in two ways.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('/').unwrap_or(text);
        if text.contains("+*") {
            return None;
        }
        let kind = if text.ends_with('*') {
            Kind::Prefix
        } else if has_segment_wildcard(text) {
            Kind::Segments
        } else {
            Kind::Exact
        };
        let text = text.into();
        Some(Self { text, kind })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The pattern without the `*` at its end.
    pub(super) fn body(&self) -> &str {
        match self.kind {
            Kind::Prefix => self.text.strip_suffix('*').unwrap_or(&self.text),
            Kind::Exact | Kind::Segments => &self.text,
        }
    }

    pub(super) fn specificity(&self) -> Specificity<'_> {
        let body = self.body();
        let first_wildcard = if has_segment_wildcard(body) {
            body.find('+').unwrap_or(body.len())
        } else {
            body.len()
        };
        let wildcards = body.split('/').filter(|&part| part == "+").count();
        let reaches_end = self.kind != Kind::Prefix;
        (
            first_wildcard,
            reaches_end,
            Reverse(wildcards),
            body.len(),
            body,
        )
    }

    /// True if it could match a path that begins with `folder` (which ends in `/`).
    pub(super) fn may_match_below(&self, folder: &str) -> bool {
        let mut own = self.body().split('/').peekable();
        let segments = folder.strip_suffix('/').unwrap_or(folder).split('/');
        for segment in segments {
            let Some(part) = own.next() else {
                return false;
            };
            if own.peek().is_none() && self.kind == Kind::Prefix {
                return segment.starts_with(part);
            }
            if part != "+" && part != segment {
                return false;
            }
        }
        own.peek().is_some()
    }
}

fn has_segment_wildcard(text: &str) -> bool {
    text == "+" || text.starts_with("+/") || text.contains("/+")
}
