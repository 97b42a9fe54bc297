//! A server's settings, each with where it came from.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// The command line, or its environment.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// What it is.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    fn default_of(value: T) -> Self {
        Self {
            value,
            origin: Origin::Default,
        }
    }

    /// What the command line says goes over everything else.
    pub fn override_with(&mut self, value: Option<T>, flag: &'static str) {
        if let Some(value) = value {
            *self = Self {
                value,
                origin: Origin::Flag(flag),
            };
        }
    }
}

/// All settings of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where it listens.
    pub listen: Setting<SocketAddr>,
    /// Certificate chain.
    pub tls_cert: Setting<Option<PathBuf>>,
    /// Its key.
    pub tls_key: Setting<Option<PathBuf>>,
    /// Plain HTTP is allowed on other addresses than the loopback ones.
    pub allow_plain_http: Setting<bool>,
    /// Where audit files lie; `None` keeps none.
    pub audit_folder: Setting<Option<PathBuf>>,
    /// Where the system's log listens.
    pub syslog_socket: Setting<PathBuf>,
    /// The region in AWS's names; `None` for the one that a request is signed for.
    pub aws_region: Setting<Option<String>>,
    /// The account in AWS's names.
    pub aws_account: Setting<String>,
    /// The folder of programs that may rotate secrets; `None` runs none.
    pub rotation_commands: Setting<Option<PathBuf>>,
    /// The file that notices of rotations are written to.
    pub rotation_notices: Setting<Option<PathBuf>>,
    /// Whether they stand in the operators' log, too.
    pub rotation_log: Setting<bool>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileConfig {
    listener: Option<FileListener>,
    audit: Option<FileAudit>,
    aws: Option<FileAws>,
    rotation: Option<FileRotation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRotation {
    commands: Option<PathBuf>,
    notices: Option<PathBuf>,
    log: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAws {
    region: Option<String>,
    account: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileListener {
    address: Option<SocketAddr>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    allow_plain_http: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAudit {
    folder: Option<PathBuf>,
    syslog_socket: Option<PathBuf>,
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{} cannot be read: {detail}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// The file says something that is no setting.
    #[error("{}, line {line}: {detail}", .path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        detail: &'static str,
    },
    /// Only one of certificate and key.
    #[error("a certificate and its key go together: one of the two is not set")]
    HalfTls,
    /// Not a region.
    #[error("{region:?} is no region such as eu-central-1")]
    Region {
        /// What was given.
        region: String,
    },
    /// Not an account.
    #[error("{account:?} is no account: it has 12 digits")]
    Account {
        /// What was given.
        account: String,
    },
    /// Secrets would cross a network in clear.
    #[error("plain HTTP on {address} would show tokens and secrets to the network")]
    PlainHttp {
        /// Where it was to listen.
        address: SocketAddr,
    },
}

impl Config {
    /// Where a server listens if nobody says.
    pub const ADDRESS: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8200);

    /// Where the system's log listens if nobody says.
    pub const SYSLOG_SOCKET: &str = "/dev/log";

    /// What holds if nobody says anything.
    #[must_use]
    pub fn new(audit_folder: Option<PathBuf>) -> Self {
        Self {
            listen: Setting::default_of(Self::ADDRESS),
            tls_cert: Setting::default_of(None),
            tls_key: Setting::default_of(None),
            allow_plain_http: Setting::default_of(false),
            audit_folder: Setting::default_of(audit_folder),
            syslog_socket: Setting::default_of(Self::SYSLOG_SOCKET.into()),
            aws_region: Setting::default_of(None),
            aws_account: Setting::default_of(crate::aws::Names::default().account),
            rotation_commands: Setting::default_of(None),
            rotation_notices: Setting::default_of(None),
            rotation_log: Setting::default_of(false),
        }
    }

    /// Takes what a file says.
    ///
    /// # Errors
    /// When it cannot be read or says something that is no setting.
    pub fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::File {
            path: path.into(),
            detail: match error.kind() {
                std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
                kind => kind.to_string(),
            },
        })?;
        // The parser's text is not shown: it quotes the line.
        let parsed: FileConfig = toml::from_str(&text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let before = text.get(..at).unwrap_or_default();
            ConfigError::Malformed {
                path: path.into(),
                line: before.matches('\n').count() + 1,
                detail: "this is no setting of a server, or not its type; the settings are \
                         listener.address, .tls_cert, .tls_key, .allow_plain_http, audit.folder, \
                         audit.syslog_socket, aws.region, aws.account, rotation.commands, \
                         .notices, .log",
            }
        })?;
        let origin = Origin::File(path.into());
        if let Some(listener) = parsed.listener {
            set(&mut self.listen, listener.address, &origin);
            set(&mut self.tls_cert, listener.tls_cert.map(Some), &origin);
            set(&mut self.tls_key, listener.tls_key.map(Some), &origin);
            set(
                &mut self.allow_plain_http,
                listener.allow_plain_http,
                &origin,
            );
        }
        if let Some(audit) = parsed.audit {
            set(&mut self.audit_folder, audit.folder.map(Some), &origin);
            set(&mut self.syslog_socket, audit.syslog_socket, &origin);
        }
        if let Some(aws) = parsed.aws {
            set(&mut self.aws_region, aws.region.map(Some), &origin);
            set(&mut self.aws_account, aws.account, &origin);
        }
        if let Some(rotation) = parsed.rotation {
            let commands = rotation.commands.map(Some);
            set(&mut self.rotation_commands, commands, &origin);
            let notices = rotation.notices.map(Some);
            set(&mut self.rotation_notices, notices, &origin);
            set(&mut self.rotation_log, rotation.log, &origin);
        }
        Ok(())
    }

    /// Whether the settings go together.
    ///
    /// # Errors
    /// When they do not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let is_tls = match (&self.tls_cert.value, &self.tls_key.value) {
            (Some(_), Some(_)) => true,
            (None, None) => false,
            (Some(_), None) | (None, Some(_)) => return Err(ConfigError::HalfTls),
        };
        let address = self.listen.value;
        if !is_tls && !address.ip().is_loopback() && !self.allow_plain_http.value {
            return Err(ConfigError::PlainHttp { address });
        }
        let account = &self.aws_account.value;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            let account = account.clone();
            return Err(ConfigError::Account { account });
        }
        match &self.aws_region.value {
            Some(region) if !crate::aws::is_region(region) => Err(ConfigError::Region {
                region: region.clone(),
            }),
            _ => Ok(()),
        }
    }
}

fn set<T>(setting: &mut Setting<T>, value: Option<T>, origin: &Origin) {
    if let Some(value) = value {
        *setting = Setting {
            value,
            origin: origin.clone(),
        };
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path: &Option<PathBuf>| match path {
            Some(path) => format!("{:?}", path.display().to_string()),
            None => "none".into(),
        };
        writeln!(f, "[listener]")?;
        let listen = format!("{:?}", self.listen.value.to_string());
        writeln!(f, "address = {listen}  # {}", self.listen.origin)?;
        let (cert, key) = (&self.tls_cert, &self.tls_key);
        writeln!(f, "tls_cert = {}  # {}", path(&cert.value), cert.origin)?;
        writeln!(f, "tls_key = {}  # {}", path(&key.value), key.origin)?;
        let plain = &self.allow_plain_http;
        writeln!(f, "allow_plain_http = {}  # {}", plain.value, plain.origin)?;
        writeln!(f, "\n[audit]")?;
        let folder = &self.audit_folder;
        writeln!(f, "folder = {}  # {}", path(&folder.value), folder.origin)?;
        let socket = &self.syslog_socket;
        let shown = format!("{:?}", socket.value.display().to_string());
        writeln!(f, "syslog_socket = {shown}  # {}", socket.origin)?;
        writeln!(f, "\n[aws]")?;
        let region = &self.aws_region;
        let shown = match &region.value {
            Some(region) => format!("{region:?}"),
            None => "none".into(),
        };
        writeln!(f, "region = {shown}  # {}", region.origin)?;
        let account = &self.aws_account;
        writeln!(f, "account = {:?}  # {}", account.value, account.origin)?;
        writeln!(f, "\n[rotation]")?;
        let commands = &self.rotation_commands;
        let shown = path(&commands.value);
        writeln!(f, "commands = {shown}  # {}", commands.origin)?;
        let notices = &self.rotation_notices;
        let shown = path(&notices.value);
        writeln!(f, "notices = {shown}  # {}", notices.origin)?;
        let log = &self.rotation_log;
        writeln!(f, "log = {}  # {}", log.value, log.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_flags_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.toml");
        std::fs::write(&path, "[listener]\naddress = \"127.0.0.1:9\"\n").unwrap();
        let mut config = Config::new(None);
        config.read_file(&path).unwrap();
        config
            .audit_folder
            .override_with(Some(Some("/a".into())), "--audit-folder");
        let shown = config.to_string();
        assert!(
            shown.contains(&format!("\"127.0.0.1:9\"  # {}", path.display())),
            "{shown}"
        );
        assert!(
            shown.contains("folder = \"/a\"  # --audit-folder"),
            "{shown}"
        );
        assert!(shown.contains("tls_cert = none  # default"), "{shown}");
    }

    #[test]
    fn an_unknown_setting_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.toml");
        std::fs::write(&path, "[listener]\nadress = \"canary-2\"\n").unwrap();
        let error = Config::new(None).read_file(&path).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("line 2") && !text.contains("canary"),
            "{text}"
        );
    }

    #[test]
    fn plain_http_stays_on_the_machine() {
        let mut config = Config::new(None);
        assert_eq!(config.check(), Ok(()));
        config.listen.value = "0.0.0.0:8200".parse().unwrap();
        assert!(matches!(config.check(), Err(ConfigError::PlainHttp { .. })));
        config.allow_plain_http.value = true;
        assert_eq!(config.check(), Ok(()));
        config.tls_cert.value = Some("cert.pem".into());
        assert_eq!(config.check(), Err(ConfigError::HalfTls));
    }

    #[test]
    fn names_of_aws_are_checked() {
        let mut config = Config::new(None);
        for (region, is_good) in [
            ("eu-central-1", true),
            ("us-gov-west-1", true),
            ("", false),
            ("eu-central", false),
            ("EU-central-1", false),
            ("eu-central-1:x", false),
        ] {
            config.aws_region.value = Some(region.into());
            assert_eq!(config.check().is_ok(), is_good, "{region}");
        }
        config.aws_region.value = None;
        for (account, is_good) in [
            ("000000000000", true),
            ("12345", false),
            ("00000000000x", false),
        ] {
            config.aws_account.value = account.into();
            assert_eq!(config.check().is_ok(), is_good, "{account}");
        }
    }
}
