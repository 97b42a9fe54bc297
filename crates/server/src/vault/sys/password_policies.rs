//! Policies of passwords, which databases name.

use data_encoding::BASE64;
use serde_json::json;
use strongroom_core::policy::PasswordPolicy;
use strongroom_core::policy::PasswordPolicyError;
use strongroom_core::port::Precondition;
use strongroom_engine::state;
use strongroom_engine::state::Found;
use strongroom_engine::state::Put;
use strongroom_engine::state::Shelf;

use crate::databases::PasswordPolicyText;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;

/// As clients know errors of these paths.
fn listed(text: &str) -> String {
    format!("1 error occurred:\n\t* {text}\n\n")
}

fn refused(error: &PasswordPolicyError) -> Fault {
    Fault::Invalid(listed(&error.to_string()))
}

fn missing() -> Fault {
    Fault::NotFoundWith(vec![listed("policy does not exist")])
}

fn name(call: &Call) -> Result<&str, Fault> {
    field::checked_name(call.capture(0))
}

async fn find(call: &Call) -> Result<Option<Found<PasswordPolicyText>>, Fault> {
    Ok(call.core.state.load(name(call)?).await?)
}

pub(super) async fn exists(call: &Call) -> Result<bool, Fault> {
    Ok(find(call).await?.is_some())
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let names = call
        .core
        .state
        .names::<PasswordPolicyText>(Shelf::Kind)
        .await?;
    Answer::keys(&names)
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let found = find(call).await?.ok_or_else(missing)?;
    Ok(Answer::data(json!({ "policy": found.value.text })))
}

pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let name = name(call)?.to_owned();
    let said = field::text(&call.fields, "policy")?.filter(|text| !text.is_empty());
    let said = said.ok_or_else(|| Fault::Invalid(listed("missing policy")))?;
    // It may come in base64.
    let decoded = BASE64.decode(said.trim().as_bytes()).ok();
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.unwrap_or(said);
    let policy = PasswordPolicy::parse(&text).map_err(|error| refused(&error))?;
    // What hardly ever makes a password is no policy.
    policy
        .generate(&*call.node.rng)
        .map_err(|error| refused(&error))?;
    let state = &call.core.state;
    let put = Put::named(&name, Shelf::Kind);
    let record = state.put(&put, &PasswordPolicyText { text });
    state.write(vec![record]).await?;
    Ok(Answer::Empty)
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    let state = &call.core.state;
    let id = state.id_of::<PasswordPolicyText>(name(call)?);
    state
        .write(vec![state::delete(id, Precondition::Any)])
        .await?;
    Ok(Answer::Empty)
}

pub(super) async fn generate(call: &mut Call) -> Result<Answer, Fault> {
    let found = find(call).await?.ok_or_else(missing)?;
    let policy = PasswordPolicy::parse(&found.value.text).map_err(|error| refused(&error))?;
    let password = policy.generate(&*call.node.rng);
    let password = password.map_err(|error| refused(&error))?;
    // EXPOSE: a new password goes into the answer to the one who asked for it.
    let text = password.expose_secret_text().unwrap_or_default();
    Ok(Answer::data(json!({ "password": text })))
}
