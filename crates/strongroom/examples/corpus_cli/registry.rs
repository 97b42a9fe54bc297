//! A documented inventory of secrets, as a manifest.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::rig::AnyResult;
use crate::rig::Rig;

const SECRETS: usize = 11;
const REQUIRED: usize = 8;

#[derive(Deserialize)]
struct Registry {
    documented: Vec<Documented>,
}

#[derive(Deserialize)]
struct Documented {
    name: String,
    required: bool,
    env: Option<String>,
    purpose: String,
    format: Option<String>,
    default: Option<String>,
}

/// Writes the inventory as a manifest, and has `check` report on it.
pub(crate) fn check(folder: &Path) -> AnyResult<String> {
    let path = folder.join("vaporform/derived/secret_registry.json");
    let registry: Registry = serde_json::from_slice(&fs::read(path)?)?;
    let rig = Rig::new()?;
    fs::write(rig.file("strongroom.toml"), manifest(&registry)?)?;
    let output = rig.strongroom(&["check", "--json"]).output()?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let secrets = list(&report, "secrets")?;
    let count = |key: &str, wanted: &Value| {
        let is_so = |secret: &&Value| secret.get(key) == Some(wanted);
        secrets.iter().filter(is_so).count()
    };
    let (total, required) = (secrets.len(), count("required", &true.into()));
    let missing = count("status", &"missing".into());
    let is_missing = |problem: &&Value| problem.get("code") == Some(&"check.missing".into());
    let problems = list(&report, "problems")?.iter().filter(is_missing).count();
    let detail = format!(
        "{total} secrets, {required} required, {} optional; with no values: \
         {problems} problems, {missing} missing, exit {}",
        total - required,
        output.status
    );
    let is_good = total == SECRETS
        && required == REQUIRED
        && problems == REQUIRED
        && output.status.code() == Some(5);
    if is_good {
        Ok(detail)
    } else {
        Err(detail.into())
    }
}

fn list<'v>(report: &'v Value, key: &str) -> AnyResult<&'v Vec<Value>> {
    let found = report.get(key).and_then(Value::as_array);
    Ok(found.ok_or_else(|| format!("no {key} in the report"))?)
}

fn manifest(registry: &Registry) -> AnyResult<String> {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let mut text = String::from("[project]\nname = \"inventory\"\n");
    for secret in &registry.documented {
        writeln!(text, "\n[secrets.{}]", secret.name)?;
        writeln!(text, "description = {}", quoted(&secret.purpose))?;
        writeln!(text, "required = {}", secret.required)?;
        if let Some(format) = &secret.format {
            writeln!(text, "format = {}", quoted(format))?;
        }
        if let Some(env) = &secret.env {
            writeln!(text, "target = {{ type = \"env\", name = \"{env}\" }}")?;
        }
        match &secret.default {
            Some(default) => {
                writeln!(text, "sensitive = false\ndefault = {}", quoted(default))?;
            }
            None => writeln!(text, "class = \"user_prompt\"")?,
        }
    }
    Ok(text)
}
