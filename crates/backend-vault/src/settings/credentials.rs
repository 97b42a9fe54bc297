//! How we log in. Credentials come from variables and files, never from the URI.

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use strongroom_core::secret::SecretValue;
use strongroom_core::uri::BackendUri;
use zeroize::Zeroizing;

use super::Family;
use super::Wrong;

/// Longest credential file, in bytes.
const CREDENTIAL_BYTES_MAX: u64 = 64 * 1024;

/// Where Kubernetes puts the token of a pod's service account.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// A credential, or the file it is read from each time it is needed: tokens in files are renewed
/// by others.
#[derive(Clone)]
pub(crate) enum Credential {
    /// From a variable, which one.
    Variable {
        /// Its name.
        name: String,
        /// What it holds.
        value: SecretValue,
    },
    /// In a file.
    File(PathBuf),
}

impl Credential {
    /// The credential without the white space round it.
    pub(crate) fn load(&self) -> Result<SecretValue, String> {
        match self {
            Self::Variable { value, .. } => Ok(value.clone()),
            Self::File(path) => {
                let cannot = |reason: &dyn std::fmt::Display| {
                    format!("cannot read the credential in {}: {reason}", path.display())
                };
                let file = fs::File::open(path).map_err(|error| cannot(&error))?;
                let mut bytes = Zeroizing::new(Vec::new());
                file.take(CREDENTIAL_BYTES_MAX)
                    .read_to_end(&mut bytes)
                    .map_err(|error| cannot(&error))?;
                let text = bytes.trim_ascii();
                if text.is_empty() {
                    return Err(cannot(&"the file is empty"));
                }
                Ok(SecretValue::copy_from(text))
            }
        }
    }

    /// Where it comes from, for messages.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Variable { name, .. } => name.clone(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// How to log in.
pub(crate) enum Auth {
    /// With a token that is there already. `None`: there is none, which is an error at the first
    /// request only, so that a chain can be described without credentials.
    Token(Option<Credential>),
    /// At an auth method.
    Login(Login),
}

/// A login at an auth method.
pub(crate) struct Login {
    /// The method's word in the URI.
    pub(crate) method: &'static str,
    /// Where it is mounted below `auth/`.
    pub(crate) mount: String,
    /// With what.
    pub(crate) proof: Proof,
}

/// What a login shows.
pub(crate) enum Proof {
    /// AppRole.
    Role {
        role_id: Credential,
        secret_id: Option<Credential>,
    },
    /// A signed token (JWT, Kubernetes).
    Jwt {
        role: Option<String>,
        jwt: Credential,
    },
    /// A name and a password.
    Password {
        username: String,
        password: Credential,
    },
}

const METHODS: &str = "token, approle, kubernetes, jwt, userpass";

impl Auth {
    pub(super) fn read(uri: &BackendUri, family: &Family<'_>) -> Result<Self, Wrong> {
        let role = uri.option("role").map(str::to_owned);
        let (method, proof) = match uri.option("auth").unwrap_or("token") {
            "token" => return token(uri, family),
            "approle" => {
                if role.is_some() {
                    return Err(Wrong::new("role is for auth=kubernetes and auth=jwt")
                        .with_hint("an AppRole is named by VAULT_ROLE_ID"));
                }
                let proof = Proof::Role {
                    role_id: needed(find(family, "ROLE_ID"), "approle", "VAULT_ROLE_ID")?,
                    secret_id: find(family, "SECRET_ID"),
                };
                ("approle", proof)
            }
            "kubernetes" => {
                let role = role.or_else(|| family.text("ROLE").map(str::to_owned));
                let role = role.ok_or_else(|| {
                    Wrong::new("auth=kubernetes needs a role")
                        .with_hint("add role=NAME to the address, or set VAULT_ROLE")
                })?;
                let fallback = || Credential::File(SERVICE_ACCOUNT_TOKEN.into());
                let proof = Proof::Jwt {
                    role: Some(role),
                    jwt: find(family, "JWT").unwrap_or_else(fallback),
                };
                ("kubernetes", proof)
            }
            "jwt" => {
                let proof = Proof::Jwt {
                    role: role.or_else(|| family.text("ROLE").map(str::to_owned)),
                    jwt: needed(find(family, "JWT"), "jwt", "VAULT_JWT")?,
                };
                ("jwt", proof)
            }
            "userpass" => {
                let username = family.text("USERNAME").ok_or_else(|| {
                    Wrong::new("auth=userpass needs a user name").with_hint("set VAULT_USERNAME")
                })?;
                crate::address::check_segment(username)
                    .map_err(|reason| Wrong::new(format!("VAULT_USERNAME {reason}")))?;
                let proof = Proof::Password {
                    username: username.to_owned(),
                    password: needed(find(family, "PASSWORD"), "userpass", "VAULT_PASSWORD")?,
                };
                ("userpass", proof)
            }
            _ => return Err(Wrong::new(format!("auth is one of {METHODS}"))),
        };
        let mount = uri.option("auth_mount").unwrap_or(method).trim_matches('/');
        let mount = mount.strip_prefix("auth/").unwrap_or(mount);
        crate::address::check(mount)
            .map_err(|reason| Wrong::new(format!("auth_mount {reason}")))?;
        Ok(Self::Login(Login {
            method,
            mount: mount.to_owned(),
            proof,
        }))
    }
}

fn token(uri: &BackendUri, family: &Family<'_>) -> Result<Auth, Wrong> {
    for option in ["auth_mount", "role"] {
        if uri.option(option).is_some() {
            let message = format!("{option} is for the auth methods that log in");
            return Err(Wrong::new(message)
                .with_hint("say which with auth=approle, kubernetes, jwt or userpass"));
        }
    }
    let variables = family.variables();
    let in_file = || {
        // Vault's own file is for another server.
        if family.is_own() {
            return None;
        }
        let path = match variables.text("BAO_TOKEN_PATH") {
            Some(path) => PathBuf::from(path),
            None => PathBuf::from(variables.text("HOME")?).join(".vault-token"),
        };
        path.is_file().then_some(Credential::File(path))
    };
    Ok(Auth::Token(find(family, "TOKEN").or_else(in_file)))
}

/// `VAULT_<name>`, else the file that `VAULT_<name>_FILE` names.
fn find(family: &Family<'_>, name: &str) -> Option<Credential> {
    let variables = family.variables();
    let by_value = |name: &String| {
        let value = variables.secret(name)?;
        Some(Credential::Variable {
            name: name.clone(),
            value,
        })
    };
    let [first, second] = family.names(name);
    let by_file = || {
        let path = family.text(&format!("{name}_FILE"))?;
        Some(Credential::File(path.into()))
    };
    by_value(&first)
        .or_else(|| by_value(&second))
        .or_else(by_file)
}

fn needed(found: Option<Credential>, method: &str, name: &str) -> Result<Credential, Wrong> {
    found.ok_or_else(|| {
        Wrong::new(format!("auth={method} needs {name}")).with_hint(format!(
            "set {name}, or {name}_FILE to a file that holds it"
        ))
    })
}
