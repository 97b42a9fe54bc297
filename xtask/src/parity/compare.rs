//! Where two answers differ.

use serde_json::Value;

use super::http::Response;

/// One difference: where, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// `status`, `header.NAME`, or the place in the body: `data.keys.0`.
    pub(super) place: String,
    pub(super) what: String,
}

/// Compares status, the headers that clients look at, and the body.
pub(super) fn compare(expected: &Response, found: &Response) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut differ =
        |place: &str, expected: &dyn std::fmt::Display, found: &dyn std::fmt::Display| {
            differences.push(Difference {
                place: place.to_owned(),
                what: format!("{expected} / {found}"),
            });
        };
    if expected.status != found.status {
        differ("status", &expected.status, &found.status);
    }
    for name in ["content-type", "cache-control"] {
        let value = |response: &Response| response.header(name).unwrap_or("none").to_owned();
        if value(expected) != value(found) {
            differ(&format!("header.{name}"), &value(expected), &value(found));
        }
    }
    match (expected.json(), found.json()) {
        (Some(expected), Some(found)) => compare_values("", &expected, &found, &mut differences),
        (None, None) if expected.body.is_empty() == found.body.is_empty() => {}
        (expected_json, _) => {
            let kind = |response: &Response| match response.json() {
                Some(_) => "JSON",
                None if response.body.is_empty() => "empty",
                None => "text",
            };
            if kind(expected) != kind(found) || expected_json.is_none() {
                differ("body", &kind(expected), &kind(found));
            }
        }
    }
    differences
}

fn compare_values(place: &str, expected: &Value, found: &Value, out: &mut Vec<Difference>) {
    let key = place.rsplit('.').next().unwrap_or_default();
    match (expected, found) {
        (Value::Object(one), Value::Object(other)) => {
            for (key, expected) in one {
                match other.get(key) {
                    Some(found) => compare_values(&join(place, key), expected, found, out),
                    None => push(out, &join(place, key), "missing".to_owned()),
                }
            }
            for (key, _) in other.iter().filter(|(key, _)| !one.contains_key(*key)) {
                push(out, &join(place, key), "not in OpenBao".to_owned());
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (at, (expected, found)) in one.iter().zip(other).enumerate() {
                compare_values(&join(place, &at.to_string()), expected, found, out);
            }
        }
        (Value::String(one), Value::String(other)) => {
            let is_masked = MASKED.contains(&key) || in_masked_list(place);
            let same = if is_masked {
                one.is_empty() == other.is_empty()
            } else {
                mask(one) == mask(other)
            };
            if !same {
                push(out, place, format!("{} / {}", short(one), short(other)));
            }
        }
        (Value::Number(one), Value::Number(other)) if MASKED_NUMBERS.contains(&key) => {
            let (one, other) = (one.as_f64(), other.as_f64());
            if one.is_none() || other.is_none() {
                push(out, place, "not a number that can be read".to_owned());
            }
        }
        (Value::Number(one), Value::Number(other)) if CLOSE_NUMBERS.contains(&key) => {
            let distance = one.as_f64().zip(other.as_f64()).map(|(a, b)| (a - b).abs());
            if distance.is_none_or(|distance| distance > SECONDS_APART_MAX) {
                push(out, place, format!("{one} / {other}"));
            }
        }
        _ if expected == found => {}
        _ => {
            let text = |value: &Value| short(&value.to_string());
            push(out, place, format!("{} / {}", text(expected), text(found)));
        }
    }
}

/// Values that are different each time; that there is one is compared.
const MASKED: &[&str] = &[
    "accessor",
    "build_date",
    "client_token",
    "cluster_id",
    "cluster_name",
    "commit_date",
    "encoded_root_token",
    "encoded_token",
    "entity_id",
    "id",
    "hash",
    "lease_id",
    "migration_id",
    "nonce",
    "otp",
    "password",
    "random_bytes",
    "request_id",
    "root_token",
    "secret_id",
    "secret_id_accessor",
    "storage_type",
    "token",
    "uuid",
    "running_plugin_version",
    "verification_nonce",
    "wrapped_accessor",
];

/// Lists of such values.
const MASKED_LISTS: &[&str] = &["keys_base64", "random_keys"];

const MASKED_NUMBERS: &[&str] = &["creation_time", "encryptions", "port", "server_time_utc"];

/// Numbers that depend on when it is asked.
const CLOSE_NUMBERS: &[&str] = &["creation_ttl", "lease_duration", "ttl"];

const SECONDS_APART_MAX: f64 = 5.0;

fn in_masked_list(place: &str) -> bool {
    let mut parts = place.rsplit('.');
    let is_item = parts.next().is_some_and(|at| at.parse::<usize>().is_ok());
    let list = parts.next().unwrap_or_default();
    // At the top `keys` are unseal shares; below `data` they are names.
    is_item && (MASKED_LISTS.contains(&list) || (list == "keys" && parts.next().is_none()))
}

/// Words that are times, ids or tokens, by what they look like.
fn mask(text: &str) -> String {
    let words = text.split_inclusive([' ', '"', '/', '\n', ',', '(']);
    words
        .map(|word| {
            let bare = word.trim_end_matches([' ', '"', '/', '\n', ',', '(']);
            let end = word.get(bare.len()..).unwrap_or_default();
            format!("{}{end}", mask_word(bare))
        })
        .collect()
}

fn mask_word(word: &str) -> &str {
    let is_time = word.len() >= 20
        && word.ends_with('Z')
        && word.as_bytes().get(10) == Some(&b'T')
        && word.starts_with(|c: char| c.is_ascii_digit())
        && word != "0001-01-01T00:00:00Z";
    let is_uuid = word.len() == 36
        && word.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && word.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    let after_prefix = ["hvs.", "hvb.", "s.", "b."]
        .iter()
        .find_map(|prefix| word.strip_prefix(prefix));
    let is_token = after_prefix.is_some_and(|rest| rest.len() >= 20);
    let is_version =
        word.split('.').count() == 3 && word.split('.').all(|part| part.parse::<u32>().is_ok());
    let is_accessor = word
        .rsplit_once('_')
        .is_some_and(|(_, id)| id.len() == 8 && id.chars().all(|c| c.is_ascii_hexdigit()));
    let is_address = word.starts_with("127.0.0.1:");
    let masks = [
        (is_address, "<address>"),
        (is_time, "<time>"),
        (is_uuid, "<uuid>"),
        (is_token, "<token>"),
        (is_version, "<version>"),
        (is_accessor, "<accessor>"),
    ];
    let mask = masks.iter().find(|(is_like, _)| *is_like);
    mask.map_or(word, |(_, mask)| mask)
}

fn join(place: &str, key: &str) -> String {
    if place.is_empty() {
        return key.to_owned();
    }
    format!("{place}.{key}")
}

fn push(out: &mut Vec<Difference>, place: &str, what: String) {
    let place = place.to_owned();
    out.push(Difference { place, what });
}

fn short(text: &str) -> String {
    let text = text.replace('\n', "\\n");
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn places(one: &Value, other: &Value) -> Vec<String> {
        let mut out = Vec::new();
        compare_values("", one, other, &mut out);
        out.into_iter().map(|difference| difference.place).collect()
    }

    #[test]
    fn what_changes_each_time_is_no_difference() {
        let one = json!({"request_id": "a", "keys": ["x"], "data": {"ttl": 60, "t":
            "2026-11-28T06:54:48.538Z"}, "errors":
            ["no 6089703a-db39-cffa-935f-d87325770fa9 here"]});
        let other = json!({"request_id": "b", "keys": ["y"], "data": {"ttl": 58, "t":
            "2027-01-02T03:04:05Z"}, "errors":
            ["no 7089703a-db39-cffa-935f-d87325770fa9 here"]});
        assert_eq!(places(&one, &other), [""; 0]);
    }

    #[test]
    fn everything_else_is() {
        let one =
            json!({"id": "a", "n": 1, "data": {"keys": ["x"], "ttl": 60}, "s": "x", "l": [1]});
        let other =
            json!({"id": "", "n": "1", "data": {"keys": ["y"], "ttl": 70}, "l": [], "m": 1});
        let expected = ["id", "n", "data.keys.0", "data.ttl", "s", "l", "m"];
        assert_eq!(places(&one, &other), expected);
    }
}
