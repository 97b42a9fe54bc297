//! A client's own test suite, as its makers publish it, against OpenBao and against our server.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::failure::Failure;
use crate::repo;

use super::pytest::Outcomes;
use super::pytest::Suite;
use super::report;
use super::server;

/// The suite that lies in the source package of hvac.
const SUITE: Suite = Suite {
    package: "hvac-2.4.0",
    tests: "tests/integration_tests",
    environment: "venv",
    packages: &[
        "Authlib==1.3.2",
        "Flask-SQLAlchemy==3.1.1",
        "Werkzeug==3.0.6",
        "jwcrypto==1.5.6",
        "packaging==23.2",
        "parameterized==0.8.1",
        "pyhcl==0.4.5",
        "pytest==7.4.4",
        "pytest-mock==3.14.0",
        "pytest-timeout==2.3.1",
        "requests-mock==1.12.1",
        "requests==2.32.3",
    ],
};

/// Parts of the suite whose engine or method is not served here.
const NOT_SERVED: [(&str, &str); 19] = [
    ("api/auth_methods/test_aws", "the method is not served"),
    ("api/auth_methods/test_azure", "the method is not served"),
    ("api/auth_methods/test_cert", "the method is not served"),
    ("api/auth_methods/test_gcp", "the method is not served"),
    ("api/auth_methods/test_github", "the method is not served"),
    ("api/auth_methods/test_jwt", "the method is not served"),
    (
        "api/auth_methods/test_kubernetes",
        "the method is not served",
    ),
    ("api/auth_methods/test_ldap", "wants a Java LDAP server"),
    ("api/auth_methods/test_legacy_mfa", "removed from Vault"),
    ("api/auth_methods/test_oidc", "the method is not served"),
    ("api/auth_methods/test_okta", "the method is not served"),
    ("api/secrets_engines/test_aws", "the engine is not served"),
    ("api/secrets_engines/test_azure", "the engine is not served"),
    ("api/secrets_engines/test_gcp", "the engine is not served"),
    (
        "api/secrets_engines/test_identity",
        "the engine is not served",
    ),
    ("api/secrets_engines/test_pki", "the engine is not served"),
    ("api/secrets_engines/test_ssh", "the engine is not served"),
    ("api/secrets_engines/test_transform", "of Vault Enterprise"),
    (
        "api/secrets_engines/test_transit",
        "the engine is not served",
    ),
];

/// Tests of served parts that OpenBao passes and we do not.
const REASONS: [(&str, &str); 7] = [
    (
        "test_list_leases",
        "makes its leases with the pki engine, which is not served",
    ),
    (
        "TestLease::test_read_lease",
        "makes its leases with the pki engine, which is not served",
    ),
    (
        "test_revoke_lease",
        "makes its leases with the pki engine, which is not served",
    ),
    (
        "test_revoke_prefix",
        "makes its leases with the pki engine, which is not served",
    ),
    (
        "test_revoke_force",
        "makes its leases with the pki engine, which is not served",
    ),
    (
        "TestSystemBackend::test_read_lease",
        "makes its leases with the pki engine, which is not served",
    ),
    (
        "test_write_with_response",
        "writes to the transit engine, which is not served",
    ),
];

/// Runs the suite twice and writes the table.
pub(super) fn run(root: &Path, binary: &Path) -> Result<(), Failure> {
    SUITE.install(root)?;
    let theirs = run_against(root, "openbao", &server::openbao_binary(root)?)?;
    let ours = run_against(root, "strongroom", binary)?;
    let comparison = Comparison::new(&theirs, &ours);
    let table = comparison.table(&repo::revision(root));
    println!("{table}");
    report::write_between(root, "suites", &table)?;
    match comparison.unexplained.as_slice() {
        [] => Ok(()),
        tests => Err(Failure::new(format!(
            "parity: OpenBao passes what strongroom does not: {}",
            tests.join(", ")
        ))),
    }
}

fn run_against(root: &Path, kind: &str, server: &Path) -> Result<Outcomes, Failure> {
    println!("== {} against {kind}", SUITE.package);
    let cannot = |e: std::io::Error| Failure::new(format!("cannot prepare the suite: {e}"));
    let folder = root.join("target/parity/suites").join(kind);
    let programs = folder.join("bin");
    fs::create_dir_all(&programs).map_err(cannot)?;
    let program = format!(
        "#!{}\n{}",
        SUITE.python(root).display(),
        include_str!("suites/vault.py")
    );
    let vault = programs.join("vault");
    fs::write(&vault, program).map_err(cannot)?;
    make_executable(&vault).map_err(cannot)?;
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display());
    let plugins = [("tell", include_str!("suites/tell.py"))];
    SUITE.run(root, &folder, &plugins, |command| {
        command
            .env("PATH", path)
            .env("SUITE_SERVER", server)
            .env("SUITE_KIND", kind);
    })
}

fn make_executable(file: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Both runs beside each other.
struct Comparison {
    /// For each file of the suite: tests, passed by OpenBao, passed by us.
    parts: BTreeMap<String, [usize; 3]>,
    /// What OpenBao passes and we do not, although we serve it, and why.
    explained: Vec<(String, &'static str)>,
    unexplained: Vec<String>,
    /// What we pass and OpenBao does not.
    more: Vec<String>,
}

impl Comparison {
    fn new(theirs: &Outcomes, ours: &Outcomes) -> Self {
        let mut comparison = Self {
            parts: BTreeMap::new(),
            explained: Vec::new(),
            unexplained: Vec::new(),
            more: Vec::new(),
        };
        let tests: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        for test in tests {
            let passes = |side: &Outcomes| side.get(test).is_some_and(|how| how == "passed");
            let (their, our) = (passes(theirs), passes(ours));
            let counts = comparison.parts.entry(part_of(test)).or_default();
            counts[0] += 1;
            counts[1] += usize::from(their);
            counts[2] += usize::from(our);
            if !their && our {
                comparison.more.push(short(test).to_owned());
            }
            if !their || our || why_not_served(&part_of(test)).is_some() {
                continue;
            }
            match REASONS.iter().find(|(end, _)| test.ends_with(end)) {
                Some((_, reason)) => comparison.explained.push((short(test).to_owned(), reason)),
                None => comparison.unexplained.push(short(test).to_owned()),
            }
        }
        comparison
    }

    fn table(&self, revision: &str) -> String {
        let mut text = String::from("| part | tests | OpenBao passes | strongroom passes | |\n");
        text.push_str("| --- | ---: | ---: | ---: | --- |\n");
        let mut served = [0; 3];
        let mut all = [0; 3];
        for (part, counts) in &self.parts {
            let reason = why_not_served(part);
            for (at, count) in counts.iter().enumerate() {
                all[at] += count;
                served[at] += if reason.is_none() { *count } else { 0 };
            }
            row(&mut text, part, *counts, reason.unwrap_or_default());
        }
        row(&mut text, "**what is served here**", served, "");
        row(&mut text, "all", all, "");
        text.push_str("\n| passed by one of the two only | by | why |\n| --- | --- | --- |\n");
        // Writing to a string cannot fail.
        for (test, reason) in &self.explained {
            let _ = writeln!(text, "| `{test}` | OpenBao | {reason} |");
        }
        for test in &self.unexplained {
            let _ = writeln!(text, "| `{test}` | OpenBao | not explained |");
        }
        for test in &self.more {
            let _ = writeln!(text, "| `{test}` | strongroom | |");
        }
        let _ = write!(
            text,
            "\nMade by `cargo xtask parity suites` against OpenBao 2.7.2 at revision {revision}.\n"
        );
        text
    }
}

fn row(text: &mut String, part: &str, [tests, their, our]: [usize; 3], reason: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "| {part} | {tests} | {their} | {our} | {reason} |");
}

fn why_not_served(part: &str) -> Option<&'static str> {
    let found = NOT_SERVED.iter().find(|(name, _)| *name == part);
    found.map(|(_, reason)| *reason)
}

/// `tests/integration_tests/api/x/test_y.py::C::t` is of `api/x/test_y`.
fn part_of(test: &str) -> String {
    let (file, _) = test.split_once("::").unwrap_or((test, ""));
    short(file).trim_end_matches(".py").to_owned()
}

fn short(test: &str) -> &str {
    test.trim_start_matches("tests/integration_tests/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(passed: &[&str], failed: &[&str]) -> Outcomes {
        let named = |names: &[&str], how: &str| -> Vec<(String, String)> {
            let name = |name: &&str| format!("tests/integration_tests/{name}");
            names
                .iter()
                .map(|one| (name(one), how.to_owned()))
                .collect()
        };
        let mut all = named(passed, "passed");
        all.extend(named(failed, "failed"));
        all.into_iter().collect()
    }

    #[test]
    fn only_what_is_served_and_has_no_reason_counts_against_us() {
        let names = [
            "api/system_backend/test_mount.py::TestMount::test_a",
            "api/system_backend/test_lease.py::TestLease::test_list_leases",
            "api/secrets_engines/test_pki.py::TestPki::test_b",
        ];
        let comparison = Comparison::new(&outcomes(&names, &[]), &outcomes(&[], &names));
        assert_eq!(comparison.unexplained, [names[0]]);
        assert_eq!(comparison.explained.len(), 1);
        let table = comparison.table("abc");
        assert!(
            table.contains("| **what is served here** | 2 | 2 | 0 |  |"),
            "{table}"
        );
        assert!(table.contains("| all | 3 | 3 | 0 |  |"), "{table}");
        let comparison = Comparison::new(&outcomes(&[], &names), &outcomes(&names, &[]));
        assert_eq!(comparison.more.len(), 3);
        assert!(comparison.unexplained.is_empty());
    }
}
