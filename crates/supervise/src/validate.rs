//! Whether what belongs to the bundle is there, and is what it was when it was shipped.

use std::fs::File;
use std::fs::Metadata;
use std::path::Path;

use data_encoding::HEXLOWER;
use serde_json::Value;
use serde_json::json;
use strongroom_crypto::digest::sha256_of;

use crate::manifest::Asset;
use crate::manifest::Manifest;
use crate::manifest::Service;

/// A file may be so much larger than was said.
const EXCESS_BYTES: u64 = 1 << 20;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) errors: Vec<Value>,
    pub(crate) warnings: Vec<Value>,
    pub(crate) missing_binaries: Vec<Value>,
    pub(crate) missing_assets: Vec<Value>,
    pub(crate) invalid_checksums: Vec<Value>,
}

/// Looks at all programs and assets.
pub(crate) fn check(manifest: &Manifest, bundle: &Path) -> Report {
    let mut report = Report::default();
    for service in &manifest.services {
        report.binary(service, bundle);
        for asset in &service.assets {
            report.asset(service, asset, bundle);
        }
    }
    report
}

/// Looks at the assets of one service; the first problem, in words.
pub(crate) fn assets(service: &Service, bundle: &Path) -> Result<(), String> {
    let mut report = Report::default();
    for asset in &service.assets {
        report.asset(service, asset, bundle);
    }
    let first = report
        .errors
        .first()
        .and_then(|error| error["message"].as_str());
    first.map_or(Ok(()), |message| Err(message.to_owned()))
}

impl Report {
    pub(crate) fn to_json(&self) -> Value {
        let mut value = json!({ "valid": self.errors.is_empty() });
        let lists = [
            ("errors", &self.errors),
            ("warnings", &self.warnings),
            ("missing_binaries", &self.missing_binaries),
            ("missing_assets", &self.missing_assets),
            ("invalid_checksums", &self.invalid_checksums),
        ];
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            value[name] = Value::Array(list.clone());
        }
        value
    }

    fn error(&mut self, code: &str, service: &str, path: &str, message: &str) {
        self.errors.push(finding(code, service, path, message));
    }

    fn binary(&mut self, service: &Service, bundle: &Path) {
        let id = service.id.as_str();
        let Some(binary) = &service.binary else {
            let message = format!("no binary defined for service {id}");
            self.error("binary_not_defined", id, "", &message);
            return;
        };
        let path = binary.path.as_str();
        match std::fs::metadata(bundle.join(path)) {
            Ok(found) if found.is_dir() => {
                let message = format!("binary is a directory for service {id}: {path}");
                self.error("binary_is_directory", id, path, &message);
            }
            Ok(_) => {}
            Err(_) => {
                let message = format!("binary not found for service {id}: {path}");
                self.error("binary_missing", id, path, &message);
                self.missing_binaries.push(json!({
                    "service_id": id, "platform": binary.platform, "path": path,
                }));
            }
        }
    }

    fn asset(&mut self, service: &Service, asset: &Asset, bundle: &Path) {
        let (id, path) = (service.id.as_str(), asset.path.as_str());
        let place = bundle.join(path);
        match std::fs::metadata(&place) {
            Ok(found) if found.is_dir() => {
                let message = format!("asset is a directory for service {id}: {path}");
                self.error("asset_is_directory", id, path, &message);
                return;
            }
            Ok(found) => self.size(service, asset, &found),
            Err(_) => {
                let message = format!("asset not found for service {id}: {path}");
                self.error("asset_missing", id, path, &message);
                (self.missing_assets).push(json!({ "service_id": id, "path": path }));
                return;
            }
        }
        let Some(expected) = &asset.sha256 else {
            return;
        };
        let sum = File::open(&place).and_then(|mut file| sha256_of(&mut file));
        let Ok(sum) = sum else {
            let message = format!("asset cannot be read for service {id}: {path}");
            self.error("asset_unreadable", id, path, &message);
            return;
        };
        let actual = HEXLOWER.encode(&sum);
        if !actual.eq_ignore_ascii_case(expected) {
            let message = format!("checksum mismatch for service {id}: {path}");
            self.error("checksum_mismatch", id, path, &message);
            self.invalid_checksums.push(json!({
                "service_id": id, "path": path, "expected": expected, "actual": actual,
            }));
        }
    }

    fn size(&mut self, service: &Service, asset: &Asset, found: &Metadata) {
        let Some(expected) = asset.size_bytes.filter(|bytes| *bytes > 0) else {
            return;
        };
        let (id, path, actual) = (service.id.as_str(), asset.path.as_str(), found.len());
        let message = format!("asset {path} of service {id} has {actual} bytes, not {expected}");
        if actual > expected.saturating_add(EXCESS_BYTES.max(expected / 20)) {
            self.error("asset_size_exceeded", id, path, &message);
        } else if actual < expected / 2 {
            (self.warnings).push(finding("asset_size_suspicious", id, path, &message));
        } else if actual != expected {
            (self.warnings).push(finding("asset_size_warning", id, path, &message));
        }
    }
}

fn finding(code: &str, service: &str, path: &str, message: &str) -> Value {
    let mut finding = json!({ "code": code, "service": service });
    if !path.is_empty() {
        finding["path"] = path.into();
    }
    finding["message"] = message.into();
    finding
}
