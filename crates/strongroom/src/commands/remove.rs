use clap::Args;
use serde_json::json;
use strongroom_core::path::SecretPath;
use strongroom_core::port::Removal;
use strongroom_core::port::VersionChange;
use strongroom_core::port::VersionDetails;
use strongroom_core::version::VersionState;
use strongroom_engine::secrets::Versions;

use crate::app::App;
use crate::commands::check::plural;
use crate::elsewhere;
use crate::elsewhere::Elsewhere;
use crate::elsewhere::Known;
use crate::elsewhere::version_json;
use crate::elsewhere::version_text;
use crate::error::CommandError;
use crate::project;
use crate::runtime::wait;
use crate::session;

/// Delete a secret's current version; `undelete` brings it back
///
/// Works where `set` writes: in the store, or in the first writable backend of the chain. Where
/// nothing brings a secret back, it asks first.
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

    /// Whole secrets are meant, by their newest version.
    fn is_newest(&self) -> bool {
        self.versions() == Versions::Newest
    }

    /// Of a secret in another manager those that are meant and are in a state to be changed.
    fn versions_of(
        &self,
        elsewhere: &Elsewhere,
        known: &Known,
        change: VersionChange,
    ) -> Result<Vec<String>, CommandError> {
        if !elsewhere.backend.capabilities().single_versions {
            let verb = match change {
                VersionChange::Delete => "delete",
                VersionChange::Undelete => "undelete",
                VersionChange::Destroy => "destroy",
            };
            let what = format!("{verb} versions one by one");
            return Err(elsewhere.unsupported(&what, "leave --versions and --all-versions out"));
        }
        let is_meant = |version: &&VersionDetails| {
            self.all_versions
                || version
                    .id
                    .parse()
                    .is_ok_and(|id| self.versions.contains(&id))
        };
        let is_open = |version: &&VersionDetails| match (change, version.state) {
            (VersionChange::Delete, state) => state == VersionState::Live,
            (VersionChange::Undelete, state) => matches!(state, VersionState::Deleted { .. }),
            (VersionChange::Destroy, state) => state != VersionState::Destroyed,
        };
        let versions = known.details.versions.iter();
        let changed = versions.filter(is_meant).filter(is_open);
        Ok(changed.map(|version| version.id.clone()).collect())
    }
}

/// Where the secret of a command is.
enum Found {
    Store(SecretPath),
    Elsewhere(Elsewhere),
}

pub(crate) fn rm(app: &App, args: &RmArgs) -> Result<(), CommandError> {
    let path = match find(app, &args.name)? {
        Found::Store(path) => path,
        Found::Elsewhere(elsewhere) => return rm_elsewhere(app, args, &elsewhere),
    };
    let session = session::open(app)?;
    let versions = args.which.versions();
    let changed = wait(session.engine.delete(&session.context, &path, &versions))?;
    session.note_write();
    session.finish(app);
    report(app, "deleted", &path, &changed)?;
    if !changed.is_empty() {
        app.ui
            .say(&format!("strongroom undelete /{path} brings it back"));
    }
    Ok(())
}

fn rm_elsewhere(app: &App, args: &RmArgs, elsewhere: &Elsewhere) -> Result<(), CommandError> {
    let known = elsewhere.require()?;
    let can = elsewhere.backend.capabilities();
    require_removal(elsewhere)?;
    if !args.which.is_newest() {
        let change = VersionChange::Delete;
        let versions = args.which.versions_of(elsewhere, &known, change)?;
        change_some(elsewhere, &versions, change)?;
        report_some(app, "deleted", elsewhere, &versions)?;
        if !versions.is_empty() {
            let (name, versions) = (&elsewhere.name, versions.join(","));
            app.ui.say(&format!(
                "strongroom undelete {name} --versions {versions} brings back what was deleted"
            ));
        }
        return Ok(());
    }
    if known.details.removed.is_some() {
        return report_elsewhere(app, "deleted", elsewhere, None);
    }
    if !can.restore {
        let described = elsewhere.describe();
        app.ui.confirm(&format!(
            "Remove {described} for good? Nothing brings it back there."
        ))?;
    }
    let removed = elsewhere
        .backend
        .remove(&elsewhere.address, Removal::Recoverable);
    if !wait(removed)? {
        return Err(elsewhere.not_found());
    }
    let current = known.current().map(|version| version.id.clone());
    let versions: Vec<String> = current.into_iter().collect();
    report_elsewhere(app, "deleted", elsewhere, Some(&versions))?;
    if can.restore {
        app.ui.say(&format!(
            "strongroom undelete {} brings it back",
            elsewhere.name
        ));
    }
    Ok(())
}

pub(crate) fn undelete(app: &App, args: &UndeleteArgs) -> Result<(), CommandError> {
    let path = match find(app, &args.name)? {
        Found::Store(path) => path,
        Found::Elsewhere(elsewhere) => return undelete_elsewhere(app, args, &elsewhere),
    };
    let session = session::open(app)?;
    let versions = args.which.versions();
    let changed = wait(session.engine.undelete(&session.context, &path, &versions))?;
    session.note_write();
    session.finish(app);
    report(app, "undeleted", &path, &changed)
}

fn undelete_elsewhere(
    app: &App,
    args: &UndeleteArgs,
    elsewhere: &Elsewhere,
) -> Result<(), CommandError> {
    let instead = format!(
        "what is removed there is gone; strongroom set {} writes it anew",
        elsewhere.name
    );
    // Some backends do not describe what is removed, so that only restoring tells.
    let known = elsewhere.known()?;
    if !elsewhere.backend.capabilities().restore {
        return Err(elsewhere.unsupported("bring back what was removed", instead));
    }
    if !args.which.is_newest() {
        let known = known.ok_or_else(|| elsewhere.not_found())?;
        let change = VersionChange::Undelete;
        let versions = args.which.versions_of(elsewhere, &known, change)?;
        change_some(elsewhere, &versions, change)?;
        return report_some(app, "undeleted", elsewhere, &versions);
    }
    let is_back = wait(elsewhere.backend.restore(&elsewhere.address))?;
    if !is_back {
        known.ok_or_else(|| elsewhere.not_found())?;
        return report_elsewhere(app, "undeleted", elsewhere, None);
    }
    let known = elsewhere.known()?;
    let current = known.and_then(|known| known.current().map(|version| version.id.clone()));
    let versions: Vec<String> = current.into_iter().collect();
    report_elsewhere(app, "undeleted", elsewhere, Some(&versions))
}

pub(crate) fn destroy(app: &App, args: &DestroyArgs) -> Result<(), CommandError> {
    let path = match find(app, &args.name)? {
        Found::Store(path) => path,
        Found::Elsewhere(elsewhere) => return destroy_elsewhere(app, args, &elsewhere),
    };
    let session = session::open(app)?;
    // An unknown secret is told before anybody is asked.
    let known = wait(session.engine.describe(&path))?;
    let versions = args.which.versions();
    if versions == Versions::Newest {
        app.ui.confirm(&format!(
            "Destroy /{path} with its {} for good?",
            plural(known.versions.len(), "version")
        ))?;
        wait(session.engine.remove(&session.context, &path))?;
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
    let changed = wait(session.engine.destroy(&session.context, &path, &versions))?;
    session.note_write();
    session.finish(app);
    report(app, "destroyed", &path, &changed)
}

fn destroy_elsewhere(
    app: &App,
    args: &DestroyArgs,
    elsewhere: &Elsewhere,
) -> Result<(), CommandError> {
    let known = elsewhere.require()?;
    require_removal(elsewhere)?;
    if !args.which.is_newest() {
        let change = VersionChange::Destroy;
        let versions = args.which.versions_of(elsewhere, &known, change)?;
        if !versions.is_empty() {
            let (described, list) = (elsewhere.describe(), list_of(&versions));
            app.ui
                .confirm(&format!("Destroy {list} of {described} for good?"))?;
        }
        change_some(elsewhere, &versions, change)?;
        return report_some(app, "destroyed", elsewhere, &versions);
    }
    let versions: Vec<String> = known.details.versions.into_iter().map(|it| it.id).collect();
    let with = match versions.len() {
        0 => String::new(),
        count => format!(" with its {}", plural(count, "version")),
    };
    let described = elsewhere.describe();
    app.ui
        .confirm(&format!("Destroy {described}{with} for good?"))?;
    let removed = elsewhere.backend.remove(&elsewhere.address, Removal::Final);
    if !wait(removed)? {
        return Err(elsewhere.not_found());
    }
    report_elsewhere(app, "destroyed", elsewhere, Some(&versions))
}

fn change_some(
    elsewhere: &Elsewhere,
    versions: &[String],
    change: VersionChange,
) -> Result<(), CommandError> {
    if versions.is_empty() {
        return Ok(());
    }
    let (backend, address) = (&elsewhere.backend, &elsewhere.address);
    Ok(wait(backend.change_versions(address, versions, change))?)
}

fn report_some(
    app: &App,
    done: &str,
    elsewhere: &Elsewhere,
    versions: &[String],
) -> Result<(), CommandError> {
    let changed = (!versions.is_empty()).then_some(versions);
    report_elsewhere(app, done, elsewhere, changed)
}

/// `v1, v2`.
fn list_of(versions: &[String]) -> String {
    let versions: Vec<String> = versions.iter().map(|it| version_text(it)).collect();
    versions.join(", ")
}

fn require_removal(elsewhere: &Elsewhere) -> Result<(), CommandError> {
    match elsewhere.backend.capabilities().delete {
        true => Ok(()),
        false => Err(elsewhere.unsupported("remove", "remove it with the manager's own tools")),
    }
}

fn find(app: &App, name: &str) -> Result<Found, CommandError> {
    let project = project::load_if_there(app)?;
    let place = project::place(project.as_ref(), name)?;
    let elsewhere = elsewhere::find(app, project.as_ref(), &place, name, |can| can.write)?;
    Ok(match elsewhere {
        Some(elsewhere) => Found::Elsewhere(elsewhere),
        None => Found::Store(place.path),
    })
}

/// `versions` are those that changed; `None` when the secret was in that state already.
fn report_elsewhere(
    app: &App,
    done: &str,
    elsewhere: &Elsewhere,
    versions: Option<&[String]>,
) -> Result<(), CommandError> {
    if app.ui.is_json {
        let changed = versions.unwrap_or_default().iter();
        let changed = changed.map(|version| version_json(Some(version)));
        return app.ui.print_json(&json!({
            "version": 1,
            "path": elsewhere.path.as_str(),
            "done": done,
            "secret_versions": changed.collect::<Vec<_>>(),
        }));
    }
    let described = elsewhere.describe();
    app.ui.say(&match versions {
        None => format!("{described}: no version to be {done}"),
        Some([]) => format!("{done} {described}"),
        Some(versions) => format!("{done} {described}, {}", list_of(versions)),
    });
    Ok(())
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
