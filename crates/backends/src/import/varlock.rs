//! `.env.schema` files of varlock: names with decorators in comments.

use strongroom_core::format::ValueType;

use super::Import;
use super::ImportError;
use super::SkipReason;
use super::Skipped;
use super::declared::Declared;
use super::declared::EVERY_OTHER;
use super::dialects;

/// Reads a `.env.schema`: `@required`, `@sensitive`, `@type`, `@example`, `@docs` and the defaults
/// of the header. A value that stands in it is a plain setting's default; a function call is
/// named and not followed.
///
/// # Errors
/// When the bytes are no UTF-8 or too many.
pub fn from_varlock(bytes: &[u8]) -> Result<Import, ImportError> {
    let text = dialects::text(bytes)?;
    let mut reader = Reader::default();
    for line in text.lines() {
        reader.line(line.trim());
    }
    Ok(reader.import)
}

#[derive(Default)]
struct Reader {
    import: Import,
    header: Header,
    /// The comment block above the next item.
    block: Vec<String>,
    has_items: bool,
}

#[derive(Default)]
struct Header {
    required: Option<Switch>,
    sensitive: Option<Switch>,
    public_prefix: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Switch {
    On,
    Off,
    Infer,
}

impl Reader {
    fn line(&mut self, line: &str) {
        if let Some(comment) = line.strip_prefix('#') {
            let comment = comment.trim();
            if comment.len() >= 3 && comment.chars().all(|c| "-=*#".contains(c)) {
                return self.end_block();
            }
            return self.block.push(comment.to_owned());
        }
        if line.is_empty() {
            return self.end_block();
        }
        let block = std::mem::take(&mut self.block);
        let statement = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = statement.split_once('=') else {
            return;
        };
        self.has_items = true;
        self.item(name.trim(), value.trim(), &block);
    }

    /// A block that stands above no item: the header's, as long as there is none.
    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        if self.has_items {
            return;
        }
        for decorator in block.iter().flat_map(|line| decorators(line)) {
            let switch = |value: &str| match value {
                "" | "true" => Switch::On,
                "false" => Switch::Off,
                _ => Switch::Infer,
            };
            match decorator.name.as_str() {
                "defaultRequired" => self.header.required = Some(switch(&decorator.value)),
                "defaultSensitive" => {
                    self.header.sensitive = Some(switch(&decorator.value));
                    let prefix = decorator.value.strip_prefix("inferFromPrefix(");
                    self.header.public_prefix =
                        prefix.map(|prefix| prefix.trim_end_matches(')').trim().to_owned());
                }
                "import" => self.import.skipped.push(Skipped {
                    name: decorator.value,
                    reason: SkipReason::OtherFile,
                }),
                _ => {}
            }
        }
    }

    fn item(&mut self, name: &str, value: &str, block: &[String]) {
        let (value, trailing) = literal(value);
        let mut one = Declared::new(name);
        one.is_sensitive = match self.header.sensitive {
            Some(Switch::Off) => false,
            Some(Switch::Infer) => !self
                .header
                .public_prefix
                .as_ref()
                .is_some_and(|prefix| name.starts_with(prefix)),
            Some(Switch::On) | None => true,
        };
        let has_value = !matches!(&value, Literal::Text(text) if text.is_empty());
        one.require(match self.header.required {
            Some(Switch::On) => true,
            Some(Switch::Off) => false,
            Some(Switch::Infer) | None => has_value,
        });
        let mut description = Vec::new();
        for line in block.iter().chain(&trailing) {
            if line.starts_with('@') {
                decorators(line)
                    .into_iter()
                    .for_each(|decorator| apply(&mut one, &decorator));
            } else if !line.is_empty() {
                description.push(line.as_str());
            }
        }
        one.description = (!description.is_empty()).then(|| description.join(" "));
        match value {
            Literal::Text(text) => one.offer_default(EVERY_OTHER, &text),
            Literal::Composed => {
                one.note("varlock works its value out: that is not taken over");
            }
        }
        self.import.declared.push(one);
    }
}

struct Decorator {
    name: String,
    value: String,
}

/// The decorators of a comment line: `@name`, `@name=value`, `@name(arguments)`.
fn decorators(line: &str) -> Vec<Decorator> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.strip_prefix('@') {
        let end = start
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(start.len());
        let (name, behind) = start.split_at(end);
        let behind_equals = behind.strip_prefix('=').unwrap_or(behind);
        let length = value_length(behind_equals);
        let (value, behind) = behind_equals.split_at(length);
        let value = if behind_equals.len() == start.len() - end && value.starts_with('(') {
            value.trim_start_matches('(').trim_end_matches(')')
        } else {
            value
        };
        found.push(Decorator {
            name: name.to_owned(),
            value: unquoted(value.trim()).to_owned(),
        });
        rest = behind.trim_start();
        if !rest.starts_with('@') {
            break;
        }
    }
    found
}

/// How far a decorator's value goes: to the first white space outside of quotes and brackets.
fn value_length(text: &str) -> usize {
    let (mut depth, mut quote) = (0_usize, None);
    for (place, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, c) if c.is_whitespace() && depth == 0 => return place,
            (None, _) => {}
        }
    }
    text.len()
}

fn unquoted(text: &str) -> &str {
    for quote in ['"', '\'', '`'] {
        let inner = text
            .strip_prefix(quote)
            .and_then(|text| text.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner;
        }
    }
    text
}

fn apply(one: &mut Declared, decorator: &Decorator) {
    let value = decorator.value.as_str();
    let switch = match value {
        "" | "true" => Some(true),
        "false" => Some(false),
        _ => None,
    };
    match (decorator.name.as_str(), switch) {
        ("required", Some(is_on)) => one.require(is_on),
        ("optional", Some(is_on)) => one.require(!is_on),
        ("required" | "optional", None) => {
            one.require(true);
            one.note("whether it is required depends on something that is not taken over");
        }
        ("sensitive", Some(is_on)) => one.is_sensitive = is_on,
        ("public", Some(is_on)) => one.is_sensitive = !is_on,
        ("sensitive" | "public", None) => one.is_sensitive = true,
        ("example", _) => one.example = Some(value.to_owned()),
        ("docs" | "docsUrl", _) => {
            let link = value.rsplit(',').next().unwrap_or_default();
            one.link
                .get_or_insert_with(|| unquoted(link.trim()).to_owned());
        }
        ("type", _) => data_type(one, value),
        _ => {}
    }
}

/// varlock's own types, as far as ours have them.
fn data_type(one: &mut Declared, value: &str) {
    let (name, arguments) = value.split_once('(').unwrap_or((value, ""));
    let arguments: Vec<&str> = arguments
        .trim_end_matches(')')
        .split(',')
        .map(str::trim)
        .filter(|argument| !argument.is_empty())
        .collect();
    let option = |key: &str| {
        let found = arguments
            .iter()
            .filter_map(|argument| argument.split_once('='));
        found
            .filter(|(name, _)| name.trim() == key)
            .map(|(_, value)| unquoted(value.trim()))
            .next()
    };
    one.value_type = match name {
        "url" => Some(ValueType::Url),
        "email" => Some(ValueType::Email),
        "port" => Some(ValueType::Port),
        "boolean" => Some(ValueType::Boolean),
        "uuid" => Some(ValueType::Uuid),
        "simple-object" => Some(ValueType::Json),
        "number" if option("isInt").is_some() => Some(ValueType::Integer),
        _ => None,
    };
    match name {
        "enum" => {
            let values: Vec<String> = arguments
                .iter()
                .map(|text| escaped(unquoted(text)))
                .collect();
            one.format = Some(format!("^({})$", values.join("|")));
        }
        "string" => {
            one.min_length = option("minLength").and_then(|text| text.parse().ok());
            one.format = match (option("startsWith"), option("matches")) {
                (Some(start), _) => Some(format!("^{}", escaped(start))),
                (None, Some(pattern)) => Some(pattern.trim_matches('/').to_owned()),
                (None, None) => None,
            };
        }
        _ if one.value_type.is_none() => {
            one.note(format!("its type '{name}' is not known here"));
        }
        _ => {}
    }
}

/// A text as a regular expression that matches it.
pub(super) fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$#&-~".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

enum Literal {
    Text(String),
    /// A function call or a text with references.
    Composed,
}

/// The value of an item and the comment behind it.
fn literal(value: &str) -> (Literal, Option<String>) {
    let quote = value.chars().next().filter(|c| "\"'`".contains(*c));
    let (inner, behind) = match quote {
        Some(quote) => {
            let open = value.get(1..).unwrap_or_default();
            open.split_once(quote).unwrap_or((open, ""))
        }
        None => match value.find(" #") {
            Some(place) => value.split_at(place),
            None => (value, ""),
        },
    };
    let comment = behind
        .trim_start()
        .strip_prefix('#')
        .map(|text| text.trim().to_owned());
    let is_call = quote.is_none() && inner.trim_end().ends_with(')') && inner.contains('(');
    if is_call || (inner.contains('$') && quote != Some('\'')) {
        return (Literal::Composed, comment);
    }
    (Literal::Text(inner.trim_end().to_owned()), comment)
}
