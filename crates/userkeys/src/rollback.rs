//! Giving a table back: values into the plain column again, and the migrations down.

use std::pin::pin;

use futures_util::SinkExt;
use tokio_postgres::CopyInSink;

use crate::error::UserKeysError;
use crate::keys::UserKeys;

/// Rows of one piece on the way back.
const PIECE_ROWS: usize = 500;

/// What a rollback came to.
#[derive(Debug, Default)]
pub struct RolledBack {
    /// Whether the plain column takes NULL still, since rows without a value are there.
    pub plain_takes_null: bool,
}

impl UserKeys {
    /// Rows that have no copy beside the sealed one.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn only_copies(&self) -> Result<u64, UserKeysError> {
        let inner = &*self.inner;
        let client = inner.database.client().await?;
        let sql = format!(
            "SELECT count(*) FROM {} WHERE {}",
            inner.sql.table,
            self.sealed_only()
        );
        let row = client.query_one(&sql, &[]).await;
        let row = row.map_err(|error| inner.database.failed(&error))?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }

    /// Which rows would be lost, in SQL: all of a column that is dropped, else what Strongroom
    /// has sealed.
    fn sealed_only(&self) -> String {
        let inner = &*self.inner;
        let (plain, encrypted) = (&inner.sql.plain, &inner.sql.encrypted);
        let lost = match inner.attachment.made_encrypted {
            true => format!("{encrypted} IS NOT NULL"),
            false => format!("substring({encrypted} FROM 1 FOR 1) = '\\x01'::bytea"),
        };
        format!("({lost} AND coalesce({plain}, '') = '')")
    }

    /// Begins a rollback: from now on nothing is sealed in this table.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn leave(&self) -> Result<(), UserKeysError> {
        let inner = &*self.inner;
        let sql = format!(
            "UPDATE {} SET state = 'leaving' WHERE schema_name = $1 AND table_name = $2",
            inner.attachment.books_in_sql()
        );
        let client = inner.database.client().await?;
        let (schema, table) = (&inner.attachment.schema, &inner.attachment.table);
        let done = client.execute(&sql, &[schema, table]).await;
        done.map_err(|error| inner.database.failed(&error))?;
        Ok(())
    }

    /// Puts the next piece of values back into the plain column. How many; 0 when all are there.
    ///
    /// # Errors
    /// When a value does not open or is no text, or the database refuses.
    pub async fn restore_piece(&self) -> Result<u64, UserKeysError> {
        let inner = &*self.inner;
        let rows = inner.page(&self.sealed_only(), None, PIECE_ROWS).await?;
        let mut lines = zeroize::Zeroizing::new(Vec::new());
        for row in &rows {
            let value = inner.value_of(&row.user, &row.name, &row.stored).await?;
            let Some((value, _)) = value else { continue };
            // EXPOSE: goes back to where it was in clear, by COPY, which is not logged.
            let text = value.expose_secret_text();
            let text = text.filter(|text| !text.contains('\0'));
            let Some(text) = text else {
                return Err(UserKeysError::NotText {
                    user: row.user.clone(),
                    name: row.name.clone(),
                });
            };
            push_line(
                &mut lines,
                &[&row.user, &row.name, &row.stored.version, text],
            );
        }
        if rows.is_empty() {
            return Ok(0);
        }
        let sql = &inner.sql;
        let (of_user, of_name) = &inner.attachment.types;
        let create = "CREATE TEMPORARY TABLE strongroom_back (
            owner text, called text, version text, value text) ON COMMIT DROP";
        let update = format!(
            "UPDATE {table} t SET {plain} = v.value, {encrypted} = NULL
             FROM pg_temp.strongroom_back v
             WHERE t.{user} = v.owner::{of_user} AND t.{name} = v.called::{of_name}
                AND t.xmin::text = v.version",
            table = sql.table,
            plain = sql.plain,
            encrypted = sql.encrypted,
            user = sql.user,
            name = sql.name,
        );
        let mut client = inner.database.client().await?;
        let failed = |error: tokio_postgres::Error| inner.database.failed(&error);
        let transaction = client.transaction().await.map_err(failed)?;
        transaction.batch_execute(create).await.map_err(failed)?;
        let sink: CopyInSink<std::io::Cursor<Vec<u8>>> = transaction
            .copy_in("COPY pg_temp.strongroom_back FROM STDIN")
            .await
            .map_err(failed)?;
        let mut sink = pin!(sink);
        let bytes = std::mem::take(&mut *lines);
        sink.send(std::io::Cursor::new(bytes))
            .await
            .map_err(failed)?;
        sink.finish().await.map_err(failed)?;
        let done = transaction.execute(&update, &[]).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        // Rows that others changed meanwhile are found by the next piece.
        Ok(done.max(1))
    }

    /// The migrations down, and the end of the attachment.
    ///
    /// # Errors
    /// `OnlyCopy` when a value would be lost.
    pub async fn detach(&self) -> Result<RolledBack, UserKeysError> {
        let inner = &*self.inner;
        let sql = &inner.sql;
        let attachment = &inner.attachment;
        let mut client = inner.database.client().await?;
        let failed = |error: tokio_postgres::Error| inner.database.failed(&error);
        let transaction = client.transaction().await.map_err(failed)?;
        // Nobody writes between looking and dropping.
        let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", sql.table);
        transaction.batch_execute(&lock).await.map_err(failed)?;
        let lost = format!(
            "SELECT count(*) FROM {} WHERE {}",
            sql.table,
            self.sealed_only()
        );
        let lost = transaction.query_one(&lost, &[]).await.map_err(failed)?;
        let lost = lost.get::<_, i64>(0).unsigned_abs();
        if lost > 0 {
            transaction.rollback().await.map_err(failed)?;
            return Err(UserKeysError::OnlyCopy {
                table: attachment.name(),
                rows: lost,
            });
        }
        // A sealed value beside a newer plain one is stale, and nobody could open it any more.
        let stale = format!(
            "UPDATE {} SET {} = NULL WHERE substring({} FROM 1 FOR 1) = '\\x01'::bytea",
            sql.table, sql.encrypted, sql.encrypted
        );
        transaction.batch_execute(&stale).await.map_err(failed)?;
        let mut down = Vec::new();
        if attachment.made_encrypted {
            down.push(format!(
                "ALTER TABLE {} DROP COLUMN {}",
                sql.table, sql.encrypted
            ));
        }
        let mut plain_takes_null = false;
        if attachment.plain_was_required {
            let empty = format!(
                "SELECT EXISTS (SELECT 1 FROM {} WHERE {} IS NULL)",
                sql.table, sql.plain
            );
            let row = transaction.query_one(&empty, &[]).await.map_err(failed)?;
            plain_takes_null = row.get(0);
            if !plain_takes_null {
                let plain = &sql.plain;
                down.push(format!(
                    "ALTER TABLE {} ALTER COLUMN {plain} SET NOT NULL",
                    sql.table
                ));
            }
        }
        for statement in &down {
            transaction.batch_execute(statement).await.map_err(failed)?;
        }
        let books = attachment.books_in_sql();
        let forget = format!("DELETE FROM {books} WHERE schema_name = $1 AND table_name = $2");
        let (schema, table) = (&attachment.schema, &attachment.table);
        transaction
            .execute(&forget, &[schema, table])
            .await
            .map_err(failed)?;
        let rest = format!("SELECT NOT EXISTS (SELECT 1 FROM {books})");
        let rest = transaction.query_one(&rest, &[]).await.map_err(failed)?;
        if rest.get(0) {
            let drop = format!("DROP TABLE {books}");
            transaction.batch_execute(&drop).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(RolledBack { plain_takes_null })
    }
}

/// A line of COPY's text format.
fn push_line(lines: &mut Vec<u8>, fields: &[&str]) {
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            lines.push(b'\t');
        }
        for byte in field.bytes() {
            match byte {
                b'\\' => lines.extend_from_slice(b"\\\\"),
                b'\t' => lines.extend_from_slice(b"\\t"),
                b'\n' => lines.extend_from_slice(b"\\n"),
                b'\r' => lines.extend_from_slice(b"\\r"),
                byte => lines.push(byte),
            }
        }
    }
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_every_byte() {
        let mut lines = Vec::new();
        push_line(&mut lines, &["a\tb", "c\\d\n\r", "\\."]);
        assert_eq!(lines, b"a\\tb\tc\\\\d\\n\\r\t\\\\.\n");
    }
}
