//! What a service prints: into its log, with the application's secrets masked.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::process::ChildStderr;
use tokio::process::ChildStdout;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::manifest::HealthKind;
use crate::manifest::ReadinessKind;
use crate::manifest::Service;
use crate::supervisor::State;

/// Bytes after which a log is put aside and another begun.
const FILE_BYTES_MAX: u64 = 10 << 20;
/// Longest line that is looked at for a pattern.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// What might be the beginning of a value is held back for so long.
const IDLE: Duration = Duration::from_millis(200);
/// Output that children still hold open when a program has ended is read for so long.
const DRAIN: Duration = Duration::from_secs(2);

/// Where a service's log lies below the application's folder.
pub(crate) fn place(state: &State, service: &Service) -> String {
    match &service.log_dir {
        Some(path) if state.folder.below(path).is_dir() => {
            format!("{}/{}.log", path.trim_end_matches('/'), name(service))
        }
        Some(path) => path.clone(),
        None => format!("runtime/logs/{}.log", name(service)),
    }
}

fn name(service: &Service) -> String {
    service.id.replace(['/', '\\', '\0'], "_")
}

/// A service's log.
#[derive(Clone)]
pub(crate) struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    state: Arc<State>,
    service: usize,
    place: String,
    file: Mutex<Option<File>>,
    has_ready_line: watch::Sender<bool>,
    has_healthy_line: watch::Sender<bool>,
}

impl Log {
    pub(crate) fn open(state: &Arc<State>, service: &Service) -> Result<Self, String> {
        let place = place(state, service);
        let file = state.folder.open_append(&place);
        let file = file.map_err(|error| error.to_string())?;
        let services = &state.manifest.services;
        let at = services.iter().position(|other| other.id == service.id);
        Ok(Self {
            inner: Arc::new(Inner {
                state: Arc::clone(state),
                service: at.unwrap_or_default(),
                place,
                file: Mutex::new(Some(file)),
                has_ready_line: watch::Sender::new(false),
                has_healthy_line: watch::Sender::new(false),
            }),
        })
    }

    /// Takes the output of a program, until it ends.
    pub(crate) fn pump(&self, out: Option<ChildStdout>, err: Option<ChildStderr>) -> Pumps {
        let out = out.map(|pipe| tokio::spawn(pump(pipe, Arc::clone(&self.inner))));
        let err = err.map(|pipe| tokio::spawn(pump(pipe, Arc::clone(&self.inner))));
        Pumps(out.into_iter().chain(err).collect())
    }

    /// Waits for the line that says that the service is ready.
    pub(crate) async fn wait_until_ready(&self) {
        let mut lines = self.inner.has_ready_line.subscribe();
        let _ = lines.wait_for(|is_there| *is_there).await;
    }

    /// Whether there was a line that says that the service is well.
    pub(crate) fn is_healthy(&self) -> bool {
        *self.inner.has_healthy_line.borrow()
    }
}

/// What copies a program's output.
#[derive(Debug, Default)]
pub(crate) struct Pumps(Vec<JoinHandle<()>>);

impl Pumps {
    pub(crate) async fn finish(self) {
        for mut pump in self.0 {
            if tokio::time::timeout(DRAIN, &mut pump).await.is_err() {
                pump.abort();
            }
        }
    }
}

async fn pump(mut pipe: impl AsyncRead + Unpin, log: Arc<Inner>) {
    let mut patterns = log.state.masks.subscribe();
    let mut redactor = patterns.borrow_and_update().stream();
    let mut buffer = vec![0; 16 * 1024];
    let mut out = Vec::new();
    let mut line = Vec::new();
    loop {
        let reading = pipe.read(&mut buffer);
        let read = match redactor.has_held() {
            false => reading.await,
            true => match tokio::time::timeout(IDLE, reading).await {
                Ok(read) => read,
                Err(_) => {
                    redactor.flush_idle(&mut out);
                    log.take(&mut out, &mut line);
                    continue;
                }
            },
        };
        let Ok(count) = read else { break };
        if count == 0 {
            break;
        }
        if patterns.has_changed().unwrap_or(false) {
            // Values that are new are masked in all logs from now on.
            redactor.finish(&mut out);
            redactor = patterns.borrow_and_update().stream();
        }
        redactor.push(buffer.get(..count).unwrap_or_default(), &mut out);
        log.take(&mut out, &mut line);
    }
    redactor.finish(&mut out);
    log.take(&mut out, &mut line);
    log.look_at(&line);
}

impl Inner {
    /// Writes masked output, and looks at the lines in it.
    fn take(&self, out: &mut Vec<u8>, line: &mut Vec<u8>) {
        self.write(out);
        for byte in out.drain(..) {
            if byte == b'\n' {
                self.look_at(line);
                line.clear();
            } else if line.len() < LINE_BYTES_MAX {
                line.push(byte);
            }
        }
    }

    fn write(&self, out: &[u8]) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |file: &File| {
            file.metadata()
                .is_ok_and(|metadata| metadata.len() > FILE_BYTES_MAX)
        };
        if file.as_ref().is_some_and(is_full) {
            let path = self.state.folder.below(&self.place);
            let mut aside = path.clone().into_os_string();
            aside.push(".1");
            let _ = std::fs::rename(path, aside);
            *file = self.state.folder.open_append(&self.place).ok();
        }
        // A full disk must not stop the application.
        if let Some(file) = file.as_mut() {
            let _ = file.write_all(out);
        }
    }

    fn look_at(&self, line: &[u8]) {
        let Some(service) = self.state.manifest.services.get(self.service) else {
            return;
        };
        if let ReadinessKind::LogMatch(pattern) = &service.readiness.kind
            && pattern.is_match(line)
        {
            self.has_ready_line.send_replace(true);
        }
        if let HealthKind::LogMatch(pattern) = &service.health.kind
            && pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(line))
        {
            self.has_healthy_line.send_replace(true);
        }
    }
}
