//! How far the chains of audit files go, kept in the store: an end that was cut off is missed.
//!
//! A chain is known by the hash of its first line, not by its file: many servers on one store have
//! files of the same name, and a file that was moved away keeps its chain.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Precondition;
use strongroom_core::time::Timestamp;
use strongroom_engine::Error;
use strongroom_engine::state;
use strongroom_engine::state::Kind;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;
use strongroom_engine::state::State;
use strongroom_engine::state::Stored;

use super::Device;
use super::file::LINE_BYTES_MAX;
use super::verify::Verified;
use super::verify::VerifyError;
use super::verify::split;
use super::verify::verify;
use crate::core::Core;
use crate::devices::AuditHead;

/// So many chains are known of one place; the oldest are forgotten.
const CHAINS_MAX: usize = 1_000;

/// How far a chain went when it was last noted, and in which file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredChain {
    head: AuditHead,
    file: String,
    noted: Timestamp,
}

impl Stored for StoredChain {
    const KIND: Kind = Kind::AuditChain;
}

/// Why a file is not what was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// Its lines say so, or what the store knows of them.
    #[error(transparent)]
    File(#[from] VerifyError),
    /// The store cannot be asked.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Notes how far the files of a server's devices go, and those that they have ended.
pub(crate) async fn note(core: &Core, now: Timestamp) -> Result<(), Error> {
    let devices = core.audit.devices();
    for device in devices.iter().filter_map(Device::file) {
        let (folder, file) = device.place();
        let place = place_of(folder);
        let heads = device.heads();
        for head in &heads {
            let chain = StoredChain {
                head: head.last,
                file: file.clone(),
                noted: now,
            };
            note_one(&core.state, &place, &name_of(&head.first), &chain).await?;
        }
        device.forget_ended(&heads);
    }
    Ok(())
}

async fn note_one(
    state: &State,
    place: &str,
    name: &str,
    chain: &StoredChain,
) -> Result<(), Error> {
    let before = state.load::<StoredChain>(name).await?;
    let is_new = before.is_none();
    if before.is_some_and(|before| before.value.head == chain.head) {
        return Ok(());
    }
    let mut batch = vec![state.put(&Put::named(name, Shelf::Of(place)), chain)];
    if is_new {
        // As it was noted before chains had names of their own.
        let id = state.id_of::<AuditHead>(&chain.file);
        batch.push(state::delete(id, Precondition::Any));
        batch.extend(oldest(state, place).await?);
    }
    state.write(batch).await
}

/// Removes what is too much.
async fn oldest(state: &State, place: &str) -> Result<Vec<BatchItem>, Error> {
    let mut known = state.all::<StoredChain>(Shelf::Of(place)).await?;
    known.sort_by_key(|(_, chain)| chain.value.noted);
    let too_many = (known.len() + 1).saturating_sub(CHAINS_MAX);
    let first = known.into_iter().take(too_many);
    Ok(first
        .map(|(_, chain)| state::delete(chain.id, chain.unchanged()))
        .collect())
}

/// Checks an audit file: its chain, and that it goes as far as it went.
///
/// # Errors
/// For the first line that is not what was written, for an end that is missing, and when the
/// store cannot be asked.
pub async fn check_file(
    state: &State,
    path: &Path,
    content: &[u8],
) -> Result<Verified, CheckError> {
    let head = head_of(state, path, content).await?;
    if head.is_none() && content.is_empty() {
        check_empty(state, path).await?;
    }
    Ok(verify(state.barrier(), content, head)?)
}

/// How far the chain of a file went at least.
async fn head_of(state: &State, path: &Path, content: &[u8]) -> Result<Option<AuditHead>, Error> {
    let first = first_of(content);
    if let Some(first) = first {
        let known = state.load::<StoredChain>(&name_of(&first)).await?;
        if let Some(known) = known {
            return Ok(Some(known.value.head));
        }
    }
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let noted_before = state.load::<AuditHead>(&file).await?;
    Ok(noted_before.map(|found| found.value))
}

/// An empty file is a new one, or one that was emptied: then the newest chain of its place is
/// nowhere beside it.
async fn check_empty(state: &State, path: &Path) -> Result<(), CheckError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let known = state
        .all::<StoredChain>(Shelf::Of(&place_of(folder)))
        .await?;
    let newest = known
        .into_iter()
        .filter(|(_, chain)| chain.value.file == file)
        .max_by_key(|(_, chain)| chain.value.noted);
    let Some((name, chain)) = newest else {
        return Ok(());
    };
    let beside = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_beside = beside
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&*file))
        .filter(|entry| entry.file_type().is_ok_and(|it| it.is_file()))
        .filter_map(|entry| std::fs::File::open(entry.path()).ok())
        .filter_map(|file| first_of(BufReader::new(file)))
        .any(|first| name_of(&first) == name);
    if is_beside {
        return Ok(());
    }
    let expected = chain.value.head.number;
    Err(VerifyError::Emptied { expected }.into())
}

/// The hash of the first line.
pub(super) fn first_of(content: impl BufRead) -> Option<[u8; 32]> {
    let mut line = Vec::new();
    let read = content
        .take(LINE_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .ok()?;
    let line = line.get(..read)?.strip_suffix(b"\n")?;
    let (_, _, hash) = split(line)?;
    Some(hash)
}

fn name_of(first: &[u8; 32]) -> String {
    data_encoding::HEXLOWER.encode(first)
}

/// A folder of a machine.
fn place_of(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let system = rustix::system::uname();
    let machine = system.nodename().to_string_lossy();
    format!("{machine}:{}", folder.display())
}
