//! Fields of requests, and names in them.

use serde_json::Value;
use strongroom_deploy::tier::Tier;

use crate::vault::call::Call;
use crate::vault::error::Fault;

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 120;
/// Most names in one list.
const NAMES_MAX: usize = 1000;

/// A text that was sent; one that is empty was not.
pub(super) fn text(call: &Call, name: &str) -> Option<String> {
    let text = call.fields.get(name)?.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A truth value; in a query it is a word.
pub(super) fn flag(call: &Call, name: &str) -> Result<bool, Fault> {
    match call.fields.get(name) {
        None => Ok(false),
        Some(Value::Bool(is_set)) => Ok(*is_set),
        Some(Value::String(word)) => match word.as_str() {
            "true" | "1" | "t" | "T" | "TRUE" | "True" => Ok(true),
            "false" | "0" | "f" | "F" | "FALSE" | "False" | "" => Ok(false),
            _ => Err(Fault::invalid(format!("{name} must be a boolean"))),
        },
        Some(_) => Err(Fault::invalid(format!("{name} must be a boolean"))),
    }
}

/// Names: a list, or with commas between them.
pub(super) fn names(call: &Call, field: &str) -> Result<Vec<String>, Fault> {
    let names: Option<Vec<String>> = match call.fields.get(field) {
        None => Some(Vec::new()),
        Some(Value::String(text)) => {
            let names = text.split(',').map(str::trim);
            Some(
                names
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect(),
            )
        }
        Some(Value::Array(items)) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect()
        }
        Some(_) => None,
    };
    let names = names.ok_or_else(|| Fault::invalid(format!("{field} is no list of names")))?;
    if names.len() > NAMES_MAX {
        return Err(Fault::invalid(format!(
            "{field} has over {NAMES_MAX} names"
        )));
    }
    for name in &names {
        check_name(name)?;
    }
    Ok(names)
}

/// A name in the path.
pub(super) fn captured(call: &Call, at: usize) -> Result<String, Fault> {
    let name = call.capture(at);
    check_name(name)?;
    Ok(name.to_owned())
}

/// Names of resources, secrets and applications.
pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(is_plain) {
        true => Ok(()),
        false => Err(Fault::invalid(
            "a name has letters, digits, '-', '_' and '.', and at most 120 of them",
        )),
    }
}

/// A tier by any of its names.
pub(super) fn tier(text: &str) -> Result<Tier, Fault> {
    let parsed = text.parse::<Tier>();
    parsed.map_err(|error| Fault::invalid(error.to_string()))
}

/// The tier in the path.
pub(super) fn captured_tier(call: &Call, at: usize) -> Result<Tier, Fault> {
    tier(call.capture(at))
}
