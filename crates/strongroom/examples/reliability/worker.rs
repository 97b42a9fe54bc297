//! The process that writes until it is killed, and says on stdout what was acknowledged.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use data_encoding::BASE64;
use strongroom_core::path::SecretPath;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_core::version::Provenance;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;
use strongroom_crypto::slot::SlotKind;
use strongroom_crypto::slot::WrapContext;
use strongroom_engine::Engine;
use strongroom_engine::context::OpContext;
use strongroom_engine::secrets::WriteOptions;
use strongroom_store::embedded::EmbeddedStorage;
use strongroom_store::embedded::Rollback;
use strongroom_store::embedded::StoreFile;
use strongroom_store::embedded::Writes;

use crate::draw::Draw;
use crate::rig::AnyResult;

/// Threads of one writer.
pub(crate) const THREADS: u64 = 2;
/// Paths that one thread updates in turn.
const UPDATED_PATHS: u64 = 8;
/// Folders of new paths.
const FOLDERS: u64 = 25;

/// One write: who made it, in which round, and as which of its writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    /// The round of the run.
    pub(crate) round: u64,
    /// Which process.
    pub(crate) process: u64,
    /// Which thread of it.
    pub(crate) thread: u64,
    /// Counted by the thread.
    pub(crate) number: u64,
}

impl Id {
    /// Where it goes: every third write makes a new secret, the others update one.
    pub(crate) fn path(&self) -> AnyResult<SecretPath> {
        let Self {
            round,
            process,
            thread,
            number,
        } = self;
        let text = if number.is_multiple_of(3) {
            let folder = round % FOLDERS;
            format!("f{folder}/r{round}p{process}t{thread}n{number}")
        } else {
            let slot = number % UPDATED_PATHS;
            format!("updated/p{process}t{thread}/s{slot}")
        };
        Ok(text.parse()?)
    }

    /// What it writes: up to some pages, and no two alike.
    pub(crate) fn value(&self) -> SecretValue {
        let Self {
            round,
            process,
            thread,
            number,
        } = self;
        let head = format!("{round}.{process}.{thread}.{number}.");
        let mut draw = Draw::new(round * 1_000_003 + process * 10_007 + thread * 101 + number);
        let longest = if draw.below(10) == 0 { 9000 } else { 300 };
        let length = usize::try_from(draw.below(longest)).unwrap_or(0);
        SecretValue::from_text(head + &draw.text(length))
    }

    /// The write after it, perhaps under way when the process ended.
    pub(crate) fn next(&self) -> Self {
        Self {
            number: self.number + 1,
            ..*self
        }
    }

    /// A line of the protocol, with the version that was acknowledged.
    fn line(&self, version: u64) -> String {
        format!(
            "{} {} {} {} {version}\n",
            self.round, self.process, self.thread, self.number
        )
    }

    /// Reads a line; one that was torn by the kill is none.
    pub(crate) fn parse(line: &str) -> Option<(Self, u64)> {
        let mut numbers = line.strip_suffix('\n')?.split(' ').map(str::parse);
        let mut next = || numbers.next()?.ok();
        let id = Self {
            round: next()?,
            process: next()?,
            thread: next()?,
            number: next()?,
        };
        Some((id, next()?))
    }
}

/// What opens the stores of this program, which are thrown away.
const KEY: [u8; 32] = *b"for stores that are thrown away.";

fn key() -> SecretValue {
    SecretValue::copy_from(&KEY)
}

/// The same as a key file, for the command line.
pub(crate) fn write_key_file(path: &Path) -> AnyResult<()> {
    let text = format!("strongroom-key-1:{}\n", BASE64.encode(&KEY));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())?;
    Ok(())
}

/// Makes a store.
pub(crate) fn create(path: &Path) -> AnyResult<()> {
    let now = Timestamp::from_micros(0);
    let (mut header, unsealed) = Header::create(&SystemRng, now);
    let context = WrapContext {
        rng: &SystemRng,
        now,
    };
    header.add_slot(&unsealed, SlotKind::KeyFile, "made up", &key(), &context)?;
    let barrier = Barrier::new(header.store_id(), &unsealed.keyring);
    let first = Engine::first_records(&barrier);
    StoreFile::create(path, &header, &barrier, first)?;
    Ok(())
}

/// Opens a store made by `create`.
pub(crate) fn open(path: &Path, writes: Writes) -> AnyResult<(Engine, Arc<EmbeddedStorage>)> {
    let file = StoreFile::open(path)?;
    let slot = file.header().slots().first().ok_or("no key slot")?.id;
    let unsealed = file.header().unseal(slot, &key())?;
    let barrier = Barrier::new(file.header().store_id(), &unsealed.keyring);
    let storage = Arc::new(file.unlock(&barrier, writes, Rollback::Refuse)?);
    Ok((Engine::new(storage.clone(), barrier), storage))
}

/// On whose behalf.
pub(crate) fn context() -> OpContext {
    OpContext {
        actor: "reliability".into(),
        door: "reliability".into(),
        request_id: "reliability".into(),
        now: Timestamp::from_micros(1_700_000_000_000_000),
    }
}

/// Writes on several threads until the process ends: `worker STORE ROUND PROCESS`.
pub(crate) fn run(args: &[String]) -> AnyResult<()> {
    let [store, round, process] = args else {
        return Err("worker STORE ROUND PROCESS".into());
    };
    let (engine, _storage) = open(Path::new(store), Writes::Grouped)?;
    let (round, process) = (round.parse()?, process.parse()?);
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let engine = engine.clone();
            let first = Id {
                round,
                process,
                thread,
                number: 0,
            };
            thread::spawn(move || write_on(&engine, first).map_err(|error| error.to_string()))
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a writer panicked")??;
    }
    Ok(())
}

fn write_on(engine: &Engine, first: Id) -> AnyResult<()> {
    let mut id = first;
    loop {
        let payload = Payload::detect(id.value());
        let mut options = WriteOptions::new(Provenance::Set);
        options.force = true;
        let path = id.path()?;
        let written = pollster::block_on(engine.write(&context(), &path, &payload, &options))?;
        let mut out = std::io::stdout().lock();
        out.write_all(id.line(written.version).as_bytes())?;
        out.flush()?;
        drop(out);
        id = id.next();
    }
}
