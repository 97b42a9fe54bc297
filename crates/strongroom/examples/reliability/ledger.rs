//! What must be in the store, and the comparison with what is.

use std::collections::BTreeMap;

use strongroom_engine::Engine;
use strongroom_engine::Error;

use crate::rig::AnyResult;
use crate::worker::Id;
use crate::worker::context;

/// A store keeps at least so many versions of a secret.
const VERSIONS_KEPT: u64 = 10;

/// Acknowledged writes by path.
#[derive(Default)]
pub(crate) struct Ledger {
    newest: BTreeMap<String, (Id, u64)>,
    /// Writes that were acknowledged in all.
    pub(crate) acknowledged: u64,
    /// Acknowledged, and not there.
    pub(crate) lost: u64,
    /// There, and neither what was acknowledged nor what was being written.
    pub(crate) wrong: u64,
    /// Records that do not open.
    pub(crate) unopenable: u64,
    /// Written but not acknowledged before the end.
    pub(crate) unacknowledged: u64,
}

impl Ledger {
    /// Notes the writes of a round, then looks for them and for what was being written: up to
    /// `window` writes of each thread after its last one.
    pub(crate) fn settle(
        &mut self,
        engine: &Engine,
        writes: &[(Id, u64)],
        window: u64,
    ) -> AnyResult<()> {
        let mut last: BTreeMap<(u64, u64), Id> = BTreeMap::new();
        let mut under_way: BTreeMap<String, Vec<Id>> = BTreeMap::new();
        for (id, version) in writes {
            self.acknowledged += 1;
            let path = id.path()?.to_string();
            under_way.entry(path.clone()).or_default();
            self.newest.insert(path, (*id, *version));
            last.insert((id.process, id.thread), *id);
        }
        for mut id in last.into_values() {
            for _ in 0..window {
                id = id.next();
                let path = id.path()?.to_string();
                under_way.entry(path).or_default().push(id);
            }
        }
        for (path, ids) in &under_way {
            self.look(engine, path, ids)?;
        }
        Ok(())
    }

    /// Looks for everything that was ever acknowledged.
    pub(crate) fn look_for_all(&mut self, engine: &Engine) -> AnyResult<()> {
        let paths: Vec<String> = self.newest.keys().cloned().collect();
        for path in paths {
            self.look(engine, &path, &[])?;
        }
        Ok(())
    }

    fn look(&mut self, engine: &Engine, path: &str, under_way: &[Id]) -> AnyResult<()> {
        let known = self.newest.get(path).copied();
        let secret = match pollster::block_on(engine.read(&context(), &path.parse()?, None)) {
            Ok(secret) => secret,
            Err(Error::NotFound { .. }) => {
                self.lost += u64::from(known.is_some());
                return Ok(());
            }
            Err(_) => {
                self.unopenable += 1;
                return Ok(());
            }
        };
        let found = secret.version.number;
        let version = known.map_or(0, |(_, version)| version);
        let is_value_of = |id: &Id| secret.payload.value.ct_eq(&id.value());
        if found == version && known.is_some_and(|(id, _)| is_value_of(&id)) {
            return Ok(());
        }
        if found < version {
            self.lost += 1;
            return Ok(());
        }
        let Some(later) = under_way.iter().find(|id| is_value_of(id)) else {
            self.wrong += 1;
            return Ok(());
        };
        self.unacknowledged += 1;
        self.newest.insert(path.to_owned(), (*later, found));
        // The one before it has to be there still, as a version.
        match known {
            Some((id, version)) if found - version < VERSIONS_KEPT => {
                self.look_at_version(engine, path, id, version)
            }
            _ => Ok(()),
        }
    }

    fn look_at_version(
        &mut self,
        engine: &Engine,
        path: &str,
        id: Id,
        version: u64,
    ) -> AnyResult<()> {
        match pollster::block_on(engine.read(&context(), &path.parse()?, Some(version))) {
            Ok(secret) if secret.payload.value.ct_eq(&id.value()) => {}
            Ok(_) => self.wrong += 1,
            Err(_) => self.unopenable += 1,
        }
        Ok(())
    }

    /// How many paths are known.
    pub(crate) fn paths(&self) -> usize {
        self.newest.len()
    }

    /// Rows for the losses, all of which must be none.
    pub(crate) fn rows(&self) {
        let row = |what: &str, count: u64| {
            let reached = crate::report::verdict(count == 0);
            crate::report::row(&[what, &count.to_string(), "0", reached]);
        };
        row("acknowledged writes that are not there", self.lost);
        row("values that nobody wrote", self.wrong);
        row("records that do not open", self.unopenable);
    }

    /// True if nothing is missing and nothing is wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.wrong + self.unopenable == 0
    }
}
