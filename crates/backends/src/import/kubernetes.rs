//! Kubernetes manifests.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroizing;

use super::Import;
use super::ImportError;
use super::Imported;
use super::Need;
use super::Referenced;
use super::SkipReason;
use super::Skipped;
use super::yaml;
use super::yaml::Node;
use crate::names;

/// Reads manifests, any number of documents and `List`s.
///
/// A `Secret` gives its values: `data` from base64, `stringData` as it is, which wins over `data`.
/// Everything else gives names only: what `secretKeyRef`, `secretRef`, secret volumes, pull
/// secrets and `tls` refer to, and what an `ExternalSecret`, `VaultStaticSecret` or `SealedSecret`
/// makes. A key that is a variable's name and unique in the file is the value's name; any other is
/// called `<secret>/<key>`. Tags say which secret and namespace a value came from.
///
/// # Errors
/// When the bytes are no YAML, a Helm template, or hold an object that is no Kubernetes object.
pub fn from_kubernetes(bytes: &[u8]) -> Result<Import, ImportError> {
    let documents = yaml::documents(bytes)?;
    let mut reader = Reader::default();
    for document in &documents {
        reader.object(document)?;
    }
    Ok(reader.finish())
}

#[derive(Default)]
struct Reader {
    import: Import,
    /// Secret and key of each imported value.
    origins: Vec<(String, String)>,
}

impl Reader {
    fn object(&mut self, object: &Node) -> Result<(), ImportError> {
        if matches!(object, Node::Null) {
            return Ok(());
        }
        let Some(kind) = object.text_at(&["kind"]) else {
            let expected = "a Kubernetes object with 'apiVersion' and 'kind'";
            return Err(ImportError::Form {
                line: 1,
                column: 1,
                expected,
            });
        };
        let name = object.text_at(&["metadata", "name"]).unwrap_or("unnamed");
        let place = format!("{kind}/{name}");
        match kind {
            "List" => object
                .list("items")
                .iter()
                .try_for_each(|item| self.object(item))?,
            "Secret" => self.secret(object, name),
            "SealedSecret" => self.sealed(object, &place),
            "ExternalSecret" => self.external(object, &place),
            "VaultStaticSecret" | "VaultDynamicSecret" => {
                let target = object
                    .text_at(&["spec", "destination", "name"])
                    .unwrap_or(name);
                let source = object
                    .text_at(&["spec", "path"])
                    .map(|path| format!("vault path {path}"));
                self.refer(target, place, source, Need::Required);
            }
            _ => self.walk(object, &place),
        }
        Ok(())
    }

    fn secret(&mut self, object: &Node, name: &str) {
        let plain = object.get("stringData").map_or(&[][..], Node::fields);
        for (key, node) in object.get("data").map_or(&[][..], Node::fields) {
            if plain.iter().any(|(other, _)| other == key) {
                continue;
            }
            let value = text_of(node).and_then(|text| {
                decode(text)
                    .map(SecretValue::new)
                    .ok_or(SkipReason::NotBase64)
            });
            self.take(object, name, key, value);
        }
        for (key, node) in plain {
            let value = text_of(node).map(|text| SecretValue::copy_from(text.as_bytes()));
            self.take(object, name, key, value);
        }
    }

    fn take(
        &mut self,
        object: &Node,
        secret: &str,
        key: &str,
        value: Result<SecretValue, SkipReason>,
    ) {
        let value = match value {
            Ok(value) => value,
            Err(reason) => {
                self.import.skipped.push(Skipped {
                    name: format!("{secret}/{key}"),
                    reason,
                });
                return;
            }
        };
        let payload = Payload::detect(value);
        let mut imported = Imported::new(key.to_owned(), payload.value, payload.shape);
        imported
            .tags
            .insert("kubernetes.secret".to_owned(), secret.to_owned());
        if let Some(namespace) = object.text_at(&["metadata", "namespace"]) {
            imported
                .tags
                .insert("kubernetes.namespace".to_owned(), namespace.to_owned());
        }
        imported.created_at = object
            .text_at(&["metadata", "creationTimestamp"])
            .and_then(|time| time.parse().ok());
        self.import.imported.push(imported);
        self.origins.push((secret.to_owned(), key.to_owned()));
    }

    fn sealed(&mut self, object: &Node, place: &str) {
        let Some(sealed) = object.at(&["spec", "encryptedData"]) else {
            return;
        };
        for (key, _) in sealed.fields() {
            let source = Some("encrypted for the cluster".to_owned());
            self.refer(key, place.to_owned(), source, Need::Required);
        }
    }

    fn external(&mut self, object: &Node, place: &str) {
        let Some(spec) = object.get("spec") else {
            return;
        };
        for item in spec.list("data") {
            let Some(name) = item.text_at(&["secretKey"]) else {
                continue;
            };
            let key = item.text_at(&["remoteRef", "key"]);
            let property = item.text_at(&["remoteRef", "property"]);
            let source = match (key, property) {
                (Some(key), Some(property)) => Some(format!("remote {key} property {property}")),
                (Some(key), None) => Some(format!("remote {key}")),
                (None, _) => None,
            };
            self.refer(name, place.to_owned(), source, Need::Required);
        }
        for item in spec.list("dataFrom") {
            if let Some(key) = item.text_at(&["extract", "key"]) {
                let source = Some(format!("every field of remote {key}"));
                self.refer(key, place.to_owned(), source, Need::Required);
            }
        }
    }

    /// Finds references to secrets anywhere in an object.
    fn walk(&mut self, node: &Node, place: &str) {
        for item in node.items() {
            self.walk(item, place);
        }
        for (key, child) in node.fields() {
            match key.as_str() {
                "env" | "envFrom" => {
                    let place = match node.text_at(&["name"]) {
                        Some(container) => format!("{place} container {container}"),
                        None => place.to_owned(),
                    };
                    self.variables(child, &place);
                }
                "volumes" => self.volumes(child, place),
                "imagePullSecrets" => {
                    for item in child.items() {
                        if let Some(name) = item.text_at(&["name"]) {
                            let place = format!("{place} image pull secret");
                            self.refer(name, place, None, Need::Required);
                        }
                    }
                }
                "tls" => {
                    for item in child.items() {
                        if let Some(name) = item.text_at(&["secretName"]) {
                            self.refer(name, format!("{place} tls"), None, Need::Required);
                        }
                    }
                }
                _ => self.walk(child, place),
            }
        }
    }

    fn variables(&mut self, list: &Node, place: &str) {
        for item in list.items() {
            if let Some(reference) = item.at(&["valueFrom", "secretKeyRef"]) {
                let (secret, key) = (reference.text_at(&["name"]), reference.text_at(&["key"]));
                if let (Some(secret), Some(key)) = (secret, key) {
                    let name = item.text_at(&["name"]).unwrap_or(key);
                    let source = Some(format!("secret {secret} key {key}"));
                    self.refer(name, format!("{place} env"), source, need(reference));
                }
            }
            if let Some(reference) = item.get("secretRef")
                && let Some(secret) = reference.text_at(&["name"])
            {
                let source = Some(format!("every key of secret {secret}"));
                self.refer(secret, format!("{place} envFrom"), source, need(reference));
            }
        }
    }

    fn volumes(&mut self, list: &Node, place: &str) {
        for item in list.items() {
            let volume = item.text_at(&["name"]).unwrap_or("unnamed");
            let place = format!("{place} volume {volume}");
            if let Some(secret) = item.get("secret")
                && let Some(name) = secret.text_at(&["secretName"])
            {
                self.refer(name, place.clone(), None, need(secret));
            }
            for source in item
                .at(&["projected", "sources"])
                .map_or(&[][..], Node::items)
            {
                if let Some(secret) = source.get("secret")
                    && let Some(name) = secret.text_at(&["name"])
                {
                    self.refer(name, place.clone(), None, need(secret));
                }
            }
        }
    }

    fn refer(&mut self, name: &str, place: String, source: Option<String>, need: Need) {
        let referenced = Referenced {
            name: name.to_owned(),
            place,
            source,
            need,
        };
        if !self.import.referenced.contains(&referenced) {
            self.import.referenced.push(referenced);
        }
    }

    /// Gives every value a name of its own.
    fn finish(mut self) -> Import {
        let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, key) in &self.origins {
            *uses.entry(key).or_default() += 1;
        }
        for (imported, (secret, key)) in self.import.imported.iter_mut().zip(&self.origins) {
            if !names::is_variable(key) || uses.get(key.as_str()) != Some(&1) {
                imported.name = format!("{secret}/{key}");
            }
        }
        self.import
    }
}

fn need(reference: &Node) -> Need {
    match reference.get("optional") {
        Some(Node::Bool(true)) => Need::Optional,
        _ => Need::Required,
    }
}

fn text_of(node: &Node) -> Result<&str, SkipReason> {
    match node {
        Node::Text(text) if text.trim().starts_with("{{") && text.trim().ends_with("}}") => {
            Err(SkipReason::Template)
        }
        Node::Text(text) => Ok(text),
        Node::Null => Err(SkipReason::Null),
        _ => Err(SkipReason::NotText),
    }
}

/// Decodes base64, in which line breaks and spaces mean nothing.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut compact = Zeroizing::new(Vec::with_capacity(text.len()));
    compact.extend(text.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    BASE64.decode(&compact).ok()
}
