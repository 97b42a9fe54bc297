//! The statements that read.

use std::collections::HashMap;
use std::time::Instant;

use deadpool_postgres::ClientWrapper;
use strongroom_core::port::Changed;
use strongroom_core::port::Record;
use strongroom_core::port::RecordId;
use tokio_postgres::Row;

use crate::error::Failure;
use crate::seen::Counters;

pub(crate) const COUNTERS: &str =
    "SELECT revision, seals, generation FROM strongroom_store WHERE one = 1";
const GET: &str = "SELECT id, parent, name, value, due_at, revision FROM strongroom_record
    WHERE id = $1";
pub(crate) const GET_MANY: &str =
    "SELECT id, parent, name, value, due_at, revision FROM strongroom_record WHERE id = ANY ($1)";
const LIST: &str = "SELECT id, parent, name, value, due_at, revision FROM strongroom_record
    WHERE parent = $1 AND id > $2 ORDER BY id LIMIT $3";
const DUE: &str = "SELECT id, parent, name, value, due_at, revision FROM strongroom_record
    WHERE due_at < $1 ORDER BY due_at, id LIMIT $2";
/// Each side is cut by the limit first, so that neither table is read through.
const WATCH: &str = "SELECT id, revision, is_there FROM (
        (SELECT id, revision, true AS is_there FROM strongroom_record
            WHERE revision > $1 ORDER BY revision, id LIMIT $2)
        UNION ALL
        (SELECT id, revision, false FROM strongroom_deleted AS gone WHERE revision > $1
            AND NOT EXISTS (SELECT 1 FROM strongroom_record WHERE id = gone.id)
            ORDER BY revision, id LIMIT $2)
    ) AS changes ORDER BY revision, id LIMIT $2";
const HEADER: &str = "SELECT body FROM strongroom_header WHERE one = 1";

pub(crate) async fn counters(client: &ClientWrapper) -> Result<Counters, Failure> {
    let statement = client.prepare_cached(COUNTERS).await?;
    counters_of(&client.query_one(&statement, &[]).await?)
}

pub(crate) fn counters_of(row: &Row) -> Result<Counters, Failure> {
    let generation: Option<i64> = row.try_get(2)?;
    Ok(Counters {
        revision: unsigned(row.try_get(0)?)?,
        seals: unsigned(row.try_get(1)?)?,
        generation: unsigned(generation.unwrap_or(0))?,
    })
}

pub(crate) async fn header(client: &ClientWrapper) -> Result<Option<Vec<u8>>, Failure> {
    let statement = client.prepare_cached(HEADER).await?;
    let row = client.query_opt(&statement, &[]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

pub(crate) async fn count(client: &ClientWrapper) -> Result<u64, Failure> {
    let sql = "SELECT count(*) FROM strongroom_record";
    unsigned(client.query_one(sql, &[]).await?.try_get(0)?)
}

pub(crate) async fn get(client: &ClientWrapper, id: RecordId) -> Result<Option<Record>, Failure> {
    let statement = client.prepare_cached(GET).await?;
    let row = client.query_opt(&statement, &[&id.0.as_slice()]).await?;
    row.as_ref().map(record_of).transpose()
}

pub(crate) async fn get_many(
    client: &ClientWrapper,
    ids: &[RecordId],
) -> Result<Vec<Option<Record>>, Failure> {
    let statement = client.prepare_cached(GET_MANY).await?;
    let asked: Vec<&[u8]> = ids.iter().map(|id| id.0.as_slice()).collect();
    let rows = client.query(&statement, &[&asked]).await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let record = record_of(row)?;
        found.insert(record.id, record);
    }
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}

pub(crate) async fn list(
    client: &ClientWrapper,
    parent: RecordId,
    after: Option<RecordId>,
    limit: usize,
) -> Result<Vec<Record>, Failure> {
    let statement = client.prepare_cached(LIST).await?;
    let after: &[u8] = after.as_ref().map_or(&[], |id| &id.0);
    let parent = parent.0.as_slice();
    let rows = client
        .query(&statement, &[&parent, &after, &signed_limit(limit)])
        .await?;
    rows.iter().map(record_of).collect()
}

pub(crate) async fn due(
    client: &ClientWrapper,
    before: i64,
    limit: usize,
) -> Result<Vec<Record>, Failure> {
    let statement = client.prepare_cached(DUE).await?;
    let rows = client
        .query(&statement, &[&before, &signed_limit(limit)])
        .await?;
    rows.iter().map(record_of).collect()
}

pub(crate) async fn watch(
    client: &ClientWrapper,
    after: u64,
    limit: usize,
) -> Result<Vec<Changed>, Failure> {
    let statement = client.prepare_cached(WATCH).await?;
    // Beyond what the column holds there is nothing.
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = client
        .query(&statement, &[&after, &signed_limit(limit)])
        .await?;
    let changed = |row: &Row| {
        Ok(Changed {
            id: id_of(row.try_get(0)?)?,
            revision: unsigned(row.try_get(1)?)?,
            exists: row.try_get(2)?,
        })
    };
    rows.iter().map(changed).collect()
}

pub(crate) fn record_of(row: &Row) -> Result<Record, Failure> {
    Ok(Record {
        id: id_of(row.try_get(0)?)?,
        parent: id_of(row.try_get(1)?)?,
        name: row.try_get(2)?,
        value: row.try_get(3)?,
        due_at: row.try_get(4)?,
        revision: unsigned(row.try_get(5)?)?,
    })
}

pub(crate) fn id_of(bytes: &[u8]) -> Result<RecordId, Failure> {
    let id = bytes.try_into().map_err(|_| Failure::damaged("an id"))?;
    Ok(RecordId(id))
}

pub(crate) fn unsigned(number: i64) -> Result<u64, Failure> {
    u64::try_from(number).map_err(|_| Failure::damaged("a counter"))
}

pub(crate) fn signed(number: u64) -> Result<i64, Failure> {
    i64::try_from(number).map_err(|_| Failure::damaged("a counter"))
}

fn signed_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A moment that far ahead.
pub(crate) fn after(patience: std::time::Duration) -> Instant {
    Instant::now() + patience
}
