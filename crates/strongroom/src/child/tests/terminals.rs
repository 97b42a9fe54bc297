//! The command under terminals. The test holds the other side of ours.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::process::Stdio;

use pty_process::Size;
use pty_process::blocking::Pts;
use pty_process::blocking::Pty;
use rustix::process::Signal;
use rustix::termios::Termios;
use rustix::termios::tcgetattr;

use super::harness::Driven;
use super::harness::Driver;
use super::harness::HEADER;

/// Which of the driver's streams are not the terminal.
#[derive(Default)]
struct Redirected {
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
}

struct OnTerminal {
    driven: Driven,
    pty: Pty,
    slave: Pts,
    before: Termios,
}

impl OnTerminal {
    fn start(script: &str, redirected: Redirected) -> Self {
        Self::start_reading(script, redirected, None)
    }

    /// Reads from `output` instead of the terminal.
    fn start_reading(script: &str, redirected: Redirected, output: Option<OwnedFd>) -> Self {
        let (pty, slave) = pty_process::blocking::open().unwrap();
        pty.resize(Size::new(30, 101)).unwrap();
        let before = tcgetattr(&slave).unwrap();
        let (command, folder) = Driver::shell(script).into_command();
        let mut command = pty_process::blocking::Command::from(command);
        if let Some(stdin) = redirected.stdin {
            command = command.stdin(stdin);
        }
        if let Some(stdout) = redirected.stdout {
            command = command.stdout(stdout);
        }
        if let Some(stderr) = redirected.stderr {
            command = command.stderr(stderr);
        }
        let child = command.spawn_borrowed(&slave).unwrap();
        drop(command);
        let is_terminal = output.is_none();
        let output = output.unwrap_or_else(|| pty.as_fd().try_clone_to_owned().unwrap());
        let mut driven = Driven::new(child, output, folder);
        let header = if is_terminal {
            HEADER.replace('\n', "\r\n")
        } else {
            HEADER.to_owned()
        };
        driven.read_until(header.as_bytes());
        Self {
            driven,
            pty,
            slave,
            before,
        }
    }

    fn type_keys(&self, keys: &[u8]) {
        (&self.pty).write_all(keys).unwrap();
    }

    fn expect(&mut self, text: &str) -> String {
        String::from_utf8(self.driven.read_until(text.as_bytes())).unwrap()
    }

    /// The driver ends with `code`, and the terminal is as it was.
    fn ends_with(mut self, code: i32) {
        assert_eq!(self.driven.wait(), Some(code));
        let after = tcgetattr(&self.slave).unwrap();
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        assert_eq!(after.control_modes, self.before.control_modes);
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
}

#[test]
fn the_command_gets_a_terminal_of_the_same_size() {
    let script = "test -t 0 && test -t 1 && test -t 2 && stty size; \
                  echo a secret >/dev/tty; read line; echo got $line; exit 3";
    let mut on = OnTerminal::start(script, Redirected::default());
    on.expect("30 101\r\n");
    on.expect("a [masked]\r\n");
    on.type_keys(b"some words\r");
    // The echo, and the answer.
    on.expect("some words\r\n");
    on.expect("got some words\r\n");
    on.ends_with(3);
}

#[test]
fn a_typed_secret_is_masked_in_its_echo() {
    let mut on = OnTerminal::start("echo ready; read line; exit 0", Redirected::default());
    on.expect("ready\r\n");
    on.type_keys(b"secret\r");
    on.expect("[masked]\r\n");
    on.ends_with(0);
}

#[test]
fn a_new_size_reaches_the_command() {
    let script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.02; done";
    let mut on = OnTerminal::start(script, Redirected::default());
    on.expect("ready\r\n");
    on.pty.resize(Size::new(41, 91)).unwrap();
    on.expect("41 91\r\n");
    on.ends_with(0);
}

#[test]
fn the_interrupt_key_is_the_commands() {
    let mut on = OnTerminal::start("echo ready; read line", Redirected::default());
    on.expect("ready\r\n");
    on.type_keys(b"\x03");
    on.ends_with(130);
}

#[test]
fn raw_mode_is_the_commands_to_set() {
    let script = "stty raw -echo; echo ready; head -c 3 | od -An -tx1; stty sane; exit 2";
    let mut on = OnTerminal::start(script, Redirected::default());
    on.expect("ready\n");
    on.type_keys(b"\x03\x04\x1a");
    on.expect("03 04 1a");
    on.ends_with(2);
}

#[test]
fn the_terminal_is_restored_when_we_are_told_to_end() {
    let mut on = OnTerminal::start("echo ready; read line", Redirected::default());
    on.expect("ready\r\n");
    assert_ne!(
        tcgetattr(&on.slave).unwrap().local_modes,
        on.before.local_modes
    );
    on.driven.signal(Signal::TERM);
    on.ends_with(143);
}

#[test]
fn a_command_that_stops_itself_goes_on_where_nobody_could_continue_it() {
    let mut on = OnTerminal::start("echo ready; kill -STOP $$; echo on", Redirected::default());
    on.expect("ready\r\n");
    on.expect("on\r\n");
    on.ends_with(0);
}

#[test]
fn redirected_standard_error_is_no_terminal() {
    let (read, write) = pipe();
    let redirected = Redirected {
        stderr: Some(write.into()),
        ..Redirected::default()
    };
    let script = "test -t 1 && echo terminal; test -t 2 || echo a secret >&2";
    let mut on = OnTerminal::start(script, redirected);
    on.expect("terminal\r\n");
    on.ends_with(0);
    let mut stderr = [0; 32];
    let count = rustix::io::read(&read, &mut stderr).unwrap();
    assert_eq!(&stderr[..count], b"a [masked]\n");
}

#[test]
fn redirected_standard_input_is_inherited() {
    let (read, write) = pipe();
    rustix::io::write(&write, b"from afar\n").unwrap();
    drop(write);
    let redirected = Redirected {
        stdin: Some(read.into()),
        ..Redirected::default()
    };
    let script = "test -t 0 || cat; test -t 1 && stty size <&1; echo a secret";
    let mut on = OnTerminal::start(script, redirected);
    on.expect("from afar\r\n");
    on.expect("30 101\r\n");
    on.expect("a [masked]\r\n");
    on.ends_with(0);
}

#[test]
fn redirected_standard_output_leaves_the_terminal_alone() {
    let (read, write) = pipe();
    let redirected = Redirected {
        stdout: Some(write.into()),
        ..Redirected::default()
    };
    let script = "test -t 2 && stty size <&2; echo ready; read line; echo $line";
    let mut on = OnTerminal::start_reading(script, redirected, Some(read));
    on.expect("30 101\n");
    on.expect("ready\n");
    assert_eq!(
        tcgetattr(&on.slave).unwrap().local_modes,
        on.before.local_modes
    );
    on.type_keys(b"typed\r");
    on.expect("typed\n");
    on.ends_with(0);
}

#[test]
fn the_interrupt_key_is_delivered_once_in_a_shared_group() {
    let (read, write) = pipe();
    let redirected = Redirected {
        stdout: Some(write.into()),
        ..Redirected::default()
    };
    // A shell would take two in quick succession for one.
    let script = "exec python3 -c 'import os, signal, sys; \
                  signal.signal(signal.SIGINT, lambda *_: os.write(1, b\"int\\n\")); \
                  os.write(1, b\"ready\\n\"); sys.stdin.readline(); os.write(1, b\"end\\n\")'";
    if Command::new("python3").arg("--version").output().is_err() {
        return;
    }
    let mut on = OnTerminal::start_reading(script, redirected, Some(read));
    on.expect("ready\n");
    on.type_keys(b"\x03");
    on.expect("int\n");
    on.type_keys(b"x\r");
    assert_eq!(on.expect("end\n"), "end\n");
    on.ends_with(0);
}
