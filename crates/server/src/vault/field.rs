//! Fields of bodies as the types that are wanted, as lenient as Vault is.

use std::collections::BTreeMap;

use serde_json::Value;
use strongroom_core::lease;
use strongroom_core::secret::SecretValue;

use super::body::Fields;
use super::error::Fault;

fn wrong(name: &str, expected: &str) -> Fault {
    Fault::Invalid(format!(
        "Field validation failed: error converting input for field \"{name}\": expected {expected}"
    ))
}

/// A text.
pub(crate) fn text(fields: &Fields, name: &str) -> Result<Option<String>, Fault> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(Value::Bool(value)) => Ok(Some(value.to_string())),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) => Err(wrong(name, "a text")),
    }
}

/// A text that is a secret.
pub(crate) fn secret(fields: &Fields, name: &str) -> Result<Option<SecretValue>, Fault> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(SecretValue::copy_from(text.as_bytes()))),
        Some(Value::Number(number)) => Ok(Some(SecretValue::from_text(number.to_string()))),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            Err(wrong(name, "a text"))
        }
    }
}

/// Yes or no.
pub(crate) fn flag(fields: &Fields, name: &str) -> Result<Option<bool>, Fault> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(Value::Number(number)) => match number.as_i64() {
            Some(number) => Ok(Some(number != 0)),
            None => Err(wrong(name, "true or false")),
        },
        Some(Value::String(text)) => match text.as_str() {
            "" => Ok(None),
            "true" | "TRUE" | "True" | "t" | "T" | "1" => Ok(Some(true)),
            "false" | "FALSE" | "False" | "f" | "F" | "0" => Ok(Some(false)),
            _ => Err(wrong(name, "true or false")),
        },
        Some(Value::Null | Value::Array(_) | Value::Object(_)) => Err(wrong(name, "true or false")),
    }
}

/// A whole number.
pub(crate) fn integer(fields: &Fields, name: &str) -> Result<Option<i64>, Fault> {
    fields.get(name).map_or(Ok(None), |value| {
        integer_of(value)
            .map(Some)
            .ok_or_else(|| wrong(name, "a whole number"))
    })
}

/// A whole number, also as a text.
pub(crate) fn integer_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn whole(number: f64) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "compared with itself right after"
    )]
    let integer = number as i64;
    #[expect(
        clippy::cast_precision_loss,
        reason = "the comparison is what finds that out"
    )]
    let is_whole = (integer as f64).to_bits() == number.to_bits();
    is_whole.then_some(integer)
}

/// A number with a fraction.
pub(crate) fn number(fields: &Fields, name: &str) -> Result<Option<f64>, Fault> {
    let number = match fields.get(name) {
        None => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    let number = number.filter(|number| number.is_finite());
    number.map(Some).ok_or_else(|| wrong(name, "a number"))
}

/// A time in seconds: a number, or a text such as `90s`, `1h30m`.
pub(crate) fn seconds(fields: &Fields, name: &str) -> Result<Option<i64>, Fault> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(value) => seconds_of(value).map(Some).ok_or_else(|| {
            Fault::Invalid(format!(
                "Field validation failed: error converting input for field \"{name}\": expected \
                 a time such as 30m, 24h or a number of seconds"
            ))
        }),
    }
}

pub(crate) fn seconds_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().and_then(whole))
            .filter(|seconds| (0..=SECONDS_MAX).contains(seconds)),
        Value::String(text) => lease::parse_duration(text.trim())
            .ok()
            .map(strongroom_core::time::Span::as_seconds),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Longest time that is taken: some 290 years.
const SECONDS_MAX: i64 = 9_223_372_036;

/// A list of texts, also as one text with commas.
pub(crate) fn texts(fields: &Fields, name: &str) -> Result<Option<Vec<String>>, Fault> {
    let list = match fields.get(name) {
        None => return Ok(None),
        Some(Value::String(text)) => text.split(',').map(str::to_owned).collect(),
        Some(Value::Array(values)) => {
            let mut list = Vec::with_capacity(values.len());
            for value in values {
                match value {
                    Value::String(text) => list.push(text.clone()),
                    Value::Number(number) => list.push(number.to_string()),
                    Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                        return Err(wrong(name, "a list of texts"));
                    }
                }
            }
            list
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            return Err(wrong(name, "a list of texts"));
        }
    };
    let list = list.into_iter().map(|text: String| text.trim().to_owned());
    Ok(Some(list.filter(|text| !text.is_empty()).collect()))
}

/// Names and texts.
pub(crate) fn text_map(
    fields: &Fields,
    name: &str,
) -> Result<Option<BTreeMap<String, String>>, Fault> {
    let map = match fields.get(name) {
        None => return Ok(None),
        Some(Value::Object(map)) => map,
        // Some clients send JSON in a text.
        Some(Value::String(text)) => {
            let parsed = serde_json::from_str::<BTreeMap<String, String>>(text);
            return parsed.map(Some).map_err(|_| wrong(name, "names and texts"));
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) => {
            return Err(wrong(name, "names and texts"));
        }
    };
    let mut texts = BTreeMap::new();
    for (key, value) in map {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                return Err(wrong(name, "names and texts"));
            }
        };
        texts.insert(key.clone(), text);
    }
    Ok(Some(texts))
}

/// A name in a path that may stand for a record: neither empty nor long, no control characters.
pub(crate) fn checked_name(name: &str) -> Result<&str, Fault> {
    const NAME_BYTES_MAX: usize = 256;
    let is_good = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.chars().any(strongroom_core::path::is_forbidden);
    if is_good {
        Ok(name)
    } else {
        Err(Fault::invalid(
            "the name is empty, too long or has a control character",
        ))
    }
}
