use clap::Args;
use clap::Subcommand;
use serde_json::json;
use strongroom_engine::cache::Cache;

use crate::app::App;
use crate::cache;
use crate::cache::age_words;
use crate::commands::check::plural;
use crate::error::CommandError;
use crate::error::Kind;
use crate::session;

/// Show or remove what backends over a network have answered
///
/// Answers are kept with --max-age, or where an entry of a chain says ?max-age=…: encrypted with
/// the keys of your store, in a file of your cache folder.
#[derive(Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the kept answers and their age; no values
    Status,
    /// Remove all kept answers
    Clear,
}

pub(crate) fn run(app: &App, args: &CacheArgs) -> Result<(), CommandError> {
    match args.action {
        Action::Status => status(app),
        Action::Clear => clear(app),
    }
}

fn clear(app: &App) -> Result<(), CommandError> {
    let removed = cache::clear(app)?;
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({ "version": 1, "removed": removed }));
    }
    app.ui.say(&match removed {
        0 => "there was no cache".to_owned(),
        count => format!("removed {}", plural(count, "cache")),
    });
    Ok(())
}

fn status(app: &App) -> Result<(), CommandError> {
    let session = session::open(app)?;
    let path = cache::path_of(app, &session.storage.read_header()?.store_id())?;
    let unusable = |why: &dyn std::fmt::Display| {
        let message = format!("the cache {} counts as empty: {why}", path.display());
        CommandError::new(Kind::Failed, "cache.damaged", message)
            .hint("strongroom cache clear removes it")
    };
    let bytes = cache::read(&path).map_err(|error| unusable(&error))?;
    let parsed = match &bytes {
        Some(bytes) => Cache::parse(&session.barrier, bytes).map_err(|error| unusable(&error))?,
        None => Cache::new(&session.barrier),
    };
    let entries = parsed.entries();
    let now = app.now();
    if app.ui.is_json {
        let entries: Vec<_> = entries
            .iter()
            .map(|kept| {
                json!({
                    "name": kept.name,
                    "source": kept.source,
                    "found": kept.found.is_some(),
                    "fetched": kept.fetched.to_string(),
                    "age_seconds": now.seconds_since(kept.fetched),
                })
            })
            .collect();
        return app.ui.print_json(&json!({
            "version": 1,
            "path": path,
            "bytes": bytes.as_ref().map_or(0, Vec::len),
            "damaged": parsed.damaged(),
            "entries": entries,
        }));
    }
    if entries.is_empty() {
        app.ui.say("nothing is kept");
    } else {
        let rows = entries.iter().map(|kept| {
            let answer = if kept.found.is_some() {
                "a value"
            } else {
                "not found"
            };
            let age = age_words(now.seconds_since(kept.fetched));
            let age = format!("{age} old");
            vec![
                kept.name.clone(),
                kept.source.clone(),
                answer.to_owned(),
                age,
            ]
        });
        app.ui
            .print_table(&["name", "source", "answer", "age"], rows.collect())?;
    }
    if parsed.damaged() > 0 {
        app.ui.warn(&format!(
            "warning: {} did not open",
            plural(parsed.damaged(), "answer")
        ));
    }
    Ok(())
}
