//! Bitwarden, through its program `bw`.

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Variables;

use super::item;
use super::item::Entry;
use super::item::Match;
use super::item::filled;
use crate::adapter::Adapter;
use crate::adapter::Blocking;
use crate::adapter::Found;
use crate::json;
use crate::json::Node;
use crate::program::Program;
use crate::program::words;

/// Variables that `bw` needs of its user. The session is the user's own, made by `bw unlock`.
const VARIABLES: &[&str] = &[
    "BW_SESSION",
    "BITWARDENCLI_APPDATA_DIR",
    "NODE_EXTRA_CA_CERTS",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// The items of the user's vault, or of one folder of it.
///
/// # Errors
/// When `bw` is not installed.
pub fn bitwarden(
    folder: Option<&str>,
    variables: &Variables,
) -> Result<Box<dyn Backend>, BackendError> {
    let folder = folder
        .filter(|folder| !folder.is_empty())
        .map(str::to_owned);
    let describe = format!("bw:{}", folder.as_deref().unwrap_or_default());
    let program = Program::on_path("bw", variables, VARIABLES).map_err(|found| {
        BackendError::new(BackendErrorKind::Misconfigured, describe, found.to_string())
    })?;
    Ok(Adapter::boxed(Bitwarden { program, folder }))
}

struct Bitwarden {
    program: Program,
    folder: Option<String>,
}

impl Bitwarden {
    fn ask(&self, args: &[&str]) -> Result<Node, BackendError> {
        let output = self.program.succeed(&words(args), None).map_err(|error| {
            self.error(error.kind(BackendErrorKind::Unreachable), error.to_string())
        })?;
        json::parse(&output).map_err(|wrong| {
            let message = format!("the answer of `bw {}`: {wrong}", args.join(" "));
            self.error(BackendErrorKind::Malformed, message)
        })
    }

    fn check_open(&self) -> Result<(), BackendError> {
        let status = self.ask(&["status", "--nointeraction"])?;
        let (kind, message, hint) = match status.plain("status") {
            Some("unlocked") => return Ok(()),
            Some("locked") => (
                BackendErrorKind::Sealed,
                "the vault is locked",
                "export BW_SESSION=\"$(bw unlock --raw)\"",
            ),
            Some("unauthenticated") => {
                (BackendErrorKind::Denied, "nobody is logged in", "bw login")
            }
            _ => (
                BackendErrorKind::Malformed,
                "`bw status` does not say whether the vault is open",
                "see what `bw status` says",
            ),
        };
        Err(self.error(kind, message).with_hint(hint))
    }

    fn folder_id(&self) -> Result<Option<String>, BackendError> {
        let Some(name) = &self.folder else {
            return Ok(None);
        };
        let folders = self.ask(&["list", "folders", "--nointeraction"])?;
        let found = folders
            .items()
            .iter()
            .find(|folder| folder.plain("name") == Some(name));
        match found.and_then(|folder| folder.plain("id")) {
            Some(id) => Ok(Some(id.to_owned())),
            None => {
                let message = format!("the vault has no folder '{name}'");
                Err(self.error(BackendErrorKind::Misconfigured, message))
            }
        }
    }

    fn entries(&self) -> Result<Vec<Entry>, BackendError> {
        self.check_open()?;
        let id = self.folder_id()?;
        let mut args = vec!["list", "items", "--nointeraction"];
        if let Some(id) = &id {
            args.extend(["--folderid", id]);
        }
        let Node::List(items) = self.ask(&args)? else {
            let message = "the answer of `bw list items` is no list";
            return Err(self.error(BackendErrorKind::Malformed, message));
        };
        Ok(items.iter().filter_map(entry).collect())
    }
}

/// A login's password is its value, a note's text; then come its own fields.
fn entry(node: &Node) -> Option<Entry> {
    let mut fields = Vec::new();
    let login = node.field("login");
    for (label, value) in [
        (
            "password",
            login.and_then(|login| filled(login, "password")),
        ),
        ("notes", filled(node, "notes")),
        (
            "username",
            login.and_then(|login| filled(login, "username")),
        ),
        ("totp", login.and_then(|login| filled(login, "totp"))),
    ] {
        fields.extend(value.map(|value| (label.to_owned(), value)));
    }
    for field in node.field("fields").map_or(&[][..], Node::items) {
        if let (Some(label), Some(value)) = (field.plain("name"), filled(field, "value")) {
            fields.push((label.to_owned(), value));
        }
    }
    Some(Entry {
        title: node.plain("name")?.to_owned(),
        fields,
    })
}

impl Blocking for Bitwarden {
    fn scheme(&self) -> &'static str {
        "bw"
    }

    fn describe(&self) -> String {
        format!("bw:{}", self.folder.as_deref().unwrap_or_default())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            list: true,
            ..Capabilities::default()
        }
    }

    fn read_all(&self, addresses: &[String]) -> Result<Vec<Found>, BackendError> {
        let entries = self.entries()?;
        let read = |address: &String| match item::find(&entries, address) {
            Match::None => Ok(None),
            Match::One(value) => Ok(Some(value.clone())),
            Match::Several => {
                let message = format!("several items or fields are called '{address}'");
                Err(self.error(BackendErrorKind::Malformed, message))
            }
        };
        Ok(addresses.iter().map(read).collect())
    }

    fn addresses(&self) -> Result<Vec<String>, BackendError> {
        Ok(item::addresses(&self.entries()?))
    }

    fn health(&self) -> Result<String, BackendError> {
        self.check_open().map(|()| "unlocked".to_owned())
    }
}
