//! Passes through all rows: sealing, checking, sealing anew.

use std::collections::BTreeSet;
use std::time::Duration;
use std::time::Instant;

use clap::Args;
use serde_json::json;
use strongroom_core::audit::Action;
use strongroom_core::audit::Outcome;
use strongroom_userkeys::Pass;
use strongroom_userkeys::Step;
use strongroom_userkeys::Trouble;
use strongroom_userkeys::UserKeys;
use strongroom_userkeys::UserKeysError;
use strongroom_userkeys::Work;

use super::PlaceArgs;
use super::access::Access;
use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::progress::Meter;
use crate::runtime::wait;

/// Troubles that are named; the others are counted.
const TROUBLES_MAX: usize = 20;
/// Rounds after which rows that others keep changing are left to their readers.
const ROUNDS_MAX: usize = 10;
/// Tries of one piece while the database is away.
const TRIES_MAX: u32 = 6;
/// Not on a terminal, a line is said so often.
const LINE_EVERY: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(super) struct PassArgs {
    /// Most rows in a second; 0 for as fast as it goes
    #[arg(long, value_name = "ROWS", default_value_t = 10_000)]
    rate: u32,
    /// Rows in one transaction
    #[arg(long, value_name = "ROWS", default_value_t = strongroom_userkeys::PIECE_ROWS)]
    batch: usize,
}

#[derive(Args)]
pub(super) struct RotateArgs {
    #[command(flatten)]
    pass: PassArgs,
    /// Make no new data key: only seal under the newest one what is under an older one
    #[arg(long)]
    rewrap_only: bool,
}

/// What a pass came to.
#[derive(Default)]
struct Sum {
    done: u64,
    from_plain: u64,
    from_pgcrypto: u64,
    from_sealed: u64,
    trouble: Vec<Trouble>,
    troubles: usize,
    seconds: f64,
}

impl Sum {
    fn add(&mut self, step: Step) {
        self.from_plain += step.from_plain;
        self.from_pgcrypto += step.from_pgcrypto;
        self.from_sealed += step.from_sealed;
        self.done += step.rows;
        self.troubles += step.trouble.len();
        let room = TROUBLES_MAX.saturating_sub(self.trouble.len());
        self.trouble.extend(step.trouble.into_iter().take(room));
    }
}

pub(super) fn encrypt(app: &App, place: &PlaceArgs, args: &PassArgs) -> Result<(), CommandError> {
    let access = Access::open(app, place, false)?;
    let keys = access.keys(app, place)?;
    finish(app, &access, &keys, args, Work::Encrypt, None)
}

pub(super) fn verify(app: &App, place: &PlaceArgs, args: &PassArgs) -> Result<(), CommandError> {
    let access = Access::open(app, place, false)?;
    let keys = access.keys(app, place)?;
    finish(app, &access, &keys, args, Work::Verify, None)
}

pub(super) fn rotate_key(
    app: &App,
    place: &PlaceArgs,
    args: &RotateArgs,
) -> Result<(), CommandError> {
    let mut access = Access::open(app, place, false)?;
    // The table first: a key that nothing is sealed under would be made for nothing.
    access.keys(app, place)?;
    let mut new_key = None;
    if !args.rewrap_only {
        new_key = Some(access.opened.new_data_key(app)?);
        access.reopen();
    }
    let keys = access.keys(app, place)?;
    finish(app, &access, &keys, &args.pass, Work::Rotate, new_key)
}

fn finish(
    app: &App,
    access: &Access,
    keys: &UserKeys,
    args: &PassArgs,
    work: Work,
    new_key: Option<u32>,
) -> Result<(), CommandError> {
    let name = keys.attachment().name();
    let (action, what) = match work {
        Work::Encrypt => (Action::Keys, "sealed"),
        Work::Rotate => (Action::Keys, "sealed anew"),
        Work::Verify => (Action::Read, "opened"),
    };
    access.note(action, &name, Outcome::Allowed)?;
    let sum = run(app, keys, args, work, what)?;
    access.finish(app);
    if app.ui.is_json {
        let trouble = sum.trouble.iter().map(|trouble| {
            json!({
                "user": trouble.user,
                "name": trouble.name,
                "code": trouble.error.code(),
                "message": trouble.error.to_string(),
            })
        });
        app.ui.print_json(&json!({
            "version": 1,
            "table": name,
            "from_plain": sum.from_plain,
            "from_pgcrypto": sum.from_pgcrypto,
            "from_sealed": sum.from_sealed,
            "data_key": new_key,
            "seconds": sum.seconds,
            "troubles": sum.troubles,
            "trouble": trouble.collect::<Vec<_>>(),
        }))?;
    } else {
        for trouble in &sum.trouble {
            app.ui.warn(&format!("  {}", trouble.error));
        }
        let hints: BTreeSet<&str> = {
            let hints = sum.trouble.iter().map(|trouble| trouble.error.hint());
            hints.flatten().collect()
        };
        for hint in hints {
            app.ui.warn(&format!("hint: {hint}"));
        }
        let done = sum.from_plain + sum.from_pgcrypto + sum.from_sealed;
        let rest = match sum.troubles {
            0 => String::new(),
            count => format!("; {count} could not be"),
        };
        app.ui
            .say(&format!("{what}: {done} values of {name}{rest}"));
        if work != Work::Verify && sum.from_plain > 0 {
            app.ui.say(&format!(
                "old copies of rows lie in the table's file, the write-ahead log and backups until \
                 those are written anew: VACUUM (FULL) {name} does it for the file"
            ));
        }
    }
    match sum.troubles {
        0 => Ok(()),
        _ => Err(CommandError::reported(Kind::Findings, "userkeys.trouble")),
    }
}

/// Goes through all rows, and again through those that others changed meanwhile.
fn run(
    app: &App,
    keys: &UserKeys,
    args: &PassArgs,
    work: Work,
    what: &'static str,
) -> Result<Sum, CommandError> {
    let total = wait(Pass::new(keys, work).count())?;
    let mut progress = Progress::new(app, what, total, args.rate);
    let mut sum = Sum::default();
    for _ in 0..ROUNDS_MAX {
        let mut pass = Pass::new(keys, work).with_piece(args.batch);
        let mut changed = 0;
        (sum.trouble, sum.troubles) = (Vec::new(), 0);
        loop {
            let step = step(app, &mut pass)?;
            let is_last = step.is_last;
            changed += step.changed;
            sum.add(step);
            progress.step(sum.done);
            if is_last {
                break;
            }
        }
        if changed == 0 {
            break;
        }
    }
    sum.seconds = progress.began.elapsed().as_secs_f64();
    Ok(sum)
}

/// One piece, tried again while the database is away.
fn step(app: &App, pass: &mut Pass) -> Result<Step, CommandError> {
    let mut tries = 0;
    loop {
        match wait(pass.step()) {
            Err(error @ UserKeysError::Unavailable { .. }) if tries < TRIES_MAX => {
                tries += 1;
                app.ui.warn(&format!("{error}; trying again"));
                wait(pause(Duration::from_secs(1 << tries.min(4))));
            }
            Err(error) => return Err(error.into()),
            Ok(step) => return Ok(step),
        }
    }
}

/// Waits inside the runtime, so that connections live on.
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

struct Progress<'a> {
    app: &'a App,
    what: &'static str,
    meter: Meter<'a>,
    total: u64,
    rate: u32,
    began: Instant,
    said: Instant,
}

impl<'a> Progress<'a> {
    fn new(app: &'a App, what: &'static str, total: u64, rate: u32) -> Self {
        Self {
            app,
            what,
            meter: Meter::new(&app.ui, what),
            total,
            rate,
            began: Instant::now(),
            said: Instant::now(),
        }
    }

    /// Shows how far it is, and waits where it is ahead of the rate.
    fn step(&mut self, done: u64) {
        let total = self.total.max(done);
        if self.app.ui.is_lively() {
            let wide = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
            self.meter.step(wide(done), wide(total));
        } else if self.said.elapsed() >= LINE_EVERY {
            self.said = Instant::now();
            let rate = done as f64 / self.began.elapsed().as_secs_f64().max(0.001);
            let left = (total - done) as f64 / rate.max(0.001);
            let what = self.what;
            self.app.ui.say(&format!(
                "{what} {done} of {total} · {rate:.0} rows/s · {left:.0} s left"
            ));
        }
        if self.rate > 0 {
            let due = Duration::from_secs_f64(done as f64 / f64::from(self.rate));
            let ahead = due.saturating_sub(self.began.elapsed());
            if !ahead.is_zero() {
                wait(pause(ahead));
            }
        }
    }
}
