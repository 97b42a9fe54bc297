use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_userkeys::Pass;
use strongroom_userkeys::UserKeysError;
use strongroom_userkeys::Work;

use crate::support::OLD_KEY;
use crate::support::Rig;
use crate::support::name;
use crate::support::read;
use crate::support::run;
use crate::support::text;
use crate::support::user;

fn fill(rig: &Rig, rows: usize) {
    let _ = rig.sql(&format!(
        "INSERT INTO user_secrets (user_id, secret_key, secret_value)
         SELECT 'u' || g, 'k', 'value-' || g FROM generate_series(1, {rows}) g"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_seals_everything_while_others_read_and_write() {
    let (rig, keys) = Rig::attached().await;
    fill(&rig, 3000);
    let _ = rig.sql(&format!(
        "INSERT INTO user_secrets (user_id, secret_key, secret_value, secret_value_encrypted)
         SELECT 'p' || g, 'k', NULL, pgp_sym_encrypt('pgp-' || g, '{OLD_KEY}')
         FROM generate_series(1, 200) g"
    ));
    let readers: Vec<_> = (0..4_usize)
        .map(|reader| {
            let keys = keys.clone();
            tokio::spawn(async move {
                for at in (1..=3000).skip(reader).step_by(17) {
                    let (of, value) = (format!("u{at}"), format!("value-{at}"));
                    let found = read(&keys, &of, "k").await.unwrap();
                    assert!(found == value || found == "changed", "{of}: {found}");
                }
            })
        })
        .collect();
    let writer = {
        let keys = keys.clone();
        tokio::spawn(async move {
            for at in (1..=3000).step_by(50) {
                let of = user(&format!("u{at}"));
                keys.set(&of, &name("k"), &text("changed")).await.unwrap();
            }
        })
    };
    let mut sealed = 0;
    while Pass::new(&keys, Work::Encrypt).count().await.unwrap() > 0 {
        let done = run(&keys, Work::Encrypt, 100).await;
        assert_eq!(done.trouble.len(), 0);
        sealed += done.from_plain;
    }
    assert!(sealed > 0);
    for reader in readers {
        reader.await.unwrap();
    }
    writer.await.unwrap();
    let status = keys.status().await.unwrap();
    assert_eq!((status.rows, status.sealed_rows()), (3200, 3200));
    for at in 1..=3000 {
        let found = read(&keys, &format!("u{at}"), "k").await.unwrap();
        let value = match at % 50 {
            1 => "changed".to_owned(),
            _ => format!("value-{at}"),
        };
        assert_eq!(found, value);
    }
    let checked = run(&keys, Work::Verify, 500).await;
    assert_eq!((checked.from_sealed, checked.trouble.len()), (3200, 0));
}

/// Everything that a pass knows lies in the rows: one that was dropped anywhere is begun again.
#[tokio::test]
async fn a_pass_that_was_ended_is_begun_again() {
    let (rig, keys) = Rig::attached().await;
    fill(&rig, 300);
    let mut pass = Pass::new(&keys, Work::Encrypt).with_piece(40);
    for _ in 0..3 {
        pass.step().await.unwrap();
    }
    drop(pass);
    assert_eq!(keys.status().await.unwrap().plain, 180);
    let done = run(&keys, Work::Encrypt, 40).await;
    assert_eq!((done.rows, done.from_plain), (180, 180));
    assert_eq!(keys.status().await.unwrap().sealed_rows(), 300);
}

/// A row that changes between reading and sealing keeps what it was changed to.
#[tokio::test]
async fn a_lock_holds_nobody_up_for_long_and_loses_nothing() {
    let (rig, keys) = Rig::attached().await;
    fill(&rig, 10);
    let url: strongroom_userkeys::DatabaseUrl = rig.server.url("postgres").parse().unwrap();
    let lone = strongroom_userkeys::Database::connect(&url, Some(1))
        .await
        .unwrap();
    let other = strongroom_userkeys::UserKeys::open(&lone, None, &rig.barrier);
    let other = other.await.unwrap();
    // A reader is not held up by the pass, nor by the application's lock on the row.
    let hold = std::thread::spawn({
        let port = rig.server.port();
        move || {
            let sql = "BEGIN; UPDATE user_secrets SET secret_value = 'newer' WHERE user_id = 'u5';
                SELECT pg_sleep(1); COMMIT";
            let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
            std::process::Command::new("psql")
                .args([&url, "-qAtc", sql])
                .output()
                .unwrap()
        }
    });
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let locks = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    while rig.sql(locks) != "1" {
        assert!(std::time::Instant::now() < until, "the lock is held");
    }
    assert_eq!(other.status().await.unwrap().rows, 10);
    let done = run(&keys, Work::Encrypt, 500).await;
    assert_eq!((done.from_plain, done.changed), (10, 1));
    assert!(hold.join().unwrap().status.success());
    assert_eq!(read(&keys, "u5", "k").await.unwrap(), "newer");
}

#[tokio::test]
async fn a_new_data_key_takes_over_while_reads_go_on() {
    let (mut rig, keys) = Rig::attached().await;
    fill(&rig, 200);
    run(&keys, Work::Encrypt, 500).await;
    assert_eq!(keys.status().await.unwrap().sealed[&1], 200);
    rig.keyring.rotate(&SystemRng, Timestamp::from_micros(1));
    rig.barrier = Barrier::new([7; 16], &rig.keyring);
    let keys = rig.open().await.unwrap();
    assert_eq!(read(&keys, "u7", "k").await.unwrap(), "value-7");
    let pass = Pass::new(&keys, Work::Rotate);
    assert_eq!(pass.count().await.unwrap(), 200);
    let done = run(&keys, Work::Rotate, 30).await;
    assert_eq!(done.from_sealed, 200);
    let status = keys.status().await.unwrap();
    assert_eq!(
        (status.active_key, status.sealed.len(), status.sealed[&2]),
        (2, 1, 200)
    );
    assert_eq!(read(&keys, "u7", "k").await.unwrap(), "value-7");
    let _ = rig.sql(
        "UPDATE user_secrets SET secret_value_encrypted = set_byte(
        secret_value_encrypted, 30, get_byte(secret_value_encrypted, 30) # 1)
        WHERE user_id = 'u9'",
    );
    let checked = run(&keys, Work::Verify, 30).await;
    assert_eq!((checked.from_sealed, checked.trouble.len()), (199, 1));
    assert_eq!(checked.trouble[0].user, "u9");
    assert!(matches!(
        checked.trouble[0].error,
        UserKeysError::Damaged { .. }
    ));
}
