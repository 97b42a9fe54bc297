//! Kept answers of servers: with a real OpenBao, and without it once it is gone.

use std::path::PathBuf;

use crate::peers::Moto;
use crate::peers::OpenBao;
use crate::support::Case;
use crate::support::mode;

const MANIFEST: &str = "[profiles.development]\nchain = [\"vault:secret/shop\", \"env\"]\n\
                        [secrets.API_KEY]\npath = \"api/key\"\n\
                        [secrets.MAIL_TOKEN]\npath = \"mail/token\"\nrequired = false\n";

/// A project on an OpenBao, a store beside it, and the value of `API_KEY`.
fn shop(bao: &OpenBao, manifest: &str) -> (Case, String) {
    let case = Case::with_manifest(manifest);
    bao.lead(&case);
    let value = case.canary("kept");
    put(bao, &value);
    case.sr("set /note").stdin("makes the store").ok();
    (case, value)
}

fn put(bao: &OpenBao, value: &str) {
    put_at(bao, "api/key", value);
}

fn put_at(bao: &OpenBao, path: &str, value: &str) {
    let body = format!(r#"{{"data":{{"value":"{value}"}}}}"#);
    let answer = bao.ask("POST", &format!("secret/data/shop/{path}"), &body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// What `get` prints and says.
fn get(case: &Case, options: &str) -> (String, String) {
    let got = case.sr(&format!("get API_KEY {options}")).reveals().ok();
    (got.out(), got.err())
}

fn file(case: &Case) -> PathBuf {
    let files = std::fs::read_dir(case.cache()).unwrap().flatten();
    let mut found = files.filter(|it| it.path().extension().is_some_and(|end| end == "cache"));
    let file = found.next().unwrap().path();
    assert!(found.next().is_none());
    file
}

#[test]
fn nothing_is_kept_unless_it_is_asked_for() {
    let bao = OpenBao::start();
    let (case, value) = shop(&bao, MANIFEST);
    assert_eq!(get(&case, ""), (value, String::new()));
    case.sr("check").ok();
    case.sr("run -- true").ok();
    assert!(!case.cache().exists());
    case.sr("cache clear").ok().says("there was no cache");
    case.sr("cache status").ok().says("nothing is kept");
}

#[test]
fn a_kept_answer_is_used_without_the_server_and_it_is_told() {
    let bao = OpenBao::start();
    let (case, value) = shop(&bao, MANIFEST);
    case.sr("check --max-age 1h").ok();
    drop(bao);
    let (out, err) = get(&case, "--max-age 1h");
    assert_eq!(out, value);
    assert!(err.starts_with("cached 1 (vault:secret/shop, "), "{err}");
    assert!(err.trim_end().ends_with(" old)"), "{err}");
    case.sr("run --max-age 1h -- printenv API_KEY")
        .ok()
        .says("cached 1 (vault:secret/shop, ")
        .says("cached: vault:secret/shop had no 1 of those asked for")
        .prints("[redacted:API_KEY]");
    let checked = case.sr("check --max-age 1h --json").ok().json();
    let secret = &checked["secrets"][0];
    assert_eq!(secret["source"], "vault:secret/shop");
    assert!(secret["cached"]["age_seconds"].as_i64().unwrap() < 600);
    assert!(secret["cached"]["fetched"].is_string());
    assert!(checked["secrets"][1]["cached"].is_null());
    let got = case.sr("get API_KEY --max-age 1h --json").reveals().ok();
    assert!(got.json()["cached"]["age_seconds"].is_number());
    case.sr("check --max-age 1h")
        .ok()
        .prints("vault:secret/shop (cached, ");
    // Too old, and nobody there to ask.
    case.sr("get API_KEY --max-age 0").code(8);
    case.sr("get API_KEY").code(8);
    case.sr("run --max-age 0 -- true").code(8);
}

#[test]
fn a_kept_answer_is_flagged_where_the_others_cannot_be_had() {
    let bao = OpenBao::start();
    let mut manifest = MANIFEST.to_owned();
    for number in 0..40 {
        manifest.push_str(&format!("[secrets.OTHER_{number}]\nrequired = false\n"));
    }
    let (case, _) = shop(&bao, &manifest);
    get(&case, "--max-age 1h");
    drop(bao);
    let told = "cached 1 (vault:secret/shop, ";
    case.sr("check --max-age 1h")
        .code(8)
        .says(told)
        .prints("vault:secret/shop (cached, ");
    let checked = case.sr("check --max-age 1h --json").code(8).says(told);
    let checked = checked.json();
    assert_eq!(checked["problems"][0]["code"], "backend.unreachable");
    assert_eq!(checked["problems"].as_array().unwrap().len(), 1);
    let is_kept = |secret: &&serde_json::Value| secret["cached"]["age_seconds"].is_number();
    let secrets = checked["secrets"].as_array().unwrap();
    let kept: Vec<_> = secrets.iter().filter(is_kept).collect();
    assert_eq!((kept.len(), &kept[0]["name"]), (1, &"API_KEY".into()));
}

#[test]
fn offline_asks_nobody_and_says_what_is_not_kept() {
    let bao = OpenBao::start();
    let (case, value) = shop(&bao, MANIFEST);
    case.sr("get API_KEY --offline")
        .code(8)
        .says("the cache has no answer about API_KEY, and --offline asks nobody")
        .says("strongroom check --max-age 1h");
    case.sr("get API_KEY --max-age 1h").reveals().ok();
    // The other secret was never asked for: that is no "not found".
    case.sr("run --offline -- true").code(8).says("MAIL_TOKEN");
    case.sr("check --max-age 1h").ok();
    put(&bao, &case.canary("newer"));
    // The server is there, and is not asked.
    assert_eq!(get(&case, "--offline").0, value);
    let by_variable = case.sr("get API_KEY").env("STRONGROOM_OFFLINE", "yes");
    assert_eq!(by_variable.reveals().ok().out(), value);
    let by_variable = case.sr("get API_KEY").env("STRONGROOM_MAX_AGE", "1h");
    assert_eq!(by_variable.reveals().ok().out(), value);
    case.sr("get API_KEY --max-age 1h")
        .env("STRONGROOM_MAX_AGE", "0")
        .reveals()
        .ok()
        .says("cached 1");
    case.sr("run --offline -- true").ok().says("cached 1");
    case.sr("get API_KEY --offline --max-age 0")
        .code(8)
        .says("too old");
    case.sr("get api/key --version 1 --offline").code(2);
    case.sr("get API_KEY --max-age soon").code(2);
}

#[test]
fn the_server_is_asked_again_when_an_answer_is_too_old() {
    let bao = OpenBao::start();
    let (case, old) = shop(&bao, MANIFEST);
    assert_eq!(get(&case, "--max-age 1h"), (old.clone(), String::new()));
    let new = case.canary("newer");
    put(&bao, &new);
    assert_eq!(get(&case, "--max-age 1h").0, old);
    assert_eq!(get(&case, "--max-age 0"), (new.clone(), String::new()));
    // The answer is kept in place of the old one.
    assert_eq!(get(&case, "--max-age 1h").0, new);
}

#[test]
fn an_entry_of_the_chain_can_ask_for_it() {
    let bao = OpenBao::start();
    let manifest = MANIFEST.replace("secret/shop", "secret/shop?max-age=1h");
    let (case, value) = shop(&bao, &manifest);
    case.sr("check").ok();
    drop(bao);
    let (out, err) = get(&case, "");
    assert_eq!(out, value);
    assert!(err.contains("cached 1 (vault:secret/shop, "), "{err}");
    // The command line wins.
    case.sr("get API_KEY --max-age 0").code(8);
    case.manifest(&MANIFEST.replace("secret/shop", "secret/shop?max-age=soon"));
    case.sr("check").code(2).says("max-age");
    case.manifest(&MANIFEST.replace("\"env\"", "\"env?max-age=1h\""));
    case.sr("check").code(2).says("over a network");
}

#[test]
fn what_the_server_takes_back_is_not_kept() {
    let bao = OpenBao::start();
    let (case, _) = shop(&bao, MANIFEST);
    get(&case, "--max-age 1h");
    bao.ask("DELETE", "secret/metadata/shop/api/key", "");
    case.sr("get API_KEY --max-age 0").code(3);
    case.sr("get API_KEY --offline").code(3);
    // What was not there is asked for again at once.
    let again = case.canary("again");
    put(&bao, &again);
    assert_eq!(get(&case, "--max-age 1h").0, again);
    // Who may not read it any more does not get what is kept.
    let policy = |rule: &str| {
        let body = format!(r#"{{"policy":"path \"secret/*\" {{ capabilities = [{rule}] }}"}}"#);
        bao.ask("POST", "sys/policies/acl/shop", &body);
    };
    policy(r#"\"read\""#);
    let token = bao.ask("POST", "auth/token/create", r#"{"policies":["shop"]}"#);
    let (_, token) = token.split_once("\"client_token\":\"").unwrap();
    let (token, _) = token.split_once('"').unwrap();
    case.env("VAULT_TOKEN", token);
    get(&case, "--max-age 1h");
    policy(r#"\"deny\""#);
    assert_eq!(get(&case, "--offline").0, again);
    case.sr("get API_KEY --max-age 0").code(4);
    case.sr("get API_KEY --offline").code(8).says("no answer");
}

#[test]
fn nobody_gets_an_answer_that_was_somebody_elses() {
    let bao = OpenBao::start();
    let two = "[profiles.staging]\nchain = [\"vault:secret/shop\", \"env\"]\n";
    let (case, value) = shop(&bao, &format!("{two}{MANIFEST}"));
    get(&case, "--max-age 1h");
    assert_eq!(get(&case, "--offline").0, value);
    let none = |run: crate::support::Run<'_>| {
        run.code(8).says("the cache has no answer about API_KEY");
    };
    let offline = || case.sr("get API_KEY --offline");
    none(offline().env("VAULT_TOKEN", "another"));
    none(offline().env("VAULT_ADDR", "http://127.0.0.1:1"));
    none(offline().env("VAULT_NAMESPACE", "team"));
    none(offline().env("STRONGROOM_CHAIN", "vault:secret/other"));
    none(offline().env(
        "STRONGROOM_CHAIN",
        "vault:secret/shop?optional=false&field=value",
    ));
    none(case.sr("get API_KEY --offline --profile staging"));
    // Without the variable the token is the file's: what it says is who asks.
    let file = case.path("home/.vault-token");
    case.env("VAULT_TOKEN", "");
    std::fs::write(&file, "root").unwrap();
    get(&case, "--max-age 1h");
    assert_eq!(get(&case, "--offline").0, value);
    std::fs::write(&file, "another").unwrap();
    none(offline());
}

#[test]
fn the_file_tells_nothing_and_opens_with_its_own_store_only() {
    let bao = OpenBao::start();
    let (case, value) = shop(&bao, MANIFEST);
    get(&case, "--max-age 1h");
    let path = file(&case);
    assert_eq!((mode(&path), mode(&case.cache())), (0o600, 0o700));
    let bytes = std::fs::read(&path).unwrap();
    for name in ["API_KEY", "api/key", "shop", "vault", value.as_str()] {
        assert!(
            memchr::memmem::find(&bytes, name.as_bytes()).is_none(),
            "{name}"
        );
    }
    // Another store's keys do not open it, and what they keep is a file of its own.
    std::fs::rename(case.path("data/strongroom"), case.path("data/first")).unwrap();
    case.sr("set /note").stdin("another store").ok();
    case.sr("get API_KEY --offline").code(8);
    get(&case, "--max-age 1h");
    let other = std::fs::read_dir(case.cache()).unwrap().flatten();
    let other = other.map(|it| it.path()).filter(|it| *it != path);
    let mut other = other.filter(|it| it.extension().is_some_and(|end| end == "cache"));
    std::fs::copy(&path, other.next().unwrap()).unwrap();
    case.sr("get API_KEY --offline").code(8).says("no answer");
    case.sr("cache clear").ok().says("removed 2 caches");
    assert!(!path.exists());
}

#[test]
fn a_damaged_cache_is_told_and_never_a_wrong_value() {
    let bao = OpenBao::start();
    let (case, value) = shop(&bao, MANIFEST);
    case.sr("check --max-age 1h").ok();
    let path = file(&case);
    let whole = std::fs::read(&path).unwrap();
    let mut told = 0;
    for at in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        std::fs::write(&path, &changed).unwrap();
        let got = case.sr("get API_KEY --offline").reveals().output();
        match got.status.code() {
            Some(0) => assert_eq!(got.out(), value),
            Some(8) => assert_eq!(got.out(), ""),
            code => panic!("byte {at}: {code:?} {}", got.err()),
        }
        told += usize::from(got.err().contains("warning: "));
    }
    assert!(told > 10, "only {told} damages were told");
    for cut in [0, 10, 17, 30, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let got = case.sr("get API_KEY --offline").code(8);
        assert!(
            cut == 17 || got.err().contains("counts as empty: it is damaged"),
            "{cut}"
        );
    }
    case.sr("cache status")
        .code(1)
        .says("strongroom cache clear");
    // Online it is told and made anew.
    let (out, err) = get(&case, "--max-age 1h");
    assert_eq!(out, value);
    assert!(err.contains("counts as empty"), "{err}");
    assert_eq!(get(&case, "--offline").0, value);
    let mut newer = whole.clone();
    newer[16] = 9;
    std::fs::write(&path, &newer).unwrap();
    case.sr("get API_KEY --offline")
        .code(8)
        .says("a newer strongroom wrote it");
    // A link is not followed.
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(case.store("store.db"), &path).unwrap();
    case.sr("get API_KEY --offline")
        .code(8)
        .says("counts as empty");
}

#[test]
fn status_lists_what_is_kept_and_writing_empties_it() {
    let bao = OpenBao::start();
    let (case, _) = shop(&bao, MANIFEST);
    case.sr("check --max-age 1h").ok();
    case.sr("cache status")
        .ok()
        .prints("API_KEY")
        .prints("not found");
    let status = case.sr("cache status --json").ok().json();
    let entries = status["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0]["name"], "API_KEY");
    assert_eq!(entries[0]["found"], true);
    assert_eq!(entries[1]["found"], false);
    assert_eq!(status["damaged"], 0);
    // Who sets a value is not given the old one.
    let new = case.canary("newer");
    case.sr("set API_KEY").stdin(&new).ok();
    case.sr("get API_KEY --offline").code(8);
    assert_eq!(get(&case, "--max-age 1h").0, new);
    let cleared = case.sr("cache clear --json").ok().json();
    assert_eq!(cleared["removed"], 1);
    case.sr("get API_KEY --offline").code(8);
}

#[test]
fn without_a_store_nothing_can_be_kept() {
    let bao = OpenBao::start();
    let case = Case::with_manifest(MANIFEST);
    bao.lead(&case);
    put(&bao, &case.canary("kept"));
    let refused = case.sr("check --max-age 1h --json").code(3);
    assert!(
        refused.err().contains("cache.no_store"),
        "{}",
        refused.err()
    );
    case.sr("get API_KEY --offline")
        .code(3)
        .says("strongroom set /note");
    case.sr("set /note").stdin("makes the store").ok();
    case.sr("check --max-age 1h").ok();
    // With nothing but local backends there is nothing to keep.
    case.env("STRONGROOM_CHAIN", "env");
    case.sr("get API_KEY --offline")
        .env("API_KEY", "of the environment")
        .ok();
}

#[test]
fn many_at_once_lose_nothing() {
    let bao = OpenBao::start();
    let names: Vec<String> = (0..8).map(|at| format!("KEY_{at}")).collect();
    let declared: String = names
        .iter()
        .map(|name| format!("[secrets.{name}]\n"))
        .collect();
    let (case, _) = shop(&bao, &format!("{MANIFEST}{declared}"));
    for name in &names {
        put_at(&bao, name, &case.canary("one-of-many"));
    }
    std::thread::scope(|scope| {
        for name in &names {
            let mut command = case.command(crate::support::PROGRAM);
            command.args(["get", name, "--max-age", "1h"]);
            scope.spawn(move || assert!(command.output().unwrap().status.success()));
        }
    });
    let status = case.sr("cache status --json").ok().json();
    let entries = status["entries"].as_array().unwrap().iter();
    let mut kept: Vec<&str> = entries.map(|kept| kept["name"].as_str().unwrap()).collect();
    kept.sort_unstable();
    assert_eq!(kept, names);
}

#[test]
fn offline_nothing_is_generated_and_no_chain_is_looked_for() {
    let manifest = "[profiles.development]\nchain = [\"vault:secret/shop\", \"store\"]\n\
                    [secrets.SESSION_KEY]\nclass = \"per_install_generated\"\n";
    let bao = OpenBao::start();
    let case = Case::with_manifest(manifest);
    bao.lead(&case);
    case.sr("set /note").stdin("makes the store").ok();
    case.sr("check --max-age 1h").ok();
    case.sr("run --offline -- true").code(8).says("SESSION_KEY");
    case.sr("list").ok();
    case.sr("run --max-age 1h -- true").ok();
    let stored = bao.ask("GET", "secret/data/shop/SESSION_KEY", "");
    assert!(stored.starts_with("HTTP/1.1 200"), "{stored}");
    case.manifest("[secrets.API_KEY]\n");
    case.sr("check --offline")
        .env("AWS_REGION", "us-east-1")
        .code(2)
        .says("no chain is written down");
}

#[test]
fn answers_of_aws_are_kept_too() {
    let moto = Moto::start();
    let case = Case::with_manifest(
        "[profiles.development]\nchain = [\"aws:us-east-1/shop\", \"env\"]\n\
         [secrets.API_KEY]\npath = \"api/key\"\n",
    );
    moto.lead(&case);
    let value = case.canary("kept");
    case.sr("set API_KEY").stdin(&value).ok();
    case.sr("set /note").stdin("makes the store").ok();
    case.sr("run --max-age 10m -- true").ok();
    drop(moto);
    assert_eq!(get(&case, "--max-age 10m").0, value);
    case.sr("run --offline -- true")
        .ok()
        .says("cached 1 (aws:us-east-1/shop, ");
    case.sr("get API_KEY --offline")
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7ANOTHER")
        .code(8);
    case.sr("get API_KEY --offline")
        .env("AWS_PROFILE", "other")
        .code(8);
}
