//! Which descriptors the command gets, and what we hold on the other side of them.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::termios::isatty;
use strongroom_core::secret::SecretValue;

use super::stream::Output;
use super::terminal;
use super::terminal::Console;

/// The command's standard streams. What is absent is inherited, or is the console.
#[derive(Default)]
pub(crate) struct Theirs {
    /// Its standard input.
    pub(crate) stdin: Option<OwnedFd>,
    /// Its standard output.
    pub(crate) stdout: Option<OwnedFd>,
    /// Its standard error.
    pub(crate) stderr: Option<OwnedFd>,
}

/// Our side.
#[derive(Default)]
pub(crate) struct Ours {
    /// What the command writes, and where it goes.
    pub(crate) sources: Vec<(Output, Rc<OwnedFd>)>,
    /// The terminal that the command controls.
    pub(crate) console: Option<Console>,
    /// Terminals whose size follows ours.
    pub(crate) resized: Vec<(Output, Rc<OwnedFd>)>,
    /// The secret on its way to the command's standard input.
    pub(crate) feed: Option<Feed>,
}

/// Connects the command.
pub(crate) fn connect(plan: Plan, stdin_secret: Option<SecretValue>) -> io::Result<(Theirs, Ours)> {
    let mut theirs = Theirs::default();
    let mut ours = Ours::default();
    if let Some(secret) = stdin_secret {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        terminal::set_nonblocking(&write)?;
        theirs.stdin = Some(read);
        ours.feed = Some(Feed {
            pipe: write,
            secret,
            fed: 0,
        });
    }
    theirs.stdout = ours.attach(plan.stdout, Output::Stdout)?;
    theirs.stderr = match plan.stderr {
        // On the console both are there by default.
        Channel::AsStdout => theirs.stdout.as_ref().map(OwnedFd::try_clone).transpose()?,
        channel => ours.attach(channel, Output::Stderr)?,
    };
    Ok((theirs, ours))
}

impl Ours {
    /// Makes `channel` for `output`; the answer is the command's end of it.
    fn attach(&mut self, channel: Channel, output: Output) -> io::Result<Option<OwnedFd>> {
        match channel {
            Channel::Inherit | Channel::AsStdout => Ok(None),
            // Where there are no terminals to be had, a pipe still carries the output.
            Channel::Console => match Console::open() {
                Ok(console) => {
                    self.sources.push((output, Rc::clone(console.master())));
                    self.resized.push((output, Rc::clone(console.master())));
                    self.console = Some(console);
                    Ok(None)
                }
                Err(_) => self.attach(Channel::Pipe, output),
            },
            Channel::Terminal => match terminal::open_for_output(output.fd()) {
                Ok((master, slave)) => {
                    let master = Rc::new(master);
                    self.sources.push((output, Rc::clone(&master)));
                    self.resized.push((output, master));
                    Ok(Some(slave))
                }
                Err(_) => self.attach(Channel::Pipe, output),
            },
            Channel::Pipe => {
                let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
                terminal::set_nonblocking(&read)?;
                self.sources.push((output, Rc::new(read)));
                Ok(Some(write))
            }
        }
    }
}

/// How one of the command's outputs is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Directly to ours, unmasked.
    Inherit,
    /// A pipe.
    Pipe,
    /// A terminal for output alone.
    Terminal,
    /// A terminal that the command controls, with our keyboard.
    Console,
    /// Where its standard output goes, in one stream, so that their order is kept.
    AsStdout,
}

/// How both outputs are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Standard output.
    pub(crate) stdout: Channel,
    /// Standard error.
    pub(crate) stderr: Channel,
}

impl Plan {
    /// Our own streams, unmasked.
    pub(crate) const INHERIT: Self = Self {
        stdout: Channel::Inherit,
        stderr: Channel::Inherit,
    };

    /// The plan that shows the command the same kind of outputs as we have.
    pub(crate) fn masked(around: Surroundings) -> Self {
        let kind = |is_terminal| {
            if is_terminal {
                Channel::Terminal
            } else {
                Channel::Pipe
            }
        };
        let is_console = around.is_stdin_usable && around.is_stdout_terminal;
        Self {
            stdout: if is_console {
                Channel::Console
            } else {
                kind(around.is_stdout_terminal)
            },
            stderr: if around.is_same_output {
                Channel::AsStdout
            } else {
                kind(around.is_stderr_terminal)
            },
        }
    }
}

/// What our own streams are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    /// Standard input is a terminal, we are in its foreground, and the command is to read it.
    is_stdin_usable: bool,
    is_stdout_terminal: bool,
    is_stderr_terminal: bool,
    /// Both outputs are the same open file, pipe or terminal.
    is_same_output: bool,
}

impl Surroundings {
    /// Looks at our own streams.
    pub(crate) fn look(has_stdin_secret: bool) -> Self {
        let (stdout, stderr) = (Output::Stdout.fd(), Output::Stderr.fd());
        Self {
            is_stdin_usable: !has_stdin_secret && terminal::is_foreground(rustix::stdio::stdin()),
            is_stdout_terminal: isatty(stdout),
            is_stderr_terminal: isatty(stderr),
            is_same_output: is_same(stdout, stderr),
        }
    }
}

/// A secret that goes into the command's standard input.
pub(crate) struct Feed {
    pipe: OwnedFd,
    secret: SecretValue,
    fed: usize,
}

impl Feed {
    /// The descriptor to wait for, and what for.
    pub(crate) fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        (self.pipe.as_fd(), PollFlags::OUT)
    }

    /// Writes what fits. False when it is done, or the command does not want it.
    pub(crate) fn advance(&mut self) -> bool {
        // EXPOSE: the user asked for this secret on the command's standard input.
        let rest = self
            .secret
            .expose_secret()
            .get(self.fed..)
            .unwrap_or_default();
        if rest.is_empty() {
            return false;
        }
        match rustix::io::write(&self.pipe, rest) {
            Ok(count) => self.fed += count,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return false,
        }
        self.fed < self.secret.len_bytes()
    }
}

fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    match (rustix::fs::fstat(one), rustix::fs::fstat(other)) {
        (Ok(one), Ok(other)) => one.st_dev == other.st_dev && one.st_ino == other.st_ino,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stdin: bool, stdout: bool, stderr: bool, same: bool, expected: (Channel, Channel)) {
        let plan = Plan::masked(Surroundings {
            is_stdin_usable: stdin,
            is_stdout_terminal: stdout,
            is_stderr_terminal: stderr,
            is_same_output: same,
        });
        assert_eq!((plan.stdout, plan.stderr), expected);
    }

    #[test]
    fn the_command_sees_the_kind_of_outputs_we_have() {
        use Channel::AsStdout;
        use Channel::Console;
        use Channel::Pipe;
        use Channel::Terminal;
        check(true, true, true, true, (Console, AsStdout));
        check(true, true, false, false, (Console, Pipe));
        check(true, false, true, false, (Pipe, Terminal));
        check(false, true, true, true, (Terminal, AsStdout));
        check(false, true, false, false, (Terminal, Pipe));
        check(true, false, false, true, (Pipe, AsStdout));
        check(false, false, false, false, (Pipe, Pipe));
    }
}
