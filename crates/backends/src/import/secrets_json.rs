//! `secrets.json` in its three forms.

use strongroom_core::secret::Shape;

use super::IMPORT_BYTES_MAX;
use super::Import;
use super::ImportError;
use super::Imported;
use super::SkipReason;
use super::Skipped;
use crate::json;
use crate::json::Node;

/// Reads `{"secrets": {name: value}}`, `{name: value}`, or the latter with a `_metadata` object.
///
/// A text is taken exactly, an object as compact JSON text with the shape fields, a number, `true`,
/// `false` or a list as its JSON text. Of `_metadata`, `environment` becomes a tag and
/// `last_updated` the time of the last change.
///
/// # Errors
/// When the bytes are no such file: then nothing is imported, and an unreadable file is never taken
/// for an empty one.
pub fn from_secrets_json(bytes: &[u8]) -> Result<Import, ImportError> {
    if bytes.len() > IMPORT_BYTES_MAX {
        return Err(ImportError::TooLarge);
    }
    let Node::Object(fields) = json::parse(bytes)? else {
        return Err(ImportError::Form {
            line: 1,
            column: 1,
            expected: "an object",
        });
    };
    let mut import = Import::default();
    let is_wrapped = fields
        .iter()
        .any(|(name, node)| name == "secrets" && matches!(node, Node::Object(_)));
    let mut metadata = None;
    for (name, node) in fields {
        match node {
            Node::Object(fields) if name == "_metadata" => metadata = Some(fields),
            Node::Object(secrets) if is_wrapped && name == "secrets" => {
                for (name, node) in secrets {
                    import.take_node(name, node);
                }
            }
            _ if is_wrapped => {
                import.skipped.push(Skipped {
                    name,
                    reason: SkipReason::Outside,
                });
            }
            node => import.take_node(name, node),
        }
    }
    for (name, node) in metadata.unwrap_or_default() {
        import.label(&name, &node);
    }
    Ok(import)
}

impl Import {
    pub(super) fn take_node(&mut self, name: String, node: Node) {
        let (value, shape, note) = match node {
            Node::Null => {
                self.skipped.push(Skipped {
                    name,
                    reason: SkipReason::Null,
                });
                return;
            }
            Node::Text(value) => (value, Shape::Text, None),
            node @ Node::Object(_) => (node.into_json(), Shape::Fields, None),
            node => (
                node.into_json(),
                Shape::Text,
                Some("was no text in the JSON file".to_owned()),
            ),
        };
        self.imported.push(Imported {
            note,
            ..Imported::new(name, value, shape)
        });
    }

    fn label(&mut self, name: &str, node: &Node) {
        let Node::Text(value) = node else { return };
        // EXPOSE: metadata of the file, not a secret; becomes a tag or a time.
        let Some(text) = value.expose_secret_text() else {
            return;
        };
        for imported in &mut self.imported {
            match name {
                "environment" => {
                    imported.tags.insert(name.to_owned(), text.to_owned());
                }
                "last_updated" => imported.updated_at = text.parse().ok(),
                _ => {}
            }
        }
    }
}
