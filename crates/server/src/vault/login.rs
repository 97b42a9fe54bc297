//! What all ways to a token have in common: settings of roles and users, and the answer.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;
use strongroom_core::lease::Lease;
use strongroom_core::lease::Limits;
use strongroom_core::lease::Terms;
use strongroom_core::time::Span;
use strongroom_engine::tokens::DEFAULT;
use strongroom_engine::tokens::Issued;
use strongroom_engine::tokens::NewToken;
use strongroom_engine::tokens::ROOT;
use strongroom_engine::tokens::TokenKind;

use super::call::Call;
use super::error::Fault;
use super::field;
use super::reply::Answer;
use super::reply::Auth;
use crate::core::Live;

/// What the tokens of a role or user have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenSettings {
    pub(crate) policies: Vec<String>,
    pub(crate) ttl: i64,
    pub(crate) max_ttl: i64,
    pub(crate) explicit_max_ttl: i64,
    pub(crate) period: i64,
    pub(crate) num_uses: i64,
    pub(crate) bound_cidrs: Vec<String>,
    pub(crate) no_default_policy: bool,
    pub(crate) token_type: String,
    pub(crate) strictly_bind_ip: bool,
}

impl TokenSettings {
    /// Changes what a request names; older names without `token_` are taken as well.
    pub(crate) fn update(&mut self, call: &Call) -> Result<(), Fault> {
        let fields = &call.fields;
        let policies = field::texts(fields, "token_policies")?;
        let policies = match policies {
            Some(policies) => Some(policies),
            None => field::texts(fields, "policies")?,
        };
        if let Some(policies) = policies {
            self.policies = normal_policies(policies)?;
        }
        let seconds = |name: &str, older: &str| match field::seconds(fields, name)? {
            Some(seconds) => Ok(Some(seconds)),
            None if older.is_empty() => Ok(None),
            None => field::seconds(fields, older),
        };
        self.ttl = seconds("token_ttl", "ttl")?.unwrap_or(self.ttl);
        self.max_ttl = seconds("token_max_ttl", "max_ttl")?.unwrap_or(self.max_ttl);
        let explicit: Option<i64> = seconds("token_explicit_max_ttl", "")?;
        self.explicit_max_ttl = explicit.unwrap_or(self.explicit_max_ttl);
        self.period = seconds("token_period", "period")?.unwrap_or(self.period);
        if let Some(uses) = field::integer(fields, "token_num_uses")? {
            if uses < 0 {
                return Err(Fault::invalid("'token_num_uses' cannot be negative"));
            }
            self.num_uses = uses;
        }
        let cidrs = match field::texts(fields, "token_bound_cidrs")? {
            Some(cidrs) => Some(cidrs),
            None => field::texts(fields, "bound_cidrs")?,
        };
        if let Some(cidrs) = cidrs {
            self.bound_cidrs = normal_cidrs(&cidrs)?;
        }
        if let Some(no_default) = field::flag(fields, "token_no_default_policy")? {
            self.no_default_policy = no_default;
        }
        if let Some(strictly) = field::flag(fields, "token_strictly_bind_ip")? {
            self.strictly_bind_ip = strictly;
        }
        if let Some(kind) = field::text(fields, "token_type")? {
            self.token_type = checked_type(&kind)?.to_owned();
        }
        if self.max_ttl > 0 && self.ttl > self.max_ttl {
            return Err(Fault::invalid(
                "'token_ttl' cannot be greater than 'token_max_ttl'",
            ));
        }
        Ok(())
    }

    /// The policies of a token that is given now.
    pub(crate) fn granted_policies(&self) -> Vec<String> {
        let mut policies = self.policies.clone();
        policies.retain(|name| name != ROOT);
        if !self.no_default_policy {
            policies.push(DEFAULT.into());
        }
        policies.sort_unstable();
        policies.dedup();
        policies
    }

    /// The settings as clients read them.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        let kind = match self.token_type.as_str() {
            "" => "default",
            kind => kind,
        };
        let rows: [(&str, Value); 10] = [
            ("token_bound_cidrs", self.bound_cidrs.clone().into()),
            ("token_explicit_max_ttl", self.explicit_max_ttl.into()),
            ("token_max_ttl", self.max_ttl.into()),
            ("token_no_default_policy", self.no_default_policy.into()),
            ("token_num_uses", self.num_uses.into()),
            ("token_period", self.period.into()),
            ("token_policies", self.policies.clone().into()),
            ("token_strictly_bind_ip", self.strictly_bind_ip.into()),
            ("token_ttl", self.ttl.into()),
            ("token_type", kind.into()),
        ];
        let rows = rows.into_iter();
        rows.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// `service` or `batch`, also as a default that a request may change.
pub(crate) fn checked_type(kind: &str) -> Result<&str, Fault> {
    match kind {
        "" | "default" => Ok("default"),
        "service" | "batch" | "default-service" | "default-batch" => Ok(kind),
        _ => Err(Fault::invalid(
            "the token type has to be service, batch, default, default-service or default-batch",
        )),
    }
}

/// Names of policies as they are compared: without spaces round them, lower case, sorted, each
/// once. The root policy cannot be given by a role or user.
pub(crate) fn normal_policies(policies: Vec<String>) -> Result<Vec<String>, Fault> {
    let mut names = Vec::with_capacity(policies.len());
    for policy in policies {
        let name = policy.trim().to_lowercase();
        if name.is_empty() {
            continue;
        }
        let parsed = name.parse::<strongroom_core::policy::PolicyName>();
        let parsed = parsed.map_err(|error| Fault::invalid(error.to_string()))?;
        names.push(parsed.as_str().to_owned());
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Ranges of addresses, checked.
pub(crate) fn normal_cidrs(ranges: &[String]) -> Result<Vec<String>, Fault> {
    let normal = |range: &String| {
        crate::cidr::normal(range)
            .ok_or_else(|| Fault::invalid("a bound CIDR is no address or range of addresses"))
    };
    ranges.iter().map(normal).collect()
}

/// Lifetimes at a mount.
pub(crate) fn limits_of(live: &Live) -> Limits {
    let unset = Span::from_seconds(0);
    let span = |seconds: i64| (seconds > 0).then(|| Span::from_seconds(seconds));
    Limits::system(unset, unset).within(
        span(live.mount.default_lease_ttl),
        span(live.mount.max_lease_ttl),
    )
}

/// Who logs in.
pub(crate) struct Login {
    pub(crate) display_name: String,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Changes to write in the same commit.
    pub(crate) batch: Vec<strongroom_core::port::BatchItem>,
}

/// Gives a token to somebody who has proved who he is.
pub(crate) async fn grant(
    call: &Call,
    settings: &TokenSettings,
    login: Login,
) -> Result<Answer, Fault> {
    let policies = settings.granted_policies();
    let terms = Terms {
        ttl: Span::from_seconds(settings.ttl),
        max_ttl: Span::from_seconds(settings.max_ttl),
        explicit_max_ttl: Span::from_seconds(settings.explicit_max_ttl),
        period: Span::from_seconds(settings.period),
    };
    let (lease, capped) = Lease::issue(limits_of(&call.live), terms, call.now);
    let mut new = NewToken::orphan(policies, call.path.as_str(), call.live.mount.uuid);
    if matches!(settings.token_type.as_str(), "batch" | "default-batch") {
        new.kind = TokenKind::Batch;
        new.is_renewable = false;
    }
    new.display_name = login.display_name;
    new.meta = Some(login.metadata);
    new.num_uses = settings.num_uses;
    new.bound_cidrs.clone_from(&settings.bound_cidrs);
    new.ttl = lease.duration().as_seconds();
    new.explicit_max_ttl = settings.explicit_max_ttl;
    new.period = settings.period;
    if settings.strictly_bind_ip {
        new.bound_cidrs = vec![call.remote.to_string()];
    }
    let issued = call.core.state.issue(new, call.now, login.batch).await?;
    let warnings = capped.iter().map(ToString::to_string).collect();
    Ok(Answer::auth(auth_of(issued), warnings))
}

/// The answer that gives a token.
pub(crate) fn auth_of(issued: Issued) -> Auth {
    let token = issued.token;
    Auth {
        client_token: Some(issued.plain),
        accessor: token.accessor,
        policies: token.policies,
        metadata: token.meta,
        lease_seconds: token.creation_ttl,
        is_renewable: token.is_renewable,
        entity_id: token.entity_id,
        token_type: token.kind.word(),
        is_orphan: token.parent.is_none(),
        num_uses: token.num_uses,
    }
}

/// Warnings for policies that are not there.
pub(crate) fn missing_policies(call: &Call, policies: &[String]) -> Vec<String> {
    let known = call.core.policies();
    let missing = policies.iter().filter(|name| !known.has(name));
    missing
        .map(|name| format!("Policy \"{name}\" does not exist"))
        .collect()
}
