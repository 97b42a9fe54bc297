//! How it goes, for the person who waits: on standard error, beside the tables.

use std::io::Write;

/// Says one line.
pub(crate) fn note(text: &str) {
    // Nobody left to read: nothing to tell.
    drop(writeln!(std::io::stderr(), "{text}"));
}
