//! The values that the own store has, to be looked for; and its key for fingerprints.

use strongroom_core::format;
use strongroom_core::path::SecretPath;
use strongroom_core::placeholder;
use strongroom_core::redact::Coverage;
use strongroom_core::redact::Patterns;
use strongroom_core::redact::RedactorBuilder;
use strongroom_core::secret::SecretValue;

use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::runtime::wait;
use crate::session;
use crate::session::Session;

/// Values that are easier to guess stand in many files that know nothing of the store.
const LEAST_BITS: f64 = 40.0;
/// So many values are read at once.
const READ_AT_ONCE: usize = 500;

/// The store, if it is there and opens.
pub(super) struct Known {
    session: Option<Session>,
    patterns: Option<Patterns>,
}

/// Says what a value's fingerprint is.
type Fingerprint = Box<dyn Fn(&[u8]) -> [u8; 16] + Sync>;

impl Known {
    pub(super) fn none() -> Self {
        Self {
            session: None,
            patterns: None,
        }
    }

    /// The store is opened by what needs nobody, or by a person who is there; a scan goes on
    /// without it.
    pub(super) fn open(app: &App) -> Result<Self, CommandError> {
        let session = match session::open_if_there(app) {
            Ok(session) => session,
            Err(error) if error.kind == Kind::Locked => {
                app.ui.warn(
                    "warning: the store is locked: its values are not looked for, and findings \
                     have no fingerprints",
                );
                None
            }
            Err(error) => return Err(error),
        };
        let patterns = session.as_ref().map(read).transpose()?;
        if let Some(session) = &session {
            session.finish(app);
        }
        Ok(Self { session, patterns })
    }

    pub(super) fn has_store(&self) -> bool {
        self.session.is_some()
    }

    pub(super) fn patterns(&self) -> Option<&Patterns> {
        self.patterns.as_ref()
    }

    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        let barrier = self.session.as_ref()?.barrier.clone();
        Some(Box::new(move |value: &[u8]| {
            barrier.fingerprint(&SecretValue::copy_from(value))
        }))
    }
}

/// The current values, as far as they can be told from ordinary text.
pub(in crate::commands) fn read(session: &Session) -> Result<Patterns, CommandError> {
    let entries = wait(session.engine.list_recursive(&session.context, ""))?;
    let paths = entries.iter().filter(|entry| entry.is_live);
    let paths: Vec<SecretPath> = paths.filter_map(|entry| entry.path.parse().ok()).collect();
    let mut builder = RedactorBuilder::new();
    for some in paths.chunks(READ_AT_ONCE) {
        let read = wait(session.engine.read_many(&session.context, some))?;
        for (path, secret) in some.iter().zip(read) {
            if let Some(secret) = secret?
                && is_told_apart(path.as_str(), &secret.payload.value)
            {
                builder.add(path.as_str(), &secret.payload.value);
            }
        }
    }
    Ok(builder.build())
}

fn is_told_apart(path: &str, value: &SecretValue) -> bool {
    if Coverage::of(value) != Coverage::Full {
        return false;
    }
    // EXPOSE: how easy it is to guess, and whether it is a placeholder; nothing is kept.
    let bytes = value.expose_secret();
    let name = path.rsplit('/').next().unwrap_or(path);
    let text = std::str::from_utf8(bytes).ok();
    let is_placeholder =
        text.is_some_and(|text| placeholder::placeholder_reason(name, text, None).is_some());
    format::entropy_bits_estimate(bytes) >= LEAST_BITS && !is_placeholder
}
