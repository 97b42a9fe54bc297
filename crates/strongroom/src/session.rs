//! Opening the store: which file, which key, on whose behalf.

use std::cell::Cell;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use strongroom_chain::keyfile;
use strongroom_chain::passphrase;
use strongroom_chain::unlock;
use strongroom_core::port::Rng;
use strongroom_core::port::Storage;
use strongroom_core::port::Variables;
use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;
use strongroom_crypto::header::Unsealed;
use strongroom_crypto::keyring::SEALS_PER_KEY_MAX;
use strongroom_crypto::slot::KeySlot;
use strongroom_crypto::slot::SlotKind;
use strongroom_crypto::slot::WrapContext;
use strongroom_engine::Engine;
use strongroom_engine::context::OpContext;
use strongroom_store::embedded::EmbeddedStorage;
use strongroom_store::embedded::OpenStoreError;
use strongroom_store::embedded::Rollback;
use strongroom_store::embedded::StoreFile;
use strongroom_store::embedded::Writes;

use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;

/// Tries at a passphrase prompt.
const PASSPHRASE_TRIES: usize = 3;

/// An open store.
pub(crate) struct Session {
    pub(crate) engine: Engine,
    pub(crate) storage: Arc<EmbeddedStorage>,
    pub(crate) context: OpContext,
    pub(crate) barrier: Barrier,
    /// Root key and keyring, for changes of the key slots.
    pub(crate) unsealed: Unsealed,
    /// The slot that opened it.
    pub(crate) slot: KeySlot,
    /// What rotators log in to other servers with.
    pub(crate) backends: Variables,
    has_written: Cell<bool>,
}

impl Session {
    /// Notes that the store was written to, so that the daily copy is made at the end.
    pub(crate) fn note_write(&self) {
        self.has_written.set(true);
    }

    /// What is due after a command: a short log, the daily copy, and a new data key after very
    /// many seals.
    pub(crate) fn finish(&self, app: &App) {
        self.storage.shorten_log();
        if !self.has_written.get() {
            return;
        }
        if let Err(error) = self.storage.back_up_daily(app.now().as_micros()) {
            app.ui.warn(&format!(
                "warning: the daily backup could not be made: {error}"
            ));
        }
        let seals = self.storage.seals().unwrap_or(0);
        let keys = self.unsealed.keyring.data_keys().len() as u64;
        if seals / SEALS_PER_KEY_MAX >= keys {
            app.ui.warn(
                "hint: this store has sealed very often under its data key: strongroom key rotate",
            );
        }
    }
}

/// Opens the user's store; there must be one.
pub(crate) fn open(app: &App) -> Result<Session, CommandError> {
    open_with(app, Rollback::Refuse)
}

pub(crate) fn open_with(app: &App, rollback: Rollback) -> Result<Session, CommandError> {
    refuse_beside_server(app)?;
    let path = app.settings.store()?;
    let file = StoreFile::open(&path.value)?;
    unlock(app, file, rollback)
}

/// A command that works on the store file only would else do so although a server was named.
fn refuse_beside_server(app: &App) -> Result<(), CommandError> {
    if app.global.server.is_none() || app.command == "serve" {
        return Ok(());
    }
    let command = app.command;
    let message = format!("`{command}` works on a store file, and a server stands in its place");
    let error = CommandError::usage(message)
        .hint("leave --server away and unset STRONGROOM_ADDR to work on the store");
    Err(match command {
        "audit" => error.hint("strongroom audit query FILE reads an audit file of the server"),
        _ => error,
    })
}

/// Opens the user's store, or makes it with a key-file slot; says so.
pub(crate) fn open_or_create(app: &App) -> Result<Session, CommandError> {
    refuse_beside_server(app)?;
    open_or_create_own(app)
}

/// As `open_or_create`, also when a server stands in the store's place.
fn open_or_create_own(app: &App) -> Result<Session, CommandError> {
    let path = app.settings.store()?.value;
    let opened = |file| unlock(app, file, Rollback::Refuse);
    match StoreFile::open(&path) {
        Ok(file) => return opened(file),
        Err(OpenStoreError::Missing { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    match create(app, &path) {
        Err(error) if error.code == "store.exists" => opened(StoreFile::open(&path)?),
        other => other,
    }
}

/// For a command that may only look: opens the store if there is one, and makes one only if the
/// command writes. Nothing where a server stands in the store's place.
pub(crate) fn open_for(app: &App, writes: bool) -> Result<Option<Session>, CommandError> {
    match writes {
        _ if app.global.server.is_some() => Ok(None),
        true => open_or_create(app).map(Some),
        false => open_if_there(app),
    }
}

/// The store that keeps the journals of moves: the user's own, whatever stands in its place as a
/// place for secrets. Made only if the command writes.
pub(crate) fn open_journals(app: &App, writes: bool) -> Result<Option<Session>, CommandError> {
    match writes {
        true => open_or_create_own(app).map(Some),
        false => open_if_there(app),
    }
}

/// The store with the journals of moves that were begun.
pub(crate) fn open_begun(app: &App) -> Result<Session, CommandError> {
    let path = app.settings.store()?;
    unlock(app, StoreFile::open(&path.value)?, Rollback::Refuse)
}

/// Opens the store if there is one.
pub(crate) fn open_if_there(app: &App) -> Result<Option<Session>, CommandError> {
    let path = app.settings.store()?.value;
    match StoreFile::open(&path) {
        Ok(file) => unlock(app, file, Rollback::Refuse).map(Some),
        Err(OpenStoreError::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The user's store, where something is read that it does not keep: only to note that in its
/// ledger. Nobody is asked for anything, and nothing goes wrong without it.
pub(crate) fn open_beside(app: &App) -> Option<Session> {
    if app.global.server.is_some() {
        return None;
    }
    let path = app.settings.store().ok()?.value;
    let key_path = app.settings.key_file().ok()?.value;
    let file = StoreFile::open(&path).ok()?;
    let mut refused = Vec::new();
    let found = unlock::without_a_person(file.header(), &key_path, &mut refused).ok()?;
    let (unsealed, slot) = found?;
    enter(app, file, unsealed, slot, Rollback::Refuse).ok()
}

/// The header of a new store, and where the key file lies that opens it.
pub(crate) fn draft(app: &App) -> Result<(Header, Unsealed, PathBuf), CommandError> {
    let key_path = app.settings.key_file()?.value;
    let key = keyfile::create(&key_path, &SystemRng)?;
    let now = app.now();
    let (mut header, unsealed) = Header::create(&SystemRng, now);
    let context = WrapContext {
        rng: &SystemRng,
        now,
    };
    header
        .add_slot(
            &unsealed,
            SlotKind::KeyFile,
            "made with the store",
            &key,
            &context,
        )
        .map_err(|error| CommandError::failed(error.to_string()))?;
    Ok((header, unsealed, key_path))
}

/// Makes a store with a key-file slot; says so.
pub(crate) fn create(app: &App, path: &Path) -> Result<Session, CommandError> {
    let key_path = app.settings.key_file()?.value;
    if key_path.parent() == path.parent() {
        return Err(CommandError::usage(format!(
            "the key file {} would lie beside the store it opens",
            key_path.display()
        ))
        .hint("choose another folder with --key-file or STRONGROOM_KEY_FILE"));
    }
    let (header, unsealed, key_path) = draft(app)?;
    let barrier = Barrier::new(header.store_id(), &unsealed.keyring);
    let first = Engine::first_records(&barrier);
    let file = StoreFile::create(path, &header, &barrier, first)?;
    app.ui.say(&format!(
        "made the store {} (opened by the key file {})",
        path.display(),
        key_path.display()
    ));
    let slot = file.header().slots().first().cloned();
    let slot = slot.ok_or_else(|| CommandError::failed("the new store has no key slot"))?;
    enter(app, file, unsealed, slot, Rollback::Refuse)
}

fn unlock(app: &App, file: StoreFile, rollback: Rollback) -> Result<Session, CommandError> {
    for warning in file.warnings() {
        app.ui.warn(&format!("warning: {warning}"));
    }
    let (unsealed, slot) = unseal(app, file.header())?;
    enter(app, file, unsealed, slot, rollback)
}

fn enter(
    app: &App,
    file: StoreFile,
    unsealed: Unsealed,
    slot: KeySlot,
    rollback: Rollback,
) -> Result<Session, CommandError> {
    let barrier = Barrier::new(file.header().store_id(), &unsealed.keyring);
    let storage = Arc::new(file.unlock(&barrier, Writes::Inline, rollback)?);
    let port: Arc<dyn Storage> = storage.clone();
    let engine = Engine::new(port, barrier.clone());
    let context = context(app);
    let has_written = Cell::new(false);
    Ok(Session {
        engine,
        storage,
        context,
        barrier,
        unsealed,
        slot,
        backends: app.environment.for_backends(),
        has_written,
    })
}

pub(crate) fn context(app: &App) -> OpContext {
    let mut id = [0; 8];
    SystemRng.fill(&mut id);
    OpContext {
        actor: app.environment.user(),
        door: format!("cli {}", app.command),
        request_id: data_encoding::HEXLOWER.encode(&id),
        now: app.now(),
    }
}

/// Tries the key slots: what needs nobody first, a passphrase last.
pub(crate) fn unseal(app: &App, header: &Header) -> Result<(Unsealed, KeySlot), CommandError> {
    let mut refused = Vec::new();
    let key_path = app.settings.key_file()?.value;
    if let Some(found) = unlock::without_a_person(header, &key_path, &mut refused)? {
        return Ok(found);
    }
    if let Some(found) = try_passphrase(app, header, &mut refused)? {
        return Ok(found);
    }
    let slots = unlock::slots_in_words(header);
    let mut error = CommandError::new(
        Kind::Locked,
        "store.locked",
        format!("the store is locked: none of its key slots opened ({slots})"),
    );
    error.hints = refused;
    Err(error)
}

/// A passphrase or recovery key, from a file or a person.
fn try_passphrase(
    app: &App,
    header: &Header,
    refused: &mut Vec<String>,
) -> Result<Option<(Unsealed, KeySlot)>, CommandError> {
    if !passphrase::is_taken(header) {
        return Ok(None);
    }
    if let Some(read) = app.settings.passphrase()? {
        let found = passphrase::unseal(header, &read);
        if found.is_none() {
            refused.push("the passphrase from the file does not open this store".into());
        }
        return Ok(found);
    }
    if !app.ui.is_interactive() {
        refused.push(
            "nobody is there to type the passphrase; \
                      STRONGROOM_PASSPHRASE_FILE names a file that holds it"
                .into(),
        );
        return Ok(None);
    }
    for _ in 0..PASSPHRASE_TRIES {
        let typed = app.ui.ask_secret("Passphrase (or recovery key)", false)?;
        if let Some(found) = passphrase::unseal(header, &typed) {
            return Ok(Some(found));
        }
        app.ui.warn("that does not open the store");
    }
    refused.push("the passphrase is wrong".into());
    Ok(None)
}

/// A moment from microseconds, for tables.
pub(crate) fn day(time: Timestamp) -> String {
    let text = time.to_string();
    text.get(..16)
        .map_or(text.clone(), |minute| minute.replace('T', " "))
}
