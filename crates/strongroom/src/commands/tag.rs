use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;
use strongroom_core::port::Annotation;
use strongroom_engine::secrets::MetadataPatch;

use crate::app::App;
use crate::elsewhere;
use crate::elsewhere::Elsewhere;
use crate::error::CommandError;
use crate::project;
use crate::runtime::wait;
use crate::session;

/// Set or remove tags and other facts about a secret
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom tag JWT_SECRET compliance=pci-dss team=payments
  strongroom tag JWT_SECRET team-
  strongroom tag JWT_SECRET --owner 'payments team' --expires 2027-01-31")]
pub(crate) struct TagArgs {
    /// Declared name, or path
    name: String,
    /// `KEY=VALUE` sets a tag, `KEY-` removes it
    tags: Vec<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Who answers for it
    #[arg(long, value_name = "WHO")]
    owner: Option<String>,
    /// When it expires, e.g. 2027-01-31; `never` forgets it
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// How often it should change, e.g. 90d; `never` forgets it
    #[arg(long, value_name = "INTERVAL")]
    rotate_every: Option<String>,
    /// Versions to keep
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max_versions: Option<u32>,
}

pub(crate) fn run(app: &App, args: &TagArgs) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    let place = project::place(project.as_ref(), &args.name)?;
    let patch = patch_of(args)?;
    let elsewhere = elsewhere::find(app, project.as_ref(), &place, &args.name, |can| can.write)?;
    if let Some(elsewhere) = elsewhere {
        return tag_elsewhere(app, &patch, &elsewhere);
    }
    let session = session::open(app)?;
    wait(session.engine.tag(&session.context, &place.path, &patch))?;
    session.note_write();
    session.finish(app);
    let metadata = wait(session.engine.describe(&place.path))?.metadata;
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "path": place.path.as_str(),
            "tags": metadata.tags,
            "description": metadata.description,
            "owner": metadata.owner,
            "expires_at": metadata.expires_at.map(|time| time.to_string()),
            "rotate_every": metadata.rotate_every.map(|span| span.to_string()),
            "max_versions": metadata.max_versions,
        }));
    }
    app.ui
        .say(&format!("/{}: {}", place.path, phrase(&metadata.tags)));
    Ok(())
}

fn phrase(tags: &BTreeMap<String, String>) -> String {
    let tags: Vec<String> = tags
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    match tags.is_empty() {
        true => "no tags".to_owned(),
        false => tags.join(" "),
    }
}

fn tag_elsewhere(
    app: &App,
    patch: &MetadataPatch,
    elsewhere: &Elsewhere,
) -> Result<(), CommandError> {
    // What a server can do is known once it was asked something.
    elsewhere.require()?;
    require_what_is_kept(patch, elsewhere)?;
    let annotation = Annotation {
        description: patch.description.clone(),
        tags: patch.tags.clone(),
        expires_at: patch.expires_at,
    };
    if !annotation.is_empty() {
        wait(elsewhere.backend.annotate(&elsewhere.address, &annotation))?;
    }
    let details = elsewhere.require()?.details;
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "path": elsewhere.path.as_str(),
            "tags": details.tags,
            "description": details.description,
            "owner": null,
            "expires_at": null,
            "rotate_every": null,
            "max_versions": null,
        }));
    }
    app.ui.say(&format!(
        "{}: {}",
        elsewhere.describe(),
        phrase(&details.tags)
    ));
    Ok(())
}

/// Refuses what the backend would drop.
fn require_what_is_kept(patch: &MetadataPatch, elsewhere: &Elsewhere) -> Result<(), CommandError> {
    let can = elsewhere.backend.capabilities();
    let asked = [
        (!patch.tags.is_empty() && !can.tags, "tags"),
        (
            patch.description.is_some() && !can.description,
            "descriptions",
        ),
        (patch.owner.is_some(), "an owner"),
        (
            patch.expires_at.is_some() && !can.expiry,
            "a time of expiry",
        ),
        (patch.rotate_every.is_some(), "an interval of rotation"),
        (patch.max_versions.is_some(), "a number of versions to keep"),
    ];
    let Some((_, what)) = asked.iter().find(|(is_lost, _)| *is_lost) else {
        return Ok(());
    };
    let instead = match (can.tags, *what) {
        (_, "a number of versions to keep") => "that is a setting of the manager",
        (true, "an owner") => "nothing was written; a tag can say it: owner=…",
        _ => "nothing was written; the declaration in strongroom.toml can say it",
    };
    Err(elsewhere.unsupported(&format!("keep {what}"), instead))
}

fn patch_of(args: &TagArgs) -> Result<MetadataPatch, CommandError> {
    let mut patch = MetadataPatch {
        description: args.description.clone(),
        owner: args.owner.clone(),
        max_versions: args.max_versions,
        ..MetadataPatch::default()
    };
    for tag in &args.tags {
        match (tag.split_once('='), tag.strip_suffix('-')) {
            (Some((key, value)), _) => patch.tags.insert(key.to_owned(), Some(value.to_owned())),
            (None, Some(key)) => patch.tags.insert(key.to_owned(), None),
            (None, None) => {
                return Err(CommandError::usage(format!(
                    "{tag} is neither KEY=VALUE nor KEY-"
                )));
            }
        };
    }
    let usage = |flag: &str| {
        let flag = flag.to_owned();
        move |error: strongroom_core::time::ParseTimeError| {
            CommandError::usage(format!("{flag}: {error}"))
        }
    };
    patch.expires_at = match args.expires.as_deref() {
        None => None,
        Some("never") => Some(None),
        Some(text) => Some(Some(text.parse().map_err(usage("--expires"))?)),
    };
    patch.rotate_every = match args.rotate_every.as_deref() {
        None => None,
        Some("never") => Some(None),
        Some(text) => Some(Some(text.parse().map_err(usage("--rotate-every"))?)),
    };
    Ok(patch)
}
