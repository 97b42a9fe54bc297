//! The thread that looks through the chain, and what it hands to the main one.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

use rustix::pipe::PipeFlags;
use strongroom_chain::fresh::Fresh;
use strongroom_core::manifest::Manifest;
use strongroom_core::manifest::Profile;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Fetched;
use strongroom_core::port::Lookup;
use strongroom_core::port::Stored;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_engine::cache::Open;
use strongroom_engine::resolve;
use strongroom_engine::resolve::Elsewhere;
use strongroom_engine::resolve::Fallback;
use strongroom_engine::resolve::Generate;
use strongroom_engine::resolve::Link;
use strongroom_engine::resolve::Request;
use strongroom_engine::resolve::Resolution;
use strongroom_engine::resolve::Severity;

use super::Watched;
use super::locked;
use super::tell_with;
use crate::app::SystemClock;
use crate::chain;
use crate::chain::Entry;
use crate::commands::run::dynamic::Leases;
use crate::commands::run::only_of;
use crate::commands::run::store::WatchedStore;
use crate::error::CommandError;
use crate::ui::Ui;

/// Values by their declared names.
pub(super) type Values = BTreeMap<String, SecretValue>;

/// What the main thread has of it.
pub(super) struct Watch {
    /// Readable when there is a change.
    pub(super) wake: Rc<OwnedFd>,
    shared: Arc<Shared>,
    /// Ends the thread when it is dropped.
    _alive: mpsc::Sender<()>,
}

/// Values that differ from those the command has.
pub(super) struct Change {
    pub(super) names: Vec<String>,
    /// All values, the unchanged ones too.
    pub(super) values: Values,
}

struct Shared {
    /// What the command has.
    current: Mutex<Values>,
    /// What it should have.
    pending: Mutex<Option<Values>>,
}

impl Watch {
    /// What changed; `None` when it was changed back meanwhile.
    pub(super) fn change(&self) -> Option<Change> {
        let values = locked(&self.shared.pending).take()?;
        let names = differing(&locked(&self.shared.current), &values);
        (!names.is_empty()).then_some(Change { names, values })
    }

    /// The command has these now.
    pub(super) fn accept(&self, values: Values) {
        *locked(&self.shared.current) = values;
    }
}

fn differing(current: &Values, newer: &Values) -> Vec<String> {
    let changed = newer.iter().filter(|(name, value)| {
        let old = current.get(*name);
        old.is_none_or(|old| !old.ct_eq(value))
    });
    changed.map(|(name, _)| name.clone()).collect()
}

/// What other profiles hold, as `Elsewhere` has it.
#[derive(Clone)]
struct Fingerprints(BTreeMap<String, Vec<(String, [u8; 16])>>);

/// Looks through the chain. It has nothing of the command line's, since it may outlive it by the
/// time that one question takes.
pub(super) struct Poller {
    manifest: Manifest,
    profile: Profile,
    only: Option<BTreeSet<String>>,
    allow_placeholders: Vec<String>,
    fallback: Fallback,
    elsewhere: Option<Fingerprints>,
    barrier: Option<Barrier>,
    links: Vec<Link>,
    interval: Duration,
    ui: Ui,
    shared: Arc<Shared>,
    wake: OwnedFd,
    ends: mpsc::Receiver<()>,
    trouble: Option<String>,
}

impl Poller {
    pub(super) fn new(
        watched: &Watched<'_>,
        current: Values,
        interval: Duration,
    ) -> Result<(Self, Watch), CommandError> {
        let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
        let (read, write) = rustix::pipe::pipe_with(flags)
            .map_err(|error| CommandError::failed(format!("nothing can be watched: {error}")))?;
        let shared = Arc::new(Shared {
            current: Mutex::new(current),
            pending: Mutex::default(),
        });
        let (alive, ends) = mpsc::channel();
        let (project, args) = (watched.project, watched.args);
        let poller = Self {
            manifest: project.manifest.clone(),
            profile: project.profile.clone(),
            only: match (&watched.leases, args.watch.is_on()) {
                // Nothing else is looked after.
                (Some(leases), false) => Some(leases.names()),
                _ => only_of(project, &args.only)?,
            },
            allow_placeholders: args.allow_placeholder.clone(),
            fallback: args.fallback.into(),
            elsewhere: watched
                .elsewhere
                .map(|it| Fingerprints(it.fingerprints.clone())),
            barrier: watched.session.map(|session| session.barrier.clone()),
            links: links(watched)?,
            interval,
            ui: watched.app.ui,
            shared: Arc::clone(&shared),
            wake: write,
            ends,
            trouble: None,
        };
        let watch = Watch {
            wake: Rc::new(read),
            shared,
            _alive: alive,
        };
        Ok((poller, watch))
    }

    /// Starts the thread. It ends with the watch, or a question later.
    pub(super) fn start(mut self) -> Result<(), CommandError> {
        let thread = std::thread::Builder::new().name("watch".to_owned());
        let started = thread.spawn(move || {
            while self.ends.recv_timeout(self.interval) == Err(mpsc::RecvTimeoutError::Timeout) {
                self.look();
            }
        });
        started
            .map(|_| ())
            .map_err(|error| CommandError::failed(format!("nothing can be watched: {error}")))
    }

    fn look(&mut self) {
        let barrier = self.barrier.clone();
        let fingerprint = |value: &SecretValue| {
            let barrier = barrier.as_ref();
            barrier.map_or([0; 16], |barrier| barrier.fingerprint(value))
        };
        let elsewhere = self.elsewhere.clone();
        let elsewhere = elsewhere.map(|Fingerprints(fingerprints)| Elsewhere {
            fingerprints,
            fingerprint: &fingerprint,
        });
        let request = Request {
            manifest: &self.manifest,
            profile: &self.profile,
            only: self.only.as_ref(),
            allow_placeholders: &self.allow_placeholders,
            fallback: self.fallback,
            generate: Generate::Never,
            elsewhere: elsewhere.as_ref(),
            rng: &SystemRng,
            now: SystemClock.time(),
        };
        let resolution = crate::runtime::wait(resolve::resolve(&request, &self.links));
        let trouble = trouble(&resolution);
        let values: Values = resolution
            .secrets
            .into_iter()
            .filter_map(|secret| Some((secret.declaration.name.clone(), secret.value?)))
            .collect();
        if trouble.is_none() && !differing(&locked(&self.shared.current), &values).is_empty() {
            // What has no value any more keeps the one the command has.
            let mut all = locked(&self.shared.current).clone();
            all.extend(values);
            *locked(&self.shared.pending) = Some(all);
            // A full pipe wakes as well.
            let _ = rustix::io::write(&self.wake, b"!");
        }
        self.tell(trouble);
    }

    /// Trouble is told when it begins and when it is over.
    fn tell(&mut self, trouble: Option<String>) {
        match (&self.trouble, &trouble) {
            (None, Some(text)) => {
                let line = format!(
                    "warning: while watching: {text}; the command goes on with what it has"
                );
                tell_with(self.ui, &line);
            }
            (Some(_), None) => tell_with(self.ui, "watching again"),
            _ => {}
        }
        self.trouble = trouble;
    }
}

/// Why the values are not to be used. Names and causes, never values.
fn trouble(resolution: &Resolution<'_>) -> Option<String> {
    let failures = resolution.failures.iter().map(ToString::to_string);
    let problems = resolution.problems.iter();
    let problems = problems.filter(|problem| problem.severity == Severity::Error);
    let problems = problems.map(|problem| format!("{} {}", problem.secret, problem.message));
    let all: Vec<String> = failures.chain(problems).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn links(watched: &Watched<'_>) -> Result<Vec<Link>, CommandError> {
    let opener = watched.project.opener(watched.app, watched.session);
    let entries = watched.project.chain.parsed()?;
    let links = entries.iter().map(|entry| {
        let backend: Box<dyn Backend> = match (entry.scheme(), watched.session) {
            ("store", Some(session)) => {
                let folder = opener.folder.clone();
                Box::new(WatchedStore::new(session, folder, Box::new(SystemClock)))
            }
            _ if entry.is_local() => match Fresh::open(&entry.uri, opener.surroundings()) {
                Some(opened) => Box::new(opened?),
                None => opener.open(entry)?,
            },
            _ => Box::new(Later::new(watched, entry)?),
        };
        Ok(Link {
            backend,
            is_optional: entry.is_optional,
            is_remote: !entry.is_local(),
        })
    });
    let own = watched.args.user_link(watched.app, true)?;
    let leases = watched.leases.as_ref().map(Leases::link);
    let first = leases.into_iter().chain(own);
    first.map(Ok).chain(links).collect()
}

/// A backend over a network that is opened when it is first asked, and again when that failed.
struct Later {
    scheme: &'static str,
    label: String,
    open: Open,
    opened: OnceLock<Box<dyn Backend>>,
}

impl Later {
    fn new(watched: &Watched<'_>, entry: &Entry) -> Result<Self, CommandError> {
        Ok(Self {
            scheme: chain::scheme_of(entry),
            label: entry.label(),
            open: chain::opener_of(watched.app, entry)?,
            opened: OnceLock::new(),
        })
    }

    async fn inner(&self) -> Result<&dyn Backend, BackendError> {
        if let Some(backend) = self.opened.get() {
            return Ok(&**backend);
        }
        let backend = (self.open)().await?;
        Ok(&**self.opened.get_or_init(|| backend))
    }
}

impl Backend for Later {
    fn scheme(&self) -> &'static str {
        self.scheme
    }

    fn describe(&self) -> String {
        let opened = self.opened.get();
        opened.map_or_else(|| self.label.clone(), |backend| backend.describe())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn get_many<'a>(
        &'a self,
        lookups: &'a [Lookup],
    ) -> BoxFuture<'a, Vec<Result<Option<Fetched>, BackendError>>> {
        Box::pin(async move {
            match self.inner().await {
                Ok(inner) => inner.get_many(lookups).await,
                Err(error) => lookups.iter().map(|_| Err(error.clone())).collect(),
            }
        })
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
