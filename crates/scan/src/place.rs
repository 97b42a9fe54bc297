//! Where something stands in a text, and what may be shown of it.

use std::ops::Range;

/// Most characters of what stands before a value.
const BEFORE_CHARS_MAX: usize = 48;
/// Most bytes of a line that are looked at, on either side.
const LINE_BYTES_MAX: usize = 4_096;
/// What stands for the value.
const MASK: &str = "[redacted]";

/// Lines and columns of a text, asked for from the front to the back: each byte is counted once,
/// however long a line is.
pub(crate) struct Lines<'a> {
    text: &'a [u8],
    /// What was counted up to, and where that is.
    at: usize,
    line: usize,
    column: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
            column: 1,
        }
    }

    /// One-based line and column of a byte. What lies before the last one costs a new beginning.
    pub(crate) fn at(&mut self, at: usize) -> (usize, usize) {
        let at = at.min(self.text.len());
        if at < self.at {
            *self = Self::of(self.text);
        }
        let passed = self.text.get(self.at..at).unwrap_or_default();
        let lines = memchr::memchr_iter(b'\n', passed).count();
        let rest = match memchr::memrchr(b'\n', passed) {
            Some(end) => {
                self.column = 1;
                passed.get(end + 1..).unwrap_or_default()
            }
            None => passed,
        };
        self.line += lines;
        self.column += chars(rest);
        self.at = at;
        (self.line, self.column)
    }
}

/// Characters in some bytes: those that begin one, and those that are no UTF-8.
fn chars(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| *byte & 0xc0 != 0x80).count()
}

/// The line of a range, as far as it is near: some files are one line of megabytes.
pub(crate) fn line_around(text: &[u8], range: &Range<usize>) -> Range<usize> {
    let first = range.start.saturating_sub(LINE_BYTES_MAX);
    let last = text.len().min(range.end + LINE_BYTES_MAX);
    let before = text.get(first..range.start).unwrap_or_default();
    let start = memchr::memrchr(b'\n', before).map_or(first, |at| first + at + 1);
    let after = text.get(range.end..last).unwrap_or_default();
    let end = memchr::memchr(b'\n', after).map_or(last, |at| range.end + at);
    start..end
}

/// The name that a value is given to, the beginning of the value that is no secret, a mask. What
/// else stands in the line may be a secret, too, that no rule knows; so it is left out.
pub(crate) fn preview(text: &[u8], value: &Range<usize>, shown: usize) -> String {
    let line = line_around(text, value);
    let before = text.get(line.start..value.start).unwrap_or_default();
    let mut out = String::from_utf8_lossy(name_before(before)).into_owned();
    let public = text.get(value.start..value.end.min(value.start + shown));
    let public = public.unwrap_or_default();
    out.extend(
        public
            .iter()
            .filter(|b| b.is_ascii_graphic())
            .map(|b| char::from(*b)),
    );
    out.push_str(MASK);
    out
}

/// `NAME =` at the end of some bytes, else nothing.
fn name_before(before: &[u8]) -> &[u8] {
    let is_around = |byte: &u8| b" \t\"'`=:>[]".contains(byte);
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    let around = before.iter().rev().take_while(|b| is_around(b)).count();
    let rest = before.get(..before.len() - around).unwrap_or_default();
    let name = rest.iter().rev().take_while(|b| is_name(b)).count();
    let count = around + name;
    let is_given = before
        .get(before.len() - around..)
        .is_some_and(|around| around.contains(&b'=') || around.contains(&b':'));
    let has_letter = rest.iter().rev().take(name).any(u8::is_ascii_alphabetic);
    match is_given && has_letter && count <= BEFORE_CHARS_MAX {
        true => before.get(before.len() - count..).unwrap_or_default(),
        false => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_are_counted_from_one_in_characters() {
        let text = "a\nbü=c\n\nd".as_bytes();
        let mut lines = Lines::of(text);
        assert_eq!(lines.at(0), (1, 1));
        assert_eq!(lines.at(2), (2, 1));
        assert_eq!(lines.at(6), (2, 4));
        assert_eq!(lines.at(8), (3, 1));
        assert_eq!(lines.at(9), (4, 1));
        assert_eq!(lines.at(2), (2, 1));
    }

    #[test]
    fn a_preview_has_the_name_and_nothing_else_of_the_line() {
        let check = |text: &str, value: &str, shown, expected: &str| {
            let start = text.find(value).expect("it stands in the text");
            let range = start..start + value.len();
            assert_eq!(preview(text.as_bytes(), &range, shown), expected);
        };
        check(
            "other=s3cr3t TOKEN=ghp_abc",
            "ghp_abc",
            4,
            "TOKEN=ghp_[redacted]",
        );
        check("x\n\"key\": \"abc\"", "abc", 0, "key\": \"[redacted]");
        check("log in with hunter22", "hunter22", 0, "[redacted]");
        check(
            "a hunter22abcdefgh:x",
            "x",
            0,
            "hunter22abcdefgh:[redacted]",
        );
    }
}
