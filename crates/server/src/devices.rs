//! Audit devices as they are stored.

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::BatchItem;
use strongroom_engine::Error;
use strongroom_engine::state::Kind;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;
use strongroom_engine::state::State;
use strongroom_engine::state::Stored;

/// A device that writes a file of the audit folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) description: String,
    /// The path as it was asked for; only its last part is used.
    pub(crate) asked_path: String,
    pub(crate) is_local: bool,
}

impl Stored for Device {
    const KIND: Kind = Kind::AuditDevice;
}

/// How far an audit file went when it was last noted: a file that ends before was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// The number of its last line.
    pub number: u64,
    /// That line's hash.
    pub hash: [u8; 32],
}

impl Stored for AuditHead {
    const KIND: Kind = Kind::AuditHead;
}

/// Notes how far the files of a server's devices go.
pub(crate) async fn note_heads(core: &crate::core::Core) -> Result<(), Error> {
    for device in core.audit.devices().iter() {
        let (file, head) = device.head();
        let before = core.state.load::<AuditHead>(&file).await?;
        if before.is_none_or(|before| before.value != head) && head.number > 0 {
            let put = core.state.put(&Put::named(&file, Shelf::Kind), &head);
            core.state.write(vec![put]).await?;
        }
    }
    Ok(())
}

/// The file of the device that every server has at first.
const FIRST_FILE: &str = "audit.log";

impl Device {
    /// The name of its file in the audit folder.
    pub(crate) fn file_name(&self) -> &str {
        let name = self.asked_path.rsplit('/').next().unwrap_or_default();
        if name.is_empty() { FIRST_FILE } else { name }
    }
}

/// The device that every server has at first.
pub(crate) fn first(state: &State) -> BatchItem {
    let device = Device {
        description: "on from the first start".into(),
        asked_path: FIRST_FILE.into(),
        is_local: false,
    };
    let put = Put::named(crate::node::FIRST_DEVICE, Shelf::Kind);
    state.put(&put, &device)
}

/// All devices.
pub(crate) async fn stored(state: &State) -> Result<Vec<(String, Device)>, Error> {
    let all = state.all::<Device>(Shelf::Kind).await?;
    Ok(all
        .into_iter()
        .map(|(name, found)| (name, found.value))
        .collect())
}
