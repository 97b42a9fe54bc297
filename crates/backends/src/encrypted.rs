//! Encrypted files, opened by the user's own `sops` or `age`.
//!
//! The file is opened once for every question, since it may change and its content stays in
//! memory no longer than needed. Nothing is written.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::path::PathBuf;

use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Variables;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroizing;

use crate::adapter::Adapter;
use crate::adapter::Blocking;
use crate::adapter::Found;
use crate::dotenv::DotenvFile;
use crate::file;
use crate::file::ReadFileError;
use crate::json;
use crate::json::Node;
use crate::program::Program;
use crate::program::words;

#[cfg(test)]
mod tests;

/// Largest encrypted file, in bytes.
pub const ENCRYPTED_FILE_BYTES_MAX: u64 = 8 << 20;

/// Variables with which `sops` finds its keys.
const SOPS_VARIABLES: &[&str] = &[
    "SOPS_AGE_KEY",
    "SOPS_AGE_KEY_FILE",
    "SOPS_AGE_SSH_PRIVATE_KEY_FILE",
    "SOPS_GPG_EXEC",
    "SOPS_KMS_ARN",
    "GNUPGHOME",
    "GPG_TTY",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "VAULT_ADDR",
    "VAULT_TOKEN",
    "SSL_CERT_FILE",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// A file that `sops` encrypted (YAML, JSON, .env or INI); reports call it `sops:<label>`.
///
/// # Errors
/// When `sops` is not installed.
pub fn sops(
    path: PathBuf,
    label: &str,
    variables: &Variables,
) -> Result<Box<dyn Backend>, BackendError> {
    let describe = format!("sops:{label}");
    let program = Program::on_path("sops", variables, SOPS_VARIABLES).map_err(|found| {
        BackendError::new(
            BackendErrorKind::Misconfigured,
            &describe,
            found.to_string(),
        )
    })?;
    Ok(Adapter::boxed(Encrypted {
        program,
        path,
        describe,
        tool: Tool::Sops,
    }))
}

/// A .env or JSON file that `age` encrypted to a key; reports call it `age:<label>`.
///
/// # Errors
/// When `age` is not installed.
pub fn age(
    path: PathBuf,
    label: &str,
    identity: PathBuf,
    variables: &Variables,
) -> Result<Box<dyn Backend>, BackendError> {
    let describe = format!("age:{label}");
    let program = Program::on_path("age", variables, &[]).map_err(|found| {
        BackendError::new(
            BackendErrorKind::Misconfigured,
            &describe,
            found.to_string(),
        )
    })?;
    Ok(Adapter::boxed(Encrypted {
        program,
        path,
        describe,
        tool: Tool::Age { identity },
    }))
}

struct Encrypted {
    program: Program,
    path: PathBuf,
    describe: String,
    tool: Tool,
}

enum Tool {
    Sops,
    Age { identity: PathBuf },
}

type Values = BTreeMap<String, SecretValue>;

impl Encrypted {
    /// Nothing when there is no such file, as for a `.env` file.
    fn values(&self) -> Result<Values, BackendError> {
        let sealed = match file::read_capped(&self.path, ENCRYPTED_FILE_BYTES_MAX) {
            Ok(sealed) => sealed,
            Err(ReadFileError::NotFound) => return Ok(Values::new()),
            Err(error) => {
                let kind = match error {
                    ReadFileError::Denied => BackendErrorKind::Denied,
                    ReadFileError::TooLarge { .. } | ReadFileError::NotRegular => {
                        BackendErrorKind::Malformed
                    }
                    _ => BackendErrorKind::Unreachable,
                };
                return Err(self.error(kind, error.to_string()));
            }
        };
        match &self.tool {
            Tool::Sops => {
                let path = absolute(&self.path);
                let mut args = words(&["--decrypt", "--output-type", "json"]);
                args.push(path.as_os_str());
                let output = self.decrypt(&args, None)?;
                self.parse_json(&output)
            }
            Tool::Age { identity } => {
                if is_for_passphrase(&sealed) {
                    let message = "the file is encrypted with a passphrase, which age asks for \
                                   on a terminal only";
                    let hint = "encrypt it to a key: age -r AGE1… -o FILE";
                    let error = self.error(BackendErrorKind::Unsupported, message);
                    return Err(error.with_hint(hint));
                }
                let identity = absolute(identity);
                let args = [
                    OsStr::new("--decrypt"),
                    OsStr::new("--identity"),
                    identity.as_os_str(),
                ];
                let sealed = SecretValue::copy_from(&sealed);
                let output = self.decrypt(&args, Some(&sealed))?;
                if output.trim_ascii_start().starts_with(b"{") {
                    return self.parse_json(&output);
                }
                self.parse_dotenv(&output)
            }
        }
    }

    fn decrypt(
        &self,
        args: &[&OsStr],
        input: Option<&SecretValue>,
    ) -> Result<Zeroizing<Vec<u8>>, BackendError> {
        self.program.succeed(args, input).map_err(|error| {
            let kind = error.kind(BackendErrorKind::Denied);
            let hint = match &self.tool {
                Tool::Sops => format!("see what `sops decrypt {}` says", self.path.display()),
                Tool::Age { identity } => {
                    format!("is {} one of its recipients' keys?", identity.display())
                }
            };
            self.error(kind, error.to_string()).with_hint(hint)
        })
    }

    fn parse_json(&self, output: &[u8]) -> Result<Values, BackendError> {
        let malformed = |message: String| self.error(BackendErrorKind::Malformed, message);
        let node = json::parse(output).map_err(|wrong| malformed(format!("decrypted: {wrong}")))?;
        if !matches!(node, Node::Object(_)) {
            return Err(malformed("decrypted: the values have no names".to_owned()));
        }
        let mut values = Values::new();
        for (name, leaf) in node.into_leaves("") {
            let value = match leaf {
                Node::Text(value) => value,
                Node::Null => continue,
                leaf => leaf.into_json(),
            };
            values.insert(name, value);
        }
        Ok(values)
    }

    fn parse_dotenv(&self, output: &[u8]) -> Result<Values, BackendError> {
        let file = DotenvFile::parse(output).map_err(|wrong| {
            let message = format!("decrypted: {wrong} (a .env or JSON file is expected)");
            self.error(BackendErrorKind::Malformed, message)
        })?;
        let entries = file.entries().iter();
        let filled = entries.filter(|entry| !entry.value.is_empty());
        Ok(filled
            .map(|entry| (entry.name.clone(), entry.value.clone()))
            .collect())
    }
}

impl Blocking for Encrypted {
    fn scheme(&self) -> &'static str {
        match self.tool {
            Tool::Sops => "sops",
            Tool::Age { .. } => "age",
        }
    }

    fn describe(&self) -> String {
        self.describe.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            list: true,
            ..Capabilities::default()
        }
    }

    fn read_all(&self, addresses: &[String]) -> Result<Vec<Found>, BackendError> {
        let values = self.values()?;
        let read = |address: &String| Ok(values.get(address).cloned());
        Ok(addresses.iter().map(read).collect())
    }

    fn addresses(&self) -> Result<Vec<String>, BackendError> {
        Ok(self.values()?.into_keys().collect())
    }
}

/// A path that no program takes for an option.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// True when the header of an `age` file, also an armoured one, says that a passphrase opens it.
fn is_for_passphrase(sealed: &[u8]) -> bool {
    let head = sealed.get(..HEADER_BYTES).unwrap_or(sealed);
    let text = String::from_utf8_lossy(head);
    let Some(armoured) = text.strip_prefix("-----BEGIN AGE ENCRYPTED FILE-----") else {
        return text.contains("\n-> scrypt ");
    };
    let encoded: String = armoured.split_whitespace().collect();
    let encoded = encoded.get(..60).unwrap_or_default();
    let decoded = data_encoding::BASE64
        .decode(encoded.as_bytes())
        .unwrap_or_default();
    decoded.windows(10).any(|window| window == b"-> scrypt ")
}

/// The header's first lines lie here.
const HEADER_BYTES: usize = 512;
