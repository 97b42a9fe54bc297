use clap::Args;
use serde_json::json;
use strongroom_core::time::Timestamp;

use crate::app::App;
use crate::chain::Entry;
use crate::chain::Opener;
use crate::elsewhere;
use crate::error::CommandError;
use crate::project;
use crate::project::Project;
use crate::runtime::wait;
use crate::session;
use crate::session::day;

/// Show which project, profile, chain and store are in use, and why
#[derive(Args)]
pub(crate) struct StatusArgs {}

pub(crate) fn run(app: &App, _args: &StatusArgs) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    let store = app.settings.store()?;
    let key_file = app.settings.key_file()?;
    let session = session::open_if_there(app)?;
    let count = match &session {
        Some(session) => Some(wait(session.engine.list_recursive(&session.context, ""))?.len()),
        None => None,
    };
    let backup = session
        .as_ref()
        .and_then(|session| session.storage.last_backup());
    let backup_made = backup
        .as_ref()
        .map(|backup| Timestamp::from_micros(backup.made));
    let ignored = project
        .as_ref()
        .map(|project| project.chain.not_taken.clone())
        .unwrap_or_default();
    let servers = match &project {
        Some(project) => servers(&project.opener(app, None), project.chain.parsed()?),
        None => servers(&elsewhere::opener(app), elsewhere::entries(app)?),
    };
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "project": project.as_ref().map(|project| json!({
                "name": project.manifest.project,
                "manifest": project.path,
                "declarations": project.manifest.declarations().len(),
                "profile": project.profile.name,
                "profile_from": project.profile_from,
                "strict": project.profile.is_strict,
                "chain": project.chain.entries,
                "chain_from": project.chain.why,
            })),
            "store": {
                "path": store.value,
                "path_from": store.from,
                "exists": session.is_some(),
                "secrets": count,
                "opened_by": session.as_ref().map(|session| session.slot.kind.word()),
                "backup": backup_made.map(|time| time.to_string()),
            },
            "backends": servers.iter().map(|server| json!({
                "entry": server.entry,
                "ok": server.health.is_ok(),
                "health": match &server.health {
                    Ok(health) => health,
                    Err(failure) => failure,
                },
            })).collect::<Vec<_>>(),
            "key_file": key_file.value,
            "not_taken": ignored,
        }));
    }
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String, why: &str| {
        rows.push(vec![name.to_owned(), value, why.to_owned()]);
    };
    for (name, value, why) in project_rows(project.as_ref()) {
        row(name, value, &why);
    }
    let store_why = match app.global.server {
        Some(_) => "not used: the server stands in its place",
        None => store.from,
    };
    row("store", store.value.display().to_string(), store_why);
    match (&session, count) {
        (Some(session), Some(count)) => {
            row("stored", count.to_string(), "");
            let slot = &session.slot;
            row(
                "opened by",
                format!("{} (slot {})", slot.kind.word(), slot.id),
                &slot.label,
            );
            let backup = backup_made.map_or("none yet".to_owned(), day);
            row("backup", backup, "made daily, after the first write");
        }
        _ if app.global.server.is_some() => {}
        _ => row(
            "stored",
            "nothing yet".into(),
            "the first set, import or run makes the store",
        ),
    }
    for server in &servers {
        match &server.health {
            Ok(health) => row("backend", server.entry.clone(), health),
            Err(failure) => row("backend", format!("{} fails", server.entry), failure),
        }
    }
    for (name, why) in &ignored {
        row("not taken", name.clone(), why);
    }
    app.ui.print_table(&["what", "value", "why"], rows)
}

/// What is said of the project: name, value, and why.
fn project_rows(project: Option<&Project>) -> Vec<(&'static str, String, String)> {
    let Some(project) = project else {
        let why = "strongroom init writes a manifest";
        return vec![("project", "none here".into(), why.into())];
    };
    let strict = match project.profile.is_strict {
        true => " (strict)",
        false => "",
    };
    let name = project.manifest.project.clone();
    let profile = format!("{}{strict}", project.profile.name);
    let chain = &project.chain;
    let count = project.manifest.declarations().len();
    vec![
        ("project", name, project.path.display().to_string()),
        ("profile", profile, project.profile_from.to_owned()),
        ("chain", chain.entries.join(" → "), chain.why.clone()),
        ("declared", count.to_string(), String::new()),
    ]
}

/// A backend over a network, and how it is.
struct Server {
    entry: String,
    health: Result<String, String>,
}

/// Asks every server of the chain how it is: one that fails is told, and is no failure of
/// `status`.
fn servers(opener: &Opener<'_>, entries: Vec<Entry>) -> Vec<Server> {
    let mut servers = Vec::new();
    for entry in entries {
        if entry.is_local() {
            continue;
        }
        let health = match opener.open(&entry) {
            Err(error) => Err(error.message),
            Ok(backend) => wait(backend.health()).map_err(|error| error.message),
        };
        servers.push(Server {
            entry: entry.uri.to_string(),
            health,
        });
    }
    servers
}
