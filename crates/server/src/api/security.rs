//! What scans found in code. The server reads no file of its own: a client looks, and sends rules
//! and places; no value and no piece of a file is taken.

mod compliance;
mod record;
mod row;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::bare;
use super::documents;
use super::documents::Of;
use super::field;
use crate::core::Core;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

pub(super) use compliance::compliance;
pub(super) use compliance::overall;
pub(super) use record::take;
pub(super) use row::Row;
pub(super) use row::Severity;

/// Kinds of things that are scanned.
const COMPONENT_TYPES: [&str; 2] = ["scenario", "resource"];
/// Longest name of whoever is to mend something, in characters.
const PERSON_CHARS_MAX: usize = 120;
/// How a weak place may stand.
const STATUSES: [&str; 5] = ["open", "in_progress", "resolved", "accepted", "regressed"];
/// What waits to be mended.
const OPEN: [&str; 3] = ["open", "in_progress", "regressed"];

/// One thing that was scanned, and what is known of it.
pub(super) struct Component {
    pub(super) kind: String,
    pub(super) name: String,
    /// The last scan.
    pub(super) scan: Value,
    pub(super) rows: Vec<Row>,
}

impl Component {
    fn of(kind: &str, name: &str, document: &Value) -> Self {
        let rows = document["rows"].as_array().into_iter().flatten();
        Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
            scan: document["scan"].clone(),
            rows: rows.filter_map(Row::read).collect(),
        }
    }

    fn document(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        json!({ "scan": self.scan, "rows": rows })
    }

    pub(super) fn open(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.is_open())
    }

    fn scanned_at(&self) -> &str {
        self.scan["scanned_at"].as_str().unwrap_or_default()
    }
}

/// Everything that was ever scanned.
pub(super) async fn components(core: &Core) -> Result<Vec<Component>, Fault> {
    let all = documents::all(core, Of::Weaknesses).await?.into_iter();
    let components = all.filter_map(|(name, document)| match name.as_slice() {
        [kind, name] => Some(Component::of(kind, name, &document)),
        _ => None,
    });
    Ok(components.collect())
}

/// How many weak places a resource has; `None` where nobody has looked.
pub(super) async fn open_of_resource(core: &Core, resource: &str) -> Result<Option<usize>, Fault> {
    let name = ["resource", resource];
    let kept = documents::load(core, Of::Weaknesses, &name).await?;
    let component = kept.map(|kept| Component::of(name[0], resource, &kept.value));
    Ok(component.map(|component| component.open().count()))
}

/// What is open, counted.
pub(super) struct Sums {
    pub(super) by_severity: [(Severity, usize); 4],
    pub(super) total: usize,
    /// The newest scan; `None` when there was none.
    pub(super) last_scan: Option<String>,
}

impl Sums {
    pub(super) fn of(components: &[Component]) -> Self {
        let open = || components.iter().flat_map(Component::open);
        let by_severity = Severity::ALL.map(|severity| {
            let count = open().filter(|row| row.severity == severity).count();
            (severity, count)
        });
        // Times in this form are in the order of their texts.
        let last = components.iter().map(Component::scanned_at).max();
        Self {
            by_severity,
            total: open().count(),
            last_scan: last.map(str::to_owned),
        }
    }

    /// 0 to 100; nothing where nobody has looked.
    pub(super) fn risk(&self) -> Option<usize> {
        self.last_scan.as_ref()?;
        let weights = self.by_severity.iter();
        let sum: usize = weights
            .map(|(severity, count)| severity.weight() * count)
            .sum();
        Some(sum.min(100))
    }

    pub(super) fn count(&self, severity: Severity) -> usize {
        let found = self.by_severity.iter().find(|(own, _)| *own == severity);
        found.map_or(0, |(_, count)| *count)
    }

    pub(super) fn json(&self) -> Value {
        let pairs = self.by_severity.iter();
        let map: Map<String, Value> = pairs
            .map(|(severity, count)| (severity.word().to_owned(), json!(count)))
            .collect();
        Value::Object(map)
    }
}

/// Which weak places are asked for.
struct Wanted {
    severities: Vec<Severity>,
    component: Option<String>,
    kind: Option<String>,
    status: Option<String>,
}

impl Wanted {
    fn of(call: &Call) -> Result<Self, Fault> {
        let severities = field::names(call, "severity")?.into_iter().map(|word| {
            let known = Severity::of_word(&word);
            known.ok_or_else(|| {
                Fault::invalid("severity is critical, high, medium or low, or some of them")
            })
        });
        // The command line of the older system wrote it the second way, and its server read the
        // first: the filter did nothing.
        let kind = field::text(call, "component_type");
        let kind = kind.or_else(|| field::text(call, "componentType"));
        if let Some(kind) = &kind {
            check_kind(kind)?;
        }
        let status = field::text(call, "status");
        let is_known = |status: &String| status == "all" || STATUSES.contains(&status.as_str());
        if !status.as_ref().is_none_or(is_known) {
            return Err(Fault::invalid("invalid status"));
        }
        Ok(Self {
            severities: severities.collect::<Result<_, _>>()?,
            component: field::text(call, "component"),
            kind,
            status,
        })
    }

    fn takes(&self, component: &Component) -> bool {
        let is_it =
            |wanted: &Option<String>, own: &str| wanted.as_ref().is_none_or(|wanted| wanted == own);
        is_it(&self.component, &component.name) && is_it(&self.kind, &component.kind)
    }

    fn takes_row(&self, row: &Row) -> bool {
        let is_severity = self.severities.is_empty() || self.severities.contains(&row.severity);
        is_severity
            && match self.status.as_deref() {
                None => row.is_open(),
                Some("all") => true,
                Some(status) => row.status == status,
            }
    }
}

fn check_kind(kind: &str) -> Result<(), Fault> {
    match COMPONENT_TYPES.contains(&kind) {
        true => Ok(()),
        false => Err(Fault::invalid("component_type is scenario or resource")),
    }
}

/// The components that are asked for, and the rows of them, the worst first.
async fn asked(call: &Call) -> Result<(Vec<Component>, Vec<Value>), Fault> {
    let wanted = Wanted::of(call)?;
    field::flag(call, "quick")?;
    let mut components = components(&call.core).await?;
    components.retain(|component| wanted.takes(component));
    let rows = components.iter().flat_map(|component| {
        let rows = component.rows.iter().filter(|row| wanted.takes_row(row));
        rows.map(move |row| (component, row))
    });
    let mut rows: Vec<(&Component, &Row)> = rows.collect();
    rows.sort_by_key(|(component, row)| {
        (
            row.severity,
            &component.kind,
            &component.name,
            &row.path,
            row.line,
            &row.id,
        )
    });
    let shown = rows.into_iter().map(|(component, row)| {
        let mut json = row.json();
        json["component"] = component.name.clone().into();
        json["component_type"] = component.kind.clone().into();
        json["recommendation"] = recommendation(row).into();
        json
    });
    let shown = shown.collect();
    Ok((components, shown))
}

/// What to do about one.
fn recommendation(row: &Row) -> &'static str {
    match row.kind.as_str() {
        "stored-secret" => "take the value out of the file, and rotate the secret",
        _ => {
            "take the value out of the file, keep it with `strongroom set`, and replace it at its \
             source"
        }
    }
}

/// The last scans, and what they found.
pub(super) async fn scan(call: &mut Call) -> Result<Answer, Fault> {
    let (components, rows) = asked(call).await?;
    let sums = Sums::of(&components);
    let number = |key: &str| -> u64 {
        let scans = components.iter();
        scans.filter_map(|one| one.scan[key].as_u64()).sum()
    };
    let last = components.iter().max_by_key(|one| one.scanned_at());
    let mut advice = Vec::new();
    for (severity, count) in sums.by_severity.iter().filter(|(_, count)| *count > 0) {
        advice.push(json!({
            "severity": severity.word(),
            "count": count,
            "action": severity.advice(),
        }));
    }
    Ok(bare(json!({
        "available": sums.last_scan.is_some(),
        "scan_id": last.map(|one| one.scan["scan_id"].clone()),
        "scanned_at": sums.last_scan,
        "risk_score": sums.risk(),
        "total_count": rows.len(),
        "vulnerabilities": rows,
        "recommendations": advice,
        "metrics": {
            "components_scanned": components.len(),
            "files_scanned": number("files"),
            "bytes_scanned": number("bytes"),
            "scan_duration_ms": number("duration_ms"),
            "by_severity": sums.json(),
        },
    })))
}

pub(super) async fn vulnerabilities(call: &mut Call) -> Result<Answer, Fault> {
    let (components, rows) = asked(call).await?;
    let sums = Sums::of(&components);
    let scans: Vec<Value> = components
        .iter()
        .map(|one| {
            let mut scan = one.scan.clone();
            scan["component"] = one.name.clone().into();
            scan["component_type"] = one.kind.clone().into();
            scan
        })
        .collect();
    Ok(bare(json!({
        "total_count": rows.len(),
        "vulnerabilities": rows,
        "risk_score": sums.risk(),
        "scan_metadata": {
            "available": sums.last_scan.is_some(),
            "last_scan": sums.last_scan,
            "scans": scans,
        },
    })))
}

/// `{status, assigned_to?}` of one.
pub(super) async fn set_status(call: &mut Call) -> Result<Answer, Fault> {
    let id = field::captured(call, 0)?;
    let status = field::text(call, "status");
    let status = status.ok_or_else(|| Fault::invalid("status is required"))?;
    if !STATUSES.contains(&status.as_str()) {
        return Err(Fault::invalid("invalid status"));
    }
    let assigned = field::text(call, "assigned_to");
    let is_long = |name: &String| name.chars().count() > PERSON_CHARS_MAX;
    if assigned.as_ref().is_some_and(is_long) {
        return Err(Fault::invalid("assigned_to is a name"));
    }
    let all = components(&call.core).await?;
    let has_it = |one: &&Component| one.rows.iter().any(|row| row.id == id);
    let unknown = || Fault::NotFoundWith(vec![format!("vulnerability {id} not found")]);
    let found = all.iter().find(has_it).ok_or_else(unknown)?;
    let name = [found.kind.as_str(), found.name.as_str()];
    // Read again, for what holds while nobody else changes it.
    let kept = documents::load(&call.core, Of::Weaknesses, &name).await?;
    let kept = kept.ok_or_else(unknown)?;
    let mut component = Component::of(name[0], name[1], &kept.value);
    let row = component.rows.iter_mut().find(|row| row.id == id);
    let row = row.ok_or_else(unknown)?;
    row.set_status(&status, &call.now.to_string());
    if assigned.is_some() {
        row.assigned_to = assigned;
    }
    let document = component.document();
    documents::save(&call.core, Of::Weaknesses, &name, &document, kept.unchanged).await?;
    Ok(bare(json!({ "id": id, "status": status })))
}
