use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pollster::block_on;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::Payload;
use strongroom_testkit::backend_contract;
use tempfile::TempDir;

use super::*;

/// A plugin in Python that keeps secrets in a JSON file beside it.
const PLUGIN: &str = r#"#!/usr/bin/env python3
import json, os, sys
q = json.load(sys.stdin)
path = os.path.join(os.path.dirname(os.path.realpath(sys.argv[0])), "kept.json")
kept = json.load(open(path)) if os.path.exists(path) else {}
def answer(**more):
    print(json.dumps({"protocol": 1, **more}))
    sys.exit(0)
def save():
    with open(path, "w") as f:
        json.dump(kept, f)
op = q["operation"]
if op == "describe":
    answer(operations=["read", "list", "write", "remove"])
if op == "read":
    answer(items={a: kept[a] for a in q["addresses"] if a in kept})
if op == "list":
    answer(addresses=list(kept))
a = q["address"]
if op == "write":
    new = {"value": q["value"]} if "value" in q else {"base64": q["base64"]}
    if q["expected"] == "absent" and a in kept:
        answer(error={"kind": "conflict", "message": "it is there"})
    is_new = kept.get(a) != new
    kept[a] = new
    save()
    answer(is_new=is_new)
if op == "remove":
    was_there = kept.pop(a, None) is not None
    save()
    answer(was_there=was_there)
"#;

fn put(folder: &Path, name: &str, text: &str) {
    let path = folder.join(format!("strongroom-backend-{name}"));
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn open(folder: &Path, name: &str) -> Result<Box<dyn Backend>, BackendError> {
    let settings = ExecSettings {
        name: name.to_owned(),
        folders: vec![folder.to_owned()],
        options: [("region".to_owned(), "eu".to_owned())].into(),
        time: Duration::from_secs(60),
    };
    exec(
        settings,
        &Variables::new([("PATH", "/usr/local/bin:/usr/bin:/bin")]),
    )
}

fn kept() -> (Box<dyn Backend>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "kept", PLUGIN);
    (open(folder.path(), "kept").unwrap(), folder)
}

backend_contract!(contract, block_on, kept());

fn failure(script: &str) -> BackendError {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "x", &format!("#!/bin/sh\n{script}\n"));
    match open(folder.path(), "x") {
        Ok(backend) => {
            let value = NewValue::new(Payload::detect(SecretValue::copy_from(b"canary-0d")));
            block_on(backend.write("a", &value)).unwrap_err()
        }
        Err(error) => error,
    }
}

#[test]
fn names_that_are_paths_or_options_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(33);
    for name in [
        "../x", "/bin/sh", "a\0b", "", "A", "a b", "a.b", "a_b", "é", &long,
    ] {
        let error = open(folder.path(), name).err().unwrap();
        assert_eq!(error.kind, BackendErrorKind::Misconfigured, "{name:?}");
        assert!(!error.to_string().contains("/bin/sh"));
    }
    let error = open(folder.path(), &"x".repeat(32)).err().unwrap();
    assert!(error.message.ends_with("is not installed"), "{error}");
}

#[test]
fn what_a_plugin_does_wrong_is_named() {
    let kind_of = |script: &str| failure(script).kind;
    assert_eq!(kind_of("echo '{'"), BackendErrorKind::Malformed);
    assert_eq!(kind_of("echo '{}'"), BackendErrorKind::Malformed);
    assert_eq!(
        kind_of("echo '{\"protocol\":2}'"),
        BackendErrorKind::Malformed
    );
    assert_eq!(kind_of("exit 3"), BackendErrorKind::Unreachable);
    let denied =
        "echo '{\"protocol\":1,\"error\":{\"kind\":\"denied\",\"message\":\"no\\u001b\"}}'";
    let error = failure(denied);
    assert_eq!(error.kind, BackendErrorKind::Denied);
    assert_eq!(error.message, "the plugin says: no\\u{1b}");
    let read_only = "echo '{\"protocol\":1,\"operations\":[\"read\"]}'";
    assert_eq!(kind_of(read_only), BackendErrorKind::Unsupported);
}

#[test]
fn a_message_that_repeats_the_value_is_not_shown() {
    let script = r#"q=$(/bin/cat)
        case "$q" in
        *describe*) echo '{"protocol":1,"operations":["read","write"]}';;
        *) echo '{"error":{"message":"bad canary-0d"}}';;
        esac"#;
    let error = failure(script);
    assert!(
        error.message.ends_with("since it repeats the value"),
        "{error}"
    );
    let script = r#"q=$(/bin/cat)
        case "$q" in
        *describe*) echo '{"protocol":1,"operations":["read","write"]}';;
        *) echo "$q" >&2; exit 1;;
        esac"#;
    assert_eq!(failure(script).message, "the plugin ended with code 1");
}

#[test]
fn an_item_without_a_value_is_malformed_and_not_missing() {
    let folder = tempfile::tempdir().unwrap();
    let script = "#!/bin/sh\necho '{\"protocol\":1,\"operations\":[\"read\"],\
                  \"items\":{\"a\":{},\"b\":null,\"c\":{\"base64\":\"/w==\"}}}'\n";
    put(folder.path(), "x", script);
    let backend = open(folder.path(), "x").unwrap();
    let read = |address: &'static str| {
        block_on(backend.read(address, &VersionRef::Current))
            .map(|found| found.map(|item| item.payload.value.expose_secret().to_vec()))
    };
    assert_eq!(read("a").unwrap_err().kind, BackendErrorKind::Malformed);
    assert_eq!(read("b").unwrap(), None);
    assert_eq!(read("c").unwrap().unwrap(), [0xff]);
    assert_eq!(read("d").unwrap(), None);
}
