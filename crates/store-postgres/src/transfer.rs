//! A store that is moved into a database, piece by piece, under its revisions.

use std::sync::Arc;

use deadpool_postgres::ClientWrapper;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use strongroom_crypto::header::Header;

use crate::database::Database;
use crate::database::encode_header;
use crate::error::Failure;
use crate::error::OpenDatabaseError;
use crate::limits;
use crate::read;
use crate::read::signed;

const PUT: &str = "INSERT INTO strongroom_record (id, parent, name, value, due_at, revision)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (id) DO UPDATE SET parent = excluded.parent, name = excluded.name,
        value = excluded.value, due_at = excluded.due_at, revision = excluded.revision";
const DELETE: &str = "DELETE FROM strongroom_record WHERE id = $1";
const BURY: &str = "INSERT INTO strongroom_deleted (id, revision) VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET revision = excluded.revision";
const NOTE: &str = "UPDATE strongroom_move SET revision = $1 WHERE one = 1";

/// A store on its way into a database. Until it is finished there is no header, so nobody takes it
/// for a store.
pub struct Arrival {
    database: Arc<Database>,
    revision: u64,
}

impl Arrival {
    /// Begins, or goes on with the move of the same store.
    ///
    /// # Errors
    /// When there is a store already, or an unfinished move of another one.
    pub fn begin(database: Arc<Database>, source: [u8; 16]) -> Result<Self, OpenDatabaseError> {
        let place = database.place().to_owned();
        let failed = |error| database.failed(error);
        if database.header().map_err(failed)?.is_some() {
            return Err(OpenDatabaseError::Exists { place });
        }
        let begun = database.ask(|client| {
            Box::pin(async move {
                let sql = "SELECT source, revision FROM strongroom_move WHERE one = 1";
                let row = client.query_opt(sql, &[]).await?;
                let begun = |row: tokio_postgres::Row| {
                    let source: Vec<u8> = row.try_get(0)?;
                    Ok::<_, Failure>((source, read::unsigned(row.try_get(1)?)?))
                };
                row.map(begun).transpose()
            })
        });
        let revision = match begun.map_err(failed)? {
            Some((begun, revision)) if begun == source => revision,
            Some(_) => return Err(OpenDatabaseError::Unfinished { place }),
            None => {
                database.refuse_unfinished()?;
                let begin = database.ask(move |client| {
                    Box::pin(async move {
                        let sql = "INSERT INTO strongroom_move (one, source, revision)
                            VALUES (1, $1, 0) ON CONFLICT (one) DO NOTHING";
                        client.execute(sql, &[&source.as_slice()]).await?;
                        Ok(())
                    })
                });
                begin.map_err(failed)?;
                0
            }
        };
        Ok(Self { database, revision })
    }

    /// Up to which revision everything is there.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes records as they are, and notes that everything up to a revision is there.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn take(
        &mut self,
        records: Vec<Record>,
        deleted: Vec<(RecordId, u64)>,
        up_to: u64,
    ) -> Result<(), OpenDatabaseError> {
        for record in &records {
            let (name, value) = (record.name.len(), record.value.len());
            limits::check_record(limits::wide(name), limits::wide(value))
                .map_err(|error| self.database.failed(error))?;
        }
        let piece = Arc::new((records, deleted));
        let taken = self.database.ask(move |client| {
            let piece = Arc::clone(&piece);
            Box::pin(async move {
                let (records, deleted) = &*piece;
                in_transaction(client, take(client, records, deleted, up_to)).await
            })
        });
        taken.map_err(|error| self.database.failed(error))?;
        self.revision = up_to;
        Ok(())
    }

    /// Some of the records that are there, in the order asked.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn get_many(&self, ids: Vec<RecordId>) -> Result<Vec<Option<Record>>, OpenDatabaseError> {
        let ids = Arc::new(ids);
        let found = self.database.ask(move |client| {
            let ids = Arc::clone(&ids);
            Box::pin(async move { read::get_many(client, &ids).await })
        });
        found.map_err(|error| self.database.failed(error))
    }

    /// How many records are there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn count(&self) -> Result<u64, OpenDatabaseError> {
        let count = self.database.count();
        count.map_err(|error| self.database.failed(error))
    }

    /// Makes it a store.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn finish(
        self,
        header: &Header,
        revision: u64,
        seals: u64,
    ) -> Result<(), OpenDatabaseError> {
        let failed = |error| self.database.failed(error);
        let body = encode_header(header).map_err(failed)?;
        let generation = header.generation();
        let finished = self.database.ask(move |client| {
            let body = body.clone();
            Box::pin(async move {
                in_transaction(client, finish(client, &body, generation, revision, seals)).await
            })
        });
        finished.map_err(failed)
    }
}

async fn in_transaction(
    client: &ClientWrapper,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    client.batch_execute("BEGIN").await?;
    let done = work.await;
    match done {
        Ok(()) => Ok(client.batch_execute("COMMIT").await?),
        Err(failure) => {
            let _ = client.batch_execute("ROLLBACK").await;
            Err(failure)
        }
    }
}

async fn take(
    client: &ClientWrapper,
    records: &[Record],
    deleted: &[(RecordId, u64)],
    up_to: u64,
) -> Result<(), Failure> {
    let put = client.prepare_cached(PUT).await?;
    let delete = client.prepare_cached(DELETE).await?;
    let bury = client.prepare_cached(BURY).await?;
    for record in records {
        let (id, parent) = (record.id.0.as_slice(), record.parent.0.as_slice());
        let (name, value) = (&record.name, &record.value);
        let revision = signed(record.revision)?;
        client
            .execute(
                &put,
                &[&id, &parent, name, value, &record.due_at, &revision],
            )
            .await?;
    }
    for (id, revision) in deleted {
        let id = id.0.as_slice();
        client.execute(&delete, &[&id]).await?;
        client.execute(&bury, &[&id, &signed(*revision)?]).await?;
    }
    client.execute(NOTE, &[&signed(up_to)?]).await?;
    Ok(())
}

async fn finish(
    client: &ClientWrapper,
    body: &[u8],
    generation: u64,
    revision: u64,
    seals: u64,
) -> Result<(), Failure> {
    let header = "INSERT INTO strongroom_header (one, body) VALUES (1, $1)";
    client.execute(header, &[&body]).await?;
    let counters = "UPDATE strongroom_store SET revision = $1, seals = $2, generation = $3
        WHERE one = 1";
    let numbers = (signed(revision)?, signed(seals)?, signed(generation)?);
    client
        .execute(counters, &[&numbers.0, &numbers.1, &numbers.2])
        .await?;
    client.batch_execute("DELETE FROM strongroom_move").await?;
    Ok(())
}
