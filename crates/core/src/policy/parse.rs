//! From the tree of a policy's text to its rules.

use std::fmt;

use crate::lease;
use crate::policy::POLICY_BYTES_MAX;
use crate::policy::POLICY_RULES_MAX;
use crate::policy::capability::Capability;
use crate::policy::capability::CapabilitySet;
use crate::policy::hcl;
use crate::policy::hcl::Document;
use crate::policy::hcl::Item;
use crate::policy::hcl::Key;
use crate::policy::hcl::Node;
use crate::policy::hcl::Place;
use crate::policy::hcl::Syntax;
use crate::policy::hcl::Value;
use crate::policy::name::PolicyName;
use crate::policy::params::Fields;
use crate::policy::params::ParamRules;
use crate::policy::params::Wanted;
use crate::policy::pattern::Pattern;
use crate::time::Span;

/// A policy: its name and its rules.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(super) name: PolicyName,
    pub(super) rules: Vec<Rule>,
    inert_paths: Vec<String>,
}

/// One `path` block.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) pattern: Pattern,
    pub(super) grant: Grant,
}

/// What a rule says about the paths that it matches.
#[derive(Clone, Debug, Default)]
pub(super) struct Grant {
    pub(super) capabilities: CapabilitySet,
    pub(super) params: ParamRules,
    pub(super) min_wrapping_ttl: Option<Span>,
    pub(super) max_wrapping_ttl: Option<Span>,
}

impl Policy {
    /// Reads the text of a policy.
    ///
    /// # Errors
    /// When the text is too long, malformed, or says something that would not be enforced; and
    /// for the name `root`, which has no text.
    pub fn parse(name: &PolicyName, text: &str) -> Result<Self, ParsePolicyError> {
        let start = Place { line: 1, column: 1 };
        if name.is_root() {
            let name = name.clone();
            return Err(ParsePolicyError::new(start, PolicyProblem::Fixed { name }));
        }
        if text.len() > POLICY_BYTES_MAX {
            return Err(ParsePolicyError::new(start, PolicyProblem::TooLong));
        }
        let document = hcl::read(text).map_err(|error| {
            let expected = error.expected;
            ParsePolicyError::new(error.place, PolicyProblem::Syntax { expected })
        })?;
        let mut policy = Self {
            name: name.clone(),
            rules: Vec::new(),
            inert_paths: Vec::new(),
        };
        policy.read_document(document)?;
        Ok(policy)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &PolicyName {
        &self.name
    }

    /// Paths with a template: they match nothing, which whoever writes them may be told.
    #[must_use]
    pub fn inert_paths(&self) -> &[String] {
        &self.inert_paths
    }

    fn read_document(&mut self, document: Document) -> Result<(), ParsePolicyError> {
        for item in document.items {
            let Item { mut keys, value } = item;
            let key = keys.remove(0);
            match key.text.as_str() {
                "path" => self.read_paths(document.syntax, &key, keys, value)?,
                // The name in the request counts.
                "name" if keys.is_empty() => {}
                _ => {
                    let problem = PolicyProblem::UnknownKey {
                        key: shown(&key.text),
                    };
                    return Err(ParsePolicyError::new(key.place, problem));
                }
            }
        }
        Ok(())
    }

    /// `path "a" { … }`; in JSON `"path": { "a": { … } }`, or a list of such objects.
    fn read_paths(
        &mut self,
        syntax: Syntax,
        key: &Key,
        mut labels: Vec<Key>,
        value: Value,
    ) -> Result<(), ParsePolicyError> {
        match (syntax, value.node) {
            (Syntax::Hcl, Node::Object(items)) if labels.len() == 1 => {
                self.read_rule(&labels.remove(0), items)
            }
            (Syntax::Json, Node::Object(items)) => {
                for Item { mut keys, value } in items {
                    let label = keys.remove(0);
                    let Node::Object(items) = value.node else {
                        return Err(not_a(value.place, "an object"));
                    };
                    self.read_rule(&label, items)?;
                }
                Ok(())
            }
            (Syntax::Json, Node::List(values)) => {
                for value in values {
                    if !matches!(value.node, Node::Object(_)) {
                        return Err(not_a(value.place, "an object"));
                    }
                    self.read_paths(syntax, key, Vec::new(), value)?;
                }
                Ok(())
            }
            _ => Err(not_a(key.place, "`path \"the/path\" { … }`, with one path")),
        }
    }

    fn read_rule(&mut self, path: &Key, items: Vec<Item>) -> Result<(), ParsePolicyError> {
        let fail = |problem| Err(ParsePolicyError::new(path.place, problem));
        if self.rules.len() >= POLICY_RULES_MAX {
            return fail(PolicyProblem::TooManyRules);
        }
        let Some(pattern) = Pattern::parse(&path.text) else {
            return fail(PolicyProblem::Wildcards);
        };
        let grant = read_grant(path.place, items)?;
        match (path.text.contains("{{"), path.text.contains("}}")) {
            (false, false) => self.rules.push(Rule { pattern, grant }),
            (true, true) if !grant.capabilities.is_denied() => {
                self.inert_paths.push(shown(&path.text));
            }
            (true, true) => return fail(PolicyProblem::TemplatedDeny),
            _ => return fail(PolicyProblem::Template),
        }
        Ok(())
    }
}

fn read_grant(path: Place, items: Vec<Item>) -> Result<Grant, ParsePolicyError> {
    let mut grant = Grant::default();
    let mut seen: Vec<String> = Vec::new();
    for Item { mut keys, value } in items {
        let key = keys.remove(0);
        if !keys.is_empty() {
            return Err(not_a(key.place, "one name and a value"));
        }
        match key.text.as_str() {
            "comment" => {}
            "policy" => add_old_words(&mut grant.capabilities, &value)?,
            "capabilities" => add_words(&mut grant.capabilities, value)?,
            "allowed_parameters" => grant.params.allowed = read_fields(value)?,
            "denied_parameters" => grant.params.denied = read_fields(value)?,
            "required_parameters" => grant.params.required = read_names(value)?,
            "min_wrapping_ttl" => grant.min_wrapping_ttl = read_ttl(&value)?,
            "max_wrapping_ttl" => grant.max_wrapping_ttl = read_ttl(&value)?,
            name => {
                let key_text = shown(name);
                let problem = if NOT_ENFORCED.contains(&name) {
                    PolicyProblem::NotEnforced { key: key_text }
                } else {
                    PolicyProblem::UnknownKey { key: key_text }
                };
                return Err(ParsePolicyError::new(key.place, problem));
            }
        }
        if seen.contains(&key.text) {
            let problem = PolicyProblem::Twice {
                key: shown(&key.text),
            };
            return Err(ParsePolicyError::new(key.place, problem));
        }
        seen.push(key.text);
    }
    match (grant.min_wrapping_ttl, grant.max_wrapping_ttl) {
        (Some(min), Some(max)) if max < min => {
            Err(ParsePolicyError::new(path, PolicyProblem::WrappingTtls))
        }
        _ => Ok(grant),
    }
}

/// What OpenBao knows and nothing here would enforce: better refused than believed.
const NOT_ENFORCED: [&str; 5] = [
    "control_group",
    "expiration",
    "list_scan_response_keys_filter_path",
    "mfa_methods",
    "pagination_limit",
];

fn add_words(set: &mut CapabilitySet, value: Value) -> Result<(), ParsePolicyError> {
    for (place, word) in read_texts(value)? {
        let Some(capability) = Capability::from_word(&word) else {
            let problem = PolicyProblem::UnknownCapability { word: shown(&word) };
            return Err(ParsePolicyError::new(place, problem));
        };
        set.add(capability);
    }
    Ok(())
}

/// `policy = "write"`, the way before there were capabilities.
fn add_old_words(set: &mut CapabilitySet, value: &Value) -> Result<(), ParsePolicyError> {
    use Capability::Create;
    use Capability::Delete;
    use Capability::Deny;
    use Capability::List;
    use Capability::Read;
    use Capability::Sudo;
    use Capability::Update;
    let Node::Text(word) = &value.node else {
        return Err(not_a(value.place, "a string"));
    };
    let capabilities: &[Capability] = match word.as_str() {
        "deny" => &[Deny],
        "read" => &[Read, List],
        "write" => &[Create, Read, Update, Delete, List],
        "sudo" => &[Create, Read, Update, Delete, List, Sudo],
        _ => {
            let problem = PolicyProblem::UnknownOldPolicy { word: shown(word) };
            return Err(ParsePolicyError::new(value.place, problem));
        }
    };
    for &capability in capabilities {
        set.add(capability);
    }
    Ok(())
}

fn read_fields(value: Value) -> Result<Fields, ParsePolicyError> {
    let Node::Object(items) = value.node else {
        return Err(not_a(value.place, "an object of lists"));
    };
    let mut fields = Fields::new();
    for Item { mut keys, value } in items {
        let key = keys.remove(0);
        let Node::List(values) = value.node else {
            return Err(not_a(value.place, "a list"));
        };
        let wanted = values
            .into_iter()
            .map(read_wanted)
            .collect::<Result<_, _>>()?;
        let name = key.text.to_lowercase().into();
        if !keys.is_empty() || fields.insert(name, wanted).is_some() {
            let problem = PolicyProblem::Twice {
                key: shown(&key.text),
            };
            return Err(ParsePolicyError::new(key.place, problem));
        }
    }
    Ok(fields)
}

fn read_wanted(value: Value) -> Result<Wanted, ParsePolicyError> {
    match value.node {
        Node::Null => Ok(Wanted::Null),
        Node::Bool(is_true) => Ok(Wanted::Bool(is_true)),
        Node::Number(text) => Ok(Wanted::Number(text.into())),
        Node::Text(text) => Ok(Wanted::Text(text.into())),
        Node::List(_) | Node::Object(_) => Err(not_a(
            value.place,
            "a string, a number, true, false or null",
        )),
    }
}

fn read_names(value: Value) -> Result<Vec<Box<str>>, ParsePolicyError> {
    let texts = read_texts(value)?.into_iter();
    Ok(texts.map(|(_, text)| text.to_lowercase().into()).collect())
}

fn read_texts(value: Value) -> Result<Vec<(Place, String)>, ParsePolicyError> {
    let Node::List(values) = value.node else {
        return Err(not_a(value.place, "a list of strings"));
    };
    let texts = values.into_iter().map(|value| match value.node {
        Node::Text(text) => Ok((value.place, text)),
        _ => Err(not_a(value.place, "a string")),
    });
    texts.collect()
}

/// No time at all stands for none.
fn read_ttl(value: &Value) -> Result<Option<Span>, ParsePolicyError> {
    let (Node::Text(text) | Node::Number(text)) = &value.node else {
        return Err(not_a(value.place, "a time such as \"1h\" or 3600"));
    };
    let span = lease::parse_duration(text)
        .map_err(|_| not_a(value.place, "a time such as \"1h\" or 3600"))?;
    Ok(Some(span).filter(|span| span.as_seconds() > 0))
}

fn not_a(place: Place, expected: &'static str) -> ParsePolicyError {
    ParsePolicyError::new(place, PolicyProblem::Syntax { expected })
}

/// At most 64 characters of a word, without control characters, for a message.
fn shown(word: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    word.chars().take(64).map(clean).collect()
}

/// Why a text is no policy, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsePolicyError {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// What is wrong there.
    pub problem: PolicyProblem,
}

impl ParsePolicyError {
    fn new(place: Place, problem: PolicyProblem) -> Self {
        let Place { line, column } = place;
        Self {
            line,
            column,
            problem,
        }
    }
}

impl fmt::Display for ParsePolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            problem,
        } = self;
        write!(f, "line {line}, column {column}: {problem}")
    }
}

impl std::error::Error for ParsePolicyError {}

/// What is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyProblem {
    /// Not the grammar, or not the type that is asked for there.
    #[error("expected {expected}")]
    Syntax {
        /// What should stand there.
        expected: &'static str,
    },
    /// A key that means nothing there.
    #[error("invalid key \"{key}\"")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A key that OpenBao knows and that would not be enforced.
    #[error("\"{key}\" is not supported; a policy that asks for it is refused")]
    NotEnforced {
        /// The key.
        key: String,
    },
    /// A key twice in one rule.
    #[error("\"{key}\" is given twice")]
    Twice {
        /// The key.
        key: String,
    },
    /// A word that is no capability.
    #[error(
        "invalid capability \"{word}\" (known: create, read, update, patch, delete, list, scan, \
         sudo, deny)"
    )]
    UnknownCapability {
        /// The word.
        word: String,
    },
    /// A word that `policy = ` does not know.
    #[error("invalid policy \"{word}\" (known: read, write, sudo, deny)")]
    UnknownOldPolicy {
        /// The word.
        word: String,
    },
    /// `+*` in a path.
    #[error("invalid use of wildcards ('+*' is forbidden)")]
    Wildcards,
    /// `{{` without `}}` or the reverse.
    #[error("unbalanced templating characters")]
    Template,
    /// A templated rule that denies.
    #[error("a templated path matches nothing here, so it cannot deny")]
    TemplatedDeny,
    /// A maximum below the minimum.
    #[error("max_wrapping_ttl cannot be less than min_wrapping_ttl")]
    WrappingTtls,
    /// Over the limit of bytes.
    #[error("the policy is longer than {POLICY_BYTES_MAX} bytes")]
    TooLong,
    /// Over the limit of rules.
    #[error("the policy has more than {POLICY_RULES_MAX} rules")]
    TooManyRules,
    /// A policy that cannot be written.
    #[error("cannot update \"{name}\" policy")]
    Fixed {
        /// Its name.
        name: PolicyName,
    },
}
