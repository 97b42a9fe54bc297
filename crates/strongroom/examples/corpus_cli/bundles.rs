//! Bundle manifests and registries of real projects.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::rig::AnyResult;
use crate::rig::Rig;

const MANIFESTS: usize = 21;
/// Manifests that the JSON Schema refuses.
const REFUSED: [&str; 2] = ["desktop-with-build.json", "runtime-fixture.bundle.json"];
const TIERS: [&str; 5] = ["1", "2", "3", "4", "5"];
const REGISTRIES: usize = 11;
/// One of them is no YAML.
const REGISTRIES_READ: usize = 10;
const SEED_ROWS: u64 = 43;
const SEED_REQUIRED: u64 = 11;

/// Lints and plans every manifest, and plans every registry, for all tiers.
pub(crate) fn check(folder: &Path) -> AnyResult<String> {
    let rig = Rig::new()?;
    let vrooli = folder.join("vrooli");
    let mut manifests = files(&vrooli.join("bundles"))?;
    manifests.extend(files(&vrooli.join("bundle-skeletons"))?);
    let mut refused = Vec::new();
    for manifest in &manifests {
        let name = manifest
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let file = manifest.display().to_string();
        let compat = json(&rig, &["bundle", "lint", "--compat", &file, "--json"])?;
        let strict = json(&rig, &["bundle", "lint", &file, "--json"])?;
        let is_refused = compat.get("ok") != Some(&true.into());
        if is_refused && strict.get("ok") == Some(&true.into()) {
            return Err(format!("{name}: the strict reading is laxer than the schema").into());
        }
        if is_refused {
            refused.push(name);
        }
        for tier in TIERS {
            json(&rig, &["plan", "--bundle", &file, "--tier", tier, "--json"])?;
        }
    }
    refused.sort();
    let registries = files(&vrooli.join("secrets-yaml"))?;
    let mut read = 0;
    for registry in &registries {
        let file = registry.display().to_string();
        let plan = |tier| {
            json(
                &rig,
                &["plan", "--registry", &file, "--tier", tier, "--json"],
            )
        };
        let plans = TIERS.map(plan);
        read += usize::from(plans.iter().all(Result::is_ok));
    }
    let seed = vrooli.join("derived/resource_secrets_seed.json");
    let seed = seed.display().to_string();
    let total = |more: &[&str]| -> AnyResult<Option<u64>> {
        let words = [&["plan", "--registry", &seed, "--json"], more].concat();
        let plan = json(&rig, &words)?;
        Ok(plan
            .pointer("/summary/total_secrets")
            .and_then(Value::as_u64))
    };
    let (needed, all) = (total(&[])?, total(&["--include-optional"])?);
    let detail = format!(
        "{} manifests, {} refused by the schema; {read} of {} registries read; seed: {needed:?} \
         needed of {all:?}",
        manifests.len(),
        refused.len(),
        registries.len()
    );
    let is_good = manifests.len() == MANIFESTS
        && refused == REFUSED
        && (registries.len(), read) == (REGISTRIES, REGISTRIES_READ)
        && (needed, all) == (Some(SEED_REQUIRED), Some(SEED_ROWS));
    match is_good {
        true => Ok(detail),
        false => Err(detail.into()),
    }
}

/// What a command prints; 0 and 5 are both answers.
fn json(rig: &Rig, words: &[&str]) -> AnyResult<Value> {
    let output = rig.strongroom(words).output()?;
    match output.status.code() {
        Some(0 | 5) => Ok(serde_json::from_slice(&output.stdout)?),
        code => Err(format!("{} ended with {code:?}", words.join(" ")).into()),
    }
}

fn files(folder: &Path) -> AnyResult<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    let is_data = |path: &PathBuf| {
        path.extension()
            .is_some_and(|end| end == "json" || end == "yaml")
    };
    files.retain(is_data);
    files.sort();
    Ok(files)
}
