//! `migrate`: a whole move from one backend to another, in a journal.

mod clean;
mod later;
pub(crate) mod lazy;
mod mapping;
mod report;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use strongroom_engine::ledger::Channel;
use strongroom_engine::migrate;
use strongroom_engine::migrate::Entry;
use strongroom_engine::migrate::Header;
use strongroom_engine::migrate::Journal;
use strongroom_engine::migrate::Options;
use strongroom_engine::migrate::Planned;
use strongroom_engine::migrate::Stage;
use strongroom_engine::migrate::State;
use strongroom_engine::migrate::Step;

use crate::app::App;
use crate::commands::check::plural;
use crate::error::CommandError;
use crate::error::Kind;
use crate::ledger;
use crate::progress::Meter;
use crate::project;
use crate::project::Project;
use crate::runtime::wait;
use crate::session;
use crate::session::Session;
use crate::side::Side;

pub(crate) use mapping::Mapping;
pub(crate) use report::losses_lines;

/// The tag that every migrated secret gets where the target holds tags.
const TAG: &str = "migrated_from";

/// Move secrets from one backend to another: inventory, mapping, copy, check, clean-up
///
/// Everything is looked at and shown before anything is written. Every value is read back and
/// compared. Then secrets are taken out of a .env source, of which an encrypted copy is kept in
/// the store. Interrupted at any point, `migrate resume` goes on; `migrate rollback` puts back
/// what was there, secret by secret.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  strongroom migrate --from dotenv:.env --to aws:us-east-1/ --map map.toml --dry-run
  strongroom migrate --from dotenv:.env --to vault:secret --yes
  strongroom migrate status
  strongroom migrate rollback

A map file names targets and sources: \"jwt/secret_key\" = \"JWT_SECRET_KEY\"")]
pub(crate) struct MigrateArgs {
    #[command(subcommand)]
    command: Option<MigrateCommand>,
    /// Where secrets come from, e.g. dotenv:.env, vault:secret, store
    #[arg(long, value_name = "URI", required = true)]
    from: Option<String>,
    /// Where they go, e.g. aws:eu-central-1/storefront, store
    #[arg(long, value_name = "URI", required = true)]
    to: Option<String>,
    /// Move only what this file names; lines of: "target/name" = "SOURCE_NAME"
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Write the guessed mapping to a new file, to be edited, and do nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["map", "dry_run"])]
    write_map: Option<PathBuf>,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Replace other values that the target holds (rollback restores them)
    #[arg(long)]
    overwrite: bool,
    /// Leave earlier versions behind
    #[arg(long)]
    current_only: bool,
    /// Take plain settings and placeholders of a .env file along, too
    #[arg(long)]
    all: bool,
    /// Leave a .env source as it is
    #[arg(long)]
    keep_source: bool,
}

#[derive(Subcommand)]
enum MigrateCommand {
    /// Show migrations and how far they are
    Status {
        /// A migration's id, or the beginning of it
        id: Option<String>,
    },
    /// Go on with a migration that was interrupted, or had failures
    Resume {
        /// A migration's id; default: the newest that is not done
        id: Option<String>,
    },
    /// Put back what was there before, secret by secret
    Rollback {
        /// A migration's id; default: the newest
        id: Option<String>,
    },
    /// Compare the target with what was migrated
    Verify {
        /// A migration's id; default: the newest
        id: Option<String>,
    },
    /// Drop a migration's journal and all it keeps (no rollback afterwards)
    Forget {
        /// A migration's id
        id: String,
    },
}

pub(crate) fn run(app: &App, args: &MigrateArgs) -> Result<(), CommandError> {
    match &args.command {
        None => begin(app, args),
        Some(MigrateCommand::Status { id }) => later::status(app, id.as_deref()),
        Some(MigrateCommand::Resume { id }) => later::resume(app, id.as_deref()),
        Some(MigrateCommand::Rollback { id }) => later::rollback(app, id.as_deref()),
        Some(MigrateCommand::Verify { id }) => later::verify(app, id.as_deref()),
        Some(MigrateCommand::Forget { id }) => later::forget(app, id),
    }
}

fn begin(app: &App, args: &MigrateArgs) -> Result<(), CommandError> {
    let (Some(from), Some(to)) = (&args.from, &args.to) else {
        return Err(CommandError::usage("missing: --from URI and --to URI"));
    };
    let project = project::load_if_there(app)?;
    let writes = !args.dry_run && args.write_map.is_none();
    let opened = session::open_journals(app, writes)?;
    let session = opened.as_ref();
    let source = Side::open_source(app, project.as_ref(), session, from)?;
    let target = Side::open(app, project.as_ref(), session, to, Some(source.scheme()))?;
    if source.uri == target.uri {
        return Err(CommandError::usage("source and target are the same"));
    }
    let mapping = match &args.map {
        Some(file) => Mapping::read(file, &source, &target)?,
        None => Mapping::guess(app, project.as_ref(), &source, &target, args.all)?,
    };
    if let Some(file) = &args.write_map {
        return mapping.write(app, file, &source, &target);
    }
    let options = Options {
        overwrite: args.overwrite,
        with_history: !args.current_only,
    };
    let planned = {
        let meter = Meter::new(&app.ui, "reading");
        let progress = |done, total| meter.step(done, total);
        let wishes = mapping.wishes();
        let (from, to) = (source.backend.as_ref(), target.backend.as_ref());
        wait(migrate::plan(from, to, wishes, options, &progress))?
    };
    let work = Work {
        app,
        project: project.as_ref(),
        session,
        source,
        target,
    };
    let cleans = work.source.file.is_some() && !args.keep_source;
    work.carry_out(planned, &mapping, options, cleans, args.dry_run)
}

/// A migration at work.
pub(crate) struct Work<'w> {
    pub(crate) app: &'w App,
    pub(crate) project: Option<&'w Project>,
    /// The user's store; a dry run may be without.
    pub(crate) session: Option<&'w Session>,
    pub(crate) source: Side,
    pub(crate) target: Side,
}

impl Work<'_> {
    /// Shows the plan, asks, writes the journal, and does it all.
    pub(crate) fn carry_out(
        &self,
        planned: Vec<Planned>,
        mapping: &Mapping,
        options: Options,
        cleans: bool,
        is_dry_run: bool,
    ) -> Result<(), CommandError> {
        let app = self.app;
        if !app.ui.is_json {
            report::show_plan(app, self, &planned, mapping)?;
        }
        let refused = planned
            .iter()
            .filter(|planned| matches!(planned.step, Step::Refuse(_)));
        let refused = refused.count();
        if is_dry_run {
            return report::dry_run(app, self, &planned, mapping, refused);
        }
        if refused > 0 {
            return Err(report::refusal(app, &planned, refused));
        }
        let writes = planned
            .iter()
            .filter(|planned| matches!(planned.step, Step::Create | Step::Replace));
        let writes = writes.count();
        let unchanged = planned
            .iter()
            .filter(|planned| planned.step == Step::Unchanged);
        let is_cleaned_only = cleans && unchanged.count() > 0;
        if writes == 0 && !is_cleaned_only {
            return report::nothing(app, self, &planned, mapping);
        }
        app.ui.confirm(&self.question(writes, cleans))?;
        let session = self.session.ok_or_else(no_store)?;
        let mut journal = self.write_down(session, &planned, options, cleans)?;
        self.note(session, &planned);
        if !app.ui.is_json {
            app.ui.say(&format!(
                "migration {} (interrupted? {})",
                journal.header.id,
                line_to_go_on(&journal.header)
            ));
        }
        self.go_on(session, &mut journal, planned)
    }

    fn question(&self, writes: usize, cleans: bool) -> String {
        let target = self.target.backend.describe();
        let then = match cleans {
            true => format!(", and take them out of {}", self.source.backend.describe()),
            false => String::new(),
        };
        format!("Write {} to {target}{then}?", plural(writes, "secret"))
    }

    /// What is about to be written elsewhere, for the ledger.
    fn note(&self, session: &Session, planned: &[Planned]) {
        if self.target.scheme() == "store" {
            return;
        }
        let from = self.source.backend.describe();
        let written = planned.iter().filter_map(|one| {
            let is_written = matches!(one.step, Step::Create | Step::Replace);
            let item = one.item.as_ref().filter(|_| is_written)?;
            let (secret, version) = (&one.wish.from, item.version.clone());
            let (barrier, value) = (&session.barrier, &item.payload.value);
            Some(ledger::given(barrier, secret, &from, version, value))
        });
        let to = self.target.backend.describe();
        ledger::note(self.app, session, Channel::Migrate, &to, written.collect());
    }

    fn write_down(
        &self,
        session: &Session,
        planned: &[Planned],
        options: Options,
        cleans: bool,
    ) -> Result<Journal, CommandError> {
        let barrier = &session.barrier;
        let entries: Vec<Entry> = planned
            .iter()
            .filter_map(|planned| planned.entry(|item| barrier.fingerprint(&item.payload.value)))
            .collect();
        let header = Header {
            id: String::new(),
            created: self.app.now(),
            from: self.source.uri.clone(),
            to: self.target.uri.clone(),
            stage: Stage::Copying,
            count: 0,
            with_history: options.with_history,
            tags: tags(self.source.scheme()),
            cleans,
            left: None,
            ignored: None,
        };
        let journal = wait(Journal::create(&session.engine, header, entries))?;
        session.note_write();
        Ok(journal)
    }

    /// Does what is left to do, from whatever point the journal is at.
    pub(crate) fn go_on(
        &self,
        session: &Session,
        journal: &mut Journal,
        planned: Vec<Planned>,
    ) -> Result<(), CommandError> {
        if matches!(journal.header.stage, Stage::Copying | Stage::Lazy) {
            self.copy(session, journal, planned)?;
        }
        let cleaned = match journal.header.cleans {
            true => clean::clean(self, journal)?,
            false => clean::Cleaned::default(),
        };
        if journal.header.stage != Stage::Lazy {
            journal.header.stage = Stage::Done;
        }
        wait(journal.save_header())?;
        session.finish(self.app);
        report::done(self, journal, &cleaned)
    }

    /// Copies what is left; an error when a secret failed.
    fn copy(
        &self,
        session: &Session,
        journal: &mut Journal,
        planned: Vec<Planned>,
    ) -> Result<(), CommandError> {
        let meter = Meter::new(&self.app.ui, "migrated");
        let progress = |done, total| meter.step(done, total);
        let (from, to) = (self.source.backend.as_ref(), self.target.backend.as_ref());
        let copied = wait(migrate::copy(journal, from, to, planned, &progress));
        copied.map_err(|error| stopped(error.into(), &line_to_go_on(&journal.header)))?;
        drop(meter);
        let has_failed = |entry: &Entry| matches!(entry.state, State::Failed(_));
        if journal.entries.iter().any(has_failed) {
            session.finish(self.app);
            return report::incomplete(self.app, journal);
        }
        if journal.header.stage == Stage::Copying {
            journal.header.stage = Stage::Copied;
            wait(journal.save_header())?;
        }
        Ok(())
    }

    /// The journal of a restore of this file to this target that did not come to its end.
    pub(crate) fn interrupted(&self) -> Result<Option<Journal>, CommandError> {
        let Some(session) = self.session else {
            return Ok(None);
        };
        let is_it = |header: &Header| {
            let is_same = header.from == self.source.uri && header.to == self.target.uri;
            is_same && matches!(header.stage, Stage::Copying | Stage::Copied)
        };
        let known = wait(Journal::list(&session.engine))?;
        match known.into_iter().find(is_it) {
            Some(header) => Ok(Some(wait(Journal::load(&session.engine, &header.id))?)),
            None => Ok(None),
        }
    }

    /// The addresses in the target that a journal has yet to write.
    pub(crate) fn left_of(&self, journal: &Journal) -> BTreeSet<String> {
        let entries = journal.entries.iter().filter(|entry| !entry.is_copied());
        entries.map(|entry| entry.to.clone()).collect()
    }

    /// Brings an interrupted restore to its end.
    pub(crate) fn go_on_restoring(&self, mut journal: Journal) -> Result<Journal, CommandError> {
        let session = self.session.ok_or_else(no_store)?;
        let (id, count) = (&journal.header.id, self.left_of(&journal).len());
        let (count, target) = (plural(count, "secret"), self.target.backend.describe());
        self.app.ui.confirm(&format!(
            "Restore {id} was interrupted. Go on, and write {count} to {target}?"
        ))?;
        self.app.ui.say(&format!(
            "restore {id} was interrupted: going on with {count}"
        ));
        wait(journal.take_over())?;
        session.note_write();
        self.copy(session, &mut journal, Vec::new())?;
        journal.header.stage = Stage::Done;
        wait(journal.save_header())?;
        session.finish(self.app);
        Ok(journal)
    }

    /// Reports a restore that went on and has nothing more to do.
    pub(crate) fn restored(&self, journal: &Journal) -> Result<(), CommandError> {
        report::done(self, journal, &clean::Cleaned::default())
    }
}

fn no_store() -> CommandError {
    CommandError::failed("the store that keeps the journal is not open")
}

/// `migrated_from`: as the guide of the application calls it.
fn tags(scheme: &str) -> BTreeMap<String, String> {
    let from = match scheme {
        "dotenv" => "env",
        other => other,
    };
    BTreeMap::from([(TAG.to_owned(), from.to_owned())])
}

/// A migration that a backend's failure has stopped; `line` goes on with it.
pub(crate) fn stopped(error: CommandError, line: &str) -> CommandError {
    if error.kind == Kind::Conflict {
        return error;
    }
    error.hint(format!(
        "what was done is written down; {line} goes on from there"
    ))
}

/// The command that goes on with copying.
fn line_to_go_on(header: &Header) -> String {
    match header.from.strip_prefix("backup:") {
        Some(_) => "the same strongroom restore".into(),
        None => resume_line(&header.id),
    }
}

/// The command that goes on with a migration.
pub(crate) fn resume_line(id: &str) -> String {
    format!("strongroom migrate resume {id}")
}
