//! Hashing of passwords takes memory and time on purpose: a few at once, the others wait, and
//! there is an end to the waiting. It has threads of its own, so that nothing else waits for them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::vault::error::Fault;

/// Hashed at once, of 19 MiB each.
const THREADS: usize = 4;
/// Waiting for their turn.
const WAITING_MAX: usize = 512;
/// There is an answer within this time, or the request is refused.
const TIMEOUT: Duration = Duration::from_secs(20);

type Job = Box<dyn FnOnce() + Send>;

/// The threads, once there was something to hash.
#[derive(Default)]
pub(crate) struct Hashing(OnceLock<mpsc::SyncSender<Job>>);

impl Hashing {
    /// Does `work` when it is its turn.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (done, result) = oneshot::channel();
        let job = move || {
            // Not for somebody who was refused meanwhile.
            if !done.is_closed() {
                let _ = done.send(work());
            }
        };
        let jobs = self.0.get_or_init(start);
        jobs.try_send(Box::new(job)).map_err(|_| Fault::Busy)?;
        match tokio::time::timeout(TIMEOUT, result).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(Fault::Internal("hashing a password hit a bug".into())),
            Err(_) => Err(Fault::Busy),
        }
    }
}

/// The threads end with the sender.
fn start() -> mpsc::SyncSender<Job> {
    let (jobs, queue) = mpsc::sync_channel(WAITING_MAX);
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..THREADS {
        let queue = Arc::clone(&queue);
        let builder = thread::Builder::new().name("hashing".into());
        // With fewer threads it takes longer; with none, requests are refused as busy.
        let _ = builder.spawn(move || work_off(&queue));
    }
    jobs
}

fn work_off(queue: &Mutex<mpsc::Receiver<Job>>) {
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(job) = next() {
        // Whoever waits for it is told by the end of its channel.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn some_wait_and_the_others_are_refused() {
        let hashing = Hashing::default();
        assert!(matches!(hashing.run(|| 7).await, Ok(7)));
        let (closed, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let jobs = hashing.0.get().unwrap();
        let mut waiting = 0;
        // Four are taken from the queue sooner or later and stand before the gate.
        while waiting < WAITING_MAX + THREADS {
            let gate = Arc::clone(&gate);
            let job = Box::new(move || {
                let _ = gate.lock().unwrap().recv();
            });
            match jobs.try_send(job) {
                Ok(()) => waiting += 1,
                Err(_) => thread::yield_now(),
            }
        }
        assert!(matches!(hashing.run(|| 7).await, Err(Fault::Busy)));
        drop(closed);
        while hashing.run(|| 7).await.is_err() {
            thread::yield_now();
        }
    }

    #[tokio::test]
    async fn a_panic_ends_no_thread() {
        let hashing = Hashing::default();
        for _ in 0..THREADS * 2 {
            let hit = hashing.run(|| assert_eq!(1, 2, "a bug")).await;
            assert!(matches!(hit, Err(Fault::Internal(_))), "{hit:?}");
        }
        assert!(matches!(hashing.run(|| 7).await, Ok(7)));
    }
}
