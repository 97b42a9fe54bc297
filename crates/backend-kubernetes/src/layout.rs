//! Addresses as objects and keys.

use strongroom_core::flat::FlatNames;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Lookup;
use strongroom_core::uri::Template;

use crate::settings::misconfigured;

/// Keys of a Secret.
const KEYS: FlatNames = FlatNames {
    mark: '_',
    punctuation: "-.",
    bytes_max: 253,
};
const OBJECT_BYTES_MAX: usize = 253;

/// How addresses and declared secrets are laid out.
pub(crate) struct Layout {
    /// The one object, if the line names one.
    object: Option<String>,
    /// The key of a declared secret, before it is spelt as a key.
    key: Template,
}

/// Where a value lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) object: String,
    pub(crate) key: String,
}

impl Layout {
    pub(crate) fn new(object: Option<&str>, key: Option<&str>) -> Result<Self, BackendError> {
        if let Some(object) = object.filter(|object| !is_object(object)) {
            return Err(misconfigured(format!("`{object}` is no name of a Secret"))
                .with_hint("lower-case letters, digits, `-` and `.`"));
        }
        let key = Template::parse(key.unwrap_or("{path}"))
            .map_err(|error| misconfigured(error.to_string()))?;
        Ok(Self {
            object: object.map(str::to_owned),
            key,
        })
    }

    pub(crate) fn suffix(&self) -> String {
        let object = self.object.as_ref();
        object.map_or_else(String::new, |object| format!("/{object}"))
    }

    pub(crate) fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// The address of a declared secret: in the project's object, `<project>-<profile>`.
    pub(crate) fn declared(&self, lookup: &Lookup) -> String {
        let key = self.key.address(lookup);
        if self.object.is_some() {
            return key;
        }
        let place = lookup.place.as_str();
        let folder = place.strip_suffix(lookup.path.as_str()).unwrap_or(place);
        let object = folder.trim_matches('/').replace(['/', '_', ' '], "-");
        format!("{}/{key}", object.to_lowercase())
    }

    /// Where an address lies.
    pub(crate) fn place(&self, address: &str, backend: &str) -> Result<Place, BackendError> {
        let invalid = |message: String, hint: &str| {
            BackendError::new(BackendErrorKind::Invalid, backend, message).with_hint(hint)
        };
        let (object, key) = match (&self.object, address.split_once('/')) {
            (Some(object), _) => (object.as_str(), address),
            (None, Some((object, key))) => (object, key),
            (None, None) => {
                let message = "an address here is SECRET/KEY".to_owned();
                return Err(invalid(message, "put the Secret's name and `/` before it"));
            }
        };
        Self::place_in(object, key, backend)
    }

    /// Where a key's address lies in an object.
    pub(crate) fn place_in(object: &str, key: &str, backend: &str) -> Result<Place, BackendError> {
        let invalid = |message: String, hint: &str| {
            BackendError::new(BackendErrorKind::Invalid, backend, message).with_hint(hint)
        };
        if !is_object(object) {
            let message = "the part before `/` is no name of a Secret".to_owned();
            let hint = "lower-case letters, digits, `-` and `.`; or name the Secret in the chain: \
                        k8s:NAMESPACE/SECRET";
            return Err(invalid(message, hint));
        }
        let key = KEYS
            .encode(key)
            .map_err(|error| invalid(error.to_string(), "shorten the path, or use key={name}"))?;
        Ok(Place {
            object: object.to_owned(),
            key,
        })
    }

    /// The address of a key.
    pub(crate) fn address(&self, object: &str, key: &str) -> String {
        let key = KEYS.decode(key);
        match self.object {
            Some(_) => key,
            None => format!("{object}/{key}"),
        }
    }
}

/// A DNS subdomain, as names of Secrets are.
pub(crate) fn is_object(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_part = |part: &str| {
        part.starts_with(is_plain)
            && part.ends_with(is_plain)
            && part.chars().all(|c| is_plain(c) || c == '-')
    };
    name.len() <= OBJECT_BYTES_MAX && name.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(place: &str, path: &str) -> Lookup {
        Lookup {
            name: "JWT_SECRET_KEY".into(),
            path: path.into(),
            place: place.parse().unwrap(),
        }
    }

    #[test]
    fn a_declared_secret_lies_in_its_projects_object() {
        let jwt = lookup("My_Shop/production/jwt/secret_key", "jwt/secret_key");
        let check = |object, key, address: &str, object_name: &str, key_name: &str| {
            let layout = Layout::new(object, key).unwrap();
            assert_eq!(layout.declared(&jwt), address);
            let place = layout.place(address, "k8s").unwrap();
            assert_eq!(
                (place.object.as_str(), place.key.as_str()),
                (object_name, key_name)
            );
            assert_eq!(layout.address(object_name, key_name), address);
        };
        let whole = "my-shop-production/jwt/secret_key";
        check(None, None, whole, "my-shop-production", "jwt__secret_key");
        check(
            Some("app"),
            None,
            "jwt/secret_key",
            "app",
            "jwt__secret_key",
        );
        let name = Some("{name}");
        check(Some("app"), name, "JWT_SECRET_KEY", "app", "JWT_SECRET_KEY");
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let layout = Layout::new(None, None).unwrap();
        for address in ["a", "", "/a", "A/b", "a_b/c", "../b", "a./b", "-a/b", "a/"] {
            let error = layout.place(address, "k8s").unwrap_err();
            assert_eq!(error.kind, BackendErrorKind::Invalid, "{address}");
        }
        assert!(Layout::new(Some("a/b"), None).is_err());
        assert!(Layout::new(None, Some("{nothing}")).is_err());
    }
}
