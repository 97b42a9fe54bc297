//! The ledger of a server.

use serde_json::Value;
use serde_json::json;

use strongroom_engine::ledger::parse_id;

use super::LedgerCommand;
use super::report;
use super::revoke::RevokeArgs;
use crate::app::App;
use crate::commands::check::plural;
use crate::error::CommandError;
use crate::error::Kind;
use crate::project;
use crate::server::As;
use crate::server::Call;
use crate::server::Server;

/// Where it answers, below `/v1/`.
const ROOT: &str = "sys/api/v1/ledger";
/// The mount that the store's place is on a server.
const MOUNT: &str = "secret/";
/// So many of the newest deliveries are looked through for the beginning of an id.
const LOOKED_THROUGH: usize = 1_000;

pub(super) fn run(app: &App, command: &LedgerCommand) -> Result<(), CommandError> {
    let server = Server::open(app)?;
    match command {
        LedgerCommand::List {
            who,
            channel,
            limit,
        } => {
            let channel = channel.and_then(super::ChannelWord::channel);
            let asked = json!({
                "who": who,
                "channel": channel.map(strongroom_engine::ledger::Channel::word),
                "limit": limit.to_string(),
            });
            deliveries(app, &server, asked)
        }
        LedgerCommand::Show { id } => show(app, &server, id),
        LedgerCommand::Where { secret } => of_secret(app, &server, secret),
        LedgerCommand::Who { person } => {
            let path = format!("{ROOT}/people/{}", in_path(person)?);
            let found = server.demand(Call::Read, &path, None)?;
            let nothing = format!("{person} was given nothing, as far as is known");
            exposures(app, found.json(), "secret", &nothing)
        }
        LedgerCommand::Due { exit_code } => due(app, &server, *exit_code),
        LedgerCommand::Revoke(args) => revoke(app, &server, args),
        LedgerCommand::Done { .. } => Err(CommandError::usage(
            "a server sees itself that a value was replaced: `ledger done` is for the own store",
        )),
    }
}

/// A name as a part of a URL.
fn in_path(name: &str) -> Result<&str, CommandError> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "/_+=.@!-".contains(c);
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    match name.chars().all(is_letter) && name.split('/').all(is_plain) {
        true => Ok(name),
        false => Err(CommandError::usage("that is no name that the server knows")),
    }
}

fn unknown(what: &str) -> CommandError {
    let message = format!("{what}: nothing of that is in the ledger");
    CommandError::new(Kind::NotFound, "ledger.unknown", message)
        .hint("strongroom ledger list shows the newest deliveries")
}

fn with_version(answer: &Value) -> Value {
    let mut answer = answer.clone();
    answer["version"] = 1.into();
    answer
}

fn show(app: &App, server: &Server, id: &str) -> Result<(), CommandError> {
    let whole = whole_id(server, id)?;
    let path = format!("{ROOT}/deliveries/{}", in_path(&whole)?);
    let found = server.ask(Call::Read, &path, None, As::Configured)?;
    let found = found.ok_or_else(|| unknown(id))?;
    let shown = found.json();
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({ "version": 1, "delivery": shown }));
    }
    let text = |key: &str| shown[key].as_str().unwrap_or_default().to_owned();
    let parts = ["at", "who", "channel", "to"].map(text);
    app.ui.print_line(&crate::ui::clean(&parts.join(" ")))?;
    table(app, shown, "secret")
}

/// The id that begins so, among the newest deliveries.
fn whole_id(server: &Server, id: &str) -> Result<String, CommandError> {
    if parse_id(id).is_some() {
        return Ok(id.to_owned());
    }
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(unknown(id));
    }
    let asked = json!({ "limit": LOOKED_THROUGH.to_string() });
    let found = server.demand(Call::Write, ROOT, Some(asked))?;
    let rows = found.json()["deliveries"].as_array().into_iter().flatten();
    let mut ids = rows.filter_map(|row| row["id"].as_str().filter(|one| one.starts_with(id)));
    let one = ids.next().ok_or_else(|| unknown(id))?;
    match ids.next() {
        None => Ok(one.to_owned()),
        Some(_) => Err(CommandError::usage(format!(
            "more than one delivery begins with {id}"
        ))),
    }
}

fn deliveries(app: &App, server: &Server, asked: Value) -> Result<(), CommandError> {
    let found = server.demand(Call::Write, ROOT, Some(asked))?;
    if app.ui.is_json {
        return app.ui.print_json(&with_version(found.json()));
    }
    let rows = found.json()["deliveries"].as_array();
    let rows = rows.map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        app.ui.say("no delivery is in the ledger");
        return Ok(());
    }
    let rows = rows.iter().map(|row| {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let secrets = row["secrets"].as_array();
        let what = match secrets.map(Vec::as_slice).unwrap_or_default() {
            [one] => format!(
                "{} {}",
                one["secret"].as_str().unwrap_or_default(),
                report::version(one["secret_version"].as_str())
            ),
            many => plural(many.len(), "secret"),
        };
        vec![
            minute(&text("at")),
            text("who"),
            text("channel"),
            text("to"),
            what,
            text("id").chars().take(report::SHORT_ID).collect(),
        ]
    });
    let heads = ["when", "who", "how", "where", "what", "id"];
    app.ui.print_table(&heads, rows.collect())
}

/// A moment as tables have it: without its seconds.
fn minute(at: &str) -> String {
    let day = at.get(..10).unwrap_or(at);
    match at.get(11..16) {
        Some(time) => format!("{day} {time}"),
        None => day.to_owned(),
    }
}

/// By its place in the project, with the mount's name and without; else as it was typed, which is
/// how lists have it.
fn places(app: &App, secret: &str) -> Result<Vec<String>, CommandError> {
    let project = project::load_if_there(app)?;
    let place = project::place(project.as_ref(), secret)?.path.to_string();
    let typed = secret.trim_start_matches('/').to_owned();
    let mut places = Vec::with_capacity(4);
    for place in [
        format!("{MOUNT}{place}"),
        place,
        format!("{MOUNT}{typed}"),
        typed,
    ] {
        in_path(&place)?;
        if !places.contains(&place) {
            places.push(place);
        }
    }
    Ok(places)
}

fn of_secret(app: &App, server: &Server, secret: &str) -> Result<(), CommandError> {
    let places = places(app, secret)?;
    let mut last = Value::Null;
    for place in &places {
        let path = format!("{ROOT}/secrets/{place}");
        let found = server.demand(Call::Read, &path, None)?;
        last = found.json().clone();
        if last["count"].as_u64().unwrap_or(0) > 0 {
            break;
        }
    }
    let looked_at = places.join(", ");
    let nothing = format!("no value was given to anybody, as far as is known, of {looked_at}");
    exposures(app, &last, "who", &nothing)
}

fn exposures(app: &App, found: &Value, by: &str, nothing: &str) -> Result<(), CommandError> {
    if app.ui.is_json {
        return app.ui.print_json(&with_version(found));
    }
    if found["exposures"].as_array().is_none_or(Vec::is_empty) {
        app.ui.say(nothing);
        return Ok(());
    }
    table(app, found, by)
}

fn table(app: &App, found: &Value, by: &str) -> Result<(), CommandError> {
    let rows = found["exposures"].as_array().into_iter().flatten();
    let rows = rows.map(|row| {
        let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
        let value = match (row["revoked"].is_object(), row["due"] == true) {
            (true, true) => "revoked, must be replaced".to_owned(),
            (true, false) => "revoked, replaced".to_owned(),
            (false, _) => text("standing"),
        };
        vec![
            text(by),
            report::version(row["secret_version"].as_str()),
            text("channel"),
            text("to"),
            minute(&text("last")),
            row["count"].to_string(),
            value,
        ]
    });
    let heads = [by, "version", "how", "where", "last", "times", "value"];
    app.ui.print_table(&heads, rows.collect())
}

fn due(app: &App, server: &Server, exit_code: bool) -> Result<(), CommandError> {
    let found = server.demand(Call::Read, &format!("{ROOT}/due"), None)?;
    let count = found.json()["count"].as_u64().unwrap_or(0);
    if app.ui.is_json {
        app.ui.print_json(&with_version(found.json()))?;
    } else if count == 0 {
        app.ui.say("nothing that was revoked waits to be replaced");
    } else {
        let rows = found.json()["due"].as_array().into_iter().flatten();
        let rows = rows.map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            let since = minute(&text("since"));
            vec![
                text("secret"),
                text("source"),
                since,
                text("by"),
                text("reason"),
            ]
        });
        let heads = ["secret", "kept in", "revoked", "by", "why"];
        app.ui.print_table(&heads, rows.collect())?;
    }
    match exit_code && count > 0 {
        true => Err(CommandError::reported(Kind::Findings, "ledger.due")),
        false => Ok(()),
    }
}

fn revoke(app: &App, server: &Server, args: &RevokeArgs) -> Result<(), CommandError> {
    let mut asked: Vec<(&str, String)> = Vec::new();
    match (&args.what.delivery, &args.what.who, &args.what.secret) {
        (Some(id), ..) => asked.push(("delivery", whole_id(server, id)?)),
        (_, Some(who), _) => asked.push(("who", who.clone())),
        (.., Some(secret)) => {
            let places = places(app, secret)?.into_iter();
            asked.extend(places.map(|place| ("secret", place)));
        }
        _ => {}
    }
    let ask = |(what, name): &(&str, String), is_dry_run: bool| {
        let mut body = json!({ "dry_run": is_dry_run, "reason": args.reason });
        body[*what] = name.as_str().into();
        let path = format!("{ROOT}/revoke");
        server.ask(Call::Write, &path, Some(body), As::Configured)
    };
    for one in &asked {
        let Some(planned) = ask(one, true)? else {
            continue;
        };
        if args.dry_run {
            return revoked(app, planned.json());
        }
        let (exposures, secrets) = (&planned.json()["exposures"], &planned.json()["secrets"]);
        let count = secrets.as_array().map_or(0, Vec::len);
        app.ui.confirm(&format!(
            "Revoke {exposures} exposures on {}, and have {} replaced?",
            server.name(),
            plural(count, "secret")
        ))?;
        let done = ask(one, false)?.ok_or_else(|| unknown(&one.1))?;
        return revoked(app, done.json());
    }
    Err(unknown(asked.last().map_or("", |(_, name)| name)))
}

fn revoked(app: &App, answer: &Value) -> Result<(), CommandError> {
    if app.ui.is_json {
        return app.ui.print_json(&with_version(answer));
    }
    let rows = answer["secrets"].as_array().into_iter().flatten();
    let rows = rows.map(|row| {
        let keys = ["secret", "source", "action", "error"];
        let cells = keys.map(|key| row[key].as_str().unwrap_or_default().to_owned());
        cells.to_vec()
    });
    app.ui
        .print_table(&["secret", "kept in", "done", "problem"], rows.collect())
}
