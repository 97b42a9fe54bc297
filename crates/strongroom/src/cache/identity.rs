//! Whose answers a backend's are: everything that says where it is and as whom it is asked.
//!
//! It is read without asking anybody. What is left out would serve somebody else's answer; what is
//! too much only asks once more, so that all variables of a backend's family count.

use std::path::Path;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::app::App;
use crate::chain::Entry;

/// Largest file of credentials that is looked at.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Address, project and profile, the variables of the backend's family, its credentials files.
pub(super) fn parts(app: &App, folder: &str, entry: &Entry) -> Vec<Zeroizing<Vec<u8>>> {
    let mut parts: Vec<Zeroizing<Vec<u8>>> = Vec::new();
    let mut add = |bytes: &[u8]| parts.push(Zeroizing::new(bytes.to_owned()));
    add(entry.uri.to_string().as_bytes());
    add(folder.as_bytes());
    let families = families(entry.scheme());
    let mut variables: Vec<_> = app
        .environment
        .variables()
        .iter()
        .filter(|(name, _)| {
            let name = name.to_string_lossy();
            name == "HOME" || families.iter().any(|family| name.starts_with(family))
        })
        .collect();
    variables.sort();
    for (name, value) in variables {
        add(name.as_encoded_bytes());
        add(value.as_encoded_bytes());
    }
    for file in files(app, entry.scheme()) {
        add(file.as_os_str().as_encoded_bytes());
        // One that cannot be read is told from an empty one by the parts' number.
        if let Ok(bytes) = strongroom_backends::file::read_capped(&file, FILE_BYTES_MAX) {
            add(&bytes);
        }
    }
    parts
}

fn families(scheme: &str) -> &'static [&'static str] {
    match scheme {
        "aws" | "ssm" => &["AWS_"],
        "vault" => &["VAULT_", "BAO_"],
        "server" => &[
            "STRONGROOM_ADDR",
            "STRONGROOM_CA",
            "STRONGROOM_NAMESPACE",
            "STRONGROOM_TOKEN",
        ],
        "gcp" => &["GOOGLE_", "GCP_", "GCE_", "GCLOUD_", "CLOUDSDK_"],
        "azure" => &["AZURE_", "IDENTITY_", "MSI_"],
        "k8s" => &["KUBE"],
        _ => &[],
    }
}

/// Files whose contents say as whom a backend is asked.
fn files(app: &App, scheme: &str) -> Vec<PathBuf> {
    let variable = |name: &str| app.environment.get(name).map(PathBuf::from);
    let at_home = |below: &str| variable("HOME").map(|home| home.join(below));
    let or_home = |name: &str, below: &str| variable(name).or_else(|| at_home(below));
    let found: Vec<Option<PathBuf>> = match scheme {
        "aws" | "ssm" => vec![
            or_home("AWS_CONFIG_FILE", ".aws/config"),
            or_home("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
        ],
        "vault" => {
            let mut files = vec![or_home("BAO_TOKEN_PATH", ".vault-token")];
            let named = app.environment.variables().iter();
            let named = named.filter(|(name, _)| {
                let name = name.to_string_lossy();
                let is_ours = name.starts_with("VAULT_") || name.starts_with("BAO_");
                is_ours && name.ends_with("_FILE")
            });
            files.extend(named.map(|(_, path)| Some(PathBuf::from(path))));
            files
        }
        "server" => vec![variable("STRONGROOM_TOKEN_FILE")],
        "gcp" => vec![or_home(
            "GOOGLE_APPLICATION_CREDENTIALS",
            ".config/gcloud/application_default_credentials.json",
        )],
        "azure" => vec![at_home(".azure/azureProfile.json")],
        "k8s" => match app.environment.get("KUBECONFIG") {
            Some(list) => std::env::split_paths(list).map(Some).collect(),
            None => vec![at_home(".kube/config")],
        },
        _ => Vec::new(),
    };
    let found = found.into_iter().flatten();
    found.filter(|path| path != Path::new("")).collect()
}
