//! The operators' log: lines on stderr, never a value.

use std::io::Write;

/// Writes lines.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Log;

impl Log {
    /// Something is wrong.
    pub(crate) fn error(self, text: &str) {
        line("error", text);
    }

    /// Something that operators may want to know.
    pub(crate) fn info(self, text: &str) {
        line("info", text);
    }
}

fn line(level: &str, text: &str) {
    // Control characters would let others write lines of their own.
    let text: String = text
        .chars()
        .map(|c| {
            if strongroom_core::path::is_forbidden(c) {
                ' '
            } else {
                c
            }
        })
        .collect();
    let _ = writeln!(std::io::stderr(), "strongroom {level}: {text}");
}
