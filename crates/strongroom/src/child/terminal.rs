//! Terminals: ours, and those we make for the command.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use pty_process::blocking::Pts;
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::pty::OpenptFlags;
use rustix::termios::LocalModes;
use rustix::termios::OptionalActions;
use rustix::termios::OutputModes;
use rustix::termios::Termios;
use rustix::termios::isatty;
use rustix::termios::tcgetattr;
use rustix::termios::tcgetpgrp;
use rustix::termios::tcgetwinsize;
use rustix::termios::tcsetattr;
use rustix::termios::tcsetwinsize;
use zeroize::Zeroizing;

/// A terminal that the command controls: our keys go in, its output comes out.
///
/// Our own terminal is in raw mode from `engage` until this is dropped.
pub(crate) struct Console {
    master: Rc<OwnedFd>,
    /// Kept open until the command ends, so that it may close and open its terminal.
    slave: Option<Pts>,
    raw: Option<RawMode>,
    is_keyboard_open: bool,
    typed: Zeroizing<Vec<u8>>,
}

impl Console {
    /// A new terminal with the modes and the size of ours.
    pub(crate) fn open() -> io::Result<Self> {
        let (pty, slave) = pty_process::blocking::open().map_err(io_error)?;
        let ours = tcgetattr(rustix::stdio::stdin())?;
        tcsetattr(&slave, OptionalActions::Now, &ours)?;
        let master = OwnedFd::from(pty);
        set_nonblocking(&master)?;
        copy_size(rustix::stdio::stdin(), &master);
        Ok(Self {
            master: Rc::new(master),
            slave: Some(slave),
            raw: None,
            is_keyboard_open: true,
            typed: Zeroizing::default(),
        })
    }

    /// Our side of the terminal.
    pub(crate) fn master(&self) -> &Rc<OwnedFd> {
        &self.master
    }

    /// The command's side, until it has ended.
    pub(crate) fn slave(&self) -> Option<&Pts> {
        self.slave.as_ref()
    }

    /// Puts our terminal into raw mode, or again into it after we were stopped.
    pub(crate) fn engage(&mut self) -> io::Result<()> {
        if !is_foreground(rustix::stdio::stdin()) {
            return Ok(());
        }
        match &self.raw {
            Some(raw) => raw.apply()?,
            None => self.raw = Some(RawMode::enter(rustix::stdio::stdin())?),
        }
        Ok(())
    }

    /// Gives our terminal its own modes back.
    pub(crate) fn disengage(&mut self) {
        self.raw = None;
    }

    /// The descriptor to wait for, and what for.
    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        if !self.typed.is_empty() {
            return Some((self.master.as_fd(), PollFlags::OUT));
        }
        self.is_keyboard_open
            .then(|| (rustix::stdio::stdin(), PollFlags::IN))
    }

    /// The descriptor waited for is ready: takes keys in, or passes them on.
    pub(crate) fn advance(&mut self) {
        if self.typed.is_empty() {
            self.take_keys();
        }
        // At once: the terminal nearly always has room for them.
        self.pass_keys();
    }

    /// The command has ended: takes no more keys and closes its side.
    pub(crate) fn close(&mut self) {
        self.is_keyboard_open = false;
        self.typed.clear();
        self.slave = None;
    }

    fn take_keys(&mut self) {
        let mut buffer = Zeroizing::new([0; KEY_BYTES_MAX]);
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer[..]) {
            Ok(count) if count > 0 => {
                self.typed
                    .extend_from_slice(buffer.get(..count).unwrap_or_default());
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(_) | Err(_) => self.is_keyboard_open = false,
        }
    }

    fn pass_keys(&mut self) {
        match rustix::io::write(&self.master, &self.typed) {
            Ok(count) => drop(self.typed.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.typed.clear(),
        }
    }
}

/// Our terminal in raw mode; dropping it restores the modes it had.
struct RawMode {
    terminal: BorrowedFd<'static>,
    original: Termios,
}

impl RawMode {
    fn enter(terminal: BorrowedFd<'static>) -> io::Result<Self> {
        let raw = Self {
            terminal,
            original: tcgetattr(terminal)?,
        };
        raw.apply()?;
        Ok(raw)
    }

    fn apply(&self) -> io::Result<()> {
        let mut modes = self.original.clone();
        modes.make_raw();
        Ok(tcsetattr(self.terminal, OptionalActions::Now, &modes)?)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // In the background the shell has the terminal, in its own modes; setting them from
        // there would stop us.
        if is_foreground(self.terminal) {
            let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.original);
        }
    }
}

/// A terminal for output alone. The command stays in our session, so that its keys and its
/// `/dev/tty` are those of our own terminal, which also does the output processing.
pub(crate) fn open_for_output(like: BorrowedFd<'_>) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    let mut modes = tcgetattr(&slave)?;
    modes.output_modes.remove(OutputModes::OPOST);
    modes.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&slave, OptionalActions::Now, &modes)?;
    set_nonblocking(&master)?;
    copy_size(like, &master);
    Ok((master, slave))
}

/// Gives `to` the window size of `from`. A size that cannot be had is left alone.
pub(crate) fn copy_size(from: BorrowedFd<'_>, to: &OwnedFd) {
    if let Ok(size) = tcgetwinsize(from) {
        let _ = tcsetwinsize(to, size);
    }
}

/// True when we may change `terminal`: it is one, and ours is its foreground group.
pub(crate) fn is_foreground(terminal: BorrowedFd<'_>) -> bool {
    isatty(terminal) && tcgetpgrp(terminal) == Ok(getpgrp())
}

/// Makes reading and writing on `fd` return instead of waiting.
pub(crate) fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

/// The error of the system that a terminal error stands for.
pub(crate) fn io_error(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        pty_process::Error::Rustix(errno) => errno.into(),
    }
}

const KEY_BYTES_MAX: usize = 4096;
