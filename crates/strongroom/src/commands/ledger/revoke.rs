//! `ledger revoke`: what somebody was given gets another value.

use clap::Args;
use serde_json::Value;
use serde_json::json;
use strongroom_engine::ledger::Exposure;
use strongroom_engine::ledger::Mark;
use strongroom_engine::state::Found;

use super::Book;
use super::Row;
use super::STORE;
use super::find;
use crate::app::App;
use crate::commands::check::plural;
use crate::commands::rotate;
use crate::error::CommandError;
use crate::error::Kind;
use crate::runtime::wait;

#[derive(Args)]
#[group(id = "what", required = true, multiple = false)]
pub(super) struct What {
    /// What one delivery gave: its id
    #[arg(long, value_name = "ID")]
    pub(super) delivery: Option<String>,
    /// What a person was given
    #[arg(long, value_name = "PERSON")]
    pub(super) who: Option<String>,
    /// One secret, whoever was given it
    #[arg(long, value_name = "NAME")]
    pub(super) secret: Option<String>,
}

#[derive(Args)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    pub(super) what: What,
    /// Why, for those who have to replace the rest
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Only show what would be done
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// A secret whose value may be in use, and what is done about it.
struct Todo {
    mark: Mark,
    name: String,
    rotates: bool,
    result: Option<Result<(), CommandError>>,
}

impl Todo {
    fn action(&self) -> &'static str {
        match (&self.result, self.rotates) {
            (None, true) => "rotate",
            (None, false) => "mark",
            (Some(Ok(())), true) => "rotated",
            (Some(Ok(())), false) => "marked",
            (Some(Err(_)), _) => "failed",
        }
    }
}

pub(super) fn run(app: &App, book: &Book, args: &RevokeArgs) -> Result<(), CommandError> {
    let (found, what) = exposures(book, &args.what)?;
    let rows = book.with_standing(found)?;
    if rows.is_empty() {
        let message = format!("{what}: nothing of that is in the ledger");
        return Err(CommandError::new(Kind::NotFound, "ledger.unknown", message)
            .hint("strongroom ledger list shows the newest deliveries"));
    }
    let reason = args.reason.clone().unwrap_or_else(|| what.clone());
    let mut todo = todo(app, book, &rows, &reason);
    if args.dry_run {
        return tell(app, book, &what, &rows, &todo, true);
    }
    if !todo.is_empty() {
        let rotations = todo.iter().filter(|one| one.rotates).count();
        app.ui.confirm(&format!(
            "Revoke {} ({what}), rotate {rotations} now and mark {} as due?",
            plural(rows.len(), "exposure"),
            todo.len() - rotations
        ))?;
    }
    let found: Vec<Found<Exposure>> = rows.iter().map(|(found, _)| found.clone()).collect();
    let marks: Vec<Mark> = todo.iter().map(|one| one.mark.clone()).collect();
    let by = &book.session.context.actor;
    // Cut off after this, what was not rotated is due.
    wait(book.ledger.revoke(&found, &marks, app.now(), by))?;
    book.session.note_write();
    for one in &mut todo {
        one.result = Some(match one.rotates {
            true => rotate::rotate_here(app, &book.session, book.project.as_ref(), &one.name),
            false => Ok(()),
        });
    }
    book.session.finish(app);
    tell(app, book, &what, &rows, &todo, false)?;
    match todo.iter().any(|one| one.action() == "failed") {
        true => Err(CommandError::reported(Kind::Failed, "ledger.incomplete")),
        false => Ok(()),
    }
}

/// What is revoked, and in words.
fn exposures(book: &Book, what: &What) -> Result<(Vec<Found<Exposure>>, String), CommandError> {
    if let Some(id) = &what.delivery {
        let (_, delivery) = find(book, id)?;
        let found = wait(book.ledger.of_delivery(&delivery))?;
        return Ok((found, format!("delivery {id}")));
    }
    if let Some(who) = &what.who {
        let found = wait(book.ledger.of_person(who))?;
        return Ok((found, format!("what {who} was given")));
    }
    let name = what.secret.as_deref().unwrap_or_default();
    let (_, found) = book.of_secret(name)?;
    Ok((found, format!("secret {name}")))
}

/// Each secret once: of several values that were given, the one that may be in use.
fn todo(app: &App, book: &Book, rows: &[Row], reason: &str) -> Vec<Todo> {
    let mut todo: Vec<Todo> = Vec::new();
    for (found, standing) in rows {
        let given = &found.value.given;
        let is_known = |one: &Todo| {
            (one.mark.secret.as_str(), one.mark.source.as_str())
                == (given.secret.as_str(), given.source.as_str())
        };
        if !standing.may_be_in_use() || todo.iter().any(is_known) {
            continue;
        }
        let by = &book.session.context.actor;
        todo.push(Todo {
            mark: Mark::of(&found.value, app.now(), by, reason),
            name: book.named(&given.secret),
            rotates: given.source == STORE && book.rotates(&given.secret),
            result: None,
        });
    }
    todo
}

fn tell(
    app: &App,
    book: &Book,
    what: &str,
    rows: &[Row],
    todo: &[Todo],
    is_dry_run: bool,
) -> Result<(), CommandError> {
    let fix = |one: &Todo| book.fix(&one.mark.secret, &one.mark.source);
    if app.ui.is_json {
        let secrets: Vec<Value> = todo
            .iter()
            .map(|one| {
                let error = match &one.result {
                    Some(Err(error)) => Some(error.message.clone()),
                    _ => None,
                };
                let is_left = !matches!((&one.result, one.rotates), (Some(Ok(())), true));
                json!({
                    "secret": one.mark.secret,
                    "source": one.mark.source,
                    "action": one.action(),
                    "error": error,
                    "fix": is_left.then(|| fix(one)),
                })
            })
            .collect();
        return app.ui.print_json(&json!({
            "version": 1,
            "dry_run": is_dry_run,
            "exposures": rows.len(),
            "secrets": secrets,
        }));
    }
    if todo.is_empty() {
        app.ui.say(&format!(
            "{what}: every value of {} was replaced already",
            plural(rows.len(), "exposure")
        ));
        return Ok(());
    }
    let table = todo.iter().map(|one| {
        let rest = match &one.result {
            Some(Ok(())) if one.rotates => String::new(),
            Some(Err(error)) => error.message.clone(),
            _ => fix(one),
        };
        let (secret, source) = (one.mark.secret.clone(), one.mark.source.clone());
        vec![secret, source, one.action().to_owned(), rest]
    });
    app.ui.print_table(
        &["secret", "kept in", "done", "left to do"],
        table.collect(),
    )?;
    if is_dry_run {
        app.ui.say("nothing was done (--dry-run)");
    }
    Ok(())
}
