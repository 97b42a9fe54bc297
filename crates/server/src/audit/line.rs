//! What an audit line says.

use std::fmt::Write;
use std::net::IpAddr;

use serde_json::Map;
use serde_json::Value;
use strongroom_core::time::Timestamp;

use super::AuditLog;

/// A request, as far as the log keeps it.
pub(crate) struct Entry<'a> {
    pub(crate) at: Timestamp,
    pub(crate) request_id: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) path: &'a str,
    pub(crate) mount: Option<&'a crate::core::Live>,
    pub(crate) remote: IpAddr,
    pub(crate) caller: Option<&'a crate::core::Known>,
    pub(crate) wrap_ttl: Option<i64>,
    /// Headers that are told, as JSON.
    pub(crate) headers: Option<&'a str>,
}

impl Entry<'_> {
    /// The parts that both lines of the entry have.
    pub(crate) fn lines(&self) -> Lines {
        Lines {
            time: self.at.to_string(),
            shared: self.shared(),
        }
    }

    fn shared(&self) -> String {
        let mut line = String::with_capacity(768);
        if let Some(caller) = self.caller {
            for part in [
                ",\"auth\":{\"client_token\":\"",
                &caller.token_hash,
                "\",\"accessor\":\"",
                &caller.accessor_hash,
                "\",\"display_name\":",
            ] {
                line.push_str(part);
            }
            push_text(&mut line, &caller.token.display_name);
            for part in [
                ",\"policies\":",
                &caller.policies_json,
                ",\"token_type\":\"",
                caller.token.kind.word(),
                "\"}",
            ] {
                line.push_str(part);
            }
        }
        for part in [
            ",\"request\":{\"id\":\"",
            self.request_id,
            "\",\"operation\":\"",
            self.operation,
            "\"",
        ] {
            line.push_str(part);
        }
        if let Some(live) = self.mount {
            line.push_str(",\"mount_point\":");
            push_text(&mut line, &live.path);
            for part in [",\"mount_type\":\"", live.mount.engine.word(), "\""] {
                line.push_str(part);
            }
        }
        line.push_str(",\"path\":");
        push_text(&mut line, self.path);
        let _ = write!(line, ",\"remote_address\":\"{}\"", self.remote);
        if let Some(ttl) = self.wrap_ttl {
            let _ = write!(line, ",\"wrap_ttl\":{ttl}");
        }
        if let Some(headers) = self.headers {
            line.push_str(",\"headers\":");
            line.push_str(headers);
        }
        line
    }
}

/// The lines of one request.
pub(crate) struct Lines {
    time: String,
    shared: String,
}

impl Lines {
    /// Has what was asked for in both lines: where one of them has to be enough. `data` is hashed
    /// JSON.
    pub(crate) fn with(mut self, data: &str) -> Self {
        self.shared.push_str(",\"data\":");
        self.shared.push_str(data);
        self
    }

    fn start(&self, kind: &str) -> String {
        let mut line = String::with_capacity(self.shared.len() + 256);
        for part in [
            "{\"time\":\"",
            &self.time,
            "\",\"type\":\"",
            kind,
            "\"",
            &self.shared,
        ] {
            line.push_str(part);
        }
        line
    }

    /// The line of the request, without its closing brace. `data` is hashed JSON.
    pub(crate) fn request(&self, data: Option<&str>) -> String {
        let mut line = self.start("request");
        if let Some(data) = data {
            line.push_str(",\"data\":");
            line.push_str(data);
        }
        line.push('}');
        line
    }

    /// The line of the answer, without its closing brace.
    pub(crate) fn response(&self, status: u16, data: Option<&str>, error: Option<&str>) -> String {
        let mut line = self.start("response");
        let _ = write!(line, "}},\"response\":{{\"status\":{status}");
        if let Some(data) = data {
            line.push_str(",\"data\":");
            line.push_str(data);
        }
        line.push('}');
        if let Some(error) = error {
            line.push_str(",\"error\":");
            push_text(&mut line, error);
        }
        line
    }
}

/// A text as JSON. Control characters, and those that turn text round, are escaped: a line is
/// one line wherever it is shown.
fn push_text(line: &mut String, text: &str) {
    line.push('"');
    for letter in text.chars() {
        match letter {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            _ if strongroom_core::path::is_forbidden(letter) => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
            _ => line.push(letter),
        }
    }
    line.push('"');
}

impl AuditLog {
    /// JSON with every text and number replaced by its keyed hash; names stay.
    pub(crate) fn hashed(&self, value: &Value) -> String {
        let mut text = String::new();
        self.push_hashed(&mut text, value);
        text
    }

    /// The headers of a request that are told, as JSON; none where nobody asked for any.
    pub(crate) fn headers(
        &self,
        told: &std::collections::BTreeMap<String, bool>,
        headers: &http::HeaderMap,
    ) -> Option<String> {
        let mut text = String::new();
        for (name, is_hashed) in told {
            let values = headers.get_all(name.as_str());
            let mut values = values.iter().peekable();
            if values.peek().is_none() {
                continue;
            }
            text.push(if text.is_empty() { '{' } else { ',' });
            push_text(&mut text, name);
            text.push_str(":[");
            for (at, value) in values.enumerate() {
                if at > 0 {
                    text.push(',');
                }
                match is_hashed {
                    true => push_text(&mut text, &self.hash(value.as_bytes())),
                    false => push_text(&mut text, &String::from_utf8_lossy(value.as_bytes())),
                }
            }
            text.push(']');
        }
        if text.is_empty() {
            return None;
        }
        text.push('}');
        Some(text)
    }

    /// As `hashed`, of the fields of a body.
    pub(crate) fn hashed_fields(&self, fields: &Map<String, Value>) -> String {
        let mut text = String::new();
        self.push_fields(&mut text, fields);
        text
    }

    fn push_fields(&self, text: &mut String, fields: &Map<String, Value>) {
        text.push('{');
        for (at, (name, value)) in fields.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            push_text(text, name);
            text.push(':');
            self.push_hashed(text, value);
        }
        text.push('}');
    }

    fn push_hashed(&self, text: &mut String, value: &Value) {
        match value {
            Value::Null => text.push_str("null"),
            Value::Bool(value) => {
                let _ = write!(text, "{value}");
            }
            Value::Number(number) => push_text(text, &self.hash(number.to_string().as_bytes())),
            Value::String(value) => push_text(text, &self.hash(value.as_bytes())),
            Value::Array(values) => {
                text.push('[');
                for (at, value) in values.iter().enumerate() {
                    if at > 0 {
                        text.push(',');
                    }
                    self.push_hashed(text, value);
                }
                text.push(']');
            }
            Value::Object(fields) => self.push_fields(text, fields),
        }
    }
}
