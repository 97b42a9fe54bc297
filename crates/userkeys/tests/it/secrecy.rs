//! Nothing in the server's logs, whatever it is told to log, and nothing in the table's file.

use strongroom_testkit::canary::Canary;
use strongroom_testkit::rng::SeededRng;
use strongroom_userkeys::Work;

use crate::support::Rig;
use crate::support::name;
use crate::support::run;
use crate::support::text;
use crate::support::user;

#[tokio::test]
async fn a_server_that_logs_everything_logs_no_value_and_no_key() {
    let rig = Rig::bare(&[
        "log_statement=all",
        "log_min_duration_statement=0",
        "log_parameter_max_length=-1",
        "log_parameter_max_length_on_error=-1",
        "log_error_verbosity=verbose",
        "log_min_messages=debug1",
    ])
    .await;
    let rng = SeededRng::new(4);
    let canaries: Vec<Canary> = (0..4).map(|_| Canary::new(&rng)).collect();
    let [set, plain, weak, old_key] = canaries.as_slice() else {
        panic!("four")
    };
    let keys = rig.attach().await.unwrap();
    let keys = keys.with_pgcrypto_keys(vec![old_key.value()]);
    // What the application itself writes is in the log: from here on is ours.
    let _ = rig.sql(&format!(
        "INSERT INTO user_secrets (user_id, secret_key, secret_value, secret_value_encrypted)
         VALUES ('u1', 'k', '{plain}', NULL), ('u2', 'k', '{plain}', NULL),
            ('u3', 'k', NULL, pgp_sym_encrypt('{weak}', '{key}')),
            ('u4', 'k', NULL, pgp_sym_encrypt('{weak}', '{key}'))",
        plain = plain.text(),
        weak = weak.text(),
        key = old_key.text()
    ));
    let before = rig.server.log().len();
    keys.set(&user("u5"), &name("k"), &set.value())
        .await
        .unwrap();
    keys.set(&user("u5"), &name("k"), &set.value())
        .await
        .unwrap();
    for of in ["u1", "u3", "u5"] {
        keys.get(&user(of), &name("k")).await.unwrap().unwrap();
    }
    run(&keys, Work::Encrypt, 10).await;
    run(&keys, Work::Verify, 10).await;
    keys.export(&user("u1")).await.unwrap();
    keys.list(&user("u1")).await.unwrap();
    keys.leave().await.unwrap();
    while keys.restore_piece().await.unwrap() > 0 {}
    keys.detach().await.unwrap();
    let log = rig.server.log();
    let log = &log.as_bytes()[before..];
    let is_logged = String::from_utf8_lossy(log).contains("UPDATE \"public\".\"user_secrets\"");
    assert!(is_logged, "the statements are in the log");
    for canary in &canaries {
        assert_eq!(canary.find_in(log), None);
    }
    let values = rig.sql("SELECT count(*) FROM user_secrets WHERE secret_value LIKE 'canary-%'");
    assert_eq!(values, "5");
}

/// Old copies of rows lie in the file until the table is written anew, as the advice says.
#[tokio::test]
async fn after_the_advice_nothing_in_clear_is_in_the_tables_file() {
    let (rig, keys) = Rig::attached().await;
    let canary = Canary::new(&SeededRng::new(9));
    let _ = rig.sql(&format!(
        "INSERT INTO user_secrets (user_id, secret_key, secret_value)
         SELECT 'u' || g, 'k', '{}' FROM generate_series(1, 50) g",
        canary.text()
    ));
    let file = |rig: &Rig| {
        let read = "CHECKPOINT";
        let _ = rig.sql(read);
        let read =
            "SELECT encode(pg_read_binary_file(pg_relation_filepath('user_secrets')), 'hex')";
        rig.sql(read)
    };
    assert!(canary.find_in(file(&rig).as_bytes()).is_some());
    run(&keys, Work::Encrypt, 10).await;
    assert_eq!(
        rig.sql("SELECT count(*) FROM user_secrets WHERE secret_value IS NOT NULL"),
        "0"
    );
    let _ = rig.sql("VACUUM (FULL) user_secrets");
    assert_eq!(canary.find_in(file(&rig).as_bytes()), None);
    let found = keys.get(&user("u9"), &name("k")).await.unwrap().unwrap();
    assert!(found.value.ct_eq(&text(canary.text())));
}
