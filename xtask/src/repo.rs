//! Where the repository is and what cargo says about it.

use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;

use crate::failure::Failure;
use crate::shell;

/// The part of `cargo metadata` that the checks read.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    /// Every package of the graph, ours and others'.
    pub(crate) packages: Vec<Package>,
    /// Ids of our own packages.
    pub(crate) workspace_members: Vec<String>,
    /// Where cargo puts what it builds.
    pub(crate) target_directory: PathBuf,
}

/// One package of the graph.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    /// Cargo's opaque id.
    pub(crate) id: String,
    /// The name in its manifest.
    pub(crate) name: String,
    /// The version in its manifest.
    pub(crate) version: String,
    /// The licence expression, if its manifest has one.
    pub(crate) license: Option<String>,
    /// Where it came from; nothing for a path.
    pub(crate) source: Option<String>,
    /// Its manifest.
    pub(crate) manifest_path: PathBuf,
    /// What it asks for.
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a package's dependency tables.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The package's name (not the name it is renamed to).
    pub(crate) name: String,
    /// Nothing for a normal dependency, else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

impl Metadata {
    /// Asks cargo, with the lock file as it is.
    pub(crate) fn load(root: &Path) -> Result<Self, Failure> {
        let mut command = shell::cargo(root);
        command.args(["metadata", "--format-version", "1", "--locked"]);
        let printed = shell::capture(&mut command)?;
        if !printed.status.success() {
            return Err(Failure::new(format!(
                "cargo metadata failed:\n{}",
                printed.stderr
            )));
        }
        serde_json::from_str(&printed.stdout)
            .map_err(|e| Failure::new(format!("cannot read what cargo metadata printed: {e}")))
    }

    /// Our own packages.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
    }
}

/// The repository's root: the nearest folder upwards that holds `Cargo.lock` and `xtask`.
pub(crate) fn root() -> Result<PathBuf, Failure> {
    let start = match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => std::env::current_dir()
            .map_err(|e| Failure::new(format!("cannot tell the current folder: {e}")))?,
    };
    start
        .ancestors()
        .find(|dir| dir.join("Cargo.lock").is_file() && dir.join("xtask").is_dir())
        .map(Path::to_path_buf)
        .ok_or_else(|| Failure::new("not inside the repository: no Cargo.lock beside xtask"))
}

/// Paths of all files of the repository, relative to the root: those that git knows and those
/// that it would add.
pub(crate) fn files(root: &Path) -> Result<Vec<String>, Failure> {
    let mut command = shell::program_in(root, "git");
    command.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let printed = shell::capture(&mut command)?;
    if !printed.status.success() {
        return Err(Failure::new(format!(
            "git ls-files failed: {}",
            printed.stderr.trim()
        )));
    }
    let mut files: Vec<String> = printed
        .stdout
        .split_terminator('\0')
        .filter(|path| root.join(path).is_file())
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// The revision at hand, or a word for having none.
pub(crate) fn revision(root: &Path) -> String {
    let mut command = shell::program_in(root, "git");
    command.args(["rev-parse", "--short", "HEAD"]);
    match shell::capture(&mut command) {
        Ok(printed) if printed.status.success() => printed.stdout.trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}
