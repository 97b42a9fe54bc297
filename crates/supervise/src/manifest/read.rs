//! A place in a manifest: lenient reading, and errors that say where.

use std::collections::BTreeMap;

use serde_json::Value;
use strongroom_deploy::json::ReadError;

/// A value that may be there, and where it would be.
#[derive(Clone)]
pub(crate) struct At<'v> {
    value: Option<&'v Value>,
    path: String,
}

impl<'v> At<'v> {
    /// The whole document.
    pub(crate) fn root(value: &'v Value) -> Self {
        Self {
            value: Some(value),
            path: "$".to_owned(),
        }
    }

    /// The value at a key; `null` is absent.
    pub(crate) fn key(&self, name: &str) -> Self {
        let value = self.value.and_then(|value| value.get(name));
        Self {
            value: value.filter(|value| !value.is_null()),
            path: format!("{}.{name}", self.path),
        }
    }

    /// The value itself.
    pub(crate) fn value(&self) -> Option<&'v Value> {
        self.value
    }

    pub(crate) fn error(&self, expected: &'static str) -> ReadError {
        ReadError::Form {
            path: self.path.clone(),
            expected,
        }
    }

    fn typed<T>(
        &self,
        expected: &'static str,
        read: impl FnOnce(&'v Value) -> Option<T>,
    ) -> Result<Option<T>, ReadError> {
        let Some(value) = self.value else {
            return Ok(None);
        };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => Err(self.error(expected)),
        }
    }

    /// A text; one that is empty is absent.
    pub(crate) fn text(&self) -> Result<Option<String>, ReadError> {
        let text = self.typed("a text", |value| value.as_str().map(str::to_owned))?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    pub(crate) fn required_text(&self) -> Result<String, ReadError> {
        self.text()?.ok_or_else(|| self.error("a text"))
    }

    pub(crate) fn flag(&self) -> Result<Option<bool>, ReadError> {
        self.typed("true or false", Value::as_bool)
    }

    /// A whole number that is not negative; a fraction is cut off.
    pub(crate) fn number(&self) -> Result<Option<u64>, ReadError> {
        self.typed("a whole number", |value| {
            let cut = || value.as_f64().filter(|number| *number >= 0.0);
            value.as_u64().or_else(|| cut().map(|number| number as u64))
        })
    }

    pub(crate) fn port(&self) -> Result<Option<u16>, ReadError> {
        let number = self.number()?;
        let fits = |number| u16::try_from(number).map_err(|_| self.error("a port number"));
        number.map(fits).transpose()
    }

    pub(crate) fn items(&self) -> Result<Vec<Self>, ReadError> {
        let list = self.typed("a list", Value::as_array)?;
        let items = list.into_iter().flatten().enumerate();
        let items = items.map(|(at, value)| Self {
            value: Some(value).filter(|value| !value.is_null()),
            path: format!("{}[{at}]", self.path),
        });
        Ok(items.collect())
    }

    pub(crate) fn texts(&self) -> Result<Vec<String>, ReadError> {
        let text = |place: &Self| {
            let text = place.typed("a text", |value| value.as_str().map(str::to_owned))?;
            text.ok_or_else(|| place.error("a text"))
        };
        self.items()?.iter().map(text).collect()
    }

    /// An object's keys with their places.
    pub(crate) fn entries(&self) -> Result<Vec<(String, Self)>, ReadError> {
        let map = self.typed("an object", Value::as_object)?;
        let entries = map.into_iter().flatten();
        let entries = entries.map(|(key, _)| (key.clone(), self.key(key)));
        Ok(entries.collect())
    }

    /// An object of texts; numbers and truth values are read as they are written.
    pub(crate) fn text_map(&self) -> Result<BTreeMap<String, String>, ReadError> {
        let mut map = BTreeMap::new();
        for (key, place) in self.entries()? {
            let Some(value) = place.value else { continue };
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                _ => return Err(place.error("a text")),
            };
            map.insert(key, text);
        }
        Ok(map)
    }
}
