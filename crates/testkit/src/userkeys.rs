//! A table of users' keys as an application made it, and taking it over.

use strongroom_crypto::barrier::Barrier;
use strongroom_userkeys::Columns;
use strongroom_userkeys::Database;
use strongroom_userkeys::Settings;
use strongroom_userkeys::UserKeys;
use strongroom_userkeys::UserKeysError;

use crate::postgres::Postgres;

/// The database that the table is in.
pub const DATABASE: &str = "postgres";
/// The table as an application made it, in three migrations, with pgcrypto.
pub const TABLE: &str = "
CREATE EXTENSION pgcrypto;
CREATE TABLE user_secrets (
    id bigserial PRIMARY KEY,
    user_id text NOT NULL,
    secret_key text NOT NULL,
    secret_value text NOT NULL,
    secret_value_encrypted bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, secret_key))";

/// Its columns, with names as the application wrote them.
#[must_use]
pub fn settings() -> Settings {
    Settings {
        columns: Columns {
            user: "user_id".into(),
            name: "secret_key".into(),
            plain: "secret_value".into(),
            encrypted: "secret_value_encrypted".into(),
        },
        has_flat_names: true,
        pgcrypto_keys: Vec::new(),
    }
}

/// Makes the table, and takes it over.
///
/// # Panics
/// When the database does not do that.
#[expect(clippy::expect_used, reason = "a test cannot go on without its table")]
pub async fn attached(server: &Postgres, barrier: &Barrier) -> UserKeys {
    let _ = server.sql(DATABASE, TABLE);
    let url = server.url(DATABASE).parse().expect("an address");
    let database = Database::connect(&url, None).await.expect("a connection");
    let keys = attach(&database, &settings(), barrier).await;
    keys.expect("the table is taken over")
}

/// Takes the table over, or back.
///
/// # Errors
/// As the library says.
///
/// # Panics
/// Never: the table's name is one.
#[expect(clippy::expect_used, reason = "a test cannot go on without its table")]
pub async fn attach(
    database: &Database,
    settings: &Settings,
    barrier: &Barrier,
) -> Result<UserKeys, UserKeysError> {
    let table = "user_secrets".parse().expect("the name of a table");
    let found = strongroom_userkeys::inspect(database, &table, settings).await?;
    strongroom_userkeys::attach(database, &found, barrier).await?;
    UserKeys::open(database, None, barrier).await
}

/// Puts a value into the plain column, as the application does.
pub fn put_plain(server: &Postgres, user: &str, key: &str, value: &str) {
    let sql = format!(
        "INSERT INTO user_secrets (user_id, secret_key, secret_value)
         VALUES ('{user}', '{key}', '{value}')
         ON CONFLICT (user_id, secret_key) DO UPDATE SET secret_value = excluded.secret_value"
    );
    let _ = server.sql(DATABASE, &sql);
}
