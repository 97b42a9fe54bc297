use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;
use strongroom_core::path::SecretPath;
use strongroom_core::port::Backend;
use strongroom_engine::secrets::Entry;

use crate::app::App;
use crate::elsewhere;
use crate::error::CommandError;
use crate::project;
use crate::session;
use crate::session::day;
use crate::ui::Tone;

/// List secrets as a tree; never values
///
/// In a project: those of the active profile. A path lists that folder; `/` lists the store.
#[derive(Args)]
#[command(visible_alias = "ls")]
pub(crate) struct ListArgs {
    /// Folder (a leading / makes it absolute)
    folder: Option<String>,
    /// Only the folder itself, not those below
    #[arg(long)]
    flat: bool,
    /// A table with version, state, class and time
    #[arg(long, short)]
    long: bool,
}

pub(crate) fn run(app: &App, args: &ListArgs) -> Result<(), CommandError> {
    let folder = args.folder.as_deref().unwrap_or_default();
    if !folder.starts_with('/')
        && let Some(backend) = backend_of(app)?
    {
        return list_elsewhere(app, args, backend.as_ref());
    }
    let folder = folder_of(app, args.folder.as_deref())?;
    let session = session::open(app)?;
    let entries = crate::runtime::wait(async {
        if args.flat {
            session.engine.list(&session.context, &folder).await
        } else {
            session
                .engine
                .list_recursive(&session.context, &folder)
                .await
        }
    })?;
    if app.ui.is_json {
        let secrets: Vec<_> = entries.iter().map(entry_json).collect();
        return app.ui.print_json(&json!({
            "version": 1,
            "folder": format!("/{folder}"),
            "secrets": secrets,
        }));
    }
    if entries.is_empty() {
        app.ui.say(&format!("nothing is stored below /{folder}"));
        return Ok(());
    }
    if args.long {
        return print_long(app, &folder, &entries);
    }
    app.ui
        .print_line(&app.ui.tint(Tone::Strong, &format!("/{folder}")))?;
    app.ui.print(&tree(&folder, &entries))
}

/// The first backend that lists any names, of a chain without a store.
fn backend_of(app: &App) -> Result<Option<Box<dyn Backend>>, CommandError> {
    match project::load_if_there(app)? {
        None => elsewhere::first(app, |can| can.list),
        Some(project) if project.uses_store() => Ok(None),
        Some(project) => project.first_with(app, |can| can.list).map(Some),
    }
}

fn list_elsewhere(app: &App, args: &ListArgs, backend: &dyn Backend) -> Result<(), CommandError> {
    let names = crate::runtime::wait(backend.list())?;
    let prefix = args
        .folder
        .as_deref()
        .map(|folder| folder.trim_end_matches('/'));
    let is_wanted = |name: &&String| match prefix {
        Some(prefix) => name
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('/')),
        None => true,
    };
    let names: Vec<&String> = names.iter().filter(is_wanted).collect();
    if app.ui.is_json {
        let secrets = names.iter().map(|name| {
            json!({
                "path": name,
                "folder": false,
                "secret_version": null,
                "state": "live",
                "class": null,
                "updated": null,
                "expires_at": null,
            })
        });
        return app.ui.print_json(&json!({
            "version": 1,
            "folder": backend.describe(),
            "secrets": secrets.collect::<Vec<_>>(),
        }));
    }
    if names.is_empty() {
        app.ui
            .say(&format!("nothing is stored in {}", backend.describe()));
        return Ok(());
    }
    let title = app.ui.tint(Tone::Strong, &backend.describe());
    app.ui.print_line(&title)?;
    for name in names {
        app.ui.print_line(&crate::ui::clean(name))?;
    }
    Ok(())
}

fn folder_of(app: &App, argument: Option<&str>) -> Result<String, CommandError> {
    let project = project::load_if_there(app)?;
    let of_profile = project.as_ref().map_or(String::new(), |project| {
        project.manifest.folder(&project.profile.name)
    });
    let Some(text) = argument.map(|text| text.trim_end_matches('/')) else {
        return Ok(of_profile);
    };
    let absolute = match (argument, text.strip_prefix('/')) {
        (Some("/"), _) | (_, Some("")) => return Ok(String::new()),
        (_, Some(absolute)) => absolute.to_owned(),
        (_, None) if of_profile.is_empty() => text.to_owned(),
        (_, None) => format!("{of_profile}/{text}"),
    };
    let path: SecretPath = absolute.parse()?;
    Ok(path.to_string())
}

fn entry_json(entry: &Entry) -> serde_json::Value {
    json!({
        "path": entry.path,
        "folder": entry.is_folder,
        "secret_version": entry.version,
        "state": state_of(entry),
        "class": entry.class.map(strongroom_core::registry::Class::word),
        "updated": if entry.is_folder { None } else { Some(entry.updated.to_string()) },
        "expires_at": entry.expires_at.map(|time| time.to_string()),
    })
}

fn state_of(entry: &Entry) -> &'static str {
    if entry.is_live { "live" } else { "deleted" }
}

fn print_long(app: &App, folder: &str, entries: &[Entry]) -> Result<(), CommandError> {
    let rows = entries
        .iter()
        .map(|entry| {
            let name = relative(folder, &entry.path);
            if entry.is_folder {
                return vec![
                    format!("{name}/"),
                    String::new(),
                    String::new(),
                    String::new(),
                    String::new(),
                ];
            }
            vec![
                name.to_owned(),
                format!("v{}", entry.version),
                state_of(entry).to_owned(),
                entry
                    .class
                    .map_or("-", strongroom_core::registry::Class::word)
                    .to_owned(),
                day(entry.updated),
            ]
        })
        .collect();
    app.ui
        .print_table(&["path", "version", "state", "class", "updated"], rows)
}

fn relative<'p>(folder: &str, path: &'p str) -> &'p str {
    if folder.is_empty() {
        return path;
    }
    path.strip_prefix(folder)
        .and_then(|rest| rest.strip_prefix('/'))
        .unwrap_or(path)
}

#[derive(Default)]
struct Node {
    is_folder: bool,
    note: Option<String>,
    children: BTreeMap<String, Node>,
}

/// The entries as a tree with branches.
fn tree(folder: &str, entries: &[Entry]) -> String {
    let mut root = Node::default();
    for entry in entries {
        let mut node = &mut root;
        for segment in relative(folder, &entry.path).split('/') {
            node = node.children.entry(segment.to_owned()).or_default();
        }
        let state = if entry.is_live {
            String::new()
        } else {
            " deleted".to_owned()
        };
        node.is_folder = entry.is_folder;
        if !entry.is_folder {
            node.note = Some(format!("  v{}{state}", entry.version));
        }
    }
    let mut text = String::new();
    draw(&root, "", &mut text);
    text
}

fn draw(node: &Node, indent: &str, text: &mut String) {
    let last = node.children.len().saturating_sub(1);
    for (at, (name, child)) in node.children.iter().enumerate() {
        let (branch, next) = if at == last {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        let is_folder = child.is_folder || !child.children.is_empty();
        let slash = if is_folder { "/" } else { "" };
        let note = child.note.as_deref().unwrap_or_default();
        text.push_str(&format!("{indent}{branch}{name}{slash}{note}\n"));
        draw(child, &format!("{indent}{next}"), text);
    }
}
