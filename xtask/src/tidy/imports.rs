//! What a crate may not name: the domain does no IO, and only the edge knows tokio.

use super::Problem;
use super::files::File;
use super::source::Source;
use super::source::find_words;
use super::source::is_word_char;

/// Forbidden names in one file.
pub(crate) fn check(file: &File) -> Vec<Problem> {
    let Some(source) = &file.source else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    let lines = source.code_lines();
    let grouped = grouped_paths(source);
    let is_core = file.path.starts_with("crates/core/src/");
    if is_core {
        for path in CORE_FORBIDS {
            report(file, &lines, &grouped, path, "core-import", &mut problems);
        }
        for (index, line) in lines.iter().enumerate() {
            if line.contains("::now(") && !file.is_test_line(index) {
                let message = "`core` reads no clock: take the time as an argument";
                problems.push(Problem::new(&file.path, index + 1, "core-import", message));
            }
        }
    }
    let knows_tokio = file.crate_folder().is_some_and(|folder| {
        matches!(
            folder,
            "server"
                | "strongroom"
                | "supervise"
                | "chain"
                | "sdk"
                | "mysql"
                | "postgres"
                | "redis"
                | "rotators"
                | "store-postgres"
                | "userkeys"
                | "fakes"
        ) || folder.starts_with("backend-")
    });
    if !knows_tokio {
        report(file, &lines, &grouped, "tokio", "tokio", &mut problems);
    }
    problems
}

fn report(
    file: &File,
    lines: &[String],
    grouped: &[(usize, String)],
    path: &str,
    rule: &'static str,
    problems: &mut Vec<Problem>,
) {
    let in_text = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !find_words(line, path).is_empty())
        .map(|(index, _)| index);
    let in_groups = grouped
        .iter()
        .filter(|(_, used)| {
            used.strip_prefix(path)
                .is_some_and(|rest| !rest.starts_with(is_word_char))
        })
        .map(|(index, _)| *index);
    for index in in_text.chain(in_groups) {
        // Tests of the domain may read vectors; tokio is a question of dependencies, so no test
        // may name it either.
        if rule == "core-import" && file.is_test_line(index) {
            continue;
        }
        let message = format!("`{path}` may not be named here");
        problems.push(Problem::new(&file.path, index + 1, rule, message));
    }
}

/// The full paths of `use` items that have a group, each with the line its last part stands on.
fn grouped_paths(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in positions_of_use(&source.code) {
        let end = source.code[at..]
            .iter()
            .position(|c| *c == ';')
            .map_or(source.code.len(), |n| at + n);
        if source.code[at..end].contains(&'{') {
            let mut tree = UseTree { source, at, end };
            tree.expand("", &mut found);
        }
    }
    found
}

/// Positions just past each keyword `use`.
fn positions_of_use(code: &[char]) -> Vec<usize> {
    let is_word = |at: usize| code.get(at).is_some_and(|c| is_word_char(*c));
    code.windows(3)
        .enumerate()
        .filter(|(at, window)| *window == ['u', 's', 'e'] && !is_word(at + 3))
        .filter(|(at, _)| at.checked_sub(1).is_none_or(|before| !is_word(before)))
        .map(|(at, _)| at + 3)
        .collect()
}

/// A reader of `a::{b, c::{d}}`.
struct UseTree<'a> {
    source: &'a Source,
    at: usize,
    end: usize,
}

impl UseTree<'_> {
    /// Reads paths up to the end of this group, each prefixed by `prefix`.
    fn expand(&mut self, prefix: &str, found: &mut Vec<(usize, String)>) {
        let mut path = prefix.to_owned();
        let mut line = self.source.line_at(self.at);
        while self.at < self.end {
            let c = self.source.code[self.at];
            self.at += 1;
            match c {
                '{' => {
                    self.expand(&path, found);
                    path = String::new();
                }
                '}' => break,
                ',' => {
                    push_path(line, &path, found);
                    path = prefix.to_owned();
                }
                c if c.is_whitespace() => {}
                c => {
                    path.push(c);
                    line = self.source.line_at(self.at - 1);
                }
            }
        }
        push_path(line, &path, found);
    }
}

fn push_path(line: usize, path: &str, found: &mut Vec<(usize, String)>) {
    if !path.is_empty() && !path.ends_with("::") {
        found.push((line, path.trim_start_matches("::").to_owned()));
    }
}

/// What the domain may not name.
const CORE_FORBIDS: &[&str] = &[
    "tokio",
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::time::Instant",
    "SystemTime",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Vec<String> {
        let mut problems = check(&File::new(path, text));
        problems.sort();
        problems.dedup();
        problems
            .iter()
            .map(|problem| format!("{}:{}", problem.rule, problem.line))
            .collect()
    }

    const CORE: &str = "crates/core/src/path.rs";

    #[test]
    fn the_domain_may_not_do_io() {
        for text in [
            "use std::fs;\n",
            "use std::fs::File;\n",
            "let a = ::std::env::var(b);\n",
            "use std::net::IpAddr;\n",
            "std::process::exit(1);\n",
            "use std::{fs, io};\n",
            "use std::{fmt, process::{self, Command}};\n",
            "use std::time::{Duration, SystemTime};\n",
            "use std::time::{Duration, Instant};\n",
            "let a = Timestamp::now();\n",
        ] {
            assert_eq!(broken(CORE, text), ["core-import:1"], "{text}");
        }
    }

    #[test]
    fn a_group_is_reported_on_the_line_of_its_part() {
        assert_eq!(
            broken(CORE, "use std::{\n    fmt,\n    fs,\n    io,\n};\n"),
            ["core-import:3"]
        );
    }

    #[test]
    fn other_names_are_free() {
        for text in [
            "use std::fmt;\nuse std::{fmt, collections::{HashMap, HashSet}};\n",
            "// std::fs\nlet a = \"std::env\";\n",
            "use crate::std::fstab;\nlet a = clock.now();\n",
            "#[cfg(test)]\nmod tests {\n    use std::fs;\n    use std::{env, io};\n}\n",
        ] {
            assert!(broken(CORE, text).is_empty(), "{text}");
        }
        assert!(broken("crates/store/src/lib.rs", "use std::fs;\n").is_empty());
    }

    #[test]
    fn only_the_edge_knows_tokio() {
        let engine = "crates/engine/src/lib.rs";
        assert_eq!(broken(engine, "use tokio::time;\n"), ["tokio:1"]);
        assert_eq!(
            broken(engine, "#[cfg(test)]\nmod t {\n    #[tokio::test]\n}\n"),
            ["tokio:3"]
        );
        assert_eq!(broken("examples/a.rs", "use {tokio::time};\n"), ["tokio:1"]);
        assert!(broken(engine, "use tokio_postgres::Client;\n").is_empty());
        assert!(broken("crates/server/src/lib.rs", "use tokio::time;\n").is_empty());
        assert!(broken("crates/backend-vault/src/lib.rs", "use tokio::time;\n").is_empty());
        assert!(broken("crates/strongroom/src/main.rs", "use tokio::time;\n").is_empty());
    }
}
