//! A database with, or for, a store.

use std::future::Future;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use deadpool_postgres::ClientWrapper;
use strongroom_core::port::BatchItem;
use strongroom_core::port::BoxFuture;
use strongroom_core::port::RecordId;
use strongroom_core::port::Rng;
use strongroom_core::port::StorageError;
use strongroom_crypto::SystemRng;
use strongroom_crypto::header::Header;
use strongroom_postgres::DatabaseUrl;
use strongroom_postgres::not_opened;
use tokio::runtime::Builder;
use tokio::runtime::Handle;
use tokio::runtime::Runtime;
use tokio::runtime::RuntimeFlavor;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::Failure;
use crate::error::OpenDatabaseError;
use crate::follower::Follower;
use crate::read;
use crate::read::after;
use crate::schema;
use crate::schema::MIGRATIONS;
use crate::schema::Migration;
use crate::seen::Seen;
use crate::session::SESSION_SQL;
use crate::storage::PostgresStorage;
use crate::work::Link;
use crate::work::Pause;
use crate::work::SILENCE_MAX;
use crate::work::Working;
use crate::writer;
use crate::writer::Group;
use crate::writer::NewHeader;
use crate::writer::Writer;

/// Connections that one server holds, beside one that writes and one that follows.
const CONNECTIONS_DEFAULT: usize = 8;
/// Threads that talk to the database.
const THREADS: usize = 2;
/// How long the first connection is tried.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);
/// How long one try may take, with all that is said before a session begins.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(5);
/// What a header begins with.
const HEADER_FORM: u8 = 1;

/// How a database is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most connections at once; whoever finds all of them in use waits, and then fails.
    pub connections: usize,
    /// The steps that make the tables; for tests of servers of several versions.
    pub migrations: &'static [Migration],
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS_DEFAULT,
            migrations: MIGRATIONS,
        }
    }
}

/// A database that is connected to, with its tables made.
pub struct Database {
    /// Taken on drop.
    runtime: Option<Runtime>,
    pub(crate) link: Arc<Link>,
    place: String,
    node: [u8; 16],
    hears_hints: Arc<AtomicBool>,
    header: Mutex<Option<Header>>,
}

impl Database {
    /// Connects, makes the tables where they are missing, and begins to follow.
    ///
    /// # Errors
    /// When it cannot be reached or trusted, lets nobody in, or its tables are another program's.
    pub fn connect(url: &DatabaseUrl, options: Options) -> Result<Arc<Self>, OpenDatabaseError> {
        let connector = strongroom_postgres::connector(url)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("store-postgres")
            .enable_all()
            .build()
            .map_err(|error| OpenDatabaseError::Threads {
                detail: error.to_string(),
            })?;
        let connections = options.connections.max(2);
        let pool = strongroom_postgres::pool(url, connector.clone(), connections, SESSION_SQL)?;
        let link = Arc::new(Link {
            pool,
            connections,
            seen: Seen::new(),
        });
        let mut node = [0; 16];
        SystemRng.fill(&mut node);
        let database = Arc::new(Self {
            runtime: Some(runtime),
            link,
            place: url.place(),
            node,
            hears_hints: Arc::new(AtomicBool::new(false)),
            header: Mutex::new(None),
        });
        database.start(url, connector, options.migrations)?;
        Ok(database)
    }

    fn start(
        &self,
        url: &DatabaseUrl,
        connector: MakeRustlsConnect,
        migrations: &'static [Migration],
    ) -> Result<(), OpenDatabaseError> {
        let link = Arc::clone(&self.link);
        let place = self.place.clone();
        let follower = Follower {
            link: Arc::clone(&link),
            url: url.clone(),
            connector: connector.clone(),
            hears_hints: Arc::clone(&self.hears_hints),
            known: migrations.last().map_or(0, |last| last.version),
        };
        let url = url.clone();
        let starting = async move {
            first_connection(&url, connector).await?;
            let in_words = |error| OpenDatabaseError::Storage {
                place: place.clone(),
                error,
            };
            let mut pause = Pause::until(after(OPEN_PATIENCE));
            let client = link.client(&mut pause).await.map_err(in_words)?;
            schema::migrate(&client, &place, migrations).await?;
            let question = link.seen.question();
            let counters = read::counters(&client).await;
            let counters = counters.map_err(|failure| in_words(failure.into_storage()))?;
            link.seen.note(question, counters).map_err(in_words)?;
            tokio::spawn(follower.run());
            Ok(())
        };
        self.wait(starting)
            .unwrap_or_else(|error| Err(self.failed(error)))
    }

    /// Host, port and database, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn failed(&self, error: StorageError) -> OpenDatabaseError {
        OpenDatabaseError::Storage {
            place: self.place.clone(),
            error,
        }
    }

    /// Whether it has answered lately.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        let seen = &self.link.seen;
        seen.check().is_ok() && !seen.is_older(Instant::now(), SILENCE_MAX)
    }

    /// The store's header; `None` where there is no store. Asked only when somebody has changed
    /// it, as far as is known.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn header(&self) -> Result<Option<Header>, StorageError> {
        let seen = &self.link.seen;
        let is_stale = seen.is_stale(Instant::now());
        let kept = self.kept_header();
        let is_newest = |kept: &Header| kept.generation() >= seen.generation();
        if !is_stale && kept.as_ref().is_some_and(is_newest) {
            return Ok(kept);
        }
        match self.ask(|client| Box::pin(read::header(client))) {
            Ok(None) => Ok(None),
            Ok(Some(body)) => {
                let header = decode_header(&body)?;
                self.keep_header(header.clone());
                Ok(Some(header))
            }
            // It only says who can unseal: better old than none.
            Err(StorageError::Unavailable { .. }) if kept.is_some() => Ok(kept),
            Err(error) => Err(error),
        }
    }

    /// Replaces the header, if it is still the generation it was read at.
    ///
    /// # Errors
    /// `Conflict` when somebody else has changed it.
    pub fn replace_header(&self, read_at: u64, header: &Header) -> Result<(), StorageError> {
        let body = encode_header(header)?;
        let generation = header.generation();
        let is_replaced = self.ask(move |client| {
            let body = body.clone();
            Box::pin(async move { replace_header(client, read_at, generation, &body).await })
        })?;
        if !is_replaced {
            return Err(StorageError::Conflict {
                id: RecordId([0; 16]),
            });
        }
        self.keep_header(header.clone());
        Ok(())
    }

    /// Makes a store: its header and its first records, in one transaction.
    ///
    /// # Errors
    /// When there is one already, or a move into the database is not finished.
    pub fn create(&self, header: &Header, first: &[BatchItem]) -> Result<(), OpenDatabaseError> {
        let failed = |error| self.failed(error);
        self.refuse_unfinished()?;
        let exists = || OpenDatabaseError::Exists {
            place: self.place.clone(),
        };
        if self.header().map_err(failed)?.is_some() {
            return Err(exists());
        }
        let body = encode_header(header).map_err(failed)?;
        let generation = header.generation();
        let first = first.to_vec();
        let mut writer = self.writer();
        let creating = async move {
            let group = Group {
                batches: vec![&first],
                header: Some(NewHeader { generation, body }),
            };
            writer.commit(&group).await
        };
        match self.wait(creating).and_then(|results| results) {
            Ok(results) => {
                for result in results {
                    result.map_err(failed)?;
                }
                Ok(())
            }
            // Another server may have been faster.
            Err(error) => match self.header() {
                Ok(Some(_)) => Err(exists()),
                _ => Err(failed(error)),
            },
        }
    }

    /// Refuses a database in which there are records without a header: a move into it has begun.
    ///
    /// # Errors
    /// `Unfinished`, or when it cannot be read.
    pub fn refuse_unfinished(&self) -> Result<(), OpenDatabaseError> {
        const SQL: &str = "SELECT (EXISTS (SELECT 1 FROM strongroom_move)
            OR EXISTS (SELECT 1 FROM strongroom_record))
            AND NOT EXISTS (SELECT 1 FROM strongroom_header)";
        let is_unfinished = self.ask(|client| {
            Box::pin(async move { Ok(client.query_one(SQL, &[]).await?.try_get(0)?) })
        });
        match is_unfinished.map_err(|error| self.failed(error))? {
            true => Err(OpenDatabaseError::Unfinished {
                place: self.place.clone(),
            }),
            false => Ok(()),
        }
    }

    /// The store's records.
    #[must_use]
    pub fn open(self: &Arc<Self>) -> Arc<PostgresStorage> {
        let (queue, requests) = writer::queue();
        if let Some(runtime) = &self.runtime {
            runtime.spawn(self.writer().serve(requests));
        }
        let link = Arc::clone(&self.link);
        Arc::new(PostgresStorage::new(Arc::clone(self), link, queue))
    }

    fn writer(&self) -> Writer {
        let mut id = self.node;
        // One server may open its store several times in its life.
        SystemRng.fill(&mut id[8..]);
        Writer::new(Arc::clone(&self.link), id, Arc::clone(&self.hears_hints))
    }

    /// How many records there are.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn count(&self) -> Result<u64, StorageError> {
        self.ask(|client| Box::pin(read::count(client)))
    }

    /// Seals made so far in this store's life.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn seals(&self) -> Result<u64, StorageError> {
        let counters = self.ask(|client| Box::pin(read::counters(client)))?;
        Ok(counters.seals)
    }

    fn kept_header(&self) -> Option<Header> {
        let kept = self.header.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }

    fn keep_header(&self, header: Header) {
        let mut kept = self.header.lock().unwrap_or_else(PoisonError::into_inner);
        let is_older = |kept: &Header| kept.generation() <= header.generation();
        if kept.as_ref().is_none_or(is_older) {
            *kept = Some(header);
        }
    }

    /// A read, waited for.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        work: impl for<'a> Fn(&'a ClientWrapper) -> Working<'a, T> + Send + Sync + 'static,
    ) -> Result<T, StorageError> {
        let link = Arc::clone(&self.link);
        self.wait(async move { link.read(work).await })?
    }

    /// Runs a future on the threads of the database.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, StorageError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StorageError>> {
        let task = self.runtime.as_ref().map(|runtime| runtime.spawn(future));
        Box::pin(async move {
            match task {
                Some(task) => task.await.unwrap_or_else(|_| Err(stopped())),
                None => Err(stopped()),
            }
        })
    }

    /// Runs a future on the threads of the database, and blocks until it is over.
    pub(crate) fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let runtime = self.runtime.as_ref().ok_or_else(stopped)?;
        runtime.spawn(async move {
            let _ = answer.send(future.await);
        });
        let receive = || answered.recv().map_err(|_| stopped());
        match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(receive),
            _ => receive(),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn stopped() -> StorageError {
    StorageError::Io {
        detail: "the threads that talk to the database have stopped".into(),
    }
}

/// The first connection, which says best why there is none.
async fn first_connection(
    url: &DatabaseUrl,
    connector: MakeRustlsConnect,
) -> Result<(), OpenDatabaseError> {
    let mut pause = Pause::until(after(OPEN_PATIENCE));
    loop {
        let connecting = url.config().connect(connector.clone());
        let error = match tokio::time::timeout(CONNECT_MAX, connecting).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => not_opened(&error, url.place(), url.user()).into(),
            Err(_) => OpenDatabaseError::Unreachable {
                place: url.place(),
                detail: "it does not answer".into(),
            },
        };
        let may_pass = matches!(error, OpenDatabaseError::Unreachable { .. });
        if !may_pass || !pause.wait().await {
            return Err(error);
        }
    }
}

async fn replace_header(
    client: &ClientWrapper,
    read_at: u64,
    generation: u64,
    body: &[u8],
) -> Result<bool, Failure> {
    const CLAIM: &str = "UPDATE strongroom_store SET generation = $2
        WHERE one = 1 AND generation = $1";
    // The same change once more, after a commit whose answer was lost, is no conflict.
    const IS_OURS: &str = "SELECT 1 FROM strongroom_header WHERE body = $1";
    let claim = client.prepare_cached(CLAIM).await?;
    client.batch_execute("BEGIN").await?;
    let replacing = async {
        let generations = (read::signed(read_at)?, read::signed(generation)?);
        let claimed = client
            .execute(&claim, &[&generations.0, &generations.1])
            .await?;
        if claimed == 0 {
            let is_ours = client.query_opt(IS_OURS, &[&body]).await?.is_some();
            client.batch_execute("ROLLBACK").await?;
            return Ok(is_ours);
        }
        let change = "UPDATE strongroom_header SET body = $1 WHERE one = 1";
        client.execute(change, &[&body]).await?;
        client.batch_execute("COMMIT").await?;
        Ok(true)
    };
    let replaced: Result<bool, Failure> = replacing.await;
    if replaced.is_err() {
        let _ = client.batch_execute("ROLLBACK").await;
    }
    replaced
}

pub(crate) fn encode_header(header: &Header) -> Result<Vec<u8>, StorageError> {
    let body = postcard::to_stdvec(header).map_err(|_| StorageError::Io {
        detail: "the header cannot be encoded".into(),
    })?;
    Ok([&[HEADER_FORM], body.as_slice()].concat())
}

fn decode_header(bytes: &[u8]) -> Result<Header, StorageError> {
    let header = match bytes.split_first() {
        Some((&HEADER_FORM, body)) => postcard::from_bytes(body).ok(),
        _ => None,
    };
    header.ok_or_else(|| StorageError::Damaged {
        detail: "its header cannot be read".into(),
    })
}
