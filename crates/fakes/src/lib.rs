//! Servers that stand in for other people's secret managers in tests, which the vendors' own
//! Python clients find true. A dev-dependency only.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::Future;
use std::sync::LazyLock;

use tokio::runtime::Runtime;

pub mod azure;
pub mod circuit;
pub mod faults;
pub mod google;
pub mod kubernetes;
pub mod proxy;
pub mod tls;

/// What the servers run on, and the tests that ask them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Runs a future to its end; the servers that it has started go on.
pub fn wait<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}
