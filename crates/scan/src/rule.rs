//! What is looked for. The rules are data in `rules/*.toml`; the build script reads them, and a
//! rule that does not compile, or does not find its own examples, fails the build.

use std::sync::OnceLock;

use regex_automata::meta::Regex;
use regex_automata::util::syntax;

/// How bad a finding is. The order is that of the rank, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Whoever has it can act at once: a live token, a private key.
    Critical,
    /// Opens something together with what stands beside it.
    High,
    /// Probably a secret, or one for a short time.
    Medium,
    /// For tests, or half of a pair.
    Low,
}

impl Severity {
    /// All, the worst first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Medium, Self::Low];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }

    /// The severity with a name, in any case.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|severity| severity.word().eq_ignore_ascii_case(word))
    }
}

/// How much a rule knows about what it finds. Of findings that overlap the first kind is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A format that one vendor gives to its tokens.
    Format,
    /// A place where only a secret stands: the password in a URL, a key block.
    Structure,
    /// A name that sounds like a secret's, and a value.
    Assignment,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name in reports.
    pub id: &'static str,
    /// What it finds, in words.
    pub title: &'static str,
    /// How bad a finding is.
    pub severity: Severity,
    /// How much it knows.
    pub kind: Kind,
    /// Where the format is documented.
    pub source: &'static str,
    /// One of these, in any case, stands in or close before every finding.
    pub(crate) keywords: &'static [&'static str],
    /// The pattern; its group `value` is the secret, `name` what it is called.
    pub(crate) pattern: &'static str,
    /// A match begins at most so many bytes before a keyword,
    pub(crate) before: usize,
    /// and ends at most so many bytes after the keyword's beginning.
    pub(crate) reach: usize,
    /// Values that are easier to guess are none.
    pub(crate) least_bits: f64,
    /// So many bytes at the beginning of a value are no secret: they say what it is.
    pub(crate) shown: usize,
    /// Only files that hold settings, where values need no quotes.
    pub(crate) in_settings_only: bool,
    pub(crate) compiled: OnceLock<Option<Compiled>>,
}

/// A pattern ready for use.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) regex: Regex,
    /// Slots of the groups.
    pub(crate) value: usize,
    pub(crate) name: Option<usize>,
}

impl Rule {
    /// The pattern, compiled when it is first needed. That it compiles the build has seen.
    pub(crate) fn compiled(&self) -> Option<&Compiled> {
        let compiled = self.compiled.get_or_init(|| compile(self.pattern));
        compiled.as_ref()
    }
}

fn compile(pattern: &str) -> Option<Compiled> {
    let regex = Regex::builder()
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .configure(Regex::config().utf8_empty(false))
        .build(pattern)
        .ok()?;
    let group = |name| {
        let info = regex.group_info();
        info.to_index(regex_automata::PatternID::ZERO, name)
    };
    let (value, name) = (group("value")?, group("name"));
    Some(Compiled { regex, value, name })
}

/// Every rule, by its id.
#[must_use]
pub fn all() -> &'static [Rule] {
    &RULES
}

include!(concat!(env!("OUT_DIR"), "/rules.rs"));
