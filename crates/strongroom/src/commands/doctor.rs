use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use strongroom_core::port::StorageError;
use strongroom_core::time::Timestamp;
use strongroom_crypto::slot::SlotKind;
use strongroom_engine::secrets::MetadataPatch;
use strongroom_engine::secrets::WriteOptions;
use strongroom_engine::verify::Problem;
use strongroom_engine::verify::Report;
use strongroom_store::embedded::Backup;
use strongroom_store::embedded::Rollback;
use strongroom_store::embedded::restore_backup;

use crate::app::App;
use crate::commands::check::plural;
use crate::commands::userkeys;
use crate::error::CommandError;
use crate::error::Kind;
use crate::project;
use crate::session;
use crate::session::Session;
use crate::session::day;
use crate::ui::Tone;

/// A backup older than this is reported, in days.
const BACKUP_DAYS_MAX: i64 = 7;

/// Read the whole store through and say what is wrong
///
/// Opens every record, checks that none has vanished, looks at the key slots and the daily
/// backup. Exits with 1 when something is wrong.
#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// Accept a store that is older than its head file says
    #[arg(long)]
    accept_rollback: bool,
    /// Put the daily backup in the store's place; the store is kept beside it
    #[arg(long)]
    restore_backup: bool,
    /// Carry every secret whose newest value still opens into a new store
    #[arg(long, value_name = "FILE")]
    salvage: Option<PathBuf>,
}

struct Finding {
    is_bad: bool,
    what: String,
    next: Option<String>,
}

pub(crate) fn run(app: &App, args: &DoctorArgs) -> Result<(), CommandError> {
    let mut rollback = Rollback::Refuse;
    if args.restore_backup {
        let path = app.settings.store()?.value;
        app.ui.confirm(&format!(
            "Put the daily backup in the place of {}?",
            path.display()
        ))?;
        let kept = restore_backup(&path)?;
        app.ui.say(&format!(
            "the backup is in place; the store before is {}",
            kept.display()
        ));
        rollback = Rollback::Accept;
    }
    if args.accept_rollback {
        app.ui
            .confirm("Accept the store as it is, even if it has lost writes?")?;
        rollback = Rollback::Accept;
    }
    let session = session::open_with(app, rollback)?;
    let examination = examine(app, &session)?;
    let manifest = project::load_if_there(app);
    if app.ui.is_json {
        app.ui
            .print_json(&examination.json(&session, manifest.is_ok()))?;
    } else {
        examination.print(app, &session)?;
    }
    if let Some(path) = &args.salvage {
        salvage(app, &session, &examination.report, path)?;
    }
    manifest?;
    if examination.problems.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the store has {}",
        plural(examination.problems.len(), "problem")
    );
    let failed = CommandError::new(Kind::Failed, "store.damaged", message);
    Err(match examination.backup {
        Some(backup) => failed.hint(format!(
            "the daily backup {} is of {}; --restore-backup puts it in place and keeps this store",
            backup.path.display(),
            Timestamp::from_micros(backup.made)
        )),
        None => failed.hint("there is no daily backup; --salvage FILE carries over what opens"),
    })
}

/// Carries what can be read into a new store, which opens with the same key file.
fn salvage(app: &App, session: &Session, report: &Report, path: &Path) -> Result<(), CommandError> {
    let target = session::create(app, path)?;
    let mut carried = 0;
    for path in &report.readable {
        let read = crate::runtime::wait(session.engine.read(&session.context, path, None));
        // It was readable a moment ago; what is not any more is in the report already.
        let Ok(secret) = read else { continue };
        let metadata = secret.metadata;
        let mut options = WriteOptions::new(secret.version.provenance);
        options.metadata = MetadataPatch {
            description: metadata.description,
            tags: metadata
                .tags
                .into_iter()
                .map(|(key, value)| (key, Some(value)))
                .collect(),
            owner: metadata.owner,
            class: metadata.class,
            expires_at: Some(metadata.expires_at),
            rotate_every: Some(metadata.rotate_every),
            max_versions: Some(metadata.max_versions),
        };
        let written = target
            .engine
            .write(&target.context, path, &secret.payload, &options);
        crate::runtime::wait(written)?;
        carried += 1;
    }
    app.ui.say(&format!(
        "carried {} into {}; to use it, put it in the store's place or name it with --store",
        plural(carried, "secret"),
        path.display()
    ));
    Ok(())
}

/// Everything that was looked at.
struct Examination {
    report: Report,
    problems: Vec<Problem>,
    findings: Vec<Finding>,
    backup: Option<Backup>,
}

fn examine(app: &App, session: &Session) -> Result<Examination, CommandError> {
    // A file that SQLite cannot even walk through is the worst finding, not the end of the visit.
    let integrity = match session.storage.integrity() {
        Err(StorageError::Damaged { detail }) => vec![detail],
        other => other?,
    };
    let mut report = crate::runtime::wait(session.engine.verify())?;
    let mut problems = std::mem::take(&mut report.problems);
    let of_file = |detail| Problem {
        what: "the store's file".into(),
        detail,
    };
    problems.extend(integrity.into_iter().map(of_file));
    let backup = session.storage.last_backup();
    let header = session.storage.read_header()?;
    let mut findings = findings(app, &header, backup.as_ref().map(|backup| backup.made));
    if !session.unsealed.root.is_locked() {
        findings.push(Finding {
            is_bad: false,
            what: "the system refuses to lock keys into memory; they may be swapped out".into(),
            next: Some("raise the limit of locked memory (ulimit -l) or encrypt the swap".into()),
        });
    }
    for what in userkeys::doubts(app, &session.barrier) {
        findings.push(Finding {
            is_bad: false,
            what,
            next: Some("strongroom userkeys encrypt".into()),
        });
    }
    Ok(Examination {
        report,
        problems,
        findings,
        backup,
    })
}

impl Examination {
    fn json(&self, session: &Session, manifest_is_ok: bool) -> serde_json::Value {
        let problem = |problem: &Problem| json!({"what": problem.what, "detail": problem.detail});
        let finding = |finding: &Finding| json!({"what": finding.what, "next": finding.next});
        json!({
            "version": 1,
            "ok": self.problems.is_empty() && manifest_is_ok,
            "store": session.storage.path(),
            "secrets": self.report.secrets,
            "versions": self.report.versions,
            "audit_records": self.report.audit_records,
            "problems": self.problems.iter().map(problem).collect::<Vec<_>>(),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "backup": self.backup.as_ref().map(|backup| json!({
                "path": backup.path,
                "made": Timestamp::from_micros(backup.made).to_string(),
            })),
        })
    }

    fn print(&self, app: &App, session: &Session) -> Result<(), CommandError> {
        let good = app.ui.tint(Tone::Good, "ok");
        let count = |number: u64, noun| plural(usize::try_from(number).unwrap_or(usize::MAX), noun);
        app.ui.print_line(&format!(
            "{good}     the store {} opens ({}, slot {})",
            session.storage.path().display(),
            session.slot.kind.word(),
            session.slot.id
        ))?;
        app.ui.print_line(&format!(
            "{good}     {} with {} and {} open",
            count(self.report.secrets, "secret"),
            count(self.report.versions, "version"),
            count(self.report.audit_records, "audit record"),
        ))?;
        if let Some(backup) = &self.backup {
            let made = day(Timestamp::from_micros(backup.made));
            let path = backup.path.display();
            app.ui
                .print_line(&format!("{good}     daily backup {path} of {made}"))?;
        }
        for finding in &self.findings {
            let tone = if finding.is_bad {
                Tone::Bad
            } else {
                Tone::Doubtful
            };
            app.ui
                .print_line(&format!("{}   {}", app.ui.tint(tone, "note"), finding.what))?;
            if let Some(next) = &finding.next {
                app.ui.print_line(&format!("       {next}"))?;
            }
        }
        for problem in &self.problems {
            let word = app.ui.tint(Tone::Bad, "wrong");
            app.ui
                .print_line(&format!("{word}  {}: {}", problem.what, problem.detail))?;
        }
        Ok(())
    }
}

fn findings(
    app: &App,
    header: &strongroom_crypto::header::Header,
    backup_made: Option<i64>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let slots = header.slots();
    if !slots.iter().any(|slot| slot.kind == SlotKind::Recovery) {
        findings.push(Finding {
            is_bad: false,
            what: match slots {
                [_] => "the store has one key slot: who loses that key loses the store".into(),
                _ => "the store has no recovery kit".into(),
            },
            next: Some("strongroom key add recovery".into()),
        });
    }
    match backup_made {
        None => findings.push(Finding {
            is_bad: false,
            what: "there is no daily backup yet; the next write makes one".into(),
            next: None,
        }),
        Some(made) => {
            let days = app.now().seconds_since(Timestamp::from_micros(made)) / 86_400;
            if days > BACKUP_DAYS_MAX {
                findings.push(Finding {
                    is_bad: true,
                    what: format!("the backup is {days} days old; the next write makes a new one"),
                    next: None,
                });
            }
        }
    }
    findings
}
