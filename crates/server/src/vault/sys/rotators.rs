//! Rotators: who makes new values, as an administrator registers them.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::generate::GeneratorSpec;
use strongroom_core::rotator::RotatorSpec;
use strongroom_core::secret::SecretValue;
use strongroom_engine::rotation::Registered;
use strongroom_engine::rotation::RegisteredKind;

use crate::rotate::rotators;
use crate::vault::body::Fields;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;

/// Time of a step unless somebody says, in seconds.
const TIMEOUT_SECONDS: i64 = 30;
/// Longest time of a step: that of a function of AWS.
const TIMEOUT_SECONDS_MAX: i64 = 900;
/// Longest list of certificates, in bytes.
const CA_BYTES_MAX: usize = 64 * 1024;

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let known = call.core.state.rotators().await?;
    let mut names = vec![rotators::GENERATE.to_owned()];
    let mut info = Map::new();
    let built_in = RegisteredKind::Generate {
        spec: "{}".into(),
        field: None,
    };
    info.insert(
        rotators::GENERATE.into(),
        describe(call, rotators::GENERATE, &built_in),
    );
    for (name, found) in &known {
        names.push(name.clone());
        info.insert(name.clone(), describe(call, name, &found.value.kind));
    }
    Ok(Answer::data(json!({ "keys": names, "key_info": info })))
}

/// What is known about a rotator but its key.
fn describe(call: &Call, name: &str, kind: &RegisteredKind) -> Value {
    let aws = &call.node.settings.aws;
    let region = aws.region.as_deref().unwrap_or("us-east-1");
    let arn = format!("arn:aws:lambda:{region}:{}:function:{name}", aws.account);
    match kind {
        RegisteredKind::Generate { spec, field } => json!({
            "type": "generate",
            "arn": arn,
            "generator": serde_json::from_str::<Value>(spec).unwrap_or_default(),
            "field": field,
        }),
        RegisteredKind::Endpoint {
            url,
            timeout_seconds,
            ca,
            ..
        } => json!({
            "type": "endpoint",
            "arn": arn,
            "url": url,
            "timeout": timeout_seconds,
            "has_ca": ca.is_some(),
        }),
        RegisteredKind::Declared { spec } => {
            let spec = serde_json::from_str::<Value>(spec).unwrap_or_default();
            json!({ "type": spec["type"], "arn": arn, "rotator": spec })
        }
    }
}

fn name(call: &Call) -> Result<&str, Fault> {
    let name = call.capture(0);
    if !rotators::is_name(name) {
        return Err(Fault::invalid(
            "the name of a rotator has 1 to 64 letters, digits, `-` and `_`",
        ));
    }
    Ok(name)
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let name = name(call)?;
    let found = call
        .core
        .state
        .rotator(name)
        .await?
        .ok_or(Fault::NotFound)?;
    Ok(Answer::data(describe(call, name, &found.value.kind)))
}

pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let name = name(call)?;
    if [rotators::GENERATE, rotators::MANUAL].contains(&name) {
        return Err(Fault::invalid("this rotator is always there, as it is"));
    }
    let fields = &call.fields;
    let url = field::text(fields, "url")?;
    let known = call.core.state.rotator(name).await?;
    let known = known.map(|found| found.value.kind);
    let said = (url, fields.get("generator"), fields.get("rotator"));
    let (kind, shown) = match said {
        (Some(url), None, None) => endpoint(call, &url, known)?,
        (None, Some(spec), None) => (generator(call, spec)?, None),
        (None, None, Some(spec)) => (declared(call, spec)?, None),
        _ => {
            return Err(Fault::invalid(
                "a rotator has a `url` (an endpoint), a `generator` (how values are drawn), or a \
                 `rotator` (as in a manifest)",
            ));
        }
    };
    let mut data = describe(call, name, &kind);
    let created = call.now;
    let rotator = Registered { kind, created };
    call.core.state.put_rotator(name, &rotator).await?;
    if let Some(key) = shown {
        // EXPOSE: a new key goes into the answer to the one who asked for it.
        data["signing_key"] = json!(key.expose_secret_text().unwrap_or_default());
    }
    Ok(Answer::data(data))
}

/// An endpoint, and its key where that is new.
fn endpoint(
    call: &Call,
    url: &str,
    known: Option<RegisteredKind>,
) -> Result<(RegisteredKind, Option<SecretValue>), Fault> {
    let fields = &call.fields;
    let url = rotators::parse_url(url).map_err(Fault::invalid)?;
    let timeout = field::seconds(fields, "timeout")?.unwrap_or(TIMEOUT_SECONDS);
    let timeout_seconds = match timeout {
        1..=TIMEOUT_SECONDS_MAX => u32::try_from(timeout).unwrap_or(1),
        _ => return Err(Fault::invalid("a step takes 1 to 900 seconds")),
    };
    let ca = certificates(fields)?;
    let is_new_key = field::flag(fields, "new_key")?.unwrap_or(false);
    let kept = match known {
        Some(RegisteredKind::Endpoint { key, .. }) if !is_new_key => Some(key),
        _ => None,
    };
    let shown = match kept {
        Some(_) => None,
        None => Some(call.core.state.new_endpoint_key()),
    };
    let key = kept.or_else(|| shown.clone());
    let key = key.ok_or_else(|| Fault::Internal("an endpoint has no key".into()))?;
    let kind = RegisteredKind::Endpoint {
        url: url.into(),
        key,
        timeout_seconds,
        ca,
    };
    Ok((kind, shown))
}

/// The certificates in a field `ca`.
pub(super) fn certificates(fields: &Fields) -> Result<Option<String>, Fault> {
    let ca = field::text(fields, "ca")?.filter(|pem| !pem.is_empty());
    if let Some(pem) = &ca {
        let found = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).unwrap_or_default();
        if found.is_empty() || pem.len() > CA_BYTES_MAX {
            return Err(Fault::invalid(
                "`ca` has to be PEM certificates, of 64 KiB at most",
            ));
        }
    }
    Ok(ca)
}

fn generator(call: &Call, spec: &Value) -> Result<RegisteredKind, Fault> {
    let read = serde_json::from_value::<GeneratorSpec>(spec.clone());
    let read = read.map_err(|error| {
        // It is about the words of a declaration; position and kind would tell nothing.
        Fault::Invalid(format!("`generator` is none: {error}"))
    })?;
    if !read.makes_secrets() {
        return Err(Fault::invalid("what this generator draws is no secret"));
    }
    Ok(RegisteredKind::Generate {
        spec: spec.to_string(),
        field: field::text(&call.fields, "field")?,
    })
}

fn declared(call: &Call, spec: &Value) -> Result<RegisteredKind, Fault> {
    let read = serde_json::from_value::<RotatorSpec>(spec.clone());
    // It is about the words of a declaration, which hold no secret.
    let read = read.map_err(|error| Fault::Invalid(format!("`rotator` is none: {error}")))?;
    strongroom_rotators::check(&read).map_err(Fault::Invalid)?;
    if let RotatorSpec::Command(program) = &read {
        let path = program.command.first().map_or("", String::as_str);
        call.node.rotate.may_run(path).map_err(Fault::Invalid)?;
    }
    Ok(RegisteredKind::Declared {
        spec: spec.to_string(),
    })
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    match call.core.state.remove_rotator(name(call)?).await? {
        true => Ok(Answer::Empty),
        false => Err(Fault::NotFound),
    }
}
