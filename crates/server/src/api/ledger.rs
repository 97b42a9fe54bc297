//! The ledger: who read what, where values are, and what has to be replaced.

use std::sync::Arc;

use serde_json::Value;
use serde_json::json;
use strongroom_core::path::SecretPath;
use strongroom_engine::Engine;
use strongroom_engine::leases::Leased;
use strongroom_engine::ledger::Channel;
use strongroom_engine::ledger::Delivery;
use strongroom_engine::ledger::Exposure;
use strongroom_engine::ledger::Mark;
use strongroom_engine::ledger::Standing;
use strongroom_engine::ledger::Wanted;
use strongroom_engine::ledger::id_text;
use strongroom_engine::ledger::parse_id;
use strongroom_engine::rotation::Purpose;
use strongroom_engine::rotation::Refused;
use strongroom_engine::rotation::Request;
use strongroom_engine::state::Found;

use super::bare;
use super::field;
use crate::core::Core;
use crate::core::Live;
use crate::core::uuid_text;
use crate::ledger;
use crate::rotate;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// Deliveries in one list, unless somebody says.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 10_000;
/// The mount whose secrets have rotators.
const ROTATED: &str = "secret/";

/// The mount that keeps what the ledger says is kept there.
fn live_of(core: &Core, source: &str) -> Option<Arc<Live>> {
    let table = core.mounts();
    match source.strip_prefix("mount ") {
        Some(path) => table.get(path).map(Arc::clone),
        None if source == ledger::STORE => {
            let mut all = table.all();
            let found = all.find(|live| live.mount.space().is_none());
            found.map(Arc::clone)
        }
        None => None,
    }
}

/// Engine and path of a secret that this server keeps.
fn place(core: &Core, secret: &str, source: &str) -> Option<(Arc<Live>, SecretPath)> {
    let live = live_of(core, source)?;
    let below = match live.mount.space() {
        None => secret,
        Some(_) => secret.strip_prefix(&live.path)?,
    };
    let path = below.parse().ok()?;
    Some((live, path))
}

/// A lease that was given; `None` when it is over and forgotten.
async fn lease(core: &Core, id: &str) -> Result<Option<Found<Leased>>, Fault> {
    let mount = {
        let table = core.mounts();
        let mut all = table.all();
        let found = all.find(|live| id.starts_with(live.path.as_str()));
        found.map(|live| live.mount.uuid)
    };
    match mount {
        Some(mount) => Ok(core.state.leased(mount, id).await?),
        None => Ok(None),
    }
}

async fn standing(
    call: &Call,
    secret: &str,
    source: &str,
    fingerprint: [u8; 16],
) -> Result<Standing, Fault> {
    if source == ledger::LEASE {
        let found = lease(&call.core, secret).await?;
        let is_live = found.is_some_and(|found| found.value.is_live(call.now));
        return Ok(match is_live {
            true => Standing::Current,
            false => Standing::Replaced,
        });
    }
    let place = place(&call.core, secret, source);
    let (engine, name) = match &place {
        Some((live, path)) => (Some(&live.secrets), path.as_str()),
        None => (None::<&Engine>, secret),
    };
    let ledger = ledger::of(&call.core);
    let found = ledger.standing(engine, name, source, fingerprint);
    Ok(found.await?)
}

fn delivery_json(id: [u8; 16], delivery: &Delivery) -> Value {
    let secrets = delivery.items.iter().map(|(given, count)| {
        json!({
            "secret": given.secret,
            "source": given.source,
            "secret_version": given.version,
            "fingerprint": id_text(given.fingerprint),
            "count": count,
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

fn exposure_json(exposure: &Exposure, standing: Standing) -> Value {
    let given = &exposure.given;
    let revoked = exposure.revoked.as_ref();
    json!({
        "secret": given.secret,
        "source": given.source,
        "secret_version": given.version,
        "fingerprint": id_text(given.fingerprint),
        "who": exposure.who,
        "channel": exposure.channel.word(),
        "to": exposure.to,
        "first": exposure.first.to_string(),
        "last": exposure.last.to_string(),
        "count": exposure.count,
        "delivery": exposure.delivery.map(id_text),
        "standing": standing.word(),
        "revoked": revoked.map(|(at, by)| json!({ "at": at.to_string(), "by": by })),
        "due": exposure.revoked.is_some() && standing.may_be_in_use(),
    })
}

/// What was read up to this moment is in the answer.
async fn brought_up_to_date(call: &Call) -> Result<strongroom_engine::ledger::Ledger, Fault> {
    ledger::write(&call.core, call.now, true).await?;
    Ok(ledger::of(&call.core))
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let channel = match field::text(call, "channel") {
        None => None,
        Some(word) => Some(
            Channel::of_word(&word)
                .ok_or_else(|| Fault::invalid("there is no such channel of deliveries"))?,
        ),
    };
    let limit = match field::text(call, "limit") {
        None => LIMIT,
        Some(text) => text
            .parse::<usize>()
            .map_err(|_| Fault::invalid("limit is no number"))?,
    };
    let wanted = Wanted {
        who: field::text(call, "who"),
        channel,
    };
    let ledger = brought_up_to_date(call).await?;
    let found = ledger.newest(&wanted, limit.min(LIMIT_MAX)).await?;
    let rows: Vec<Value> = found
        .iter()
        .map(|(id, one)| delivery_json(*id, one))
        .collect();
    Ok(bare(json!({ "count": rows.len(), "deliveries": rows })))
}

pub(super) async fn show(call: &mut Call) -> Result<Answer, Fault> {
    let (id, delivery) = delivery(call, call.capture(0)).await?;
    let found = ledger::of(&call.core).of_delivery(&delivery).await?;
    let mut shown = delivery_json(id, &delivery);
    shown["exposures"] = rows(call, &found).await?.into();
    Ok(bare(shown))
}

async fn delivery(call: &Call, text: &str) -> Result<([u8; 16], Delivery), Fault> {
    let id = parse_id(text).ok_or(Fault::NotFound)?;
    let found = brought_up_to_date(call).await?.delivery(id).await?;
    Ok((id, found.ok_or(Fault::NotFound)?))
}

async fn rows(call: &Call, found: &[Found<Exposure>]) -> Result<Vec<Value>, Fault> {
    let mut rows = Vec::with_capacity(found.len());
    for found in found {
        let given = &found.value.given;
        let standing = standing(call, &given.secret, &given.source, given.fingerprint).await?;
        rows.push(exposure_json(&found.value, standing));
    }
    Ok(rows)
}

pub(super) async fn of_secret(call: &mut Call) -> Result<Answer, Fault> {
    let secret = call.capture(0).to_owned();
    let found = brought_up_to_date(call).await?.of_secret(&secret).await?;
    let rows = rows(call, &found).await?;
    Ok(bare(
        json!({ "secret": secret, "count": rows.len(), "exposures": rows }),
    ))
}

pub(super) async fn of_person(call: &mut Call) -> Result<Answer, Fault> {
    let who = call.capture(0).to_owned();
    let found = brought_up_to_date(call).await?.of_person(&who).await?;
    let rows = rows(call, &found).await?;
    Ok(bare(
        json!({ "who": who, "count": rows.len(), "exposures": rows }),
    ))
}

pub(super) async fn due(call: &mut Call) -> Result<Answer, Fault> {
    let mut rows = Vec::new();
    for mark in ledger::of(&call.core).marks().await? {
        let standing = standing(call, &mark.secret, &mark.source, mark.fingerprint).await?;
        if standing.may_be_in_use() {
            rows.push(json!({
                "secret": mark.secret,
                "source": mark.source,
                "fingerprint": id_text(mark.fingerprint),
                "since": mark.at.to_string(),
                "by": mark.by,
                "reason": mark.reason,
                "standing": standing.word(),
            }));
        }
    }
    Ok(bare(json!({ "count": rows.len(), "due": rows })))
}

/// `{delivery | who | secret, reason?, dry_run?}`
pub(super) async fn revoke(call: &mut Call) -> Result<Answer, Fault> {
    let is_dry_run = field::flag(call, "dry_run")?;
    let asked =
        ["delivery", "who", "secret"].map(|name| field::text(call, name).map(|text| (name, text)));
    let mut asked = asked.into_iter().flatten();
    let (Some((what, name)), None) = (asked.next(), asked.next()) else {
        return Err(Fault::invalid("give one of delivery, who and secret"));
    };
    let ledger = brought_up_to_date(call).await?;
    let found = match what {
        "delivery" => {
            let (_, delivery) = delivery(call, &name).await?;
            ledger.of_delivery(&delivery).await?
        }
        "who" => ledger.of_person(&name).await?,
        _ => ledger.of_secret(&name).await?,
    };
    if found.is_empty() {
        return Err(Fault::NotFound);
    }
    let reason = field::text(call, "reason").unwrap_or_else(|| format!("{what} {name}"));
    let by = ledger::person_of(&call.caller()?.token);
    let mut marks: Vec<Mark> = Vec::new();
    for found in &found {
        let given = &found.value.given;
        let is_known = |mark: &Mark| (&mark.secret, &mark.source) == (&given.secret, &given.source);
        if marks.iter().any(is_known) {
            continue;
        }
        let standing = standing(call, &given.secret, &given.source, given.fingerprint).await?;
        if standing.may_be_in_use() {
            marks.push(Mark::of(&found.value, call.now, &by, &reason));
        }
    }
    if !is_dry_run {
        ledger.revoke(&found, &marks, call.now, &by).await?;
    }
    let mut secrets = Vec::with_capacity(marks.len());
    for mark in &marks {
        let (action, error) = replace(call, mark, is_dry_run).await?;
        secrets.push(json!({
            "secret": mark.secret, "source": mark.source, "action": action, "error": error,
        }));
    }
    Ok(bare(json!({
        "dry_run": is_dry_run,
        "exposures": found.len(),
        "secrets": secrets,
    })))
}

/// Begins the rotation of what has a rotator, and ends leases; all else waits for somebody.
async fn replace(
    call: &Call,
    mark: &Mark,
    is_dry_run: bool,
) -> Result<(&'static str, Option<String>), Fault> {
    if mark.source == ledger::LEASE {
        if let (false, Some(found)) = (is_dry_run, lease(&call.core, &mark.secret).await?) {
            call.core.state.doom_leases(&[found], call.now).await?;
            call.node.leases.wake();
        }
        return Ok((if is_dry_run { "revoke" } else { "revoking" }, None));
    }
    let Some((live, path)) = place(&call.core, &mark.secret, &mark.source) else {
        return Ok((if is_dry_run { "mark" } else { "marked" }, None));
    };
    let rotations = rotate::rotations(&call.node, &call.core, &live);
    let known = match live.path.as_str() {
        ROTATED => rotations.find(&path).await?.map(|found| found.value),
        _ => None,
    };
    let Some(known) = known.filter(|known| !known.setup.rotator.is_empty()) else {
        return Ok((if is_dry_run { "mark" } else { "marked" }, None));
    };
    if is_dry_run {
        return Ok(("rotate", None));
    }
    let is_going_on = rotations.resume(&path, call.now).await?;
    let asked = match is_going_on {
        true => Ok(()),
        false => {
            let mut id = [0; 16];
            call.node.rng.fill(&mut id);
            let request = Request {
                path: &path,
                secret: &known.secret,
                token: &uuid_text(&id),
                purpose: Purpose::Rotate,
                setup: known.setup.clone(),
            };
            rotations.request(&call.context(), &request).await.map(drop)
        }
    };
    match asked {
        Ok(()) | Err(Refused::UnderWay) => {
            call.node.rotate.wake();
            Ok(("rotating", None))
        }
        Err(error) => Ok(("failed", Some(error.to_string()))),
    }
}
