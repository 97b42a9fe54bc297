//! The commands about one secret, in other managers than the store.

use std::collections::BTreeSet;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::Value;

use crate::peers::Moto;
use crate::peers::OpenBao;
use crate::support::Case;
use crate::support::Outcome;

fn case_with(chain: &str) -> Case {
    Case::with_manifest(&format!(
        "[profiles.development]\nchain = [{chain}]\n[secrets.API_KEY]\npath = \"api/key\"\n"
    ))
}

/// A case whose secrets are in a server of its own.
fn in_openbao() -> (OpenBao, Case) {
    let bao = OpenBao::start();
    let case = case_with("\"vault:secret/shop\", \"env\"");
    bao.lead(&case);
    (bao, case)
}

/// Values that `API_KEY` gets one after the other.
fn two_versions(case: &Case) -> (String, String) {
    let (first, second) = (case.canary("first"), case.canary("second"));
    for value in [&first, &second] {
        case.sr("set API_KEY").stdin(value).ok();
    }
    (first, second)
}

/// The keys of a document, and of the first of its versions.
fn keys(document: &Value) -> (BTreeSet<&String>, BTreeSet<&String>) {
    let of = |value: &Value| value.as_object().unwrap().clone();
    let versions = document.get("versions").and_then(|it| it.get(0));
    let top = document.as_object().unwrap().keys().collect();
    assert!(!of(document).is_empty());
    let inner = versions.and_then(Value::as_object);
    (top, inner.into_iter().flat_map(|it| it.keys()).collect())
}

fn versions(history: &Value) -> Vec<&Value> {
    history["versions"].as_array().unwrap().iter().collect()
}

fn states(history: &Value) -> Vec<&str> {
    let versions = versions(history).into_iter();
    versions.map(|it| it["state"].as_str().unwrap()).collect()
}

/// The same line here and with a chain of the store: documents of the same shape.
fn has_the_shape_of_the_stores(line: &str, here: &Outcome, store: &Case) -> Value {
    let (here, there) = (here.json(), store.sr(line).ok().json());
    assert_eq!(keys(&here), keys(&there), "{line}");
    here
}

/// Every verb, in a backend with versions that brings back what was removed.
fn every_verb_works(case: &Case) {
    let store = case_with("\"store\"");
    let (first, second) = two_versions(case);
    two_versions(&store);
    let same = |line: &str| has_the_shape_of_the_stores(line, &case.sr(line).ok(), &store);

    let history = same("history API_KEY --json");
    assert_eq!(states(&history), ["live", "live"]);
    assert_eq!(history["path"], "shop/development/api/key");
    let rolled = same("rollback API_KEY --json");
    assert_eq!(rolled["value_of"], versions(&history)[0]["secret_version"]);
    assert_eq!(case.get("API_KEY"), first.as_bytes());
    case.sr("rollback API_KEY")
        .ok()
        .says("has the value of version");
    assert_eq!(case.get("API_KEY"), second.as_bytes());
    let history = case.sr("history api/key --json").ok().json();
    assert_eq!(versions(&history).len(), 4);
    let oldest = &versions(&history)[0]["secret_version"];
    let oldest = oldest
        .as_str()
        .map_or_else(|| oldest.to_string(), str::to_owned);
    case.sr(&format!("rollback API_KEY --version {oldest}"))
        .ok();
    assert_eq!(case.get("API_KEY"), first.as_bytes());
    case.sr("rollback API_KEY --version 99999999-0000-0000-0000-000000000000")
        .code(3)
        .says("strongroom history API_KEY");

    let tagged = same("tag API_KEY team=payments stage=old --description of-the-shop --json");
    assert_eq!(tagged["tags"]["team"], "payments");
    assert_eq!(tagged["description"], "of-the-shop");
    case.sr("tag API_KEY stage-").ok().says("team=payments");
    let history = case.sr("history API_KEY --json").ok().json();
    assert_eq!(history["tags"], serde_json::json!({"team": "payments"}));
    for option in [
        "--owner ops",
        "--expires 2031-01-01",
        "--rotate-every 30d",
        "--max-versions 5",
    ] {
        case.sr(&format!("tag API_KEY {option} --json"))
            .code(1)
            .says("backend.unsupported")
            .says("cannot keep");
    }

    same("cp API_KEY other/key --json");
    assert_eq!(case.get("other/key"), first.as_bytes());
    let copied = case.sr("history other/key --json").ok().json();
    assert_eq!(versions(&copied).len(), 5);
    assert_eq!(copied["tags"], serde_json::json!({"team": "payments"}));
    assert_eq!(copied["description"], "of-the-shop");
    case.sr("cp API_KEY other/key")
        .ok()
        .says("holds the same as API_KEY already");
    case.sr("set taken/key").stdin(&second).ok();
    case.sr("cp API_KEY taken/key")
        .code(6)
        .says("is there already");
    case.sr("cp nothing/here third/key").code(3);
    case.sr("cp API_KEY API_KEY").code(5);
    same("mv other/key third/key --json");
    assert_eq!(case.get("third/key"), first.as_bytes());
    case.sr("get other/key").code(3);

    let removed = same("rm API_KEY --json");
    assert_eq!(removed["done"], "deleted");
    assert_eq!(removed["secret_versions"].as_array().unwrap().len(), 1);
    case.sr("get API_KEY").code(3);
    let history = case.sr("history API_KEY --json").ok().json();
    assert_eq!(states(&history).last(), Some(&"deleted"));
    case.sr("rm API_KEY").ok().says("no version to be deleted");
    let back = same("undelete API_KEY --json");
    assert_eq!(back["secret_versions"], removed["secret_versions"]);
    assert_eq!(case.get("API_KEY"), first.as_bytes());
    case.sr("undelete API_KEY")
        .ok()
        .says("no version to be undeleted");
    for line in [
        "rm nothing/here",
        "undelete nothing/here",
        "history nothing",
    ] {
        case.sr(line).code(3);
    }
    case.sr("destroy third/key").code(2).says("for good?");
    let destroyed = same("destroy API_KEY --yes --json");
    assert_eq!(destroyed["done"], "destroyed");
    assert_eq!(destroyed["secret_versions"].as_array().unwrap().len(), 5);
    case.sr("destroy third/key --yes").ok().says("destroyed");
    case.sr("history third/key").code(3);
    case.sr("undelete API_KEY").code(3);
    assert!(
        !case.store("store.db").exists(),
        "nothing of this needs a store"
    );
}

#[test]
fn every_verb_works_with_openbao() {
    let (bao, case) = in_openbao();
    every_verb_works(&case);
    let gone = bao.ask("GET", "secret/metadata/shop/api/key", "");
    assert!(gone.starts_with("HTTP/1.1 404"), "{gone}");
}

#[test]
fn single_versions_are_removed_and_brought_back_with_openbao() {
    let (_bao, case) = in_openbao();
    let store = case_with("\"store\"");
    let values: Vec<String> = (0..4).map(|_| case.canary("value")).collect();
    for value in &values {
        case.sr("set API_KEY").stdin(value).ok();
        store.sr("set API_KEY").stdin(store.canary("value")).ok();
    }
    let same = |line: &str| {
        let (here, there) = (case.sr(line).ok().json(), store.sr(line).ok().json());
        assert_eq!(here, there, "{line}");
        let history = |case: &Case| {
            let history = case.sr("history API_KEY --json").ok().json();
            let states: Vec<String> = states(&history).iter().map(ToString::to_string).collect();
            states.join(" ")
        };
        let left = history(&case);
        assert_eq!(left, history(&store), "{line}");
        left
    };
    assert_eq!(
        same("rm API_KEY --versions 1,3,9 --json"),
        "deleted live deleted live"
    );
    assert_eq!(case.get("API_KEY"), values[3].as_bytes());
    assert_eq!(
        same("destroy API_KEY --versions 3,2 --yes --json"),
        "deleted destroyed destroyed live"
    );
    assert_eq!(
        same("undelete API_KEY --all-versions --json"),
        "live destroyed destroyed live"
    );
    assert_eq!(
        same("rm API_KEY --all-versions --json"),
        "deleted destroyed destroyed deleted"
    );
    case.sr("rm API_KEY --all-versions")
        .ok()
        .says("no version to be deleted");
    case.sr("undelete API_KEY --versions 4").ok().says("v4");
    assert_eq!(case.get("API_KEY"), values[3].as_bytes());
    case.sr("destroy API_KEY --all-versions")
        .code(2)
        .says("Destroy v1, v4 of API_KEY in vault:secret/shop for good?");
    assert_eq!(
        same("destroy API_KEY --all-versions --yes --json"),
        "destroyed destroyed destroyed destroyed"
    );
    case.sr("rm nothing/here --versions 1").code(3);
    case.sr("destroy nothing/here --versions 1 --yes").code(3);
}

/// Hands everything to a server but a request to delete: that one it holds, and tells of it.
struct Door {
    address: String,
    held: Receiver<()>,
}

impl Door {
    fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (tell, held) = channel();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(&server).unwrap();
                let tell = tell.clone();
                let (mut back, mut answers) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
                std::thread::spawn(move || hand_on(client, server, &tell));
            }
        });
        Self { address, held }
    }
}

fn hand_on(mut client: TcpStream, mut server: TcpStream, tell: &Sender<()>) {
    let mut bytes = [0; 1 << 16];
    while let Ok(count) = client.read(&mut bytes) {
        if count == 0 {
            return;
        }
        if bytes.starts_with(b"DELETE ") {
            let _ = tell.send(());
            // Until the client is gone.
            let _ = client.read(&mut bytes);
            return;
        }
        server.write_all(&bytes[..count]).unwrap();
    }
}

#[test]
fn a_move_that_is_killed_before_it_deletes_is_finished_by_the_same_line() {
    let (bao, case) = in_openbao();
    let (_, second) = two_versions(&case);
    case.sr("tag API_KEY team=payments").ok();
    let door = Door::before(bao.address());
    let mut moving = case
        .command(env!("CARGO_BIN_EXE_strongroom"))
        .args(["mv", "API_KEY", "other/key"])
        .env("VAULT_ADDR", &door.address)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    door.held.recv_timeout(Duration::from_secs(60)).unwrap();
    moving.kill().unwrap();
    moving.wait().unwrap();
    assert_eq!(case.get("API_KEY"), second.as_bytes());
    assert_eq!(case.get("other/key"), second.as_bytes());

    case.sr("mv API_KEY other/key")
        .ok()
        .says("other/key in vault:secret/shop holds the same as API_KEY already; removing API_KEY")
        .says("moved API_KEY to other/key");
    case.sr("get API_KEY").code(3);
    let moved = case.sr("history other/key --json").ok().json();
    assert_eq!(states(&moved), ["live", "live"]);
    assert_eq!(moved["tags"], serde_json::json!({"team": "payments"}));
}

#[test]
fn what_a_killed_copy_has_begun_is_told_from_what_is_in_the_way() {
    let (_bao, case) = in_openbao();
    let (first, second) = two_versions(&case);
    case.sr("set begun/key").stdin(&first).ok();
    case.sr("mv API_KEY begun/key")
        .code(6)
        .says("holds the first 1 of 2 versions")
        .says("strongroom destroy begun/key");
    case.sr("set taken/key").stdin(&second).ok();
    case.sr("mv API_KEY taken/key")
        .code(6)
        .says("is there already");
    // The same values, but somebody has tagged them.
    case.sr("cp API_KEY tagged/key").ok();
    case.sr("tag tagged/key team=others").ok();
    case.sr("tag API_KEY team=payments").ok();
    case.sr("mv API_KEY tagged/key")
        .code(6)
        .says("is there already");
    // The same values, and the tags were still to be written.
    case.sr("tag tagged/key team-").ok();
    case.sr("mv API_KEY tagged/key").ok();
    let moved = case.sr("history tagged/key --json").ok().json();
    assert_eq!(moved["tags"], serde_json::json!({"team": "payments"}));
}

#[test]
fn every_verb_works_with_aws() {
    let moto = Moto::start();
    let case = case_with("\"aws:us-east-1/shop\", \"env\"");
    moto.lead(&case);
    every_verb_works(&case);
    case.sr("set API_KEY").stdin(case.canary("value")).ok();
    for verb in ["rm", "undelete", "destroy"] {
        case.sr(&format!("{verb} API_KEY --all-versions"))
            .code(1)
            .says("an aws backend cannot")
            .says("versions one by one")
            .says("leave --versions and --all-versions out");
    }
    case.sr("destroy API_KEY --yes").ok();
    let gone = moto.call("DescribeSecret", r#"{"SecretId":"shop/api/key"}"#);
    assert!(gone.contains("ResourceNotFoundException"), "{gone}");
}

#[test]
fn a_backend_without_versions_says_what_it_cannot_do() {
    let bao = OpenBao::start();
    bao.ask("POST", "sys/mounts/old", r#"{"type":"kv"}"#);
    let case = case_with("\"vault:old\"");
    bao.lead(&case);
    case.sr("set API_KEY").stdin(case.canary("value")).ok();
    for line in ["history API_KEY", "rollback API_KEY"] {
        case.sr(line)
            .code(1)
            .says("vault:old: a vault backend cannot keep earlier versions")
            .says("strongroom get API_KEY");
    }
    case.sr("tag API_KEY team=payments")
        .code(1)
        .says("a vault backend cannot keep tags");
    case.sr("undelete API_KEY")
        .code(1)
        .says("cannot bring back what was removed")
        .says("strongroom set API_KEY writes it anew");
    // What nothing brings back is not removed without a yes.
    case.sr("rm API_KEY").code(2).says("for good?");
    case.sr("mv API_KEY other/key").ok().says("moved API_KEY");
    case.sr("get API_KEY").code(3);
    case.sr("rm other/key --yes").ok();
    case.sr("get other/key").code(3);
}

#[test]
fn a_file_before_the_store_is_where_the_verbs_work() {
    let case = case_with("\"dotenv:.env\", \"store\"");
    let (file, stored) = (case.canary("file"), case.canary("stored"));
    case.write_open(".env", format!("API_KEY={file}\n# kept\n"));
    case.set("/shop/development/api/key", &stored);
    case.sr("history API_KEY")
        .code(1)
        .says("dotenv:.env: a dotenv backend cannot keep earlier versions")
        .says("the store's own is named /shop/development/api/key");
    case.sr("history /shop/development/api/key")
        .ok()
        .prints("v1");
    case.sr("rm API_KEY --yes").ok();
    assert_eq!(case.read(".env"), b"# kept\n");
    assert_eq!(case.get("API_KEY"), stored.as_bytes());
    // One in the file, one in the store: that is for `migrate`.
    case.sr("cp API_KEY other/key")
        .code(2)
        .says("strongroom migrate");
}
