//! Rules that look at one file at a time.

use super::Problem;
use super::files::File;
use super::source::Source;
use super::source::find_words;

/// Every rule of this module on one file.
pub(crate) fn check(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    size(file, &mut problems);
    whitespace(file, &mut problems);
    open_marks(file, &mut problems);
    if let Some(source) = &file.source {
        shape(file, source, &mut problems);
        attributes(file, source, &mut problems);
        words(file, source, &mut problems);
    }
    problems
}

fn size(file: &File, problems: &mut Vec<Problem>) {
    if file.bytes > FILE_BYTES_MAX {
        let message = format!("{} bytes, at most {FILE_BYTES_MAX}", file.bytes);
        problems.push(Problem::new(&file.path, 1, "big-file", message));
    }
}

fn whitespace(file: &File, problems: &mut Vec<Problem>) {
    let Some(text) = file
        .text
        .as_deref()
        .filter(|_| is_written_by_hand(&file.path))
    else {
        return;
    };
    for (index, line) in text.split('\n').enumerate() {
        if line.ends_with([' ', '\t', '\r']) {
            let message = "white space at the end of the line";
            problems.push(Problem::new(
                &file.path,
                index + 1,
                "trailing-space",
                message,
            ));
        }
    }
}

/// `TODO` and `FIXME` need the number of an issue. Only comments are read: in this product both
/// words are also placeholder values.
fn open_marks(file: &File, problems: &mut Vec<Problem>) {
    let comments: Vec<String> = match (&file.source, &file.text) {
        (Some(source), _) => source.comments.clone(),
        (None, Some(text)) if has_hash_comments(&file.path) => {
            text.split('\n').map(hash_comment).collect()
        }
        _ => return,
    };
    for (index, comment) in comments.iter().enumerate() {
        let is_open = ["TODO", "FIXME"]
            .iter()
            .any(|mark| has_open_mark(comment, mark));
        if is_open && !has_issue_number(comment) {
            let message = "name the issue: `TODO #12`, or do it now";
            problems.push(Problem::new(&file.path, index + 1, "todo", message));
        }
    }
}

/// True unless the word is quoted, as in a text about placeholders.
fn has_open_mark(comment: &str, mark: &str) -> bool {
    find_words(comment, mark)
        .iter()
        .any(|at| !comment[..*at].ends_with(['`', '"', '\'', '<']))
}

fn has_issue_number(comment: &str) -> bool {
    comment
        .split('#')
        .skip(1)
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn hash_comment(line: &str) -> String {
    let at = if line.starts_with('#') {
        Some(0)
    } else {
        line.find(" #")
    };
    at.map(|at| line[at..].to_owned()).unwrap_or_default()
}

fn has_hash_comments(path: &str) -> bool {
    path.starts_with(".ci/")
        || [".toml", ".sh", ".py", ".yml", ".yaml"]
            .iter()
            .any(|end| path.ends_with(end))
}

/// Fixtures and snapshots hold what they hold.
fn is_written_by_hand(path: &str) -> bool {
    const ENDS: &[&str] = &[
        ".rs", ".toml", ".md", ".sh", ".py", ".yml", ".yaml", ".json",
    ];
    let is_data = path
        .split('/')
        .any(|part| matches!(part, "fixtures" | "snapshots" | "vectors" | "testdata"));
    !is_data && (path.starts_with(".ci/") || ENDS.iter().any(|end| path.ends_with(end)))
}

fn shape(file: &File, source: &Source, problems: &mut Vec<Problem>) {
    let mut report = |line: usize, rule: &'static str, message: String| {
        problems.push(Problem::new(&file.path, line, rule, message));
    };
    if file.path.ends_with("/mod.rs") {
        report(
            1,
            "mod-rs",
            "use `foo.rs` beside the folder `foo`".to_owned(),
        );
    }
    let lines = source.production_lines();
    if !file.is_test && lines > PRODUCTION_LINES_MAX {
        let message = format!("{lines} lines without tests, at most {PRODUCTION_LINES_MAX}");
        report(1, "file-length", message);
    }
    for (index, line) in file
        .text
        .as_deref()
        .unwrap_or_default()
        .split('\n')
        .enumerate()
    {
        let columns = line.chars().count();
        if columns > LINE_COLUMNS_MAX {
            let message = format!("{columns} columns, at most {LINE_COLUMNS_MAX}");
            report(index + 1, "line-width", message);
        }
    }
}

fn attributes(file: &File, source: &Source, problems: &mut Vec<Problem>) {
    for attribute in source.attributes() {
        let line = source.line_at(attribute.start) + 1;
        let has = |word: &str| !find_words(&attribute.text, word).is_empty();
        let name = attribute.text.trim_start();
        let is_conditional = name.starts_with("cfg_attr");
        if has("instrument") && !has("skip_all") {
            let message = "arguments may be secrets: use `skip_all` and explicit `fields(...)`";
            problems.push(Problem::new(&file.path, line, "instrument", message));
        }
        if has("ignore") && (is_conditional || find_words(name, "ignore").first() == Some(&0)) {
            let message = "slow tests check RUN_SLOW_TESTS, none is ignored";
            problems.push(Problem::new(&file.path, line, "ignored-test", message));
        }
    }
}

fn words(file: &File, source: &Source, problems: &mut Vec<Problem>) {
    let prints =
        matches!(file.crate_folder(), Some("strongroom" | "xtask")) || file.is_side_program();
    for (index, line) in source.code_lines().iter().enumerate() {
        let mut report = |rule: &'static str, message: String| {
            problems.push(Problem::new(&file.path, index + 1, rule, message));
        };
        if !find_words(line, "unsafe").is_empty() {
            report(
                "unsafe",
                "there is no unsafe code here; an ADR comes first".to_owned(),
            );
        }
        if prints || file.is_test_line(index) {
            continue;
        }
        for name in ["println", "eprintln", "print", "eprint"] {
            let is_macro = |at: &usize| line[at + name.len()..].trim_start().starts_with('!');
            if find_words(line, name).iter().any(is_macro) {
                report(
                    "print",
                    format!("`{name}!` belongs to crates/strongroom and xtask"),
                );
            }
        }
    }
}

const FILE_BYTES_MAX: u64 = 500_000;
const PRODUCTION_LINES_MAX: usize = 700;
const LINE_COLUMNS_MAX: usize = 100;

#[cfg(test)]
mod tests;
