//! Whom to trust, and how to show who we are.

use std::fs;
use std::io::Read;
use std::path::Path;

use reqwest::Certificate;
use reqwest::ClientBuilder;
use reqwest::Identity;
use strongroom_core::uri::BackendUri;
use zeroize::Zeroizing;

use super::Family;
use super::Wrong;
use super::is_set;

/// Longest certificate or key file, in bytes.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// TLS settings.
pub(crate) struct Tls {
    /// The only authorities that are trusted; none: the machine's.
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
    /// The name in the server's certificate, where it is not the host's.
    pub(crate) server_name: Option<String>,
    is_unverified: bool,
}

impl Tls {
    pub(super) fn read(uri: &BackendUri, family: &Family<'_>) -> Result<Self, Wrong> {
        let ca_file = uri.option("ca_file").or_else(|| family.text("CACERT"));
        let authorities = match (ca_file, family.text("CAPATH")) {
            (Some(file), _) => certificates(Path::new(file))?,
            (None, Some(folder)) => certificates_in(Path::new(folder))?,
            (None, None) => Vec::new(),
        };
        let identity = match (family.text("CLIENT_CERT"), family.text("CLIENT_KEY")) {
            (Some(certificate), Some(key)) => Some(identity(certificate, key)?),
            (None, None) => None,
            _ => {
                return Err(Wrong::new(
                    "VAULT_CLIENT_CERT and VAULT_CLIENT_KEY are only of use together",
                ));
            }
        };
        Ok(Self {
            authorities,
            identity,
            server_name: family.text("TLS_SERVER_NAME").map(str::to_owned),
            is_unverified: is_unverified(uri, family)?,
        })
    }

    pub(crate) fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        let mut builder = builder;
        if !self.authorities.is_empty() {
            builder = builder.tls_certs_only(self.authorities.iter().cloned());
        }
        if let Some(identity) = &self.identity {
            builder = builder.identity(identity.clone());
        }
        builder.tls_danger_accept_invalid_certs(self.is_unverified)
    }
}

/// Neither a manifest nor a variable alone turns verification off.
fn is_unverified(uri: &BackendUri, family: &Family<'_>) -> Result<bool, Wrong> {
    let by_variable = is_set(family.text("SKIP_VERIFY"), "VAULT_SKIP_VERIFY")? == Some(true);
    let by_option = is_set(uri.option("insecure"), "insecure")? == Some(true);
    match (by_variable, by_option) {
        (true, true) => Ok(true),
        (false, false) => Ok(false),
        (true, false) => Err(Wrong::new(
            "VAULT_SKIP_VERIFY is set: anybody between here and the server could read every secret",
        )
        .with_hint(
            "name the server's authority with VAULT_CACERT or ca_file=FILE; to go on without \
             verification add insecure=true to the address as well",
        )),
        (false, true) => Err(Wrong::new(
            "insecure=true in an address is not enough to turn verification off",
        )
        .with_hint(
            "name the server's authority with ca_file=FILE; to go on without verification set \
             VAULT_SKIP_VERIFY=true as well",
        )),
    }
}

fn certificates(file: &Path) -> Result<Vec<Certificate>, Wrong> {
    let pem = read(file, "authorities")?;
    let found = Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if found.is_empty() {
        let message = format!("{} holds no PEM certificate", file.display());
        return Err(Wrong::new(message).with_hint(
            "VAULT_CACERT and ca_file name a file of PEM certificates, VAULT_CAPATH a folder with \
             nothing else in its .pem and .crt files",
        ));
    }
    Ok(found)
}

fn certificates_in(folder: &Path) -> Result<Vec<Certificate>, Wrong> {
    let entries = fs::read_dir(folder).map_err(|error| {
        Wrong::new(format!(
            "cannot read the authorities in {}: {error}",
            folder.display()
        ))
    })?;
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("pem" | "crt" | "cer")) {
            found.extend(certificates(&path)?);
        }
    }
    if found.is_empty() {
        let message = format!("{} holds no .pem or .crt file", folder.display());
        return Err(Wrong::new(message));
    }
    Ok(found)
}

fn identity(certificate: &str, key: &str) -> Result<Identity, Wrong> {
    let certificate = read(Path::new(certificate), "client certificate")?;
    let key = read(Path::new(key), "client key")?;
    let mut both = Zeroizing::new(Vec::with_capacity(certificate.len() + key.len() + 1));
    both.extend_from_slice(&certificate);
    both.push(b'\n');
    both.extend_from_slice(&key);
    Identity::from_pem(&both)
        .map_err(|_| Wrong::new("VAULT_CLIENT_CERT and VAULT_CLIENT_KEY hold no PEM pair"))
}

fn read(file: &Path, what: &str) -> Result<Zeroizing<Vec<u8>>, Wrong> {
    let cannot = |reason: String| {
        let place = file.display();
        Wrong::new(format!("cannot read the {what} in {place}: {reason}"))
    };
    let opened = fs::File::open(file).map_err(|error| cannot(error.to_string()))?;
    let mut bytes = Zeroizing::new(Vec::new());
    opened
        .take(PEM_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| cannot(error.to_string()))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > PEM_BYTES_MAX {
        return Err(cannot("it has over 1 MiB".into()));
    }
    Ok(bytes)
}
