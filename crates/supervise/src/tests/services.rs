//! Services as processes.

use http::Method;
use serde_json::json;

use super::world::World;
use super::world::service;
use super::world::until_file;

/// Stays until it is asked to end, and says so.
const STAY: &str = "trap 'echo bye; exit 0' TERM\necho up\nwhile :; do sleep 1 & wait $!; done";

fn secret(id: &str, target: serde_json::Value) -> serde_json::Value {
    json!({ "id": id, "class": "user_prompt", "prompt": { "label": id }, "target": target })
}

#[tokio::test]
async fn a_service_gets_its_own_secrets_byte_for_byte_and_nothing_else() {
    let secrets = json!([
        secret("mine", json!({ "type": "env", "name": "MINE" })),
        secret("other", json!({ "type": "env", "name": "OTHER" })),
        secret("cert", json!({ "type": "file", "name": "certs/own.pem" })),
    ]);
    let api = service(
        "api",
        json!({
            "secrets": ["mine", "cert"],
            "env": { "PORT": "${api.http}", "HOME_OF_DATA": "${data}/x", "LEFT": "${no.such}" },
            "ports": { "requested": [{ "name": "http" }] },
        }),
    );
    let world = World::new(secrets, vec![api]);
    let script =
        "env > \"$APP_DATA_DIR/env.draft\"; cp \"$SECRET_FILE_CERT\" \"$APP_DATA_DIR/copy\"
stat -c %a \"$SECRET_FILE_CERT\" > \"$APP_DATA_DIR/mode\"
printf 'the key is %s.\\n' \"$MINE\"
mv \"$APP_DATA_DIR/env.draft\" \"$APP_DATA_DIR/env\"";
    world.script("api", &format!("{script}\n{STAY}"));
    let running = world.run().await;
    let values = json!({ "secrets": {
        "mine": " canary-77aa-mine ", "other": "canary-77aa-other",
        "cert": "-----BEGIN\nMII canary-77aa\n-----END\n",
    }});
    assert_eq!(running.post("/secrets", values).await.status, 200);
    let env = until_file(&world, "env").await;
    running.until_ready("api").await;
    let has = |line: &str| env.lines().any(|found| found == line);
    assert!(has("MINE= canary-77aa-mine "), "{env}");
    assert!(!env.contains("canary-77aa-other"), "{env}");
    assert!(has("USUAL=kept"), "{env}");
    assert!(!env.contains("CARGO"), "{env}");
    let port = running.get("/ports").await["services"]["api"]["http"].clone();
    assert!(has(&format!("PORT={port}")), "{env}");
    assert!(
        has(&format!("HOME_OF_DATA={}/x", world.app_data().display())),
        "{env}"
    );
    assert!(has("LEFT=${no.such}"), "{env}");
    assert_eq!(
        world.read("copy"),
        "-----BEGIN\nMII canary-77aa\n-----END\n"
    );
    assert_eq!(world.read("mode"), "600\n");
    let tail = running
        .ask(Method::GET, "/logs/tail?serviceId=api&lines=5", "")
        .await;
    assert!(tail.text.contains("the key is"), "{tail:?}");
    assert!(!tail.text.contains("canary-77aa"), "{tail:?}");
    assert!(running.end().await.is_empty());
    assert!(!world.app_data().join("certs/own.pem").exists());
    let log = world.read("logs/api.log");
    assert!(log.lines().any(|line| line == "bye"), "{log}");
}

#[tokio::test]
async fn services_start_after_what_they_depend_on_and_end_before_it() {
    let order = |id: &str, dependencies: serde_json::Value| {
        service(
            id,
            json!({ "dependencies": dependencies,
                            "readiness": { "type": "log_match", "pattern": "^up$" } }),
        )
    };
    let services = vec![
        order("ui", json!(["api", "extra"])),
        order("api", json!(["db"])),
        order("db", json!([])),
        service("extra", json!({ "metadata": { "run_mode": "on_demand" } })),
    ];
    let world = World::new(json!([]), services);
    for id in ["ui", "api", "db"] {
        let note = "\"$APP_DATA_DIR/order\"";
        let script = format!(
            "echo start {id} >> {note}\ntrap 'echo end {id} >> {note}; exit 0' TERM\necho up
while :; do sleep 1 & wait $!; done"
        );
        world.script(id, &script);
    }
    let running = world.run().await;
    running.until_ready("ui").await;
    let readiness = running.get("/readyz").await;
    assert_eq!(readiness["ready"], json!(true));
    assert_eq!(readiness["details"]["extra"]["skipped"], json!(true));
    running.end().await;
    let order = "start db\nstart api\nstart ui\nend ui\nend api\nend db\n";
    assert_eq!(world.read("order"), order);
}

#[tokio::test]
async fn a_program_that_ends_is_started_again_and_given_up_in_the_end() {
    let services = vec![
        service("flaky", json!({})),
        service("broken", json!({ "metadata": { "restart": "never" } })),
        service("once", json!({})),
        service(
            "after",
            json!({ "dependencies": ["broken"],
                                 "readiness": { "type": "dependencies_ready" } }),
        ),
    ];
    let world = World::new(json!([]), services);
    let count = "echo x >> \"$APP_DATA_DIR/count\"; [ $(wc -l < \"$APP_DATA_DIR/count\") -gt 2 ]";
    world.script("flaky", &format!("{count} || exit 7\n{STAY}"));
    world.script("broken", "exit 3");
    world.script("once", "exit 0");
    world.script("after", STAY);
    let running = world.run().await;
    let broken = running
        .until("broken", |status| status["exit_code"] == json!(3))
        .await;
    assert_eq!(broken["ready"], json!(false));
    let once = running
        .until("once", |status| status["exit_code"] == json!(0))
        .await;
    assert_eq!(once["message"], "exited with code 0");
    // Started three times, and up since.
    running
        .until("flaky", |_| {
            world
                .app_data()
                .join("logs/flaky.log")
                .metadata()
                .is_ok_and(|log| log.len() > 0)
        })
        .await;
    running.until_ready("flaky").await;
    assert_eq!(world.read("count"), "x\nx\nx\n");
    running.end().await;
    let events = world.events();
    assert!(events.contains(&"service_exit".to_owned()), "{events:?}");
}

#[tokio::test]
async fn migrations_run_once_and_a_failed_one_keeps_the_service_down() {
    let migration = |version: &str, run_on: serde_json::Value| {
        json!({ "version": version, "command": ["tools/migrate", version, "${data}"],
                "run_on": run_on })
    };
    let api = service(
        "api",
        json!({ "migrations": [
            migration("1", json!("install")), migration("2", json!(null)),
            migration("3", json!("always")), migration("4", json!("upgrade")),
        ]}),
    );
    let mut world = World::new(json!([]), vec![api]);
    world.program("tools/migrate", "echo $1 >> $2/done");
    world.script("api", STAY);
    let start = async |world: &World| {
        let running = world.run().await;
        running.until_ready("api").await;
        running.end().await;
    };
    start(&world).await;
    assert_eq!(world.read("done"), "1\n2\n3\n");
    start(&world).await;
    assert_eq!(world.read("done"), "1\n2\n3\n3\n");
    world.manifest["app"]["version"] = json!("1.1.0");
    start(&world).await;
    assert_eq!(world.read("done"), "1\n2\n3\n3\n3\n4\n");

    world.manifest["app"]["version"] = json!("1.2.0");
    world.manifest["services"][0]["migrations"] = json!([migration("5", json!("upgrade"))]);
    world.program("tools/migrate", "echo half >> $2/done; exit 9");
    let running = world.run().await;
    let status = running
        .until("api", |status| {
            status["message"] != json!("pending start")
                && !status["message"].as_str().unwrap().starts_with("migrating")
                && status["message"] != json!("starting")
        })
        .await;
    assert_eq!(
        status["message"],
        "migration 5: tools/migrate exited with code 9"
    );
    running.end().await;
    // It is due still.
    world.program("tools/migrate", "echo $1 >> $2/done");
    start(&world).await;
    assert!(world.read("done").ends_with("half\n5\n"));
    std::fs::write(world.app_data().join("migrations.json"), "{").unwrap();
    assert_eq!(
        world.start().await.err().unwrap().code(),
        "supervise.folder"
    );
}

#[tokio::test]
async fn assets_and_programs_are_what_they_were() {
    let api = service(
        "api",
        json!({ "assets": [
            { "path": "seed.sql", "size_bytes": 6,
              "sha256": "c9d6b21d1bd0ee1bbf7ba35c7bfe9a3c7ef3f8f4e6ff6bb9b26e4e0ccbd9a0c1" },
        ]}),
    );
    let mut world = World::new(json!([]), vec![api]);
    world.script("api", STAY);
    std::fs::write(world.home.path().join("bundle/seed.sql"), "seeds\n").unwrap();
    let running = world.run().await;
    let status = running
        .until("api", |status| {
            status["message"].as_str().unwrap().contains("checksum")
        })
        .await;
    assert_eq!(status["ready"], json!(false));
    let answered = running.ask(Method::GET, "/validate", "").await;
    assert_eq!(answered.status, 422);
    let report = answered.json();
    assert_eq!(report["errors"][0]["code"], "checksum_mismatch");
    let actual = report["invalid_checksums"][0]["actual"].clone();
    running.end().await;

    world.manifest["services"][0]["assets"][0]["sha256"] = actual;
    let running = world.run().await;
    running.until_ready("api").await;
    let answered = running.ask(Method::GET, "/validate", "").await;
    assert_eq!(
        (answered.status, answered.json()),
        (200, json!({ "valid": true }))
    );
    running.end().await;
}

#[tokio::test]
async fn health_is_asked_over_http_until_it_is_good() {
    let api = service(
        "api",
        json!({
            "ports": { "requested": [{ "name": "http" }] },
            "health": { "type": "http", "path": "/health", "port_name": "http", "interval_ms": 20 },
            "readiness": { "type": "health_success", "timeout_ms": 110_000 },
            "env": { "PORT": "${api.http}" },
        }),
    );
    let late = service(
        "late",
        json!({
            "readiness": { "type": "log_match", "pattern": "never", "timeout_ms": 50 },
        }),
    );
    let world = World::new(json!([]), vec![api, late]);
    world.script("late", STAY);
    world.script(
        "api",
        "mkdir -p \"$APP_DATA_DIR/www\"; cd \"$APP_DATA_DIR/www\"
echo '{\"status\": \"starting\"}' > health
exec python3 -m http.server --bind 127.0.0.1 \"$PORT\"",
    );
    let running = world.run().await;
    let status = running
        .until("api", |status| {
            status["message"].as_str().unwrap().contains("does not say")
        })
        .await;
    assert_eq!(status["ready"], json!(false));
    std::fs::write(
        world.app_data().join("www/health"),
        "{\"status\": \"healthy\"}",
    )
    .unwrap();
    running.until_ready("api").await;
    let late = running
        .until("late", |status| {
            status["message"]
                .as_str()
                .unwrap()
                .contains("did not become ready")
        })
        .await;
    assert_eq!(late["ready"], json!(false));
    running.end().await;
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    let world = World::new(json!([]), vec![service("api", json!({}))]);
    // Neither listens when it is asked to end.
    world.script(
        "api",
        "trap '' TERM
sh -c 'trap \"\" TERM; echo $$ > \"$APP_DATA_DIR/pid\"; while :; do sleep 1; done' &
while :; do sleep 1; done",
    );
    let running = world.run().await;
    let pid = until_file(&world, "pid").await;
    running.end().await;
    let place = format!("/proc/{}/stat", pid.trim());
    let is_gone = match std::fs::read_to_string(place) {
        Err(_) => true,
        // Nobody has taken notice of its end yet.
        Ok(stat) => stat.contains(") Z "),
    };
    assert!(is_gone);
}

/// Says what it was given, and stays when it was given what it wants.
const CHOOSY: &str = "printf %s \"$KEY\" >> \"$APP_DATA_DIR/given\"
case \"$KEY\" in good*) ;; *) exit 3 ;; esac";

#[tokio::test]
async fn services_start_again_with_what_was_changed() {
    let target = || json!({ "type": "env", "name": "KEY" });
    let never = || json!({ "restart": "never" });
    let world = World::new(
        json!([secret("key", target())]),
        vec![
            service(
                "db",
                json!({ "secrets": ["key"], "metadata": never(),
                        "readiness": { "type": "log_match", "pattern": "^up$" } }),
            ),
            service(
                "api",
                json!({ "dependencies": ["db"], "metadata": never() }),
            ),
            service("other", json!({})),
        ],
    );
    world.script("db", &format!("{CHOOSY}\n{STAY}"));
    world.script("api", STAY);
    world.script("other", STAY);
    let running = world.run().await;
    let give = async |value: &str| {
        let saved = running.post("/secrets", json!({ "id": "key", "value": value }));
        saved.await.json()
    };
    let status = async |id: &str| running.get("/readyz").await["details"][id].clone();
    assert!(give("bad-1").await["restart_required"].is_null());
    let mut last = json!(null);
    for _ in 0..600 {
        last = status("api").await["message"].clone();
        if last == "db, which it depends on, has failed" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(last, "db, which it depends on, has failed");
    assert_eq!(give("good-2").await["restart_required"], json!(["db"]));
    let other = status("other").await["started_at"].clone();

    // Those that failed for want of it are started again with it.
    let begun = running.ask(Method::POST, "/restart", "").await;
    assert_eq!(begun.json()["restarted"], json!(["db", "api"]));
    running.until_ready("api").await;
    running.until_ready("db").await;
    assert_eq!(world.read("given"), "bad-1good-2");
    let none = running.ask(Method::POST, "/restart", "").await;
    assert_eq!(none.json()["restarted"], json!([]));

    // One that runs is ended first, and no other is.
    assert_eq!(give("good-3").await["restart_required"], json!(["db"]));
    let before = status("api").await["started_at"].clone();
    let begun = running.ask(Method::POST, "/restart", "").await;
    assert_eq!(begun.json()["restarted"], json!(["db"]));
    running.until_ready("db").await;
    assert_eq!(world.read("given"), "bad-1good-2good-3");
    assert_eq!(world.read("logs/db.log").matches("bye").count(), 1);
    assert_eq!(status("api").await["started_at"], before);
    assert_eq!(status("other").await["started_at"], other);

    let named = running.post("/restart", json!({ "services": ["other"] }));
    assert_eq!(named.await.json()["restarted"], json!(["other"]));
    running.until_ready("other").await;
    let unknown = running
        .post("/restart", json!({ "services": ["nope"] }))
        .await;
    assert_eq!(
        (unknown.status, unknown.json()["unknown"].clone()),
        (404, json!(["nope"]))
    );
    assert_eq!(
        running
            .post("/restart", json!({ "services": 1 }))
            .await
            .status,
        400
    );
    assert!(running.end().await.is_empty());
}

#[tokio::test]
async fn what_is_taken_away_is_gone_and_what_is_new_is_masked() {
    let world = World::new(
        json!([
            secret("key", json!({ "type": "env", "name": "KEY" })),
            { "id": "cert", "class": "user_prompt", "required": false,
              "prompt": { "label": "cert" },
              "target": { "type": "file", "name": "certs/own.pem" } },
        ]),
        vec![
            service(
                "init",
                json!({ "secrets": ["key"], "metadata": { "restart": "never" } }),
            ),
            service(
                "api",
                json!({ "secrets": ["key", "cert"], "dependencies": ["init"] }),
            ),
            service("other", json!({})),
        ],
    );
    world.script("init", "sleep 1");
    world.script("api", STAY);
    world.script(
        "other",
        "while :; do cat \"$APP_DATA_DIR/say\" && rm \"$APP_DATA_DIR/say\"; sleep 0.05; done \
         2>/dev/null",
    );
    let running = world.run().await;
    let values = json!({ "secrets": { "key": "canary-one", "cert": "canary-pem" } });
    assert_eq!(running.post("/secrets", values).await.status, 200);
    running.until_ready("api").await;
    running.until_ready("other").await;
    assert_eq!(world.read("certs/own.pem"), "canary-pem");
    // It has done its work, and will not do it again.
    let message = async || running.get("/readyz").await["details"]["init"]["message"].clone();
    while message().await == "ready" || message().await == "started" {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let values = json!({ "secrets": { "key": "canary-two", "cert": "" } });
    let saved = running.post("/secrets", values).await.json();
    assert_eq!(saved["restart_required"], json!(["api"]), "{saved}");
    let draft = world.app_data().join("draft");
    std::fs::write(&draft, "it is canary-two, and was canary-one\n").unwrap();
    std::fs::rename(draft, world.app_data().join("say")).unwrap();
    let begun = running.ask(Method::POST, "/restart", "").await;
    assert_eq!(begun.json()["restarted"], json!(["api"]));
    running.until_ready("api").await;
    assert!(!world.app_data().join("certs/own.pem").exists());
    while !world.read("logs/other.log").contains("it is") {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(running.end().await.is_empty());
    let log = world.read("logs/other.log");
    assert!(log.contains("it is [redacted:key]"), "{log}");
    assert!(!log.contains("canary"), "{log}");
}

#[tokio::test]
async fn a_service_on_its_way_to_its_end_starts_again_when_it_is_asked() {
    let world = World::new(
        json!([secret("key", json!({ "type": "env", "name": "KEY" }))]),
        vec![service(
            "db",
            json!({ "secrets": ["key"], "readiness":
                { "type": "log_match", "pattern": "^up$", "timeout_ms": 3_000 } }),
        )],
    );
    // With a wrong key it says nothing, and does not end when it is asked to either.
    let wrong = "case \"$KEY\" in good*) ;; *) trap '' TERM; while :; do sleep 1; done ;; esac";
    world.script("db", &format!("{wrong}\n{STAY}"));
    let running = world.run().await;
    let give = async |value: &str| {
        let saved = running.post("/secrets", json!({ "id": "key", "value": value }));
        assert_eq!(saved.await.status, 200);
    };
    give("bad").await;
    // It is not ready in time, and is being ended.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    give("good").await;
    let begun = running.ask(Method::POST, "/restart", "").await;
    assert_eq!(begun.json()["restarted"], json!(["db"]));
    running.until_ready("db").await;
    assert!(running.end().await.is_empty());
}
