//! Programs that rotate: what they are told, what they see, and what becomes of one that hangs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use strongroom_core::rotator::Program;
use strongroom_core::rotator::RotatorSpec;
use strongroom_core::version::Provenance;
use strongroom_engine::rotation::After;
use strongroom_engine::rotation::NOT_TAKEN_BACK;
use strongroom_engine::rotation::Purpose;

use crate::support::World;
use crate::support::build;
use crate::support::shown;

/// Keeps the value that it accepts in a file, and notes what it sees.
const PROGRAM: &str = r#"#!/usr/bin/python3
import json, os, sys
home = os.path.dirname(os.path.realpath(sys.argv[0]))
asked = json.load(sys.stdin)
with open(home + "/seen", "a") as seen:
    seen.write(json.dumps([asked["step"], sys.argv[1:], dict(os.environ), asked["secret"]]) + "\n")
accepted = home + "/accepted"
step = asked["step"]
if step == "createSecret":
    print(json.dumps({"value": "new-" + asked["version_id"]}))
elif step == "setSecret":
    open(accepted, "w").write(asked["pending"])
elif step == "testSecret":
    if os.path.exists(home + "/broken"):
        sys.exit("canary: " + asked["pending"])
    assert open(accepted).read() == asked["pending"]
elif step == "takeBack":
    if os.path.exists(home + "/stuck"):
        sys.exit(3)
    open(accepted, "w").write(asked["current"])
"#;

struct Rig {
    folder: tempfile::TempDir,
    world: World,
}

impl Rig {
    async fn new(program: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, program).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let world = World::with("canary-old").await;
        Self { folder, world }
    }

    fn spec(&self, timeout: Option<&str>) -> RotatorSpec {
        let program = self.folder.path().join("program");
        RotatorSpec::Command(Program {
            command: vec![
                program.to_str().unwrap().into(),
                "--for".into(),
                "db".into(),
            ],
            timeout: timeout.map(str::to_owned),
        })
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn mark(&self, name: &str) {
        fs::write(self.folder.path().join(name), "").unwrap();
    }
}

#[tokio::test]
async fn a_program_does_the_steps_and_sees_values_on_its_input_only() {
    let rig = Rig::new(PROGRAM).await;
    let rotator = build(&rig.spec(None), None);
    rig.world.rotate(&*rotator).await;
    let current = shown(&rig.world.current().await);
    assert!(current.starts_with("new-"), "{current}");
    assert_eq!(rig.read("accepted"), current);
    let seen = rig.read("seen");
    for step in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
        assert!(
            seen.contains(&format!("[\"{step}\", [\"--for\", \"db\"], {{")),
            "{seen}"
        );
    }
    assert!(
        !seen.contains("canary") && !seen.contains(&current),
        "{seen}"
    );
    // Nothing of this process's environment.
    assert!(!seen.contains("CARGO"), "{seen}");
    let versions = rig.world.versions().await;
    assert_eq!(versions.last().unwrap().provenance, Provenance::Rotated);
}

#[tokio::test]
async fn a_program_that_fails_puts_the_old_value_back_and_its_words_are_not_told() {
    let rig = Rig::new(PROGRAM).await;
    let rotator = build(&rig.spec(None), None);
    rig.mark("broken");
    rig.world.ask(Purpose::Rotate).await;
    let after = rig.world.drive(&*rotator).await;
    assert!(matches!(after, After::Again(_)), "{after:?}");
    let failure = rig.world.failure().await;
    assert_eq!(failure.code, "rotator.failed");
    assert!(
        failure.message.contains("failed at testSecret"),
        "{failure}"
    );
    assert!(!failure.message.contains("canary"), "{failure}");
    assert_eq!(rig.read("accepted"), "canary-old");
    rig.mark("stuck");
    let after = rig.world.drive(&*rotator).await;
    assert!(matches!(after, After::Again(_)), "{after:?}");
    assert_eq!(rig.world.failure().await.code, NOT_TAKEN_BACK);
    fs::remove_file(rig.folder.path().join("broken")).unwrap();
    let after = rig.world.drive(&*rotator).await;
    assert!(matches!(after, After::Finished), "{after:?}");
    assert_eq!(rig.read("accepted"), shown(&rig.world.current().await));
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_its_children() {
    let rig =
        Rig::new("#!/bin/sh\nsleep 1000 &\necho $! > \"$(dirname \"$0\")/child\"\nsleep 1000\n")
            .await;
    let rotator = build(&rig.spec(Some("5s")), None);
    rig.world.ask(Purpose::Rotate).await;
    let after = rig.world.drive(&*rotator).await;
    assert!(matches!(after, After::Again(_)), "{after:?}");
    let failure = rig.world.failure().await;
    assert!(failure.message.contains("did not end in 5 s"), "{failure}");
    let child = rig.read("child");
    // Gone, or dead and not yet noticed by whoever inherits it.
    let is_dead = || {
        let status = fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        status.is_err() || status.unwrap().contains(") Z ")
    };
    let dying = async {
        while !is_dead() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let died = tokio::time::timeout(Duration::from_secs(60), dying).await;
    assert!(died.is_ok(), "{child}");
}

#[tokio::test]
async fn answers_that_are_none_and_declarations_that_cannot_work_are_refused() {
    for (program, code) in [
        ("#!/bin/sh\necho '{}'\n", "rotation.no_value"),
        ("#!/bin/sh\necho canary\n", "rotation.no_value"),
        ("#!/bin/sh\nhead -c 3000000 /dev/zero\n", "rotator.failed"),
        ("no program", "rotator.failed"),
    ] {
        let rig = Rig::new(program).await;
        let rotator = build(&rig.spec(None), None);
        rig.world.ask(Purpose::Rotate).await;
        let after = rig.world.drive(&*rotator).await;
        assert!(matches!(after, After::Again(_)), "{after:?}");
        let failure = rig.world.failure().await;
        assert_eq!(failure.code, code, "{failure}");
        assert!(!failure.message.contains("canary"), "{failure}");
    }
    for (command, timeout) in [
        (vec![], None),
        (vec!["relative"], None),
        (vec!["/bin/true", "a\0b"], None),
        (vec!["/bin/true"], Some("0s")),
        (vec!["/bin/true"], Some("901s")),
        (vec!["/bin/true"], Some("soon")),
    ] {
        let spec = RotatorSpec::Command(Program {
            command: command.into_iter().map(str::to_owned).collect(),
            timeout: timeout.map(str::to_owned),
        });
        assert!(strongroom_rotators::check(&spec).is_err(), "{spec:?}");
    }
}
