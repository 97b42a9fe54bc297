use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

/// A folder with an executable script.
fn script(name: &str, text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_script(folder.path(), name, text);
    folder
}

pub(crate) fn write_script(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn program(folder: &TempDir, name: &str) -> Program {
    let path = format!("/no/such:relative:{}", folder.path().display());
    let variables = Variables::new([
        ("PATH", path.as_str()),
        ("HOME", "/nowhere"),
        ("TOKEN", "t-1"),
        ("OTHER", "x"),
    ]);
    Program::on_path(name, &variables, &["TOKEN"]).unwrap()
}

#[test]
fn it_gets_input_and_only_the_listed_variables() {
    let folder = script(
        "p",
        "PATH=/usr/bin:/bin; cat; echo \"$1|$HOME|$TOKEN|$OTHER|\"",
    );
    let input = SecretValue::from_text("in".repeat(200_000));
    let output = program(&folder, "p").succeed(&words(&["a b"]), Some(&input));
    let output = output.unwrap();
    assert_eq!(output.len(), 400_000 + "a b|/nowhere|t-1||\n".len());
    assert!(output.ends_with(b"a b|/nowhere|t-1||\n"));
}

#[test]
fn input_that_nobody_reads_is_no_failure() {
    let folder = script("p", "exec </dev/null; echo done");
    let input = SecretValue::from_text("in".repeat(200_000));
    let output = program(&folder, "p").succeed(&[], Some(&input)).unwrap();
    assert_eq!(output.as_slice(), b"done\n");
}

#[test]
fn it_is_killed_with_its_group_when_time_is_up() {
    let folder = script(
        "p",
        "PATH=/usr/bin:/bin; sleep 600 & echo $! > $TOKEN; wait",
    );
    let marker = folder.path().join("pid");
    let mut program = program(&folder, "p").within(Duration::from_millis(500));
    let marker_text = SecretValue::copy_from(marker.as_os_str().as_bytes());
    program.environment.push(("TOKEN", marker_text));
    let error = program.run(&[], None).err().unwrap();
    assert!(matches!(error, ProgramError::Late { .. }));
    let Ok(pid) = fs::read_to_string(&marker) else {
        return; // Not even started on a machine this busy.
    };
    let until = Instant::now() + Duration::from_secs(20);
    let status = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
    // Gone, or a zombie that its new parent has not buried yet.
    let is_alive = || fs::read_to_string(&status).is_ok_and(|stat| !stat.contains(") Z "));
    while is_alive() {
        assert!(Instant::now() < until, "the group lives on");
        std::thread::yield_now();
    }
}

#[test]
fn a_child_that_keeps_the_output_open_does_not_hold_us() {
    let folder = script("p", "PATH=/usr/bin:/bin; sleep 600 & echo $!");
    let output = program(&folder, "p").succeed(&[], None).unwrap();
    let pid: i32 = std::str::from_utf8(&output)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let pid = Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn too_much_output_is_refused() {
    let folder = script("p", "PATH=/usr/bin:/bin; yes yesyesyes");
    let program = program(&folder, "p").within(Duration::from_secs(300));
    let error = program.run(&[], None).err().unwrap();
    assert!(matches!(error, ProgramError::TooMuch { .. }));
}

#[test]
fn a_failure_is_told_in_one_escaped_line_without_values() {
    let folder = script(
        "p",
        "echo first >&2; printf 'bad \\033[31mthing\\n' >&2; exit 3",
    );
    let error = program(&folder, "p").succeed(&[], None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "'p' failed (exit code 3): bad \\u{1b}[31mthing"
    );
    let folder = script("p", "read line; echo \"cannot store $line\" >&2; exit 1");
    let input = SecretValue::copy_from(b"canary-77aa\n");
    let error = program(&folder, "p")
        .succeed(&[], Some(&input))
        .unwrap_err();
    assert_eq!(error.to_string(), "'p' failed (exit code 1)");
    let folder = script("p", "echo canary-77aa; echo 'got canary-77aa' >&2; exit 1");
    let error = program(&folder, "p").succeed(&[], None).unwrap_err();
    assert_eq!(error.to_string(), "'p' failed (exit code 1)");
}

#[test]
fn a_program_that_others_can_change_is_not_run() {
    let folder = script("p", "true");
    let find = |trust| Program::find("p", &[folder.path().to_owned()], trust).map(|_| ());
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    find(Trust::Owner).unwrap();
    let path = folder.path().join("p");
    for (mode, by_owner, by_path) in [(0o775, false, true), (0o757, false, false)] {
        for place in [folder.path(), path.as_path()] {
            chmod(place, mode);
            assert_eq!(find(Trust::Owner).is_ok(), by_owner, "{mode:o}");
            assert_eq!(find(Trust::Path).is_ok(), by_path, "{mode:o}");
            chmod(place, 0o755);
        }
    }
    let missing = Program::find("q", &[folder.path().to_owned()], Trust::Path).err();
    assert_eq!(
        missing.unwrap().to_string(),
        "the program 'q' is not installed"
    );
    chmod(&path, 0o644);
    assert!(find(Trust::Path).is_err(), "not executable");
}
