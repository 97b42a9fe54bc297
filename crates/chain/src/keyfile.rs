//! Key files: 256 random bits that open a store, readable by their owner only.

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use data_encoding::BASE64;
use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use strongroom_core::port::Rng;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroizing;

/// A key file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key file {path} cannot be used: {why}")]
#[non_exhaustive]
pub struct KeyFileError {
    /// Which.
    pub path: String,
    /// Why not.
    pub why: String,
    /// The one thing to do about it, if it is known.
    pub hint: Option<String>,
}

const PREFIX: &str = "strongroom-key-1:";
const KEY_BYTES: usize = 32;
const FILE_BYTES_MAX: u64 = 4096;

/// Reads a key file; `None` when there is none.
///
/// # Errors
/// When it is no key file, or somebody else's, or others can read it.
pub fn read(path: &Path) -> Result<Option<SecretValue>, KeyFileError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(unusable(path, &error.to_string())),
    };
    let stat = rustix::fs::fstat(&file).map_err(|error| unusable(path, &error.to_string()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(unusable(path, "it is not a regular file"));
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(unusable(path, "it belongs to another user"));
    }
    if stat.st_mode & 0o077 != 0 {
        let mode = stat.st_mode & 0o777;
        let hint = format!(
            "chmod 600 {}; if others had access, `strongroom key rotate` and new key slots",
            path.display()
        );
        return Err(KeyFileError {
            hint: Some(hint),
            ..unusable(path, &format!("others can read it (mode {mode:03o})"))
        });
    }
    let mut text = Zeroizing::new(Vec::with_capacity(128));
    File::from(file)
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(|error| unusable(path, &error.to_string()))?;
    decode(&text)
        .map(Some)
        .ok_or_else(|| unusable(path, "it is not a Strongroom key file"))
}

fn decode(text: &[u8]) -> Option<SecretValue> {
    let text = text.trim_ascii_end().strip_prefix(PREFIX.as_bytes())?;
    let key = Zeroizing::new(BASE64.decode(text).ok()?);
    (key.len() == KEY_BYTES).then(|| SecretValue::copy_from(&key))
}

/// Makes a key file; one that is there already stays.
///
/// # Errors
/// When it cannot be written, or the one that is there cannot be used.
pub fn create(path: &Path, rng: &dyn Rng) -> Result<SecretValue, KeyFileError> {
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    // A bare name has a parent without a name.
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| unusable(path, &error.to_string()))?;
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    rng.fill(&mut *key);
    let text = Zeroizing::new(format!(
        "{PREFIX}{}\n",
        *Zeroizing::new(BASE64.encode(&*key))
    ));
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".new-{}", std::process::id()));
    let draft = Path::new(&draft);
    let write = || -> std::io::Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::open(draft, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // A link, unlike a rename, does not replace what another process has made meanwhile.
        let linked = rustix::fs::linkat(
            rustix::fs::CWD,
            draft,
            rustix::fs::CWD,
            path,
            AtFlags::empty(),
        );
        std::fs::remove_file(draft)?;
        match linked {
            Ok(()) | Err(Errno::EXIST) => File::open(folder)?.sync_all(),
            Err(error) => Err(error.into()),
        }
    };
    write().map_err(|error| unusable(path, &error.to_string()))?;
    read(path)?.ok_or_else(|| unusable(path, "it vanished"))
}

fn unusable(path: &Path, why: &str) -> KeyFileError {
    KeyFileError {
        path: path.display().to_string(),
        why: why.to_owned(),
        hint: None,
    }
}
