use std::io::Write;
use std::process::Command;
use std::process::Stdio;

use proptest::prelude::*;

use super::*;

fn values(import: &Import) -> Vec<(String, String)> {
    let text = |value: &SecretValue| String::from_utf8(value.expose_secret().to_vec()).unwrap();
    let pairs = import.imported.iter();
    pairs
        .map(|one| (one.name.clone(), text(&one.value)))
        .collect()
}

fn check(read: fn(&[u8]) -> Result<Import, ImportError>, text: &str, expected: &[(&str, &str)]) {
    let found = values(&read(text.as_bytes()).unwrap());
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn docker_takes_everything_behind_the_equals_sign() {
    let text = "# comment\nA=\"quoted\" # kept\nB= x \nC=$HOME\nA=2\n";
    let expected = [("B", " x "), ("C", "$HOME"), ("A", "2")];
    check(from_docker_env, text, &expected);
}

#[test]
fn compose_reads_quotes_and_dollars() {
    let text = "A='$literal' # c\nB=\"a\\tb\"\nC=pay$$me\nD=x # comment\nE=${HOME}/x\nF=\n";
    let import = from_compose_env(text.as_bytes()).unwrap();
    let expected = [
        ("A", "$literal"),
        ("B", "a\tb"),
        ("C", "pay$me"),
        ("D", "x"),
        ("F", ""),
    ];
    let found = values(&import);
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(import.skipped[0].name, "E");
    assert_eq!(import.skipped[0].reason, SkipReason::Composed);
}

#[test]
fn a_shells_words_are_read_and_nothing_is_run() {
    let text = "#!/bin/sh\nset -e\nexport A='it'\\''s' B=two\nC=\"a \\\"b\\\" \\$c\"; D=$'x\\ny'\n\
                declare -x E=\"multi\nline\"\nF=$(touch /tmp/canary)\nG=`id`\nH=\"$HOME\"\n\
                if true; then echo A=1; fi\nI=a\\ b#c # comment\n";
    let import = from_shell(text.as_bytes()).unwrap();
    let expected = [
        ("A", "it's"),
        ("B", "two"),
        ("C", "a \"b\" $c"),
        ("D", "x\ny"),
        ("E", "multi\nline"),
        ("I", "a b#c"),
    ];
    check(from_shell, text, &expected);
    let skipped: Vec<&str> = import.skipped.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(skipped, ["F", "G", "H"]);
    for text in ["A='canary", "B=\"canary", "C=$'canary", "D=canary\\"] {
        let error = from_shell(text.as_bytes()).unwrap_err();
        assert!(!error.to_string().contains("canary"));
    }
}

/// What `export -p` of bash prints for a value.
fn exported_by_bash(value: &str) -> Vec<u8> {
    let script = "IFS= read -r -d '' V; unset OLDPWD PWD SHLVL; export V; export -p";
    let mut child = Command::new("bash")
        .args(["--norc", "-c", script])
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = value.as_bytes().to_vec();
    input.push(0);
    child.stdin.take().unwrap().write_all(&input).unwrap();
    child.wait_with_output().unwrap().stdout
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_bash_exports_comes_back(value in "[ -~\n\té$'\"\\\\`]{0,24}") {
        let import = from_shell(&exported_by_bash(&value)).unwrap();
        let found = values(&import);
        let found = found.iter().find(|(name, _)| name == "V").map(|(_, value)| value.as_str());
        prop_assert_eq!(found, Some(value.as_str()));
    }

    #[test]
    fn nothing_panics(text in "[ -~\n\t=$'\"\\\\`#é]{0,80}") {
        for read in [from_shell, from_compose_env, from_docker_env] {
            let _ = read(text.as_bytes());
        }
        let _ = crate::import::from_varlock(text.as_bytes());
        let _ = crate::import::detect("x", text.as_bytes());
    }
}

#[test]
fn other_encodings_and_nuls_are_refused_with_their_place() {
    for (bytes, line, column) in [
        (&b"A=1\nB=\xff"[..], 2, 3),
        (b"A=1\nBC\0=1", 2, 3),
        (b"\xff\xfeA\0=\0", 1, 1),
    ] {
        for read in [from_shell, from_compose_env, from_docker_env] {
            assert_eq!(
                read(bytes).unwrap_err(),
                ImportError::NotText { line, column }
            );
        }
    }
    let huge = vec![b'a'; IMPORT_BYTES_MAX + 1];
    assert_eq!(from_shell(&huge).unwrap_err(), ImportError::TooLarge);
}

#[test]
fn encrypted_values_are_no_values() {
    let text =
        b"DOTENV_PUBLIC_KEY=\"03ab\"\nA=\"encrypted:BDqDBibm4wsYqMpCjTQ6BsDHmMadg\"\nB=plain\n";
    let import = crate::import::from_dotenvx(text).unwrap();
    assert_eq!(values(&import), [("B".to_owned(), "plain".to_owned())]);
    assert_eq!(import.skipped[0].reason, SkipReason::Encrypted);
    let error = crate::import::from_dotenvx(&text[..text.len() - 8]).unwrap_err();
    assert_eq!(error, ImportError::Encrypted { count: 1 });
    let import = crate::import::from_dotenv(text).unwrap();
    assert_eq!(
        import.skipped.len(),
        1,
        "also when nobody says that it is dotenvx's"
    );
}
