//! Rust source as the rules see it: code without comments and the contents of literals, comments
//! by line, and which lines are tests.

/// A Rust file split into what is code, what is comment, and what is test.
#[derive(Debug)]
pub(crate) struct Source {
    /// The file with comments and the contents of literals blanked. Lines stay where they were.
    pub(crate) code: Vec<char>,
    /// The text of the comments on each line.
    pub(crate) comments: Vec<String>,
    /// Which lines are compiled for tests only.
    pub(crate) is_test: Vec<bool>,
    /// Names of modules in other files that are declared for tests only.
    pub(crate) test_modules: Vec<String>,
}

/// An attribute: where it starts, and its text between the brackets.
#[derive(Debug)]
pub(crate) struct Attribute {
    /// Index of the `#`.
    pub(crate) start: usize,
    /// Index just past the closing bracket.
    pub(crate) end: usize,
    /// What stands between the brackets, comments and literals blanked.
    pub(crate) text: String,
    /// `#![...]` rather than `#[...]`.
    pub(crate) is_inner: bool,
}

impl Source {
    /// Splits `text`. Text that is not valid Rust is split as well as it goes.
    pub(crate) fn parse(text: &str) -> Self {
        let (code, comments) = mask(text);
        let mut source = Self {
            is_test: vec![false; comments.len()],
            test_modules: Vec::new(),
            code,
            comments,
        };
        source.mark_tests();
        source
    }

    /// Zero-based line of a position in `code`.
    pub(crate) fn line_at(&self, position: usize) -> usize {
        self.code[..position].iter().filter(|c| **c == '\n').count()
    }

    /// The lines of `code`.
    pub(crate) fn code_lines(&self) -> Vec<String> {
        let text: String = self.code.iter().collect();
        text.split('\n').map(str::to_owned).collect()
    }

    /// Number of lines that are not tests.
    pub(crate) fn production_lines(&self) -> usize {
        let last_is_empty = self.code.last().is_none_or(|c| *c == '\n');
        let lines = self.is_test.len() - usize::from(last_is_empty);
        self.is_test[..lines].iter().filter(|test| !**test).count()
    }

    /// All attributes, in order.
    pub(crate) fn attributes(&self) -> Vec<Attribute> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.code.len() {
            match self.attribute_at(at) {
                Some(attribute) => {
                    at = attribute.end;
                    found.push(attribute);
                }
                None => at += 1,
            }
        }
        found
    }

    fn attribute_at(&self, start: usize) -> Option<Attribute> {
        if self.code.get(start) != Some(&'#') {
            return None;
        }
        let is_inner = self.code.get(start + 1) == Some(&'!');
        let open = start + 1 + usize::from(is_inner);
        if self.code.get(open) != Some(&'[') {
            return None;
        }
        let close = matching(&self.code, open)?;
        Some(Attribute {
            start,
            end: close + 1,
            text: self.code[open + 1..close].iter().collect(),
            is_inner,
        })
    }

    fn mark_tests(&mut self) {
        for attribute in self.attributes() {
            if !is_test_only(&attribute.text) {
                continue;
            }
            if attribute.is_inner {
                self.is_test.fill(true);
                return;
            }
            let end = self.item_end(attribute.end);
            let item: String = self.code[attribute.end..end].iter().collect();
            self.test_modules.extend(module_in_other_file(&item));
            let lines = self.line_at(attribute.start)..=self.line_at(end.saturating_sub(1));
            self.is_test[lines].fill(true);
        }
    }

    /// Index just past the item that starts at `start`: past its block, its `;`, or, for a field
    /// or a match arm, its comma.
    fn item_end(&self, start: usize) -> usize {
        let mut at = start;
        loop {
            while self.code.get(at).is_some_and(|c| c.is_whitespace()) {
                at += 1;
            }
            match self.attribute_at(at) {
                Some(attribute) => at = attribute.end,
                None => break,
            }
        }
        let is_item = ITEM_WORDS.contains(&word_at(&self.code, at).as_str());
        while let Some(c) = self.code.get(at) {
            match c {
                ';' => return at + 1,
                ',' if !is_item => return at + 1,
                '}' if !is_item => return at,
                '{' => return matching(&self.code, at).map_or(self.code.len(), |end| end + 1),
                '(' | '[' => at = matching(&self.code, at).unwrap_or(self.code.len()),
                _ => {}
            }
            at += 1;
        }
        self.code.len()
    }
}

/// Columns (in characters) at which `word` stands as a whole identifier or path in `line`.
pub(crate) fn find_words(line: &str, word: &str) -> Vec<usize> {
    line.match_indices(word)
        .filter(|(at, _)| {
            let before = line[..*at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            !before.is_some_and(is_word_char) && !after.is_some_and(is_word_char)
        })
        .map(|(at, _)| at)
        .collect()
}

/// True for characters that identifiers are made of.
pub(crate) fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Index of the bracket that closes the one at `open`.
pub(crate) fn matching(code: &[char], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, c) in code[open..].iter().enumerate() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(open + offset);
                }
            }
            _ => {}
        }
    }
    None
}

/// The identifier that starts at `at`, or nothing.
fn word_at(code: &[char], at: usize) -> String {
    code[at.min(code.len())..]
        .iter()
        .take_while(|c| is_word_char(**c))
        .collect()
}

/// True for `cfg(test)` and `cfg(all(test, ...))`, not for `cfg(any(test, ...))`.
fn is_test_only(attribute: &str) -> bool {
    let compact: String = attribute.chars().filter(|c| !c.is_whitespace()).collect();
    compact == "cfg(test)" || compact.starts_with("cfg(all(test,")
}

/// The name in `mod name;`, whatever its visibility.
fn module_in_other_file(item: &str) -> Option<String> {
    let before = item.trim().strip_suffix(';')?;
    let mut words = before.split_whitespace().rev();
    let name = words.next()?;
    (words.next()? == "mod").then(|| name.to_owned())
}

/// Blanks comments and the contents of literals; also collects the comments by line.
fn mask(text: &str) -> (Vec<char>, Vec<String>) {
    let mut masker = Masker {
        input: text.chars().collect(),
        at: 0,
        code: Vec::with_capacity(text.len()),
        comments: vec![String::new()],
    };
    while masker.at < masker.input.len() {
        masker.step();
    }
    (masker.code, masker.comments)
}

/// The state of [`mask`].
struct Masker {
    input: Vec<char>,
    at: usize,
    code: Vec<char>,
    comments: Vec<String>,
}

impl Masker {
    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            (Some('/'), Some('/')) => self.line_comment(),
            (Some('/'), Some('*')) => self.block_comment(),
            (Some('"'), _) => self.string(),
            (Some('\''), _) => self.quote(),
            (Some('r'), Some('"' | '#')) if !self.follows_word() => self.raw_string(),
            _ => self.keep(),
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.input.get(self.at + ahead).copied()
    }

    /// True if the current character continues an identifier. The prefixes of byte and C strings
    /// do not count.
    fn follows_word(&self) -> bool {
        let before = |back: usize| self.at.checked_sub(back).and_then(|at| self.input.get(at));
        match before(1) {
            Some('b' | 'c') => before(2).is_some_and(|c| is_word_char(*c)),
            Some(c) => is_word_char(*c),
            None => false,
        }
    }

    fn keep(&mut self) {
        if let Some(c) = self.peek(0) {
            self.push(c);
        }
    }

    fn push(&mut self, c: char) {
        self.code.push(c);
        if c == '\n' {
            self.comments.push(String::new());
        }
        self.at += 1;
    }

    /// Blanks one character; keeps line breaks.
    fn blank(&mut self) {
        let is_break = self.peek(0) == Some('\n');
        self.push(if is_break { '\n' } else { ' ' });
    }

    fn blank_comment(&mut self) {
        if let (Some(c), Some(line)) = (self.peek(0), self.comments.last_mut())
            && c != '\n'
        {
            line.push(c);
        }
        self.blank();
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.blank_comment();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.peek(0).is_some() {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.blank_comment();
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.blank_comment();
                }
                _ => {}
            }
            self.blank_comment();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.keep();
        while let Some(c) = self.peek(0) {
            match c {
                '"' => return self.keep(),
                '\\' => {
                    self.blank();
                    self.blank_if_any();
                }
                _ => self.blank(),
            }
        }
    }

    fn raw_string(&mut self) {
        let mut hashes = 0;
        while self.peek(1 + hashes) == Some('#') {
            hashes += 1;
        }
        if self.peek(1 + hashes) != Some('"') {
            return self.keep();
        }
        for _ in 0..hashes + 2 {
            self.keep();
        }
        while let Some(c) = self.peek(0) {
            if c == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                for _ in 0..=hashes {
                    self.keep();
                }
                return;
            }
            self.blank();
        }
    }

    /// A character literal, or a lifetime.
    fn quote(&mut self) {
        let is_escape = self.peek(1) == Some('\\');
        if !is_escape && self.peek(2) != Some('\'') {
            return self.keep();
        }
        self.keep();
        if is_escape {
            self.blank();
        }
        self.blank_if_any();
        while self.peek(0).is_some_and(|c| c != '\'' && c != '\n') {
            self.blank();
        }
        self.keep();
    }

    fn blank_if_any(&mut self) {
        if self.peek(0).is_some() {
            self.blank();
        }
    }
}

/// Words an item can start with. What starts otherwise is a field, an arm or an expression.
const ITEM_WORDS: &[&str] = &[
    "async",
    "const",
    "enum",
    "extern",
    "fn",
    "impl",
    "let",
    "macro_rules",
    "mod",
    "pub",
    "static",
    "struct",
    "trait",
    "type",
    "use",
];

#[cfg(test)]
mod tests;
