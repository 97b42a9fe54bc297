//! Policies in memory: compiled once for each set of policies, until one of them changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use strongroom_core::policy::DEFAULT_POLICY;
use strongroom_core::policy::Policy;
use strongroom_core::policy::PolicyName;
use strongroom_core::policy::PolicySet;
use strongroom_core::policy::RESPONSE_WRAPPING_POLICY;
use strongroom_engine::Error;
use strongroom_engine::cubbyhole::WRAPPING;
use strongroom_engine::state::State;
use strongroom_engine::tokens::DEFAULT;
use strongroom_engine::tokens::Token;

/// What the policies of a token allow together.
pub(crate) type Acl = PolicySet;

/// Sets that are kept compiled.
const SETS_MAX: usize = 4096;

/// All policies of a store.
#[derive(Default)]
pub(crate) struct Policies {
    /// Grows whenever they are read anew.
    pub(crate) epoch: u64,
    by_name: HashMap<String, Policy>,
    sets: Mutex<HashMap<Vec<String>, Arc<Acl>>>,
}

impl Policies {
    pub(crate) async fn load(state: &State, epoch: u64) -> Result<Self, Error> {
        let mut by_name = HashMap::new();
        let fixed = [
            (DEFAULT, DEFAULT_POLICY),
            (WRAPPING, RESPONSE_WRAPPING_POLICY),
        ];
        let mut add = |name: &str, text: &str| {
            let parsed = name.parse::<PolicyName>().ok();
            let parsed = parsed.and_then(|name| Policy::parse(&name, text).ok());
            match parsed {
                Some(policy) => {
                    by_name.insert(name.to_owned(), policy);
                    Ok(())
                }
                // It was parsed when it was written: allowing nothing would lock people out
                // without a word.
                None => Err(Error::Damaged {
                    what: format!("the policy {name}"),
                    detail: "its text cannot be read".into(),
                }),
            }
        };
        for (name, text) in fixed {
            add(name, text)?;
        }
        for (name, found) in state.policies().await? {
            add(&name, &found.value.text)?;
        }
        Ok(Self {
            epoch,
            by_name,
            sets: Mutex::default(),
        })
    }

    /// Whether there is a policy of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        name == strongroom_engine::tokens::ROOT || self.by_name.contains_key(name)
    }

    /// What a token may do. A policy that is not there allows nothing.
    pub(crate) fn acl(&self, token: &Token) -> Arc<Acl> {
        if token.is_root() {
            return Arc::new(PolicySet::root());
        }
        if let Some(acl) = self.compiled().get(&token.policies) {
            return Arc::clone(acl);
        }
        // Compiled while nobody waits; of two that do the same, the first is kept.
        let policies = token.policies.iter();
        let found = policies.filter_map(|name| self.by_name.get(name));
        let acl = Arc::new(PolicySet::compile(found));
        let mut sets = self.compiled();
        if sets.len() >= SETS_MAX {
            sets.clear();
        }
        Arc::clone(sets.entry(token.policies.clone()).or_insert(acl))
    }

    fn compiled(&self) -> MutexGuard<'_, HashMap<Vec<String>, Arc<Acl>>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
