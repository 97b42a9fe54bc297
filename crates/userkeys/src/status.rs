//! How far a table is.

use std::collections::BTreeMap;

use crate::error::UserKeysError;
use crate::keys::UserKeys;
use crate::pgcrypto::ARMOUR;
use crate::seal::Form;

/// What is in a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// All rows.
    pub rows: u64,
    /// Sealed, by the number of their data key.
    pub sealed: BTreeMap<u32, u64>,
    /// Encrypted by pgcrypto, by cipher and hash: `aes128, sha1`.
    pub pgcrypto: BTreeMap<String, u64>,
    /// In clear.
    pub plain: u64,
    /// In no known form.
    pub unknown: u64,
    /// Without a value.
    pub empty: u64,
    /// The data key that new values are sealed under.
    pub active_key: u32,
    /// Old copies of rows that a `VACUUM` has not removed yet, as the database estimates.
    pub dead_rows: u64,
    /// The size of the table with its indexes.
    pub bytes: u64,
    /// Whether a rollback was begun.
    pub is_leaving: bool,
}

impl Status {
    /// Sealed rows, under whichever key.
    #[must_use]
    pub fn sealed_rows(&self) -> u64 {
        self.sealed.values().sum()
    }

    /// Rows of pgcrypto's.
    #[must_use]
    pub fn pgcrypto_rows(&self) -> u64 {
        self.pgcrypto.values().sum()
    }
}

impl UserKeys {
    /// How far the table is.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn status(&self) -> Result<Status, UserKeysError> {
        let inner = &*self.inner;
        let sql = &inner.sql;
        let (plain, encrypted) = (&sql.plain, &sql.encrypted);
        let long = ARMOUR.len();
        // The first bytes of every message say its form; they are no secret.
        let text = format!(
            "SELECT coalesce({plain} <> '', false) AS is_plain,
                CASE WHEN {plain} <> '' THEN NULL
                     WHEN substring({encrypted} FROM 1 FOR 1) = '\\x01'::bytea
                        THEN substring({encrypted} FROM 1 FOR 5) ||
                             CASE WHEN octet_length({encrypted}) < 33 THEN '\\x'::bytea
                                  ELSE decode(repeat('00', 28), 'hex') END
                     WHEN substring({encrypted} FROM 1 FOR 1) = '-'::bytea
                        THEN substring({encrypted} FROM 1 FOR {long})
                     ELSE substring({encrypted} FROM 1 FOR 6) END AS head,
                count(*)
             FROM {} GROUP BY 1, 2",
            sql.table
        );
        let sizes = "SELECT coalesce((SELECT n_dead_tup FROM pg_stat_all_tables
                WHERE relid = to_regclass($1)), 0), pg_total_relation_size(to_regclass($1))";
        let mut client = inner.database.client().await?;
        let failed = |error: tokio_postgres::Error| inner.database.failed(&error);
        let transaction = client.transaction().await.map_err(failed)?;
        let patient = "SET LOCAL statement_timeout = '15min'";
        transaction.batch_execute(patient).await.map_err(failed)?;
        let counted = transaction.query(&text, &[]).await.map_err(failed)?;
        let sizes = transaction
            .query_one(sizes, &[&sql.table])
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        drop(client);
        let mut status = Status {
            active_key: inner.sealer.active(),
            dead_rows: sizes.get::<_, i64>(0).unsigned_abs(),
            bytes: sizes.get::<_, i64>(1).unsigned_abs(),
            is_leaving: inner.is_leaving().await?,
            ..Status::default()
        };
        for row in &counted {
            let count = row.get::<_, i64>(2).unsigned_abs();
            status.rows += count;
            let head: Option<&[u8]> = row.get(1);
            match (row.get(0), head) {
                (true, _) => status.plain += count,
                (false, None) => status.empty += count,
                (false, Some(head)) => status.add(head, count),
            }
        }
        Ok(status)
    }
}

impl Status {
    fn add(&mut self, head: &[u8], count: u64) {
        match Form::of(head) {
            Form::Sealed(key) => *self.sealed.entry(key).or_default() += count,
            Form::Pgcrypto => *self.pgcrypto.entry(strength(head)).or_default() += count,
            Form::Plain | Form::Unknown => self.unknown += count,
        }
    }
}

/// How a message of pgcrypto's says it was encrypted: packet, length, version 4, cipher, how the
/// key is made, hash.
fn strength(head: &[u8]) -> String {
    if head.starts_with(ARMOUR) {
        return "in letters".to_owned();
    }
    let [_, _, 4, cipher, _, hash, ..] = head else {
        return "another form".to_owned();
    };
    let cipher = match cipher {
        2 => "3des",
        3 => "cast5",
        4 => "blowfish",
        7 => "aes128",
        8 => "aes192",
        9 => "aes256",
        _ => "another cipher",
    };
    let hash = match hash {
        1 => "md5",
        2 => "sha1",
        3 => "ripemd160",
        8 => "sha256",
        9 => "sha384",
        10 => "sha512",
        _ => "another hash",
    };
    format!("{cipher}, {hash}")
}
