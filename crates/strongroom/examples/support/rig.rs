//! A user with nothing but a home folder, a project in it, and the release binary.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use tempfile::TempDir;

/// What a program of this folder answers.
pub(crate) type AnyResult<T> = Result<T, Box<dyn Error>>;

/// A home folder that vanishes at the end.
pub(crate) struct Rig {
    home: TempDir,
    binary: PathBuf,
}

impl Rig {
    /// An empty home and an empty project.
    pub(crate) fn new() -> AnyResult<Self> {
        let rig = Self {
            home: tempfile::tempdir()?,
            binary: binary()?,
        };
        fs::create_dir(rig.project())?;
        Ok(rig)
    }

    /// The folder of the project.
    pub(crate) fn project(&self) -> PathBuf {
        self.home.path().join("project")
    }

    /// A file of the project.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.project().join(name)
    }

    /// `strongroom` with these words, in the project, with an empty environment.
    pub(crate) fn strongroom(&self, words: &[&str]) -> Command {
        let mut command = self.program(&self.binary);
        command.args(words);
        command
    }

    /// Another program at the same place.
    pub(crate) fn program(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .current_dir(self.project())
            .stdin(Stdio::null());
        command
    }

    /// What `strongroom` prints on stdout; an error if it fails.
    pub(crate) fn ask(&self, words: &[&str]) -> AnyResult<Vec<u8>> {
        let output = self.strongroom(words).output()?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let words = words.join(" ");
        Err(format!("strongroom {words}: {}: {}", output.status, said.trim()).into())
    }
}

/// The release binary: named by the environment, or beside the folder of the examples.
fn binary() -> AnyResult<PathBuf> {
    if let Some(path) = std::env::var_os("STRONGROOM_BIN") {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(Path::parent).ok_or("no folder")?;
    Ok(folder.join("strongroom"))
}
