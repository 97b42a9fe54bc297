//! The tests of a public emulator of AWS, moto, as its makers publish them: against moto itself
//! and against our server.

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

/// The tests of the service; the version is that of the peer.
const SUITE: Suite = Suite {
    package: "moto-5.2.5",
    tests: TESTS,
    environment: "moto",
    packages: &[
        "moto[awslambda,dynamodb,secretsmanager,server]==5.2.5",
        "boto3==1.44.8",
        "botocore==1.44.8",
        "freezegun==1.5.5",
        "pytest==8.4.2",
        "pytest-timeout==2.4.0",
    ],
};
const TESTS: &str = "tests/test_secretsmanager";
const DOCUMENT: &str = "docs/compat/aws.md";

const LAMBDA: &str = "makes functions in AWS Lambda, which is not served";
const REGIONS: &str = "makes two secrets of one name in two regions: here all regions share one \
                       store";
const RAW: &str = "reads `SecretVersionsToStages` of DescribeSecret, which AWS's model calls \
                   `VersionIdsToStages`";
const NO_FUNCTION: &str = "rotates without a function, which AWS refuses";
const MOTOS_OWN: &str = "is about moto itself";

/// Tests that moto passes and we do not, by the end of their names, and why.
const REASONS: &[(&str, &str)] = &[
    (
        "::test_with_invalid_filter_key",
        "wants the wrong value quoted (see above), and a list without what AWS's model has since",
    ),
    (
        "::test_with_filter_with_negation",
        "`one` or not `two`; AWS does not say how negated values go with others, and here they \
         take away",
    ),
    (
        "::test_delete_resource_policy",
        "writes the policy `some policy`, which AWS refuses as malformed",
    ),
    (
        "::test_list_replica_secret_with_filters",
        "makes a tag that begins with `aws:`, which AWS refuses",
    ),
    ("::test_replicate_secret__existing_secret", REGIONS),
    (
        "::test_replicate_secret__overwrite_existing_secret",
        REGIONS,
    ),
    (
        "::test_batch_get_secret_value_for_secret_id_list_with_deleted_secret",
        "wants another text than AWS gives for the same error of GetSecretValue",
    ),
    (
        "::test_batch_get_secret_value_missing_value",
        "wants the whole batch refused for one secret; AWS documents `Errors` for that",
    ),
    (
        "::test_update_secret_without_value",
        "wants no `LastAccessedDate` after a reading, and says itself that AWS gives one",
    ),
    (
        "::test_get_random_include_space_true",
        "wants 4 letters with one of each of 5 kinds",
    ),
    (
        "::test_get_random_too_long_password",
        "wants `InvalidParameterValue`; AWS's model has `InvalidParameterException`",
    ),
    (
        "::test_put_secret_value_versions_adds_awscurrent_label_in_first_version",
        "wants an order of stages, which AWS does not document",
    ),
    ("::test_create_secret_with_tag_custom_id", MOTOS_OWN),
    ("::test_data_api", MOTOS_OWN),
    ("::test_simple_lambda_is_invoked", MOTOS_OWN),
    (
        "::test_simple_lambda_is_invoked__do_not_rotate_immediately",
        MOTOS_OWN,
    ),
    (
        "::test_update_replica",
        "wants GetResourcePolicy refused where a replica is read; here a policy is read, too",
    ),
    ("::test_rotate_secret_lambda_invocations", LAMBDA),
    ("::test_get_secret_version_stage_mismatch", NO_FUNCTION),
    ("::test_rotate_secret_enable_rotation", NO_FUNCTION),
    ("::test_rotate_secret_without_secretstring", NO_FUNCTION),
    ("test_server.py::test_rotate_secret", NO_FUNCTION),
    (
        "::test_rotate_secret_with_incorrect_lambda_arn",
        "wants 404 for a function that is not there; AWS documents 400, and says that it may not \
         be called",
    ),
    (
        "test_secretsmanager.py::test_rotate_secret",
        "stops the client's clock, so that its signature is years old",
    ),
    ("::test_update_secret_version_stage[True]", RAW),
    ("::test_update_secret_version_stage[False]", RAW),
    (
        "::test_update_secret_version_stage_currentversion_handling",
        RAW,
    ),
    ("::test_rotate_secret_that_is_still_rotating", RAW),
    (
        "::test_update_secret_version_stage_validation",
        "wants status 404; AWS documents 400",
    ),
    (
        "::test_rotate_secret_rotation_lambda_arn_too_long",
        "wants a text of moto's own",
    ),
];

/// Runs the tests twice and writes the table.
pub(super) fn run(root: &Path, binary: &Path) -> Result<(), Failure> {
    let suite = SUITE.install(root)?;
    let theirs = run_against(root, &suite, "moto", None)?;
    let ours = run_against(root, &suite, "strongroom", Some(binary))?;
    let comparison = Comparison::new(&theirs, &ours);
    let table = comparison.table(&repo::revision(root));
    println!("{table}");
    report::write_into(root, DOCUMENT, "emulator", &table)?;
    match comparison.unexplained.as_slice() {
        [] => Ok(()),
        tests => Err(Failure::new(format!(
            "parity: moto passes what strongroom does not: {}",
            tests.join(", ")
        ))),
    }
}

/// `server` is ours; without one, moto answers.
fn run_against(
    root: &Path,
    suite: &Path,
    who: &str,
    server: Option<&Path>,
) -> Result<Outcomes, Failure> {
    println!("== tests of {} against {who}", SUITE.package);
    let folder = root.join("target/parity/emulator").join(who);
    fs::create_dir_all(&folder)
        .map_err(|e| Failure::new(format!("cannot prepare the suite: {e}")))?;
    let plugins = [
        ("emulator", include_str!("suites/emulator.py")),
        ("tell", include_str!("suites/tell.py")),
    ];
    let modules = format!("{}:{}", folder.display(), suite.display());
    SUITE.run(root, &folder, &plugins, |command| {
        command
            .env("PYTHONPATH", modules)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        if let Some(server) = server {
            command.env("SUITE_SERVER", server);
        }
    })
}

/// Both runs beside each other.
struct Comparison {
    /// For each file of the suite: tests, passed by moto, passed by us, not passed with a reason.
    parts: BTreeMap<String, [usize; 4]>,
    explained: Vec<(String, &'static str)>,
    unexplained: Vec<String>,
}

impl Comparison {
    fn new(theirs: &Outcomes, ours: &Outcomes) -> Self {
        let mut comparison = Self {
            parts: BTreeMap::new(),
            explained: Vec::new(),
            unexplained: Vec::new(),
        };
        let tests: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        for test in tests {
            let passes = |side: &Outcomes| side.get(test).is_some_and(|how| how == "passed");
            let (their, our) = (passes(theirs), passes(ours));
            let counts = comparison.parts.entry(part_of(test)).or_default();
            counts[0] += 1;
            counts[1] += usize::from(their);
            counts[2] += usize::from(our);
            if !their || our {
                continue;
            }
            let skips = ours.get(test).is_some_and(|how| how == "skipped");
            match reason_of(test).or(skips.then_some("looks into moto's memory")) {
                Some(reason) => {
                    counts[3] += 1;
                    comparison.explained.push((short(test).to_owned(), reason));
                }
                None => comparison.unexplained.push(short(test).to_owned()),
            }
        }
        comparison
    }

    fn table(&self, revision: &str) -> String {
        let mut text =
            String::from("| part | tests | moto passes | strongroom passes | explained below |\n");
        text.push_str("| --- | ---: | ---: | ---: | ---: |\n");
        let mut all = [0; 4];
        for (part, counts) in &self.parts {
            for (sum, count) in all.iter_mut().zip(counts) {
                *sum += count;
            }
            row(&mut text, part, *counts);
        }
        row(&mut text, "all", all);
        text.push_str("\n| passed by moto only | why |\n| --- | --- |\n");
        // Writing to a string cannot fail.
        for (test, reason) in &self.explained {
            let _ = writeln!(text, "| `{test}` | {reason} |");
        }
        for test in &self.unexplained {
            let _ = writeln!(text, "| `{test}` | not explained |");
        }
        let _ = writeln!(
            text,
            "\nMade by `cargo xtask parity emulator` with the tests of {} at revision {revision}.",
            SUITE.package
        );
        text
    }
}

fn row(text: &mut String, part: &str, [tests, their, our, explained]: [usize; 4]) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "| {part} | {tests} | {their} | {our} | {explained} |");
}

fn reason_of(test: &str) -> Option<&'static str> {
    let own = REASONS.iter().find(|(end, _)| test.ends_with(end));
    own.map(|(_, reason)| *reason)
}

/// `tests/test_secretsmanager/test_y.py::t` is of `test_y`.
fn part_of(test: &str) -> String {
    let (file, _) = test.split_once("::").unwrap_or((test, ""));
    short(file).trim_end_matches(".py").to_owned()
}

fn short(test: &str) -> &str {
    test.trim_start_matches(TESTS).trim_start_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(tests: &[(&str, &str)]) -> Outcomes {
        let named = tests
            .iter()
            .map(|(test, how)| (format!("{TESTS}/{test}"), (*how).to_owned()));
        named.collect()
    }

    #[test]
    fn what_only_moto_passes_needs_a_reason() {
        let theirs = outcomes(&[
            ("test_a.py::test_data_api", "passed"),
            ("test_a.py::test_one", "passed"),
            ("test_a.py::test_two", "failed"),
            ("test_b.py::test_inside", "passed"),
        ]);
        let ours = outcomes(&[
            ("test_a.py::test_data_api", "failed"),
            ("test_a.py::test_one", "failed"),
            ("test_a.py::test_two", "failed"),
            ("test_b.py::test_inside", "skipped"),
        ]);
        let comparison = Comparison::new(&theirs, &ours);
        assert_eq!(comparison.unexplained, ["test_a.py::test_one"]);
        assert_eq!(comparison.explained.len(), 2);
        let table = comparison.table("abc");
        assert!(table.contains("| all | 4 | 3 | 0 | 2 |"), "{table}");
        assert!(Comparison::new(&theirs, &theirs).unexplained.is_empty());
    }
}
