//! A service of a bundle: which program, when it is well, what it needs before.

use std::collections::BTreeMap;
use std::time::Duration;

use strongroom_core::format::Pattern;
use strongroom_deploy::json::ReadError;

use super::read::At;
use crate::platform;

/// A program of the application.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) id: String,
    /// For this machine.
    pub(crate) binary: Option<Binary>,
    pub(crate) env: BTreeMap<String, String>,
    /// The secrets it is given.
    pub(crate) secrets: Vec<String>,
    pub(crate) data_dirs: Vec<String>,
    pub(crate) log_dir: Option<String>,
    pub(crate) dependencies: Vec<String>,
    pub(crate) ports: Vec<Port>,
    pub(crate) health: Health,
    pub(crate) readiness: Readiness,
    pub(crate) migrations: Vec<Migration>,
    pub(crate) assets: Vec<Asset>,
    pub(crate) needs_gpu: Option<String>,
    /// Why it is not started, if it is not.
    pub(crate) skipped: Option<String>,
    pub(crate) restart: Restart,
}

/// A program for one platform.
#[derive(Debug)]
pub(crate) struct Binary {
    pub(crate) platform: String,
    pub(crate) path: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: Option<String>,
}

/// A port that a service asks for.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) range: Option<(u16, u16)>,
}

/// How it is seen whether a service is well.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) kind: HealthKind,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
}

#[derive(Debug)]
pub(crate) enum HealthKind {
    Http { path: String, port: String },
    Tcp { port: String },
    Command(Vec<String>),
    LogMatch(Option<Box<Pattern>>),
}

/// When others may use a service.
#[derive(Debug)]
pub(crate) struct Readiness {
    pub(crate) kind: ReadinessKind,
    pub(crate) timeout: Duration,
}

#[derive(Debug)]
pub(crate) enum ReadinessKind {
    HealthSuccess,
    PortOpen { port: Option<String> },
    LogMatch(Box<Pattern>),
    DependenciesReady,
}

/// Something that is done to the data before a service starts.
#[derive(Debug)]
pub(crate) struct Migration {
    pub(crate) version: String,
    pub(crate) command: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) run_on: RunOn,
}

/// When a migration is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunOn {
    /// When the application has not run in this folder before.
    Install,
    /// When another version of the application ran before.
    Upgrade,
    /// At every start.
    Always,
    /// Whenever it was not done yet.
    Once,
}

/// A file that comes with the application.
#[derive(Debug)]
pub(crate) struct Asset {
    pub(crate) path: String,
    pub(crate) sha256: Option<String>,
    pub(crate) size_bytes: Option<u64>,
}

/// What happens when a program ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    Always,
    OnFailure,
    Never,
}

impl Service {
    pub(crate) fn read(at: &At<'_>) -> Result<Self, ReadError> {
        let metadata = at.key("metadata");
        let run_mode = metadata.key("run_mode").text()?;
        let skip_reason = metadata.key("skip_reason").text()?;
        let is_on_demand = run_mode.as_deref() == Some("on_demand");
        let restart = metadata.key("restart");
        let ports = at.key("ports").key("requested").items()?;
        let migrations = at.key("migrations").items()?;
        let assets = at.key("assets").items()?;
        Ok(Self {
            id: at.key("id").required_text()?,
            binary: binary(&at.key("binaries"))?,
            env: at.key("env").text_map()?,
            secrets: at.key("secrets").texts()?,
            data_dirs: at.key("data_dirs").texts()?,
            log_dir: at.key("log_dir").text()?,
            dependencies: at.key("dependencies").texts()?,
            ports: ports.iter().map(port).collect::<Result<_, _>>()?,
            health: health(&at.key("health"))?,
            readiness: readiness(&at.key("readiness"))?,
            migrations: migrations.iter().map(migration).collect::<Result<_, _>>()?,
            assets: assets.iter().map(asset).collect::<Result<_, _>>()?,
            needs_gpu: at.key("gpu").key("requirement").text()?,
            skipped: skip_reason.or_else(|| is_on_demand.then(|| "on demand".to_owned())),
            restart: match restart.text()?.as_deref() {
                None | Some("on_failure" | "on-failure") => Restart::OnFailure,
                Some("always") => Restart::Always,
                Some("never" | "no") => Restart::Never,
                Some(_) => return Err(restart.error("always, on_failure or never")),
            },
        })
    }
}

fn binary(at: &At<'_>) -> Result<Option<Binary>, ReadError> {
    for platform in platform::names() {
        let found = at.key(&platform);
        if found.value().is_none() {
            continue;
        }
        return Ok(Some(Binary {
            path: found.key("path").required_text()?,
            args: found.key("args").texts()?,
            env: found.key("env").text_map()?,
            cwd: found.key("cwd").text()?,
            platform,
        }));
    }
    Ok(None)
}

fn port(at: &At<'_>) -> Result<Port, ReadError> {
    let range = at.key("range");
    let range = match (range.key("min").port()?, range.key("max").port()?) {
        (Some(min), Some(max)) => Some((min, max)),
        (Some(one), None) | (None, Some(one)) => Some((one, one)),
        (None, None) => None,
    };
    Ok(Port {
        name: at.key("name").required_text()?,
        range,
    })
}

fn health(at: &At<'_>) -> Result<Health, ReadError> {
    let kind = at.key("type");
    let named_port = || at.key("port_name").required_text();
    let kind = match kind.required_text()?.as_str() {
        "http" => HealthKind::Http {
            path: (at.key("path").text()?).unwrap_or_else(|| "/".to_owned()),
            port: named_port()?,
        },
        "tcp" => HealthKind::Tcp {
            port: named_port()?,
        },
        "command" => HealthKind::Command(command(&at.key("command"))?),
        "log_match" => {
            let path = at.key("path").text()?;
            let text = at.key("pattern").text()?.or(path);
            HealthKind::LogMatch(text.map(|text| pattern(at, &text)).transpose()?)
        }
        _ => return Err(kind.error("http, tcp, command or log_match")),
    };
    Ok(Health {
        kind,
        interval: millis(&at.key("interval_ms"), 500)?,
        timeout: millis(&at.key("timeout_ms"), 2_000)?,
        retries: (at.key("retries").number()?)
            .map_or(3, |retries| u32::try_from(retries).unwrap_or(u32::MAX)),
    })
}

fn readiness(at: &At<'_>) -> Result<Readiness, ReadError> {
    let kind = at.key("type");
    let kind = match kind.required_text()?.as_str() {
        "health_success" => ReadinessKind::HealthSuccess,
        "port_open" => ReadinessKind::PortOpen {
            port: at.key("port_name").text()?,
        },
        "log_match" => {
            let text = at.key("pattern").required_text()?;
            ReadinessKind::LogMatch(pattern(&at.key("pattern"), &text)?)
        }
        "dependencies_ready" => ReadinessKind::DependenciesReady,
        _ => {
            let expected = "health_success, port_open, log_match or dependencies_ready";
            return Err(kind.error(expected));
        }
    };
    Ok(Readiness {
        kind,
        timeout: millis(&at.key("timeout_ms"), 30_000)?,
    })
}

fn migration(at: &At<'_>) -> Result<Migration, ReadError> {
    let run_on = at.key("run_on");
    Ok(Migration {
        version: at.key("version").required_text()?,
        command: command(&at.key("command"))?,
        env: at.key("env").text_map()?,
        run_on: match run_on.text()?.as_deref() {
            None => RunOn::Once,
            Some("install" | "first_install") => RunOn::Install,
            Some("upgrade") => RunOn::Upgrade,
            Some("always") => RunOn::Always,
            Some(_) => return Err(run_on.error("install, upgrade or always")),
        },
    })
}

fn asset(at: &At<'_>) -> Result<Asset, ReadError> {
    Ok(Asset {
        path: at.key("path").required_text()?,
        sha256: at.key("sha256").text()?,
        size_bytes: at.key("size_bytes").number()?,
    })
}

fn command(at: &At<'_>) -> Result<Vec<String>, ReadError> {
    let words = at.texts()?;
    match words.is_empty() {
        true => Err(at.error("a command")),
        false => Ok(words),
    }
}

fn pattern(at: &At<'_>, text: &str) -> Result<Box<Pattern>, ReadError> {
    let parsed = Pattern::parse(text).map(Box::new);
    parsed.map_err(|_| at.error("a regular expression"))
}

/// A span; nothing and 0 mean the default.
fn millis(at: &At<'_>, default: u64) -> Result<Duration, ReadError> {
    let millis = at.number()?.filter(|millis| *millis > 0);
    Ok(Duration::from_millis(
        millis.unwrap_or(default).min(MILLIS_MAX),
    ))
}

/// Longest span in a manifest: a day.
const MILLIS_MAX: u64 = 86_400_000;
