//! One request: within the deadline, again where that may help.

use std::future::Future;
use std::time::Duration;

use azure_core::Result as AzureResult;
use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout_at;

use crate::AzureBackend;
use crate::error::Failure;

/// Requests in flight at once; others wait for their turn.
pub(crate) const IN_FLIGHT_MAX: usize = 16;
/// How messages call the server.
const SERVER: &str = "the vault";
const PAUSE_MILLIS: u64 = 100;
const PAUSE_MILLIS_MAX: u64 = 2_000;

impl AzureBackend {
    /// When an operation that begins now has to be over.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Sends a request in its turn, unless the server is left alone.
    pub(crate) async fn call<T, F, Fut>(&self, deadline: Instant, request: F) -> Result<T, Failure>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = AzureResult<T>>,
    {
        let Ok(_turn) = timeout_at(deadline, self.turns.acquire()).await else {
            return Err(Failure::Final(self.too_slow()));
        };
        let pending = self.circuit.begin(Instant::now, self.timeout);
        let pending =
            pending.map_err(|refusal| Failure::Final(refusal.into_error(&*self.name, SERVER)))?;
        let ended = self.repeated(deadline, request).await;
        pending.ended(ended.as_ref().err().and_then(Failure::error));
        ended
    }

    /// Sends it, again after 429 and 5xx as long as deadline and circuit allow.
    async fn repeated<T, F, Fut>(&self, deadline: Instant, request: F) -> Result<T, Failure>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = AzureResult<T>>,
    {
        let mut pause = PAUSE_MILLIS;
        loop {
            let failure = match timeout_at(deadline, request()).await {
                Err(_) => return Err(Failure::Final(self.too_slow())),
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(error)) => Failure::of(&error, &self.name),
            };
            let until = Instant::now() + Duration::from_millis(pause);
            if !matches!(failure, Failure::Busy(_))
                || until >= deadline
                || self.circuit.is_open(until)
            {
                return Err(failure);
            }
            sleep_until(until).await;
            pause = (pause * 2).min(PAUSE_MILLIS_MAX);
        }
    }

    /// Asks until it is so, as long as the deadline allows.
    pub(crate) async fn until<F, Fut>(
        &self,
        deadline: Instant,
        is_so: F,
    ) -> Result<(), BackendError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<bool, BackendError>>,
    {
        let mut pause = PAUSE_MILLIS;
        while !is_so().await? {
            let until = Instant::now() + Duration::from_millis(pause);
            if until >= deadline {
                return Err(self.unfinished());
            }
            sleep_until(until).await;
            pause = (pause * 2).min(PAUSE_MILLIS_MAX);
        }
        Ok(())
    }

    fn unfinished(&self) -> BackendError {
        let seconds = self.timeout.as_secs();
        let message = format!("the vault has begun, but not finished within {seconds} s");
        BackendError::new(BackendErrorKind::Unreachable, self.name.clone(), message)
            .with_hint("look again shortly; timeout=60s in the address waits longer")
    }

    pub(crate) fn too_slow(&self) -> BackendError {
        let seconds = self.timeout.as_secs();
        let message = format!("{SERVER} did not answer within {seconds} s");
        BackendError::new(BackendErrorKind::Unreachable, self.name.clone(), message)
            .with_hint("check the network; timeout=30s in the address waits longer")
    }
}
