//! Signals that reach us, for the command or for ourselves.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use rustix::process::getpid;
use rustix::process::getsid;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;

/// Whether the command runs in our process group, or in a session of its own on a terminal that
/// we made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// The terminal's keys reach the command without us.
    Shared,
    /// Nothing reaches the command but through us.
    Own,
}

/// What to do about a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Pass it to the command.
    Forward(Signal),
    /// The command has got this one from the terminal.
    Reached(Signal),
    /// A child of ours changed its state.
    Child,
    /// Our terminal has another size.
    Resized,
    /// We were stopped and go on.
    Continued,
}

/// The signals we listen to, readable as a file descriptor.
#[derive(Debug)]
pub(crate) struct Signals {
    delivery: SignalDelivery<UnixStream, WithOrigin>,
    group: Group,
}

impl Signals {
    /// Starts to listen. From here on none of the forwarded signals ends this process.
    ///
    /// A signal that we were started with as ignored (`nohup`, a background job) is left so, for
    /// us and for the command.
    pub(crate) fn listen(group: Group) -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        let ignored = ignored_signals();
        let forwarded = FORWARDED.iter().filter(|signal| !is_in(ignored, **signal));
        let ours = [Signal::CHILD, Signal::WINCH, Signal::CONT];
        let listened = forwarded.copied().chain(ours).map(Signal::as_raw);
        let delivery = SignalDelivery::with_pipe(read, write, WithOrigin::default(), listened)?;
        Ok(Self { delivery, group })
    }

    /// The command is started anew, perhaps in another way.
    pub(crate) fn set_group(&mut self, group: Group) {
        self.group = group;
    }

    /// What came in since the last call. Never waits.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        let group = self.group;
        let pending = self.delivery.pending();
        pending
            .filter_map(|origin| {
                let signal = Signal::from_named_raw(origin.signal)?;
                let is_from_kernel = matches!(origin.cause, Cause::Kernel);
                Some(event(signal, is_from_kernel, group))
            })
            .collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

/// The kernel sends the terminal's signals to the whole foreground group: in a shared group the
/// command has got `INT` and `QUIT` already. A hang-up goes to the session leader alone.
fn event(signal: Signal, is_from_kernel: bool, group: Group) -> Event {
    let is_by_key = signal == Signal::INT || signal == Signal::QUIT;
    let has_reached_command = is_from_kernel
        && group == Group::Shared
        && (is_by_key || (signal == Signal::HUP && !is_session_leader()));
    match signal {
        Signal::CHILD => Event::Child,
        Signal::WINCH => Event::Resized,
        Signal::CONT => Event::Continued,
        _ if has_reached_command => Event::Reached(signal),
        _ => Event::Forward(signal),
    }
}

fn is_session_leader() -> bool {
    getsid(None) == Ok(getpid())
}

/// The set of ignored signals, as the kernel tells it; empty where it cannot be read.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let digits = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .unwrap_or_default();
    u64::from_str_radix(digits.trim(), 16).unwrap_or(0)
}

fn is_in(set: u64, signal: Signal) -> bool {
    set & (1 << (signal.as_raw() - 1)) != 0
}

const FORWARDED: [Signal; 6] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_delivered_twice_in_a_shared_group() {
        assert_eq!(
            event(Signal::INT, true, Group::Shared),
            Event::Reached(Signal::INT)
        );
        assert_eq!(
            event(Signal::QUIT, true, Group::Shared),
            Event::Reached(Signal::QUIT)
        );
        assert_eq!(
            event(Signal::INT, false, Group::Shared),
            Event::Forward(Signal::INT)
        );
        assert_eq!(
            event(Signal::INT, true, Group::Own),
            Event::Forward(Signal::INT)
        );
        assert_eq!(
            event(Signal::TERM, true, Group::Shared),
            Event::Forward(Signal::TERM)
        );
    }

    #[test]
    fn sets_of_signals_count_from_one() {
        assert!(is_in(0x1, Signal::HUP));
        assert!(is_in(0x4000, Signal::TERM));
        assert!(!is_in(0x4000, Signal::HUP));
    }
}
