//! Many secrets: lists with filters, order and pages, and many values at once.

use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::path::SecretPath;
use strongroom_core::time::Timestamp;
use strongroom_core::version::STAGE_CURRENT;
use strongroom_engine::secrets::Snapshot;

use super::read;
use crate::audit::line::Entry;
use crate::aws::accessed;
use crate::aws::call::Call;
use crate::aws::call::Target;
use crate::aws::error::Fault;
use crate::aws::error::Protocol;
use crate::aws::input;
use crate::aws::name;
use crate::aws::op::Area;
use crate::core::Seen;
use crate::vault::call::Verb;

/// Secrets on one page, unless somebody says, and values at once.
const PAGE: i64 = 100;
const BATCH: usize = 20;
/// Most filters, and values of one.
const FILTERS_MAX: usize = 10;
/// Longest token of a page.
const TOKEN_CHARS_MAX: usize = 4096;
const TOKEN_PURPOSE: &str = "aws next token";

/// A filter.
struct Filter {
    key: Attribute,
    values: Vec<(bool, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Attribute {
    Description,
    Name,
    TagKey,
    TagValue,
    PrimaryRegion,
    OwningService,
    All,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Created,
    Accessed,
    Changed,
    Name,
}

/// One secret of a list.
struct Row {
    /// What it is sorted by; no two have the same.
    key: String,
    path: SecretPath,
    seen: Arc<Seen>,
}

pub(super) async fn secrets(call: &mut Call) -> Result<Value, Fault> {
    let most = input::bounded(&call.fields, "MaxResults", 1, 100)?.unwrap_or(PAGE);
    let planned = input::flag(&call.fields, "IncludePlannedDeletion")?;
    let (filters, sort, is_down) = (filters(call)?, sort_of(call)?, is_down(call)?);
    let after = page_start(call, "secrets")?;
    let mut rows = rows(call, &filters, sort, planned).await?;
    if is_down {
        rows.reverse();
    }
    let is_behind = |row: &Row| match &after {
        None => true,
        Some(after) if is_down => row.key < *after,
        Some(after) => row.key > *after,
    };
    let mut rows = rows.into_iter().filter(is_behind).peekable();
    let mut list = Vec::new();
    let mut last = None;
    while list.len() < usize::try_from(most).unwrap_or(1) {
        let Some(row) = rows.next() else {
            break;
        };
        list.push(entry(call, &row).await?);
        last = Some(row.key);
    }
    let mut answer = Map::new();
    answer.insert("SecretList".into(), list.into());
    if let (Some(_), Some(last)) = (rows.peek(), last) {
        let token = page_token(call, "secrets", &last);
        answer.insert("NextToken".into(), token.into());
    }
    Ok(Value::Object(answer))
}

async fn entry(call: &Call, row: &Row) -> Result<Value, Fault> {
    let snapshot = &row.seen.snapshot;
    let path = format!("secret/{}/{}", Area::Metadata.folder(), row.path);
    // Names are for whoever may list them; the rest is for whoever may read it.
    if !call.may(&path, Verb::Read, true) {
        return Ok(Value::Object(super::named(call, snapshot)));
    }
    let mut entry = read::described(call, snapshot).await?;
    let stages = read::stages_by_id(call, snapshot);
    if !stages.is_empty() {
        entry.insert("SecretVersionsToStages".into(), stages.into());
    }
    Ok(Value::Object(entry))
}

/// The secrets that fit, in ascending order.
async fn rows(
    call: &Call,
    filters: &[Filter],
    sort: Sort,
    planned: bool,
) -> Result<Vec<Row>, Fault> {
    let mut rows = Vec::new();
    let mut folders: Option<(String, bool)> = None;
    let mut may_list_any = call.may("secret/metadata/", Verb::List, true);
    for path in call.live.secrets.paths_below("").await? {
        let Ok(path) = path.parse::<SecretPath>() else {
            continue;
        };
        let may_list = match &folders {
            Some((folder, may)) if folder == path.folder() => *may,
            _ => {
                let slash = if path.folder().is_empty() { "" } else { "/" };
                let listed = format!("secret/metadata/{}{slash}", path.folder());
                let may = call.may(&listed, Verb::List, true);
                folders = Some((path.folder().to_owned(), may));
                may
            }
        };
        may_list_any |= may_list;
        if !may_list {
            continue;
        }
        let Some(seen) = call.request.core.secret(&call.live, &path).await? else {
            continue;
        };
        let snapshot = &seen.snapshot;
        let is_hidden = snapshot.deletion().is_some() && !planned;
        if is_hidden || !call.is_visible(snapshot) || !fits(call, snapshot, filters) {
            continue;
        }
        let key = format!("{}\u{1}{path}", sort_key(call, snapshot, sort).await?);
        rows.push(Row { key, path, seen });
    }
    if !may_list_any {
        return Err(call.denied(None));
    }
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(rows)
}

async fn sort_key(call: &Call, snapshot: &Snapshot, sort: Sort) -> Result<String, Fault> {
    let time = |at: Timestamp| format!("{:020}", at.as_micros().max(0));
    Ok(match sort {
        Sort::Name => name::name_of(snapshot.path()),
        Sort::Created => time(snapshot.metadata().created),
        Sort::Changed => time(snapshot.metadata().updated),
        Sort::Accessed => {
            let day = accessed::day_of(&call.request, &call.live, snapshot).await?;
            time(day.unwrap_or(Timestamp::from_micros(0)))
        }
    })
}

fn sort_of(call: &Call) -> Result<Sort, Fault> {
    match input::text(&call.fields, "SortBy", 0, 64)? {
        None | Some("created-date") => Ok(Sort::Created),
        Some("last-accessed-date") => Ok(Sort::Accessed),
        Some("last-changed-date") => Ok(Sort::Changed),
        Some("name") => Ok(Sort::Name),
        Some(_) => Err(input::broken(
            "SortBy",
            "Member must satisfy enum value set: [created-date, last-accessed-date, \
             last-changed-date, name]",
        )),
    }
}

fn is_down(call: &Call) -> Result<bool, Fault> {
    match input::text(&call.fields, "SortOrder", 0, 64)? {
        None | Some("asc") => Ok(false),
        Some("desc") => Ok(true),
        Some(_) => Err(input::broken(
            "SortOrder",
            "Member must satisfy enum value set: [asc, desc]",
        )),
    }
}

fn filters(call: &Call) -> Result<Vec<Filter>, Fault> {
    let values = input::list(&call.fields, "Filters")?.unwrap_or_default();
    if values.len() > FILTERS_MAX {
        let constraint = format!("Member must have length less than or equal to {FILTERS_MAX}");
        return Err(input::broken("Filters", &constraint));
    }
    values.iter().map(filter).collect()
}

fn filter(value: &Value) -> Result<Filter, Fault> {
    let key = match value["Key"].as_str() {
        None if value["Key"].is_null() => {
            return Err(Fault::Parameter("Invalid filter key".into()));
        }
        Some("description") => Attribute::Description,
        Some("name") => Attribute::Name,
        Some("tag-key") => Attribute::TagKey,
        Some("tag-value") => Attribute::TagValue,
        Some("primary-region") => Attribute::PrimaryRegion,
        Some("owning-service") => Attribute::OwningService,
        Some("all") => Attribute::All,
        _ => {
            return Err(input::broken(
                "filters.1.member.key",
                "Member must satisfy enum value set: [all, name, tag-key, description, \
                 tag-value, primary-region, owning-service]",
            ));
        }
    };
    let values = value["Values"].as_array().map_or(&[][..], Vec::as_slice);
    if values.is_empty() {
        return Err(Fault::Parameter("Invalid filter values".into()));
    }
    if values.len() > FILTERS_MAX {
        let constraint = format!("Member must have length less than or equal to {FILTERS_MAX}");
        return Err(input::broken("filters.1.member.values", &constraint));
    }
    let mut wanted = Vec::with_capacity(values.len());
    for value in values {
        let Value::String(text) = value else {
            return Err(Fault::Malformed(
                "the values of a filter have to be texts".into(),
            ));
        };
        input::check_length("filters.1.member.values", text, 0, 512)?;
        match text.strip_prefix('!') {
            Some(rest) => wanted.push((false, rest.to_owned())),
            None => wanted.push((true, text.clone())),
        }
    }
    Ok(Filter {
        key,
        values: wanted,
    })
}

/// Whether a secret passes all filters: of one, any value is enough, and none that is negated.
fn fits(call: &Call, snapshot: &Snapshot, filters: &[Filter]) -> bool {
    filters.iter().all(|filter| {
        let has = |value: &str| has(call, snapshot, filter.key, value);
        let mut wanted = filter.values.iter().filter(|(is_wanted, _)| *is_wanted);
        let mut unwanted = filter.values.iter().filter(|(is_wanted, _)| !*is_wanted);
        let is_any = wanted.clone().next().is_none() || wanted.any(|(_, value)| has(value));
        is_any && !unwanted.any(|(_, value)| has(value))
    })
}

fn has(call: &Call, snapshot: &Snapshot, key: Attribute, value: &str) -> bool {
    let metadata = snapshot.metadata();
    let description = metadata.description.as_deref().unwrap_or_default();
    match key {
        Attribute::Name => name::name_of(snapshot.path()).starts_with(value),
        Attribute::Description => has_words(description, value),
        Attribute::TagKey => metadata.tags.keys().any(|key| key.starts_with(value)),
        Attribute::TagValue => metadata.tags.values().any(|tag| tag.starts_with(value)),
        Attribute::PrimaryRegion => {
            let facts = snapshot.aws();
            let home = facts.and_then(|facts| facts.primary_region.as_deref());
            home.is_some_and(|home| home.starts_with(value) && !call.request.region.is_empty())
        }
        Attribute::OwningService => false,
        Attribute::All => {
            let name = name::name_of(snapshot.path());
            let tags = metadata.tags.iter();
            let tags = tags.flat_map(|(key, tag)| [key.as_str(), tag.as_str()]);
            let texts = [name.as_str(), description].into_iter().chain(tags);
            let texts: Vec<&str> = texts.collect();
            words(value).all(|word| texts.iter().any(|text| has_words(text, &word)))
        }
    }
}

/// Whether every word of a value begins a word of a text, in any case.
fn has_words(text: &str, value: &str) -> bool {
    let known: Vec<String> = words(text).collect();
    words(value).all(|word| known.iter().any(|known| known.starts_with(&word)))
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let is_end = |c: char| c.is_whitespace() || "/_+=.@-".contains(c);
    let words = text.split(is_end).filter(|word| !word.is_empty());
    words.map(str::to_lowercase)
}

/// Where a page begins, by the token of the one before.
pub(super) fn page_start(call: &Call, what: &str) -> Result<Option<String>, Fault> {
    let token = input::text(&call.fields, "NextToken", 0, TOKEN_CHARS_MAX)?;
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return Ok(None);
    };
    let bytes = data_encoding::BASE64URL_NOPAD.decode(token.as_bytes());
    let bytes = bytes.map_err(|_| Fault::NextToken)?;
    let (sum, rest) = bytes.split_at_checked(16).ok_or(Fault::NextToken)?;
    // Nobody learns anything by making one up; but a broken one must not be a page.
    if sum != &page_sum(call, what, rest)[..16] {
        return Err(Fault::NextToken);
    }
    let text = std::str::from_utf8(rest).map_err(|_| Fault::NextToken)?;
    Ok(Some(text.to_owned()))
}

/// The token of the page behind a key.
pub(super) fn page_token(call: &Call, what: &str, last: &str) -> String {
    let mut bytes = page_sum(call, what, last.as_bytes())[..16].to_vec();
    bytes.extend_from_slice(last.as_bytes());
    data_encoding::BASE64URL_NOPAD.encode(&bytes)
}

fn page_sum(call: &Call, what: &str, rest: &[u8]) -> [u8; 32] {
    let barrier = call.request.core.state.barrier();
    barrier.keyed_hash_of(TOKEN_PURPOSE, &[what.as_bytes(), &[0], rest])
}

pub(super) async fn batch(call: &mut Call) -> Result<Value, Fault> {
    let ids = input::texts(&call.fields, "SecretIdList", BATCH, 2048)?;
    let has_filters = call.fields.get("Filters").is_some();
    let mut answer = Map::new();
    let targets: Vec<(String, Result<Target, Fault>)> = match ids {
        Some(_) if has_filters => {
            return Err(Fault::Parameter(
                "Either 'SecretIdList' or 'Filters' must be provided, but not both.".into(),
            ));
        }
        Some(_) if call.fields.get("MaxResults").is_some() => {
            return Err(Fault::Parameter(
                "'Filters' not specified. 'Filters' must also be specified when 'MaxResults' is \
                 provided."
                    .into(),
            ));
        }
        None if !has_filters => {
            return Err(Fault::Parameter(
                "Either 'SecretIdList' or 'Filters' must be provided, but not both.".into(),
            ));
        }
        Some(ids) => {
            let mut targets = Vec::with_capacity(ids.len());
            for id in ids {
                let found = call.find(&id).await;
                targets.push((id, found));
            }
            targets
        }
        None => filtered(call, &mut answer).await?,
    };
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for (id, target) in targets {
        let result = match &target {
            Ok(target) => one(call, target).await,
            Err(fault) => Err(Fault::NotFoundWith(fault.tell(Protocol::Json).text)),
        };
        match result {
            Ok(value) => values.push(value),
            Err(fault) => {
                let told = fault.tell(Protocol::Json);
                if told.status.is_server_error() {
                    return Err(fault);
                }
                errors.push(json!({
                    "SecretId": id,
                    "ErrorCode": told.code,
                    "Message": told.text,
                }));
            }
        }
    }
    answer.insert("SecretValues".into(), values.into());
    answer.insert("Errors".into(), errors.into());
    Ok(Value::Object(answer))
}

async fn filtered(
    call: &Call,
    answer: &mut Map<String, Value>,
) -> Result<Vec<(String, Result<Target, Fault>)>, Fault> {
    let most = input::bounded(&call.fields, "MaxResults", 1, 20)?;
    let most = most.and_then(|most| usize::try_from(most).ok());
    let most = most.unwrap_or(BATCH);
    let after = page_start(call, "values")?;
    let rows = rows(call, &filters(call)?, Sort::Name, false).await?;
    let rows = rows.into_iter();
    let mut rows = rows.filter(|row| after.as_ref().is_none_or(|after| row.key > *after));
    let mut targets = Vec::new();
    let mut last = None;
    for row in rows.by_ref().take(most) {
        let name = name::name_of(&row.path);
        let target = Target {
            path: row.path,
            name: name.clone(),
            seen: Some(row.seen),
        };
        targets.push((name, Ok(target)));
        last = Some(row.key);
    }
    if let (Some(_), Some(last)) = (rows.next(), last) {
        let token = page_token(call, "values", &last);
        answer.insert("NextToken".into(), token.into());
    }
    Ok(targets)
}

/// One value of many, with lines of its own in the audit log.
async fn one(call: &mut Call, target: &Target) -> Result<Value, Fault> {
    let path = format!("secret/{}/{}", Area::Data.folder(), target.path);
    let exists = target.seen.is_some();
    let result = match (call.may(&path, Verb::Read, exists), &target.seen) {
        (false, _) => Err(call.denied(Some(target))),
        (true, None) => Err(Fault::NotFound),
        (true, Some(seen)) => {
            match super::policy::check(call, "GetSecretValue", &seen.snapshot, Some(STAGE_CURRENT))
            {
                Ok(()) => read::value_of(call, &seen.snapshot, None, None).await,
                Err(fault) => Err(fault),
            }
        }
    };
    if call.request.core.audit.is_on() {
        // Each has an id of its own, so that request and answer are found together.
        let number = call.lines.len() / 2 + 1;
        let request_id = format!("{}.{number}", call.request.request_id);
        let entry = Entry {
            request_id: &request_id,
            ..call.entry("read", &path)
        };
        let lines = entry.lines();
        let response = match &result {
            Ok(value) => {
                let hashed = call.request.core.audit.hashed(value);
                lines.response(200, Some(&hashed), None)
            }
            Err(fault) => fault.logged(&lines, Protocol::Json),
        };
        let data = "{\"aws\":\"BatchGetSecretValue\"}";
        let request = lines.request(Some(data));
        call.lines.extend([request, response]);
    }
    result
}
