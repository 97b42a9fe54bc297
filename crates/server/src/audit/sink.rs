//! A device that hands lines to somebody else: a socket, or the system's log.
//!
//! A thread of its own writes, with a bound on what waits for it: a peer that takes nothing keeps
//! no request waiting for longer than its time-out.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::target::Connection;
use super::target::Target;
use crate::log::Log;

/// Requests whose lines wait for a slow peer.
const WAITING_MAX: usize = 1024;
/// Bytes that wait for a slow peer.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An open device.
pub(crate) struct SinkDevice {
    /// The name it was enabled under, with a `/` behind.
    pub(crate) name: String,
    timeout: Duration,
    prefix: String,
    jobs: mpsc::SyncSender<Job>,
    waiting_bytes: Arc<AtomicUsize>,
}

/// Where lines go, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) target: Target,
    /// For one attempt to write, or to connect.
    pub(crate) timeout: Duration,
    /// Stands before every line.
    pub(crate) prefix: String,
}

/// The lines of one request.
struct Job {
    lines: Vec<String>,
    bytes: usize,
    /// Who waits for the outcome.
    reply: Option<UnboundedSender<bool>>,
}

impl SinkDevice {
    /// A device that connects when it has something to write.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(name: &str, shape: Shape) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::sync_channel(WAITING_MAX);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let mut writer = Writer {
            name: name.into(),
            target: shape.target,
            timeout: shape.timeout,
            connection: None,
            is_failing: false,
            waiting_bytes: Arc::clone(&waiting_bytes),
        };
        std::thread::Builder::new()
            .name("audit-sink".into())
            .spawn(move || writer.run(&queue))?;
        Ok(Self {
            name: name.into(),
            timeout: shape.timeout,
            prefix: shape.prefix,
            jobs,
            waiting_bytes,
        })
    }

    /// Puts the lines of a request (each a JSON object without its closing brace) in the queue.
    /// The outcome goes to `reply`; where the queue is full, that is dropped at once.
    pub(crate) fn hand_over(&self, lines: &[&str], reply: Option<UnboundedSender<bool>>) {
        let lines: Vec<String> = lines
            .iter()
            .map(|line| format!("{}{line}}}", self.prefix))
            .collect();
        let bytes = lines.iter().map(String::len).sum();
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
        let job = Job {
            lines,
            bytes,
            reply,
        };
        let is_full = waiting + bytes > WAITING_BYTES_MAX && waiting > 0;
        if is_full || self.jobs.try_send(job).is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
        }
    }

    /// How long somebody waits for an outcome. A write that fails late, a new connection and
    /// another write take longer: whoever asked is refused then, and the next one finds it open.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout
    }
}

/// What the thread has.
struct Writer {
    name: String,
    target: Target,
    timeout: Duration,
    connection: Option<Connection>,
    is_failing: bool,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Writer {
    fn run(&mut self, queue: &mpsc::Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            let written = self.write(&job.lines);
            self.tell(written.as_ref().err());
            self.finish(job, written.is_ok());
            if written.is_err() {
                // Who waits behind would wait for the same failure, one after the other.
                while let Ok(job) = queue.try_recv() {
                    self.finish(job, false);
                }
            }
        }
    }

    fn finish(&self, job: Job, is_written: bool) {
        self.waiting_bytes.fetch_sub(job.bytes, Ordering::AcqRel);
        if let Some(reply) = job.reply {
            // Nobody may be waiting any more.
            let _ = reply.send(is_written);
        }
    }

    /// Writes on the connection there is, else on a new one.
    fn write(&mut self, lines: &[String]) -> std::io::Result<()> {
        if let Some(connection) = &mut self.connection
            && connection.is_open()
            && connection.write(lines).is_ok()
        {
            return Ok(());
        }
        self.connection = None;
        let mut connection = self.target.connect(self.timeout)?;
        connection.write(lines)?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Tells operators when it begins to fail and when that is over.
    fn tell(&mut self, error: Option<&std::io::Error>) {
        match (error, self.is_failing) {
            (Some(error), false) => Log.error(&format!(
                "audit device {} takes no lines: {error}",
                self.name
            )),
            (None, true) => Log.info(&format!("audit device {} takes lines again", self.name)),
            (Some(_), true) | (None, false) => {}
        }
        self.is_failing = error.is_some();
    }
}
