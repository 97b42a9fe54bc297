//! Merge patches of single keys.

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::BASE64;
use serde::Serialize;
use serde::Serializer;
use strongroom_core::secret::SecretValue;

/// A change of some keys that leaves all others.
#[derive(Debug, Default, Serialize)]
pub(crate) struct SecretPatch {
    pub(crate) metadata: MetadataPatch,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) data: BTreeMap<String, Option<Sent>>,
}

/// What of the metadata is changed or demanded.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetadataPatch {
    /// The server refuses the patch when the object has another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource_version: Option<String>,
    /// And another one of these: the object was removed and made again.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, Option<String>>,
}

/// A value on its way to the server.
pub(crate) struct Sent(pub(crate) SecretValue);

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Sent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // EXPOSE: into the body of a request to the API server.
        let text = zeroize::Zeroizing::new(BASE64.encode(self.0.expose_secret()));
        serializer.serialize_str(&text)
    }
}

impl SecretPatch {
    /// Sets or takes away one key.
    pub(crate) fn of_key(key: &str, value: Option<&SecretValue>) -> Self {
        let value = value.map(|value| Sent(value.clone()));
        Self {
            data: [(key.to_owned(), value)].into(),
            ..Self::default()
        }
    }

    /// Only if the object is still as it was read.
    pub(crate) fn if_unchanged(mut self, resource_version: Option<String>) -> Self {
        self.metadata.resource_version = resource_version;
        self
    }

    /// With new text of an annotation; `None` takes it away.
    pub(crate) fn annotated(mut self, name: &str, text: Option<String>) -> Self {
        self.metadata.annotations.insert(name.to_owned(), text);
        self
    }
}
