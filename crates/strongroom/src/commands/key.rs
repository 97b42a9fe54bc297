use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use rustix::fs::Mode;
use serde_json::json;
use strongroom_chain::keyfile;
use strongroom_core::audit::Action;
use strongroom_core::audit::Outcome;
use strongroom_core::port::Rng;
use strongroom_core::port::StorageError;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;
use strongroom_crypto::header::SlotError;
use strongroom_crypto::header::Unsealed;
use strongroom_crypto::kdf::KdfCost;
use strongroom_crypto::recovery::generate_recovery_key;
use strongroom_crypto::slot::SlotKind;
use strongroom_crypto::slot::WrapContext;
use strongroom_engine::Engine;
use strongroom_engine::error::ErrorKind;

use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::input::ValueSource;
use crate::oskeyring;
use crate::output;
use crate::output::Existing;
use crate::session;
use crate::session::Session;
use crate::session::day;

/// So often everything is sealed again because somebody makes one data key after the other.
const RESEALS_MAX: u32 = 16;

/// Shortest passphrase, in characters.
const PASSPHRASE_CHARS_MIN: usize = 8;

/// Manage the keys that open the store
///
/// A store has key slots, any one of which opens it: a key file, a passphrase, the user's
/// keyring, a printed recovery kit. Adding or removing one does not rewrite the store.
#[derive(Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Subcommand)]
enum KeyCommand {
    /// List the key slots and data keys
    #[command(visible_alias = "ls")]
    List,
    /// Add a key slot
    Add(AddArgs),
    /// Remove a key slot by its number
    Remove {
        /// The slot's number, as `key list` shows it
        slot: u32,
    },
    /// Make a new data key and seal everything under it
    Rotate {
        /// Leave what is stored under the older key; only new writes use the new one
        #[arg(long)]
        lazy: bool,
    },
}

#[derive(Args)]
struct AddArgs {
    #[command(subcommand)]
    kind: AddKind,
}

#[derive(Subcommand)]
enum AddKind {
    /// A passphrase (Argon2id)
    Passphrase {
        /// `-` for standard input, `@FILE` for a file; without it: prompt
        source: Option<String>,
        /// Your own words for it
        #[arg(long, default_value = "")]
        label: String,
    },
    /// A key file; it is made if it is not there
    KeyFile {
        /// The file
        path: PathBuf,
        /// Your own words for it
        #[arg(long, default_value = "")]
        label: String,
    },
    /// The keyring of your session or of the kernel
    Keyring {
        /// Which keyring
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(oskeyring::SERVICES))]
        service: String,
        /// Your own words for it
        #[arg(long, default_value = "")]
        label: String,
    },
    /// A recovery kit: print it, keep it away from this machine
    Recovery {
        /// Write it to a new file instead of standard output
        #[arg(long, short = 'o', value_name = "FILE")]
        output: Option<PathBuf>,
        /// Your own words for it
        #[arg(long, default_value = "")]
        label: String,
    },
}

pub(crate) fn run(app: &App, args: &KeyArgs) -> Result<(), CommandError> {
    match &args.command {
        KeyCommand::List => list(app),
        KeyCommand::Add(args) => add(app, &args.kind),
        KeyCommand::Remove { slot } => remove(app, *slot),
        KeyCommand::Rotate { lazy } => rotate(app, *lazy),
    }
}

fn list(app: &App) -> Result<(), CommandError> {
    let session = session::open(app)?;
    let header = session.storage.read_header()?;
    let keys = session.unsealed.keyring.data_keys();
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "slots": header.slots().iter().map(|slot| json!({
                "slot": slot.id,
                "kind": slot.kind.word(),
                "label": slot.label,
                "created": slot.created.to_string(),
                "opened_this_time": slot.id == session.slot.id,
            })).collect::<Vec<_>>(),
            "data_keys": keys.iter().map(|key| json!({
                "key": key.id,
                "created": key.created.to_string(),
                "active": key.active,
            })).collect::<Vec<_>>(),
            "seals": session.storage.seals()?,
        }));
    }
    let rows = header
        .slots()
        .iter()
        .map(|slot| {
            let used = if slot.id == session.slot.id {
                "opened the store now"
            } else {
                ""
            };
            vec![
                slot.id.to_string(),
                slot.kind.word().to_owned(),
                day(slot.created),
                slot.label.clone(),
                used.to_owned(),
            ]
        })
        .collect();
    app.ui
        .print_table(&["slot", "kind", "added", "label", ""], rows)?;
    let active = keys.iter().find(|key| key.active);
    if let Some(active) = active {
        app.ui.say(&format!(
            "data key {} of {}, in use since {}",
            active.id,
            keys.len(),
            day(active.created)
        ));
    }
    Ok(())
}

/// What a new slot opens with, and what has to happen once it is stored.
struct NewSlot {
    kind: SlotKind,
    label: String,
    secret: SecretValue,
}

fn add(app: &App, kind: &AddKind) -> Result<(), CommandError> {
    let session = session::open(app)?;
    let new = new_slot(app, kind)?;
    let word = new.kind.word();
    let context = WrapContext {
        rng: &SystemRng,
        now: app.now(),
    };
    let id = change_header(&session, |header, unsealed| {
        header.add_slot(
            unsealed,
            new.kind.clone(),
            &new.label,
            &new.secret,
            &context,
        )
    })?;
    if let SlotKind::OsKeyring { service } = &new.kind {
        let store_id = session.storage.read_header()?.store_id();
        if let Err(error) = oskeyring::set(service, &store_id, id, &new.secret) {
            change_header(&session, |header, unsealed| {
                header.remove_slot(unsealed, id, &SystemRng)
            })?;
            return Err(
                CommandError::new(Kind::Unreachable, "key.keyring", error.to_string())
                    .hint("the slot was not added; `key add passphrase` needs no keyring"),
            );
        }
    }
    let mut kit_to_print = None;
    if let AddKind::Recovery { output, .. } = kind {
        if app.ui.is_json && output.is_none() {
            // EXPOSE: the kit is shown once, to be printed and kept.
            kit_to_print = new.secret.expose_secret_text();
        } else {
            hand_out(app, &new.secret, output.as_ref())?;
        }
    }
    note(&session)?;
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "slot": id,
            "kind": word,
            "recovery_key": kit_to_print,
        }));
    }
    app.ui.say(&format!("added key slot {id} ({word})"));
    if let SlotKind::OsKeyring { service } = &new.kind
        && let Some(caution) = oskeyring::caution(service)
    {
        app.ui.say(caution);
    }
    Ok(())
}

fn new_slot(app: &App, kind: &AddKind) -> Result<NewSlot, CommandError> {
    Ok(match kind {
        AddKind::Passphrase { source, label } => {
            let mut salt = [0; 16];
            SystemRng.fill(&mut salt);
            let secret =
                ValueSource::parse(source.as_deref())?.read(app, "the new passphrase", false)?;
            let secret = first_line(&secret);
            // EXPOSE: counted, not kept.
            let chars = secret
                .expose_secret_text()
                .map_or(0, |text| text.chars().count());
            if chars < PASSPHRASE_CHARS_MIN {
                return Err(CommandError::usage(format!(
                    "a passphrase has at least {PASSPHRASE_CHARS_MIN} characters"
                )));
            }
            let kind = SlotKind::Passphrase {
                cost: KdfCost::RECOMMENDED,
                salt,
            };
            NewSlot {
                kind,
                label: label.clone(),
                secret,
            }
        }
        AddKind::KeyFile { path, label } => NewSlot {
            kind: SlotKind::KeyFile,
            label: label.clone(),
            secret: keyfile::create(path, &SystemRng)?,
        },
        AddKind::Keyring { service, label } => {
            let mut key = [0; 32];
            SystemRng.fill(&mut key);
            let secret = SecretValue::from_text(data_encoding::BASE64.encode(&key));
            zeroize::Zeroize::zeroize(&mut key);
            let kind = SlotKind::OsKeyring {
                service: service.clone(),
            };
            NewSlot {
                kind,
                label: label.clone(),
                secret,
            }
        }
        AddKind::Recovery { label, .. } => NewSlot {
            kind: SlotKind::Recovery,
            label: label.clone(),
            secret: generate_recovery_key(&SystemRng),
        },
    })
}

/// The passphrase without the newline that editors put behind it: it is left out when a
/// passphrase file is read, too.
fn first_line(text: &SecretValue) -> SecretValue {
    // EXPOSE: copied without its end of line.
    let bytes = text.expose_secret();
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    SecretValue::copy_from(line.strip_suffix(b"\r").unwrap_or(line))
}

fn hand_out(app: &App, kit: &SecretValue, file: Option<&PathBuf>) -> Result<(), CommandError> {
    let mut line = zeroize::Zeroizing::new(Vec::with_capacity(kit.len_bytes() + 1));
    // EXPOSE: the kit is shown once, to be printed and kept.
    line.extend_from_slice(kit.expose_secret());
    line.push(b'\n');
    match file {
        Some(path) => output::write(
            path,
            &line,
            Mode::RUSR | Mode::WUSR,
            Existing::Keep(output::CHOOSE_ANOTHER),
        )?,
        None => app.ui.print_bytes(&line)?,
    }
    app.ui
        .say("keep this recovery key away from this machine; it is not shown again");
    Ok(())
}

fn remove(app: &App, slot: u32) -> Result<(), CommandError> {
    let session = session::open(app)?;
    let header = session.storage.read_header()?;
    let known = header
        .slots()
        .iter()
        .find(|known| known.id == slot)
        .cloned();
    let known = known.ok_or_else(|| slot_error(SlotError::NoSlot))?;
    app.ui
        .confirm(&format!("Remove key slot {slot} ({})?", known.kind.word()))?;
    change_header(&session, |header, unsealed| {
        header.remove_slot(unsealed, slot, &SystemRng)
    })?;
    if let SlotKind::OsKeyring { service } = &known.kind {
        // The slot is gone; an entry that stays behind opens nothing.
        let _ = oskeyring::remove(service, &header.store_id(), slot);
    }
    note(&session)?;
    if app.ui.is_json {
        return app.ui.print_json(&json!({"version": 1, "removed": slot}));
    }
    app.ui.say(&format!(
        "removed key slot {slot}; copies of the store made before still open with it"
    ));
    Ok(())
}

fn rotate(app: &App, is_lazy: bool) -> Result<(), CommandError> {
    let mut session = session::open(app)?;
    let active = new_data_key(app, &mut session)?;
    let resealed = match is_lazy {
        true => 0,
        false => reseal(&mut session, active)?,
    };
    note(&session)?;
    session.note_write();
    session.finish(app);
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({"version": 1, "data_key": active, "resealed": resealed}));
    }
    app.ui.say(&format!(
        "data key {active} is in use; {resealed} secrets were sealed under it"
    ));
    Ok(())
}

/// Seals everything under the newest data key: that one, or one that somebody makes meanwhile.
fn reseal(session: &mut Session, active: u32) -> Result<u64, CommandError> {
    let (mut resealed, mut active) = (0, active);
    for attempt in 1.. {
        match crate::runtime::wait(session.engine.reseal(&session.context, active)) {
            Ok(count) => {
                resealed += count;
                break;
            }
            Err(error) if error.kind() == ErrorKind::Contended && attempt < RESEALS_MAX => {
                let header = session.storage.read_header()?;
                let unsealed = newest(&header, &session.unsealed)?;
                active = unsealed.keyring.active();
                use_keys(session, &header, unsealed);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(resealed)
}

fn use_keys(session: &mut Session, header: &Header, unsealed: Unsealed) {
    session.unsealed = unsealed;
    session.barrier = Barrier::new(header.store_id(), &session.unsealed.keyring);
    let storage = std::sync::Arc::clone(&session.storage);
    session.engine = Engine::new(storage, session.barrier.clone());
}

/// Makes a data key, which the session seals under from now on; its number.
pub(crate) fn new_data_key(app: &App, session: &mut Session) -> Result<u32, CommandError> {
    let read_at = session.storage.read_header()?;
    let mut unsealed = newest(&read_at, &session.unsealed)?;
    let active = unsealed.keyring.rotate(&SystemRng, app.now());
    let mut header = read_at.clone();
    header.reseal(&unsealed, &SystemRng);
    session
        .storage
        .replace_header(read_at.generation(), &header)
        .map_err(header_error)?;
    use_keys(session, &header, unsealed);
    Ok(active)
}

/// The keyring of a header. Sealing one that was opened before would drop the data keys that
/// somebody has made meanwhile.
pub(crate) fn newest(header: &Header, unsealed: &Unsealed) -> Result<Unsealed, CommandError> {
    header.unseal_with_root(&unsealed.root).map_err(|error| {
        CommandError::new(Kind::Conflict, "key.contended", error.to_string())
            .hint("somebody has changed the store's keys meanwhile: run the command again")
    })
}

fn change_header<T>(
    session: &Session,
    change: impl Fn(&mut Header, &Unsealed) -> Result<T, SlotError>,
) -> Result<T, CommandError> {
    let read_at = session.storage.read_header()?;
    let unsealed = newest(&read_at, &session.unsealed)?;
    let mut header = read_at.clone();
    let result = change(&mut header, &unsealed).map_err(slot_error)?;
    session
        .storage
        .replace_header(read_at.generation(), &header)
        .map_err(header_error)?;
    Ok(result)
}

fn note(session: &Session) -> Result<(), CommandError> {
    let event = session
        .context
        .event(Action::Keys, Vec::new(), Outcome::Allowed);
    crate::runtime::wait(session.engine.audit(&event))?;
    Ok(())
}

pub(crate) fn header_error(error: StorageError) -> CommandError {
    match error {
        StorageError::Conflict { .. } => CommandError::new(
            Kind::Conflict,
            "key.contended",
            "somebody else changed the key slots meanwhile; nothing was changed",
        )
        .hint("run the command again"),
        other => other.into(),
    }
}

fn slot_error(error: SlotError) -> CommandError {
    let kind = match &error {
        SlotError::NoSlot => Kind::NotFound,
        _ => Kind::Usage,
    };
    CommandError::new(kind, "key.slot", error.to_string()).hint("strongroom key list shows them")
}
