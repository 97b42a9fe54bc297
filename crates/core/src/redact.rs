//! Masks known secret values in a byte stream, such as the output of a child process.
//!
//! Every value is looked for raw and in the encodings programs print: base64 at each alignment,
//! hex, percent-encoding, JSON and shell escapes. A hit becomes `[redacted:NAME]`; every byte of
//! an overlapping hit is hidden too, and all other bytes pass through unchanged and in order.
//!
//! The work is split so: `encode` writes the forms of a value, `store` owns and compares them,
//! `index` finds candidates fast, `prefix` says what must be held back, `stream` drives it all.

use std::sync::Arc;

use crate::secret::SecretValue;

pub use self::find::Found;
pub use self::find::find;
pub use self::stream::Redactor;

mod encode;
mod find;
mod index;
mod prefix;
mod store;
mod stream;
#[cfg(test)]
mod tests;

/// Values from this length on are masked wherever they stand, in every encoding.
const VALUE_BYTES_FULL: usize = 8;

/// Values from this length on are masked as whole tokens; shorter ones cannot be masked.
const VALUE_BYTES_TOKEN: usize = 4;

/// How well a value is masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Anywhere in the stream, raw and encoded.
    Full,
    /// Raw only, and only where the neighbouring bytes are not letters, digits or `_`: the value
    /// has 4 to 7 bytes, and would hide parts of ordinary words otherwise.
    WholeTokens,
    /// Not at all: under 4 bytes, a mask would hide ordinary output and give the value away.
    Never,
}

impl Coverage {
    /// How well a value would be masked.
    #[must_use]
    pub fn of(value: &SecretValue) -> Self {
        // EXPOSE: to measure it; the bytes go no further.
        match encode::trim_line_end(value.expose_secret()).len() {
            0..VALUE_BYTES_TOKEN => Self::Never,
            VALUE_BYTES_TOKEN..VALUE_BYTES_FULL => Self::WholeTokens,
            _ => Self::Full,
        }
    }
}

/// Collects the secrets to mask.
#[derive(Default)]
pub struct RedactorBuilder {
    forms: store::Forms,
}

impl RedactorBuilder {
    /// A builder without secrets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the value of the secret `name`. Of two secrets with equal values the first one names
    /// the mask. Line ends at the end of the value are left out: output often lacks them.
    pub fn add(&mut self, name: &str, value: &SecretValue) -> Coverage {
        let coverage = Coverage::of(value);
        match coverage {
            Coverage::Never => {}
            Coverage::WholeTokens => {
                let secret = self.forms.add_secret(name);
                encode::add_token(&mut self.forms, secret, value);
            }
            Coverage::Full => {
                let secret = self.forms.add_secret(name);
                encode::add_value(&mut self.forms, secret, value);
            }
        }
        coverage
    }

    /// Indexes what was added.
    #[must_use]
    pub fn build(self) -> Patterns {
        let forms = self.forms;
        let prefixes = prefix::Prefixes::build(&forms);
        let index = index::Index::build(&forms, prefixes.forms());
        Patterns(Arc::new(PatternsInner {
            forms,
            prefixes,
            index,
        }))
    }
}

/// What to look for, ready for use by any number of streams. A clone shares the tables.
#[derive(Clone)]
pub struct Patterns(Arc<PatternsInner>);

struct PatternsInner {
    forms: store::Forms,
    prefixes: prefix::Prefixes,
    index: index::Index,
}

impl Patterns {
    /// Starts a stream.
    #[must_use]
    pub fn stream(&self) -> Redactor {
        Redactor::new(self.clone())
    }

    /// True when there is nothing to mask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.prefixes.forms().is_empty()
    }

    /// The most bytes a stream holds back.
    #[must_use]
    pub fn held_bytes_max(&self) -> usize {
        self.0.prefixes.longest().saturating_sub(1)
    }

    /// Bytes of memory the tables take, values that are shared with the caller not counted.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.0.forms.table_bytes() + self.0.prefixes.table_bytes() + self.0.index.table_bytes()
    }
}

/// Masks a text that is there as a whole.
#[must_use]
pub fn redact_text(patterns: &Patterns, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut stream = patterns.stream();
    stream.push(text, &mut out);
    stream.finish(&mut out);
    out
}
