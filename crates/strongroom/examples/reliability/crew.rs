//! Writer processes, what they acknowledge, and their end.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::rig::AnyResult;
use crate::worker::Id;

/// Writer processes on one store.
pub(crate) const PROCESSES: u64 = 2;
/// How long a writer may take to its first write.
const START_MAX: Duration = Duration::from_secs(20);

/// Acknowledged writes, in the order they were heard of.
type Acknowledged = Arc<Mutex<Vec<(Id, u64)>>>;

/// Processes that write to one store.
pub(crate) struct Crew {
    children: Vec<Child>,
    readers: Vec<JoinHandle<()>>,
    acknowledged: Acknowledged,
    first: mpsc::Receiver<()>,
}

impl Crew {
    /// Starts the writers.
    pub(crate) fn start(store: &Path, round: u64) -> AnyResult<Self> {
        let (heard, first) = mpsc::channel();
        let acknowledged = Acknowledged::default();
        let mut crew = Self {
            children: Vec::new(),
            readers: Vec::new(),
            acknowledged: acknowledged.clone(),
            first,
        };
        for process in 0..PROCESSES {
            let mut child = Command::new(std::env::current_exe()?)
                .arg("worker")
                .arg(store)
                .args([round.to_string(), process.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()?;
            let stdout = child.stdout.take().ok_or("no pipe")?;
            crew.children.push(child);
            let (acknowledged, heard) = (acknowledged.clone(), heard.clone());
            crew.readers.push(thread::spawn(move || {
                let mut lines = BufReader::new(stdout);
                let mut line = String::new();
                while lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                    if let Some(written) = Id::parse(&line) {
                        lock(&acknowledged).push(written);
                        // Nobody waits any more after the first.
                        let _ = heard.send(());
                    }
                    line.clear();
                }
            }));
        }
        Ok(crew)
    }

    /// Waits for a first write, and then this long.
    pub(crate) fn let_write(&self, time: Duration) -> AnyResult<()> {
        self.first
            .recv_timeout(START_MAX)
            .map_err(|_| "no writer wrote anything")?;
        let (_never, silence) = mpsc::channel::<()>();
        // The sender lives and sends nothing: this waits.
        let _ = silence.recv_timeout(time);
        Ok(())
    }

    /// What was acknowledged up to now.
    pub(crate) fn acknowledged(&self) -> Vec<(Id, u64)> {
        lock(&self.acknowledged).clone()
    }

    /// `kill -9` for all; answers what they had acknowledged.
    pub(crate) fn kill(mut self) -> AnyResult<Vec<(Id, u64)>> {
        for child in &mut self.children {
            if let Some(status) = child.try_wait()? {
                return Err(format!("a writer ended by itself: {status}").into());
            }
            child.kill()?;
        }
        for child in &mut self.children {
            child.wait()?;
        }
        for reader in self.readers.drain(..) {
            reader.join().map_err(|_| "a reader panicked")?;
        }
        Ok(lock(&self.acknowledged).clone())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for child in &mut self.children {
            // One that has ended already is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
