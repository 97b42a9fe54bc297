//! The secrets of an earlier installation: `secrets.json`, which held them in clear.
//!
//! Three forms are known: `{"secrets": {"ID": "VALUE"}}`, the flat `{"ID": "VALUE"}`, and the flat
//! one with an object `_metadata`. A file that is none of them stays as it is.

use std::fs::File;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::path::Path;

use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroizing;

use crate::error::SuperviseError;
use crate::json;
use crate::json::Item;

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A file of an earlier installation.
#[derive(Debug)]
pub(crate) struct Old {
    file: File,
    pub(crate) values: Vec<(String, SecretValue)>,
    /// Which of the forms it has.
    pub(crate) form: &'static str,
    /// Others could read it.
    pub(crate) was_open: bool,
}

/// Reads the file, if there is one.
pub(crate) fn read(path: &Path) -> Result<Option<Old>, SuperviseError> {
    let refused = |why: &str| SuperviseError::Import {
        path: path.into(),
        why: why.to_owned(),
    };
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(refused("it is a link")),
        Err(error) => return Err(refused(&error.to_string())),
    };
    let stat = rustix::fs::fstat(&file).map_err(|error| refused(&error.to_string()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(refused("it is not a regular file"));
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(refused("it belongs to another user"));
    }
    let bytes = u64::try_from(stat.st_size).unwrap_or(0);
    if bytes > FILE_BYTES_MAX {
        return Err(refused("it is larger than 16 MiB"));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(bytes).unwrap_or(0) + 1));
    let mut file = File::from(file);
    file.read_to_end(&mut text)
        .map_err(|error| refused(&error.to_string()))?;
    let item = json::read(&text).ok_or_else(|| refused("this is not JSON"))?;
    let (values, form) = values(item).map_err(|why| refused(&why))?;
    Ok(Some(Old {
        file,
        values,
        form,
        was_open: stat.st_mode & 0o077 != 0,
    }))
}

type Values = Vec<(String, SecretValue)>;

fn values(mut item: Item) -> Result<(Values, &'static str), String> {
    if let Some(nested) = item.take("secrets") {
        return match nested {
            Item::Map(pairs) => Ok((texts(pairs)?, "secrets")),
            Item::Null => Ok((Vec::new(), "secrets")),
            _ => Err("its key \"secrets\" holds no object".to_owned()),
        };
    }
    let form = match item.take("_metadata") {
        Some(_) => "metadata",
        None => "flat",
    };
    match item {
        Item::Map(pairs) => Ok((texts(pairs)?, form)),
        _ => Err("it holds no object".to_owned()),
    }
}

fn texts(pairs: Vec<(String, Item)>) -> Result<Values, String> {
    let mut values = Vec::with_capacity(pairs.len());
    for (id, item) in pairs {
        match item {
            Item::Text(value) => values.push((id, value)),
            Item::Null => {}
            Item::Map(_) | Item::Other => return Err(format!("{id} is not a text")),
        }
    }
    Ok(values)
}

impl Old {
    /// Overwrites the file and removes it: its values are in the store.
    pub(crate) fn remove(mut self, path: &Path) -> Result<(), SuperviseError> {
        let failed = |error: std::io::Error| SuperviseError::Import {
            path: path.into(),
            why: format!("its values are in the store, but it cannot be removed: {error}"),
        };
        let mut wipe = || -> std::io::Result<()> {
            let mut left = self.file.metadata()?.len();
            self.file.rewind()?;
            while left > 0 {
                let part = left.min(ZEROS.len() as u64);
                let part = usize::try_from(part).unwrap_or(ZEROS.len());
                self.file.write_all(ZEROS.get(..part).unwrap_or(&ZEROS))?;
                left -= part as u64;
            }
            self.file.sync_all()
        };
        wipe().map_err(failed)?;
        std::fs::remove_file(path).map_err(failed)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)
    }
}

static ZEROS: [u8; 4096] = [0; 4096];

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn the_three_forms_are_read() {
        for (text, form) in [
            (
                r#"{"secrets": {"a": "1", "b": "2\n", "c": null}}"#,
                "secrets",
            ),
            (r#"{"a": "1", "b": "2\n"}"#, "flat"),
            (
                r#"{"_metadata": {"by": [1]}, "a": "1", "b": "2\n"}"#,
                "metadata",
            ),
        ] {
            let (_folder, path) = written(text);
            let old = read(&path).unwrap().unwrap();
            assert_eq!(old.form, form);
            let ids: Vec<&str> = old.values.iter().map(|(id, _)| id.as_str()).collect();
            assert_eq!(ids, ["a", "b"]);
            assert_eq!(old.values[1].1.expose_secret(), b"2\n");
            old.remove(&path).unwrap();
            assert!(!path.exists());
            assert!(read(&path).unwrap().is_none());
        }
    }

    #[test]
    fn what_is_none_of_them_stays() {
        for (text, why) in [
            ("{\"a\": \"canary", "this is not JSON"),
            ("[\"canary\"]", "it holds no object"),
            (
                "{\"secrets\": [\"canary\"]}",
                "its key \"secrets\" holds no object",
            ),
            ("{\"a\": 7}", "a is not a text"),
            ("{\"a\": {\"b\": \"canary\"}}", "a is not a text"),
        ] {
            let (_folder, path) = written(text);
            let error = read(&path).unwrap_err().to_string();
            assert!(error.ends_with(why), "{error}");
            assert!(!error.contains("canary"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
