//! The command line over real projects: `cargo xtask corpus` builds and starts this program with
//! the folder of the corpus. No value is printed.

mod bundles;
#[path = "../support/draw.rs"]
mod draw;
mod env_files;
mod placeholders;
mod registry;
#[path = "../support/rig.rs"]
mod rig;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use rig::AnyResult;

fn main() -> AnyResult<ExitCode> {
    let folder = std::env::args_os()
        .nth(1)
        .ok_or("say where the corpus is")?;
    let folder = Path::new(&folder);
    let results = [
        ("placeholders", placeholders::check(folder)),
        ("registry", registry::check(folder)),
        ("env files", env_files::check(folder)),
        ("bundles", bundles::check(folder)),
    ];
    let mut out = std::io::stdout().lock();
    let mut failures = 0_u8;
    for (name, result) in results {
        match result {
            Ok(detail) => writeln!(out, "ok    {name}: {detail}")?,
            Err(error) => {
                failures += 1;
                writeln!(out, "FAIL  {name}: {error}")?;
            }
        }
    }
    Ok(ExitCode::from(failures))
}
