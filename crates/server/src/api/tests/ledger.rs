//! Reads of a server in the ledger.

use serde_json::Value;

use super::ask;
use super::bad;
use super::good;
use crate::ledger;
use crate::vault::tests::World;

fn rows(answer: &Value) -> Vec<String> {
    let rows = answer["exposures"].as_array().unwrap().iter();
    rows.map(|row| {
        let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
        let (secret, version, who) = (text("secret"), text("secret_version"), text("who"));
        let door = text("to").split(' ').next().unwrap().to_owned();
        format!(
            "{secret} v{version} {who} {door} {} {}",
            row["count"],
            text("standing")
        )
    })
    .collect()
}

/// The token of a user who has logged in by name.
async fn login(world: &World, name: &str) -> String {
    world
        .root("POST sys/auth/userpass", r#"{"type":"userpass"}"#)
        .await;
    let policy = r#"path "secret/data/app/*" { capabilities = ["read"] }"#;
    world.policy("reader", policy).await;
    let body = r#"{"password":"correct horse","token_policies":["reader"]}"#;
    world
        .root(&format!("POST auth/userpass/users/{name}"), body)
        .await;
    let line = format!("POST auth/userpass/login/{name}");
    let reply = world
        .ask(None, &line, r#"{"password":"correct horse"}"#)
        .await;
    reply.body["auth"]["client_token"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn reads_are_counted_and_each_reader_is_a_row() {
    let world = World::new().await;
    world
        .root(
            "POST secret/data/app/db",
            r#"{"data":{"value":"canary-of-db"}}"#,
        )
        .await;
    let ann = login(&world, "ann").await;
    for _ in 0..3 {
        let read = world.ask(Some(&ann), "GET secret/data/app/db", "").await;
        assert_eq!(read.status, 200);
    }
    world.root("GET secret/data/app/db", "").await;
    // What is refused or not there was not given.
    world.ask(Some(&ann), "GET secret/data/other", "").await;
    world.root("GET secret/data/nothing", "").await;
    let found = good(&world, "GET v1/ledger/people/ann", "").await;
    assert_eq!(rows(&found), ["secret/app/db v1 ann vault 3 current"]);
    let found = good(&world, "GET v1/ledger/secrets/secret/app/db", "").await;
    assert_eq!(found["count"], 2, "{found}");
    let listed = good(&world, "GET v1/ledger?channel=server", "").await;
    assert_eq!(listed["count"], 2, "{listed}");
    assert!(!listed.to_string().contains("canary"));
    // More of the same is a count and no row.
    world.ask(Some(&ann), "GET secret/data/app/db", "").await;
    let found = good(&world, "GET v1/ledger/people/ann", "").await;
    assert_eq!(rows(&found), ["secret/app/db v1 ann vault 4 current"]);
    assert_eq!(good(&world, "GET v1/ledger", "").await["count"], 2);
    let id = found["exposures"][0]["delivery"].as_str().unwrap();
    let shown = good(&world, &format!("GET v1/ledger/deliveries/{id}"), "").await;
    assert_eq!(shown["secrets"][0]["secret"], "secret/app/db");
    assert_eq!(bad(&world, "GET v1/ledger/deliveries/00", "").await.0, 404);
    assert_eq!(bad(&world, "GET v1/ledger?channel=x", "").await.0, 400);
    let (status, ..) = ask(&world, Some(&ann), "GET v1/ledger", "").await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn a_read_pays_no_write() {
    let world = World::new().await;
    world
        .root("POST secret/data/app", r#"{"data":{"value":"x"}}"#)
        .await;
    world.root("GET secret/data/app", "").await;
    let core = world.node.core().unwrap();
    ledger::write(&core, world.node.now(), true).await.unwrap();
    let before = core.storage.revision().await.unwrap();
    for _ in 0..100 {
        world.root("GET secret/data/app", "").await;
    }
    assert_eq!(core.storage.revision().await.unwrap(), before);
    // Counts alone are written now and then, not each time somebody looks.
    ledger::write(&core, world.node.now(), false).await.unwrap();
    assert_eq!(core.storage.revision().await.unwrap(), before);
    world.pass(601);
    ledger::write(&core, world.node.now(), false).await.unwrap();
    assert_eq!(core.storage.revision().await.unwrap(), before + 1);
}

#[tokio::test]
async fn what_a_person_saw_is_marked_until_it_is_replaced() {
    let world = World::new().await;
    world
        .root("POST secret/data/app/db", r#"{"data":{"value":"one"}}"#)
        .await;
    let ann = login(&world, "ann").await;
    world.ask(Some(&ann), "GET secret/data/app/db", "").await;
    let dry = r#"{"who":"ann","dry_run":true}"#;
    let planned = good(&world, "POST v1/ledger/revoke", dry).await;
    assert_eq!(planned["secrets"][0]["action"], "mark", "{planned}");
    assert_eq!(good(&world, "GET v1/ledger/due", "").await["count"], 0);
    let body = r#"{"who":"ann","reason":"has left"}"#;
    let done = good(&world, "POST v1/ledger/revoke", body).await;
    assert_eq!(done["secrets"][0]["action"], "marked", "{done}");
    let due = good(&world, "GET v1/ledger/due", "").await;
    assert_eq!(
        (&due["count"], &due["due"][0]["reason"]),
        (&1.into(), &"has left".into())
    );
    world
        .root("POST secret/data/app/db", r#"{"data":{"value":"two"}}"#)
        .await;
    assert_eq!(good(&world, "GET v1/ledger/due", "").await["count"], 0);
    let found = good(&world, "GET v1/ledger/people/ann", "").await;
    assert_eq!(rows(&found), ["secret/app/db v1 ann vault 1 replaced"]);
    assert_eq!(found["exposures"][0]["revoked"]["by"], "root");
    for body in ["{}", r#"{"who":"ann","secret":"x"}"#] {
        assert_eq!(bad(&world, "POST v1/ledger/revoke", body).await.0, 400);
    }
    let nobody = r#"{"who":"nobody"}"#;
    assert_eq!(bad(&world, "POST v1/ledger/revoke", nobody).await.0, 404);
}

/// Many short-lived tokens fill no memory, and no read of theirs is lost for it.
#[tokio::test]
async fn clients_whose_tokens_have_ended_are_forgotten() {
    let world = World::new().await;
    world
        .root("POST secret/data/app/db", r#"{"data":{"value":"x"}}"#)
        .await;
    let core = world.node.core().unwrap();
    let write = async || ledger::write(&core, world.node.now(), false).await.unwrap();
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let body = r#"{"policies":["root"],"ttl":"60s"}"#;
        let made = world.root("POST auth/token/create", body).await;
        let token = made.body["auth"]["client_token"].as_str().unwrap();
        tokens.push(token.to_owned());
    }
    let read = async |token: &str| {
        let read = world.ask(Some(token), "GET secret/data/app/db", "").await;
        assert_eq!(read.status, 200);
    };
    for token in &tokens {
        read(token).await;
    }
    write().await;
    read(&tokens[0]).await;
    world.pass(30);
    write().await;
    assert_eq!(core.reads.len(), 3);
    world.pass(31);
    write().await;
    assert_eq!(core.reads.len(), 0);
    let found = good(&world, "GET v1/ledger/secrets/secret/app/db", "").await;
    let rows = found["exposures"].as_array().unwrap();
    let counts: u64 = rows.iter().map(|row| row["count"].as_u64().unwrap()).sum();
    assert_eq!((rows.len(), counts), (3, 4), "{found}");
}
