//! `run --watch`: while the command runs, a thread looks through the chain again and again; the
//! main thread, which follows the command, starts it anew or tells it to read its files again.

mod poll;

use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;

use clap::Args;
use clap::ValueEnum;
use rustix::termios::OutputModes;
use strongroom_core::registry::Delivery;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_engine::ledger::Channel;
use strongroom_engine::resolve;
use strongroom_engine::resolve::Elsewhere;

use self::poll::Change;
use self::poll::Poller;
use self::poll::Values;
use super::Deliveries;
use super::RunArgs;
use super::Value;
use super::child_error;
use super::deliver;
use super::dynamic::Leases;
use super::masks_of;
use crate::app::App;
use crate::cache;
use crate::cache::CacheArgs;
use crate::chain;
use crate::child::Child;
use crate::child::ChildError;
use crate::child::ExitStatusCode;
use crate::child::Step;
use crate::error::CommandError;
use crate::ledger;
use crate::project::Project;
use crate::runtime::wait;
use crate::session::Session;

/// Seconds between two looks, where nothing is asked over a network.
const INTERVAL_LOCAL: i64 = 2;
/// Seconds between two looks otherwise.
const INTERVAL_REMOTE: i64 = 30;
/// How long a command may take to end before it is killed.
const GRACE_SECONDS: i64 = 10;
/// How many values of one secret are masked: the present one, and those before it.
const MASKED_PER_NAME_MAX: usize = 32;

/// What to do when a value changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Action {
    /// End the command (SIGTERM) and start it anew with the new values
    Restart,
    /// Put new values into its secret files and send it SIGHUP
    Signal,
}

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct WatchArgs {
    /// Look for changed values while the command runs; restart it, or tell it, when one has
    #[arg(long, value_enum, value_name = "ACTION", num_args = 0..=1)]
    #[arg(require_equals = true, default_missing_value = "restart")]
    watch: Option<Action>,
    /// Time between two looks (default: 2s, or 30s with backends over a network)
    #[arg(long, value_name = "DURATION", requires = "watch", value_parser = chain::parse_age)]
    watch_interval: Option<Span>,
    /// How long the command may take to end before it is killed (default: 10s)
    #[arg(long, value_name = "DURATION", requires = "watch", value_parser = chain::parse_age)]
    watch_grace: Option<Span>,
}

impl WatchArgs {
    pub(super) fn is_on(&self) -> bool {
        self.watch.is_some()
    }

    pub(super) fn check(&self, cache: &CacheArgs) -> Result<(), CommandError> {
        if self.is_on() && cache.is_offline() {
            let message = "--watch asks again and again, and --offline asks nobody";
            return Err(CommandError::usage(message));
        }
        if self
            .watch_interval
            .is_some_and(|span| span.as_seconds() == 0)
        {
            let message = "--watch-interval is at least a second";
            return Err(CommandError::usage(message));
        }
        Ok(())
    }
}

fn duration(span: Option<Span>, default: i64) -> Duration {
    let seconds = span.map_or(default, Span::as_seconds);
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// A command that is watched over, and what it is started with.
pub(super) struct Watched<'w> {
    pub(super) app: &'w App,
    pub(super) args: &'w RunArgs,
    pub(super) project: &'w Project,
    pub(super) session: Option<&'w Session>,
    /// The store whose ledger is told.
    pub(super) noting: Option<&'w Session>,
    pub(super) elsewhere: Option<&'w Elsewhere<'w>>,
    /// Credentials that are made for this run.
    pub(super) leases: Option<Arc<Leases>>,
    /// Answers are kept: those before a change are then wrong.
    pub(super) is_caching: bool,
}

impl Watched<'_> {
    pub(super) fn run(
        &self,
        values: Vec<Value<'_>>,
        delivery: Deliveries,
    ) -> Result<ExitStatusCode, CommandError> {
        let Deliveries { spec, masked, .. } = delivery;
        let mut masked = Masked(masked);
        let known = values
            .into_iter()
            .map(|value| (value.declaration.name.clone(), value.value))
            .collect();
        let interval = self.interval()?;
        let (poller, watch) = Poller::new(self, known, interval)?;
        let told = |error: ChildError| child_error(&error);
        let wake = Some(Rc::clone(&watch.wake));
        let masks = masked.all();
        let mut child = Child::start(spec, || masks_of(masks), wake).map_err(told)?;
        // After the start: the command is there sooner, and no thread is there when it is made.
        poller.start()?;
        let ended = loop {
            match child.step().map_err(told) {
                Ok(Step::Ended(code)) => break Ok(code),
                Ok(Step::Woken) => {}
                Err(error) => break Err(error),
            }
            let Some(change) = watch.change() else {
                continue;
            };
            // It is about to end: what changed is told again at the next look if it does not.
            if child.was_told_to_end(self.grace()) {
                continue;
            }
            let delivery = self.delivery(&change.values);
            self.note(&change);
            masked.add(&delivery.masked);
            self.forget_kept();
            if self.args.watch.watch == Some(Action::Signal) {
                self.signal(&mut child, &change.names, &delivery, &masked);
            } else {
                let names = change.names.join(", ");
                tell(
                    self.app,
                    &format!("changed: {names}; restarting the command"),
                );
                if let Some(code) = child.end(self.grace()).map_err(told)? {
                    break Ok(code);
                }
                let masks = masked.all();
                child = child
                    .start_anew(delivery.spec, || masks_of(masks))
                    .map_err(told)?;
            }
            watch.accept(change.values);
        };
        child.finish();
        ended
    }

    fn grace(&self) -> Duration {
        duration(self.args.watch.watch_grace, GRACE_SECONDS)
    }

    fn interval(&self) -> Result<Duration, CommandError> {
        let entries = self.project.chain.parsed()?;
        let is_remote = entries.iter().any(chain::Entry::may_use_network);
        let default = match is_remote || self.args.user.is_some() {
            true => INTERVAL_REMOTE,
            false => INTERVAL_LOCAL,
        };
        let interval = duration(self.args.watch.watch_interval, default);
        Ok(match (&self.leases, self.args.watch.is_on()) {
            (None, _) => interval,
            (Some(leases), true) => interval.min(leases.interval()),
            (Some(leases), false) => leases.interval(),
        })
    }

    fn delivery(&self, values: &Values) -> Deliveries {
        let declared = self.project.manifest.declarations().iter();
        let values: Vec<Value<'_>> = declared
            .filter_map(|declaration| {
                Some(Value {
                    declaration,
                    value: values.get(&declaration.name)?.clone(),
                })
            })
            .collect();
        deliver(self.app, self.args, self.project, &values)
    }

    /// What changed, for the ledger: which backend had it is not known here, but for the store.
    fn note(&self, change: &Change) {
        let Some(session) = self.noting else { return };
        let manifest = &self.project.manifest;
        let changed = change.names.iter().filter_map(|name| {
            let declaration = manifest.declaration(name)?;
            let value = change.values.get(name)?;
            if !declaration.is_sensitive || declaration.delivery == Delivery::None {
                return None;
            }
            let place = resolve::lookup(manifest, &self.project.profile.name, declaration).place;
            let described = wait(session.engine.describe(&place)).ok();
            let newest = described.and_then(|described| described.versions.into_iter().last());
            let own =
                newest.filter(|newest| newest.fingerprint == session.barrier.fingerprint(value));
            let (source, version) = match own {
                Some(own) => ("store".to_owned(), Some(own.number.to_string())),
                None => (self.project.chain.line(), None),
            };
            let (barrier, secret) = (&session.barrier, place.to_string());
            Some(ledger::given(barrier, &secret, &source, version, value))
        });
        let to = super::place_of(self.args);
        ledger::note(self.app, session, Channel::Run, &to, changed.collect());
    }

    /// The present values are covered before the command can know them.
    fn signal(&self, child: &mut Child, names: &[String], delivery: &Deliveries, masked: &Masked) {
        child.cover(masks_of(masked.all()));
        if let Err(error) = child.rewrite(&delivery.spec.files) {
            let error = child_error(&error);
            tell(self.app, &format!("warning: {}", error.message));
        }
        child.hang_up();
        let names_shown = names.join(", ");
        tell(
            self.app,
            &format!("changed: {names_shown}; the command was sent SIGHUP"),
        );
        let is_elsewhere = |name: &&String| {
            let declaration = self.project.manifest.declaration(name);
            declaration.is_some_and(|it| !matches!(it.delivery, Delivery::File { .. }))
        };
        let elsewhere: Vec<&str> = names
            .iter()
            .filter(is_elsewhere)
            .map(String::as_str)
            .collect();
        if !elsewhere.is_empty() {
            let names = elsewhere.join(", ");
            tell(
                self.app,
                &format!("{names}: not in a file, so that only a restart brings the new value"),
            );
        }
    }

    fn forget_kept(&self) {
        if !self.is_caching {
            return;
        }
        if let Err(error) = cache::clear(self.app) {
            tell(self.app, &format!("warning: {}", error.message));
        }
    }
}

/// What is masked: the present values and those before, by name.
struct Masked(Vec<(String, SecretValue)>);

impl Masked {
    fn add(&mut self, newer: &[(String, SecretValue)]) {
        for (name, value) in newer {
            let mut known = self.0.iter();
            if known.any(|(known, old)| known == name && old.ct_eq(value)) {
                continue;
            }
            self.0.push((name.clone(), value.clone()));
        }
        let mut left: BTreeMap<String, usize> = BTreeMap::new();
        let mut newest: Vec<_> = std::mem::take(&mut self.0);
        newest.reverse();
        newest.retain(|(name, _)| {
            let count = left.entry(name.clone()).or_default();
            *count += 1;
            *count <= MASKED_PER_NAME_MAX
        });
        newest.reverse();
        self.0 = newest;
    }

    fn all(&self) -> Vec<(String, SecretValue)> {
        self.0.clone()
    }
}

/// Says something while the command runs, whose terminal may be in raw mode.
fn tell(app: &App, line: &str) {
    tell_with(app.ui, line);
}

fn tell_with(ui: crate::ui::Ui, line: &str) {
    ui.say(line);
    let is_raw = rustix::termios::tcgetattr(rustix::stdio::stderr())
        .is_ok_and(|modes| !modes.output_modes.contains(OutputModes::OPOST));
    if is_raw {
        let _ = std::io::stderr().write_all(b"\r");
    }
}

/// A lock whose holder panicked is a lock all the same: what is behind it is replaced whole.
pub(super) fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
