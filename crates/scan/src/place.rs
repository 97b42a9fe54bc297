//! Where something stands in a text, and what may be shown of it.

use std::ops::Range;

use strongroom_core::placeholder;

/// Most characters of what stands before a value.
const BEFORE_CHARS_MAX: usize = 48;
/// Most digits of a name: more are drawn.
const NAME_DIGITS_MAX: usize = 2;
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
/// `is_secret` says where in the text there is one.
pub(crate) fn preview(
    text: &[u8],
    value: &Range<usize>,
    shown: usize,
    is_secret: impl Fn(&Range<usize>) -> bool,
) -> String {
    let line = line_around(text, value);
    let before = text.get(line.start..value.start).unwrap_or_default();
    let name = line.start + name_before(before)..value.start;
    let mut out = match is_secret(&name) {
        true => String::new(),
        false => String::from_utf8_lossy(text.get(name).unwrap_or_default()).into_owned(),
    };
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

/// Where `NAME =` at the end of some bytes begins, else their end. What stands before a colon may
/// be the first half of a secret: so the word has to begin what is written there, and to sound like
/// the name of one.
fn name_before(before: &[u8]) -> usize {
    let is_around = |byte: &u8| b" \t\"'`=:>[]".contains(byte);
    let is_in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    let around = before.iter().rev().take_while(|b| is_around(b)).count();
    let (rest, around) = before.split_at(before.len() - around);
    let name = rest.iter().rev().take_while(|b| is_in_name(b)).count();
    let (rest, name) = rest.split_at(rest.len() - name);
    let is_given = around.contains(&b'=') || around.contains(&b':');
    // A line of a difference begins with a sign.
    let is_first = match rest {
        [] | [b'+'] => true,
        [.., last] => b" \t\"'`{([,;<&?$".contains(last),
    };
    let is_short = name.len() + around.len() <= BEFORE_CHARS_MAX;
    match is_given && is_first && is_short && is_name(name) {
        true => rest.len(),
        false => before.len(),
    }
}

/// Whether a word is what a secret is called, and nothing that somebody drew.
fn is_name(word: &[u8]) -> bool {
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    let word = std::str::from_utf8(word).unwrap_or_default();
    let of_pair = ["_id", "-id", "Id", "ID"];
    let whole = of_pair.iter().find_map(|end| word.strip_suffix(end));
    let is_called = placeholder::is_sensitive_name(whole.unwrap_or(word));
    is_called && digits <= NAME_DIGITS_MAX
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

    /// The preview of the last place where a value stands.
    fn previewed(text: &str, value: &str, shown: usize) -> String {
        let start = text.rfind(value).expect("it stands in the text");
        let range = start..start + value.len();
        preview(text.as_bytes(), &range, shown, |_| false)
    }

    #[test]
    fn a_preview_has_the_name_and_nothing_else_of_the_line() {
        for (text, value, shown, expected) in [
            (
                "other=s3cr3t TOKEN=ghp_abc",
                "ghp_abc",
                4,
                "TOKEN=ghp_[redacted]",
            ),
            ("x\n\"key\": \"abc\"", "abc", 0, "key\": \"[redacted]"),
            ("+ACCESS_KEY_ID=abc", "abc", 0, "ACCESS_KEY_ID=[redacted]"),
            (
                "$db['password'] = 'abc",
                "abc",
                0,
                "password'] = '[redacted]",
            ),
            ("?auth_token=abc", "abc", 0, "auth_token=[redacted]"),
            ("log in with hunter22", "hunter22", 0, "[redacted]"),
        ] {
            assert_eq!(previewed(text, value, shown), expected, "{text}");
        }
    }

    #[test]
    fn what_may_be_the_first_half_of_a_secret_is_left_out() {
        for text in [
            "hunter22abcdefgh:abc",
            "correcthorse:abc",
            "ann:hunter2password:abc",
            "https://mytoken:abc",
            "AUTH=bXl0b2tlbjo=abc",
            "a/secretpart=abc",
            "x+secretpart=abc",
            "key8f3a91:abc",
            "a_very_long_name_of_a_token_that_goes_on_and_on_and_on: abc",
        ] {
            assert_eq!(previewed(text, "abc", 0), "[redacted]", "{text}");
        }
        let text = b"token: abc";
        let told = preview(text, &(7..10), 0, |name| *name == (0..7));
        assert_eq!(told, "[redacted]", "it is one itself");
    }
}
