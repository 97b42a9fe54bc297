//! Keys of the application's users: their own first, then the system's.

use std::time::Duration;

use strongroom_sdk::SecretValue;
use strongroom_sdk::UserKeyError;
use strongroom_testkit::postgres::Postgres;
use strongroom_userkeys::Columns;
use strongroom_userkeys::Database;
use strongroom_userkeys::Settings;

use crate::place::Place;
use crate::place::Store;
use crate::place::text;

const MANIFEST: &str = "[profiles.development]\nchain = [\"store\"]\n\
                        [secrets.ANTHROPIC_API_KEY]\npath = \"anthropic/api_key\"\n";
const TABLE: &str = "CREATE TABLE user_secrets (user_id text, secret_key text,
    secret_value text NOT NULL, PRIMARY KEY (user_id, secret_key))";
const ROWS: &str = "INSERT INTO user_secrets VALUES ('u1', 'anthropic_api_key', 'of-user-one')";

async fn attach(store: &Store, server: &Postgres) {
    let _ = server.sql("postgres", TABLE);
    let url = server.url("postgres").parse().unwrap();
    let database = Database::connect(&url, None).await.unwrap();
    let column = str::to_owned;
    let settings = Settings {
        columns: Columns {
            user: column("user_id"),
            name: column("secret_key"),
            plain: column("secret_value"),
            encrypted: column("secret_value_encrypted"),
        },
        has_flat_names: true,
        pgcrypto_keys: Vec::new(),
    };
    let table = "user_secrets".parse().unwrap();
    let found = strongroom_userkeys::inspect(&database, &table, &settings);
    let found = found.await.unwrap();
    strongroom_userkeys::attach(&database, &found, store.engine().barrier())
        .await
        .unwrap();
}

#[tokio::test]
async fn the_users_key_comes_first_then_the_systems_then_an_error_that_says_so() {
    let place = Place::new(MANIFEST);
    let server = Postgres::start();
    let place = place.with("STRONGROOM_USERKEYS_DATABASE", &server.url("postgres"));
    let store = place.store();
    attach(&store, &server).await;
    let _ = server.sql("postgres", ROWS);
    let secrets = place.builder().ttl(Duration::ZERO).load().await.unwrap();
    let (one, two) = (
        secrets.for_user("u1").unwrap(),
        secrets.for_user("u2").unwrap(),
    );
    assert_eq!(
        text(&one.get("anthropic/api_key").await.unwrap()),
        "of-user-one"
    );
    let sealed = "SELECT secret_value IS NULL FROM user_secrets";
    assert_eq!(server.sql("postgres", sealed), "t");
    let error = two.get("anthropic/api_key").await.unwrap_err();
    assert!(error.is_not_found());
    let words = error.to_string();
    for part in [
        "neither user u2 nor the system",
        "strongroom set ANTHROPIC_API_KEY",
    ] {
        assert!(words.contains(part), "{words}");
    }
    store
        .set("shop/development/anthropic/api_key", "of-the-system")
        .await;
    assert_eq!(
        text(&two.get("anthropic/api_key").await.unwrap()),
        "of-the-system"
    );
    assert_eq!(
        text(&two.get("ANTHROPIC_API_KEY").await.unwrap()),
        "of-the-system"
    );
    assert_eq!(
        text(&one.get("anthropic/api_key").await.unwrap()),
        "of-user-one"
    );
    assert!(two.get("openai/api_key").await.unwrap_err().is_not_found());
    // What the user changes holds at once.
    let _ = server.sql(
        "postgres",
        "UPDATE user_secrets SET secret_value = 'changed'",
    );
    assert_eq!(
        text(&one.get("anthropic/api_key").await.unwrap()),
        "changed"
    );
    // A user's key that does not open is an error; the system's does not take its place.
    let _ = server.sql(
        "postgres",
        "UPDATE user_secrets SET secret_value_encrypted = secret_value_encrypted || '\\x00'",
    );
    let error = one.get("anthropic/api_key").await.unwrap_err();
    assert!(matches!(error, UserKeyError::UserKeys(_)), "{error}");
    // Each read is a row of the audit log, without waiting for it.
    let until = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let log = store.engine().audit_log(None, 1000).await.unwrap();
        let path = "userkeys/public.user_secrets/u1/anthropic/api_key";
        let reads = log.iter().filter(|event| event.paths == [path]).count();
        if reads == 4 {
            break;
        }
        assert!(std::time::Instant::now() < until, "{reads} reads are noted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn keys_are_kept_in_memory_for_their_time() {
    let place = Place::new(MANIFEST);
    let server = Postgres::start();
    let store = place.store();
    attach(&store, &server).await;
    let _ = server.sql("postgres", ROWS);
    let url = SecretValue::copy_from(server.url("postgres").as_bytes());
    let secrets = place.builder().user_keys(url).load().await.unwrap();
    let one = secrets.for_user("u1").unwrap();
    assert_eq!(
        text(&one.get("anthropic/api_key").await.unwrap()),
        "of-user-one"
    );
    let _ = server.sql(
        "postgres",
        "UPDATE user_secrets SET secret_value = 'changed'",
    );
    assert_eq!(
        text(&one.get("anthropic/api_key").await.unwrap()),
        "of-user-one"
    );
    one.forget();
    assert_eq!(
        text(&one.get("anthropic/api_key").await.unwrap()),
        "changed"
    );
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let secrets = Place::new(MANIFEST).builder().load().await.unwrap();
    let error = secrets
        .for_user("u1")
        .unwrap()
        .get("a/b")
        .await
        .unwrap_err();
    assert!(matches!(error, UserKeyError::NoDatabase), "{error}");
    assert!(secrets.for_user("").is_err());
    let bad = Place::new(MANIFEST).with("STRONGROOM_USERKEYS_DATABASE", "mysql://u:p4ss@h/d");
    let secrets = bad.builder().load().await.unwrap();
    let error = secrets
        .for_user("u1")
        .unwrap()
        .get("a/b")
        .await
        .unwrap_err();
    assert!(matches!(error, UserKeyError::Address(_)), "{error}");
    assert!(!error.to_string().contains("p4ss"));
}
