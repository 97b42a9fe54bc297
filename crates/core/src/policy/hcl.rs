//! Reads the first version of HCL, and JSON, into a tree with positions.
//!
//! Only what policies use: assignments, labelled blocks, lists, objects, strings, numbers, words.
//! No heredocs and no interpolation: `${` is text. Bounded in depth; the caller bounds the size.

use std::iter::Peekable;
use std::str::CharIndices;

/// Deepest nesting.
const DEPTH_MAX: usize = 16;

/// A place in the text, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A word or string that names something.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) text: String,
}

/// `key = value`, `key "label" { … }` or, in JSON, `"key": value`.
#[derive(Debug)]
pub(super) struct Item {
    /// At least one.
    pub(super) keys: Vec<Key>,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) struct Value {
    pub(super) place: Place,
    pub(super) node: Node,
}

#[derive(Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Value>),
    Object(Vec<Item>),
}

/// A whole document.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) syntax: Syntax,
    pub(super) items: Vec<Item>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Hcl,
    Json,
}

/// What cannot be read, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) place: Place,
    /// Completes "expected …".
    pub(super) expected: &'static str,
}

/// Reads a document: JSON where the first character is `{`.
pub(super) fn read(text: &str) -> Result<Document, SyntaxError> {
    let syntax = if text.trim_start().starts_with('{') {
        Syntax::Json
    } else {
        Syntax::Hcl
    };
    let mut reader = Reader {
        text,
        rest: text.char_indices().peekable(),
        place: Place { line: 1, column: 1 },
        syntax,
    };
    let items = match syntax {
        Syntax::Hcl => reader.items(None, 0)?,
        Syntax::Json => {
            reader.skip_blank()?;
            reader.next();
            reader.items(Some('}'), 1)?
        }
    };
    reader.skip_blank()?;
    match reader.peek() {
        None => Ok(Document { syntax, items }),
        Some(_) => Err(reader.expected("the end of the policy")),
    }
}

struct Reader<'a> {
    text: &'a str,
    rest: Peekable<CharIndices<'a>>,
    place: Place,
    syntax: Syntax,
}

impl Reader<'_> {
    /// Items up to `end`, which is consumed, or to the end of the text.
    fn items(&mut self, end: Option<char>, depth: usize) -> Result<Vec<Item>, SyntaxError> {
        let mut items = Vec::new();
        loop {
            self.skip_blank()?;
            match self.peek() {
                None if end.is_none() => return Ok(items),
                None => return Err(self.expected("a closing brace")),
                found if found == end => {
                    self.next();
                    return Ok(items);
                }
                Some(_) => items.push(self.item(depth)?),
            }
            self.skip_blank()?;
            if self.peek() == Some(',') {
                self.next();
            }
        }
    }

    fn item(&mut self, depth: usize) -> Result<Item, SyntaxError> {
        let mut keys = Vec::new();
        loop {
            self.skip_blank()?;
            let is_named = !keys.is_empty();
            match (self.peek(), self.syntax) {
                (Some(':'), Syntax::Json) | (Some('='), Syntax::Hcl) if keys.len() == 1 => {
                    self.next();
                    let value = self.value(depth)?;
                    return Ok(Item { keys, value });
                }
                (Some('{'), Syntax::Hcl) if is_named => {
                    let value = self.value(depth)?;
                    return Ok(Item { keys, value });
                }
                (Some('"'), _) => keys.push(self.key(Self::string)?),
                (Some(c), Syntax::Hcl) if is_word(c) && !c.is_ascii_digit() => {
                    keys.push(self.key(|reader| Ok(reader.word()))?);
                }
                (_, Syntax::Json) if is_named => return Err(self.expected("a colon")),
                (_, Syntax::Hcl) if is_named => return Err(self.expected("`=` or `{`")),
                _ => return Err(self.expected("a name")),
            }
        }
    }

    fn key(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<String, SyntaxError>,
    ) -> Result<Key, SyntaxError> {
        let place = self.place;
        let text = read(self)?;
        Ok(Key { place, text })
    }

    fn value(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        self.skip_blank()?;
        let place = self.place;
        if depth >= DEPTH_MAX {
            return Err(self.expected("less nesting"));
        }
        let node = match self.peek() {
            Some('"') => Node::Text(self.string()?),
            Some('[') => Node::List(self.list(depth)?),
            Some('{') => {
                self.next();
                Node::Object(self.items(Some('}'), depth + 1)?)
            }
            Some(c) if c.is_ascii_digit() || matches!(c, '-' | '+') => {
                let text = self.word();
                if !is_number(&text) {
                    return Err(SyntaxError {
                        place,
                        expected: "a number",
                    });
                }
                Node::Number(text)
            }
            Some('<') => return Err(self.expected("a string in quotes (heredocs are not read)")),
            _ => match self.word().as_str() {
                "true" => Node::Bool(true),
                "false" => Node::Bool(false),
                "null" => Node::Null,
                _ => {
                    return Err(SyntaxError {
                        place,
                        expected: "a value: a string in quotes, a number, a list or an object",
                    });
                }
            },
        };
        Ok(Value { place, node })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Value>, SyntaxError> {
        let mut values = Vec::new();
        self.next();
        loop {
            self.skip_blank()?;
            if self.peek() == Some(']') {
                self.next();
                return Ok(values);
            }
            values.push(self.value(depth + 1)?);
            self.skip_blank()?;
            match self.peek() {
                Some(',') => {
                    self.next();
                }
                Some(']') => {}
                _ => return Err(self.expected("a comma or `]`")),
            }
        }
    }

    /// A string, from its opening quote.
    fn string(&mut self) -> Result<String, SyntaxError> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(self.escape()?),
                Some('\n') | None => return Err(self.expected("a closing quote")),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        let place = self.place;
        let escaped = match self.next() {
            Some(c @ ('"' | '\\' | '/')) => Some(c),
            Some('n') => Some('\n'),
            Some('t') => Some('\t'),
            Some('r') => Some('\r'),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('u') => self.unicode_escape(),
            _ => None,
        };
        escaped.ok_or(SyntaxError {
            place,
            expected: "an escape such as \\n, \\\" or \\u00e9",
        })
    }

    /// Four digits, and four more where they are the first half of a pair.
    fn unicode_escape(&mut self) -> Option<char> {
        let mut half =
            || (0..4).try_fold(0, |code, _| Some(code * 16 + self.next()?.to_digit(16)?));
        let high = half()?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high);
        }
        let mut units = [0; 2];
        for (unit, wanted) in units.iter_mut().zip(['\\', 'u']) {
            *unit = u32::from(self.next()? == wanted);
        }
        let low = (0..4).try_fold(0, |code, _| Some(code * 16 + self.next()?.to_digit(16)?))?;
        let is_pair = units == [1, 1] && (0xdc00..0xe000).contains(&low);
        is_pair.then(|| char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)))?
    }

    /// The characters of a word or number, possibly none.
    fn word(&mut self) -> String {
        let mut text = String::new();
        while let Some(c) = self.peek().filter(|&c| is_word(c)) {
            text.push(c);
            self.next();
        }
        text
    }

    /// Past white space and, in HCL, comments.
    fn skip_blank(&mut self) -> Result<(), SyntaxError> {
        loop {
            match (self.peek(), self.second(), self.syntax) {
                (Some(c), _, _) if c.is_ascii_whitespace() || c == '\u{feff}' => {
                    self.next();
                }
                (Some('#'), _, Syntax::Hcl) | (Some('/'), Some('/'), Syntax::Hcl) => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.next();
                    }
                }
                (Some('/'), Some('*'), Syntax::Hcl) => self.skip_block_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn skip_block_comment(&mut self) -> Result<(), SyntaxError> {
        let place = self.place;
        self.next();
        self.next();
        loop {
            match (self.next(), self.peek()) {
                (Some('*'), Some('/')) => {
                    self.next();
                    return Ok(());
                }
                (None, _) => {
                    return Err(SyntaxError {
                        place,
                        expected: "an end of this comment",
                    });
                }
                _ => {}
            }
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().map(|&(_, c)| c)
    }

    fn second(&mut self) -> Option<char> {
        let &(at, _) = self.rest.peek()?;
        self.text.get(at..)?.chars().nth(1)
    }

    fn next(&mut self) -> Option<char> {
        let (_, c) = self.rest.next()?;
        if c == '\n' {
            self.place.line += 1;
            self.place.column = 1;
        } else {
            self.place.column += 1;
        }
        Some(c)
    }

    fn expected(&self, expected: &'static str) -> SyntaxError {
        SyntaxError {
            place: self.place,
            expected,
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '+')
}

fn is_number(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit()) && text.parse::<f64>().is_ok()
}
