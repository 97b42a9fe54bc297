//! The server: doors to the engine for clients on a network.
//!
//! [`Node`] is a server without its network: sealed or unsealed, over a [`keeper::Keeper`] that
//! has its header and records. [`run`] lets it listen until it is told to stop.

mod access;
mod api;
mod audit;
mod aws;
mod bodies;
mod cache;
mod cidr;
pub mod clock;
pub mod config;
mod core;
mod databases;
mod devices;
mod hashing;
mod head;
pub mod keeper;
mod kv_config;
mod leases;
mod ledger;
mod listen;
mod lockout;
mod log;
mod metrics;
mod moves;
mod node;
mod options;
mod quota;
mod rotate;
mod tasks;
mod tls;
mod users;
mod vault;

use std::sync::Arc;

use strongroom_core::port::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use audit::chains::CheckError;
pub use audit::chains::check_file as check_audit_file;
pub use audit::read::LogFilter;
pub use audit::read::LogReader;
pub use audit::read::LoggedOutcome;
pub use audit::read::LoggedRequest;
pub use audit::read::Tell;
pub use audit::verify::Verified;
pub use audit::verify::VerifyError;
pub use aws::Names as AwsNames;
#[doc(hidden)]
pub use aws::sigv4::Verifier as SignatureVerifier;
pub use listen::CONNECTIONS_MAX;
pub use node::CreateError;
pub use node::DevKeys;
pub use node::FirstMount;
pub use node::Node;
pub use node::Settings;
pub use node::StartError;
pub use tasks::HangUps;
pub use tls::Tls;
pub use tls::TlsError;
pub use tls::TlsFiles;

/// Serves until `stop` is over, then lets requests that have begun end, seals and returns.
pub fn run<'a>(
    node: Arc<Node>,
    listener: TcpListener,
    tls: Option<Tls>,
    hang_ups: HangUps,
    stop: BoxFuture<'a, ()>,
) -> BoxFuture<'a, ()> {
    // Boxed here, so that the server's futures are compiled with this crate.
    Box::pin(serve(node, listener, tls, hang_ups, stop))
}

async fn serve(
    node: Arc<Node>,
    listener: TcpListener,
    tls: Option<Tls>,
    hang_ups: HangUps,
    stop: BoxFuture<'_, ()>,
) {
    let tls = tls.map(Arc::new);
    let (stopping, stopped) = watch::channel(false);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(tasks::housekeeping(Arc::clone(&node), stopped.clone()));
    tasks.spawn(rotate::work(Arc::clone(&node), stopped.clone()));
    tasks.spawn(ledger::work(Arc::clone(&node), stopped.clone()));
    tasks.spawn(leases::work(Arc::clone(&node), stopped.clone()));
    tasks.spawn(rotate::notices::work(Arc::clone(&node), stopped.clone()));
    if let Some(tls) = &tls {
        let watching =
            tasks::watch_certificates(Arc::clone(&node), Arc::clone(tls), stopped.clone());
        tasks.spawn(watching);
    }
    tasks.spawn(tasks::hang_ups(
        Arc::clone(&node),
        tls.clone(),
        hang_ups,
        stopped.clone(),
    ));
    let serving = tokio::spawn(listen::serve(Arc::clone(&node), listener, tls, stopped));
    stop.await;
    let _ = stopping.send(true);
    // In this order: no new requests, then no background work, then no keys.
    let _ = serving.await;
    while tasks.join_next().await.is_some() {}
    if let Some(core) = node.core() {
        let _ = audit::chains::note(&core, node.now()).await;
        // What cannot be written now is in the audit log.
        let _ = ledger::write(&core, node.now(), true).await;
    }
    node.seal();
}
