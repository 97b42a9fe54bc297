//! What a token may do at paths.

use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::policy::Capability;
use strongroom_core::policy::RequestPath;

use crate::core::Known;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;

/// Most paths asked for at once.
const PATHS_MAX: usize = 256;

pub(super) async fn of_token(call: &mut Call) -> Result<Answer, Fault> {
    let token = field::secret(&call.fields, "token")?;
    let token = token.ok_or_else(|| Fault::invalid("missing token"))?;
    let found = crate::vault::dispatch::find_token(&call.core, &token, call.now).await?;
    let known = found.filter(|known| known.is_alive(call.now));
    let known = known.ok_or_else(|| Fault::invalid("invalid token"))?;
    answer(call, &known)
}

pub(super) async fn of_self(call: &mut Call) -> Result<Answer, Fault> {
    let known = Arc::clone(call.caller()?);
    answer(call, &known)
}

pub(super) async fn of_accessor(call: &mut Call) -> Result<Answer, Fault> {
    let accessor = field::text(&call.fields, "accessor")?.unwrap_or_default();
    let found = call.core.state.token_of_accessor(&accessor).await?;
    let found = found.filter(|found| found.value.is_alive(call.now));
    let found = found.ok_or_else(|| Fault::invalid("invalid accessor"))?;
    let known = call.core.known_as(found.id, found.value);
    answer(call, &known)
}

fn answer(call: &Call, known: &Known) -> Result<Answer, Fault> {
    let paths = match field::texts(&call.fields, "paths")? {
        Some(paths) => Some(paths),
        None => field::texts(&call.fields, "path")?,
    };
    let paths = paths.unwrap_or_default();
    if paths.is_empty() {
        return Err(Fault::invalid("paths must be supplied"));
    }
    if paths.len() > PATHS_MAX {
        return Err(Fault::Invalid(format!(
            "at most {PATHS_MAX} paths can be asked for"
        )));
    }
    let acl = call.core.acl_of(known);
    let mut map = Map::new();
    for path in &paths {
        let parsed = path.trim_start_matches('/').parse::<RequestPath>();
        let parsed = parsed.map_err(|error| Fault::invalid(error.to_string()))?;
        let words = acl.capabilities(&parsed).words();
        map.insert(path.clone(), words.into());
    }
    if let (1, Some(first)) = (paths.len(), paths.first()) {
        let words = map.get(first).cloned().unwrap_or(Value::Null);
        map.insert("capabilities".into(), words);
    }
    Ok(Answer::lifted(Value::Object(map)))
}

/// All that the caller's policies say, for clients that show only what one may do. Rules with `+`
/// are left out, as OpenBao does, and so are those about fields.
pub(super) async fn resultant(call: &mut Call) -> Result<Answer, Fault> {
    let acl = call.core.acl_of(call.caller()?);
    if acl.is_root() {
        return Ok(Answer::data(json!({ "root": true })));
    }
    let (mut exact, mut globs) = (Map::new(), Map::new());
    for rule in acl.rules() {
        if rule.pattern.split('/').any(|segment| segment == "+") {
            continue;
        }
        let words = rule.capabilities.iter().map(Capability::as_str);
        let words: Vec<&str> = words.collect();
        let entry = json!({ "capabilities": words });
        match rule.pattern.strip_suffix('*') {
            Some(prefix) => globs.insert(prefix.to_owned(), entry),
            None => exact.insert(rule.pattern.to_owned(), entry),
        };
    }
    Ok(Answer::data(json!({
        "exact_paths": exact,
        "glob_paths": globs,
        "root": false,
    })))
}
