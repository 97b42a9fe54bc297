//! What a bug or a crash in the middle leaves behind.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use strongroom_core::port::RecordId;
use strongroom_testkit::fault::FaultyStorage;

use super::Creds;
use super::Place;
use super::ROOT;
use super::lease;
use crate::core::Core;
use crate::vault::tests::panics::Buggy;

async fn with_bugs() -> (Place, Arc<FaultyStorage>) {
    let (keeper, storage) = Buggy::apart();
    let place = Place::kept_by(keeper).await;
    (place, Buggy::of(&storage))
}

/// What a bug or a crash at any call of the storage leaves behind is cleared, and what a client was
/// told holds.
#[tokio::test]
async fn whatever_is_cut_off_leaves_nobody_behind() {
    let (place, storage) = with_bugs().await;
    let (mut told, mut cut_off) = (Vec::new(), Vec::new());
    // Each call of a request in its turn, until one request needs no more of them.
    for nth in 1.. {
        storage.fail_at(nth);
        let reply = place.world.root("GET database/creds/ro", "").await;
        let was_reached = storage.calls() >= nth;
        storage.fail_at(0);
        match reply.status {
            200 => told.push(Creds::of(&reply)),
            _ => cut_off.push((nth, reply.status, place.users().len())),
        }
        if !was_reached {
            break;
        }
    }
    assert!(cut_off.len() >= 4, "{cut_off:?}");
    assert!(place.users().len() >= told.len());
    place.world.pass(31);
    place.work().await;
    let mut names: Vec<&str> = told.iter().map(|creds| creds.username.as_str()).collect();
    names.sort_unstable();
    assert_eq!(place.users(), names, "those that were told: {cut_off:?}");

    for nth in 1.. {
        let creds = place.creds(ROOT).await;
        storage.fail_at(nth);
        let line = "PUT sys/leases/revoke";
        let reply = place.world.root(line, &lease(&creds)).await;
        let was_reached = storage.calls() >= nth;
        storage.fail_at(0);
        if reply.status == 204 {
            assert!(!place.users().contains(&creds.username), "call {nth}");
        }
        let again = place.world.root(line, &lease(&creds)).await;
        assert_eq!(again.status, 204, "call {nth}: {again:?}");
        assert!(!place.users().contains(&creds.username), "call {nth}");
        if !was_reached {
            break;
        }
    }
    let line = "PUT sys/leases/revoke-prefix/database/creds/ro";
    assert_eq!(place.world.root(line, "").await.status, 204);
    assert_eq!(place.users(), Vec::<String>::new());
    let core = place.world.node.core().unwrap();
    let uuid = core.mounts().get("database/").unwrap().mount.uuid;
    assert_eq!(core.state.lease_counts(uuid).await.unwrap(), Vec::new());
}

/// How many records there are, but for those of the ledger, which has three for each user.
async fn records(core: &Core, users: usize) -> usize {
    crate::ledger::of(core).enter().await.unwrap();
    let changed = core.state.storage().watch(0, usize::MAX).await.unwrap();
    let ids: BTreeSet<RecordId> = changed.iter().map(|changed| changed.id).collect();
    let ids: Vec<RecordId> = ids.into_iter().collect();
    let found = core.state.storage().get_many(&ids).await.unwrap();
    found.iter().flatten().count() - 3 * users
}

/// Whatever is cut off while a mount goes, nothing of it is left in the end.
#[tokio::test]
async fn nothing_is_left_of_a_mount_that_goes() {
    let (place, storage) = with_bugs().await;
    let core = place.world.node.core().unwrap();
    let (mut users, mut before, mut cut_off) = (0, None, 0);
    // The first round leaves what every later one finds: who has which duty.
    for nth in 0.. {
        for _ in 0..2 {
            place.creds(ROOT).await;
            users += 1;
        }
        storage.fail_at(nth);
        let reply = place.world.root("DELETE sys/mounts/database", "").await;
        let was_reached = nth == 0 || storage.calls() >= nth;
        storage.fail_at(0);
        cut_off += u32::from(reply.status != 204);
        let again = place.world.root("DELETE sys/mounts/database", "").await;
        assert_eq!(again.status, 204, "call {nth}: {again:?}");
        place.work().await;
        crate::tasks::run_once(&place.world.node, &core)
            .await
            .unwrap();
        assert_eq!(place.users(), Vec::<String>::new(), "call {nth}");
        let after = records(&core, users).await;
        assert_eq!(after, *before.get_or_insert(after), "call {nth}: {reply:?}");
        if !was_reached {
            break;
        }
        let body = json!({"type": "database"});
        place.done("POST sys/mounts/database", body).await;
        place.configure(true).await;
        place.role("ro", json!({})).await;
    }
    assert!(cut_off >= 4, "{cut_off}");
}

/// Whatever is cut off while a password is changed, one that works is found again.
#[tokio::test]
async fn a_password_that_was_being_changed_is_found_again() {
    let (place, storage) = with_bugs().await;
    let _ = place
        .postgres
        .sql("postgres", "CREATE ROLE fixed LOGIN IN ROLE app");
    let body = json!({"db_name": "pg", "username": "fixed", "rotation_period": "1h"});
    place.done("POST database/static-roles/s", body).await;
    for line in [
        "POST database/rotate-root/pg",
        "POST database/rotate-role/s",
    ] {
        let mut cut_off = 0;
        for nth in 1.. {
            storage.fail_at(nth);
            let reply = place.world.root(line, "").await;
            let was_reached = storage.calls() >= nth;
            storage.fail_at(0);
            cut_off += u32::from(reply.status >= 300);
            // At once, as if it was still being changed, and when whoever was at it has had its
            // time.
            for seconds in [0, 1, 121] {
                place.world.pass(seconds);
                // Connections that are open would not be asked for a password.
                place.done("POST database/reset/pg", Value::Null).await;
                let what = format!("{line} {nth}, after {seconds} s");
                let creds = place.creds(ROOT).await;
                assert!(place.logs_in(&creds).await, "{what}");
                let fixed = place.world.root("GET database/static-creds/s", "").await;
                let text = |name: &str| fixed.data()[name].as_str().unwrap_or_default().to_owned();
                let fixed = Creds {
                    lease: String::new(),
                    username: text("username"),
                    password: text("password"),
                    seconds: 0,
                };
                assert!(place.logs_in(&fixed).await, "{what}");
            }
            if !was_reached {
                break;
            }
        }
        assert!(cut_off >= 4, "{line}: {cut_off}");
    }
}
