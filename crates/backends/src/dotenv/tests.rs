use std::fs;
use std::os::unix::fs::PermissionsExt;

use pollster::block_on;
use proptest::prelude::*;
use strongroom_core::port::Backend;
use strongroom_core::port::BackendErrorKind;
use strongroom_core::port::Lookup;

use super::*;

fn parse(text: &str) -> DotenvFile {
    DotenvFile::parse(text.as_bytes()).unwrap()
}

fn pairs(file: &DotenvFile) -> Vec<(&str, &str)> {
    file.entries()
        .iter()
        .map(|entry| {
            (
                entry.name.as_str(),
                entry.value.expose_secret_text().unwrap(),
            )
        })
        .collect()
}

fn value(text: &str) -> SecretValue {
    SecretValue::copy_from(text.as_bytes())
}

fn text_of(file: &DotenvFile) -> String {
    String::from_utf8(file.to_bytes().to_vec()).unwrap()
}

/// What Node's `dotenv` 18.0.10 yields for each text.
#[test]
fn values_read_as_node_reads_them() {
    for (text, expected) in [
        (
            "A=1\nB = 2 \nexport C=3\nD: 4",
            &[("A", "1"), ("B", "2"), ("C", "3"), ("D", "4")][..],
        ),
        (
            "A=a#b\nB='a#b'\nC=\"a#b\" # c",
            &[("A", "a"), ("B", "a#b"), ("C", "a#b")],
        ),
        (
            "A=\"1\\n2\\r3\\t4\"\nB='1\\n2'",
            &[("A", "1\n2\r3\\t4"), ("B", "1\\n2")],
        ),
        ("A='x\r\ny'\r\nB=z\r\n", &[("A", "x\ny"), ("B", "z")]),
        (
            "A=${B}\nB=$(id)\nC=\"$A\"",
            &[("A", "${B}"), ("B", "$(id)"), ("C", "$A")],
        ),
        (
            "A=\nB=''\nC=`it's \"q\"`",
            &[("A", ""), ("B", ""), ("C", "it's \"q\"")],
        ),
        (
            "\u{feff}A=1\nA=2\nbare\nNOT AN=assignment\n__proto__=x",
            &[("A", "1"), ("A", "2")],
        ),
        (
            "A={\"k\": \"v\"}\nB=\"C:\\dir\\\"\nC=x=y==",
            &[("A", "{\"k\": \"v\"}"), ("B", "C:\\dir\\"), ("C", "x=y==")],
        ),
        ("A=\"x\"y\nB='a'b'c'", &[("A", "\"x\"y"), ("B", "a'b'c")]),
    ] {
        assert_eq!(pairs(&parse(text)), expected, "{text:?}");
    }
}

#[test]
fn lines_that_count_for_nothing_are_named() {
    let file = parse("A=1\nbare\n# c\n\nNOT AN=assignment\nA=2\nB=1\nA=3\n");
    assert_eq!(file.ignored_lines(), [2, 5]);
    assert_eq!(
        file.duplicates(),
        [Duplicate {
            name: "A".into(),
            lines: vec![1, 6, 8]
        }]
    );
    assert_eq!(file.get("A").unwrap().expose_secret(), b"3");
    assert!(file.get("bare").is_none());
}

#[test]
fn errors_say_where_and_never_what() {
    let error = |bytes: &[u8]| DotenvFile::parse(bytes).unwrap_err().to_string();
    assert_eq!(error(b"A=1\nKEY=\"canary\nB=2"), "2:5: unterminated quote");
    assert_eq!(
        error("é='x'\n K = 'canary".as_bytes()),
        "2:6: unterminated quote"
    );
    assert_eq!(error(b"A=1\r\nB=\xff"), "2:3: not UTF-8");
    assert_eq!(
        error(&vec![b'#'; DOTENV_BYTES_MAX + 1]),
        "1:1: the file is larger than 4194304 bytes"
    );
    assert!(DotenvFile::parse(&vec![b'#'; DOTENV_BYTES_MAX]).is_ok());
    assert!(!format!("{:?}", parse("KEY=canary")).contains("canary"));
}

#[test]
fn setting_touches_one_value_only() {
    for (before, name, new, after) in [
        (
            "# c\nA=1 # keep\nB='x'\n",
            "A",
            "2",
            "# c\nA=2 # keep\nB='x'\n",
        ),
        ("A='1'\r\nB=2\r\n", "A", "it is", "A='it is'\r\nB=2\r\n"),
        ("A='1'\nB=2\n", "A", "it's", "A=\"it's\"\nB=2\n"),
        (
            "\u{feff}A=1\r\nB=2\r\n",
            "C",
            "3",
            "\u{feff}A=1\r\nB=2\r\nC=3\r\n",
        ),
        ("A=1", "B", "2", "A=1\nB=2"),
        ("", "A", "1", "A=1\n"),
        ("A=1\nA=2\n", "A", "3", "A=1\nA=3\n"),
        ("A=\nB=2\n", "A", "", "A=\nB=2\n"),
        ("A=\nB=2\n", "A", "x y", "A='x y'\nB=2\n"),
        ("A= # none\n", "A", "x", "A=x # none\n"),
        ("export A=\"1\"\n", "A", "l1\nl2", "export A=\"l1\\nl2\"\n"),
        ("  A : 1\nB: 1\n", "B", "2", "  A : 1\nB: 2\n"),
        ("A='m\nn'\nB=2\n", "A", "z", "A='z'\nB=2\n"),
        ("bare\nB=2\n", "bare", "1", "bare\nB=2\nbare=1\n"),
    ] {
        let mut file = parse(before);
        file.set(name, &value(new)).unwrap();
        assert_eq!(text_of(&file), after, "{before:?}");
        assert_eq!(file.get(name).unwrap().expose_secret_text(), Some(new));
    }
}

#[test]
fn removing_takes_the_lines_and_nothing_else() {
    for (before, after) in [
        ("# c\nA=1\nB=2\nA=3\n# d\n", "# c\nB=2\n# d\n"),
        ("A='x\ny'\r\nB=2\r\n", "B=2\r\n"),
        ("\u{feff}A=1\n", "\u{feff}"),
    ] {
        let mut file = parse(before);
        assert_eq!(file.remove("A"), Ok(true));
        assert_eq!(text_of(&file), after);
        assert_eq!(file.remove("A"), Ok(false));
    }
}

#[test]
fn what_cannot_be_written_is_refused_and_nothing_changes() {
    let mut file = parse("A=1\n");
    let all_quotes = "' \" ` #\n\\n";
    assert_eq!(
        file.set("A", &value(all_quotes)),
        Err(DotenvSetError::Unrepresentable)
    );
    assert_eq!(
        file.set("B", &value(all_quotes)),
        Err(DotenvSetError::Unrepresentable)
    );
    let bytes = SecretValue::copy_from(b"\xff");
    assert_eq!(file.set("A", &bytes), Err(DotenvSetError::NotText));
    for name in ["", "A B", "A=B", "É", "__proto__", "A\nB"] {
        assert_eq!(
            file.set(name, &value("1")),
            Err(DotenvSetError::Name),
            "{name:?}"
        );
        assert_eq!(
            assignment(name, &value("1")).unwrap_err(),
            DotenvSetError::Name,
            "{name:?}"
        );
    }
    let large = value(&"x".repeat(DOTENV_BYTES_MAX));
    assert_eq!(file.set("A", &large), Err(DotenvSetError::TooLarge));
    assert_eq!(text_of(&file), "A=1\n");
}

#[test]
fn assignments_are_spelled_for_every_reader_where_that_is_possible() {
    for (text, expected) in [
        ("", "A="),
        ("abc/+=:@", "A=abc/+=:@"),
        ("two words", "A='two words'"),
        ("$HOME", "A='$HOME'"),
        ("a#b", "A='a#b'"),
        ("it's", "A=\"it's\""),
        ("it's \"q\" #", "A=`it's \"q\" #`"),
        ("l1\nl2\r", "A=\"l1\\nl2\\r\""),
        ("a\\nb", "A='a\\nb'"),
        ("{\n\"k\": \"\\n\"\n}", "A='{\n\"k\": \"\\n\"\n}'"),
        ("C:\\dir\\", "A=C:\\dir\\"),
        ("' \" `", "A=' \" `"),
        ("x ' \" `", "A=x ' \" `"),
    ] {
        let line = assignment("A", &value(text));
        if text.starts_with('\'') {
            assert_eq!(line.unwrap_err(), DotenvSetError::Unrepresentable);
            continue;
        }
        assert_eq!(std::str::from_utf8(&line.unwrap()).unwrap(), expected);
    }
}

/// Text made of what is hard to quote.
fn awkward() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "'", "\"", "`", "#", "\\", "\\n", "\\r", "\n", "\r", " ", "\t", "$", "${A}", "=", ":", "a",
        "n", "B=1", "\u{2028}", "\u{feff}", "\u{a0}", "é", "\0", "\n\n", "\\'", "\\\"", "export ",
    ]);
    prop::collection::vec(pieces, 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(400)
    })]

    #[test]
    fn any_value_comes_back_or_is_refused(text in prop_oneof![awkward(), any::<String>()]) {
        let value = value(&text);
        if let Ok(line) = assignment("A", &value) {
            let file = DotenvFile::parse(&line).unwrap();
            prop_assert_eq!(pairs(&file), [("A", text.as_str())]);
        }
        let before = "# it's\nA=\"old\" # \"c\"\nB='b\nb'\r\nC=`c`\n";
        let mut file = parse(before);
        if file.set("A", &value).is_ok() {
            let read = DotenvFile::parse(&file.to_bytes()).unwrap();
            prop_assert_eq!(pairs(&read), [("A", text.as_str()), ("B", "b\nb"), ("C", "c")]);
            let written = text_of(&file);
            prop_assert!(written.starts_with("# it's\nA="));
            prop_assert!(written.ends_with("\nB='b\nb'\r\nC=`c`\n"));
        } else {
            prop_assert_eq!(text_of(&file), before);
        }
    }

    #[test]
    fn any_file_stays_whole_around_a_new_name(text in awkward(), new in awkward()) {
        let Ok(mut file) = DotenvFile::parse(text.as_bytes()) else { return Ok(()) };
        let before = text_of(&file);
        prop_assert_eq!(&before, &text);
        let old: Vec<(String, String)> =
            pairs(&file).iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        if file.set("NEW", &value(&new)).is_ok() {
            prop_assert!(text_of(&file).starts_with(&before));
            let read = parse(&text_of(&file));
            let mut expected: Vec<(&str, &str)> =
                old.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            expected.push(("NEW", &new));
            prop_assert_eq!(pairs(&read), expected);
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(DotenvFile::parse(&bytes));
    }
}

fn lookup(name: &str, path: &str) -> Lookup {
    Lookup {
        name: name.into(),
        path: path.into(),
        place: format!("app/dev/{path}").parse().unwrap(),
    }
}

fn get(backend: &DotenvBackend, name: &str, path: &str) -> Option<String> {
    let lookups = [lookup(name, path)];
    let found = block_on(backend.get_many(&lookups))
        .pop()
        .unwrap()
        .unwrap()?;
    Some(found.value.expose_secret_text().unwrap().to_owned())
}

#[test]
fn a_file_is_looked_up_by_name_then_by_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    fs::write(&path, "JWT=by-name\nJWT_SECRET_KEY=by-path\nEMPTY=\n").unwrap();
    let backend = DotenvBackend::new(path.clone(), ".env");
    assert_eq!(
        (backend.scheme(), backend.describe().as_str()),
        ("dotenv", "dotenv:.env")
    );
    assert_eq!(
        get(&backend, "JWT", "jwt/secret_key").as_deref(),
        Some("by-name")
    );
    assert_eq!(
        get(&backend, "OTHER", "jwt/secret_key").as_deref(),
        Some("by-path")
    );
    assert_eq!(get(&backend, "EMPTY", "empty"), None);
    assert_eq!(
        block_on(backend.list()).unwrap(),
        ["EMPTY", "JWT", "JWT_SECRET_KEY"]
    );
    fs::write(&path, "JWT=changed\n").unwrap();
    assert_eq!(
        get(&backend, "JWT", "jwt").as_deref(),
        Some("by-name"),
        "read once"
    );
}

#[test]
fn a_missing_file_holds_nothing_and_is_made_by_the_first_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    let backend = DotenvBackend::new(path.clone(), ".env");
    assert_eq!(get(&backend, "A", "a"), None);
    block_on(backend.set(&lookup("A", "a"), &value("x y"))).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "A='x y'\n");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(get(&backend, "A", "a").as_deref(), Some("x y"));
    fs::write(&path, "A='x y'\n# by hand\nB=1\n").unwrap();
    block_on(backend.set(&lookup("A", "a"), &value("z"))).unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "A='z'\n# by hand\nB=1\n"
    );
    assert!(backend.remove_name("B").unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), "A='z'\n# by hand\n");
}

#[test]
fn writing_goes_to_the_name_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    fs::write(&path, "JWT_KEY=1\n").unwrap();
    let backend = DotenvBackend::new(path.clone(), ".env");
    block_on(backend.set(&lookup("SIGNING", "jwt/key"), &value("2"))).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "JWT_KEY=2\n");
}

#[test]
fn files_that_cannot_be_used_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    let first = |backend: &DotenvBackend| {
        let lookups = [lookup("A", "a"), lookup("B", "b")];
        let mut results = block_on(backend.get_many(&lookups));
        assert_eq!(results.len(), 2);
        results.remove(0).unwrap_err()
    };
    fs::write(&path, "A=1\nB=\"canary\n").unwrap();
    let error = first(&DotenvBackend::new(path.clone(), ".env"));
    assert_eq!(error.kind, BackendErrorKind::Malformed);
    assert_eq!(
        error.to_string(),
        "dotenv:.env: .env:2:3: unterminated quote"
    );
    fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
    let error = first(&DotenvBackend::new(path.clone(), ".env"));
    assert_eq!(error.message, ".env: it is larger than 4194304 bytes");
    let error = first(&DotenvBackend::new(folder.path().into(), "x"));
    assert_eq!(error.message, "x: it is not a regular file");

    fs::write(&path, "A=1\n").unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let backend = DotenvBackend::new(link, "link");
    assert_eq!(get(&backend, "A", "a").as_deref(), Some("1"));
    let error = block_on(backend.set(&lookup("A", "a"), &value("2"))).unwrap_err();
    assert_eq!(error.kind, BackendErrorKind::Unsupported);
    assert_eq!(fs::read_to_string(&path).unwrap(), "A=1\n");
}

mod by_address {
    use pollster::block_on;
    use strongroom_core::port::Backend;
    use strongroom_core::port::BackendErrorKind;
    use strongroom_core::port::NewValue;
    use strongroom_core::port::Removal;
    use strongroom_core::port::VersionRef;
    use strongroom_core::secret::Payload;
    use strongroom_core::secret::SecretValue;
    use strongroom_testkit::backend_contract;
    use tempfile::TempDir;

    use crate::dotenv::DotenvBackend;
    use crate::names;

    fn empty() -> (Box<DotenvBackend>, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        (Box::new(DotenvBackend::new(path, ".env")), folder)
    }

    // A variable's name has no '/': addresses are spelled as lookups spell paths.
    backend_contract!(dotenv, block_on, empty(), names::upper_snake);

    fn text(value: &str) -> NewValue {
        NewValue::new(Payload::detect(SecretValue::copy_from(value.as_bytes())))
    }

    #[test]
    fn reading_back_sees_what_others_wrote_meanwhile() {
        let (backend, _folder) = empty();
        block_on(backend.write("A", &text("mine"))).unwrap();
        std::fs::write(backend.path(), "A=theirs\n").unwrap();
        let found = block_on(backend.read("A", &VersionRef::Current)).unwrap();
        let theirs = SecretValue::copy_from(b"theirs");
        assert!(found.unwrap().payload.value.ct_eq(&theirs));
    }

    #[test]
    fn an_empty_value_is_listed_and_not_found_and_not_written() {
        let (backend, _folder) = empty();
        std::fs::write(backend.path(), "A=\nB=1\n").unwrap();
        let backend: &dyn Backend = &*backend;
        let page = block_on(backend.page("", None, 9)).unwrap();
        assert_eq!(page.addresses, ["A", "B"]);
        assert!(
            block_on(backend.read("A", &VersionRef::Current))
                .unwrap()
                .is_none()
        );
        let error = block_on(backend.write("B", &text(""))).unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Invalid);
        assert!(block_on(backend.remove("A", Removal::Final)).unwrap());
    }

    #[test]
    fn what_changes_nothing_leaves_the_file_alone() {
        let (backend, _folder) = empty();
        let by_port: &dyn Backend = &*backend;
        assert!(!block_on(by_port.remove("A", Removal::Final)).unwrap());
        assert!(!backend.path().exists());
        std::fs::write(backend.path(), "A='1'\n").unwrap();
        assert!(!block_on(by_port.write("A", &text("1"))).unwrap().is_new);
        assert_eq!(std::fs::read(backend.path()).unwrap(), b"A='1'\n");
    }
}
