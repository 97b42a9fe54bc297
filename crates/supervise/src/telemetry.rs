//! What happens, as lines of JSON beside the application's data: names and counts, never values.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;

use serde_json::Value;
use serde_json::json;

use crate::folder::Folder;
use crate::now;

/// Bytes after which a file is put aside and another begun.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// The file of events.
#[derive(Debug)]
pub(crate) struct Telemetry {
    folder: Folder,
    place: String,
    file: Mutex<Option<File>>,
}

impl Telemetry {
    pub(crate) fn new(folder: &Folder, place: &str) -> Self {
        Self {
            folder: folder.clone(),
            place: place.to_owned(),
            file: Mutex::new(None),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.below(&self.place)
    }

    /// Notes an event. What cannot be written is lost: the application goes on.
    pub(crate) fn note(&self, event: &str, service: Option<&str>, details: Value) {
        let mut line = json!({ "ts": now().to_string(), "event": event });
        if let Some(service) = service {
            line["service_id"] = service.into();
        }
        line["details"] = details;
        let mut text = line.to_string();
        text.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.as_ref().is_some_and(is_full) {
            let mut aside = self.path().into_os_string();
            aside.push(".1");
            let _ = std::fs::rename(self.path(), aside);
            *file = None;
        }
        if file.is_none() {
            *file = self.folder.open_append(&self.place).ok();
        }
        if let Some(file) = file.as_mut() {
            let _ = file.write_all(text.as_bytes());
        }
    }
}

fn is_full(file: &File) -> bool {
    file.metadata()
        .is_ok_and(|metadata| metadata.len() > FILE_BYTES_MAX)
}
