use std::path::PathBuf;

use clap::Args;
use serde_json::Value;
use serde_json::json;
use strongroom_engine::ledger::Channel;
use strongroom_engine::migrate::Planned;
use strongroom_engine::migrate::Step;
use strongroom_engine::sync;
use strongroom_engine::sync::Applied;
use strongroom_engine::sync::SyncPlan;

use crate::app::App;
use crate::commands::check::plural;
use crate::commands::migrate::Mapping;
use crate::commands::migrate::losses_lines;
use crate::error;
use crate::error::CommandError;
use crate::error::Kind;
use crate::ledger;
use crate::progress::Meter;
use crate::project;
use crate::runtime::wait;
use crate::session;
use crate::session::Session;
use crate::side::Side;
use crate::ui::clean;

/// Make a target hold what a source holds: plan, then apply
///
/// Compares both sides and shows what would be created, updated and (with --prune) deleted, as a
/// plan. Applies it after a question, or with --yes. Every write is read back.
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom sync --from store --to aws:eu-central-1/storefront --dry-run
  strongroom sync --from store --to vault:secret/storefront --prune --yes
  strongroom sync --from store --to aws:eu-central-1/storefront --dry-run --exit-code")]
pub(crate) struct SyncArgs {
    /// Where secrets come from
    #[arg(long, value_name = "URI")]
    from: String,
    /// What is made like it
    #[arg(long, value_name = "URI")]
    to: String,
    /// Only what this file names; lines of: "target/name" = "SOURCE_NAME"
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Delete what only the target has, below its prefix
    #[arg(long)]
    prune: bool,
    /// Only show the plan
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: exit with 10 when there is something to do
    #[arg(long, requires = "dry_run")]
    exit_code: bool,
}

pub(crate) fn run(app: &App, args: &SyncArgs) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    let opened = session::open_for(app, !args.dry_run)?;
    let session = opened.as_ref();
    let project = project.as_ref();
    let source = Side::open_source(app, project, session, &args.from)?;
    let target = Side::open(app, project, session, &args.to, Some(source.scheme()))?;
    if source.uri == target.uri {
        return Err(CommandError::usage("source and target are the same"));
    }
    let mapping = match &args.map {
        Some(file) => Mapping::read(file, &source, &target)?,
        None => Mapping::guess(app, project, &source, &target, false)?,
    };
    let prune = match args.prune {
        false => None,
        true if !target.is_bounded => {
            let message = "--prune would delete everything else that the target holds";
            return Err(CommandError::usage(message)
                .hint("give the target a prefix, e.g. aws:eu-central-1/storefront"));
        }
        true => Some(target.prefix.as_str()),
    };
    let plan = {
        let meter = Meter::new(&app.ui, "reading");
        let progress = |done, total| meter.step(done, total);
        let (from, to) = (source.backend.as_ref(), target.backend.as_ref());
        wait(sync::plan(from, to, mapping.wishes(), prune, &progress))?
    };
    let counts = Counts::of(&plan);
    if counts.is_only_deletes() {
        let (from, to) = (source.uri.as_str(), target.uri.as_str());
        let all = counts.delete;
        let message =
            format!("nothing comes from {from}, and --prune would delete all {all} in {to}");
        return Err(CommandError::usage(message).hint("look at --from; strongroom rm removes one"));
    }
    if !app.ui.is_json {
        show(app, &source, &target, &plan, &counts)?;
    }
    if args.dry_run {
        if app.ui.is_json {
            app.ui
                .print_json(&report(&source, &target, &plan_json(&plan), &counts, true))?;
        }
        return match args.exit_code && counts.changes() > 0 {
            true => Err(CommandError::reported(Kind::Findings, "sync.differs")),
            false => refused(&plan, &counts),
        };
    }
    refused(&plan, &counts)?;
    if counts.changes() == 0 {
        let items = plan_json(&plan);
        return match app.ui.is_json {
            true => app
                .ui
                .print_json(&report(&source, &target, &items, &counts, false)),
            false => Ok(()),
        };
    }
    app.ui.confirm(&format!("Apply {}?", counts.phrase()))?;
    if let Some(session) = session {
        note(app, session, &source, &target, &plan);
    }
    let applied = {
        let meter = Meter::new(&app.ui, "applied");
        let progress = |done, total| meter.step(done, total);
        wait(sync::apply(target.backend.as_ref(), plan, &progress))
    };
    if let Some(session) = session {
        session.note_write();
        session.finish(app);
    }
    finish(app, &source, &target, &applied, &counts)
}

/// What is about to be written elsewhere. The own store gives nothing away by taking something.
fn note(app: &App, session: &Session, source: &Side, target: &Side, plan: &SyncPlan) {
    if target.scheme() == "store" {
        return;
    }
    let from = source.backend.describe();
    let written = plan.items.iter().filter_map(|item| {
        let is_written = matches!(item.step, Step::Create | Step::Replace);
        let value = item.item.as_ref().filter(|_| is_written)?;
        let (secret, version) = (&item.wish.from, value.version.clone());
        let (barrier, value) = (&session.barrier, &value.payload.value);
        Some(ledger::given(barrier, secret, &from, version, value))
    });
    let to = target.backend.describe();
    ledger::note(app, session, Channel::Sync, &to, written.collect());
}

struct Counts {
    create: usize,
    update: usize,
    delete: usize,
    unchanged: usize,
    refused: usize,
}

impl Counts {
    /// Nothing of the source has a part in it.
    fn is_only_deletes(&self) -> bool {
        self.delete > 0 && self.create + self.update + self.unchanged + self.refused == 0
    }

    fn of(plan: &SyncPlan) -> Self {
        let count = |is_it: fn(&Step) -> bool| {
            let items = plan.items.iter();
            items.filter(|item| is_it(&item.step)).count()
        };
        Self {
            create: count(|step| *step == Step::Create),
            update: count(|step| *step == Step::Replace),
            delete: plan.deletes.len(),
            unchanged: count(|step| *step == Step::Unchanged),
            refused: count(|step| matches!(step, Step::Refuse(_))),
        }
    }

    fn changes(&self) -> usize {
        self.create + self.update + self.delete
    }

    fn phrase(&self) -> String {
        format!(
            "{} to create, {} to update, {} to delete, {} unchanged",
            self.create, self.update, self.delete, self.unchanged
        )
    }
}

fn word(step: &Step) -> &'static str {
    match step {
        Step::Replace => "update",
        other => other.word(),
    }
}

fn show(
    app: &App,
    source: &Side,
    target: &Side,
    plan: &SyncPlan,
    counts: &Counts,
) -> Result<(), CommandError> {
    let (from, to) = (source.backend.describe(), target.backend.describe());
    app.ui.print_line(&format!("{from} → {to}"))?;
    for item in &plan.items {
        let sign = match item.step {
            Step::Create => '+',
            Step::Replace => '~',
            Step::Unchanged => continue,
            Step::Skip(_) => '·',
            Step::Refuse(_) => '!',
        };
        let remark = item.step.remark();
        let remark = remark.map_or(String::new(), |why| format!(" ({why})"));
        let line = format!(
            "  {sign} {} {} ← {}{remark}",
            word(&item.step),
            item.wish.to,
            item.wish.from
        );
        app.ui.print_line(&clean(&line))?;
    }
    for address in &plan.deletes {
        app.ui
            .print_line(&clean(&format!("  - delete {address}")))?;
    }
    for line in losses_lines(target.scheme(), &plan.items) {
        app.ui.print_line(&clean(&line))?;
    }
    app.ui.print_line(&counts.phrase())
}

fn refused(plan: &SyncPlan, counts: &Counts) -> Result<(), CommandError> {
    if counts.refused == 0 {
        return Ok(());
    }
    let message = format!("{} cannot be written", plural(counts.refused, "secret"));
    let mut error = CommandError::new(Kind::Validation, "sync.refused", message);
    for item in &plan.items {
        if let Step::Refuse(why) = &item.step {
            error = error.hint(format!("{}: {why}", item.wish.from));
        }
    }
    Err(error.hint("nothing was written"))
}

fn plan_json(plan: &SyncPlan) -> Vec<Value> {
    let item = |item: &Planned| {
        json!({
            "to": item.wish.to,
            "from": item.wish.from,
            "action": word(&item.step),
            "remark": item.step.remark(),
        })
    };
    let delete =
        |address: &String| json!({"to": address, "from": null, "action": "delete", "remark": null});
    let items = plan.items.iter().map(item);
    items.chain(plan.deletes.iter().map(delete)).collect()
}

fn report(
    source: &Side,
    target: &Side,
    items: &[Value],
    counts: &Counts,
    is_dry_run: bool,
) -> Value {
    json!({
        "version": 1,
        "dry_run": is_dry_run,
        "from": source.backend.describe(),
        "to": target.backend.describe(),
        "create": counts.create,
        "update": counts.update,
        "delete": counts.delete,
        "unchanged": counts.unchanged,
        "refused": counts.refused,
        "items": items,
    })
}

fn finish(
    app: &App,
    source: &Side,
    target: &Side,
    applied: &[Applied],
    counts: &Counts,
) -> Result<(), CommandError> {
    let failures: Vec<_> = applied
        .iter()
        .filter_map(|done| Some((done, done.result.as_ref().err()?)))
        .collect();
    if app.ui.is_json {
        let items: Vec<Value> = applied
            .iter()
            .map(|done| {
                let failure = done.result.as_ref().err().map(ToString::to_string);
                json!({
                    "to": done.address,
                    "from": null,
                    "action": done.action,
                    "remark": failure,
                })
            })
            .collect();
        app.ui
            .print_json(&report(source, target, &items, counts, false))?;
    } else {
        for (done, failure) in &failures {
            app.ui
                .warn(&format!("✗ {} {}: {failure}", done.action, done.address));
        }
        let good = applied.len() - failures.len();
        app.ui.say(&format!(
            "applied {} of {} to {}, each write read back",
            good,
            plural(applied.len(), "change"),
            target.backend.describe()
        ));
    }
    match failures.first() {
        None => Ok(()),
        Some((_, failure)) => Err(CommandError::reported(
            error::backend_kind(failure.kind),
            "sync.incomplete",
        )),
    }
}
