//! Background work of several servers over one store: one does it, and when it dies, another.

use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use strongroom_testkit::postgres::Postgres;

use crate::node::DEADLINE;
use crate::node::Home;
use crate::node::Node;
use crate::node::wait;
use crate::node::wait_until;

/// Tokens of one round.
const TOKENS: u64 = 12;

fn make_short_tokens(node: &Node, root: &str) {
    for _ in 0..TOKENS {
        let body = "{\"ttl\":\"1s\",\"policies\":[\"default\"]}";
        node.json("POST", "auth/token/create", root, body);
    }
}

/// How many tokens a server has cleared whose time was over.
fn cleared(node: &Node, root: &str) -> u64 {
    let (_, text) = node.ask("GET", "sys/metrics?format=prometheus", root, "");
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let found = lines.find_map(|line| line.split_once("tokens_expired_total "));
    let (_, count) = found.unwrap();
    count.trim().parse().unwrap()
}

#[test]
fn tokens_that_expire_are_cleared_by_one_server_and_after_its_death_by_another() {
    let server = Postgres::start();
    let home = Home::new();
    let url = server.url("postgres");
    let nodes = [0, 1].map(|_| Node::start(&home, &["--storage", &url]));
    let root = home.root_token(&url);
    let counts = || [cleared(&nodes[0], &root), cleared(&nodes[1], &root)];
    // A server that stood still for longer than its lease loses it in the middle of a round, which
    // no test can prevent: but not in each of many.
    let has_one_done_all = (0..5).any(|_| {
        let before = counts();
        make_short_tokens(&nodes[0], &root);
        let done = || {
            let now = counts();
            [now[0] - before[0], now[1] - before[1]]
        };
        wait_until(|| done().iter().sum::<u64>() >= TOKENS);
        let done = done();
        assert_eq!(done.iter().sum::<u64>(), TOKENS, "{done:?}");
        done.contains(&0)
    });
    assert!(has_one_done_all, "both worked in every round");

    let [zero, one] = counts();
    let [first, second] = nodes;
    let (dead, alive, before) = match zero > one {
        true => (first, second, one),
        false => (second, first, zero),
    };
    drop(dead);
    make_short_tokens(&alive, &root);
    wait_until(|| cleared(&alive, &root) == before + TOKENS);
}

/// An endpoint that rotators are asked at, and that never answers the first time.
fn endpoint() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (calls, received) = mpsc::channel();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = stream;
            let event = event_of(&mut stream);
            if calls.send(event).is_err() {
                return;
            }
            if held.is_empty() {
                held.push(stream);
            } else {
                let refusal = "HTTP/1.1 500 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(refusal.as_bytes()).unwrap();
            }
        }
    });
    (url, received)
}

/// The body of a request.
fn event_of(stream: &mut TcpStream) -> String {
    let (mut text, mut chunk) = (String::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut chunk).unwrap();
        text.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        if count == 0 || body.ends_with('}') {
            return body.to_owned();
        }
    }
}

/// `aws secretsmanager`, which `cargo xtask peers` installs, with an access key of the server's.
fn aws(home: &Home, node: &Node, root: &str, words: &[&str]) {
    let address = format!("http://127.0.0.1:{}", node.port());
    let made = home
        .command(&["auth", "aws-key", "create", "--policy", "root", "--json"])
        .env("STRONGROOM_ADDR", &address)
        .env("STRONGROOM_TOKEN", root)
        .output()
        .unwrap();
    let key: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.peers/venv/bin/aws");
    let output = Command::new(program)
        .args(["secretsmanager", "--endpoint-url", &address])
        .args(words)
        .env_clear()
        .env("HOME", home.path(""))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", key["access_key_id"].as_str().unwrap())
        .env(
            "AWS_SECRET_ACCESS_KEY",
            key["secret_access_key"].as_str().unwrap(),
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
}

#[test]
fn a_rotation_that_a_server_died_in_goes_on_at_another() {
    let server = Postgres::start();
    let home = Home::new();
    let url = server.url("postgres");
    let one = Node::start(&home, &["--storage", &url]);
    let root = home.root_token(&url);
    let (endpoint, calls) = endpoint();
    let body = format!("{{\"url\":\"{endpoint}\"}}");
    one.json("POST", "sys/aws/rotators/slow", &root, &body);
    assert_eq!(one.put("db", &root, "first"), 200);
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:slow";
    let words = [
        "rotate-secret",
        "--secret-id",
        "db",
        "--rotation-lambda-arn",
        arn,
    ];
    let rules = ["--rotation-rules", "{\"AutomaticallyAfterDays\":30}"];
    aws(&home, &one, &root, &[&words[..], &rules].concat());
    let first = calls.recv_timeout(DEADLINE).unwrap();
    assert!(first.contains("createSecret"), "{first}");

    // The other one leaves it alone while its holder lives.
    let two = Node::start(&home, &["--storage", &url]);
    wait(Duration::from_secs(3));
    assert!(calls.try_recv().is_err());
    drop(one);
    let second = calls.recv_timeout(DEADLINE).unwrap();
    assert_eq!(second, first, "the same step for the same version");
    wait_until(|| {
        let status = two.json("GET", "sys/aws/rotations/db", &root, "");
        status["data"]["run"]["failed_attempts"].as_u64() >= Some(1)
    });
    // Nobody is left with a value that does not work.
    assert_eq!(two.value("db", &root).as_deref(), Ok("first"));
}
