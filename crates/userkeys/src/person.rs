//! Everything of one user: listed, exported, erased.

use strongroom_core::secret::SecretValue;

use crate::error::UserKeysError;
use crate::keys::Stored;
use crate::keys::UserKeys;
use crate::name::UserId;
use crate::seal::Form;

/// Most keys of one user that are listed.
const KEYS_MAX: i64 = 10_000;

/// A key of a user, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What it is called, as the table has it.
    pub name: String,
    /// How it lies there.
    pub form: Form,
}

impl UserKeys {
    /// A user's keys, by name; not their values.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn list(&self, user: &UserId) -> Result<Vec<Listed>, UserKeysError> {
        let rows = self.rows_of(user).await?;
        let listed = rows.iter().filter_map(|(name, stored)| {
            let is_plain = stored.plain.as_ref().is_some_and(|plain| !plain.is_empty());
            let form = match (is_plain, &stored.encrypted) {
                (true, _) => Form::Plain,
                (false, Some(encrypted)) => Form::of(encrypted),
                (false, None) => return None,
            };
            Some(Listed {
                name: name.clone(),
                form,
            })
        });
        Ok(listed.collect())
    }

    /// Everything that is kept of a user, in clear, for that user. One key that does not open is
    /// an error of its own.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn export(
        &self,
        user: &UserId,
    ) -> Result<Vec<(String, Result<SecretValue, UserKeysError>)>, UserKeysError> {
        let mut exported = Vec::new();
        for (name, stored) in self.rows_of(user).await? {
            match self.inner.value_of(user.as_str(), &name, &stored).await {
                Ok(Some((value, _))) => exported.push((name, Ok(value))),
                Ok(None) => {}
                Err(error) => exported.push((name, Err(error))),
            }
        }
        Ok(exported)
    }

    /// Removes everything of a user; how many keys that were.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn erase(&self, user: &UserId) -> Result<u64, UserKeysError> {
        let inner = &*self.inner;
        let sql = &inner.sql;
        let of_user = &inner.attachment.types.0;
        let text = format!(
            "DELETE FROM {} WHERE {} = $1::text::{of_user}",
            sql.table, sql.user
        );
        let client = inner.database.client().await?;
        let erased = client.execute(&text, &[&user.as_str()]).await;
        erased.map_err(|error| inner.database.failed(&error))
    }

    async fn rows_of(&self, user: &UserId) -> Result<Vec<(String, Stored)>, UserKeysError> {
        let inner = &*self.inner;
        let sql = &inner.sql;
        let of_user = &inner.attachment.types.0;
        let text = format!(
            "SELECT {name}::text, {plain}, {encrypted} FROM {table} t
             WHERE {user} = $1::text::{of_user} ORDER BY t.{name} LIMIT {KEYS_MAX}",
            name = sql.name,
            plain = sql.plain,
            encrypted = sql.encrypted,
            table = sql.table,
            user = sql.user,
        );
        let client = inner.database.client().await?;
        let rows = client.query(&text, &[&user.as_str()]).await;
        let rows = rows.map_err(|error| inner.database.failed(&error))?;
        let stored = |row: &tokio_postgres::Row| {
            let plain: Option<&str> = row.get(1);
            let stored = Stored {
                version: String::new(),
                plain: plain.map(|plain| SecretValue::copy_from(plain.as_bytes())),
                encrypted: row.get(2),
            };
            (row.get(0), stored)
        };
        Ok(rows.iter().map(stored).collect())
    }
}
