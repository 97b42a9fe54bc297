//! Users of a database that several servers make and remove.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use strongroom_testkit::postgres::Postgres;

use crate::node::Home;
use crate::node::Node;
use crate::node::wait_until;

/// Requests that are under way when a server dies.
const AT_ONCE: usize = 12;
/// So many users are made before it does.
const MADE_MIN: usize = 8;

const ROLE: &str = r#"{"db_name":"pg","default_ttl":"1h","creation_statements":
    "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"}"#;

fn users(postgres: &Postgres) -> usize {
    let count = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-%'";
    postgres.sql("postgres", count).parse().unwrap()
}

fn config(postgres: &Postgres) -> String {
    let address = format!("127.0.0.1:{}", postgres.port());
    format!(
        r#"{{"plugin_name":"postgresql-database-plugin","allowed_roles":"*","username":"postgres",
        "password":"none","connection_url":
        "postgresql://{{{{username}}}}:{{{{password}}}}@{address}/postgres"}}"#
    )
}

#[test]
fn a_server_that_dies_while_it_makes_users_leaves_none_behind() {
    let postgres = Postgres::start();
    let home = Home::new();
    let url = postgres.url("postgres");
    let [first, second] = [0, 1].map(|_| Node::start(&home, &["--storage", &url]));
    let root = home.root_token(&url);
    first.json(
        "POST",
        "sys/mounts/database",
        &root,
        r#"{"type":"database"}"#,
    );
    first.json("POST", "database/config/pg", &root, &config(&postgres));
    first.json("POST", "database/roles/ro", &root, ROLE);
    let made = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (made, port, root) = (&made, first.port(), root.as_str());
        for _ in 0..AT_ONCE {
            scope.spawn(move || {
                // Until nobody answers any more.
                while crate::node::ask_port(port, "GET", "database/creds/ro", root, "").0 == 200 {
                    made.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        wait_until(|| made.load(Ordering::SeqCst) >= MADE_MIN);
        drop(first);
    });
    let made = made.load(Ordering::SeqCst);
    // Those that clients were told of are there; what was under way is cleared by the other one.
    assert!(users(&postgres) >= made);
    wait_until(|| {
        let (status, text) = second.ask("GET", "sys/leases/reconcile", &root, "");
        assert_eq!(status, 200, "{text}");
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        let database = &report["data"]["databases"][0];
        let count = |name: &str| usize::try_from(database[name].as_u64().unwrap()).unwrap();
        let (leases, known) = (count("leases"), count("users"));
        assert!(leases >= made && known >= made, "{text}");
        leases == known && known == users(&postgres)
    });
    let line = "sys/leases/revoke-prefix/database/creds/ro";
    second.json("PUT", line, &root, "");
    wait_until(|| users(&postgres) == 0);
}

#[test]
fn leases_that_are_over_are_ended_by_one_server_and_after_its_death_by_another() {
    let postgres = Postgres::start();
    let home = Home::new();
    let url = postgres.url("postgres");
    let nodes = [0, 1].map(|_| Node::start(&home, &["--storage", &url]));
    let root = home.root_token(&url);
    nodes[0].json(
        "POST",
        "sys/mounts/database",
        &root,
        r#"{"type":"database"}"#,
    );
    nodes[0].json("POST", "database/config/pg", &root, &config(&postgres));
    let short = ROLE.replace("1h", "1s");
    nodes[0].json("POST", "database/roles/ro", &root, &short);
    let make = |node: &Node| {
        for _ in 0..6 {
            node.json("GET", "database/creds/ro", &root, "");
        }
    };
    make(&nodes[0]);
    make(&nodes[1]);
    wait_until(|| users(&postgres) == 0);
    let [first, second] = nodes;
    make(&first);
    drop(first);
    wait_until(|| users(&postgres) == 0);
    make(&second);
    wait_until(|| users(&postgres) == 0);
}
