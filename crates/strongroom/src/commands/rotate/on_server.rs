//! Rotation of the secrets of a server.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use strongroom_core::secret::SecretValue;

use super::RotateArgs;
use super::hint_of;
use super::views;
use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::runtime;
use crate::server;
use crate::server::As;
use crate::server::Call;
use crate::server::Server;

/// So often it is looked how far a rotation is, and how many times.
const POLL: Duration = Duration::from_millis(200);
const POLLS_MAX: u32 = 300;

/// The path of a rotation: a name whose letters stand for nothing else in a URL.
fn path_of(name: &str) -> Result<String, CommandError> {
    let name = name.strip_prefix('/').unwrap_or(name);
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "/_+=.@!-".contains(c);
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    match name.chars().all(is_letter) && name.split('/').all(is_plain) {
        true => Ok(format!("sys/aws/rotations/{name}")),
        false => Err(CommandError::usage("that is no name of a secret")),
    }
}

fn not_found(server: &Server, name: &str) -> CommandError {
    let message = format!("{} knows no rotation of {name}", server.name());
    CommandError::new(Kind::NotFound, "rotation.none", message)
        .hint("strongroom rotate status shows those that it knows")
}

/// Has a rotation begin or go on, and waits for it.
pub(super) fn act(
    app: &App,
    server: &Server,
    name: &str,
    action: &str,
) -> Result<(), CommandError> {
    let body = json!({ "action": action });
    act_with(app, server, name, Call::Tell, body)
}

/// Has a rotation begin, set up as the flags say; or only sets it up.
pub(super) fn rotate(
    app: &App,
    server: &Server,
    name: &str,
    args: &RotateArgs,
) -> Result<(), CommandError> {
    let mut body = json!({ "action": if args.later { "configure" } else { "rotate" } });
    let said = [
        ("rotator", &args.rotator),
        ("every", &args.every),
        ("schedule", &args.schedule),
    ];
    for (field, value) in said {
        if let Some(value) = value {
            body[field] = json!(value);
        }
    }
    if args.now {
        body["now"] = json!(true);
    }
    if !args.later {
        return act_with(app, server, name, Call::Tell, body);
    }
    let answer = server.ask(Call::Tell, &path_of(name)?, Some(body), As::Configured)?;
    let answer = answer.ok_or_else(|| not_found(server, name))?;
    let next = answer.json()["data"]["next"].clone();
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({ "version": 1, "name": name, "rotated": false, "next": next }));
    }
    let next = next.as_str().unwrap_or("when somebody says");
    app.ui.say(&format!("{name} is rotated next: {next}"));
    Ok(())
}

/// Brings the new value that a rotation waits for.
pub(super) fn supply(
    app: &App,
    server: &Server,
    name: &str,
    value: &SecretValue,
) -> Result<(), CommandError> {
    let value = server::in_body(value)?;
    let body = json!({ "action": "supply", "value": value });
    act_with(app, server, name, Call::Write, body)
}

fn act_with(
    app: &App,
    server: &Server,
    name: &str,
    call: Call,
    body: Value,
) -> Result<(), CommandError> {
    let path = path_of(name)?;
    let begun = server.ask(call, &path, Some(body), As::Configured)?;
    let begun = begun.ok_or_else(|| {
        let message = format!("{} has no secret {name} at secret/", server.name());
        CommandError::new(Kind::NotFound, "secret.not_found", message)
    })?;
    let data = follow(server, name, &path, begun.json()["data"].clone())?;
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "name": name,
            "rotated": true,
            "version_id": data["history"][0]["version_id"],
            "next": data["next"],
            "old_value_until": data["overlap"]["ends_at_the_latest"],
        }));
    }
    app.ui.say(&format!("rotated {name}"));
    if let Some(standing) = data["overlap"]["standing"].as_str() {
        let until = data["overlap"]["ends_at_the_latest"]
            .as_str()
            .unwrap_or_default();
        app.ui
            .say(&format!("the old value is good until {until}: {standing}"));
    }
    Ok(())
}

/// Ends the time in which the old value is good, and waits for that.
pub(super) fn finish(
    app: &App,
    server: &Server,
    name: &str,
    is_now: bool,
) -> Result<(), CommandError> {
    let path = path_of(name)?;
    let body = json!({ "action": "finish", "now": is_now });
    let begun = server.ask(Call::Tell, &path, Some(body), As::Configured)?;
    let mut data = begun.ok_or_else(|| not_found(server, name))?.json()["data"].clone();
    let before = data["failed_steps"].as_u64().unwrap_or(0);
    for _ in 0..POLLS_MAX {
        let has_failed = data["failed_steps"].as_u64().unwrap_or(0) > before;
        if data["overlap"].is_null() || has_failed {
            break;
        }
        runtime::wait(async { tokio::time::sleep(POLL).await });
        data = server.demand(Call::Read, &path, None)?.json()["data"].clone();
    }
    let overlap = &data["overlap"];
    if !overlap.is_null() {
        let why = overlap["failure"]["message"].as_str();
        let why = why.unwrap_or("the server has not come to it yet");
        let message = format!("the old value of {name} is not retired: {why}");
        return Err(
            CommandError::new(Kind::Failed, "rotation.failed", message).hint(format!(
                "strongroom rotate status {name} shows how it stands"
            )),
        );
    }
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "name": name,
            "retired": true,
            "consumers_behind": data["history"][0]["old_value"]["consumers_behind"],
        }));
    }
    app.ui.say(&format!("retired the old value of {name}"));
    Ok(())
}

/// Waits until nothing is under way.
fn await_end(server: &Server, name: &str, path: &str) -> Result<(), CommandError> {
    let data = server.demand(Call::Read, path, None)?.json()["data"].clone();
    follow(server, name, path, data).map(drop)
}

/// Waits until a rotation ends or fails; how it stands then.
fn follow(server: &Server, name: &str, path: &str, begun: Value) -> Result<Value, CommandError> {
    let before = begun["failed_steps"].as_u64().unwrap_or(0);
    let mut data = begun;
    for _ in 0..POLLS_MAX {
        let has_failed = data["failed_steps"].as_u64().unwrap_or(0) > before;
        if data["run"].is_null() || has_failed {
            break;
        }
        // Made inside the runtime, which its clock needs.
        runtime::wait(async { tokio::time::sleep(POLL).await });
        data = server.demand(Call::Read, path, None)?.json()["data"].clone();
    }
    let run = &data["run"];
    if run.is_null() {
        return Ok(data);
    }
    let failure = &run["failure"];
    if failure.is_null() {
        let step = run["step"].as_str().unwrap_or_default();
        let message = format!("the rotation of {name} is still at {step}, and goes on");
        return Err(
            CommandError::new(Kind::Failed, "rotation.under_way", message).hint(format!(
                "strongroom rotate status {name} shows how far it is"
            )),
        );
    }
    let message = format!(
        "{} of {name} failed: {}",
        failure["step"].as_str().unwrap_or_default(),
        failure["message"].as_str().unwrap_or_default()
    );
    Err(CommandError::new(Kind::Failed, "rotation.failed", message)
        .hint(hint_of(name))
        .hint(format!(
            "the server tries it again by itself at {}",
            run["goes_on"].as_str().unwrap_or_default()
        )))
}

pub(super) fn status(app: &App, server: &Server, name: Option<&str>) -> Result<(), CommandError> {
    let mut all: Vec<(String, Value)> = match name {
        Some(name) => {
            let answer = server.ask(Call::Read, &path_of(name)?, None, As::Configured)?;
            let answer = answer.ok_or_else(|| not_found(server, name))?;
            vec![(name.to_owned(), answer.json()["data"].clone())]
        }
        None => self::all(server)?,
    };
    if app.ui.is_json {
        let rows = all.iter_mut().map(|(name, data)| {
            data["name"] = json!(name);
            data.take()
        });
        let rows: Vec<Value> = rows.collect();
        return app
            .ui
            .print_json(&json!({ "version": 1, "rotations": rows }));
    }
    views::status(app, &all)
}

/// The reports of all rotations that the server knows.
fn all(server: &Server) -> Result<Vec<(String, Value)>, CommandError> {
    let answer = server.demand(Call::List, "sys/aws/rotations", None)?;
    let data = &answer.json()["data"];
    let names = server::texts(&data["keys"]).into_iter();
    Ok(names
        .map(|name| (name.clone(), data["key_info"][&name].clone()))
        .collect())
}

pub(super) fn calendar(app: &App, server: &Server) -> Result<(), CommandError> {
    views::calendar(app, &all(server)?)
}

pub(super) fn history(app: &App, server: &Server, name: &str) -> Result<(), CommandError> {
    let answer = server.ask(Call::Read, &path_of(name)?, None, As::Configured)?;
    let answer = answer.ok_or_else(|| not_found(server, name))?;
    views::history(app, name, &answer.json()["data"])
}

/// What a rotation would do.
pub(super) fn plan(app: &App, server: &Server, name: &str) -> Result<(), CommandError> {
    let body = json!({ "action": "plan" });
    let answer = server.ask(Call::Tell, &path_of(name)?, Some(body), As::Configured)?;
    let answer = answer.ok_or_else(|| not_found(server, name))?;
    let mut plan = answer.json()["data"].clone();
    plan["version"] = json!(1);
    plan["name"] = json!(name);
    views::plan(app, &plan)
}

pub(super) fn abort(
    app: &App,
    server: &Server,
    name: &str,
    is_abandoned: bool,
) -> Result<(), CommandError> {
    let path = path_of(name)?;
    let found = server.ask(Call::Read, &path, None, As::Configured)?;
    let found = found.ok_or_else(|| not_found(server, name))?;
    let run = found.json()["data"]["run"].clone();
    if run.is_null() {
        let message = format!("no rotation of {name} is under way");
        return Err(CommandError::new(Kind::NotFound, "rotation.none", message));
    }
    let step = run["step"].clone();
    match is_abandoned {
        true => {
            let body = json!({ "action": "abandon" });
            server.ask(Call::Tell, &path, Some(body), As::Configured)?;
        }
        false => {
            server.ask(Call::Delete, &path, None, As::Configured)?;
            await_end(server, name, &path)?;
        }
    }
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "name": name,
            "aborted_at": step,
        }));
    }
    let step = step.as_str().unwrap_or_default();
    app.ui
        .say(&format!("gave up the rotation of {name} at {step}"));
    Ok(())
}
