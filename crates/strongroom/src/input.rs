//! Values come in by prompt, standard input or file; never as an argument.

use std::io::IsTerminal;
use std::io::Read;
use std::path::Path;

use strongroom_core::secret::SecretValue;
use strongroom_engine::secrets::VALUE_BYTES_MAX;
use zeroize::Zeroizing;

use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;

/// Where a value comes from.
#[derive(Clone, Debug)]
pub(crate) enum ValueSource {
    Prompt,
    Stdin,
    File(String),
}

impl ValueSource {
    /// From the argument that names it: `-`, `@file`, or none.
    pub(crate) fn parse(argument: Option<&str>) -> Result<Self, CommandError> {
        match argument {
            None if std::io::stdin().is_terminal() => Ok(Self::Prompt),
            None | Some("-") => Ok(Self::Stdin),
            Some(text) => match text.strip_prefix('@') {
                Some(file) if !file.is_empty() => Ok(Self::File(file.to_owned())),
                // The argument may be the secret itself, so it is not repeated.
                _ => Err(
                    CommandError::usage("a value is never an argument: others could read it")
                        .hint("type it at the prompt, pipe it in, or name a file with @FILE"),
                ),
            },
        }
    }

    /// Reads the value. Of piped text one trailing newline is dropped, unless `exact`.
    pub(crate) fn read(
        &self,
        app: &App,
        name: &str,
        exact: bool,
    ) -> Result<SecretValue, CommandError> {
        match self {
            Self::Prompt => app.ui.ask_secret(&format!("Value of {name}"), true),
            Self::Stdin => {
                let bytes = read_capped(&mut std::io::stdin().lock(), "standard input")?;
                if exact {
                    return Ok(SecretValue::copy_from(&bytes));
                }
                let without = bytes.strip_suffix(b"\n");
                let without = without.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
                match without {
                    Some(line) => {
                        app.ui
                            .say("dropped one trailing newline (--exact keeps it)");
                        Ok(SecretValue::copy_from(line))
                    }
                    None => Ok(SecretValue::copy_from(&bytes)),
                }
            }
            Self::File(file) => {
                let path = Path::new(file);
                let mut opened = std::fs::File::open(path).map_err(|error| {
                    let kind = match error.kind() {
                        std::io::ErrorKind::NotFound => Kind::NotFound,
                        std::io::ErrorKind::PermissionDenied => Kind::Denied,
                        _ => Kind::Failed,
                    };
                    let message = format!("{} cannot be read: {error}", path.display());
                    CommandError::new(kind, "input.unreadable", message)
                })?;
                let bytes = read_capped(&mut opened, &path.display().to_string())?;
                Ok(SecretValue::copy_from(&bytes))
            }
        }
    }
}

fn read_capped(input: &mut dyn Read, name: &str) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let cap = VALUE_BYTES_MAX as u64 + 1;
    // Sized in advance: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
    input
        .take(cap)
        .read_to_end(&mut bytes)
        .map_err(|error| CommandError::failed(format!("{name} cannot be read: {error}")))?;
    if bytes.len() > VALUE_BYTES_MAX {
        let message = format!("{name} has over {VALUE_BYTES_MAX} bytes; a value has at most that");
        return Err(CommandError::usage(message));
    }
    Ok(bytes)
}
