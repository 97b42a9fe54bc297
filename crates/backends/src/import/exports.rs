//! What other managers print or export: Doppler, Infisical, Vault and the AWS CLI.

use data_encoding::BASE64;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::time::Timestamp;

use super::IMPORT_BYTES_MAX;
use super::Import;
use super::ImportError;
use super::Imported;
use super::SkipReason;
use super::yaml;
use crate::json;
use crate::json::Node;

/// Reads `doppler secrets download --no-file --format json`, or `doppler secrets --json`.
///
/// Doppler's own variables (`DOPPLER_PROJECT` and the like) become tags.
///
/// # Errors
/// When the bytes are no JSON object.
pub fn from_doppler(bytes: &[u8]) -> Result<Import, ImportError> {
    let Node::Object(fields) = parse(bytes)? else {
        return Err(form("an object of names and values"));
    };
    let mut import = Import::default();
    let mut tags = Vec::new();
    for (name, node) in fields {
        if let Some(tag) = name.strip_prefix("DOPPLER_") {
            let text = node
                .to_plain()
                .or_else(|| node.plain("computed").map(str::to_owned));
            tags.extend(text.map(|text| (format!("doppler_{}", tag.to_lowercase()), text)));
            continue;
        }
        match node {
            // `doppler secrets --json`: what references were worked out to.
            Node::Object(_) => match node.text("computed") {
                Some(value) => import.take_value(name, value.clone()),
                None => import.skip(name, SkipReason::Null),
            },
            node => import.take_node(name, node),
        }
    }
    for imported in &mut import.imported {
        imported.tags.extend(tags.iter().cloned());
    }
    Ok(import)
}

/// Reads `infisical export --format=json`, a list of objects with `key` and `value`; also the map
/// of older versions.
///
/// # Errors
/// When the bytes are no such JSON.
pub fn from_infisical_json(bytes: &[u8]) -> Result<Import, ImportError> {
    let mut import = Import::default();
    match parse(bytes)? {
        Node::Object(fields) => {
            fields
                .into_iter()
                .for_each(|(name, node)| import.take_node(name, node));
        }
        Node::List(items) => {
            for item in &items {
                let key = item.plain("key").or_else(|| item.plain("secretKey"));
                let value = item.text("value").or_else(|| item.text("secretValue"));
                let Some(key) = key else {
                    return Err(form("a list of objects with 'key' and 'value'"));
                };
                let Some(value) = value else {
                    import.skip(key.to_owned(), SkipReason::Null);
                    continue;
                };
                import.take_value(key.to_owned(), value.clone());
                let Some(imported) = import.imported.last_mut() else {
                    continue;
                };
                for (field, tag) in [("secretPath", "infisical_path"), ("comment", "comment")] {
                    let text = item
                        .plain(field)
                        .filter(|text| !text.is_empty() && *text != "/");
                    imported
                        .tags
                        .extend(text.map(|text| (tag.to_owned(), text.to_owned())));
                }
            }
        }
        _ => return Err(form("a list of objects with 'key' and 'value'")),
    }
    Ok(import)
}

/// Reads a flat YAML map of names and texts, as `infisical export --format=yaml` writes it.
///
/// # Errors
/// When the bytes are no YAML, or no map.
pub fn from_yaml_map(bytes: &[u8]) -> Result<Import, ImportError> {
    let mut import = Import::default();
    for document in yaml::documents(bytes)? {
        let yaml::Node::Map(fields) = &document else {
            return Err(form("a map of names and texts"));
        };
        for (name, node) in fields {
            let name = name.clone();
            match node {
                yaml::Node::Text(text) => import.take_text(name, text),
                yaml::Node::Whole(digits) => import.take_text(name, digits),
                yaml::Node::Bool(value) => import.take_text(name, &value.to_string()),
                yaml::Node::Null => import.skip(name, SkipReason::Null),
                yaml::Node::Fraction => import.skip(name, SkipReason::UnquotedNumber),
                yaml::Node::List(_) | yaml::Node::Map(_) => import.skip(name, SkipReason::NotText),
            }
        }
    }
    Ok(import)
}

/// Reads `vault kv get -format=json` (or `bao`) of a KV secret, version 1 or 2: each key is a
/// value. Custom metadata become tags.
///
/// # Errors
/// When the bytes are no such answer, or the version was deleted.
pub fn from_vault_json(bytes: &[u8]) -> Result<Import, ImportError> {
    let answer = parse(bytes)?;
    let not_one = || form("the answer of `vault kv get -format=json`, with 'data'");
    let outer = answer.field("data").ok_or_else(not_one)?;
    let metadata = outer.field("metadata");
    let is_version_2 = metadata.is_some_and(|metadata| metadata.field("version").is_some());
    let data = if is_version_2 {
        outer.field("data")
    } else {
        Some(outer)
    };
    let fields = match data {
        Some(Node::Object(fields)) => fields,
        Some(Node::Null) => return Err(form("a version that is not deleted")),
        _ => return Err(not_one()),
    };
    let mut import = Import::default();
    for (name, node) in fields {
        match node {
            Node::Text(value) => import.take_value(name.clone(), value.clone()),
            node => import.take_node(name.clone(), node.copy()),
        }
    }
    let created = metadata.and_then(|metadata| metadata.plain("created_time"));
    let created: Option<Timestamp> = created.and_then(|text| text.parse().ok());
    let custom = metadata.and_then(|metadata| metadata.field("custom_metadata"));
    for imported in &mut import.imported {
        imported.created_at = created;
        if let Some(Node::Object(labels)) = custom {
            let labels = labels
                .iter()
                .filter_map(|(name, node)| Some((name.clone(), node.to_plain()?)));
            imported.tags.extend(labels);
        }
    }
    Ok(import)
}

/// Reads `aws secretsmanager get-secret-value` or `batch-get-secret-value` in JSON.
///
/// # Errors
/// When the bytes are no such answer.
pub fn from_aws_json(bytes: &[u8]) -> Result<Import, ImportError> {
    let answer = parse(bytes)?;
    let mut import = Import::default();
    match answer.field("SecretValues") {
        Some(values) => {
            for value in values.items() {
                aws_secret(&mut import, value)?;
            }
        }
        None => aws_secret(&mut import, &answer)?,
    }
    for error in answer.field("Errors").map_or(&[][..], Node::items) {
        let name = error.plain("SecretId").unwrap_or("a secret").to_owned();
        import.skip(name, SkipReason::Refused);
    }
    Ok(import)
}

fn aws_secret(import: &mut Import, answer: &Node) -> Result<(), ImportError> {
    let Some(name) = answer.plain("Name") else {
        return Err(form("an answer of `aws secretsmanager`, with 'Name'"));
    };
    let name = name.to_owned();
    if let Some(value) = answer.text("SecretString") {
        import.take_value(name, value.clone());
    } else if let Some(encoded) = answer.text("SecretBinary") {
        // EXPOSE: decoded into the value.
        match BASE64.decode(encoded.expose_secret()) {
            Ok(bytes) => {
                let payload = Payload::detect(SecretValue::new(bytes));
                import
                    .imported
                    .push(Imported::new(name, payload.value, Shape::Binary));
            }
            Err(_) => return import.skip_ok(name, SkipReason::NotBase64),
        }
    } else {
        return import.skip_ok(name, SkipReason::Null);
    }
    let Some(imported) = import.imported.last_mut() else {
        return Ok(());
    };
    imported.created_at = answer
        .plain("CreatedDate")
        .and_then(|text| text.parse().ok());
    let stages = answer.field("VersionStages").map_or(&[][..], Node::items);
    let stages: Vec<String> = stages.iter().filter_map(Node::to_plain).collect();
    if !stages.is_empty() && !stages.iter().any(|stage| stage == "AWSCURRENT") {
        imported.note = Some(format!("was the version {}", stages.join(", ")));
    }
    Ok(())
}

impl Import {
    fn skip_ok(&mut self, name: String, reason: SkipReason) -> Result<(), ImportError> {
        self.skip(name, reason);
        Ok(())
    }

    /// A text; the text of a JSON object counts as fields.
    fn take_value(&mut self, name: String, value: SecretValue) {
        // EXPOSE: looked at for its shape only.
        let bytes = value.expose_secret();
        let is_object = bytes.trim_ascii_start().starts_with(b"{")
            && matches!(json::parse(bytes), Ok(Node::Object(_)));
        let shape = if is_object {
            Shape::Fields
        } else {
            Shape::Text
        };
        self.imported.push(Imported::new(name, value, shape));
    }
}

fn parse(bytes: &[u8]) -> Result<Node, ImportError> {
    if bytes.len() > IMPORT_BYTES_MAX {
        return Err(ImportError::TooLarge);
    }
    Ok(json::parse(bytes)?)
}

fn form(expected: &'static str) -> ImportError {
    ImportError::Form {
        line: 1,
        column: 1,
        expected,
    }
}

#[cfg(test)]
mod tests;
