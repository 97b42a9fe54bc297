//! What people see: stdout is data, stderr is talk.

use std::io;
use std::io::IsTerminal;
use std::io::Write;

use comfy_table::ContentArrangement;
use comfy_table::Table;
use comfy_table::presets;
use inquire::InquireError;
use inquire::Password;
use inquire::PasswordDisplayMode;
use serde_json::Value;
use strongroom_core::path::is_forbidden;
use strongroom_core::secret::SecretValue;

use crate::env::Environment;
use crate::error::CommandError;

/// How the program talks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ui {
    /// Data as JSON.
    pub(crate) is_json: bool,
    is_quiet: bool,
    has_colour_out: bool,
    has_colour_err: bool,
    is_interactive: bool,
    says_yes: bool,
}

/// What the global flags say about talking.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) is_json: bool,
    pub(crate) is_quiet: bool,
    pub(crate) no_colour: bool,
    pub(crate) non_interactive: bool,
    pub(crate) says_yes: bool,
}

/// A colour with a meaning.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    Good,
    Bad,
    Doubtful,
    Quiet,
    Strong,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Bad => "31;1",
            Self::Doubtful => "33",
            Self::Quiet => "2",
            Self::Strong => "1",
        }
    }
}

impl Ui {
    pub(crate) fn new(manner: Manner, environment: &Environment) -> Self {
        let may_colour = !manner.no_colour
            && !environment.has("NO_COLOR")
            && environment.text("TERM") != Some("dumb");
        let is_interactive = !manner.non_interactive
            && !environment.has("CI")
            && io::stdin().is_terminal()
            && io::stderr().is_terminal();
        Self {
            is_json: manner.is_json,
            is_quiet: manner.is_quiet,
            has_colour_out: may_colour && io::stdout().is_terminal(),
            has_colour_err: may_colour && io::stderr().is_terminal(),
            is_interactive,
            says_yes: manner.says_yes,
        }
    }

    /// A line of talk.
    pub(crate) fn say(&self, line: &str) {
        if !self.is_quiet {
            self.warn(line);
        }
    }

    /// A line that is said even when quiet.
    pub(crate) fn warn(&self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "{}", clean(line));
    }

    /// Text for stdout; a reader that went away is no error.
    pub(crate) fn print(&self, text: &str) -> Result<(), CommandError> {
        self.print_bytes(text.as_bytes())
    }

    pub(crate) fn print_line(&self, text: &str) -> Result<(), CommandError> {
        self.print_bytes(text.as_bytes())?;
        self.print_bytes(b"\n")
    }

    pub(crate) fn print_bytes(&self, bytes: &[u8]) -> Result<(), CommandError> {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CommandError::failed(
                format!("stdout cannot be written: {error}"),
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn print_json(&self, value: &Value) -> Result<(), CommandError> {
        // Maps with text keys always serialise.
        let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
        text.push('\n');
        self.print(&text)
    }

    /// A table on stdout.
    pub(crate) fn print_table(
        &self,
        headings: &[&str],
        rows: Vec<Vec<String>>,
    ) -> Result<(), CommandError> {
        self.print_line(&self.table(headings, rows))
    }

    pub(crate) fn table(&self, headings: &[&str], rows: Vec<Vec<String>>) -> String {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
        for row in rows {
            table.add_row(row.iter().map(|cell| clean(cell)));
        }
        let text = table.to_string();
        let lines: Vec<String> = text
            .lines()
            .map(|line| self.tint_row(line.trim_end().strip_prefix(' ').unwrap_or(line)))
            .collect();
        lines.join("\n")
    }

    /// Colours the words that say how something stands.
    fn tint_row(&self, line: &str) -> String {
        if !self.has_colour_out {
            return line.to_owned();
        }
        const WORDS: [(&str, Tone); 8] = [
            (" ok ", Tone::Good),
            (" live ", Tone::Good),
            (" missing ", Tone::Bad),
            (" invalid ", Tone::Bad),
            (" expired ", Tone::Bad),
            (" placeholder ", Tone::Doubtful),
            (" deleted ", Tone::Doubtful),
            (" destroyed ", Tone::Quiet),
        ];
        for (word, tone) in WORDS {
            if let Some((before, after)) = line.split_once(word) {
                let word = word.trim();
                return format!("{before} \x1b[{}m{word}\x1b[0m {after}", tone.code());
            }
        }
        line.to_owned()
    }

    /// Text for stdout in a colour, if it takes one.
    pub(crate) fn tint(&self, tone: Tone, text: &str) -> String {
        paint(self.has_colour_out, tone, text)
    }

    /// Text for stderr in a colour, if it takes one.
    pub(crate) fn tint_err(&self, tone: Tone, text: &str) -> String {
        paint(self.has_colour_err, tone, text)
    }

    /// A terminal that may be drawn on while something is going on.
    pub(crate) fn is_lively(&self) -> bool {
        !self.is_quiet && !self.is_json && io::stderr().is_terminal()
    }

    pub(crate) fn is_interactive(&self) -> bool {
        self.is_interactive
    }

    /// Asks before something that cannot be undone.
    pub(crate) fn confirm(&self, question: &str) -> Result<(), CommandError> {
        if self.says_yes {
            return Ok(());
        }
        if !self.is_interactive {
            return Err(CommandError::usage(format!("this needs a yes: {question}"))
                .hint("add --yes to say it in advance"));
        }
        match inquire::Confirm::new(question).with_default(false).prompt() {
            Ok(true) => Ok(()),
            Ok(false) => Err(CommandError::failed("nothing was changed")),
            Err(error) => Err(prompt_failed(&error)),
        }
    }

    /// Asks for a secret without showing it.
    pub(crate) fn ask_secret(
        &self,
        question: &str,
        confirm: bool,
    ) -> Result<SecretValue, CommandError> {
        if !self.is_interactive {
            return Err(CommandError::usage(format!(
                "{question}: nobody is there to answer"
            )));
        }
        let mut prompt = Password::new(question).with_display_mode(PasswordDisplayMode::Hidden);
        if !confirm {
            prompt = prompt.without_confirmation();
        }
        prompt
            .prompt()
            .map(SecretValue::from_text)
            .map_err(|error| prompt_failed(&error))
    }

    /// Reports a failure.
    pub(crate) fn report(&self, error: &CommandError) {
        if error.is_reported {
            return;
        }
        let mut err = io::stderr().lock();
        if self.is_json {
            let value = serde_json::json!({
                "version": 1,
                "error": {
                    "code": error.code,
                    "message": error.message,
                    "hints": error.hints,
                },
            });
            let _ = writeln!(err, "{value}");
            return;
        }
        let label = paint(self.has_colour_err, Tone::Bad, "error:");
        let _ = writeln!(err, "{label} {}", clean(&error.message));
        for hint in &error.hints {
            let label = paint(self.has_colour_err, Tone::Strong, "hint:");
            let _ = writeln!(err, "{label} {}", clean(hint));
        }
    }
}

fn prompt_failed(error: &InquireError) -> CommandError {
    match error {
        InquireError::OperationCanceled | InquireError::OperationInterrupted => {
            CommandError::interrupted()
        }
        _ => CommandError::failed("the terminal cannot be read"),
    }
}

fn paint(has_colour: bool, tone: Tone, text: &str) -> String {
    if has_colour {
        format!("\x1b[{}m{text}\x1b[0m", tone.code())
    } else {
        text.to_owned()
    }
}

/// Shows control characters instead of sending them to the terminal. Our own colours pass.
pub(crate) fn clean(text: &str) -> String {
    let is_plain = |c: char| !is_forbidden(c) || c == '\n';
    if text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut cleaned = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = own_colour(rest);
        if let Some(length) = colour {
            cleaned.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        if is_plain(c) {
            cleaned.push(c);
        } else {
            cleaned.extend(c.escape_unicode());
        }
        rest = &rest[c.len_utf8()..];
    }
    cleaned
}

/// Length of a colour sequence as `paint` writes them.
fn own_colour(text: &str) -> Option<usize> {
    let body = text.strip_prefix("\x1b[")?;
    let end = body.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    (body[end..].starts_with('m')).then_some(end + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_not_sent() {
        for (text, cleaned) in [
            ("plain", "plain"),
            ("a\x1b]52;c;eA==\x07b", "a\\u{1b}]52;c;eA==\\u{7}b"),
            ("a\rb", "a\\u{d}b"),
            ("\u{202e}evil", "\\u{202e}evil"),
            ("\x1b[2J", "\\u{1b}[2J"),
            ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        ] {
            assert_eq!(clean(text), cleaned);
        }
    }
}
