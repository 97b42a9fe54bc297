//! Key slots: any one opens the store, none is lost by accident.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;
use strongroom_testkit::openbao::exchange;
use strongroom_testkit::port::Port;

use crate::support::Case;
use crate::support::PROGRAM;

const PASSPHRASE_FILE: &str = "STRONGROOM_PASSPHRASE_FILE";

fn store_with(value: &str) -> Case {
    let case = Case::new();
    case.watch(value.as_bytes());
    case.set("token", value);
    case
}

/// Takes the key file away.
fn lose_key(case: &Case) {
    std::fs::rename(case.key_file(), case.path("config/lost.key")).unwrap();
}

#[test]
fn a_passphrase_opens_the_store() {
    let case = store_with("value-behind-a-passphrase");
    let phrase = case.canary("correct horse ");
    let file = case.write_open("phrase", format!("{phrase}\n"));
    let wrong = case.write_open("wrong", case.canary("wrong horse "));
    case.sr("key add passphrase @phrase --label mine")
        .ok()
        .says("added key slot 2 (passphrase)");
    lose_key(&case);
    case.sr("get token")
        .code(7)
        .says("nobody is there to type the passphrase");
    case.sr("get token")
        .env(PASSPHRASE_FILE, &wrong)
        .code(7)
        .says("the passphrase from the file does not open this store");
    case.sr("get token")
        .env(PASSPHRASE_FILE, "no-such-file")
        .code(7)
        .says("the passphrase file no-such-file cannot be read");
    let shown = case
        .sr("get token")
        .env(PASSPHRASE_FILE, &file)
        .reveals()
        .ok();
    assert_eq!(shown.stdout, b"value-behind-a-passphrase");
}

#[test]
fn a_short_passphrase_is_refused() {
    let case = store_with("value-of-the-token");
    case.sr("key add passphrase")
        .stdin("short\n")
        .code(2)
        .says("at least 8 characters");
    case.sr("key add passphrase hunter2hunter2")
        .code(2)
        .says("a value is never an argument");
}

#[test]
fn a_recovery_kit_opens_the_store() {
    let case = store_with("value-behind-a-kit");
    case.sr("key add recovery -o kit")
        .ok()
        .says("keep this recovery key away from this machine");
    let kit = case.in_project("kit");
    case.leave_open(&kit);
    case.watch(std::fs::read(&kit).unwrap().trim_ascii());
    case.sr("key add recovery -o kit").code(6);
    lose_key(&case);
    let shown = case
        .sr("get token")
        .env(PASSPHRASE_FILE, &kit)
        .reveals()
        .ok();
    assert_eq!(shown.stdout, b"value-behind-a-kit");
}

#[test]
fn a_recovery_kit_is_printed_once() {
    let case = store_with("value-of-the-token");
    let printed = case.sr("key add recovery").reveals().ok();
    let kit = printed.out();
    assert!(kit.starts_with("SRK1-"), "{kit}");
    case.watch(kit.trim().as_bytes());
    let json = case.sr("key add recovery --json").reveals().ok().json();
    assert!(json["recovery_key"].as_str().unwrap().starts_with("SRK1-"));
    case.sr("key list").ok().prints("recovery");
}

#[test]
fn a_second_key_file_opens_the_store() {
    let case = store_with("value-behind-two-keys");
    case.sr("key add key-file ../home/second.key")
        .ok()
        .says("added key slot 2 (key-file)");
    lose_key(&case);
    case.sr("get token").code(7).says("there is none");
    let shown = case
        .sr("get token --key-file ../home/second.key")
        .reveals()
        .ok();
    assert_eq!(shown.stdout, b"value-behind-two-keys");
}

#[test]
fn a_slot_is_removed_but_never_the_last() {
    let case = store_with("value-of-the-token");
    case.sr("key add key-file ../home/second.key").ok();
    case.sr("key remove 2").code(2).says("add --yes");
    case.sr("key remove 2 --yes")
        .ok()
        .says("copies of the store made before still open with it");
    case.sr("key remove 1 --yes")
        .code(2)
        .says("the last key slot cannot be removed");
    case.sr("key remove 9 --yes").code(3);
    case.sr("get token --key-file ../home/second.key")
        .code(7)
        .says("it does not open this store");
    assert_eq!(case.get("token"), b"value-of-the-token");
}

#[test]
fn after_a_rotation_every_value_opens() {
    let case = store_with("value-of-the-token");
    let more = case.canary("");
    case.set("more", &more);
    case.sr("key rotate")
        .ok()
        .says("data key 2 is in use; 2 secrets were sealed under it");
    let lazy = case.sr("key rotate --lazy --json").ok().json();
    assert_eq!(
        (&lazy["data_key"], &lazy["resealed"]),
        (&3.into(), &0.into())
    );
    assert_eq!(case.get("token"), b"value-of-the-token");
    assert_eq!(case.get("more"), more.as_bytes());
    let keys = case.sr("key list --json").ok().json();
    assert_eq!(keys["data_keys"].as_array().unwrap().len(), 3);
    case.sr("doctor").ok();
}

/// Whoever changes the keys keeps what somebody else has made since the store was opened.
#[test]
fn no_data_key_is_lost_by_rotations_at_once() {
    let case = store_with("value-of-the-token");
    let mut made = BTreeSet::from([1]);
    for round in 0..4 {
        let running: Vec<_> = (0..6)
            .map(|at| {
                let mut command = case.command(PROGRAM);
                let slot = format!("../home/{round}-{at}.key");
                match at % 3 {
                    2 => command.args(["key", "add", "key-file", &slot, "--json"]),
                    _ => command.args(["key", "rotate", "--json"]),
                };
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        for process in running {
            let output = process.wait_with_output().unwrap();
            if output.status.success() {
                let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
                made.extend(answer["data_key"].as_u64());
            } else {
                // Of several at once some are told to come again, and nothing else.
                let error: Value = serde_json::from_slice(&output.stderr).unwrap();
                assert_eq!(error["error"]["code"], "key.contended", "{error}");
            }
        }
        case.set(&format!("value-{round}"), case.canary(""));
    }
    let listed = case.sr("key list --json").ok().json();
    let listed = listed["data_keys"].as_array().unwrap();
    let kept: BTreeSet<u64> = listed
        .iter()
        .filter_map(|key| key["key"].as_u64())
        .collect();
    assert!(made.len() > 4, "hardly any was made: {made:?}");
    assert_eq!(kept, made);
    assert_eq!(case.get("token"), b"value-of-the-token");
    case.sr("doctor").ok();
}

/// The very next request is answered, whoever was quicker.
#[test]
fn a_server_goes_on_under_a_data_key_that_was_made_beside_it() {
    let case = Case::new();
    case.set("/app/one", case.canary("first"));
    let token = case.sr("operator root-token").reveals().ok().out();
    let port = Port::claim();
    let listen = format!("127.0.0.1:{}", port.number());
    let mut server = case
        .command(PROGRAM)
        .args(["serve", "--listen", &listen])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = format!(
        "GET /v1/secret/data/app/one HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         X-Vault-Token: {}\r\n\r\n",
        token.trim()
    );
    let mut answers = Vec::new();
    while exchange(port.number(), &request).is_empty() {
        assert!(server.try_wait().unwrap().is_none(), "the server has ended");
    }
    for round in 0..5 {
        case.sr("key rotate").ok();
        answers.push(exchange(port.number(), &request));
        case.set("/app/one", case.canary(&format!("{round}")));
        answers.push(exchange(port.number(), &request));
    }
    server.kill().unwrap();
    server.wait().unwrap();
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let case = store_with("value-of-the-token");
    let key = case.key_file();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    case.sr("get token")
        .code(7)
        .says("others can read it (mode 644)")
        .says("chmod 600");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    case.sr("key add recovery").ok();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).unwrap();
    case.sr("get token")
        .code(7)
        .says("(mode 640)")
        .says("chmod 600");
}

#[test]
fn a_bad_key_file_is_named_and_not_shown() {
    let case = store_with("value-of-the-token");
    let bad = case.canary("not a key ");
    case.leave_open(&case.key_file());
    std::fs::write(case.key_file(), &bad).unwrap();
    case.sr("get token")
        .code(7)
        .says("it is not a Strongroom key file");
    std::fs::remove_file(case.key_file()).unwrap();
    std::os::unix::fs::symlink("/dev/zero", case.key_file()).unwrap();
    case.sr("get token").code(7).says("cannot be used");
}
