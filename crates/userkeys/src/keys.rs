//! One user's keys: read, set, removed.

use std::sync::Arc;

use strongroom_core::secret::SecretValue;
use strongroom_crypto::barrier::Barrier;

use crate::books;
use crate::database::Database;
use crate::error::UserKeysError;
use crate::name::KeyName;
use crate::name::UserId;
use crate::pgcrypto;
use crate::seal::Form;
use crate::seal::Sealer;
use crate::table::Attachment;
use crate::table::TableName;
use crate::table::quoted;

/// Longest value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// The keys in one attached table. Cheap to clone.
#[derive(Clone)]
pub struct UserKeys {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) database: Database,
    pub(crate) attachment: Attachment,
    pub(crate) sealer: Sealer,
    pub(crate) pgcrypto_keys: Vec<SecretValue>,
    pub(crate) sql: Sql,
}

/// The statements about one table.
pub(crate) struct Sql {
    read: String,
    version: String,
    seen: String,
    set: String,
    remove: String,
    pub(crate) seal: String,
    /// The table, and its four columns.
    pub(crate) table: String,
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) plain: String,
    pub(crate) encrypted: String,
    /// True while it is attached.
    pub(crate) is_attached: String,
}

/// A key that was found.
#[derive(Debug)]
pub struct Found {
    /// Its value.
    pub value: SecretValue,
    /// How it lay there.
    pub was: Form,
    /// Why it still lies there like that, where it should be sealed by now.
    pub not_sealed: Option<UserKeysError>,
}

impl std::fmt::Debug for UserKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.inner.attachment.name();
        f.debug_tuple("UserKeys").field(&name).finish()
    }
}

impl UserKeys {
    /// The keys in the attached table, or in one of several. `pgcrypto_keys` open what pgcrypto
    /// wrote; see [`Attachment::settings`] for where they are kept.
    ///
    /// # Errors
    /// When none is attached, or it belongs to another store.
    pub async fn open(
        database: &Database,
        table: Option<&TableName>,
        barrier: &Barrier,
    ) -> Result<Self, UserKeysError> {
        let client = database.client().await?;
        let attachment = books::require(database, &client, table, barrier).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                database: database.clone(),
                sealer: Sealer::new(barrier.clone(), &attachment),
                sql: Sql::of(&attachment),
                attachment,
                pgcrypto_keys: Vec::new(),
            }),
        })
    }

    /// With the keys that open what pgcrypto wrote.
    #[must_use]
    pub fn with_pgcrypto_keys(&self, keys: Vec<SecretValue>) -> Self {
        let inner = &self.inner;
        Self {
            inner: Arc::new(Inner {
                database: inner.database.clone(),
                sealer: inner.sealer.clone(),
                sql: Sql::of(&inner.attachment),
                attachment: inner.attachment.clone(),
                pgcrypto_keys: keys,
            }),
        }
    }

    /// The table, and what it is attached with.
    #[must_use]
    pub fn attachment(&self) -> &Attachment {
        &self.inner.attachment
    }

    /// Host, port and database, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        self.inner.database.place()
    }

    /// A user's key; what is not sealed yet is sealed on the way.
    ///
    /// # Errors
    /// When it does not open, or the database cannot be asked.
    pub async fn get(&self, user: &UserId, name: &KeyName) -> Result<Option<Found>, UserKeysError> {
        match self.get_once(user, name).await {
            // A connection that broke while nobody used it is noticed by the first who does.
            Err(UserKeysError::Unavailable { .. }) => self.get_once(user, name).await,
            other => other,
        }
    }

    async fn get_once(
        &self,
        user: &UserId,
        name: &KeyName,
    ) -> Result<Option<Found>, UserKeysError> {
        let inner = &*self.inner;
        let column = inner.column(name);
        let client = inner.database.client().await?;
        let failed = |error: tokio_postgres::Error| inner.database.failed(&error);
        let statement = client
            .prepare_cached(&inner.sql.read)
            .await
            .map_err(failed)?;
        let row = client
            .query_opt(&statement, &[&user.as_str(), &column])
            .await;
        let row = match row {
            Ok(row) => row,
            Err(error) if is_no_id(&error) => None,
            Err(error) => return Err(failed(error)),
        };
        let Some(row) = row else { return Ok(None) };
        let encrypted: Option<&[u8]> = row.get(1);
        let plain: Option<&str> = row.get(0);
        let is_plain = plain.is_some_and(|plain| !plain.is_empty());
        if let (false, Some(sealed)) = (is_plain, encrypted)
            && let Form::Sealed(_) = Form::of(sealed)
        {
            let value = inner.sealer.open(user.as_str(), &column, sealed)?;
            return Ok(Some(Found {
                value,
                was: Form::Sealed(0).with_key_of(sealed),
                not_sealed: None,
            }));
        }
        drop(client);
        let stored = Stored {
            version: String::new(),
            plain: plain.map(|plain| SecretValue::copy_from(plain.as_bytes())),
            encrypted: encrypted.map(<[u8]>::to_vec),
        };
        inner.get_and_seal(user.as_str(), &column, stored).await
    }

    /// What changes with every change of a user's key, without reading it; `None` where there is
    /// none.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn version(
        &self,
        user: &UserId,
        name: &KeyName,
    ) -> Result<Option<String>, UserKeysError> {
        let inner = &*self.inner;
        let column = inner.column(name);
        let client = inner.database.client().await?;
        let failed = |error: tokio_postgres::Error| inner.database.failed(&error);
        let statement = client
            .prepare_cached(&inner.sql.seen)
            .await
            .map_err(failed)?;
        let row = client
            .query_opt(&statement, &[&user.as_str(), &column])
            .await;
        match row {
            Ok(row) => Ok(row.map(|row| row.get(0))),
            Err(error) if is_no_id(&error) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Sets a user's key, sealed. Whether there was none before.
    ///
    /// # Errors
    /// When it is too long or empty, the table is being rolled back, or the database refuses.
    pub async fn set(
        &self,
        user: &UserId,
        name: &KeyName,
        value: &SecretValue,
    ) -> Result<bool, UserKeysError> {
        let inner = &*self.inner;
        if value.is_empty() {
            return Err(UserKeysError::Empty);
        }
        if value.len_bytes() > VALUE_BYTES_MAX {
            return Err(UserKeysError::TooLarge {
                bytes_max: VALUE_BYTES_MAX,
            });
        }
        let column = inner.column(name);
        let sealed = inner.sealer.seal(user.as_str(), &column, value);
        let client = inner.database.client().await?;
        let failed = |error: tokio_postgres::Error| match is_no_id(&error) {
            true => UserKeysError::BadName {
                what: "the user's id",
                problem: format!("is not of the type {}", inner.attachment.types.0),
            },
            false => inner.database.failed(&error),
        };
        let statement = client
            .prepare_cached(&inner.sql.set)
            .await
            .map_err(failed)?;
        let row = client
            .query_opt(&statement, &[&user.as_str(), &column, &sealed])
            .await;
        match row.map_err(failed)? {
            Some(row) => Ok(row.get(0)),
            None => Err(UserKeysError::Leaving {
                table: inner.attachment.name(),
            }),
        }
    }

    /// Removes a user's key. Whether there was one.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn remove(&self, user: &UserId, name: &KeyName) -> Result<bool, UserKeysError> {
        let inner = &*self.inner;
        let column = inner.column(name);
        let client = inner.database.client().await?;
        let failed = |error: tokio_postgres::Error| inner.database.failed(&error);
        let statement = client
            .prepare_cached(&inner.sql.remove)
            .await
            .map_err(failed)?;
        match client.execute(&statement, &[&user.as_str(), &column]).await {
            Ok(rows) => Ok(rows > 0),
            Err(error) if is_no_id(&error) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }
}

/// A row as it lies there.
pub(crate) struct Stored {
    /// Changes with every change of the row.
    pub(crate) version: String,
    pub(crate) plain: Option<SecretValue>,
    pub(crate) encrypted: Option<Vec<u8>>,
}

impl Inner {
    pub(crate) fn column(&self, name: &KeyName) -> String {
        name.in_column(self.attachment.settings.has_flat_names)
    }

    /// The value of a row that is not sealed, which is sealed now.
    async fn get_and_seal(
        &self,
        user: &str,
        column: &str,
        first: Stored,
    ) -> Result<Option<Found>, UserKeysError> {
        let Some((_, was)) = self.value_of(user, column, &first).await? else {
            return Ok(None);
        };
        // Looked at again, with its version: what is sealed is what is there then.
        let client = self.database.client().await?;
        let failed = |error: tokio_postgres::Error| self.database.failed(&error);
        let statement = client
            .prepare_cached(&self.sql.version)
            .await
            .map_err(failed)?;
        let row = client
            .query_opt(&statement, &[&user, &column])
            .await
            .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        drop(client);
        let stored = Stored {
            version: row.get(0),
            plain: row
                .get::<_, Option<&str>>(1)
                .map(|plain| SecretValue::copy_from(plain.as_bytes())),
            encrypted: row.get(2),
        };
        let Some((value, now)) = self.value_of(user, column, &stored).await? else {
            return Ok(None);
        };
        let not_sealed = match now {
            Form::Sealed(_) => None,
            _ => self
                .seal_row(user, column, &stored.version, &value)
                .await
                .err(),
        };
        Ok(Some(Found {
            value,
            was,
            not_sealed,
        }))
    }

    /// Seals one row, if it is still the one that was read, and empties its plain column.
    async fn seal_row(
        &self,
        user: &str,
        column: &str,
        version: &str,
        value: &SecretValue,
    ) -> Result<(), UserKeysError> {
        let sealed = self.sealer.seal(user, column, value);
        let rows = [(user, column, version, sealed.as_slice())];
        let written = self.seal_rows(&rows).await?;
        // None: somebody else has changed or sealed it, or it is being rolled back.
        match (written, self.is_leaving().await?) {
            (0, true) => Err(UserKeysError::Leaving {
                table: self.attachment.name(),
            }),
            _ => Ok(()),
        }
    }

    /// Seals rows in one transaction; how many were still those that were read.
    pub(crate) async fn seal_rows(
        &self,
        rows: &[(&str, &str, &str, &[u8])],
    ) -> Result<u64, UserKeysError> {
        let users: Vec<&str> = rows.iter().map(|row| row.0).collect();
        let names: Vec<&str> = rows.iter().map(|row| row.1).collect();
        let versions: Vec<&str> = rows.iter().map(|row| row.2).collect();
        let sealed: Vec<&[u8]> = rows.iter().map(|row| row.3).collect();
        let client = self.database.client().await?;
        let failed = |error: tokio_postgres::Error| self.database.failed(&error);
        let statement = client
            .prepare_cached(&self.sql.seal)
            .await
            .map_err(failed)?;
        let written = client
            .execute(&statement, &[&users, &names, &versions, &sealed])
            .await;
        written.map_err(failed)
    }

    pub(crate) async fn is_leaving(&self) -> Result<bool, UserKeysError> {
        let client = self.database.client().await?;
        let sql = format!("SELECT NOT ({})", self.sql.is_attached);
        let row = client.query_one(&sql, &[]).await;
        Ok(row.map_err(|error| self.database.failed(&error))?.get(0))
    }

    /// A row's newest value and how it lies there.
    pub(crate) async fn value_of(
        &self,
        user: &str,
        column: &str,
        stored: &Stored,
    ) -> Result<Option<(SecretValue, Form)>, UserKeysError> {
        if let Some(plain) = stored.plain.as_ref().filter(|plain| !plain.is_empty()) {
            return Ok(Some((plain.clone(), Form::Plain)));
        }
        let Some(encrypted) = &stored.encrypted else {
            return Ok(None);
        };
        let (user, name) = (user.to_owned(), column.to_owned());
        match Form::of(encrypted) {
            form @ Form::Sealed(_) => {
                let value = self.sealer.open(&user, &name, encrypted)?;
                Ok(Some((value, form)))
            }
            Form::Pgcrypto => {
                let (message, keys) = (encrypted.clone(), self.pgcrypto_keys.clone());
                // Deriving pgcrypto's key may take long, by design.
                let opening = move || pgcrypto::decrypt(&message, &keys);
                let opened = tokio::task::spawn_blocking(opening).await;
                let opened = opened.unwrap_or(Err(pgcrypto::PgcryptoError::Malformed));
                match opened {
                    Ok(value) => Ok(Some((value, Form::Pgcrypto))),
                    Err(error) => Err(UserKeysError::Pgcrypto { user, name, error }),
                }
            }
            Form::Plain | Form::Unknown => Err(UserKeysError::UnknownForm { user, name }),
        }
    }
}

impl Form {
    fn with_key_of(self, sealed: &[u8]) -> Self {
        Barrier::key_of(sealed).map_or(self, Self::Sealed)
    }
}

impl Sql {
    fn of(attachment: &Attachment) -> Self {
        let columns = &attachment.settings.columns;
        let (user, name) = (quoted(&columns.user), quoted(&columns.name));
        let (plain, encrypted) = (quoted(&columns.plain), quoted(&columns.encrypted));
        let table = attachment.in_sql();
        let (of_user, of_name) = &attachment.types;
        let row = format!("{user} = $1::text::{of_user} AND {name} = $2::text::{of_name}");
        let is_attached = format!(
            "EXISTS (SELECT 1 FROM {} WHERE schema_name = {} AND table_name = {}
                AND state = 'attached')",
            attachment.books_in_sql(),
            literal(&attachment.schema),
            literal(&attachment.table)
        );
        let touched = match &attachment.updated {
            Some(column) => format!(", {} = now()", quoted(column)),
            None => String::new(),
        };
        Self {
            read: format!("SELECT {plain}, {encrypted} FROM {table} WHERE {row}"),
            version: format!("SELECT xmin::text, {plain}, {encrypted} FROM {table} WHERE {row}"),
            seen: format!("SELECT xmin::text FROM {table} WHERE {row}"),
            set: format!(
                "INSERT INTO {table} ({user}, {name}, {plain}, {encrypted})
                 SELECT $1::text::{of_user}, $2::text::{of_name}, NULL, $3 WHERE {is_attached}
                 ON CONFLICT ({user}, {name}) DO UPDATE
                 SET {encrypted} = excluded.{encrypted}, {plain} = NULL{touched}
                 RETURNING xmax = 0"
            ),
            remove: format!("DELETE FROM {table} WHERE {row}"),
            seal: format!(
                "UPDATE {table} t SET {encrypted} = v.sealed, {plain} = NULL
                 FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[])
                    AS v(owner, called, version, sealed)
                 WHERE t.{user} = v.owner::{of_user} AND t.{name} = v.called::{of_name}
                    AND t.xmin::text = v.version AND {is_attached}"
            ),
            table,
            user,
            name,
            plain,
            encrypted,
            is_attached,
        }
    }
}

/// A text as it stands in SQL: a name that the database itself told us.
fn literal(text: &str) -> String {
    // Backslashes mean nothing in it: standard_conforming_strings is on by default since 9.1.
    format!("'{}'", text.replace('\'', "''"))
}

/// What is asked for cannot be an id of this table: there is no such row.
fn is_no_id(error: &tokio_postgres::Error) -> bool {
    matches!(
        error.code().map(tokio_postgres::error::SqlState::code),
        Some("22P02" | "22003")
    )
}
