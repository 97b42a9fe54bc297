//! The audit log: every request and its answer leave a line before the answer is sent.
//!
//! Names stand in clear, values as keyed hashes. Each line carries a keyed hash over itself and
//! the line before, so that none can be changed, taken out or put in.

pub(crate) mod file;
pub(crate) mod line;
pub(crate) mod verify;

use std::sync::Arc;

use arc_swap::ArcSwap;
use strongroom_crypto::barrier::Barrier;

use crate::audit::file::FileDevice;

/// What values are hashed for.
const PURPOSE: &str = "audit value";
/// Prefix of a hash in a line.
const HASH_PREFIX: &str = "hmac-sha256:";

/// A line could not be written: what it is about must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub(crate) struct AuditFailed;

/// All devices of a server, and the key that values are hashed with.
pub(crate) struct AuditLog {
    barrier: Barrier,
    devices: ArcSwap<Vec<Arc<FileDevice>>>,
}

impl AuditLog {
    pub(crate) fn new(barrier: Barrier, devices: Vec<Arc<FileDevice>>) -> Self {
        Self {
            barrier,
            devices: ArcSwap::from_pointee(devices),
        }
    }

    /// Whether any line is kept at all.
    pub(crate) fn is_on(&self) -> bool {
        !self.devices.load().is_empty()
    }

    /// The devices in use.
    pub(crate) fn devices(&self) -> Arc<Vec<Arc<FileDevice>>> {
        self.devices.load_full()
    }

    /// Exchanges the devices.
    pub(crate) fn set_devices(&self, devices: Vec<Arc<FileDevice>>) {
        self.devices.store(Arc::new(devices));
    }

    /// A value as it stands in the log.
    pub(crate) fn hash(&self, value: &[u8]) -> String {
        if value.is_empty() {
            return String::new();
        }
        let mut text = String::with_capacity(HASH_PREFIX.len() + 64);
        text.push_str(HASH_PREFIX);
        for byte in self.barrier.keyed_hash(PURPOSE, value) {
            crate::core::push_hex(&mut text, byte);
        }
        text
    }

    /// Hands lines (each a JSON object without its closing brace) to the kernel.
    ///
    /// # Errors
    /// When there are devices and none took them.
    pub(crate) fn write(&self, lines: &[&str]) -> Result<(), AuditFailed> {
        let devices = self.devices.load();
        let mut taken = devices.is_empty();
        for device in devices.iter() {
            taken |= device.write(&self.barrier, lines).is_ok();
        }
        if taken { Ok(()) } else { Err(AuditFailed) }
    }

    /// Waits until the disks have all lines written so far.
    ///
    /// # Errors
    /// When there are devices and none could be synced.
    pub(crate) async fn sync(&self) -> Result<(), AuditFailed> {
        let devices = self.devices.load_full();
        let mut synced = devices.is_empty();
        for device in devices.iter() {
            synced |= device.sync().await.is_ok();
        }
        if synced { Ok(()) } else { Err(AuditFailed) }
    }
}
