//! Real commands under a real parent: each test starts this test program again, as `driver`.

mod harness;
mod terminals;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::process::Stdio;

use rustix::process::Signal;

use self::harness::Driver;

fn check(script: &str, stdout: &str, stderr: &str, code: i32) {
    let done = Driver::shell(script).output();
    assert_eq!(
        String::from_utf8_lossy(&done.stdout),
        stdout,
        "stdout of {script}"
    );
    assert_eq!(
        String::from_utf8_lossy(&done.stderr),
        stderr,
        "stderr of {script}"
    );
    assert_eq!(done.code, Some(code), "code of {script}");
}

#[test]
fn codes_and_signals_come_back() {
    check("exit 0", "", "", 0);
    check("exit 3", "", "", 3);
    check("exit 255", "", "", 255);
    check("kill -9 $$", "", "", 137);
    check("kill -15 $$", "", "", 143);
}

#[test]
fn both_streams_are_masked_and_kept_apart() {
    check(
        "echo a secret b; echo no secret >&2",
        "a [masked] b\n",
        "no [masked]\n",
        0,
    );
    check("printf sec; printf ret; printf sec", "[masked]sec", "", 0);
}

#[test]
fn one_pipe_for_both_keeps_their_order() {
    let script = "for i in 1 2 3 4 5 6 7 8 9; do echo o$i; echo e$i >&2; done";
    let mut driven = Driver::shell(script).joined_output().start();
    let expected: String = (1..10).map(|i| format!("o{i}\ne{i}\n")).collect();
    assert_eq!(String::from_utf8(driven.read_to_end()).unwrap(), expected);
    assert_eq!(driven.wait(), Some(0));
}

#[test]
fn without_masking_the_streams_are_ours() {
    let done = Driver::shell("echo secret; echo secret >&2; exit 4")
        .inherited()
        .output();
    assert_eq!(
        (&*done.stdout, &*done.stderr),
        (&b"secret\n"[..], &b"secret\n"[..])
    );
    assert_eq!(done.code, Some(4));
}

#[test]
fn any_bytes_pass_unchanged() {
    let bytes = random_bytes(5 << 20);
    let mut driven = Driver::new(&["cat"]).start();
    let mut stdin = driven.take_stdin();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    assert!(driven.read_to_end() == bytes, "bytes differ");
    writer.join().unwrap();
    assert_eq!(driven.wait(), Some(0));
}

#[test]
fn a_prompt_that_may_begin_a_secret_appears() {
    let mut driven = Driver::shell("printf sec; read line; echo $line").start();
    driven.read_until(b"sec");
    driven.take_stdin().write_all(b"ret\n").unwrap();
    assert_eq!(driven.read_to_end(), b"ret\n");
}

#[test]
fn a_secret_on_standard_input_arrives_whole() {
    let bytes = random_bytes(300_000);
    let done = Driver::new(&["cat"]).stdin_secret(&bytes).output();
    assert!(done.stdout == bytes, "bytes differ");
    assert_eq!(
        Driver::new(&["true"]).stdin_secret(&bytes).output().code,
        Some(0)
    );
}

#[test]
fn what_cannot_start_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str, mode| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let plain = script("plain", "#!/bin/sh\n", 0o644);
    let bare = script("bare", "echo hi\n", 0o755);
    let lost = script("lost", "#!/nowhere/sh\n", 0o755);
    let folder = folder.path().to_str().unwrap();
    let cases: [(&str, i32, &str); 7] = [
        (
            "no-such-program",
            127,
            "there is no program `no-such-program`",
        ),
        (
            "/no/such/program",
            127,
            "there is no program `/no/such/program`",
        ),
        ("", 127, "there is no program ``"),
        (&plain, 126, "no permission"),
        (&bare, 126, "neither a program nor a script"),
        (&lost, 126, "the interpreter it names is not there"),
        (folder, 126, "it is a folder"),
    ];
    for (program, code, message) in cases {
        let done = Driver::new(&[program]).output();
        let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.code, Some(code), "{program}: {stderr}");
        assert!(stderr.contains(message), "{program}: {stderr}");
    }
}

#[test]
fn the_path_is_that_of_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("only-here");
    fs::write(&path, "#!/bin/sh\necho found $0\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let done = Driver::new(&["only-here"])
        .child_path(folder.path())
        .output();
    assert_eq!(
        String::from_utf8(done.stdout).unwrap(),
        format!("found {}\n", path.display())
    );
    assert_eq!(Driver::new(&["only-here"]).output().code, Some(127));
}

#[test]
fn signals_are_passed_on() {
    for signal in [
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
    ] {
        let number = signal.as_raw();
        let script = format!("trap 'exit 7' {number}; echo ready; {WAIT}");
        let mut driven = Driver::shell(&script).start();
        driven.read_until(b"ready");
        driven.signal(signal);
        assert_eq!(driven.wait(), Some(7), "signal {number}");
    }
}

#[test]
fn we_outlive_a_command_that_takes_its_time_to_end() {
    let mut driven =
        Driver::shell("trap 'echo later' TERM; echo ready; read line; read line; exit 5").start();
    driven.read_until(b"ready");
    driven.signal(Signal::TERM);
    driven.read_until(b"later");
    driven.take_stdin().write_all(b"go\ngo\n").unwrap();
    assert_eq!(driven.wait(), Some(5));
}

#[test]
fn secret_files_are_there_and_go_with_the_command() {
    let base = tempfile::tempdir_in("/dev/shm").unwrap();
    let is_empty = || fs::read_dir(base.path()).unwrap().next().is_none();
    let done = Driver::shell("cat \"$WHERE\"")
        .file(b"\0exact\xff", base.path())
        .output();
    assert_eq!((done.code, &*done.stdout), (Some(0), &b"\0exact\xff"[..]));
    assert!(is_empty());

    let mut driven = Driver::shell("echo ready; read line")
        .file(b"x", base.path())
        .start();
    driven.read_until(b"ready");
    assert!(!is_empty());
    driven.signal(Signal::TERM);
    assert_eq!(driven.wait(), Some(143));
    assert!(is_empty());

    assert_eq!(
        Driver::new(&["/etc"]).file(b"x", base.path()).output().code,
        Some(126)
    );
    assert!(is_empty());
}

#[test]
fn what_a_killed_parent_left_is_swept_by_the_next() {
    let base = tempfile::tempdir_in("/dev/shm").unwrap();
    let count = || fs::read_dir(base.path()).unwrap().count();
    let mut killed = Driver::shell("echo ready; read line")
        .file(b"x", base.path())
        .start();
    killed.read_until(b"ready");
    killed.signal(Signal::KILL);
    assert_eq!(killed.wait(), None);
    assert_eq!(count(), 1);
    Driver::new(&["true"]).file(b"x", base.path()).output();
    assert_eq!(count(), 0);
}

#[test]
fn without_a_tmpfs_files_are_inherited_memory() {
    let done = Driver::shell("cat \"$WHERE\"")
        .file(b"anon", "/proc".as_ref())
        .output();
    assert_eq!((done.code, &*done.stdout), (Some(0), &b"anon"[..]));
}

#[test]
fn the_command_inherits_nothing_of_ours() {
    let base = tempfile::tempdir_in("/dev/shm").unwrap();
    let script = "cd /proc/$$/fd; echo *; ulimit -Sc; ulimit -Hc; \
                  grep -E '^(SigBlk|SigIgn|SigCgt|NoNewPrivs)' /proc/self/status";
    let prepare = "ulimit -Sc 2048; exec \"$@\"";
    let expected = {
        let mut command = Command::new("sh");
        command.args(["-c", prepare, "sh", "sh", "-c", script]);
        command.stdin(Stdio::null()).output().unwrap().stdout
    };
    let driver = || {
        Driver::shell(script)
            .file(b"x", base.path())
            .prepared(prepare)
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(&driver().output().stdout), text(&expected));
    assert_eq!(text(&driver().inherited().output().stdout), text(&expected));
}

#[test]
fn a_signal_that_was_ignored_stays_so() {
    let script = "grep -E '^SigIgn' /proc/self/status";
    let done = Driver::shell(script)
        .prepared("trap '' HUP; exec \"$@\"")
        .output();
    let set = String::from_utf8(done.stdout).unwrap();
    let set = u64::from_str_radix(set.trim_start_matches("SigIgn:").trim(), 16).unwrap();
    assert_eq!(set & 1, 1);
}

#[test]
fn a_reader_that_leaves_ends_the_command() {
    let mut driven = Driver::new(&["yes"]).start();
    driven.read_until(b"y\n");
    driven.close_stdout();
    assert_eq!(driven.wait(), Some(141));
}

#[test]
fn a_grandchild_that_holds_the_pipe_does_not_hold_us() {
    let mut driven = Driver::shell("sleep 300 & echo $!").start();
    let output = String::from_utf8(driven.read_to_end()).unwrap();
    assert_eq!(driven.wait(), Some(0));
    kill_by_text(&output);

    let mut driven = Driver::shell("(while :; do echo tick; done) & echo $! >&2").start();
    driven.read_until(b"tick");
    driven.drain_to_end();
    assert_eq!(driven.wait(), Some(0));
    kill_by_text(&String::from_utf8(driven.read_stderr()).unwrap());
}

#[test]
fn as_the_first_process_it_reaps_orphans() {
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc"];
    let is_allowed = Command::new(unshare[0])
        .args(&unshare[1..])
        .arg("true")
        .output();
    if !is_allowed.is_ok_and(|done| done.status.success()) {
        return;
    }
    let script = "pid=$(sh -c 'sleep 0.01 >/dev/null & echo $!'); \
                  n=0; while test -d /proc/$pid; do n=$((n+1)); test $n -gt 2000 && exit 1; \
                  sleep 0.01; done; echo $$; exit 6";
    let done = Driver::shell(script)
        .prepared("exec unshare --pid --fork --mount-proc \"$@\"")
        .output();
    assert_eq!(done.code, Some(6), "{done:?}");
}

/// Ends a process that a script left in the background and named.
fn kill_by_text(pid: &str) {
    let pid = pid
        .trim()
        .parse()
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

/// Bytes without a pattern, the same each time.
fn random_bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next)
        .flatten()
        .take(count)
        .collect()
}

/// The driver's place in the test program; the test that it is does nothing by itself.
#[test]
fn driver() {
    harness::drive();
}

/// A shell that waits and still answers to traps.
const WAIT: &str = "while :; do sleep 0.02; done";
