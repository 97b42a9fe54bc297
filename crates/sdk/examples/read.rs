//! Reads one declared secret of the project at hand: `cargo run --example read -- API_KEY`.
#![expect(clippy::print_stdout, reason = "it is a program of its own")]

use strongroom_sdk::blocking::Secrets;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).ok_or("which secret?")?;
    let secrets = Secrets::load()?;
    let value = secrets.get_or_env(&name, &name)?;
    // Never the value itself.
    println!("{name} has {} bytes", value.len_bytes());
    Ok(())
}
