//! What rotates a secret, as it is declared.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// What makes the new value of a secret and brings it to whoever checks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum RotatorSpec {
    /// The password of a role of PostgreSQL.
    Postgres(PostgresRole),
    /// The password of a user of MariaDB or MySQL.
    Mysql(MysqlUser),
    /// The password of a user of Redis or Valkey.
    Redis(RedisUser),
    /// A key that tokens are signed with.
    SigningKey(SigningKey),
    /// A certificate of TLS and its key.
    Certificate(Certificate),
    /// The password of a static role of another Vault or OpenBao.
    VaultStaticRole(VaultStaticRole),
    /// A program.
    Command(Program),
    /// A person.
    Manual(Checklist),
}

/// A role of PostgreSQL, or two that take turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresRole {
    /// Where: `postgres://HOST/DATABASE`, with the administrator's name, without a password.
    pub address: String,
    /// The role. Default: the one that the secret names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// A second role, which has the rights of the first one and takes turns with it: then the old
    /// password works until the rotation after the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternate: Option<String>,
    /// The secret with the administrator's password. Default: the role changes its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
}

/// A user of MariaDB or MySQL, or two that take turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MysqlUser {
    /// Where: `mysql://HOST:PORT`, with the administrator's name, without a password.
    pub address: String,
    /// The user, with all its accounts whatever their hosts. Default: the one that the secret
    /// names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A second user, which has the rights of the first one and takes turns with it: then the old
    /// password works until the rotation after the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alternate: Option<String>,
    /// The secret with the administrator's password, who has a user keep its old password beside
    /// the new one. Default: the user changes its own, and the old one ends at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
}

/// A user of Redis or Valkey, which takes two passwords while they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedisUser {
    /// Where: `rediss://HOST:PORT`, with the administrator's name, without a password.
    pub address: String,
    /// The user. Default: the one that the secret names, or `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The secret with the administrator's password. Default: the user changes its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// How a new password outlasts a restart of the server: by its ACL file where it has one
    /// (`acl-file`, the default), by its configuration file (`config`), or not (`none`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persist: Option<String>,
}

/// A key that tokens (JWT) are signed with, and its public half for those that check them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SigningKey {
    /// `RS256`, `EdDSA` or `HS256`.
    pub algorithm: String,
    /// How long a token lives: so long after a rotation the old key stays in the key set.
    /// Default: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ttl: Option<String>,
}

/// A certificate that a server shows in TLS, and its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Whose it is. Without `dns_names` and `ips` it is the name that clients check.
    pub common_name: String,
    /// Names that it is good for; `*.example.org` stands for one label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    /// Addresses that it is good for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// How long it is good, from an hour to ten years. Default: 90d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validity: Option<String>,
    /// `P-256` (the default), `RSA` or `Ed25519`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The secret with the certificate and the key of the authority that signs it. Default: it
    /// signs itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

/// A static role of the database engine of another Vault or OpenBao, which changes the password
/// itself when it is asked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VaultStaticRole {
    /// Which server and how to log in, as in a chain: `vault://HOST:PORT?auth=approle`, or
    /// `vault:` with VAULT_ADDR.
    pub backend: String,
    /// The name of the role there.
    pub role: String,
    /// Where the database engine is mounted there. Default: database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// Where the role logs in to try the new password: `postgres://HOST/DATABASE` or
    /// `rediss://HOST`, without name and password. Default: it is only read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The secret with the credentials for that server: a token, or a JSON object with `role_id`
    /// and `secret_id`. Default: the variables of the `vault:` backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
}

/// A program that is run for each step, with JSON on its standard input and output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The program and its arguments. They are shown in lists: no secret may stand in them.
    pub command: Vec<String>,
    /// Longest time of a step. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

/// What a person does, who then sets the new value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Checklist {
    /// One step a line, in order.
    pub checklist: Vec<String>,
}

impl RotatorSpec {
    /// The word in its `type`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Mysql(_) => "mysql",
            Self::Redis(_) => "redis",
            Self::SigningKey(_) => "signing-key",
            Self::Certificate(_) => "certificate",
            Self::VaultStaticRole(_) => "vault-static-role",
            Self::Command(_) => "command",
            Self::Manual(_) => "manual",
        }
    }

    /// The secret that has to be read before a step: an administrator's password, an authority.
    #[must_use]
    pub fn admin(&self) -> Option<&str> {
        match self {
            Self::Postgres(role) => role.admin.as_deref(),
            Self::Mysql(user) => user.admin.as_deref(),
            Self::Redis(user) => user.admin.as_deref(),
            Self::Certificate(certificate) => certificate.issuer.as_deref(),
            Self::VaultStaticRole(role) => role.admin.as_deref(),
            Self::SigningKey(_) | Self::Command(_) | Self::Manual(_) => None,
        }
    }
    /// What the field is called that names that secret.
    #[must_use]
    pub fn admin_field(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "issuer",
            _ => "admin",
        }
    }
}
