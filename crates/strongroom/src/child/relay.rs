//! The loop that runs while the command does: one thread, one `poll`.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::WaitOptions;
use rustix::process::WaitStatus;
use rustix::process::getpid;
use rustix::process::kill_current_process_group;
use rustix::process::kill_process;
use rustix::process::kill_process_group;
use rustix::process::wait;
use rustix::process::waitpid;
use zeroize::Zeroizing;

use super::ChildError;
use super::ExitStatusCode;
use super::Mask;
use super::signals::Event;
use super::signals::Signals;
use super::stream::Output;
use super::stream::Stream;
use super::terminal;
use super::terminal::Console;
use super::wiring::Feed;
use super::wiring::Ours;

/// A command that runs. Should we give up on it, it is asked to end.
#[derive(Debug)]
pub(crate) struct Running {
    pid: Pid,
    is_collected: bool,
}

impl Running {
    /// The command with that number, which is a child of ours.
    pub(crate) fn new(pid: Pid) -> Self {
        Self {
            pid,
            is_collected: false,
        }
    }

    fn signal(&self, signal: Signal) {
        if !self.is_collected {
            // Until it is collected the number is the command's; it may have ended already.
            let _ = kill_process(self.pid, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
    }
}

/// Everything that moves while the command runs.
pub(crate) struct Relay {
    child: Running,
    signals: Signals,
    ours: Ours,
    streams: Vec<Stream>,
    buffer: Zeroizing<Vec<u8>>,
    ended: Option<Ended>,
    wake: Option<Rc<OwnedFd>>,
    is_woken: bool,
    asked: Option<Asked>,
    told_to_end: Option<Instant>,
}

/// What `step` came back for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The command has ended, and its output is written.
    Ended(ExitStatusCode),
    /// Somebody has written to the descriptor that wakes.
    Woken,
}

/// We have asked the command to end.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// When it is killed, unless it was.
    kill_at: Option<Instant>,
    /// Nobody else has told it to end since.
    is_ours: bool,
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    code: ExitStatusCode,
    at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Signals,
    Stream(usize),
    Console,
    Feed,
    Wake,
}

impl Relay {
    /// A relay for the running `child`.
    pub(crate) fn new(
        child: Running,
        signals: Signals,
        ours: Ours,
        streams: Vec<Stream>,
        wake: Option<Rc<OwnedFd>>,
    ) -> Self {
        let buffer = Zeroizing::new(vec![0; if streams.is_empty() { 0 } else { CHUNK_BYTES }]);
        Self {
            child,
            signals,
            ours,
            streams,
            buffer,
            ended: None,
            wake,
            is_woken: false,
            asked: None,
            told_to_end: None,
        }
    }

    /// What outlives the command.
    pub(crate) fn into_parts(self) -> (Signals, Option<Rc<OwnedFd>>) {
        (self.signals, self.wake)
    }

    /// Asks the command to end; it is killed when it has not after `grace`.
    pub(crate) fn ask_to_end(&mut self, grace: Duration) -> Result<(), ChildError> {
        // One that has ended by itself meanwhile was not asked.
        self.reap().map_err(relay_error)?;
        if self.ended.is_none() {
            self.asked = Some(Asked {
                kill_at: Instant::now().checked_add(grace),
                is_ours: true,
            });
            self.child.signal(Signal::TERM);
        }
        Ok(())
    }

    /// True when the command ended because we have asked it to.
    pub(crate) fn has_ended_for_us(&self) -> bool {
        self.asked.is_some_and(|asked| asked.is_ours)
    }

    /// When somebody else has last told the command to end.
    pub(crate) fn told_to_end(&self) -> Option<Instant> {
        self.told_to_end
    }

    /// Sends a signal to the command.
    pub(crate) fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// More is secret from now on.
    pub(crate) fn cover(&mut self, masks: [Box<dyn Mask>; 2]) {
        for (stream, mask) in self.streams.iter_mut().zip(masks) {
            stream.cover(mask);
        }
    }

    /// Runs until the command has ended and its output is written, or until we are woken.
    pub(crate) fn step(&mut self) -> Result<Step, ChildError> {
        let code = loop {
            let now = Instant::now();
            for stream in &mut self.streams {
                stream.flush_idle(now);
            }
            if let Some(ended) = self.ended {
                if self.is_drained() {
                    break ended.code;
                }
                if self.is_drained_enough(ended, now) {
                    self.streams.iter_mut().for_each(Stream::close);
                    continue;
                }
            }
            let ready = self.wait_for_events(now).map_err(relay_error)?;
            for token in ready.into_iter().flatten() {
                self.handle(token).map_err(relay_error)?;
            }
            self.kill_when_due();
            if std::mem::take(&mut self.is_woken) && self.ended.is_none() {
                return Ok(Step::Woken);
            }
        };
        match self.streams.iter().find_map(Stream::failure) {
            Some((output, errno)) => Err(ChildError::Output {
                output,
                source: errno.into(),
            }),
            None => Ok(Step::Ended(code)),
        }
    }

    fn kill_when_due(&mut self) {
        let Some(asked) = &mut self.asked else { return };
        if asked.kill_at.is_some_and(|at| at <= Instant::now()) {
            asked.kill_at = None;
            self.child.signal(Signal::KILL);
        }
    }

    fn wait_for_events(&self, now: Instant) -> io::Result<[Option<Token>; TOKENS_MAX]> {
        let mut tokens = [None; TOKENS_MAX];
        let mut fds = Vec::with_capacity(TOKENS_MAX);
        for (slot, (token, fd, flags)) in tokens.iter_mut().zip(self.interests()) {
            *slot = Some(token);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
        let timeout = self
            .deadline()
            .map(|at| timespec(at.saturating_duration_since(now)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok([None; TOKENS_MAX]),
            Err(errno) => return Err(errno.into()),
        }
        for (slot, fd) in tokens.iter_mut().zip(&fds) {
            if fd.revents().is_empty() {
                *slot = None;
            }
        }
        Ok(tokens)
    }

    fn interests(&self) -> impl Iterator<Item = (Token, BorrowedFd<'_>, PollFlags)> {
        let streams = self
            .streams
            .iter()
            .enumerate()
            .filter_map(|(index, stream)| {
                stream
                    .interest()
                    .map(|(fd, flags)| (Token::Stream(index), fd, flags))
            });
        let console = self.ours.console.as_ref().and_then(Console::interest);
        let feed = self.ours.feed.as_ref().map(Feed::interest);
        let wake = self.wake.as_ref().map(|fd| fd.as_fd());
        std::iter::once((Token::Signals, self.signals.as_fd(), PollFlags::IN))
            .chain(streams)
            .chain(console.map(|(fd, flags)| (Token::Console, fd, flags)))
            .chain(feed.map(|(fd, flags)| (Token::Feed, fd, flags)))
            .chain(wake.map(|fd| (Token::Wake, fd, PollFlags::IN)))
    }

    fn handle(&mut self, token: Token) -> io::Result<()> {
        match token {
            Token::Signals => return self.handle_signals(),
            Token::Stream(index) => {
                let Some(stream) = self.streams.get_mut(index) else {
                    return Ok(());
                };
                stream.advance(&mut self.buffer);
                if stream.is_hung_up() {
                    self.hang_up(index);
                }
            }
            Token::Console => {
                if let Some(console) = &mut self.ours.console {
                    console.advance();
                }
            }
            Token::Feed => {
                if self.ours.feed.as_mut().is_some_and(|feed| !feed.advance()) {
                    self.ours.feed = None;
                }
            }
            Token::Wake => self.take_wake(),
        }
        Ok(())
    }

    fn take_wake(&mut self) {
        let Some(wake) = &self.wake else { return };
        match rustix::io::read(wake, &mut [0; 64]) {
            Ok(0) => self.wake = None,
            Ok(_) => self.is_woken = true,
            Err(_) => {}
        }
    }

    /// A signal that commands end at is on its way to ours, and not from us.
    fn note_end(&mut self, signal: Signal) {
        if matches!(signal, Signal::TERM | Signal::INT | Signal::QUIT) {
            self.told_to_end = Some(Instant::now());
            if let Some(asked) = &mut self.asked {
                asked.is_ours = false;
            }
        }
    }

    fn handle_signals(&mut self) -> io::Result<()> {
        for event in self.signals.take() {
            match event {
                Event::Child => self.reap()?,
                Event::Forward(signal) => {
                    self.note_end(signal);
                    self.child.signal(signal);
                }
                Event::Reached(signal) => self.note_end(signal),
                Event::Resized => self.resize(),
                Event::Continued => {
                    if let (Some(console), None) = (&mut self.ours.console, self.ended) {
                        console.engage()?;
                    }
                    self.resize();
                }
            }
        }
        Ok(())
    }

    /// Collects our command, and as the first process of a container everybody's orphans.
    fn reap(&mut self) -> io::Result<()> {
        let is_init = getpid().is_init();
        let stops = if self.ours.console.is_some() {
            WaitOptions::UNTRACED
        } else {
            WaitOptions::empty()
        };
        loop {
            let options = WaitOptions::NOHANG | stops;
            let answer = if is_init {
                wait(options)
            } else {
                waitpid(Some(self.child.pid), options)
            };
            match answer {
                Ok(Some((pid, status))) if pid == self.child.pid => {
                    if status.stopped() {
                        self.suspend()?;
                    } else {
                        self.end(status);
                    }
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return Ok(()),
                Err(Errno::CHILD) if self.ended.is_some() => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn end(&mut self, status: WaitStatus) {
        self.child.is_collected = true;
        self.ended = Some(Ended {
            code: ExitStatusCode::from_wait(status),
            at: Instant::now(),
        });
        self.ours.feed = None;
        for stream in &mut self.streams {
            stream.note_owed();
        }
        if let Some(console) = &mut self.ours.console {
            console.close();
        }
    }

    /// The command on its own terminal was stopped: so are we, with our shell's terminal as it
    /// was, and when we go on, so does the command.
    fn suspend(&mut self) -> io::Result<()> {
        let Some(console) = &mut self.ours.console else {
            return Ok(());
        };
        console.disengage();
        // Does nothing where nobody could continue us.
        kill_current_process_group(Signal::TSTP)?;
        console.engage()?;
        self.resize();
        // Its group is its own; it may have ended meanwhile.
        let _ = kill_process_group(self.child.pid, Signal::CONT);
        Ok(())
    }

    fn resize(&self) {
        for (output, master) in &self.ours.resized {
            terminal::copy_size(output.fd(), master);
        }
        if self.ours.console.is_none() && !self.ours.resized.is_empty() {
            // In our session the command has heard of it, maybe too early.
            self.child.signal(Signal::WINCH);
        }
    }

    /// Our own output is gone: lets go of the command's, so that it notices.
    fn hang_up(&mut self, index: usize) {
        let Some(stream) = self.streams.get(index) else {
            return;
        };
        self.ours
            .resized
            .retain(|(output, _)| *output != stream.output());
        let is_console = self.ours.console.is_some() && stream.output() == Output::Stdout;
        if is_console && let Some(mut console) = self.ours.console.take() {
            console.close();
        }
    }

    fn is_drained(&self) -> bool {
        self.streams
            .iter()
            .all(|stream| stream.is_closed() && !stream.is_writing())
    }

    /// The command's own output is written, and what goes on writing is not the command.
    fn is_drained_enough(&self, ended: Ended, now: Instant) -> bool {
        let is_busy = self
            .streams
            .iter()
            .any(|stream| stream.is_writing() || stream.is_owed());
        !is_busy && (now >= self.quiet_deadline(ended) || now >= ended.at + DRAIN_MAX)
    }

    fn quiet_deadline(&self, ended: Ended) -> Instant {
        let active_at = self.streams.iter().map(Stream::active_at).max();
        active_at.map_or(ended.at, |at| at.max(ended.at)) + DRAIN_SILENCE
    }

    fn deadline(&self) -> Option<Instant> {
        let idle = self.streams.iter().filter_map(Stream::idle_deadline).min();
        let is_writing = self.streams.iter().any(Stream::is_writing);
        let drained = self.ended.filter(|_| !is_writing).map(|ended| {
            // Owed bytes are there to be read: the deadline is then not what wakes us.
            self.quiet_deadline(ended)
        });
        let kill = self.asked.filter(|_| self.ended.is_none());
        let kill = kill.and_then(|asked| asked.kill_at);
        idle.into_iter().chain(drained).chain(kill).min()
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    })
}

fn relay_error(source: io::Error) -> ChildError {
    ChildError::Relay { source }
}

const CHUNK_BYTES: usize = 64 * 1024;
/// Signals, two streams, the console, the feed, what wakes us.
const TOKENS_MAX: usize = 6;
/// How long a stream that somebody else still holds must be silent after the command's end.
const DRAIN_SILENCE: Duration = Duration::from_millis(200);
/// How long somebody else may go on writing after the command's end.
const DRAIN_MAX: Duration = Duration::from_secs(2);
