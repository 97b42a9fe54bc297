//! What happens, as lines of JSON beside the application's data: names and counts, never values.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use serde_json::Value;
use serde_json::json;

use crate::now;

/// Bytes after which a file is put aside and another begun.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// The file of events.
#[derive(Debug)]
pub(crate) struct Telemetry {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl Telemetry {
    pub(crate) fn new(path: PathBuf) -> Self {
        let file = Mutex::new(None);
        Self { path, file }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
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
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            let _ = std::fs::rename(&self.path, aside);
            *file = None;
        }
        if file.is_none() {
            *file = self.open();
        }
        if let Some(file) = file.as_mut() {
            let _ = file.write_all(text.as_bytes());
        }
    }

    fn open(&self) -> Option<File> {
        let flags = OFlags::CREATE | OFlags::APPEND | OFlags::WRONLY | OFlags::CLOEXEC;
        let flags = flags | OFlags::NOFOLLOW;
        let file = rustix::fs::open(&self.path, flags, Mode::RUSR | Mode::WUSR);
        file.ok().map(File::from)
    }
}

fn is_full(file: &File) -> bool {
    file.metadata()
        .is_ok_and(|metadata| metadata.len() > FILE_BYTES_MAX)
}
