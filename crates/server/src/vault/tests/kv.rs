use std::sync::Arc;

use serde_json::json;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::version::Provenance;
use strongroom_engine::context::OpContext;
use strongroom_engine::secrets::WriteOptions;

use super::World;
use crate::audit::chains::CheckError;
use crate::audit::verify::VerifyError;
use crate::audit::verify::verify;

#[tokio::test]
async fn a_secret_lives_through_its_versions() {
    let world = World::new().await;
    let put = world
        .root("PUT secret/data/app/db", r#"{"data":{"a":1.50}}"#)
        .await;
    assert_eq!((put.status, &put.data()["version"]), (200, &json!(1)));
    world
        .root("POST secret/data/app/db", r#"{"data":{"value":"true"}}"#)
        .await;
    let newest = world.root("GET secret/data/app/db", "").await;
    assert_eq!(newest.data()["data"], json!({"value": "true"}));
    assert_eq!(newest.data()["metadata"]["version"], 2);
    let first = world.root("GET secret/data/app/db?version=1", "").await;
    assert!(first.text.contains(r#"{"a":1.50}"#), "{}", first.text);

    assert_eq!(
        world.root("DELETE secret/data/app/db", "").await.status,
        204
    );
    let gone = world.root("GET secret/data/app/db", "").await;
    assert_eq!((gone.status, &gone.data()["data"]), (404, &json!(null)));
    assert_ne!(gone.data()["metadata"]["deletion_time"], "");
    let undelete = world
        .root("PUT secret/undelete/app/db", r#"{"versions":["2"]}"#)
        .await;
    assert_eq!(undelete.status, 204);
    assert_eq!(world.root("GET secret/data/app/db", "").await.status, 200);
    world
        .root("PUT secret/destroy/app/db", r#"{"versions":[1]}"#)
        .await;
    let destroyed = world.root("GET secret/data/app/db?version=1", "").await;
    assert_eq!(destroyed.data()["metadata"]["destroyed"], true);

    for line in [
        "LIST secret/metadata/app",
        "GET secret/metadata/app/?list=true",
    ] {
        assert_eq!(world.root(line, "").await.data()["keys"], json!(["db"]));
    }
    let top = world.root("GET secret/metadata?list=true", "").await;
    assert_eq!(top.data()["keys"], json!(["app/"]));
    let all = world.root("SCAN secret/metadata", "").await;
    assert_eq!(all.data()["keys"], json!(["app/db"]));
    assert_eq!(
        world.root("DELETE secret/metadata/app/db", "").await.status,
        204
    );
    let missing = world.root("GET secret/data/app/db", "").await;
    assert_eq!(
        (missing.status, missing.text.as_str()),
        (404, r#"{"errors":[]}"#)
    );
    assert_eq!(world.root("LIST secret/metadata", "").await.status, 404);
}

#[tokio::test]
async fn check_and_set_and_its_demand() {
    let world = World::new().await;
    let line = "POST secret/data/x";
    let put = |cas: &str| format!(r#"{{"data":{{"a":1}},"options":{{"cas":{cas}}}}}"#);
    assert_eq!(world.root(line, &put("0")).await.status, 200);
    let mismatch = "check-and-set parameter did not match the current version";
    assert_eq!(
        world.root(line, &put("0")).await.error(),
        (400, mismatch.into())
    );
    assert_eq!(
        world.root(line, &put("-1")).await.error(),
        (400, mismatch.into())
    );
    assert_eq!(world.root(line, &put("\"1\"")).await.status, 200);
    let config = r#"{"cas_required":true,"max_versions":2,"delete_version_after":"1h"}"#;
    assert_eq!(world.root("POST secret/config", config).await.status, 204);
    let required = "check-and-set parameter required for this call";
    let plain = r#"{"data":{"a":1}}"#;
    assert_eq!(
        world.root(line, plain).await.error(),
        (400, required.into())
    );
    assert_eq!(world.root(line, &put("2")).await.status, 200);
    let metadata = world.root("GET secret/metadata/x", "").await;
    assert_eq!(metadata.data()["oldest_version"], 2);
    assert_eq!(metadata.data()["current_version"], 3);
    // An hour later it has deleted itself.
    world.pass(3601);
    let gone = world.root("GET secret/data/x", "").await;
    assert_eq!((gone.status, &gone.data()["data"]), (404, &json!(null)));
}

#[tokio::test]
async fn patches_change_only_what_they_name() {
    let world = World::new().await;
    world
        .root("PUT secret/data/x", r#"{"data":{"a":"1","b":{"c":2}}}"#)
        .await;
    let patch = r#"{"data":{"a":null,"b":{"d":12345678901234567890}}}"#;
    let patched = world.root("PATCH secret/data/x", patch).await;
    assert_eq!(patched.data()["version"], 2, "{patched:?}");
    let read = world.root("GET secret/data/x", "").await;
    let expected = r#""data":{"b":{"c":2,"d":12345678901234567890}}"#;
    assert!(read.text.contains(expected), "{}", read.text);
    assert_eq!(world.root("PATCH secret/data/no", patch).await.status, 404);
    let subkeys = world.root("GET secret/subkeys/x?depth=1", "").await;
    assert_eq!(subkeys.data()["subkeys"], json!({"b": null}));
    let metadata = r#"{"custom_metadata":{"a":"b"},"max_versions":7}"#;
    assert_eq!(
        world.root("POST secret/metadata/x", metadata).await.status,
        204
    );
    let patch = r#"{"custom_metadata":{"c":"d","a":null}}"#;
    assert_eq!(
        world.root("PATCH secret/metadata/x", patch).await.status,
        204
    );
    let read = world.root("GET secret/metadata/x", "").await;
    assert_eq!(read.data()["custom_metadata"], json!({"c": "d"}));
    assert_eq!(read.data()["max_versions"], 7);
}

#[tokio::test]
async fn values_without_versions_and_cubbyholes() {
    let world = World::new().await;
    assert_eq!(
        world
            .root("POST sys/mounts/old", r#"{"type":"kv"}"#)
            .await
            .status,
        204
    );
    assert_eq!(
        world.root("PUT old/a/b", r#"{"x":1,"y":"z"}"#).await.status,
        204
    );
    let read = world.root("GET old/a/b", "").await;
    assert_eq!(
        (read.data(), &read.body["lease_duration"]),
        (&json!({"x":1,"y":"z"}), &json!(2_764_800))
    );
    assert_eq!(
        world.root("LIST old", "").await.data()["keys"],
        json!(["a/"])
    );
    assert_eq!(world.root("DELETE old/a/b", "").await.status, 204);
    assert_eq!(world.root("GET old/a/b", "").await.status, 404);

    assert_eq!(
        world
            .root("POST cubbyhole/p/q", r#"{"mine":1}"#)
            .await
            .status,
        204
    );
    assert_eq!(
        world.root("GET cubbyhole/p/q", "").await.data(),
        &json!({"mine": 1})
    );
    assert_eq!(
        world.root("LIST cubbyhole", "").await.data()["keys"],
        json!(["p/"])
    );
    let other = world.token(&["root"]).await;
    assert_eq!(
        world
            .ask(Some(&other), "GET cubbyhole/p/q", "")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn what_is_unmounted_is_gone_for_good() {
    let world = World::new().await;
    for at in 0..5 {
        world
            .root(&format!("PUT secret/data/a/b{at}/c"), r#"{"data":{"x":1}}"#)
            .await;
    }
    world
        .root("PUT secret/data/a/b0/c", r#"{"data":{"x":2}}"#)
        .await;
    assert_eq!(world.root("DELETE sys/mounts/secret", "").await.status, 204);
    let route = "no handler for route \"secret/data/a\". route entry not found.";
    assert_eq!(
        world.root("GET secret/data/a", "").await.error(),
        (404, route.into())
    );
    let core = world.node.core().unwrap();
    crate::tasks::run_once(&world.node, &core).await.unwrap();
    assert!(core.state.doomed().await.unwrap().is_empty());
    let body = r#"{"type":"kv","options":{"version":"2"}}"#;
    assert_eq!(world.root("POST sys/mounts/secret", body).await.status, 204);
    assert_eq!(world.root("LIST secret/metadata", "").await.status, 404);
    let moved = world
        .root("POST sys/remount", r#"{"from":"secret","to":"moved"}"#)
        .await;
    assert_eq!(moved.status, 200, "{moved:?}");
    let id = moved.data()["migration_id"].as_str().unwrap();
    let status = world
        .root(&format!("GET sys/remount/status/{id}"), "")
        .await;
    assert_eq!(status.data()["migration_info"]["status"], "success");
    assert_eq!(world.root("GET moved/config", "").await.status, 200);
}

#[tokio::test]
async fn the_log_tells_everything_but_values() {
    let world = World::new().await;
    let canary = "canary-93aa";
    let body = format!(r#"{{"data":{{"k":"{canary}"}}}}"#);
    world.root("PUT secret/data/x", &body).await;
    let read = world.root("GET secret/data/x", "").await;
    assert!(read.text.contains(canary));
    let log = std::fs::read(&world.audit_file).unwrap();
    let text = String::from_utf8(log.clone()).unwrap();
    assert!(text.contains("\"path\":\"secret/data/x\""), "{text}");
    assert!(
        !text.contains(canary) && !text.contains(super::ROOT),
        "{text}"
    );
    let hash = world
        .root(
            "POST sys/audit-hash/file",
            &format!(r#"{{"input":"{canary}"}}"#),
        )
        .await;
    let hash = hash.data()["hash"].as_str().unwrap().to_owned();
    assert_eq!(text.matches(&hash).count(), 2, "{text}");
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    let core = world.node.core().unwrap();
    let barrier = core.state.barrier();
    crate::audit::chains::note(&core, world.node.now())
        .await
        .unwrap();
    let whole = std::fs::read(&world.audit_file).unwrap();
    let check = |content: Vec<u8>| {
        let (core, file) = (Arc::clone(&core), world.audit_file.clone());
        async move { crate::check_audit_file(&core.state, &file, &content).await }
    };
    check(whole).await.unwrap();
    let cut = check(log.clone()).await;
    assert!(
        matches!(cut, Err(CheckError::File(VerifyError::Shortened { .. }))),
        "{cut:?}"
    );
    let verified = verify(barrier, &log, None).unwrap();
    assert_eq!(verified.lines, text.lines().count() as u64);
    // Any change is found: another byte, a line that is missing, lines that are exchanged.
    for at in (0..log.len()).step_by(7) {
        let mut changed = log.clone();
        changed[at] ^= 1;
        assert!(verify(barrier, &changed, None).is_err(), "byte {at}");
    }
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let without = [&lines[..1], &lines[2..]].concat().concat();
    assert!(verify(barrier, without.as_bytes(), None).is_err());
}

#[tokio::test]
async fn what_cannot_be_noted_does_not_happen() {
    let world = World::new().await;
    world.root("PUT secret/data/x", r#"{"data":{"k":1}}"#).await;
    std::fs::remove_file(&world.audit_file).unwrap();
    // The file is looked after at most so often.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let put = world.root("PUT secret/data/x", r#"{"data":{"k":2}}"#).await;
        if put.status == 503 {
            assert_eq!(put.error().1, "the audit log cannot be written");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{put:?}");
        tokio::task::yield_now().await;
    }
    let core = world.node.core().unwrap();
    let live = core.mounts().find("secret/").cloned().unwrap();
    let path = "x".parse().unwrap();
    let before = core.secret(&live, &path).await.unwrap().unwrap();
    let newest = before.snapshot.newest().unwrap().number;
    assert_eq!(
        world
            .root("PUT secret/data/x", r#"{"data":{"k":3}}"#)
            .await
            .status,
        503
    );
    assert_eq!(world.root("DELETE secret/metadata/x", "").await.status, 503);
    core.refresh().await.unwrap();
    let after = core.secret(&live, &path).await.unwrap().unwrap();
    assert_eq!(after.snapshot.newest().unwrap().number, newest);
}

/// Listings are kept in memory: whoever changes the folder, here or in another program on the
/// same store, is seen by the next one.
#[tokio::test]
async fn a_listing_is_never_older_than_its_folder() {
    let world = World::new().await;
    let names = async || {
        let listing = world.root("LIST secret/metadata/app", "").await;
        (listing.status == 200).then(|| listing.data()["keys"].clone())
    };
    let write = async |name: &str| {
        let line = format!("PUT secret/data/app/{name}");
        let put = world.root(&line, r#"{"data":{"a":"b"}}"#).await;
        assert_eq!(put.status, 200);
    };
    write("one").await;
    assert_eq!(names().await, Some(json!(["one"])));
    write("two/below").await;
    write("zero").await;
    assert_eq!(names().await, Some(json!(["one", "two/", "zero"])));
    assert_eq!(names().await, Some(json!(["one", "two/", "zero"])));
    let part = world.root("GET secret/metadata/app?list=true&after=one&limit=1", "");
    assert_eq!(part.await.data()["keys"], json!(["two/"]));
    world.root("DELETE secret/metadata/app/two/below", "").await;
    assert_eq!(names().await, Some(json!(["one", "zero"])));
    write_beside(&world, "app/other").await;
    assert_eq!(names().await, Some(json!(["one", "other", "zero"])));
    for name in ["one", "other", "zero"] {
        let line = format!("DELETE secret/metadata/app/{name}");
        world.root(&line, "").await;
    }
    assert_eq!(names().await, None);
}

/// Writes as another program would.
pub(super) async fn write_beside(world: &World, path: &str) {
    let core = world.node.core().unwrap();
    let context = OpContext {
        actor: "somebody".into(),
        door: "cli set".into(),
        request_id: "1".into(),
        now: world.node.now(),
    };
    let payload = Payload::detect(SecretValue::from_text("value".into()));
    let options = WriteOptions::new(Provenance::Set);
    let path = path.parse().unwrap();
    let table = core.mounts();
    let secrets = &table.find("secret/data").unwrap().secrets;
    let written = secrets.write(&context, &path, &payload, &options);
    assert!(written.await.unwrap().is_new);
}
