//! Users' own keys, from taking a table over to giving it back.

use std::process::Stdio;

use serde_json::Value;
use strongroom_testkit::postgres::Postgres;
use strongroom_testkit::userkeys;

use crate::served::DEADLINE;
use crate::served::Served;
use crate::support::Case;
use crate::watch::Running;

const ATTACH: &str = "userkeys attach --table user_secrets --id user_id,secret_key \
    --plain secret_value --encrypted secret_value_encrypted --flat-names \
    --pgcrypto-key app/pgcrypto_key --yes";
const MANIFEST: &str = "[project]\nname = \"shop\"\n[profiles.development]\n\
    chain = [\"store\"]\n[secrets.ANTHROPIC_API_KEY]\npath = \"anthropic/api_key\"\n";
const OLD_KEY: &str = "an-old-key-of-pgcryptos-for-tests";

/// A project, a store and the application's database with some rows.
fn prepared() -> (Case, Postgres) {
    let case = Case::new();
    let server = Postgres::start();
    let _ = server.sql("postgres", userkeys::TABLE);
    case.env("STRONGROOM_USERKEYS_DATABASE", server.url("postgres"));
    case.sr("set /app/pgcrypto_key").stdin(OLD_KEY).ok();
    (case, server)
}

fn fill(server: &Postgres, plain: usize, weak: usize) {
    let _ = server.sql(
        "postgres",
        &format!(
            "INSERT INTO user_secrets (user_id, secret_key, secret_value)
             SELECT 'u' || g, 'anthropic_api_key', 'plain-' || g FROM generate_series(1, {plain}) g"
        ),
    );
    let _ = server.sql(
        "postgres",
        &format!(
            "INSERT INTO user_secrets (user_id, secret_key, secret_value, secret_value_encrypted)
             SELECT 'w' || g, 'anthropic_api_key', NULL, pgp_sym_encrypt('weak-' || g, '{OLD_KEY}')
             FROM generate_series(1, {weak}) g"
        ),
    );
}

fn counts(case: &Case) -> (Value, Value, Value, Value) {
    let status = case.sr("userkeys status --json").ok().json();
    let of = |name: &str| status[name].clone();
    (of("rows"), of("sealed"), of("pgcrypto"), of("plain"))
}

#[test]
fn a_table_is_taken_over_and_given_back() {
    let (case, server) = prepared();
    case.sr("userkeys attach --table user_secrets --dry-run")
        .ok()
        .prints("ALTER COLUMN \"secret_value\" DROP NOT NULL");
    case.sr("userkeys status")
        .code(3)
        .says("no table in postgres://");
    case.sr(ATTACH).ok().says("attached");
    case.sr(ATTACH).ok().says("attached already");
    fill(&server, 300, 3);
    assert_eq!(counts(&case), (303.into(), 0.into(), 3.into(), 300.into()));
    case.sr("userkeys status").ok().prints("aes128, sha1");
    case.sr("doctor")
        .ok()
        .prints("300 users' keys in public.user_secrets lie in clear")
        .prints(
            "3 users' keys in public.user_secrets are encrypted weakly: pgcrypto, aes128, sha1",
        );
    // Reading seals.
    case.sr("userkeys get w1 anthropic/api_key")
        .reveals()
        .ok()
        .prints("weak-1");
    case.sr("userkeys get u1 anthropic/api_key")
        .reveals()
        .ok()
        .prints("plain-1");
    assert_eq!(counts(&case).1, 2);
    let done = case.sr("userkeys encrypt --batch 50 --rate 0 --json").ok();
    let done = done.json();
    assert_eq!(
        (&done["from_plain"], &done["from_pgcrypto"]),
        (&299.into(), &2.into())
    );
    assert_eq!(counts(&case), (303.into(), 303.into(), 0.into(), 0.into()));
    case.sr("userkeys verify").ok().says("opened: 303 values");
    let rotated = case.sr("userkeys rotate-key --json").ok().json();
    assert_eq!(
        (&rotated["data_key"], &rotated["from_sealed"]),
        (&2.into(), &303.into())
    );
    case.sr("userkeys get u7 anthropic/api_key")
        .reveals()
        .ok()
        .prints("plain-7");
    // A row of somebody else's.
    let _ = server.sql(
        "postgres",
        "UPDATE user_secrets SET secret_value_encrypted = (SELECT secret_value_encrypted
         FROM user_secrets WHERE user_id = 'u2') WHERE user_id = 'u3'",
    );
    case.sr("userkeys verify").code(10).says("u3 does not open");
    case.sr("userkeys rm u3 anthropic/api_key --yes").ok();
    case.sr("userkeys rollback --yes")
        .code(6)
        .says("302 rows of public.user_secrets are sealed and have no other copy");
    case.sr("userkeys rollback --to-plain --yes").ok();
    let restored = "SELECT count(*) FROM user_secrets
        WHERE secret_value IN ('plain-' || substr(user_id, 2), 'weak-' || substr(user_id, 2))";
    assert_eq!(server.sql("postgres", restored), "302");
    case.sr("userkeys status").code(3);
    let log = case.sr("audit --json").ok().out();
    for what in [
        "userkeys/public.user_secrets/u1/anthropic/api_key",
        "userkeys/public.user_secrets",
    ] {
        assert!(log.contains(what), "{what}: {log}");
    }
}

#[test]
fn keys_of_one_user_are_set_read_listed_exported_and_erased() {
    let (case, server) = prepared();
    case.sr(ATTACH).ok();
    let canary = case.canary("sk-user");
    case.sr("userkeys set u1 anthropic/api_key")
        .stdin(&canary)
        .ok()
        .says("set");
    case.sr("userkeys get u1 anthropic/api_key")
        .reveals()
        .ok()
        .prints(&canary);
    case.sr("userkeys get u2 anthropic/api_key")
        .code(3)
        .says("user u2 has no key anthropic/api_key");
    case.sr("userkeys get u2 anthropic/api_key --or-system")
        .code(3)
        .says("neither user u2 nor the system has a key anthropic/api_key");
    case.sr("set /anthropic/api_key")
        .stdin("of-the-system")
        .ok();
    case.sr("userkeys get u2 anthropic/api_key --or-system")
        .reveals()
        .ok()
        .prints("of-the-system");
    case.sr("userkeys get u1 anthropic/api_key --or-system --json")
        .reveals()
        .ok()
        .prints("\"source\": \"user\"");
    let listed = case.sr("userkeys list u1 --json").ok().json();
    assert_eq!(listed["keys"][0]["name"], "anthropic_api_key");
    assert_eq!(listed["keys"][0]["form"], "sealed");
    let exported = case.sr("userkeys export u1").reveals().ok().json();
    assert_eq!(exported["keys"][0]["value"], canary.as_str());
    case.sr("userkeys erase u1").code(2);
    case.sr("userkeys erase u1 --yes")
        .ok()
        .says("removed 1 keys");
    assert_eq!(
        server.sql("postgres", "SELECT count(*) FROM user_secrets"),
        "0"
    );
    // The database can also be what a secret says.
    case.sr("set /app/url").stdin(server.url("postgres")).ok();
    case.sr("userkeys list u1 --database-from /app/url --json")
        .env("STRONGROOM_USERKEYS_DATABASE", "")
        .ok();
    case.sr("userkeys list u1")
        .env("STRONGROOM_USERKEYS_DATABASE", "")
        .code(2)
        .says("which database?");
}

#[test]
fn a_command_runs_with_the_users_own_key_before_the_systems() {
    let (case, _server) = prepared();
    case.sr(ATTACH).ok();
    case.manifest(MANIFEST);
    case.sr("set ANTHROPIC_API_KEY")
        .stdin("key-of-the-system")
        .ok();
    case.sr("userkeys set u1 anthropic/api_key")
        .stdin("key-of-user-one")
        .ok();
    for (user, expected) in [("u1", "key-of-user-one"), ("u2", "key-of-the-system")] {
        let line = format!("run --no-redact --user {user} -- printenv ANTHROPIC_API_KEY");
        case.sr(&line).reveals().ok().prints(expected);
    }
    case.sr("run --no-redact -- printenv ANTHROPIC_API_KEY")
        .reveals()
        .ok()
        .prints("key-of-the-system");
    case.sr("run --user u1 -- true")
        .env(
            "STRONGROOM_USERKEYS_DATABASE",
            "postgres://u@127.0.0.1:1/none",
        )
        .code(8);
}

/// A watched command gets what its user sets meanwhile; nothing is read that did not change.
#[test]
fn a_watched_command_gets_what_its_user_sets() {
    let (case, server) = prepared();
    case.sr(ATTACH).ok();
    case.manifest(MANIFEST);
    case.leave_open(&case.in_project("seen"));
    let system = case.canary("system");
    case.sr("set ANTHROPIC_API_KEY").stdin(&system).ok();
    let values = [case.canary("one"), case.canary("two")];
    let set = |value: &str| {
        case.sr("userkeys set u1 anthropic/api_key")
            .stdin(value)
            .ok();
    };
    set(&values[0]);
    let script = "echo \"$ANTHROPIC_API_KEY\" >> seen";
    let mut run = Running::start(&case, "--watch --watch-interval 1s --user u1", script);
    run.until_seen(1);
    set(&values[1]);
    run.until_seen(2);
    assert_eq!(run.seen(), format!("{}\n{}\n", values[0], values[1]));
    let reads = || {
        let log = case.sr("audit --json").ok().json();
        let events = log["events"].as_array().unwrap();
        let place = "userkeys/public.user_secrets/u1/anthropic/api_key";
        let reads = events
            .iter()
            .filter(|event| event["action"] == "read" && event["paths"][0] == place);
        reads.count()
    };
    let look = |run: &mut Running<'_>| {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(3);
        run.until("some time", |_| std::time::Instant::now() > until);
    };
    look(&mut run);
    let before = reads();
    look(&mut run);
    assert_eq!(reads(), before);
    // What the user has no more comes from the system.
    case.sr("userkeys rm u1 anthropic/api_key --yes").ok();
    run.until_seen(3);
    assert!(
        run.seen().ends_with(&format!("{system}\n")),
        "{}",
        run.seen()
    );
    // A database that is away ends nothing.
    drop(server);
    run.until_said("warning: while watching: ");
    assert_eq!(run.seen().lines().count(), 3);
}

/// The store of many servers: its keys are rotated by the command as well, and they go on.
#[test]
fn keys_of_a_store_in_a_database_are_rotated_and_its_servers_learn_it() {
    let (case, server) = prepared();
    let _ = server.sql("postgres", "CREATE DATABASE store");
    let (from, to) = (case.store("store.db"), server.url("store"));
    let line = format!(
        "operator migrate-storage --from {} --to {to}",
        from.display()
    );
    case.sr(&line).ok();
    case.env("STRONGROOM_STORE", to);
    let served = Served::of_store(&case);
    case.sr(ATTACH).ok();
    case.sr("userkeys set u1 anthropic/api_key")
        .stdin("key-of-user-one")
        .ok();
    let token = case.sr("operator root-token").reveals().ok().out();
    let token = token.trim();
    let path = "sys/users/u1/secrets/anthropic/api_key";
    let read = || served.ask("GET", path, token, "");
    assert!(read().1.contains("key-of-user-one"), "{:?}", read());
    let rotated = case.sr("userkeys rotate-key --json").ok().json();
    assert_eq!(
        (&rotated["data_key"], &rotated["from_sealed"]),
        (&2.into(), &1.into())
    );
    served.wait_until(|| read().1.contains("key-of-user-one"));
    let status = case.sr("userkeys status --json").ok().json();
    assert_eq!(status["sealed_by_key"][0]["data_key"], 2);
    // What the server writes now is under the new key as well.
    let value = r#"{"value":"changed"}"#;
    assert_eq!(served.ask("PUT", path, token, value).0, 200);
    case.sr("userkeys get u1 anthropic/api_key")
        .reveals()
        .ok()
        .prints("changed");
    let status = case.sr("userkeys status --json").ok().json();
    assert_eq!(status["sealed_by_key"][0]["data_key"], 2);
    let again = case.sr("userkeys rotate-key --json").ok().json();
    assert_eq!(again["data_key"], 3);
}

/// An application without the database and without the store's keys: a server has them.
#[test]
fn a_server_gives_users_keys_to_commands_and_to_the_library() {
    let (case, _server) = prepared();
    case.sr(ATTACH).ok();
    case.manifest(MANIFEST);
    case.sr("set ANTHROPIC_API_KEY")
        .stdin("key-of-the-system")
        .ok();
    case.sr("userkeys set u1 anthropic/api_key")
        .stdin("key-of-user-one")
        .ok();
    let token = case.sr("operator root-token").reveals().ok().out();
    let served = Served::of_store(&case);
    let address = format!("http://{}", served.address);
    for (user, expected) in [("u1", "key-of-user-one"), ("u2", "key-of-the-system")] {
        let line = format!("run --no-redact --user {user} -- printenv ANTHROPIC_API_KEY");
        case.sr(&line)
            .env("STRONGROOM_ADDR", &address)
            .env("STRONGROOM_TOKEN", token.trim())
            .env("STRONGROOM_USERKEYS_DATABASE", "")
            .reveals()
            .ok()
            .prints(expected);
    }
    let environment = |token: &str| {
        let home = case.path("nobody").display().to_string();
        [
            ("HOME", home),
            ("STRONGROOM_ADDR", address.clone()),
            ("STRONGROOM_TOKEN", token.to_owned()),
        ]
    };
    let manifest = case.in_project("strongroom.toml");
    let load = async |token: &str| {
        let builder = strongroom_sdk::Secrets::builder();
        let builder = builder.manifest(&manifest).chain(["server:"]);
        let builder = builder.environment(environment(token));
        builder.ttl(std::time::Duration::ZERO).load().await.unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(async {
        let secrets = load(token.trim()).await;
        let get = async |user: &str| {
            let user = secrets.for_user(user).unwrap();
            user.get("anthropic/api_key").await
        };
        for (user, expected) in [("u1", "key-of-user-one"), ("u2", "key-of-the-system")] {
            let value = get(user).await.unwrap();
            assert_eq!(value.expose_secret_text(), Some(expected));
        }
        // An id that would lead elsewhere is asked of nobody.
        let error = get("..").await.unwrap_err();
        assert!(error.to_string().contains("cannot be asked"), "{error}");
        // A server that refuses is an error; the system's key does not take its place.
        let refused = load("hvs.nobody").await.for_user("u2").unwrap();
        let error = refused.get("anthropic/api_key").await.unwrap_err();
        let is_server = matches!(error, strongroom_sdk::UserKeyError::Server(_));
        assert!(is_server && !error.is_not_found(), "{error}");
    });
}

/// An older sealed copy of a row opens: but after the keys were rotated, it is told from the rest.
#[test]
fn an_old_copy_of_a_row_shows_after_the_keys_were_rotated() {
    let (case, server) = prepared();
    case.sr(ATTACH).ok();
    let set = |value: &str| {
        case.sr("userkeys set u1 anthropic/api_key")
            .stdin(value)
            .ok();
    };
    set("first");
    let _ = server.sql(
        "postgres",
        "CREATE TABLE copy AS SELECT * FROM user_secrets",
    );
    set("second");
    case.sr("userkeys rotate-key").ok();
    let told = case.sr("userkeys status").ok().out();
    assert!(!told.contains("(old)"), "{told}");
    let _ = server.sql(
        "postgres",
        "UPDATE user_secrets SET secret_value_encrypted = copy.secret_value_encrypted FROM copy",
    );
    case.sr("userkeys status")
        .ok()
        .prints("sealed, data key 1 (old)");
}

/// A pass that is killed anywhere is begun again, and seals what is left.
#[test]
fn a_pass_that_is_killed_goes_on() {
    let (case, server) = prepared();
    case.sr(ATTACH).ok();
    fill(&server, 2000, 0);
    let mut child = case
        .command(crate::support::PROGRAM)
        .args(["userkeys", "encrypt", "--batch", "20", "--rate", "400"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let sealed = "SELECT count(*) FROM user_secrets WHERE secret_value IS NULL";
    let until = std::time::Instant::now() + DEADLINE;
    while server.sql("postgres", sealed) == "0" {
        assert!(
            std::time::Instant::now() < until,
            "the pass seals something"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before: u64 = server.sql("postgres", sealed).parse().unwrap();
    assert!(before < 2000, "{before}");
    let done = case.sr("userkeys encrypt --rate 0 --json").ok().json();
    assert!(done["from_plain"].as_u64().unwrap() <= 2000 - before);
    assert_eq!(
        counts(&case),
        (2000.into(), 2000.into(), 0.into(), 0.into())
    );
    case.sr("userkeys verify").ok();
}
