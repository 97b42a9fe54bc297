//! What the store costs beside bare SQLite and bare AEAD.
//!
//! `cargo run --release -p strongroom-store --example store_bench -- \
//!  [folder] [--writes] [--reads] [--million]`

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement ends at the first failure and prints what it found"
)]

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use aws_lc_rs::aead;
use rusqlite::Connection;
use rusqlite::params;
use strongroom_core::path::SecretPath;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::Durability;
use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;
use strongroom_core::port::Storage;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_core::version::Provenance;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::barrier::Field;
use strongroom_crypto::header::Header;
use strongroom_engine::Engine;
use strongroom_engine::context::OpContext;
use strongroom_engine::secrets::WriteOptions;
use strongroom_store::embedded::EmbeddedStorage;
use strongroom_store::embedded::Rollback;
use strongroom_store::embedded::StoreFile;
use strongroom_store::embedded::Writes;
use strongroom_store::memory::MemoryStorage;

const WRITERS: u64 = 64;
const MEASURED: Duration = Duration::from_secs(4);
const READS: usize = 200_000;
const VALUE: &[u8; 32] = b"a value of thirty-two bytes long";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_million = arguments.iter().any(|argument| argument == "--million");
    let parent = arguments
        .iter()
        .find(|argument| !argument.starts_with("--"));
    let folder = match parent {
        Some(parent) => tempfile::tempdir_in(parent).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let is_chosen = |phase: &str| {
        let others = ["--writes", "--reads"].map(String::from);
        arguments.iter().any(|argument| argument == phase)
            || !arguments.iter().any(|argument| others.contains(argument))
    };
    if is_chosen("--writes") {
        writes(folder.path());
    }
    if is_chosen("--reads") {
        let bench = Bench::new(&folder.path().join("reads"));
        bench.fill(1_000);
        bench.reads("1,000");
        bench.opening();
        if is_million {
            bench.fill(1_000_000);
            bench.reads("1,000,000");
        }
    }
}

fn writes(folder: &Path) {
    bare_sqlite(&folder.join("bare.db"));
    bare_rows(&folder.join("rows.db"));
    for (name, layout) in [
        ("a folder for each writer", Layout::Own),
        ("one folder for all", Layout::One),
    ] {
        let bench = Bench::new(&folder.join(format!("{layout:?}")));
        bench.writes(name, layout);
    }
}

/// Where the writers write.
#[derive(Clone, Copy, Debug)]
enum Layout {
    Own,
    One,
}

struct Bench {
    engine: Engine,
    storage: Arc<EmbeddedStorage>,
    barrier: Barrier,
    path: PathBuf,
}

fn context() -> OpContext {
    OpContext {
        actor: "uid 1000 (user)".into(),
        door: "bench".into(),
        request_id: "00000000-0000-0000-0000-000000000000".into(),
        now: Timestamp::from_micros(NOW.fetch_add(1, Ordering::Relaxed)),
    }
}

/// Goes on with every operation.
static NOW: AtomicI64 = AtomicI64::new(1_700_000_000_000_000);

fn path(text: &str) -> SecretPath {
    text.parse().unwrap()
}

/// Time that the processors worked for this process: unlike rates, the same on a busy machine.
fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

fn micros_each(since: Duration, count: usize) -> f64 {
    (worked() - since).as_secs_f64() * 1e6 / count as f64
}

fn per_second(count: usize, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}

fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        .unwrap();
    connection
}

/// What SQLite does with rows as great as ours and nothing else.
fn bare_sqlite(path: &Path) {
    let mut connection = connect(path);
    connection
        .execute_batch("CREATE TABLE record (id BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
        .unwrap();
    let mut number = 0_u64;
    let mut id = || {
        number += 1;
        number
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .to_be_bytes()
            .repeat(2)
    };
    let value = [7_u8; 300];
    let insert = "INSERT INTO record VALUES (?1, ?2)";
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < MEASURED / 2 {
        let mut statement = connection.prepare_cached(insert).unwrap();
        statement.execute(params![id(), value]).unwrap();
        count += 1;
    }
    println!(
        "bare SQLite, one row a commit: {:.0}/s",
        per_second(count, start)
    );
    let (start, work, mut count) = (Instant::now(), worked(), 0);
    while start.elapsed() < MEASURED / 2 {
        let transaction = connection.transaction().unwrap();
        for _ in 0..WRITERS {
            let mut statement = transaction.prepare_cached(insert).unwrap();
            statement.execute(params![id(), value]).unwrap();
        }
        transaction.commit().unwrap();
        count += usize::try_from(WRITERS).unwrap();
    }
    let (rate, each) = (per_second(count, start), micros_each(work, count));
    println!("bare SQLite, {WRITERS} rows a commit: {rate:.0}/s, {each:.1} us of work");
}

/// What SQLite does with the very rows of a new secret and its audit record, in tables and indexes
/// as ours, and nothing else: no design on its trees goes faster.
fn bare_rows(path: &Path) {
    let mut connection = connect(path);
    connection
        .execute_batch(
            "CREATE TABLE record (row INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, parent BLOB,
             value BLOB, revision INTEGER);
             CREATE INDEX record_parent ON record (parent, id);
             CREATE INDEX record_revision ON record (revision);
             PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = 4096;
             PRAGMA cache_size = -16384;",
        )
        .unwrap();
    let insert = "INSERT INTO record (id, parent, value, revision) VALUES (?1, ?2, ?3, ?4)";
    let (secrets, audits) = ([1_u8; 16], [2_u8; 16]);
    let (value, event) = ([7_u8; 360], [7_u8; 150]);
    let (start, work, mut count) = (Instant::now(), worked(), 0_u64);
    while start.elapsed() < MEASURED / 2 {
        let transaction = connection.transaction().unwrap();
        for _ in 0..WRITERS {
            count += 1;
            let random = count.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            let mut statement = transaction.prepare_cached(insert).unwrap();
            statement
                .execute(params![random.repeat(2), secrets, value, count])
                .unwrap();
            let in_order = count.to_be_bytes().repeat(2);
            statement
                .execute(params![in_order, audits, event, count])
                .unwrap();
        }
        transaction.commit().unwrap();
    }
    let count = usize::try_from(count).unwrap();
    let (rate, each) = (per_second(count, start), micros_each(work, count));
    println!(
        "bare SQLite, {WRITERS} secrets a commit with our rows and indexes: {rate:.0}/s, \
         {each:.1} us of work"
    );
}

impl Bench {
    fn new(folder: &Path) -> Self {
        let now = Timestamp::from_micros(0);
        let (header, unsealed) = Header::create(&SystemRng, now);
        let barrier = Barrier::new(header.store_id(), &unsealed.keyring);
        let path = folder.join("store.db");
        let first = Engine::first_records(&barrier);
        let file = StoreFile::create(&path, &header, &barrier, first).unwrap();
        let storage = file.unlock(&barrier, Writes::Grouped, Rollback::Refuse);
        let storage = Arc::new(storage.unwrap());
        let engine = Engine::new(Arc::clone(&storage) as _, barrier.clone());
        Self {
            engine,
            storage,
            barrier,
            path,
        }
    }

    /// New secrets, one version each, all acknowledged after the disk has them.
    fn writes(&self, name: &str, layout: Layout) {
        let written = AtomicU64::new(0);
        let (start, work) = (Instant::now(), worked());
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (written, engine) = (&written, &self.engine);
                scope.spawn(move || {
                    let options = WriteOptions::new(Provenance::Set);
                    for number in 0.. {
                        if start.elapsed() >= MEASURED {
                            break;
                        }
                        let at = match layout {
                            Layout::Own => path(&format!("folder-{writer}/name-{number}")),
                            Layout::One => path(&format!("folder/name-{writer}-{number}")),
                        };
                        let payload = Payload::detect(SecretValue::copy_from(VALUE));
                        let context = context();
                        let write = engine.write(&context, &at, &payload, &options);
                        assert!(pollster::block_on(write).unwrap().is_new);
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let count = usize::try_from(written.load(Ordering::Relaxed)).unwrap();
        let rate = per_second(count, start);
        let each = micros_each(work, count);
        println!("durable writes at {WRITERS} writers, {name}: {rate:.0}/s, {each:.1} us of work");
    }

    /// Secrets until there are so many, in folders of 100.
    fn fill(&self, count: usize) {
        let options = WriteOptions::new(Provenance::Set);
        // A few real ones are enough to read; the others only have to be in the way.
        for number in 0..1_000_usize.min(count) {
            let at = path(&format!("folder-{}/name-{number}", number / 100));
            let payload = Payload::detect(SecretValue::copy_from(VALUE));
            let context = context();
            let write = self.engine.write(&context, &at, &payload, &options);
            pollster::block_on(write).unwrap();
        }
        let row = self.head_row(0);
        let others: Vec<usize> = (1_000..count).collect();
        for numbers in others.chunks(20_000) {
            let put = |number: &usize| BatchItem {
                id: self.barrier.record_id(9, &number.to_string()),
                precondition: Precondition::Any,
                change: Change::Put {
                    parent: self.barrier.record_id(8, &(number / 100).to_string()),
                    name: row.name.clone(),
                    value: row.value.clone(),
                    due_at: None,
                },
            };
            let batch = numbers.iter().map(put).collect();
            pollster::block_on(self.storage.commit(batch, Durability::Relaxed)).unwrap();
        }
    }

    fn id(&self, number: usize) -> RecordId {
        let at = format!("folder-{}/name-{number}", number / 100);
        // Kind 1: the head of a secret.
        self.barrier.record_id(1, &at)
    }

    fn head_row(&self, number: usize) -> strongroom_core::port::Record {
        let found = pollster::block_on(self.storage.get(self.id(number)));
        found.unwrap().unwrap()
    }

    fn reads(&self, among: &str) {
        let ids: Vec<RecordId> = (0..1_000).map(|number| self.id(number)).collect();
        let connection = connect(&self.path);
        let select = "SELECT value FROM record WHERE id = ?1";
        let mut best = [0.0_f64; 3];
        // In turns, so that all see the same machine.
        for _ in 0..3 {
            let start = Instant::now();
            for number in 0..READS {
                let mut statement = connection.prepare_cached(select).unwrap();
                let value: Vec<u8> = statement
                    .query_row([&ids[number % 1_000].0], |row| row.get(0))
                    .unwrap();
                std::hint::black_box(value);
            }
            best[0] = best[0].max(per_second(READS, start));
            let start = Instant::now();
            for number in 0..READS {
                let found = pollster::block_on(self.storage.get(ids[number % 1_000]));
                std::hint::black_box(found.unwrap().unwrap());
            }
            best[1] = best[1].max(per_second(READS, start));
            let start = Instant::now();
            for number in 0..READS {
                let found = pollster::block_on(self.storage.get(ids[number % 1_000]));
                let record = found.unwrap().unwrap();
                let opened = self.barrier.open(record.id, Field::Value, &record.value);
                std::hint::black_box(opened.unwrap());
            }
            best[2] = best[2].max(per_second(READS, start));
        }
        let [bare, get, opened] = best;
        println!(
            "reads among {among}: bare {bare:.0}/s, get {get:.0}/s ({:.2}), \
             get and open {opened:.0}/s ({:.2})",
            get / bare,
            opened / bare
        );
        let start = Instant::now();
        let engine_reads = 20_000;
        for number in 0..engine_reads {
            let at = path(&format!(
                "folder-{}/name-{}",
                number % 1_000 / 100,
                number % 1_000
            ));
            let context = context();
            let read = self.engine.read(&context, &at, None);
            std::hint::black_box(pollster::block_on(read).unwrap());
        }
        let rate = per_second(engine_reads, start);
        println!("reads through the engine with their audit rows among {among}: {rate:.0}/s");
        let (start, lists) = (Instant::now(), 1_000);
        for number in 0..lists {
            let folder = format!("folder-{}", number % 10);
            let listed = pollster::block_on(self.engine.list(&context(), &folder)).unwrap();
            assert_eq!(listed.len(), 100);
        }
        let micros = start.elapsed().as_secs_f64() * 1e6 / f64::from(lists);
        println!("list of 100 among {among}: {micros:.0} us");
    }

    /// Opening a value beside opening as many bytes with the bare primitive.
    fn opening(&self) {
        let record = self.head_row(0);
        let key = aead::UnboundKey::new(&aead::AES_256_GCM_SIV, &[7; 32]).unwrap();
        let key = aead::LessSafeKey::new(key);
        let plain = self.barrier.open(record.id, Field::Value, &record.value);
        let mut sealed = plain.unwrap().to_vec();
        let nonce = || aead::Nonce::assume_unique_for_key([3; 12]);
        let aad = || aead::Aad::from([5; 48]);
        key.seal_in_place_append_tag(nonce(), aad(), &mut sealed)
            .unwrap();
        let nanos = |work: &dyn Fn()| {
            let start = Instant::now();
            for _ in 0..READS {
                work();
            }
            start.elapsed().as_secs_f64() * 1e9 / READS as f64
        };
        let raw = || {
            let mut buffer = sealed.clone();
            std::hint::black_box(key.open_in_place(nonce(), aad(), &mut buffer).unwrap());
        };
        let barrier = || {
            let opened = self.barrier.open(record.id, Field::Value, &record.value);
            std::hint::black_box(opened.unwrap());
        };
        // A secret without its value, out of memory; what finding it there takes is told apart.
        let memory = Arc::new(MemoryStorage::new());
        let put = BatchItem {
            id: record.id,
            precondition: Precondition::Any,
            change: Change::Put {
                parent: record.parent,
                name: record.name.clone(),
                value: record.value.clone(),
                due_at: None,
            },
        };
        pollster::block_on(memory.commit(vec![put], Durability::Relaxed)).unwrap();
        let engine = Engine::new(Arc::clone(&memory) as _, self.barrier.clone());
        let at = path("folder-0/name-0");
        let find = || {
            let id = self.barrier.record_id(1, at.as_str());
            std::hint::black_box(pollster::block_on(memory.get(id)).unwrap());
        };
        let secret = || {
            std::hint::black_box(pollster::block_on(engine.describe(&at)).unwrap());
        };
        let mut best = [f64::MAX; 4];
        for _ in 0..3 {
            let works: [&dyn Fn(); 4] = [&raw, &barrier, &find, &secret];
            for (best, work) in best.iter_mut().zip(works) {
                *best = best.min(nanos(work));
            }
        }
        let [raw, barrier, find, secret] = best;
        let secret = secret - find;
        println!(
            "opening {} bytes: bare AEAD {raw:.0} ns, barrier {barrier:.0} ns, \
             secret {secret:.0} ns (+{:.0})",
            record.value.len(),
            secret - raw
        );
    }
}
