//! `pass`, the standard Unix password manager.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Expected;
use strongroom_core::port::Lookup;
use strongroom_core::port::NewValue;
use strongroom_core::port::Stored;
use strongroom_core::port::Variables;
use strongroom_core::secret::SecretValue;

use crate::adapter::Adapter;
use crate::adapter::Blocking;
use crate::adapter::Found;
use crate::adapter::spellings;
use crate::program::Program;
use crate::program::ProgramError;
use crate::program::words;

/// Variables that `pass` and `gpg` need of their user.
const VARIABLES: &[&str] = &[
    "PASSWORD_STORE_DIR",
    "PASSWORD_STORE_KEY",
    "PASSWORD_STORE_GPG_OPTS",
    "GNUPGHOME",
    "GPG_TTY",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSH_AUTH_SOCK",
];

/// What of an entry of `pass` is the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PassValue {
    /// Its only line, without the end of the line; an entry with more lines is an error.
    #[default]
    OnlyLine,
    /// Its first line, as `pass -c` copies it.
    FirstLine,
    /// Every byte.
    Exact,
}

/// The entries of `pass` below a folder of the password store.
///
/// # Errors
/// When `pass` is not installed, or the folder's name is none.
pub fn pass(
    folder: Option<&str>,
    value: PassValue,
    variables: &Variables,
) -> Result<Box<dyn Backend>, BackendError> {
    let folder = folder.unwrap_or_default().trim_matches('/').to_owned();
    let describe = format!("pass:{folder}");
    let error = |kind, message: String| BackendError::new(kind, describe.clone(), message);
    if !folder.is_empty() && !is_entry_name(&folder) {
        let message = "the folder's name has parts that are empty or start with '.' or '-'";
        return Err(error(BackendErrorKind::Misconfigured, message.to_owned()));
    }
    let program = Program::on_path("pass", variables, VARIABLES)
        .map_err(|found| error(BackendErrorKind::Misconfigured, found.to_string()))?;
    let store = match (variables.text("PASSWORD_STORE_DIR"), variables.text("HOME")) {
        (Some(store), _) => PathBuf::from(store),
        (None, Some(home)) => PathBuf::from(home).join(".password-store"),
        (None, None) => {
            let message = "neither PASSWORD_STORE_DIR nor HOME is set".to_owned();
            return Err(error(BackendErrorKind::Misconfigured, message));
        }
    };
    Ok(Adapter::boxed(Pass {
        program,
        store,
        folder,
        value,
    }))
}

struct Pass {
    program: Program,
    store: PathBuf,
    folder: String,
    value: PassValue,
}

impl Pass {
    fn entry(&self, address: &str) -> String {
        if self.folder.is_empty() {
            address.to_owned()
        } else {
            format!("{}/{address}", self.folder)
        }
    }

    fn check_store(&self) -> Result<(), BackendError> {
        if self.store.is_dir() {
            return Ok(());
        }
        let message = format!("there is no password store at {}", self.store.display());
        let error = self.error(BackendErrorKind::Misconfigured, message);
        Err(error.with_hint("pass init GPG-ID"))
    }

    fn has(&self, address: &str) -> bool {
        // Every entry is one file of the store, by the documented layout.
        let file = format!("{}.gpg", self.entry(address));
        is_entry_name(address) && self.store.join(file).is_file()
    }

    fn read_one(&self, address: &str) -> Found {
        if !self.has(address) {
            return Ok(None);
        }
        let entry = self.entry(address);
        let output = self
            .program
            .succeed(&words(&["show", &entry]), None)
            .map_err(|error| self.failed(address, &error, "show"))?;
        let text = output.strip_suffix(b"\n").unwrap_or(&output);
        let value = match self.value {
            PassValue::Exact => &output,
            PassValue::FirstLine => text.split(|byte| *byte == b'\n').next().unwrap_or_default(),
            PassValue::OnlyLine if text.contains(&b'\n') => {
                let message = format!("{address}: the entry has more than one line");
                let hint = "say which part is the value: ?value=first-line or ?value=exact";
                return Err(self
                    .error(BackendErrorKind::Malformed, message)
                    .with_hint(hint));
            }
            PassValue::OnlyLine => text,
        };
        Ok(Some(SecretValue::copy_from(value)))
    }

    fn failed(&self, address: &str, error: &ProgramError, command: &str) -> BackendError {
        let kind = error.kind(BackendErrorKind::Denied);
        self.error(kind, format!("{address}: {error}"))
            .with_hint(format!(
                "see what `pass {command} {}` says",
                self.entry(address)
            ))
    }
}

impl Blocking for Pass {
    fn scheme(&self) -> &'static str {
        "pass"
    }

    fn describe(&self) -> String {
        format!("pass:{}", self.folder)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            write: true,
            list: true,
            delete: true,
            cas: true,
            binary: self.value == PassValue::Exact,
            ..Capabilities::default()
        }
    }

    fn candidates(&self, lookup: &Lookup) -> Vec<String> {
        spellings(lookup)
    }

    fn read_all(&self, addresses: &[String]) -> Result<Vec<Found>, BackendError> {
        self.check_store()?;
        Ok(addresses
            .iter()
            .map(|address| self.read_one(address))
            .collect())
    }

    fn addresses(&self) -> Result<Vec<String>, BackendError> {
        self.check_store()?;
        let mut found = Vec::new();
        let mut pending = vec![(self.store.join(&self.folder), String::new())];
        while let Some((path, prefix)) = pending.pop() {
            let entries = match fs::read_dir(&path) {
                Ok(entries) => entries,
                // A folder that nothing is kept in yet.
                Err(error) if error.kind() == ErrorKind::NotFound && prefix.is_empty() => break,
                Err(error) => {
                    let message = format!("{} cannot be read ({})", path.display(), error.kind());
                    return Err(self.error(BackendErrorKind::Unreachable, message));
                }
            };
            for entry in entries.flatten() {
                let own = entry.file_name();
                let Some(own) = own.to_str().filter(|own| !own.starts_with('.')) else {
                    continue;
                };
                let is_folder = entry.file_type().is_ok_and(|found| found.is_dir());
                if is_folder && prefix.matches('/').count() < DEPTH_MAX {
                    pending.push((entry.path(), format!("{prefix}{own}/")));
                } else if let Some(name) = own.strip_suffix(".gpg") {
                    found.push(format!("{prefix}{name}"));
                }
            }
            if found.len() > ENTRIES_MAX {
                let message = format!("more than {ENTRIES_MAX} entries");
                return Err(self.error(BackendErrorKind::Malformed, message));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn write(&self, address: &str, new: &NewValue) -> Result<Stored, BackendError> {
        if !is_entry_name(address) {
            let message = "this cannot be the name of an entry: parts that are not empty and do \
                           not start with '.' or '-', '/' between them";
            return Err(self.error(BackendErrorKind::Invalid, message));
        }
        let found = self.read_one(address)?;
        let conflict = match (&new.expected, &found) {
            (Expected::Any, _) | (Expected::Absent, None) => None,
            (Expected::Absent, Some(_)) => Some("it is there already"),
            (Expected::Version(_), _) => Some("pass keeps no versions to expect"),
        };
        if let Some(conflict) = conflict {
            return Err(self.error(BackendErrorKind::Conflict, format!("{address}: {conflict}")));
        }
        let value = &new.payload.value;
        // EXPOSE: looked at for ends of lines and its encoding.
        let text = value.expose_secret_text();
        if self.value != PassValue::Exact && text.is_none_or(|text| text.contains('\n')) {
            let message = format!("{address}: the value has several lines or is no text");
            return Err(self
                .error(BackendErrorKind::Invalid, message)
                .with_hint("?value=exact keeps every byte"));
        }
        let is_new = found.is_none_or(|found| !found.ct_eq(value));
        if is_new {
            let entry = self.entry(address);
            self.program
                .succeed(
                    &words(&["insert", "--multiline", "--force", &entry]),
                    Some(value),
                )
                .map_err(|error| self.failed(address, &error, "insert"))?;
        }
        Ok(Stored {
            version: None,
            is_new,
        })
    }

    fn remove(&self, address: &str) -> Result<bool, BackendError> {
        if !self.has(address) {
            return Ok(false);
        }
        let entry = self.entry(address);
        self.program
            .succeed(&words(&["rm", "--force", &entry]), None)
            .map_err(|error| self.failed(address, &error, "rm"))?;
        Ok(true)
    }
}

/// A name that `pass` takes for an entry and nothing takes for an option or a way up.
fn is_entry_name(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.starts_with(['.', '-']);
    name.len() <= NAME_BYTES_MAX && name.split('/').all(is_part) && !name.contains(char::is_control)
}

/// Longest name of an entry.
const NAME_BYTES_MAX: usize = 200;
/// Deepest nesting of folders.
const DEPTH_MAX: usize = 16;
/// Most entries that are listed.
const ENTRIES_MAX: usize = 10_000;
