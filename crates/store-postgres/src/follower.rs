//! Asks again and again what others have committed. What the database says by itself is only a
//! hint to ask at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use futures_util::StreamExt;
use futures_util::future::ready;
use futures_util::stream;
use strongroom_core::port::StorageError;
use strongroom_postgres::DatabaseUrl;
use tokio::sync::Notify;
use tokio_postgres::AsyncMessage;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::database::CONNECT_MAX;
use crate::error::Failure;
use crate::read;
use crate::session::SESSION_SQL;
use crate::work::Link;

/// How often the revision is asked.
pub const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// After a hint, no sooner than that after the last question.
const HINT_INTERVAL: Duration = Duration::from_millis(10);
/// An answer that takes longer says that something is wrong.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The name under which servers tell each other of commits.
pub(crate) const CHANNEL: &str = "strongroom";
/// What a program has to know to work with the tables as they are now.
const NEEDED: &str = "SELECT max(needs) FROM strongroom_migration";
/// So many questions for one that asks whether the tables are still ours.
const QUESTIONS_PER_CHECK: u64 = 20;

/// What the follower needs.
pub(crate) struct Follower {
    pub(crate) link: Arc<Link>,
    pub(crate) url: DatabaseUrl,
    pub(crate) connector: MakeRustlsConnect,
    pub(crate) hears_hints: Arc<AtomicBool>,
    /// The version of the tables that this program knows.
    pub(crate) known: i32,
}

impl Follower {
    /// Follows until its task is ended.
    pub(crate) async fn run(self) {
        loop {
            // A failure is told by what requests find: what is in memory becomes stale.
            let _ = self.follow().await;
            self.hears_hints.store(false, Ordering::Relaxed);
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Follows on one connection of its own, as long as it lasts.
    async fn follow(&self) -> Result<(), Failure> {
        let connecting = self.url.config().connect(self.connector.clone());
        let Ok(connected) = tokio::time::timeout(CONNECT_MAX, connecting).await else {
            return Ok(());
        };
        let (client, mut connection) = connected?;
        let hint = Arc::new(Notify::new());
        let heard = Arc::clone(&hint);
        let messages = stream::poll_fn(move |context| connection.poll_message(context));
        let messages = messages.take_while(|message| ready(message.is_ok()));
        let driving = tokio::spawn(messages.for_each(move |message| {
            if let Ok(AsyncMessage::Notification(_)) = message {
                heard.notify_one();
            }
            ready(())
        }));
        // A statement of the pool's kind, with its cache.
        let client = ClientWrapper::new(client, driving);
        client.batch_execute(SESSION_SQL).await?;
        // A database that cannot do that is only asked.
        let listens = client.batch_execute("LISTEN strongroom").await.is_ok();
        self.hears_hints.store(listens, Ordering::Relaxed);
        let mut questions = 0_u64;
        loop {
            let ask = tokio::time::timeout(ANSWER_MAX, self.ask(&client, questions));
            match ask.await {
                Ok(asked) => asked?,
                Err(_) => return Ok(()),
            }
            questions += 1;
            let _ = tokio::time::timeout(POLL_INTERVAL, hint.notified()).await;
            tokio::time::sleep(HINT_INTERVAL).await;
        }
    }

    async fn ask(&self, client: &ClientWrapper, questions: u64) -> Result<(), Failure> {
        let question = self.link.seen.question();
        let counters = read::counters(client).await?;
        let noted = self.link.seen.note(question, counters);
        noted.map_err(Failure::Stored)?;
        let is_suspicious = self.link.seen.take_suspicion();
        if !is_suspicious && !questions.is_multiple_of(QUESTIONS_PER_CHECK) {
            return Ok(());
        }
        let statement = client.prepare_cached(NEEDED).await?;
        let needed: Option<i32> = client.query_one(&statement, &[]).await?.try_get(0)?;
        if needed.is_some_and(|needed| needed > self.known) {
            self.link.seen.stop(StorageError::ReadOnly {
                detail: "a later program has changed its tables: update this one".into(),
            });
        }
        Ok(())
    }
}
