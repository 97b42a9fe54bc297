//! Tables that do not fit, and what attaching says about them.

use strongroom_userkeys::UserKeys;
use strongroom_userkeys::UserKeysError;

use crate::support::Rig;
use crate::support::name;
use crate::support::settings;
use crate::support::text;
use crate::support::user;

#[tokio::test]
async fn everything_in_the_way_is_told_at_once_and_nothing_changed() {
    let rig = Rig::bare(&[]).await;
    let _ = rig.sql(
        "DROP TABLE user_secrets; CREATE TABLE user_secrets (user_id json, secret_key text,
         secret_value_encrypted text, tenant text NOT NULL)",
    );
    let table = "user_secrets".parse().unwrap();
    let settings = settings();
    let found = strongroom_userkeys::inspect(&rig.database, &table, &settings);
    let found = found.await.unwrap();
    assert_eq!(found.problems.len(), 5, "{:#?}", found.problems);
    let error = strongroom_userkeys::attach(&rig.database, &found, &rig.barrier);
    let error = error.await.unwrap_err();
    assert!(matches!(error, UserKeysError::Unfit { .. }), "{error}");
    assert_eq!(
        rig.sql("SELECT to_regclass('strongroom_userkeys') IS NULL"),
        "t"
    );
    let table = "no_such".parse().unwrap();
    let error = strongroom_userkeys::inspect(&rig.database, &table, &settings).await;
    assert!(matches!(error, Err(UserKeysError::NoTable { .. })));
}

#[tokio::test]
async fn attaching_again_changes_nothing_and_other_settings_are_refused() {
    let (rig, _keys) = Rig::attached().await;
    let table = "public.user_secrets".parse().unwrap();
    let inspect = |settings| {
        let (rig, table) = (&rig, &table);
        async move {
            let found = strongroom_userkeys::inspect(&rig.database, table, &settings).await?;
            strongroom_userkeys::attach(&rig.database, &found, &rig.barrier).await
        }
    };
    assert!(!inspect(settings()).await.unwrap());
    let mut other = settings();
    other.has_flat_names = false;
    let error = inspect(other).await.unwrap_err();
    assert!(matches!(error, UserKeysError::Differs { .. }), "{error}");
    let mut other = settings();
    other.pgcrypto_keys = vec!["b".into()];
    assert!(inspect(other).await.unwrap());
    let keys = rig.open().await.unwrap();
    assert_eq!(keys.attachment().settings().pgcrypto_keys, ["b"]);
}

#[tokio::test]
async fn the_one_of_several_has_to_be_named() {
    let (rig, keys) = Rig::attached().await;
    keys.set(&user("u"), &name("k"), &text("v")).await.unwrap();
    let _ = rig.sql("CREATE TABLE \"Odd \"\"name\" (LIKE user_secrets INCLUDING ALL)");
    let table = "Odd \"name".parse().unwrap();
    let settings = settings();
    let found = strongroom_userkeys::inspect(&rig.database, &table, &settings);
    let found = found.await.unwrap();
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    strongroom_userkeys::attach(&rig.database, &found, &rig.barrier)
        .await
        .unwrap();
    let error = UserKeys::open(&rig.database, None, &rig.barrier)
        .await
        .unwrap_err();
    assert!(matches!(error, UserKeysError::Ambiguous { .. }), "{error}");
    let odd = UserKeys::open(&rig.database, Some(&table), &rig.barrier)
        .await
        .unwrap();
    assert!(odd.set(&user("u"), &name("k"), &text("w")).await.unwrap());
    // A row of the one table does not open in the other.
    let _ = rig.sql(
        "UPDATE \"Odd \"\"name\" SET secret_value_encrypted =
         (SELECT secret_value_encrypted FROM user_secrets)",
    );
    let error = odd.get(&user("u"), &name("k")).await.unwrap_err();
    assert!(matches!(error, UserKeysError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_user_of_the_database_that_may_only_read_and_write_rows_is_enough() {
    let (rig, keys) = Rig::attached().await;
    keys.set(&user("u"), &name("k"), &text("v")).await.unwrap();
    let _ = rig.sql(
        "CREATE ROLE clerk LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON user_secrets TO clerk;
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO clerk;
         GRANT SELECT ON strongroom_userkeys TO clerk; CREATE ROLE nobody_here LOGIN",
    );
    let as_user = |role: &str| {
        let url = rig
            .server
            .url("postgres")
            .replace("postgres@", &format!("{role}@"));
        url.parse::<strongroom_userkeys::DatabaseUrl>().unwrap()
    };
    let url = as_user("clerk");
    let database = strongroom_userkeys::Database::connect(&url, None)
        .await
        .unwrap();
    let clerk = UserKeys::open(&database, None, &rig.barrier).await.unwrap();
    clerk
        .set(&user("u2"), &name("k"), &text("w"))
        .await
        .unwrap();
    let found = clerk.get(&user("u"), &name("k")).await.unwrap().unwrap();
    assert!(found.value.ct_eq(&text("v")));
    clerk.erase(&user("u2")).await.unwrap();
    let error = clerk.leave().await.unwrap_err();
    assert!(matches!(error, UserKeysError::Denied { .. }), "{error}");
    let url = as_user("nobody_here");
    let database = strongroom_userkeys::Database::connect(&url, None)
        .await
        .unwrap();
    let error = UserKeys::open(&database, None, &rig.barrier)
        .await
        .unwrap_err();
    assert!(matches!(error, UserKeysError::Denied { .. }), "{error}");
}
