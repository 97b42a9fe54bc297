//! Rows of a Markdown table on standard output: `cargo xtask` collects them.

use std::io::Write;

/// Prints one row; the first of a table is its heading.
pub(crate) fn row(cells: &[&str]) {
    // Nobody left to read: nothing to tell.
    drop(writeln!(std::io::stdout(), "| {} |", cells.join(" | ")));
}

/// Prints a heading and the line below it.
pub(crate) fn heading(cells: &[&str]) {
    row(cells);
    row(&vec!["---"; cells.len()]);
}

/// How a figure stands to its goal.
pub(crate) fn verdict(is_reached: bool) -> &'static str {
    if is_reached { "yes" } else { "**no**" }
}
