use clap::Args;
use serde_json::json;
use strongroom_core::path::SecretPath;
use strongroom_core::port::Capabilities;
use strongroom_core::port::Expected;
use strongroom_core::port::NewValue;
use strongroom_core::port::VersionRef;

use crate::app::App;
use crate::elsewhere;
use crate::elsewhere::Elsewhere;
use crate::elsewhere::version_json;
use crate::elsewhere::version_text;
use crate::error::CommandError;
use crate::project;
use crate::runtime::wait;
use crate::session;
use crate::session::day;

/// Show a secret's versions; never values
#[derive(Args)]
pub(crate) struct HistoryArgs {
    /// Declared name, or path
    name: String,
}

pub(crate) fn run(app: &App, args: &HistoryArgs) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    let place = project::place(project.as_ref(), &args.name)?;
    let may = |can: Capabilities| can.write || can.versions;
    if let Some(elsewhere) = elsewhere::find(app, project.as_ref(), &place, &args.name, may)? {
        return history_elsewhere(app, &elsewhere);
    }
    let session = session::open(app)?;
    let description = wait(session.engine.describe(&place.path))?;
    if app.ui.is_json {
        let versions: Vec<_> = description
            .versions
            .iter()
            .map(|version| {
                json!({
                    "secret_version": version.number,
                    "created": version.created.to_string(),
                    "state": version.state.word(),
                    "provenance": version.provenance.phrase(),
                    "stages": version.stages,
                    "fingerprint": data_encoding::HEXLOWER.encode(&version.fingerprint),
                })
            })
            .collect();
        return app.ui.print_json(&json!({
            "version": 1,
            "path": place.path.as_str(),
            "description": description.metadata.description,
            "tags": description.metadata.tags,
            "owner": description.metadata.owner,
            "expires_at": description.metadata.expires_at.map(|time| time.to_string()),
            "max_versions": description.metadata.max_versions,
            "versions": versions,
        }));
    }
    let rows = description
        .versions
        .iter()
        .rev()
        .map(|version| {
            vec![
                format!("v{}", version.number),
                version.state.word().to_owned(),
                day(version.created),
                version.provenance.phrase(),
                version.stages.join(", "),
            ]
        })
        .collect();
    app.ui
        .print_table(&["version", "state", "written", "how", "stages"], rows)
}

fn history_elsewhere(app: &App, elsewhere: &Elsewhere) -> Result<(), CommandError> {
    let known = elsewhere.require()?;
    elsewhere.require_versions()?;
    let details = &known.details;
    if app.ui.is_json {
        let versions = details.versions.iter().map(|version| {
            json!({
                "secret_version": version_json(Some(&version.id)),
                "created": version.created.map(|time| time.to_string()),
                "state": known.state_of(version).word(),
                "provenance": null,
                "stages": version.stages,
                "fingerprint": null,
            })
        });
        return app.ui.print_json(&json!({
            "version": 1,
            "path": elsewhere.path.as_str(),
            "description": details.description,
            "tags": details.tags,
            "owner": null,
            "expires_at": null,
            "max_versions": null,
            "versions": versions.collect::<Vec<_>>(),
        }));
    }
    let rows = details.versions.iter().rev().map(|version| {
        vec![
            version_text(&version.id),
            known.state_of(version).word().to_owned(),
            version.created.map(day).unwrap_or_default(),
            version.stages.join(", "),
        ]
    });
    app.ui
        .print_table(&["version", "state", "written", "stages"], rows.collect())
}

/// A version of the store, which is a number.
pub(crate) fn number_of(
    version: Option<&str>,
    path: &SecretPath,
) -> Result<Option<u64>, CommandError> {
    version.map(str::parse).transpose().map_err(|_| {
        CommandError::usage("--version: versions of the store are numbers")
            .hint(format!("strongroom history /{path}"))
    })
}

/// Make an earlier version's value current again, as a new version
#[derive(Args)]
pub(crate) struct RollbackArgs {
    /// Declared name, or path
    name: String,
    /// The version whose value is wanted, by the backend's name for it (a number in the store);
    /// without it, the one before the current
    #[arg(long, value_name = "VERSION", visible_alias = "to")]
    version: Option<String>,
}

pub(crate) fn rollback(app: &App, args: &RollbackArgs) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    let place = project::place(project.as_ref(), &args.name)?;
    let may = |can: Capabilities| can.write;
    if let Some(elsewhere) = elsewhere::find(app, project.as_ref(), &place, &args.name, may)? {
        return rollback_elsewhere(app, args, &elsewhere);
    }
    let wanted = number_of(args.version.as_deref(), &place.path)?;
    let session = session::open(app)?;
    let version = match wanted {
        Some(version) => version,
        None => {
            let versions = wait(session.engine.describe(&place.path))?.versions;
            let before = versions.iter().rev().nth(1).map(|version| version.number);
            before.ok_or_else(|| {
                CommandError::usage(format!("/{} has no earlier version", place.path))
            })?
        }
    };
    let written = wait(
        session
            .engine
            .rollback(&session.context, &place.path, version),
    )?;
    session.note_write();
    session.finish(app);
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "path": place.path.as_str(),
            "secret_version": written.version,
            "value_of": version,
        }));
    }
    app.ui.say(&format!(
        "/{} has the value of version {version} again, as version {}",
        place.path, written.version
    ));
    Ok(())
}

fn rollback_elsewhere(
    app: &App,
    args: &RollbackArgs,
    elsewhere: &Elsewhere,
) -> Result<(), CommandError> {
    let known = elsewhere.require()?;
    elsewhere.require_versions()?;
    let current = known.current().map(|version| version.id.clone());
    let version = match &args.version {
        Some(version) => version.clone(),
        None => known.before_current().ok_or_else(|| {
            CommandError::usage(format!("{} has no earlier version", elsewhere.describe()))
        })?,
    };
    let backend = elsewhere.backend.as_ref();
    let reference = VersionRef::Id(version.clone());
    let item = wait(backend.read(&elsewhere.address, &reference))?;
    let item = item.ok_or_else(|| elsewhere.no_version(&version))?;
    let mut new = NewValue::new(item.payload);
    if let (true, Some(current)) = (backend.capabilities().cas, current) {
        // A version that somebody wrote meanwhile is not rolled back unseen.
        new.expected = Expected::Version(current);
    }
    let stored = wait(backend.write(&elsewhere.address, &new))?;
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "path": elsewhere.path.as_str(),
            "secret_version": version_json(stored.version.as_deref()),
            "value_of": version_json(Some(&version)),
        }));
    }
    let named = match &stored.version {
        Some(version) => format!(", as version {version}"),
        None => String::new(),
    };
    app.ui.say(&format!(
        "{} has the value of version {version} again{named}",
        elsewhere.describe()
    ));
    Ok(())
}
