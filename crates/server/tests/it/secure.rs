use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject;
use strongroom_server::TlsFiles;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;

use crate::support::PATIENCE;
use crate::support::Running;
use crate::support::read_answer;
use crate::support::request;

fn make_certificate(files: &TlsFiles) {
    let status = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&files.key)
        .arg("-out")
        .arg(&files.certificate)
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
}

/// Asks over TLS, trusting one certificate only.
async fn ask(server: &Running, trusted: &Path) -> Result<String, std::io::Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(trusted).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, server.connect().await).await?;
    stream.write_all(&request("GET /v1/sys/health", "")).await?;
    Ok(read_answer(&mut stream).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let files = TlsFiles {
        certificate: folder.path().join("tls.crt"),
        key: folder.path().join("tls.key"),
    };
    make_certificate(&files);
    let old = folder.path().join("old.crt");
    std::fs::copy(&files.certificate, &old).unwrap();
    let server = Running::start(Some(files.clone()), folder.path()).await;
    let answer = ask(&server, &old).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Plain HTTP gets nothing.
    let plain = server.exchange(&request("GET /v1/sys/health", "")).await;
    assert!(!plain.contains("initialized"), "{plain}");

    make_certificate(&files);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while ask(&server, &files.certificate).await.is_err() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the old certificate stays"
        );
        tokio::task::yield_now().await;
    }
    assert!(ask(&server, &old).await.is_err());
    server.stop().await;
}
