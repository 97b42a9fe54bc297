//! Test suites of other people's Python packages: fetched, run, and how each test ended.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;
use crate::shell;

const FOLDER: &str = ".peers/suites";

/// How each test ended, by its name.
pub(super) type Outcomes = BTreeMap<String, String>;

/// A source package and the tests in it.
pub(super) struct Suite {
    /// Name and version, as in `moto-5.2.5`.
    pub(super) package: &'static str,
    /// The tests that are run, a folder of the package.
    pub(super) tests: &'static str,
    /// The environment, and what its tests import and run with.
    pub(super) environment: &'static str,
    pub(super) packages: &'static [&'static str],
}

impl Suite {
    /// The suite's folder; it is fetched from the Python package index where it is not there yet.
    pub(super) fn install(&self, root: &Path) -> Result<PathBuf, Failure> {
        let folder = root.join(FOLDER);
        let suite = folder.join(self.package);
        fs::create_dir_all(&folder)
            .map_err(|e| Failure::new(format!("cannot make {FOLDER}: {e}")))?;
        let programs = folder.join(self.environment).join("bin");
        if !programs.join("pytest").is_file() {
            let mut python = shell::program_in(&folder, "python3");
            shell::run(python.args(["-m", "venv", self.environment]))?;
            let mut pip = shell::program_in(&folder, programs.join("pip"));
            shell::run(pip.args(["install", "--quiet"]).args(self.packages))?;
        }
        if !suite.join(self.tests).is_dir() {
            let (name, version) = self.package.split_once('-').unwrap_or((self.package, ""));
            let mut pip = shell::program_in(&folder, programs.join("pip"));
            pip.args(["download", "--quiet", "--no-deps", "--no-binary", name]);
            shell::run(pip.arg(format!("{name}=={version}")))?;
            let archive = format!("{}.tar.gz", self.package);
            shell::run(shell::program_in(&folder, "tar").args(["-xzf", &archive]))?;
        }
        Ok(suite)
    }

    /// The interpreter that the tests run in.
    pub(super) fn python(&self, root: &Path) -> PathBuf {
        let environment = root.join(FOLDER).join(self.environment);
        environment.join("bin/python")
    }

    /// Runs the tests with modules of ours beside them, each loaded as a plugin. They lie in
    /// `folder`, which is also the tests' home.
    pub(super) fn run(
        &self,
        root: &Path,
        folder: &Path,
        plugins: &[(&str, &str)],
        settle: impl FnOnce(&mut Command),
    ) -> Result<Outcomes, Failure> {
        let suite = root.join(FOLDER).join(self.package);
        let told = folder.join("report.json");
        let _ = fs::remove_file(&told);
        let mut command = shell::program_in(&suite, self.python(root));
        command.args(["-m", "pytest", "-q", "-o", "addopts="]);
        command.args(["-p", "no:cacheprovider"]);
        for (name, text) in plugins {
            fs::write(folder.join(format!("{name}.py")), text)
                .map_err(|e| Failure::new(format!("cannot prepare the suite: {e}")))?;
            command.args(["-p", name]);
        }
        command
            .args(["--timeout=120", "--tb=line"])
            .args(["--continue-on-collection-errors", self.tests])
            .env("HOME", folder)
            .env("PYTHONPATH", folder)
            .env("SUITE_REPORT", &told);
        settle(&mut command);
        // Tests that fail are what is looked for.
        let printed = shell::capture(&mut command)?;
        let report = fs::read_to_string(&told).map_err(|_| {
            Failure::new(format!(
                "the suite did not run:\n{}{}",
                printed.stdout, printed.stderr
            ))
        })?;
        println!("{}", printed.stdout.lines().last().unwrap_or_default());
        serde_json::from_str(&report)
            .map_err(|e| Failure::new(format!("the suite's report cannot be read: {e}")))
    }
}
