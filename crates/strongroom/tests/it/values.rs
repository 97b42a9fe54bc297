//! `set` and `get`: what goes in comes out, byte by byte.

use crate::support::Case;

#[test]
fn one_newline_of_piped_text_is_dropped_and_said() {
    let case = Case::new();
    let value = case.canary("");
    case.sr("set app/token")
        .stdin(format!("{value}\n\n"))
        .ok()
        .says("dropped one trailing newline (--exact keeps it)")
        .says("set /app/token in the store, version 1");
    assert_eq!(case.get("app/token"), format!("{value}\n").as_bytes());
}

#[test]
fn exact_keeps_every_byte_of_standard_input() {
    let case = Case::new();
    let value = format!("{}\n", case.canary(""));
    let said = case.sr("set token - --exact").stdin(&value).ok().err();
    assert!(!said.contains("newline"), "{said}");
    assert_eq!(case.get("token"), value.as_bytes());
}

#[test]
fn a_file_is_stored_byte_by_byte() {
    let case = Case::new();
    let mut binary: Vec<u8> = (0..=255).collect();
    binary.extend(case.canary("").into_bytes());
    binary.push(b'\n');
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        case.canary("")
    );
    case.write_open("key.bin", &binary);
    case.write_open("key.pem", &pem);
    let said = case.sr("set binary @key.bin").ok().err();
    case.sr("set tls/key @key.pem").ok();
    assert!(!said.contains("newline"), "{said}");
    assert_eq!(case.get("binary"), binary);
    assert_eq!(case.get("tls/key"), pem.as_bytes());
}

#[test]
fn a_value_is_never_an_argument_and_not_repeated() {
    let case = Case::new();
    let value = case.canary("sk-");
    case.run(&["set", "TOKEN", &value])
        .code(2)
        .says("a value is never an argument");
    case.run(&["set", "TOKEN", "-", &value]).code(2);
    case.run(&["set", "TOKEN", "--value", &value]).code(2);
    case.run(&["set", "TOKEN", &format!("--value={value}")])
        .code(2);
    case.run(&["set", "TOKEN", "--cas", &value]).code(2);
    case.run(&["set", &format!("TOKEN={value}")]).code(2);
    case.run(&["set", "TOKEN", "--expires", &value]).code(2);
    assert!(!case.store("store.db").exists());
}

#[test]
fn an_empty_value_is_refused() {
    let case = Case::new();
    case.sr("set TOKEN")
        .stdin("")
        .code(2)
        .says("the value is empty");
    case.sr("set TOKEN").stdin("\n").code(2);
    case.write("empty", "");
    case.sr("set TOKEN @empty").code(2);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let case = Case::new();
    case.sr("set TOKEN @no-such-file")
        .code(3)
        .says("no-such-file");
    case.sr("set TOKEN @.").code(1);
}

#[test]
fn a_value_past_the_limit_is_refused() {
    let case = Case::new();
    case.write("big", vec![b'x'; 8 * 1024 * 1024]);
    case.sr("set TOKEN @big").code(2).says("has over");
}

#[test]
fn a_wrong_format_is_refused_unless_told_otherwise() {
    let case = Case::with_manifest("[secrets.OPENAI_API_KEY]\nformat = \"^sk-\"\n");
    let value = case.canary("wrong-");
    case.sr("set OPENAI_API_KEY")
        .stdin(&value)
        .code(5)
        .says("does not fit")
        .says("--no-check");
    case.sr("get OPENAI_API_KEY").code(3);
    case.sr("set OPENAI_API_KEY --no-check").stdin(&value).ok();
    assert_eq!(case.get("OPENAI_API_KEY"), value.as_bytes());
}

#[test]
fn a_write_based_on_an_old_version_conflicts() {
    let case = Case::new();
    let (first, second, third) = (case.canary("a"), case.canary("b"), case.canary("c"));
    case.sr("set token --cas 0").stdin(&first).ok();
    case.sr("set token --cas 0").stdin(&second).code(6);
    case.sr("set token --cas 1").stdin(&second).ok();
    case.sr("set token --cas 1")
        .stdin(&third)
        .code(6)
        .says("strongroom history /token");
    assert_eq!(case.get("token"), second.as_bytes());
}

#[test]
fn the_same_value_makes_no_new_version() {
    let case = Case::new();
    let value = case.canary("");
    case.sr("set token").stdin(&value).ok();
    case.sr("set token")
        .stdin(&value)
        .ok()
        .says("has this value already (version 1)");
    case.sr("set token --force")
        .stdin(&value)
        .ok()
        .says("version 2");
}

#[test]
fn values_that_look_like_something_else_stay_text() {
    let case = Case::new();
    for value in [
        "123456",
        "true",
        "null",
        "[1,2]",
        "\"abc\"",
        "{\"a\": 1.10}",
        "~",
        " x ",
    ] {
        case.sr("set odd").stdin(value).ok();
        assert_eq!(case.get("odd"), value.as_bytes());
        let shown = case.sr("get odd --json").reveals().ok().json();
        assert_eq!(shown["value"], value);
        assert_eq!(shown["encoding"], "utf-8");
    }
}

#[test]
fn names_that_look_alike_are_two_secrets() {
    let case = Case::new();
    let (slash, underscore, upper) = (case.canary("1"), case.canary("2"), case.canary("3"));
    case.set("a/b", &slash);
    case.set("a_b", &underscore);
    case.set("A_B", &upper);
    assert_eq!(case.get("a/b"), slash.as_bytes());
    assert_eq!(case.get("a_b"), underscore.as_bytes());
    assert_eq!(case.get("A_B"), upper.as_bytes());
}

#[test]
fn binary_is_base64_in_json() {
    let case = Case::new();
    case.set("binary", [0, 255, 254, 10]);
    let shown = case.sr("get binary --json").ok().json();
    assert_eq!(
        (&shown["value"], &shown["encoding"]),
        (&"AP/+Cg==".into(), &"base64".into())
    );
}

#[test]
fn what_is_not_there_is_not_found() {
    let case = Case::with_manifest("[secrets.TOKEN]\n");
    case.sr("get token").code(3);
    case.set("other", "x");
    case.sr("get TOKEN")
        .code(3)
        .says("TOKEN has no value in profile development")
        .says("looked in: store")
        .says("strongroom set TOKEN --profile development");
    case.sr("get other --version 7").code(3);
    case.sr("get /nowhere/at/all").code(3);
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    let case = Case::new();
    let long = "x".repeat(600);
    for path in [
        "../up",
        "a/../b",
        "a//b",
        "/",
        "a/./b",
        "a/",
        "",
        &long,
        "a\u{1b}[2Jb",
        "a\nb",
    ] {
        let said = case.run(&["set", path]).stdin("value-x").code(2).err();
        assert!(!said.contains('\u{1b}'), "{said:?}");
        assert!(said.starts_with("error: "), "{said:?}");
    }
}

#[test]
fn fields_are_read_one_by_one() {
    let case = Case::new();
    let password = case.canary("");
    let json = format!("{{\"user\": \"app\", \"password\": \"{password}\", \"port\": 5432}}");
    case.sr("set db --fields").stdin(&json).ok();
    let password_shown = case.sr("get db --field password").reveals().ok();
    assert_eq!(password_shown.stdout, password.as_bytes());
    case.sr("get db --field port").ok().prints("5432");
    case.sr("get db --field host")
        .code(3)
        .says("its fields: user, password, port");
    assert_eq!(case.get("db"), json.as_bytes());
}

#[test]
fn fields_that_are_no_json_are_refused_without_quoting() {
    let case = Case::new();
    let value = case.canary("");
    for text in [
        format!("{{\"a\": \"{value}\","),
        value.clone(),
        format!("[\"{value}\"]"),
        format!("{{\"a\": {value}}}"),
    ] {
        case.sr("set db --fields")
            .stdin(text)
            .code(5)
            .says("not a JSON object (line 1, column");
    }
    case.set("db", &value);
    case.sr("get db --field a").code(2);
}

#[test]
fn get_and_set_follow_a_chain_without_a_store() {
    let case = Case::with_manifest(
        "[profiles.development]\nchain = [\"dotenv:.env\"]\n[secrets.TOKEN]\n[secrets.OTHER]\n",
    );
    let (token, other) = (case.canary("t"), case.canary("o"));
    case.write_open(".env", format!("# mine\nTOKEN={token} # note\n"));
    assert_eq!(case.get("TOKEN"), token.as_bytes());
    case.sr("set OTHER")
        .stdin(&other)
        .ok()
        .says("set OTHER in dotenv:.env");
    assert_eq!(case.get("OTHER"), other.as_bytes());
    let file = case.read(".env");
    assert!(file.starts_with(b"# mine\nTOKEN="));
    assert!(!case.store("store.db").exists());
}
