//! `cargo xtask tidy`: the house rules that a machine can check, all problems at once.

mod expose;
mod files;
mod imports;
mod licences;
mod manifests;
mod rules;
mod source;

use std::fmt;
use std::path::Path;

use crate::failure::Failure;
use crate::repo;
use crate::repo::Metadata;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Check the house rules: crate edges, file sizes, secrecy, imports, licences

Usage: cargo xtask tidy [--update]

  --update   Write the counted `expose_secret` calls to expose.toml instead of comparing them";

/// Checks everything and prints every problem.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let update = match args {
        [] => false,
        [flag] if flag == "--update" => true,
        _ => {
            return Err(Failure::usage(
                "tidy: only `--update` is known (see --help)",
            ));
        }
    };
    let root = repo::root()?;
    check(&root, update)
}

/// Checks the repository at `root`.
pub(crate) fn check(root: &Path, update: bool) -> Result<(), Failure> {
    let metadata = Metadata::load(root)?;
    let files = files::load(root)?;
    let mut problems = manifests::check(root, &metadata)?;
    problems.extend(licences::check(root, &metadata)?);
    for file in &files {
        problems.extend(rules::check(file));
        problems.extend(imports::check(file));
        problems.extend(expose::check_comments(file));
    }
    if update {
        expose::update(root, &files)?;
    } else {
        problems.extend(expose::check_counts(root, &files)?);
    }
    problems.sort();
    problems.dedup();
    for problem in &problems {
        println!("{problem}");
    }
    if problems.is_empty() {
        println!("tidy: {} files, no problems", files.len());
        return Ok(());
    }
    Err(Failure::new(format!("tidy: {} problems", problems.len())))
}

/// One broken rule at one place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// The file, relative to the root.
    pub(crate) file: String,
    /// One-based line.
    pub(crate) line: usize,
    /// The rule's name.
    pub(crate) rule: &'static str,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl Problem {
    /// A problem at a one-based line.
    pub(crate) fn new(
        file: &str,
        line: usize,
        rule: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            file: file.to_owned(),
            line,
            rule,
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}: {}",
            self.file, self.line, self.rule, self.message
        )
    }
}
