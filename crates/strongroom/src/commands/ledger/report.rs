//! How the ledger's answers look.

use data_encoding::HEXLOWER;
use serde_json::Value;
use serde_json::json;
use strongroom_engine::ledger::Delivery;
use strongroom_engine::ledger::Exposure;
use strongroom_engine::ledger::Standing;
use strongroom_engine::ledger::id_text;

use super::Row;
use crate::app::App;
use crate::commands::check::plural;
use crate::error::CommandError;
use crate::session::day;

/// Digits of an id in tables: time and a little chance.
pub(super) const SHORT_ID: usize = 20;

pub(super) fn hex(fingerprint: [u8; 16]) -> String {
    HEXLOWER.encode(&fingerprint)
}

fn short(id: [u8; 16]) -> String {
    id_text(id).chars().take(SHORT_ID).collect()
}

pub(super) fn version(version: Option<&str>) -> String {
    match version {
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => format!("v{number}"),
        Some(other) => other.to_owned(),
        None => "-".to_owned(),
    }
}

fn delivery_json(id: [u8; 16], delivery: &Delivery) -> Value {
    let secrets = delivery.items.iter().map(|(given, _)| {
        json!({
            "secret": given.secret,
            "source": given.source,
            "secret_version": given.version,
            "fingerprint": hex(given.fingerprint),
        })
    });
    json!({
        "id": id_text(id),
        "at": delivery.at.to_string(),
        "who": delivery.who,
        "channel": delivery.channel.word(),
        "to": delivery.to,
        "request_id": delivery.request_id,
        "secrets": secrets.collect::<Vec<Value>>(),
    })
}

pub(super) fn exposure_json(exposure: &Exposure, standing: Standing) -> Value {
    let given = &exposure.given;
    let revoked = exposure.revoked.as_ref();
    json!({
        "secret": given.secret,
        "source": given.source,
        "secret_version": given.version,
        "fingerprint": hex(given.fingerprint),
        "who": exposure.who,
        "channel": exposure.channel.word(),
        "to": exposure.to,
        "first": exposure.first.to_string(),
        "last": exposure.last.to_string(),
        "count": exposure.count,
        "delivery": exposure.delivery.map(id_text),
        "standing": standing.word(),
        "revoked": revoked.map(|(at, by)| json!({ "at": at.to_string(), "by": by })),
        "due": is_due(exposure, standing),
    })
}

fn is_due(exposure: &Exposure, standing: Standing) -> bool {
    exposure.revoked.is_some() && standing.may_be_in_use()
}

fn standing_words(exposure: &Exposure, standing: Standing) -> String {
    match (exposure.revoked.is_some(), standing) {
        (true, Standing::Replaced) => "revoked, replaced".to_owned(),
        (true, _) => "revoked, must be replaced".to_owned(),
        (false, standing) => standing.word().to_owned(),
    }
}

pub(super) fn deliveries(app: &App, found: &[([u8; 16], Delivery)]) -> Result<(), CommandError> {
    if app.ui.is_json {
        let rows: Vec<Value> = found
            .iter()
            .map(|(id, delivery)| delivery_json(*id, delivery))
            .collect();
        return app
            .ui
            .print_json(&json!({ "version": 1, "deliveries": rows }));
    }
    if found.is_empty() {
        app.ui.say("no delivery is in the ledger");
        return Ok(());
    }
    let rows = found.iter().map(|(id, delivery)| {
        let what = match delivery.items.as_slice() {
            [(one, _)] => format!("{} {}", one.secret, version(one.version.as_deref())),
            many => plural(many.len(), "secret"),
        };
        vec![
            day(delivery.at),
            delivery.who.clone(),
            delivery.channel.word().to_owned(),
            delivery.to.clone(),
            what,
            short(*id),
        ]
    });
    let heads = ["when", "who", "how", "where", "what", "id"];
    app.ui.print_table(&heads, rows.collect())
}

pub(super) fn delivery(
    app: &App,
    id: [u8; 16],
    delivery: &Delivery,
    rows: &[Row],
) -> Result<(), CommandError> {
    if app.ui.is_json {
        let mut shown = delivery_json(id, delivery);
        let exposures = rows.iter();
        let exposures: Vec<Value> = exposures
            .map(|(found, standing)| exposure_json(&found.value, *standing))
            .collect();
        shown["exposures"] = exposures.into();
        return app
            .ui
            .print_json(&json!({ "version": 1, "delivery": shown }));
    }
    app.ui.print_line(&format!(
        "{} {} {} {} (request {})",
        delivery.at,
        delivery.who,
        delivery.channel.word(),
        delivery.to,
        delivery.request_id
    ))?;
    let rows = rows.iter().map(|(found, standing)| {
        let given = &found.value.given;
        vec![
            given.secret.clone(),
            version(given.version.as_deref()),
            given.source.clone(),
            hex(given.fingerprint),
            standing_words(&found.value, *standing),
        ]
    });
    let heads = ["secret", "version", "kept in", "fingerprint", "value"];
    app.ui.print_table(&heads, rows.collect())
}

/// Where a secret's values went, or what a person was given.
pub(super) fn exposures(
    app: &App,
    (what, name): (&str, &str),
    rows: &[Row],
) -> Result<(), CommandError> {
    if app.ui.is_json {
        let exposures = rows.iter();
        let exposures: Vec<Value> = exposures
            .map(|(found, standing)| exposure_json(&found.value, *standing))
            .collect();
        return app
            .ui
            .print_json(&json!({ "version": 1, what: name, "exposures": exposures }));
    }
    if rows.is_empty() {
        app.ui.say(&match what {
            "secret" => format!("no value of {name} was given to anybody, as far as is known"),
            _ => format!("{name} was given nothing, as far as is known"),
        });
        return Ok(());
    }
    let by_person = what == "secret";
    let rows = rows.iter().map(|(found, standing)| {
        let exposure = &found.value;
        let of = match by_person {
            true => exposure.who.clone(),
            false => exposure.given.secret.clone(),
        };
        vec![
            of,
            version(exposure.given.version.as_deref()),
            exposure.channel.word().to_owned(),
            exposure.to.clone(),
            day(exposure.last),
            exposure.count.to_string(),
            standing_words(exposure, *standing),
        ]
    });
    let of = if by_person { "who" } else { "secret" };
    let heads = [of, "version", "how", "where", "last", "times", "value"];
    app.ui.print_table(&heads, rows.collect())
}
