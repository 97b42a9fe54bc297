//! Going through all rows, piece by piece, without holding anybody up.

use std::time::Duration;

use strongroom_core::secret::SecretValue;
use tokio_postgres::types::ToSql;

use crate::error::UserKeysError;
use crate::keys::Stored;
use crate::keys::UserKeys;
use crate::seal::Form;

/// How long one question of a pass may take: it may have to step over all that is done.
const QUESTION_SQL: &str = "SET LOCAL statement_timeout = '15min'";
/// Rows of one piece.
pub const PIECE_ROWS: usize = 500;
/// Pieces whose slow rows take longer are made smaller.
const PIECE_MAX: Duration = Duration::from_secs(5);

/// What a pass does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Seals what lies in clear or was encrypted by pgcrypto.
    Encrypt,
    /// The same, and seals what is under an older data key anew.
    Rotate,
    /// Opens everything. Changes nothing.
    Verify,
}

/// A pass through all rows. What is done is in the rows themselves: a pass that was killed is
/// begun again, and finds only what is left.
pub struct Pass {
    keys: UserKeys,
    work: Work,
    after: Option<(String, String)>,
    rows: usize,
}

/// A row that a pass could do nothing for.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// Whose.
    pub user: String,
    /// Which key.
    pub name: String,
    /// Why.
    pub error: UserKeysError,
}

/// What one piece came to.
#[derive(Debug, Default)]
pub struct Step {
    /// Rows looked at.
    pub rows: u64,
    /// Rows that lay in clear and are sealed now.
    pub from_plain: u64,
    /// Rows of pgcrypto's that are sealed now.
    pub from_pgcrypto: u64,
    /// Rows under an older data key that are sealed anew, or, in a check, that open.
    pub from_sealed: u64,
    /// Rows that others changed meanwhile; the next pass finds them.
    pub changed: u64,
    /// Rows that nothing could be done for.
    pub trouble: Vec<Trouble>,
    /// No rows are left behind these.
    pub is_last: bool,
}

pub(crate) struct Row {
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) stored: Stored,
}

impl Pass {
    /// A pass from the beginning.
    #[must_use]
    pub fn new(keys: &UserKeys, work: Work) -> Self {
        Self {
            keys: keys.clone(),
            work,
            after: None,
            rows: PIECE_ROWS,
        }
    }

    /// Pieces of so many rows.
    #[must_use]
    pub fn with_piece(self, rows: usize) -> Self {
        Self {
            rows: rows.clamp(1, PIECE_ROWS * 10),
            ..self
        }
    }

    /// How many rows there are to do.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn count(&self) -> Result<u64, UserKeysError> {
        let inner = &*self.keys.inner;
        let wanted = self.wanted();
        let sql = format!("SELECT count(*) FROM {} WHERE {wanted}", inner.sql.table);
        let mut client = inner.database.client().await?;
        let failed = |error: tokio_postgres::Error| inner.database.failed(&error);
        let transaction = client.transaction().await.map_err(failed)?;
        transaction
            .batch_execute(QUESTION_SQL)
            .await
            .map_err(failed)?;
        let row = transaction.query_one(&sql, &[]).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }

    /// The next piece, in a transaction of its own.
    ///
    /// # Errors
    /// When the database cannot be asked; the same piece can be tried again.
    pub async fn step(&mut self) -> Result<Step, UserKeysError> {
        let inner = &*self.keys.inner;
        let rows = self.page().await?;
        let mut step = Step {
            rows: rows.len() as u64,
            is_last: rows.len() < self.rows,
            ..Step::default()
        };
        let began = std::time::Instant::now();
        let mut sealed = Vec::with_capacity(rows.len());
        let mut last = None;
        for row in &rows {
            let (user, name) = (row.user.as_str(), row.name.as_str());
            last = Some((row.user.clone(), row.name.clone()));
            match inner.value_of(user, name, &row.stored).await {
                Ok(Some((value, form))) => sealed.push((row, self.sealed(row, &value), form)),
                Ok(None) => {}
                Err(error @ (UserKeysError::Unavailable { .. } | UserKeysError::Connect(_))) => {
                    return Err(error);
                }
                Err(error) => step.trouble.push(Trouble {
                    user: user.to_owned(),
                    name: name.to_owned(),
                    error,
                }),
            }
            if began.elapsed() > PIECE_MAX {
                // The rows behind this one are the next piece's.
                step.is_last = step.is_last && last.as_ref() == rows.last().map(key).as_ref();
                break;
            }
        }
        if self.work != Work::Verify {
            let written: Vec<_> = sealed
                .iter()
                .map(|(row, sealed, _)| {
                    let stored = &row.stored;
                    (
                        row.user.as_str(),
                        row.name.as_str(),
                        stored.version.as_str(),
                        &**sealed,
                    )
                })
                .collect();
            let written = match written.is_empty() {
                true => 0,
                false => inner.seal_rows(&written).await?,
            };
            step.changed = (sealed.len() as u64).saturating_sub(written);
            if written == 0 && !sealed.is_empty() && inner.is_leaving().await? {
                return Err(UserKeysError::Leaving {
                    table: inner.attachment.name(),
                });
            }
        }
        for (_, _, form) in &sealed {
            match form {
                Form::Plain => step.from_plain += 1,
                Form::Pgcrypto => step.from_pgcrypto += 1,
                Form::Sealed(_) | Form::Unknown => step.from_sealed += 1,
            }
        }
        self.after = last.or(self.after.take());
        Ok(step)
    }

    fn sealed(&self, row: &Row, value: &SecretValue) -> Vec<u8> {
        match self.work {
            Work::Verify => Vec::new(),
            Work::Encrypt | Work::Rotate => {
                self.keys.inner.sealer.seal(&row.user, &row.name, value)
            }
        }
    }

    /// Which rows there is work for, in SQL.
    fn wanted(&self) -> String {
        let sql = &self.keys.inner.sql;
        let (plain, encrypted) = (&sql.plain, &sql.encrypted);
        match self.work {
            Work::Encrypt => {
                format!("({plain} <> '' OR substring({encrypted} FROM 1 FOR 1) <> '\\x01'::bytea)")
            }
            Work::Rotate => {
                let header = self.keys.inner.sealer.header();
                let header: String = header.iter().map(|byte| format!("{byte:02x}")).collect();
                format!(
                    "({plain} <> ''
                        OR substring({encrypted} FROM 1 FOR {}) <> '\\x{header}'::bytea)",
                    crate::seal::HEADER_BYTES
                )
            }
            Work::Verify => format!("({plain} <> '' OR {encrypted} IS NOT NULL)"),
        }
    }

    async fn page(&self) -> Result<Vec<Row>, UserKeysError> {
        let inner = &*self.keys.inner;
        let wanted = self.wanted();
        inner.page(&wanted, self.after.as_ref(), self.rows).await
    }
}

fn key(row: &Row) -> (String, String) {
    (row.user.clone(), row.name.clone())
}

impl crate::keys::Inner {
    /// Rows of a kind behind a place, in order.
    pub(crate) async fn page(
        &self,
        wanted: &str,
        after: Option<&(String, String)>,
        rows: usize,
    ) -> Result<Vec<Row>, UserKeysError> {
        let sql = &self.sql;
        let (user, name) = (&sql.user, &sql.name);
        let (of_user, of_name) = &self.attachment.types;
        let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::new();
        let mut behind = String::new();
        if let Some((after_user, after_name)) = after {
            behind = format!("({user}, {name}) > ($1::text::{of_user}, $2::text::{of_name}) AND ");
            parameters.push(after_user);
            parameters.push(after_name);
        }
        let text = format!(
            "SELECT {user}::text, {name}::text, xmin::text, {}, {} FROM {} t
             WHERE {behind}{wanted} ORDER BY t.{user}, t.{name} LIMIT {rows}",
            sql.plain, sql.encrypted, sql.table
        );
        let mut client = self.database.client().await?;
        let failed = |error: tokio_postgres::Error| self.database.failed(&error);
        let transaction = client.transaction().await.map_err(failed)?;
        transaction
            .batch_execute(QUESTION_SQL)
            .await
            .map_err(failed)?;
        let found = transaction
            .query(&text, &parameters)
            .await
            .map_err(failed)?;
        // Said, not left to the driver: an open transaction holds up whoever alters the table.
        transaction.commit().await.map_err(failed)?;
        let row = |row: &tokio_postgres::Row| Row {
            user: row.get(0),
            name: row.get(1),
            stored: Stored {
                version: row.get(2),
                plain: row
                    .get::<_, Option<&str>>(3)
                    .map(|plain| SecretValue::copy_from(plain.as_bytes())),
                encrypted: row.get(4),
            },
        };
        Ok(found.iter().map(row).collect())
    }
}
