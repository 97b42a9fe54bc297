use serde_json::json;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::Precondition;
use strongroom_core::port::RecordId;

use super::World;

async fn make(world: &World, token: &str, body: &str) -> super::Reply {
    world.ask(Some(token), "POST auth/token/create", body).await
}

fn token_of(reply: &super::Reply) -> String {
    let token = reply.body["auth"]["client_token"].as_str();
    token.unwrap_or_else(|| panic!("{reply:?}")).to_owned()
}

const SELF: &str = "GET auth/token/lookup-self";

async fn status(world: &World, token: &str) -> u16 {
    world.ask(Some(token), SELF, "").await.status
}

#[tokio::test]
async fn a_family_dies_together() {
    let world = World::new().await;
    let body = r#"{"policies":["root"],"ttl":"1h"}"#;
    let parent = token_of(&make(&world, super::ROOT, body).await);
    let child = token_of(&make(&world, &parent, body).await);
    let grandchild = token_of(&make(&world, &child, body).await);
    let orphan = world
        .ask(Some(&child), "POST auth/token/create-orphan", body)
        .await;
    let orphan = token_of(&orphan);
    let named = json!({ "token": parent }).to_string();
    assert_eq!(
        world.root("POST auth/token/revoke", &named).await.status,
        204
    );
    for dead in [&parent, &child, &grandchild] {
        assert_eq!(status(&world, dead).await, 403);
    }
    assert_eq!(status(&world, &orphan).await, 200);
    // Nothing of them is left.
    let accessors = world.root("LIST auth/token/accessors", "").await;
    assert_eq!(accessors.data()["keys"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn children_outlive_a_parent_that_is_revoked_alone() {
    let world = World::new().await;
    let body = r#"{"policies":["root"],"ttl":"1h"}"#;
    let parent = token_of(&make(&world, super::ROOT, body).await);
    let child = token_of(&make(&world, &parent, body).await);
    let named = json!({ "token": parent }).to_string();
    assert_eq!(
        world
            .root("POST auth/token/revoke-orphan", &named)
            .await
            .status,
        204
    );
    assert_eq!(status(&world, &parent).await, 403);
    let seen = world.ask(Some(&child), SELF, "").await;
    assert_eq!(seen.data()["orphan"], true);
}

#[tokio::test]
async fn lifetimes_end_and_are_never_prolonged_too_far() {
    let world = World::new().await;
    let body = r#"{"policies":["default"],"ttl":"60s","explicit_max_ttl":"100s"}"#;
    let token = token_of(&make(&world, super::ROOT, body).await);
    world.pass(59);
    let renewed = world
        .ask(Some(&token), "POST auth/token/renew-self", "")
        .await;
    assert_eq!(renewed.body["auth"]["lease_duration"], 41, "{renewed:?}");
    world.pass(-30);
    let renewed = world.ask(
        Some(&token),
        "POST auth/token/renew-self",
        r#"{"increment":"9h"}"#,
    );
    assert!(
        renewed.await.body["auth"]["lease_duration"]
            .as_i64()
            .unwrap()
            <= 71
    );
    world.pass(71);
    assert_eq!(status(&world, &token).await, 403);
    let renewed = world
        .ask(Some(&token), "POST auth/token/renew-self", "")
        .await;
    assert_eq!(renewed.status, 403);
    let core = world.node.core().unwrap();
    crate::tasks::run_once(&world.node, &core).await.unwrap();
    let accessors = world.root("LIST auth/token/accessors", "").await;
    assert_eq!(accessors.data()["keys"].as_array().unwrap().len(), 1);

    let periodic = token_of(
        &make(
            &world,
            super::ROOT,
            r#"{"period":"1h","policies":["default"]}"#,
        )
        .await,
    );
    for _ in 0..5 {
        world.pass(3000);
        let renewed = world
            .ask(Some(&periodic), "POST auth/token/renew-self", "")
            .await;
        assert_eq!(renewed.body["auth"]["lease_duration"], 3600);
    }
    let root = world.root("POST auth/token/renew-self", "").await;
    assert_eq!(root.error(), (400, "lease is not renewable".into()));
}

#[tokio::test]
async fn uses_run_out() {
    let world = World::new().await;
    let token = token_of(
        &make(
            &world,
            super::ROOT,
            r#"{"num_uses":2,"ttl":"1h","policies":["root"]}"#,
        )
        .await,
    );
    assert_eq!(status(&world, &token).await, 200);
    let child = make(&world, &token, "{}").await;
    assert_eq!(
        child.error().1,
        "restricted use token cannot generate child tokens"
    );
    assert_eq!(status(&world, &token).await, 403);
    let token = token_of(&make(&world, super::ROOT, r#"{"num_uses":5,"ttl":"1h"}"#).await);
    let asks = (0..40).map(|_| async { status(&world, &token).await });
    let mut fine = 0;
    for ask in asks {
        fine += u32::from(ask.await == 200);
    }
    assert_eq!(fine, 5);
}

#[tokio::test]
async fn nobody_makes_more_than_he_is() {
    let world = World::new().await;
    world
        .policy(
            "mine",
            r#"path "auth/token/*" { capabilities = ["update", "create"] }"#,
        )
        .await;
    let token = world.token(&["mine"]).await;
    for (body, error) in [
        (
            r#"{"policies":["root"]}"#,
            "root tokens may not be created without parent token being root",
        ),
        (
            r#"{"policies":[" ROOT "]}"#,
            "root tokens may not be created without parent token being root",
        ),
        (
            r#"{"policies":["other"]}"#,
            "child policies must be subset of parent",
        ),
        (
            r#"{"no_parent":true}"#,
            "root or sudo privileges required to create orphan token",
        ),
        (
            r#"{"period":"1h"}"#,
            "root or sudo privileges required to create periodic token",
        ),
        (r#"{"id":"mine"}"#, "root required to specify token id"),
    ] {
        assert_eq!(
            make(&world, &token, body).await.error(),
            (400, error.into()),
            "{body}"
        );
    }
    let child = make(&world, &token, "{}").await;
    assert_eq!(child.body["auth"]["policies"], json!(["mine"]));
    let inert = world
        .root(
            "POST auth/token/roles/r",
            r#"{"allowed_policies":"root,mine"}"#,
        )
        .await;
    assert_eq!(inert.status, 204);
    let by_role = world
        .ask(Some(&token), "POST auth/token/create/r", "{}")
        .await;
    assert_eq!(by_role.status, 400, "{by_role:?}");
}

#[tokio::test]
async fn roles_shape_their_tokens() {
    let world = World::new().await;
    let role = r#"{"allowed_policies":["a","b"],"disallowed_policies_glob":"x*","orphan":true,
                   "renewable":false,"token_explicit_max_ttl":3600,"path_suffix":"s"}"#;
    assert_eq!(
        world.root("POST auth/token/roles/r", role).await.status,
        204
    );
    let read = world.root("GET auth/token/roles/r", "").await;
    assert_eq!(read.data()["token_explicit_max_ttl"], 3600);
    assert_eq!(
        world.root("LIST auth/token/roles", "").await.data()["keys"],
        json!(["r"])
    );
    let made = world
        .root(
            "POST auth/token/create/r",
            r#"{"policies":["a"],"ttl":"5h"}"#,
        )
        .await;
    assert_eq!(made.body["auth"]["policies"], json!(["a", "default"]));
    assert_eq!(made.body["auth"]["orphan"], true);
    assert_eq!(made.body["auth"]["renewable"], false);
    assert_eq!(made.body["auth"]["lease_duration"], 3600);
    let refused = world
        .root("POST auth/token/create/r", r#"{"policies":["c"]}"#)
        .await;
    assert_eq!(refused.status, 400);
    let none = world.root("POST auth/token/create/no", "{}").await;
    assert_eq!(none.error(), (400, "unknown role no".into()));
    assert_eq!(
        world.root("DELETE auth/token/roles/r", "").await.status,
        204
    );
    assert_eq!(world.root("LIST auth/token/roles", "").await.status, 404);
}

#[tokio::test]
async fn batch_tokens_live_as_long_as_their_parent() {
    let world = World::new().await;
    let parent = token_of(&make(&world, super::ROOT, r#"{"policies":["root"],"ttl":"2h"}"#).await);
    let batch = token_of(
        &make(
            &world,
            &parent,
            r#"{"type":"batch","ttl":"1h","policies":["default"]}"#,
        )
        .await,
    );
    assert!(batch.starts_with("hvb."));
    assert_eq!(status(&world, &batch).await, 200);
    assert_eq!(make(&world, &batch, "{}").await.status, 403);
    for at in 4..batch.len() {
        let mut forged = batch.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        assert_eq!(status(&world, &forged).await, 403, "byte {at}");
    }
    let named = json!({ "token": parent }).to_string();
    world.root("POST auth/token/revoke", &named).await;
    assert_eq!(status(&world, &batch).await, 403);
}

#[tokio::test]
async fn no_part_of_a_token_opens_anything() {
    let world = World::new().await;
    let token = token_of(
        &make(
            &world,
            super::ROOT,
            r#"{"ttl":"1h","policies":["default"]}"#,
        )
        .await,
    );
    let mut wrong = vec![
        format!("{token}x"),
        format!("x{token}"),
        token.to_uppercase(),
    ];
    for at in 1..token.len() {
        wrong.push(token[..at].into());
        wrong.push(token[at..].into());
    }
    for other in wrong {
        assert_eq!(status(&world, &other).await, 403, "{other}");
    }
    assert_eq!(status(&world, &token).await, 200);
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(world.ask_with(None, SELF, "", &headers).await.status, 200);
}

#[tokio::test]
async fn a_wrapped_answer_is_for_one_reader() {
    let world = World::new().await;
    world
        .root("PUT secret/data/x", r#"{"data":{"a":"b"}}"#)
        .await;
    let headers = [("x-vault-wrap-ttl", "60")];
    let token = Some(super::ROOT);
    let wrapped = world
        .ask_with(token, "GET secret/data/x", "", &headers)
        .await;
    let info = &wrapped.body["wrap_info"];
    assert_eq!(
        (&info["ttl"], &info["creation_path"]),
        (&json!(60), &json!("secret/data/x"))
    );
    let opener = info["token"].as_str().unwrap().to_owned();
    let named = json!({ "token": opener }).to_string();
    let looked = world.root("POST sys/wrapping/lookup", &named).await;
    assert_eq!(looked.data()["creation_path"], "secret/data/x");
    // It opens nothing else.
    assert_eq!(
        world
            .ask(Some(&opener), "GET secret/data/x", "")
            .await
            .status,
        403
    );
    let wrapped = world
        .ask_with(token, "GET secret/data/x", "", &headers)
        .await;
    let opener = wrapped.body["wrap_info"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let opened = world
        .ask(Some(&opener), "POST sys/wrapping/unwrap", "")
        .await;
    assert_eq!(opened.data()["data"], json!({"a": "b"}));
    let again = json!({ "token": opener }).to_string();
    let invalid = "wrapping token is not valid or does not exist";
    let twice = world.root("POST sys/wrapping/unwrap", &again).await;
    assert_eq!(twice.error(), (400, invalid.into()));

    let wrapped = world
        .ask_with(token, "POST sys/wrapping/wrap", r#"{"k":"v"}"#, &headers)
        .await;
    let opener = wrapped.body["wrap_info"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let named = json!({ "token": opener }).to_string();
    let rewrapped = world.root("POST sys/wrapping/rewrap", &named).await;
    let fresh = rewrapped.body["wrap_info"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        world.root("POST sys/wrapping/unwrap", &named).await.status,
        400
    );
    let named = json!({ "token": fresh }).to_string();
    let opened = world.root("POST sys/wrapping/unwrap", &named).await;
    assert_eq!(opened.data(), &json!({"k": "v"}));

    let wrapped = world
        .ask_with(token, "GET secret/data/x", "", &headers)
        .await;
    let opener = wrapped.body["wrap_info"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    world.pass(61);
    let named = json!({ "token": opener }).to_string();
    assert_eq!(
        world.root("POST sys/wrapping/unwrap", &named).await.status,
        400
    );
}

/// Whoever gets a wrapping token looks first who made it, with nothing but the token.
#[tokio::test]
async fn to_look_at_a_wrapping_token_does_not_open_it() {
    let world = World::new().await;
    world
        .root("PUT secret/data/x", r#"{"data":{"a":"b"}}"#)
        .await;
    world
        .root("POST sys/auth/userpass", r#"{"type":"userpass"}"#)
        .await;
    let headers = [("x-vault-wrap-ttl", "60")];
    let wrapped = world
        .ask_with(Some(super::ROOT), "GET secret/data/x", "", &headers)
        .await;
    let opener = wrapped.body["wrap_info"]["token"].as_str().unwrap();
    for _ in 0..2 {
        let looked = world
            .ask(Some(opener), "POST sys/wrapping/lookup", "")
            .await;
        assert_eq!(looked.data()["creation_path"], "secret/data/x");
        let wrong = r#"{"password":"x"}"#;
        let login = "PUT auth/userpass/login/ann";
        assert_eq!(world.ask(Some(opener), login, wrong).await.status, 400);
    }
    let unwrap = "POST sys/wrapping/unwrap";
    let opens = (0..8).map(|_| world.ask(Some(opener), unwrap, ""));
    let opened = futures(opens).await;
    let fine = opened.iter().filter(|reply| reply.status == 200);
    assert_eq!(fine.count(), 1, "{opened:?}");
    assert!(
        opened
            .iter()
            .any(|reply| reply.text.contains(r#"{"a":"b"}"#))
    );
    let looked = world
        .ask(Some(opener), "POST sys/wrapping/lookup", "")
        .await;
    assert_eq!(looked.status, 400);
    // To open one with another token uses that one.
    let counted = r#"{"num_uses":1,"policies":["default"],"ttl":"1h"}"#;
    let counted = token_of(&make(&world, super::ROOT, counted).await);
    let wrapped = world
        .ask_with(Some(super::ROOT), "GET secret/data/x", "", &headers)
        .await;
    let named = json!({ "token": wrapped.body["wrap_info"]["token"] }).to_string();
    assert_eq!(world.ask(Some(&counted), unwrap, &named).await.status, 200);
    assert_eq!(status(&world, &counted).await, 403);
}

/// Several at once.
async fn futures<T: Future>(all: impl Iterator<Item = T>) -> Vec<T::Output> {
    let mut waiting: Vec<_> = all.map(|one| Some(Box::pin(one))).collect();
    let mut done: Vec<Option<T::Output>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (one, slot) in waiting.iter_mut().zip(&mut done) {
            if let Some(future) = one
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *slot = Some(output);
                *one = None;
            }
        }
        match waiting.iter().all(Option::is_none) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn leases_are_those_of_tokens() {
    let world = World::new().await;
    let token = token_of(
        &make(
            &world,
            super::ROOT,
            r#"{"ttl":"1h","policies":["default"]}"#,
        )
        .await,
    );
    let listed = world
        .root("LIST sys/leases/lookup/auth/token/create/", "")
        .await;
    let name = listed.data()["keys"][0].as_str().unwrap().to_owned();
    let lease = json!({"lease_id": format!("auth/token/create/{name}")}).to_string();
    let found = world.root("PUT sys/leases/lookup", &lease).await;
    assert_eq!(found.data()["ttl"], 3600, "{found:?}");
    assert!(!found.text.contains(&token));
    assert_eq!(
        world.root("PUT sys/leases/revoke", &lease).await.status,
        204
    );
    assert_eq!(status(&world, &token).await, 403);
    let invalid = world.root("PUT sys/leases/lookup", &lease).await;
    assert_eq!(invalid.error(), (400, "invalid lease".into()));
    let none = world
        .root("LIST sys/leases/lookup/auth/token/create/", "")
        .await;
    assert_eq!(none.status, 404);
}

/// A lease that cannot be read is neither revoked nor unknown.
#[tokio::test]
async fn a_damaged_token_is_no_missing_lease() {
    let world = World::new().await;
    let body = r#"{"ttl":"1h","policies":["default"]}"#;
    make(&world, super::ROOT, body).await;
    let listed = world
        .root("LIST sys/leases/lookup/auth/token/create/", "")
        .await;
    let name = listed.data()["keys"][0].as_str().unwrap().to_owned();
    let lease = json!({"lease_id": format!("auth/token/create/{name}")}).to_string();
    let id = data_encoding::HEXLOWER.decode(&name.as_bytes()[1..]);
    let id = RecordId(id.unwrap().try_into().unwrap());
    let core = world.node.core().unwrap();
    let record = core.storage.get(id).await.unwrap().unwrap();
    let change = Change::Put {
        parent: record.parent,
        name: record.name,
        value: vec![7; record.value.len()],
        due_at: record.due_at,
    };
    let damage = BatchItem {
        id,
        precondition: Precondition::Any,
        change,
    };
    core.state.write(vec![damage]).await.unwrap();
    for line in ["lookup", "renew", "revoke"] {
        let answer = world.root(&format!("PUT sys/leases/{line}"), &lease).await;
        assert_eq!(answer.status, 500, "{line} {answer:?}");
    }
    // What is none is told as none.
    for (line, status) in [("lookup", 400), ("renew", 400), ("revoke", 204)] {
        for lease in ["x", "auth/token/create/h00112233445566778899aabbccddeeff"] {
            let body = json!({ "lease_id": lease }).to_string();
            let answer = world.root(&format!("PUT sys/leases/{line}"), &body).await;
            assert_eq!(answer.status, status, "{line} {lease} {answer:?}");
        }
    }
}
