use std::collections::BTreeMap;
use std::collections::BTreeSet;

use clap::Args;
use serde_json::json;
use strongroom_core::port::every_address;
use strongroom_core::secret::SecretValue;

use crate::app::App;
use crate::error::CommandError;
use crate::project;
use crate::project::Project;
use crate::session;
use crate::session::Session;
use crate::side::Side;

/// Compare two profiles by fingerprint, without showing a value
///
/// Says which secrets are only in one of them, differ, or have the same value in both.
#[derive(Args)]
pub(crate) struct DiffArgs {
    /// One profile
    from: String,
    /// The other; without it, the active profile
    to: Option<String>,
    /// List secrets that are the same, too
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(app: &App, args: &DiffArgs) -> Result<(), CommandError> {
    let project = project::load(app)?;
    let to = args
        .to
        .clone()
        .unwrap_or_else(|| project.profile.name.clone());
    project::profile(&project.manifest, &args.from)?;
    project::profile(&project.manifest, &to)?;
    if args.from == to {
        return Err(CommandError::usage(format!(
            "{to} would be compared with itself"
        )));
    }
    let mut lines = match app.global.server {
        None => {
            let session = session::open(app)?;
            let left = fingerprints(&session, &project, &args.from)?;
            let right = fingerprints(&session, &project, &to)?;
            compared(&left, &right, |one, other| one == other)
        }
        Some(_) => {
            let left = values(app, &project, &args.from)?;
            let right = values(app, &project, &to)?;
            compared(&left, &right, SecretValue::ct_eq)
        }
    };
    lines.retain(|(_, state)| args.all || *state != "same" || app.ui.is_json);
    if app.ui.is_json {
        let secrets: Vec<_> = lines
            .iter()
            .map(|(path, state)| json!({"path": path, "state": state}))
            .collect();
        return app.ui.print_json(&json!({
            "version": 1,
            "first": args.from,
            "second": to,
            "secrets": secrets,
        }));
    }
    if lines.is_empty() {
        app.ui.say(&format!(
            "{} and {to} hold the same secrets with the same values",
            args.from
        ));
        return Ok(());
    }
    let rows = lines
        .into_iter()
        .map(|(path, state)| {
            let state = match state {
                "only_in_first" => format!("only in {}", args.from),
                "only_in_second" => format!("only in {to}"),
                other => other.to_owned(),
            };
            vec![path, state]
        })
        .collect();
    app.ui.print_table(&["path", "state"], rows)
}

/// Every path of the two, and how it stands.
fn compared<T>(
    left: &BTreeMap<String, T>,
    right: &BTreeMap<String, T>,
    is_same: impl Fn(&T, &T) -> bool,
) -> Vec<(String, &'static str)> {
    let paths: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let state = |path: &String| match (left.get(path), right.get(path)) {
        (Some(one), Some(other)) if is_same(one, other) => "same",
        (Some(_), Some(_)) => "differs",
        (Some(_), None) => "only_in_first",
        _ => "only_in_second",
    };
    paths
        .into_iter()
        .map(|path| (path.clone(), state(path)))
        .collect()
}

/// What a server holds of a profile: it tells no fingerprints, so the values are compared here.
fn values(
    app: &App,
    project: &Project,
    profile: &str,
) -> Result<BTreeMap<String, SecretValue>, CommandError> {
    let folder = project.manifest.folder(profile);
    let side = Side::open(app, Some(project), None, &format!("store:/{folder}"), None)?;
    let backend = side.backend.as_ref();
    let addresses = crate::runtime::wait(every_address(backend, &side.prefix))?;
    let read = crate::runtime::wait(backend.read_many(&addresses));
    let mut values = BTreeMap::new();
    for (address, item) in addresses.iter().zip(read) {
        if let Some(item) = item? {
            let path = address.strip_prefix(&side.prefix).unwrap_or(address);
            values.insert(path.to_owned(), item.payload.value);
        }
    }
    Ok(values)
}

fn fingerprints(
    session: &Session,
    project: &Project,
    profile: &str,
) -> Result<BTreeMap<String, [u8; 16]>, CommandError> {
    let folder = project.manifest.folder(profile);
    let entries = crate::runtime::wait(session.engine.list_recursive(&session.context, &folder))?;
    let below = format!("{folder}/");
    Ok(entries
        .into_iter()
        .filter(|entry| entry.is_live)
        .map(|entry| {
            let path = entry
                .path
                .strip_prefix(&below)
                .unwrap_or(&entry.path)
                .to_owned();
            (path, entry.fingerprint)
        })
        .collect())
}
