//! Environment variables, as they are handed to what needs some of them.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::secret::SecretValue;

/// Environment variables of a process or a test. An empty one counts as not set.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, Zeroizing<String>>);

impl Variables {
    /// Of pairs; a later one of the same name wins.
    pub fn new<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let pairs = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), Zeroizing::new(value.into())));
        Self(pairs.collect())
    }

    /// A setting: an address, a region, a file name. Not for what may be a secret.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name)?.as_str();
        (!value.is_empty()).then_some(value)
    }

    /// The first of some names that is set.
    #[must_use]
    pub fn first<'n>(&self, names: &[&'n str]) -> Option<(&'n str, &str)> {
        let found = |name: &&'n str| self.text(name).map(|value| (*name, value));
        names.iter().find_map(found)
    }

    /// A token, a password.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<SecretValue> {
        self.text(name)
            .map(|value| SecretValue::copy_from(value.as_bytes()))
    }
}

/// Names only: any value may be a secret.
impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_not_set_and_no_value_is_shown() {
        let variables = Variables::new([("A", ""), ("B", "canary-1c2d"), ("B", "canary-9f")]);
        assert_eq!(variables.text("A"), None);
        assert_eq!(variables.first(&["X", "A", "B"]), Some(("B", "canary-9f")));
        let secret = variables.secret("B").unwrap();
        assert!(secret.ct_eq(&SecretValue::copy_from(b"canary-9f")));
        assert_eq!(format!("{variables:?}"), r#"{"A", "B"}"#);
    }
}
