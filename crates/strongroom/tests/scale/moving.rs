//! Stores that are moved between a file and a database.

use strongroom_testkit::postgres::Postgres;

use crate::node::Home;
use crate::node::Json;
use crate::node::Node;
use crate::node::wait_until;

/// Secrets in the store that is moved: more than go in one piece.
const SECRETS: usize = 900;

/// A store file with many secrets, one of them deleted.
fn filled(home: &Home) -> String {
    let store = home.path("store/store.db").display().to_string();
    let node = Node::start(home, &["--store", &store]);
    let token = home.root_token(&store);
    std::thread::scope(|scope| {
        for part in 0..4 {
            let (node, token) = (&node, &token);
            scope.spawn(move || {
                for number in (part..SECRETS).step_by(4) {
                    let status = node.put(&name(number), token, &format!("value-{number}"));
                    assert_eq!(status, 200);
                }
            });
        }
    });
    let gone = format!("secret/metadata/{}", name(0));
    assert_eq!(node.ask("DELETE", &gone, &token, "").0, 204);
    store
}

fn name(number: usize) -> String {
    format!("folder-{}/name-{number}", number % 3)
}

fn migrate(home: &Home, from: &str, to: &str) -> Json {
    let args = [
        "operator",
        "migrate-storage",
        "--from",
        from,
        "--to",
        to,
        "--json",
    ];
    serde_json::from_str(&home.ok(&args)).unwrap()
}

#[test]
fn a_store_goes_to_a_database_and_back() {
    let home = Home::new();
    let server = Postgres::start();
    let store = filled(&home);
    home.ok(&["doctor", "--store", &store]);
    let before = std::fs::read(&store).unwrap();
    let url = server.url("postgres");

    let moved = migrate(&home, &store, &url);
    assert!(moved["records"].as_u64().unwrap() > 900, "{moved}");
    assert_eq!(moved["records"], moved["verified"]);
    assert_eq!(
        std::fs::read(&store).unwrap(),
        before,
        "the source is as it was"
    );
    // Nothing goes where there is a store already.
    let again = home.run(&[
        "operator",
        "migrate-storage",
        "--from",
        &store,
        "--to",
        &url,
    ]);
    assert_eq!(again.status.code(), Some(6));

    // It is served, and written to.
    let node = Node::start(&home, &["--storage", &url]);
    let token = home.root_token(&url);
    for number in [1, 2, 500, SECRETS - 1] {
        assert_eq!(
            node.value(&name(number), &token),
            Ok(format!("value-{number}"))
        );
    }
    assert_eq!(node.value(&name(0), &token), Err(404));
    let listed = node.json("LIST", "secret/metadata/folder-1", &token, "");
    assert_eq!(
        listed["data"]["keys"].as_array().unwrap().len(),
        SECRETS / 3
    );
    assert_eq!(node.put("new", &token, "written to the database"), 200);
    drop(node);

    let back = home.path("back/store.db").display().to_string();
    migrate(&home, &url, &back);
    let field = |path: &str| home.ok(&["get", path, "--field", "v", "--store", &back]);
    assert_eq!(field("/folder-1/name-7"), "value-7");
    assert_eq!(field("/new"), "written to the database");
    home.ok(&["doctor", "--store", &back]);
    assert!(!home.path("back/store.db.moving").exists());
    let same = home.run(&[
        "operator",
        "migrate-storage",
        "--from",
        &back,
        "--to",
        &back,
    ]);
    assert!(!same.status.success());
}

#[test]
fn a_move_that_was_killed_goes_on() {
    let home = Home::new();
    let server = Postgres::start();
    let store = filled(&home);
    let url = server.url("postgres");
    let other = filled_other(&home);
    let mut rounds = 0;
    loop {
        // Killed as soon as there is something new in the target.
        let position = || server.sql("postgres", POSITION);
        let before = position();
        let mut moving = home
            .command(&[
                "operator",
                "migrate-storage",
                "--from",
                &store,
                "--to",
                &url,
            ])
            .spawn()
            .unwrap();
        let mut ended = None;
        wait_until(|| {
            ended = moving.try_wait().unwrap();
            ended.is_some() || position() != before
        });
        if ended.is_some_and(|status| status.success()) {
            break;
        }
        moving.kill().unwrap();
        let status = moving.wait().unwrap();
        rounds += 1;
        // It may have been killed when all was done and not yet said.
        let headers = "SELECT count(*) FROM strongroom_header";
        if status.success() || server.sql("postgres", headers) != "0" {
            break;
        }
        // Half a store is no store, and no place for another one.
        let refused = home.run(&["operator", "root-token", "--store", &url]);
        assert_eq!(refused.status.code(), Some(3));
        let refused = home.run(&[
            "operator",
            "migrate-storage",
            "--from",
            &other,
            "--to",
            &url,
        ]);
        assert_eq!(refused.status.code(), Some(6));
        assert!(rounds < 50);
    }
    assert!(rounds > 0, "it was killed at least once");
    let node = Node::start(&home, &["--storage", &url]);
    let token = home.root_token(&url);
    for number in (1..SECRETS).step_by(50) {
        assert_eq!(
            node.value(&name(number), &token),
            Ok(format!("value-{number}"))
        );
    }
}

/// Where a move is: nothing before it began.
const POSITION: &str = "SELECT CASE WHEN to_regclass('strongroom_move') IS NULL THEN ''
    ELSE (xpath('/row/r/text()', query_to_xml('SELECT max(revision) AS r FROM strongroom_move',
    false, true, '')))[1]::text END";

fn filled_other(home: &Home) -> String {
    let store = home.path("other/store.db").display().to_string();
    let _ = home.root_token(&store);
    store
}
