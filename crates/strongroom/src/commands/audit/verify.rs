//! `audit verify`: whether the audit files of a server are as they were written.

use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use strongroom_engine::state::State;
use strongroom_server::CheckError;
use strongroom_server::VerifyError;

use crate::app::App;
use crate::database;
use crate::database::Opened;
use crate::error::CommandError;
use crate::error::Kind;
use crate::session;

#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// The file, or a folder of them [default: the usual audit folder]
    #[arg(value_name = "FILE|FOLDER")]
    place: Option<PathBuf>,
}

/// A file that is whole.
struct Whole {
    path: PathBuf,
    lines: u64,
}

pub(crate) fn run(app: &App, args: &VerifyArgs) -> Result<(), CommandError> {
    let files = files_of(app, args)?;
    let opened = match database::open_if_named(app)? {
        Some(opened) => opened,
        None => Opened::File(Box::new(session::open(app)?)),
    };
    let state = State::new(opened.storage(), opened.barrier().clone());
    let mut whole = Vec::with_capacity(files.len());
    for path in files {
        let lines = check(&state, &path)?;
        whole.push(Whole { path, lines });
    }
    let lines: u64 = whole.iter().map(|file| file.lines).sum();
    if app.ui.is_json {
        let files = whole.iter().map(|file| {
            let path = file.path.display().to_string();
            json!({ "file": path, "lines": file.lines })
        });
        return app.ui.print_json(&json!({
            "version": 1,
            "ok": true,
            "lines": lines,
            "files": files.collect::<Vec<_>>(),
        }));
    }
    for Whole { path, lines } in &whole {
        let line = format!("{} is whole: {lines} lines", path.display());
        app.ui.print_line(&line)?;
    }
    Ok(())
}

fn check(state: &State, path: &Path) -> Result<u64, CommandError> {
    let content = std::fs::read(path).map_err(|error| {
        CommandError::failed(format!("{} cannot be read: {error}", path.display()))
    })?;
    let checked = strongroom_server::check_audit_file(state, path, &content);
    match pollster::block_on(checked) {
        Ok(verified) => Ok(verified.lines),
        Err(CheckError::File(error)) => Err(broken(path, &error)),
        Err(CheckError::Store(error)) => Err(error.into()),
        Err(error) => Err(CommandError::failed(error.to_string())),
    }
}

/// The files that are meant, in the order of their names.
fn files_of(app: &App, args: &VerifyArgs) -> Result<Vec<PathBuf>, CommandError> {
    let usual = || Some(app.environment.state_folder()?.join("audit"));
    let place = args.place.clone().or_else(usual);
    let place = place.ok_or_else(|| CommandError::usage("name the audit file"))?;
    if !place.exists() && args.place.is_none() {
        let text = format!(
            "{} is not there: no server has written an audit log here",
            place.display()
        );
        return Err(CommandError::failed(text).hint(
            "name the file, or its folder; strongroom doctor checks the log of the store itself",
        ));
    }
    if !place.is_dir() {
        return Ok(vec![place]);
    }
    let cannot = |error: std::io::Error| {
        CommandError::failed(format!("{} cannot be read: {error}", place.display()))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&place).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !is_hidden && entry.file_type().map_err(cannot)?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    if files.is_empty() {
        let text = format!("{} has no audit file in it", place.display());
        return Err(CommandError::failed(text));
    }
    Ok(files)
}

fn broken(path: &Path, error: &VerifyError) -> CommandError {
    let message = format!("{}: {error}", path.display());
    let failed = CommandError::new(Kind::Validation, "audit.broken", message);
    match error {
        VerifyError::CutOff { .. } => {
            failed.hint("a line may be half written while its server runs: try again")
        }
        VerifyError::Emptied { .. } => failed.hint(
            "if they were moved away on purpose, check the file that has them now in its place",
        ),
        _ => failed.hint("keep a copy of the file as it is: it shows where it was changed"),
    }
}
