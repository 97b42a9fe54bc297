//! Reading plaintext: every call explained, and their number per crate changed only on purpose.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::Problem;
use super::files::File;
use super::source::find_words;
use crate::failure::Failure;

/// Calls without an `// EXPOSE:` comment on one of the lines above.
pub(crate) fn check_comments(file: &File) -> Vec<Problem> {
    let Some(source) = &file.source else {
        return Vec::new();
    };
    calls(file)
        .into_iter()
        .filter(|line| {
            let first = line.saturating_sub(COMMENT_LINES_ABOVE);
            !source.comments[first..=*line]
                .iter()
                .any(|comment| comment.contains("EXPOSE: "))
        })
        .map(|line| {
            let message = format!(
                "say why, and where it goes, at most {COMMENT_LINES_ABOVE} lines above: \
                 `// EXPOSE: ...`"
            );
            Problem::new(&file.path, line + 1, "expose-comment", message)
        })
        .collect()
}

/// Crates whose calls are more than expose.toml records.
pub(crate) fn check_counts(root: &Path, files: &[File]) -> Result<Vec<Problem>, Failure> {
    let path = root.join(FILE_NAME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(Failure::new(format!("cannot read {FILE_NAME}: {e}"))),
    };
    let recorded: Recorded = toml::from_str(&text)
        .map_err(|e| Failure::new(format!("{FILE_NAME} is not what is expected: {e}")))?;
    let (problems, notes) = compare(&recorded.crates, &count(files));
    for note in notes {
        println!("note: {note}");
    }
    Ok(problems)
}

/// Writes the present counts to expose.toml.
pub(crate) fn update(root: &Path, files: &[File]) -> Result<(), Failure> {
    let counted = count(files);
    fs::write(root.join(FILE_NAME), render(&counted))
        .map_err(|e| Failure::new(format!("cannot write {FILE_NAME}: {e}")))?;
    println!("{FILE_NAME}: {} crates written", counted.len());
    Ok(())
}

/// Zero-based lines of the calls in a file, once per call, tests left out.
fn calls(file: &File) -> Vec<usize> {
    let Some(source) = &file.source else {
        return Vec::new();
    };
    if file.crate_folder() == Some("testkit") {
        return Vec::new();
    }
    let mut lines = Vec::new();
    for (index, line) in source.code_lines().iter().enumerate() {
        if file.is_test_line(index) {
            continue;
        }
        let calls_in_line: usize = NAMES
            .iter()
            .map(|name| find_words(line, name))
            .map(|columns| {
                columns
                    .iter()
                    .filter(|at| !is_definition(&line[..**at]))
                    .count()
            })
            .sum();
        lines.extend(std::iter::repeat_n(index, calls_in_line));
    }
    lines
}

fn is_definition(before: &str) -> bool {
    before.trim_end().ends_with("fn")
}

fn count(files: &[File]) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for file in files {
        let calls = calls(file).len();
        if let Some(folder) = file.crate_folder().filter(|_| calls > 0) {
            *counted.entry(folder.to_owned()).or_default() += calls;
        }
    }
    counted
}

fn compare(
    recorded: &BTreeMap<String, usize>,
    counted: &BTreeMap<String, usize>,
) -> (Vec<Problem>, Vec<String>) {
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    for (folder, found) in counted {
        let allowed = recorded.get(folder).copied().unwrap_or(0);
        if *found > allowed {
            let message = format!(
                "`{folder}` reads plaintext {found} times, {allowed} are recorded: review the new \
                 calls, then edit {FILE_NAME} (`cargo xtask tidy --update`)"
            );
            problems.push(Problem::new(FILE_NAME, 1, "expose-count", message));
        }
    }
    for (folder, allowed) in recorded {
        let found = counted.get(folder).copied().unwrap_or(0);
        if found < *allowed {
            notes.push(format!(
                "{FILE_NAME}: `{folder}` = {allowed}, only {found} found: \
                 run `cargo xtask tidy --update`"
            ));
        }
    }
    (problems, notes)
}

fn render(counted: &BTreeMap<String, usize>) -> String {
    let mut text = String::from(HEADER);
    for (folder, calls) in counted {
        text.push_str(&format!("{folder} = {calls}\n"));
    }
    text
}

/// The contents of expose.toml.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    #[serde(default)]
    crates: BTreeMap<String, usize>,
}

const FILE_NAME: &str = "expose.toml";
const NAMES: &[&str] = &["expose_secret", "expose_secret_text"];
const COMMENT_LINES_ABOVE: usize = 3;
const HEADER: &str = "\
# How often each crate reads plaintext (`expose_secret`, `expose_secret_text`), tests not counted.
# `cargo xtask tidy` fails when a crate reads it more often. Review the new calls, then run
# `cargo xtask tidy --update`.
[crates]
";

#[cfg(test)]
mod tests {
    use super::*;

    const CORE: &str = "crates/core/src/secret.rs";

    fn unexplained(text: &str) -> Vec<usize> {
        check_comments(&File::new(CORE, text))
            .iter()
            .map(|problem| problem.line)
            .collect()
    }

    fn counts(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
        pairs
            .iter()
            .map(|(folder, calls)| ((*folder).to_owned(), *calls))
            .collect()
    }

    #[test]
    fn a_call_needs_its_reason() {
        assert_eq!(unexplained("a.expose_secret();\n"), [1]);
        assert_eq!(unexplained("a.expose_secret_text();\n"), [1]);
        assert_eq!(unexplained("a.map(SecretValue::expose_secret);\n"), [1]);
        assert_eq!(unexplained("// EXPOSE: x\n\n\n\na.expose_secret();\n"), [5]);
        assert_eq!(unexplained("f(\"EXPOSE: x\");\na.expose_secret();\n"), [2]);
    }

    #[test]
    fn a_reason_counts_from_three_lines_above_to_the_line_itself() {
        assert!(unexplained("// EXPOSE: to the child\na.expose_secret();\n").is_empty());
        assert!(unexplained("// EXPOSE: x\n\n\na.expose_secret();\n").is_empty());
        assert!(unexplained("a.expose_secret(); // EXPOSE: x\n").is_empty());
    }

    #[test]
    fn definitions_tests_and_the_testkit_are_free() {
        assert!(unexplained("pub fn expose_secret(&self) {}\n").is_empty());
        assert!(unexplained("#[cfg(test)]\nmod t {\n    a.expose_secret();\n}\n").is_empty());
        assert!(
            calls(&File::new(
                "crates/testkit/src/lib.rs",
                "a.expose_secret();\n"
            ))
            .is_empty()
        );
        assert!(
            calls(&File::new(
                "crates/core/tests/it/main.rs",
                "a.expose_secret()"
            ))
            .is_empty()
        );
    }

    #[test]
    fn calls_are_counted_per_crate() {
        let files = [
            File::new(CORE, "a.expose_secret() == b.expose_secret()"),
            File::new("crates/core/src/path.rs", "a.expose_secret_text()"),
            File::new("crates/store/src/lib.rs", "a.expose_secret()"),
            File::new("crates/engine/src/lib.rs", ""),
        ];
        assert_eq!(count(&files), counts(&[("core", 3), ("store", 1)]));
    }

    #[test]
    fn more_than_recorded_is_a_problem_and_less_a_note() {
        let recorded = counts(&[("core", 3), ("store", 2)]);
        let (problems, notes) = compare(&recorded, &counts(&[("core", 4), ("scan", 1)]));
        assert_eq!(problems.len(), 2);
        assert!(problems[0].message.contains("`core`") && problems[1].message.contains("`scan`"));
        assert_eq!(notes.len(), 1);
        let (problems, notes) = compare(&recorded, &recorded);
        assert!(problems.is_empty() && notes.is_empty());
    }

    #[test]
    fn what_is_written_reads_back() {
        let counted = counts(&[("core", 3), ("store", 2)]);
        let recorded: Recorded = toml::from_str(&render(&counted)).unwrap();
        assert_eq!(recorded.crates, counted);
    }
}
