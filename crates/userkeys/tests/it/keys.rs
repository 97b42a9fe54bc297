use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_userkeys::Form;
use strongroom_userkeys::UserKeys;
use strongroom_userkeys::UserKeysError;
use strongroom_userkeys::VALUE_BYTES_MAX;

use crate::support::Rig;
use crate::support::name;
use crate::support::read;
use crate::support::text;
use crate::support::user;

#[tokio::test]
async fn a_key_is_set_on_a_fresh_row_and_changed_and_removed() {
    let (rig, keys) = Rig::attached().await;
    let (owner, called) = (user("u1"), name("anthropic/api_key"));
    assert!(keys.get(&owner, &called).await.unwrap().is_none());
    assert!(keys.set(&owner, &called, &text("sk-1")).await.unwrap());
    assert_eq!(rig.row("u1", "anthropic_api_key"), "NULL|\\x0101000000");
    assert_eq!(
        read(&keys, "u1", "anthropic/api_key").await.unwrap(),
        "sk-1"
    );
    let before = rig.sql("SELECT updated_at FROM user_secrets");
    assert!(!keys.set(&owner, &called, &text("sk-2")).await.unwrap());
    assert_ne!(before, rig.sql("SELECT updated_at FROM user_secrets"));
    assert_eq!(
        read(&keys, "u1", "anthropic/api_key").await.unwrap(),
        "sk-2"
    );
    assert_eq!(read(&keys, "u2", "anthropic/api_key").await, None);
    assert!(keys.remove(&owner, &called).await.unwrap());
    assert!(!keys.remove(&owner, &called).await.unwrap());
    assert_eq!(rig.sql("SELECT count(*) FROM user_secrets"), "0");
}

#[tokio::test]
async fn values_have_bounds() {
    let (_rig, keys) = Rig::attached().await;
    let (owner, called) = (user("u1"), name("k"));
    let longest = text(&"v".repeat(VALUE_BYTES_MAX));
    keys.set(&owner, &called, &longest).await.unwrap();
    let found = keys.get(&owner, &called).await.unwrap().unwrap();
    assert!(found.value.ct_eq(&longest));
    let longer = text(&"v".repeat(VALUE_BYTES_MAX + 1));
    let error = keys.set(&owner, &called, &longer).await.unwrap_err();
    assert!(matches!(error, UserKeysError::TooLarge { .. }), "{error}");
    let error = keys.set(&owner, &called, &text("")).await.unwrap_err();
    assert!(matches!(error, UserKeysError::Empty), "{error}");
}

#[tokio::test]
async fn what_lies_in_clear_is_sealed_on_first_read_and_its_column_emptied() {
    let (rig, keys) = Rig::attached().await;
    let insert = "INSERT INTO user_secrets (user_id, secret_key, secret_value)
        VALUES ('u1', 'openai_api_key', 'sk-plain')";
    let _ = rig.sql(insert);
    let found = keys
        .get(&user("u1"), &name("openai/api_key"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.was, Form::Plain);
    assert!(found.not_sealed.is_none());
    assert_eq!(rig.row("u1", "openai_api_key"), "NULL|\\x0101000000");
    let found = keys
        .get(&user("u1"), &name("openai/api_key"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.was, Form::Sealed(1));
    assert!(found.value.ct_eq(&text("sk-plain")));
}

/// The application's settings page writes the plain column only: that is the newest value,
/// whatever lies sealed beside it.
#[tokio::test]
async fn what_an_application_writes_in_clear_replaces_what_is_sealed() {
    let (rig, keys) = Rig::attached().await;
    keys.set(&user("u1"), &name("k"), &text("old"))
        .await
        .unwrap();
    let _ = rig.sql("UPDATE user_secrets SET secret_value = 'new'");
    assert_eq!(read(&keys, "u1", "k").await.unwrap(), "new");
    assert_eq!(rig.row("u1", "k"), "NULL|\\x0101000000");
    assert_eq!(read(&keys, "u1", "k").await.unwrap(), "new");
    // An empty text is no value.
    let _ = rig.sql("UPDATE user_secrets SET secret_value = ''");
    assert_eq!(read(&keys, "u1", "k").await.unwrap(), "new");
}

#[tokio::test]
async fn a_row_opens_in_its_own_place_only() {
    let (rig, keys) = Rig::attached().await;
    for (of, called) in [("u1", "a"), ("u2", "a"), ("u1", "b")] {
        keys.set(&user(of), &name(called), &text(of)).await.unwrap();
    }
    let steal = "UPDATE user_secrets SET secret_value_encrypted = (SELECT secret_value_encrypted
        FROM user_secrets WHERE user_id = 'u2') WHERE user_id = 'u1' AND secret_key = 'a'";
    let _ = rig.sql(steal);
    let error = keys.get(&user("u1"), &name("a")).await.unwrap_err();
    assert!(matches!(error, UserKeysError::Damaged { .. }), "{error}");
    assert!(read(&keys, "u1", "b").await.is_some());
    let _ = rig.sql("UPDATE user_secrets SET secret_value_encrypted = '\\x0203'");
    let error = keys.get(&user("u1"), &name("b")).await.unwrap_err();
    assert!(
        matches!(error, UserKeysError::UnknownForm { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_user_is_listed_exported_and_erased() {
    let (rig, keys) = Rig::attached().await;
    keys.set(&user("u1"), &name("a"), &text("va"))
        .await
        .unwrap();
    keys.set(&user("u2"), &name("a"), &text("other"))
        .await
        .unwrap();
    let insert = "INSERT INTO user_secrets (user_id, secret_key, secret_value)
        VALUES ('u1', 'b', 'vb'), ('u1', 'empty', '')";
    let _ = rig.sql(insert);
    let listed = keys.list(&user("u1")).await.unwrap();
    let listed: Vec<_> = listed
        .iter()
        .map(|it| (it.name.as_str(), it.form))
        .collect();
    assert_eq!(listed, [("a", Form::Sealed(1)), ("b", Form::Plain)]);
    let exported = keys.export(&user("u1")).await.unwrap();
    let names: Vec<_> = exported.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let values = exported.into_iter().map(|(_, value)| value.unwrap());
    let expected = [text("va"), text("vb")];
    assert!(
        values
            .zip(&expected)
            .all(|(found, wanted)| found.ct_eq(wanted))
    );
    assert_eq!(keys.erase(&user("u1")).await.unwrap(), 3);
    assert_eq!(rig.sql("SELECT DISTINCT user_id FROM user_secrets"), "u2");
    assert_eq!(keys.erase(&user("u1")).await.unwrap(), 0);
}

#[tokio::test]
async fn ids_may_be_numbers() {
    let rig = Rig::bare(&[]).await;
    let _ = rig.sql(
        "DROP TABLE user_secrets; CREATE TABLE user_secrets (user_id bigint, secret_key varchar(64),
         secret_value text, PRIMARY KEY (secret_key, user_id))",
    );
    let keys = rig.attach().await.unwrap();
    assert!(keys.set(&user("42"), &name("k"), &text("v")).await.unwrap());
    assert_eq!(read(&keys, "42", "k").await.unwrap(), "v");
    assert_eq!(read(&keys, "42x", "k").await, None);
    let error = keys
        .set(&user("42x"), &name("k"), &text("v"))
        .await
        .unwrap_err();
    assert!(matches!(error, UserKeysError::BadName { .. }), "{error}");
    let _ = rig.sql(
        "INSERT INTO user_secrets SELECT g, 'k', 'p' FROM generate_series(1, 30) g
        ON CONFLICT DO NOTHING",
    );
    let done = crate::support::run(&keys, strongroom_userkeys::Work::Encrypt, 7).await;
    assert_eq!((done.from_plain, done.trouble.len()), (30, 0));
}

#[tokio::test]
async fn a_data_key_that_was_made_later_is_asked_for() {
    let (mut rig, old) = Rig::attached().await;
    rig.keyring.rotate(&SystemRng, Timestamp::from_micros(1));
    rig.barrier = Barrier::new([7; 16], &rig.keyring);
    let new = rig.open().await.unwrap();
    new.set(&user("u1"), &name("k"), &text("v")).await.unwrap();
    let error = old.get(&user("u1"), &name("k")).await.unwrap_err();
    assert!(
        matches!(error, UserKeysError::UnknownKey { key: 2, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn another_store_is_told_so() {
    let (rig, _keys) = Rig::attached().await;
    let other = Barrier::new(
        [8; 16],
        &strongroom_crypto::keyring::Keyring::generate(&SystemRng, Timestamp::from_micros(0)),
    );
    let error = UserKeys::open(&rig.database, None, &other)
        .await
        .unwrap_err();
    assert!(matches!(error, UserKeysError::OtherStore { .. }), "{error}");
}
