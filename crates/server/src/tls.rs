//! TLS with certificates that are read anew when their files change.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem;
use rustls_pki_types::pem::PemObject;
use tokio_rustls::TlsAcceptor;

/// A certificate chain and its key, read from their files.
pub struct Tls {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
    stamp: ArcSwap<Stamp>,
}

/// Where certificate and key lie.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

/// When the files were last changed.
type Stamp = (Option<SystemTime>, Option<SystemTime>);

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or holds something else.
    #[error("{}: {detail}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Certificate and key do not fit.
    #[error("the certificate {} and its key do not fit together", .path.display())]
    Mismatch {
        /// The certificate.
        path: PathBuf,
    },
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// When one cannot be read, or they do not fit together.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let stamp = stamp_of(&files);
        let config = read(&files)?;
        Ok(Self {
            files,
            config: ArcSwap::from(config),
            stamp: ArcSwap::from_pointee(stamp),
        })
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }

    /// Reads the files anew if they have changed; true when there is a new certificate. One that
    /// cannot be used leaves the old one in place.
    pub(crate) fn reload(&self) -> Result<bool, TlsError> {
        let stamp = stamp_of(&self.files);
        if stamp == **self.stamp.load() {
            return Ok(false);
        }
        let config = read(&self.files)?;
        self.config.store(config);
        self.stamp.store(Arc::new(stamp));
        Ok(true)
    }
}

fn stamp_of(files: &TlsFiles) -> Stamp {
    let of = |path: &Path| {
        std::fs::metadata(path)
            .and_then(|meta| meta.modified())
            .ok()
    };
    (of(&files.certificate), of(&files.key))
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let wrong = |path: &Path, error: pem::Error, what: &str| TlsError::File {
        path: path.into(),
        detail: match error {
            pem::Error::Io(error) => format!("cannot be read: {error}"),
            _ => format!("no {what} in PEM can be read from it"),
        },
    };
    let unread = |error| wrong(&files.certificate, error, "certificate");
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .map_err(unread)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unread)?;
    if chain.is_empty() {
        return Err(unread(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| wrong(&files.key, error, "private key"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mismatch = || TlsError::Mismatch {
        path: files.certificate.clone(),
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| mismatch())?;
    let mut config = builder
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|_| mismatch())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
