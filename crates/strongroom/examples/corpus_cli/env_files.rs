//! Real .env files: `init`, `check`, `import` and `export`, as Node's dotenv reads them.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::rig::AnyResult;
use crate::rig::Rig;

const FILES: usize = 35;

/// Compares two files name by name; prints counts, and names that differ.
const SCRIPT: &str = "
const dotenv = require(process.argv[1]);
const read = (path) => dotenv.parse(require('fs').readFileSync(path));
const [a, b] = [read(process.argv[2]), read(process.argv[3])];
const wanted = Object.keys(a).filter((name) => a[name] !== '');
const differ = wanted.filter((name) => a[name] !== b[name]);
const extra = Object.keys(b).filter((name) => !(name in a));
const empty = Object.keys(a).length - wanted.length;
console.log(JSON.stringify({ equal: wanted.length - differ.length, empty, differ, extra }));
";

/// Takes every file through a project of its own.
pub(crate) fn check(folder: &Path) -> AnyResult<String> {
    let module = module()?;
    let files = files(folder)?;
    let (mut equal, mut empty, mut failures) = (0, 0, Vec::new());
    for file in &files {
        match one(file, &module) {
            Ok((values, empties)) => {
                equal += values;
                empty += empties;
            }
            Err(error) => {
                let name = file.strip_prefix(folder).unwrap_or(file).display();
                failures.push(format!("{name}: {error}"));
            }
        }
    }
    let detail = format!(
        "{} files through init, check, import and export; {equal} values equal to Node's, \
         {empty} empty ones left out",
        files.len()
    );
    if files.len() < FILES {
        failures.push(format!("there should be {FILES} files"));
    }
    if failures.is_empty() {
        return Ok(detail);
    }
    Err(format!("{detail}\n      {}", failures.join("\n      ")).into())
}

fn one(file: &Path, module: &Path) -> AnyResult<(u64, u64)> {
    let rig = Rig::new()?;
    let original = rig.file(".env");
    let bytes = fs::read(file)?;
    fs::write(&original, &bytes)?;
    rig.ask(&["init", "--yes", "--json"])?;
    let output = rig.strongroom(&["check", "--json"]).output()?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("check --json prints no JSON ({})", output.status))?;
    if !matches!(output.status.code(), Some(0 | 5)) || report.get("ok").is_none() {
        return Err(format!("check ended with {}", output.status).into());
    }
    rig.ask(&["import", ".env", "--placeholders", "--yes", "--json"])?;
    if fs::read(&original)? != bytes {
        return Err("the .env file was changed".into());
    }
    let exported = rig.file("exported");
    let path = exported.display().to_string();
    rig.ask(&["export", "--format", "env", "--output", &path])?;
    let output = Command::new("node")
        .args(["-e", SCRIPT])
        .args([module, &original, &exported])
        .output()?;
    if !output.status.success() {
        return Err("node cannot compare the files".into());
    }
    let result: Value = serde_json::from_slice(&output.stdout)?;
    let names = |key: &str| {
        result
            .get(key)
            .and_then(Value::as_array)
            .map_or(0, Vec::len)
    };
    if names("differ") + names("extra") > 0 {
        let list = |key: &str| result.get(key).map(ToString::to_string).unwrap_or_default();
        return Err(format!("differ: {}, extra: {}", list("differ"), list("extra")).into());
    }
    let count = |key: &str| result.get(key).and_then(Value::as_u64).unwrap_or(0);
    Ok((count("equal"), count("empty")))
}

/// Node's dotenv, where `cargo xtask peers` puts it.
fn module() -> AnyResult<PathBuf> {
    let module = std::env::var_os("NODE_DOTENV").map_or_else(
        || PathBuf::from(".peers/node/node_modules/dotenv"),
        PathBuf::from,
    );
    let found = fs::canonicalize(&module);
    Ok(found.map_err(|_| format!("no dotenv at {}: cargo xtask peers", module.display()))?)
}

/// All files in folders called `env`.
fn files(folder: &Path) -> AnyResult<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else if path.parent().is_some_and(|parent| parent.ends_with("env")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
