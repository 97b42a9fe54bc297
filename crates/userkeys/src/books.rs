//! The table that says which tables are attached, and with what.

use deadpool_postgres::ClientWrapper;
use deadpool_postgres::Transaction;
use strongroom_crypto::barrier::Barrier;
use tokio_postgres::Row;

use crate::database::Database;
use crate::error::UserKeysError;
use crate::inspect;
use crate::inspect::Inspection;
use crate::seal::Sealer;
use crate::table::Attachment;
use crate::table::BOOKS;
use crate::table::Columns;
use crate::table::Settings;
use crate::table::TableName;
use crate::table::quoted;

/// The form of an attachment.
const VERSION: i32 = 1;

const COLUMNS: &str = "schema_name, table_name, user_column, name_column, plain_column,
    encrypted_column, user_type, name_type, updated_column, flat_names, pgcrypto_keys,
    made_encrypted, plain_was_required, state, store_mark";

fn create(attachment: &Attachment) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
            schema_name text NOT NULL,
            table_name text NOT NULL,
            version integer NOT NULL,
            store_mark bytea NOT NULL,
            state text NOT NULL CHECK (state IN ('attached', 'leaving')),
            user_column text NOT NULL,
            name_column text NOT NULL,
            plain_column text NOT NULL,
            encrypted_column text NOT NULL,
            user_type text NOT NULL,
            name_type text NOT NULL,
            updated_column text,
            flat_names boolean NOT NULL,
            pgcrypto_keys text[] NOT NULL,
            made_encrypted boolean NOT NULL,
            plain_was_required boolean NOT NULL,
            attached_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (schema_name, table_name))",
        attachment.books_in_sql()
    )
}

fn read(row: &Row) -> (Attachment, Vec<u8>) {
    let attachment = Attachment {
        schema: row.get(0),
        table: row.get(1),
        settings: Settings {
            columns: Columns {
                user: row.get(2),
                name: row.get(3),
                plain: row.get(4),
                encrypted: row.get(5),
            },
            has_flat_names: row.get(9),
            pgcrypto_keys: row.get(10),
        },
        types: (row.get(6), row.get(7)),
        updated: row.get(8),
        made_encrypted: row.get(11),
        plain_was_required: row.get(12),
        is_leaving: row.get::<_, String>(13) == "leaving",
    };
    (attachment, row.get(14))
}

/// The attachment of a table, or the only one; with the mark of the store it belongs to.
pub(crate) async fn find(
    database: &Database,
    client: &ClientWrapper,
    table: Option<&TableName>,
) -> Result<Option<(Attachment, Vec<u8>)>, UserKeysError> {
    const HAS_BOOKS: &str = "SELECT to_regclass($1) IS NOT NULL";
    let failed = |error: tokio_postgres::Error| database.failed(&error);
    let found = match table {
        Some(table) => Some(inspect::find(client, database, table).await?),
        None => None,
    };
    let books = match &found {
        Some((schema, ..)) => format!("{}.{BOOKS}", quoted(schema)),
        None => BOOKS.to_owned(),
    };
    let row = client
        .query_one(HAS_BOOKS, &[&books])
        .await
        .map_err(failed)?;
    if !row.get::<_, bool>(0) {
        return Ok(None);
    }
    let name = found.as_ref().map(|(_, name, _)| name.clone());
    let sql = format!(
        "SELECT {COLUMNS} FROM {books} WHERE $1::text IS NULL OR table_name = $1 ORDER BY 1, 2"
    );
    let rows = client.query(&sql, &[&name]).await.map_err(failed)?;
    if rows.len() > 1 {
        let tables = rows.iter().map(|row| read(row).0.name()).collect();
        return Err(UserKeysError::Ambiguous { tables });
    }
    Ok(rows.first().map(read))
}

/// The attachment; there has to be one, and it has to belong to this store.
pub(crate) async fn require(
    database: &Database,
    client: &ClientWrapper,
    table: Option<&TableName>,
    barrier: &Barrier,
) -> Result<Attachment, UserKeysError> {
    let found = find(database, client, table).await?;
    let Some((attachment, mark)) = found else {
        return Err(UserKeysError::NotAttached {
            table: table.map(ToString::to_string),
            place: database.place().to_owned(),
        });
    };
    if mark != Sealer::mark(barrier, &attachment) {
        return Err(UserKeysError::OtherStore {
            table: attachment.name(),
        });
    }
    Ok(attachment)
}

/// Attaches a table that was inspected; takes one back that was being rolled back. Whether
/// anything was changed.
///
/// # Errors
/// When it does not fit, is another store's, or is attached with other settings.
pub async fn attach(
    database: &Database,
    inspection: &Inspection,
    barrier: &Barrier,
) -> Result<bool, UserKeysError> {
    let wanted = &inspection.attachment;
    let name = TableName {
        schema: Some(wanted.schema.clone()),
        table: wanted.table.clone(),
    };
    let mut client = database.client().await?;
    let failed = |error: tokio_postgres::Error| database.failed(&error);
    if find(database, &client, Some(&name)).await?.is_some() {
        let known = require(database, &client, Some(&name), barrier).await?;
        check_same(&known, wanted)?;
        let sql = format!(
            "UPDATE {} SET state = 'attached', pgcrypto_keys = $3
             WHERE schema_name = $1 AND table_name = $2
                AND (state <> 'attached' OR pgcrypto_keys <> $3)",
            wanted.books_in_sql()
        );
        let keys = match wanted.settings.pgcrypto_keys.is_empty() {
            true => &known.settings.pgcrypto_keys,
            false => &wanted.settings.pgcrypto_keys,
        };
        let changed = client
            .execute(&sql, &[&wanted.schema, &wanted.table, keys])
            .await;
        return Ok(changed.map_err(failed)? > 0);
    }
    if !inspection.problems.is_empty() {
        return Err(UserKeysError::Unfit {
            table: wanted.name(),
            problems: inspection.problems.clone(),
        });
    }
    let transaction = client.transaction().await.map_err(failed)?;
    transaction
        .batch_execute(&create(wanted))
        .await
        .map_err(failed)?;
    // The statements that were shown, without the first and last, which are spelled out here.
    let middle = inspection.up.len().saturating_sub(1);
    for statement in inspection.up.get(1..middle).unwrap_or_default() {
        transaction.batch_execute(statement).await.map_err(failed)?;
    }
    insert(&transaction, wanted, barrier)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(true)
}

fn check_same(known: &Attachment, wanted: &Attachment) -> Result<(), UserKeysError> {
    let detail = if known.settings.columns != wanted.settings.columns {
        let columns = &known.settings.columns;
        format!(
            "--id {},{} --plain {} --encrypted {}",
            columns.user, columns.name, columns.plain, columns.encrypted
        )
    } else if known.settings.has_flat_names != wanted.settings.has_flat_names {
        match known.settings.has_flat_names {
            true => "with --flat-names".to_owned(),
            false => "without --flat-names".to_owned(),
        }
    } else {
        return Ok(());
    };
    Err(UserKeysError::Differs {
        table: known.name(),
        detail,
    })
}

async fn insert(
    transaction: &Transaction<'_>,
    wanted: &Attachment,
    barrier: &Barrier,
) -> Result<(), tokio_postgres::Error> {
    let sql = format!(
        "INSERT INTO {} ({COLUMNS}, version) VALUES
            ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'attached', $14, $15)",
        wanted.books_in_sql()
    );
    let columns = &wanted.settings.columns;
    let mark = Sealer::mark(barrier, wanted);
    transaction
        .execute(
            &sql,
            &[
                &wanted.schema,
                &wanted.table,
                &columns.user,
                &columns.name,
                &columns.plain,
                &columns.encrypted,
                &wanted.types.0,
                &wanted.types.1,
                &wanted.updated,
                &wanted.settings.has_flat_names,
                &wanted.settings.pgcrypto_keys,
                &wanted.made_encrypted,
                &wanted.plain_was_required,
                &mark,
                &VERSION,
            ],
        )
        .await?;
    Ok(())
}
