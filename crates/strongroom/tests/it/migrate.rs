//! Whole migrations through the real binary: the guide's steps, refusals, kills, undoing.

use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use crate::support::Case;
use crate::support::PROGRAM;
use crate::support::mode;

const MAP: &str = r#"
"jwt/secret_key" = "JWT_SECRET_KEY"
"encryption/master_key" = "ENCRYPTION_MASTER_KEY"
"database/connection_string" = "DATABASE_URL"
"openai/api_key" = "OPENAI_API_KEY"
"google/api_key" = "GOOGLE_API_KEY"
"#;

/// A place with the guide's `.env`, and the values in it.
pub(crate) fn guide(case: &Case) -> Vec<(&'static str, String)> {
    let values = vec![
        ("JWT_SECRET_KEY", case.canary("jwt")),
        ("ENCRYPTION_MASTER_KEY", case.canary("enc")),
        (
            "DATABASE_URL",
            format!("postgres://app:{}@db/shop", case.canary("")),
        ),
        ("OPENAI_API_KEY", case.canary("sk-")),
    ];
    let mut text = "# secrets of the shop\n".to_owned();
    for (name, value) in &values {
        text.push_str(&format!("{name}={value}\n"));
    }
    text.push_str("LOG_LEVEL=info # plain\nAWS_REGION=us-east-1\n");
    case.write_open(".env", text);
    case.write("map.toml", MAP);
    values
}

#[test]
fn the_guides_steps_from_a_env_file_to_the_store_and_back() {
    let case = Case::new();
    let values = guide(&case);
    case.write(".git/HEAD", "ref: refs/heads/main\n");
    case.write(".gitignore", "node_modules");
    let before = case.read(".env");
    let line = "migrate --from dotenv:.env --to store --map map.toml";
    case.sr(&format!("{line} --dry-run"))
        .ok()
        .prints("JWT_SECRET_KEY")
        .prints("••••••••")
        .says("nothing was written");
    assert!(!case.store("store.db").exists(), "a dry run makes no store");
    case.sr(line).code(2).says("--yes");
    case.sr(&format!("{line} --yes"))
        .ok()
        .prints("✓ migrated JWT_SECRET_KEY → jwt/secret_key")
        .prints("⚠ skipped GOOGLE_API_KEY (not set)")
        .says("took 4 secrets out of");
    assert_eq!(
        String::from_utf8(case.read(".env")).unwrap(),
        "# secrets of the shop\nLOG_LEVEL=info # plain\nAWS_REGION=us-east-1\n"
    );
    assert_eq!(
        String::from_utf8(case.read(".gitignore")).unwrap(),
        "node_modules\n.env\n.env.backup\n"
    );
    for ((_, value), path) in values.iter().zip([
        "jwt/secret_key",
        "encryption/master_key",
        "database/connection_string",
        "openai/api_key",
    ]) {
        assert_eq!(case.get(path), value.as_bytes(), "{path}");
    }
    let status = case.sr("migrate status --json").ok().json();
    assert_eq!(status["migrations"][0]["stage"], "done");
    assert_eq!(status["migrations"][0]["migrated"], 4);
    case.sr("migrate verify").ok().prints("4 of 4");
    case.set("jwt/secret_key", "drifted-away");
    case.sr("migrate verify")
        .code(5)
        .prints("✗ changed jwt/secret_key");
    case.sr("rollback jwt/secret_key").ok();
    case.sr("migrate verify").ok();
    case.sr("migrate rollback --yes")
        .ok()
        .says("is to the byte what it was");
    assert_eq!(case.read(".env"), before);
    assert_eq!(mode(&case.in_project(".env")) & 0o777, 0o644);
    assert_eq!(case.read(".gitignore"), b"node_modules\n");
    // Its other versions are somebody's own: it can be undeleted, and is not there.
    let list = case.sr("list / --json").ok().json();
    assert_eq!(list["secrets"].as_array().unwrap().len(), 1);
    assert_eq!(list["secrets"][0]["state"], "deleted");
    case.sr("migrate rollback").code(3);
    case.sr("doctor").ok();
}

#[test]
fn without_a_map_it_is_guessed_and_settings_stay() {
    let case = Case::with_manifest(
        "[secrets.JWT_SECRET_KEY]\npath = \"jwt/key\"\n\
         [secrets.LOG_LEVEL]\nsensitive = false\ndefault = \"info\"\n",
    );
    guide(&case);
    case.sr("migrate --from dotenv: --to store --write-map new.toml")
        .ok()
        .says("wrote the mapping of 4 secrets");
    let map = String::from_utf8(case.read("new.toml")).unwrap();
    assert!(
        map.contains("\"shop/development/jwt/key\" = \"JWT_SECRET_KEY\""),
        "{map}"
    );
    assert!(map.contains("database/connection_string"), "{map}");
    assert!(map.contains("# left: LOG_LEVEL (a plain setting)"), "{map}");
    case.sr("migrate --from dotenv: --to store --yes --keep-source")
        .ok();
    case.sr("check").ok().prints("JWT_SECRET_KEY");
    case.sr("migrate --from dotenv: --to store --yes --keep-source")
        .ok()
        .prints("unchanged")
        .says("nothing to move");
    // The map that was written is taken as it is.
    case.sr("migrate --from dotenv: --to store --map new.toml --dry-run")
        .ok()
        .prints("unchanged");
}

#[test]
fn what_cannot_be_moved_is_told_before_anything_is_written() {
    let case = Case::new();
    let value = case.canary("kept");
    case.set("text", &value);
    case.run(&["set", "binary", "-", "--exact"])
        .stdin([0, 159, 146, 150])
        .ok();
    let refused = case
        .sr("migrate --from store --to dotenv:out.env --yes")
        .code(5)
        .says("1 secret cannot be moved")
        .prints("it is binary");
    assert!(!refused.out().contains("✓"));
    assert!(!case.in_project("out.env").exists());
    case.sr("rm binary").ok();
    case.sr("tag text team=pay").ok();
    case.set("text", case.canary("newer"));
    case.sr("migrate --from store --to dotenv:out.env --dry-run")
        .ok()
        .prints("not kept by dotenv: tags of 1 secret (text)")
        .prints("not kept by dotenv: earlier versions of 1 secret (text)");
    // Another value that is there is not lost by accident.
    let there = case.canary("there");
    case.write_open("out.env", format!("TEXT={there}\n"));
    case.sr("migrate --from store --to dotenv:out.env --yes")
        .code(5)
        .prints("--overwrite");
    case.sr("migrate --from store --to dotenv:out.env --yes --overwrite")
        .ok();
    case.sr("migrate rollback --yes").ok();
    assert_eq!(case.read("out.env"), format!("TEXT={there}\n").as_bytes());
}

#[test]
fn bad_sides_and_maps_are_told() {
    let case = Case::new();
    guide(&case);
    case.sr("migrate --from dotenv:.env").code(2).says("--to");
    case.sr("migrate --from dotenv:.env --to dotenv:.env --yes")
        .code(2)
        .says("are the same");
    case.sr("migrate --from dotenv:.env --to nowhere:x")
        .code(2)
        .says("nowhere is no backend");
    case.sr("migrate --from dotenv:none.env --to store --yes")
        .code(3)
        .says("none.env cannot be read: there is no such file");
    case.write("empty.env", "");
    case.sr("migrate --from dotenv:empty.env --to store --yes")
        .ok()
        .says("nothing to move");
    case.write("bad.toml", "\"a\" = 1\n");
    case.sr("migrate --from dotenv:.env --to store --map bad.toml")
        .code(5)
        .says("bad.toml:1 is not understood");
    case.write(
        "twice.toml",
        "\"a\" = \"JWT_SECRET_KEY\"\n\"b\" = \"JWT_SECRET_KEY\"\n",
    );
    case.sr("migrate --from dotenv:.env --to store --map twice.toml --dry-run")
        .ok();
    case.sr("migrate resume")
        .code(3)
        .says("strongroom migrate status");
    case.sr("migrate resume abcd")
        .code(3)
        .says("no migration abcd");
}

const SECRETS: usize = 60;
const KILLS: usize = 12;

/// Killed at random moments, over and over: it resumes; nothing is lost, nothing is there twice.
#[test]
fn a_killed_migration_resumes_and_can_be_undone() {
    let case = Case::new();
    let mut text = String::new();
    let mut values = Vec::new();
    for number in 0..SECRETS {
        let value = case.canary("v");
        text.push_str(&format!("S{number}_TOKEN={value}\n"));
        values.push(value);
    }
    text.push_str("LOG_LEVEL=info\n");
    case.write_open(".env", &text);
    let migrate = "migrate --from dotenv:.env --to store --yes -q";
    let window = life(&case, migrate);
    case.sr("migrate rollback --yes -q").ok();
    assert_eq!(case.read(".env"), text.as_bytes());
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut kills = 0;
    while kills < KILLS {
        let mut line = migrate;
        loop {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let patience = Duration::from_micros(random % window);
            if !killed(&case, line, patience) {
                break;
            }
            kills += 1;
            line = next_line(&case, migrate, "migrate resume -q");
        }
        assert_eq!(case.read(".env"), b"LOG_LEVEL=info\n");
        let list = case.sr("list / --json").ok().json();
        let listed = list["secrets"].as_array().unwrap();
        assert_eq!(listed.len(), SECRETS);
        assert!(listed.iter().all(|secret| secret["secret_version"] == 1));
        for (number, value) in values.iter().enumerate().step_by(7) {
            assert_eq!(case.get(&format!("s{number}/token")), value.as_bytes());
        }
        let mut line = "migrate rollback --yes -q";
        loop {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let patience = Duration::from_micros(random % window);
            if !killed(&case, line, patience) {
                break;
            }
            kills += 1;
            line = next_line(&case, "migrate rollback --yes -q", "migrate resume -q");
            if is_rolled_back(&case) {
                break;
            }
        }
        assert_eq!(case.read(".env"), text.as_bytes());
        let list = case.sr("list / --json").ok().json();
        assert_eq!(list["secrets"], serde_json::json!([]));
    }
    case.sr("doctor").ok();
}

fn newest_stage(case: &Case) -> String {
    let status = case.sr("migrate status --json").ok().json();
    let stage = status["migrations"][0]["stage"].as_str();
    stage.unwrap_or("none").to_owned()
}

fn is_rolled_back(case: &Case) -> bool {
    newest_stage(case) == "rolled back"
}

/// What goes on from where a kill has left it: killed before the journal was written, or before
/// the rollback was noted, it begins anew.
fn next_line<'l>(case: &Case, begin: &'l str, resume: &'l str) -> &'l str {
    match newest_stage(case).as_str() {
        "none" | "rolled back" => begin,
        "done" if begin.contains("rollback") => begin,
        _ => resume,
    }
}

/// How long a command takes here and now.
fn life(case: &Case, line: &str) -> u64 {
    let start = Instant::now();
    case.sr(line).ok();
    u64::try_from(start.elapsed().as_micros()).unwrap().max(1)
}

/// Starts a command and kills it after a while; false when it ended before, well.
fn killed(case: &Case, line: &str, patience: Duration) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut child = case
        .command(PROGRAM)
        .args(&words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (ended, end) = mpsc::channel();
    let mut talk = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut said = String::new();
        let _ = std::io::Read::read_to_string(&mut talk, &mut said);
        let _ = ended.send(());
        said
    });
    if end.recv_timeout(patience).is_err() {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    let said = reader.join().unwrap();
    match status.code() {
        Some(0) => false,
        None => true,
        // `done` already when it was asked to go on.
        Some(3) if line.contains("resume") => false,
        Some(code) => panic!("{line} ended with {code}: {said}"),
    }
}

#[test]
fn a_lazy_chain_moves_what_it_reads() {
    let case = Case::with_manifest(
        "[profiles.development]\nchain = [\"store\", \"dotenv:.env?migrate=store\"]\n\
         [secrets.ONE]\n[secrets.TWO]\n[secrets.PORT]\nsensitive = false\n",
    );
    let (one, two) = (case.canary("one"), case.canary("two"));
    case.write_open(".env", format!("ONE={one}\nTWO={two}\nPORT=3000\n"));
    case.sr("check").ok();
    assert!(
        case.read(".env").starts_with(b"ONE="),
        "a check moves nothing"
    );
    let got = case.sr("get ONE").reveals().ok();
    assert_eq!(got.stdout, one.as_bytes());
    got.says("moved ONE from dotenv:.env to the store");
    assert_eq!(
        case.read(".env"),
        format!("TWO={two}\nPORT=3000\n").as_bytes()
    );
    let status = case.sr("migrate status --json").ok().json();
    let lazy = &status["migrations"][0];
    assert_eq!(
        (&lazy["stage"], &lazy["migrated"], &lazy["waiting"]),
        (&"lazy".into(), &1.into(), &1.into())
    );
    case.sr("run -- true")
        .ok()
        .says("moved TWO from dotenv:.env");
    assert_eq!(case.read(".env"), b"PORT=3000\n");
    assert_eq!(case.get("ONE"), one.as_bytes());
    case.sr("run -- true").ok();
    case.sr("migrate rollback --yes").ok();
    assert_eq!(
        case.read(".env"),
        format!("ONE={one}\nTWO={two}\nPORT=3000\n").as_bytes()
    );
}

#[test]
fn a_target_is_made_like_its_source() {
    let case = Case::new();
    let (a, b) = (case.canary("a"), case.canary("b"));
    case.set("app/a", &a);
    case.set("app/b", &b);
    case.set("copy/b", case.canary("other"));
    case.set("copy/c", case.canary("extra"));
    let line = "sync --from store:/app --to store:/copy --prune";
    case.sr(&format!("{line} --dry-run"))
        .ok()
        .prints("+ create copy/a ← app/a")
        .prints("~ update copy/b ← app/b")
        .prints("- delete copy/c")
        .prints("1 to create, 1 to update, 1 to delete, 0 unchanged");
    case.sr(&format!("{line} --dry-run --exit-code")).code(10);
    case.sr(line).code(2).says("--yes");
    let done = case.sr(&format!("{line} --yes --json")).ok().json();
    assert_eq!(done["items"].as_array().unwrap().len(), 3);
    assert_eq!(case.get("copy/a"), a.as_bytes());
    assert_eq!(case.get("copy/b"), b.as_bytes());
    case.sr("get copy/c").code(3);
    case.sr(&format!("{line} --dry-run --exit-code"))
        .ok()
        .prints("2 unchanged");
    case.sr("sync --from store:/app --to store:/ --prune --yes")
        .code(2)
        .says("everything else");
}

/// A slip of the pen in --from must not look like an empty source: `--prune` would follow it.
#[test]
fn a_source_that_is_not_there_deletes_nothing() {
    let case = Case::new();
    case.write(".env", "APP_KEY=Hd8sKf3jLp6wQz1xCv5bNm9a\n");
    case.write("empty.env", "# nothing\n");
    case.sr("sync --from dotenv:.env --to store:/copy --yes")
        .ok();
    for from in ["dotenv:nope.env", "files:nope"] {
        for line in [
            format!("sync --from {from} --to store:/copy --prune --yes"),
            format!("migrate --from {from} --to store:/copy --yes"),
            format!("backup all.backup --from {from}"),
        ] {
            case.sr(&line).code(3).says("there is no such file");
        }
    }
    case.sr("sync --from dotenv:empty.env --to store:/copy --prune --yes")
        .code(2)
        .says("would delete all 1 in store:/copy");
    assert!(!case.path("project/all.backup").exists());
    case.sr("sync --from dotenv:.env --to store:/copy --prune --yes")
        .ok()
        .prints("1 unchanged");
}

#[test]
fn a_backup_comes_back_elsewhere_and_a_changed_one_does_not() {
    let case = Case::new();
    let (first, second) = (case.canary("first"), case.canary("second"));
    case.set("deep/er/token", &first);
    case.set("deep/er/token", &second);
    case.sr("tag deep/er/token team=pay").ok();
    case.run(&["set", "binary", "-", "--exact"])
        .stdin([0, 1, 255])
        .ok();
    case.sr("backup shop.backup --backup-key ../home/offline.key")
        .ok()
        .says("wrote 3 versions in 2 secrets");
    case.sr("backup shop.backup").code(6);
    assert_eq!(mode(&case.in_project("shop.backup")) & 0o777, 0o600);
    case.sr("restore shop.backup --verify")
        .code(7)
        .says("--backup-key");
    case.sr("restore shop.backup --verify --backup-key ../home/offline.key")
        .ok()
        .prints("3 versions in 2 secrets");
    let bytes = case.read("shop.backup");
    for at in [3, 30, bytes.len() / 2, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        case.write("changed.backup", &changed);
        let refused = case
            .sr("restore changed.backup --yes --backup-key ../home/offline.key")
            .output();
        assert!(matches!(refused.status.code(), Some(5 | 7)), "{at}");
    }
    case.write("cut.backup", &bytes[..bytes.len() - 40]);
    case.sr("restore cut.backup --yes --backup-key ../home/offline.key")
        .code(5);

    let other = Case::new();
    other.watch(first.as_bytes());
    other.watch(second.as_bytes());
    other.write("shop.backup", &bytes);
    std::fs::copy(
        case.path("home/offline.key"),
        other.path("home/offline.key"),
    )
    .unwrap();
    let line = "restore shop.backup --backup-key ../home/offline.key";
    other.sr(&format!("{line} --dry-run")).ok().prints("create");
    other.sr(&format!("{line} --yes")).ok();
    assert_eq!(other.get("deep/er/token"), second.as_bytes());
    let old = other.sr("get deep/er/token --version 1").reveals().ok();
    assert_eq!(old.stdout, first.as_bytes());
    assert_eq!(other.get("binary"), [0, 1, 255]);
    other
        .sr(&format!("{line} --yes"))
        .ok()
        .says("nothing to move")
        .prints("unchanged");
    other.sr("migrate rollback --yes").ok();
    other.sr("get binary").code(3);
}

/// Killed at random moments, over and over: the same command goes on, and no version is there
/// twice.
#[test]
fn a_killed_restore_goes_on_when_it_is_run_again() {
    const RESTORED: usize = 24;
    let case = Case::new();
    let mut values = Vec::new();
    for number in 0..RESTORED {
        let at = format!("app/s{number}");
        for value in ["first", "second", "third"] {
            values.push(case.canary(value));
            case.set(&at, values.last().unwrap());
        }
    }
    case.sr("backup app.backup --from store:/app").ok();
    let restore = "restore app.backup --to store:/again --yes -q";
    let window = life(&case, restore);
    case.sr("migrate rollback --yes -q").ok();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut kills = 0;
    while kills < KILLS {
        loop {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            if !killed(&case, restore, Duration::from_micros(random % window)) {
                break;
            }
            kills += 1;
        }
        let list = case.sr("list /again --json").ok().json();
        let listed = list["secrets"].as_array().unwrap();
        assert_eq!(listed.len(), RESTORED);
        for secret in listed {
            assert_eq!(secret["secret_version"], 3, "{secret}");
        }
        for number in [0, RESTORED / 2, RESTORED - 1] {
            for version in 1..=3 {
                let line = format!("get /again/s{number} --version {version}");
                let found = case.sr(&line).reveals().ok();
                let wanted = &values[number * 3 + version - 1];
                assert_eq!(found.stdout, wanted.as_bytes(), "{line}");
            }
        }
        // Run once more it finds all of it unchanged.
        let again = case.sr("restore app.backup --to store:/again --yes").ok();
        again.says("nothing to move");
        case.sr("migrate rollback --yes -q").ok();
        case.sr("list /again").ok().says("nothing is stored");
    }
    case.sr("doctor").ok();
}

/// What was interrupted is told by a dry run, and finished with what its file has got since.
#[test]
fn an_interrupted_restore_is_told_and_finished() {
    let case = Case::new();
    for number in 0..40 {
        case.set(&format!("app/s{number}"), case.canary("value"));
    }
    case.sr("backup app.backup --from store:/app").ok();
    let restore = "restore app.backup --to store:/again --yes -q";
    let window = life(&case, restore);
    case.sr("migrate rollback --yes -q").ok();
    // Somewhere in the middle; where that is too early or too late, a little elsewhere.
    let parts = (1..64).map(|part| window * part / 64);
    let is_left_open = |patience| {
        let was_killed = killed(&case, restore, Duration::from_micros(patience));
        if !was_killed {
            case.sr("migrate rollback --yes -q").ok();
        }
        was_killed && newest_stage(&case) == "copying"
    };
    let mut parts = parts.filter(|patience| is_left_open(*patience));
    parts.next().expect("a kill while it copies");
    case.sr("restore app.backup --to store:/again --dry-run")
        .ok()
        .says("was interrupted; it would go on with");
    case.sr("migrate resume")
        .code(2)
        .says("strongroom restore")
        .says("--to store:/again");
    case.sr("restore app.backup --to store:/again")
        .code(2)
        .says("Go on");
    case.sr("restore app.backup --to store:/again --yes")
        .ok()
        .says("was interrupted: going on with")
        .says("40 secrets in store, each read back and compared");
    assert_eq!(newest_stage(&case), "done");
    case.sr("migrate verify").ok().prints("40 of 40");
}

#[test]
fn a_backup_can_have_a_passphrase() {
    let case = Case::new();
    case.set("token", case.canary("t"));
    let phrase = case.canary("correct horse ");
    let file = case.path("home/phrase");
    std::fs::write(&file, format!("{phrase}\n")).unwrap();
    case.leave_open(&file);
    let source = format!("--passphrase=@{}", file.display());
    case.run(&["backup", "a.backup", &source]).ok();
    case.run(&["restore", "a.backup", "--verify", &source]).ok();
    case.sr("restore a.backup --verify")
        .code(2)
        .says("nobody is there");
    std::fs::write(&file, "another one entirely\n").unwrap();
    case.run(&["restore", "a.backup", "--verify", &source])
        .code(7);
}
