//! Policies: which secrets are rotated by what and when, by the pattern of their paths.

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::glob;
use strongroom_core::path::SecretPath;
use strongroom_core::port::Precondition;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;

use super::Rotation;
use super::Rotations;
use super::Setup;
use super::request::contended;
use super::stored::FirstPolicy;
use super::stored::PolicyForm;
use crate::context::OpContext;
use crate::error::Error;
use crate::secrets::GraphError;
use crate::state;
use crate::state::Found;
use crate::state::Kind;
use crate::state::Put;
use crate::state::Shelf;
use crate::state::State;
use crate::state::Stored;

/// Most of them.
const POLICIES_MAX: usize = 1000;
/// A change that others disturb is repeated so often.
const ATTEMPTS_MAX: usize = 64;

/// How the secrets of a pattern are rotated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "PolicyForm", from = "PolicyForm")]
pub struct Policy {
    /// Which secrets: `*` stands for any letters, `?` for one.
    pub pattern: String,
    /// What rotates them, and when.
    pub setup: Setup,
    /// What it was before it was changed: secrets that have this follow.
    pub before: Option<Setup>,
    /// Somebody is told so long before a rotation, once a day, and on the day.
    pub notify_before: Option<Span>,
    /// Who answers for them.
    pub owner: Option<String>,
    /// When it was written.
    pub written: Timestamp,
}

impl Stored for Policy {
    const KIND: Kind = Kind::RotationPolicy;

    fn earlier(plain: &[u8]) -> Option<Self> {
        let (first, _) = crate::record::decode::<FirstPolicy>(plain)?;
        Some(first.into())
    }
}

impl Policy {
    /// Whether it has something to say to a secret whose rotation this is: one that has none, or
    /// has what the policy said before.
    #[must_use]
    pub fn concerns(&self, known: Option<&Rotation>) -> bool {
        known.is_none_or(|own| {
            own.run.is_none() && own.setup != self.setup && Some(&own.setup) == self.before.as_ref()
        })
    }

    /// Whether it is for a secret.
    #[must_use]
    pub fn is_for(&self, path: &str) -> bool {
        glob::matches(&self.pattern, path)
    }
}

/// The policy that is for a secret: of several the one with the longest pattern, then the first
/// by name.
#[must_use]
pub fn policy_of<'a>(
    policies: &'a [(String, Found<Policy>)],
    path: &str,
) -> Option<(&'a str, &'a Policy)> {
    let fitting = policies
        .iter()
        .filter(|(_, found)| found.value.is_for(path));
    let best = fitting
        .rev()
        .max_by_key(|(_, found)| found.value.pattern.len());
    best.map(|(name, found)| (name.as_str(), &found.value))
}

impl State {
    /// All policies, sorted by name.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn rotation_policies(&self) -> Result<Vec<(String, Found<Policy>)>, Error> {
        self.all(Shelf::Kind).await
    }

    /// A policy by its name.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn rotation_policy(&self, name: &str) -> Result<Option<Found<Policy>>, Error> {
        self.load(name).await
    }

    /// Writes a policy. Secrets that followed it follow it further.
    ///
    /// # Errors
    /// `LimitExceeded`, `Contended`, storage errors.
    pub async fn put_rotation_policy(&self, name: &str, policy: Policy) -> Result<(), Error> {
        for _ in 0..ATTEMPTS_MAX {
            let known = self.ids::<Policy>(Shelf::Kind).await?;
            let found = self.load::<Policy>(name).await?;
            if found.is_none() && known.len() >= POLICIES_MAX {
                return Err(Error::LimitExceeded {
                    what: "the number of policies of rotation".into(),
                    limit: POLICIES_MAX.to_string(),
                });
            }
            let (precondition, before) = match found {
                Some(found) => (found.unchanged(), Some(found.value)),
                None => (Precondition::Absent, None),
            };
            let before = before.and_then(|old| match old.setup == policy.setup {
                true => old.before,
                false => Some(old.setup),
            });
            let policy = Policy {
                before,
                ..policy.clone()
            };
            let put = Put::named(name, Shelf::Kind).when(precondition);
            if self.commit(vec![self.put(&put, &policy)]).await? {
                return Ok(());
            }
        }
        Err(state::contended())
    }

    /// Forgets a policy; what it has set up stays. False when it is not there.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn remove_rotation_policy(&self, name: &str) -> Result<bool, Error> {
        let id = self.id_of::<Policy>(name);
        self.commit(vec![state::delete(id, Precondition::Exists)])
            .await
    }
}

impl Rotations {
    /// Sets a secret up as a policy says, where it has no rotation of its own. True when
    /// something changed.
    ///
    /// # Errors
    /// What is wrong with the secret, storage errors.
    pub async fn follow_policy(
        &self,
        context: &OpContext,
        path: &SecretPath,
        secret: &str,
        policy: &Policy,
    ) -> Result<bool, GraphError> {
        let snapshot = self.living(path).await?;
        let found = self.find(path).await?.map(|found| found.value);
        let is_free = match &found {
            Some(own) if own.created == snapshot.metadata().created => policy.concerns(Some(own)),
            _ => true,
        };
        if !is_free {
            return Ok(false);
        }
        self.configure(context, path, secret, &policy.setup).await?;
        Ok(true)
    }

    /// Sets a rotation up without having one begin.
    ///
    /// # Errors
    /// What is wrong with the secret, storage errors.
    pub async fn configure(
        &self,
        context: &OpContext,
        path: &SecretPath,
        secret: &str,
        setup: &Setup,
    ) -> Result<(), GraphError> {
        for _ in 0..ATTEMPTS_MAX {
            let snapshot = self.living(path).await?;
            let created = snapshot.metadata().created;
            let found = self.find(path).await?;
            let found = found.filter(|found| found.value.created == created);
            let (before, mut rotation) = match found {
                Some(found) => (found.unchanged(), found.value),
                None => {
                    let new = Rotation::new(path.as_str(), secret, created);
                    (Precondition::Any, new)
                }
            };
            rotation.secret = secret.into();
            rotation.setup = setup.clone();
            rotation.is_settled = false;
            let written = snapshot.newest().map_or(created, |newest| newest.created);
            let last = rotation.last.unwrap_or(written);
            rotation.plan(last, context.now, self.spread_of(path));
            if self.store(&rotation, before).await? {
                return self.settle(context, path).await;
            }
        }
        Err(contended(path).into())
    }
}
