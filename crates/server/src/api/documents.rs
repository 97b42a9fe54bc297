//! What is kept for these endpoints: documents in JSON, sealed like all else, by kind and name.

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Precondition;
use strongroom_engine::state;
use strongroom_engine::state::Found;
use strongroom_engine::state::Kind;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;
use strongroom_engine::state::Stored;

use crate::core::Core;
use crate::vault::error::Fault;

/// Largest document, in bytes.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Between the parts of a name; no part holds one.
const BETWEEN: &str = "\0";

/// Kinds of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// A resource and the secrets it needs.
    Resources,
    /// What an application leans on.
    Scenarios,
    /// What is done otherwise for one application.
    Overrides,
    /// An application as it is shipped.
    Profiles,
    /// What profiles were.
    Versions,
    /// A shipping that is under way.
    Campaigns,
    /// How the last check of a secret ended.
    Checks,
    /// What scans found, by what was scanned.
    Weaknesses,
    /// That there was a scan.
    Scans,
    /// What came of deploying a profile.
    Deployments,
    /// Events of installed applications, counted.
    Telemetry,
}

impl Of {
    fn word(self) -> &'static str {
        match self {
            Self::Resources => "resources",
            Self::Scenarios => "scenarios",
            Self::Overrides => "overrides",
            Self::Profiles => "profiles",
            Self::Versions => "versions",
            Self::Campaigns => "campaigns",
            Self::Checks => "checks",
            Self::Weaknesses => "weaknesses",
            Self::Scans => "scans",
            Self::Deployments => "deployments",
            Self::Telemetry => "telemetry",
        }
    }
}

/// A document as it is stored.
#[derive(Serialize, Deserialize)]
struct Document {
    json: String,
}

impl Stored for Document {
    const KIND: Kind = Kind::Document;
}

/// A document, and what holds while nobody has changed it.
pub(super) struct Kept {
    pub(super) value: Value,
    pub(super) unchanged: Precondition,
}

fn full(of: Of, name: &[&str]) -> String {
    format!("{}{BETWEEN}{}", of.word(), name.join(BETWEEN))
}

fn opened(found: &Found<Document>) -> Result<Value, Fault> {
    let parsed = serde_json::from_str(&found.value.json);
    parsed.map_err(|_| Fault::Internal("a document is no JSON".into()))
}

pub(super) async fn load(core: &Core, of: Of, name: &[&str]) -> Result<Option<Kept>, Fault> {
    let found = core.state.load::<Document>(&full(of, name)).await?;
    let kept = found.map(|found| {
        Ok(Kept {
            value: opened(&found)?,
            unchanged: found.unchanged(),
        })
    });
    kept.transpose()
}

/// All of a kind, with the parts of their names, sorted by them.
pub(super) async fn all(core: &Core, of: Of) -> Result<Vec<(Vec<String>, Value)>, Fault> {
    let found = core.state.all::<Document>(Shelf::Of(of.word())).await?;
    let documents = found.into_iter().map(|(name, found)| {
        let parts = name.split(BETWEEN).map(str::to_owned).collect();
        Ok((parts, opened(&found)?))
    });
    documents.collect()
}

/// The change that writes a document.
pub(super) fn put(
    core: &Core,
    of: Of,
    name: &[&str],
    value: &Value,
    precondition: Precondition,
) -> Result<BatchItem, Fault> {
    let json = value.to_string();
    if json.len() > DOCUMENT_BYTES_MAX {
        return Err(Fault::invalid("that is more than 1 MiB in one piece"));
    }
    let (full, shown) = (full(of, name), name.join(BETWEEN));
    let put = Put {
        shown: &shown,
        precondition,
        ..Put::named(&full, Shelf::Of(of.word()))
    };
    Ok(core.state.put(&put, &Document { json }))
}

pub(super) fn remove(core: &Core, of: Of, name: &[&str]) -> BatchItem {
    let id = core.state.id_of::<Document>(&full(of, name));
    state::delete(id, Precondition::Any)
}

/// Commits; a fault when others have changed something meanwhile.
pub(super) async fn commit(core: &Core, batch: Vec<BatchItem>) -> Result<(), Fault> {
    Ok(core.state.write(batch).await?)
}

/// Writes one document.
pub(super) async fn save(
    core: &Core,
    of: Of,
    name: &[&str],
    value: &Value,
    precondition: Precondition,
) -> Result<(), Fault> {
    commit(core, vec![put(core, of, name, value, precondition)?]).await
}
