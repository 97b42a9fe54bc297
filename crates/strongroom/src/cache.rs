//! Answers of backends over a network, kept in a sealed file of the user's: off unless
//! `--max-age`, `--offline` or an entry's `max-age` asks for it.

mod file;
mod identity;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;

use clap::Args;
use serde_json::Value;
use serde_json::json;
use strongroom_chain::detect::Chain;
use strongroom_core::port::Backend;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;
use strongroom_crypto::barrier::Barrier;
use strongroom_engine::cache::Cache;
use strongroom_engine::cache::CachedBackend;
use strongroom_engine::cache::Identity;
use strongroom_engine::cache::Manner;
use strongroom_engine::cache::Use;
use strongroom_engine::resolve::Origin;
use strongroom_engine::resolve::Resolution;
use strongroom_engine::resolve::Resolved;

use crate::app::App;
use crate::args;
use crate::chain;
use crate::chain::Entry;
use crate::commands::check::plural;
use crate::error::CommandError;
use crate::error::Kind;
use crate::project::Project;
use crate::session;
use crate::session::Session;

pub(crate) use self::file::clear;
pub(crate) use self::file::path_of;
pub(crate) use self::file::read;

/// What `run`, `check` and `get` take.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct CacheArgs {
    /// Keep what backends over a network answer, encrypted, and use it up to this age, e.g. 10m
    #[arg(long, value_name = "DURATION", env = "STRONGROOM_MAX_AGE", value_parser = age)]
    max_age: Option<Age>,
    /// Ask nobody over a network; use what was kept
    #[arg(long, env = "STRONGROOM_OFFLINE", value_parser = args::flag("STRONGROOM_OFFLINE"))]
    offline: bool,
}

/// An age; `None` for an empty variable, which is not set.
#[derive(Clone, Copy, Debug)]
struct Age(Option<Span>);

fn age(text: &str) -> Result<Age, String> {
    if text.is_empty() {
        return Ok(Age(None));
    }
    let parsed = chain::parse_age(text).map(|span| Age(Some(span)));
    parsed.map_err(|why| format!("the age {why}"))
}

impl CacheArgs {
    pub(crate) fn is_offline(&self) -> bool {
        self.offline
    }

    fn max_age(&self) -> Option<Span> {
        self.max_age.and_then(|age| age.0)
    }

    /// Refuses what would ask the network before anything else is done.
    pub(crate) fn check(&self, app: &App, project: &Project) -> Result<(), CommandError> {
        let variables = app.environment.for_backends();
        if self.offline && Chain::asks_network(&variables, project.profile.chain.is_some()) {
            let message = "no chain is written down: to find one, the network would be asked, and \
                           --offline asks nobody";
            return Err(CommandError::usage(message)
                .hint("write a chain into the profile, or set STRONGROOM_CHAIN"));
        }
        Ok(())
    }

    fn manner(&self, entry: &Entry) -> Option<Manner> {
        let max_age = self.max_age().or(entry.max_age);
        match self.offline {
            true => entry.may_use_network().then_some(Manner::Offline(max_age)),
            false if entry.is_local() => None,
            false => max_age.map(Manner::MaxAge),
        }
    }
}

/// The kept answers of a command.
pub(crate) struct KeptAnswers {
    args: CacheArgs,
    cache: Arc<Cache>,
    barrier: Barrier,
    path: PathBuf,
    now: Timestamp,
}

/// Opens the cache, if the command uses one; with it comes the open store, whose keys seal it.
pub(crate) fn open(
    app: &App,
    project: &Project,
    args: &CacheArgs,
    session: Option<&Session>,
) -> Result<Option<KeptAnswers>, CommandError> {
    let entries = project.chain.parsed()?;
    if !entries.iter().any(|entry| args.manner(entry).is_some()) {
        return Ok(None);
    }
    let own;
    let session = match session {
        Some(session) => session,
        None => {
            own = session::open_if_there(app)?.ok_or_else(no_store)?;
            &own
        }
    };
    let path = path_of(app, &session.storage.read_header()?.store_id())?;
    let cache = Arc::new(file::load(app, &session.barrier, &path));
    Ok(Some(KeptAnswers {
        args: *args,
        cache,
        barrier: session.barrier.clone(),
        path,
        now: app.now(),
    }))
}

/// After a change of a backend over a network: what is kept of it may be wrong.
pub(crate) fn clear_if_outdated(app: &App) {
    if chain::has_written()
        && let Err(error) = clear(app)
    {
        app.ui.warn(&format!(
            "warning: the cache may hold old values: {}",
            error.message
        ));
    }
}

fn no_store() -> CommandError {
    let message = "answers of other backends are kept encrypted with the keys of your store, and \
                   there is no store yet";
    CommandError::new(Kind::NotFound, "cache.no_store", message)
        .hint("strongroom set /note makes one: a leading / is a place in the store")
}

impl KeptAnswers {
    /// The backend of an entry whose answers are kept; `None` for the others.
    pub(crate) fn backend(
        &self,
        app: &App,
        folder: &str,
        entry: &Entry,
    ) -> Result<Option<Box<dyn Backend>>, CommandError> {
        let Some(manner) = self.args.manner(entry) else {
            return Ok(None);
        };
        let open = match manner {
            // Never called: nobody is asked.
            Manner::Offline(_) => chain::never_opened(),
            _ => chain::opener_of(app, entry)?,
        };
        let parts = identity::parts(app, folder, entry);
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_slice()).collect();
        Ok(Some(Box::new(CachedBackend {
            scheme: chain::scheme_of(entry),
            label: entry.label(),
            identity: Identity::new(&self.barrier, &parts),
            manner,
            cache: Arc::clone(&self.cache),
            now: self.now,
            open,
            opened: OnceLock::new(),
        })))
    }

    /// The kept answer that a value is.
    pub(crate) fn use_of(&self, resolved: &Resolved<'_>) -> Option<Use> {
        let Origin::Backend(source) = &resolved.origin else {
            return None;
        };
        let mut uses = self.cache.uses().into_iter();
        uses.find(|used| {
            used.is_found && used.source == *source && used.name == resolved.declaration.name
        })
    }

    /// `aws:us-east-1/app (cached, 4 minutes old)`, if it is a kept answer.
    pub(crate) fn source_of(&self, resolved: &Resolved<'_>) -> Option<String> {
        let used = self.use_of(resolved)?;
        Some(format!("{} (cached, {} old)", used.source, self.age(&used)))
    }

    /// For JSON: when the kept answer was fetched, and how old it is; `null` for an answer just
    /// given.
    pub(crate) fn json_of(&self, resolved: &Resolved<'_>) -> Value {
        self.use_of(resolved).map_or(Value::Null, |used| {
            json!({
                "fetched": used.fetched.to_string(),
                "age_seconds": self.now.seconds_since(used.fetched),
            })
        })
    }

    /// Writes what was answered, and says which values were kept ones. A cache that cannot be
    /// written is told, and keeps nobody from going on.
    pub(crate) fn finish(&self, app: &App, resolution: &Resolution<'_>) {
        file::save(app, &self.cache, &self.path);
        let mut used: BTreeMap<String, Vec<Use>> = BTreeMap::new();
        for one in resolution.secrets.iter().filter_map(|it| self.use_of(it)) {
            used.entry(one.source.clone()).or_default().push(one);
        }
        let mut absent: BTreeMap<String, usize> = BTreeMap::new();
        for one in self.cache.uses().iter().filter(|it| !it.is_found) {
            *absent.entry(one.source.clone()).or_default() += 1;
        }
        for (source, uses) in &used {
            let oldest = uses.iter().min_by_key(|one| one.fetched);
            let age = oldest.map_or_else(String::new, |one| self.age(one));
            let is_alike = uses.iter().all(|one| self.age(one) == age);
            let up_to = if is_alike { "" } else { "up to " };
            let count = uses.len();
            app.ui
                .say(&format!("cached {count} ({source}, {up_to}{age} old)"));
        }
        for (source, count) in &absent {
            app.ui.say(&format!(
                "cached: {source} had no {count} of those asked for"
            ));
        }
        let damaged = self.cache.damaged();
        if damaged > 0 {
            app.ui.warn(&format!(
                "warning: {} of the cache did not open and counted as not there",
                plural(damaged, "answer")
            ));
        }
    }

    fn age(&self, used: &Use) -> String {
        age_words(self.now.seconds_since(used.fetched))
    }
}

/// `4 minutes`
pub(crate) fn age_words(seconds: i64) -> String {
    let seconds = usize::try_from(seconds).unwrap_or(0);
    match seconds {
        0..60 => plural(seconds, "second"),
        60..3600 => plural(seconds / 60, "minute"),
        3600..86_400 => plural(seconds / 3600, "hour"),
        _ => plural(seconds / 86_400, "day"),
    }
}
