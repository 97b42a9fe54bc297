//! `audit query` and `audit tail` on the files of a server, and on the store's own log.

use std::cell::Cell;
use std::io::BufRead;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;
use strongroom_testkit::port::Port;

use crate::served::Served;
use crate::support::Case;
use crate::support::PROGRAM;
use crate::support::Run;

const VALUE: &str = "canary-51fe";

fn put(served: &Served, name: &str, token: &str) -> u16 {
    let body = format!(r#"{{"data":{{"k":"{VALUE}"}}}}"#);
    served
        .ask("PUT", &format!("secret/data/{name}"), token, &body)
        .0
}

#[test]
fn requests_of_a_server_are_found_by_what_they_were() {
    let (served, case) = (Served::dev(), Case::new());
    assert_eq!(put(&served, "one", "root"), 200);
    assert_eq!(put(&served, "two", "hvs.nobody"), 403);
    assert_eq!(served.ask("GET", "secret/data/one", "root", "").0, 200);
    let folder = served.folder().display();
    let query = |filters: &str| {
        let line = format!("audit query {folder} {filters} --json");
        let found = case.sr(&line).ok();
        assert!(!found.out().contains(VALUE), "{}", found.out());
        found.json()["events"].as_array().unwrap().clone()
    };
    let paths = |events: &[Value]| {
        let path = |event: &Value| event["path"].as_str().unwrap().to_owned();
        events.iter().map(path).collect::<Vec<_>>()
    };
    let all = query("");
    assert_eq!(
        paths(&all),
        ["secret/data/one", "secret/data/two", "secret/data/one"]
    );
    assert_eq!(all[0]["actor"], "root");
    assert_eq!(all[0]["status"], 200);
    let hash = all[0]["request"]["data"]["k"].as_str().unwrap();
    assert!(hash.starts_with("hmac-sha256:"), "{hash}");
    assert_eq!(paths(&query("--outcome denied")), ["secret/data/two"]);
    assert_eq!(query("--operation read --actor root").len(), 1);
    assert_eq!(query("--path secret/data/t --error denied").len(), 1);
    assert_eq!(query("--until 2020-01-01").len(), 0);
    assert_eq!(query("--since 1h -n 2").len(), 2);
    let table = case
        .sr(&format!("audit query {folder}/audit.log"))
        .ok()
        .out();
    assert!(table.contains("denied 403"), "{table}");
    case.sr("audit query no/such/folder").code(1);
    case.sr("audit query --since tomorrowish").code(2);
    case.sr("audit query --error x").code(2);
}

#[test]
fn tail_goes_on_in_a_new_file() {
    let (served, case) = (Served::dev(), Case::new());
    assert_eq!(put(&served, "one", "root"), 200);
    let log = served.folder().join("audit.log");
    let mut tail = Command::new(PROGRAM)
        .args(["audit", "tail", "-f", "-n", "1", "--json"])
        .arg(&log)
        .env_clear()
        .env("HOME", served.folder())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = || {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        line["path"].as_str().unwrap().to_owned()
    };
    assert_eq!(next(), "secret/data/one");
    assert_eq!(put(&served, "two", "root"), 200);
    assert_eq!(next(), "secret/data/two");
    std::fs::rename(&log, log.with_file_name("audit.log.1")).unwrap();
    served.hang_up();
    served.wait_until(|| log.exists());
    assert_eq!(put(&served, "three", "root"), 200);
    assert_eq!(next(), "secret/data/three");
    tail.kill().unwrap();
    tail.wait().unwrap();
    let folder = served.folder().display();
    let all = case.sr(&format!("audit query {folder} --json")).ok().json();
    assert_eq!(all["events"].as_array().unwrap().len(), 3, "{all}");
}

#[test]
fn the_log_of_the_store_is_searched_alike() {
    let case = Case::new();
    case.sr("set /shop/one").stdin(VALUE).ok();
    case.sr("get /shop/one").ok();
    let found = case
        .sr("audit query --operation read --path /shop/ --json")
        .ok()
        .json();
    let events = found["events"].as_array().unwrap();
    assert_eq!(events.len(), 1, "{found}");
    assert_eq!(events[0]["paths"][0], "shop/one");
    let line = case.sr("audit tail -n 1 --operation write").ok().out();
    assert!(
        line.contains("/shop/one") && line.lines().count() == 1,
        "{line}"
    );
}

/// A process that ends with the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two chains in one file would break each other.
#[test]
fn a_second_server_does_not_write_to_the_log_of_the_first() {
    let case = Case::new();
    case.set("/there", case.canary(""));
    let serve = || {
        let child = case
            .command(PROGRAM)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Ended(child.unwrap())
    };
    // What it prints until it serves, or until it has ended.
    let said = |served: &mut Ended| {
        let mut text = String::new();
        let mut out = BufReader::new(served.0.stderr.take().unwrap());
        while !text.contains("serving") && out.read_line(&mut text).unwrap() > 0 {}
        text
    };
    let mut first = serve();
    let text = said(&mut first);
    assert!(text.contains("serving"), "{text}");
    let text = said(&mut serve());
    assert!(text.contains("another process writes it"), "{text}");
    drop(first);
    let text = said(&mut serve());
    assert!(text.contains("serving"), "{text}");
}

/// A server of a case's store with an audit folder of its own, and what it says.
struct Logged<'c> {
    case: &'c Case,
    folder: PathBuf,
    port: Port,
    served: Option<Ended>,
    said: Box<dyn Iterator<Item = String>>,
}

impl<'c> Logged<'c> {
    fn start(case: &'c Case, folder: &str) -> Self {
        let mut logged = Self {
            case,
            folder: case.path(folder),
            port: Port::claim(),
            served: None,
            said: Box::new(std::iter::empty()),
        };
        logged.serve();
        logged
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    fn serve(&mut self) {
        let child = self
            .case
            .command(PROGRAM)
            .args(["serve", "--listen", &self.address()])
            .arg("--audit-folder")
            .arg(&self.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut served = Ended(child.unwrap());
        let out = BufReader::new(served.0.stderr.take().unwrap());
        self.served = Some(served);
        self.said = Box::new(out.lines().map(Result::unwrap));
        self.hears("serving");
    }

    /// Waits until the server says something.
    fn hears(&mut self, what: &str) {
        assert!(self.said.any(|line| line.contains(what)));
    }

    fn tell(&self, signal: &str) {
        let id = self.served.as_ref().unwrap().0.id().to_string();
        let told = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(told.success());
    }

    fn stop(&mut self) {
        self.tell("-TERM");
        let mut served = self.served.take().unwrap();
        assert!(served.0.wait().unwrap().success());
    }

    fn ask(&self) {
        let line = format!("--server http://{} get nothing", self.address());
        self.case.sr(&line).code(4);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn verify(&self, name: &str) -> Run<'_> {
        let file = self.file(name);
        let line = format!("audit verify {} --json", file.display());
        self.case.sr(&line)
    }

    fn lines(&self, name: &str) -> u64 {
        self.verify(name).ok().json()["lines"].as_u64().unwrap()
    }

    /// Cuts the last line off.
    fn cut(&self, name: &str) {
        let text = std::fs::read_to_string(self.file(name)).unwrap();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let (_, left) = lines.split_last().unwrap();
        std::fs::write(self.file(name), left.concat()).unwrap();
    }
}

/// What is known of the old file's end says nothing of the new one, and is not forgotten.
#[test]
fn a_file_begun_after_a_rotation_verifies() {
    let case = Case::new();
    case.set("/there", case.canary(""));
    case.env("STRONGROOM_TOKEN", "canary-of-nobody");
    let mut server = Logged::start(&case, "audit");
    for _ in 0..5 {
        server.ask();
    }
    server.stop();
    let before = server.lines("audit.log");
    assert!(before >= 5, "{before}");
    server.serve();
    server.ask();
    std::fs::rename(server.file("audit.log"), server.file("audit.log.1")).unwrap();
    server.tell("-HUP");
    server.hears("opened anew");
    server.ask();
    server.stop();
    let (old, after) = (server.lines("audit.log.1"), server.lines("audit.log"));
    assert!(old > before, "{old}, {before} before");
    assert!(after > 0 && after < before, "{after}, {before} before");
    let all = server.verify("").ok().json();
    assert_eq!(all["lines"], old + after);
    assert_eq!(all["files"].as_array().unwrap().len(), 2);
    assert_eq!(all["files"][1]["lines"], old);
    // The old one, too, was noted to its end.
    server.cut("audit.log.1");
    let cut = server.verify("audit.log.1").code(5);
    assert!(cut.err().contains("the end was cut off"), "{}", cut.err());
    std::fs::write(server.file("audit.log"), "").unwrap();
    let emptied = server.verify("audit.log").code(5);
    let said = format!("it is empty, and {after} lines were written here");
    assert!(emptied.err().contains(&said), "{}", emptied.err());
}

#[test]
fn where_no_server_was_there_is_nothing_to_verify() {
    let case = Case::new();
    case.set("/there", case.canary(""));
    let none = case.sr("audit verify").code(1);
    assert!(
        none.err().contains("no server has written"),
        "{}",
        none.err()
    );
    assert!(none.err().contains("doctor"), "{}", none.err());
    let none = case.sr("audit verify nowhere.log").code(1);
    assert!(none.err().contains("nowhere.log cannot be read"));
    // The older name of the command.
    case.sr("operator verify-audit nowhere.log").code(1);
}

/// Many servers on one store call their files the same.
#[test]
fn files_of_one_name_of_two_servers_verify() {
    let case = Case::new();
    case.set("/there", case.canary(""));
    case.env("STRONGROOM_TOKEN", "canary-of-nobody");
    let mut first = Logged::start(&case, "first");
    let mut second = Logged::start(&case, "second");
    for _ in 0..5 {
        first.ask();
    }
    second.ask();
    // In both orders one of them is noted last.
    first.stop();
    second.stop();
    for server in [&first, &second] {
        assert!(server.lines("audit.log") > 0);
        server.cut("audit.log");
        let cut = server.verify("audit.log").code(5);
        assert!(cut.err().contains("the end was cut off"), "{}", cut.err());
    }
}

/// Between the move and the hang-up nothing is refused, and no line is missing.
#[test]
fn a_log_that_is_moved_away_goes_on_in_a_new_file() {
    let (served, case) = (Served::dev(), Case::new());
    let log = served.folder().join("audit.log");
    let asked = Cell::new(0);
    let put = || {
        asked.set(asked.get() + 1);
        assert_eq!(put(&served, "one", "root"), 200);
    };
    put();
    std::fs::rename(&log, log.with_file_name("audit.log.1")).unwrap();
    served.wait_until(|| {
        put();
        log.exists()
    });
    served.hang_up();
    served.wait_until(|| served.log().contains("opened anew"));
    put();
    let folder = served.folder().display();
    let all = case.sr(&format!("audit query {folder} --json")).ok().json();
    assert_eq!(all["events"].as_array().unwrap().len(), asked.get());
    // One that was deleted has lines that nobody can read any more.
    std::fs::remove_file(&log).unwrap();
    served.wait_until(|| self::put(&served, "one", "root") >= 500);
    served.hang_up();
    served.wait_until(|| self::put(&served, "one", "root") == 200);
}
