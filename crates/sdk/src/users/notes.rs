//! Reads of users' keys, noted: handed to the kernel before each is answered, and written into the
//! store many at a time.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_chain::reads;
use strongroom_chain::reads::ReadNotes;
use strongroom_core::audit::Action;
use strongroom_core::audit::Outcome;
use strongroom_crypto::SystemRng;
use strongroom_engine::Engine;
use strongroom_userkeys::KeyName;
use strongroom_userkeys::UserId;

use super::UserKeyError;
use crate::store::StoreLink;

/// How long notes wait for others to come along, as a server's audit lines wait for the disk.
const GATHER: Duration = Duration::from_secs(1);
/// Notes that are not in the store yet; of more, readers wait.
const WAITING_MAX: usize = 32_768;

/// Where reads of one table are noted.
pub(super) struct Notes {
    store: StoreLink,
    engine: Engine,
    table: String,
    /// `None` where the store is a database, which groups commits itself.
    beside: Option<ReadNotes>,
    /// Held by whoever writes into the store.
    turn: Arc<tokio::sync::Mutex<()>>,
    failed: Mutex<Option<String>>,
    is_gathering: AtomicBool,
}

impl Notes {
    /// Takes up what processes that were killed have left.
    pub(super) async fn open(
        store: StoreLink,
        engine: Engine,
        table: String,
    ) -> Result<Arc<Self>, UserKeyError> {
        let failed = |error: std::io::Error| {
            UserKeyError::Audit(format!("the files beside the store: {error}"))
        };
        let beside = match store.file() {
            None => None,
            Some(path) => {
                let taken_up = reads::collect(path, &engine).await;
                taken_up.map_err(|error| UserKeyError::Audit(error.to_string()))?;
                Some(ReadNotes::open(path, &SystemRng).map_err(failed)?)
            }
        };
        Ok(Arc::new(Self {
            store,
            engine,
            table,
            beside,
            turn: Arc::default(),
            failed: Mutex::default(),
            is_gathering: AtomicBool::new(false),
        }))
    }

    /// Notes a read. When this returns, a process that is killed does not take the note with it.
    pub(super) async fn add(
        self: &Arc<Self>,
        user: &UserId,
        name: &KeyName,
        is_found: bool,
    ) -> Result<(), UserKeyError> {
        let outcome = match is_found {
            true => Outcome::Allowed,
            false => Outcome::Failed,
        };
        let path = format!("userkeys/{}/{user}/{name}", self.table);
        let event = self
            .store
            .context()
            .event(Action::Read, vec![path], outcome);
        let note = self.engine.sealed_note(&event);
        let Some(beside) = &self.beside else {
            let put = self.engine.put_notes(&[note]).await;
            return put.map_err(|error| UserKeyError::Audit(error.to_string()));
        };
        // What could not be written before stops the reads that come after.
        if self.failure().is_some() {
            self.write().await;
        }
        if let Some(detail) = self.failure().clone() {
            return Err(UserKeyError::Audit(detail));
        }
        let waiting = beside.add(note);
        let waiting = waiting.map_err(|error| UserKeyError::Audit(error.to_string()))?;
        match waiting {
            WAITING_MAX.. => self.write().await,
            _ => self.write_soon(),
        }
        Ok(())
    }

    fn write_soon(self: &Arc<Self>) {
        if self.is_gathering.swap(true, Ordering::AcqRel) {
            return;
        }
        // A task that is dropped with its runtime lets the next read start another one.
        let gathering = Gathering(Arc::clone(self));
        tokio::spawn(async move {
            tokio::time::sleep(GATHER).await;
            let notes = Arc::clone(&gathering.0);
            // Before it writes: what comes meanwhile is another task's.
            drop(gathering);
            notes.write().await;
        });
    }

    /// Writes what waits into the store. What cannot be written waits on.
    async fn write(self: &Arc<Self>) {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let notes = Arc::clone(self);
        let runtime = tokio::runtime::Handle::current();
        // The store is a file: no thread that others need waits for it.
        let writing = tokio::task::spawn_blocking(move || {
            runtime.block_on(notes.write_now());
            drop(turn);
        });
        if writing.await.is_err() {
            let ends = "the runtime is ending".to_owned();
            self.failure().get_or_insert(ends);
        }
    }

    async fn write_now(&self) {
        let Some(beside) = &self.beside else { return };
        let waiting = beside.take();
        let written = put(&self.engine, &waiting).await;
        if written.is_err() {
            beside.give_back(waiting);
        } else {
            // Notes that stay in a file are written once more, and are there once.
            let _ = beside.forget();
        }
        *self.failure() = written.err();
    }

    fn failure(&self) -> MutexGuard<'_, Option<String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn put(engine: &Engine, notes: &[Vec<u8>]) -> Result<(), String> {
    for piece in notes.chunks(reads::PIECE) {
        let put = engine.put_notes(piece).await;
        put.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// A task waits for more notes.
struct Gathering(Arc<Notes>);

impl Drop for Gathering {
    fn drop(&mut self) {
        self.0.is_gathering.store(false, Ordering::Release);
    }
}
