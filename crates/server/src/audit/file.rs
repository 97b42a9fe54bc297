//! A file of audit lines, chained.

use std::fs::File;
use std::fs::OpenOptions;
use std::io::BufReader;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use arc_swap::ArcSwap;
use strongroom_crypto::barrier::Barrier;
use tokio::sync::oneshot;

use super::AuditFailed;
use crate::devices::AuditHead;

/// What the chain's hashes are for.
pub(super) const CHAIN: &str = "audit chain";
/// Lines are synced at the latest after so long, also without a write that waits for it.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// So often it is looked whether the file is still in its place.
const PLACE_INTERVAL: Duration = Duration::from_millis(200);
/// So much of a file's end is read first; mostly the last line is in it.
const FIRST_TAIL_BYTES: u64 = 64 * 1024;
/// Longest line that is looked for in a file that goes on.
pub(super) const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// An open file device.
pub(crate) struct FileDevice {
    /// The name it was enabled under, with a `/` behind.
    pub(crate) name: String,
    path: PathBuf,
    chain: Mutex<Chain>,
    /// What the syncing thread syncs: exchanged with the chain's.
    synced: Arc<ArcSwap<File>>,
    syncs: mpsc::Sender<oneshot::Sender<bool>>,
    is_begun: AtomicBool,
}

/// How far a chain goes, and which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The hash of its first line.
    pub(super) first: [u8; 32],
    pub(super) last: AuditHead,
}

struct Chain {
    file: Arc<File>,
    /// Hash of the first line, if there is one.
    first: Option<[u8; 32]>,
    /// Hash of the last line, and its number.
    last: [u8; 32],
    number: u64,
    /// A line that was written in part: its end has to be cut off first.
    good_end: u64,
    looked_at: Instant,
    buffer: Vec<u8>,
    /// Chains of files that were moved away, to be noted once more.
    ended: Vec<Head>,
}

impl Chain {
    fn head(&self) -> Option<Head> {
        let last = AuditHead {
            number: self.number,
            hash: self.last,
        };
        self.first.map(|first| Head { first, last })
    }
}

impl FileDevice {
    /// Opens a file of a folder, or makes it, and goes on with its chain.
    ///
    /// # Errors
    /// When it is no plain file, or cannot be read and written.
    pub(crate) fn open(name: &str, folder: &Path, file_name: &str) -> std::io::Result<Self> {
        let path = folder.join(file_name);
        let mut file = open_private(&path)?;
        let (last, number, good_end) = last_of(&mut file)?;
        let first = first_of(&mut file)?;
        let file = Arc::new(file);
        let synced = Arc::new(ArcSwap::from(Arc::clone(&file)));
        let (syncs, requests) = mpsc::channel();
        let chain = Chain {
            file: Arc::clone(&file),
            first,
            last,
            number,
            good_end,
            looked_at: Instant::now(),
            buffer: Vec::with_capacity(4096),
            ended: Vec::new(),
        };
        let to_sync = Arc::clone(&synced);
        std::thread::Builder::new()
            .name("audit-sync".into())
            .spawn(move || sync_until_closed(&to_sync, &requests))?;
        Ok(Self {
            name: name.into(),
            path,
            chain: Mutex::new(chain),
            synced,
            syncs,
            is_begun: AtomicBool::new(false),
        })
    }

    /// The file's folder and name.
    pub(super) fn place(&self) -> (&Path, String) {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let name = self.path.file_name().unwrap_or_default();
        (folder, name.to_string_lossy().into_owned())
    }

    /// How far its chain goes, after those that it has ended.
    pub(super) fn heads(&self) -> Vec<Head> {
        let chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        chain.ended.iter().copied().chain(chain.head()).collect()
    }

    /// These are noted.
    pub(super) fn forget_ended(&self, noted: &[Head]) {
        let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        chain.ended.retain(|head| !noted.contains(head));
    }

    /// Goes on in the file that is in its place now: after somebody moved the old one away, a
    /// new one with a chain of its own.
    ///
    /// # Errors
    /// When it cannot be opened; nothing changes then.
    pub(crate) fn reopen(&self) -> std::io::Result<()> {
        let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        self.begin_anew(&mut chain)
    }

    /// True once after each file that was begun.
    pub(crate) fn take_is_begun(&self) -> bool {
        self.is_begun.swap(false, Ordering::Relaxed)
    }

    fn begin_anew(&self, chain: &mut Chain) -> std::io::Result<()> {
        let mut file = open_private(&self.path)?;
        let (last, number, good_end) = last_of(&mut file)?;
        let first = first_of(&mut file)?;
        chain.file.sync_data()?;
        let file = Arc::new(file);
        self.synced.store(Arc::clone(&file));
        let ended = chain.head().filter(|head| Some(head.first) != first);
        chain.ended.extend(ended);
        chain.file = file;
        chain.first = first;
        chain.last = last;
        chain.number = number;
        chain.good_end = good_end;
        chain.looked_at = Instant::now();
        self.is_begun.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Appends lines in one write. Each is a JSON object without its closing brace.
    pub(crate) fn write(&self, barrier: &Barrier, lines: &[&str]) -> Result<(), AuditFailed> {
        let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        let chain = &mut *chain;
        if chain.looked_at.elapsed() > PLACE_INTERVAL {
            self.look(chain)?;
        }
        let (mut first, mut last, mut number) = (chain.first, chain.last, chain.number);
        chain.buffer.clear();
        for line in lines {
            number += 1;
            let start = chain.buffer.len();
            let _ = write!(chain.buffer, "{line},\"seq\":{number}");
            last = link(barrier, &last, &chain.buffer[start..]);
            first = first.or(Some(last));
            chain.buffer.extend_from_slice(b",\"chain\":\"");
            push_hex(&mut chain.buffer, &last);
            chain.buffer.extend_from_slice(b"\"}\n");
        }
        let length = chain.buffer.len() as u64;
        if (&*chain.file).write_all(&chain.buffer).is_err() {
            // What was written of it would break the chain for whoever reads it.
            let _ = chain.file.set_len(chain.good_end);
            return Err(AuditFailed);
        }
        chain.first = first;
        chain.last = last;
        chain.number = number;
        chain.good_end += length;
        Ok(())
    }

    /// Notices a file that was taken away, cut off or replaced. One that was renamed, as a log
    /// rotation does, has all its lines: they go on in a new one, without waiting for a hang-up.
    fn look(&self, chain: &mut Chain) -> Result<(), AuditFailed> {
        let open = chain.file.metadata().map_err(|_| AuditFailed)?;
        if open.len() != chain.good_end {
            return Err(AuditFailed);
        }
        let is_somewhere = open.nlink() > 0;
        match std::fs::symlink_metadata(&self.path) {
            Ok(there) if (open.ino(), open.dev()) == (there.ino(), there.dev()) => {
                claim(&chain.file).map_err(|_| AuditFailed)?;
                chain.looked_at = Instant::now();
                Ok(())
            }
            Ok(there) if is_somewhere && there.len() == 0 => self.begin_after_a_move(chain),
            Err(error) if is_somewhere && error.kind() == ErrorKind::NotFound => {
                self.begin_after_a_move(chain)
            }
            Ok(_) | Err(_) => Err(AuditFailed),
        }
    }

    fn begin_after_a_move(&self, chain: &mut Chain) -> Result<(), AuditFailed> {
        self.begin_anew(chain).map_err(|_| AuditFailed)
    }

    /// Waits until the disk has what was written so far.
    pub(crate) async fn sync(&self) -> Result<(), AuditFailed> {
        let (reply, answer) = oneshot::channel();
        self.syncs.send(reply).map_err(|_| AuditFailed)?;
        match answer.await {
            Ok(true) => Ok(()),
            _ => Err(AuditFailed),
        }
    }
}

/// The hash of a line, given the one before.
pub(super) fn link(barrier: &Barrier, last: &[u8; 32], line: &[u8]) -> [u8; 32] {
    barrier.keyed_hash_of(CHAIN, &[last, line])
}

/// Syncs for all who wait at once, until the device is gone.
fn sync_until_closed(file: &ArcSwap<File>, requests: &mpsc::Receiver<oneshot::Sender<bool>>) {
    loop {
        let mut waiting = Vec::new();
        match requests.recv_timeout(SYNC_INTERVAL) {
            Ok(first) => waiting.push(first),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let _ = file.load().sync_data();
                return;
            }
        }
        waiting.extend(requests.try_iter());
        let is_synced = file.load().sync_data().is_ok();
        for reply in waiting {
            let _ = reply.send(is_synced);
        }
    }
}

/// Opens a file of ours: 0600, appended to, no link.
fn open_private(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(std::io::Error::other("it is no plain file"));
    }
    if metadata.mode() & 0o077 != 0 {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        file.set_permissions(mode)?;
    }
    claim(&file)?;
    Ok(file)
}

/// Keeps other processes from writing to a file: two chains in it would break each other. A
/// process loses its claim when it closes the file anywhere, so that this is done again.
fn claim(file: &File) -> std::io::Result<()> {
    let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    match rustix::fs::fcntl_lock(file, exclusive) {
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
            Err(std::io::Error::other("another process writes it"))
        }
        // There are file systems without locks.
        Err(rustix::io::Errno::NOLCK) => Ok(()),
        done => Ok(done?),
    }
}

/// The chain's state at the end of a file, and where its last whole line ends.
fn last_of(file: &mut File) -> std::io::Result<([u8; 32], u64, u64)> {
    let length = file.metadata()?.len();
    let mut reach = FIRST_TAIL_BYTES;
    loop {
        let start = length.saturating_sub(reach);
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.read_to_end(&mut tail)?;
        // A power cut may have left a part of a line, which nobody was told of.
        let whole = tail.iter().rposition(|byte| *byte == b'\n');
        let lines = &tail[..whole.map_or(0, |at| at + 1)];
        let line = lines.strip_suffix(b"\n").map(|body| {
            let begin = body.iter().rposition(|byte| *byte == b'\n');
            (begin, &body[begin.map_or(0, |at| at + 1)..])
        });
        let is_all_of_it = start == 0 || line.is_some_and(|(begin, _)| begin.is_some());
        if !is_all_of_it && reach < LINE_BYTES_MAX {
            reach = LINE_BYTES_MAX.min(reach * 8);
            continue;
        }
        let good_end = start + lines.len() as u64;
        if good_end != length {
            file.set_len(good_end)?;
        }
        let Some((_, line)) = line else {
            return Ok(([0; 32], 0, good_end));
        };
        let (_, number, hash) = super::verify::split(line)
            .ok_or_else(|| std::io::Error::other("its last line is none of ours"))?;
        return Ok((hash, number, good_end));
    }
}

/// The hash of a file's first line.
fn first_of(file: &mut File) -> std::io::Result<Option<[u8; 32]>> {
    file.seek(SeekFrom::Start(0))?;
    Ok(super::chains::first_of(BufReader::new(file)))
}

fn push_hex(buffer: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        buffer.push(DIGITS[usize::from(byte >> 4)]);
        buffer.push(DIGITS[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_is_found_however_long_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        // A half line may be longer than what is read first.
        let half = "y".repeat(200_000);
        for (longest, rest) in [
            (10, ""),
            (70_000, ""),
            (900_000, "half"),
            (10, half.as_str()),
        ] {
            let mut text = String::new();
            for (number, length) in [(1, 10), (2, longest), (3, longest)] {
                let (body, chain) = ("x".repeat(length), "ab".repeat(32));
                text += &format!("{{\"a\":\"{body}\",\"seq\":{number},\"chain\":\"{chain}\"}}\n");
            }
            let whole = text.len() as u64;
            std::fs::write(&path, text + rest).unwrap();
            let mut file = open_private(&path).unwrap();
            let (hash, number, good_end) = last_of(&mut file).unwrap();
            assert_eq!(
                (hash, number, good_end),
                ([0xab; 32], 3, whole),
                "{longest}"
            );
            assert_eq!(file.metadata().unwrap().len(), whole);
        }
        for nothing in ["", "no line yet"] {
            std::fs::write(&path, nothing).unwrap();
            let mut file = open_private(&path).unwrap();
            assert_eq!(last_of(&mut file).unwrap(), ([0; 32], 0, 0));
        }
    }
}
