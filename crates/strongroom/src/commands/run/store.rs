//! The store as a link that is looked at again and again.
//!
//! Every reading of a value is noted in the audit log: so a value is read only when its record has
//! another revision than when it was read before, which is asked without reading it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Clock;
use strongroom_core::port::Fetched;
use strongroom_core::port::Lookup;
use strongroom_core::port::Stored;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Unsealed;
use strongroom_engine::Engine;
use strongroom_engine::backend::StoreBackend;
use strongroom_engine::backend::store_capabilities;
use strongroom_engine::context::OpContext;
use strongroom_store::embedded::EmbeddedStorage;

use crate::session::Session;

type Answer = Result<Option<Fetched>, BackendError>;

/// The store, with what it last had.
pub(super) struct WatchedStore {
    storage: Arc<EmbeddedStorage>,
    keys: Mutex<Keys>,
    context: OpContext,
    folder: String,
    clock: Box<dyn Clock>,
    known: Mutex<BTreeMap<String, Known>>,
}

/// What opens the store's records: a data key may be made while it is watched.
struct Keys {
    unsealed: Unsealed,
    /// Of the header that they are from; 0 until it is looked at.
    generation: u64,
    engine: Engine,
}

/// A record's revision (`None`: there is none), and what was read at it.
pub(super) struct Known {
    revision: Option<u64>,
    fetched: Option<Fetched>,
}

impl WatchedStore {
    pub(super) fn new(session: &Session, folder: String, clock: Box<dyn Clock>) -> Self {
        let keys = Keys {
            unsealed: session.unsealed.copy(),
            generation: 0,
            engine: session.engine.clone(),
        };
        Self {
            storage: Arc::clone(&session.storage),
            keys: Mutex::new(keys),
            context: session.context.clone(),
            folder,
            clock,
            known: Mutex::default(),
        }
    }

    /// With the keys that the store has now; with those it had, where they cannot be seen.
    fn engine(&self) -> Engine {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(header) = self.storage.read_header()
            && header.generation() != keys.generation
            && let Ok(unsealed) = header.unseal_with_root(&keys.unsealed.root)
        {
            let barrier = Barrier::new(header.store_id(), &unsealed.keyring);
            let storage = Arc::clone(&self.storage);
            *keys = Keys {
                unsealed,
                generation: header.generation(),
                engine: Engine::new(storage, barrier),
            };
        }
        keys.engine.clone()
    }

    async fn look(&self, lookups: &[Lookup]) -> Vec<Answer> {
        let places: Vec<_> = lookups.iter().map(|lookup| lookup.place.clone()).collect();
        let engine = self.engine();
        let revisions = match engine.revisions(&places).await {
            Ok(revisions) => revisions,
            Err(error) => {
                let kind = BackendErrorKind::Unreachable;
                let error = BackendError::new(kind, "store", error.to_string());
                return lookups.iter().map(|_| Err(error.clone())).collect();
            }
        };
        let mut answers: Vec<Option<Answer>> = Vec::with_capacity(lookups.len());
        let mut changed = Vec::new();
        for (lookup, revision) in lookups.iter().zip(&revisions) {
            let known = self.known(lookup, *revision);
            if known.is_none() {
                changed.push((lookup.clone(), *revision));
            }
            answers.push(known.map(Ok));
        }
        let mut read = self.read(&engine, changed).await.into_iter();
        let unanswered = || Err(self.unsupported("answer that"));
        let answers = answers.into_iter();
        answers
            .map(|answer| answer.unwrap_or_else(|| read.next().unwrap_or_else(unanswered)))
            .collect()
    }

    fn known(&self, lookup: &Lookup, revision: Option<u64>) -> Option<Option<Fetched>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(lookup.place.as_str())?;
        (known.revision == revision).then(|| known.fetched.clone())
    }

    async fn read(&self, engine: &Engine, changed: Vec<(Lookup, Option<u64>)>) -> Vec<Answer> {
        if changed.is_empty() {
            return Vec::new();
        }
        let context = OpContext {
            now: self.clock.now(),
            ..self.context.clone()
        };
        let backend = StoreBackend::new(engine.clone(), context, self.folder.clone());
        let (lookups, revisions): (Vec<Lookup>, Vec<Option<u64>>) = changed.into_iter().unzip();
        let answers = backend.get_many(&lookups).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for ((lookup, revision), answer) in lookups.iter().zip(revisions).zip(&answers) {
            if let Ok(fetched) = answer {
                let fetched = fetched.clone();
                let place = lookup.place.to_string();
                known.insert(place, Known { revision, fetched });
            }
        }
        answers
    }
}

impl Backend for WatchedStore {
    fn scheme(&self) -> &'static str {
        "store"
    }

    fn describe(&self) -> String {
        "store".into()
    }

    fn capabilities(&self) -> Capabilities {
        store_capabilities()
    }

    fn get_many<'a>(&'a self, lookups: &'a [Lookup]) -> BoxFuture<'a, Vec<Answer>> {
        Box::pin(self.look(lookups))
    }

    fn set<'a>(
        &'a self,
        _lookup: &'a Lookup,
        _value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(std::future::ready(Err(self.unsupported("write here"))))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(std::future::ready(Err(self.unsupported("list"))))
    }
}
