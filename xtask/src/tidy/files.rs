//! The files that the rules look at, and what kind of file each one is.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::source::Source;
use crate::failure::Failure;
use crate::repo;

/// One file of the repository.
#[derive(Debug)]
pub(crate) struct File {
    /// Path relative to the root, with `/`.
    pub(crate) path: String,
    /// Size in bytes.
    pub(crate) bytes: u64,
    /// Its text, if it is text.
    pub(crate) text: Option<String>,
    /// Its code, if it is Rust.
    pub(crate) source: Option<Source>,
    /// True if all of it is compiled for tests and benchmarks only.
    pub(crate) is_test: bool,
}

impl File {
    /// A file with this text.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let source = path.ends_with(".rs").then(|| Source::parse(text));
        Self {
            path: path.to_owned(),
            bytes: text.len() as u64,
            text: Some(text.to_owned()),
            is_test: is_test_path(path),
            source,
        }
    }

    /// The folder of the crate the file belongs to: `core` for `crates/core/src/path.rs`.
    pub(crate) fn crate_folder(&self) -> Option<&str> {
        let mut parts = self.path.split('/');
        match parts.next()? {
            "crates" => parts.next(),
            "xtask" => Some("xtask"),
            _ => None,
        }
    }

    /// True if the zero-based line is compiled for tests only.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        let by_attribute = self
            .source
            .as_ref()
            .and_then(|source| source.is_test.get(line));
        self.is_test || by_attribute.copied().unwrap_or(false)
    }

    /// True for a program beside the product: an example or a build script.
    pub(crate) fn is_side_program(&self) -> bool {
        self.path.split('/').any(|part| part == "examples") || self.path.ends_with("/build.rs")
    }
}

/// Reads every file of the repository.
pub(crate) fn load(root: &Path) -> Result<Vec<File>, Failure> {
    let mut files = Vec::new();
    for path in repo::files(root)? {
        let bytes = fs::read(root.join(&path))
            .map_err(|e| Failure::new(format!("cannot read {path}: {e}")))?;
        files.push(match String::from_utf8(bytes) {
            Ok(text) => File::new(&path, &text),
            Err(e) => File {
                is_test: is_test_path(&path),
                path,
                bytes: e.as_bytes().len() as u64,
                text: None,
                source: None,
            },
        });
    }
    mark_test_modules(&mut files);
    Ok(files)
}

/// Marks files whose `mod` line stands under `#[cfg(test)]`.
fn mark_test_modules(files: &mut [File]) {
    let modules: HashSet<String> = files
        .iter()
        .flat_map(|file| {
            let names = file
                .source
                .as_ref()
                .map(|source| source.test_modules.as_slice());
            let folder = module_folder(&file.path);
            names
                .unwrap_or_default()
                .iter()
                .map(move |name| format!("{folder}/{name}"))
        })
        .collect();
    for file in files {
        let Some(path) = file.path.strip_suffix(".rs") else {
            continue;
        };
        let is_below = |module: &String| {
            path.strip_prefix(module.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        file.is_test |= modules.iter().any(is_below);
    }
}

/// The folder in which the modules that a file declares are looked for.
fn module_folder(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        "lib.rs" | "main.rs" => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    }
}

fn is_test_path(path: &str) -> bool {
    path.split('/')
        .any(|part| matches!(part, "tests" | "tests.rs" | "benches"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_by_their_path() {
        assert!(File::new("crates/core/src/path/tests.rs", "").is_test);
        assert!(File::new("crates/core/tests/it/main.rs", "").is_test);
        assert!(File::new("crates/store/benches/put.rs", "").is_test);
        assert!(!File::new("crates/core/src/contests.rs", "").is_test);
    }

    #[test]
    fn modules_under_cfg_test_are_tests() {
        let mut files = [
            File::new(
                "crates/core/src/lib.rs",
                "#[cfg(test)]\nmod fixtures;\nmod path;",
            ),
            File::new("crates/core/src/fixtures.rs", ""),
            File::new("crates/core/src/fixtures/deep.rs", ""),
            File::new("crates/core/src/path.rs", "#[cfg(test)]\nmod samples;"),
            File::new("crates/core/src/path/samples.rs", ""),
            File::new("crates/core/src/samples.rs", ""),
        ];
        mark_test_modules(&mut files);
        assert_eq!(
            files.map(|file| file.is_test),
            [false, true, true, false, true, false]
        );
    }

    #[test]
    fn a_file_knows_its_crate() {
        assert_eq!(
            File::new("crates/core/src/lib.rs", "").crate_folder(),
            Some("core")
        );
        assert_eq!(
            File::new("xtask/src/main.rs", "").crate_folder(),
            Some("xtask")
        );
        assert_eq!(File::new("docs/a.md", "").crate_folder(), None);
    }

    #[test]
    fn examples_and_build_scripts_are_side_programs() {
        assert!(File::new("crates/scan/examples/corpus.rs", "").is_side_program());
        assert!(File::new("crates/scan/build.rs", "").is_side_program());
        assert!(!File::new("crates/scan/src/build_plan.rs", "").is_side_program());
    }
}
