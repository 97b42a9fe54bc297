//! A program as a process: its group, its output, its end.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process_group;
use tokio::process::Child;
use tokio::process::Command;

use super::environment;
use super::environment::Files;
use super::log::Log;
use super::log::Pumps;
use crate::manifest::Service;
use crate::supervisor::State;

/// A program has so long to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);

/// A running program.
pub(crate) struct Process {
    child: Child,
    group: Option<Pid>,
    pumps: Option<Pumps>,
}

impl Process {
    /// Starts a service's program.
    pub(crate) async fn start(state: &State, service: &Service, log: &Log) -> Result<Self, String> {
        let Some(binary) = &service.binary else {
            return Err("it has no program for this machine".to_owned());
        };
        let program = state.bundle_root.join(&binary.path);
        let args: Vec<String> = (binary.args.iter())
            .map(|arg| state.template().fill(arg))
            .collect();
        let variables = environment::of(state, service, Files::Write).await?;
        let folder = environment::folder(state, service);
        let mut command = command(&program, &args, &folder, variables);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn();
        let mut child = child.map_err(|error| format!("{}: {error}", binary.path))?;
        let group = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pumps = log.pump(child.stdout.take(), child.stderr.take());
        Ok(Self {
            child,
            group,
            pumps: Some(pumps),
        })
    }

    /// The number of the process that leads the program's group.
    pub(crate) fn leader(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the program ends by itself.
    pub(crate) async fn wait(&mut self) -> (Option<i32>, String) {
        match self.child.wait().await {
            Ok(status) => (code(status), in_words(status)),
            Err(error) => (None, format!("cannot be waited for: {error}")),
        }
    }

    /// Asks the program and all its children to end, then ends them.
    pub(crate) async fn end(mut self) -> Option<i32> {
        let mut ended = self.child.try_wait().ok().flatten();
        if ended.is_none() {
            self.signal(Signal::TERM);
            let waited = tokio::time::timeout(GRACE, self.child.wait()).await;
            ended = waited.ok().and_then(Result::ok);
        }
        // Also what the program has left behind: nobody would stop it later.
        self.signal(Signal::KILL);
        if ended.is_none() {
            ended = self.child.wait().await.ok();
        }
        if let Some(pumps) = self.pumps.take() {
            pumps.finish().await;
        }
        ended.and_then(code)
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // It may be gone.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.pumps.is_some() {
            self.signal(Signal::KILL);
        }
    }
}

/// Runs a command of a service to its end, within a time; its output goes to the service's log.
pub(crate) async fn run_to_end(
    state: &State,
    service: &Service,
    words: &[String],
    extra: &[(String, String)],
    log: Option<&Log>,
    limit: Duration,
) -> Result<(), String> {
    let Some((name, args)) = words.split_first() else {
        return Err("there is no command".to_owned());
    };
    let program = environment::program(state, service, name);
    let fill = |text: &String| state.template().fill(text);
    let args: Vec<String> = args.iter().map(fill).collect();
    // What is run without a log is a question about a program that runs.
    let files = match log {
        Some(_) => Files::Write,
        None => Files::Keep,
    };
    let mut variables = environment::of(state, service, files).await?;
    for (name, value) in extra {
        variables.retain(|(known, _)| known != name.as_str());
        variables.push((name.into(), fill(value).into()));
    }
    let folder = environment::folder(state, service);
    let mut command = command(&program, &args, &folder, variables);
    if log.is_some() {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let child = command.spawn();
    let mut child = child.map_err(|error| format!("{name}: {error}"))?;
    let group = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let pumps = log.map(|log| log.pump(child.stdout.take(), child.stderr.take()));
    let mut process = Process {
        child,
        group,
        pumps: Some(pumps.unwrap_or_default()),
    };
    let waited = tokio::time::timeout(limit, process.wait()).await;
    process.end().await;
    match waited {
        Ok((Some(0), _)) => Ok(()),
        Ok((_, how)) => Err(format!("{name} {how}")),
        Err(_) => Err(format!(
            "{name} did not end within {} ms",
            limit.as_millis()
        )),
    }
}

fn command(
    program: &Path,
    args: &[String],
    folder: &Path,
    variables: Vec<(OsString, OsString)>,
) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder);
    command.env_clear().envs(variables);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // Its own group: the keys of a terminal reach it through us, and its children end with it.
    command.process_group(0).kill_on_drop(true);
    command
}

/// The code that a shell would give.
fn code(status: ExitStatus) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
}

fn in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
