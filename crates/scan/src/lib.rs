//! Finds secrets in files.
//!
//! [`Scanner`] looks at one text: an Aho-Corasick automaton finds the keywords of all rules in one
//! pass, and only around a keyword the pattern of its rule is tried. What a pattern finds is
//! judged: placeholders, references and values that are easy to guess are no secrets. [`walk`] goes
//! through folders. A [`Finding`] says what was found and where, and never has the value.

pub mod finding;
pub mod rule;
pub mod sarif;
pub mod walk;

#[cfg(test)]
mod example;
mod judge;
mod place;
mod scanner;

pub use finding::Finding;
pub use rule::Rule;
pub use rule::Severity;
pub use scanner::Fingerprint;
pub use scanner::Lookout;
pub use scanner::Scanner;
