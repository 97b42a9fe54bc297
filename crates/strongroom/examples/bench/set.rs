//! One durable write, in process, beside a bare insert of SQLite into a file of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::Connection;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_core::version::Provenance;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;
use strongroom_engine::Engine;
use strongroom_engine::context::OpContext;
use strongroom_engine::secrets::WriteOptions;
use strongroom_store::embedded::Rollback;
use strongroom_store::embedded::StoreFile;
use strongroom_store::embedded::Writes;

use crate::draw::Draw;
use crate::report;
use crate::rig::AnyResult;
use crate::timing::Timing;

const WRITES: usize = 600;
const VALUE_BYTES: usize = 40;
const RATIO_MAX: f64 = 3.0;

/// Alternates writes of both, so that a slow disk hurts them alike.
pub(crate) fn bench() -> AnyResult<()> {
    let folder = tempfile::tempdir()?;
    let engine = engine(&folder.path().join("store.db"))?;
    let bare = bare(&folder.path().join("bare.db"))?;
    let context = OpContext {
        actor: "bench".into(),
        door: "bench".into(),
        request_id: "bench".into(),
        now: Timestamp::from_micros(0),
    };
    let mut draw = Draw::new(3);
    let (mut new, mut again, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..WRITES {
        let path = format!("app/development/secret{number}").parse()?;
        for times in [&mut new, &mut again] {
            let payload = Payload::detect(SecretValue::from_text(draw.text(VALUE_BYTES)));
            let options = WriteOptions::new(Provenance::Set);
            let start = Instant::now();
            pollster::block_on(engine.write(&context, &path, &payload, &options))?;
            times.push(start.elapsed());
        }
        let value = draw.text(VALUE_BYTES);
        let start = Instant::now();
        bare.prepare_cached("INSERT INTO secret (path, value) VALUES (?1, ?2)")?
            .execute((path.to_string(), value))?;
        floor.push(start.elapsed());
    }
    let floor = Timing::of(floor);
    let rows = [
        ("one durable write of a new secret, in process", new),
        ("one durable write of a second version, in process", again),
    ];
    for (what, times) in rows {
        let ours = Timing::of(times);
        // Syncs vary by half: the middle says more than the luckiest.
        let ratio = ours.median.as_secs_f64() / floor.median.as_secs_f64();
        report::row(&[
            what,
            &ours.shown(),
            &format!("bare SQLite insert, WAL, FULL: {}", floor.shown()),
            &format!("{ratio:.2} (of medians)"),
            &format!("at most {RATIO_MAX}"),
            report::verdict(ratio <= RATIO_MAX),
        ]);
    }
    Ok(())
}

fn engine(path: &Path) -> AnyResult<Engine> {
    let (header, unsealed) = Header::create(&SystemRng, Timestamp::from_micros(0));
    let barrier = Barrier::new(header.store_id(), &unsealed.keyring);
    let first = Engine::first_records(&barrier);
    let file = StoreFile::create(path, &header, &barrier, first)?;
    let storage = file.unlock(&barrier, Writes::Inline, Rollback::Refuse)?;
    Ok(Engine::new(Arc::new(storage), barrier))
}

fn bare(path: &Path) -> AnyResult<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE secret (path TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;",
    )?;
    Ok(connection)
}
