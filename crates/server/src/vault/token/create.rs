//! Making tokens.

use strongroom_core::lease::Lease;
use strongroom_core::lease::Terms;
use strongroom_core::time::Span;
use strongroom_engine::tokens::DEFAULT;
use strongroom_engine::tokens::NewToken;
use strongroom_engine::tokens::PREFIX_BATCH;
use strongroom_engine::tokens::ROOT;
use strongroom_engine::tokens::TokenKind;
use strongroom_engine::tokens::TokenRole;

use crate::users::USER;
use crate::users::user_of;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::login;
use crate::vault::reply::Answer;

/// Most uses that can be asked for.
const NAME_BYTES_MAX: usize = 256;

pub(super) async fn create(call: &mut Call) -> Result<Answer, Fault> {
    let is_orphan = field::flag(&call.fields, "no_parent")?.unwrap_or(false);
    if is_orphan && !call.has_sudo() {
        return Err(Fault::invalid(
            "root or sudo privileges required to create orphan token",
        ));
    }
    make(call, is_orphan, None).await
}

pub(super) async fn create_orphan(call: &mut Call) -> Result<Answer, Fault> {
    make(call, true, None).await
}

pub(super) async fn create_by_role(call: &mut Call) -> Result<Answer, Fault> {
    let name = call.capture(0).to_owned();
    let Some(role) = call.core.state.load::<TokenRole>(&name).await? else {
        return Err(Fault::Invalid(format!("unknown role {name}")));
    };
    let role = role.value;
    // Whether its tokens have a parent is for the role to say, not for the request.
    make(call, role.is_orphan, Some((&name, &role))).await
}

async fn make(
    call: &Call,
    is_orphan: bool,
    role: Option<(&str, &TokenRole)>,
) -> Result<Answer, Fault> {
    let fields = &call.fields;
    let caller = call.caller()?;
    if caller.token.kind == TokenKind::Batch {
        return Err(Fault::invalid("batch tokens cannot create more tokens"));
    }
    if caller.token.num_uses != 0 {
        return Err(Fault::invalid(
            "restricted use token cannot generate child tokens",
        ));
    }
    let has_sudo = call.has_sudo();
    let policies = policies_of(call, role.map(|(_, role)| role), has_sudo)?;
    let kind = kind_of(call, role.map(|(_, role)| role))?;
    let chosen = chosen_id(call)?;
    let mut terms = Terms {
        ttl: Span::from_seconds(asked_ttl(call)?),
        max_ttl: Span::from_seconds(0),
        explicit_max_ttl: Span::from_seconds(
            field::seconds(fields, "explicit_max_ttl")?.unwrap_or(0),
        ),
        period: Span::from_seconds(field::seconds(fields, "period")?.unwrap_or(0)),
    };
    if terms.period.as_seconds() > 0 && !has_sudo {
        return Err(Fault::invalid(
            "root or sudo privileges required to create periodic token",
        ));
    }
    let mut is_renewable = field::flag(fields, "renewable")?.unwrap_or(true);
    let mut path = call.path.as_str().to_owned();
    let mut bound_cidrs = Vec::new();
    let mut num_uses = field::integer(fields, "num_uses")?.unwrap_or(0);
    if num_uses < 0 {
        return Err(Fault::invalid("number of uses cannot be negative"));
    }
    if let Some((_, role)) = role {
        if role.period > 0 {
            terms.period = Span::from_seconds(role.period);
        }
        terms.explicit_max_ttl = shorter(terms.explicit_max_ttl, role.explicit_max_ttl);
        is_renewable &= role.is_renewable;
        bound_cidrs.clone_from(&role.bound_cidrs);
        if role.num_uses > 0 {
            num_uses = match num_uses {
                0 => role.num_uses,
                asked => asked.min(role.num_uses),
            };
        }
        if !role.path_suffix.is_empty() {
            path = format!("{path}/{}", role.path_suffix);
        }
    }
    if kind == TokenKind::Batch && num_uses > 0 {
        return Err(Fault::invalid(
            "batch tokens cannot have a limited number of uses",
        ));
    }
    let mut warnings = login::missing_policies(call, &policies);
    let is_root = policies.iter().any(|name| name == ROOT);
    let ttl = lifetime(
        call,
        terms,
        is_root && kind == TokenKind::Service,
        &mut warnings,
    )?;
    let mut new = NewToken::orphan(policies, &path, call.live.mount.uuid);
    new.kind = kind;
    new.plain = chosen;
    if !is_orphan {
        let found = call
            .core
            .state
            .token(caller.id)
            .await?
            .ok_or(Fault::NoToken)?;
        new.parent = Some((caller.id, found.revision));
    }
    new.display_name = display_name(call)?;
    new.meta = field::text_map(fields, "meta")?.or(field::text_map(fields, "metadata")?);
    // Whoever is a user makes tokens for that user only.
    if let Some(user) = call.caller.as_ref().and_then(|it| user_of(&it.token)) {
        let meta = new.meta.get_or_insert_default();
        meta.insert(USER.to_owned(), user.to_owned());
    }
    new.num_uses = num_uses;
    new.role = role.map_or_else(String::new, |(name, _)| name.to_owned());
    new.bound_cidrs = bound_cidrs;
    new.is_renewable = is_renewable && kind == TokenKind::Service;
    new.ttl = ttl;
    new.explicit_max_ttl = terms.explicit_max_ttl.as_seconds();
    new.period = terms.period.as_seconds();
    let issued = match call.core.state.issue(new, call.now, Vec::new()).await {
        Err(strongroom_engine::Error::AlreadyExists { .. }) => {
            return Err(Fault::invalid("cannot create a token with a duplicate ID"));
        }
        issued => issued?,
    };
    Ok(Answer::auth(login::auth_of(issued), warnings))
}

/// Lifetime in seconds; 0 for no end, which only tokens that may do everything can have.
fn lifetime(
    call: &Call,
    terms: Terms,
    may_be_endless: bool,
    warnings: &mut Vec<String>,
) -> Result<i64, Fault> {
    let has_wish = terms.ttl.as_seconds() > 0
        || terms.period.as_seconds() > 0
        || terms.explicit_max_ttl.as_seconds() > 0;
    if may_be_endless && !has_wish {
        return match call.caller()?.token.expires {
            Some(_) => Err(Fault::invalid(
                "expiring root tokens cannot create non-expiring root tokens",
            )),
            None => Ok(0),
        };
    }
    let (lease, capped) = Lease::issue(login::limits_of(&call.live), terms, call.now);
    warnings.extend(capped.iter().map(ToString::to_string));
    Ok(lease.duration().as_seconds())
}

fn shorter(asked: Span, of_role: i64) -> Span {
    match (asked.as_seconds(), of_role) {
        (asked, 0) => Span::from_seconds(asked),
        (0, role) => Span::from_seconds(role),
        (asked, role) => Span::from_seconds(asked.min(role)),
    }
}

fn asked_ttl(call: &Call) -> Result<i64, Fault> {
    match field::seconds(&call.fields, "ttl")? {
        Some(seconds) => Ok(seconds),
        // The name it had once.
        None => Ok(field::seconds(&call.fields, "lease")?.unwrap_or(0)),
    }
}

fn display_name(call: &Call) -> Result<String, Fault> {
    let name = field::text(&call.fields, "display_name")?.unwrap_or_default();
    if name.len() > NAME_BYTES_MAX {
        return Err(Fault::invalid("the display name is too long"));
    }
    let name: String = name
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    let name = name.trim_end_matches('-');
    Ok(match name {
        "" => "token".into(),
        name => format!("token-{name}"),
    })
}

/// Only whoever may do everything chooses a token's text.
fn chosen_id(call: &Call) -> Result<Option<strongroom_core::secret::SecretValue>, Fault> {
    let Some(id) = field::secret(&call.fields, "id")?.filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    if !call.caller()?.token.is_root() {
        return Err(Fault::invalid("root required to specify token id"));
    }
    // EXPOSE: looked at for its form only.
    let text = id.expose_secret_text().unwrap_or_default();
    let is_good = text.len() <= NAME_BYTES_MAX
        && text.chars().all(|c| c.is_ascii_graphic())
        && !text.starts_with(PREFIX_BATCH)
        && !text.contains('.');
    if is_good {
        Ok(Some(id))
    } else {
        Err(Fault::invalid(
            "a chosen token is up to 256 printable characters without a dot",
        ))
    }
}

fn kind_of(call: &Call, role: Option<&TokenRole>) -> Result<TokenKind, Fault> {
    let asked = field::text(&call.fields, "type")?.unwrap_or_default();
    let own = match asked.as_str() {
        "" => None,
        "service" => Some(TokenKind::Service),
        "batch" => Some(TokenKind::Batch),
        _ => return Err(Fault::invalid("invalid 'token_type' value")),
    };
    Ok(match role.map(|role| role.token_type.as_str()) {
        Some("service") => TokenKind::Service,
        Some("batch") => TokenKind::Batch,
        Some("default-batch") => own.unwrap_or(TokenKind::Batch),
        _ => own.unwrap_or(TokenKind::Service),
    })
}

fn policies_of(
    call: &Call,
    role: Option<&TokenRole>,
    has_sudo: bool,
) -> Result<Vec<String>, Fault> {
    let caller = &call.caller()?.token;
    let asked = field::texts(&call.fields, "policies")?.unwrap_or_default();
    let asked = login::normal_policies(asked)?;
    let no_default = field::flag(&call.fields, "no_default_policy")?.unwrap_or(false);
    let mut policies = match role {
        Some(role) => of_role(role, caller, asked)?,
        None if asked.is_empty() => caller.policies.clone(),
        None => {
            let may_have = |name: &String| caller.policies.contains(name) || name == DEFAULT;
            if asked.iter().any(|name| name == ROOT) && !caller.is_root() {
                return Err(Fault::invalid(
                    "root tokens may not be created without parent token being root",
                ));
            }
            if !has_sudo && !asked.iter().all(may_have) {
                return Err(Fault::invalid("child policies must be subset of parent"));
            }
            asked
        }
    };
    let without = no_default || role.is_some_and(|role| role.no_default_policy);
    let is_root = policies.iter().any(|name| name == ROOT);
    // A child of a token without the default policy does not get it by asking for nothing.
    let inherits = call.fields.get("policies").is_none() && role.is_none();
    if is_root {
        policies = vec![ROOT.into()];
    } else if without {
        policies.retain(|name| name != DEFAULT);
    } else if !inherits || caller.policies.iter().any(|name| name == DEFAULT) {
        policies.push(DEFAULT.into());
    }
    policies.sort_unstable();
    policies.dedup();
    if policies.is_empty() {
        return Err(Fault::invalid("token must have at least one policy"));
    }
    Ok(policies)
}

/// The policies a role lets a token have.
fn of_role(
    role: &TokenRole,
    caller: &strongroom_engine::tokens::Token,
    asked: Vec<String>,
) -> Result<Vec<String>, Fault> {
    let has_allowed = !role.allowed_policies.is_empty() || !role.allowed_policies_glob.is_empty();
    let has_disallowed =
        !role.disallowed_policies.is_empty() || !role.disallowed_policies_glob.is_empty();
    let fits = |patterns: &[String], name: &str| patterns.iter().any(|one| glob(one, name));
    let policies = match (has_allowed, asked.is_empty()) {
        (true, true) => role.allowed_policies.clone(),
        (true, false) => {
            let may = |name: &String| {
                name == DEFAULT
                    || role.allowed_policies.contains(name)
                    || fits(&role.allowed_policies_glob, name)
            };
            if let Some(name) = asked.iter().find(|name| !may(name)) {
                return Err(Fault::Invalid(format!(
                    "token policies ([\"{name}\"]) must be subset of the role's allowed policies \
                     ({:?}) or glob policies ({:?})",
                    role.allowed_policies, role.allowed_policies_glob
                )));
            }
            asked
        }
        (false, true) => caller.policies.clone(),
        (false, false) => {
            let may = |name: &String| {
                name == DEFAULT || caller.is_root() || caller.policies.contains(name)
            };
            // A role that only forbids lets its tokens have all the rest, but for root.
            if !has_disallowed && !asked.iter().all(may) {
                return Err(Fault::invalid("child policies must be subset of parent"));
            }
            asked
        }
    };
    if policies.iter().any(|name| name == ROOT) && !caller.is_root() {
        return Err(Fault::invalid(
            "root tokens may not be created without parent token being root",
        ));
    }
    for name in &policies {
        let is_forbidden =
            role.disallowed_policies.contains(name) || fits(&role.disallowed_policies_glob, name);
        if is_forbidden {
            return Err(Fault::Invalid(format!(
                "token policy \"{name}\" is disallowed by this role"
            )));
        }
    }
    Ok(policies)
}

/// A pattern with `*` for anything.
fn glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match() {
        for (pattern, name, fits) in [
            ("test-*", "test-a", true),
            ("test-*", "tes", false),
            ("*", "anything", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("plain", "plain", true),
            ("plain", "plainer", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(glob(pattern, name), fits, "{pattern} {name}");
        }
    }
}
