//! The map of crates, and what every manifest must inherit from the workspace.

use std::fs;
use std::path::Path;

use super::Problem;
use crate::failure::Failure;
use crate::repo::Metadata;
use crate::repo::Package;

/// Crate edges, inherited settings and the size of the lock file.
pub(crate) fn check(root: &Path, metadata: &Metadata) -> Result<Vec<Problem>, Failure> {
    let mut problems = Vec::new();
    let members: Vec<&str> = metadata
        .members()
        .map(|package| package.name.as_str())
        .collect();
    for package in metadata.members() {
        let manifest = read_manifest(root, package)?;
        problems.extend(edges(&manifest, package, &members));
        problems.extend(inherited(&manifest)?);
    }
    let lock = fs::read_to_string(root.join("Cargo.lock"))
        .map_err(|e| Failure::new(format!("cannot read Cargo.lock: {e}")))?;
    problems.extend(lock_size(&lock));
    Ok(problems)
}

/// A member's manifest.
struct Manifest {
    path: String,
    text: String,
}

impl Manifest {
    /// One-based line of the first line that starts with `key`, else 1.
    fn line_of(&self, key: &str) -> usize {
        let starts = |line: &str| {
            let line = line.trim_start().trim_start_matches('"');
            line.strip_prefix(key)
                .is_some_and(|rest| rest.starts_with([' ', '.', '=', '"', ']']))
        };
        self.text
            .lines()
            .position(starts)
            .map_or(1, |index| index + 1)
    }

    fn problem(&self, key: &str, rule: &'static str, message: String) -> Problem {
        Problem::new(&self.path, self.line_of(key), rule, message)
    }
}

fn read_manifest(root: &Path, package: &Package) -> Result<Manifest, Failure> {
    let path = package
        .manifest_path
        .strip_prefix(root)
        .unwrap_or(&package.manifest_path);
    let text = fs::read_to_string(&package.manifest_path)
        .map_err(|e| Failure::new(format!("cannot read {}: {e}", path.display())))?;
    Ok(Manifest {
        path: path.display().to_string(),
        text,
    })
}

fn edges(manifest: &Manifest, package: &Package, members: &[&str]) -> Vec<Problem> {
    let Some((_, allowed)) = MAP.iter().find(|(name, _)| *name == package.name) else {
        let message = format!(
            "`{}` is not in the map: xtask/src/tidy/manifests.rs",
            package.name
        );
        return vec![manifest.problem("name", "crate-edge", message)];
    };
    let mut problems = Vec::new();
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        let is_dev = dependency.kind.as_deref() == Some("dev");
        if members.contains(&name) {
            let for_tests =
                FOR_TESTS.contains(&name) || TEST_EDGES.contains(&(package.name.as_str(), name));
            let is_allowed = allowed.contains(&name) || (is_dev && for_tests);
            if !is_allowed {
                let message = format!("`{}` may not depend on `{name}`", package.name);
                problems.push(manifest.problem(name, "crate-edge", message));
            }
        } else if name == "tokio" && !KNOWS_TOKIO.contains(&package.name.as_str()) {
            let message = format!("`{}` may not know tokio", package.name);
            problems.push(manifest.problem(name, "tokio", message));
        }
    }
    problems
}

fn inherited(manifest: &Manifest) -> Result<Vec<Problem>, Failure> {
    let table: toml::Table = manifest.text.parse().map_err(|e: toml::de::Error| {
        Failure::new(format!("{}: {}", manifest.path, e.message()))
    })?;
    let mut problems = Vec::new();
    if !table.get("lints").is_some_and(is_inherited) {
        let message = "the crate needs `[lints] workspace = true`".to_owned();
        problems.push(manifest.problem("[lints", "workspace-lints", message));
    }
    for key in PACKAGE_KEYS {
        let value = table.get("package").and_then(|package| package.get(*key));
        if !value.is_some_and(is_inherited) {
            let message = format!("write `{key}.workspace = true`");
            problems.push(manifest.problem(key, "workspace-package", message));
        }
    }
    for (name, value) in dependencies(&table) {
        if !is_inherited(value) {
            let message =
                format!("write `{name}.workspace = true`, the version is the workspace's");
            problems.push(manifest.problem(name, "workspace-dependency", message));
        }
    }
    Ok(problems)
}

/// Every line of every dependency table, those of `[target.*]` included.
fn dependencies(table: &toml::Table) -> Vec<(&String, &toml::Value)> {
    let targets = table.get("target").and_then(toml::Value::as_table);
    let of_targets = targets
        .into_iter()
        .flat_map(toml::Table::values)
        .filter_map(toml::Value::as_table);
    std::iter::once(table)
        .chain(of_targets)
        .flat_map(|table| DEPENDENCY_TABLES.iter().filter_map(|name| table.get(*name)))
        .filter_map(toml::Value::as_table)
        .flatten()
        .collect()
}

fn is_inherited(value: &toml::Value) -> bool {
    value.get("workspace").and_then(toml::Value::as_bool) == Some(true)
}

fn lock_size(lock: &str) -> Option<Problem> {
    let packages = lock.lines().filter(|line| *line == "[[package]]").count();
    (packages > LOCK_PACKAGES_MAX).then(|| {
        let message = format!("{packages} packages, at most {LOCK_PACKAGES_MAX}");
        Problem::new("Cargo.lock", 1, "lock-size", message)
    })
}

const LOCK_PACKAGES_MAX: usize = 700;
const DEPENDENCY_TABLES: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];
const PACKAGE_KEYS: &[&str] = &["version", "edition", "rust-version", "license"];
const TESTKIT: &str = "strongroom-testkit";
const FAKES: &str = "strongroom-fakes";
/// Any crate may have these as dev-dependencies, and none otherwise.
const FOR_TESTS: &[&str] = &[TESTKIT, FAKES];
/// Tests look at the engine and the embedded store together: damage below has to be told above. And
/// at the library for applications beside the server that it asks.
const TEST_EDGES: &[(&str, &str)] = &[
    ("strongroom", "strongroom-sdk"),
    ("strongroom-engine", "strongroom-store"),
    ("strongroom-rotators", "strongroom-store"),
    ("strongroom-store", "strongroom-engine"),
];
const KNOWS_TOKIO: &[&str] = &[
    "strongroom",
    "strongroom-server",
    "strongroom-sdk",
    "strongroom-chain",
    "strongroom-backend-aws",
    "strongroom-backend-azure",
    "strongroom-backend-gcp",
    "strongroom-backend-kubernetes",
    "strongroom-backend-vault",
    "strongroom-mysql",
    "strongroom-postgres",
    "strongroom-redis",
    "strongroom-rotators",
    "strongroom-store-postgres",
    "strongroom-supervise",
    "strongroom-userkeys",
    FAKES,
];

/// Which crate of ours may depend on which. Only dev-dependencies may be on what is for tests.
const MAP: &[(&str, &[&str])] = &[
    (
        "strongroom",
        &[
            "strongroom-server",
            "strongroom-scan",
            "strongroom-deploy",
            "strongroom-supervise",
            "strongroom-chain",
            "strongroom-engine",
            "strongroom-rotators",
            "strongroom-store",
            "strongroom-store-postgres",
            "strongroom-userkeys",
            "strongroom-backends",
            "strongroom-crypto",
            "strongroom-core",
        ],
    ),
    (
        "strongroom-sdk",
        &[
            "strongroom-userkeys",
            "strongroom-chain",
            "strongroom-engine",
            "strongroom-store-postgres",
            "strongroom-store",
            "strongroom-backends",
            "strongroom-crypto",
            "strongroom-core",
        ],
    ),
    (
        "strongroom-chain",
        &[
            "strongroom-engine",
            "strongroom-backends",
            "strongroom-backend-aws",
            "strongroom-backend-azure",
            "strongroom-backend-gcp",
            "strongroom-backend-kubernetes",
            "strongroom-backend-vault",
            "strongroom-crypto",
            "strongroom-core",
        ],
    ),
    (
        "strongroom-server",
        &[
            "strongroom-engine",
            "strongroom-rotators",
            "strongroom-store",
            "strongroom-store-postgres",
            "strongroom-mysql",
            "strongroom-postgres",
            "strongroom-redis",
            "strongroom-userkeys",
            "strongroom-backends",
            "strongroom-deploy",
            "strongroom-crypto",
            "strongroom-core",
        ],
    ),
    (
        "strongroom-engine",
        &["strongroom-crypto", "strongroom-core"],
    ),
    (
        "strongroom-store",
        &["strongroom-crypto", "strongroom-core"],
    ),
    (
        "strongroom-store-postgres",
        &[
            "strongroom-postgres",
            "strongroom-crypto",
            "strongroom-core",
        ],
    ),
    (
        "strongroom-userkeys",
        &[
            "strongroom-postgres",
            "strongroom-crypto",
            "strongroom-core",
        ],
    ),
    (
        "strongroom-postgres",
        &["strongroom-crypto", "strongroom-core"],
    ),
    (
        "strongroom-mysql",
        &["strongroom-crypto", "strongroom-core"],
    ),
    (
        "strongroom-redis",
        &["strongroom-crypto", "strongroom-core"],
    ),
    (
        "strongroom-rotators",
        &[
            "strongroom-engine",
            "strongroom-mysql",
            "strongroom-backend-vault",
            "strongroom-postgres",
            "strongroom-redis",
            "strongroom-crypto",
            "strongroom-core",
        ],
    ),
    ("strongroom-backends", &["strongroom-core"]),
    ("strongroom-backend-aws", &["strongroom-core"]),
    ("strongroom-backend-azure", &["strongroom-core"]),
    ("strongroom-backend-gcp", &["strongroom-core"]),
    ("strongroom-backend-kubernetes", &["strongroom-core"]),
    ("strongroom-backend-vault", &["strongroom-core"]),
    ("strongroom-scan", &["strongroom-core"]),
    ("strongroom-deploy", &["strongroom-core"]),
    (
        "strongroom-supervise",
        &[
            "strongroom-chain",
            "strongroom-deploy",
            "strongroom-engine",
            "strongroom-store",
            "strongroom-crypto",
            "strongroom-core",
        ],
    ),
    ("strongroom-crypto", &["strongroom-core"]),
    ("strongroom-core", &[]),
    (
        TESTKIT,
        &[
            "strongroom-userkeys",
            "strongroom-crypto",
            "strongroom-core",
        ],
    ),
    (FAKES, &["strongroom-core"]),
    ("xtask", &[]),
];

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::repo::Dependency;

    const MEMBERS: &[&str] = &[
        "strongroom-core",
        "strongroom-crypto",
        "strongroom-store",
        "strongroom-testkit",
    ];

    fn manifest(text: &str) -> Manifest {
        Manifest {
            path: "crates/x/Cargo.toml".to_owned(),
            text: text.to_owned(),
        }
    }

    fn broken_edges(package: &str, dependencies: &[(&str, Option<&str>)]) -> Vec<String> {
        let package = Package {
            id: String::new(),
            name: package.to_owned(),
            version: String::new(),
            license: None,
            source: None,
            manifest_path: PathBuf::new(),
            dependencies: dependencies
                .iter()
                .map(|(name, kind)| Dependency {
                    name: (*name).to_owned(),
                    kind: kind.map(str::to_owned),
                })
                .collect(),
        };
        let problems = edges(&manifest(""), &package, MEMBERS);
        problems
            .into_iter()
            .map(|problem| problem.message)
            .collect()
    }

    fn broken_rules(text: &str) -> Vec<String> {
        let problems = inherited(&manifest(text)).unwrap();
        problems
            .iter()
            .map(|problem| format!("{}:{}", problem.rule, problem.line))
            .collect()
    }

    const GOOD: &str = "\
[package]
name = \"x\"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
[lints]
workspace = true
";

    #[test]
    fn an_arrow_upwards_is_flagged() {
        let found = broken_edges("strongroom-crypto", &[("strongroom-store", None)]);
        assert_eq!(
            found,
            ["`strongroom-crypto` may not depend on `strongroom-store`"]
        );
        assert_eq!(
            broken_edges("strongroom-core", &[("strongroom-crypto", Some("dev"))]).len(),
            1
        );
        assert_eq!(broken_edges("xtask", &[("strongroom-core", None)]).len(), 1);
        assert!(broken_edges("strongroom-store", &[("strongroom-core", None)]).is_empty());
    }

    #[test]
    fn the_testkit_is_for_tests_only() {
        assert_eq!(
            broken_edges("strongroom-store", &[("strongroom-testkit", None)]).len(),
            1
        );
        assert_eq!(
            broken_edges("strongroom-store", &[("strongroom-testkit", Some("build"))]).len(),
            1
        );
        assert!(
            broken_edges("strongroom-store", &[("strongroom-testkit", Some("dev"))]).is_empty()
        );
    }

    #[test]
    fn a_crate_outside_the_map_is_flagged() {
        assert_eq!(broken_edges("strongroom-novelty", &[]).len(), 1);
    }

    #[test]
    fn tokio_is_for_the_edge() {
        assert_eq!(
            broken_edges("strongroom-engine", &[("tokio", Some("dev"))]).len(),
            1
        );
        assert!(broken_edges("strongroom-server", &[("tokio", None)]).is_empty());
    }

    #[test]
    fn what_inherits_everything_passes() {
        let more =
            "[dependencies]\nserde.workspace = true\nb = { workspace = true, features = [] }\n";
        assert!(broken_rules(&format!("{GOOD}{more}")).is_empty());
    }

    #[test]
    fn missing_lints_are_flagged() {
        let own = GOOD.replace(
            "[lints]\nworkspace = true",
            "[lints.rust]\nunsafe_code = \"deny\"",
        );
        assert_eq!(broken_rules(&own).len(), 1);
        assert_eq!(
            broken_rules(&GOOD.replace(
                "[lints]
workspace = true
",
                ""
            ))
            .len(),
            1
        );
    }

    #[test]
    fn version_literals_are_flagged_in_every_table() {
        for table in [
            "[dependencies]",
            "[dev-dependencies]",
            "[build-dependencies]",
            "[target.'cfg(unix)'.dependencies]",
        ] {
            for line in [
                "serde = \"1\"",
                "serde = { version = \"1\" }",
                "serde.path = \"../serde\"",
            ] {
                let text = format!("{GOOD}{table}\n{line}\n");
                assert_eq!(
                    broken_rules(&text),
                    ["workspace-dependency:10"],
                    "{table} {line}"
                );
            }
        }
        let own = GOOD.replace("version.workspace = true\ned", "version = \"1.0.0\"\ned");
        assert_eq!(broken_rules(&own), ["workspace-package:3"]);
    }

    #[test]
    fn a_lock_file_over_the_bound_is_flagged() {
        assert!(lock_size(&"[[package]]\n".repeat(LOCK_PACKAGES_MAX)).is_none());
        assert!(lock_size(&"[[package]]\n".repeat(LOCK_PACKAGES_MAX + 1)).is_some());
    }
}
