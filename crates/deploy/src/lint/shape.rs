//! The schema v0.1 as data, and the walk over a manifest that compares.

use serde_json::Map;
use serde_json::Value;
use strongroom_core::manifest::did_you_mean;

use super::Finding;
use super::Severity;

/// Which rules count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Those of the schema: what it does not name may be anything.
    Schema,
    /// Unknown keys are wrong, too.
    Strict,
}

/// What may stand somewhere.
enum Shape {
    Text,
    /// Text that is not empty.
    Name,
    OneOf(&'static [&'static str]),
    Flag,
    Whole {
        least: Option<i64>,
    },
    /// A list with at least so many.
    List(&'static Shape, usize),
    /// A list, or `null`.
    ListOrNull(&'static Shape),
    /// An object whose keys are names, with at least so many.
    Map(&'static Shape, usize),
    /// Any object.
    Free,
    Object(&'static [Field]),
}

use Shape::Flag;
use Shape::Free;
use Shape::List;
use Shape::ListOrNull;
use Shape::Name;
use Shape::Object;
use Shape::OneOf;
use Shape::Text;

struct Field {
    key: &'static str,
    presence: Presence,
    shape: &'static Shape,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
    /// Documented, but not part of the schema.
    Beyond,
}

const fn must(key: &'static str, shape: &'static Shape) -> Field {
    Field {
        key,
        presence: Presence::Required,
        shape,
    }
}

const fn may(key: &'static str, shape: &'static Shape) -> Field {
    Field {
        key,
        presence: Presence::Optional,
        shape,
    }
}

const fn beyond(key: &'static str, shape: &'static Shape) -> Field {
    Field {
        key,
        presence: Presence::Beyond,
        shape,
    }
}

const ANY_WHOLE: Shape = Shape::Whole { least: None };
const FROM_0: Shape = Shape::Whole { least: Some(0) };
const FROM_1: Shape = Shape::Whole { least: Some(1) };
const TEXTS: Shape = List(&Text, 0);
const ENV: Shape = Shape::Map(&Text, 0);

const ROOT: Shape = Object(&[
    must("schema_version", &OneOf(&["v0.1"])),
    must("target", &OneOf(&["desktop"])),
    must("app", &APP),
    must("ipc", &IPC),
    must("telemetry", &TELEMETRY),
    must("services", &List(&SERVICE, 1)),
    may("ports", &PORTS),
    may("swaps", &List(&SWAP, 0)),
    may("secrets", &List(&SECRET, 0)),
    may("code_signing", &SIGNING),
    beyond("$schema", &Text),
]);

const APP: Shape = Object(&[
    must("name", &Name),
    must("version", &Name),
    may("description", &Text),
]);

const IPC: Shape = Object(&[
    must("mode", &OneOf(&["loopback-http"])),
    must("host", &Name),
    must("port", &FROM_1),
    must("auth_token_path", &Name),
]);

const TELEMETRY: Shape = Object(&[must("file", &Name), may("upload_url", &Text)]);

const PORTS: Shape = Object(&[
    may("default_range", &RANGE),
    may("reserved", &ListOrNull(&ANY_WHOLE)),
]);

const RANGE: Shape = Object(&[must("min", &ANY_WHOLE), must("max", &ANY_WHOLE)]);

const SWAP: Shape = Object(&[
    must("original", &Name),
    must("replacement", &Name),
    may("reason", &Text),
    may("limitations", &Text),
]);

/// The classes of secrets.
pub(super) const CLASSES: &[&str] = &[
    "infrastructure",
    "per_install_generated",
    "user_prompt",
    "remote_fetch",
];

const SECRET: Shape = Object(&[
    must("id", &Name),
    must("class", &OneOf(CLASSES)),
    must("target", &TARGET),
    may("description", &Text),
    may("format", &Text),
    may("required", &Flag),
    may("prompt", &PROMPT),
    may("generator", &Free),
    beyond("vault", &Free),
    beyond("note", &Text),
]);

const PROMPT: Shape = Object(&[
    may("label", &Text),
    may("description", &Text),
    may("hint", &Text),
    beyond("placeholder", &Text),
    beyond("link", &Text),
]);

const TARGET: Shape = Object(&[must("type", &OneOf(&["env", "file"])), must("name", &Name)]);

const SERVICE: Shape = Object(&[
    must("id", &Name),
    must(
        "type",
        &OneOf(&["ui-bundle", "api-binary", "worker", "resource"]),
    ),
    must("binaries", &Shape::Map(&BINARY, 1)),
    must("health", &HEALTH),
    must("readiness", &READINESS),
    may("description", &Text),
    may("build", &BUILD),
    may("env", &ENV),
    may("secrets", &TEXTS),
    may("data_dirs", &TEXTS),
    may("log_dir", &Text),
    may("ports", &SERVICE_PORTS),
    may("dependencies", &TEXTS),
    may("migrations", &List(&MIGRATION, 0)),
    may("assets", &List(&ASSET, 0)),
    may("gpu", &GPU),
    may("critical", &Flag),
    may("metadata", &Free),
]);

const BINARY: Shape = Object(&[
    must("path", &Name),
    may("args", &TEXTS),
    may("env", &ENV),
    may("cwd", &Text),
]);

const BUILD: Shape = Object(&[
    must("type", &OneOf(&["go", "rust", "npm", "python", "custom"])),
    must("source_dir", &Name),
    may("entry_point", &Text),
    may("output_pattern", &Text),
    may("args", &TEXTS),
    may("env", &ENV),
]);

const SERVICE_PORTS: Shape = Object(&[must("requested", &List(&PORT_REQUEST, 0))]);

const PORT_REQUEST: Shape = Object(&[
    must("name", &Name),
    must("range", &RANGE),
    may("requires_socket", &Flag),
]);

const HEALTH: Shape = Object(&[
    must("type", &OneOf(&["http", "tcp", "command", "log_match"])),
    may("path", &Text),
    may("port_name", &Text),
    may("command", &TEXTS),
    may("interval_ms", &FROM_0),
    may("timeout_ms", &FROM_0),
    may("retries", &FROM_0),
]);

const READINESS: Shape = Object(&[
    must(
        "type",
        &OneOf(&[
            "health_success",
            "port_open",
            "log_match",
            "dependencies_ready",
        ]),
    ),
    may("port_name", &Text),
    may("pattern", &Text),
    may("timeout_ms", &FROM_0),
]);

const MIGRATION: Shape = Object(&[
    must("version", &Name),
    must("command", &TEXTS),
    may("env", &ENV),
    may("run_on", &Text),
]);

const ASSET: Shape = Object(&[
    must("path", &Name),
    may("sha256", &Text),
    may("size_bytes", &FROM_0),
]);

const GPU: Shape = Object(&[may("requirement", &Text)]);

const SIGNING: Shape = Object(&[
    must("enabled", &Flag),
    may("windows", &SIGNING_WINDOWS),
    may("macos", &SIGNING_MACOS),
    may("linux", &SIGNING_LINUX),
]);

const SIGNING_WINDOWS: Shape = Object(&[
    must(
        "certificate_source",
        &OneOf(&["file", "store", "azure_keyvault", "aws_kms"]),
    ),
    may("certificate_file", &Text),
    may("certificate_password_env", &Text),
    may("certificate_thumbprint", &Text),
    may("timestamp_server", &Text),
    may("sign_algorithm", &OneOf(&["sha256", "sha384", "sha512"])),
    may("dual_sign", &Flag),
]);

const SIGNING_MACOS: Shape = Object(&[
    must("identity", &Name),
    must("team_id", &Name),
    must("hardened_runtime", &Flag),
    must("notarize", &Flag),
    may("entitlements_file", &Text),
    may("provisioning_profile", &Text),
    may("apple_id_env", &Text),
    may("apple_id_password_env", &Text),
    may("apple_api_key_id", &Text),
    may("apple_api_key_file", &Text),
    may("apple_api_issuer_id", &Text),
]);

const SIGNING_LINUX: Shape = Object(&[
    may("gpg_key_id", &Text),
    may("gpg_passphrase_env", &Text),
    may("gpg_homedir", &Text),
]);

/// Everything in which a manifest differs from the schema.
pub(super) fn check(manifest: &Value, reading: Reading) -> Vec<Finding> {
    let mut walk = Walk {
        reading,
        findings: Vec::new(),
    };
    walk.value("$", manifest, &ROOT);
    walk.findings
}

struct Walk {
    reading: Reading,
    findings: Vec<Finding>,
}

impl Walk {
    fn add(&mut self, code: &'static str, path: &str, message: String, fix: String) {
        self.findings.push(Finding {
            severity: Severity::Error,
            code,
            path: path.to_owned(),
            message,
            fix,
        });
    }

    fn wrong_type(&mut self, path: &str, value: &Value, expected: &str) {
        match value {
            Value::Null => self.add(
                "bundle.null",
                path,
                "null stands for nothing here".to_owned(),
                "leave the key out".to_owned(),
            ),
            _ => self.add(
                "bundle.wrong_type",
                path,
                format!("this is {}, not {expected}", kind(value)),
                format!("write {expected}"),
            ),
        }
    }

    fn value(&mut self, path: &str, value: &Value, shape: &Shape) {
        match (shape, value) {
            (Shape::Text, Value::String(_))
            | (Shape::Flag, Value::Bool(_))
            | (Shape::Free, Value::Object(_))
            | (Shape::ListOrNull(_), Value::Null) => {}
            (Shape::Name, Value::String(text)) => {
                if text.is_empty() {
                    let message = "the text is empty".to_owned();
                    self.add("bundle.empty", path, message, "write something".to_owned());
                }
            }
            (Shape::OneOf(words), Value::String(text)) => self.one_of(path, words, text),
            (Shape::Whole { least }, Value::Number(number)) => match whole(number) {
                Some(number) if least.is_none_or(|least| number >= least) => {}
                Some(_) => {
                    let least = least.unwrap_or_default();
                    let message = format!("the number is less than {least}");
                    self.add(
                        "bundle.number",
                        path,
                        message,
                        format!("write {least} or more"),
                    );
                }
                None => self.wrong_type(path, value, "a whole number"),
            },
            (Shape::List(inner, least), Value::Array(items)) => {
                self.list(path, items, inner, *least);
            }
            (Shape::ListOrNull(inner), Value::Array(items)) => self.list(path, items, inner, 0),
            (Shape::Map(inner, least), Value::Object(fields)) => {
                if fields.len() < *least {
                    let message = "at least one is needed".to_owned();
                    self.add("bundle.empty", path, message, "add one".to_owned());
                }
                for (key, value) in fields {
                    self.value(&join(path, key), value, inner);
                }
            }
            (Shape::Object(known), Value::Object(fields)) => self.object(path, fields, known),
            (shape, value) => self.wrong_type(path, value, shape.words()),
        }
    }

    fn one_of(&mut self, path: &str, words: &[&'static str], text: &str) {
        if words.contains(&text) {
            return;
        }
        let known = words.join(", ");
        let message = format!("the word is none of {known}");
        let fix = match did_you_mean(text, words.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("write one of {known}"),
        };
        self.add("bundle.unknown_word", path, message, fix);
    }

    fn list(&mut self, path: &str, items: &[Value], inner: &Shape, least: usize) {
        if items.len() < least {
            let message = "at least one is needed".to_owned();
            self.add("bundle.empty", path, message, "add one".to_owned());
        }
        for (at, item) in items.iter().enumerate() {
            self.value(&format!("{path}[{at}]"), item, inner);
        }
    }

    fn object(&mut self, path: &str, fields: &Map<String, Value>, known: &[Field]) {
        for field in known {
            match fields.get(field.key) {
                Some(_)
                    if field.presence == Presence::Beyond && self.reading == Reading::Schema => {}
                Some(value) => self.value(&join(path, field.key), value, field.shape),
                None if field.presence == Presence::Required => {
                    let message = format!("{} is missing", field.key);
                    let fix = format!("add {}: {}", field.key, field.shape.words());
                    self.add("bundle.missing", path, message, fix);
                }
                None => {}
            }
        }
        if self.reading == Reading::Schema {
            return;
        }
        for key in fields.keys() {
            if known.iter().any(|field| field.key == key) {
                continue;
            }
            let near = did_you_mean(key, known.iter().map(|field| field.key));
            let fix = match near {
                Some(near) => format!("did you mean {near}?"),
                None => "take it out".to_owned(),
            };
            let message = "nothing reads this key".to_owned();
            self.add("bundle.unknown_key", &join(path, key), message, fix);
        }
    }
}

impl Shape {
    fn words(&self) -> &'static str {
        match self {
            Self::Text | Self::Name => "text",
            Self::OneOf(_) => "one of the known words",
            Self::Flag => "true or false",
            Self::Whole { .. } => "a whole number",
            Self::List(..) | Self::ListOrNull(_) => "a list",
            Self::Map(..) | Self::Free | Self::Object(_) => "an object",
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A whole number; `2.0` is one, too. What does not fit in 64 bits counts as the nearest that does.
fn whole(number: &serde_json::Number) -> Option<i64> {
    if let Some(whole) = number.as_i64() {
        return Some(whole);
    }
    let fraction = number.as_f64()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, which is what is wanted"
    )]
    let nearest = fraction as i64;
    (fraction.fract() == 0.0).then_some(nearest)
}

/// A way with one more key.
pub(super) fn join(path: &str, key: &str) -> String {
    let is_plain = key
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$'));
    match is_plain && !key.is_empty() {
        true => format!("{path}.{key}"),
        false => format!("{path}[{}]", Value::String(key.to_owned())),
    }
}
