//! The placeholder rule on values that people left in their repositories.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use strongroom_core::placeholder::placeholder_reason;

use crate::draw::Draw;
use crate::rig::AnyResult;

/// Names of values in the list that are plain settings.
const SETTINGS: [&str; 7] = [
    "ACCESS_TOKEN_EXPIRE_MINUTES",
    "API_KEY_VALIDATION",
    "CORS_CREDENTIALS",
    "MAX_TOKENS",
    "REFRESH_TOKEN_EXPIRE_DAYS",
    "SECRETS_SOURCE",
    "VAULT_SECRET_PATH",
];
const FOUND_MIN: usize = 110;
const RANDOM_VALUES: usize = 200_000;
/// One in ten thousand.
const RANDOM_ALARMS_MAX: usize = RANDOM_VALUES / 10_000;

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    key: String,
    value: String,
}

/// Counts hits, misses and false alarms, and compares them with the bounds.
pub(crate) fn check(folder: &Path) -> AnyResult<String> {
    let text = fs::read(folder.join("placeholder_values.json"))?;
    let rows: Vec<Row> = serde_json::from_slice(&text)?;
    let rows: BTreeSet<Row> = rows.into_iter().collect();
    let (settings, values): (Vec<_>, Vec<_>) = rows
        .iter()
        .partition(|row| SETTINGS.contains(&row.key.as_str()));
    let fires = |row: &&&Row| placeholder_reason(&row.key, &row.value, None).is_some();
    let found = values.iter().filter(fires).count();
    let false_alarms = settings.iter().filter(fires).count();
    let mut draw = Draw::new(5);
    let random_alarms = (0..RANDOM_VALUES)
        .filter(|_| placeholder_reason("ACME_API_KEY", &draw.text(32), Some("acme")).is_some())
        .count();
    let detail = format!(
        "{found} of {} placeholders found, {false_alarms} of {} settings, \
         {random_alarms} of {RANDOM_VALUES} random values",
        values.len(),
        settings.len()
    );
    if found >= FOUND_MIN && false_alarms == 0 && random_alarms <= RANDOM_ALARMS_MAX {
        Ok(detail)
    } else {
        Err(format!("{detail}; at least {FOUND_MIN}, 0 and at most {RANDOM_ALARMS_MAX}").into())
    }
}
