//! Events of installed applications: counted, and the last failures named. What an event says
//! beside its name and service is not kept: it comes from somebody else's machine.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::port::Precondition;
use strongroom_core::time::Timestamp;

use super::bare;
use super::documents;
use super::documents::Of;
use super::field;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// Most events in one request.
const EVENTS_MAX: usize = 2_000;
/// Kinds of events that are counted for one application.
const KINDS_MAX: usize = 64;
/// Failures that are named.
const FAILURES_MAX: usize = 20;
/// Longest name of an event or a service, in bytes.
const WORD_BYTES_MAX: usize = 64;
/// What an event that is a failure ends in, or is.
const FAILURES: [&str; 7] = [
    "_failed",
    "_error",
    "_missing",
    "_crashed",
    "_timeout",
    "_unreachable",
    "_refused",
];

/// One event.
struct Event {
    name: String,
    service: Option<String>,
    at: Option<String>,
}

/// `{scenario, events: […]}`, or the lines of the supervisor's file as `content`.
pub(super) async fn upload(call: &mut Call) -> Result<Answer, Fault> {
    let scenario = field::text(call, "scenario").or_else(|| field::text(call, "scenario_name"));
    let scenario = scenario.ok_or_else(|| Fault::invalid("scenario is required"))?;
    field::check_name(&scenario)?;
    let sent = sent(call)?;
    let received = sent.len();
    let events: Vec<Event> = sent.iter().filter_map(event_of).collect();
    let name = [scenario.as_str()];
    let kept = documents::load(&call.core, Of::Telemetry, &name).await?;
    let precondition = kept
        .as_ref()
        .map_or(Precondition::Absent, |kept| kept.unchanged);
    let mut known = kept.map_or_else(|| json!({}), |kept| kept.value);
    let stored = add(&mut known, &events, &call.now.to_string());
    if stored > 0 {
        documents::save(&call.core, Of::Telemetry, &name, &known, precondition).await?;
    }
    Ok(bare(json!({
        "status": "accepted",
        "events_received": received,
        "events_stored": stored,
    })))
}

/// What was sent, each an object or not.
fn sent(call: &Call) -> Result<Vec<Value>, Fault> {
    let too_many = || {
        let text = format!("one request has at most {EVENTS_MAX} events: send them in pieces");
        Fault::invalid(text)
    };
    if let Some(events) = call.fields.get("events") {
        let events = events.as_array();
        let events = events.ok_or_else(|| Fault::invalid("events is a list"))?;
        return match events.len() > EVENTS_MAX {
            true => Err(too_many()),
            false => Ok(events.clone()),
        };
    }
    let lines = call.fields.get("content").and_then(Value::as_str);
    let lines = lines.ok_or_else(|| {
        Fault::invalid("events is missing: a list of them, or the lines of a file as content")
    })?;
    let lines = lines.lines().filter(|line| !line.trim().is_empty());
    let lines: Vec<&str> = lines.take(EVENTS_MAX + 1).collect();
    if lines.len() > EVENTS_MAX {
        return Err(too_many());
    }
    // A line that was cut off is none.
    let parsed = lines.iter().map(|line| serde_json::from_str(line));
    Ok(parsed.map(|line| line.unwrap_or(Value::Null)).collect())
}

fn event_of(value: &Value) -> Option<Event> {
    let word = |key: &str| {
        let text = value.get(key)?.as_str()?;
        let is_word = !text.is_empty()
            && text.len() <= WORD_BYTES_MAX
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        is_word.then(|| text.to_owned())
    };
    let at = value.get("ts").or_else(|| value.get("timestamp"));
    let at = at
        .and_then(Value::as_str)
        .and_then(|text| text.parse::<Timestamp>().ok());
    Some(Event {
        name: word("event")?,
        service: word("service_id"),
        at: at.map(|at| at.to_string()),
    })
}

fn is_failure(name: &str) -> bool {
    FAILURES
        .iter()
        .any(|end| name.ends_with(end) || name == end.trim_start_matches('_'))
}

/// Adds events to what is known; how many were counted.
fn add(known: &mut Value, events: &[Event], now: &str) -> usize {
    let mut counts: Map<String, Value> = known["counts"].as_object().cloned().unwrap_or_default();
    let mut failures: Vec<Value> = known["failures"].as_array().cloned().unwrap_or_default();
    let mut stored = 0;
    for event in events {
        if counts.len() >= KINDS_MAX && !counts.contains_key(&event.name) {
            continue;
        }
        let count = counts.get(&event.name).and_then(Value::as_u64).unwrap_or(0);
        counts.insert(event.name.clone(), json!(count + 1));
        stored += 1;
        if is_failure(&event.name) {
            failures.push(json!({
                "timestamp": event.at.as_deref().unwrap_or(now),
                "event": event.name,
                "details": { "service": event.service },
            }));
        }
    }
    // By time: they may come late.
    failures.sort_by(|a, b| b["timestamp"].as_str().cmp(&a["timestamp"].as_str()));
    failures.truncate(FAILURES_MAX);
    let last = events.iter().filter_map(|event| event.at.as_deref()).max();
    let last = last.or(known["last_event"].as_str());
    let last = last.max(known["last_event"].as_str()).map(str::to_owned);
    *known = json!({ "counts": counts, "failures": failures, "last_event": last });
    stored
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let all = documents::all(&call.core, Of::Telemetry).await?;
    let only = field::text(call, "scenario");
    let rows = all.iter().filter_map(|(name, known)| {
        let [scenario] = name.as_slice() else {
            return None;
        };
        if only.as_ref().is_some_and(|only| only != scenario) {
            return None;
        }
        let counts = known["counts"].as_object()?;
        let total: u64 = counts.values().filter_map(Value::as_u64).sum();
        let failed = counts.iter().filter(|(name, _)| is_failure(name));
        let failed: Map<String, Value> = failed
            .map(|(name, count)| (name.clone(), count.clone()))
            .collect();
        Some(json!({
            "scenario": scenario,
            "total_events": total,
            "last_event": known["last_event"],
            "event_counts": counts,
            "failure_counts": failed,
            "recent_failures": known["failures"],
        }))
    });
    let rows: Vec<Value> = rows.collect();
    Ok(bare(
        json!({ "total_scenarios": rows.len(), "scenarios": rows }),
    ))
}
