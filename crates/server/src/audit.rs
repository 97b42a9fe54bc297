//! The audit log: every request and its answer leave a line before the answer is sent.
//!
//! Names stand in clear, values as keyed hashes. Each line carries a keyed hash over itself and
//! the line before, so that none can be changed, taken out or put in.

pub(crate) mod chains;
pub(crate) mod file;
pub(crate) mod line;
pub(crate) mod read;
pub(crate) mod sink;
pub(crate) mod target;
pub(crate) mod verify;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use strongroom_crypto::barrier::Barrier;
use tokio::sync::mpsc;

use crate::audit::file::FileDevice;
use crate::audit::sink::SinkDevice;

/// What values are hashed for.
const PURPOSE: &str = "audit value";
/// Prefix of a hash in a line.
const HASH_PREFIX: &str = "hmac-sha256:";

/// A line could not be written: what it is about must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub(crate) struct AuditFailed;

/// An open device.
#[derive(Clone)]
pub(crate) enum Device {
    /// A file, chained.
    File(Arc<FileDevice>),
    /// A socket, or the system's log.
    Sink(Arc<SinkDevice>),
}

impl Device {
    /// The name it was enabled under, with a `/` behind.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::File(file) => &file.name,
            Self::Sink(sink) => &sink.name,
        }
    }

    /// The file, if it is one.
    pub(crate) fn file(&self) -> Option<&Arc<FileDevice>> {
        match self {
            Self::File(file) => Some(file),
            Self::Sink(_) => None,
        }
    }
}

/// All devices of a server, and the key that values are hashed with.
pub(crate) struct AuditLog {
    barrier: Barrier,
    devices: ArcSwap<Vec<Device>>,
}

impl AuditLog {
    pub(crate) fn new(barrier: Barrier, devices: Vec<Device>) -> Self {
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
    pub(crate) fn devices(&self) -> Arc<Vec<Device>> {
        self.devices.load_full()
    }

    /// Exchanges the devices.
    pub(crate) fn set_devices(&self, devices: Vec<Device>) {
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

    /// Hands lines (each a JSON object without its closing brace) to the kernel. Where a file
    /// takes them, nobody waits for the other devices.
    ///
    /// # Errors
    /// When there are devices and none took them.
    pub(crate) async fn write(&self, lines: &[&str]) -> Result<(), AuditFailed> {
        let (mut outcomes, patience) = {
            let devices = self.devices.load();
            let mut taken = devices.is_empty();
            let mut has_sinks = false;
            for device in devices.iter() {
                match device {
                    Device::File(file) => taken |= file.write(&self.barrier, lines).is_ok(),
                    Device::Sink(_) => has_sinks = true,
                }
            }
            if taken && !has_sinks {
                return Ok(());
            }
            let (reply, outcomes) = mpsc::unbounded_channel();
            let mut patience = Duration::ZERO;
            for device in devices.iter() {
                if let Device::Sink(sink) = device {
                    sink.hand_over(lines, (!taken).then(|| reply.clone()));
                    patience = patience.max(sink.patience());
                }
            }
            if taken {
                return Ok(());
            }
            (outcomes, patience)
        };
        let first = async {
            while let Some(is_written) = outcomes.recv().await {
                if is_written {
                    return Ok(());
                }
            }
            Err(AuditFailed)
        };
        let waited = tokio::time::timeout(patience, first).await;
        waited.unwrap_or(Err(AuditFailed))
    }

    /// Waits until the disks have all lines written so far. What a sink took is out of reach.
    ///
    /// # Errors
    /// When there are files and none could be synced.
    pub(crate) async fn sync(&self) -> Result<(), AuditFailed> {
        let devices = self.devices.load_full();
        let mut synced = devices.iter().all(|device| device.file().is_none());
        for file in devices.iter().filter_map(Device::file) {
            synced |= file.sync().await.is_ok();
        }
        if synced { Ok(()) } else { Err(AuditFailed) }
    }
}
