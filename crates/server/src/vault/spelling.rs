//! Other ways to write a path that mean the same: what a policy says of one holds for the others.

use strongroom_core::policy::Access;
use strongroom_core::policy::Capability;
use strongroom_core::policy::RequestPath;
use strongroom_core::time::Span;
use strongroom_engine::mounts::Engines;

use super::call::Call;
use super::call::Verb;
use crate::access::Acl;

/// How else the paths of a route may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// With and without a `/` at the end.
    Slash,
    /// In upper and lower case, and with spaces round names.
    Case,
}

impl Spelling {
    pub(crate) fn of(engine: Engines, pattern: &str) -> Option<Self> {
        let begins = |heads: &[&str]| heads.iter().any(|head| pattern.starts_with(head));
        match engine {
            Engines::System if pattern.ends_with('*') => Some(Self::Slash),
            Engines::System => begins(&["policy/", "policies/acl/"]).then_some(Self::Case),
            Engines::Userpass => begins(&["users/"]).then_some(Self::Case),
            Engines::AppRole => begins(&["role/"]).then_some(Self::Case),
            Engines::Kv1
            | Engines::Kv2
            | Engines::Cubbyhole
            | Engines::Token
            | Engines::Database => None,
        }
    }
}

/// Whether a call is refused by what policies say of its path in another spelling.
pub(crate) fn is_refused(call: &Call, acl: &Acl, needs_sudo: bool) -> bool {
    let is_listing = matches!(call.verb, Verb::List | Verb::Scan);
    let (Some(spelling), false) = (call.spelling, is_listing) else {
        return false;
    };
    let Some(other) = other(call, spelling) else {
        return false;
    };
    let capability = call.verb.capability();
    let Some(why) = acl.why(&other, capability) else {
        return false;
    };
    let own = acl.why(&call.path, capability);
    if own.is_some_and(|own| own.pattern == why.pattern) {
        return false;
    }
    let is_canonical = match spelling {
        // A rule that ends with `*` is about this spelling too, and was weighed.
        Spelling::Slash if why.pattern.ends_with('*') => return false,
        // Names are given without the slash: only a refusal counts of what is said with it.
        Spelling::Slash => call.path.as_str().ends_with('/'),
        Spelling::Case => true,
    };
    why.capabilities.is_denied() || is_canonical && !may(call, acl, &other, needs_sudo)
}

fn other(call: &Call, spelling: Spelling) -> Option<RequestPath> {
    let path = call.path.as_str();
    let other = match spelling {
        Spelling::Slash => match path.strip_suffix('/') {
            Some(without) => without.to_owned(),
            None => format!("{path}/"),
        },
        Spelling::Case => {
            let (mount, below) = path.split_at(call.live.path.len());
            let names = below.split('/').map(|name| name.trim().to_lowercase());
            let other = format!("{mount}{}", names.collect::<Vec<_>>().join("/"));
            if other == path {
                return None;
            }
            other
        }
    };
    other.parse().ok()
}

fn may(call: &Call, acl: &Acl, path: &RequestPath, needs_sudo: bool) -> bool {
    let params = super::dispatch::params_of(&call.fields);
    let decide = |capability| {
        acl.decide(&Access {
            path,
            capability,
            params: &params,
            wrap_ttl: call.wrap_ttl.map(Span::from_seconds),
        })
    };
    let decided = decide(call.verb.capability());
    // Which of the two a write is has been looked at in the spelling that was asked for.
    let may_make = call.verb == Verb::Write && decide(Capability::Create).is_allowed;
    (decided.is_allowed || may_make) && (!needs_sudo || decided.has_sudo)
}
