//! `examples/desktop-app`: what applications copy has to work.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;

use crate::support::Case;
use crate::support::PROGRAM;
use crate::support::files_below;

/// The example, where its own files are.
fn example(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/desktop-app");
    folder.join(name)
}

/// Runs a program of the example with something on its standard input.
fn node(case: &Case, script: &str, args: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    use std::io::Write;
    let mut command = case.command("node");
    let mut child = command
        .arg(example(script))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // Who needs no answers reads none.
    let _ = pipe.write_all(stdin.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn every_program_of_the_example_is_sound() {
    for file in files_below(&example("")) {
        if file.extension().is_some_and(|end| end == "js") {
            let checked = Command::new("node").arg("--check").arg(&file).status();
            assert!(checked.unwrap().success(), "{}", file.display());
        }
    }
    let case = Case::new();
    case.run(&["bundle", "lint", example("bundle.json").to_str().unwrap()])
        .ok();
}

#[test]
fn the_example_runs_in_a_terminal() {
    let case = Case::new();
    let data = case.path("data/app");
    let args = [
        "--program",
        PROGRAM,
        "--data",
        data.to_str().unwrap(),
        "--once",
    ];
    let nowhere = ["--program", "no-such-program", "--once"];
    let (code, _, err) = node(&case, "app.js", &nowhere, "");
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("there is no program no-such-program"), "{err}");
    let wrong = case.canary("wrong value ");
    let (code, out, err) = node(&case, "app.js", &args, &format!("openai_key={wrong}\n"));
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains("needed: openai_key (OpenAI API key)"), "{out}");
    assert!(
        out.contains("refused: ") && out.contains("openai_key"),
        "{out}"
    );
    let key = case.canary("sk-");
    let (code, first, err) = node(&case, "app.js", &args, &format!("openai_key={key}\n"));
    assert_eq!(code, Some(0), "{first}{err}");
    assert!(
        first.contains("ready: {\"services\":{\"api\":{\"http\":"),
        "{first}"
    );
    assert!(first.ends_with("ended: 0\n"), "{first}");
    // The installation knows the value now.
    let (code, second, err) = node(&case, "app.js", &args, "");
    assert_eq!(code, Some(0), "{second}{err}");
    assert!(!second.contains("needed"), "{second}");
    for text in [out, first, second, err] {
        assert!(!text.contains(&key) && !text.contains(&wrong), "{text}");
    }
    // Each start of the service is a row of the installation's ledger.
    let store = data.join("store/secrets.db");
    let line = [
        "--store",
        store.to_str().unwrap(),
        "ledger",
        "list",
        "--json",
    ];
    let ledger: Value = case.run(&line).ok().json();
    let rows = ledger["deliveries"].as_array().unwrap();
    // Where another program was faster at a port, it was started once more.
    assert!(rows.len() >= 2, "{ledger}");
    for row in rows {
        assert_eq!(
            (&row["channel"], &row["to"]),
            (&"supervise".into(), &"service api".into())
        );
        assert_eq!(row["secrets"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn what_the_window_does_works_without_a_window() {
    let case = Case::new();
    let key = case.canary("sk-");
    let data = case.path("data/app");
    let args = [PROGRAM, data.to_str().unwrap()];
    let (code, out, err) = node(&case, "test.js", &args, &key);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "all as it should be\n"),
        "{err}"
    );
}
