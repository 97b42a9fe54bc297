//! One answer beside the recorded one: equal, or different by a number.

use serde_json::Value;

/// What we answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u64,
    pub(crate) content_type: String,
    pub(crate) text: String,
}

/// Keys that our answers have beside those of the older runtime, with their numbers.
const MORE: [(&str, &str); 8] = [
    ("status", "D2"),
    ("source", "D2"),
    ("problem", "D2"),
    ("stored", "D1"),
    ("cleared", "D5"),
    ("generated", "D5"),
    ("rotated", "D5"),
    ("warnings", "D11"),
];
/// Keys whose values are ours.
const OURS: [&str; 4] = ["runtime", "runtime_version", "build_version", "instance_id"];

/// Answers that differ as they are meant to.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// The number of a difference after which we stand elsewhere than the older runtime.
    pub(crate) meant: Option<&'static str>,
    /// Numbers of what our answer has beside the recorded one.
    pub(crate) more: Vec<&'static str>,
}

/// Compares; why the answers differ, if that has no number.
pub(crate) fn judge(
    name: &str,
    at: usize,
    request: &Value,
    wanted: &Value,
    answer: &Answer,
) -> Result<Judged, String> {
    if let Some((number, status, part)) = meant(name, request, wanted) {
        let fits = answer.status == status && answer.text.contains(part);
        return match fits {
            true => Ok(Judged {
                meant: Some(number),
                more: Vec::new(),
            }),
            false => Err(format!("{number}, but {answer:?}")),
        };
    }
    let status = wanted["status"].as_u64().unwrap_or_default();
    if answer.status != status {
        return Err(format!("{status} expected, {answer:?}"));
    }
    let content_type = wanted["content_type"].as_str().unwrap_or_default();
    if answer.content_type != content_type {
        return Err(format!("{content_type} expected, {answer:?}"));
    }
    if let Some(text) = wanted["text"].as_str() {
        return match answer.text == text {
            true => Ok(Judged::default()),
            false => Err(format!("{text:?} expected, {answer:?}")),
        };
    }
    let ours: Value =
        serde_json::from_str(&answer.text).map_err(|_| format!("no JSON: {answer:?}"))?;
    let mut judged = Judged::default();
    let place = format!("{name}[{at}]");
    same(&place, &wanted["json"], &ours, &mut judged.more)?;
    Ok(judged)
}

/// Differences that are meant: the number, our status and a part of our answer.
fn meant(name: &str, request: &Value, wanted: &Value) -> Option<(&'static str, u64, &'static str)> {
    let body = &request["body"];
    let is_post = request["method"] == "POST";
    let was_refused = wanted["status"] == 400;
    match body {
        Value::Object(map) if is_post => {
            let has = |key: &str| map.get(key).is_some_and(|value| !value.is_null());
            if has("id") && has("value") && was_refused {
                return Some(("D1", 200, "\"stored\":[\"API_KEY\"]"));
            }
            if !has("secrets") && !has("id") {
                return Some(("D1", 400, "invalid request: expected"));
            }
            let unknown = body["secrets"].get("UNKNOWN_ID");
            unknown.map(|_| ("D3", 400, "unknown secrets: UNKNOWN_ID"))
        }
        Value::String(text) if text.contains("1048600") => Some(("D6", 413, "1 MiB")),
        Value::Null if name.starts_with("22") && request["path"] == "/secrets" => {
            Some(("D2", 200, "{\"secrets\":[]}"))
        }
        _ => None,
    }
}

/// Everything that was recorded must be in our answer, and nothing more that has no number.
fn same(
    place: &str,
    wanted: &Value,
    ours: &Value,
    numbers: &mut Vec<&'static str>,
) -> Result<(), String> {
    match (wanted, ours) {
        (Value::Object(wanted), Value::Object(ours)) => {
            for (key, value) in wanted {
                let found = ours.get(key);
                let found = found.ok_or_else(|| format!("{place}.{key} is not there"))?;
                match key.as_str() {
                    key if OURS.contains(&key) => {}
                    "manifest_hash" => {
                        let is_sum = found.as_str().is_some_and(|text| text.len() == 64);
                        is_sum.then_some(()).ok_or("no SHA-256")?;
                    }
                    key if key.ends_with("_at") => same_moment(place, value, found)?,
                    key => same(&format!("{place}.{key}"), value, found, numbers)?,
                }
            }
            for key in ours.keys().filter(|key| !wanted.contains_key(*key)) {
                let more = MORE.iter().find(|(known, _)| known == key);
                let (_, number) = more.ok_or_else(|| format!("{place}.{key} is new"))?;
                numbers.push(number);
            }
            Ok(())
        }
        (Value::Array(wanted), Value::Array(ours)) if wanted.len() == ours.len() => {
            let pairs = wanted.iter().zip(ours).enumerate();
            for (at, (wanted, ours)) in pairs {
                same(&format!("{place}[{at}]"), wanted, ours, numbers)?;
            }
            Ok(())
        }
        (wanted, ours) if wanted == ours => Ok(()),
        (wanted, ours) => Err(format!("{place}: {wanted} expected, {ours} found")),
    }
}

/// Never stays never; other moments are ours.
fn same_moment(place: &str, wanted: &Value, ours: &Value) -> Result<(), String> {
    let never = |value: &Value| value.as_str().is_some_and(|text| text.starts_with("0001"));
    let is_moment = ours.as_str().is_some_and(|text| text.ends_with('Z'));
    match never(wanted) == never(ours) && is_moment {
        true => Ok(()),
        false => Err(format!("{place}: {wanted} expected, {ours} found")),
    }
}
