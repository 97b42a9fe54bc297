use clap::Args;
use serde_json::json;
use strongroom_core::path::SecretPath;
use strongroom_engine::secrets::Versions;

use crate::app::App;
use crate::error::CommandError;
use crate::project;
use crate::session;

/// Delete a secret's current version; `undelete` brings it back
#[derive(Args)]
pub(crate) struct RmArgs {
    /// Declared name, or path
    name: String,
    #[command(flatten)]
    which: Which,
}

/// Make deleted versions readable again
#[derive(Args)]
pub(crate) struct UndeleteArgs {
    /// Declared name, or path
    name: String,
    #[command(flatten)]
    which: Which,
}

/// Destroy values for good
///
/// Without --versions or --all-versions: the whole secret, its history too.
#[derive(Args)]
pub(crate) struct DestroyArgs {
    /// Declared name, or path
    name: String,
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
struct Which {
    /// These versions, separated by commas
    #[arg(
        long,
        value_name = "NUMBERS",
        value_delimiter = ',',
        conflicts_with = "all_versions"
    )]
    versions: Vec<u64>,
    /// All versions
    #[arg(long)]
    all_versions: bool,
}

impl Which {
    fn versions(&self) -> Versions {
        match (self.all_versions, self.versions.is_empty()) {
            (true, _) => Versions::All,
            (false, true) => Versions::Newest,
            (false, false) => Versions::Some(self.versions.iter().copied().collect()),
        }
    }
}

pub(crate) fn rm(app: &App, args: &RmArgs) -> Result<(), CommandError> {
    let path = path_of(app, &args.name)?;
    let session = session::open(app)?;
    let versions = args.which.versions();
    let changed = crate::runtime::wait(session.engine.delete(&session.context, &path, &versions))?;
    session.note_write();
    session.finish(app);
    report(app, "deleted", &path, &changed)?;
    if !changed.is_empty() {
        app.ui
            .say(&format!("strongroom undelete /{path} brings it back"));
    }
    Ok(())
}

pub(crate) fn undelete(app: &App, args: &UndeleteArgs) -> Result<(), CommandError> {
    let path = path_of(app, &args.name)?;
    let session = session::open(app)?;
    let versions = args.which.versions();
    let changed =
        crate::runtime::wait(session.engine.undelete(&session.context, &path, &versions))?;
    session.note_write();
    session.finish(app);
    report(app, "undeleted", &path, &changed)
}

pub(crate) fn destroy(app: &App, args: &DestroyArgs) -> Result<(), CommandError> {
    let path = path_of(app, &args.name)?;
    let session = session::open(app)?;
    // An unknown secret is told before anybody is asked.
    let known = crate::runtime::wait(session.engine.describe(&path))?;
    let versions = args.which.versions();
    if versions == Versions::Newest {
        app.ui.confirm(&format!(
            "Destroy /{path} with its {} for good?",
            crate::commands::check::plural(known.versions.len(), "version")
        ))?;
        crate::runtime::wait(session.engine.remove(&session.context, &path))?;
        session.note_write();
        let all: Vec<u64> = known
            .versions
            .iter()
            .map(|version| version.number)
            .collect();
        return report(app, "destroyed", &path, &all);
    }
    app.ui
        .confirm(&format!("Destroy versions of /{path} for good?"))?;
    let changed = crate::runtime::wait(session.engine.destroy(&session.context, &path, &versions))?;
    session.note_write();
    session.finish(app);
    report(app, "destroyed", &path, &changed)
}

fn path_of(app: &App, name: &str) -> Result<SecretPath, CommandError> {
    let project = project::load_if_there(app)?;
    Ok(project::place(project.as_ref(), name)?.path)
}

fn report(app: &App, done: &str, path: &SecretPath, changed: &[u64]) -> Result<(), CommandError> {
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "path": path.as_str(),
            "done": done,
            "secret_versions": changed,
        }));
    }
    if changed.is_empty() {
        app.ui.say(&format!("/{path}: no version to be {done}"));
    } else {
        let numbers: Vec<String> = changed.iter().map(|number| format!("v{number}")).collect();
        app.ui
            .say(&format!("{done} /{path} {}", numbers.join(", ")));
    }
    Ok(())
}
