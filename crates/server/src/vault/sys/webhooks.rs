//! Webhooks: where notices of rotations are sent, as an administrator registers them.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_engine::rotation::Webhook;

use super::rotators::certificates;
use crate::rotate::rotators;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;

fn name(call: &Call) -> Result<&str, Fault> {
    let name = call.capture(0);
    match rotators::is_name(name) {
        true => Ok(name),
        false => Err(Fault::invalid(
            "the name of a webhook has 1 to 64 letters, digits, `-` and `_`",
        )),
    }
}

/// What is known about one but its key.
fn describe(webhook: &Webhook) -> Value {
    json!({
        "url": webhook.url,
        "has_ca": webhook.ca.is_some(),
        "created": webhook.created.to_string(),
    })
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let known = call.core.state.webhooks().await?;
    let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
    let info = known.iter();
    let info = info.map(|(name, found)| (name.clone(), describe(&found.value)));
    let info: Map<String, Value> = info.collect();
    Ok(Answer::data(json!({ "keys": names, "key_info": info })))
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let found = call.core.state.webhook(name(call)?).await?;
    let found = found.ok_or(Fault::NotFound)?;
    Ok(Answer::data(describe(&found.value)))
}

pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let name = name(call)?;
    let fields = &call.fields;
    let url = field::text(fields, "url")?;
    let url = url.ok_or_else(|| Fault::invalid("a webhook has a `url`"))?;
    let url = rotators::parse_url(&url).map_err(Fault::invalid)?;
    let ca = certificates(fields)?;
    let is_new_key = field::flag(fields, "new_key")?.unwrap_or(false);
    let known = call.core.state.webhook(name).await?;
    let kept = known.map(|found| found.value.key).filter(|_| !is_new_key);
    let is_kept = kept.is_some();
    let key = kept.unwrap_or_else(|| call.core.state.new_endpoint_key());
    let webhook = Webhook {
        url: url.into(),
        key,
        ca,
        created: call.now,
    };
    call.core.state.put_webhook(name, &webhook).await?;
    let mut data = describe(&webhook);
    if !is_kept {
        // EXPOSE: a new key goes into the answer to the one who asked for it.
        data["signing_key"] = json!(webhook.key.expose_secret_text().unwrap_or_default());
    }
    Ok(Answer::data(data))
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    match call.core.state.remove_webhook(name(call)?).await? {
        true => Ok(Answer::Empty),
        false => Err(Fault::NotFound),
    }
}
