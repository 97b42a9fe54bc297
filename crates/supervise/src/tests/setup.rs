//! The first run's page, by the requests that it sends.

use http::Method;
use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;

use super::world::Running;
use super::world::World;

const CANARY: &str = "canary-90aa17c3d2e4";

fn world() -> World {
    World::dry(json!([
        { "id": "gen", "class": "per_install_generated", "target": { "type": "env", "name": "G" },
          "generator": { "type": "random", "length": 48 } },
        { "id": "key", "class": "user_prompt", "format": "^canary-",
          "target": { "type": "env", "name": "KEY" },
          "prompt": { "label": "<img src=x onerror=alert(1)>",
                      "link": "https://help.example/key", "hint": "it begins with canary-" } },
        { "id": "opt", "class": "user_prompt", "required": false, "prompt": { "label": "Opt" },
          "target": { "type": "file", "name": "opt.pem" } },
    ]))
}

/// A session of the page, opened by a link.
async fn session(running: &Running) -> String {
    let link = running.ask(Method::POST, "/setup-link", "").await.json();
    let url = link["url"].as_str().unwrap();
    let start = format!("http://127.0.0.1:{}/setup/#", running.port);
    let code = url.strip_prefix(&start).unwrap();
    let open = async || {
        let body = json!({ "code": code }).to_string();
        running.send(Method::POST, "/setup/open", &[], body).await
    };
    let opened = open().await;
    assert_eq!(opened.status, 200);
    // It works once.
    assert_eq!(open().await.status, 401);
    opened.json()["session"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_link_opens_the_page_once_and_the_page_sets_what_is_missing() {
    let world = world();
    let running = world.run().await;
    let session = session(&running).await;
    let bearer = format!("Bearer {session}");
    let own = format!("http://127.0.0.1:{}", running.port);
    let headers = [("authorization", bearer.as_str()), ("origin", own.as_str())];
    let post = async |path: &str, body: Value| {
        let path = format!("/setup/{path}");
        running
            .send(Method::POST, &path, &headers, body.to_string())
            .await
    };
    let state = async || {
        let answered = running
            .send(Method::GET, "/setup/state", &headers, String::new())
            .await;
        assert!(!answered.text.contains(CANARY));
        answered.json()
    };
    let first = state().await;
    assert_eq!(first["secrets"][0]["length"], json!(48));
    assert_eq!(first["secrets"][1]["label"], "<img src=x onerror=alert(1)>");
    assert_eq!(first["secrets"][1]["link"], "https://help.example/key");
    assert_eq!(first["secrets"][2]["is_file"], json!(true));

    let checked = post("check", json!({ "id": "key", "value": "x" }))
        .await
        .json();
    assert_eq!(checked["valid"], json!(false));
    let told = &checked["errors"][0]["told"];
    assert_eq!(
        told,
        "this does not look as expected: it begins with canary-"
    );
    let checked = post("check", json!({ "id": "key", "value": CANARY }))
        .await
        .json();
    assert_eq!(checked["valid"], json!(true));
    assert_eq!(state().await["secrets"][1]["status"], "missing");
    assert_eq!(post("finish", json!({})).await.status, 409);
    let refused = post("save", json!({ "secrets": { "key": "x" } })).await;
    assert_eq!(refused.status, 400);
    let saved = post("save", json!({ "secrets": { "key": CANARY } })).await;
    assert_eq!(saved.status, 200);
    // Nothing starts before its user goes on.
    let waiting = running.get("/readyz").await;
    assert_eq!(waiting["ready"], json!(false));
    assert_eq!(post("finish", json!({})).await.status, 200);
    running.until_ready("api").await;
    assert_eq!(state().await["ready"], json!(true));
    running.end().await;
    assert_eq!(world.files_with(CANARY), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn the_page_is_open_to_its_link_only_and_loads_nothing_from_elsewhere() {
    let world = world();
    let running = world.run().await;
    let session = session(&running).await;
    let get = async |path: &str, headers: &[(&str, &str)]| {
        running
            .send(Method::GET, path, headers, String::new())
            .await
    };
    for file in ["/setup/", "/setup/page.js", "/setup/page.css"] {
        let answered = get(file, &[]).await;
        assert_eq!(answered.status, 200);
        let policy = answered.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        // No address of anybody else stands in it.
        assert!(!answered.text.contains("://"), "{file}");
        for inline in ["innerHTML", "style=", "onclick", "eval("] {
            assert!(!answered.text.contains(inline), "{file}: {inline}");
        }
    }
    let session = format!("Bearer {session}");
    let token = format!("Bearer {}", running.token);
    for (path, bearer) in [
        ("/setup/state", None),
        ("/setup/state", Some("Bearer x")),
        // Neither opens what is the other's.
        ("/setup/state", Some(token.as_str())),
        ("/secrets", Some(session.as_str())),
        ("/readyz", Some(session.as_str())),
    ] {
        let headers: Vec<(&str, &str)> = bearer.iter().map(|it| ("authorization", *it)).collect();
        assert_eq!(get(path, &headers).await.status, 401, "{path}");
    }
    let evil = [
        ("authorization", session.as_str()),
        ("origin", "http://evil.example"),
    ];
    assert_eq!(get("/setup/state", &evil).await.status, 403);
    // The page's own origin opens the page, not the API.
    let own = format!("http://127.0.0.1:{}", running.port);
    let own = [("authorization", token.as_str()), ("origin", own.as_str())];
    assert_eq!(get("/secrets", &own).await.status, 403);
    running.end().await;
}

#[tokio::test]
async fn a_dialogue_keeps_what_fits_and_the_application_starts_with_it() {
    let world = world();
    let mut dialogue = world.dialogue().await.unwrap();
    let questions = dialogue.questions();
    let set: Vec<bool> = questions.iter().map(|question| question.is_set).collect();
    assert_eq!(set, [true, false, false]);
    let asked: Vec<bool> = questions.iter().map(|question| question.is_asked).collect();
    assert_eq!(asked, [false, true, true]);
    let value = |text: &str| SecretValue::copy_from(text.as_bytes());
    let problem = dialogue.save("key", value("wrong")).await.unwrap_err();
    let expected = "this does not look as expected: it begins with canary-";
    assert_eq!(problem, expected);
    assert_eq!(dialogue.missing(), ["key"]);
    // What was kept is there, although nobody went on to the end.
    dialogue.save("key", value(CANARY)).await.unwrap();
    assert!(dialogue.questions()[1].is_set);
    // Nobody runs it meanwhile.
    assert_eq!(
        world.start().await.err().unwrap().code(),
        "supervise.running"
    );
    drop(dialogue);
    let running = world.run().await;
    running.until_ready("api").await;
    assert_eq!(
        world.dialogue().await.err().unwrap().code(),
        "supervise.running"
    );
    running.end().await;
    assert_eq!(world.files_with(CANARY), Vec::<std::path::PathBuf>::new());
}
