//! Tables of how rotations stand: what was, what comes, what would be.

use serde_json::Value;
use serde_json::json;

use crate::app::App;
use crate::error::CommandError;

/// The heads of the steps, in order.
const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];

fn text(value: &Value, or: &str) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => or.to_owned(),
        other => other.to_string(),
    }
}

/// A time to the minute, as other tables have it.
fn minute(value: &Value, or: &str) -> String {
    let whole = text(value, or);
    let minute = whole.get(..16).map(|minute| minute.replace('T', " "));
    minute.unwrap_or(whole)
}

/// A table of rotations, of names and reports.
pub(super) fn status(app: &App, all: &[(String, Value)]) -> Result<(), CommandError> {
    if all.is_empty() {
        app.ui
            .say("nothing was rotated yet: `strongroom rotate NAME` rotates a secret");
        return Ok(());
    }
    let rows = all.iter().map(|(name, report)| {
        let run = &report["run"];
        let under_way = match (run.is_null(), run["failure"].is_null()) {
            (true, _) => waits(&report["overlap"]),
            (false, true) => text(&run["step"], ""),
            (false, false) => format!(
                "{} failed: {}",
                text(&run["failure"]["step"], ""),
                text(&run["failure"]["message"], "")
            ),
        };
        let percent = match report["success_percent"].as_u64() {
            Some(percent) => format!("{percent} %"),
            None => "-".to_owned(),
        };
        vec![
            name.clone(),
            minute(&report["last"], "never"),
            minute(&report["next"], "-"),
            text(&report["last_result"], "-"),
            percent,
            under_way,
        ]
    });
    let heads = [
        "secret",
        "rotated",
        "next",
        "last result",
        "success",
        "under way",
    ];
    app.ui.print_table(&heads, rows.collect())
}

/// What the end of an old value waits for.
fn waits(overlap: &Value) -> String {
    if overlap.is_null() {
        return "-".to_owned();
    }
    let standing = text(&overlap["standing"], "");
    let until = minute(&overlap["ends_at_the_latest"], "");
    if let Some(why) = overlap["failure"]["message"].as_str() {
        return format!("the old value cannot be retired: {why}");
    }
    match overlap["old_value_reads"].as_u64() {
        Some(0) | None => format!("{standing}; the old value ends by {until}"),
        Some(1) => format!("{standing}; the old value was read once, and ends by {until}"),
        Some(reads) => {
            format!("{standing}; the old value was read {reads} times, and ends by {until}")
        }
    }
}

/// What became of the last rotations of a secret, newest first.
pub(super) fn history(app: &App, name: &str, report: &Value) -> Result<(), CommandError> {
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "name": name,
            "success_percent": report["success_percent"],
            "history": report["history"],
        }));
    }
    let history = report["history"].as_array().into_iter().flatten();
    if history.clone().next().is_none() {
        let nothing = format!("{name} was not rotated yet: `strongroom rotate {name}` does it");
        app.ui.say(&nothing);
        return Ok(());
    }
    let rows = history.map(|one| {
        let trouble = match one["failure"].is_null() {
            true => "-".to_owned(),
            false => format!(
                "{}: {}",
                text(&one["failure"]["step"], ""),
                text(&one["failure"]["message"], "")
            ),
        };
        vec![
            minute(&one["started"], ""),
            minute(&one["ended"], ""),
            text(&one["result"], ""),
            trouble,
            old_value(&one["old_value"]),
        ]
    });
    let heads = [
        "began",
        "ended",
        "result",
        "last failure on the way",
        "old value",
    ];
    app.ui.print_table(&heads, rows.collect())
}

fn old_value(ended: &Value) -> String {
    match ended.is_null() {
        true => "-".to_owned(),
        false => format!(
            "retired {} ({}): {}, read {} times",
            minute(&ended["retired"], ""),
            text(&ended["because"], ""),
            text(&ended["standing"], ""),
            text(&ended["reads"], "0")
        ),
    }
}

/// What comes next, soonest first.
pub(super) fn calendar(app: &App, all: &[(String, Value)]) -> Result<(), CommandError> {
    let mut coming: Vec<&(String, Value)> = all
        .iter()
        .filter(|(_, report)| !report["next"].is_null())
        .collect();
    // Times are written so that their order is that of their letters.
    coming.sort_by_key(|(name, report)| (text(&report["next"], ""), name.clone()));
    if app.ui.is_json {
        let rows = coming.iter().map(|(name, report)| {
            json!({
                "name": name,
                "begins": report["next"],
                "closes": report["next_closes"],
                "rotator": report["rotator"],
                "owner": report["owner"],
            })
        });
        let rows: Vec<Value> = rows.collect();
        return app
            .ui
            .print_json(&json!({ "version": 1, "calendar": rows }));
    }
    if coming.is_empty() {
        app.ui.say(
            "no rotation is planned: a declaration's `rotation.every`, or a server, plans them",
        );
        return Ok(());
    }
    let rows = coming.iter().map(|(name, report)| {
        vec![
            minute(&report["next"], ""),
            minute(&report["next_closes"], "-"),
            name.clone(),
            text(&report["rotator"], ""),
            text(&report["owner"], "-"),
        ]
    });
    let heads = ["begins", "window closes", "secret", "rotator", "owner"];
    app.ui.print_table(&heads, rows.collect())
}

/// What a rotation would do.
pub(super) fn plan(app: &App, plan: &Value) -> Result<(), CommandError> {
    if app.ui.is_json {
        return app.ui.print_json(plan);
    }
    let rows = STEPS.iter().enumerate().map(|(at, step)| {
        let what = text(&plan["steps"][at], "");
        vec![(*step).to_owned(), what]
    });
    app.ui
        .print_table(&["step", "what would happen"], rows.collect())?;
    app.ui
        .print_line(&format!("the old value: {}", text(&plan["old_value"], "")))?;
    let readers = plan["readers"].as_array().into_iter().flatten();
    let readers: Vec<String> = readers.map(|reader| text(reader, "")).collect();
    let who = match (plan["readers"].is_null(), readers.is_empty()) {
        (true, _) => "not known here: the audit log tells".to_owned(),
        (false, true) => "nobody in the last 30 days".to_owned(),
        (false, false) => readers.join(", "),
    };
    app.ui.print_line(&format!("read by: {who}"))?;
    match plan["problem"].as_str() {
        Some(problem) => app.ui.print_line(&format!("it would fail: {problem}")),
        None => app.ui.print_line("nothing was changed"),
    }
}
