//! Fields of a request as the service's model has them.

use std::collections::BTreeMap;

use serde_json::Value;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use zeroize::Zeroizing;

use super::error::Fault;
use crate::vault::body::Fields;

/// Longest value, in bytes.
pub(super) const VALUE_BYTES_MAX: usize = 65_536;
/// Most tags of one secret.
const TAGS_MAX: usize = 50;

/// Reads a body.
pub(super) fn parse(body: &[u8]) -> Result<Fields, Fault> {
    Fields::parse(body).map_err(|fault| {
        // It says where it is malformed, and quotes nothing.
        Fault::Malformed(fault.answer().1.join("; "))
    })
}

/// What a value breaks. It is never quoted: it may be in the wrong field.
pub(super) fn broken(name: &str, constraint: &str) -> Fault {
    Fault::Constraint(format!(
        "1 validation error detected: Value at '{}' failed to satisfy constraint: {constraint}",
        lower(name)
    ))
}

fn lower(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_ascii_lowercase().to_string() + letters.as_str()
    })
}

fn wrong_type(name: &str, kind: &str) -> Fault {
    Fault::Malformed(format!("{name} has to be {kind}"))
}

/// A text.
pub(super) fn text<'a>(
    fields: &'a Fields,
    name: &str,
    shortest: usize,
    longest: usize,
) -> Result<Option<&'a str>, Fault> {
    let text = match fields.get(name) {
        None => return Ok(None),
        Some(Value::String(text)) => text.as_str(),
        Some(_) => return Err(wrong_type(name, "a text")),
    };
    check_length(name, text, shortest, longest)?;
    Ok(Some(text))
}

pub(super) fn check_length(
    name: &str,
    text: &str,
    shortest: usize,
    longest: usize,
) -> Result<(), Fault> {
    let length = text.chars().count();
    if length < shortest {
        let constraint = format!("Member must have length greater than or equal to {shortest}");
        return Err(broken(name, &constraint));
    }
    if length > longest {
        let constraint = format!("Member must have length less than or equal to {longest}");
        return Err(broken(name, &constraint));
    }
    Ok(())
}

/// A text that has to be there.
pub(super) fn required<'a>(
    fields: &'a Fields,
    name: &str,
    shortest: usize,
    longest: usize,
) -> Result<&'a str, Fault> {
    let text = text(fields, name, shortest, longest)?;
    text.ok_or_else(|| missing(name))
}

pub(super) fn missing(name: &str) -> Fault {
    Fault::Constraint(format!(
        "1 validation error detected: Value null at '{}' failed to satisfy constraint: Member \
         must not be null",
        lower(name)
    ))
}

/// Yes or no.
pub(super) fn flag(fields: &Fields, name: &str) -> Result<bool, Fault> {
    Ok(perhaps(fields, name)?.unwrap_or(false))
}

/// Yes or no, or nothing.
pub(super) fn perhaps(fields: &Fields, name: &str) -> Result<Option<bool>, Fault> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        // Of an address that was signed in advance.
        Some(Value::String(text)) if text == "true" || text == "True" => Ok(Some(true)),
        Some(Value::String(text)) if text == "false" || text == "False" => Ok(Some(false)),
        Some(_) => Err(wrong_type(name, "true or false")),
    }
}

/// A whole number.
pub(super) fn number(fields: &Fields, name: &str) -> Result<Option<i64>, Fault> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            let number = number.as_i64();
            number
                .map(Some)
                .ok_or_else(|| wrong_type(name, "a whole number"))
        }
        Some(Value::String(text)) => {
            let number = text.parse().ok();
            number
                .map(Some)
                .ok_or_else(|| wrong_type(name, "a whole number"))
        }
        Some(_) => Err(wrong_type(name, "a whole number")),
    }
}

/// A number within bounds that the model has.
pub(super) fn bounded(
    fields: &Fields,
    name: &str,
    least: i64,
    most: i64,
) -> Result<Option<i64>, Fault> {
    let Some(number) = number(fields, name)? else {
        return Ok(None);
    };
    if number < least {
        let constraint = format!("Member must have value greater than or equal to {least}");
        return Err(broken(name, &constraint));
    }
    if number > most {
        let constraint = format!("Member must have value less than or equal to {most}");
        return Err(broken(name, &constraint));
    }
    Ok(Some(number))
}

/// A list.
pub(super) fn list<'a>(fields: &'a Fields, name: &str) -> Result<Option<&'a [Value]>, Fault> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::Array(values)) => Ok(Some(values)),
        Some(_) => Err(wrong_type(name, "a list")),
    }
}

/// A list of texts.
pub(super) fn texts(
    fields: &Fields,
    name: &str,
    most: usize,
    longest: usize,
) -> Result<Option<Vec<String>>, Fault> {
    let Some(values) = list(fields, name)? else {
        return Ok(None);
    };
    if values.is_empty() || values.len() > most {
        let constraint = format!("Member must have length between 1 and {most}");
        return Err(broken(name, &constraint));
    }
    let mut texts = Vec::with_capacity(values.len());
    for value in values {
        let Value::String(text) = value else {
            return Err(wrong_type(name, "a list of texts"));
        };
        check_length(name, text, 1, longest)?;
        texts.push(text.clone());
    }
    Ok(Some(texts))
}

/// Tags.
pub(super) fn tags(fields: &Fields) -> Result<Option<BTreeMap<String, String>>, Fault> {
    let Some(values) = list(fields, "Tags")? else {
        return Ok(None);
    };
    let mut tags = BTreeMap::new();
    for value in values {
        let Value::Object(tag) = value else {
            return Err(wrong_type("Tags", "a list of Key and Value"));
        };
        let part = |name: &str| match tag.get(name) {
            Some(Value::String(text)) => Ok(Some(text.clone())),
            None | Some(Value::Null) => Ok(None),
            Some(_) => Err(wrong_type("Tags", "a list of Key and Value")),
        };
        let key = part("Key")?.ok_or_else(|| missing("tags.member.key"))?;
        let value = part("Value")?.unwrap_or_default();
        check_length("tags.member.key", &key, 1, 128)?;
        check_length("tags.member.value", &value, 0, 256)?;
        if key.chars().chain(value.chars()).any(char::is_control) {
            return Err(Fault::Parameter(
                "a tag has a control character, which is not allowed".into(),
            ));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Fault::Parameter(
                "Tag keys can't start with the reserved prefix aws:.".into(),
            ));
        }
        if tags.insert(key, value).is_some() {
            return Err(Fault::Parameter("a tag key stands there twice".into()));
        }
    }
    if tags.len() > TAGS_MAX {
        return Err(Fault::Limit(format!(
            "a secret has at most {TAGS_MAX} tags"
        )));
    }
    Ok(Some(tags))
}

/// The token that makes a request the same one when it is sent again; the id of the version that
/// it makes.
pub(super) fn client_token(fields: &Fields) -> Result<&str, Fault> {
    let token = text(fields, "ClientRequestToken", 0, usize::MAX)?;
    let token = token.filter(|token| !token.is_empty()).ok_or_else(|| {
        Fault::Request(
            "You must provide a ClientRequestToken value. We recommend a UUID-type value.".into(),
        )
    })?;
    check_token(token)?;
    Ok(token)
}

pub(super) fn check_token(token: &str) -> Result<(), Fault> {
    let length = token.chars().count();
    if !(32..=64).contains(&length) {
        return Err(Fault::Parameter(
            "ClientRequestToken must be 32-64 characters long.".into(),
        ));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Fault::Parameter(
            "ClientRequestToken has a letter that is not allowed.".into(),
        ));
    }
    Ok(())
}

/// The value that comes along, if any.
pub(super) fn value(fields: &Fields) -> Result<Option<Payload>, Fault> {
    let too_long = |name: &str| {
        let constraint = format!("Member must have length less than or equal to {VALUE_BYTES_MAX}");
        broken(name, &constraint)
    };
    let text = match fields.get("SecretString") {
        None => None,
        Some(Value::String(text)) => Some(text),
        Some(_) => return Err(wrong_type("SecretString", "a text")),
    };
    let binary = match fields.get("SecretBinary") {
        None => None,
        Some(Value::String(text)) => Some(text),
        Some(_) => return Err(wrong_type("SecretBinary", "base64")),
    };
    match (text, binary) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Fault::Parameter(
            "You can't specify both a binary secret value and a string secret value in the same \
             secret."
                .into(),
        )),
        (Some(text), None) if text.is_empty() => Err(broken(
            "SecretString",
            "Member must have length greater than or equal to 1",
        )),
        (Some(text), None) if text.len() > VALUE_BYTES_MAX => Err(too_long("SecretString")),
        (Some(text), None) => Ok(Some(Payload {
            shape: shape_of(text),
            value: SecretValue::copy_from(text.as_bytes()),
        })),
        (None, Some(text)) => {
            let bytes = data_encoding::BASE64.decode(text.as_bytes());
            let bytes = Zeroizing::new(bytes.map_err(|_| wrong_type("SecretBinary", "base64"))?);
            if bytes.is_empty() {
                let constraint = "Member must have length greater than or equal to 1";
                return Err(broken("SecretBinary", constraint));
            }
            if bytes.len() > VALUE_BYTES_MAX {
                return Err(too_long("SecretBinary"));
            }
            Ok(Some(Payload {
                shape: Shape::Binary,
                value: SecretValue::copy_from(&bytes),
            }))
        }
    }
}

/// A text that is a JSON object is one for Vault's clients, too.
fn shape_of(text: &str) -> Shape {
    let is_object = text.trim_ascii_start().starts_with('{');
    match is_object && Fields::parse(text.as_bytes()).is_ok() {
        true => Shape::Fields,
        false => Shape::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn values_keep_their_bytes_and_get_a_shape() {
        for (text, shape) in [
            (r#"{"a":1}"#, Shape::Fields),
            (" {\n}", Shape::Fields),
            ("[1]", Shape::Text),
            ("null", Shape::Text),
            (r#"{"a":"#, Shape::Text),
            (r#"{"a":1} x"#, Shape::Text),
            ("\"abc\"", Shape::Text),
            ("\u{0}", Shape::Text),
        ] {
            let body = serde_json::json!({ "SecretString": text }).to_string();
            let payload = value(&fields(&body)).unwrap().unwrap();
            assert_eq!(payload.shape, shape, "{text}");
            assert_eq!(payload.value.expose_secret(), text.as_bytes());
        }
    }

    #[test]
    fn values_have_bounds() {
        for (size, is_good) in [(0, false), (1, true), (65_536, true), (65_537, false)] {
            let text = serde_json::json!({ "SecretString": "a".repeat(size) });
            assert_eq!(value(&fields(&text.to_string())).is_ok(), is_good, "{size}");
            let encoded = data_encoding::BASE64.encode(&vec![255; size]);
            let binary = serde_json::json!({ "SecretBinary": encoded });
            assert_eq!(
                value(&fields(&binary.to_string())).is_ok(),
                is_good,
                "{size}"
            );
        }
        for body in [
            r#"{"SecretString":1}"#,
            r#"{"SecretString":{"a":1}}"#,
            r#"{"SecretBinary":"%"}"#,
            r#"{"SecretString":"a","SecretBinary":"YQ=="}"#,
        ] {
            assert!(value(&fields(body)).is_err(), "{body}");
        }
    }

    #[test]
    fn nothing_of_a_value_is_quoted() {
        let canary = "canary-90aa";
        for body in [
            format!(r#"{{"Name":{{"{canary}":1}}}}"#),
            format!(r#"{{"Name":["{canary}"]}}"#),
            format!(r#"{{"Name":"{canary}{}"}}"#, "x".repeat(600)),
        ] {
            let fault = text(&fields(&body), "Name", 1, 512).unwrap_err();
            let told = fault.tell(crate::aws::error::Protocol::Json);
            assert!(!told.text.contains(canary), "{}", told.text);
        }
    }
}
