//! `kill -9` of a migration of 500 secrets at random moments: it resumes, and can be undone.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use crate::draw::Draw;
use crate::note::note;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;

/// Secrets of the file.
const SECRETS: usize = 500;
/// What stays in the file.
const SETTING: &str = "LOG_LEVEL=info\n";
const MIGRATE: &[&str] = &[
    "migrate",
    "--from",
    "dotenv:.env",
    "--to",
    "store",
    "--yes",
    "-q",
];
const ROLLBACK: &[&str] = &["migrate", "rollback", "--yes", "-q"];
const RESUME: &[&str] = &["migrate", "resume", "-q"];

#[derive(Default)]
struct Figures {
    kills: u64,
    /// Kills by what the journal said afterwards.
    stages: BTreeMap<String, u64>,
    migrations: u64,
    lost: u64,
    doubled: u64,
    left_behind: u64,
    not_undone: u64,
}

/// Kills until there were enough, and prints the figures.
pub(crate) fn run(kills: u64) -> AnyResult<bool> {
    let rig = Rig::new()?;
    let mut draw = Draw::new(7);
    let values: Vec<String> = (0..SECRETS).map(|_| draw.text(32)).collect();
    let mut text = String::new();
    for (number, value) in values.iter().enumerate() {
        text.push_str(&format!("S{number}_TOKEN={value}\n"));
    }
    text.push_str(SETTING);
    fs::write(rig.file(".env"), &text)?;
    let start = Instant::now();
    rig.ask(MIGRATE)?;
    let whole = start.elapsed();
    rig.ask(ROLLBACK)?;
    let mut figures = Figures::default();
    while figures.kills < kills {
        through(&rig, MIGRATE, whole, &mut draw, &mut figures)?;
        figures.migrations += 1;
        look_at_target(&rig, &values, &mut figures)?;
        if fs::read_to_string(rig.file(".env"))? != SETTING {
            figures.left_behind += 1;
        }
        through(&rig, ROLLBACK, whole, &mut draw, &mut figures)?;
        let is_back = fs::read_to_string(rig.file(".env"))? == text;
        let is_empty = listed(&rig)?.is_empty();
        if !(is_back && is_empty) {
            figures.not_undone += 1;
        }
        rig.ask(&["doctor"])?;
        note(&format!("{} kills", figures.kills));
    }
    Ok(print(kills, whole, &figures))
}

/// Runs a command to its end, whatever it takes: killed at random, gone on with.
fn through(
    rig: &Rig,
    begin: &[&str],
    whole: Duration,
    draw: &mut Draw,
    figures: &mut Figures,
) -> AnyResult<()> {
    let is_rollback = begin == ROLLBACK;
    let mut words = begin;
    loop {
        let window = u64::try_from(whole.as_micros())? * 5 / 4;
        let patience = Duration::from_micros(draw.below(window));
        let mut child = rig
            .strongroom(words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // Nobody ever sends: this only waits.
        let (_kept, never) = mpsc::channel::<()>();
        let _ = never.recv_timeout(patience);
        child.kill()?;
        if let Some(code) = child.wait()?.code() {
            return match code {
                0 => Ok(()),
                code => Err(format!("{words:?} ended with {code}").into()),
            };
        }
        figures.kills += 1;
        let stage = stage(rig)?;
        *figures.stages.entry(stage.clone()).or_default() += 1;
        words = match stage.as_str() {
            "rolled back" if is_rollback => return Ok(()),
            "done" if !is_rollback => return Ok(()),
            "done" | "rolled back" => begin,
            _ => RESUME,
        };
    }
}

fn stage(rig: &Rig) -> AnyResult<String> {
    let status = rig.ask(&["migrate", "status", "--json"])?;
    let status: serde_json::Value = serde_json::from_slice(&status)?;
    let stage = status["migrations"][0]["stage"].as_str();
    Ok(stage.ok_or("no migration")?.to_owned())
}

fn listed(rig: &Rig) -> AnyResult<Vec<serde_json::Value>> {
    let list = rig.ask(&["list", "/", "--json"])?;
    let list: serde_json::Value = serde_json::from_slice(&list)?;
    Ok(list["secrets"].as_array().cloned().unwrap_or_default())
}

fn look_at_target(rig: &Rig, values: &[String], figures: &mut Figures) -> AnyResult<()> {
    let listed = listed(rig)?;
    let twice = listed.iter().filter(|secret| secret["secret_version"] != 1);
    figures.doubled += twice.count() as u64;
    figures.lost += (SECRETS.saturating_sub(listed.len())) as u64;
    for (number, value) in values.iter().enumerate().step_by(25) {
        if rig.ask(&["get", &format!("s{number}/token")])? != value.as_bytes() {
            figures.lost += 1;
        }
    }
    rig.ask(&["migrate", "verify"])?;
    Ok(())
}

fn print(kills: u64, whole: Duration, figures: &Figures) -> bool {
    report::heading(&["what", "figure", "goal", "reached"]);
    let what = format!("kills of a migration of {SECRETS} secrets, and of its rollback");
    let is_enough = kills >= 50;
    let count = figures.kills.to_string();
    report::row(&[&what, &count, "at least 50", report::verdict(is_enough)]);
    for (stage, count) in &figures.stages {
        let what = format!("of these: the journal said `{stage}` afterwards");
        report::row(&[&what, &count.to_string(), "", ""]);
    }
    let migrations = figures.migrations.to_string();
    report::row(&[
        "migrations that went through, then back",
        &migrations,
        "",
        "",
    ]);
    let bad = [
        ("secrets lost, or with another value", figures.lost),
        ("secrets written twice", figures.doubled),
        ("`.env` files that still held a secret", figures.left_behind),
        ("rollbacks that left a difference", figures.not_undone),
    ];
    for (what, count) in bad {
        let reached = report::verdict(count == 0);
        report::row(&[what, &count.to_string(), "0", reached]);
    }
    let figure = format!("{:.2} s", whole.as_secs_f64());
    report::row(&["one migration without a kill", &figure, "", ""]);
    is_enough && bad.iter().all(|(_, count)| *count == 0)
}
