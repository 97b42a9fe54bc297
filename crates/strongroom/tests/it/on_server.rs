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
    // Without a manifest, too, it is said which manager is in use, and how it is.
    let status = case.sr("status").ok();
    status
        .prints("backend")
        .prints("not used: the server stands");
    let status = case.sr("status --json").ok().json();
    assert_eq!(status["backends"][0]["ok"], true, "{status}");
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

#[test]
fn an_import_and_a_comparison_are_of_the_server() {
    let (case, served) = case();
    let (first, second) = (case.canary("Aa1"), case.canary("Bb2"));
    case.manifest(
        "[profiles.development]\n[profiles.staging]\n\
         [secrets.API_KEY]\npath = \"api/key\"\n[secrets.SESSION_KEY]\n",
    );
    let file = format!("API_KEY={first}\nSESSION_KEY={second}\n");
    case.write_open("old.env", file);
    case.sr("import old.env --yes")
        .ok()
        .says("imported 2 secrets");
    assert_eq!(case.get("API_KEY"), first.as_bytes());
    let (status, _) = served.ask("GET", "secret/data/shop/development/api/key", "root", "");
    assert_eq!(status, 200);
    case.sr("set API_KEY --profile staging").stdin(&second).ok();
    let differences = case.sr("diff staging").ok();
    let shown = differences.out();
    for words in ["api/key", "differs", "only in development"] {
        assert!(shown.contains(words), "{shown}");
    }
    assert!(!case.store("store.db").exists());
}

#[test]
fn a_sync_makes_the_server_like_its_source() {
    let (case, _served) = case();
    let value = case.canary("synced");
    case.write_open(".env", format!("API_KEY={value}\n"));
    let line = "sync --from dotenv:.env --to store";
    case.sr(&format!("{line} --dry-run --exit-code")).code(10);
    case.sr(&format!("{line} --yes")).ok().prints("1 to create");
    assert_eq!(case.get("API_KEY"), value.as_bytes());
    case.sr(&format!("{line} --dry-run --exit-code")).ok();
    let prune = "sync --from store --to dotenv:copy.env --yes";
    case.leave_open(&case.in_project("copy.env"));
    case.sr(prune).ok();
    let copy = String::from_utf8(case.read("copy.env")).unwrap();
    assert!(copy.contains(&value));
    assert!(!case.store("store.db").exists());
}

#[test]
fn a_migration_to_the_server_can_be_taken_back() {
    let (case, served) = case();
    let value = case.canary("moved");
    let file = format!("API_KEY={value}\n");
    case.write_open(".env", &file);
    case.sr("migrate --from dotenv:.env --to store --yes").ok();
    assert_eq!(case.get("API_KEY"), value.as_bytes());
    assert!(!String::from_utf8_lossy(&case.read(".env")).contains(&value));
    case.sr("migrate verify").ok();
    // It is about this server, and no other place.
    let other = case
        .sr("migrate rollback --yes --server http://127.0.0.1:9")
        .code(2);
    other.says(&format!("--server http://{}", served.address));
    case.sr("migrate rollback --yes").ok();
    assert_eq!(case.read(".env"), file.as_bytes());
    case.sr("get API_KEY").code(3);
}

#[test]
fn a_servers_backup_is_restored_to_it() {
    let (case, _served) = case();
    let (old, new) = (case.canary("old"), case.canary("new"));
    case.sr("set API_KEY").stdin(&old).ok();
    case.sr("set API_KEY").stdin(&new).ok();
    case.sr("backup all.backup --backup-key backup.key").ok();
    case.sr("destroy API_KEY --yes").ok();
    case.sr("get API_KEY").code(3);
    case.sr("restore all.backup --backup-key backup.key --yes")
        .ok();
    assert_eq!(case.get("API_KEY"), new.as_bytes());
    case.sr("rollback API_KEY").ok();
    assert_eq!(case.get("API_KEY"), old.as_bytes());
}

#[test]
fn the_ledger_of_a_server_is_asked_and_revoked() {
    let (case, _served) = case();
    let value = case.canary("first");
    case.sr("set API_KEY").stdin(&value).ok();
    case.sr("run -- true").ok();
    let found = case.sr("ledger where API_KEY --json").ok().json();
    let row = &found["exposures"][0];
    assert_eq!(
        (&row["channel"], &row["who"]),
        (&"server".into(), &"root".into()),
        "{found}"
    );
    let (count, id) = (
        row["count"].as_u64().unwrap(),
        row["delivery"].as_str().unwrap(),
    );
    assert!(count >= 1, "{found}");
    case.sr(&format!("ledger show {id}")).ok().prints("api/key");
    case.sr("ledger who root").ok().prints("current");
    let listed = case
        .sr("ledger list --channel server -n 1 --json")
        .ok()
        .json();
    assert_eq!(
        (&listed["version"], &listed["count"]),
        (&1.into(), &1.into())
    );
    case.sr("ledger show 00ff").code(3);
    // What lists show can be asked for: a short id, and a place as it stands there.
    let shown = case.sr("ledger list").ok();
    let (short, place) = (&id[..20], "secret/shop/development/api/key");
    let shown = shown.prints(&format!("{place} v1")).prints(short);
    assert!(!shown.out().contains(id), "{}", shown.out());
    case.sr(&format!("ledger show {short}")).ok().prints("v1");
    let by_place = case.sr(&format!("ledger where {place}")).ok();
    assert!(by_place.out().contains("root"), "{}", by_place.out());
    case.sr("ledger where NOTHING")
        .ok()
        .says("no value was given to anybody");
    case.sr("ledger who somebody-else")
        .ok()
        .says("was given nothing");
    case.sr("ledger due --exit-code").ok();
    let planned = case
        .sr("ledger revoke --secret API_KEY --dry-run --json")
        .ok()
        .json();
    assert_eq!(planned["secrets"][0]["action"], "mark");
    case.sr("ledger revoke --secret API_KEY --reason leaked --yes")
        .ok()
        .prints("marked");
    case.sr("ledger due --exit-code").code(10).prints("leaked");
    let newer = case.canary("newer");
    case.sr("set API_KEY").stdin(&newer).ok();
    case.sr("ledger due --exit-code")
        .ok()
        .says("nothing that was revoked");
    case.sr("ledger where API_KEY")
        .ok()
        .prints("revoked, replaced");
    case.sr("ledger revoke --who nobody --yes").code(3);
    case.sr("ledger done API_KEY").code(2);
}
