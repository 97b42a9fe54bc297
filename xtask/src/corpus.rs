//! `cargo xtask corpus`: the product over real projects that are not part of this repository.

use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::programs;
use crate::programs::Program;
use crate::repo;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Run the product over the corpus beside the repository (../shared/corpus)

Usage: cargo xtask corpus [--require] [NAME] [ARGS...]

  --require   Fail if the corpus, or a program to run over it, is not there

STRONGROOM_CORPUS names another folder. Arguments go to the program, after the folder.";

/// Runs one program or all over the corpus.
pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let is_required = args.iter().any(|arg| arg == REQUIRE);
    let args: Vec<String> = args.iter().filter(|arg| *arg != REQUIRE).cloned().collect();
    let root = repo::root()?;
    match check(&root, &args)? {
        Covered::Ran => Ok(()),
        Covered::Nothing(why) if is_required => Err(Failure::new(why)),
        Covered::Nothing(why) => {
            println!("{why}");
            Ok(())
        }
    }
}

/// Whether anything was run.
#[derive(Debug)]
pub(crate) enum Covered {
    /// The selected programs ran, and were content.
    Ran,
    /// Nothing was run, for this reason.
    Nothing(String),
}

/// Runs the programs if the corpus is there.
pub(crate) fn check(root: &Path, args: &[String]) -> Result<Covered, Failure> {
    check_in(
        root,
        folder(root, std::env::var_os("STRONGROOM_CORPUS")),
        args,
    )
}

fn check_in(root: &Path, folder: PathBuf, args: &[String]) -> Result<Covered, Failure> {
    if !folder.is_dir() {
        return Ok(Covered::Nothing(format!(
            "no corpus at {}",
            folder.display()
        )));
    }
    let (selected, rest) = programs::select(PROGRAMS, args);
    let mut words = vec![folder.into_os_string()];
    words.extend(rest.iter().map(OsString::from));
    programs::run(root, &selected, &words)?;
    Ok(Covered::Ran)
}

/// The folder named by the environment, else the one beside the repository.
fn folder(root: &Path, named: Option<OsString>) -> PathBuf {
    match named.filter(|name| !name.is_empty()) {
        Some(name) => std::path::absolute(&name).unwrap_or_else(|_| PathBuf::from(name)),
        None => root.parent().unwrap_or(root).join("shared").join("corpus"),
    }
}

const REQUIRE: &str = "--require";

/// The programs, in the order they run. Each gets the corpus folder as its first argument.
const PROGRAMS: &[Program] = &[
    Program::example("files", "strongroom-backends", "corpus", &[]),
    Program::example("cli", "strongroom", "corpus_cli", &[]),
    Program::example(
        "supervisor",
        "strongroom-supervise",
        "corpus_supervisor",
        &[],
    ),
    Program::example("pgcrypto", "strongroom-userkeys", "corpus_pgcrypto", &[]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_lies_beside_the_repository_unless_named() {
        let root = Path::new("/projects/strongroom");
        assert_eq!(folder(root, None), Path::new("/projects/shared/corpus"));
        assert_eq!(
            folder(root, Some(OsString::new())),
            Path::new("/projects/shared/corpus")
        );
        assert_eq!(
            folder(root, Some("/elsewhere".into())),
            Path::new("/elsewhere")
        );
    }

    #[test]
    fn an_absent_corpus_is_said() {
        let root = Path::new("/no/such/folder");
        let folder = root.join("corpus");
        let Covered::Nothing(why) = check_in(root, folder, &[]).unwrap() else {
            panic!("ran")
        };
        assert!(why.contains("no corpus at"), "{why}");
    }
}
