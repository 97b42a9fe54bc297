//! A secret that is a JSON object, while one of its fields is read or changed.

use serde_json::Map;
use serde_json::Value;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use zeroize::Zeroize;

/// The fields of an object in their order. Their texts are wiped on drop.
#[derive(Default)]
pub struct Object(Map<String, Value>);

impl Object {
    /// Reads a value; `None` when it is no JSON object.
    #[must_use]
    pub fn read(value: &SecretValue) -> Option<Self> {
        // EXPOSE: read into fields that are wiped, to look at one or to write them with a new one.
        serde_json::from_slice(value.expose_secret()).ok().map(Self)
    }

    /// The names of its fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A field that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<SecretValue> {
        let text = self.0.get(name)?.as_str()?;
        Some(SecretValue::copy_from(text.as_bytes()))
    }

    /// Sets a field; the others keep their order and values. False when the new value is no text.
    pub fn set(&mut self, name: &str, value: &SecretValue) -> bool {
        // EXPOSE: goes into the object, whose fields are wiped.
        let Some(text) = value.expose_secret_text() else {
            return false;
        };
        let new = Value::String(text.to_owned());
        if let Some(mut old) = self.0.insert(name.to_owned(), new) {
            wipe(&mut old);
        }
        true
    }

    /// Takes a field away.
    pub fn remove(&mut self, name: &str) {
        if let Some(mut old) = self.0.shift_remove(name) {
            wipe(&mut old);
        }
    }

    /// The object as a secret.
    #[must_use]
    pub fn payload(&self) -> Payload {
        // A map of JSON values can always be written.
        let bytes = serde_json::to_vec(&self.0).unwrap_or_default();
        Payload {
            value: SecretValue::new(bytes),
            shape: Shape::Fields,
        }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(map) => map.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_changes_and_the_others_stay_as_they_are() {
        let text =
            "{\"username\":\"app\",\"password\":\"old\",\"port\":5432,\"more\":[1,{\"a\":null}]}";
        let mut object = Object::read(&SecretValue::copy_from(text.as_bytes())).unwrap();
        let old = object.text("password").unwrap();
        assert_eq!(old.expose_secret(), b"old");
        assert!(object.text("port").is_none());
        assert!(object.set("password", &SecretValue::copy_from(b"n\"ew")));
        let written = object.payload();
        assert_eq!(written.shape, Shape::Fields);
        assert_eq!(
            written.value.expose_secret_text().unwrap(),
            text.replace("old", "n\\\"ew")
        );
        assert!(!object.set("password", &SecretValue::copy_from(b"\xff")));
        for text in ["[]", "{", "1", ""] {
            assert!(Object::read(&SecretValue::copy_from(text.as_bytes())).is_none());
        }
    }
}
