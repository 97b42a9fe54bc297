//! What tests share: a server, a kubeconfig, a backend.

use std::path::PathBuf;

use strongroom_backend_kubernetes::KubernetesBackend;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendError;
use strongroom_core::port::NewValue;
use strongroom_core::port::Variables;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::uri::BackendUri;
use strongroom_fakes::kubernetes::Fake;
use strongroom_fakes::tls::Authority;
use tempfile::TempDir;

/// The token that the fake knows.
pub(crate) const TOKEN: &str = "canary-bearer-6f20";

/// A fake server and a kubeconfig for it.
pub(crate) struct World {
    pub(crate) fake: Fake,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        let fake = Fake::start(TOKEN).await;
        let folder = tempfile::tempdir().unwrap();
        let config = kubeconfig(fake.url(), TOKEN);
        std::fs::write(folder.path().join("config"), config).unwrap();
        Self { fake, folder }
    }

    /// With a server as they are: TLS, from an authority that the kubeconfig names.
    pub(crate) async fn start_with_tls() -> Self {
        let authority = Authority::new();
        let fake = Fake::start_with_tls(TOKEN, &authority).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.certificate()).unwrap();
        let server = format!("{}\", certificate-authority: \"ca.pem", fake.url());
        let config = kubeconfig(&server, TOKEN);
        std::fs::write(folder.path().join("config"), config).unwrap();
        Self { fake, folder }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    pub(crate) async fn backend(&self, line: &str) -> KubernetesBackend {
        open(line, &self.config()).await.unwrap()
    }
}

pub(crate) async fn open(
    line: &str,
    config: &std::path::Path,
) -> Result<KubernetesBackend, BackendError> {
    let variables = Variables::new([("KUBECONFIG", config.display().to_string())]);
    KubernetesBackend::open(&BackendUri::parse(line).unwrap(), &variables).await
}

pub(crate) fn kubeconfig(url: &str, token: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
current-context: test
clusters: [{{name: c, cluster: {{server: \"{url}\"}}}}]
users: [{{name: u, user: {{token: \"{token}\"}}}}, {{name: stranger, user: {{token: nobody}}}}]
contexts:
- {{name: test, context: {{cluster: c, user: u, namespace: shop}}}}
- {{name: stranger, context: {{cluster: c, user: stranger, namespace: shop}}}}
"
    )
}

pub(crate) fn value(text: &str) -> NewValue {
    NewValue::new(Payload::detect(SecretValue::copy_from(text.as_bytes())))
}

pub(crate) async fn read(backend: &dyn Backend, address: &str) -> Option<String> {
    let item = backend.read(address, &VersionRef::Current).await.unwrap();
    item.map(|item| item.payload.value.expose_secret_text().unwrap().to_owned())
}
