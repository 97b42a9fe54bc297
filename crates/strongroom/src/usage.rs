//! Usage errors in our words: clap's own quote what was typed, which may be a secret.

use std::io::Write;

use clap::Error;
use clap::error::ContextKind;
use clap::error::ContextValue;
use clap::error::ErrorKind;

use crate::env::Environment;
use crate::error::Kind;

/// Prints help, version or an error; the exit code.
pub(crate) fn report(error: &Error, environment: &Environment) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            return 0;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            return Kind::Usage.exit_code();
        }
        _ => {}
    }
    if wants_json(environment) {
        let hint = suggestion(error).map(|suggestion| format!("did you mean {suggestion}?"));
        let value = serde_json::json!({
            "version": 1,
            "error": {
                "code": "usage",
                "message": message(error),
                "hints": hint.into_iter().collect::<Vec<_>>(),
            },
        });
        let _ = writeln!(std::io::stderr(), "{value}");
        return Kind::Usage.exit_code();
    }
    let mut text = format!("error: {}\n", message(error));
    if let Some(suggestion) = suggestion(error) {
        text.push_str(&format!("hint: did you mean {suggestion}?\n"));
    }
    if let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) {
        text.push_str(&format!("{}\n", usage.to_string().trim_end()));
    }
    text.push_str("hint: --help shows what is possible\n");
    let _ = std::io::stderr().write_all(text.as_bytes());
    Kind::Usage.exit_code()
}

/// Whether JSON was asked for, as far as a command line that is not understood can tell.
fn wants_json(environment: &Environment) -> bool {
    let is_flag = std::env::args_os()
        .take_while(|argument| argument != "--")
        .any(|argument| argument == "--json");
    let variable = environment.text("STRONGROOM_JSON");
    is_flag || variable.and_then(strongroom_core::format::parse_bool) == Some(true)
}

fn message(error: &Error) -> String {
    let argument = text(error, ContextKind::InvalidArg).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => match flag_name(&argument) {
            Some(flag) => format!("the option {flag} is not known"),
            None => "there is one argument too many (it is not repeated here: it may be a secret)"
                .into(),
        },
        ErrorKind::InvalidSubcommand => match text(error, ContextKind::InvalidSubcommand) {
            Some(name) if name.len() <= 24 => format!("there is no command {name}"),
            _ => "there is no such command".into(),
        },
        ErrorKind::MissingRequiredArgument => format!("missing: {argument}"),
        ErrorKind::InvalidValue if !argument.is_empty() => match values(error) {
            Some(values) => format!("the value of {argument} is none of {values}"),
            None => format!("the value of {argument} is missing or not valid"),
        },
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error).map(ToString::to_string);
            let reason = reason
                .map(|reason| format!(": {reason}"))
                .unwrap_or_default();
            format!("the value of {argument} is not valid{reason}")
        }
        ErrorKind::ArgumentConflict => match text(error, ContextKind::PriorArg) {
            Some(prior) => format!("{argument} cannot be used with {prior}"),
            None => format!("{argument} cannot be used here"),
        },
        ErrorKind::MissingSubcommand => "a command is missing".into(),
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".into(),
        kind => kind
            .as_str()
            .unwrap_or("the command line is not understood")
            .into(),
    }
}

/// The flag's name, without a value that may stand behind `=`.
fn flag_name(argument: &str) -> Option<&str> {
    let name = argument.split('=').next()?;
    let is_flag = name.starts_with("--")
        && name
            .chars()
            .skip(2)
            .all(|c| c.is_ascii_lowercase() || c == '-')
        || name.len() == 2 && name.starts_with('-');
    is_flag.then_some(name)
}

fn suggestion(error: &Error) -> Option<String> {
    [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ]
    .into_iter()
    .find_map(|kind| match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        // The nearest stands last.
        ContextValue::Strings(texts) => texts.last().cloned(),
        _ => None,
    })
}

fn values(error: &Error) -> Option<String> {
    text(error, ContextKind::ValidValue).filter(|values| !values.is_empty())
}

fn text(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(", ")),
        _ => None,
    }
}
