//! `export`: what other programs read back is what was stored.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use data_encoding::BASE64;

use crate::support::Case;
use crate::support::mode;

/// Values with everything that quoting gets wrong.
fn project(is_multiline: bool) -> (Case, BTreeMap<String, String>) {
    let case = Case::new();
    let mut values: Vec<(&str, String)> = vec![
        ("PLAIN", case.canary("")),
        ("QUOTES", format!("it's \"{}\" `x`", case.canary(""))),
        (
            "DOLLAR",
            format!("$HOME ${{PATH}} $(id) {}", case.canary("")),
        ),
        ("BACKSLASH", format!("a\\n\\\\b\\{}", case.canary(""))),
        ("HASH", format!("{} # no comment", case.canary(""))),
        ("SPACES", format!("  {}  ", case.canary(""))),
        ("UNICODE", format!("grüße-\u{1f511}-{}", case.canary(""))),
        ("YES", "yes".to_owned()),
        ("NUMBER", "0123".to_owned()),
        ("NULL", "null".to_owned()),
        ("TIME", "12:30:45".to_owned()),
        ("EQUALS", format!("a=b&c={}", case.canary(""))),
    ];
    if is_multiline {
        values.push((
            "LINES",
            format!("first {}\nsecond\n\nlast\n", case.canary("")),
        ));
    }
    let mut manifest = String::new();
    for (name, _) in &values {
        manifest.push_str(&format!("[secrets.{name}]\n"));
    }
    case.manifest(&manifest);
    for (name, value) in &values {
        case.set(name, value);
    }
    let values = values
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    (case, values)
}

fn export(case: &Case, format: &str) -> String {
    let shown = case.run(&["export", "--format", format]).reveals().ok();
    String::from_utf8(shown.stdout).unwrap()
}

/// Gives a program text to read; what it prints. `None` when the program is not there.
fn read_by(program: &str, args: &[&str], text: &str) -> Option<String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .ok()?;
    let output = child.wait_with_output().unwrap();
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn json_is_read_back() {
    let (case, values) = project(true);
    let read: BTreeMap<String, String> = serde_json::from_str(&export(&case, "json")).unwrap();
    assert_eq!(read, values);
    assert_eq!(
        export(&case, "json"),
        case.sr("export --json").reveals().ok().out()
    );
}

#[test]
fn yaml_is_read_back() {
    let (case, values) = project(true);
    let text = export(&case, "yaml");
    let read: BTreeMap<String, String> = serde_yaml_ng::from_str(&text).unwrap();
    assert_eq!(read, values);
    // Reads YAML 1.1, where a bare yes is a boolean.
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))";
    if let Some(json) = read_by("python3", &["-c", script], &text) {
        let read: BTreeMap<String, String> = serde_json::from_str(&json).unwrap();
        assert_eq!(read, values);
    }
}

#[test]
fn a_shell_reads_it_back() {
    let (case, values) = project(true);
    let mut script = export(&case, "shell");
    for name in values.keys() {
        script.push_str(&format!("printf '%s\\0' \"${name}\"\n"));
    }
    for shell in ["sh", "bash", "dash"] {
        let Some(read) = read_by(shell, &["-s"], &script) else {
            continue;
        };
        let read: Vec<&str> = read.split_terminator('\0').collect();
        let expected: Vec<&str> = values.values().map(String::as_str).collect();
        assert_eq!(read, expected, "{shell}");
    }
}

#[test]
fn an_env_file_is_read_back() {
    let (case, values) = project(true);
    let text = export(&case, "env");
    // By our own reader, through a chain.
    let other = Case::new();
    let names: String = values
        .keys()
        .map(|name| format!("[secrets.{name}]\n"))
        .collect();
    other.manifest(&format!(
        "[profiles.development]\nchain = [\"dotenv:.env\"]\n{names}"
    ));
    other.write_open(".env", &text);
    for (name, value) in &values {
        assert_eq!(other.get(name), value.as_bytes(), "{name}");
    }
    // By the original, where it is installed.
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.peers/node/node_modules");
    if modules.join("dotenv").exists() {
        let script = format!(
            "const {{parse}} = require({:?}); \
             console.log(JSON.stringify(parse(require('fs').readFileSync(0))))",
            modules.join("dotenv").display().to_string()
        );
        let json = read_by("node", &["-e", &script], &text).expect("node reads it");
        let read: BTreeMap<String, String> = serde_json::from_str(&json).unwrap();
        assert_eq!(read, values);
    }
}

#[test]
fn lines_for_docker_and_gitlab_are_read_back() {
    let (case, values) = project(false);
    for format in ["docker", "gitlab"] {
        let text = export(&case, format);
        let read: BTreeMap<String, String> = text
            .lines()
            .map(|line| {
                let (name, value) = line.split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect();
        assert_eq!(read, values, "{format}");
    }
}

#[test]
fn what_a_format_cannot_hold_is_told_and_nothing_written() {
    let (case, _) = project(true);
    for format in ["docker", "gitlab"] {
        case.run(&["export", "--format", format, "-o", "out"])
            .code(5)
            .says("LINES has several lines or a NUL byte")
            .says("nothing was written");
    }
    let binary = Case::with_manifest("[secrets.BYTES]\ntarget = { type = \"file\" }\n");
    binary.set("BYTES", [0xff, 0, 0xfe, 10, 13]);
    for format in ["env", "json", "yaml", "shell", "docker", "gitlab"] {
        let failed = binary
            .run(&["export", "--format", format, "-o", "out"])
            .output();
        assert_eq!(failed.status.code(), Some(5), "{format}: {}", failed.err());
    }
    assert!(!case.in_project("out").exists());
    assert!(!binary.in_project("out").exists());
    let secret: serde_json::Value = serde_yaml_ng::from_str(&export(&binary, "k8s")).unwrap();
    assert_eq!(secret["data"]["BYTES"], "/wD+Cg0=");
}

#[test]
fn a_kubernetes_secret_is_read_back() {
    let (case, values) = project(true);
    let secret: serde_json::Value = serde_yaml_ng::from_str(&export(&case, "k8s")).unwrap();
    assert_eq!(
        (
            &secret["kind"],
            &secret["metadata"]["name"],
            &secret["type"]
        ),
        (&"Secret".into(), &"shop".into(), &"Opaque".into())
    );
    for (name, value) in &values {
        let data = secret["data"][name].as_str().unwrap();
        assert_eq!(BASE64.decode(data.as_bytes()).unwrap(), value.as_bytes());
    }
}

#[test]
fn lines_for_github_are_read_back() {
    let (case, values) = project(true);
    let text = export(&case, "github");
    let mut read = BTreeMap::new();
    let mut lines = text.split('\n');
    while let Some((name, mark)) = lines.next().and_then(|line| line.split_once("<<")) {
        let value: Vec<&str> = lines.by_ref().take_while(|line| *line != mark).collect();
        read.insert(name.to_owned(), value.join("\n"));
    }
    assert_eq!(read, values);
    assert_ne!(text, export(&case, "github"), "the mark is drawn anew");
}

#[test]
fn a_file_is_new_and_for_its_owner_only() {
    let (case, _) = project(true);
    let out = case.in_project("out.env");
    case.leave_open(&out);
    case.shell("umask 000; strongroom export -o out.env")
        .ok()
        .says("(mode 600)");
    assert_eq!(mode(&out), 0o600);
    let before = std::fs::read(&out).unwrap();
    case.sr("export --format json -o out.env")
        .code(6)
        .says("is there already");
    assert_eq!(std::fs::read(&out).unwrap(), before);
    case.sr("export --format json -o out.env --force").ok();
    assert_eq!(mode(&out), 0o600);
    assert!(std::fs::read(&out).unwrap().starts_with(b"{"));
    let left: Vec<_> = std::fs::read_dir(case.in_project("")).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn nothing_is_written_through_a_link() {
    let (case, _) = project(true);
    let victim = case.path("home/victim");
    std::fs::write(&victim, "mine").unwrap();
    let link = case.in_project("out.env");
    std::os::unix::fs::symlink(&victim, &link).unwrap();
    case.sr("export -o out.env").code(6);
    case.leave_open(&link);
    case.sr("export -o out.env --force").ok();
    assert_eq!(std::fs::read(&victim).unwrap(), b"mine");
    assert!(link.symlink_metadata().unwrap().is_file());
    case.sr("export -o no/such/folder/out").code(1);
}

#[test]
fn settings_are_left_out_on_demand() {
    let case =
        Case::with_manifest("[secrets.TOKEN]\n[secrets.PORT]\nsensitive = false\ndefault = 8080\n");
    case.set("TOKEN", case.canary(""));
    assert!(export(&case, "env").contains("PORT=8080"));
    let secrets = case.sr("export --secrets-only").reveals().ok().out();
    assert!(!secrets.contains("PORT"), "{secrets}");
}

#[test]
fn a_name_that_no_shell_takes_is_refused() {
    let case = Case::with_manifest("[secrets.\"with-dash.dot\"]\n");
    case.set("with-dash.dot", case.canary(""));
    for format in ["shell", "docker", "github", "gitlab"] {
        case.run(&["export", "--format", format])
            .code(5)
            .says("is no name of a shell variable");
    }
}
