//! Documents made from what programs print: an introduction, and a table for each program.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::repo;

/// One part of a document, filled by one program.
pub(crate) struct Section {
    /// The program.
    pub(crate) name: &'static str,
    /// The heading.
    pub(crate) title: &'static str,
    /// What is measured, and how.
    pub(crate) about: &'static str,
}

/// A document with the results of the last run of each program.
pub(crate) struct Document {
    path: PathBuf,
    introduction: &'static str,
    sections: &'static [Section],
    bodies: Vec<String>,
    stamp: String,
}

impl Document {
    /// Reads the document; results of programs that do not run now stay.
    pub(crate) fn load(
        root: &Path,
        file: &str,
        introduction: &'static str,
        sections: &'static [Section],
    ) -> Result<Self, Failure> {
        let path = root.join(file);
        let old = fs::read_to_string(&path).unwrap_or_default();
        let bodies = sections
            .iter()
            .map(|section| body_in(&old, section))
            .collect();
        Ok(Self {
            path,
            introduction,
            sections,
            bodies,
            stamp: stamp(root),
        })
    }

    /// Puts new results in the place of the old ones, and writes the file.
    pub(crate) fn replace(&mut self, name: &str, tables: &str) -> Result<(), Failure> {
        for (section, body) in self.sections.iter().zip(&mut self.bodies) {
            if section.name == name {
                *body = format!("{tables}\n{}", self.stamp);
            }
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&self.path, self.text()))
            .map_err(|e| Failure::new(format!("cannot write {}: {e}", self.path.display())))
    }

    fn text(&self) -> String {
        let mut text = self.introduction.to_owned();
        for (section, body) in self.sections.iter().zip(&self.bodies) {
            let body = if body.is_empty() {
                "Not run yet."
            } else {
                body
            };
            let Section { title, about, .. } = section;
            // Writing to a string cannot fail.
            let _ = write!(text, "\n## {title}\n\n{about}\n\n{}\n", body.trim_end());
        }
        text
    }
}

/// The lines of the Markdown tables in what a program printed, or all of it where there are none.
pub(crate) fn tables(printed: &str) -> String {
    let table = printed
        .lines()
        .filter(|line| line.starts_with("| "))
        .fold(String::new(), |text, line| text + line.trim_end() + "\n");
    if table.is_empty() {
        format!("{FENCE}text\n{}\n{FENCE}\n", printed.trim())
    } else {
        table
    }
}

/// What stands below the heading and the paragraph of a section.
fn body_in(old: &str, section: &Section) -> String {
    let heading = format!("\n## {}\n", section.title);
    let Some((_, rest)) = old.split_once(&heading) else {
        return String::new();
    };
    let part = rest.split("\n## ").next().unwrap_or_default();
    let begins = ["\n| ", &format!("\n{FENCE}")];
    let results = begins.iter().filter_map(|begin| part.find(begin)).min();
    results
        .and_then(|at| part.get(at + 1..))
        .unwrap_or_default()
        .to_owned()
}

const FENCE: &str = "```";

/// Where and at which revision the figures were made.
fn stamp(root: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let revision = repo::revision(root);
    format!("Measured on {cores} cores (load {load} at the start) at revision {revision}.\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTIONS: &[Section] = &[
        Section {
            name: "a",
            title: "First",
            about: "About the first.",
        },
        Section {
            name: "b",
            title: "Second",
            about: "About the second.",
        },
    ];

    fn document(old: &str) -> Document {
        Document {
            path: PathBuf::new(),
            introduction: "# Title\n",
            sections: SECTIONS,
            bodies: SECTIONS
                .iter()
                .map(|section| body_in(old, section))
                .collect(),
            stamp: String::new(),
        }
    }

    #[test]
    fn results_of_other_programs_stay() {
        let mut first = document("");
        first.bodies[1] = "| what |\n| --- |\n| 1 |\n\nMeasured.\n".to_owned();
        let text = first.text();
        assert!(text.contains("## First\n\nAbout the first.\n\nNot run yet.\n"));
        let mut second = document(&text);
        assert_eq!(second.text(), text);
        second.bodies[0] = "| x |\n".to_owned();
        assert!(
            second
                .text()
                .contains("About the second.\n\n| what |\n| --- |\n| 1 |\n\nMeasured.")
        );
    }

    #[test]
    fn only_tables_are_taken_where_there_are_some() {
        assert_eq!(tables("1 ms\n2 ms\n"), "```text\n1 ms\n2 ms\n```\n");
        assert_eq!(
            tables("== run\n| a | b |\n|x\nnoise\n| 1 | 2 |\n"),
            "| a | b |\n| 1 | 2 |\n"
        );
    }
}
