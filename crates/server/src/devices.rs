//! Audit devices as they are stored.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::BatchItem;
use strongroom_engine::Error;
use strongroom_engine::state::Kind;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;
use strongroom_engine::state::State;
use strongroom_engine::state::Stored;

use crate::audit::sink::Shape;
use crate::audit::target;
use crate::audit::target::Target;

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

/// A device that hands lines to somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sink {
    pub(crate) kind: SinkKind,
    pub(crate) description: String,
    /// As they were asked for.
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) is_local: bool,
}

/// Who gets the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SinkKind {
    Socket,
    Syslog,
}

impl Stored for Sink {
    const KIND: Kind = Kind::AuditSink;
}

/// How far an audit file went when it was last noted: a file that ends before was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditHead {
    /// The number of its last line.
    pub(crate) number: u64,
    /// That line's hash.
    pub(crate) hash: [u8; 32],
}

/// As it was stored before chains had names of their own, by the file's name.
impl Stored for AuditHead {
    const KIND: Kind = Kind::AuditHead;
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

/// All files.
pub(crate) async fn stored(state: &State) -> Result<Vec<(String, Device)>, Error> {
    let all = state.all::<Device>(Shelf::Kind).await?;
    Ok(all
        .into_iter()
        .map(|(name, found)| (name, found.value))
        .collect())
}

/// All sinks.
pub(crate) async fn stored_sinks(state: &State) -> Result<Vec<(String, Sink)>, Error> {
    let all = state.all::<Sink>(Shelf::Kind).await?;
    Ok(all
        .into_iter()
        .map(|(name, found)| (name, found.value))
        .collect())
}

/// A write to a sink takes so long at most, if nobody says.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest that may be said.
const WRITE_TIMEOUT_SECONDS_MAX: u64 = 30;
/// Bytes before every line, and of a tag.
const PREFIX_BYTES_MAX: usize = 64;
/// What lines are tagged with in the system's log.
const TAG: &str = "strongroom";

impl SinkKind {
    /// A type of devices as clients call it.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "socket" => Some(Self::Socket),
            "syslog" => Some(Self::Syslog),
            _ => None,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Syslog => "syslog",
        }
    }
}

impl Sink {
    /// What the options say; the text of a refusal is for the client.
    pub(crate) fn shape(&self, log_socket: &Path) -> Result<Shape, String> {
        let option = |name: &str| self.options.get(name).map(String::as_str);
        check_form(&self.options)?;
        let target = match self.kind {
            SinkKind::Socket => {
                let address = option("address").filter(|address| !address.is_empty());
                let address = address.ok_or("address is required")?.to_owned();
                match option("socket_type").unwrap_or("tcp") {
                    "tcp" => Target::Tcp(address),
                    "udp" => Target::Udp(address),
                    "unix" => Target::Unix(address.into()),
                    _ => return Err("socket_type is one of tcp, udp and unix".into()),
                }
            }
            SinkKind::Syslog => {
                let name = option("facility").unwrap_or("AUTH");
                let facility = target::facility(name).ok_or_else(|| {
                    let shown: String = name.chars().take(32).collect();
                    format!("invalid syslog facility: {shown}")
                })?;
                Target::Syslog {
                    socket: log_socket.into(),
                    facility,
                    tag: short("tag", option("tag").unwrap_or(TAG))?,
                }
            }
        };
        let timeout = match option("write_timeout") {
            None => WRITE_TIMEOUT,
            Some(text) => timeout_of(text).ok_or_else(|| {
                format!("write_timeout is a time of at most {WRITE_TIMEOUT_SECONDS_MAX}s")
            })?,
        };
        Ok(Shape {
            target,
            timeout,
            prefix: short("prefix", option("prefix").unwrap_or_default())?,
        })
    }
}

/// Refuses options that ask for another form of lines than there is.
fn check_form(options: &BTreeMap<String, String>) -> Result<(), String> {
    let flag = |name: &str, default: bool| match options.get(name).map(String::as_str) {
        None => Ok(default),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(_) => Err(format!("{name} is true or false")),
    };
    if flag("log_raw", false)? {
        return Err("log_raw: values never stand in the audit log, only their hashes".into());
    }
    if !flag("hmac_accessor", true)? {
        return Err("hmac_accessor: accessors stand in the audit log as hashes only".into());
    }
    if flag("elide_list_responses", false)? {
        return Err("elide_list_responses: answers to lists are always whole".into());
    }
    match options.get("format").map_or("json", String::as_str) {
        "json" => Ok(()),
        other => {
            let shown: String = other.chars().take(32).collect();
            Err(format!("unknown format type \"{shown}\": it is json"))
        }
    }
}

/// A short text that stands before lines.
fn short(name: &str, text: &str) -> Result<String, String> {
    let is_plain = !text.chars().any(strongroom_core::path::is_forbidden);
    if text.len() > PREFIX_BYTES_MAX || !is_plain {
        return Err(format!(
            "{name} is at most {PREFIX_BYTES_MAX} bytes without control characters"
        ));
    }
    Ok(text.to_owned())
}

fn timeout_of(text: &str) -> Option<Duration> {
    let timeout = match text.strip_suffix("ms") {
        Some(number) => Duration::from_millis(number.parse().ok()?),
        None => {
            let seconds = crate::vault::field::seconds_of(&serde_json::Value::from(text))?;
            Duration::from_secs(u64::try_from(seconds).ok()?)
        }
    };
    let most = Duration::from_secs(WRITE_TIMEOUT_SECONDS_MAX);
    (!timeout.is_zero() && timeout <= most).then_some(timeout)
}
