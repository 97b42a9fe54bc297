//! Each rule with a sample that must be flagged, and one that must not.

use super::FILE_BYTES_MAX;
use super::check;
use crate::tidy::files::File;

/// The rules broken by `text`, with their lines, as `rule:line`.
fn broken(path: &str, text: &str) -> Vec<String> {
    let problems = check(&File::new(path, text));
    problems
        .iter()
        .map(|problem| format!("{}:{}", problem.rule, problem.line))
        .collect()
}

const CORE: &str = "crates/core/src/path.rs";

#[test]
fn long_files_are_flagged_without_their_tests() {
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "x();\n".repeat(800));
    assert_eq!(broken(CORE, &"x();\n".repeat(701)), ["file-length:1"]);
    assert!(broken(CORE, &("x();\n".repeat(700) + &tests)).is_empty());
    assert!(broken("crates/core/src/path/tests.rs", &"x();\n".repeat(701)).is_empty());
}

#[test]
fn wide_lines_are_flagged_in_columns_not_bytes() {
    assert_eq!(broken(CORE, &"x".repeat(101)), ["line-width:1"]);
    assert!(broken(CORE, &"é".repeat(100)).is_empty());
    assert!(broken("docs/a.md", &"x".repeat(101)).is_empty());
}

#[test]
fn trailing_space_is_flagged_outside_fixtures() {
    assert_eq!(broken("docs/a.md", "a\nb \n"), ["trailing-space:2"]);
    assert_eq!(broken("docs/a.md", "a\r\n"), ["trailing-space:1"]);
    assert!(broken("crates/core/tests/fixtures/a.toml", "a \n").is_empty());
    assert!(broken("examples/storefront/.env", "A=b \n").is_empty());
}

#[test]
fn big_files_are_flagged() {
    let mut file = File::new("docs/picture.png", "");
    file.bytes = FILE_BYTES_MAX;
    assert!(check(&file).is_empty());
    file.bytes += 1;
    assert_eq!(check(&file)[0].rule, "big-file");
}

#[test]
fn mod_rs_is_flagged() {
    assert_eq!(broken("crates/core/src/path/mod.rs", ""), ["mod-rs:1"]);
}

#[test]
fn open_marks_without_an_issue_are_flagged() {
    assert_eq!(broken(CORE, "// TODO later\n"), ["todo:1"]);
    assert_eq!(broken(CORE, "/*\nFIXME(me): later */\n"), ["todo:2"]);
    assert_eq!(broken("deny.toml", "a = 1 # TODO\n"), ["todo:1"]);
    assert_eq!(broken(".ci/run", "# FIXME #x\n"), ["todo:1"]);
}

#[test]
fn open_marks_that_are_data_or_have_an_issue_are_not() {
    assert!(broken(CORE, "// TODO #12: later\n").is_empty());
    assert!(broken(CORE, "// placeholders are `TODO` and \"FIXME\"\n").is_empty());
    assert!(broken(CORE, "const A: &str = \"TODO\";\n").is_empty());
    assert!(broken("examples/a.toml", "key = \"TODO\"\n").is_empty());
    assert!(broken(CORE, "// TODOS\n").is_empty());
}

#[test]
fn ignored_tests_are_flagged() {
    assert_eq!(
        broken(CORE, "#[test]\n#[ignore]\nfn a() {}\n"),
        ["ignored-test:2"]
    );
    assert_eq!(
        broken(CORE, "#[ignore = \"slow\"]\nfn a() {}\n"),
        ["ignored-test:1"]
    );
    assert_eq!(
        broken(CORE, "#[cfg_attr(unix, ignore)]\nfn a() {}\n"),
        ["ignored-test:1"]
    );
    assert!(broken(CORE, "#[serde(ignore)]\nfn ignore() {}\n").is_empty());
}

#[test]
fn instrument_without_skip_all_is_flagged() {
    assert_eq!(broken(CORE, "#[instrument]\nfn a() {}\n"), ["instrument:1"]);
    assert_eq!(
        broken(CORE, "\n#[tracing::instrument(\n    skip(a),\n)]\n"),
        ["instrument:2"]
    );
    assert!(broken(CORE, "#[instrument(\n    skip_all,\n    fields(id)\n)]\n").is_empty());
    assert!(broken(CORE, "use tracing::instrument;\n").is_empty());
}

#[test]
fn unsafe_is_flagged_even_in_tests() {
    assert_eq!(broken(CORE, "fn a() { unsafe { b() } }\n"), ["unsafe:1"]);
    assert_eq!(
        broken("crates/core/tests/it/main.rs", "unsafe fn a() {}\n"),
        ["unsafe:1"]
    );
    assert!(broken(CORE, "#![forbid(unsafe_code)]\n// unsafe\nf(\"unsafe\");\n").is_empty());
}

#[test]
fn printing_is_flagged_outside_the_binary() {
    assert_eq!(broken(CORE, "println!(\"a\");\n"), ["print:1"]);
    assert_eq!(broken(CORE, "std::eprint!(\"a\");\n"), ["print:1"]);
    assert!(broken("crates/strongroom/src/main.rs", "println!(\"a\");\n").is_empty());
    assert!(broken("crates/scan/examples/a.rs", "println!(\"a\");\n").is_empty());
    assert!(broken("crates/scan/build.rs", "println!(\"a\");\n").is_empty());
    assert!(broken(CORE, "#[cfg(test)]\nmod tests {\n    println!(\"a\");\n}\n").is_empty());
    assert!(broken(CORE, "fn print() { pretty.println(); }\n").is_empty());
}
