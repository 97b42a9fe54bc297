//! Reading templates, and Go's layouts of times.

use strongroom_core::time::Timestamp;

use super::Command;
use super::Field;
use super::Function;
use super::Operand;
use super::Part;
use super::Pipe;
use super::Value;

/// Groups in groups, at most.
const DEPTH_MAX: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Bar,
    Text(String),
    Number(i64),
    Field(String),
    Word(String),
}

/// Text and actions, in their order.
pub(super) fn template(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    let mut trims = false;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (begins_trimmed, behind) = match behind.strip_prefix("- ") {
            Some(behind) => (true, behind),
            None => (false, behind),
        };
        push(&mut parts, before, trims, begins_trimmed);
        let end = end_of(behind).ok_or("an action is not closed: `}}` is missing")?;
        let inner = behind.get(..end).unwrap_or_default();
        rest = behind.get(end + 2..).unwrap_or_default();
        let (inner, ends_trimmed) = match inner.strip_suffix(" -") {
            Some(inner) => (inner, true),
            None => (inner, false),
        };
        trims = ends_trimmed;
        let inner = inner.trim();
        if !(inner.starts_with("/*") && inner.ends_with("*/")) {
            parts.push(Part::Action(action(inner)?));
        }
    }
    push(&mut parts, rest, trims, false);
    Ok(parts)
}

fn push(parts: &mut Vec<Part>, text: &str, trims_start: bool, trims_end: bool) {
    let text = match trims_start {
        true => text.trim_start(),
        false => text,
    };
    let text = match trims_end {
        true => text.trim_end(),
        false => text,
    };
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
}

/// Where an action ends: not in a quoted text.
fn end_of(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if is_escaped => is_escaped = false,
            (Some('"'), '\\') => is_escaped = true,
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '`') => quote = Some(c),
            (None, '}') if text.get(at..).is_some_and(|rest| rest.starts_with("}}")) => {
                return Some(at);
            }
            (None, _) => {}
        }
    }
    None
}

fn action(text: &str) -> Result<Pipe, String> {
    let tokens = tokens(text)?;
    let mut tokens = tokens.into_iter().peekable();
    let pipe = pipe(&mut tokens, 0)?;
    match tokens.next() {
        None => Ok(pipe),
        Some(_) => Err("a `)` closes nothing".into()),
    }
}

type Tokens = std::iter::Peekable<std::vec::IntoIter<Token>>;

fn pipe(tokens: &mut Tokens, depth: usize) -> Result<Pipe, String> {
    if depth > DEPTH_MAX {
        return Err("it has too many brackets in brackets".into());
    }
    let mut commands = vec![command(tokens, depth)?];
    while tokens.next_if_eq(&Token::Bar).is_some() {
        let next = command(tokens, depth)?;
        if next.function.is_none() {
            return Err("behind `|` stands a function".into());
        }
        commands.push(next);
    }
    Ok(Pipe(commands))
}

fn command(tokens: &mut Tokens, depth: usize) -> Result<Command, String> {
    let function = match tokens.peek() {
        Some(Token::Word(word)) => {
            let function = function(word)?;
            tokens.next();
            Some(function)
        }
        _ => None,
    };
    let mut arguments = Vec::new();
    while let Some(token) = tokens.next_if(|token| !matches!(token, Token::Bar | Token::Close)) {
        arguments.push(match token {
            Token::Text(text) => Operand::Value(Value::Text(text)),
            Token::Number(number) => Operand::Value(Value::Number(number)),
            Token::Field(name) => Operand::Field(field(&name)?),
            Token::Word(word) => Operand::Call(function_alone(&word)?),
            Token::Open => {
                let inner = pipe(tokens, depth + 1)?;
                if tokens.next() != Some(Token::Close) {
                    return Err("a `(` is not closed".into());
                }
                Operand::Group(inner)
            }
            Token::Bar | Token::Close => return Err("an action is empty".into()),
        });
    }
    match (function, arguments.len()) {
        (None, 0) => Err("an action is empty".into()),
        (None, 2..) => Err("a value is no function, and takes no argument".into()),
        _ => Ok(Command {
            function,
            arguments,
        }),
    }
}

fn function(word: &str) -> Result<Function, String> {
    Function::named(word).ok_or_else(|| {
        let word: String = word.chars().take(32).collect();
        let known: Vec<&str> = super::FUNCTIONS.iter().map(|(name, _)| *name).collect();
        format!(
            "`{word}` is no function here; there are {}",
            known.join(", ")
        )
    })
}

/// A function among arguments gets none itself.
fn function_alone(word: &str) -> Result<Function, String> {
    let function = function(word)?;
    match function {
        Function::Uuid | Function::UnixTime | Function::UnixTimeMillis => Ok(function),
        _ => Err(format!(
            "`{word}` among arguments stands in brackets, with its own"
        )),
    }
}

fn field(name: &str) -> Result<Field, String> {
    match name {
        "DisplayName" => Ok(Field::DisplayName),
        "RoleName" => Ok(Field::RoleName),
        _ => Err("there are .DisplayName and .RoleName, and no other values".into()),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    let is_word = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    while let Some(c) = chars.next() {
        tokens.push(match c {
            _ if c.is_whitespace() => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            '|' => Token::Bar,
            '`' => {
                let raw: String = chars.by_ref().take_while(|c| *c != '`').collect();
                Token::Text(raw)
            }
            '"' => Token::Text(quoted(&mut chars)?),
            '.' => {
                let name = std::iter::from_fn(|| chars.next_if(is_word));
                Token::Field(name.collect())
            }
            '-' | '0'..='9' => {
                let digits = std::iter::from_fn(|| chars.next_if(char::is_ascii_digit));
                let number: String = std::iter::once(c).chain(digits).collect();
                let number = number.parse();
                Token::Number(number.map_err(|_| "a number cannot be read")?)
            }
            _ if is_word(&c) => {
                let word = std::iter::from_fn(|| chars.next_if(is_word));
                Token::Word(std::iter::once(c).chain(word).collect())
            }
            _ => return Err(format!("`{c}` has no meaning in a template of names")),
        });
    }
    Ok(tokens)
}

fn quoted(chars: &mut impl Iterator<Item = char>) -> Result<String, String> {
    let mut text = String::new();
    loop {
        match chars.next() {
            None => return Err("a text is not closed: `\"` is missing".into()),
            Some('"') => return Ok(text),
            Some('\\') => match chars.next() {
                Some(c @ ('"' | '\\')) => text.push(c),
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                _ => return Err("texts know \\\" \\\\ \\n and \\t".into()),
            },
            Some(c) => text.push(c),
        }
    }
}

/// What stands in Go's layouts for a part of a time, and how jiff is asked for it; the longer
/// first.
const LAYOUT: [(&str, &str); 23] = [
    ("January", "%B"),
    ("Monday", "%A"),
    ("Z07:00", "Z"),
    ("-07:00", "+00:00"),
    ("-0700", "+0000"),
    ("2006", "%Y"),
    (".000000", ".%6f"),
    (".000", ".%3f"),
    ("Jan", "%b"),
    ("Mon", "%a"),
    ("MST", "UTC"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("PM", "%p"),
    ("_2", "%e"),
    ("1", "%-m"),
    ("2", "%-d"),
];

/// A time in UTC by one of Go's layouts.
pub(super) fn timestamp(layout: &str, now: Timestamp) -> Result<String, String> {
    let mut format = String::new();
    let mut rest = layout;
    while let Some(c) = rest.chars().next() {
        let found = LAYOUT.iter().find(|(go, _)| rest.starts_with(go));
        let (length, piece) = match found {
            Some((go, piece)) => (go.len(), (*piece).to_owned()),
            None if c == '%' => (1, "%%".to_owned()),
            None => (c.len_utf8(), c.to_string()),
        };
        format.push_str(&piece);
        rest = rest.get(length..).unwrap_or_default();
    }
    let now = jiff::Timestamp::from_microsecond(now.as_micros());
    let now = now.map_err(|_| "the time cannot be written")?;
    let written = jiff::fmt::strtime::format(&format, &now.to_zoned(jiff::tz::TimeZone::UTC));
    written.map_err(|_| "the layout of a time cannot be used".into())
}
