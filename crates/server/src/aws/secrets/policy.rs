//! Resource policies: JSON of IAM on one secret.
//!
//! They take away, and never give: what a statement denies is denied to AWS clients, whatever the
//! policies of their keys allow; what it allows is theirs only where those allow it, too. So the
//! path policies stay the bound for everybody, through every door.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_engine::secrets::Snapshot;

use super::check_deletion;
use super::failed;
use super::named;
use crate::aws::call::Call;
use crate::aws::error::Denied;
use crate::aws::error::Fault;
use crate::aws::iam::Document;
use crate::aws::iam::Question;
use crate::aws::input;

/// Longest policy.
const POLICY_CHARS_MAX: usize = 20_480;
/// The only name of a policy of a secret.
const POLICY_NAME: &str = "SecretResourcePolicy";

/// Refuses what the policy of a secret denies.
pub(in crate::aws) fn check(
    call: &Call,
    operation: &str,
    snapshot: &Snapshot,
    stage: Option<&str>,
) -> Result<(), Fault> {
    let Some(text) = snapshot.aws().and_then(|facts| facts.policy.as_deref()) else {
        return Ok(());
    };
    // It was read when it was written: one that cannot be read denies everything.
    let document = Document::parse(text);
    let user = call.request.user_arn();
    let arn = call.arn(snapshot);
    let name = crate::aws::name::name_of(snapshot.path());
    let question = Question {
        user: &user,
        account: &call.request.node.settings.aws.account,
        action: operation,
        arn: &arn,
        name: &name,
        stage,
        version: call.fields.get("VersionId").and_then(Value::as_str),
        tags: &snapshot.metadata().tags,
        address: call.request.remote,
    };
    let is_denied = document.map_or(true, |document| document.denies(&question));
    if !is_denied {
        return Ok(());
    }
    Err(Fault::Denied(Denied {
        user,
        action: format!("secretsmanager:{operation}"),
        resource: arn,
        why: "with an explicit deny in a resource-based policy",
    }))
}

fn check_name(call: &Call) -> Result<(), Fault> {
    match input::text(&call.fields, "PolicyName", 1, 64)? {
        None | Some(POLICY_NAME) => Ok(()),
        Some(_) => Err(Fault::NotFoundWith(
            "A secret has one resource policy, which needs no name.".into(),
        )),
    }
}

fn document(call: &Call) -> Result<(&str, Document), Fault> {
    let text = input::required(&call.fields, "ResourcePolicy", 1, POLICY_CHARS_MAX)?;
    let document = Document::parse(text).map_err(|problem| {
        Fault::MalformedPolicy(format!("This resource policy is not valid: {problem}"))
    })?;
    Ok((text, document))
}

pub(super) async fn put(call: &mut Call) -> Result<Value, Fault> {
    check_name(call)?;
    check_deletion(call.primary()?)?;
    let (text, document) = document(call)?;
    if input::flag(&call.fields, "BlockPublicPolicy")? && document.is_public() {
        return Err(Fault::PublicPolicy);
    }
    set(call, Some(text)).await
}

pub(super) async fn delete(call: &mut Call) -> Result<Value, Fault> {
    check_name(call)?;
    check_deletion(call.primary()?)?;
    set(call, None).await
}

async fn set(call: &Call, text: Option<&str>) -> Result<Value, Fault> {
    let path = &call.target()?.path;
    let context = call.context();
    let edited = call.live.secrets.edit_facts(&context, path, |_, facts| {
        facts.policy = text.map(str::to_owned);
        Ok(())
    });
    let snapshot = edited.await.map_err(|error| failed(call, error))?;
    Ok(Value::Object(named(call, &snapshot)))
}

pub(super) fn get(call: &Call) -> Result<Value, Fault> {
    check_name(call)?;
    let snapshot = call.snapshot()?;
    check_deletion(snapshot)?;
    let mut answer = named(call, snapshot);
    if let Some(text) = snapshot.aws().and_then(|facts| facts.policy.as_deref()) {
        answer.insert("ResourcePolicy".into(), text.into());
    }
    Ok(Value::Object(answer))
}

pub(super) fn list(call: &Call) -> Result<Value, Fault> {
    let snapshot = call.snapshot()?;
    check_deletion(snapshot)?;
    let has_one = snapshot.aws().is_some_and(|facts| facts.policy.is_some());
    let policies = has_one.then(|| json!({ "PolicyName": POLICY_NAME }));
    let policies: Vec<Value> = policies.into_iter().collect();
    Ok(json!({ "ResourcePolicies": policies }))
}

pub(super) fn validate(call: &Call) -> Result<Value, Fault> {
    if call.target.is_some() {
        check_deletion(call.snapshot()?)?;
    }
    let (_, document) = document(call)?;
    let mut answer = Map::new();
    let mut errors = Vec::new();
    if document.is_public() {
        errors.push(json!({
            "CheckName": "ALLOWS_BROAD_ACCESS",
            "ErrorMessage": "The resource policy grants access to everybody.",
        }));
    }
    answer.insert("PolicyValidationPassed".into(), errors.is_empty().into());
    answer.insert("ValidationErrors".into(), errors.into());
    Ok(Value::Object(answer))
}
