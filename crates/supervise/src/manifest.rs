//! Bundle manifests as they are run: read leniently, with everything that is needed to run.

mod read;
mod service;

use std::path::Path;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde_json::Map;
use serde_json::Value;
use strongroom_core::format::Pattern;
use strongroom_core::generate::GeneratorSpec;
use strongroom_core::registry::Class;
use strongroom_crypto::request::sha256;
use strongroom_deploy::bundle::Bundle;
use strongroom_deploy::json::ReadError;
use strongroom_deploy::lint;
use strongroom_deploy::lint::Finding;
use strongroom_deploy::lint::Severity;

use crate::error::SuperviseError;
use read::At;
pub(crate) use service::Asset;
pub(crate) use service::HealthKind;
pub(crate) use service::Migration;
pub(crate) use service::ReadinessKind;
pub(crate) use service::Restart;
pub(crate) use service::RunOn;
pub(crate) use service::Service;

/// A bundle manifest that can be run.
#[derive(Debug)]
pub struct Manifest {
    pub(crate) sha256: String,
    pub(crate) schema_version: String,
    pub(crate) target: String,
    pub(crate) app_name: String,
    pub(crate) app_version: String,
    pub(crate) ipc_host: String,
    pub(crate) ipc_port: u16,
    pub(crate) token_path: String,
    pub(crate) telemetry_file: String,
    pub(crate) upload_url: String,
    pub(crate) ports: PortRules,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) services: Vec<Service>,
    /// How much should be looked at, and is no reason not to run.
    pub(crate) remarks: usize,
}

/// Where services get their ports from.
#[derive(Debug)]
pub(crate) struct PortRules {
    pub(crate) min: u16,
    pub(crate) max: u16,
    pub(crate) reserved: Vec<u16>,
}

/// A secret of the application.
#[derive(Debug)]
pub(crate) struct Secret {
    pub(crate) id: String,
    pub(crate) class: Class,
    pub(crate) is_required: bool,
    pub(crate) description: Option<String>,
    pub(crate) format: Option<Arc<Pattern>>,
    pub(crate) prompt: Option<Map<String, Value>>,
    pub(crate) generator: GeneratorSpec,
    pub(crate) target: Target,
    pub(crate) source: Option<Remote>,
}

/// How a service gets a secret.
#[derive(Debug)]
pub(crate) enum Target {
    /// As a variable.
    Env(String),
    /// As a file below the application's folder.
    File(String),
}

/// A secret that is kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its name in the manifest.
    pub id: String,
    /// What keeps it: `hashicorp`, `vault`, `openbao`, or a scheme of a backend.
    pub kind: String,
    /// Where there.
    pub path: String,
    /// The field, where a secret has several.
    pub key: Option<String>,
}

impl Manifest {
    /// Reads a manifest, and refuses one that must not, or cannot, be run on somebody's machine.
    ///
    /// # Errors
    /// When it cannot be read, is not one, or says what cannot be done.
    pub fn read(path: &Path) -> Result<Self, SuperviseError> {
        let bytes = std::fs::read(path).map_err(|error| SuperviseError::ReadManifest {
            path: path.into(),
            why: error.to_string(),
        })?;
        let refused = |source| SuperviseError::Manifest {
            path: path.into(),
            source,
        };
        let bundle = Bundle::read(&bytes).map_err(refused)?;
        let findings = lint::strict(bundle.raw());
        let (mut unfit, remarks): (Vec<_>, Vec<_>) = findings.into_iter().partition(prevents);
        let manifest = parse(bundle.raw(), &bytes, remarks.len());
        // What is wrong with a format or a generator is said once, by the check.
        let manifest = match manifest {
            Ok(manifest) => manifest,
            Err(source) if unfit.is_empty() => return Err(refused(source)),
            Err(_) => {
                return Err(SuperviseError::Unfit {
                    path: path.into(),
                    findings: unfit,
                });
            }
        };
        unfit.extend(without_program(&manifest));
        match unfit.is_empty() {
            true => Ok(manifest),
            false => Err(SuperviseError::Unfit {
                path: path.into(),
                findings: unfit,
            }),
        }
    }

    /// The application's name, as its folder is called.
    #[must_use]
    pub fn folder_name(&self) -> String {
        let name = self.app_name.to_lowercase().replace(' ', "-");
        let is_kept = |c: &char| !matches!(c, '/' | '\\' | '\0') && !c.is_control();
        let name: String = name.chars().filter(is_kept).collect();
        name.trim_start_matches('.').to_owned()
    }

    /// How many things a strict check says that are no reason not to run.
    #[must_use]
    pub fn remarks(&self) -> usize {
        self.remarks
    }

    /// The secrets that are to be fetched from where they are kept.
    #[must_use]
    pub fn remote_secrets(&self) -> Vec<Remote> {
        let sources = self.secrets.iter();
        sources.filter_map(|secret| secret.source.clone()).collect()
    }

    pub(crate) fn service(&self, id: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.id == id)
    }

    pub(crate) fn secret(&self, id: &str) -> Option<&Secret> {
        self.secrets.iter().find(|secret| secret.id == id)
    }
}

/// Whether the application must not be started with this in its manifest.
fn prevents(finding: &Finding) -> bool {
    finding.severity == Severity::Error
        && matches!(
            finding.code,
            "bundle.infrastructure"
                | "bundle.duplicate_secret"
                | "bundle.duplicate_service"
                | "bundle.dependency_circle"
                | "bundle.format"
                | "bundle.generator_format"
                | "bundle.generator_invalid"
                | "bundle.ipc_host"
                | "bundle.path"
                | "bundle.port"
                | "bundle.port_range"
                | "bundle.variable"
        )
}

fn without_program(manifest: &Manifest) -> Vec<Finding> {
    let platform = crate::platform::names().swap_remove(0);
    let services = manifest.services.iter().enumerate();
    let without = services.filter(|(_, service)| service.binary.is_none());
    let finding = |(at, service): (usize, &Service)| Finding {
        severity: Severity::Error,
        code: "bundle.platform",
        path: format!("$.services[{at}].binaries"),
        message: format!("service {} has no program for {platform}", service.id),
        fix: format!("build it for {platform}, or ship another bundle"),
    };
    without.map(finding).collect()
}

fn parse(raw: &Value, bytes: &[u8], remarks: usize) -> Result<Manifest, ReadError> {
    let root = At::root(raw);
    let ipc = root.key("ipc");
    let port = ipc.key("port");
    let ports = root.key("ports");
    let range = ports.key("default_range");
    let reserved = ports.key("reserved").items()?;
    let reserved: Result<Vec<Option<u16>>, _> = reserved.iter().map(At::port).collect();
    let services = root.key("services");
    let services: Vec<Service> = (services.items()?.iter())
        .map(Service::read)
        .collect::<Result<_, _>>()?;
    if services.is_empty() {
        return Err(root.key("services").error("at least one service"));
    }
    let secrets = root.key("secrets").items()?;
    Ok(Manifest {
        sha256: HEXLOWER.encode(&sha256(bytes)),
        schema_version: root.key("schema_version").required_text()?,
        target: match root.key("target").required_text()?.as_str() {
            "desktop" => "desktop".to_owned(),
            _ => return Err(root.key("target").error("\"desktop\"")),
        },
        app_name: root.key("app").key("name").required_text()?,
        app_version: root.key("app").key("version").required_text()?,
        ipc_host: ipc.key("host").required_text()?,
        ipc_port: port.port()?.ok_or_else(|| port.error("a port number"))?,
        token_path: (ipc.key("auth_token_path").text()?)
            .unwrap_or_else(|| "runtime/auth-token".to_owned()),
        telemetry_file: (root.key("telemetry").key("file").text()?)
            .unwrap_or_else(|| "telemetry/deployment-telemetry.jsonl".to_owned()),
        upload_url: (root.key("telemetry").key("upload_url").text()?).unwrap_or_default(),
        ports: PortRules {
            min: range.key("min").port()?.unwrap_or(PORT_MIN),
            max: range.key("max").port()?.unwrap_or(PORT_MAX),
            reserved: reserved?.into_iter().flatten().collect(),
        },
        secrets: secrets.iter().map(secret).collect::<Result<_, _>>()?,
        services,
        remarks,
    })
}

/// Ports of services where the manifest does not say.
const PORT_MIN: u16 = 47_000;
const PORT_MAX: u16 = 48_000;

fn secret(at: &At<'_>) -> Result<Secret, ReadError> {
    let id = at.key("id").required_text()?;
    let class = at.key("class").required_text()?;
    let class = serde_json::from_value::<Class>(Value::String(class));
    let class = class.map_err(|_| at.key("class").error("a class of secrets"))?;
    let format = at.key("format").text()?;
    let format = format.map(|text| Pattern::parse(&text)).transpose();
    let format = format.map_err(|_| at.key("format").error("a regular expression"))?;
    let prompt = at.key("prompt");
    let generator = at.key("generator");
    let target = at.key("target");
    let name = target.key("name").text()?;
    let source = at.key("vault");
    let source = match (class, source.value()) {
        (Class::RemoteFetch, Some(_)) => Some(Remote {
            id: id.clone(),
            kind: source.key("type").required_text()?,
            path: source.key("path").required_text()?,
            key: source.key("key").text()?,
        }),
        _ => None,
    };
    Ok(Secret {
        class,
        is_required: at.key("required").flag()?.unwrap_or(true),
        description: at.key("description").text()?,
        format: format.map(Arc::new),
        prompt: (prompt.value().and_then(Value::as_object)).cloned(),
        generator: spec(&generator)?,
        target: match (target.key("type").text()?.as_deref(), name) {
            (Some("file"), Some(name)) => Target::File(name),
            (Some("file"), None) => return Err(target.key("name").error("a path")),
            (_, Some(name)) => Target::Env(name),
            (_, None) => Target::Env(id.to_uppercase().replace(['-', '.', ' '], "_")),
        },
        source,
        id,
    })
}

/// A generator; a length that is written as text is meant as the number.
fn spec(at: &At<'_>) -> Result<GeneratorSpec, ReadError> {
    let Some(value) = at.value() else {
        return Ok(GeneratorSpec::default());
    };
    let mut value = value.clone();
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, value| !value.is_null() && *value != Value::String(String::new()));
        for key in ["length", "bytes", "words"] {
            let number = map.get(key).and_then(Value::as_str);
            let number = number.and_then(|text| text.trim().parse::<u64>().ok());
            if let Some(number) = number {
                map.insert(key.to_owned(), number.into());
            }
        }
    }
    serde_json::from_value(value).map_err(|_| at.error("a generator"))
}
