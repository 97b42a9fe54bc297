//! `.env` files of other readers than Node's: Docker, Docker Compose and shells.

use adotenv::Dialect;
use adotenv::Quote;
use adotenv::Severity;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use zeroize::Zeroizing;

use super::IMPORT_BYTES_MAX;
use super::Import;
use super::ImportError;
use super::Imported;
use super::SkipReason;
use super::Skipped;
use super::compose::interpolation;
use super::last_of_each_name;
use crate::dotenv;
use crate::names;

/// Reads an `env_file` as Docker Compose does: quotes are read, `$$` is a dollar sign, and what
/// refers to other variables is named and not taken over.
///
/// # Errors
/// When the bytes are no UTF-8, too many, or a line is none that Compose reads.
pub fn from_compose_env(bytes: &[u8]) -> Result<Import, ImportError> {
    read(bytes, Dialect::COMPOSE)
}

/// Reads an `--env-file` as `docker run` does: everything behind the `=` is the value.
///
/// # Errors
/// When the bytes are no UTF-8, too many, or a line is none that Docker reads.
pub fn from_docker_env(bytes: &[u8]) -> Result<Import, ImportError> {
    read(bytes, Dialect::DOCKER_RAW)
}

fn read(bytes: &[u8], dialect: Dialect) -> Result<Import, ImportError> {
    let text = text(bytes)?;
    let (document, problems) = adotenv::parse_with(text, dialect);
    let mut problems = problems.iter();
    if let Some(problem) = problems.find(|problem| problem.severity() == Severity::Error) {
        let start = problem.span().start;
        let (line, column) = dotenv::end_of(text.get(..start).unwrap_or_default());
        return Err(ImportError::Line { line, column });
    }
    let mut import = Import::default();
    for entry in document
        .entries()
        .filter(|entry| entry.participates_in_lookup())
    {
        let name = entry.key().to_owned();
        let Some(value) = entry.value() else {
            import.skip(name, SkipReason::Null);
            continue;
        };
        let is_literal = dialect == Dialect::DOCKER_RAW || entry.quote() == Quote::Single;
        if is_literal {
            import.take_text(name, value);
            continue;
        }
        let scanned = interpolation::scan(value);
        if scanned.references.is_empty() {
            import.take_text(name, &scanned.literal);
        } else {
            import.skip(name, SkipReason::Composed);
        }
    }
    last_of_each_name(&mut import);
    Ok(import)
}

/// Reads `export NAME=…`, `declare -x NAME=…` and `NAME=…` as a shell does, without running
/// anything: what a shell would work out (`$NAME`, `$(…)`, backticks) is named and not taken over.
///
/// # Errors
/// When the bytes are no UTF-8, too many, or a quote is not closed.
pub fn from_shell(bytes: &[u8]) -> Result<Import, ImportError> {
    let text = text(bytes)?;
    let mut import = Import::default();
    let mut rest = text;
    while !rest.is_empty() {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n', ';']);
        if rest.starts_with('#') {
            rest = rest
                .find('\n')
                .map_or("", |end| rest.get(end..).unwrap_or_default());
            continue;
        }
        let statement = ["export ", "declare -x ", "typeset -x ", "set -gx "]
            .iter()
            .find_map(|word| rest.strip_prefix(word))
            .unwrap_or(rest)
            .trim_start_matches([' ', '\t']);
        let assigned = statement
            .split_once('=')
            .filter(|(name, _)| names::is_variable(name));
        let Some((name, behind)) = assigned else {
            // Another command, which is not run.
            rest = rest
                .find('\n')
                .map_or("", |end| rest.get(end..).unwrap_or_default());
            continue;
        };
        let word = Word::read(behind).ok_or_else(|| {
            let place = text.len().saturating_sub(behind.len());
            let (line, column) = dotenv::end_of(text.get(..place).unwrap_or_default());
            ImportError::Line { line, column }
        })?;
        if word.is_composed {
            import.skip(name.to_owned(), SkipReason::Composed);
        } else {
            import.take_text(name.to_owned(), &word.text);
        }
        rest = behind.get(word.length..).unwrap_or_default();
    }
    last_of_each_name(&mut import);
    Ok(import)
}

/// One word of a shell.
struct Word {
    text: Zeroizing<String>,
    length: usize,
    is_composed: bool,
}

impl Word {
    /// Reads the word at the beginning of a text; `None` when a quote is not closed.
    fn read(source: &str) -> Option<Self> {
        let mut word = Self {
            text: Zeroizing::new(String::with_capacity(source.len().min(WORD_BYTES))),
            length: source.len(),
            is_composed: false,
        };
        let mut chars = source.char_indices().peekable();
        while let Some((place, c)) = chars.next() {
            match c {
                '\'' => word.until_quote(&mut chars)?,
                '"' => word.in_double_quotes(&mut chars)?,
                '$' if chars.peek().is_some_and(|(_, c)| *c == '\'') => {
                    chars.next();
                    word.with_c_escapes(&mut chars)?;
                }
                '\\' => match chars.next()?.1 {
                    '\n' => {}
                    c => word.text.push(c),
                },
                '$' | '`' => word.compose(c),
                c if c.is_whitespace() || c == ';' || c == '&' || c == '|' => {
                    word.length = place;
                    return Some(word);
                }
                c => word.text.push(c),
            }
        }
        Some(word)
    }

    fn compose(&mut self, c: char) {
        self.is_composed = true;
        self.text.push(c);
    }

    fn until_quote(&mut self, chars: &mut impl Iterator<Item = (usize, char)>) -> Option<()> {
        loop {
            match chars.next()?.1 {
                '\'' => return Some(()),
                c => self.text.push(c),
            }
        }
    }

    fn in_double_quotes(&mut self, chars: &mut impl Iterator<Item = (usize, char)>) -> Option<()> {
        loop {
            match chars.next()?.1 {
                '"' => return Some(()),
                '\\' => match chars.next()?.1 {
                    '\n' => {}
                    c @ ('"' | '\\' | '$' | '`') => self.text.push(c),
                    c => {
                        self.text.push('\\');
                        self.text.push(c);
                    }
                },
                c @ ('$' | '`') => self.compose(c),
                c => self.text.push(c),
            }
        }
    }

    /// `$'…'`: the escapes of C that a text needs; others leave the word to the shell.
    fn with_c_escapes(&mut self, chars: &mut impl Iterator<Item = (usize, char)>) -> Option<()> {
        loop {
            match chars.next()?.1 {
                '\'' => return Some(()),
                '\\' => match chars.next()?.1 {
                    'n' => self.text.push('\n'),
                    't' => self.text.push('\t'),
                    'r' => self.text.push('\r'),
                    'e' | 'E' => self.text.push('\u{1b}'),
                    c @ ('\\' | '\'' | '"' | '?') => self.text.push(c),
                    c => self.compose(c),
                },
                c => self.text.push(c),
            }
        }
    }
}

/// The bytes as text, within the bound and without NULs.
pub(super) fn text(bytes: &[u8]) -> Result<&str, ImportError> {
    if bytes.len() > IMPORT_BYTES_MAX {
        return Err(ImportError::TooLarge);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let at = |valid: &str| {
        let (line, column) = dotenv::end_of(valid);
        ImportError::NotText { line, column }
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        at(std::str::from_utf8(valid).unwrap_or_default())
    })?;
    match text.find('\0') {
        Some(place) => Err(at(text.get(..place).unwrap_or_default())),
        None => Ok(text),
    }
}

impl Import {
    pub(super) fn take_text(&mut self, name: String, text: &str) {
        let value = SecretValue::copy_from(text.as_bytes());
        if dotenv::is_encrypted(&value) {
            return self.skip(name, SkipReason::Encrypted);
        }
        self.imported.push(Imported::new(name, value, Shape::Text));
    }

    pub(super) fn skip(&mut self, name: String, reason: SkipReason) {
        self.skipped.push(Skipped { name, reason });
    }
}

/// Room that is made for a word at once; a longer one grows.
const WORD_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests;
