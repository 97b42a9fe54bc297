//! A folder of Fernet files, one secret each.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use data_encoding::BASE64URL;
use fernet::Fernet;
use sha2::Digest;
use sha2::Sha256;
use strongroom_core::path::SecretPath;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::time::Timestamp;
use zeroize::Zeroizing;

use super::Import;
use super::ImportError;
use super::Imported;
use crate::file;
use crate::file::ReadFileError;
use crate::json;
use crate::json::Node;

/// Largest `.enc` file, in bytes.
const FERNET_FILE_BYTES_MAX: u64 = 4 << 20;
/// Most `.enc` files of a folder.
pub const FERNET_FILES_MAX: usize = 10_000;

/// Reads every `.enc` file of a folder: Fernet tokens under the SHA-256 of a key text.
///
/// The name inside of a file (`metadata.secret_name`) counts, since file names have `/` and `_`
/// mixed up. A text that is a JSON object is what was stored as fields and keeps its exact text.
/// All or nothing: the first file that does not open ends the import.
///
/// # Errors
/// When the folder or a file cannot be read, the key is wrong, or a file's content is of another
/// form. The error names the file.
pub fn from_fernet_folder(folder: &Path, key_text: &SecretValue) -> Result<Import, ImportError> {
    let wrong_key = || ImportError::WrongKey {
        file: folder.display().to_string(),
    };
    let fernet = derive_key(key_text).ok_or_else(wrong_key)?;
    let mut import = Import::default();
    let mut names = BTreeSet::new();
    for file in enc_files(folder)? {
        let imported = read_one(folder, &file, &fernet)?;
        if !names.insert(imported.name.clone()) {
            return Err(ImportError::SameSecret {
                file,
                name: imported.name,
            });
        }
        import.imported.push(imported);
    }
    if import.imported.is_empty() {
        return Err(ImportError::Empty);
    }
    Ok(import)
}

fn derive_key(key_text: &SecretValue) -> Option<Fernet> {
    // EXPOSE: hashed into the Fernet key, which wipes itself.
    let mut digest = Sha256::digest(key_text.expose_secret());
    let key = Zeroizing::new(BASE64URL.encode(&digest));
    zeroize::Zeroize::zeroize(digest.as_mut_slice());
    Fernet::new(&key)
}

fn enc_files(folder: &Path) -> Result<Vec<String>, ImportError> {
    let failed = |error: &std::io::Error| ImportError::Read {
        file: folder.display().to_string(),
        error: ReadFileError::new(error),
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| failed(&error))? {
        let name = entry.map_err(|error| failed(&error))?.file_name();
        if let Some(name) = name.to_str().filter(|name| name.ends_with(".enc")) {
            files.push(name.to_owned());
        }
        if files.len() > FERNET_FILES_MAX {
            return Err(ImportError::TooManyFiles);
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn read_one(folder: &Path, file: &str, fernet: &Fernet) -> Result<Imported, ImportError> {
    let token = file::read_capped(&folder.join(file), FERNET_FILE_BYTES_MAX).map_err(|error| {
        ImportError::Read {
            file: file.to_owned(),
            error,
        }
    })?;
    let wrong_key = || ImportError::WrongKey {
        file: file.to_owned(),
    };
    let token = std::str::from_utf8(&token).map_err(|_| wrong_key())?;
    let json = fernet
        .decrypt(token.trim())
        .map(Zeroizing::new)
        .map_err(|_| wrong_key())?;
    imported_from(&json, file).ok_or_else(|| ImportError::Content {
        file: file.to_owned(),
    })
}

fn imported_from(json: &[u8], file: &str) -> Option<Imported> {
    let content = json::parse(json).ok()?;
    let metadata = content.field("metadata");
    let text_of = |name: &str| {
        let Node::Text(value) = metadata?.field(name)? else {
            return None;
        };
        // EXPOSE: metadata of the file (name, times), not the secret.
        value.expose_secret_text().map(str::to_owned)
    };
    let name = text_of("secret_name").unwrap_or_else(|| file.trim_end_matches(".enc").to_owned());
    name.parse::<SecretPath>().ok()?;
    let (created_at, updated_at) = (text_of("created_at"), text_of("updated_at"));
    let (tags, version) = (tags_of(metadata), text_of("version"));
    let Node::Object(fields) = content else {
        return None;
    };
    let (_, node) = fields.into_iter().find(|(name, _)| name == "value")?;
    let (value, shape) = match node {
        Node::Text(value) => {
            let shape = if is_object(&value) {
                Shape::Fields
            } else {
                Shape::Text
            };
            (value, shape)
        }
        node @ Node::Object(_) => (node.into_json(), Shape::Fields),
        _ => return None,
    };
    let note = version
        .filter(|version| version != "1")
        .map(|v| format!("was version {v}"));
    let (created_at, updated_at) = (time_of(created_at), time_of(updated_at));
    Some(Imported {
        tags,
        created_at,
        updated_at,
        note,
        ..Imported::new(name, value, shape)
    })
}

fn is_object(value: &SecretValue) -> bool {
    // EXPOSE: looked at for its shape only.
    let bytes = value.expose_secret();
    bytes.trim_ascii_start().starts_with(b"{") && matches!(json::parse(bytes), Ok(Node::Object(_)))
}

fn tags_of(metadata: Option<&Node>) -> BTreeMap<String, String> {
    let Some(Node::Object(fields)) = metadata.and_then(|metadata| metadata.field("tags")) else {
        return BTreeMap::new();
    };
    let text = |node: &Node| match node {
        // EXPOSE: a label, not the secret.
        Node::Text(value) => value.expose_secret_text().map(str::to_owned),
        _ => None,
    };
    fields
        .iter()
        .filter_map(|(name, node)| Some((name.clone(), text(node)?)))
        .collect()
}

/// A time as Python writes it: without a zone it is UTC.
fn time_of(text: Option<String>) -> Option<Timestamp> {
    let text = text?;
    format!("{text}Z").parse().or_else(|_| text.parse()).ok()
}
