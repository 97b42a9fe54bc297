//! What the library tells the ledger of the store: which values this process was given.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use data_encoding::HEXLOWER;
use strongroom_core::manifest::Manifest;
use strongroom_core::port::Durability;
use strongroom_core::port::Rng;
use strongroom_crypto::SystemRng;
use strongroom_engine::ledger::Channel;
use strongroom_engine::ledger::Delivery;
use strongroom_engine::ledger::Given;
use strongroom_engine::ledger::Ledger;
use strongroom_engine::resolve::Resolved;
use strongroom_engine::state::State;

use crate::secrets::now;

/// Deliveries of one process. A value is one delivery, however often it is fetched again.
pub(crate) struct Notes {
    state: State,
    actor: String,
    told: Mutex<HashMap<String, [u8; 16]>>,
}

impl Notes {
    pub(crate) fn new(state: State, actor: String) -> Self {
        Self {
            state,
            actor,
            told: Mutex::default(),
        }
    }

    /// A fetched value is in the ledger before the application has it. What cannot be written is
    /// given all the same: a store that takes no writes is still read.
    pub(crate) async fn note(&self, of: (&Manifest, &str), resolved: &Resolved<'_>) {
        let Some(given) = Given::resolved(self.state.barrier(), of, resolved) else {
            return;
        };
        if self.is_told(&given) {
            return;
        }
        let mut id = [0; 8];
        SystemRng.fill(&mut id);
        let (secret, fingerprint) = (given.secret.clone(), given.fingerprint);
        let delivery = Delivery {
            at: now(),
            who: self.actor.clone(),
            channel: Channel::Sdk,
            to: program(),
            request_id: HEXLOWER.encode(&id),
            items: vec![(given, 1)],
            is_repeat: false,
        };
        let ledger = Ledger::new(self.state.clone());
        if ledger.note(&delivery, Durability::Relaxed).await.is_ok() {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.insert(secret, fingerprint);
        }
    }

    fn is_told(&self, given: &Given) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(&given.secret) == Some(&given.fingerprint)
    }
}

/// This process by its program's name.
fn program() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_ref().and_then(|path| path.file_name());
    name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
