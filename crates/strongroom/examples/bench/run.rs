//! `strongroom run -- true`, cold, with all secrets from the encrypted store.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::draw::Draw;
use crate::peers;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;
use crate::timing::Timing;
use crate::timing::ms;
use crate::timing::race;

const ROUNDS: usize = 60;

/// Races `run` against a Rust "hello" and the peers that are installed.
pub(crate) fn bench() -> AnyResult<()> {
    let secrets = secrets(200);
    let floor = with_secrets(&secrets)?;
    let few = secrets.get(..11).unwrap_or_default();
    with_secrets(few)?;
    memory(&secrets)?;
    let shown = floor.shown();
    report::row(&["a Rust `hello`, started cold", &shown, "", "", "", ""]);
    Ok(())
}

/// Made-up secrets, the same at every run.
fn secrets(count: usize) -> Vec<(String, String)> {
    let mut draw = Draw::new(7);
    (0..count)
        .map(|number| (format!("SERVICE_{number:03}_API_KEY"), draw.text(40)))
        .collect()
}

fn with_secrets(secrets: &[(String, String)]) -> AnyResult<Timing> {
    let rig = prepared(secrets)?;
    let mut names = vec!["hello", "strongroom"];
    let mut contenders = vec![
        rig.program(&hello()?),
        rig.strongroom(&["run", "--", "true"]),
    ];
    for peer in peers::set_up(&rig, secrets)? {
        names.push(peer.name);
        contenders.push(peer.command);
    }
    let timings = race(ROUNDS, &mut contenders)?;
    let [floor, ours, others @ ..] = timings.as_slice() else {
        return Err("no timings".into());
    };
    let count = secrets.len();
    let what = format!("`run -- true`, {count} secrets from the store");
    let figure = ours.shown();
    let line = |beside: &str, ratio: f64, goal: f64| {
        let (ratio_text, goal_text) = (format!("{ratio:.2}"), format!("at most {goal}"));
        let reached = report::verdict(ratio <= goal);
        report::row(&[&what, &figure, beside, &ratio_text, &goal_text, reached]);
    };
    line(
        &format!("`hello` {}", floor.shown()),
        ours.ratio(floor),
        6.0,
    );
    for (name, other) in names.iter().skip(2).zip(others) {
        let beside = format!("{name} {}", other.shown());
        line(&beside, ours.ratio(other), 0.7);
    }
    if count == 11 {
        let reached = report::verdict(ms(ours.best) <= 4.0);
        let goal = "at most 4 ms where SecretSpec takes 6";
        report::row(&[&what, &figure, "", "", goal, reached]);
    }
    Ok(*floor)
}

/// A project whose secrets are in the store and nowhere else.
fn prepared(secrets: &[(String, String)]) -> AnyResult<Rig> {
    let rig = Rig::new()?;
    let mut manifest = String::from(
        "[project]\nname = \"bench\"\n\n[profiles.development]\nchain = [\"store\"]\n",
    );
    let mut values = String::new();
    for (name, value) in secrets {
        write!(manifest, "\n[secrets.{name}]\nclass = \"user_prompt\"\n")?;
        writeln!(values, "{name}={value}")?;
    }
    fs::write(rig.file("strongroom.toml"), manifest)?;
    fs::write(rig.file("values.env"), values)?;
    rig.ask(&["import", "values.env", "--from", "env", "--yes"])?;
    fs::remove_file(rig.file("values.env"))?;
    rig.ask(&["check"])?;
    Ok(rig)
}

/// The most memory `run` ever had, read from outside while its child waits.
fn memory(secrets: &[(String, String)]) -> AnyResult<()> {
    let rig = prepared(secrets)?;
    let script = "sleep 0.3; grep VmHWM /proc/$PPID/status";
    let printed = rig.ask(&["run", "--", "sh", "-c", script])?;
    let printed = String::from_utf8(printed)?;
    let kib: f64 = printed
        .split_whitespace()
        .nth(1)
        .ok_or("no VmHWM in what the child printed")?
        .parse()?;
    let mib = kib / 1024.0;
    let figure = format!("{mib:.1} MiB");
    let reached = report::verdict(mib <= 20.0);
    let what = format!("peak memory of `run`, {} secrets", secrets.len());
    report::row(&[&what, &figure, "", "", "at most 20 MiB", reached]);
    Ok(())
}

/// The other example, built beside this one.
pub(crate) fn hello() -> AnyResult<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("hello");
    if path.is_file() {
        return Ok(path);
    }
    Err("no `hello` beside this program: cargo xtask bench builds it".into())
}

/// A program to race against.
pub(crate) struct Peer {
    /// As it is shown.
    pub(crate) name: &'static str,
    /// Does the same with the same values.
    pub(crate) command: Command,
}
