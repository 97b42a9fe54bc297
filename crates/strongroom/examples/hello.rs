//! The floor under every start: a Rust program that prints one line.

use std::io::Write;

fn main() -> std::io::Result<()> {
    writeln!(std::io::stdout(), "hello")
}
