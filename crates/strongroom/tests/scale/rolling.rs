//! A new version comes in while the old one serves.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use strongroom_store_postgres::Database;
use strongroom_store_postgres::Migration;
use strongroom_store_postgres::Options;
use strongroom_store_postgres::SCHEMA;
use strongroom_testkit::postgres::Postgres;

use crate::node::Home;
use crate::node::Node;
use crate::node::ask_port;
use crate::node::wait_until;

/// What a later program adds, beside what there is now.
const EXPAND: Migration = Migration {
    version: SCHEMA + 1,
    needs: SCHEMA,
    sql: "ALTER TABLE strongroom_record ADD COLUMN later bigint; \
          CREATE INDEX strongroom_record_later ON strongroom_record (later); \
          CREATE TABLE strongroom_later (id bytea PRIMARY KEY)",
};
/// What it takes away when the last server of the earlier version is gone.
const CONTRACT: Migration = Migration {
    version: SCHEMA + 2,
    needs: SCHEMA + 2,
    sql: "ALTER TABLE strongroom_record DROP COLUMN due_at",
};
const CLIENTS: usize = 4;
/// Each client writes so often between two exchanges at least.
const WRITES: u64 = 15;

/// The start of a later program, as far as the database sees it.
fn later(server: &Postgres, more: &[Migration]) {
    let all = [Options::default().migrations, more].concat();
    let options = Options {
        migrations: Box::leak(all.into_boxed_slice()),
        ..Options::default()
    };
    let url = server.url("postgres");
    Database::connect(&url.parse().unwrap(), options).unwrap();
}

/// What a load balancer knows, and what its clients have been told.
struct Balancer {
    ports: Mutex<Vec<u16>>,
    acknowledged: [AtomicU64; CLIENTS],
    is_over: AtomicBool,
}

impl Balancer {
    /// Writes again and again: where one server does not answer or cannot, the next is asked.
    fn client(&self, number: usize, token: &str) {
        let mut turn = number;
        for value in 1.. {
            let body = format!("{{\"data\":{{\"v\":\"{value}\"}}}}");
            wait_until(|| {
                let ports = self.ports.lock().unwrap().clone();
                turn += 1;
                let port = ports[turn % ports.len()];
                let path = format!("secret/data/client-{number}");
                let (status, answer) = ask_port(port, "POST", &path, token, &body);
                // Whoever drains, or waits for the database, is to be asked later.
                assert!([0, 200, 503].contains(&status), "{status}: {answer}");
                if status == 200 {
                    let (status, answer) = ask_port(port, "GET", &path, token, "");
                    let is_it = answer.contains(&format!("\"v\":\"{value}\""));
                    assert!(status != 200 || is_it, "{value}: {answer}");
                }
                status == 200
            });
            self.acknowledged[number].store(value, Ordering::SeqCst);
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Waits until every client has written so many values more.
    fn goes_on(&self) {
        let counts = || {
            self.acknowledged
                .each_ref()
                .map(|it| it.load(Ordering::SeqCst))
        };
        let before = counts();
        wait_until(|| {
            let now = counts();
            now.iter()
                .zip(before)
                .all(|(now, before)| *now >= before + WRITES)
        });
    }
}

#[test]
fn servers_are_exchanged_one_by_one_while_clients_go_on() {
    let server = Postgres::start();
    let home = Home::new();
    let url = server.url("postgres");
    let start = || Node::start(&home, &["--storage", &url]);
    let mut nodes: Vec<Node> = (0..3).map(|_| start()).collect();
    let token = home.root_token(&url);
    let balancer = Balancer {
        ports: Mutex::new(nodes.iter().map(Node::port).collect()),
        acknowledged: Default::default(),
        is_over: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (balancer, token) = (&balancer, &token);
            scope.spawn(move || balancer.client(number, token));
        }
        balancer.goes_on();
        // The later program only adds: those of the earlier version go on beside it.
        later(&server, &[EXPAND]);
        balancer.goes_on();
        for (at, node) in nodes.iter_mut().enumerate() {
            let new = start();
            balancer.ports.lock().unwrap()[at] = new.port();
            std::mem::replace(node, new).stop();
            balancer.goes_on();
        }
        balancer.is_over.store(true, Ordering::SeqCst);
    });
    for (number, last) in balancer.acknowledged.iter().enumerate() {
        let last = last.load(Ordering::SeqCst).to_string();
        for node in &nodes {
            wait_until(|| node.value(&format!("client-{number}"), &token) == Ok(last.clone()));
        }
    }
    // Now it takes away: who knows only what was there before stops, and says why.
    later(&server, &[EXPAND, CONTRACT]);
    for node in &nodes {
        wait_until(|| node.ask("GET", "sys/health", "", "").0 == 503);
        wait_until(|| node.value("client-0", &token) == Err(503));
        wait_until(|| node.log().contains("later program"));
    }
}
