//! What tests share: a vault, a backend.

use std::path::Path;

use strongroom_backend_azure::AzureBackend;
use strongroom_core::port::Backend;
use strongroom_core::port::NewValue;
use strongroom_core::port::Variables;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::uri::BackendUri;
use strongroom_fakes::azure::CLIENT_SECRET;
use strongroom_fakes::azure::Fake;
use strongroom_fakes::tls::Authority;
use tempfile::TempDir;

/// A fake vault and the authority that vouches for it.
pub(crate) struct World {
    pub(crate) fake: Fake,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.certificate()).unwrap();
        let fake = Fake::start(&authority).await;
        Self { fake, folder }
    }

    pub(crate) async fn backend(&self, prefix: &str, options: &str) -> AzureBackend {
        open(
            self.fake.port(),
            self.folder.path(),
            prefix,
            options,
            CLIENT_SECRET,
        )
        .await
    }
}

pub(crate) async fn open(
    port: u16,
    folder: &Path,
    prefix: &str,
    options: &str,
    secret: &str,
) -> AzureBackend {
    let ca = folder.join("ca.pem").display().to_string();
    let line = format!("azure://127.0.0.1:{port}/{prefix}?ca={ca}{options}");
    let variables = Variables::new([
        ("AZURE_TENANT_ID", "tenant".to_owned()),
        ("AZURE_CLIENT_ID", "app".to_owned()),
        ("AZURE_CLIENT_SECRET", secret.to_owned()),
        ("AZURE_AUTHORITY_HOST", format!("https://127.0.0.1:{port}")),
    ]);
    let uri = BackendUri::parse(&line).unwrap();
    AzureBackend::open(&uri, &variables).await.unwrap()
}

pub(crate) fn value(text: &str) -> NewValue {
    NewValue::new(Payload::detect(SecretValue::copy_from(text.as_bytes())))
}

pub(crate) async fn read(backend: &dyn Backend, address: &str) -> Option<String> {
    let item = backend.read(address, &VersionRef::Current).await.unwrap();
    item.map(|item| item.payload.value.expose_secret_text().unwrap().to_owned())
}
