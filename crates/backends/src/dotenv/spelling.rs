//! How a value is spelled in a `.env` file.

use adotenv::Dialect;
use adotenv::Quote;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroizing;

use super::DotenvFile;
use super::DotenvSetError;
use super::joined;

/// `NAME=value` as one assignment, without a line ending, that Node's `dotenv` reads back with
/// the same bytes, whatever follows it in the file.
///
/// It is one line, except for a value that holds both line breaks and a literal `\n` or `\r`:
/// that needs a quoted block over several lines.
///
/// # Errors
/// When the name cannot stand in a `.env` file, the value is no text or has no such spelling.
pub fn assignment(name: &str, value: &SecretValue) -> Result<Zeroizing<Vec<u8>>, DotenvSetError> {
    if !is_name(name) {
        return Err(DotenvSetError::Name);
    }
    // EXPOSE: to be spelled as a line, which the caller gets as wiped bytes.
    let text = value.expose_secret_text().ok_or(DotenvSetError::NotText)?;
    let mut candidates = tokens(text, Quote::None);
    candidates.extend(last_resort(text));
    for token in candidates {
        let line = joined(&[name, "=", &token]);
        if AROUND
            .iter()
            .all(|after| reads_back(&line, after, name, value))
        {
            return Ok(Zeroizing::new(line.as_bytes().to_vec()));
        }
    }
    Err(DotenvSetError::Unrepresentable)
}

/// True for a name that Node's `dotenv` takes and that ends up as a variable.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name != "__proto__"
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// True when a value can be written in a file where nothing else stands.
pub(super) fn is_representable(text: &str) -> bool {
    let value = SecretValue::copy_from(text.as_bytes());
    let mut candidates = tokens(text, Quote::None);
    candidates.extend(last_resort(text));
    candidates
        .iter()
        .any(|token| reads_back(&joined(&["A=", token]), "", "A", &value))
}

/// The spellings that may do, best first: the quotes that are there already, bare for harmless
/// characters, then what shells and other readers of `.env` files understand alike.
pub(super) fn tokens(text: &str, quote: Quote) -> Vec<Zeroizing<String>> {
    let mut tokens: Vec<Option<Zeroizing<String>>> = Vec::new();
    let one_line = !text.contains('\n');
    if quote != Quote::None && (one_line || quote == Quote::Double) {
        tokens.push(quoted(text, quote));
    }
    if text.bytes().all(is_harmless) {
        tokens.push(Some(joined(&[text])));
    }
    // A backslash before the closing quote can be taken for an escape of that quote: last choice.
    if one_line && text.ends_with('\\') && !text.starts_with(['\'', '"', '`']) {
        tokens.push(Some(joined(&[text])));
    }
    if one_line {
        tokens.push(quoted(text, Quote::Single));
    }
    tokens.push(quoted(text, Quote::Double));
    if one_line {
        tokens.push(quoted(text, Quote::Backtick));
        tokens.push(Some(joined(&[text])));
    }
    tokens.push(quoted(text, Quote::Single));
    tokens.push(quoted(text, Quote::Backtick));
    tokens.into_iter().flatten().collect()
}

/// A spelling that leans on the finer points of Node's grammar.
pub(super) fn last_resort(text: &str) -> Option<Zeroizing<String>> {
    adotenv::encode_value_with(text, Dialect::NODE_DOTENV)
        .ok()
        .map(Zeroizing::new)
}

fn quoted(text: &str, quote: Quote) -> Option<Zeroizing<String>> {
    let mark = match quote {
        Quote::Single => "'",
        Quote::Double => "\"",
        Quote::Backtick => "`",
        _ => return None,
    };
    if text.contains(mark) {
        return None;
    }
    if quote != Quote::Double {
        // A carriage return would be read as a line feed.
        return (!text.contains('\r')).then(|| joined(&[mark, text, mark]));
    }
    if text.contains("\\n") || text.contains("\\r") {
        return None;
    }
    let mut parts = vec![mark];
    for piece in text.split_inclusive(['\n', '\r']) {
        match (piece.strip_suffix('\n'), piece.strip_suffix('\r')) {
            (Some(line), _) => parts.extend([line, "\\n"]),
            (None, Some(line)) => parts.extend([line, "\\r"]),
            (None, None) => parts.push(piece),
        }
    }
    parts.push(mark);
    Some(joined(&parts))
}

/// Characters that mean the same bare in every reader of `.env` files and in shells.
fn is_harmless(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-./:@%+,=".contains(&byte)
}

fn reads_back(line: &str, after: &str, name: &str, value: &SecretValue) -> bool {
    let source = joined(&[line, after]);
    // The comments of `after` must stay comments: there is exactly one assignment.
    DotenvFile::parse_owned(source).is_ok_and(|file| match file.entries() {
        [entry] => entry.name == name && entry.value.ct_eq(value),
        _ => false,
    })
}

/// What may follow an assignment: nothing, a line ending, and lines that end in a lone quote.
const AROUND: [&str; 6] = ["", "\n", "\r\n", "\n# '\n", "\n# \"\n", "\n# `\n"];
