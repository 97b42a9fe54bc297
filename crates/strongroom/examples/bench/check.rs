//! `strongroom check` of a large manifest.

use std::fmt::Write;
use std::fs;

use crate::draw::Draw;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;
use crate::run::hello;
use crate::timing::ms;
use crate::timing::race;

const DECLARATIONS: usize = 1000;
const PATTERNS: usize = 50;
const ROUNDS: usize = 40;
const MS_MAX: f64 = 30.0;

/// Checks 1,000 declarations with 50 patterns, the whole process.
pub(crate) fn bench() -> AnyResult<()> {
    for (chain, from) in [("dotenv:values.env", "a .env file"), ("store", "the store")] {
        let rig = prepared(chain)?;
        let mut contenders = [rig.program(&hello()?), rig.strongroom(&["check"])];
        let timings = race(ROUNDS, &mut contenders)?;
        let [floor, ours] = timings.as_slice() else {
            return Err("no timings".into());
        };
        let what = format!(
            "`check`, {DECLARATIONS} declarations, {PATTERNS} patterns, values from {from}"
        );
        let beside = format!("`hello` {}", floor.shown());
        let ratio = format!("{:.1}", ours.ratio(floor));
        let reached = report::verdict(ms(ours.best) <= MS_MAX);
        let goal = format!("at most {MS_MAX} ms");
        report::row(&[&what, &ours.shown(), &beside, &ratio, &goal, reached]);
    }
    Ok(())
}

fn prepared(chain: &str) -> AnyResult<Rig> {
    let rig = Rig::new()?;
    let mut draw = Draw::new(11);
    let mut manifest =
        format!("[project]\nname = \"bench\"\n\n[profiles.development]\nchain = [\"{chain}\"]\n");
    let mut values = String::new();
    for number in 0..DECLARATIONS {
        let name = format!("SERVICE_{number:04}_API_KEY");
        let kind = number % PATTERNS;
        let least = 16 + kind;
        write!(
            manifest,
            "\n[secrets.{name}]\nclass = \"user_prompt\"\n\
             format = \"^k{kind}_(live|test)_[A-Za-z0-9]{{{least},}}$\"\n"
        )?;
        writeln!(values, "{name}=k{kind}_live_{}", draw.text(least + 8))?;
    }
    fs::write(rig.file("strongroom.toml"), manifest)?;
    fs::write(rig.file("values.env"), values)?;
    if chain == "store" {
        rig.ask(&["import", "values.env", "--from", "env", "--yes"])?;
    }
    rig.ask(&["check"])?;
    Ok(rig)
}
