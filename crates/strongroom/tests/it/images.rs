//! Images of a process's memory, as `gcore` takes them: none for its user, nothing in root's.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use strongroom_testkit::canary::contains;

use crate::served::Served;
use crate::support::Case;
use crate::support::PROGRAM;

/// The image of a process, or nothing if it may not be taken.
fn image(of: u32, folder: &Path) -> Option<Vec<u8>> {
    let taken = Command::new("gcore")
        .arg("-o")
        .arg(folder.join("image"))
        .arg(of.to_string())
        .output()
        .unwrap();
    let path: PathBuf = folder.join(format!("image.{of}"));
    let image = std::fs::read(&path).ok();
    assert_eq!(
        image.is_some(),
        taken.status.success(),
        "{}",
        String::from_utf8_lossy(&taken.stderr)
    );
    image
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn an_image_of_run_holds_no_value_and_one_of_its_command_is_as_ever() {
    let case = Case::with_manifest("[secrets.TOKEN]\n");
    let value = case.canary("tok-");
    case.set("TOKEN", &value);
    let mut run = case
        .command(PROGRAM)
        .args([
            "run",
            "--",
            "sh",
            "-c",
            "echo $$ > id.new; mv id.new id; read gone",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let id = case.path("project").join("id");
    while !id.exists() {
        assert!(run.try_wait().unwrap().is_none(), "it ended");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    let command: u32 = std::fs::read_to_string(id).unwrap().trim().parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ours = image(run.id(), folder.path());
    let its = image(command, folder.path());
    drop(run.stdin.take());
    run.wait().unwrap();

    assert_eq!(ours.is_some(), is_root());
    if let Some(ours) = ours {
        assert!(!contains(&ours, value.as_bytes()));
        // The same look at a process that we leave alone finds it.
        assert!(contains(&its.unwrap(), value.as_bytes()));
    }
}

#[test]
fn an_image_of_a_server_holds_no_value() {
    let served = Served::dev();
    let value = "an-answer-that-is-kept-in-memory";
    let body = format!(r#"{{"data":{{"k":"{value}"}}}}"#);
    assert_eq!(served.ask("POST", "secret/data/a", "root", &body).0, 200);
    assert!(
        served
            .ask("GET", "secret/data/a", "root", "")
            .1
            .contains(value)
    );
    let folder = tempfile::tempdir().unwrap();
    let image = image(served.id(), folder.path());
    assert_eq!(image.is_some(), is_root());
    assert!(!image.is_some_and(|image| contains(&image, value.as_bytes())));
}
