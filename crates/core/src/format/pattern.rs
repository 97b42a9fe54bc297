//! Declared patterns: regular expressions that run in linear time.
//!
//! The syntax is that of the `regex` crate with RE2's meaning of `\d`, `\s`, `\w` and `\b`:
//! ASCII only. That is also what keeps compiled patterns small. A value matches when the
//! pattern is found anywhere in it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use regex_automata::Anchored;
use regex_automata::Input;
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::Cache;
use regex_automata::hybrid::dfa::DFA;
use regex_automata::nfa::thompson;
use regex_syntax::ast;
use regex_syntax::ast::Ast;
use regex_syntax::hir::Hir;
use regex_syntax::hir::HirKind;
use regex_syntax::hir::Look;
use regex_syntax::hir::translate::TranslatorBuilder;

use super::FormatProblem;

/// Longest pattern, in characters.
pub const PATTERN_CHARS_MAX: usize = 1_024;
/// Longest value that is matched, in bytes.
pub const PATTERN_INPUT_BYTES_MAX: usize = 64 * 1_024;
/// Largest compiled pattern, in bytes.
pub const PATTERN_SIZE_BYTES_MAX: usize = 512 * 1_024;
/// Deepest nesting of a pattern.
const NEST_LEVELS_MAX: u32 = 64;
/// Most Unicode classes (`\pL`) and wide ranges in a pattern: each holds hundreds of ranges.
const UNICODE_CLASSES_MAX: usize = 32;
/// A range of more characters than this counts as a Unicode class.
const WIDE_RANGE_CHARS: u32 = 1_024;
/// Room for the states that one pattern keeps between matches, in bytes.
const CACHE_BYTES: usize = 1_024 * 1_024;

/// A compiled pattern.
pub struct Pattern {
    text: Box<str>,
    lints: Box<[Lint]>,
    dfa: DFA,
    cache: Mutex<Option<Cache>>,
}

impl Pattern {
    /// Parses and compiles a pattern.
    ///
    /// # Errors
    /// When it is malformed, needs look-around or backreferences, or is too large.
    pub fn parse(text: &str) -> Result<Self, ParsePatternError> {
        if text.chars().count() > PATTERN_CHARS_MAX {
            return Err(ParsePatternError::TooLong);
        }
        let mut tree = ast::parse::ParserBuilder::new()
            .nest_limit(NEST_LEVELS_MAX)
            .build()
            .parse(text)
            .map_err(|error| ParsePatternError::from_ast(&error))?;
        let mut notes = Notes::default();
        notes.prepare(&mut tree);
        if notes.unicode_classes > UNICODE_CLASSES_MAX {
            return Err(ParsePatternError::TooLarge);
        }
        let mut lints = notes.lints;
        // Matching works on bytes: `(?-u)` may match what is no UTF-8.
        let hir = TranslatorBuilder::new()
            .utf8(false)
            .build()
            .translate(text, &tree)
            .map_err(|error| ParsePatternError::from_translation(&error))?;
        lint_anchors(&hir, &mut lints);
        let config = thompson::Config::new()
            .utf8(false)
            .nfa_size_limit(Some(PATTERN_SIZE_BYTES_MAX))
            .which_captures(thompson::WhichCaptures::None);
        let nfa = thompson::Compiler::new()
            .configure(config)
            .build_from_hir(&hir)
            .map_err(|_| ParsePatternError::TooLarge)?;
        let config = DFA::config()
            .cache_capacity(CACHE_BYTES)
            .skip_cache_capacity_check(true);
        let dfa = DFA::builder()
            .configure(config)
            .build_from_nfa(nfa)
            .map_err(|_| ParsePatternError::TooLarge)?;
        let cache = Mutex::new(None);
        Ok(Self {
            text: text.into(),
            lints: lints.into(),
            dfa,
            cache,
        })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Checks that a value matches.
    ///
    /// # Errors
    /// When it does not, or is too long to be matched.
    pub fn check(&self, value: &[u8]) -> Result<(), FormatProblem> {
        if value.len() > PATTERN_INPUT_BYTES_MAX {
            return Err(FormatProblem::new(
                "is longer than 64 KiB, too long for a pattern",
            ));
        }
        // One cache, taken by whoever comes first; others make do with a new one.
        let kept = self
            .cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut cache = kept.unwrap_or_else(|| self.dfa.create_cache());
        let found = self
            .dfa
            .try_search_fwd(&mut cache, &Input::new(value).earliest(true));
        *self.cache.lock().unwrap_or_else(PoisonError::into_inner) = Some(cache);
        match found {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(FormatProblem(Cow::Owned(format!(
                "does not match its format {}",
                self.text
            )))),
            Err(_) => Err(FormatProblem::new(
                "could not be matched against its format",
            )),
        }
    }

    /// True when a value matches.
    #[must_use]
    pub fn is_match(&self, value: &[u8]) -> bool {
        self.check(value).is_ok()
    }

    /// What is probably not meant in this pattern.
    #[must_use]
    pub fn lint(&self) -> &[Lint] {
        &self.lints
    }

    /// A walk over the pattern's automaton, one byte at a time.
    pub(crate) fn walk(&self) -> Option<Walk<'_>> {
        let mut cache = self.dfa.create_cache();
        let input = Input::new("").anchored(Anchored::No);
        let start = self.dfa.start_state_forward(&mut cache, &input).ok()?;
        Some(Walk {
            dfa: &self.dfa,
            cache,
            start,
        })
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.text).finish()
    }
}

/// A walk over an automaton's states, all reached from its start.
pub(crate) struct Walk<'a> {
    dfa: &'a DFA,
    cache: Cache,
    start: LazyStateID,
}

/// What is known of a text after some of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verdict {
    /// It matches, whatever follows.
    Matches,
    /// It depends on what follows.
    Open(LazyStateID),
}

impl Walk<'_> {
    /// Where every walk begins.
    pub(crate) fn start(&self) -> Verdict {
        Verdict::Open(self.start)
    }

    /// Goes on by some bytes. `None` when the automaton has become too large to follow.
    pub(crate) fn step(&mut self, from: Verdict, bytes: &[u8]) -> Option<Verdict> {
        let Verdict::Open(mut state) = from else {
            return Some(from);
        };
        for &byte in bytes {
            state = self.dfa.next_state(&mut self.cache, state, byte).ok()?;
            // A cleared cache makes every state seen so far meaningless.
            if self.cache.clear_count() > 0 || state.is_quit() {
                return None;
            }
            if state.is_match() {
                return Some(Verdict::Matches);
            }
        }
        Some(Verdict::Open(state))
    }

    /// Whether a text that ends here matches.
    pub(crate) fn ends_in_match(&mut self, at: Verdict) -> Option<bool> {
        let Verdict::Open(state) = at else {
            return Some(true);
        };
        let last = self.dfa.next_eoi_state(&mut self.cache, state).ok()?;
        (self.cache.clear_count() == 0).then(|| last.is_match())
    }
}

/// A pattern, or why it is none.
type Compiled = Result<Arc<Pattern>, ParsePatternError>;

/// Patterns compiled so far, by their text.
#[derive(Default)]
pub struct PatternSet {
    compiled: Mutex<HashMap<Box<str>, Compiled>>,
}

impl PatternSet {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The compiled pattern of this text: compiled at its first use, then kept.
    ///
    /// # Errors
    /// As [`Pattern::parse`], each time it is asked.
    pub fn pattern(&self, text: &str) -> Result<Arc<Pattern>, ParsePatternError> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = compiled.get(text) {
            return known.clone();
        }
        let pattern = Pattern::parse(text).map(Arc::new);
        compiled.insert(text.into(), pattern.clone());
        pattern
    }
}

impl fmt::Debug for PatternSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatternSet")
    }
}

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParsePatternError {
    /// More characters than allowed.
    #[error("the pattern is longer than {PATTERN_CHARS_MAX} characters")]
    TooLong,
    /// Compiled, it would need more memory than allowed.
    #[error("the pattern is too large when its repetitions are written out")]
    TooLarge,
    /// Look-ahead or look-behind.
    #[error("character {column}: look-around is not supported, patterns run in linear time")]
    LookAround {
        /// Where, counted from 1.
        column: usize,
    },
    /// A reference to an earlier group.
    #[error("character {column}: backreferences are not supported, patterns run in linear time")]
    Backreference {
        /// Where, counted from 1.
        column: usize,
    },
    /// Anything else that is no pattern.
    #[error("character {column}: {reason}")]
    Syntax {
        /// Where, counted from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
}

impl ParsePatternError {
    fn from_ast(error: &ast::Error) -> Self {
        let column = column_of(error.pattern(), error.span());
        match error.kind() {
            ast::ErrorKind::UnsupportedLookAround => Self::LookAround { column },
            ast::ErrorKind::UnsupportedBackreference => Self::Backreference { column },
            kind => Self::Syntax {
                column,
                reason: kind.to_string(),
            },
        }
    }

    fn from_translation(error: &regex_syntax::hir::Error) -> Self {
        let column = column_of(error.pattern(), error.span());
        Self::Syntax {
            column,
            reason: error.kind().to_string(),
        }
    }
}

/// The character at which a span starts, counted from 1 over the whole pattern.
fn column_of(pattern: &str, span: &ast::Span) -> usize {
    pattern
        .char_indices()
        .take_while(|(at, _)| *at < span.start.offset)
        .count()
        + 1
}

/// Something in a pattern that is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// What it is.
    pub kind: LintKind,
    /// Where, as a character counted from 1.
    pub column: usize,
    /// What a person reads.
    pub message: String,
}

/// Kinds of [`Lint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LintKind {
    /// A match may begin anywhere in a value.
    UnanchoredStart,
    /// A match may end anywhere in a value.
    UnanchoredEnd,
    /// A hyphen makes a range where single characters were meant, as in `[.-_]`.
    AccidentalRange,
}

/// What is seen while a pattern is made ready.
#[derive(Default)]
struct Notes {
    lints: Vec<Lint>,
    unicode_classes: usize,
}

impl Notes {
    /// Notes accidental ranges and gives `\d`, `\s`, `\w` and `\b` their ASCII meaning.
    ///
    /// The parser's nesting limit bounds the recursion.
    fn prepare(&mut self, tree: &mut Ast) {
        match tree {
            Ast::Empty(_) | Ast::Flags(_) | Ast::Literal(_) | Ast::Dot(_) => {}
            Ast::ClassUnicode(_) => self.unicode_classes += 1,
            Ast::Assertion(assertion) => {
                let word_edge = !matches!(
                    assertion.kind,
                    ast::AssertionKind::StartLine
                        | ast::AssertionKind::EndLine
                        | ast::AssertionKind::StartText
                        | ast::AssertionKind::EndText
                );
                if word_edge {
                    let span = assertion.span;
                    let inner = Box::new(Ast::Assertion(assertion.clone()));
                    *tree = Ast::group(ast::Group {
                        span,
                        kind: without_unicode(span),
                        ast: inner,
                    });
                }
            }
            Ast::ClassPerl(class) => {
                let item = ast::ClassSetItem::Ascii(ascii_class(class));
                *tree = Ast::class_bracketed(ast::ClassBracketed {
                    span: class.span,
                    negated: false,
                    kind: ast::ClassSet::Item(item),
                });
            }
            Ast::ClassBracketed(class) => self.prepare_set(&mut class.kind),
            Ast::Repetition(repetition) => self.prepare(&mut repetition.ast),
            Ast::Group(group) => self.prepare(&mut group.ast),
            Ast::Alternation(alternation) => {
                for part in &mut alternation.asts {
                    self.prepare(part);
                }
            }
            Ast::Concat(concat) => {
                for part in &mut concat.asts {
                    self.prepare(part);
                }
            }
        }
    }

    fn prepare_set(&mut self, set: &mut ast::ClassSet) {
        match set {
            ast::ClassSet::Item(item) => self.prepare_item(item),
            ast::ClassSet::BinaryOp(op) => {
                self.prepare_set(&mut op.lhs);
                self.prepare_set(&mut op.rhs);
            }
        }
    }

    fn prepare_item(&mut self, item: &mut ast::ClassSetItem) {
        match item {
            ast::ClassSetItem::Perl(class) => *item = ast::ClassSetItem::Ascii(ascii_class(class)),
            ast::ClassSetItem::Range(range) => {
                let width = u32::from(range.end.c).saturating_sub(range.start.c.into());
                self.unicode_classes += usize::from(width > WIDE_RANGE_CHARS);
                self.lints.extend(lint_range(range));
            }
            ast::ClassSetItem::Bracketed(class) => self.prepare_set(&mut class.kind),
            ast::ClassSetItem::Union(union) => {
                for item in &mut union.items {
                    self.prepare_item(item);
                }
            }
            ast::ClassSetItem::Empty(_)
            | ast::ClassSetItem::Literal(_)
            | ast::ClassSetItem::Ascii(_) => {}
            ast::ClassSetItem::Unicode(_) => self.unicode_classes += 1,
        }
    }
}

fn ascii_class(class: &ast::ClassPerl) -> ast::ClassAscii {
    let kind = match class.kind {
        ast::ClassPerlKind::Digit => ast::ClassAsciiKind::Digit,
        ast::ClassPerlKind::Space => ast::ClassAsciiKind::Space,
        ast::ClassPerlKind::Word => ast::ClassAsciiKind::Word,
    };
    ast::ClassAscii {
        span: class.span,
        kind,
        negated: class.negated,
    }
}

/// The flags of `(?-u:…)`.
fn without_unicode(span: ast::Span) -> ast::GroupKind {
    let negation = ast::FlagsItem {
        span,
        kind: ast::FlagsItemKind::Negation,
    };
    let unicode = ast::FlagsItem {
        span,
        kind: ast::FlagsItemKind::Flag(ast::Flag::Unicode),
    };
    ast::GroupKind::NonCapturing(ast::Flags {
        span,
        items: vec![negation, unicode],
    })
}

/// A range of ASCII characters of different kinds, such as `.-_` or `A-z`, is hardly meant.
fn lint_range(range: &ast::ClassSetRange) -> Option<Lint> {
    let kind = |literal: &ast::Literal| {
        let written = matches!(
            literal.kind,
            ast::LiteralKind::Verbatim | ast::LiteralKind::Meta | ast::LiteralKind::Superfluous
        );
        match literal.c {
            _ if !written => None,
            'a'..='z' => Some(1),
            'A'..='Z' => Some(2),
            '0'..='9' => Some(3),
            c if c.is_ascii_punctuation() => Some(4),
            _ => None,
        }
    };
    let (from, to) = (kind(&range.start)?, kind(&range.end)?);
    let (first, last) = (range.start.c, range.end.c);
    // `!-~`, `!-/`, `:-@` and the like name blocks of the ASCII table on purpose.
    let blocks = [('!', '~'), ('!', '/'), (':', '@'), ('[', '`'), ('{', '~')];
    let on_purpose = blocks.contains(&(first, last)) || (from == to && from != 4);
    if on_purpose {
        return None;
    }
    let message = format!(
        "`{first}-{last}` is a range of {} characters; write the hyphen last in the brackets \
         to mean a hyphen",
        u32::from(last) - u32::from(first) + 1
    );
    Some(Lint {
        kind: LintKind::AccidentalRange,
        column: range.span.start.column,
        message,
    })
}

fn lint_anchors(hir: &Hir, lints: &mut Vec<Lint>) {
    let properties = hir.properties();
    let starts = properties.look_set_prefix().contains(Look::Start);
    let ends = properties.look_set_suffix().contains(Look::End);
    // `^sk-` and `\.pem$` plainly mean a beginning and an ending.
    let fixed = |part: &Hir| matches!(part.kind(), HirKind::Literal(_));
    let prefix_or_suffix = match hir.kind() {
        HirKind::Concat(parts) => match parts.as_slice() {
            [_, literal] if starts => fixed(literal),
            [literal, _] if ends => fixed(literal),
            _ => false,
        },
        _ => false,
    };
    if prefix_or_suffix {
        return;
    }
    if !starts {
        lints.push(Lint {
            kind: LintKind::UnanchoredStart,
            column: 1,
            message: "without ^ anything may stand before the match".to_owned(),
        });
    }
    if !ends {
        lints.push(Lint {
            kind: LintKind::UnanchoredEnd,
            column: 1,
            message: "without $ anything may stand after the match".to_owned(),
        });
    }
}
