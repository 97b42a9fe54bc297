//! The files that a manifest names.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use serde_json::Value;
use serde_json::json;
use strongroom_crypto::request::sha256;
use zeroize::Zeroizing;

use crate::error::CommandError;

/// Largest asset that is read, in bytes.
const ASSET_BYTES_MAX: u64 = 2 << 30;

/// A file that is shipped.
pub(super) struct Artefact {
    /// As the manifest calls it, with `/` between the parts.
    pub(super) path: String,
    pub(super) source: PathBuf,
}

/// What a manifest names: files that are there, and those that are not.
#[derive(Default)]
pub(super) struct Artefacts {
    pub(super) files: Vec<Artefact>,
    pub(super) missing: Vec<String>,
}

/// Sums and sizes of the files that are there; what is missing and has no sum is told.
pub(super) fn fill_in(manifest: &mut Value, root: &Path) -> Result<Vec<String>, CommandError> {
    let mut missing = Vec::new();
    let services = manifest.get_mut("services").and_then(Value::as_array_mut);
    for service in services.into_iter().flatten() {
        let assets = service.get_mut("assets").and_then(Value::as_array_mut);
        for asset in assets.into_iter().flatten() {
            let Some(path) = asset.get("path").and_then(Value::as_str) else {
                continue;
            };
            let Some(file) = below(root, path) else {
                if !has_sum(asset) {
                    missing.push(format!("the asset {path} is not below {}", root.display()));
                }
                continue;
            };
            let bytes = read(&file)?;
            asset["sha256"] = json!(HEXLOWER.encode(&sha256(&bytes)));
            asset["size_bytes"] = json!(bytes.len());
        }
    }
    Ok(missing)
}

/// Whether an asset has a SHA-256 already.
fn has_sum(asset: &Value) -> bool {
    let sum = asset.get("sha256").and_then(Value::as_str);
    sum.is_some_and(|sum| sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Assets and programs of all services, each once.
pub(super) fn of(manifest: &Value, root: &Path) -> Artefacts {
    let mut named = BTreeMap::new();
    let services = manifest.get("services").and_then(Value::as_array);
    for service in services.into_iter().flatten() {
        let assets = service.get("assets").and_then(Value::as_array);
        let programs = service.get("binaries").and_then(Value::as_object);
        let programs = programs.into_iter().flat_map(|all| all.values());
        for named_one in assets.into_iter().flatten().chain(programs) {
            if let Some(path) = named_one.get("path").and_then(Value::as_str) {
                named.insert(path.replace('\\', "/"), path.to_owned());
            }
        }
    }
    let mut found = Artefacts::default();
    for (path, written) in named {
        match below(root, &written) {
            Some(source) => found.files.push(Artefact { path, source }),
            None => found.missing.push(written),
        }
    }
    found
}

/// A file below a folder, however links lead; nothing where there is none.
fn below(root: &Path, path: &str) -> Option<PathBuf> {
    let path = path.replace('\\', "/");
    let is_plain = !path.starts_with('/') && path.split('/').all(|part| part != "..");
    let file = root.join(path).canonicalize().ok().filter(|_| is_plain)?;
    let root = root.canonicalize().ok()?;
    (file.starts_with(root) && file.is_file()).then_some(file)
}

/// A file's bytes.
fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let bytes = strongroom_backends::file::read_capped(file, ASSET_BYTES_MAX);
    bytes.map_err(|error| {
        CommandError::failed(format!("{} cannot be read: {error}", file.display()))
    })
}
