//! Overwritten blocks: detected, or harmless; never a wrong or older value.

use std::fs;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;

use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::version::Provenance;
use strongroom_engine::Engine;
use strongroom_engine::Error;
use strongroom_engine::secrets::WriteOptions;
use strongroom_store::embedded::Writes;

use crate::draw::Draw;
use crate::note::note;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;
use crate::worker;
use crate::worker::context;

const SECRETS: u64 = 120;
const VERSIONS: u64 = 3;
const BLOCK_BYTES: u64 = 1024;

/// What came of one overwrite.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The store, or a record, was refused.
    Detected,
    /// Every value was read, and is right.
    Harmless,
    /// A value is not the one that was written, or has vanished without a word.
    Wrong,
}

#[derive(Default)]
struct Counts {
    detected: u64,
    harmless: u64,
    wrong: u64,
    /// Harmless, and the command line says that the file is damaged.
    found_by_doctor: u64,
    /// Detected, and the message does not name the file or the backup.
    unnamed: u64,
    crashed: u64,
}

/// Runs the rounds on each file of the store and prints the figures.
pub(crate) fn run(rounds: u64) -> AnyResult<bool> {
    let rig = Rig::new()?;
    let key = rig.file("key");
    worker::write_key_file(&key)?;
    let original = rig.file("original");
    fs::create_dir(&original)?;
    let store = original.join("store.db");
    worker::create(&store)?;
    fill(&store)?;
    let folded = rig.file("folded");
    copy_of(&original, &folded)?;
    fold(&folded.join("store.db"))?;
    let mut draw = Draw::new(3);
    let parts = [
        (
            "the closed store without a log",
            &folded,
            "store.db",
            rounds,
        ),
        (
            "a store whose log was left",
            &original,
            "store.db",
            rounds / 5,
        ),
        ("its WAL", &original, "store.db-wal", rounds / 5),
        ("its head file", &original, "store.head", rounds / 50),
    ];
    report::heading(&["what", "figure", "goal", "reached"]);
    let mut is_good = true;
    for (what, from, name, rounds) in parts {
        let bytes = fs::metadata(from.join(name)).map_or(0, |file| file.len());
        if bytes == 0 {
            report::row(&[&format!("{what}: not there or empty"), "", "", ""]);
            continue;
        }
        let mut counts = Counts::default();
        for _ in 0..rounds {
            let copy = copy_of(from, &rig.file("copy"))?;
            let at = draw.below(bytes.saturating_sub(BLOCK_BYTES).max(1));
            overwrite(&copy.join(name), at, bytes, &mut draw)?;
            judge(&rig, &copy, &key, &mut counts)?;
        }
        let size = bytes / 1024;
        let title = format!("{what} ({size} KiB): overwrites of 1 KiB at random");
        report::row(&[&title, &rounds.to_string(), "", ""]);
        let zero = |what: &str, count: u64| {
            let reached = report::verdict(count == 0);
            report::row(&[what, &count.to_string(), "0", reached]);
        };
        report::row(&[
            "detected when all is read",
            &counts.detected.to_string(),
            "",
            "",
        ]);
        let harmless = format!(
            "{} ({} of them found by `doctor`)",
            counts.harmless, counts.found_by_doctor
        );
        report::row(&["harmless: every value is right", &harmless, "", ""]);
        zero("a wrong, older or vanished value", counts.wrong);
        zero("`doctor` crashes", counts.crashed);
        zero(
            "`doctor` refuses and names neither file nor backup",
            counts.unnamed,
        );
        is_good &= counts.wrong == 0 && counts.crashed == 0;
    }
    Ok(is_good)
}

fn fill(store: &Path) -> AnyResult<()> {
    let (engine, storage) = worker::open(store, Writes::Inline)?;
    for version in 1..=VERSIONS {
        for number in 0..SECRETS {
            let payload = Payload::detect(value(number, version));
            let options = WriteOptions::new(Provenance::Set);
            let path = path(number).parse()?;
            pollster::block_on(engine.write(&context(), &path, &payload, &options))?;
        }
    }
    storage.back_up()?;
    Ok(())
}

/// Puts the log into the file, as the last process to close a store does.
fn fold(store: &Path) -> AnyResult<()> {
    let connection = rusqlite::Connection::open(store)?;
    connection.pragma_update(None, "wal_checkpoint", "TRUNCATE")?;
    Ok(())
}

fn path(number: u64) -> String {
    format!("app/part{}/secret{number}", number % 7)
}

fn value(number: u64, version: u64) -> SecretValue {
    let mut draw = Draw::new(number * 31 + version);
    let length = 20 + usize::try_from(draw.below(400)).unwrap_or(0);
    SecretValue::from_text(draw.text(length))
}

fn copy_of(original: &Path, copy: &Path) -> AnyResult<PathBuf> {
    if copy.exists() {
        fs::remove_dir_all(copy)?;
    }
    fs::create_dir(copy)?;
    for entry in fs::read_dir(original)? {
        let entry = entry?;
        fs::copy(entry.path(), copy.join(entry.file_name()))?;
    }
    Ok(copy.to_owned())
}

fn overwrite(file: &Path, at: u64, bytes: u64, draw: &mut Draw) -> AnyResult<()> {
    let length = usize::try_from(BLOCK_BYTES.min(bytes - at))?;
    let noise: Vec<u8> = (0..length)
        .map(|_| u8::try_from(draw.below(256)).unwrap_or(0))
        .collect();
    OpenOptions::new()
        .write(true)
        .open(file)?
        .write_all_at(&noise, at)?;
    Ok(())
}

fn judge(rig: &Rig, copy: &Path, key: &Path, counts: &mut Counts) -> AnyResult<()> {
    let store = copy.join("store.db");
    let outcome = match worker::open(&store, Writes::Inline) {
        Ok((engine, _)) => read_all(&engine)?,
        Err(_) => Outcome::Detected,
    };
    let (store, key) = (store.display().to_string(), key.display().to_string());
    let words = ["doctor", "--store", &store, "--key-file", &key];
    let output = rig.strongroom(&words).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let is_refused = !output.status.success();
    match outcome {
        Outcome::Detected => counts.detected += 1,
        Outcome::Harmless => {
            counts.harmless += 1;
            counts.found_by_doctor += u64::from(is_refused);
        }
        Outcome::Wrong => {
            counts.wrong += 1;
            note("a wrong value");
        }
    }
    if output.status.code().is_none_or(|code| code == 101) || said.contains("has a bug") {
        counts.crashed += 1;
        note(said.trim());
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    let names = |word: &str| said.contains(word) || stdout.contains(word);
    // A store behind a bad head file needs no backup: the user can vouch for it.
    let names_a_way_out = names("backup") || names("--accept-rollback");
    if is_refused && !(names("store.") && names_a_way_out) {
        counts.unnamed += 1;
        if counts.unnamed == 1 {
            note(&format!(
                "names too little: {} {}",
                stdout.trim(),
                said.trim()
            ));
        }
    }
    Ok(())
}

/// Reads every version of every secret: a store with one damaged record may answer the others.
fn read_all(engine: &Engine) -> AnyResult<Outcome> {
    let mut outcome = Outcome::Harmless;
    for number in 0..SECRETS {
        let path = path(number).parse()?;
        for version in (1..=VERSIONS).map(Some).chain([None]) {
            let expected = value(number, version.unwrap_or(VERSIONS));
            match pollster::block_on(engine.read(&context(), &path, version)) {
                Ok(secret) if secret.payload.value.ct_eq(&expected) => {}
                Ok(_) | Err(Error::NotFound { .. } | Error::Gone { .. }) => {
                    return Ok(Outcome::Wrong);
                }
                Err(_) => outcome = Outcome::Detected,
            }
        }
    }
    match pollster::block_on(engine.list_recursive(&context(), "")) {
        Ok(entries) if entries.len() as u64 == SECRETS => Ok(outcome),
        Ok(_) => Ok(Outcome::Wrong),
        Err(_) => Ok(Outcome::Detected),
    }
}
