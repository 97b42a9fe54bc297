//! What this process does to itself before it reads any key: no core dump, no debugger, and no
//! memory of it in an image that somebody takes who may.
//!
//! The command started by `run` is not ours to restrict: it gets the limits back that we were
//! started with, and `no_new_privs` is never set, so that `sudo` works in it.

use std::fs::File;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

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
    image: Option<Arc<ImageFilter>>,
}

impl OriginalLimits {
    /// Puts the original limits into force until the answer is dropped: for the moment in which
    /// a command is started. Meanwhile the process is still not dumpable, so no core is written.
    #[must_use]
    pub(crate) fn lift(&self) -> LiftedLimits {
        // A failure leaves the command with a stricter limit, which does no harm.
        let _ = setrlimit(Resource::Core, self.core);
        if let Some(image) = &self.image {
            image.set(&image.original);
        }
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
        if let Some(image) = &self.image {
            image.set(ImageFilter::NOTHING);
        }
    }
}

/// Which kinds of this process's memory an image of it holds. The kernel asks it for a core file,
/// and so does `gcore`, with which root may look into any process.
#[derive(Debug)]
struct ImageFilter {
    file: File,
    original: Vec<u8>,
}

impl ImageFilter {
    const NOTHING: &[u8] = b"0";

    /// To be called while the process may still be looked into: its file is root's afterwards.
    fn open() -> Option<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/proc/self/coredump_filter")
            .ok()?;
        let mut original = b"0x".to_vec();
        file.read_to_end(&mut original).ok()?;
        Some(Self { file, original })
    }

    fn set(&self, kinds: &[u8]) {
        // Fails on no kernel that has the file.
        let _ = self.file.write_all_at(kinds, 0);
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

/// Turns off core dumps and attaching of debuggers for this process, and leaves its memory out of
/// images. Called first in `main`.
///
/// The flag against debuggers ends at `exec`, the limits do not: hence the answer.
pub(crate) fn harden() -> OriginalLimits {
    let original = OriginalLimits {
        core: getrlimit(Resource::Core),
        image: ImageFilter::open().map(Arc::new),
    };
    // Both can fail only on a kernel that does not know them; there is nothing better to do.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    original.forbid_core();
    original
}
