use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use rustix::fs::Mode;
use serde_json::json;
use strongroom_backends::dotenv::DOTENV_BYTES_MAX;
use strongroom_backends::dotenv::DotenvFile;

use crate::app::App;
use crate::commands::import;
use crate::commands::import::Item;
use crate::error::CommandError;
use crate::error::Kind;
use crate::manifest_text;
use crate::manifest_text::Candidate;
use crate::output;
use crate::output::Existing;
use crate::project::LOCAL_NAME;
use crate::project::MANIFEST_NAME;

/// Names of .env files that only show what is needed.
const TEMPLATES: [&str; 5] = [
    ".env.example",
    ".env.sample",
    ".env.template",
    ".env.dist",
    ".env-example",
];
/// Names of .env files with values for development.
const VALUES: [&str; 3] = [".env", ".env.local", ".env.development"];

/// Write a first manifest from the .env files here, and import their values
///
/// Names, classes, types and whether they are required are guessed; secrets are told from plain
/// settings. No secret's value is written into the manifest.
#[derive(Args)]
pub(crate) struct InitArgs {
    /// The project's name; default: that of the folder
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Write the manifest only
    #[arg(long)]
    no_import: bool,
    /// Replace a manifest that is there
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(app: &App, args: &InitArgs) -> Result<(), CommandError> {
    let path = app
        .global
        .manifest
        .clone()
        .unwrap_or_else(|| PathBuf::from(MANIFEST_NAME));
    if path.exists() && !args.force {
        let message = format!("{} is there already", path.display());
        return Err(
            CommandError::new(Kind::Conflict, "manifest.exists", message)
                .hint("strongroom check says how it stands; --force writes a new one"),
        );
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let templates = found(&folder, &TEMPLATES);
    let values = found(&folder, &VALUES);
    let candidates = candidates(&values, &templates)?;
    let name = args.name.clone().unwrap_or_else(|| folder_name(&folder));
    let text = manifest_text::manifest(&name, &["store", "env"], &candidates);
    let files: Vec<String> = values
        .iter()
        .chain(&templates)
        .map(|path| path.display().to_string())
        .collect();
    if !app.ui.is_json {
        describe(app, &files, &candidates)?;
    }
    app.ui.confirm(&format!("Write {}?", path.display()))?;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    let existing = if args.force {
        Existing::Replace
    } else {
        Existing::Keep(output::FORCE_REPLACES)
    };
    output::write(&path, text.as_bytes(), mode, existing)?;
    let ignored = ignore_local(&folder)?;
    let (imported, skipped) = match args.no_import {
        true => (Vec::new(), Vec::new()),
        false => import_values(app, &path, &values)?,
    };
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "manifest": path,
            "read": files,
            "declared": candidates.iter().map(|candidate| json!({
                "name": candidate.name,
                "sensitive": candidate.is_sensitive,
                "class": candidate.class.word(),
                "type": candidate.value_type.map(|kind| kind.to_string()),
                "required": candidate.is_required,
            })).collect::<Vec<_>>(),
            "imported": imported,
            "skipped": skipped.iter().map(|item| json!({
                "name": item.name,
                "remark": item.note,
            })).collect::<Vec<_>>(),
            "gitignore": ignored,
        }));
    }
    app.ui.say(&format!(
        "wrote {} with {} declarations",
        path.display(),
        candidates.len()
    ));
    if ignored {
        app.ui.say(&format!("added {LOCAL_NAME} to .gitignore"));
    }
    if !imported.is_empty() {
        app.ui.say(&format!(
            "imported {} into the store and read them back; the .env files were not changed",
            crate::commands::check::plural(imported.len(), "secret")
        ));
    }
    for item in &skipped {
        app.ui.say(&format!(
            "did not import {}: its value {}",
            item.name, item.note
        ));
    }
    if let Some(first) = skipped.first() {
        app.ui.say(&format!(
            "if one of them is real: strongroom set {}, or strongroom import --placeholders {}",
            first.name, first.origin
        ));
    }
    app.ui.say("next: strongroom check");
    Ok(())
}

fn found(folder: &Path, names: &[&str]) -> Vec<PathBuf> {
    names
        .iter()
        .map(|name| folder.join(name))
        .filter(|path| path.is_file())
        .collect()
}

fn read(path: &Path) -> Result<DotenvFile, CommandError> {
    let bytes =
        strongroom_backends::file::read_capped(path, DOTENV_BYTES_MAX as u64).map_err(|error| {
            CommandError::failed(format!("{} cannot be read: {error}", path.display()))
        })?;
    DotenvFile::parse(&bytes).map_err(|error| {
        let message = format!("{}:{error}", path.display());
        CommandError::new(Kind::Validation, "dotenv.malformed", message)
    })
}

fn candidates(values: &[PathBuf], templates: &[PathBuf]) -> Result<Vec<Candidate>, CommandError> {
    let mut candidates = Vec::new();
    for path in values.iter().chain(templates) {
        for entry in read(path)?.entries() {
            candidates.push(Candidate::guess(&entry.name, &entry.value));
        }
    }
    Ok(manifest_text::distinct(candidates))
}

fn folder_name(folder: &Path) -> String {
    let resolved = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = resolved
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    manifest_text::project_name(&name.unwrap_or_default())
}

fn describe(app: &App, files: &[String], candidates: &[Candidate]) -> Result<(), CommandError> {
    if files.is_empty() {
        app.ui
            .say("found no .env file here; the manifest begins empty");
        return Ok(());
    }
    app.ui.say(&format!("found {}", files.join(", ")));
    let rows = candidates
        .iter()
        .map(|candidate| {
            vec![
                candidate.name.clone(),
                if candidate.is_sensitive {
                    "secret"
                } else {
                    "setting"
                }
                .to_owned(),
                if candidate.is_sensitive {
                    candidate.class.word()
                } else {
                    "-"
                }
                .to_owned(),
                candidate
                    .value_type
                    .map_or("-".to_owned(), |kind| kind.to_string()),
                if candidate.is_required {
                    "required"
                } else {
                    "optional"
                }
                .to_owned(),
            ]
        })
        .collect();
    app.ui
        .print_table(&["name", "kind", "class", "type", "needed"], rows)
}

/// Imports the secrets of the value files into the store, under the new manifest; the names that
/// were, and what was left out as a placeholder.
fn import_values(
    app: &App,
    manifest: &Path,
    values: &[PathBuf],
) -> Result<(Vec<String>, Vec<Item>), CommandError> {
    let project = crate::project::load_at(app, manifest)?;
    let mut items: Vec<Item> = Vec::new();
    for path in values {
        for entry in read(path)?.entries() {
            let is_secret = project
                .manifest
                .declaration(&entry.name)
                .is_some_and(|declaration| declaration.is_sensitive);
            if is_secret && !entry.value.is_empty() {
                items.retain(|item| item.name != entry.name);
                items.push(Item::new(app, &project, path, &entry.name, &entry.value)?);
            }
        }
    }
    let (wanted, skipped): (Vec<Item>, Vec<Item>) = items.into_iter().partition(Item::is_wanted);
    Ok((import::store_items(app, &wanted)?, skipped))
}

/// Keeps the local override out of git, where there is a repository.
fn ignore_local(folder: &Path) -> Result<bool, CommandError> {
    let path = folder.join(".gitignore");
    if !path.exists() && !folder.join(".git").exists() {
        return Ok(false);
    }
    let mut text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(CommandError::failed(format!(
                "{} cannot be read: {error}",
                path.display()
            )));
        }
    };
    if text
        .lines()
        .any(|line| line.trim().trim_start_matches('/') == LOCAL_NAME)
    {
        return Ok(false);
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(LOCAL_NAME);
    text.push('\n');
    std::fs::write(&path, text).map_err(|error| {
        CommandError::failed(format!("{} cannot be written: {error}", path.display()))
    })?;
    Ok(true)
}
