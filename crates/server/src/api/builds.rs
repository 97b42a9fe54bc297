//! How the programs of a bundle are built. Nothing is run here: whoever has the sources runs it.

use http::StatusCode;
use serde_json::Value;
use serde_json::json;
use strongroom_deploy::build;
use strongroom_deploy::build::Platform;
use strongroom_deploy::build::Request;
use strongroom_deploy::build::Step;

use super::bare;
use super::field;
use crate::vault::call::Call;
use crate::vault::error::Fault;
use crate::vault::reply::Answer;

/// What the folder of programs is called in commands, which nobody here knows.
const ROOT: &str = "$BUNDLE";
/// Who runs it.
const RUN_BY: &str = "strongroom bundle build";

/// What can be built, for which platforms.
pub(super) async fn about(_: &mut Call) -> Result<Answer, Fault> {
    let platforms = Platform::ALL.map(
        |one| json!({ "name": one.name, "goos": one.goos, "goarch": one.goarch, "ext": one.ext }),
    );
    Ok(bare(json!({
        "types": build::KINDS,
        "platforms": platforms,
        "run_by": RUN_BY,
    })))
}

/// `{manifest, platforms?, services?}`: the commands that its programs are built with.
pub(super) async fn plan(call: &mut Call) -> Result<Answer, Fault> {
    let manifest = call.fields.get("manifest").cloned();
    let manifest = manifest.ok_or_else(|| Fault::invalid("manifest is required"))?;
    let services = field::names(call, "services")?;
    let mut platforms = Vec::new();
    for name in field::names(call, "platforms")? {
        let platform = Platform::find(&name).ok_or_else(|| {
            let known = Platform::ALL.map(|one| one.name).join(", ");
            Fault::invalid(format!("there is no platform {name} (there are {known})"))
        })?;
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    if platforms.is_empty() {
        platforms = Platform::ALL.to_vec();
    }
    let request = Request {
        platforms: &platforms,
        services: &services,
        host: None,
        root: ROOT,
    };
    match build::steps(&manifest, request) {
        Ok(steps) => Ok(bare(json!({
            "status": "planned",
            "builds": steps.iter().map(Step::to_json).collect::<Vec<Value>>(),
            "run_by": RUN_BY,
        }))),
        Err(problems) => {
            let body = json!({
                "error": "the programs cannot be built",
                "details": problems.join("; "),
                "blockers": problems,
            });
            Ok(Answer::Bare(StatusCode::UNPROCESSABLE_ENTITY, body))
        }
    }
}

/// No build runs here, so none has a state.
pub(super) async fn none(_: &mut Call) -> Result<Answer, Fault> {
    let text = format!(
        "no build runs on a server; POST v1/build answers with the commands, and '{RUN_BY}' runs \
         them"
    );
    Err(Fault::NotFoundWith(vec![text]))
}
