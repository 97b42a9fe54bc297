//! Work on a connection of the pool, tried again while that helps.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::time::Duration;
use std::time::Instant;

use deadpool_postgres::Client;
use deadpool_postgres::ClientWrapper;
use deadpool_postgres::Pool;
use strongroom_core::port::StorageError;

use crate::error::Course;
use crate::error::Failure;
use crate::error::no_connection;
use crate::read::after;
use crate::seen::Seen;
use crate::session::STATEMENT_MAX;

/// How long a read is tried while the database is away.
const READ_PATIENCE: Duration = Duration::from_secs(3);
/// A database that has been silent for longer is out of reach: nobody waits for it any more.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(5);
/// An answer that has not come by then does not come: the connection is given up.
pub(crate) const ANSWER_MAX: Duration = STATEMENT_MAX.saturating_add(Duration::from_secs(2));
/// Pauses between tries: the first, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// A piece of work on one connection.
pub(crate) type Working<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// The connections, and what is known without them.
pub(crate) struct Link {
    pub(crate) pool: Pool,
    pub(crate) connections: usize,
    pub(crate) seen: Seen,
}

impl Link {
    /// Runs reads until they succeed, the patience is over, or trying again makes no sense.
    pub(crate) async fn read<T>(
        &self,
        work: impl for<'a> Fn(&'a ClientWrapper) -> Working<'a, T> + Send + Sync,
    ) -> Result<T, StorageError> {
        let mut pause = self.pause(READ_PATIENCE);
        loop {
            self.seen.check()?;
            let client = self.client(&mut pause).await?;
            let answer = tokio::time::timeout(ANSWER_MAX, work(&client)).await;
            let failure = match answer {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(failure)) => failure,
                Err(_) => {
                    discard(client);
                    return Err(StorageError::Unavailable {
                        detail: "it does not answer".into(),
                    });
                }
            };
            if failure.is_of_tables() {
                self.seen.suspect_tables();
            }
            match failure.course() {
                Course::Give => return Err(failure.into_storage()),
                Course::Reconnect => discard(client),
                Course::Again => {}
            }
            if !pause.wait().await {
                return Err(failure.into_storage());
            }
        }
    }

    /// Pauses for as long, or none where the database has been away for a while.
    pub(crate) fn pause(&self, patience: Duration) -> Pause {
        let is_away = self.seen.is_older(Instant::now(), SILENCE_MAX);
        Pause::until(after(if is_away { Duration::ZERO } else { patience }))
    }

    /// A connection; waits for one while that may help.
    pub(crate) async fn client(&self, pause: &mut Pause) -> Result<Client, StorageError> {
        loop {
            let error = match self.pool.get().await {
                Ok(client) => return Ok(client),
                Err(error) => error,
            };
            let (error, course) = no_connection(&error, self.connections);
            if course == Course::Give || !pause.wait().await {
                return Err(error);
            }
        }
    }
}

/// Takes a connection that is of no use out of the pool.
pub(crate) fn discard(client: Client) {
    drop(Client::take(client));
}

/// Growing pauses that end at a deadline.
pub(crate) struct Pause {
    until: Instant,
    next: Duration,
}

impl Pause {
    pub(crate) fn until(until: Instant) -> Self {
        Self {
            until,
            next: PAUSE_FIRST,
        }
    }

    /// False when there is no time left.
    pub(crate) async fn wait(&mut self) -> bool {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        // Half of it by chance: many that failed together do not come back together.
        let half = self.next / 2;
        let chance = RandomState::new().hash_one(()) % 1000;
        let chance = u32::try_from(chance).unwrap_or_default();
        tokio::time::sleep((half + half * chance / 1000).min(left)).await;
        self.next = (self.next * 2).min(PAUSE_MAX);
        true
    }
}
