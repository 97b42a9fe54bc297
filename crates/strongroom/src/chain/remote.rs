//! Backends that are reached over a network, or through another program: one line each.

use std::time::Duration;

use strongroom_core::port::Backend;

use super::Deadline;
use super::Entry;
use super::unknown_scheme;
use crate::app::App;
use crate::error::CommandError;

/// Schemes of this build.
pub(super) const SCHEMES: &[&str] = &[];
/// Schemes of the program when everything is built in.
pub(super) const PLANNED: [&str; 14] = [
    "aws",
    "ssm",
    "vault",
    "gcp",
    "azure",
    "k8s",
    "kubernetes",
    "keyring",
    "systemd",
    "age",
    "sops",
    "exec",
    "op",
    "pass",
];

/// How long a backend may take for one question, unless `STRONGROOM_TIMEOUT` says otherwise.
const DEADLINE_SECONDS: u64 = 10;
/// Longest deadline that can be set.
const DEADLINE_SECONDS_MAX: u64 = 3600;

/// Opens a remote backend; starts the runtime.
pub(super) fn open(app: &App, entry: &Entry) -> Result<Box<dyn Backend>, CommandError> {
    if !SCHEMES.contains(&entry.scheme()) {
        return Err(unknown_scheme(&entry.text, entry.scheme()));
    }
    crate::runtime::start()?;
    let deadline = deadline(app)?;
    let backend = crate::runtime::wait(connect(app, entry))?;
    Ok(Box::new(Deadline::new(backend, deadline)))
}

async fn connect(app: &App, entry: &Entry) -> Result<Box<dyn Backend>, CommandError> {
    let _ = app;
    Err(unknown_scheme(&entry.text, entry.scheme()))
}

fn deadline(app: &App) -> Result<Duration, CommandError> {
    const VARIABLE: &str = "STRONGROOM_TIMEOUT";
    let Some(text) = app.environment.text(VARIABLE) else {
        return Ok(Duration::from_secs(DEADLINE_SECONDS));
    };
    let seconds = text.parse().ok();
    let seconds = seconds.filter(|seconds| (1..=DEADLINE_SECONDS_MAX).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        CommandError::usage(format!(
            "{VARIABLE} is no number of seconds from 1 to {DEADLINE_SECONDS_MAX}"
        ))
    })
}
