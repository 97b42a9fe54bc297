//! A handshake of TLS in memory: a server with the new pair, and a client that checks it.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::ConnectionCommon;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::ServerConnection;
use rustls::SideData;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::ServerName;
use rustls_pki_types::UnixTime;
use strongroom_core::port::RotatorError;
use strongroom_core::time::Timestamp;

use super::pair::Pair;

/// More than a handshake has.
const TURNS_MAX: usize = 16;

/// The time of the store, by which certificates are made.
#[derive(Debug)]
struct At(Timestamp);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.as_micros() / 1_000_000).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// Has a client that trusts one certificate, and asks for a name, talk to a server with a pair.
pub(super) fn shake_hands(
    pair: &Pair,
    trusted: &CertificateDer<'static>,
    name: ServerName<'static>,
    now: Timestamp,
) -> Result<(), RotatorError> {
    let server = server(pair, now).map_err(|error| of_tls("a server cannot use it", &error))?;
    let client = client(trusted, now).map_err(|error| of_tls("nobody can trust it", &error))?;
    let opened = ServerConnection::new(Arc::new(server));
    let mut server = opened.map_err(|error| of_tls("a server cannot use it", &error))?;
    let opened = ClientConnection::new(Arc::new(client), name);
    let mut client = opened.map_err(|error| of_tls("a client cannot ask for it", &error))?;
    for _ in 0..TURNS_MAX {
        // What a client thinks of the certificate is told by the client.
        pass(&mut client, &mut server).map_err(|error| of_tls("a server refuses", &error))?;
        pass(&mut server, &mut client).map_err(|error| of_tls("a client refuses it", &error))?;
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok(());
        }
    }
    let message = "the handshake with the new certificate did not end";
    Err(RotatorError::new("rotation.no_handshake", message))
}

fn server(pair: &Pair, now: Timestamp) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(default_provider());
    let config = ServerConfig::builder_with_details(provider, Arc::new(At(now)));
    config
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(pair.certificates.clone(), pair.key.clone_key())
}

fn client(
    trusted: &CertificateDer<'static>,
    now: Timestamp,
) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone())?;
    let provider = Arc::new(default_provider());
    let config = ClientConfig::builder_with_details(provider, Arc::new(At(now)));
    let config = config.with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Gives one what the other has to say.
fn pass<From: SideData, To: SideData>(
    from: &mut ConnectionCommon<From>,
    to: &mut ConnectionCommon<To>,
) -> Result<(), rustls::Error> {
    let cannot = |error: std::io::Error| rustls::Error::General(error.kind().to_string());
    while from.wants_write() {
        let mut bytes = Vec::new();
        from.write_tls(&mut bytes).map_err(cannot)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            to.read_tls(&mut rest).map_err(cannot)?;
            to.process_new_packets()?;
        }
    }
    Ok(())
}

fn of_tls(what: &str, error: &rustls::Error) -> RotatorError {
    let message = format!("the new certificate fails its trial: {what}: {error}");
    RotatorError::new("rotation.no_handshake", message)
}
