//! Many policies, compiled for deciding.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::policy::capability::Capabilities;
use crate::policy::capability::Capability;
use crate::policy::capability::CapabilitySet;
use crate::policy::name::PolicyName;
use crate::policy::params::ParamValue;
use crate::policy::parse::Grant;
use crate::policy::parse::Policy;
use crate::policy::path::RequestPath;
use crate::policy::pattern::Kind;
use crate::policy::pattern::Pattern;
use crate::time::Span;

/// The policies of a token, put together.
///
/// Exact paths lie in a hash map, all others in a tree of segments, so that the time of a decision
/// hardly depends on the number of rules. Of the patterns that match, the one wins whose first
/// wildcard stands furthest right; then one that reaches to the end of the path over one with `*`;
/// then the one with fewer `+`; then the longer one.
#[derive(Debug, Default)]
pub struct PolicySet {
    is_root: bool,
    rules: Vec<Compiled>,
    exact: HashMap<Box<str>, RuleId>,
    /// The first is the top of the tree.
    nodes: Vec<Node>,
}

/// All rules for one pattern.
#[derive(Debug)]
struct Compiled {
    pattern: Pattern,
    grant: Grant,
    policies: Vec<PolicyName>,
    /// The greater, the more specific.
    rank: u32,
}

type RuleId = u32;
type NodeId = u32;

/// A segment of the tree.
#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<str>, NodeId>,
    any_child: Option<NodeId>,
    /// A pattern that ends with this segment.
    end: Option<RuleId>,
    /// Patterns whose last segment goes on with `*`: by the beginning of that segment.
    prefixes: HashMap<Box<str>, RuleId>,
    /// The lengths of those beginnings, longest first.
    prefix_lengths: Vec<usize>,
}

/// A request, as far as policies look at it.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// Where.
    pub path: &'a RequestPath,
    /// What.
    pub capability: Capability,
    /// The fields at the top of the body (or of the query).
    pub params: &'a [(&'a str, ParamValue<'a>)],
    /// The TTL that response wrapping is asked with.
    pub wrap_ttl: Option<Span>,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The request may go on.
    pub is_allowed: bool,
    /// The deciding rule has `sudo`. A path that is kept for administrators needs both.
    pub has_sudo: bool,
}

/// The rule that decided.
#[derive(Clone, Copy, Debug)]
pub struct Why<'a> {
    /// Its path, as written.
    pub pattern: &'a str,
    /// The policies that have a rule for this path.
    pub policies: &'a [PolicyName],
    /// What they allow together.
    pub capabilities: CapabilitySet,
}

impl PolicySet {
    /// The set of the root policy: everything is allowed.
    #[must_use]
    pub fn root() -> Self {
        Self {
            is_root: true,
            ..Self::default()
        }
    }

    /// Puts policies together. No policies allow nothing.
    #[must_use]
    pub fn compile<'a>(policies: impl IntoIterator<Item = &'a Policy>) -> Self {
        let mut set = Self::default();
        let mut known: HashMap<Box<str>, RuleId> = HashMap::new();
        for policy in policies {
            for rule in &policy.rules {
                match known.entry(rule.pattern.as_str().into()) {
                    Entry::Occupied(known) => {
                        if let Some(compiled) = set.rules.get_mut(*known.get() as usize) {
                            compiled.merge(&rule.grant, &policy.name);
                        }
                    }
                    Entry::Vacant(unknown) => {
                        unknown.insert(next_id(set.rules.len()));
                        set.rules.push(Compiled {
                            pattern: rule.pattern.clone(),
                            grant: rule.grant.clone(),
                            policies: vec![policy.name.clone()],
                            rank: 0,
                        });
                    }
                }
            }
        }
        set.rank();
        set.build();
        set
    }

    /// True for the set of the root policy.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.is_root
    }

    /// Decides on a request.
    #[must_use]
    pub fn decide(&self, access: &Access<'_>) -> Decision {
        if self.is_root {
            return Decision {
                is_allowed: true,
                has_sudo: true,
            };
        }
        match self.rule(access.path.as_str(), access.capability) {
            Some(rule) => Decision {
                is_allowed: rule.grant.allows(access),
                has_sudo: rule.grant.capabilities.has(Capability::Sudo),
            },
            None => Decision {
                is_allowed: false,
                has_sudo: false,
            },
        }
    }

    /// What may be done at a path, the fields of the request aside.
    #[must_use]
    pub fn capabilities(&self, path: &RequestPath) -> Capabilities {
        if self.is_root {
            return Capabilities::Root;
        }
        // As Vault does: looked up as LIST would be.
        let rule = self.rule(path.as_str(), Capability::List);
        Capabilities::Some(rule.map_or_else(CapabilitySet::default, |rule| rule.grant.capabilities))
    }

    /// Which rule decides on a request; `None` when none matches, and for the root policy.
    #[must_use]
    pub fn why(&self, path: &RequestPath, capability: Capability) -> Option<Why<'_>> {
        self.rule(path.as_str(), capability).map(|rule| Why {
            pattern: rule.pattern.as_str(),
            policies: &rule.policies,
            capabilities: rule.grant.capabilities,
        })
    }

    /// All rules, in no order; the root policy has none.
    pub fn rules(&self) -> impl Iterator<Item = Why<'_>> {
        self.rules.iter().map(|rule| Why {
            pattern: rule.pattern.as_str(),
            policies: &rule.policies,
            capabilities: rule.grant.capabilities,
        })
    }

    /// True if anything at all might be allowed below a mount (a path that ends in `/`): whoever
    /// has that may know that the mount is there.
    #[must_use]
    pub fn may_use_below(&self, mount: &str) -> bool {
        self.is_root
            || self.rules.iter().any(|rule| {
                !rule.grant.capabilities.is_nothing() && rule.pattern.may_match_below(mount)
            })
    }

    fn rule(&self, path: &str, capability: Capability) -> Option<&Compiled> {
        let without_slash = path.strip_suffix('/').filter(|_| capability.is_listing());
        let id = self.exact.get(path).copied();
        let id = id.or_else(|| self.exact.get(without_slash?).copied());
        let id = id.or_else(|| self.most_specific(path));
        let id = id.or_else(|| self.most_specific(without_slash?));
        self.rules.get(id? as usize)
    }

    /// Walks all branches of the tree that match; there is more than one only where both a
    /// segment and `+` are known.
    fn most_specific(&self, path: &str) -> Option<RuleId> {
        let mut best: Option<(u32, RuleId)> = None;
        let mut found = |id: RuleId| {
            if let Some(rule) = self.rules.get(id as usize) {
                best = best.max(Some((rule.rank, id)));
            }
        };
        let mut open = Vec::with_capacity(8);
        open.push((TOP, Some(path)));
        while let Some((node, rest)) = open.pop() {
            let Some(node) = self.nodes.get(node as usize) else {
                continue;
            };
            let Some(rest) = rest else {
                node.end.into_iter().for_each(&mut found);
                continue;
            };
            node.longest_prefix(rest).into_iter().for_each(&mut found);
            let (segment, rest) = match memchr::memchr(b'/', rest.as_bytes()) {
                Some(at) => (&rest[..at], rest.get(at + 1..)),
                None => (rest, None),
            };
            let child = node.children.get(segment).copied();
            open.extend(child.into_iter().chain(node.any_child).map(|id| (id, rest)));
        }
        best.map(|(_, id)| id)
    }

    /// Orders all rules by how specific they are, once.
    fn rank(&mut self) {
        let rules = self.rules.iter();
        let mut order: Vec<_> = rules
            .zip(0..)
            .map(|(rule, at)| (rule.pattern.specificity(), at))
            .collect();
        order.sort_unstable();
        let order: Vec<usize> = order.into_iter().map(|(_, at)| at).collect();
        for (rank, at) in (0..).zip(order) {
            if let Some(rule) = self.rules.get_mut(at) {
                rule.rank = rank;
            }
        }
    }

    fn build(&mut self) {
        self.nodes.push(Node::default());
        for (id, rule) in (0..).zip(&self.rules) {
            let body = rule.pattern.body();
            match rule.pattern.kind() {
                Kind::Exact => {
                    self.exact.insert(body.into(), id);
                }
                Kind::Segments => {
                    let node = descend(&mut self.nodes, body);
                    if let Some(node) = self.nodes.get_mut(node as usize) {
                        node.end = Some(id);
                    }
                }
                Kind::Prefix => {
                    let (parent, start) = match body.rsplit_once('/') {
                        Some((folder, start)) => (descend(&mut self.nodes, folder), start),
                        None => (TOP, body),
                    };
                    if let Some(node) = self.nodes.get_mut(parent as usize) {
                        node.add_prefix(start, id);
                    }
                }
            }
        }
    }
}

/// The node of a path, made where it is missing.
fn descend(nodes: &mut Vec<Node>, path: &str) -> NodeId {
    let mut at = TOP;
    for segment in path.split('/') {
        let new = next_id(nodes.len());
        let Some(node) = nodes.get_mut(at as usize) else {
            return at;
        };
        let child = if segment == "+" {
            *node.any_child.get_or_insert(new)
        } else {
            *node.children.entry(segment.into()).or_insert(new)
        };
        if child == new {
            nodes.push(Node::default());
        }
        at = child;
    }
    at
}

/// Rules and nodes are fewer than the bytes of all policies, which memory bounds far below 2^32.
fn next_id(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

const TOP: NodeId = 0;

impl Node {
    fn add_prefix(&mut self, start: &str, rule: RuleId) {
        self.prefixes.insert(start.into(), rule);
        let length = start.len();
        let at = self.prefix_lengths.partition_point(|&known| known > length);
        if self.prefix_lengths.get(at) != Some(&length) {
            self.prefix_lengths.insert(at, length);
        }
    }

    fn longest_prefix(&self, rest: &str) -> Option<RuleId> {
        let mut lengths = self.prefix_lengths.iter();
        lengths.find_map(|&length| self.prefixes.get(rest.get(..length)?).copied())
    }
}

impl Compiled {
    fn merge(&mut self, grant: &Grant, policy: &PolicyName) {
        if self.policies.last() != Some(policy) {
            self.policies.push(policy.clone());
        }
        let own = &mut self.grant;
        own.capabilities.add_all(grant.capabilities);
        own.params.merge(&grant.params);
        own.min_wrapping_ttl = least(own.min_wrapping_ttl, grant.min_wrapping_ttl);
        own.max_wrapping_ttl = least(own.max_wrapping_ttl, grant.max_wrapping_ttl);
    }
}

fn least(one: Option<Span>, other: Option<Span>) -> Option<Span> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Grant {
    fn allows(&self, access: &Access<'_>) -> bool {
        // `sudo` adds to another capability and `deny` allows nothing.
        let can_ask = !matches!(access.capability, Capability::Sudo | Capability::Deny);
        if !can_ask || !self.capabilities.has(access.capability) {
            return false;
        }
        let wrap = access.wrap_ttl;
        let over_minimum = |min| wrap.is_some_and(|ttl| ttl >= min);
        let under_maximum = |max| wrap.is_some_and(|ttl| ttl <= max);
        if !self.min_wrapping_ttl.is_none_or(over_minimum)
            || !self.max_wrapping_ttl.is_none_or(under_maximum)
        {
            return false;
        }
        let has_fields = matches!(
            access.capability,
            Capability::Create | Capability::Read | Capability::Update | Capability::Patch
        );
        !has_fields || self.params.allow(access.params)
    }
}
