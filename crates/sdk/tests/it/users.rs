//! Keys of the application's users: their own first, then the system's.

use std::time::Duration;

use strongroom_sdk::SecretValue;
use strongroom_sdk::UserKeyError;
use strongroom_testkit::postgres::Postgres;
use strongroom_testkit::userkeys;

use crate::place::Place;
use crate::place::Store;
use crate::place::text;

const MANIFEST: &str = "[profiles.development]\nchain = [\"store\"]\n\
                        [secrets.ANTHROPIC_API_KEY]\npath = \"anthropic/api_key\"\n";
const NAME: &str = "anthropic_api_key";
const READ: &str = "userkeys/public.user_secrets/u1/anthropic/api_key";

/// A server with the table, taken over by a store; user one has a key, in clear.
async fn server_of(store: &Store) -> Postgres {
    let server = Postgres::start();
    userkeys::attached(&server, store.engine().barrier()).await;
    userkeys::put_plain(&server, "u1", NAME, "of-user-one");
    server
}

#[tokio::test]
async fn the_users_key_comes_first_then_the_systems_then_an_error_that_says_so() {
    let place = Place::new(MANIFEST);
    let store = place.store();
    let server = server_of(&store).await;
    let place = place.with("STRONGROOM_USERKEYS_DATABASE", &server.url("postgres"));
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
        let reads = noted(&store).await;
        if reads == 4 {
            break;
        }
        assert!(std::time::Instant::now() < until, "{reads} reads are noted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How often user one's key was read, as the store has noted it.
async fn noted(store: &Store) -> usize {
    let log = store.engine().audit_log(None, 1000).await.unwrap();
    log.iter().filter(|event| event.paths == [READ]).count()
}

/// A runtime that does nothing any more once its future has ended, as a process that is killed.
fn ended_after<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(future)
}

#[test]
fn what_a_process_that_was_killed_has_read_is_noted() {
    let place = Place::new(MANIFEST);
    let store = place.store();
    let server = ended_after(server_of(&store));
    let place = place.with("STRONGROOM_USERKEYS_DATABASE", &server.url("postgres"));
    let read = async || {
        let secrets = place.builder().ttl(Duration::ZERO).load().await.unwrap();
        let one = secrets.for_user("u1").unwrap();
        for _ in 0..3 {
            let value = one.get("anthropic/api_key").await.unwrap();
            assert_eq!(text(&value), "of-user-one");
        }
    };
    ended_after(read());
    assert_eq!(ended_after(noted(&store)), 0);
    let folder = place.path(".local/share/strongroom");
    let beside = || {
        let names = folder.read_dir().unwrap().map(|it| it.unwrap().file_name());
        names
            .filter(|it| it.to_str().unwrap().contains(".reads-"))
            .count()
    };
    assert_eq!(beside(), 1);
    // Whoever reads next takes it up, and leaves what is its own.
    ended_after(read());
    assert_eq!(ended_after(noted(&store)), 3);
    assert_eq!(beside(), 1);
}

#[tokio::test]
async fn what_cannot_be_noted_is_not_read() {
    let place = Place::new(MANIFEST);
    let store = place.store();
    let server = server_of(&store).await;
    let place = place.with("STRONGROOM_USERKEYS_DATABASE", &server.url("postgres"));
    let folder = place.path(".local/share/strongroom");
    std::os::unix::fs::symlink("elsewhere", folder.join("store.reads-0-0")).unwrap();
    let secrets = place.builder().load().await.unwrap();
    let one = secrets.for_user("u1").unwrap();
    let error = one.get("anthropic/api_key").await.unwrap_err();
    assert!(matches!(error, UserKeyError::Audit(_)), "{error}");
    std::fs::remove_file(folder.join("store.reads-0-0")).unwrap();
    one.get("anthropic/api_key").await.unwrap();
}

#[tokio::test]
async fn the_store_may_be_in_a_database() {
    let place = Place::new(MANIFEST);
    let server = Postgres::start();
    let _ = server.sql("postgres", "CREATE DATABASE store");
    let store = place.store_in(&server.url("store"));
    userkeys::attached(&server, store.engine().barrier()).await;
    userkeys::put_plain(&server, "u1", NAME, "of-user-one");
    store
        .set("shop/development/anthropic/api_key", "of-the-system")
        .await;
    let place = place.with("STRONGROOM_USERKEYS_DATABASE", &server.url("postgres"));
    let at = |user: &str| place.builder().store(server.url(user));
    let secrets = at("store").ttl(Duration::ZERO).load().await.unwrap();
    let get = async |user: &str| {
        let user = secrets.for_user(user).unwrap();
        let value = user.get("anthropic/api_key").await.unwrap();
        text(&value).to_owned()
    };
    assert_eq!(get("u1").await, "of-user-one");
    // It is there when the answer is.
    assert_eq!(noted(&store).await, 1);
    assert_eq!(get("u2").await, "of-the-system");
    let value = secrets.get("ANTHROPIC_API_KEY").await.unwrap();
    assert_eq!(text(&value), "of-the-system");
    // A database without a store, and an address that makes no sense.
    for (name, words) in [("postgres", "no store"), ("store?sslmode=maybe", "address")] {
        let error = at(name).load().await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn keys_are_kept_in_memory_for_their_time() {
    let place = Place::new(MANIFEST);
    let store = place.store();
    let server = server_of(&store).await;
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
