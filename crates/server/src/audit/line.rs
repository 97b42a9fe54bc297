//! What an audit line says.

use std::fmt::Write;
use std::net::IpAddr;

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
}

impl Entry<'_> {
    /// The line of the request, without its closing brace. `data` is hashed JSON.
    pub(crate) fn request(&self, data: Option<&str>) -> String {
        let mut line = self.start("request", data);
        line.push('}');
        line
    }

    /// The line of the answer, without its closing brace.
    pub(crate) fn response(
        &self,
        status: u16,
        data: Option<&str>,
        response: Option<&str>,
        error: Option<&str>,
    ) -> String {
        let mut line = self.start("response", data);
        let _ = write!(line, "}},\"response\":{{\"status\":{status}");
        if let Some(response) = response {
            let _ = write!(line, ",\"data\":{response}");
        }
        line.push('}');
        if let Some(error) = error {
            line.push_str(",\"error\":");
            push_text(&mut line, error);
        }
        line
    }

    fn start(&self, kind: &str, data: Option<&str>) -> String {
        let mut line = String::with_capacity(1024);
        let _ = write!(line, "{{\"time\":\"{}\",\"type\":\"{kind}\"", self.at);
        if let Some(caller) = self.caller {
            let _ = write!(
                line,
                ",\"auth\":{{\"client_token\":\"{}\",\"accessor\":\"{}\",\"display_name\":",
                caller.token_hash, caller.accessor_hash
            );
            push_text(&mut line, &caller.token.display_name);
            let _ = write!(
                line,
                ",\"policies\":{},\"entity_id\":\"{}\",\"token_type\":\"{}\"}}",
                caller.policies_json,
                caller.token.entity_id,
                caller.token.kind.word()
            );
        }
        let _ = write!(
            line,
            ",\"request\":{{\"id\":\"{}\",\"operation\":\"{}\"",
            self.request_id, self.operation
        );
        if let Some(live) = self.mount {
            line.push_str(",\"mount_point\":");
            push_text(&mut line, &live.path);
            let _ = write!(line, ",\"mount_type\":\"{}\"", live.mount.engine.word());
        }
        line.push_str(",\"path\":");
        push_text(&mut line, self.path);
        let _ = write!(line, ",\"remote_address\":\"{}\"", self.remote);
        if let Some(ttl) = self.wrap_ttl {
            let _ = write!(line, ",\"wrap_ttl\":{ttl}");
        }
        if let Some(data) = data {
            let _ = write!(line, ",\"data\":{data}");
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
            Value::Object(fields) => {
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
        }
    }
}
