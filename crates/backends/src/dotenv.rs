//! `.env` files, read and written so that Node's `dotenv` yields the same bytes.
//!
//! There is no expansion of `${NAME}` and no execution of `$(command)`: Node's `dotenv` does none.
//! Lines that it ignores (a name without `=`, text that is no assignment) are kept and named by
//! [`DotenvFile::ignored_lines`]. One thing is stricter: a quote that is opened and never closed
//! is an error here, where Node takes the quote for a part of the value and the rest of a key
//! file for nothing.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use adotenv::ColumnEncoding;
use adotenv::Dialect;
use adotenv::Document;
use adotenv::Edit;
use adotenv::Entry;
use adotenv::ItemKind;
use adotenv::LineIndex;
use adotenv::Position;
use adotenv::Quote;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroizing;

mod backend;
mod spelling;
#[cfg(test)]
mod tests;

pub use backend::DotenvBackend;
pub use spelling::assignment;

/// Largest `.env` file, in bytes.
pub const DOTENV_BYTES_MAX: usize = 4 << 20;

/// A parsed `.env` file that remembers every byte of its text.
pub struct DotenvFile {
    source: Zeroizing<String>,
    entries: Vec<DotenvEntry>,
    ignored: Vec<usize>,
}

/// One assignment of a `.env` file.
#[derive(Clone, Debug)]
pub struct DotenvEntry {
    /// The variable's name.
    pub name: String,
    /// Its value, as Node's `dotenv` yields it.
    pub value: SecretValue,
    /// The line it starts on, from 1.
    pub line: usize,
}

/// A name that is assigned more than once; the last one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The variable's name.
    pub name: String,
    /// The lines of all its assignments, in order.
    pub lines: Vec<usize>,
}

impl DotenvFile {
    /// Parses the bytes of a file.
    ///
    /// # Errors
    /// When they are too many, no UTF-8, or a quote is opened and never closed.
    pub fn parse(bytes: &[u8]) -> Result<Self, DotenvError> {
        if bytes.len() > DOTENV_BYTES_MAX {
            return Err(DotenvError {
                line: 1,
                column: 1,
                kind: DotenvErrorKind::TooLarge,
            });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let valid = std::str::from_utf8(valid).unwrap_or_default();
            DotenvError::at(
                &LineIndex::new(valid),
                valid.len(),
                DotenvErrorKind::NotUtf8,
            )
        })?;
        Self::parse_owned(Zeroizing::new(text.to_owned()))
    }

    fn parse_owned(source: Zeroizing<String>) -> Result<Self, DotenvError> {
        let (document, _) = adotenv::parse_with(&source, Dialect::NODE_DOTENV);
        let lines = document.line_index();
        let mut entries = Vec::new();
        for entry in document
            .entries()
            .filter(|entry| entry.participates_in_lookup())
        {
            if let Some(position) = unclosed_quote(entry) {
                let kind = DotenvErrorKind::UnterminatedQuote;
                return Err(DotenvError::at(&lines, position, kind));
            }
            let Some(value) = entry.value() else { continue };
            entries.push(DotenvEntry {
                name: entry.key().to_owned(),
                value: SecretValue::copy_from(value.as_bytes()),
                line: line_of(&lines, entry.key_span().start),
            });
        }
        let ignored = ignored_lines(&document, &lines);
        drop(lines);
        drop(document);
        Ok(Self {
            source,
            entries,
            ignored,
        })
    }

    /// All assignments in order, repeated names included.
    #[must_use]
    pub fn entries(&self) -> &[DotenvEntry] {
        &self.entries
    }

    /// The value of a name: the last assignment counts.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SecretValue> {
        self.entries
            .iter()
            .rev()
            .find(|entry| entry.name == name)
            .map(|entry| &entry.value)
    }

    /// The names that are assigned more than once, in order of their first assignment.
    #[must_use]
    pub fn duplicates(&self) -> Vec<Duplicate> {
        let mut found: Vec<Duplicate> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for entry in &self.entries {
            let place = *places.entry(&entry.name).or_insert(found.len());
            match found.get_mut(place) {
                Some(duplicate) => duplicate.lines.push(entry.line),
                None => {
                    found.push(Duplicate {
                        name: entry.name.clone(),
                        lines: vec![entry.line],
                    });
                }
            }
        }
        found.retain(|duplicate| duplicate.lines.len() > 1);
        found
    }

    /// The lines that are neither assignment nor comment and that Node's `dotenv` ignores.
    #[must_use]
    pub fn ignored_lines(&self) -> &[usize] {
        &self.ignored
    }

    /// Sets a value, touching nothing but its assignment. A new name goes to the end of the file.
    ///
    /// Of several assignments of the name the last is changed, which is the one that counts.
    ///
    /// # Errors
    /// When the name cannot stand in a `.env` file, or no spelling of the value reads back the
    /// same. The file is then as it was.
    pub fn set(&mut self, name: &str, value: &SecretValue) -> Result<(), DotenvSetError> {
        if !spelling::is_name(name) {
            return Err(DotenvSetError::Name);
        }
        // EXPOSE: to be spelled as a token of the file; wiped with the file's text.
        let text = value.expose_secret_text().ok_or(DotenvSetError::NotText)?;
        let position = self.entries.iter().rposition(|entry| entry.name == name);
        let expected = self.expected(name, position, value);
        let candidates: Box<dyn Iterator<Item = Zeroizing<String>> + '_> = match position {
            Some(_) => Box::new(self.with_value_replaced(name, text)),
            None => Box::new(self.with_line_appended(name, text)),
        };
        let mut parsed = None;
        for source in candidates.filter(|source| source.len() <= DOTENV_BYTES_MAX) {
            parsed = Self::parse_owned(source)
                .ok()
                .filter(|file| same(&file.entries, &expected));
            if parsed.is_some() {
                break;
            }
        }
        let Some(file) = parsed else {
            return Err(self.refusal(text));
        };
        *self = file;
        Ok(())
    }

    /// Removes every assignment of a name with its lines; says whether there was one.
    ///
    /// # Errors
    /// When taking the lines out would change how the rest of the file reads.
    pub fn remove(&mut self, name: &str) -> Result<bool, DotenvSetError> {
        self.remove_all(&BTreeSet::from([name]))
    }

    /// Removes every assignment of some names in one go; says whether there was any.
    ///
    /// # Errors
    /// When taking the lines out would change how the rest of the file reads.
    pub fn remove_all(&mut self, names: &BTreeSet<&str>) -> Result<bool, DotenvSetError> {
        let expected: Vec<DotenvEntry> = self
            .entries
            .iter()
            .filter(|entry| !names.contains(entry.name.as_str()))
            .cloned()
            .collect();
        if expected.len() == self.entries.len() {
            return Ok(false);
        }
        let document = self.document();
        let edits: Vec<Edit<'_>> = document
            .entries()
            .filter(|entry| names.contains(entry.key()) && entry.participates_in_lookup())
            .map(|entry| Edit::Remove {
                item: entry.item_id(),
            })
            .collect();
        let edited = document
            .edit(&edits)
            .map_err(|_| DotenvSetError::Neighbours)?;
        let file = Self::parse_owned(Zeroizing::new(edited.into_string()))
            .ok()
            .filter(|file| same(&file.entries, &expected))
            .ok_or(DotenvSetError::Neighbours)?;
        *self = file;
        Ok(true)
    }

    /// The bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.source.as_bytes().to_vec())
    }

    fn document(&self) -> Document<'_> {
        adotenv::parse_with(&self.source, Dialect::NODE_DOTENV).0
    }

    /// What the entries have to be after a value is set.
    fn expected(
        &self,
        name: &str,
        position: Option<usize>,
        value: &SecretValue,
    ) -> Vec<DotenvEntry> {
        let mut expected = self.entries.clone();
        match position.and_then(|position| expected.get_mut(position)) {
            Some(entry) => entry.value = value.clone(),
            None => {
                let (name, value) = (name.to_owned(), value.clone());
                expected.push(DotenvEntry {
                    name,
                    value,
                    line: 0,
                });
            }
        }
        expected
    }

    /// The file's text with a new value in the last assignment of `name`, best spelling first.
    fn with_value_replaced(
        &self,
        name: &str,
        text: &str,
    ) -> impl Iterator<Item = Zeroizing<String>> + use<> {
        let document = self.document();
        let mut sources = Vec::new();
        let entry = document
            .entries()
            .rev()
            .find(|entry| entry.key() == name && entry.participates_in_lookup());
        if let Some(entry) = entry {
            let span = value_place(entry);
            let (before, after) = (self.source.get(..span.start), self.source.get(span.end..));
            if let (Some(before), Some(after)) = (before, after) {
                let gap = if after.starts_with('#') { " " } else { "" };
                for token in spelling::tokens(text, entry.quote()) {
                    sources.push(joined(&[before, &token, gap, after]));
                }
            }
            if let Ok(edited) = document.edit(&[Edit::Set {
                entry: entry.id(),
                value: text,
            }]) {
                sources.push(Zeroizing::new(edited.into_string()));
            }
        }
        sources.into_iter()
    }

    /// The file's text with a line for a new name at its end, best spelling first.
    fn with_line_appended(
        &self,
        name: &str,
        text: &str,
    ) -> impl Iterator<Item = Zeroizing<String>> + use<> {
        let ending = self.line_ending();
        let body = self.source.strip_prefix('\u{feff}').unwrap_or(&self.source);
        let ends = body.is_empty() || body.ends_with(['\n', '\r']);
        let (before, after) = if ends { ("", ending) } else { (ending, "") };
        let mut tokens = spelling::tokens(text, Quote::None);
        tokens.extend(spelling::last_resort(text));
        let sources: Vec<_> = tokens
            .iter()
            .map(|token| {
                joined(&[
                    self.source.as_str(),
                    before,
                    name,
                    "=",
                    token.as_str(),
                    after,
                ])
            })
            .collect();
        sources.into_iter()
    }

    /// The line ending most lines have.
    fn line_ending(&self) -> &'static str {
        let both = self.source.matches("\r\n").count();
        if both * 2 > self.source.matches('\n').count() {
            "\r\n"
        } else {
            "\n"
        }
    }

    /// Why no candidate did: the value itself, or the text around it.
    fn refusal(&self, text: &str) -> DotenvSetError {
        if self.source.len().saturating_add(text.len()) > DOTENV_BYTES_MAX {
            return DotenvSetError::TooLarge;
        }
        if spelling::is_representable(text) {
            return DotenvSetError::Neighbours;
        }
        DotenvSetError::Unrepresentable
    }
}

impl fmt::Debug for DotenvFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DotenvFile")
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

/// Joins texts in a buffer of exact size, so that no half-grown copy of a value is left behind.
fn joined(parts: &[&str]) -> Zeroizing<String> {
    let size = parts.iter().map(|part| part.len()).sum();
    let mut text = Zeroizing::new(String::with_capacity(size));
    for part in parts {
        text.push_str(part);
    }
    text
}

fn same(left: &[DotenvEntry], right: &[DotenvEntry]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(l, r)| l.name == r.name && l.value.ct_eq(&r.value))
}

/// The bytes that a value takes up: right behind the `=` when there is none yet.
fn value_place(entry: Entry<'_>) -> Range<usize> {
    let tokens = entry.tokens();
    let behind_eq = tokens.eq.as_ref().map_or(tokens.key.end, |eq| eq.end);
    match entry.value_span() {
        Some(span) if !span.is_empty() => span,
        _ => behind_eq..behind_eq,
    }
}

/// Where a value starts with a quote that nothing closes.
fn unclosed_quote(entry: Entry<'_>) -> Option<usize> {
    if entry.quote() != Quote::None {
        return None;
    }
    let raw = entry.raw_value()?;
    let quote = raw
        .chars()
        .next()
        .filter(|c| matches!(c, '\'' | '"' | '`'))?;
    if raw.matches(quote).count() > 1 {
        return None;
    }
    entry.value_span().map(|span| span.start)
}

fn ignored_lines(document: &Document<'_>, lines: &LineIndex<'_>) -> Vec<usize> {
    document
        .items()
        .filter(|item| match item.kind() {
            ItemKind::Entry => item
                .entry()
                .is_some_and(|entry| !entry.participates_in_lookup()),
            ItemKind::Blank | ItemKind::Comment => false,
            _ => true,
        })
        .map(|item| line_of(lines, item.span().start))
        .collect()
}

/// The line, from 1, that a position lies on.
fn line_of(lines: &LineIndex<'_>, position: usize) -> usize {
    lines
        .to_position(position, ColumnEncoding::Scalar)
        .map_or(1, |position| position.line + 1)
}

/// The line and the column, from 1, behind the end of a text.
pub(crate) fn end_of(text: &str) -> (usize, usize) {
    let kind = DotenvErrorKind::NotUtf8;
    let end = DotenvError::at(&LineIndex::new(text), text.len(), kind);
    (end.line, end.column)
}

/// True for a value that dotenvx encrypted.
pub(crate) fn is_encrypted(value: &SecretValue) -> bool {
    // EXPOSE: looked at for the mark that dotenvx puts in front.
    value.expose_secret().starts_with(b"encrypted:")
}

/// A `.env` file cannot be parsed: where and why, never with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {kind}")]
pub struct DotenvError {
    /// The line, from 1.
    pub line: usize,
    /// The character on that line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub kind: DotenvErrorKind,
}

impl DotenvError {
    fn at(lines: &LineIndex<'_>, position: usize, kind: DotenvErrorKind) -> Self {
        match lines.to_position(position, ColumnEncoding::Scalar) {
            Ok(Position { line, column, .. }) => Self {
                line: line + 1,
                column: column + 1,
                kind,
            },
            Err(_) => Self {
                line: 1,
                column: 1,
                kind,
            },
        }
    }
}

/// What is wrong with a `.env` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DotenvErrorKind {
    /// Over [`DOTENV_BYTES_MAX`].
    #[error("the file is larger than {DOTENV_BYTES_MAX} bytes")]
    TooLarge,
    /// Bytes that are no text.
    #[error("not UTF-8")]
    NotUtf8,
    /// A quote is opened and never closed.
    #[error("unterminated quote")]
    UnterminatedQuote,
}

/// Why a value could not be put into a `.env` file. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DotenvSetError {
    /// The name has other characters than letters, digits, `_`, `.` and `-`.
    #[error("the name cannot stand in a .env file (only A-Z, a-z, 0-9, '_', '.' and '-')")]
    Name,
    /// The value is not UTF-8.
    #[error("the value is not UTF-8 text, which is all that a .env file can hold")]
    NotText,
    /// No way of quoting the value reads back as the same bytes.
    #[error("the value cannot be written in a .env file: no way of quoting it reads back the same")]
    Unrepresentable,
    /// The change would make other lines of the file read differently.
    #[error("the change would alter how other lines of the file read")]
    Neighbours,
    /// The file would be over [`DOTENV_BYTES_MAX`].
    #[error("the file would be larger than {DOTENV_BYTES_MAX} bytes")]
    TooLarge,
}
