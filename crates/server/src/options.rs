//! The server's own settings that clients change, as they are stored and as they hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::BatchItem;
use strongroom_core::port::RecordId;
use strongroom_core::time::Timestamp;
use strongroom_engine::Error;
use strongroom_engine::state::Kind;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;
use strongroom_engine::state::State;
use strongroom_engine::state::Stored;

/// Everything in one record: it is small, and read at every start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Options {
    /// Headers of requests that the audit log tells, in lower case; true for their hashes only.
    pub(crate) audited_headers: BTreeMap<String, bool>,
    /// Paths without a limit of rates; `None` for the usual ones.
    pub(crate) exempt_paths: Option<Vec<String>>,
    pub(crate) rotation: Rotation,
    /// Versions of the program that have opened the store, with when they first did.
    pub(crate) versions: Vec<(String, Timestamp)>,
}

/// When a new data key is made by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rotation {
    pub(crate) is_enabled: bool,
    /// Seconds; 0 for never.
    pub(crate) interval: i64,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            is_enabled: true,
            interval: 0,
        }
    }
}

impl Stored for Options {
    const KIND: Kind = Kind::Node;
}

/// The name of the record.
const NAME: &str = "options";
/// What OpenBao exempts, as far as it is served here.
pub(crate) const EXEMPT_PATHS: [&str; 5] = [
    "sys/generate-root/attempt",
    "sys/generate-root/update",
    "sys/health",
    "sys/seal-status",
    "sys/unseal",
];
/// Versions that are remembered.
const VERSIONS_MAX: usize = 256;

impl Options {
    pub(crate) async fn load(state: &State) -> Result<Self, Error> {
        let found = state.load::<Self>(NAME).await?;
        Ok(found.map(|found| found.value).unwrap_or_default())
    }

    fn put(&self, state: &State) -> BatchItem {
        state.put(&Put::named(NAME, Shelf::Kind), self)
    }

    /// Whether a path has no limit of rates.
    pub(crate) fn is_exempt(&self, path: &str) -> bool {
        match &self.exempt_paths {
            None => EXEMPT_PATHS.contains(&path),
            Some(paths) => paths.iter().any(|exempt| match exempt.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => path == exempt,
            }),
        }
    }
}

/// The settings as they hold.
pub(crate) struct Live {
    id: RecordId,
    now: ArcSwap<Options>,
    changing: tokio::sync::Mutex<()>,
}

impl Live {
    pub(crate) async fn load(state: &State) -> Result<Self, Error> {
        Ok(Self {
            id: state.id_of::<Options>(NAME),
            now: ArcSwap::from_pointee(Options::load(state).await?),
            changing: tokio::sync::Mutex::new(()),
        })
    }

    pub(crate) fn get(&self) -> Arc<Options> {
        self.now.load_full()
    }

    /// Reads them anew when they were changed by somebody.
    pub(crate) async fn follow(&self, state: &State, changed: &[RecordId]) -> Result<(), Error> {
        if changed.contains(&self.id) {
            self.now.store(Arc::new(Options::load(state).await?));
        }
        Ok(())
    }

    /// Reads them anew.
    pub(crate) async fn reload(&self, state: &State) -> Result<(), Error> {
        self.follow(state, &[self.id]).await
    }

    /// Changes them.
    pub(crate) async fn change(
        &self,
        state: &State,
        change: impl FnOnce(&mut Options) + Send,
    ) -> Result<(), Error> {
        let _one_at_a_time = self.changing.lock().await;
        let mut options = Options::load(state).await?;
        let before = options.clone();
        change(&mut options);
        if options != before {
            state.write(vec![options.put(state)]).await?;
        }
        self.now.store(Arc::new(options));
        Ok(())
    }

    /// Notes that a version of the program has opened the store.
    pub(crate) async fn note_version(
        &self,
        state: &State,
        version: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let known = self.get();
        if known.versions.iter().any(|(known, _)| known == version) {
            return Ok(());
        }
        let add = |options: &mut Options| {
            options.versions.push((version.to_owned(), now));
            let over = options.versions.len().saturating_sub(VERSIONS_MAX);
            options.versions.drain(..over);
        };
        self.change(state, add).await
    }
}
