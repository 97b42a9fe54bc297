//! What may enter the dependency tree: licences, banned crates, sources. The lists are deny.toml's;
//! cargo-deny reads the same file where it is installed.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::Problem;
use crate::failure::Failure;
use crate::repo::Metadata;
use crate::repo::Package;
use crate::shell;

/// Every package of the graph against deny.toml.
pub(crate) fn check(root: &Path, metadata: &Metadata) -> Result<Vec<Problem>, Failure> {
    let text = fs::read_to_string(root.join(FILE_NAME))
        .map_err(|e| Failure::new(format!("cannot read {FILE_NAME}: {e}")))?;
    let rules: Rules = toml::from_str(&text)
        .map_err(|e| Failure::new(format!("{FILE_NAME} is not what is expected: {e}")))?;
    let built = built(root)?;
    let mut problems = Vec::new();
    for package in &metadata.packages {
        problems.extend(problems_of(package, &rules));
        problems.extend(ban_of(package, &rules).filter(|_| built.contains(&package.name)));
    }
    Ok(problems)
}

/// The packages that are compiled for some platform. The lock file names more: what stands behind
/// an optional feature of an optional package is locked, and never built.
fn built(root: &Path) -> Result<HashSet<String>, Failure> {
    let mut command = shell::cargo(root);
    command.args(["tree", "--workspace", "--all-features", "--target", "all"]);
    command.args(["--edges", "normal,build,dev", "--prefix", "none"]);
    let printed = shell::capture(command.args(["--format", "{p}"]))?;
    if !printed.status.success() {
        return Err(Failure::new(format!("cargo tree: {}", printed.stderr)));
    }
    let names = printed
        .stdout
        .lines()
        .filter_map(|line| line.split(' ').next());
    Ok(names.map(str::to_owned).collect())
}

fn ban_of(package: &Package, rules: &Rules) -> Option<Problem> {
    let mut bans = rules.bans.deny.iter();
    let ban = bans.find(|ban| ban.name == package.name)?;
    let (name, version, reason) = (&package.name, &package.version, &ban.reason);
    let message = format!("{name} {version}: {reason}");
    Some(Problem::new("Cargo.lock", 1, "banned-crate", message))
}

fn problems_of(package: &Package, rules: &Rules) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut report = |rule: &'static str, message: String| {
        let message = format!("{} {}: {message}", package.name, package.version);
        problems.push(Problem::new("Cargo.lock", 1, rule, message));
    };
    let mut allowed: HashSet<&str> = rules.licenses.allow.iter().map(String::as_str).collect();
    for exception in &rules.licenses.exceptions {
        if exception.name == package.name {
            allowed.extend(exception.allow.iter().map(String::as_str));
        }
    }
    match package.license.as_deref() {
        None => report(
            "licence",
            "no licence expression in its manifest".to_owned(),
        ),
        Some(expression) => match is_allowed(expression, &allowed) {
            Some(true) => {}
            Some(false) => {
                report(
                    "licence",
                    format!("`{expression}` is not covered by {FILE_NAME}"),
                );
            }
            None => report(
                "licence",
                format!("`{expression}` is not a licence expression"),
            ),
        },
    }
    if let Some(source) = package
        .source
        .as_deref()
        .filter(|source| *source != CRATES_IO)
    {
        report(
            "source",
            format!("comes from `{source}`, only crates.io is allowed"),
        );
    }
    problems
}

/// Whether what `allowed` holds satisfies an SPDX expression; nothing if it is not one. The `/` of
/// old manifests means `OR`.
fn is_allowed(expression: &str, allowed: &HashSet<&str>) -> Option<bool> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words = Words {
        words: spaced.split_whitespace().collect(),
        at: 0,
        allowed,
    };
    let answer = words.alternatives()?;
    (words.at == words.words.len()).then_some(answer)
}

/// A reader of licence expressions: `WITH` binds before `AND`, `AND` before `OR`.
struct Words<'a> {
    words: Vec<&'a str>,
    at: usize,
    allowed: &'a HashSet<&'a str>,
}

impl<'a> Words<'a> {
    fn alternatives(&mut self) -> Option<bool> {
        let mut answer = self.conjunction()?;
        while self.accept("OR") {
            answer |= self.conjunction()?;
        }
        Some(answer)
    }

    fn conjunction(&mut self) -> Option<bool> {
        let mut answer = self.term()?;
        while self.accept("AND") {
            answer &= self.term()?;
        }
        Some(answer)
    }

    fn term(&mut self) -> Option<bool> {
        if self.accept("(") {
            let answer = self.alternatives()?;
            return self.accept(")").then_some(answer);
        }
        let name = self.name()?;
        if self.accept("WITH") {
            let exception = self.name()?;
            return Some(
                self.allowed
                    .contains(format!("{name} WITH {exception}").as_str()),
            );
        }
        Some(self.allowed.contains(name))
    }

    fn name(&mut self) -> Option<&'a str> {
        let word = *self.words.get(self.at)?;
        if matches!(word, "AND" | "OR" | "WITH" | "(" | ")") {
            return None;
        }
        self.at += 1;
        Some(word)
    }

    fn accept(&mut self, word: &str) -> bool {
        let is_next = self.words.get(self.at) == Some(&word);
        self.at += usize::from(is_next);
        is_next
    }
}

/// The part of deny.toml that is read here.
#[derive(Debug, Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Debug, Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

const FILE_NAME: &str = "deny.toml";
/// How cargo spells crates.io in its lock file, whatever mirror it downloads from.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn is_fine(expression: &str) -> Option<bool> {
        is_allowed(
            expression,
            &HashSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]),
        )
    }

    fn package(name: &str, license: Option<&str>, source: Option<&str>) -> Package {
        Package {
            id: String::new(),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
            source: source.map(str::to_owned),
            manifest_path: PathBuf::new(),
            dependencies: Vec::new(),
        }
    }

    fn broken(package: &Package) -> Vec<&'static str> {
        let text = include_str!("../../../deny.toml");
        let rules: Rules = toml::from_str(text).unwrap();
        problems_of(package, &rules)
            .iter()
            .chain(&ban_of(package, &rules))
            .map(|problem| problem.rule)
            .collect()
    }

    #[test]
    fn expressions_are_weighed() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "MIT AND ISC",
            "(GPL-3.0 OR MIT) AND ISC",
            "GPL-3.0 AND X OR MIT",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert_eq!(is_fine(good), Some(true), "{good}");
        }
        for bad in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "Apache-2.0",
            "MIT WITH X",
            "(X OR Y) AND MIT",
        ] {
            assert_eq!(is_fine(bad), Some(false), "{bad}");
        }
        for broken in [
            "", "MIT OR", "(MIT", "MIT)", "MIT ISC", "AND MIT", "MIT WITH",
        ] {
            assert_eq!(is_fine(broken), None, "{broken}");
        }
    }

    #[test]
    fn strange_licences_are_flagged() {
        assert_eq!(
            broken(&package("a", Some("AGPL-3.0"), Some(CRATES_IO))),
            ["licence"]
        );
        assert_eq!(broken(&package("a", None, Some(CRATES_IO))), ["licence"]);
        assert_eq!(broken(&package("a", Some("MIT AND"), None)), ["licence"]);
        assert_eq!(broken(&package("a", Some("MPL-2.0"), None)), ["licence"]);
        assert!(broken(&package("fernet", Some("MPL-2.0"), None)).is_empty());
    }

    #[test]
    fn banned_crates_are_flagged() {
        for name in ["openssl", "openssl-sys", "ring", "native-tls"] {
            assert_eq!(
                broken(&package(name, Some("MIT"), Some(CRATES_IO))),
                ["banned-crate"]
            );
        }
        assert!(broken(&package("aws-lc-rs", Some("ISC"), Some(CRATES_IO))).is_empty());
    }

    #[test]
    fn other_sources_are_flagged() {
        assert_eq!(
            broken(&package("a", Some("MIT"), Some("git+https://x.test/a"))),
            ["source"]
        );
        assert!(broken(&package("ours", Some("MIT"), None)).is_empty());
    }
}
