//! Waiting for futures. A runtime is started by the first remote backend that is opened, and
//! not at all by a command that has none: starting stays as fast as it is.

use std::future::Future;

pub(crate) use started::start;

/// Runs a future to its end.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    if let Some(runtime) = started::runtime() {
        return runtime.block_on(future);
    }
    pollster::block_on(future)
}

mod started {
    use std::sync::OnceLock;

    use tokio::runtime::Builder;
    use tokio::runtime::Runtime;

    use crate::error::CommandError;

    static RUNTIME: OnceLock<Runtime> = OnceLock::new();

    /// Starts the runtime, once.
    pub(crate) fn start() -> Result<(), CommandError> {
        if RUNTIME.get().is_some() {
            return Ok(());
        }
        let started = Builder::new_current_thread().enable_all().build();
        let runtime = started
            .map_err(|error| CommandError::failed(format!("no runtime can be started: {error}")))?;
        // Nothing else starts one: commands run on one thread.
        let _ = RUNTIME.set(runtime);
        Ok(())
    }

    pub(super) fn runtime() -> Option<&'static Runtime> {
        RUNTIME.get()
    }
}
