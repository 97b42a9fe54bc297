//! Access policies as Vault clients write them: text in, decisions out.
//!
//! - [`Policy::parse`] reads HCL (the first version of that language, which is what Vault speaks)
//!   or JSON, and says line and column of what it cannot take.
//! - [`PolicySet::compile`] puts the policies of a token together. It is worth caching: by the
//!   list of names and the policies' revision.
//! - [`PolicySet::decide`] answers one request; [`PolicySet::capabilities`] answers
//!   `sys/capabilities`; [`PolicySet::why`] says which rule decided and who wrote it.
//! - [`RequestPath`] is the only form of a path that can be decided on: it is canonical by
//!   construction, so nothing can be reached under a second spelling after the decision.
//! - [`PolicyName`] is lower case and trimmed by construction, so that no spelling of `root` gets
//!   by. A token that holds [`PolicyName::root`] is decided by [`PolicySet::root`]; a policy of
//!   that name cannot be made.
//!
//! Which rule wins: an exact path; for LIST and SCAN then the same path without its last `/`;
//! then the patterns, of which the most specific one wins (see [`PolicySet`]). Rules with the
//! same path, in one policy or several, are put together: capabilities add up, `deny` beats all.
//!
//! Templates (`{{identity…}}`) are inert: no token has an identity, and as in Vault a templated
//! rule then matches nothing. A templated rule that *denies* is refused, since it would deny
//! nothing.

mod capability;
mod hcl;
mod name;
mod params;
mod parse;
mod password;
mod path;
mod pattern;
mod set;

pub use capability::Capabilities;
pub use capability::Capability;
pub use capability::CapabilitySet;
pub use name::ParsePolicyNameError;
pub use name::PolicyName;
pub use params::ParamValue;
pub use parse::ParsePolicyError;
pub use parse::Policy;
pub use parse::PolicyProblem;
pub use password::PasswordPolicy;
pub use password::PasswordPolicyError;
pub use path::ParseRequestPathError;
pub use path::REQUEST_PATH_BYTES_MAX;
pub use path::RequestPath;
pub use set::Access;
pub use set::Decision;
pub use set::PolicySet;
pub use set::Why;

/// Longest text of a policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 1 << 20;
/// Most rules in one policy.
pub const POLICY_RULES_MAX: usize = 10_000;

/// The policy `default`, which every token has unless it is told not to: what a token may do
/// with itself.
pub const DEFAULT_POLICY: &str = r#"# What every token may do with itself.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}

# Its own rights, for people and for consoles.
path "sys/capabilities-self" {
  capabilities = ["update"]
}
path "sys/internal/ui/resultant-acl" {
  capabilities = ["read"]
}

# Leases whose id it knows.
path "sys/leases/lookup" {
  capabilities = ["update"]
}
path "sys/leases/renew" {
  capabilities = ["update"]
}
path "sys/renew" {
  capabilities = ["update"]
}

# A place that only this token sees.
path "cubbyhole/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

# Response wrapping.
path "sys/wrapping/wrap" {
  capabilities = ["update"]
}
path "sys/wrapping/lookup" {
  capabilities = ["update"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}

# Tools that touch no secret.
path "sys/tools/hash" {
  capabilities = ["update"]
}
path "sys/tools/hash/*" {
  capabilities = ["update"]
}
"#;

/// The policy `response-wrapping`, the only one that a wrapping token has.
pub const RESPONSE_WRAPPING_POLICY: &str = r#"path "cubbyhole/response" {
  capabilities = ["create", "read"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}
"#;

#[cfg(test)]
mod tests;
