//! Secrets with versions.

mod metadata;
pub(crate) mod values;

use serde_json::Value;
use serde_json::json;
use strongroom_core::lease::format_duration;
use strongroom_core::time::Span;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;

use super::call::Call;
use super::error::Fault;
use super::field;
use super::reply::Answer;
use super::route::Route;
use super::route::route;
use crate::kv_config::Kv2Config;

pub(crate) use metadata::names_in;
pub(crate) use metadata::page;

pub(crate) const ROUTES: &[Route] = &[
    route!(Policy "data/*" [values::exists] {
        Read => values::read,
        Write => values::write,
        Patch => values::patch,
        Delete => values::delete_newest,
    }),
    route!(Policy "metadata/*" [values::exists] {
        Read => metadata::read,
        List => metadata::list,
        Scan => metadata::scan,
        Write => metadata::write,
        Patch => metadata::patch,
        Delete => metadata::remove,
    }),
    route!(Policy "detailed-metadata/*" { List => metadata::list_detailed }),
    route!(Policy "delete/*" { Write => values::delete }),
    route!(Policy "undelete/*" { Write => values::undelete }),
    route!(Policy "destroy/*" { Write => values::destroy }),
    route!(Policy "subkeys/*" { Read => values::subkeys }),
    route!(Policy "config" { Read => read_config, Write => write_config }),
    route!(Policy "*" { Read => hint, List => hint, Write => hint, Delete => hint }),
];

/// Most versions that can be asked to be kept: each costs room in the secret's head.
pub(crate) const VERSIONS_KEPT_MAX: i64 = 1000;

async fn read_config(call: &mut Call) -> Result<Answer, Fault> {
    let config = call.live.kv2(&call.core).await?;
    let after = match config.delete_version_after {
        DISABLED => "-1s".into(),
        seconds => format_duration(Span::from_seconds(seconds)),
    };
    Ok(Answer::data(json!({
        "cas_required": config.cas_required,
        "delete_version_after": after,
        "max_versions": config.max_versions,
        "metadata_cas_required": config.metadata_cas_required,
    })))
}

async fn write_config(call: &mut Call) -> Result<Answer, Fault> {
    let mut config = call.live.kv2(&call.core).await?;
    let fields = &call.fields;
    if let Some(kept) = field::integer(fields, "max_versions")? {
        config.max_versions = checked_versions(kept)?;
    }
    if let Some(required) = field::flag(fields, "cas_required")? {
        config.cas_required = required;
    }
    if let Some(required) = field::flag(fields, "metadata_cas_required")? {
        config.metadata_cas_required = required;
    }
    if let Some(seconds) = delete_after(fields)? {
        let is_negative = is_negative(fields.get("delete_version_after"));
        config.delete_version_after = if is_negative { DISABLED } else { seconds };
    }
    let put = Put::named(&call.live.owner, Shelf::Kind);
    let state = &call.core.state;
    state
        .write(vec![state.put::<Kv2Config>(&put, &config)])
        .await?;
    Ok(Answer::Empty)
}

/// Versions to keep, within bounds.
fn checked_versions(kept: i64) -> Result<u32, Fault> {
    match u32::try_from(kept) {
        Ok(number) if kept <= VERSIONS_KEPT_MAX => Ok(number),
        _ => Err(Fault::Invalid(format!(
            "max_versions has to be between 0 and {VERSIONS_KEPT_MAX}"
        ))),
    }
}

/// In the settings of a mount: switched off, and shown as that.
const DISABLED: i64 = -1;

fn is_negative(value: Option<&Value>) -> bool {
    match value {
        Some(Value::String(text)) => text.starts_with('-'),
        Some(Value::Number(number)) => number.as_i64().is_some_and(|number| number < 0),
        _ => false,
    }
}

/// Seconds after which versions are deleted: a negative time switches it off.
fn delete_after(fields: &super::body::Fields) -> Result<Option<i64>, Fault> {
    const NAME: &str = "delete_version_after";
    match is_negative(fields.get(NAME)) {
        true => Ok(Some(0)),
        false => field::seconds(fields, NAME),
    }
}

/// A path of the kind without versions: says so, as people get that wrong often.
async fn hint(_call: &mut Call) -> Result<Answer, Fault> {
    use super::reply::Data;
    use super::reply::Full;
    let mut full = Full::of(Data::None);
    full.status = http::StatusCode::NOT_FOUND;
    full.warnings.push(
        "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate \
         API endpoints to use: values lie below data/, what is known about them below metadata/."
            .into(),
    );
    Ok(Answer::Full(Box::new(full)))
}
