//! The benchmarks of the command line. `cargo xtask bench` builds and starts them.

mod aws;
mod check;
#[path = "../support/draw.rs"]
mod draw;
mod leases;
mod migrate;
mod peers;
mod postgres;
#[path = "../support/report.rs"]
mod report;
#[path = "../support/rig.rs"]
mod rig;
mod rotation;
mod run;
mod server;
mod set;
mod timing;

use rig::AnyResult;

fn main() -> AnyResult<()> {
    let name = std::env::args().nth(1).unwrap_or_default();
    report::heading(&["what", "figure", "beside", "ratio", "goal", "reached"]);
    match name.as_str() {
        "run" => run::bench(),
        "set" => set::bench(),
        "check" => check::bench(),
        "migrate" => migrate::bench(),
        "server" => server::bench(),
        "aws" => aws::bench(),
        "postgres" => postgres::bench(),
        "leases" => leases::bench(),
        "rotation" => rotation::bench(),
        _ => Err(
            "say which: run, set, check, migrate, server, aws, postgres, leases or rotation".into(),
        ),
    }
}
