//! One output stream on its way from the command, through the mask, to us.

use std::fmt;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::Mask;
use super::mask::Layers;

/// One of our two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Output {
    /// The descriptor of ours that it is.
    pub(crate) fn fd(self) -> BorrowedFd<'static> {
        match self {
            Self::Stdout => rustix::stdio::stdout(),
            Self::Stderr => rustix::stdio::stderr(),
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "standard output",
            Self::Stderr => "standard error",
        })
    }
}

/// Reads nothing while it still has something to write, so that a slow reader of ours slows the
/// command down, and memory stays bounded.
pub(crate) struct Stream {
    output: Output,
    source: Option<Rc<OwnedFd>>,
    mask: Layers,
    masked: Vec<u8>,
    written: usize,
    write_bytes_max: usize,
    active_at: Instant,
    owed_bytes: u64,
    is_hung_up: bool,
    failure: Option<Errno>,
}

impl Stream {
    /// A stream from `source`, which does not block, to `output`.
    pub(crate) fn new(output: Output, source: Rc<OwnedFd>, mask: Box<dyn Mask>) -> Self {
        Self {
            output,
            source: Some(source),
            mask: Layers::new(mask),
            masked: Vec::new(),
            written: 0,
            write_bytes_max: write_bytes_max(output.fd()),
            active_at: Instant::now(),
            owed_bytes: 0,
            is_hung_up: false,
            failure: None,
        }
    }

    /// More is secret from now on: `mask` knows all that is.
    pub(crate) fn cover(&mut self, mask: Box<dyn Mask>) {
        self.mask.add(mask);
    }

    /// The descriptor to wait for, and what for. None when all is done.
    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        if self.is_writing() {
            return Some((self.output.fd(), PollFlags::OUT));
        }
        self.source
            .as_ref()
            .map(|source| (source.as_fd(), PollFlags::IN))
    }

    /// The descriptor waited for is ready: reads or writes one piece. `buffer` is scratch space.
    pub(crate) fn advance(&mut self, buffer: &mut [u8]) {
        if self.is_writing() {
            self.write_piece();
        } else {
            self.read_piece(buffer);
        }
    }

    /// When to call `flush_idle`, if the command stays silent until then.
    pub(crate) fn idle_deadline(&self) -> Option<Instant> {
        let is_waiting = !self.is_writing() && self.source.is_some() && self.mask.has_held();
        is_waiting.then(|| self.active_at + IDLE_FLUSH)
    }

    /// Lets go of held bytes if the command has been silent long enough.
    pub(crate) fn flush_idle(&mut self, now: Instant) {
        if self.idle_deadline().is_some_and(|deadline| deadline <= now) {
            self.mask.flush_idle(&mut self.masked);
        }
    }

    /// The command has ended: notes what it had written that is not read yet.
    pub(crate) fn note_owed(&mut self) {
        let source = self.source.as_ref();
        self.owed_bytes = source
            .and_then(|fd| rustix::io::ioctl_fionread(fd).ok())
            .unwrap_or_default();
    }

    /// True while bytes of the command itself are unread.
    pub(crate) fn is_owed(&self) -> bool {
        self.source.is_some() && self.owed_bytes > 0
    }

    /// True while something waits to be written.
    pub(crate) fn is_writing(&self) -> bool {
        self.written < self.masked.len()
    }

    /// Which of our outputs it goes to.
    pub(crate) fn output(&self) -> Output {
        self.output
    }

    /// True when our output cannot be written to any more.
    pub(crate) fn is_hung_up(&self) -> bool {
        self.is_hung_up
    }

    /// True when nothing more will be read.
    pub(crate) fn is_closed(&self) -> bool {
        self.source.is_none()
    }

    /// When something was last read or written.
    pub(crate) fn active_at(&self) -> Instant {
        self.active_at
    }

    /// Ends the stream; what the mask held back is still written.
    pub(crate) fn close(&mut self) {
        if self.source.take().is_some() {
            self.mask.finish(&mut self.masked);
        }
    }

    /// Which output could not be written to, if that is a failure and no closed pipe.
    pub(crate) fn failure(&self) -> Option<(Output, Errno)> {
        self.failure.map(|errno| (self.output, errno))
    }

    fn read_piece(&mut self, buffer: &mut [u8]) {
        let Some(source) = &self.source else { return };
        match rustix::io::read(source, &mut *buffer) {
            Ok(count) if count > 0 => {
                self.owed_bytes = self.owed_bytes.saturating_sub(count as u64);
                self.active_at = Instant::now();
                if let Some(chunk) = buffer.get(..count) {
                    self.mask.push(chunk, &mut self.masked);
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => self.owed_bytes = 0,
            // A terminal whose other side is closed answers with an error instead of an end.
            Ok(_) | Err(_) => self.close(),
        }
    }

    fn write_piece(&mut self) {
        let rest = self.masked.get(self.written..).unwrap_or_default();
        let piece = rest.get(..self.write_bytes_max).unwrap_or(rest);
        match rustix::io::write(self.output.fd(), piece) {
            Ok(count) => {
                self.written += count;
                self.active_at = Instant::now();
                if !self.is_writing() {
                    self.masked.clear();
                    self.written = 0;
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => {
                // Nobody reads us any more: closing our end tells the command in the usual way.
                let is_usual = errno == Errno::PIPE || errno == Errno::IO;
                self.failure = (!is_usual).then_some(errno);
                self.is_hung_up = true;
                self.source = None;
                self.masked = Vec::new();
                self.written = 0;
            }
        }
    }
}

/// How much can be written at once, when the descriptor is ready, without blocking.
fn write_bytes_max(sink: BorrowedFd<'_>) -> usize {
    let is_file = rustix::fs::fstat(sink)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    if is_file {
        usize::MAX
    } else {
        PIPE_BYTES_ATOMIC
    }
}

/// How long a command must be silent before held bytes are let go, so that prompts appear.
const IDLE_FLUSH: Duration = Duration::from_millis(20);
/// `PIPE_BUF`: a pipe that is ready takes this much.
const PIPE_BYTES_ATOMIC: usize = 4096;
