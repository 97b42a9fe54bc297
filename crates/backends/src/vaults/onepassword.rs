//! 1Password, through its program `op`.

use std::collections::BTreeMap;

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

/// Variables that `op` needs of its user, its own credentials among them.
const VARIABLES: &[&str] = &[
    "OP_ACCOUNT",
    "OP_SERVICE_ACCOUNT_TOKEN",
    "OP_CONNECT_HOST",
    "OP_CONNECT_TOKEN",
    "OP_BIOMETRIC_UNLOCK_ENABLED",
    "OP_CONFIG_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
];

/// The items of one vault.
///
/// # Errors
/// When `op` is not installed, or no vault is named.
pub fn onepassword(vault: &str, variables: &Variables) -> Result<Box<dyn Backend>, BackendError> {
    let describe = format!("op:{vault}");
    let error = |message: String| {
        BackendError::new(BackendErrorKind::Misconfigured, describe.clone(), message)
    };
    if vault.is_empty() || vault.starts_with('-') {
        return Err(error("which vault? e.g. op:Production".to_owned()));
    }
    let program =
        Program::on_path("op", variables, VARIABLES).map_err(|found| error(found.to_string()))?;
    let vault = vault.to_owned();
    Ok(Adapter::boxed(OnePassword { program, vault }))
}

struct OnePassword {
    program: Program,
    vault: String,
}

impl OnePassword {
    fn ask(&self, args: &[&str]) -> Result<Node, BackendError> {
        let mut all = args.to_vec();
        all.extend(["--vault", &self.vault, "--format", "json"]);
        let output = self.program.succeed(&words(&all), None).map_err(|error| {
            let kind = error.kind(BackendErrorKind::Unreachable);
            self.error(kind, error.to_string()).with_hint("op signin")
        })?;
        json::parse(&output).map_err(|wrong| {
            let message = format!("the answer of `op item`: {wrong}");
            self.error(BackendErrorKind::Malformed, message)
        })
    }

    /// Titles and ids of the vault's items.
    fn items(&self) -> Result<Vec<(String, String)>, BackendError> {
        let Node::List(items) = self.ask(&["item", "list"])? else {
            let message = "the answer of `op item list` is no list";
            return Err(self.error(BackendErrorKind::Malformed, message));
        };
        let pair = |item: &Node| {
            Some((
                item.plain("title")?.to_owned(),
                item.plain("id")?.to_owned(),
            ))
        };
        Ok(items.iter().filter_map(pair).collect())
    }

    fn entry(&self, id: &str) -> Result<Entry, BackendError> {
        let item = self.ask(&["item", "get", id])?;
        let mut main = Vec::new();
        let mut fields = Vec::new();
        for field in item.field("fields").map_or(&[][..], Node::items) {
            let label = field.plain("label").or_else(|| field.plain("id"));
            let (Some(label), Some(value)) = (label, filled(field, "value")) else {
                continue;
            };
            let is_main = field.plain("purpose") == Some("PASSWORD")
                || field.plain("id") == Some("credential");
            let place = if is_main && main.is_empty() {
                &mut main
            } else {
                &mut fields
            };
            place.push((label.to_owned(), value));
        }
        main.extend(fields);
        let title = item.plain("title").unwrap_or_default().to_owned();
        Ok(Entry {
            title,
            fields: main,
        })
    }

    /// The items that some addresses may mean, each asked for once.
    fn wanted(&self, addresses: &[String]) -> Result<Vec<Entry>, BackendError> {
        let is_meant = |title: &str| {
            addresses.iter().any(|address| {
                let title_part = address.rsplit_once('/').map(|(title, _)| title);
                address == title || title_part == Some(title)
            })
        };
        let mut meant = self.items()?;
        meant.retain(|(title, _)| is_meant(title));
        if meant.len() > ITEMS_MAX {
            let message = format!("more than {ITEMS_MAX} items at once");
            return Err(self.error(BackendErrorKind::Malformed, message));
        }
        meant.iter().map(|(_, id)| self.entry(id)).collect()
    }
}

impl Blocking for OnePassword {
    fn scheme(&self) -> &'static str {
        "op"
    }

    fn describe(&self) -> String {
        format!("op:{}", self.vault)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            list: true,
            ..Capabilities::default()
        }
    }

    fn read_all(&self, addresses: &[String]) -> Result<Vec<Found>, BackendError> {
        let entries = self.wanted(addresses)?;
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

    /// Titles only: what fields an item has is not asked for.
    fn addresses(&self) -> Result<Vec<String>, BackendError> {
        let items: BTreeMap<String, String> = self.items()?.into_iter().collect();
        Ok(items.into_keys().collect())
    }
}

/// Most items that are asked for at once: each is a call of its own.
const ITEMS_MAX: usize = 1_000;
