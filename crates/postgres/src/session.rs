//! Connections: how they are protected, and a pool of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Hook;
use deadpool_postgres::HookError;
use deadpool_postgres::Manager;
use deadpool_postgres::ManagerConfig;
use deadpool_postgres::Pool;
use deadpool_postgres::RecyclingMethod;
use deadpool_postgres::Runtime;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::address::DatabaseUrl;
use crate::address::Tls;
use crate::error::ConnectError;

/// How long a request waits for a connection while all are in use.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How long connecting may take.
const CREATE_MAX: Duration = Duration::from_secs(10);

/// How connections to an address are protected.
///
/// # Errors
/// When the certificates of its authorities cannot be read.
pub fn connector(url: &DatabaseUrl) -> Result<MakeRustlsConnect, ConnectError> {
    let roots = match url.tls() {
        Tls::Off => RootCertStore::empty(),
        Tls::VerifyFull { roots: Some(path) } => read_roots(path)?,
        Tls::VerifyFull { roots: None } => machine_roots(),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::Untrusted {
            place: url.place(),
            detail: error.to_string(),
        })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn machine_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // What cannot be read is not trusted, and the handshake says so.
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    roots
}

fn read_roots(path: &Path) -> Result<RootCertStore, ConnectError> {
    let refused = |detail: String| ConnectError::Roots {
        path: path.to_owned(),
        detail,
    };
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refused(format!("the certificates cannot be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found);
    if added == 0 {
        return Err(refused("no certificate of an authority is in it".into()));
    }
    Ok(roots)
}

/// A pool of at most so many connections; `session_sql` is said on each before it is used.
///
/// # Errors
/// When it cannot be made. Nothing is connected to yet.
pub fn pool(
    url: &DatabaseUrl,
    connector: MakeRustlsConnect,
    connections: usize,
    session_sql: &'static str,
) -> Result<Pool, ConnectError> {
    let rules = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(url.config().clone(), connector, rules);
    let set_up = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
        Box::pin(async move {
            let done = client.batch_execute(session_sql).await;
            done.map_err(HookError::Backend)
        })
    });
    Pool::builder(manager)
        .max_size(connections)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(WAIT_MAX))
        .create_timeout(Some(CREATE_MAX))
        .recycle_timeout(Some(CREATE_MAX))
        .post_create(set_up)
        .build()
        .map_err(|error| ConnectError::Threads {
            detail: error.to_string(),
        })
}
