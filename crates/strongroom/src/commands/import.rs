use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use rustix::fs::Mode;
use serde_json::json;
use strongroom_backends::import::Declared;
use strongroom_backends::import::FORMATS;
use strongroom_backends::import::Format;
use strongroom_backends::import::IMPORT_BYTES_MAX;
use strongroom_backends::import::Import;
use strongroom_backends::import::ImportError;
use strongroom_backends::import::detect;
use strongroom_backends::import::from_fernet_folder;
use strongroom_core::path::SecretPath;
use strongroom_core::placeholder::placeholder_reason;
use strongroom_core::port;
use strongroom_core::port::NewValue;
use strongroom_core::port::VersionRef;
use strongroom_core::registry::Class;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::version::Provenance;
use strongroom_engine::secrets::WriteOptions;

use crate::app::App;
use crate::commands::check::plural;
use crate::error::CommandError;
use crate::error::Kind;
use crate::manifest_text;
use crate::manifest_text::Candidate;
use crate::output;
use crate::output::Existing;
use crate::project;
use crate::project::MANIFEST_NAME;
use crate::project::Project;
use crate::session;
use crate::side::Side;

/// The variable that holds the key of a Fernet folder.
const FERNET_KEY_VARIABLE: &str = "SECRETS_ENCRYPTION_KEY";

/// Import from a file: .env, JSON or YAML of many tools, their manifests, a Fernet folder
///
/// What a file is is told by its content and its name, and said. Shows what would be imported,
/// values masked; then writes them to the store and reads every one back. Placeholders and plain
/// settings are not stored. What the manifest does not declare yet is added to it; without a
/// manifest one is written. The file itself is not changed.
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom import .env.production --profile production
  strongroom import secretspec.toml
  doppler secrets download --no-file --format json > d.json; strongroom import d.json")]
pub(crate) struct ImportArgs {
    /// The file or folder
    file: PathBuf,
    /// What it is, if neither its content nor its name tells
    #[arg(long, value_parser = parse_kind, value_name = "FORMAT")]
    #[arg(long_help = kinds_help())]
    from: Option<FileKind>,
    /// Only show what would be imported
    #[arg(long)]
    dry_run: bool,
    /// Import placeholders too
    #[arg(long)]
    placeholders: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    /// A file of this form.
    File(Format),
    /// A folder of Fernet-encrypted files.
    Fernet,
}

fn parse_kind(text: &str) -> Result<FileKind, String> {
    if text == "fernet" {
        return Ok(FileKind::Fernet);
    }
    let words = || FORMATS.iter().map(|(_, word, _)| *word);
    text.parse()
        .map(FileKind::File)
        .map_err(|_| format!("known: {}, fernet", words().collect::<Vec<_>>().join(", ")))
}

fn kinds_help() -> String {
    let mut text = String::from("What it is, if neither its content nor its name tells:");
    for (_, word, what) in FORMATS {
        text.push_str(&format!("\n- {word}: {what}"));
    }
    text.push_str(&format!(
        "\n- fernet: a folder of Fernet-encrypted files (key in {FERNET_KEY_VARIABLE})"
    ));
    text
}

/// One value on its way into the store.
pub(crate) struct Item {
    pub(crate) name: String,
    place: SecretPath,
    payload: Payload,
    pub(crate) origin: String,
    pub(crate) note: String,
    action: ItemAction,
    candidate: Option<Candidate>,
    class: Class,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ItemAction {
    Import,
    SkipPlaceholder,
    SkipEmpty,
    Setting,
}

impl ItemAction {
    fn word(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::SkipPlaceholder => "skip: placeholder",
            Self::SkipEmpty => "skip: empty",
            Self::Setting => "setting: into the manifest",
        }
    }
}

impl Item {
    pub(crate) fn new(
        app: &App,
        project: &Project,
        file: &Path,
        name: &str,
        value: &SecretValue,
    ) -> Result<Self, CommandError> {
        let _ = app;
        let payload = Payload::detect(value.clone());
        Self::of(Some(project), file, name, payload, false)
    }

    fn of(
        project: Option<&Project>,
        file: &Path,
        name: &str,
        payload: Payload,
        with_placeholders: bool,
    ) -> Result<Self, CommandError> {
        let place = project::place(project, name)?;
        let guessed = Candidate::guess(name, &payload.value);
        let is_sensitive = place
            .declaration
            .map_or(guessed.is_sensitive, |declaration| declaration.is_sensitive);
        // EXPOSE: compared with known placeholders; only the reason is kept.
        let text = payload.value.expose_secret_text().unwrap_or_default();
        let project_name = project.map(|project| project.manifest.project.as_str());
        let reason = placeholder_reason(name, text, project_name);
        let action = match (payload.value.is_empty(), is_sensitive, reason) {
            (true, _, _) => ItemAction::SkipEmpty,
            (_, false, _) => ItemAction::Setting,
            (_, true, Some(_)) if !with_placeholders => ItemAction::SkipPlaceholder,
            _ => ItemAction::Import,
        };
        let class = place
            .declaration
            .map_or(guessed.class, |declaration| declaration.class);
        let candidate = place.declaration.is_none().then_some(guessed);
        Ok(Self {
            name: name.to_owned(),
            place: place.path,
            payload,
            origin: file.display().to_string(),
            note: reason.unwrap_or_default().to_owned(),
            action,
            candidate,
            class,
        })
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.action == ItemAction::Import
    }
}

pub(crate) fn run(app: &App, args: &ImportArgs) -> Result<(), CommandError> {
    let import = read(app, args)?;
    let (project, new_manifest) = project_for(app, &import)?;
    let mut items = Vec::with_capacity(import.imported.len());
    for found in &import.imported {
        let payload = Payload {
            value: found.value.clone(),
            shape: found.shape,
        };
        let payload = if payload.shape == Shape::Fields {
            payload
        } else {
            Payload::detect(payload.value)
        };
        items.push(Item::of(
            Some(&project),
            &args.file,
            &found.name,
            payload,
            args.placeholders,
        )?);
    }
    if !app.ui.is_json {
        show(app, &items, &import)?;
    }
    let wanted: Vec<Item> = items.into_iter().collect();
    let count = wanted.iter().filter(|item| item.is_wanted()).count();
    let declared = undeclared(&project, &import, new_manifest.is_some());
    if args.dry_run {
        return report(app, &wanted, &import, &declared, &[], true);
    }
    if count > 0 {
        app.ui
            .confirm(&format!("Import {}?", plural(count, "secret")))?;
    }
    declare(app, &project, new_manifest.as_deref(), &wanted, &declared)?;
    let to_store: Vec<Item> = wanted.into_iter().collect();
    let stored = store_items(app, &to_store)?;
    report(app, &to_store, &import, &declared, &stored, false)
}

fn read(app: &App, args: &ImportArgs) -> Result<Import, CommandError> {
    let file = args.file.as_path();
    if args.from == Some(FileKind::Fernet) || (args.from.is_none() && file.is_dir()) {
        let key = app.environment.text(FERNET_KEY_VARIABLE).ok_or_else(|| {
            CommandError::usage(format!("the key of {} is missing", file.display())).hint(format!(
                "set {FERNET_KEY_VARIABLE} to the key the folder was written with"
            ))
        })?;
        let key = SecretValue::copy_from(key.as_bytes());
        return from_fernet_folder(file, &key).map_err(|error| import_error(file, &error));
    }
    let bytes =
        strongroom_backends::file::read_capped(file, IMPORT_BYTES_MAX as u64).map_err(|error| {
            let kind = if file.exists() {
                Kind::Failed
            } else {
                Kind::NotFound
            };
            let message = format!("{} cannot be read: {error}", file.display());
            CommandError::new(kind, "import.unreadable", message)
        })?;
    let format = match args.from {
        Some(FileKind::File(format)) => format,
        _ => detected(app, file, &bytes)?,
    };
    format
        .read(&bytes)
        .map_err(|error| import_error(file, &error))
}

/// What a file is by its content and name; says so.
fn detected(app: &App, file: &Path, bytes: &[u8]) -> Result<Format, CommandError> {
    let name = file.file_name().map(|name| name.to_string_lossy());
    let found = detect(&name.unwrap_or_default(), bytes).ok_or_else(|| {
        CommandError::usage(format!(
            "{} tells neither by its content nor by its name what it is",
            file.display()
        ))
        .hint("--from says it: strongroom import --help lists what is known")
    })?;
    let (word, reason) = (found.format.word(), found.reason);
    app.ui
        .say(&format!("read {} as {word}: {reason}", file.display()));
    Ok(found.format)
}

fn import_error(file: &Path, error: &ImportError) -> CommandError {
    let text = error.to_string();
    // A place in the file follows its name at once, so that editors find it.
    let gap = if text.starts_with(|c: char| c.is_ascii_digit()) {
        ""
    } else {
        " "
    };
    let message = format!("{}:{gap}{text}", file.display());
    CommandError::new(Kind::Validation, "import.malformed", message).hint("nothing was imported")
}

/// The project to import into; without a manifest, the text of one that would be written.
fn project_for(app: &App, import: &Import) -> Result<(Project, Option<String>), CommandError> {
    if let Some(project) = project::load_if_there(app)? {
        return Ok((project, None));
    }
    let is_declared = |name: &str| import.declared.iter().any(|known| known.name == name);
    let candidates = import
        .imported
        .iter()
        .filter(|found| !found.name.contains('/') && !is_declared(&found.name))
        .map(|found| Candidate::guess(&found.name, &found.value))
        .collect();
    let folder = std::env::current_dir().unwrap_or_default();
    let name = folder
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let name = manifest_text::project_name(&name.unwrap_or_default());
    let candidates = manifest_text::distinct(candidates);
    let mut text = manifest_text::manifest(&name, &["store", "env"], &candidates);
    for declared in &import.declared {
        text.push('\n');
        text.push_str(&declared.toml(&["development", "production"]));
    }
    let project = project::from_text(app, Path::new(MANIFEST_NAME), &text)?;
    Ok((project, Some(text)))
}

/// What another tool's manifest declares and ours does not; all of it in a new manifest.
fn undeclared<'i>(project: &Project, import: &'i Import, is_new: bool) -> Vec<&'i Declared> {
    let known = |declared: &&Declared| project.manifest.declaration(&declared.name).is_some();
    let all = import.declared.iter();
    all.filter(|declared| is_new || !known(declared)).collect()
}

/// Writes or extends the manifest.
fn declare(
    app: &App,
    project: &Project,
    new_manifest: Option<&str>,
    items: &[Item],
    declared: &[&Declared],
) -> Result<(), CommandError> {
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    if let Some(text) = new_manifest {
        return output::write(
            &project.path,
            text.as_bytes(),
            mode,
            Existing::Keep(output::CHOOSE_ANOTHER),
        );
    }
    let candidates: Vec<Candidate> = items
        .iter()
        .filter(|item| item.action != ItemAction::SkipEmpty)
        .filter_map(|item| item.candidate.clone())
        .filter(|candidate| !candidate.name.contains('/'))
        .filter(|candidate| declared.iter().all(|known| known.name != candidate.name))
        .collect();
    let candidates = manifest_text::distinct(candidates);
    if candidates.is_empty() && declared.is_empty() {
        return Ok(());
    }
    let text = std::fs::read_to_string(&project.path).map_err(|error| {
        CommandError::failed(format!(
            "{} cannot be read: {error}",
            project.path.display()
        ))
    })?;
    let mut text = manifest_text::with_added(&text, &candidates);
    let profiles = project.manifest.profiles();
    let profiles: Vec<&str> = profiles.map(|profile| profile.name.as_str()).collect();
    for declared in declared {
        text.push('\n');
        text.push_str(&declared.toml(&profiles));
    }
    // Nothing is written that could not be read again.
    project::from_text(app, &project.path, &text)?;
    output::write(&project.path, text.as_bytes(), mode, Existing::Replace)
}

/// Writes the wanted items to the store and reads every one back.
pub(crate) fn store_items(app: &App, items: &[Item]) -> Result<Vec<String>, CommandError> {
    if !items.iter().any(Item::is_wanted) {
        return Ok(Vec::new());
    }
    if app.global.server.is_some() {
        return store_on_server(app, items);
    }
    let session = session::open_or_create(app)?;
    let mut stored = Vec::new();
    for item in items.iter().filter(|item| item.is_wanted()) {
        let mut options = WriteOptions::new(Provenance::Imported(item.origin.clone()));
        options.metadata.class = Some(item.class);
        crate::runtime::wait(session.engine.write(
            &session.context,
            &item.place,
            &item.payload,
            &options,
        ))?;
        let back = crate::runtime::wait(session.engine.read(&session.context, &item.place, None))?;
        if !back.payload.value.ct_eq(&item.payload.value) {
            return Err(not_verified(item));
        }
        stored.push(item.name.clone());
    }
    session.note_write();
    session.finish(app);
    Ok(stored)
}

/// The same where a server stands in the store's place.
fn store_on_server(app: &App, items: &[Item]) -> Result<Vec<String>, CommandError> {
    let side = Side::open(app, None, None, "store:/", None)?;
    let mut stored = Vec::new();
    for item in items.iter().filter(|item| item.is_wanted()) {
        let place = item.place.as_str();
        let new = NewValue::new(item.payload.clone());
        crate::runtime::wait(side.backend.write(place, &new))?;
        let back = crate::runtime::wait(side.backend.read(place, &VersionRef::Current))?;
        let is_same = |back: &port::Item| back.payload.value.ct_eq(&item.payload.value);
        if !back.as_ref().is_some_and(is_same) {
            return Err(not_verified(item));
        }
        stored.push(item.name.clone());
    }
    Ok(stored)
}

fn not_verified(item: &Item) -> CommandError {
    let message = format!("/{} does not read back as it was written", item.place);
    CommandError::new(Kind::Failed, "import.not_verified", message)
}

fn show(app: &App, items: &[Item], import: &Import) -> Result<(), CommandError> {
    let rows = items
        .iter()
        .map(|item| {
            let class = item
                .candidate
                .as_ref()
                .map(|candidate| candidate.class.word());
            let value = if item.action == ItemAction::Setting {
                "(plain)"
            } else {
                "••••••••"
            };
            vec![
                item.name.clone(),
                value.to_owned(),
                class.unwrap_or("declared").to_owned(),
                item.action.word().to_owned(),
                item.note.clone(),
            ]
        })
        .collect();
    app.ui
        .print_table(&["name", "value", "class", "action", "remark"], rows)?;
    for referenced in &import.referenced {
        app.ui.say(&format!(
            "names only: {} ({})",
            referenced.name, referenced.place
        ));
    }
    for skipped in &import.skipped {
        app.ui
            .say(&format!("skipped: {} ({})", skipped.name, skipped.reason));
    }
    Ok(())
}

fn report(
    app: &App,
    items: &[Item],
    import: &Import,
    declared: &[&Declared],
    stored: &[String],
    is_dry_run: bool,
) -> Result<(), CommandError> {
    if app.ui.is_json {
        let listed: Vec<_> = items
            .iter()
            .map(|item| {
                json!({
                    "name": item.name,
                    "path": item.place.as_str(),
                    "action": item.action.word(),
                    "remark": item.note,
                })
            })
            .collect();
        let referenced: Vec<_> = import
            .referenced
            .iter()
            .map(|referenced| json!({"name": referenced.name, "place": referenced.place}))
            .collect();
        return app.ui.print_json(&json!({
            "version": 1,
            "dry_run": is_dry_run,
            "items": listed,
            "referenced": referenced,
            "declared": declared.iter().map(|known| &known.name).collect::<Vec<_>>(),
            "imported": stored,
        }));
    }
    if !declared.is_empty() {
        let verb = if is_dry_run {
            "would declare"
        } else {
            "declared"
        };
        let names: Vec<&str> = declared.iter().map(|known| known.name.as_str()).collect();
        app.ui.say(&format!("{verb} {}", names.join(", ")));
    }
    if is_dry_run {
        app.ui.say("nothing was written (--dry-run)");
    } else if items.is_empty() {
        app.ui.say("next: strongroom check");
    } else {
        app.ui.say(&format!(
            "imported {} and read them back; the file was not changed",
            plural(stored.len(), "secret")
        ));
    }
    Ok(())
}
