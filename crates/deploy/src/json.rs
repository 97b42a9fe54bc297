//! JSON of strangers, read leniently: `null` is absent, unknown keys are left alone.

use serde_json::Value;

/// Largest document, in bytes.
pub const JSON_BYTES_MAX: usize = 4 << 20;

/// Reads a document.
///
/// # Errors
/// When it is no JSON, or too large. Nothing of it is quoted.
pub fn read(bytes: &[u8]) -> Result<Value, ReadError> {
    if bytes.len() > JSON_BYTES_MAX {
        return Err(ReadError::TooLarge);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|error| ReadError::Syntax {
        line: error.line(),
        column: error.column(),
        is_cut: error.is_eof(),
    })
}

/// Why a document could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Over 4 MiB.
    #[error("it is larger than 4 MiB")]
    TooLarge,
    /// No JSON.
    #[error("line {line}, column {column}: {}", match is_cut {
        true => "the JSON ends too early",
        false => "this is not JSON",
    })]
    Syntax {
        /// Where.
        line: usize,
        /// Where in the line.
        column: usize,
        /// It ends in the middle.
        is_cut: bool,
    },
    /// JSON of another form.
    #[error("{path}: expected {expected}")]
    Form {
        /// Where, as in `$.secrets[2].id`.
        path: String,
        /// What should be there.
        expected: &'static str,
    },
}

/// The text at a key; text that is empty is absent.
pub(crate) fn text(value: &Value, key: &str) -> Option<String> {
    let text = value.get(key)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// The truth value at a key.
pub(crate) fn flag(value: &Value, key: &str) -> Option<bool> {
    value.get(key)?.as_bool()
}

/// The values of the list at a key, or none.
pub(crate) fn items<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    let list = value.get(key).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

/// The value at a key, unless it is `null`.
pub(crate) fn present(value: &Value, key: &str) -> Option<Value> {
    value.get(key).filter(|value| !value.is_null()).cloned()
}
