//! `backup` and `restore`: everything of a backend in one sealed file, and back.

use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use rustix::fs::Mode;
use serde_json::json;
use strongroom_chain::keyfile;
use strongroom_core::port::Rng;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::SystemRng;
use strongroom_crypto::header::Header;
use strongroom_crypto::header::UnsealError;
use strongroom_crypto::header::Unsealed;
use strongroom_crypto::kdf::KdfCost;
use strongroom_crypto::slot::SlotKind;
use strongroom_crypto::slot::UnwrapError;
use strongroom_crypto::slot::WrapContext;
use strongroom_engine::ledger::Channel;
use strongroom_engine::migrate;
use strongroom_engine::migrate::Options;
use strongroom_engine::migrate::Wish;
use strongroom_engine::transfer::backup::BACKUP_BYTES_MAX;
use strongroom_engine::transfer::backup::Backup;
use strongroom_engine::transfer::backup::BackupBackend;
use strongroom_engine::transfer::backup::BackupError;
use strongroom_engine::transfer::backup::Contents;
use strongroom_engine::transfer::backup::collect;

use crate::app::App;
use crate::commands::check::plural;
use crate::commands::migrate::Mapping;
use crate::commands::migrate::Work;
use crate::error::CommandError;
use crate::error::Kind;
use crate::input::ValueSource;
use crate::ledger;
use crate::output;
use crate::output::Existing;
use crate::progress::Meter;
use crate::project;
use crate::runtime::wait;
use crate::session;
use crate::session::Session;
use crate::session::day;
use crate::side::Naming;
use crate::side::Side;

/// Shortest passphrase, in characters.
const PASSPHRASE_CHARS_MIN: usize = 8;

/// What opens a backup.
#[derive(Args)]
pub(crate) struct BackupKey {
    /// Seal with a passphrase: prompt, or with @FILE the one in a file
    #[arg(long, value_name = "SOURCE", num_args = 0..=1, default_missing_value = "")]
    passphrase: Option<String>,
    /// Seal with this key file (made if it is not there); default: the store's key file
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase")]
    backup_key: Option<PathBuf>,
}

/// Write all secrets of a backend to one encrypted file: values, versions, tags, descriptions
///
/// The file is sealed under a passphrase or a key file; keep that apart from the backup.
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom backup shop.backup
  strongroom backup shop.backup --passphrase
  strongroom backup vault.backup --from vault:secret/shop --backup-key offline.key")]
pub(crate) struct BackupArgs {
    /// The file to write
    file: PathBuf,
    /// What is backed up
    #[arg(long, value_name = "URI", default_value = "store:/")]
    from: String,
    #[command(flatten)]
    key: BackupKey,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

/// Write the secrets of a backup into a backend, on this machine or another
///
/// All of the file is opened and checked before anything is written. What is there already and
/// equal is left. Like a migration, a restore is written down: interrupted at any point, the same
/// command goes on from there and writes nothing twice; `migrate rollback` undoes it.
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom restore shop.backup --dry-run
  strongroom restore shop.backup --to store:/ --yes
  strongroom restore vault.backup --to vault:secret/shop --passphrase")]
pub(crate) struct RestoreArgs {
    /// The backup
    file: PathBuf,
    /// Where to
    #[arg(long, value_name = "URI", default_value = "store:/")]
    to: String,
    #[command(flatten)]
    key: BackupKey,
    /// Only check the file and show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Only open and check the file
    #[arg(long, conflicts_with = "dry_run")]
    verify: bool,
    /// Replace other values that the target holds
    #[arg(long)]
    overwrite: bool,
    /// Leave earlier versions out
    #[arg(long)]
    current_only: bool,
}

pub(crate) fn run(app: &App, args: &BackupArgs) -> Result<(), CommandError> {
    if args.file.exists() && !args.force {
        let message = format!("{} is there already", args.file.display());
        return Err(
            CommandError::new(Kind::Conflict, "file.exists", message).hint("--force replaces it")
        );
    }
    let project = project::load_if_there(app)?;
    let opened = session::open_if_there(app)?;
    let source = Side::open_source(app, project.as_ref(), opened.as_ref(), &args.from)?;
    let saved = {
        let meter = Meter::new(&app.ui, "saved");
        let progress = |done, total| meter.step(done, total);
        wait(collect(source.backend.as_ref(), &source.prefix, &progress))?
    };
    let versions: usize = saved.iter().map(|saved| saved.versions.len()).sum();
    let too_many = |_| CommandError::from(BackupError::TooLarge);
    let contents = Contents {
        created: app.now(),
        from: source.backend.describe(),
        secrets: u32::try_from(saved.len()).map_err(too_many)?,
        versions: u32::try_from(versions).map_err(too_many)?,
    };
    let (header, unsealed, opened_by) = new_key(app, &args.key)?;
    let backup = Backup { contents, saved };
    let bytes = backup.seal(&header, &unsealed)?;
    // Opened again before it is trusted.
    Backup::open(&bytes, |_| Ok::<_, BackupError>(unsealed))?;
    let existing = match args.force {
        true => Existing::Replace,
        false => Existing::Keep(output::FORCE_REPLACES),
    };
    if let Some(session) = &opened {
        note(app, session, &source, &backup, &args.file);
    }
    output::write(&args.file, &bytes, Mode::RUSR | Mode::WUSR, existing)?;
    let contents = &backup.contents;
    let left: Vec<&str> = left_behind(&backup);
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "file": args.file,
            "from": contents.from,
            "secrets": contents.secrets,
            "versions": contents.versions,
            "bytes": bytes.len(),
            "opened_by": opened_by,
            "left": left,
        }));
    }
    if !left.is_empty() {
        app.ui.warn(&format!(
            "resource policies and replicas stay behind, of {}: {}",
            plural(left.len(), "secret"),
            left.join(", ")
        ));
    }
    app.ui.say(&format!(
        "wrote {} in {} of {} to {}; it is opened by {opened_by}",
        plural(versions, "version"),
        plural(backup.saved.len(), "secret"),
        contents.from,
        args.file.display()
    ));
    Ok(())
}

/// Every version that is in the file, for the ledger.
fn note(app: &App, session: &Session, source: &Side, backup: &Backup, file: &Path) {
    let from = backup.contents.from.as_str();
    let versions = backup.saved.iter().flat_map(|saved| {
        let secret = format!("{}{}", source.prefix, saved.address);
        let versions = saved.versions.iter();
        versions.map(move |one| {
            let (barrier, value) = (&session.barrier, &one.payload.value);
            ledger::given(barrier, &secret, from, one.id.clone(), value)
        })
    });
    let place = format!("file {}", file.display());
    ledger::note(app, session, Channel::Backup, &place, versions.collect());
}

/// The secrets that have what no backup holds.
fn left_behind(backup: &Backup) -> Vec<&str> {
    let left = backup.saved.iter().filter(|saved| !saved.left.is_empty());
    left.map(|saved| saved.address.as_str()).collect()
}

/// A header with one slot, its keys, and what opens it in words.
fn new_key(app: &App, key: &BackupKey) -> Result<(Header, Unsealed, String), CommandError> {
    let (mut header, unsealed) = Header::create(&SystemRng, app.now());
    let (kind, secret, opened_by) = match &key.passphrase {
        Some(source) => {
            let secret = passphrase(app, source, true)?;
            let mut salt = [0; 16];
            SystemRng.fill(&mut salt);
            let cost = KdfCost::RECOMMENDED;
            let kind = SlotKind::Passphrase { cost, salt };
            (kind, secret, "the passphrase".to_owned())
        }
        None => {
            let path = key_path(app, key)?;
            let secret = keyfile::create(&path, &SystemRng)?;
            let opened_by = format!("the key file {}", path.display());
            (SlotKind::KeyFile, secret, opened_by)
        }
    };
    let context = WrapContext {
        rng: &SystemRng,
        now: app.now(),
    };
    header
        .add_slot(&unsealed, kind, "backup", &secret, &context)
        .map_err(|error| CommandError::failed(error.to_string()))?;
    Ok((header, unsealed, opened_by))
}

fn key_path(app: &App, key: &BackupKey) -> Result<PathBuf, CommandError> {
    match &key.backup_key {
        Some(path) => Ok(path.clone()),
        None => Ok(app.settings.key_file()?.value),
    }
}

fn passphrase(app: &App, source: &str, is_new: bool) -> Result<SecretValue, CommandError> {
    let question = "Passphrase of the backup";
    let secret = match source {
        "" => app.ui.ask_secret(question, is_new)?,
        source => ValueSource::parse(Some(source))?.read(app, question, false)?,
    };
    // EXPOSE: a trailing newline of a file is no part of it; counted for the shortest length.
    let text = secret.expose_secret_text().unwrap_or_default();
    let text = text.trim_end_matches(['\n', '\r']);
    if text.chars().count() < PASSPHRASE_CHARS_MIN {
        let message = format!("a passphrase has at least {PASSPHRASE_CHARS_MIN} characters");
        return Err(CommandError::usage(message));
    }
    Ok(SecretValue::copy_from(text.as_bytes()))
}

fn unlock(app: &App, key: &BackupKey, header: &Header) -> Result<Unsealed, CommandError> {
    let secret = match &key.passphrase {
        Some(source) => passphrase(app, source, false)?,
        None => {
            let needs_passphrase = header
                .slots()
                .iter()
                .all(|slot| matches!(slot.kind, SlotKind::Passphrase { .. }));
            match needs_passphrase && key.backup_key.is_none() {
                true => passphrase(app, "", false)?,
                false => {
                    let path = key_path(app, key)?;
                    keyfile::read(&path)?.ok_or_else(|| {
                        let message = format!("there is no key file {}", path.display());
                        CommandError::new(Kind::Locked, "backup.locked", message)
                            .hint("--backup-key names the one the backup was sealed with")
                    })?
                }
            }
        }
    };
    for slot in header.slots() {
        match header.unseal(slot.id, &secret) {
            Err(UnsealError::Slot(UnwrapError::WrongKey)) => {}
            Err(error @ UnsealError::Slot(_)) => return Err(BackupError::Locked(error).into()),
            other => return other.map_err(|error| BackupError::Locked(error).into()),
        }
    }
    let message = "the key does not open this backup, or the backup was changed";
    Err(CommandError::new(Kind::Locked, "backup.locked", message)
        .hint("--backup-key FILE or --passphrase, whichever it was sealed with"))
}

fn read(app: &App, file: &Path, key: &BackupKey) -> Result<Backup, CommandError> {
    let bytes = strongroom_backends::file::read_capped(file, BACKUP_BYTES_MAX as u64);
    let bytes = bytes.map_err(|error| {
        let kind = match file.exists() {
            true => Kind::Failed,
            false => Kind::NotFound,
        };
        let message = format!("{} cannot be read: {error}", file.display());
        CommandError::new(kind, "backup.unreadable", message)
    })?;
    Backup::open(&bytes, |header| unlock(app, key, header))
}

pub(crate) fn restore(app: &App, args: &RestoreArgs) -> Result<(), CommandError> {
    let backup = read(app, &args.file, &args.key)?;
    if args.verify {
        return verified(app, args, &backup);
    }
    let file = std::path::absolute(&args.file).unwrap_or_else(|_| args.file.clone());
    let uri = format!("backup:{}", file.display());
    let label = args.file.display().to_string();
    let addresses: Vec<String> = backup
        .saved
        .iter()
        .map(|saved| saved.address.clone())
        .collect();
    let source = Side::of_paths(Box::new(BackupBackend::new(label, backup)), uri);
    let project = project::load_if_there(app)?;
    let opened = session::open_journals(app, !args.dry_run)?;
    let session = opened.as_ref();
    let target = Side::open(app, project.as_ref(), session, &args.to, Some("backup"))?;
    let wishes = addresses.into_iter().map(|from| {
        let names = source.names_of(None, &from);
        let to = match target.naming {
            // What was saved from variables has names of variables.
            Naming::Variables if !from.contains('/') => from.clone(),
            _ => target.address_of(&names)?,
        };
        Ok(Wish { from, to })
    });
    let mut wishes = wishes.collect::<Result<Vec<_>, CommandError>>()?;
    let work = Work {
        app,
        project: project.as_ref(),
        session,
        source,
        target,
    };
    let interrupted = work.interrupted()?;
    let resumed = match (interrupted, args.dry_run) {
        (Some(journal), true) => {
            let left = work.left_of(&journal);
            let (id, count) = (&journal.header.id, plural(left.len(), "secret"));
            app.ui.say(&format!(
                "restore {id} was interrupted; it would go on with {count} first"
            ));
            wishes.retain(|wish| !left.contains(&wish.to));
            None
        }
        (Some(journal), false) => Some(work.go_on_restoring(journal)?),
        (None, _) => None,
    };
    let options = Options {
        overwrite: args.overwrite,
        with_history: !args.current_only,
    };
    let planned = {
        let meter = Meter::new(&app.ui, "comparing");
        let progress = |done, total| meter.step(done, total);
        let (from, to) = (work.source.backend.as_ref(), work.target.backend.as_ref());
        wait(migrate::plan(from, to, wishes.clone(), options, &progress))?
    };
    if let Some(journal) = resumed
        && planned.iter().all(|planned| planned.step.is_nothing())
    {
        return work.restored(&journal);
    }
    work.carry_out(planned, &Mapping::of(wishes), options, false, args.dry_run)
}

fn verified(app: &App, args: &RestoreArgs, backup: &Backup) -> Result<(), CommandError> {
    let contents = &backup.contents;
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "file": args.file,
            "ok": true,
            "from": contents.from,
            "created": contents.created.to_string(),
            "secrets": contents.secrets,
            "versions": contents.versions,
        }));
    }
    app.ui.print_line(&format!(
        "{} is whole: {} in {} of {}, made {}",
        args.file.display(),
        plural(contents.versions as usize, "version"),
        plural(contents.secrets as usize, "secret"),
        contents.from,
        day(contents.created)
    ))
}
