//! The store as a link that is looked at again and again.
//!
//! Every reading of a value is noted in the audit log: so a value is read only when its record has
//! another revision than when it was read before, which is asked without reading it.

use std::collections::BTreeMap;
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
use strongroom_core::secret::SecretValue;
use strongroom_engine::Engine;
use strongroom_engine::backend::StoreBackend;
use strongroom_engine::backend::store_capabilities;
use strongroom_engine::context::OpContext;

type Answer = Result<Option<Fetched>, BackendError>;

/// The store, with what it last had.
pub(super) struct WatchedStore {
    pub(super) engine: Engine,
    pub(super) context: OpContext,
    pub(super) folder: String,
    pub(super) clock: Box<dyn Clock>,
    pub(super) known: Mutex<BTreeMap<String, Known>>,
}

/// A record's revision (`None`: there is none), and what was read at it.
pub(super) struct Known {
    revision: Option<u64>,
    fetched: Option<Fetched>,
}

impl WatchedStore {
    async fn look(&self, lookups: &[Lookup]) -> Vec<Answer> {
        let places: Vec<_> = lookups.iter().map(|lookup| lookup.place.clone()).collect();
        let revisions = match self.engine.revisions(&places).await {
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
        let mut read = self.read(changed).await.into_iter();
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

    async fn read(&self, changed: Vec<(Lookup, Option<u64>)>) -> Vec<Answer> {
        if changed.is_empty() {
            return Vec::new();
        }
        let context = OpContext {
            now: self.clock.now(),
            ..self.context.clone()
        };
        let backend = StoreBackend::new(self.engine.clone(), context, self.folder.clone());
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
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(std::future::ready(Err(self.unsupported("write here"))))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, BackendError>> {
        Box::pin(std::future::ready(Err(self.unsupported("list"))))
    }
}
