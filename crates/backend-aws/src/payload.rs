//! What AWS hands out as values of ours.

use std::collections::BTreeMap;

use aws_sdk_secretsmanager::primitives::Blob;
use aws_sdk_secretsmanager::primitives::DateTime;
use serde_json::value::RawValue;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::time::Timestamp;

/// A `SecretString` or `SecretBinary` as a payload; `None` when neither is there.
pub(crate) fn payload(text: Option<String>, binary: Option<Blob>) -> Option<Payload> {
    if let Some(text) = text {
        let shape = match fields(&text) {
            Some(_) => Shape::Fields,
            None => Shape::Text,
        };
        let value = SecretValue::from_text(text);
        return Some(Payload { value, shape });
    }
    let value = SecretValue::new(binary?.into_inner());
    let shape = Shape::Binary;
    Some(Payload { value, shape })
}

/// One field of a JSON object, as the text that stands in it.
///
/// # Errors
/// When the payload is no JSON object.
pub(crate) fn field(payload: &Payload, key: &str) -> Result<Option<SecretValue>, NoObject> {
    // EXPOSE: parsed for one of its fields, which stays a secret value.
    let text = payload.value.expose_secret_text().ok_or(NoObject)?;
    let fields = fields(text).ok_or(NoObject)?;
    let Some(raw) = fields.get(key).map(|raw| raw.get()) else {
        return Ok(None);
    };
    if raw == "null" {
        return Ok(None);
    }
    if raw.starts_with('"') {
        let text: String = serde_json::from_str(raw).map_err(|_| NoObject)?;
        return Ok(Some(SecretValue::from_text(text)));
    }
    Ok(Some(SecretValue::copy_from(raw.as_bytes())))
}

/// The value is no JSON object.
#[derive(Debug)]
pub(crate) struct NoObject;

/// The fields of a JSON object; values stay where they are, so that no copies are left behind.
fn fields(text: &str) -> Option<BTreeMap<String, &RawValue>> {
    text.trim_start().starts_with('{').then_some(())?;
    serde_json::from_str(text).ok()
}

pub(crate) fn timestamp(time: Option<&DateTime>) -> Option<Timestamp> {
    let time = time?;
    let micros = time.secs().checked_mul(1_000_000)?;
    let micros = micros.checked_add(i64::from(time.subsec_nanos() / 1000))?;
    Some(Timestamp::from_micros(micros))
}

/// Seconds since 1970 with a fraction, as JSON answers have them.
pub(crate) fn seconds(time: Option<f64>) -> Option<Timestamp> {
    timestamp(Some(&DateTime::from_secs_f64(time?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(payload: &Payload, key: &str) -> Option<String> {
        let value = field(payload, key).unwrap()?;
        Some(value.expose_secret_text().unwrap().to_owned())
    }

    #[test]
    fn an_object_is_fields_with_its_exact_text() {
        let exact = " {\"a\": 1.10, \"b\":\"x\\n\", \"c\":null, \"d\":[1, 2]}\n";
        let found = payload(Some(exact.into()), None).unwrap();
        assert_eq!(found.shape, Shape::Fields);
        assert_eq!(found.value.expose_secret_text(), Some(exact));
        assert_eq!(text_of(&found, "a").as_deref(), Some("1.10"));
        assert_eq!(text_of(&found, "b").as_deref(), Some("x\n"));
        assert_eq!(text_of(&found, "c"), None);
        assert_eq!(text_of(&found, "d").as_deref(), Some("[1, 2]"));
        assert_eq!(text_of(&found, "e"), None);
    }

    #[test]
    fn anything_else_is_text_or_binary() {
        for text in ["", "123", "[{}]", "{", "{\"a\":}", "\"{}\""] {
            let found = payload(Some(text.into()), None).unwrap();
            assert_eq!(found.shape, Shape::Text, "{text}");
            assert!(field(&found, "a").is_err());
        }
        let found = payload(None, Some(Blob::new([0, 255]))).unwrap();
        assert_eq!(found.shape, Shape::Binary);
        assert!(payload(None, None).is_none());
    }
}
