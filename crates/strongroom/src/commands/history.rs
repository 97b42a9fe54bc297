use clap::Args;
use serde_json::json;

use crate::app::App;
use crate::error::CommandError;
use crate::project;
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
    let session = session::open(app)?;
    let description = crate::runtime::wait(session.engine.describe(&place.path))?;
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

/// Make an earlier version's value current again, as a new version
#[derive(Args)]
pub(crate) struct RollbackArgs {
    /// Declared name, or path
    name: String,
    /// The version whose value is wanted; without it, the one before the current
    #[arg(long, value_name = "NUMBER")]
    version: Option<u64>,
}

pub(crate) fn rollback(app: &App, args: &RollbackArgs) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    let place = project::place(project.as_ref(), &args.name)?;
    let session = session::open(app)?;
    let version = match args.version {
        Some(version) => version,
        None => {
            let versions = crate::runtime::wait(session.engine.describe(&place.path))?.versions;
            let before = versions.iter().rev().nth(1).map(|version| version.number);
            before.ok_or_else(|| {
                CommandError::usage(format!("/{} has no earlier version", place.path))
            })?
        }
    };
    let written = crate::runtime::wait(session.engine.rollback(
        &session.context,
        &place.path,
        version,
    ))?;
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
