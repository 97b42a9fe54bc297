//! Backends from their line in a chain, e.g. `pass:team?value=exact`.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Variables;
use strongroom_core::uri::BackendUri;

use crate::dotenv::DotenvBackend;
use crate::encrypted;
use crate::exec;
use crate::exec::ExecSettings;
use crate::files::FilesBackend;
use crate::keyring::Keyring;
use crate::keyring::keyring;
use crate::program::PROGRAM_SECONDS_MAX;
use crate::vaults;
use crate::vaults::PassValue;

/// What [`open`] knows, with what a person reads of it. `env` is not here: it needs the
/// environment as it is, UTF-8 or not.
pub const SCHEMES: &[(&str, &str)] = &[
    ("dotenv", "dotenv:FILE (default .env)"),
    ("files", "files:FOLDER[?write=true] (default /run/secrets)"),
    ("systemd", "systemd: (the service's credentials)"),
    ("sops", "sops:FILE"),
    ("age", "age:FILE?identity=KEYFILE"),
    (
        "keyring",
        "keyring:[SERVICE][?kind=kernel] (default strongroom)",
    ),
    ("pass", "pass:[FOLDER][?value=first-line|exact]"),
    ("op", "op:VAULT (1Password)"),
    ("bw", "bw:[FOLDER] (Bitwarden)"),
    ("exec", "exec:NAME[?timeout=SECONDS&…] (a plugin)"),
];

/// What is around a backend: nothing of it is looked up by itself.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The environment variables.
    pub variables: Variables,
    /// What paths in a chain are relative to: the manifest's folder.
    pub folder: PathBuf,
    /// Where plugins are looked for, e.g. `/usr/lib/strongroom/plugins`.
    pub plugin_folders: Vec<PathBuf>,
}

/// Makes a backend; `None` for a scheme that is none of [`SCHEMES`].
///
/// The options that every backend has (`optional`) are the caller's to take out before.
///
/// # Errors
/// When the line is not complete or makes no sense, or a program that it needs is not there.
pub fn open(
    uri: &BackendUri,
    around: &Surroundings,
) -> Option<Result<Box<dyn Backend>, BackendError>> {
    let opener = Opener { uri, around };
    Some(match uri.scheme() {
        "dotenv" => opener.dotenv(),
        "files" => opener.files(),
        "systemd" => opener.systemd(),
        "sops" => opener.sops(),
        "age" => opener.age(),
        "keyring" => opener.keyring(),
        "pass" => opener.pass(),
        "op" => opener.with(&[], |path| vaults::onepassword(path, &around.variables)),
        "bw" => opener.with(&[], |path| vaults::bitwarden(Some(path), &around.variables)),
        "exec" => opener.exec(),
        _ => return None,
    })
}

type Opened = Result<Box<dyn Backend>, BackendError>;

struct Opener<'a> {
    uri: &'a BackendUri,
    around: &'a Surroundings,
}

impl Opener<'_> {
    /// With the path, once it is certain that nothing else stands there.
    fn with(&self, options: &[&str], make: impl FnOnce(&str) -> Opened) -> Opened {
        if let Some(unknown) = self.uri.unknown_option(options) {
            let known = match options {
                [] => "it has none".to_owned(),
                options => format!("it knows {}", options.join(", ")),
            };
            return Err(self.wrong(format!("the option '{unknown}' is not known: {known}")));
        }
        if self.uri.authority().is_some() {
            return Err(self.wrong("'//' and a host make no sense here".to_owned()));
        }
        make(self.uri.path().unwrap_or_default())
    }

    fn dotenv(&self) -> Opened {
        self.with(&[], |path| {
            let file = if path.is_empty() { ".env" } else { path };
            Ok(Box::new(DotenvBackend::new(self.beside(file), file)))
        })
    }

    fn files(&self) -> Opened {
        self.with(&["write"], |path| {
            let folder = if path.is_empty() {
                "/run/secrets"
            } else {
                path
            };
            let backend = FilesBackend::new(self.beside(folder));
            Ok(match self.uri.option("write") {
                None | Some("false") => Box::new(backend),
                Some("true") => Box::new(backend.writable()),
                Some(_) => return Err(self.wrong("'write' is true or false".to_owned())),
            })
        })
    }

    fn systemd(&self) -> Opened {
        self.with(&[], |path| {
            if !path.is_empty() {
                return Err(self.wrong("systemd says where its credentials are".to_owned()));
            }
            let Some(folder) = self.around.variables.text("CREDENTIALS_DIRECTORY") else {
                let message = "CREDENTIALS_DIRECTORY is not set: this is no systemd service, or \
                               one without credentials";
                return Err(self
                    .wrong(message.to_owned())
                    .with_hint("LoadCredential=NAME:/path in the unit"));
            };
            Ok(Box::new(FilesBackend::systemd(folder)))
        })
    }

    fn sops(&self) -> Opened {
        self.with(&[], |path| {
            let file = self.file(path)?;
            encrypted::sops(file, path, &self.around.variables)
        })
    }

    fn age(&self) -> Opened {
        self.with(&["identity"], |path| {
            let file = self.file(path)?;
            let Some(identity) = self.uri.option("identity") else {
                let message = "which key opens it? e.g. ?identity=/home/me/.config/age/key.txt";
                return Err(self.wrong(message.to_owned()));
            };
            encrypted::age(file, path, self.beside(identity), &self.around.variables)
        })
    }

    fn keyring(&self) -> Opened {
        self.with(&["kind"], |path| {
            let kind = match self.uri.option("kind") {
                None | Some("desktop") => Keyring::Desktop,
                Some("kernel") => Keyring::Kernel,
                Some(_) => return Err(self.wrong("'kind' is desktop or kernel".to_owned())),
            };
            let service = if path.is_empty() { "strongroom" } else { path };
            Ok(keyring(kind, service))
        })
    }

    fn pass(&self) -> Opened {
        self.with(&["value"], |path| {
            let value = match self.uri.option("value") {
                None => PassValue::OnlyLine,
                Some("first-line") => PassValue::FirstLine,
                Some("exact") => PassValue::Exact,
                Some(_) => return Err(self.wrong("'value' is first-line or exact".to_owned())),
            };
            vaults::pass(Some(path), value, &self.around.variables)
        })
    }

    /// Options that are not ours are the plugin's.
    fn exec(&self) -> Opened {
        let mut options: BTreeMap<String, String> = self.uri.options().collect();
        let time = match options.remove("timeout").map(|text| text.parse::<u64>()) {
            None => PROGRAM_SECONDS_MAX,
            Some(Ok(seconds)) if (1..=PLUGIN_SECONDS_MAX).contains(&seconds) => seconds,
            Some(_) => {
                let message =
                    format!("'timeout' is a number of seconds, 1 to {PLUGIN_SECONDS_MAX}");
                return Err(self.wrong(message));
            }
        };
        let settings = ExecSettings {
            name: self.uri.path().unwrap_or_default().to_owned(),
            folders: self.around.plugin_folders.clone(),
            options,
            time: Duration::from_secs(time),
        };
        exec::exec(settings, &self.around.variables)
    }

    fn file(&self, path: &str) -> Result<PathBuf, BackendError> {
        if path.is_empty() {
            return Err(self.wrong("which file?".to_owned()));
        }
        Ok(self.beside(path))
    }

    fn beside(&self, path: &str) -> PathBuf {
        self.around.folder.join(Path::new(path))
    }

    fn wrong(&self, message: String) -> BackendError {
        let scheme = self.uri.scheme();
        let usage = SCHEMES.iter().find(|(known, _)| *known == scheme);
        let error = BackendError::new(BackendErrorKind::Misconfigured, scheme, message);
        match usage {
            Some((_, usage)) => error.with_hint(*usage),
            None => error,
        }
    }
}

/// Longest time that a chain may give a plugin, in seconds.
const PLUGIN_SECONDS_MAX: u64 = 600;

#[cfg(test)]
mod tests {
    use super::*;

    fn open_line(line: &str) -> Result<String, String> {
        let around = Surroundings {
            variables: Variables::new([("PATH", "/nowhere")]),
            folder: "/project".into(),
            plugin_folders: vec!["/nowhere".into()],
        };
        let uri = BackendUri::parse(line).unwrap();
        match open(&uri, &around).unwrap() {
            Ok(backend) => Ok(backend.describe()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn lines_make_backends_or_say_what_is_missing() {
        for (line, expected) in [
            ("keyring:", Ok("keyring:strongroom")),
            ("keyring:a?kind=kernel", Ok("keyring:a?kind=kernel")),
            (
                "keyring:a?kind=x",
                Err("keyring: 'kind' is desktop or kernel"),
            ),
            ("dotenv:", Ok("dotenv:.env")),
            ("dotenv:a/.env", Ok("dotenv:a/.env")),
            ("files:", Ok("files:/run/secrets")),
            ("files:s?write=true", Ok("files:/project/s")),
            ("files:s?write=yes", Err("files: 'write' is true or false")),
            (
                "dotenv:a?x=1",
                Err("dotenv: the option 'x' is not known: it has none"),
            ),
            (
                "pass://host/a",
                Err("pass: '//' and a host make no sense here"),
            ),
            ("pass:a", Err("pass:a: the program 'pass' is not installed")),
            ("bw:", Err("bw:: the program 'bw' is not installed")),
            ("op:", Err("op:: which vault? e.g. op:Production")),
            ("sops:", Err("sops: which file?")),
            (
                "age:f",
                Err("age: which key opens it? e.g. ?identity=/home/me/.config/age/key.txt"),
            ),
            (
                "exec:a?timeout=0",
                Err("exec: 'timeout' is a number of seconds, 1 to 600"),
            ),
            (
                "exec:a",
                Err("exec:a: the program 'strongroom-backend-a' is not installed"),
            ),
        ] {
            let opened = open_line(line);
            let opened = opened.as_deref().map_err(String::as_str);
            assert_eq!(opened, expected, "{line}");
        }
        assert!(
            open_line("systemd:")
                .unwrap_err()
                .contains("CREDENTIALS_DIRECTORY")
        );
    }

    #[test]
    fn systemd_credentials_are_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("db-password"), b"p\n").unwrap();
        let directory = folder.path().display().to_string();
        let around = Surroundings {
            variables: Variables::new([("CREDENTIALS_DIRECTORY", directory.as_str())]),
            folder: "/project".into(),
            plugin_folders: Vec::new(),
        };
        let uri = BackendUri::parse("systemd:").unwrap();
        let backend = open(&uri, &around).unwrap().unwrap();
        assert_eq!(backend.describe(), format!("systemd:{directory}"));
        let lookup = strongroom_core::port::Lookup {
            name: "DB_PASSWORD".into(),
            path: "x".into(),
            place: "app/dev/x".parse().unwrap(),
        };
        let found = pollster::block_on(backend.get_many(&[lookup]))
            .pop()
            .unwrap();
        let expected = strongroom_core::secret::SecretValue::copy_from(b"p\n");
        assert!(found.unwrap().unwrap().value.ct_eq(&expected));
    }
}
