//! Group commit: the batches of one server that wait are written in one transaction.
//!
//! A transaction takes two turns to the database: one locks the row of the counters and reads what
//! the batches need, one writes everything and commits. If the connection is lost in between, or
//! while committing, the group is tried again on another one: the row of this server in
//! `strongroom_node` says whether the lost transaction was committed. It is read under the lock
//! that the lost one held, so it cannot be committed later.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deadpool_postgres::Client;
use deadpool_postgres::ClientWrapper;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::future::join;
use futures_util::future::join_all;
use futures_util::future::join3;
use strongroom_core::port::BatchItem;
use strongroom_core::port::RecordId;
use strongroom_core::port::StorageError;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio_postgres::Row;
use tokio_postgres::Statement;

use crate::apply::Needed;
use crate::apply::Overlay;
use crate::error::Course;
use crate::error::Failure;
use crate::error::unknown_outcome;
use crate::follower::CHANNEL;
use crate::limits::BATCH_BYTES_MAX;
use crate::read;
use crate::read::after;
use crate::read::signed;
use crate::seen::Counters;
use crate::seen::Question;
use crate::work::ANSWER_MAX;
use crate::work::Link;
use crate::work::Pause;
use crate::work::discard;

/// Most batches joined into one transaction.
const GROUP_MAX: usize = 512;
/// Most batches waiting; past that, writers wait to submit.
const QUEUE_MAX: usize = 4096;
/// How long a group is tried while the database is away.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// How long it is then asked whether a commit that was cut off has happened.
const OUTCOME_PATIENCE: Duration = Duration::from_secs(30);

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
const LOCK: &str =
    "SELECT revision, seals, generation FROM strongroom_store WHERE one = 1 FOR UPDATE";
const REVISIONS: &str = "SELECT id, revision FROM strongroom_record WHERE id = ANY ($1)";
const OWN_GROUP: &str = "SELECT last_group, revision FROM strongroom_node WHERE id = $1";
const PUT: &str = "INSERT INTO strongroom_record (id, parent, name, value, due_at, revision)
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bigint[],
        $6::bigint[])
    ON CONFLICT (id) DO UPDATE SET parent = excluded.parent, name = excluded.name,
        value = excluded.value, due_at = excluded.due_at, revision = excluded.revision";
const DELETE: &str = "DELETE FROM strongroom_record WHERE id = ANY ($1)";
const BURY: &str = "INSERT INTO strongroom_deleted (id, revision)
    SELECT * FROM unnest($1::bytea[], $2::bigint[])
    ON CONFLICT (id) DO UPDATE SET revision = excluded.revision";
const COUNT: &str = "UPDATE strongroom_store SET revision = $1, seals = $2 WHERE one = 1";
const NOTE_GROUP: &str = "INSERT INTO strongroom_node (id, last_group, revision)
    VALUES ($1, $2, $3)
    ON CONFLICT (id) DO UPDATE SET last_group = excluded.last_group,
        revision = excluded.revision, seen = now()";
const SEEN: &str = "UPDATE strongroom_node SET seen = now() WHERE id = $1";
const HEADER: &str = "INSERT INTO strongroom_header (one, body) VALUES (1, $1)";
const HEADER_GENERATION: &str = "UPDATE strongroom_store SET generation = $1 WHERE one = 1";
const NOTIFY: &str = "SELECT pg_notify($1, '')";

/// A batch on its way to the database.
pub(crate) struct Request {
    pub(crate) batch: Vec<BatchItem>,
    pub(crate) bytes: u64,
    pub(crate) reply: oneshot::Sender<Result<u64, StorageError>>,
}

/// The header of a new store, written with its first records.
pub(crate) struct NewHeader {
    pub(crate) generation: u64,
    pub(crate) body: Vec<u8>,
}

/// What one server writes with.
pub(crate) struct Writer {
    link: Arc<Link>,
    /// Names this server in `strongroom_node`.
    id: [u8; 16],
    /// The number of the group that is being written.
    group: u64,
    client: Option<Client>,
    hears_hints: Arc<AtomicBool>,
}

/// Batches that are written together.
pub(crate) struct Group<'a> {
    pub(crate) batches: Vec<&'a Vec<BatchItem>>,
    pub(crate) header: Option<NewHeader>,
}

type Results = Vec<Result<u64, StorageError>>;

pub(crate) fn queue() -> (mpsc::Sender<Request>, mpsc::Receiver<Request>) {
    mpsc::channel(QUEUE_MAX)
}

impl Writer {
    pub(crate) fn new(link: Arc<Link>, id: [u8; 16], hears_hints: Arc<AtomicBool>) -> Self {
        Self {
            link,
            id,
            group: 0,
            client: None,
            hears_hints,
        }
    }

    /// Writes what is sent until nobody can send any more.
    pub(crate) async fn serve(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(request) => Some(request),
                None => requests.recv().await,
            };
            let Some(first) = first else { return };
            let waiting;
            (waiting, next) = gather(&mut requests, first);
            let group = Group {
                batches: waiting.iter().map(|request| &request.batch).collect(),
                header: None,
            };
            let results = match self.commit(&group).await {
                Ok(results) => results,
                Err(error) => vec![Err(error); waiting.len()],
            };
            drop(group);
            for (request, result) in waiting.into_iter().zip(results) {
                // A caller that has gone does not need the answer.
                let _ = request.reply.send(result);
            }
        }
    }

    /// Writes a group; tried again while that helps.
    pub(crate) async fn commit(&mut self, group: &Group<'_>) -> Result<Results, StorageError> {
        self.link.seen.check()?;
        self.group += 1;
        let mut tries = Tries::default();
        let mut pause = self.link.pause(WRITE_PATIENCE);
        loop {
            let (error, course) = match self.attempt(group, &mut tries, &mut pause).await {
                Ok(results) => return Ok(results),
                Err(stopped) => stopped,
            };
            if course != Course::Give && pause.wait().await {
                continue;
            }
            // Nothing was sent, or what was sent was refused.
            if tries.unresolved.is_none() {
                return Err(error);
            }
            let detail = error.to_string();
            return self.outcome(tries, &detail).await;
        }
    }

    /// One try on one connection, which is kept if it is still of use.
    async fn attempt(
        &mut self,
        group: &Group<'_>,
        tries: &mut Tries,
        pause: &mut Pause,
    ) -> Result<Results, (StorageError, Course)> {
        tries.is_sent = false;
        let client = match self.client.take() {
            Some(client) if !client.is_closed() => client,
            _ => {
                let client = self.link.client(pause).await;
                client.map_err(|error| (error, Course::Give))?
            }
        };
        let turn = tokio::time::timeout(ANSWER_MAX, self.turn(&client, group, tries));
        let failure = match turn.await {
            Ok(Ok(results)) => {
                self.client = Some(client);
                return Ok(results);
            }
            Ok(Err(failure)) => failure,
            Err(_) => {
                discard(client);
                let detail = "it does not answer".into();
                return Err((StorageError::Unavailable { detail }, Course::Reconnect));
            }
        };
        if failure.is_of_tables() {
            self.link.seen.suspect_tables();
        }
        let course = failure.course();
        if course == Course::Reconnect {
            discard(client);
            return Err((failure.into_storage(), course));
        }
        // The database has refused a part of what was sent: nothing of it was committed.
        if tries.is_sent {
            tries.unresolved = None;
        }
        match client.batch_execute("ROLLBACK").await {
            Ok(()) => self.client = Some(client),
            Err(_) => discard(client),
        }
        Err((failure.into_storage(), course))
    }

    /// Locks, reads, applies, writes, commits.
    async fn turn(
        &self,
        client: &ClientWrapper,
        group: &Group<'_>,
        tries: &mut Tries,
    ) -> Result<Results, Failure> {
        let needed = Needed::of(group.batches.iter().copied());
        let revisions = ids(&needed.revisions);
        let whole = ids(&needed.whole);
        let lock = client.prepare_cached(LOCK).await?;
        let read_revisions = client.prepare_cached(REVISIONS).await?;
        let read_whole = client.prepare_cached(read::GET_MANY).await?;
        // All in one go: each statement sees what was committed before it began, and those after
        // the lock begin when it is held.
        let (begun, locked, (known, read)) = join3(
            client.batch_execute(BEGIN),
            client.query_one(&lock, &[]),
            join(
                query_unless_empty(client, &read_revisions, &revisions),
                query_unless_empty(client, &read_whole, &whole),
            ),
        )
        .await;
        begun?;
        let counters = read::counters_of(&locked?)?;
        let question = self.link.seen.question();
        if let Some(results) = &tries.unresolved {
            if self.is_committed(client).await? {
                let results = results.clone();
                // It may not have reached the standby yet; whatever is committed behind it tells.
                let seen = client.prepare_cached(SEEN).await?;
                client.execute(&seen, &[&self.id.as_slice()]).await?;
                client.batch_execute("COMMIT").await?;
                self.note(question, counters)?;
                return Ok(results);
            }
            tries.unresolved = None;
        }
        let mut overlay = Overlay::new(counters.revision, counters.seals, &needed);
        for row in known? {
            overlay.found(
                read::id_of(row.try_get(0)?)?,
                read::unsigned(row.try_get(1)?)?,
            );
        }
        for row in read? {
            overlay.found_whole(read::record_of(&row)?);
        }
        let batches = group.batches.iter();
        let results: Results = batches.map(|batch| overlay.apply(batch)).collect();
        if overlay.revision == counters.revision {
            client.batch_execute("ROLLBACK").await?;
            return Ok(results);
        }
        tries.unresolved = Some(results.clone());
        tries.is_sent = true;
        // Nobody else commits until this does: all that is older is known.
        let question = self.link.seen.question();
        self.write(client, group, &overlay).await?;
        tries.unresolved = None;
        let header = group.header.as_ref();
        let now = Counters {
            revision: overlay.revision,
            seals: overlay.seals,
            generation: header.map_or(counters.generation, |header| header.generation),
        };
        self.note(question, now)?;
        Ok(results)
    }

    /// Whether the group that was sent last is in the database. Asked under the lock.
    async fn is_committed(&self, client: &ClientWrapper) -> Result<bool, Failure> {
        let row = client.query_opt(OWN_GROUP, &[&self.id.as_slice()]).await?;
        let Some(row) = row else { return Ok(false) };
        Ok(read::unsigned(row.try_get(0)?)? == self.group)
    }

    async fn write(
        &self,
        client: &ClientWrapper,
        group: &Group<'_>,
        overlay: &Overlay,
    ) -> Result<(), Failure> {
        let put = client.prepare_cached(PUT).await?;
        let delete = client.prepare_cached(DELETE).await?;
        let bury = client.prepare_cached(BURY).await?;
        let count = client.prepare_cached(COUNT).await?;
        let note = client.prepare_cached(NOTE_GROUP).await?;
        if let Some(header) = &group.header {
            insert_header(client, header).await?;
        }
        let rows = Rows::of(overlay)?;
        let (revision, seals) = (signed(overlay.revision)?, signed(overlay.seals)?);
        let (id, number) = (self.id.as_slice(), signed(self.group)?);
        let mut steps: Vec<Step<'_>> = Vec::new();
        if !rows.ids.is_empty() {
            steps.push(rows.put(client, &put).boxed());
        }
        if !rows.gone.is_empty() {
            steps.push(rows.delete(client, &delete).boxed());
            steps.push(rows.bury(client, &bury).boxed());
        }
        steps.push(
            async move {
                client.execute(&count, &[&revision, &seals]).await?;
                Ok(())
            }
            .boxed(),
        );
        steps.push(
            async move {
                client.execute(&note, &[&id, &number, &revision]).await?;
                Ok(())
            }
            .boxed(),
        );
        if self.hears_hints.load(Ordering::Relaxed) {
            let notify = client.prepare_cached(NOTIFY).await?;
            steps.push(
                async move {
                    client.execute(&notify, &[&CHANNEL]).await?;
                    Ok(())
                }
                .boxed(),
            );
        }
        steps.push(client.batch_execute("COMMIT").boxed());
        // Sent in this order, without waiting in between. After a step that failed the database
        // takes the COMMIT for a ROLLBACK; the first failure is the one that says why.
        let done = join_all(steps).await;
        done.into_iter()
            .collect::<Result<Vec<()>, tokio_postgres::Error>>()?;
        Ok(())
    }

    fn note(&self, question: Question, counters: Counters) -> Result<(), Failure> {
        let noted = self.link.seen.note(question, counters);
        noted.map_err(Failure::Stored)
    }

    /// After the patience is over: what came of a commit that was cut off.
    async fn outcome(&mut self, mut tries: Tries, detail: &str) -> Result<Results, StorageError> {
        let mut pause = Pause::until(after(OUTCOME_PATIENCE));
        let nothing = Group {
            batches: Vec::new(),
            header: None,
        };
        loop {
            // An empty group: it finds what was sent, or that it is not there.
            match self.attempt(&nothing, &mut tries, &mut pause).await {
                Ok(results) if !results.is_empty() => return Ok(results),
                Ok(_) => {
                    return Err(StorageError::Unavailable {
                        detail: detail.to_owned(),
                    });
                }
                Err((_, Course::Give)) => return Err(unknown_outcome(detail)),
                Err(_) if pause.wait().await => {}
                Err(_) => return Err(unknown_outcome(detail)),
            }
        }
    }
}

/// What happened to a group so far.
#[derive(Default)]
struct Tries {
    /// What it comes to, if the commit that was sent last, and not answered, has happened.
    unresolved: Option<Results>,
    /// The present try has sent a commit.
    is_sent: bool,
}

type Step<'a> = BoxFuture<'a, Result<(), tokio_postgres::Error>>;

async fn insert_header(
    client: &ClientWrapper,
    header: &NewHeader,
) -> Result<(), tokio_postgres::Error> {
    let generation = i64::try_from(header.generation).unwrap_or(i64::MAX);
    client.execute(HEADER, &[&header.body]).await?;
    client.execute(HEADER_GENERATION, &[&generation]).await?;
    Ok(())
}

async fn query_unless_empty(
    client: &ClientWrapper,
    statement: &Statement,
    ids: &[&[u8]],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    match ids.is_empty() {
        true => Ok(Vec::new()),
        false => client.query(statement, &[&ids]).await,
    }
}

fn ids(ids: &[RecordId]) -> Vec<&[u8]> {
    ids.iter().map(|id| id.0.as_slice()).collect()
}

/// Records as columns: one statement writes all of them.
#[derive(Default)]
struct Rows<'a> {
    ids: Vec<&'a [u8]>,
    parents: Vec<&'a [u8]>,
    names: Vec<&'a [u8]>,
    values: Vec<&'a [u8]>,
    due: Vec<Option<i64>>,
    revisions: Vec<i64>,
    gone: Vec<Vec<u8>>,
    gone_at: Vec<i64>,
}

impl<'a> Rows<'a> {
    fn of(overlay: &'a Overlay) -> Result<Self, Failure> {
        let mut rows = Self::default();
        // Every server locks rows in the same order.
        let mut written: Vec<_> = overlay.written().collect();
        written.sort_unstable_by_key(|record| record.id);
        for record in written {
            rows.ids.push(&record.id.0);
            rows.parents.push(&record.parent.0);
            rows.names.push(&record.name);
            rows.values.push(&record.value);
            rows.due.push(record.due_at);
            rows.revisions.push(signed(record.revision)?);
        }
        for (id, revision) in overlay.deleted() {
            rows.gone.push(id.0.to_vec());
            rows.gone_at.push(signed(revision)?);
        }
        Ok(rows)
    }

    async fn put(
        &self,
        client: &ClientWrapper,
        statement: &Statement,
    ) -> Result<(), tokio_postgres::Error> {
        client
            .execute(
                statement,
                &[
                    &self.ids,
                    &self.parents,
                    &self.names,
                    &self.values,
                    &self.due,
                    &self.revisions,
                ],
            )
            .await?;
        Ok(())
    }

    async fn delete(
        &self,
        client: &ClientWrapper,
        statement: &Statement,
    ) -> Result<(), tokio_postgres::Error> {
        client.execute(statement, &[&self.gone]).await?;
        Ok(())
    }

    async fn bury(
        &self,
        client: &ClientWrapper,
        statement: &Statement,
    ) -> Result<(), tokio_postgres::Error> {
        client
            .execute(statement, &[&self.gone, &self.gone_at])
            .await?;
        Ok(())
    }
}

/// What waits, as far as it fits into one transaction; and what did not fit any more.
fn gather(
    requests: &mut mpsc::Receiver<Request>,
    first: Request,
) -> (Vec<Request>, Option<Request>) {
    let mut bytes = first.bytes;
    let mut waiting = vec![first];
    while waiting.len() < GROUP_MAX {
        let Ok(request) = requests.try_recv() else {
            break;
        };
        if bytes + request.bytes > BATCH_BYTES_MAX {
            return (waiting, Some(request));
        }
        bytes += request.bytes;
        waiting.push(request);
    }
    (waiting, None)
}
