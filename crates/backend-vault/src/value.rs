//! How values stand in Vault: an object of fields; a plain text is the field `value`.

use serde_json::Map;
use serde_json::Value;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use zeroize::Zeroize;

/// The field of a plain text.
pub(crate) const VALUE: &str = "value";

/// Why a payload cannot stand in Vault, or an object is no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    #[error("the value is not UTF-8 text, which is all that Vault holds")]
    Binary,
    #[error("the fields are no JSON object")]
    NoObject,
}

/// The object that a payload is written as.
pub(crate) fn to_object(payload: &Payload) -> Result<Map<String, Value>, ValueError> {
    // EXPOSE: goes into the body of the write.
    let text = payload.value.expose_secret_text();
    let text = text.ok_or(ValueError::Binary)?;
    match payload.shape {
        Shape::Binary => Err(ValueError::Binary),
        Shape::Text => Ok([(VALUE.to_owned(), Value::from(text))]
            .into_iter()
            .collect()),
        Shape::Fields => match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(fields),
            Ok(mut other) => {
                wipe(&mut other);
                Err(ValueError::NoObject)
            }
            Err(_) => Err(ValueError::NoObject),
        },
    }
}

/// The payload that an object is: the text of its only field `value`, else all its fields as
/// compact JSON. The object is wiped.
pub(crate) fn to_payload(mut object: Value) -> Option<Payload> {
    let fields = object.as_object()?;
    let payload = match (fields.len(), fields.get(VALUE)) {
        (1, Some(Value::String(text))) => Payload::detect(SecretValue::copy_from(text.as_bytes())),
        _ => Payload {
            value: compact(&object),
            shape: Shape::Fields,
        },
    };
    wipe(&mut object);
    Some(payload)
}

/// One field of an object: a text as it is, another value as compact JSON; `None` where there is
/// none. The object is wiped.
pub(crate) fn pick(mut object: Value, field: &str) -> Option<Payload> {
    let found = object.get(field).filter(|value| !value.is_null());
    let payload = found.map(|value| match value {
        Value::String(text) => Payload::detect(SecretValue::copy_from(text.as_bytes())),
        Value::Object(_) => Payload {
            value: compact(value),
            shape: Shape::Fields,
        },
        other => Payload::detect(compact(other)),
    });
    wipe(&mut object);
    payload
}

fn compact(value: &Value) -> SecretValue {
    let mut count = Count::default();
    // A `Value` has text keys only, and both writers take everything: this cannot fail.
    _ = serde_json::to_writer(&mut count, value);
    let mut bytes = Vec::with_capacity(count.0);
    _ = serde_json::to_writer(&mut bytes, value);
    SecretValue::new(bytes)
}

/// Counts what is written, so that the buffer has its size before the secret is in it.
#[derive(Default)]
struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Overwrites the texts in a JSON value. Numbers are let go as they are.
pub(crate) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(text: &str, shape: Shape) -> Payload {
        Payload {
            value: SecretValue::copy_from(text.as_bytes()),
            shape,
        }
    }

    fn check(json: &str, expected: &str, shape: Shape) {
        let found = to_payload(serde_json::from_str(json).unwrap()).unwrap();
        assert_eq!(found.value.expose_secret_text().unwrap(), expected);
        assert_eq!(found.shape, shape);
    }

    #[test]
    fn an_only_field_value_is_a_text() {
        check(r#"{"value":"abc"}"#, "abc", Shape::Text);
        check(r#"{"value":""}"#, "", Shape::Text);
        check(r#"{"value":5}"#, r#"{"value":5}"#, Shape::Fields);
        check(
            r#"{"value":"a","b":"c"}"#,
            r#"{"value":"a","b":"c"}"#,
            Shape::Fields,
        );
        check("{}", "{}", Shape::Fields);
        assert!(to_payload(Value::from("abc")).is_none());
    }

    #[test]
    fn numbers_keep_their_digits() {
        let text = r#"{"z":1.10,"a":123456789012345678901234567890,"e":1E+5}"#;
        let json = serde_json::from_str(text).unwrap();
        let found = to_payload(json).unwrap();
        let found = found.value.expose_secret_text().unwrap();
        assert!(found.contains("1.10") && found.contains("123456789012345678901234567890"));
        let written = Value::Object(to_object(&payload(text, Shape::Fields)).unwrap());
        assert!(written.to_string().contains("\"z\":1.10"), "{written}");
    }

    #[test]
    fn what_vault_cannot_hold_is_refused() {
        let bytes = Payload::detect(SecretValue::copy_from(&[0, 255]));
        assert_eq!(to_object(&bytes), Err(ValueError::Binary));
        for text in ["[1]", "\"a\"", "{", ""] {
            let fields = payload(text, Shape::Fields);
            assert_eq!(to_object(&fields), Err(ValueError::NoObject), "{text}");
        }
    }

    #[test]
    fn a_field_is_picked() {
        let json: Value =
            serde_json::from_str(r#"{"a":"x","n":1.50,"o":{"b":1},"z":null}"#).unwrap();
        let check = |field: &str, expected: Option<&str>| {
            let found = pick(json.clone(), field).map(|payload| payload.value);
            let found = found.as_ref().and_then(SecretValue::expose_secret_text);
            assert_eq!(found, expected, "{field}");
        };
        check("a", Some("x"));
        check("n", Some("1.50"));
        check("o", Some(r#"{"b":1}"#));
        check("z", None);
        check("none", None);
    }
}
