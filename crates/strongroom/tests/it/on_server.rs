//! The command line with a server in the store's place.

use crate::served::Served;
use crate::support::Case;

/// A project whose store is a server, and the server.
fn case() -> (Case, Served) {
    let (case, served) = (Case::new(), Served::dev());
    case.manifest(
        "[profiles.development]\nchain = [\"store\", \"env\"]\n\
         [secrets.API_KEY]\npath = \"api/key\"\n[secrets.SESSION_KEY]\nrequired = false\n",
    );
    case.env("STRONGROOM_ADDR", format!("http://{}", served.address));
    case.env("STRONGROOM_TOKEN", "root");
    (case, served)
}

#[test]
fn a_server_does_what_the_store_does() {
    let (case, served) = case();
    let (first, second) = (case.canary("first"), case.canary("second"));
    case.sr("check").code(5).prints("API_KEY is missing");
    case.sr("set API_KEY").stdin(&first).ok();
    let (status, body) = served.ask("GET", "secret/data/shop/development/api/key", "root", "");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains(&format!("\"value\":\"{first}\"")), "{body}");
    case.sr("check").ok().prints("server");
    assert_eq!(case.get("API_KEY"), first.as_bytes());
    case.sr("set API_KEY").stdin(&second).ok();
    case.sr("history API_KEY").ok().prints("v2");
    case.sr("rollback API_KEY").ok();
    assert_eq!(case.get("API_KEY"), first.as_bytes());
    case.sr("list").ok().prints("api/key");
    let run = case.sr("run -- printenv API_KEY").ok();
    assert!(run.out().contains("[redacted:API_KEY]"), "{}", run.out());
    run.says("server 1");
    case.sr("export").reveals().ok().prints(&first);
    case.sr("tag API_KEY team=shop").ok();
    case.sr("cp API_KEY SESSION_KEY").ok();
    assert_eq!(case.get("SESSION_KEY"), first.as_bytes());
    case.sr("rm API_KEY").ok();
    case.sr("get API_KEY").code(3);
    case.sr("undelete API_KEY").ok();
    case.sr("destroy API_KEY --yes").ok();
    case.sr("get API_KEY").code(3);
    assert!(
        !case.store("store.db").exists(),
        "a store was made beside the server"
    );
}

#[test]
fn a_path_from_the_root_is_the_servers_too() {
    let (case, _served) = case();
    let value = case.canary("shared");
    case.sr("set /shared/key").stdin(&value).ok();
    let got = case.sr("get /shared/key").reveals().ok();
    assert_eq!(got.out(), value);
    std::fs::remove_file(case.in_project("strongroom.toml")).unwrap();
    let got = case.sr("get shared/key").reveals().ok();
    assert_eq!(got.out(), value);
}

#[test]
fn what_is_wrong_with_a_server_is_told_with_its_own_variables() {
    let (case, served) = case();
    case.env("STRONGROOM_TOKEN", "canary-of-nobody");
    case.watch(b"canary-of-nobody");
    case.sr("check").code(4).prints("STRONGROOM_TOKEN");
    case.env("STRONGROOM_TOKEN", "");
    case.sr("check").code(4).prints("STRONGROOM_TOKEN");
    drop(served);
    case.env("STRONGROOM_TOKEN", "root");
    case.sr("check").code(8).prints("STRONGROOM_ADDR");
    case.sr("check --server ftp://x")
        .code(2)
        .says("STRONGROOM_ADDR");
    for line in ["key list", "doctor", "audit"] {
        case.sr(line).code(2).says("works on a store file");
    }
}
