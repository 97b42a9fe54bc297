//! Faults and crashes: `cargo xtask reliability` builds and starts these programs.

#[path = "../support/attacks.rs"]
mod attacks;
mod chaos;
mod crew;
mod damage;
#[path = "../support/draw.rs"]
mod draw;
mod kill;
mod ledger;
mod many;
mod migrate;
#[path = "../support/note.rs"]
mod note;
mod poison;
#[path = "../../../core/src/policy/tests/reference.rs"]
mod policy_model;
mod power;
#[path = "../support/report.rs"]
mod report;
#[path = "../support/rig.rs"]
mod rig;
mod server;
mod worker;

use std::process::ExitCode;

use rig::AnyResult;

const USAGE: &str = "reliability kill|power|damage|many|migrate|sinks|requests|connections|\
timing|guesses|shares|histories|policies|backends|rotation|leases|soak|poison|\
chaos [ROUNDS]";

fn main() -> AnyResult<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (name, rest) = args.split_first().ok_or(USAGE)?;
    let rounds = |usual: u64| rest.first().map_or(Ok(usual), |text| text.parse());
    let is_good = match name.as_str() {
        "kill" => kill::run(rounds(500)?)?,
        "power" => power::run(rounds(50)?)?,
        "damage" => damage::run(rounds(1_000)?)?,
        "many" => many::run(rounds(500)?)?,
        "migrate" => migrate::run(rounds(60)?)?,
        "sinks" => server::sinks::run(rounds(10_000)?)?,
        "requests" => server::requests::run(rounds(10)?)?,
        "connections" => server::connections::run(rounds(1)?)?,
        "timing" => server::timing::run(rounds(2_000)?)?,
        "guesses" => server::guesses::run(rounds(10_000)?)?,
        "shares" => server::shares::run(rounds(100)?)?,
        "histories" => server::histories::run(rounds(100_000)?)?,
        "policies" => server::policies::run(rounds(60)?)?,
        "backends" => server::backends::run(rounds(5)?)?,
        "leases" => server::leases::run(rounds(20)?)?,
        "rotation" => server::rotation::run(rounds(20)?)?,
        "soak" => server::soak::run(rounds(60)?)?,
        "chaos" => chaos::run(rounds(20)?, rest.get(1).map_or(Ok(0), |text| text.parse())?)?,
        "chaos-inside" => chaos::inside(rest)?,
        "poison" => poison::run()?,
        "poisoned" => poison::poisoned(rest).map(|()| true)?,
        "worker" => worker::run(rest).map(|()| true)?,
        "mix" => many::mix(rest).map(|()| true)?,
        _ => return Err(USAGE.into()),
    };
    Ok(ExitCode::from(u8::from(!is_good)))
}
