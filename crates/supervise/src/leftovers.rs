//! What a supervisor that was killed leaves behind: processes of services, and files with secrets.
//! It is written down while it is so, and cleared at the next start.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process_group;
use serde_json::Value;
use serde_json::json;

use crate::error::SuperviseError;
use crate::folder::Folder;
use crate::folder::OwnFolder;

/// Where it is written down.
const FILE: &str = "runtime/running.json";
/// What is left has so long to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);
/// It is looked at this often.
const PAUSE: Duration = Duration::from_millis(50);

/// What runs and what lies there now.
#[derive(Debug)]
pub(crate) struct Leftovers {
    folder: Folder,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    /// Leaders of process groups, with the moment of their start: a number may come again.
    processes: BTreeMap<u32, u64>,
    files: BTreeSet<String>,
}

impl Leftovers {
    /// Clears what is left of the last run; how many processes and files that were.
    pub(crate) async fn clear(folder: &Folder) -> Result<(Self, usize, usize), SuperviseError> {
        let left = read(folder);
        let is_there = |(pid, start): &(&u32, &u64)| start_of(**pid) == Some(**start);
        let living: Vec<u32> = left
            .processes
            .iter()
            .filter(is_there)
            .map(|it| *it.0)
            .collect();
        signal(&living, Signal::TERM);
        let ending = async {
            let lives = |pid: &u32| start_of(*pid).as_ref() == left.processes.get(pid);
            while living.iter().any(lives) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let _ = tokio::time::timeout(GRACE, ending).await;
        let still = left.processes.iter().filter(is_there).map(|it| *it.0);
        signal(&still.collect::<Vec<u32>>(), Signal::KILL);
        for file in &left.files {
            folder.remove(file)?;
        }
        let cleared = Self {
            folder: folder.clone(),
            now: Mutex::default(),
        };
        folder.remove(FILE)?;
        Ok((cleared, living.len(), left.files.len()))
    }

    /// Notes a process that leads its group.
    pub(crate) fn started(&self, pid: u32) {
        if let Some(start) = start_of(pid) {
            self.change(|now| {
                now.processes.insert(pid, start);
            });
        }
    }

    /// Notes that a process group has ended.
    pub(crate) fn ended(&self, pid: u32) {
        self.change(|now| {
            now.processes.remove(&pid);
        });
    }

    /// Notes a file with a secret, before it is written.
    pub(crate) fn will_write(&self, file: &str) {
        self.change(|now| {
            now.files.insert(file.to_owned());
        });
    }

    /// Whether a file with a secret was written by this run.
    pub(crate) fn wrote(&self, file: &str) -> bool {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.files.contains(file)
    }

    /// The files with secrets; from now on there is nothing to clear.
    pub(crate) fn finish(&self) -> BTreeSet<String> {
        let now = std::mem::take(&mut *self.now.lock().unwrap_or_else(PoisonError::into_inner));
        now.files
    }

    /// Where it is written down, to be removed in the end.
    pub(crate) fn place() -> &'static str {
        FILE
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut now);
        let text = json!({ "processes": now.processes, "files": now.files }).to_string();
        // Without it only what a killed supervisor leaves stays longer.
        let _ = (self.folder).write_private(FILE, text.as_bytes(), OwnFolder::Leave);
    }
}

/// What was written down; what cannot be read is nothing.
fn read(folder: &Folder) -> Now {
    let text = std::fs::read(folder.below(FILE)).unwrap_or_default();
    let value: Value = serde_json::from_slice(&text).unwrap_or_default();
    let processes = value["processes"].as_object().into_iter().flatten();
    let processes = processes.filter_map(|(pid, start)| Some((pid.parse().ok()?, start.as_u64()?)));
    let files = value["files"].as_array().into_iter().flatten();
    let files = files.filter_map(|file| file.as_str().map(str::to_owned));
    Now {
        processes: processes.collect(),
        files: files.collect(),
    }
}

fn signal(processes: &[u32], signal: Signal) {
    for pid in processes {
        if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
            // It may be gone.
            let _ = kill_process_group(pid, signal);
        }
    }
}

/// When a process started, in ticks since the machine did; `None` where it is gone, or was not
/// yet taken note of, or the system does not say.
fn start_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn what_a_killed_supervisor_leaves_is_cleared_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::make(home.path()).unwrap();
        let spawn = || {
            Command::new("sleep")
                .arg("600")
                .process_group(0)
                .spawn()
                .unwrap()
        };
        let (mut ours, mut others) = (spawn(), spawn());
        let (left, ..) = Leftovers::clear(&folder).await.unwrap();
        left.started(ours.id());
        left.will_write("certs/key.pem");
        folder
            .write_private("certs/key.pem", b"x", OwnFolder::Close)
            .unwrap();
        // A number that was given to somebody else meanwhile.
        left.change(|now| {
            now.processes.insert(others.id(), 1);
        });
        drop(left);
        let (left, processes, files) = Leftovers::clear(&folder).await.unwrap();
        assert_eq!((processes, files), (1, 1));
        assert!(!folder.below("certs/key.pem").exists());
        assert!(!folder.below(FILE).exists());
        assert!(!ours.wait().unwrap().success());
        assert!(others.try_wait().unwrap().is_none());
        others.kill().unwrap();
        others.wait().unwrap();

        left.started(std::process::id());
        left.ended(std::process::id());
        let (_, processes, _) = Leftovers::clear(&folder).await.unwrap();
        assert_eq!(processes, 0);
    }
}
