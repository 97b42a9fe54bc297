//! Where requests leave: few at a time, and none for a while after some in a row were in vain.

use std::error::Error;
use std::future::Future;

use aws_sdk_secretsmanager::config::http::HttpResponse;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use aws_sdk_secretsmanager::error::SdkError;
use strongroom_core::port::circuit::Circuit;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::connection::Site;
use crate::failure::Call;
use crate::failure::Failure;

/// Requests in flight at once; others wait for their turn.
const IN_FLIGHT_MAX: usize = 16;

/// Of one backend.
#[derive(Debug)]
pub(crate) struct Gate {
    turns: Semaphore,
    circuit: Circuit<Instant>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            turns: Semaphore::new(IN_FLIGHT_MAX),
            circuit: Circuit::default(),
        }
    }
}

impl Site {
    /// Sends a request in its turn, unless the service is left alone. The SDK's repetitions of it
    /// are one request here.
    pub(crate) fn ask<'a, T, E>(
        &'a self,
        call: Call<'a>,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
    ) -> impl Future<Output = Result<T, Failure>> + Send + 'a
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
        T: Send + 'a,
    {
        // Not part of the future: the SDK's are large.
        let request = Box::pin(request);
        async move {
            // The semaphore is never closed; if it were, the request would go without a turn.
            let _turn = self.gate.turns.acquire().await;
            let pending = self.gate.circuit.begin(Instant::now, self.timeout);
            let pending = pending.map_err(|refusal| {
                Failure::unanswered(refusal.into_error(&*self.backend, &self.host))
            })?;
            let ended = request.await.map_err(|error| self.failure(call, &error));
            pending.ended(ended.as_ref().err().map(|failure| &failure.error));
            ended
        }
    }
}
