//! Backends that are programs of others: `exec:NAME`, by a protocol of ours.
//!
//! The program `strongroom-backend-NAME` is looked for in a few folders that only root or the user
//! can write to. It is started for each question, gets one JSON object on standard input and
//! answers with one on standard output; `docs/reference/backends.md` has the protocol. Nothing
//! secret is an argument or a variable.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use data_encoding::BASE64;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Expected;
use strongroom_core::port::NewValue;
use strongroom_core::port::Stored;
use strongroom_core::port::Variables;
use strongroom_core::secret::SecretValue;

use crate::adapter::Adapter;
use crate::adapter::Blocking;
use crate::adapter::Found;
use crate::json;
use crate::json::Node;
use crate::program::Program;
use crate::program::Trust;

/// Longest name of a plugin, in characters.
pub const PLUGIN_NAME_CHARS_MAX: usize = 32;
/// The version of the protocol.
pub const EXEC_PROTOCOL: u32 = 1;

/// Which program, and what it is told.
#[derive(Clone, Debug)]
pub struct ExecSettings {
    /// `NAME` of `strongroom-backend-NAME`.
    pub name: String,
    /// Where it is looked for, first wins.
    pub folders: Vec<PathBuf>,
    /// Options for the program itself, none of them secret.
    pub options: BTreeMap<String, String>,
    /// How long it may take for a question.
    pub time: Duration,
}

/// Finds a plugin and asks it what it can do.
///
/// # Errors
/// When the name is none, the program is not there or could be somebody else's, or it does not
/// speak the protocol.
pub fn exec(
    settings: ExecSettings,
    variables: &Variables,
) -> Result<Box<dyn Backend>, BackendError> {
    let describe = if is_plugin_name(&settings.name) {
        format!("exec:{}", settings.name)
    } else {
        "exec".to_owned()
    };
    let error = |kind, message: String| BackendError::new(kind, describe.clone(), message);
    if !is_plugin_name(&settings.name) {
        let message = format!(
            "a plugin's name has 1 to {PLUGIN_NAME_CHARS_MAX} characters of a-z, 0-9 and '-'"
        );
        return Err(error(BackendErrorKind::Misconfigured, message));
    }
    let program = format!("strongroom-backend-{}", settings.name);
    let found = Program::find(&program, &settings.folders, Trust::Owner).map_err(|found| {
        let folders = settings
            .folders
            .iter()
            .map(|folder| folder.display().to_string());
        let folders: Vec<String> = folders.collect();
        error(BackendErrorKind::Misconfigured, found.to_string())
            .with_hint(format!("plugins are looked for in {}", folders.join(", ")))
    })?;
    let mut exec = Exec {
        program: found.with_variables(variables, &[]).within(settings.time),
        describe,
        options: settings.options,
        capabilities: Capabilities::default(),
    };
    let answer = exec.ask(&exec.question("describe", Vec::new()))?;
    let has = |operation: &str| {
        let Some(operations) = answer.field("operations") else {
            return false;
        };
        operations.items().iter().any(|one| one.is_text(operation))
    };
    if !has("read") {
        let message = "the plugin does not offer to read ('operations' without 'read')";
        return Err(exec.error(BackendErrorKind::Malformed, message));
    }
    exec.capabilities = Capabilities {
        write: has("write"),
        list: has("list"),
        delete: has("remove"),
        cas: has("write"),
        binary: has("write"),
        ..Capabilities::default()
    };
    Ok(Adapter::boxed(exec))
}

struct Exec {
    program: Program,
    describe: String,
    options: BTreeMap<String, String>,
    capabilities: Capabilities,
}

impl Exec {
    fn question(&self, operation: &str, more: Vec<(&str, Node)>) -> SecretValue {
        let options = self.options.iter();
        let options = options.map(|(key, value)| (key.clone(), Node::of(value)));
        let mut fields = vec![
            ("protocol".to_owned(), Node::number(EXEC_PROTOCOL)),
            ("operation".to_owned(), Node::of(operation)),
            ("options".to_owned(), Node::Object(options.collect())),
        ];
        fields.extend(more.into_iter().map(|(name, node)| (name.to_owned(), node)));
        Node::Object(fields).into_json()
    }

    /// Asks, and gives the answer's object when it is one that says no error.
    fn ask(&self, question: &SecretValue) -> Result<Node, BackendError> {
        let answer = self.program.run(&[], Some(question)).map_err(|error| {
            self.error(error.kind(BackendErrorKind::Unreachable), error.to_string())
        })?;
        let parsed = json::parse(&answer.output);
        let said = parsed.as_ref().ok().and_then(|node| node.field("error"));
        if let Some(said) = said {
            return Err(self.reported(said, question));
        }
        if answer.code != Some(0) {
            let code = answer
                .code
                .map_or("a signal".into(), |code| format!("code {code}"));
            let remark = answer.remark.map(|text| format!(": {text}"));
            let message = format!("the plugin ended with {code}{}", remark.unwrap_or_default());
            return Err(self.error(BackendErrorKind::Unreachable, message));
        }
        let node = parsed.map_err(|wrong| {
            let message = format!("the plugin's answer: {wrong}");
            self.error(BackendErrorKind::Malformed, message)
        })?;
        match node.field("protocol") {
            Some(version) if version.is_number(EXEC_PROTOCOL) => Ok(node),
            _ => {
                let message = format!("the plugin does not speak protocol {EXEC_PROTOCOL}");
                Err(self.error(BackendErrorKind::Malformed, message))
            }
        }
    }

    /// The error that a plugin reports, its text escaped, and left out if it repeats a value.
    fn reported(&self, said: &Node, question: &SecretValue) -> BackendError {
        let kind = match said.plain("kind") {
            Some("denied") => BackendErrorKind::Denied,
            Some("throttled") => BackendErrorKind::Throttled,
            Some("sealed") => BackendErrorKind::Sealed,
            Some("malformed") => BackendErrorKind::Malformed,
            Some("unsupported") => BackendErrorKind::Unsupported,
            Some("invalid") => BackendErrorKind::Invalid,
            Some("conflict") => BackendErrorKind::Conflict,
            Some("misconfigured") => BackendErrorKind::Misconfigured,
            _ => BackendErrorKind::Unreachable,
        };
        // EXPOSE: looked through for what the plugin says, so that no value is repeated.
        let asked = json::parse(question.expose_secret()).ok();
        let value = asked.as_ref().and_then(|asked| asked.plain("value"));
        let text = said.plain("message").unwrap_or("it says no more");
        let shown: String = text.chars().take(200).collect();
        let repeats = value.is_some_and(|value| !value.is_empty() && text.contains(value));
        let shown = if repeats {
            "its message is not shown, since it repeats the value".to_owned()
        } else {
            shown.escape_debug().to_string()
        };
        self.error(kind, format!("the plugin says: {shown}"))
    }
}

impl Blocking for Exec {
    fn scheme(&self) -> &'static str {
        "exec"
    }

    fn describe(&self) -> String {
        self.describe.clone()
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn candidates(&self, lookup: &strongroom_core::port::Lookup) -> Vec<String> {
        vec![lookup.place.to_string(), lookup.name.clone()]
    }

    fn read_all(&self, addresses: &[String]) -> Result<Vec<Found>, BackendError> {
        let wanted = addresses.iter().map(|address| Node::of(address)).collect();
        let answer = self.ask(&self.question("read", vec![("addresses", Node::List(wanted))]))?;
        let Some(Node::Object(items)) = answer.field("items") else {
            let message = "the plugin's answer has no object 'items'";
            return Err(self.error(BackendErrorKind::Malformed, message));
        };
        let items: BTreeMap<&str, &Node> = items
            .iter()
            .map(|(name, node)| (name.as_str(), node))
            .collect();
        let read = |address: &String| match items.get(address.as_str()) {
            None | Some(Node::Null) => Ok(None),
            Some(node) => self.value_of(node).map(Some).ok_or_else(|| {
                let message = format!("the plugin's item {address} has no 'value' or 'base64'");
                self.error(BackendErrorKind::Malformed, message)
            }),
        };
        Ok(addresses.iter().map(read).collect())
    }

    fn addresses(&self) -> Result<Vec<String>, BackendError> {
        let answer = self.ask(&self.question("list", Vec::new()))?;
        let Some(Node::List(listed)) = answer.field("addresses") else {
            let message = "the plugin's answer has no list 'addresses'";
            return Err(self.error(BackendErrorKind::Malformed, message));
        };
        let mut addresses: Vec<String> = listed.iter().filter_map(Node::to_plain).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Ok(addresses)
    }

    fn write(&self, address: &str, new: &NewValue) -> Result<Stored, BackendError> {
        if !self.capabilities.write {
            return Err(self.unsupported("be written"));
        }
        let expected = match new.expected {
            Expected::Any => "any",
            Expected::Absent => "absent",
            Expected::Version(_) => {
                let message = format!("{address}: a plugin keeps no versions to expect");
                return Err(self.error(BackendErrorKind::Conflict, message));
            }
        };
        // EXPOSE: into the JSON of the question, on the plugin's standard input.
        let value = match new.payload.value.expose_secret_text() {
            Some(_) => ("value", Node::Text(new.payload.value.clone())),
            None => {
                // EXPOSE: as above, in base64.
                let bytes = new.payload.value.expose_secret();
                let mut text = String::with_capacity(BASE64.encode_len(bytes.len()));
                BASE64.encode_append(bytes, &mut text);
                ("base64", Node::Text(SecretValue::from_text(text)))
            }
        };
        let fields = vec![
            ("address", Node::of(address)),
            ("expected", Node::of(expected)),
            value,
        ];
        let answer = self.ask(&self.question("write", fields))?;
        Ok(Stored {
            version: None,
            is_new: !answer.field("is_new").is_some_and(Node::is_false),
        })
    }

    fn remove(&self, address: &str) -> Result<bool, BackendError> {
        if !self.capabilities.delete {
            return Err(self.unsupported("remove"));
        }
        let answer = self.ask(&self.question("remove", vec![("address", Node::of(address))]))?;
        Ok(!answer.field("was_there").is_some_and(Node::is_false))
    }

    fn health(&self) -> Result<String, BackendError> {
        self.ask(&self.question("describe", Vec::new()))?;
        Ok(format!("{} answers", self.program.name()))
    }
}

impl Exec {
    fn value_of(&self, node: &Node) -> Option<SecretValue> {
        if let Some(value) = node.text("value") {
            return Some(value.clone());
        }
        // EXPOSE: decoded into the value.
        let encoded = node.text("base64")?.expose_secret();
        BASE64.decode(encoded).ok().map(SecretValue::new)
    }
}

/// Of `[a-z0-9-]{1,32}`: no path, no option, nothing that a shell or a system treats specially.
fn is_plugin_name(name: &str) -> bool {
    (1..=PLUGIN_NAME_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests;
