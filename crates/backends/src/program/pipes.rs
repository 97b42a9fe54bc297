//! Talking to a child through its three pipes at once, with a deadline.

use std::io;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::Child;
use std::process::ChildStderr;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroizing;

use super::PROGRAM_OUTPUT_BYTES_MAX;

/// What a child left.
pub(super) struct Ended {
    pub(super) output: Zeroizing<Vec<u8>>,
    pub(super) error: Zeroizing<Vec<u8>>,
    pub(super) code: Option<i32>,
}

/// Why nothing came of it.
pub(super) enum End {
    Late,
    TooMuch,
    Io(io::ErrorKind),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

/// Writes the input and reads both outputs until the child has ended.
///
/// A child may end while another process still holds its outputs: what can be read then counts.
pub(super) fn talk(
    child: &mut Child,
    input: Option<&SecretValue>,
    until: Instant,
) -> Result<Ended, End> {
    let mut talk = Talk::new(child, input)?;
    loop {
        let is_over = child.try_wait()?;
        let moved = talk.turn()?;
        match is_over {
            Some(status) if talk.is_silent() || !moved => {
                return Ok(Ended {
                    output: talk.output.bytes,
                    error: talk.error.bytes,
                    code: status.code(),
                });
            }
            _ => {}
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(End::Late);
        }
        if !moved {
            talk.wait(left.min(TICK))?;
        }
    }
}

struct Talk<'a> {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    to_write: &'a [u8],
    output: Gathered,
    error: Gathered,
}

impl<'a> Talk<'a> {
    fn new(child: &mut Child, input: Option<&'a SecretValue>) -> Result<Self, End> {
        // EXPOSE: into the pipe that is the program's standard input.
        let to_write = input.map_or(&[][..], |input| input.expose_secret());
        let talk = Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            to_write,
            output: Gathered::new(PROGRAM_OUTPUT_BYTES_MAX),
            error: Gathered::new(ERROR_BYTES_MAX),
        };
        for fd in talk.fds() {
            rustix::io::ioctl_fionbio(fd, true).map_err(io::Error::from)?;
        }
        Ok(talk)
    }

    fn fds(&self) -> impl Iterator<Item = std::os::fd::BorrowedFd<'_>> {
        let stdin = self.stdin.as_ref().map(AsFd::as_fd);
        let stdout = self.stdout.as_ref().map(AsFd::as_fd);
        let stderr = self.stderr.as_ref().map(AsFd::as_fd);
        [stdin, stdout, stderr].into_iter().flatten()
    }

    fn is_silent(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// Moves what can be moved without waiting; says whether anything was.
    fn turn(&mut self) -> Result<bool, End> {
        let mut moved = self.write()?;
        if let Some(pipe) = &mut self.stdout {
            match self.output.take(pipe)? {
                Taken::End => self.stdout = None,
                Taken::Some => moved = true,
                Taken::Nothing => {}
                Taken::TooMuch => return Err(End::TooMuch),
            }
        }
        if let Some(pipe) = &mut self.stderr {
            match self.error.take(pipe)? {
                Taken::End => self.stderr = None,
                Taken::Some => moved = true,
                Taken::Nothing => {}
                // Talk, of which the beginning is enough.
                Taken::TooMuch => moved = true,
            }
        }
        Ok(moved)
    }

    fn write(&mut self) -> Result<bool, End> {
        let Some(pipe) = &mut self.stdin else {
            return Ok(false);
        };
        if self.to_write.is_empty() {
            self.stdin = None;
            return Ok(true);
        }
        match pipe.write(self.to_write) {
            Ok(count) => {
                self.to_write = self.to_write.get(count..).unwrap_or_default();
                Ok(count > 0)
            }
            Err(error) if is_for_later(&error) => Ok(false),
            // A program need not read its input to the end.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.stdin = None;
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until something can be moved, or for a moment.
    fn wait(&self, time: Duration) -> Result<(), End> {
        let mut wanted: Vec<PollFd<'_>> = Vec::with_capacity(3);
        if let Some(pipe) = &self.stdin {
            wanted.push(PollFd::new(pipe, PollFlags::OUT));
        }
        if let Some(pipe) = &self.stdout {
            wanted.push(PollFd::new(pipe, PollFlags::IN));
        }
        if let Some(pipe) = &self.stderr {
            wanted.push(PollFd::new(pipe, PollFlags::IN));
        }
        let time = Timespec::try_from(time).map_err(|_| End::Io(io::ErrorKind::InvalidInput))?;
        match rustix::event::poll(&mut wanted, Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }
}

enum Taken {
    Some,
    Nothing,
    End,
    TooMuch,
}

/// Bytes that are wiped, also those of buffers that became too small.
struct Gathered {
    bytes: Zeroizing<Vec<u8>>,
    bytes_max: usize,
}

impl Gathered {
    fn new(bytes_max: usize) -> Self {
        Self {
            bytes: Zeroizing::new(Vec::with_capacity(CHUNK_BYTES)),
            bytes_max,
        }
    }

    fn take(&mut self, pipe: &mut impl Read) -> Result<Taken, End> {
        let mut chunk = Zeroizing::new([0; CHUNK_BYTES]);
        let count = match pipe.read(&mut *chunk) {
            Ok(0) => return Ok(Taken::End),
            Ok(count) => count,
            Err(error) if is_for_later(&error) => return Ok(Taken::Nothing),
            Err(error) => return Err(error.into()),
        };
        let more = chunk.get(..count).unwrap_or_default();
        if self.bytes.len() + more.len() > self.bytes_max {
            return Ok(Taken::TooMuch);
        }
        if self.bytes.capacity() - self.bytes.len() < more.len() {
            let room = (self.bytes.capacity() * 2).max(self.bytes.len() + more.len());
            let mut larger = Zeroizing::new(Vec::with_capacity(room));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        self.bytes.extend_from_slice(more);
        Ok(Taken::Some)
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// How often a child is asked whether it has ended when its pipes say nothing.
const TICK: Duration = Duration::from_millis(5);
const CHUNK_BYTES: usize = 16 << 10;
/// Most bytes of an error output that are kept.
const ERROR_BYTES_MAX: usize = 64 << 10;
