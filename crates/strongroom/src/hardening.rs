//! What this process does to itself before it reads any key: no core dump, no debugger.
//!
//! The command started by `run` is not ours to restrict: it gets the limits back that we were
//! started with, and `no_new_privs` is never set, so that `sudo` works in it.

use rustix::process::DumpableBehavior;
use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::set_dumpable_behavior;
use rustix::process::setrlimit;

/// The limits this process was started with.
#[derive(Clone, Debug)]
pub(crate) struct OriginalLimits {
    core: Rlimit,
}

impl OriginalLimits {
    /// Puts the original limits into force until the answer is dropped: for the moment in which
    /// a command is started. Meanwhile the process is still not dumpable, so no core is written.
    #[must_use]
    pub(crate) fn lift(&self) -> LiftedLimits {
        // A failure leaves the command with a stricter limit, which does no harm.
        let _ = setrlimit(Resource::Core, self.core);
        LiftedLimits {
            original: self.clone(),
        }
    }

    fn forbid_core(&self) {
        // Lowering a soft limit needs no privilege.
        let none = Rlimit {
            current: Some(0),
            maximum: self.core.maximum,
        };
        let _ = setrlimit(Resource::Core, none);
    }
}

/// While this lives, a command that is started inherits the original limits.
#[derive(Debug)]
pub(crate) struct LiftedLimits {
    original: OriginalLimits,
}

impl Drop for LiftedLimits {
    fn drop(&mut self) {
        self.original.forbid_core();
    }
}

/// Turns off core dumps and attaching of debuggers for this process. Called first in `main`.
///
/// The flag against debuggers ends at `exec`, the limit does not: hence the answer.
pub(crate) fn harden() -> OriginalLimits {
    let original = OriginalLimits {
        core: getrlimit(Resource::Core),
    };
    // Both can fail only on a kernel that does not know them; there is nothing better to do.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    original.forbid_core();
    original
}
