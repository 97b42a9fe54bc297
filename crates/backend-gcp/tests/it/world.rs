//! What tests share: a server, a backend.

use strongroom_backend_gcp::GcpBackend;
use strongroom_core::port::Backend;
use strongroom_core::port::NewValue;
use strongroom_core::port::Variables;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::uri::BackendUri;

/// A backend for a server at a port of this machine.
pub(crate) async fn open(path: &str, port: u16, options: &str) -> GcpBackend {
    let line = format!("gcp:{path}?endpoint=http://127.0.0.1:{port}{options}");
    let uri = BackendUri::parse(&line).unwrap();
    GcpBackend::open(&uri, &Variables::default()).await.unwrap()
}

pub(crate) fn value(text: &str) -> NewValue {
    NewValue::new(Payload::detect(SecretValue::copy_from(text.as_bytes())))
}

pub(crate) async fn read(backend: &dyn Backend, address: &str) -> Option<String> {
    let item = backend.read(address, &VersionRef::Current).await.unwrap();
    item.map(|item| item.payload.value.expose_secret_text().unwrap().to_owned())
}
