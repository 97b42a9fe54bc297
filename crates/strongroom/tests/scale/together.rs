//! Servers that serve one store together.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_testkit::postgres::Postgres;

use crate::node::Home;
use crate::node::Json;
use crate::node::Node;
use crate::node::STALENESS;
use crate::node::wait;
use crate::node::wait_until;

/// Two servers over one store, and a root token.
fn two() -> (Node, Node, String, Home, Postgres) {
    let server = Postgres::start();
    let home = Home::new();
    let url = server.url("postgres");
    // The first makes the store; the second finds it, and opens it with the same key file.
    let one = Node::start(&home, &["--storage", &url]);
    let two = Node::start(&home, &["--storage", &url]);
    let token = home.root_token(&url);
    (one, two, token, home, server)
}

#[test]
fn what_one_server_changes_holds_at_the_other_within_the_bound() {
    let (one, two, root, _home, _server) = two();
    let status = one.json("GET", "sys/seal-status", "", "");
    assert_eq!(status["storage_type"], "postgresql");

    // Values: also those that the other has in memory.
    assert_eq!(one.put("app", &root, "first"), 200);
    wait(STALENESS);
    assert_eq!(two.value("app", &root).as_deref(), Ok("first"));
    assert_eq!(one.put("app", &root, "second"), 200);
    wait(STALENESS);
    assert_eq!(two.value("app", &root).as_deref(), Ok("second"));
    // One's own writes are read at once.
    for number in 0..20 {
        assert_eq!(two.put("app", &root, &number.to_string()), 200);
        assert_eq!(two.value("app", &root), Ok(number.to_string()));
    }

    // A policy, and a token under it.
    let policy = "{\"policy\":\"path \\\"secret/*\\\" { capabilities = [\\\"read\\\"] }\"}";
    one.json("PUT", "sys/policies/acl/reader", &root, policy);
    let body = "{\"policies\":[\"reader\"]}";
    let made = one.json("POST", "auth/token/create", &root, body);
    let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
    wait(STALENESS);
    assert_eq!(two.value("app", &token).as_deref(), Ok("19"));
    let nothing = "{\"policy\":\"path \\\"other/*\\\" { capabilities = [\\\"read\\\"] }\"}";
    one.json("PUT", "sys/policies/acl/reader", &root, nothing);
    wait(STALENESS);
    assert_eq!(two.value("app", &token), Err(403));
    one.json("PUT", "sys/policies/acl/reader", &root, policy);
    wait(STALENESS);
    assert_eq!(two.value("app", &token).as_deref(), Ok("19"));

    // Its end.
    let body = format!("{{\"token\":\"{token}\"}}");
    one.json("POST", "auth/token/revoke", &root, &body);
    wait(STALENESS);
    assert_eq!(two.value("app", &token), Err(403));

    // A new data key, made and used by one, opens at the other.
    one.json("PUT", "sys/rotate", &root, "");
    assert_eq!(one.put("app", &root, "under the new key"), 200);
    wait(STALENESS);
    assert_eq!(two.value("app", &root).as_deref(), Ok("under the new key"));

    // Sealing is of one server, as with Vault: the other goes on.
    one.json("PUT", "sys/seal", &root, "");
    assert_eq!(one.ask("GET", "sys/health", "", "").0, 503);
    assert_eq!(two.ask("GET", "sys/health", "", "").0, 200);
    assert_eq!(two.value("app", &root).as_deref(), Ok("under the new key"));
}

#[test]
fn of_many_who_write_version_one_exactly_one_wins() {
    let (one, two, root, _home, _server) = two();
    for round in 0..5 {
        let path = format!("secret/data/contended-{round}");
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8)
                .map(|number| {
                    let node = [&one, &two][number % 2];
                    let (path, root) = (&path, &root);
                    scope.spawn(move || {
                        let body = format!(
                            "{{\"options\":{{\"cas\":0}},\"data\":{{\"v\":\"{number}\"}}}}"
                        );
                        node.ask("POST", path, root, &body).0
                    })
                })
                .collect();
            tries.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let won = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!(won, 1, "{statuses:?}");
        assert!(
            statuses.iter().all(|status| [200, 400].contains(status)),
            "{statuses:?}"
        );
    }
}

#[test]
fn a_store_that_one_server_makes_is_there_for_the_other() {
    let server = Postgres::start();
    let home = Home::new();
    let url = server.url("postgres");
    let args = ["--storage", &url, "--await-init"];
    let (one, two) = (Node::start(&home, &args), Node::start(&home, &args));
    for node in [&one, &two] {
        assert_eq!(node.ask("GET", "sys/health", "", "").0, 501);
    }
    let body = "{\"secret_shares\":3,\"secret_threshold\":2}";
    let made = one.json("PUT", "sys/init", "", body);
    assert_eq!(two.ask("PUT", "sys/init", "", body).0, 400);
    wait(STALENESS);
    assert_eq!(two.ask("GET", "sys/health", "", "").0, 503);
    let root = made["root_token"].as_str().unwrap();
    for node in [&one, &two] {
        for share in [0, 1] {
            let share = made["keys"][share].as_str().unwrap();
            let _: Json = node.json("PUT", "sys/unseal", "", &format!("{{\"key\":\"{share}\"}}"));
        }
        assert_eq!(node.ask("GET", "sys/health", "", "").0, 200);
        assert_eq!(node.ask("GET", "sys/mounts", root, "").0, 200);
    }
}

/// The database crashes under load. Clients see what can be tried again, and nothing that was
/// acknowledged is lost.
#[test]
fn a_database_that_crashes_loses_nothing_that_was_acknowledged() {
    let (one, two, root, _home, mut server) = two();
    let is_over = AtomicBool::new(false);
    let acknowledged = AtomicU64::new(0);
    let last: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4_u64)
            .map(|writer| {
                let node = if writer.is_multiple_of(2) { &one } else { &two };
                let (root, is_over, acknowledged) = (&root, &is_over, &acknowledged);
                scope.spawn(move || {
                    let (mut number, mut last) = (0_u64, 0);
                    while !is_over.load(Ordering::SeqCst) {
                        number += 1;
                        match node.put(&format!("w{writer}"), root, &number.to_string()) {
                            200 => {
                                last = number;
                                acknowledged.fetch_add(1, Ordering::SeqCst);
                            }
                            status => assert!(
                                matches!(status, 412 | 500..=599),
                                "{status}: {}",
                                node.log()
                            ),
                        }
                    }
                    (writer, last)
                })
            })
            .collect();
        for _ in 0..3 {
            let before = acknowledged.load(Ordering::SeqCst);
            wait_until(|| acknowledged.load(Ordering::SeqCst) >= before + 20);
            server.crash();
            std::thread::park_timeout(Duration::from_millis(200));
            server.resume();
        }
        let before = acknowledged.load(Ordering::SeqCst);
        wait_until(|| acknowledged.load(Ordering::SeqCst) >= before + 20);
        is_over.store(true, Ordering::SeqCst);
        writers.into_iter().map(|one| one.join().unwrap()).collect()
    });
    wait(STALENESS);
    for (writer, last) in last {
        for node in [&one, &two] {
            let value = node.value(&format!("w{writer}"), &root).unwrap();
            // A write whose answer was lost may be there beside.
            let value: u64 = value.parse().unwrap();
            assert!(value >= last, "{writer}: {value} {last}");
        }
    }
}

/// A server that cannot ask the database says so, and does not answer from memory.
#[test]
fn without_the_database_nothing_old_is_served() {
    let (one, _two, root, _home, mut server) = two();
    assert_eq!(one.put("app", &root, "x"), 200);
    assert_eq!(one.value("app", &root).as_deref(), Ok("x"));
    server.crash();
    wait(STALENESS);
    // Whoever waits longer than the client's patience gets no answer; none gets an old one.
    wait_until(|| match one.value("app", &root) {
        Ok(value) => panic!("{value} from memory"),
        Err(status) => status == 503,
    });
    // A load balancer is told.
    wait_until(|| one.ask("GET", "sys/health", "", "").0 == 503);
    server.resume();
    wait_until(|| one.value("app", &root).as_deref() == Ok("x"));
    wait_until(|| one.ask("GET", "sys/health", "", "").0 == 200);
}

/// All connections of a server wait for a lock: who comes then is told to come back, nobody hangs,
/// and what is in memory is still served.
#[test]
fn a_server_whose_connections_are_all_busy_says_so() {
    const READERS: usize = 40;
    let (one, _two, root, _home, server) = two();
    assert_eq!(one.put("known", &root, "x"), 200);
    assert_eq!(one.value("known", &root).as_deref(), Ok("x"));
    let lock = "BEGIN; LOCK TABLE strongroom_record IN ACCESS EXCLUSIVE MODE";
    let session = server.session("postgres", lock);
    let statuses: Vec<Result<String, u16>> = std::thread::scope(|scope| {
        // What is not there is not in memory either.
        let readers: Vec<_> = (0..READERS)
            .map(|number| {
                let (one, root) = (&one, &root);
                scope.spawn(move || one.value(&format!("missing-{number}"), root))
            })
            .collect();
        assert_eq!(one.value("known", &root).as_deref(), Ok("x"));
        readers.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(
        statuses.iter().all(|status| *status == Err(503)),
        "{statuses:?}"
    );
    drop(session);
    wait_until(|| one.value("missing-0", &root) == Err(404));
    assert_eq!(one.put("known", &root, "y"), 200);
}
