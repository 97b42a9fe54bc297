//! What a migration says: the plan, the outcome, the list.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;
use strongroom_engine::migrate::Journal;
use strongroom_engine::migrate::Planned;
use strongroom_engine::migrate::Stage;
use strongroom_engine::migrate::State;
use strongroom_engine::migrate::Step;
use strongroom_engine::transfer::Loss;

use super::Mapping;
use super::Work;
use super::clean::Cleaned;
use super::clean::PutBack;
use crate::app::App;
use crate::commands::check::plural;
use crate::error::CommandError;
use crate::error::Kind;
use crate::session::day;
use crate::ui::clean;

const MASK: &str = "••••••••";
/// Names that one line lists before it only counts.
const NAMES_SHOWN: usize = 5;
/// Variables that AWS itself is reached with.
const AWS_KEYS: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

/// The plan as a table, with what the target cannot hold.
pub(super) fn show_plan(
    app: &App,
    work: &Work<'_>,
    planned: &[Planned],
    mapping: &Mapping,
) -> Result<(), CommandError> {
    let source = work.source.backend.describe();
    let target = work.target.backend.describe();
    app.ui.print_line(&format!("{source} → {target}"))?;
    let rows = planned.iter().map(|planned| {
        let value = match &planned.item {
            Some(_) => MASK,
            None => "",
        };
        vec![
            planned.wish.from.clone(),
            planned.wish.to.clone(),
            value.to_owned(),
            planned.step.word().to_owned(),
            remark(planned),
        ]
    });
    let headings = ["from", "to", "value", "action", "remark"];
    app.ui.print_table(&headings, rows.collect())?;
    for (name, why) in &mapping.left {
        app.ui
            .print_line(&clean(&format!("left: {name} ({why})")))?;
    }
    for line in losses_lines(work.target.scheme(), planned) {
        app.ui.print_line(&clean(&line))?;
    }
    let moves_aws_keys = work.target.scheme() == "aws"
        && planned
            .iter()
            .any(|planned| AWS_KEYS.contains(&planned.wish.from.as_str()));
    if moves_aws_keys {
        app.ui.say(
            "note: aws itself is reached with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; \
             keep another way to it, such as a role or a profile",
        );
    }
    if mapping.is_guessed {
        app.ui.say(
            "the mapping is guessed: --write-map FILE writes it down to be edited, --map FILE \
             uses it",
        );
    }
    Ok(())
}

fn remark(planned: &Planned) -> String {
    match planned.step.remark() {
        Some(why) => why.to_owned(),
        None if planned.versions > 1 => format!("{} versions", planned.versions),
        None => String::new(),
    }
}

/// `aws cannot hold: tags of 3 secrets (a, b, c)`
pub(crate) fn losses_lines(scheme: &str, planned: &[Planned]) -> Vec<String> {
    let mut by_loss: BTreeMap<Loss, Vec<&str>> = BTreeMap::new();
    for planned in planned {
        for loss in &planned.losses {
            let names = by_loss.entry(*loss).or_default();
            names.push(&planned.wish.from);
        }
    }
    let lines = by_loss.into_iter().map(|(loss, names)| {
        let shown: Vec<&str> = names.iter().take(NAMES_SHOWN).copied().collect();
        let more = match names.len() > NAMES_SHOWN {
            true => ", …",
            false => "",
        };
        format!(
            "not kept by {scheme}: {} of {} ({}{more})",
            loss.word(),
            plural(names.len(), "secret"),
            shown.join(", ")
        )
    });
    lines.collect()
}

fn planned_json(planned: &Planned) -> Value {
    json!({
        "from": planned.wish.from,
        "to": planned.wish.to,
        "action": planned.step.word(),
        "remark": planned.step.remark(),
        "versions": planned.versions,
        "lost": planned.losses.iter().map(|loss| loss.word()).collect::<Vec<_>>(),
    })
}

fn left_json(mapping: &Mapping) -> Vec<Value> {
    let left = mapping.left.iter();
    left.map(|(name, why)| json!({"name": name, "remark": why}))
        .collect()
}

fn plan_json(work: &Work<'_>, planned: &[Planned], mapping: &Mapping, is_dry_run: bool) -> Value {
    json!({
        "version": 1,
        "dry_run": is_dry_run,
        "id": null,
        "from": work.source.backend.describe(),
        "to": work.target.backend.describe(),
        "items": planned.iter().map(planned_json).collect::<Vec<_>>(),
        "left": left_json(mapping),
    })
}

pub(super) fn dry_run(
    app: &App,
    work: &Work<'_>,
    planned: &[Planned],
    mapping: &Mapping,
    refused: usize,
) -> Result<(), CommandError> {
    if app.ui.is_json {
        app.ui
            .print_json(&plan_json(work, planned, mapping, true))?;
    } else {
        app.ui.say("nothing was written (--dry-run)");
    }
    match refused {
        0 => Ok(()),
        _ => Err(CommandError::reported(Kind::Validation, "migrate.refused")),
    }
}

/// Some secrets cannot be moved: nothing is.
pub(super) fn refusal(app: &App, planned: &[Planned], refused: usize) -> CommandError {
    let message = format!("{} cannot be moved", plural(refused, "secret"));
    let mut error = CommandError::new(Kind::Validation, "migrate.refused", message);
    for planned in planned {
        if let (true, Step::Refuse(why)) = (app.ui.is_json, &planned.step) {
            error = error.hint(format!("{}: {why}", planned.wish.from));
        }
    }
    error.hint("nothing was written; mend it, or move the others with a --map file")
}

pub(super) fn nothing(
    app: &App,
    work: &Work<'_>,
    planned: &[Planned],
    mapping: &Mapping,
) -> Result<(), CommandError> {
    if app.ui.is_json {
        return app.ui.print_json(&plan_json(work, planned, mapping, false));
    }
    app.ui.say("there is nothing to move");
    Ok(())
}

fn entries_json(journal: &Journal) -> Vec<Value> {
    let entries = journal.entries.iter().map(|entry| {
        json!({
            "from": entry.from,
            "to": entry.to,
            "state": entry.state.word(),
            "remark": entry.state.remark(),
            "taken_out": entry.is_cleaned,
        })
    });
    entries.collect()
}

fn journal_json(journal: &Journal) -> Value {
    let header = &journal.header;
    json!({
        "version": 1,
        "dry_run": false,
        "id": header.id,
        "from": header.from,
        "to": header.to,
        "stage": header.stage.word(),
        "created": header.created.to_string(),
        "items": entries_json(journal),
    })
}

/// `✓ migrated JWT_SECRET_KEY → jwt/secret_key`
fn lines(journal: &Journal) -> String {
    let mut text = String::new();
    for entry in &journal.entries {
        let line = match &entry.state {
            State::Verified => format!("✓ migrated {} → {}", entry.from, entry.to),
            State::Unchanged => format!("✓ {} is in {} already", entry.from, entry.to),
            State::Skipped(why) => format!("⚠ skipped {} ({why})", entry.from),
            State::Failed(why) => format!("✗ failed {}: {why}", entry.from),
            State::Restored => format!("✓ restored {}", entry.to),
            State::Kept(why) => format!("⚠ left {} as it is: {why}", entry.to),
            State::Planned | State::Writing => format!("· waiting {}", entry.from),
        };
        text.push_str(&clean(&line));
        text.push('\n');
    }
    text
}

/// Some secrets failed for themselves.
pub(super) fn incomplete(app: &App, journal: &Journal) -> Result<(), CommandError> {
    let failed = journal
        .entries
        .iter()
        .filter(|entry| matches!(entry.state, State::Failed(_)));
    let failed = failed.count();
    let id = &journal.header.id;
    if app.ui.is_json {
        app.ui.print_json(&journal_json(journal))?;
    } else {
        app.ui.print(&lines(journal))?;
        app.ui.warn(&format!(
            "{} of {} failed; the source is as it was",
            failed,
            plural(journal.entries.len(), "secret")
        ));
        app.ui.warn(&format!(
            "hint: {} tries them again; strongroom migrate rollback {id} undoes the others",
            super::line_to_go_on(&journal.header)
        ));
    }
    Err(CommandError::reported(Kind::Failed, "migrate.incomplete"))
}

pub(super) fn done(
    work: &Work<'_>,
    journal: &Journal,
    cleaned: &Cleaned,
) -> Result<(), CommandError> {
    let app = work.app;
    if app.ui.is_json {
        let mut value = journal_json(journal);
        if let Some(object) = value.as_object_mut() {
            object.insert("cleaned".into(), cleaned_json(cleaned));
        }
        return app.ui.print_json(&value);
    }
    app.ui.print(&lines(journal))?;
    let is_there = journal.entries.iter();
    let count = is_there.filter(|entry| entry.state.is_there()).count();
    app.ui.say(&format!(
        "{} in {}, each read back and compared",
        plural(count, "secret"),
        work.target.backend.describe()
    ));
    if let Some(file) = &cleaned.file {
        app.ui.say(&format!(
            "took {} out of {}; the store keeps an encrypted copy of the file as it was",
            plural(cleaned.names.len(), "secret"),
            file.display()
        ));
    }
    for name in &cleaned.changed {
        app.ui.warn(&format!(
            "warning: {name} has another value in the file by now, and was left there"
        ));
    }
    if let Some((file, lines)) = &cleaned.ignored {
        app.ui
            .say(&format!("added {} to {file}", lines.join(" and ")));
    }
    for copy in &cleaned.clear_copies {
        app.ui.warn(&format!(
            "warning: {copy} may hold the same secrets in clear: remove it"
        ));
    }
    next_steps(work, journal);
    Ok(())
}

fn cleaned_json(cleaned: &Cleaned) -> Value {
    json!({
        "file": cleaned.file,
        "names": cleaned.names,
        "changed": cleaned.changed,
        "gitignore": cleaned.ignored.as_ref().map(|(_, lines)| lines),
        "clear_copies": cleaned.clear_copies,
    })
}

/// How the application reads them from now on, and what undoes it.
fn next_steps(work: &Work<'_>, journal: &Journal) {
    let ui = &work.app.ui;
    let id = &journal.header.id;
    let chain = match &work.project {
        Some(project) => project.chain.entries.clone(),
        None => Vec::new(),
    };
    let scheme = work.target.scheme();
    let is_asked = chain
        .iter()
        .any(|entry| entry.split([':', '?']).next() == Some(scheme));
    if work.project.is_some() && !is_asked {
        ui.say(&format!(
            "next: write chain = [\"{}\", \"env\"] into the profile of strongroom.toml, so that \
             run and check ask there",
            work.target.uri
        ));
    }
    ui.say(&format!(
        "later: strongroom migrate verify {id} compares again, strongroom migrate rollback {id} \
         undoes it"
    ));
}

pub(super) fn rolled_back(
    app: &App,
    journal: &Journal,
    put_back: &PutBack,
) -> Result<(), CommandError> {
    let kept = journal
        .entries
        .iter()
        .filter(|entry| matches!(entry.state, State::Kept(_)))
        .count();
    if app.ui.is_json {
        let mut value = journal_json(journal);
        if let Some(object) = value.as_object_mut() {
            let source = json!({
                "file": put_back.file,
                "exact": put_back.is_exact,
                "names": put_back.names,
            });
            object.insert("source".into(), source);
        }
        app.ui.print_json(&value)?;
    } else {
        app.ui.print(&lines(journal))?;
        match (&put_back.file, put_back.is_exact) {
            (Some(file), true) => app
                .ui
                .say(&format!("{} is to the byte what it was", file.display())),
            (Some(file), false) => app.ui.say(&format!(
                "{} was changed since; {} put back into it",
                file.display(),
                plural(put_back.names.len(), "secret")
            )),
            (None, _) => {}
        }
    }
    match kept {
        0 => Ok(()),
        _ => Err(CommandError::reported(Kind::Conflict, "migrate.kept")),
    }
}

/// A migration in the list.
pub(super) struct Row {
    cells: Vec<String>,
    json: Value,
}

impl Row {
    pub(super) fn of(journal: &Journal, waiting: usize) -> Self {
        let count = |is_it: fn(&State) -> bool| {
            let entries = journal.entries.iter();
            entries.filter(|entry| is_it(&entry.state)).count()
        };
        let there = count(State::is_there);
        let failed = count(|state| matches!(state, State::Failed(_)));
        let skipped = count(|state| matches!(state, State::Skipped(_)));
        let header = &journal.header;
        let total = match header.stage {
            Stage::Lazy => journal.entries.len() + waiting,
            _ => journal.entries.len(),
        };
        Self {
            cells: vec![
                header.id.clone(),
                day(header.created),
                header.stage.word().to_owned(),
                format!("{there} of {total}"),
                failed.to_string(),
                skipped.to_string(),
                format!("{} → {}", header.from, header.to),
            ],
            json: json!({
                "id": header.id,
                "created": header.created.to_string(),
                "stage": header.stage.word(),
                "from": header.from,
                "to": header.to,
                "secrets": total,
                "migrated": there,
                "waiting": waiting,
                "failed": failed,
                "skipped": skipped,
            }),
        }
    }
}

pub(super) fn all(app: &App, rows: &[Row]) -> Result<(), CommandError> {
    if app.ui.is_json {
        let migrations: Vec<&Value> = rows.iter().map(|row| &row.json).collect();
        return app
            .ui
            .print_json(&json!({"version": 1, "migrations": migrations}));
    }
    if rows.is_empty() {
        return no_migrations(app);
    }
    let headings = [
        "id",
        "begun",
        "stage",
        "migrated",
        "failed",
        "skipped",
        "from → to",
    ];
    let cells = rows.iter().map(|row| row.cells.clone()).collect();
    app.ui.print_table(&headings, cells)
}

pub(super) fn no_migrations(app: &App) -> Result<(), CommandError> {
    if app.ui.is_json {
        return app.ui.print_json(&json!({"version": 1, "migrations": []}));
    }
    app.ui
        .say("there are no migrations; strongroom migrate --from URI --to URI begins one");
    Ok(())
}

pub(super) fn one(app: &App, journal: &Journal) -> Result<(), CommandError> {
    if app.ui.is_json {
        return app.ui.print_json(&journal_json(journal));
    }
    let header = &journal.header;
    app.ui.print_line(&clean(&format!(
        "{} {} · {} → {}",
        header.id,
        header.stage.word(),
        header.from,
        header.to
    )))?;
    app.ui.print(&lines(journal))
}
