//! Policies of rotation: which secrets are rotated by what and when, by the pattern of their paths.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use strongroom_core::time::Span;
use strongroom_engine::rotation::Keep;
use strongroom_engine::rotation::Policy;
use strongroom_engine::rotation::Setup;
use strongroom_engine::rotation::Wait;

use super::rotations;
use crate::rotate;
use crate::rotate::rotators;
use crate::vault::body::Fields;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::field;
use crate::vault::reply::Answer;

/// Longest pattern, and longest owner, in characters.
const TEXT_CHARS_MAX: usize = 512;
const DAY_SECONDS: i64 = 86_400;

fn name(call: &Call) -> Result<&str, Fault> {
    let name = call.capture(0);
    match rotators::is_name(name) {
        true => Ok(name),
        false => Err(Fault::invalid(
            "the name of a policy has 1 to 64 letters, digits, `-` and `_`",
        )),
    }
}

fn describe(policy: &Policy) -> Value {
    json!({
        "pattern": policy.pattern,
        "rotator": policy.setup.rotator,
        "days": policy.setup.days,
        "schedule": policy.setup.expression,
        "duration": policy.setup.duration,
        "jitter": policy.setup.jitter.map(|span| span.to_string()),
        "overlap": policy.setup.keep.overlap.map(|span| span.to_string()),
        "wait": policy.setup.keep.overlap.map(|_| policy.setup.keep.wait.word()),
        "consumers_within": policy.setup.keep.consumers_within.map(|span| span.to_string()),
        "notify_before": policy.notify_before.map(|span| span.to_string()),
        "owner": policy.owner,
        "written": policy.written.to_string(),
    })
}

pub(super) async fn list(call: &mut Call) -> Result<Answer, Fault> {
    let known = call.core.state.rotation_policies().await?;
    let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
    let info = known.iter();
    let info = info.map(|(name, found)| (name.clone(), describe(&found.value)));
    let info: Map<String, Value> = info.collect();
    Ok(Answer::data(json!({ "keys": names, "key_info": info })))
}

pub(super) async fn read(call: &mut Call) -> Result<Answer, Fault> {
    let found = call.core.state.rotation_policy(name(call)?).await?;
    let found = found.ok_or(Fault::NotFound)?;
    Ok(Answer::data(describe(&found.value)))
}

pub(super) async fn write(call: &mut Call) -> Result<Answer, Fault> {
    let name = name(call)?;
    let fields = &call.fields;
    let text = |name: &str| -> Result<Option<String>, Fault> {
        let text = field::text(fields, name)?.filter(|text| !text.is_empty());
        match text {
            Some(text) if text.chars().count() > TEXT_CHARS_MAX => Err(Fault::Invalid(format!(
                "`{name}` has at most {TEXT_CHARS_MAX} characters"
            ))),
            text => Ok(text),
        }
    };
    let pattern = text("pattern")?;
    let pattern = pattern.ok_or_else(|| {
        Fault::invalid("a policy has a `pattern` of paths, such as jwt/* (`*` and `?`)")
    })?;
    let setup = setup_of(call, fields, None).await?;
    if setup.days.is_none() && setup.expression.is_none() {
        return Err(Fault::invalid(
            "a policy says when: `every` (30d) or `schedule` (rate(…), cron(…))",
        ));
    }
    let notify_before = text("notify_before")?.map(|text| text.parse::<Span>());
    let notify_before = notify_before.transpose();
    let policy = Policy {
        pattern,
        setup,
        before: None,
        notify_before: notify_before
            .map_err(|error| Fault::Invalid(format!("`notify_before`: {error}")))?,
        owner: text("owner")?,
        written: call.now,
    };
    let data = describe(&policy);
    call.core.state.put_rotation_policy(name, policy).await?;
    let live = rotations::live(call)?;
    let look = rotate::policies::Look::Each;
    let changed = rotate::policies::apply(&call.node, &call.core, &live, look).await?;
    call.node.rotate.wake();
    let mut data = data;
    data["secrets_set_up"] = json!(changed);
    Ok(Answer::data(data))
}

/// The fields of a set-up.
pub(super) const SETUP: [&str; 8] = [
    "rotator",
    "every",
    "schedule",
    "duration",
    "jitter",
    "overlap",
    "wait",
    "consumers_within",
];

/// What rotates and when, as a body says it; what it does not say is as in `base`.
pub(super) async fn setup_of(
    call: &Call,
    fields: &Fields,
    base: Option<&Setup>,
) -> Result<Setup, Fault> {
    let aws = &call.node.settings.aws;
    let region = aws.region.as_deref().unwrap_or("us-east-1");
    let text = |name: &str| -> Result<Option<String>, Fault> {
        Ok(field::text(fields, name)?.filter(|text| !text.is_empty()))
    };
    let kept = base.map(|base| base.rotator.clone());
    let kept = kept.filter(|rotator| !rotator.is_empty());
    let said = text("rotator")?.or(kept);
    let said = said.unwrap_or_else(|| rotators::MANUAL.to_owned());
    let rotator = match said.starts_with("arn:") {
        true => said,
        false => format!("arn:aws:lambda:{region}:{}:function:{said}", aws.account),
    };
    if !rotators::is_known(&call.node, &call.core, &rotator).await? {
        return Err(Fault::Invalid(format!(
            "no rotator is registered as {rotator}"
        )));
    }
    let span = |name: &str| -> Result<Option<Span>, Fault> {
        let span = text(name)?.map(|text| text.parse::<Span>()).transpose();
        span.map_err(|error| Fault::Invalid(format!("`{name}`: {error}")))
    };
    let days = match span("every")? {
        None => None,
        Some(span) => {
            let days = span.as_seconds() / DAY_SECONDS;
            let is_whole = span.as_seconds() % DAY_SECONDS == 0;
            let days = u32::try_from(days).ok().filter(|_| is_whole);
            Some(days.ok_or_else(|| Fault::invalid("`every` is a number of whole days"))?)
        }
    };
    let base = base.cloned().unwrap_or_default();
    let said = (days, text("schedule")?, text("duration")?);
    let (days, expression, duration) = match said {
        (None, None, None) => (base.days, base.expression, base.duration),
        (None, None, duration) => (base.days, base.expression, duration),
        said => said,
    };
    let keep = Keep {
        overlap: span("overlap")?.or(base.keep.overlap),
        wait: match text("wait")? {
            Some(word) => Wait::of_word(&word)
                .ok_or_else(|| Fault::invalid("`wait` is deadline or consumers"))?,
            None => base.keep.wait,
        },
        consumers_within: span("consumers_within")?.or(base.keep.consumers_within),
    };
    let setup = Setup {
        rotator,
        is_enabled: true,
        days,
        expression,
        duration,
        keep,
        jitter: span("jitter")?.or(base.jitter),
    };
    if setup.days.is_some() && setup.expression.is_some() {
        return Err(Fault::invalid("`every` and `schedule` exclude each other"));
    }
    let checked = setup.schedule();
    let schedule =
        checked.map_err(|error| Fault::Invalid(format!("the schedule cannot be used: {error}")))?;
    if let Some(gap) = schedule.and_then(|schedule| schedule.longest(call.now)) {
        let outlived = rotators::outlives(&call.node, &call.core, &setup.rotator, gap).await?;
        outlived.map_err(Fault::Invalid)?;
    }
    let is_open = keep.overlap.is_none();
    if is_open && (keep.wait == Wait::Consumers || keep.consumers_within.is_some()) {
        return Err(Fault::invalid(
            "`wait` and `consumers_within` belong to an `overlap`, which bounds them: e.g. 3d",
        ));
    }
    Ok(setup)
}

pub(super) async fn delete(call: &mut Call) -> Result<Answer, Fault> {
    let name = name(call)?;
    match call.core.state.remove_rotation_policy(name).await? {
        true => Ok(Answer::Empty),
        false => Err(Fault::NotFound),
    }
}
