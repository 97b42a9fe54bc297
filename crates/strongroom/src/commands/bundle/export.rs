//! `bundle export`.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use data_encoding::HEXLOWER;
use rustix::fs::CWD;
use rustix::fs::RenameFlags;
use rustix::io::Errno;
use serde_json::json;
use strongroom_crypto::request::sha256;

use super::artefacts;
use super::artefacts::Artefact;
use super::assemble;
use super::assemble::PartsArgs;
use super::scan::Scan;
use crate::app::App;
use crate::commands::check::plural;
use crate::error::CommandError;
use crate::error::Kind;

/// The manifest's name in the folder.
const MANIFEST: &str = "bundle.json";

/// Put a bundle manifest together, and it and the files that it names into a new folder
///
/// As `bundle assemble`, with the manifest's checksum. The folder is there whole or not at all.
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom bundle export --bundle bundle.json --root build --output-dir dist/wheel
  strongroom bundle export wheel-desktop --root build --output-dir dist/wheel --manifest-only")]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    parts: PartsArgs,
    /// Folder that assets and programs lie in; default: the working folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// The new folder
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
    /// Only the manifest: somebody else puts the files there
    #[arg(long)]
    manifest_only: bool,
}

pub(super) fn run(app: &App, args: &ExportArgs) -> Result<(), CommandError> {
    let target = &args.output_dir;
    if fs::symlink_metadata(target).is_ok() {
        return Err(exists(target));
    }
    let (shipment, mut assembled) = assemble::assembled(app, &args.parts)?;
    let mut problems = artefacts::fill_in(&mut assembled.manifest, &args.root)?;
    problems.extend(assemble::errors(&assembled.manifest, assemble::is_ours));
    let artefacts = artefacts::of(&assembled.manifest, &args.root);
    let root = args.root.display();
    if !args.manifest_only {
        let missing = artefacts.missing.iter();
        problems.extend(missing.map(|path| format!("{path} is not below {root}")));
        let taken = artefacts.files.iter().any(|file| file.path == MANIFEST);
        problems.extend(taken.then(|| format!("a file is called {MANIFEST}, as the manifest is")));
    }
    problems.sort_unstable();
    problems.dedup();
    let mut scan = Scan::begin(app)?;
    scan.manifest(&assembled.manifest);
    for file in &artefacts.files {
        scan.file(&file.path, &file.source)?;
    }
    problems.extend(scan.found());
    assemble::finish(app, &scan, &assembled, problems)?;
    scan.note(
        app,
        &assembled.manifest,
        &format!("bundle {}", target.display()),
    );
    let text = format!("{:#}\n", assembled.manifest);
    let checksum = HEXLOWER.encode(&sha256(text.as_bytes()));
    let files: &[Artefact] = match args.manifest_only {
        true => &[],
        false => &artefacts.files,
    };
    stage(target, &text, files)?;
    let manifest_path = target.join(MANIFEST);
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "status": "exported",
            "schema": super::SCHEMA,
            "scenario": shipment.scenario,
            "tier": shipment.tier.numbered(),
            "tier_name": shipment.tier.name(),
            "manifest": assembled.manifest,
            "checksum": format!("sha256:{checksum}"),
            "generated_at": shipment.made_at.to_string(),
            "manifest_path": manifest_path.display().to_string(),
            "output_dir": target.display().to_string(),
            "files": files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
        }));
    }
    app.ui.print_line(&format!(
        "{} with {}\nsha256:{checksum}",
        manifest_path.display(),
        plural(files.len(), "file"),
    ))
}

/// Puts everything into a folder beside, which then gets its name.
fn stage(target: &Path, manifest: &str, files: &[Artefact]) -> Result<(), CommandError> {
    let mut draft = target.as_os_str().to_owned();
    draft.push(format!(".new-{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let staged = fill(&draft, manifest, files).and_then(|()| {
        let renamed = rustix::fs::renameat_with(CWD, &draft, CWD, target, RenameFlags::NOREPLACE);
        renamed.map_err(|error| match error {
            Errno::EXIST => exists(target),
            error => failed(target, &error.into()),
        })
    });
    if staged.is_err() {
        let _ = fs::remove_dir_all(&draft);
    }
    staged
}

fn fill(draft: &Path, manifest: &str, files: &[Artefact]) -> Result<(), CommandError> {
    fs::create_dir_all(draft).map_err(|error| failed(draft, &error))?;
    for file in files {
        let place = draft.join(&file.path);
        let folder = place.parent().unwrap_or(draft);
        fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        // With its mode: programs stay programs.
        fs::copy(&file.source, &place).map_err(|error| failed(&place, &error))?;
    }
    let place = draft.join(MANIFEST);
    fs::write(&place, manifest).map_err(|error| failed(&place, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> CommandError {
    CommandError::failed(format!("{} cannot be written: {error}", path.display()))
}

fn exists(target: &Path) -> CommandError {
    let message = format!("{} is there already", target.display());
    CommandError::new(Kind::Conflict, "file.exists", message)
        .hint("name a folder that is not there yet; nothing is mixed with what was there")
}
