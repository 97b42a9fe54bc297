//! Stores that are moved between a file and a database.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use strongroom_testkit::postgres::Postgres;

use crate::node::Home;
use crate::node::Json;
use crate::node::Node;
use crate::node::wait;
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
    // Asked again it compares once more, and says that it is done.
    let again = migrate(&home, &store, &url);
    assert_eq!(again["verified"], moved["records"], "{again}");
    assert_eq!(again["resumed_at_revision"], moved["revision"], "{again}");
    // Nothing goes where there is a store already.
    let try_move = |from: &str, to: &str| {
        home.run(&["operator", "migrate-storage", "--from", from, "--to", to])
    };
    let other = filled_other(&home);
    assert_eq!(try_move(&other, &url).status.code(), Some(6));

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
    // Nor where the same store went on.
    let refused = try_move(&store, &url);
    assert_eq!(refused.status.code(), Some(6));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("was written to since"), "{said}");

    let back = home.path("back/store.db").display().to_string();
    let moved_back = migrate(&home, &url, &back);
    let again = migrate(&home, &url, &back);
    assert_eq!(again["verified"], moved_back["records"], "{again}");
    let field = |path: &str| home.ok(&["get", path, "--field", "v", "--store", &back]);
    assert_eq!(field("/folder-1/name-7"), "value-7");
    assert_eq!(field("/new"), "written to the database");
    home.ok(&["doctor", "--store", &back]);
    assert!(!home.path("back/store.db.moving").exists());
    assert!(!try_move(&back, &back).status.success());
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

/// A move from a database into a file is killed again and again: half a store has another name, and
/// in the end all of it is there.
#[test]
fn a_move_into_a_file_that_was_killed_goes_on() {
    let home = Home::new();
    let server = Postgres::start();
    let url = server.url("postgres");
    migrate(&home, &filled(&home), &url);
    let target = home.path("target/store.db");
    let draft = home.path("target/store.db.moving");
    let to = target.display().to_string();
    let words = ["operator", "migrate-storage", "--from", &url, "--to", &to];
    // Changes as soon as it is opened, and with every piece, there or in its log.
    let position = || {
        let length = |end: &str| std::fs::metadata(format!("{}{end}", draft.display()));
        ["", "-wal"].map(|end| length(end).map_or(0, |found| found.len()))
    };
    let mut rounds = 0;
    loop {
        let before = position();
        let mut moving = home.command(&words).spawn().unwrap();
        wait_until(|| moving.try_wait().unwrap().is_some() || position() != before);
        // Each time a little later, so that every moment is met and it ends at last.
        wait(Duration::from_millis(15) * rounds);
        let ended = moving.try_wait().unwrap();
        if ended.is_some_and(|status| status.success()) {
            break;
        }
        moving.kill().unwrap();
        let _ = moving.wait().unwrap();
        rounds += 1;
        if target.exists() {
            break;
        }
        assert!(rounds < 200);
    }
    assert!(rounds > 0, "it was killed at least once");
    // Whatever happened to the last one: once more is never wrong.
    let done = migrate(&home, &url, &to);
    assert!(done["verified"].as_u64().unwrap() > 900, "{done}");
    assert!(!draft.exists());
    home.ok(&["doctor", "--store", &to]);
    let field = |path: &str| home.ok(&["get", path, "--field", "v", "--store", &to]);
    assert_eq!(field("/folder-1/name-7"), "value-7");
}

/// A store that has no key file is moved by its unseal shares.
#[test]
fn a_store_that_only_shares_open_is_moved_with_them() {
    let home = Home::new();
    let server = Postgres::start();
    let url = server.url("postgres");
    let store = home.path("shared/store.db").display().to_string();
    let node = Node::start(&home, &["--store", &store, "--await-init"]);
    let body = "{\"secret_shares\":3,\"secret_threshold\":2}";
    let made = node.json("PUT", "sys/init", "", body);
    let share = |number: usize| made["keys_base64"][number].as_str().unwrap().to_owned();
    let root = made["root_token"].as_str().unwrap();
    let unseal = |node: &Node| {
        for number in [0, 2] {
            let body = format!("{{\"key\":\"{}\"}}", share(number));
            node.json("PUT", "sys/unseal", "", &body);
        }
    };
    unseal(&node);
    assert_eq!(node.put("app", root, "under shares"), 200);
    drop(node);

    let move_with = |shares: &str| {
        let mut moving = home
            .command(&[
                "operator",
                "migrate-storage",
                "--from",
                &store,
                "--to",
                &url,
            ])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that wants no shares does not read them.
        let _ = moving.stdin.take().unwrap().write_all(shares.as_bytes());
        let output = moving.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    for (shares, code) in [
        (String::new(), 7),
        (share(0), 7),
        (format!("{}\n{}\n", share(0), share(0)), 7),
        ("no share\n".to_owned(), 2),
    ] {
        let (found, said) = move_with(&shares);
        assert_eq!(found, Some(code), "{said}");
        assert!(!said.contains(&share(0)), "{said}");
    }
    let (code, said) = move_with(&format!("{}\n{}\n", share(1), share(2)));
    assert_eq!(code, Some(0), "{said}");
    let node = Node::start(&home, &["--storage", &url, "--await-init"]);
    assert_eq!(node.ask("GET", "sys/health", "", "").0, 503);
    unseal(&node);
    assert_eq!(node.value("app", root).as_deref(), Ok("under shares"));
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
