//! Three servers over the pair, each in a namespace of its own, started again when they end.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;

use super::cluster::Cluster;
use super::load::PORT;
use super::net::Net;
use super::net::SERVERS;
use super::net::client_side;
use super::net::within;
use crate::rig::AnyResult;
use crate::rig::Rig;

/// Gives one server another clock.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/// The server whose clock goes wrong.
pub(super) const SKEWED: usize = SERVERS - 1;

/// The exit code of a command whose server or database does not answer.
const OUT_OF_REACH: i32 = 8;

/// The servers.
pub(super) struct Servers {
    spaces: Vec<String>,
    running: Vec<Option<Child>>,
    folder: PathBuf,
    /// Those that ended though nobody killed them.
    pub(super) ended: Vec<String>,
}

impl Servers {
    pub(super) fn new(rig: &Rig, net: &Net) -> Self {
        Self {
            spaces: (0..SERVERS).map(|number| net.server(number)).collect(),
            running: (0..SERVERS).map(|_| None).collect(),
            folder: rig.project(),
            ended: Vec::new(),
        }
    }

    /// Whether clocks can be skewed here.
    pub(super) fn has_clocks() -> bool {
        Path::new(LIBRARY).exists()
    }

    pub(super) fn start(&mut self, rig: &Rig, number: usize) -> AnyResult<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log(number))?;
        let space = self.spaces.get(number).map_or("", String::as_str);
        let audit = self.folder.join(format!("audit-{number}"));
        let listen = format!("{}:{PORT}", client_side(number));
        let url = Cluster::url();
        let served = rig.strongroom(&["serve", "--allow-plain-http", "--listen", &listen]);
        let mut command: Command = within(space, "env");
        if number == SKEWED && Self::has_clocks() {
            fs::write(self.clock(), "+0\n")?;
            command
                .arg(format!("LD_PRELOAD={LIBRARY}"))
                .arg(format!(
                    "FAKETIME_TIMESTAMP_FILE={}",
                    self.clock().display()
                ))
                .args(["FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]);
        }
        command
            .arg(served.get_program())
            .args(served.get_args())
            .args(["--storage", &url, "--audit-folder"])
            .arg(audit)
            .env_clear()
            .envs(
                served
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        let child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        if let Some(running) = self.running.get_mut(number) {
            *running = Some(child);
        }
        Ok(())
    }

    /// Starts again what has ended. One that did not serve yet may end: without its database it
    /// does not start.
    pub(super) fn tend(&mut self, rig: &Rig) -> AnyResult<()> {
        for number in 0..SERVERS {
            let child = self.running.get_mut(number).and_then(Option::as_mut);
            let Some(child) = child else { continue };
            let Some(status) = child.try_wait()? else {
                continue;
            };
            let log = fs::read_to_string(self.log(number)).unwrap_or_default();
            let last = log.lines().last().unwrap_or_default();
            // Out of reach is what a server says that does not find its database at the start.
            if status.code() != Some(OUT_OF_REACH) {
                self.ended
                    .push(format!("server {number}: {status}: {last}"));
            }
            self.start(rig, number)?;
        }
        Ok(())
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self, number: usize) -> AnyResult<()> {
        if let Some(mut child) = self.running.get_mut(number).and_then(Option::take) {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Has it stand still, or go on.
    pub(super) fn signal(&mut self, number: usize, signal: Signal) -> AnyResult<()> {
        if let Some(child) = self.running.get(number).and_then(Option::as_ref) {
            let id = i32::try_from(child.id())?;
            kill_process(Pid::from_raw(id).ok_or("no process")?, signal)?;
        }
        Ok(())
    }

    /// Sets the clock of the one whose clock can be set so many seconds off.
    pub(super) fn skew(&self, seconds: i64) -> AnyResult<()> {
        Ok(fs::write(self.clock(), format!("{seconds:+}\n"))?)
    }

    fn clock(&self) -> PathBuf {
        self.folder.join("clock")
    }

    fn log(&self, number: usize) -> PathBuf {
        self.folder.join(format!("server-{number}.log"))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for number in 0..SERVERS {
            // One that has ended already is as good.
            drop(self.kill(number));
        }
    }
}
