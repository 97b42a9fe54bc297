//! What a file is: by its content and name, with the reason; or as somebody says.

use std::fmt;
use std::str::FromStr;

use super::Import;
use super::ImportError;
use super::dialects;
use super::yaml;
use crate::json;
use crate::json::Node;

/// A form of file that can be imported. (A folder of Fernet files is not among them: it needs a
/// key, see [`super::from_fernet_folder`].)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// A `.env` file, as Node's dotenv reads it.
    Dotenv,
    /// An `env_file`, as Docker Compose reads it.
    ComposeEnv,
    /// An `--env-file`, as `docker run` reads it.
    DockerEnv,
    /// A shell's assignments.
    Shell,
    /// A `.env` file that dotenvx encrypted.
    Dotenvx,
    /// A `.env.schema` of varlock.
    Varlock,
    /// A `secretspec.toml`.
    Secretspec,
    /// A `fnox.toml`.
    Fnox,
    /// A JSON file of names and values.
    Json,
    /// An export of Doppler.
    Doppler,
    /// An export of Infisical, in JSON.
    Infisical,
    /// A flat YAML map of names and values.
    Yaml,
    /// An answer of `vault kv get`.
    Vault,
    /// An answer of `aws secretsmanager`.
    Aws,
    /// Kubernetes manifests.
    Kubernetes,
    /// A Docker Compose file.
    Compose,
    /// A registry of a resource's secrets.
    SecretsYaml,
}

/// Every format with its word on a command line and what it is.
pub const FORMATS: &[(Format, &str, &str)] = &[
    (
        Format::Dotenv,
        "dotenv",
        "a .env file, as Node's dotenv reads it",
    ),
    (
        Format::ComposeEnv,
        "compose-env",
        "an env_file, as Docker Compose reads it",
    ),
    (
        Format::DockerEnv,
        "docker-env",
        "an --env-file, as `docker run` reads it",
    ),
    (Format::Shell, "shell", "a shell's export NAME=value"),
    (
        Format::Dotenvx,
        "dotenvx",
        "a .env file that dotenvx encrypted",
    ),
    (
        Format::Varlock,
        "varlock",
        "a .env.schema of varlock (names only)",
    ),
    (
        Format::Secretspec,
        "secretspec",
        "a secretspec.toml (names only)",
    ),
    (Format::Fnox, "fnox", "a fnox.toml (names only)"),
    (Format::Json, "json", "a JSON file of names and values"),
    (
        Format::Doppler,
        "doppler",
        "doppler secrets download --no-file --format json",
    ),
    (
        Format::Infisical,
        "infisical",
        "infisical export --format=json",
    ),
    (
        Format::Yaml,
        "yaml",
        "a flat YAML map of names and values (infisical export --format=yaml)",
    ),
    (Format::Vault, "vault", "vault kv get -format=json"),
    (
        Format::Aws,
        "aws",
        "aws secretsmanager get-secret-value or batch-get-secret-value",
    ),
    (Format::Kubernetes, "kubernetes", "Kubernetes manifests"),
    (Format::Compose, "compose", "a Docker Compose file"),
    (
        Format::SecretsYaml,
        "secrets-yaml",
        "a secrets.yaml registry (names only)",
    ),
];

impl Format {
    /// Its word on a command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        let found = FORMATS.iter().find(|(format, _, _)| *format == self);
        found.map_or("unknown", |(_, word, _)| word)
    }

    /// Reads a file of this form.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(self, bytes: &[u8]) -> Result<Import, ImportError> {
        match self {
            Self::Dotenv => super::from_dotenv(bytes),
            Self::ComposeEnv => super::from_compose_env(bytes),
            Self::DockerEnv => super::from_docker_env(bytes),
            Self::Shell => super::from_shell(bytes),
            Self::Dotenvx => super::from_dotenvx(bytes),
            Self::Varlock => super::from_varlock(bytes),
            Self::Secretspec => super::from_secretspec(bytes),
            Self::Fnox => super::from_fnox(bytes),
            Self::Json => super::from_secrets_json(bytes),
            Self::Doppler => super::from_doppler(bytes),
            Self::Infisical => super::from_infisical_json(bytes),
            Self::Yaml => super::from_yaml_map(bytes),
            Self::Vault => super::from_vault_json(bytes),
            Self::Aws => super::from_aws_json(bytes),
            Self::Kubernetes => super::from_kubernetes(bytes),
            Self::Compose => super::from_compose(bytes),
            Self::SecretsYaml => super::from_secrets_yaml(bytes),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// There is no format of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such format")]
pub struct ParseFormatError;

impl FromStr for Format {
    type Err = ParseFormatError;

    /// By its word; `env` is `dotenv`.
    fn from_str(text: &str) -> Result<Self, ParseFormatError> {
        let text = if text == "env" { "dotenv" } else { text };
        let found = FORMATS.iter().find(|(_, word, _)| *word == text);
        found.map(|(format, _, _)| *format).ok_or(ParseFormatError)
    }
}

/// What a file seems to be, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detected {
    /// The format.
    pub format: Format,
    /// The reason, e.g. `it is called secretspec.toml`; never a part of the content.
    pub reason: &'static str,
}

/// Tells what a file is by its name (without folders) and its content; `None` when neither tells.
///
/// Nothing is an error here: reading it as what it seems to be says what is wrong, and where.
#[must_use]
pub fn detect(name: &str, bytes: &[u8]) -> Option<Detected> {
    let name = name.to_lowercase();
    let found = |format, reason| Some(Detected { format, reason });
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    match (name.as_str(), extension) {
        ("secretspec.toml", _) => return found(Format::Secretspec, "it is called secretspec.toml"),
        (name, Some("toml")) if name.starts_with("fnox.") => {
            return found(Format::Fnox, "it is called fnox.toml");
        }
        (name, _) if name.ends_with(".env.schema") => {
            return found(Format::Varlock, "it is called .env.schema");
        }
        (_, Some("toml")) => return toml(bytes),
        (_, Some("json")) => return json(bytes).or(found(Format::Json, "its name ends in .json")),
        (name, Some("yaml" | "yml")) => return yaml(bytes).or_else(|| yaml_by_name(name)),
        _ => {}
    }
    if bytes.trim_ascii_start().starts_with(b"{") || bytes.trim_ascii_start().starts_with(b"[") {
        return json(bytes);
    }
    dotenv(&name, bytes)
}

fn toml(bytes: &[u8]) -> Option<Detected> {
    let table = super::toml_manifest::parse(bytes).ok()?;
    let found = |format, reason| Some(Detected { format, reason });
    if table.contains_key("profiles") && table.get("project").is_some() {
        return found(
            Format::Secretspec,
            "it has 'project' and 'profiles', as secretspec's has",
        );
    }
    if table.contains_key("secrets") {
        return found(Format::Fnox, "it has 'secrets', as fnox's has");
    }
    None
}

fn json(bytes: &[u8]) -> Option<Detected> {
    let node = json::parse(bytes).ok()?;
    let (format, reason) = match &node {
        Node::List(items) => {
            let is_pair = |item: &Node| {
                item.plain("key")
                    .or_else(|| item.plain("secretKey"))
                    .is_some()
            };
            let is_pairs = !items.is_empty() && items.iter().all(is_pair);
            is_pairs.then_some((
                Format::Infisical,
                "it is a list with 'key's, as infisical's is",
            ))?
        }
        Node::Object(fields) => {
            let has = |name: &str| node.field(name).is_some();
            let is_value = has("SecretString") || has("SecretBinary");
            if has("SecretValues") || (is_value && has("Name")) {
                (
                    Format::Aws,
                    "it has the fields of an answer of AWS Secrets Manager",
                )
            } else if has("request_id") && has("data") {
                (
                    Format::Vault,
                    "it has 'request_id' and 'data', as Vault's answers have",
                )
            } else if has("apiVersion") && has("kind") {
                (Format::Kubernetes, "it has 'apiVersion' and 'kind'")
            } else if has("DOPPLER_PROJECT") && has("DOPPLER_CONFIG") {
                (Format::Doppler, "it has DOPPLER_PROJECT and DOPPLER_CONFIG")
            } else if !fields.is_empty()
                && fields
                    .iter()
                    .all(|(_, node)| node.text("computed").is_some())
            {
                (
                    Format::Doppler,
                    "its values have 'computed', as Doppler's have",
                )
            } else {
                (Format::Json, "it is a JSON object of names")
            }
        }
        _ => return None,
    };
    Some(Detected { format, reason })
}

fn yaml(bytes: &[u8]) -> Option<Detected> {
    let documents = yaml::documents(bytes).ok()?;
    let any = |is_it: &dyn Fn(&yaml::Node) -> bool| documents.iter().any(is_it);
    let is_category = |(_, node): &(String, yaml::Node)| matches!(node, yaml::Node::List(_));
    let has_categories = |document: &yaml::Node| {
        let categories = document.get("secrets").map_or(&[][..], yaml::Node::fields);
        !categories.is_empty() && categories.iter().any(is_category)
    };
    let is_flat = |document: &yaml::Node| {
        let fields = document.fields();
        let is_scalar =
            |node: &yaml::Node| !matches!(node, yaml::Node::List(_) | yaml::Node::Map(_));
        !fields.is_empty() && fields.iter().all(|(_, node)| is_scalar(node))
    };
    let (format, reason) = if any(&|document| {
        document.get("kind").is_some() && document.get("apiVersion").is_some()
    }) {
        (Format::Kubernetes, "it has 'apiVersion' and 'kind'")
    } else if any(&|document| document.get("services").is_some()) {
        (Format::Compose, "it has 'services'")
    } else if any(&has_categories) {
        (
            Format::SecretsYaml,
            "it has lists by category under 'secrets'",
        )
    } else if documents.len() == 1 && any(&is_flat) {
        (Format::Yaml, "it is a flat map")
    } else {
        return None;
    };
    Some(Detected { format, reason })
}

fn yaml_by_name(name: &str) -> Option<Detected> {
    let (format, reason) = if name.contains("compose") {
        (Format::Compose, "its name has 'compose' in it")
    } else if name.contains("secrets.y") {
        (Format::SecretsYaml, "it is called secrets.yaml")
    } else {
        (
            Format::Kubernetes,
            "its name ends in .yaml, and nothing tells of another form",
        )
    };
    Some(Detected { format, reason })
}

fn dotenv(name: &str, bytes: &[u8]) -> Option<Detected> {
    let found = |format, reason| Some(Detected { format, reason });
    let is_called_env = name.contains(".env") || name.ends_with("env") || name.starts_with("env.");
    let Ok(text) = dialects::text(bytes) else {
        return if is_called_env {
            found(Format::Dotenv, "its name has 'env' in it")
        } else {
            None
        };
    };
    let lines = || text.lines().map(str::trim);
    let assigned = lines().filter_map(|line| line.split_once('='));
    let is_ours = |value: &str| {
        value
            .trim_start_matches(['"', '\''])
            .starts_with("encrypted:")
    };
    if assigned
        .clone()
        .any(|(name, value)| name.starts_with("DOTENV_PUBLIC_KEY") || is_ours(value))
    {
        return found(
            Format::Dotenvx,
            "it has DOTENV_PUBLIC_KEY or encrypted values, as dotenvx's has",
        );
    }
    let is_decorated = |line: &str| {
        let comment = line.strip_prefix('#').map(str::trim_start);
        [
            "@required",
            "@sensitive",
            "@type=",
            "@defaultRequired",
            "@defaultSensitive",
            "@optional",
        ]
        .iter()
        .any(|decorator| comment.is_some_and(|comment| comment.starts_with(decorator)))
    };
    if lines().any(is_decorated) {
        return found(
            Format::Varlock,
            "it has decorators such as @required, as varlock's has",
        );
    }
    let words = ["export ", "declare -x "];
    let statements = lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_export = |line: &str| words.iter().any(|word| line.starts_with(word));
    let is_shell = name.ends_with(".sh") || lines().any(|line| line.starts_with("declare -x "));
    if is_shell && statements.clone().any(is_export) {
        return found(Format::Shell, "it has a shell's 'export'");
    }
    if is_called_env {
        return found(Format::Dotenv, "its name has 'env' in it");
    }
    if !is_shell
        && assigned
            .clone()
            .any(|(name, _)| crate::names::is_variable(name.trim()))
    {
        return found(Format::Dotenv, "it has lines NAME=value");
    }
    None
}

#[cfg(test)]
mod tests;
