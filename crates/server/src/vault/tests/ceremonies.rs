use serde_json::json;

use super::World;
use crate::node::FirstMount;

async fn initialised() -> (World, Vec<String>, String) {
    let world = World::sealed(FirstMount::None);
    let body = r#"{"secret_shares":5,"secret_threshold":3}"#;
    let made = world.ask(None, "PUT sys/init", body).await;
    assert_eq!(made.status, 200, "{made:?}");
    let keys = made.body["keys_base64"].as_array().unwrap();
    let keys = keys.iter().map(|key| key.as_str().unwrap().to_owned());
    let root = made.body["root_token"].as_str().unwrap().to_owned();
    (world, keys.collect(), root)
}

async fn unseal(world: &World, keys: &[String]) -> super::Reply {
    let mut last = None;
    for key in keys {
        let body = json!({ "key": key }).to_string();
        last = Some(world.ask(None, "PUT sys/unseal", &body).await);
    }
    last.unwrap()
}

#[tokio::test]
async fn a_server_is_made_unsealed_and_sealed() {
    let (world, keys, root) = initialised().await;
    let again = world
        .ask(
            None,
            "PUT sys/init",
            r#"{"secret_shares":1,"secret_threshold":1}"#,
        )
        .await;
    assert_eq!(again.error(), (400, "Vault is already initialized".into()));
    let sealed = (503, "Vault is sealed".to_owned());
    for line in [
        "GET secret/data/x",
        "GET sys/mounts",
        "POST auth/token/create",
        "GET no/such",
    ] {
        assert_eq!(
            world.ask(Some(&root), line, "{}").await.error(),
            sealed,
            "{line}"
        );
    }
    assert_eq!(world.ask(None, "GET sys/health", "").await.status, 503);
    assert_eq!(
        world
            .ask(None, "GET sys/health?sealedcode=200", "")
            .await
            .status,
        200
    );
    let one = unseal(&world, &keys[..1]).await;
    assert_eq!(
        (&one.body["progress"], &one.body["sealed"]),
        (&json!(1), &json!(true))
    );
    // The same share twice is one share.
    let twice = unseal(&world, &keys[..1]).await;
    assert_eq!(twice.body["progress"], 1);
    let reset = world.ask(None, "PUT sys/unseal", r#"{"reset":true}"#).await;
    assert_eq!(reset.body["progress"], 0);
    let open = unseal(&world, &keys[1..4]).await;
    assert_eq!(open.body["sealed"], false, "{open:?}");
    assert_eq!(world.ask(None, "GET sys/health", "").await.status, 200);
    assert_eq!(
        world
            .ask(Some(&root), "GET auth/token/lookup-self", "")
            .await
            .status,
        200
    );
    let mounts = world.ask(Some(&root), "GET sys/mounts", "").await;
    assert!(mounts.data().get("secret/").is_none());
    assert_eq!(world.ask(Some(&root), "PUT sys/seal", "").await.status, 204);
    assert!(world.node.is_sealed());
    let open = unseal(&world, &keys[2..]).await;
    assert_eq!(open.body["sealed"], false);
}

#[tokio::test]
async fn wrong_shares_open_nothing() {
    let (world, keys, _) = initialised().await;
    let (_, foreign, _) = initialised().await;
    for bad in ["", "zz", "AAAA", "not a share"] {
        let body = json!({ "key": bad }).to_string();
        let reply = world.ask(None, "PUT sys/unseal", &body).await;
        assert!(
            reply.status == 400 || reply.body["sealed"] == true,
            "{reply:?}"
        );
    }
    world.ask(None, "PUT sys/unseal", r#"{"reset":true}"#).await;
    let mixed = [keys[0].clone(), keys[1].clone(), foreign[2].clone()];
    assert_eq!(unseal(&world, &mixed).await.status, 400);
    assert!(world.node.is_sealed());
    for body in [
        r#"{"secret_shares":0,"secret_threshold":0}"#,
        r#"{"secret_shares":3,"secret_threshold":1}"#,
        r#"{"secret_shares":3,"secret_threshold":4}"#,
        r#"{"secret_shares":256,"secret_threshold":3}"#,
        r#"{"secret_shares":-1,"secret_threshold":3}"#,
        r#"{"secret_shares":1,"secret_threshold":1,"pgp_keys":["x"]}"#,
    ] {
        let world = World::sealed(FirstMount::None);
        assert_eq!(
            world.ask(None, "PUT sys/init", body).await.status,
            400,
            "{body}"
        );
    }
}

#[tokio::test]
async fn before_the_first_start_it_says_so() {
    let world = World::sealed(FirstMount::None);
    assert_eq!(world.ask(None, "GET sys/health", "").await.status, 501);
    assert_eq!(
        world
            .ask(None, "GET sys/health?uninitcode=299", "")
            .await
            .status,
        299
    );
    let status = world.ask(None, "GET sys/init", "").await;
    assert_eq!(status.body, json!({"initialized": false}));
    let sealed = (503, "Vault is sealed".to_owned());
    assert_eq!(
        world.ask(None, "GET secret/data/x", "").await.error(),
        sealed
    );
    let unseal = world.ask(None, "PUT sys/unseal", r#"{"key":"AAAA"}"#).await;
    assert_eq!(unseal.error(), (400, "Vault is not initialized".into()));
}

#[tokio::test]
async fn new_shares_count_when_they_were_shown() {
    let (world, keys, root) = initialised().await;
    unseal(&world, &keys[..3]).await;
    let body = r#"{"secret_shares":3,"secret_threshold":2,"require_verification":true}"#;
    let begun = world.ask(Some(&root), "PUT sys/rekey/init", body).await;
    let nonce = begun.body["nonce"].as_str().unwrap().to_owned();
    let busy = world.ask(None, "PUT sys/rekey/init", body).await;
    assert_eq!(busy.error(), (400, "rekey already in progress".into()));
    // Whoever has neither token nor nonce cannot stop it.
    for _ in 0..100 {
        assert_eq!(
            world.ask(None, "DELETE sys/rekey/init", "").await.status,
            403
        );
    }
    let mut done = None;
    for key in &keys[..3] {
        let body = json!({"key": key, "nonce": nonce}).to_string();
        done = Some(world.ask(None, "PUT sys/rekey/update", &body).await);
    }
    let done = done.unwrap();
    assert_eq!(done.body["complete"], true, "{done:?}");
    let fresh: Vec<String> = serde_json::from_value(done.body["keys_base64"].clone()).unwrap();
    // Until they were shown, the old ones hold.
    world.ask(Some(&root), "PUT sys/seal", "").await;
    assert_eq!(unseal(&world, &keys[..3]).await.body["sealed"], false);
    let nonce = done.body["verification_nonce"].as_str().unwrap();
    let mut verified = None;
    for key in &fresh[..2] {
        let body = json!({"key": key, "nonce": nonce}).to_string();
        verified = Some(world.ask(None, "PUT sys/rekey/verify", &body).await);
    }
    assert_eq!(verified.unwrap().body["complete"], true);
    world.ask(Some(&root), "PUT sys/seal", "").await;
    let old = unseal(&world, &keys[..2]).await;
    assert_eq!(old.status, 400, "{old:?}");
    assert_eq!(unseal(&world, &fresh[1..]).await.body["sealed"], false);
}

/// Begins a rekey and gives the shares: what it answers.
async fn rekey(world: &World, root: &str, keys: &[String], numbers: (u8, u8)) -> Vec<String> {
    let numbers = json!({"secret_shares": numbers.0, "secret_threshold": numbers.1}).to_string();
    let begun = world.ask(Some(root), "PUT sys/rekey/init", &numbers).await;
    let nonce = begun.body["nonce"].as_str().unwrap().to_owned();
    let mut done = None;
    for key in keys {
        let body = json!({"key": key, "nonce": nonce}).to_string();
        done = Some(world.ask(None, "PUT sys/rekey/update", &body).await);
    }
    let done = done.unwrap();
    assert_eq!(done.body["complete"], true, "{done:?}");
    serde_json::from_value(done.body["keys_base64"].clone()).unwrap()
}

/// A crash between the change and its answer: nobody has the new shares.
#[tokio::test]
async fn a_rekey_that_nobody_heard_of_leaves_the_old_shares() {
    let (world, keys, root) = initialised().await;
    unseal(&world, &keys[..3]).await;
    let fresh = rekey(&world, &root, &keys[..3], (2, 2)).await;
    // As if the process had ended before the answer: nothing seals it in order.
    world.node.seal();
    let opened = unseal(&world, &keys[..3]).await;
    assert_eq!(opened.body["sealed"], false, "{opened:?}");
    // The same holders try again.
    let again = rekey(&world, &root, &keys[..3], (3, 2)).await;
    world.node.seal();
    // Whoever has the newest shares ends all others.
    assert_eq!(unseal(&world, &again[..2]).await.body["sealed"], false);
    world.node.seal();
    for old in [&keys[..2], &fresh[..2]] {
        let refused = unseal(&world, old).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        world.ask(None, "PUT sys/unseal", r#"{"reset":true}"#).await;
    }
}

#[tokio::test]
async fn old_shares_end_when_the_new_ones_were_shown() {
    let (world, keys, root) = initialised().await;
    unseal(&world, &keys[..3]).await;
    let fresh = rekey(&world, &root, &keys[..3], (3, 2)).await;
    world.ask(Some(&root), "PUT sys/seal", "").await;
    let old = unseal(&world, &keys[..2]).await;
    assert_eq!(old.status, 400, "{old:?}");
    assert_eq!(unseal(&world, &fresh[1..]).await.body["sealed"], false);
}

#[tokio::test]
async fn a_root_token_is_made_by_the_holders_of_shares() {
    let (world, keys, root) = initialised().await;
    unseal(&world, &keys[..3]).await;
    world
        .ask(Some(&root), "POST auth/token/revoke-self", "")
        .await;
    let short = world
        .ask(None, "PUT sys/generate-root/attempt", r#"{"otp":"short"}"#)
        .await;
    assert_eq!(
        short.error(),
        (400, "OTP string has incorrect length".into())
    );
    let begun = world.ask(None, "PUT sys/generate-root/attempt", "").await;
    let otp = begun.body["otp"].as_str().unwrap().to_owned();
    let nonce = begun.body["nonce"].as_str().unwrap().to_owned();
    assert_eq!(
        world
            .ask(None, "DELETE sys/generate-root/attempt", "")
            .await
            .status,
        403
    );
    let mut done = None;
    for key in &keys[..3] {
        let body = json!({"key": key, "nonce": nonce}).to_string();
        done = Some(world.ask(None, "PUT sys/generate-root/update", &body).await);
    }
    let done = done.unwrap();
    assert_eq!(
        (&done.body["complete"], &done.body["progress"]),
        (&json!(true), &json!(3))
    );
    let encoded = done.body["encoded_token"].as_str().unwrap();
    let combined = data_encoding::BASE64_NOPAD
        .decode(encoded.as_bytes())
        .unwrap();
    let token: Vec<u8> = combined
        .iter()
        .zip(otp.bytes())
        .map(|(a, b)| a ^ b)
        .collect();
    let token = String::from_utf8(token).unwrap();
    let seen = world
        .ask(Some(&token), "GET auth/token/lookup-self", "")
        .await;
    assert_eq!(seen.data()["policies"], json!(["root"]), "{seen:?}");
}

/// CVE-2025-4656, CVE-2026-5807: a thousand attempts of others to stop the holders of shares.
#[tokio::test]
async fn nobody_stops_the_holders_of_shares() {
    let (world, keys, root) = initialised().await;
    unseal(&world, &keys[..3]).await;
    let weak = r#"{"policies":["default"],"id":"weak"}"#;
    world.ask(Some(&root), "POST auth/token/create", weak).await;
    let numbers = r#"{"secret_shares":3,"secret_threshold":2}"#;
    for (begin, update, body) in [
        ("sys/generate-root/attempt", "sys/generate-root/update", ""),
        ("sys/rekey/init", "sys/rekey/update", numbers),
    ] {
        let begun = world.ask(Some(&root), &format!("PUT {begin}"), body).await;
        let nonce = begun.body["nonce"].as_str().unwrap().to_owned();
        let mut done = None;
        for (at, key) in keys[..3].iter().enumerate() {
            for round in 0..334 {
                let token = (round % 2 == 0).then_some("weak");
                let cancel = world.ask(token, &format!("DELETE {begin}"), "").await;
                assert_eq!(cancel.status, 403, "{cancel:?}");
                if round % 20 > 1 {
                    continue;
                }
                let other = world.ask(token, &format!("PUT {begin}"), body).await;
                assert!(matches!(other.status, 400 | 403), "{other:?}");
                assert!(!other.text.contains(&nonce));
                let share = json!({"key": keys[4], "nonce": "guessed"}).to_string();
                let guess = world.ask(None, &format!("PUT {update}"), &share).await;
                assert_eq!(guess.status, 400, "{guess:?}");
            }
            let seen = world.ask(Some(&root), &format!("GET {begin}"), "").await;
            assert_eq!(seen.body["progress"], json!(at), "{seen:?}");
            let share = json!({"key": key, "nonce": nonce}).to_string();
            done = Some(world.ask(None, &format!("PUT {update}"), &share).await);
        }
        assert_eq!(done.unwrap().body["complete"], true);
    }
}

#[tokio::test]
async fn a_data_key_that_others_made_is_taken_over() {
    let world = World::new().await;
    let mut header = world.node.header().unwrap().unwrap();
    let read_at = header.generation();
    let core = world.node.core().unwrap();
    let mut keys = core.with_keys(|keys| keys.copy());
    let rng = strongroom_crypto::SystemRng;
    let now = strongroom_core::time::Timestamp::from_micros(1);
    keys.keyring.rotate(&rng, now);
    header.reseal(&keys, &rng);
    world.node.keeper.replace_header(read_at, &header).unwrap();
    world.node.follow_header().await.unwrap();
    let status = world.root("GET sys/key-status", "").await;
    assert_eq!(status.data()["term"], 2);
}

#[tokio::test]
async fn after_a_new_data_key_everything_is_there() {
    let world = World::new().await;
    world.root("PUT secret/data/x", r#"{"data":{"a":1}}"#).await;
    assert_eq!(world.root("GET sys/key-status", "").await.data()["term"], 1);
    assert_eq!(world.root("PUT sys/rotate", "").await.status, 204);
    assert_eq!(world.root("GET sys/key-status", "").await.data()["term"], 2);
    assert_eq!(
        world.root("GET secret/data/x", "").await.data()["data"],
        json!({"a": 1})
    );
    world.root("PUT secret/data/x", r#"{"data":{"a":2}}"#).await;
    assert_eq!(
        world.root("GET secret/data/x", "").await.data()["data"],
        json!({"a": 2})
    );
}
