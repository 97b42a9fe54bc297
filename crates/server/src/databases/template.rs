//! How users are named where an operator says so: Go's templates, as far as Vault's documents use
//! them for names.
//!
//! A template is text with actions in `{{ }}`: a value, a function of values, or several of them
//! one behind the other with `|`. There are no conditions and no loops, so that what a template
//! makes can be seen by making it once.

mod read;

use data_encoding::BASE64;
use data_encoding::HEXLOWER;
use strongroom_core::port::Rng;
use strongroom_core::time::Timestamp;
use strongroom_crypto::request::sha256;
use strongroom_engine::tokens::random_text;

/// Longest template, in bytes.
const TEMPLATE_BYTES_MAX: usize = 4096;
/// Most random letters of one call.
const RANDOM_CHARS_MAX: i64 = 256;
/// Most bytes of what an action makes.
const VALUE_BYTES_MAX: usize = 4096;

/// A template that was read.
#[derive(Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Action(Pipe),
}

/// Commands, each of which gets what the one before makes as its last argument.
#[derive(Debug)]
struct Pipe(Vec<Command>);

#[derive(Debug)]
struct Command {
    function: Option<Function>,
    arguments: Vec<Operand>,
}

#[derive(Debug)]
enum Operand {
    Value(Value),
    Field(Field),
    Call(Function),
    Group(Pipe),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    Number(i64),
}

#[derive(Clone, Copy, Debug)]
enum Field {
    DisplayName,
    RoleName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Random,
    Truncate,
    TruncateSha256,
    Uppercase,
    Lowercase,
    Replace,
    Sha256,
    Base64,
    UnixTime,
    UnixTimeMillis,
    Timestamp,
    Uuid,
    Printf,
}

/// The functions by their names.
const FUNCTIONS: [(&str, Function); 13] = [
    ("random", Function::Random),
    ("truncate", Function::Truncate),
    ("truncate_sha256", Function::TruncateSha256),
    ("uppercase", Function::Uppercase),
    ("lowercase", Function::Lowercase),
    ("replace", Function::Replace),
    ("sha256", Function::Sha256),
    ("base64", Function::Base64),
    ("unix_time", Function::UnixTime),
    ("unix_time_millis", Function::UnixTimeMillis),
    ("timestamp", Function::Timestamp),
    ("uuid", Function::Uuid),
    ("printf", Function::Printf),
];

/// What a name is made of.
pub(crate) struct Subject<'a> {
    pub(crate) display_name: &'a str,
    pub(crate) role: &'a str,
    pub(crate) rng: &'a dyn Rng,
    pub(crate) now: Timestamp,
}

impl Template {
    /// Reads a template; what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(format!("a template has at most {TEMPLATE_BYTES_MAX} bytes"));
        }
        read::template(text).map(Self)
    }

    /// Whether every name is another one, whoever asks for it and when.
    pub(crate) fn draws(&self) -> bool {
        self.0.iter().any(|part| match part {
            Part::Text(_) => false,
            Part::Action(pipe) => pipe.draws(),
        })
    }

    /// Makes a name; why there is none.
    pub(crate) fn render(&self, subject: &Subject<'_>) -> Result<String, String> {
        let mut name = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Action(pipe) => name.push_str(&pipe.value(subject)?.into_text()),
            }
        }
        Ok(name)
    }
}

impl Pipe {
    fn draws(&self) -> bool {
        self.0.iter().any(|command| {
            let draws = |function| matches!(function, Function::Random | Function::Uuid);
            let inner = |operand: &Operand| match operand {
                Operand::Call(function) => draws(*function),
                Operand::Group(pipe) => pipe.draws(),
                Operand::Value(_) | Operand::Field(_) => false,
            };
            command.function.is_some_and(draws) || command.arguments.iter().any(inner)
        })
    }

    fn value(&self, subject: &Subject<'_>) -> Result<Value, String> {
        let mut last = None;
        for command in &self.0 {
            let arguments = command.arguments.iter();
            let values = arguments.map(|operand| operand.value(subject));
            let mut values = values.collect::<Result<Vec<Value>, String>>()?;
            values.extend(last.take());
            last = Some(match (command.function, values.as_slice()) {
                (Some(function), values) => function.call(values, subject)?,
                (None, [value]) => value.clone(),
                (None, _) => return Err("a value is no function, and takes no argument".into()),
            });
        }
        last.ok_or_else(|| "an action is empty".into())
    }
}

impl Operand {
    fn value(&self, subject: &Subject<'_>) -> Result<Value, String> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::Field(Field::DisplayName) => Ok(Value::Text(subject.display_name.to_owned())),
            Self::Field(Field::RoleName) => Ok(Value::Text(subject.role.to_owned())),
            Self::Call(function) => function.call(&[], subject),
            Self::Group(pipe) => pipe.value(subject),
        }
    }
}

impl Value {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

impl Function {
    fn named(name: &str) -> Option<Self> {
        let found = FUNCTIONS.iter().find(|(known, _)| *known == name);
        found.map(|(_, function)| *function)
    }

    fn name(self) -> &'static str {
        let found = FUNCTIONS.iter().find(|(_, known)| *known == self);
        found.map_or("", |(name, _)| name)
    }

    fn call(self, values: &[Value], subject: &Subject<'_>) -> Result<Value, String> {
        use Value::Number;
        use Value::Text;
        let micros = subject.now.as_micros();
        let made = match (self, values) {
            (Self::Random, [Number(count @ 1..=RANDOM_CHARS_MAX)]) => {
                random_text(subject.rng, usize::try_from(*count).unwrap_or_default())
            }
            (Self::Truncate, [Number(most @ 1..), Text(text)]) => cut(text, *most).to_owned(),
            (Self::TruncateSha256, [Number(most @ 9..), Text(text)]) => hashed_end(text, *most),
            (Self::Uppercase, [Text(text)]) => text.to_uppercase(),
            (Self::Lowercase, [Text(text)]) => text.to_lowercase(),
            (Self::Replace, [Text(from), Text(to), Text(text)]) => text.replace(from, to),
            (Self::Sha256, [Text(text)]) => HEXLOWER.encode(&sha256(text.as_bytes())),
            (Self::Base64, [Text(text)]) => BASE64.encode(text.as_bytes()),
            (Self::UnixTime, []) => micros.div_euclid(1_000_000).to_string(),
            (Self::UnixTimeMillis, []) => micros.div_euclid(1_000).to_string(),
            (Self::Timestamp, [Text(layout)]) => read::timestamp(layout, subject.now)?,
            (Self::Uuid, []) => {
                let mut bytes = [0; 16];
                subject.rng.fill(&mut bytes);
                bytes[6] = bytes[6] & 0x0f | 0x40;
                bytes[8] = bytes[8] & 0x3f | 0x80;
                crate::core::uuid_text(&bytes)
            }
            (Self::Printf, [Text(format), values @ ..]) => printed(format, values)?,
            _ => return Err(format!("`{}` is called with other arguments", self.name())),
        };
        match made.len() <= VALUE_BYTES_MAX {
            true => Ok(Text(made)),
            false => Err(format!("`{}` makes too long a text", self.name())),
        }
    }
}

/// At most so many bytes of a text, in whole characters.
fn cut(text: &str, most: i64) -> &str {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let end = (0..=most.min(text.len())).rev();
    let mut end = end.filter(|end| text.is_char_boundary(*end));
    text.get(..end.next().unwrap_or(0)).unwrap_or_default()
}

/// The beginning of a text with eight letters for what was cut off.
fn hashed_end(text: &str, most: i64) -> String {
    if usize::try_from(most).is_ok_and(|most| text.len() <= most) {
        return text.to_owned();
    }
    let begin = cut(text, most - 8);
    let rest = text.get(begin.len()..).unwrap_or_default();
    let hash = HEXLOWER.encode(&sha256(rest.as_bytes()));
    format!("{begin}{}", hash.get(..8).unwrap_or_default())
}

/// `%s`, `%v` and `%d`, each with a value, and `%%`.
fn printed(format: &str, values: &[Value]) -> Result<String, String> {
    let mut text = String::new();
    let mut values = values.iter();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let verb = chars.next();
        if verb == Some('%') {
            text.push('%');
            continue;
        }
        match (verb, values.next()) {
            (Some('s' | 'v'), Some(Value::Text(value))) => text.push_str(value),
            (Some('d' | 'v'), Some(Value::Number(value))) => text.push_str(&value.to_string()),
            _ => return Err("`printf` has %s for each text and %d for each number".into()),
        }
    }
    match values.next() {
        None => Ok(text),
        Some(_) => Err("`printf` has more values than places for them".into()),
    }
}

#[cfg(test)]
mod tests;
