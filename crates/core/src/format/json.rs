//! Is a text JSON? Only the answer, no tree: nothing of the text is copied.

/// Deepest nesting that is still read.
const DEPTH_MAX: usize = 128;

/// True for exactly one JSON value (RFC 8259) with nothing but white space around it.
pub(super) fn is_json(text: &[u8]) -> bool {
    let mut reader = Reader { rest: text };
    reader.value(0).is_some() && {
        reader.skip_space();
        reader.rest.is_empty()
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.skip_space();
        match self.rest.first()? {
            b'{' => self.items(b'}', depth, true),
            b'[' => self.items(b']', depth, false),
            b'"' => self.string(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    /// The inside of an object or array, from its opening bracket to its `end`.
    fn items(&mut self, end: u8, depth: usize, keyed: bool) -> Option<()> {
        self.next()?;
        self.skip_space();
        if self.rest.first() == Some(&end) {
            return self.next().map(|_| ());
        }
        loop {
            if keyed {
                self.skip_space();
                self.string()?;
                self.skip_space();
                self.word(b":")?;
            }
            self.value(depth + 1)?;
            self.skip_space();
            match self.next()? {
                b',' => {}
                byte if byte == end => return Some(()),
                _ => return None,
            }
        }
    }

    fn string(&mut self) -> Option<()> {
        self.word(b"\"")?;
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            self.next().filter(u8::is_ascii_hexdigit)?;
                        }
                    }
                    _ => return None,
                },
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        if self.rest.first() == Some(&b'-') {
            self.next()?;
        }
        if self.rest.first() == Some(&b'0') {
            self.next()?;
        } else {
            self.digits()?;
        }
        if self.rest.first() == Some(&b'.') {
            self.next()?;
            self.digits()?;
        }
        if matches!(self.rest.first(), Some(b'e' | b'E')) {
            self.next()?;
            if matches!(self.rest.first(), Some(b'+' | b'-')) {
                self.next()?;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let count = self
            .rest
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        self.rest = self.rest.get(count..)?;
        (count > 0).then_some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip_space(&mut self) {
        while let Some((b' ' | b'\t' | b'\n' | b'\r', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_from_what_only_looks_like_it() {
        for good in [
            "{}",
            " [1, -0.5e+3, \"a\\u00e9\\n\"] ",
            "{\"a\":{\"b\":[]}}",
            "null",
            "\"x\"",
        ] {
            assert!(is_json(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "{",
            "{a:1}",
            "[1,]",
            "01",
            "'x'",
            "{\"a\":1}x",
            "\"\n\"",
            "1.",
            "tru",
            "{\"a\"}",
        ] {
            assert!(!is_json(bad.as_bytes()), "{bad}");
        }
        assert!(!is_json("[".repeat(100_000).as_bytes()));
    }
}
