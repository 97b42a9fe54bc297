//! Many secrets: lists with filters, order and pages, and many values at once.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::time::Timestamp;
use strongroom_core::version::STAGE_CURRENT;
use strongroom_engine::secrets::Snapshot;
use zeroize::Zeroizing;

use super::read;
use crate::audit::line::Entry;
use crate::aws::InRegion;
use crate::aws::accessed;
use crate::aws::call::Call;
use crate::aws::call::Target;
use crate::aws::catalogue;
use crate::aws::catalogue::Row;
use crate::aws::error::Fault;
use crate::aws::error::Protocol;
use crate::aws::input;
use crate::aws::name;
use crate::aws::op::Area;
use crate::vault::body::compact;
use crate::vault::call::Verb;
use crate::vault::reply::Rendered;

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

/// What is asked for.
struct Wanted {
    filters: Vec<Filter>,
    sort: Sort,
    is_down: bool,
    /// Those that are to be removed, too.
    planned: bool,
    /// The key of the last one on the page before.
    after: Option<String>,
    most: usize,
}

/// Secrets in the order asked for, each with the key it is sorted by.
struct Page {
    rows: Vec<(String, Arc<Row>)>,
    /// There are more.
    is_cut: bool,
}

pub(super) async fn secrets(call: &mut Call) -> Result<Value, Fault> {
    let most = input::bounded(&call.fields, "MaxResults", 1, 100)?.unwrap_or(PAGE);
    let wanted = Wanted {
        planned: input::flag(&call.fields, "IncludePlannedDeletion")?,
        filters: filters(call)?,
        sort: sort_of(call)?,
        is_down: is_down(call)?,
        after: page_start(call, "secrets")?,
        most: usize::try_from(most).unwrap_or(1),
    };
    let page = page(call, &wanted).await?;
    let mut list = Vec::with_capacity(page.rows.len());
    for (_, row) in &page.rows {
        let path = row.snapshot.path();
        // It may have gone meanwhile.
        if let Some(seen) = call.request.core.secret(&call.live, path).await? {
            list.push(entry(call, &seen.snapshot).await?);
        }
    }
    let mut answer = Map::new();
    answer.insert("SecretList".into(), list.into());
    if let (true, Some((last, _))) = (page.is_cut, page.rows.last()) {
        let token = page_token(call, "secrets", last);
        answer.insert("NextToken".into(), token.into());
    }
    Ok(Value::Object(answer))
}

async fn entry(call: &Call, snapshot: &Snapshot) -> Result<Value, Fault> {
    let path = format!("secret/{}/{}", Area::Metadata.folder(), snapshot.path());
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

/// The secrets that fit and that the caller may list, one page of them.
async fn page(call: &Call, wanted: &Wanted) -> Result<Page, Fault> {
    let catalogue = call.request.core.catalogue(&call.live).await?;
    let mut sieve = Sieve::new(call, wanted);
    let mut rows = match wanted.sort {
        Sort::Created => {
            let (rows, after) = (&catalogue.rows[..], wanted.after.as_ref());
            let rows = match (after, wanted.is_down) {
                (None, _) => rows,
                (Some(after), false) => &rows[rows.partition_point(|row| row.key <= *after)..],
                (Some(after), true) => &rows[..rows.partition_point(|row| row.key < *after)],
            };
            let fitting = match wanted.is_down {
                false => sieve.first(rows.iter()),
                true => sieve.first(rows.iter().rev()),
            };
            fitting.map(|row| (row.key.clone(), row)).collect()
        }
        sort => {
            let mut rows = Vec::new();
            for row in &catalogue.rows {
                if sieve.lets_through(row) {
                    let sorted_by = sort_key(call, &row.snapshot, sort).await?;
                    let key = catalogue::key_of(&sorted_by, row.snapshot.path());
                    rows.push((key, Arc::clone(row)));
                }
            }
            in_order(rows, wanted)
        }
    };
    // Whoever has a token of a page could list something.
    if !sieve.may_list_any && wanted.after.is_none() {
        return Err(call.denied(None));
    }
    let is_cut = rows.len() > wanted.most;
    rows.truncate(wanted.most);
    Ok(Page { rows, is_cut })
}

/// The page of rows that are sorted otherwise than they are kept, and one more.
fn in_order(mut rows: Vec<(String, Arc<Row>)>, wanted: &Wanted) -> Vec<(String, Arc<Row>)> {
    rows.retain(|(key, _)| match &wanted.after {
        None => true,
        Some(after) if wanted.is_down => key < after,
        Some(after) => key > after,
    });
    rows.sort_unstable_by(|(a, _), (b, _)| match wanted.is_down {
        false => a.cmp(b),
        true => b.cmp(a),
    });
    rows.truncate(wanted.most + 1);
    rows
}

/// Which secrets a list shows.
struct Sieve<'c> {
    call: &'c Call,
    wanted: &'c Wanted,
    folders: HashMap<String, bool>,
    /// Whether there is anything that the caller may list.
    may_list_any: bool,
}

impl<'c> Sieve<'c> {
    fn new(call: &'c Call, wanted: &'c Wanted) -> Self {
        Self {
            call,
            wanted,
            folders: HashMap::new(),
            may_list_any: call.may("secret/metadata/", Verb::List, true),
        }
    }

    /// The first that fit: a page, and one more.
    fn first<'r>(
        &mut self,
        rows: impl Iterator<Item = &'r Arc<Row>>,
    ) -> std::vec::IntoIter<Arc<Row>> {
        let most = self.wanted.most + 1;
        let fitting = rows.filter(|row| self.lets_through(row));
        let fitting: Vec<Arc<Row>> = fitting.take(most).map(Arc::clone).collect();
        fitting.into_iter()
    }

    fn lets_through(&mut self, row: &Row) -> bool {
        let (call, snapshot) = (self.call, &row.snapshot);
        let folder = snapshot.path().folder();
        let may_list = match self.folders.get(folder) {
            Some(may) => *may,
            None => {
                let slash = if folder.is_empty() { "" } else { "/" };
                let listed = format!("secret/metadata/{folder}{slash}");
                let may = call.may(&listed, Verb::List, true);
                self.folders.insert(folder.to_owned(), may);
                may
            }
        };
        self.may_list_any |= may_list;
        let is_hidden = snapshot.deletion().is_some() && !self.wanted.planned;
        may_list
            && !is_hidden
            && call.is_visible(snapshot)
            && fits(call, snapshot, &self.wanted.filters)
    }
}

async fn sort_key(call: &Call, snapshot: &Snapshot, sort: Sort) -> Result<String, Fault> {
    Ok(match sort {
        Sort::Name => name::name_of(snapshot.path()),
        Sort::Created => catalogue::time_key(snapshot.metadata().created),
        Sort::Changed => catalogue::time_key(snapshot.metadata().updated),
        Sort::Accessed => {
            let day = accessed::day_of(&call.request, &call.live, snapshot).await?;
            catalogue::time_key(day.unwrap_or(Timestamp::from_micros(0)))
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
        let key = value["Key"].as_str().unwrap_or_default();
        return Err(Fault::Parameter(format!(
            "Invalid filter values for key: {key}"
        )));
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
            let wanted = words(value);
            let has = |word: &String| texts.iter().any(|text| has_words(text, word));
            !wanted.is_empty() && wanted.iter().all(has)
        }
    }
}

/// Whether every word of a value begins a word of a text, in any case.
fn has_words(text: &str, value: &str) -> bool {
    let (known, wanted) = (words(text), words(value));
    let has = |word: &String| known.iter().any(|known| known.starts_with(word));
    !wanted.is_empty() && wanted.iter().all(has)
}

/// The words of a text, in small letters: they end where AWS's search ends them, at signs and
/// before capitals that small letters follow (`AppBeta` has two, `COMPANYthings` has `compan` and
/// `ythings`).
fn words(text: &str) -> Vec<String> {
    let is_end = |c: char| c.is_whitespace() || "/_+=.@-".contains(c);
    let mut words = Vec::new();
    for part in text.split(is_end) {
        let mut word = String::new();
        let mut letters = part.chars().peekable();
        let mut was_small = false;
        while let Some(letter) = letters.next() {
            let is_small = letter.is_lowercase();
            let begins = !is_small && letters.peek().is_some_and(|next| next.is_lowercase());
            if begins || was_small && !is_small {
                words.push(std::mem::take(&mut word));
            }
            was_small = is_small;
            word.extend(letter.to_lowercase());
        }
        words.push(word);
    }
    words.retain(|word| !word.is_empty());
    words
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

pub(super) async fn batch(call: &mut Call) -> Result<Rendered, Fault> {
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
    answer.insert("Errors".into(), errors.into());
    Ok(together(call, &values, &Value::Object(answer)))
}

/// The values, and what else there is to say. In the audit log each value has a line of its own.
fn together(call: &Call, values: &[Arc<InRegion>], rest: &Value) -> Rendered {
    let more = compact(rest);
    let bytes = values.iter().map(|value| value.rendered.json.len() + 1);
    let bytes = bytes.sum::<usize>() + more.len() + 24;
    let mut json = Zeroizing::new(Vec::with_capacity(bytes));
    json.extend_from_slice(b"{\"SecretValues\":[");
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            json.push(b',');
        }
        json.extend_from_slice(&value.rendered.json);
    }
    json.extend_from_slice(b"],");
    // What follows its first brace.
    json.extend_from_slice(more.get(1..).unwrap_or_default());
    Rendered {
        json,
        audit: call.request.core.audit.hashed(rest),
    }
}

async fn filtered(
    call: &Call,
    answer: &mut Map<String, Value>,
) -> Result<Vec<(String, Result<Target, Fault>)>, Fault> {
    let most = input::bounded(&call.fields, "MaxResults", 1, 20)?;
    let most = most.and_then(|most| usize::try_from(most).ok());
    let wanted = Wanted {
        filters: filters(call)?,
        sort: Sort::Name,
        is_down: false,
        planned: false,
        after: page_start(call, "values")?,
        most: most.unwrap_or(BATCH),
    };
    let page = page(call, &wanted).await?;
    let mut targets = Vec::with_capacity(page.rows.len());
    for (_, row) in &page.rows {
        let path = row.snapshot.path().clone();
        let name = name::name_of(&path);
        let target = Target {
            seen: call.request.core.secret(&call.live, &path).await?,
            name: name.clone(),
            path,
        };
        targets.push((name, Ok(target)));
    }
    if let (true, Some((last, _))) = (page.is_cut, page.rows.last()) {
        let token = page_token(call, "values", last);
        answer.insert("NextToken".into(), token.into());
    }
    Ok(targets)
}

/// One value of many, with a line of its own in the audit log: that of its answer, which also says
/// what was asked for. The request for all of them has a line before.
async fn one(call: &mut Call, target: &Target) -> Result<Arc<InRegion>, Fault> {
    let path = format!("secret/{}/{}", Area::Data.folder(), target.path);
    let exists = target.seen.is_some();
    let result = match (call.may(&path, Verb::Read, exists), &target.seen) {
        (false, _) => Err(call.denied(Some(target))),
        (true, None) => Err(Fault::NotFound),
        (true, Some(seen)) => {
            match super::policy::check(call, "GetSecretValue", &seen.snapshot, Some(STAGE_CURRENT))
            {
                Ok(()) => read::value_of(call, seen, None, None).await,
                Err(fault) => Err(fault),
            }
        }
    };
    if call.request.core.audit.is_on() {
        // Each has an id of its own, so that none is taken for another's answer.
        let number = call.lines.len() + 1;
        let request_id = format!("{}.{number}", call.request.request_id);
        let entry = Entry {
            request_id: &request_id,
            ..call.entry("read", &path)
        };
        let lines = entry.lines().with("{\"aws\":\"BatchGetSecretValue\"}");
        let line = match &result {
            Ok(value) => lines.response(200, Some(&value.brief), None),
            Err(fault) => fault.logged(&lines, Protocol::Json),
        };
        call.lines.push(line);
    }
    result
}
