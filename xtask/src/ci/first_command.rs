//! The README's first command, in a home where nothing of ours has ever been.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use super::Done;
use crate::failure::Failure;
use crate::shell;

/// Runs the command twice in one fresh home: the first run generates, the second finds what the
/// first left.
pub(crate) fn run(root: &Path) -> Result<Done, Failure> {
    if !root.join(EXAMPLE).is_dir() {
        return Ok(Done::PassedOver(format!("no {EXAMPLE} here")));
    }
    if let Ok(readme) = fs::read_to_string(root.join("README.md"))
        && !readme.contains(&command_line())
    {
        return Err(Failure::new(format!(
            "README.md does not show `{}`",
            command_line()
        )));
    }
    let home = Home::create()?;
    let first = run_once(root, &home)?;
    let second = run_once(root, &home)?;
    judge(&first, &second).map(|()| Done::Passed)
}

fn judge(first: &str, second: &str) -> Result<(), Failure> {
    if !says_generated(first) {
        return Err(Failure::new(
            "the first run did not say that it generated a value",
        ));
    }
    if says_generated(second) {
        return Err(Failure::new("the second run generated values again"));
    }
    Ok(())
}

fn says_generated(output: &str) -> bool {
    output.to_lowercase().contains("generated")
}

/// Runs the command, shows what it prints, and hands it back.
fn run_once(root: &Path, home: &Home) -> Result<String, Failure> {
    let mut command = shell::cargo(root);
    command.args(COMMAND);
    for (name, _) in std::env::vars_os() {
        let is_ours = name.to_string_lossy().starts_with("STRONGROOM_");
        if is_ours || name == "DBUS_SESSION_BUS_ADDRESS" {
            command.env_remove(&name);
        }
    }
    // cargo and rustup stay where they are; the product gets a new home.
    let real_home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .unwrap_or_default();
    for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        if std::env::var_os(name).is_none() {
            command.env(name, real_home.join(folder));
        }
    }
    command.env("HOME", &home.0);
    for (name, folder) in XDG_FOLDERS {
        command.env(name, home.0.join(folder));
    }
    let printed = shell::tee(&mut command)?;
    if printed.status.success() {
        return Ok(printed.stdout + &printed.stderr);
    }
    Err(shell::failed(&command, printed.status))
}

/// The command as the README shows it.
fn command_line() -> String {
    let words: Vec<&str> = COMMAND
        .iter()
        .copied()
        .filter(|word| !QUIET_WORDS.contains(word))
        .collect();
    format!("cargo {}", words.join(" "))
}

/// A new home folder, removed when this is dropped.
struct Home(PathBuf);

impl Home {
    fn create() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("strongroom-ci-{}", std::process::id()));
        let cannot = |e| Failure::new(format!("cannot make {}: {e}", path.display()));
        make_private(&path).map_err(cannot)?;
        let home = Self(path.clone());
        for (_, folder) in XDG_FOLDERS {
            make_private(&path.join(folder)).map_err(cannot)?;
        }
        Ok(home)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {e}", self.0.display());
        }
    }
}

/// Makes a folder that only we can enter; fails if it is there already.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

const EXAMPLE: &str = "examples/storefront";
const COMMAND: &[&str] = &[
    "run",
    "--quiet",
    "--release",
    "--locked",
    "--",
    "run",
    "--manifest",
    "examples/storefront/strongroom.toml",
    "--",
    "examples/storefront/app.sh",
];
/// Words of [`COMMAND`] that a person leaves out.
const QUIET_WORDS: &[&str] = &["--quiet", "--locked"];
const XDG_FOLDERS: &[(&str, &str)] = &[
    ("XDG_CONFIG_HOME", "config"),
    ("XDG_DATA_HOME", "data"),
    ("XDG_STATE_HOME", "state"),
    ("XDG_CACHE_HOME", "cache"),
    ("XDG_RUNTIME_DIR", "runtime"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_run_generates_and_the_second_does_not() {
        judge("generated SESSION_KEY\n", "shop is open\n").unwrap();
        assert!(judge("shop is open\n", "shop is open\n").is_err());
        assert!(judge("Generated 2\n", "Generated 2\n").is_err());
    }

    #[test]
    fn the_readme_shows_the_command_without_flags_for_machines() {
        assert_eq!(
            command_line(),
            "cargo run --release -- run --manifest examples/storefront/strongroom.toml -- \
             examples/storefront/app.sh"
        );
    }

    #[test]
    fn a_home_is_new_and_goes_away() {
        let home = Home::create().unwrap();
        let path = home.0.clone();
        assert!(path.join("data").is_dir());
        assert!(Home::create().is_err());
        drop(home);
        assert!(!path.exists());
    }
}
