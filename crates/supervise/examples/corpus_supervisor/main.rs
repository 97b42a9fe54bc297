//! The recorded runs of the older runtime, replayed against `strongroom supervise`: `cargo xtask
//! corpus supervisor` builds and starts this program with the folder of the corpus.

mod compare;
mod machine;

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use machine::Machine;
use machine::Outcome;

/// What a program of this folder answers.
type AnyResult<T> = Result<T, Box<dyn Error>>;

const RUNS: usize = 27;

/// Runs that end otherwise on purpose: ours starts, or does not; the number in
/// `docs/compat/supervisor.md`.
const ENDS: [(&str, bool, &str); 9] = [
    ("03-generator-uuid", true, "D9"),
    ("09-generator-timestamp", true, "D9"),
    ("11-generator-violates-format", false, "D8"),
    ("12-infrastructure-class-present", false, "D8"),
    ("15-invalid-format-regex", false, "D8"),
    ("19-duplicate-secret-id", false, "D8"),
    ("20-token-path-traversal", false, "D8"),
    ("21-cloud-format-secrets-json-panics", true, "D19"),
    // The older runtime lists nothing at all there; see the answers.
    ("22-no-secrets-null-array", true, "D2"),
];

fn main() -> AnyResult<ExitCode> {
    let folder = std::env::args_os()
        .nth(1)
        .ok_or("say where the corpus is")?;
    let folder = Path::new(&folder).join("vrooli/golden-control-api");
    let mut files: Vec<_> = std::fs::read_dir(&folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    files.sort();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut out = std::io::stdout().lock();
    let mut failures = 0_u8;
    if files.len() != RUNS {
        writeln!(out, "FAIL  {} runs, not {RUNS}", files.len())?;
        failures += 1;
    }
    for file in &files {
        let run: Value = serde_json::from_slice(&std::fs::read(file)?)?;
        let name = run["name"].as_str().unwrap_or_default().to_owned();
        match runtime.block_on(replay(&name, &run)) {
            Ok(seen) if seen.is_empty() => writeln!(out, "ok    {name}")?,
            Ok(seen) => writeln!(out, "ok    {name}, with {}", seen.join(", "))?,
            Err(error) => {
                failures = failures.saturating_add(1);
                writeln!(out, "FAIL  {name}: {error}")?;
            }
        }
    }
    Ok(ExitCode::from(failures))
}

/// Replays one run; the numbers of the differences that were seen.
async fn replay(name: &str, run: &Value) -> AnyResult<Vec<String>> {
    let mut seen = Vec::new();
    let expected_end = ENDS.iter().find(|(other, ..)| *other == name);
    let has_failed = run["startup_failed"] == Value::Bool(true);
    let starts = expected_end.map_or(!has_failed, |(_, starts, _)| *starts);
    if let Some((_, _, number)) = expected_end {
        seen.push((*number).to_owned());
    }
    let mut machine = Machine::new(name, run)?;
    match (machine.start().await?, starts) {
        (Outcome::Ended(code), false) => {
            if code != 5 && code != 1 {
                return Err(format!("exit code {code}").into());
            }
            machine.check_untouched(name)?;
            return Ok(seen);
        }
        (Outcome::Ended(code), true) => {
            let said = machine.said();
            return Err(format!("it did not start: {code}: {said}").into());
        }
        (Outcome::Ready, false) => return Err("it started".into()),
        (Outcome::Ready, true) => {}
    }
    machine.check_files(run)?;
    for (at, step) in run["steps"].as_array().into_iter().flatten().enumerate() {
        let request = &step["request"];
        let answer = machine.send(request).await?;
        let wanted = &step["response"];
        let judged = compare::judge(name, at, request, wanted, &answer);
        let judged = judged.map_err(|why| format!("step {at} {}: {why}", request["path"]))?;
        if let Some(number) = judged.meant {
            machine.catch_up(request, number).await?;
        }
        let numbers = judged.meant.into_iter().chain(judged.more);
        seen.extend(numbers.map(str::to_owned));
    }
    if has_failed || name.starts_with("16") {
        machine.check_all_set().await?;
    }
    machine.end(run).await?;
    seen.sort();
    seen.dedup();
    Ok(seen)
}
