//! What other tools keep or declare, read once: values to take over, and names to declare.
//!
//! | reader | input | gives |
//! |---|---|---|
//! | [`from_dotenv`] | a `.env` file | values |
//! | [`from_secrets_json`] | `secrets.json`: nested, flat, flat with `_metadata` | values |
//! | [`from_fernet_folder`] | a folder of Fernet `.enc` files | values with tags and times |
//! | [`from_kubernetes`] | manifests, many in one file | values of `Secret`s, names elsewhere |
//! | [`from_compose`] | a Docker Compose file | literal values, names of the rest |
//! | [`from_compose_env`], [`from_docker_env`], [`from_shell`] | other readers' `.env` | values |
//! | [`from_dotenvx`] | a `.env` file of dotenvx | values that are not encrypted |
//! | [`from_doppler`], [`from_infisical_json`], [`from_yaml_map`] | exports | values |
//! | [`from_vault_json`], [`from_aws_json`] | what their command lines print | values |
//! | [`from_secretspec`], [`from_fnox`], [`from_varlock`] | manifests | declarations |
//! | [`from_secrets_yaml`] | a resource's `secrets.yaml` | declarations |
//!
//! [`detect`] tells which of them a file is for, and why; [`Format::read`] reads it.
//!
//! A reader gives everything or an error; what it understood and could not take over is listed in
//! [`Import::skipped`] with the reason, never dropped in silence. Nothing is written or changed.

use std::collections::BTreeMap;
use std::fmt;

use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::time::Timestamp;

use crate::dotenv;
use crate::dotenv::DotenvError;
use crate::dotenv::DotenvFile;
use crate::file::ReadFileError;
use crate::json::JsonError;

mod compose;
mod declared;
mod dialects;
mod exports;
mod fernet_folder;
mod format;
mod kubernetes;
mod secrets_json;
mod secrets_yaml;
mod toml_manifest;
mod varlock;
mod yaml;

pub use compose::from_compose;
pub use declared::Declared;
pub use declared::Generated;
pub use dialects::from_compose_env;
pub use dialects::from_docker_env;
pub use dialects::from_shell;
pub use exports::from_aws_json;
pub use exports::from_doppler;
pub use exports::from_infisical_json;
pub use exports::from_vault_json;
pub use exports::from_yaml_map;
pub use fernet_folder::FERNET_FILES_MAX;
pub use fernet_folder::from_fernet_folder;
pub use format::Detected;
pub use format::FORMATS;
pub use format::Format;
pub use format::ParseFormatError;
pub use format::detect;
pub use kubernetes::from_kubernetes;
pub use secrets_json::from_secrets_json;
pub use secrets_yaml::from_secrets_yaml;
pub use toml_manifest::from_fnox;
pub use toml_manifest::from_secretspec;
pub use varlock::from_varlock;

/// Largest file to import from, in bytes.
pub const IMPORT_BYTES_MAX: usize = 4 << 20;

/// Everything that one reader found.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// Values, in the order of the input.
    pub imported: Vec<Imported>,
    /// Names that something needs and whose values are elsewhere, in the order of the input.
    pub referenced: Vec<Referenced>,
    /// What another tool's manifest declares, in the order of the input.
    pub declared: Vec<Declared>,
    /// What could not be taken over, and why.
    pub skipped: Vec<Skipped>,
}

/// A value found somewhere else.
#[derive(Clone, Debug)]
pub struct Imported {
    /// An environment variable's name or a path.
    pub name: String,
    /// The exact bytes.
    pub value: SecretValue,
    /// What they are.
    pub shape: Shape,
    /// Labels it had there.
    pub tags: BTreeMap<String, String>,
    /// When it was made there.
    pub created_at: Option<Timestamp>,
    /// When it was last changed there.
    pub updated_at: Option<Timestamp>,
    /// What a person should know of how it was read.
    pub note: Option<String>,
}

impl Imported {
    fn new(name: String, value: SecretValue, shape: Shape) -> Self {
        let tags = BTreeMap::new();
        Self {
            name,
            value,
            shape,
            tags,
            created_at: None,
            updated_at: None,
            note: None,
        }
    }
}

/// A name whose value is not in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referenced {
    /// An environment variable's name or a path.
    pub name: String,
    /// What refers to it, e.g. `Deployment/api container web env`.
    pub place: String,
    /// Where the value is, when the input says so, e.g. `secret api-keys key OPENAI`.
    pub source: Option<String>,
    /// Whether it has to be there.
    pub need: Need,
}

/// Whether a referenced value has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The input does not say.
    Unstated,
    /// What refers to it fails without it.
    Required,
    /// What refers to it does without.
    Optional,
}

/// Something that was understood and not taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its name, or where it is.
    pub name: String,
    /// Why.
    pub reason: SkipReason,
}

/// Why something was not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// There is no value.
    Null,
    /// A value that is text to its reader is no text here: a number or a list, say.
    NotText,
    /// An unquoted number: what it was written as is not certain.
    UnquotedNumber,
    /// Not valid base64.
    NotBase64,
    /// Put together from variables.
    Composed,
    /// A template that another tool fills in.
    Template,
    /// It stands outside of the part that holds secrets.
    Outside,
    /// It names another file, which has to be imported by itself.
    OtherFile,
    /// Encrypted, with a key that is not at hand.
    Encrypted,
    /// A value that stands in another tool's manifest.
    InManifest,
    /// The other side did not give it out.
    Refused,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "has no value",
            Self::NotText => "is not text",
            Self::UnquotedNumber => "is an unquoted number: quote it so that its text is certain",
            Self::NotBase64 => "is not valid base64",
            Self::Composed => "is put together from variables",
            Self::Template => "is a template",
            Self::Outside => "stands outside of 'secrets'",
            Self::OtherFile => "names another file: import that by itself",
            Self::Encrypted => {
                "is encrypted by dotenvx: import what `dotenvx decrypt --stdout` prints"
            }
            Self::InManifest => "has its value in the manifest: it is not taken over from there",
            Self::Refused => "was not given out by the other side",
        })
    }
}

/// Reads a `.env` file. Of a repeated name the last assignment counts, as it does for programs.
///
/// # Errors
/// When the file cannot be parsed.
pub fn from_dotenv(bytes: &[u8]) -> Result<Import, ImportError> {
    let file = DotenvFile::parse(bytes)?;
    let duplicates: BTreeMap<String, usize> = file
        .duplicates()
        .into_iter()
        .map(|duplicate| (duplicate.name, duplicate.lines.len()))
        .collect();
    let mut import = Import::default();
    let mut last_lines: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in file.entries() {
        last_lines.insert(&entry.name, entry.line);
    }
    for entry in file.entries() {
        if last_lines.get(entry.name.as_str()) != Some(&entry.line) {
            continue;
        }
        if dotenv::is_encrypted(&entry.value) {
            import.skip(entry.name.clone(), SkipReason::Encrypted);
            continue;
        }
        let mut imported = Imported::new(entry.name.clone(), entry.value.clone(), Shape::Text);
        imported.note = duplicates
            .get(&entry.name)
            .map(|count| format!("assigned {count} times; the last one counts"));
        import.imported.push(imported);
    }
    Ok(import)
}

/// Reads a `.env` file of dotenvx. Its private key is not asked for: dotenvx itself decrypts.
///
/// # Errors
/// When the file cannot be parsed, or every value in it is encrypted.
pub fn from_dotenvx(bytes: &[u8]) -> Result<Import, ImportError> {
    let mut import = from_dotenv(bytes)?;
    import
        .imported
        .retain(|one| !one.name.starts_with(DOTENVX_PUBLIC_KEY));
    if import.imported.is_empty() && !import.skipped.is_empty() {
        return Err(ImportError::Encrypted {
            count: import.skipped.len(),
        });
    }
    Ok(import)
}

/// What the variables begin with that hold dotenvx's public keys.
const DOTENVX_PUBLIC_KEY: &str = "DOTENV_PUBLIC_KEY";

/// Of a name that is there more than once the last counts, as it does for programs.
fn last_of_each_name(import: &mut Import) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for one in &import.imported {
        *counts.entry(one.name.clone()).or_default() += 1;
    }
    let mut left = counts.clone();
    import.imported.retain_mut(|one| {
        let count = counts.get(&one.name).copied().unwrap_or(1);
        let Some(more) = left.get_mut(&one.name) else {
            return true;
        };
        *more -= 1;
        if count > 1 {
            one.note = Some(format!("assigned {count} times; the last one counts"));
        }
        *more == 0
    });
}

/// Why nothing was imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Over [`IMPORT_BYTES_MAX`].
    #[error("the file is larger than {IMPORT_BYTES_MAX} bytes")]
    TooLarge,
    /// A `.env` file that cannot be parsed.
    #[error("{0}")]
    Dotenv(#[from] DotenvError),
    /// Every value is encrypted by dotenvx.
    #[error(
        "all {count} values are encrypted by dotenvx: \
         import what `dotenvx decrypt --stdout` prints"
    )]
    Encrypted {
        /// How many there are.
        count: usize,
    },
    /// Not UTF-8, or with a NUL.
    #[error("{line}:{column}: not text in UTF-8")]
    NotText {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// A line that the tool whose file it is does not read either.
    #[error("{line}:{column}: not a valid assignment")]
    Line {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Not TOML.
    #[error("{line}:{column}: not valid TOML")]
    Toml {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Not JSON, or cut off.
    #[error("{line}:{column}: not valid JSON")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Valid JSON or YAML of another form.
    #[error("{line}:{column}: not the expected form: {expected}")]
    Form {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What was expected there.
        expected: &'static str,
    },
    /// The same name twice in one JSON or YAML object.
    #[error("{line}:{column}: the same name is there twice")]
    Duplicate {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Not YAML.
    #[error("{line}:{column}: not valid YAML")]
    Yaml {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// A Helm chart's template or the like.
    #[error("line {line}: the file is a template ('{{{{'): import what it renders to")]
    Template {
        /// The first line with a template expression, from 1.
        line: usize,
    },
    /// Nested too deeply, or too large once its aliases are followed.
    #[error("the YAML is nested too deeply or grows too large when its aliases are followed")]
    TooComplex,
    /// A file of a folder cannot be read.
    #[error("{file}: {error}")]
    Read {
        /// The file's or folder's name.
        file: String,
        /// Why.
        error: ReadFileError,
    },
    /// A file was not encrypted with this key, or was damaged.
    #[error("{file}: the encryption key is wrong, or the file is damaged")]
    WrongKey {
        /// The file's name.
        file: String,
    },
    /// A decrypted file is not what was expected.
    #[error("{file}: decrypted, but not in the expected form")]
    Content {
        /// The file's name.
        file: String,
    },
    /// Two files of a folder are the same secret.
    #[error("{file}: another file holds the same secret '{name}'")]
    SameSecret {
        /// The file's name.
        file: String,
        /// The secret's name.
        name: String,
    },
    /// Over [`FERNET_FILES_MAX`].
    #[error("more than {FERNET_FILES_MAX} .enc files")]
    TooManyFiles,
    /// There is nothing to import in the folder.
    #[error("no .enc files")]
    Empty,
}

impl From<JsonError> for ImportError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Syntax { line, column } => Self::Json { line, column },
            JsonError::Repeated { line, column } => Self::Duplicate { line, column },
        }
    }
}

#[cfg(test)]
mod tests;
