//! Mail: who gets notices of rotations, and through which server, as an administrator registers it.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_engine::rotation::MailTarget;

use super::rotators::certificates;
use crate::rotate::mail;
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
            "the name of a mail target has 1 to 64 letters, digits, `-` and `_`",
        )),
    }
}

fn describe(target: &MailTarget) -> Value {
    json!({
        "server": target.server,
        "from": target.from,
        "to": target.to,
        "credentials": target.credentials,
        "has_ca": target.ca.is_some(),
        "created": target.created.to_string(),
    })
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let known = call.core.state.mail_targets().await?;
    let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
    let info = known.iter();
    let info = info.map(|(name, found)| (name.clone(), describe(&found.value)));
    let info: Map<String, Value> = info.collect();
    Ok(Answer::data(json!({ "keys": names, "key_info": info })))
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let found = call.core.state.mail_target(name(call)?).await?;
    let found = found.ok_or(Fault::NotFound)?;
    Ok(Answer::data(describe(&found.value)))
}

pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let name = name(call)?;
    let fields = &call.fields;
    let text = |name: &str| -> Result<Option<String>, Fault> {
        Ok(field::text(fields, name)?.filter(|text| !text.is_empty()))
    };
    let target = MailTarget {
        server: text("server")?.unwrap_or_default(),
        from: text("from")?.unwrap_or_default(),
        to: field::texts(fields, "to")?.unwrap_or_default(),
        credentials: text("credentials")?,
        ca: certificates(fields)?,
        created: call.now,
    };
    mail::check(&target).map_err(Fault::Invalid)?;
    call.core.state.put_mail_target(name, &target).await?;
    Ok(Answer::data(describe(&target)))
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    match call.core.state.remove_mail_target(name(call)?).await? {
        true => Ok(Answer::Empty),
        false => Err(Fault::NotFound),
    }
}
