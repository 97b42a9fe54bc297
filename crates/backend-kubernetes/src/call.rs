//! One request: within the deadline, again where that may help.

use std::future::Future;
use std::time::Duration;

use strongroom_core::port::BackendError;
use strongroom_core::port::BackendErrorKind;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout_at;

use crate::KubernetesBackend;
use crate::error::Failure;
use crate::error::conflict;

/// Requests in flight at once; others wait for their turn.
pub(crate) const IN_FLIGHT_MAX: usize = 16;
/// How messages call the server.
const SERVER: &str = "the API server";
const PAUSE_MILLIS: u64 = 100;
const PAUSE_MILLIS_MAX: u64 = 2_000;
const WAY_MILLIS: u64 = 5;
const WAY_DOUBLINGS_MAX: u32 = 6;

/// Whether a request may be sent again when nobody knows if the first one was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It does the same twice.
    Harmless,
    /// Only after an answer that says that nothing was done.
    OnlyIfRefused,
}

impl KubernetesBackend {
    /// When an operation that begins now has to be over.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Sends a request in its turn, unless the server is left alone.
    pub(crate) async fn call<T, F, Fut>(
        &self,
        deadline: Instant,
        repeat: Repeat,
        request: F,
    ) -> Result<T, Failure>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = kube::Result<T>>,
    {
        let Ok(_turn) = timeout_at(deadline, self.turns.acquire()).await else {
            return Err(Failure::Final(self.too_slow()));
        };
        let pending = self.circuit.begin(Instant::now, self.timeout);
        let pending =
            pending.map_err(|refusal| Failure::Final(refusal.into_error(&*self.name, SERVER)))?;
        let ended = self.repeated(deadline, repeat, request).await;
        pending.ended(ended.as_ref().err().and_then(Failure::error));
        ended
    }

    /// Sends it, again after 429 and 5xx as long as deadline and circuit allow.
    async fn repeated<T, F, Fut>(
        &self,
        deadline: Instant,
        repeat: Repeat,
        request: F,
    ) -> Result<T, Failure>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = kube::Result<T>>,
    {
        let mut pause = PAUSE_MILLIS;
        loop {
            let error = match timeout_at(deadline, request()).await {
                Err(_) => return Err(Failure::Final(self.too_slow())),
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(error)) => error,
            };
            let failure = Failure::of(&error, &self.name);
            let is_refused = matches!(&error, kube::Error::Api(status)
                if matches!(status.code, 429 | 503));
            let may_repeat = repeat == Repeat::Harmless || is_refused;
            let wanted = match &error {
                kube::Error::Api(status) => status
                    .details
                    .as_ref()
                    .map_or(0, |details| u64::from(details.retry_after_seconds) * 1_000),
                _ => 0,
            };
            let until = Instant::now() + Duration::from_millis(pause.max(wanted));
            if !matches!(failure, Failure::Busy(_))
                || !may_repeat
                || until >= deadline
                || self.circuit.is_open(until)
            {
                return Err(failure);
            }
            sleep_until(until).await;
            pause = (pause * 2).min(PAUSE_MILLIS_MAX);
        }
    }

    /// Waits a little for those who were there first.
    pub(crate) async fn give_way(
        &self,
        attempt: &mut u32,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        let pause = WAY_MILLIS << (*attempt).min(WAY_DOUBLINGS_MAX);
        *attempt += 1;
        let until = Instant::now() + Duration::from_millis(pause);
        if until >= deadline {
            let message = "others change the Secret all the time";
            return Err(conflict(&self.name, message).with_hint("try again later"));
        }
        sleep_until(until).await;
        Ok(())
    }

    pub(crate) fn too_slow(&self) -> BackendError {
        let seconds = self.timeout.as_secs();
        let message = format!("{SERVER} did not answer within {seconds} s");
        BackendError::new(BackendErrorKind::Unreachable, self.name.clone(), message)
            .with_hint("check network and server; timeout=30s in the address waits longer")
    }
}
