//! Many processes at once, and processes that are killed: what was acknowledged is there.

use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use crate::support::Case;
use crate::support::PROGRAM;

const WRITERS: usize = 8;
const WRITES: usize = 50;
const KILLS: usize = 300;
const KILLS_BETWEEN_LOOKS: usize = 50;

#[test]
fn processes_that_write_at_once_lose_nothing() {
    let case = Case::new();
    let script = "i=0; while [ $i -lt $WRITES ]; do \
                  printf 'value-%s-%s' $WRITER $i | strongroom set \"w$WRITER/n$i\" -q || exit 1; \
                  printf 'shared-%s-%s' $WRITER $i | strongroom set shared -q || exit 2; \
                  i=$((i+1)); done";
    let folder = std::path::Path::new(PROGRAM).parent().unwrap();
    // Half as many rounds: each writes twice.
    let rounds = WRITES / 2;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            case.command("sh")
                .args(["-c", script])
                .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
                .env("WRITER", writer.to_string())
                .env("WRITES", rounds.to_string())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for writer in writers {
        let output = writer.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(!said.contains("locked"), "{said}");
    }
    let list = case.sr("list --json").ok().json();
    assert_eq!(
        list["secrets"].as_array().unwrap().len(),
        WRITERS * rounds + 1
    );
    let history = case.sr("history shared --json").ok().json();
    let versions = history["versions"].as_array().unwrap();
    let newest = versions.last().unwrap()["secret_version"].as_u64().unwrap();
    assert_eq!(
        newest,
        (WRITERS * rounds) as u64,
        "every write made its version"
    );
    let doctor = case.sr("doctor --json").ok().json();
    assert_eq!(doctor["ok"], true);
    for writer in 0..WRITERS {
        let last = rounds - 1;
        let value = case.get(&format!("w{writer}/n{last}"));
        assert_eq!(value, format!("value-{writer}-{last}").as_bytes());
    }
}

/// Writes are started and killed at random moments. One that ended well was acknowledged.
#[test]
fn killed_writes_lose_nothing_that_was_acknowledged() {
    let case = Case::new();
    case.set("counter", "0");
    // Kills fall anywhere in the life of a process, and a little after it.
    let window = life_micros(&case, "counter") * 5 / 4;
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut acknowledged = 0;
    let mut killed = 0;
    let mut attempt = 0;
    while killed < KILLS {
        attempt += 1;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let patience = Duration::from_micros(random % window);
        case.write("next", attempt.to_string());
        let mut child = case
            .command(PROGRAM)
            .args(["set", "counter", "@next", "-q"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Its stderr ends when it does.
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
            Some(0) => acknowledged = attempt,
            None => {
                killed += 1;
                // Looking is slow, and the versions show a loss later, too.
                if killed % KILLS_BETWEEN_LOOKS == 0 {
                    check(&case, acknowledged, attempt);
                }
            }
            Some(code) => panic!("attempt {attempt} failed with {code}: {said}"),
        }
    }
    check(&case, acknowledged, attempt);
    assert!(acknowledged > 0, "every write was killed");
    let doctor = case.sr("doctor --json").ok().json();
    assert_eq!(
        (&doctor["ok"], &doctor["problems"]),
        (&true.into(), &serde_json::json!([]))
    );
    let left: Vec<_> = std::fs::read_dir(case.store(""))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("new"))
        .collect();
    assert!(left.len() < 3, "drafts are left: {left:?}");
}

/// How long a write takes here and now, at most, of some.
fn life_micros(case: &Case, name: &str) -> u64 {
    let life = (0..5).map(|_| {
        let start = Instant::now();
        case.run(&["set", name, "--force"]).stdin("0").ok();
        start.elapsed()
    });
    u64::try_from(life.max().unwrap_or_default().as_micros())
        .unwrap()
        .max(1)
}

/// The value is the last acknowledged one, or one whose writer was killed after it.
fn check(case: &Case, acknowledged: usize, attempt: usize) {
    let value: usize = String::from_utf8(case.get("counter"))
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        (acknowledged..=attempt).contains(&value),
        "{value} is not between {acknowledged} and {attempt}"
    );
    let history = case.sr("history counter --json").ok().json();
    for version in history["versions"].as_array().unwrap() {
        let number = version["secret_version"].to_string();
        case.run(&["get", "counter", "--version", &number]).ok();
    }
}

/// A first use that is killed leaves nothing that keeps the next from working.
#[test]
fn a_killed_first_use_can_be_tried_again() {
    let window = life_micros(&Case::new(), "first") * 5 / 4;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..25 {
        let case = Case::new();
        case.write("value", "value-of-first");
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let patience = Duration::from_micros(random % window);
        let mut child = case
            .command(PROGRAM)
            .args(["set", "first", "@value", "-q"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (ended, end) = mpsc::channel();
        let mut out = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let _ = std::io::Read::read_to_end(&mut out, &mut Vec::new());
            let _ = ended.send(());
        });
        if end.recv_timeout(patience).is_err() {
            child.kill().unwrap();
        }
        child.wait().unwrap();
        reader.join().unwrap();
        case.sr("set first @value").ok();
        assert_eq!(case.get("first"), b"value-of-first");
        case.sr("doctor").ok();
    }
}
