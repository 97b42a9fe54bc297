use strongroom_userkeys::UserKeys;
use strongroom_userkeys::UserKeysError;
use strongroom_userkeys::Work;

use crate::support::OLD_KEY;
use crate::support::Rig;
use crate::support::name;
use crate::support::read;
use crate::support::run;
use crate::support::text;
use crate::support::user;

/// What the database says about the table, without what is in it.
fn shape(rig: &Rig) -> String {
    rig.sql(
        "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull,
            ', ' ORDER BY attname) FROM pg_attribute
         WHERE attrelid = 'user_secrets'::regclass AND attnum > 0 AND NOT attisdropped",
    )
}

async fn restore(keys: &UserKeys) {
    while keys.restore_piece().await.unwrap() > 0 {}
}

#[tokio::test]
async fn the_way_down_refuses_to_destroy_the_only_copy() {
    let rig = Rig::bare(&[]).await;
    let before = shape(&rig);
    let keys = rig.attach().await.unwrap();
    assert_ne!(before, shape(&rig));
    let odd = "tab\there \\ back\nline \\. 🔑";
    keys.set(&user("u1"), &name("k"), &text(odd)).await.unwrap();
    let error = keys.detach().await.unwrap_err();
    assert!(
        matches!(error, UserKeysError::OnlyCopy { rows: 1, .. }),
        "{error}"
    );
    assert_eq!(read(&keys, "u1", "k").await.unwrap(), odd);
    assert_eq!(keys.only_copies().await.unwrap(), 1);

    keys.leave().await.unwrap();
    let error = keys
        .set(&user("u2"), &name("k"), &text("v"))
        .await
        .unwrap_err();
    assert!(matches!(error, UserKeysError::Leaving { .. }), "{error}");
    restore(&keys).await;
    let stored = rig.sql("SELECT secret_value FROM user_secrets");
    assert_eq!(stored, odd);
    // Read while it is rolled back: told, and left in clear.
    let found = keys.get(&user("u1"), &name("k")).await.unwrap().unwrap();
    assert!(matches!(
        found.not_sealed,
        Some(UserKeysError::Leaving { .. })
    ));
    assert!(!keys.detach().await.unwrap().plain_takes_null);
    assert_eq!(before, shape(&rig));
    assert_eq!(
        rig.sql("SELECT to_regclass('strongroom_userkeys') IS NULL"),
        "t"
    );
    assert_eq!(rig.sql("SELECT secret_value FROM user_secrets"), odd);
    // And up again.
    let keys = rig.attach().await.unwrap();
    run(&keys, Work::Encrypt, 10).await;
    assert_eq!(read(&keys, "u1", "k").await.unwrap(), odd);
}

#[tokio::test]
async fn a_column_of_the_application_stays_with_its_own_rows() {
    let (rig, keys) = Rig::attached().await;
    let _ = rig.sql(&format!(
        "INSERT INTO user_secrets (user_id, secret_key, secret_value, secret_value_encrypted)
         VALUES ('u1', 'k', NULL, pgp_sym_encrypt('theirs', '{OLD_KEY}'))"
    ));
    keys.set(&user("u2"), &name("k"), &text("ours"))
        .await
        .unwrap();
    keys.leave().await.unwrap();
    restore(&keys).await;
    assert!(keys.detach().await.unwrap().plain_takes_null);
    let decrypted = format!(
        "SELECT pgp_sym_decrypt(secret_value_encrypted, '{OLD_KEY}') FROM user_secrets
         WHERE user_id = 'u1'"
    );
    assert_eq!(rig.sql(&decrypted), "theirs");
    assert_eq!(rig.row("u2", "k"), "ours|NULL");
}

#[tokio::test]
async fn bytes_that_are_no_text_are_kept() {
    let (_rig, keys) = Rig::attached().await;
    let bytes = strongroom_core::secret::SecretValue::copy_from(b"\xff\0\x01");
    keys.set(&user("u1"), &name("k"), &bytes).await.unwrap();
    keys.leave().await.unwrap();
    let error = keys.restore_piece().await.unwrap_err();
    assert!(matches!(error, UserKeysError::NotText { .. }), "{error}");
    assert!(keys.detach().await.is_err());
    let found = keys.get(&user("u1"), &name("k")).await.unwrap().unwrap();
    assert!(found.value.ct_eq(&bytes));
}
