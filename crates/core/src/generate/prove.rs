//! Whether all values of a generator satisfy a format, decided by following the format's
//! automaton over everything that may stand at each place.

use std::collections::HashSet;

use super::layout::Layout;
use crate::format::Pattern;
use crate::format::ValueType;
use crate::format::Verdict;

/// Most situations (state of the automaton and classes seen) followed at one place.
const SITUATIONS_MAX: usize = 10_000;
/// Most steps in all.
const STEPS_MAX: usize = 20_000_000;

/// Whether a generator's values satisfy a declared format.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// Every value does.
    Always,
    /// No value does.
    Never {
        /// Why, for a person.
        reason: String,
    },
    /// Some do, or it could not be decided.
    Sometimes {
        /// Why, for a person.
        reason: String,
    },
}

/// Judges a layout by a pattern and a type together.
pub(super) fn proves(
    layout: &Layout,
    pattern: Option<&Pattern>,
    value_type: Option<ValueType>,
) -> Proof {
    let by_pattern = pattern.map_or(Proof::Always, |pattern| {
        follow(layout, pattern, &format!("the format {}", pattern.as_str()))
    });
    if matches!(by_pattern, Proof::Never { .. }) {
        return by_pattern;
    }
    let by_type = value_type.map_or(Proof::Always, |value_type| of_type(layout, value_type));
    match (by_pattern, by_type) {
        (Proof::Always, of_type) | (_, of_type @ Proof::Never { .. }) => of_type,
        (of_pattern, _) => of_pattern,
    }
}

/// The values of a type as a pattern, and whether it says all or only what is necessary.
fn language(value_type: ValueType) -> (&'static str, bool) {
    match value_type {
        ValueType::Text => (".", true),
        ValueType::Hex => ("^(?:0x)?[0-9A-Fa-f]+$", true),
        ValueType::Base64 => (
            "^(?:[A-Za-z0-9+/]{4})*\
             (?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=?|[A-Za-z0-9+/]{2}(?:==)?)$",
            true,
        ),
        ValueType::Base64url => (
            "^(?:[A-Za-z0-9_-]{4})*\
             (?:[A-Za-z0-9_-]{4}|[A-Za-z0-9_-]{3}=?|[A-Za-z0-9_-]{2}(?:==)?)$",
            true,
        ),
        ValueType::Uuid => (
            "^[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}$",
            true,
        ),
        ValueType::Boolean => ("^(?i:true|false|1|0|yes|no|on|off)$", true),
        ValueType::Port => (
            "^0*(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}\
             |65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$",
            true,
        ),
        ValueType::Integer => ("^[+-]?[0-9]+$", false),
        ValueType::Url => ("^[A-Za-z][A-Za-z0-9+.-]*://", false),
        ValueType::HttpsUrl => ("^(?i:https)://", false),
        ValueType::PostgresUrl => ("^(?i:postgres|postgresql)://", false),
        ValueType::MysqlUrl => ("^(?i:mysql|mariadb)://", false),
        ValueType::MongodbUrl => ("^(?i:mongodb|mongodb\\+srv)://", false),
        ValueType::RedisUrl => ("^(?i:rediss?)://", false),
        ValueType::AmqpUrl => ("^(?i:amqps?)://", false),
        ValueType::Email => ("^[^@]+@[^@]+$", false),
        ValueType::Hostname => ("^[A-Za-z0-9.:-]+$", false),
        ValueType::Jwt => ("^[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_=-]+$", false),
        ValueType::Pem | ValueType::SshPrivateKey => ("-----BEGIN ", false),
        ValueType::Json => ("^[{\\[\"tfn0-9-]", false),
    }
}

fn of_type(layout: &Layout, value_type: ValueType) -> Proof {
    let (text, is_exact) = language(value_type);
    let what = format!("the type {value_type}");
    let Ok(pattern) = Pattern::parse(text) else {
        return Proof::Sometimes {
            reason: format!("{what} could not be followed"),
        };
    };
    match follow(layout, &pattern, &what) {
        Proof::Always if !is_exact => Proof::Sometimes {
            reason: format!("only some generated values are of {what}"),
        },
        proof => proof,
    }
}

/// A point on the way: how the automaton stands and which classes were seen.
type Situation = (Verdict, u8);

fn follow(layout: &Layout, pattern: &Pattern, what: &str) -> Proof {
    match decide(layout, pattern) {
        Some((true, false)) => Proof::Always,
        Some((true, true)) => Proof::Sometimes {
            reason: format!("only some generated values satisfy {what}"),
        },
        Some((false, _)) => Proof::Never {
            reason: format!("no generated value satisfies {what}"),
        },
        None => Proof::Sometimes {
            reason: format!("{what} is too large to be followed; values are tried instead"),
        },
    }
}

/// Whether some value matches, and whether some value does not. Exact; `None` when too large.
fn decide(layout: &Layout, pattern: &Pattern) -> Option<(bool, bool)> {
    let mut walk = pattern.walk()?;
    let mut reached: HashSet<Situation> = HashSet::from([(walk.start(), 0)]);
    let mut steps = 0_usize;
    for place in &layout.places {
        let mut next = HashSet::new();
        for (verdict, seen) in &reached {
            for choice in &place.choices {
                steps += choice.text.len();
                let verdict = walk.step(*verdict, choice.text.as_bytes())?;
                next.insert((verdict, seen | choice.class));
            }
        }
        if next.len() > SITUATIONS_MAX || steps > STEPS_MAX {
            return None;
        }
        reached = next;
    }
    let (mut some_match, mut some_fail) = (false, false);
    for (verdict, seen) in reached {
        if seen == layout.classes {
            let matches = walk.ends_in_match(verdict)?;
            some_match |= matches;
            some_fail |= !matches;
        }
    }
    Some((some_match, some_fail))
}
