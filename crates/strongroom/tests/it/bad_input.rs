//! Bad input gets a clear message and the right exit code; nothing is lost, nothing shown.

use std::os::unix::fs::FileExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::Case;

/// A store with some values, the last written one first.
fn filled() -> (Case, Vec<(String, String)>) {
    let case = Case::new();
    let mut values: Vec<(String, String)> = (0..6)
        .map(|at| (format!("folder/secret-{at}"), case.canary("")))
        .collect();
    for (name, value) in &values {
        case.set(name, value);
    }
    values.reverse();
    (case, values)
}

/// Files of the store but the backup.
const PARTS: [&str; 4] = ["store.db", "store.db-wal", "store.db-shm", "store.head"];

fn copy_store(case: &Case, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for part in PARTS {
        let from = case.store(part);
        if from.exists() {
            std::fs::copy(from, to.join(part)).unwrap();
        }
    }
}

fn put_back(case: &Case, from: &Path) {
    for part in PARTS {
        let _ = std::fs::remove_file(case.store(part));
        if from.join(part).exists() {
            std::fs::copy(from.join(part), case.store(part)).unwrap();
        }
    }
}

/// The right values, or a failure that says what and where; never another value.
fn right_or_refused(case: &Case, values: &[(String, String)], what: &str) -> bool {
    let mut is_refused = false;
    for (name, value) in values {
        let got = case.run(&["get", name]).reveals().output();
        match got.status.code() {
            Some(0) => assert_eq!(got.stdout, value.as_bytes(), "{what}: {name}"),
            Some(1) => {
                is_refused = true;
                let said = got.err();
                assert!(got.stdout.is_empty(), "{what}: {name}");
                assert!(said.contains("store"), "{what}: {said}");
                assert!(!said.contains("bug"), "{what}: {said}");
                assert!(
                    said.contains("backup") || said.contains("doctor"),
                    "{what}: {said}"
                );
            }
            _ => panic!("{what}: {name}: {} {}", got.status, got.err()),
        }
    }
    is_refused
}

#[test]
fn flipped_bytes_are_noticed() {
    let (case, values) = filled();
    let good = case.path("state/good");
    copy_store(&case, &good);
    let mut refused = 0;
    for part in ["store.db", "store.db-wal", "store.head"] {
        let length = std::fs::metadata(good.join(part)).unwrap().len();
        for step in 0..12 {
            put_back(&case, &good);
            let at = if step < 4 {
                step * 8
            } else {
                length * (step - 3) / 9
            };
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(case.store(part))
                .unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x55], at).unwrap();
            drop(file);
            let what = format!("{part}, byte {at} of {length}");
            refused += usize::from(right_or_refused(&case, &values[..2], &what));
        }
    }
    assert!(refused > 5, "{refused}");
    put_back(&case, &good);
    assert!(!right_or_refused(&case, &values, "untouched"));
}

#[test]
fn a_truncated_store_is_noticed() {
    let (case, values) = filled();
    let good = case.path("state/good");
    copy_store(&case, &good);
    for part in ["store.db", "store.db-wal"] {
        let length = std::fs::metadata(good.join(part)).unwrap().len();
        for tenth in 0..10 {
            put_back(&case, &good);
            let file = std::fs::OpenOptions::new()
                .write(true)
                .open(case.store(part))
                .unwrap();
            file.set_len(length * tenth / 10).unwrap();
            drop(file);
            let what = format!("{part} cut to {tenth} tenths");
            let is_refused = right_or_refused(&case, &values, &what);
            // What was written last lies in the log; pages of the file may be there anew.
            assert!(is_refused || part == "store.db", "{what} was not noticed");
        }
    }
}

/// The log has the first pages, so that the store opens: a chain comes upon the damage.
#[test]
fn damage_that_a_chain_meets_names_the_store_and_its_backup() {
    let case = Case::new();
    let names: Vec<String> = (0..40).map(|at| format!("NAME_{at}")).collect();
    let declared = names
        .iter()
        .map(|name| format!("[secrets.{name}]\nclass = \"user_prompt\"\n"));
    let text: String = declared.collect();
    case.write(
        "strongroom.toml",
        format!("[project]\nname = \"app\"\n{text}"),
    );
    for name in &names {
        case.set(name, case.canary(""));
    }
    // The whole log is folded back, so that it has the pages of one write and no others.
    let connection = rusqlite::Connection::open(case.store("store.db")).unwrap();
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    connection.close().unwrap();
    case.set(&names[0], case.canary(""));
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(case.store("store.db"))
        .unwrap();
    file.set_len(8192).unwrap();
    let get = |name: &&String| case.run(&["get", name.as_str()]).reveals().output();
    let lost = names.iter().find(|name| !get(name).status.success());
    let get = format!("get {}", lost.unwrap());
    for line in [get.as_str(), "check", "run -- true", "export --format env"] {
        let got = case.sr(line).code(1);
        let said = got.out() + &got.err();
        for word in ["is damaged", "store.db: ", "store.db.bak"] {
            assert!(said.contains(word), "{line}: {said}");
        }
    }
}

/// The key fits and what it opens does not: the file is named, as for any other damage.
#[test]
fn a_damaged_keyring_names_the_store_and_its_backup() {
    let (case, _) = filled();
    let connection = rusqlite::Connection::open(case.store("store.db")).unwrap();
    let read = "SELECT value FROM meta WHERE key = 'header'";
    let mut header: Vec<u8> = connection.query_row(read, [], |row| row.get(0)).unwrap();
    *header.last_mut().unwrap() ^= 1;
    let write = "UPDATE meta SET value = ?1 WHERE key = 'header'";
    connection.execute(write, [header]).unwrap();
    drop(connection);
    for line in ["get folder/secret-1", "list", "doctor"] {
        case.sr(line)
            .code(1)
            .says("store.db: the key fits, but")
            .says("store.db.bak is of")
            .says("--restore-backup");
    }
}

#[test]
fn a_store_that_is_something_else_is_named_and_left_alone() {
    let (case, _) = filled();
    for part in ["store.db-wal", "store.db-shm"] {
        let _ = std::fs::remove_file(case.store(part));
    }
    for text in ["", "not a database at all, but a text of some length\n"] {
        std::fs::write(case.store("store.db"), text).unwrap();
        std::fs::set_permissions(case.store("store.db"), PermissionsExt::from_mode(0o600)).unwrap();
        case.sr("get folder/secret-1")
            .code(1)
            .says("store.db")
            .says("store.db.bak");
        case.sr("set other").stdin("value-of-other").code(1);
        assert_eq!(
            std::fs::read(case.store("store.db")).unwrap(),
            text.as_bytes()
        );
    }
}

#[test]
fn the_backup_takes_the_damaged_stores_place_on_demand() {
    let (case, values) = filled();
    for part in ["store.db-wal", "store.db-shm"] {
        let _ = std::fs::remove_file(case.store(part));
    }
    std::fs::write(case.store("store.db"), "damaged").unwrap();
    case.sr("doctor").code(1).says("--restore-backup");
    case.sr("doctor --restore-backup").code(2).says("add --yes");
    case.sr("doctor --restore-backup --yes")
        .ok()
        .says("the backup is in place; the store before is");
    // The backup is of the first write.
    let (name, value) = values.last().unwrap();
    assert_eq!(case.get(name), value.as_bytes());
    let kept = std::fs::read_dir(case.store(""))
        .unwrap()
        .flatten()
        .any(|entry| std::fs::read(entry.path()).is_ok_and(|bytes| bytes == b"damaged"));
    assert!(kept, "the damaged store is gone");
}

#[test]
fn a_store_of_a_newer_program_is_refused() {
    let (case, values) = filled();
    let connection = rusqlite::Connection::open(case.store("store.db")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    case.sr("get folder/secret-1")
        .code(1)
        .says("has format 99")
        .says("use the newer program");
    case.sr("set other").stdin("value-of-other").code(1);
    let connection = rusqlite::Connection::open(case.store("store.db")).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    drop(connection);
    assert!(!right_or_refused(&case, &values, "the old format again"));
}

#[test]
fn an_older_copy_of_the_store_is_refused_until_accepted() {
    let (case, values) = filled();
    let old = case.path("state/old");
    copy_store(&case, &old);
    std::fs::remove_file(old.join("store.head")).unwrap();
    let newer = case.canary("newer");
    case.set(&values[0].0, &newer);
    let head = std::fs::read(case.store("store.head")).unwrap();
    put_back(&case, &old);
    std::fs::write(case.store("store.head"), head).unwrap();
    std::fs::set_permissions(case.store("store.head"), PermissionsExt::from_mode(0o600)).unwrap();
    case.sr("list")
        .code(1)
        .says("is older than its head file says")
        .says("--accept-rollback");
    case.sr("set other").stdin("value-of-other").code(1);
    case.sr("doctor --accept-rollback").code(2);
    case.sr("doctor --accept-rollback --yes").ok();
    assert!(!right_or_refused(&case, &values, "accepted"));
    case.set("other", "value-of-other");
}

#[test]
fn without_its_head_file_nobody_knows_whether_the_store_is_the_latest() {
    let (case, values) = filled();
    std::fs::remove_file(case.store("store.head")).unwrap();
    case.sr("list")
        .code(1)
        .says("store.head")
        .says("--accept-rollback");
    case.sr("doctor --accept-rollback --yes").ok();
    assert!(!right_or_refused(&case, &values, "accepted"));
}

#[test]
fn without_a_key_the_store_stays_closed() {
    let (case, values) = filled();
    std::fs::remove_file(case.key_file()).unwrap();
    case.sr("get folder/secret-1")
        .code(7)
        .says("store.key: there is none");
    case.sr("set folder/secret-1")
        .stdin("another-value")
        .code(7);
    assert!(
        !case.key_file().exists(),
        "a new key was made for an old store"
    );
    // A key of another store.
    let other = Case::new();
    other.set("x", "value-of-x");
    std::fs::copy(other.key_file(), case.key_file()).unwrap();
    case.run(&["get", &values[0].0])
        .code(7)
        .says("it does not open this store");
}

/// In a namespace of its own, a file system of one megabyte is filled until no write fits.
#[test]
fn a_full_disk_loses_nothing() {
    let case = Case::new();
    let script = r#"
        mkdir -p "$XDG_DATA_HOME/strongroom" && chmod 700 "$XDG_DATA_HOME/strongroom" &&
        mount -t tmpfs -o size=1m,mode=0700 none "$XDG_DATA_HOME/strongroom" || exit 77
        strongroom set first @value -q || exit 1
        i=0
        while [ $i -lt 60 ]; do
            if strongroom set "more/$i" @value -q 2>said; then i=$((i+1)); else break; fi
        done
        code=$?
        echo "stopped at $i"; cat said
        [ $i -gt 3 ] && [ $i -lt 60 ] || exit 2
        strongroom get first | cmp - value || exit 3
        j=0
        while [ $j -lt $i ]; do
            strongroom get "more/$j" | cmp - value || exit 4
            j=$((j+1))
        done
        strongroom get "more/$i" 2>/dev/null && exit 5
        strongroom doctor || exit 6
        exit 0
    "#;
    let value: String = (0..600).map(|_| case.canary("")).collect();
    case.write_open("value", &value);
    let inner = case.write("fill.sh", script);
    let shell = "exec unshare --user --map-root-user --mount sh";
    let outcome = case.shell(&format!("{shell} {}", inner.display())).output();
    if outcome.status.code() == Some(77) || outcome.err().contains("unshare") {
        eprintln!("passed over: no file system can be mounted here");
        return;
    }
    assert_eq!(
        outcome.status.code(),
        Some(0),
        "{}{}",
        outcome.out(),
        outcome.err()
    );
    let outcome = outcome.prints("error: ");
    assert!(
        outcome.out().contains("full") || outcome.out().contains("room"),
        "{}",
        outcome.out()
    );
}

#[test]
fn the_command_line_is_mended_in_words() {
    let case = Case::with_manifest("[profiles.production]\nchain = [\"env\"]\n[secrets.A]\n");
    let talk: Vec<String> = [
        "chekc",
        "check --profle production",
        "check -p prodution",
        "check --format xml",
        "get",
        "set A --cas abc",
        "run --only",
        "check --json --json=1",
    ]
    .iter()
    .map(|line| case.sr(line).transcript())
    .collect();
    insta::assert_snapshot!(talk.join("\n"));
    case.sr("key")
        .code(2)
        .says("Manage the keys that open the store");
    case.sr("key add").code(2).says("Add a key slot");
    let none: [&str; 0] = [];
    case.run(&none).code(2).says("Begin with: strongroom init");
    case.sr("--version").ok().prints("strongroom ");
}

#[test]
fn errors_are_json_when_json_is_asked_for() {
    let case = Case::new();
    for (line, code, name) in [
        ("get nothing --json", 3, "store.missing"),
        ("check --json", 3, "manifest.missing"),
        ("get --json", 2, "usage"),
        ("chekc --json", 2, "usage"),
    ] {
        let failed = case.sr(line).code(code);
        assert!(failed.stdout.is_empty(), "{line}");
        let error: serde_json::Value = serde_json::from_slice(&failed.stderr).expect(line);
        assert_eq!(
            (&error["version"], &error["error"]["code"]),
            (&1.into(), &name.into()),
            "{line}"
        );
    }
}

#[test]
fn a_manifest_that_is_not_there_is_told() {
    let case = Case::new();
    for line in ["check", "run -- true", "export", "diff staging"] {
        case.sr(line)
            .code(3)
            .says("there is no strongroom.toml here or in any folder above")
            .says("strongroom init");
    }
    case.sr("check --manifest no/such.toml")
        .code(3)
        .says("no/such.toml cannot be read: there is no such file");
    case.write("latin.toml", b"[project]\nname = \"caf\xe9\"\n");
    case.sr("check --manifest latin.toml")
        .code(5)
        .says("is not UTF-8 (byte 21)");
    case.sr("check --manifest .")
        .code(1)
        .says("not a regular file");
}

#[test]
fn a_manifest_is_found_from_below() {
    let case = Case::with_manifest("[secrets.A]\nrequired = false\n");
    let deep = case.in_project("src/deep");
    std::fs::create_dir_all(&deep).unwrap();
    case.sr("check")
        .dir(&deep)
        .ok()
        .prints("shop · profile development");
}

#[test]
fn chains_that_cannot_be_are_told() {
    let case = Case::new();
    for (entry, code, said) in [
        ("stroe", 2, "did you mean store?"),
        ("vault:secret", 2, "no server is named"),
        ("env?optionl=1", 2, "the option optionl is not known"),
        ("env?optional=maybe", 2, "optional is a boolean"),
        ("nowhere:x", 2, "nowhere is no backend"),
        ("", 2, "a backend begins with its kind"),
        ("vault://me:pw@host/secret", 2, "has a password in it"),
        ("env?migrate=store", 2, "only dotenv files migrate"),
    ] {
        case.manifest(&format!(
            "[profiles.development]\nchain = [\"{entry}\"]\n[secrets.A]\n"
        ));
        case.sr("check").code(code).says(said);
    }
}

#[test]
fn booleans_of_the_environment_come_in_all_spellings() {
    let case = Case::new();
    for value in ["yes", "1", "TRUE", "On", "true"] {
        let status = case.sr("status").env("STRONGROOM_JSON", value).ok();
        assert_eq!(status.json()["version"], 1);
    }
    for value in ["no", "0", "False", "OFF", ""] {
        let status = case.sr("status").env("STRONGROOM_JSON", value).ok();
        assert!(status.out().starts_with("WHAT"), "{}", status.out());
    }
    for value in ["nonsense", "2", " yes"] {
        case.sr("status")
            .env("STRONGROOM_JSON", value)
            .code(2)
            .says("STRONGROOM_JSON is none of");
    }
    for name in [
        "STRONGROOM_PROFILE",
        "STRONGROOM_STORE",
        "STRONGROOM_MANIFEST",
        "STRONGROOM_KEY_FILE",
    ] {
        case.sr("status").env(name, "").ok();
    }
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let case = Case::with_manifest("[secrets.A]\nrequired = false\n");
    for line in ["man", "completions bash", "schema", "check --json"] {
        let script = format!("(strongroom {line}; echo \"code $?\" >&2) | :");
        let outcome = case.shell(&script).ok();
        assert_eq!(outcome.err(), "code 0\n", "{line}");
    }
    case.shell("strongroom schema > /dev/full")
        .code(1)
        .says("stdout cannot be written");
    case.shell("strongroom schema >&-").output();
}

#[test]
fn a_config_file_that_is_wrong_is_named_and_not_quoted() {
    let case = Case::new();
    let folder = case.path("config/strongroom");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("config.toml");
    case.leave_open(&file);
    std::fs::write(
        &file,
        format!("store = \"x\"\npassword = \"{}\"\n", case.canary("")),
    )
    .unwrap();
    case.sr("status")
        .code(2)
        .says("config.toml:2 is not understood")
        .says("it knows the keys store, key_file");
    std::fs::write(&file, "store = \"/nowhere/at/all.db\"\n").unwrap();
    case.sr("status")
        .ok()
        .prints("/nowhere/at/all.db")
        .prints("the config file");
}

#[test]
fn without_a_home_the_missing_flag_is_named() {
    let case = Case::new();
    case.shell("unset HOME XDG_DATA_HOME XDG_CONFIG_HOME; strongroom list")
        .code(2)
        .says("HOME is not set, so there is no default for --store");
}

#[test]
fn certificates_are_looked_at_before_anything_is_served() {
    let case = Case::new();
    case.write("chain.pem", "nothing of the kind");
    for (chain, detail) in [
        ("gone.pem", "gone.pem: cannot be read"),
        ("chain.pem", "no certificate in PEM"),
    ] {
        let line = format!("serve --listen 127.0.0.1:0 --tls-cert {chain} --tls-key gone.key");
        let refused = case.sr(&line).code(2).says(detail);
        assert!(!refused.err().contains("serving"), "{}", refused.err());
    }
}
