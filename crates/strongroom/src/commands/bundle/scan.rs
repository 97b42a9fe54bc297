//! Whether what is shipped holds a value that the store holds: by fingerprints of its texts, and
//! wherever it stands, raw or encoded, if it can be told from ordinary text.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;
use strongroom_core::redact;
use strongroom_core::redact::Patterns;
use strongroom_core::secret::SecretValue;
use strongroom_deploy::assemble;
use strongroom_engine::ledger::Channel;
use strongroom_engine::ledger::Given;

use crate::app::App;
use crate::commands::scan::values_of;
use crate::error::CommandError;
use crate::ledger;
use crate::session;
use crate::session::Session;

/// Shorter texts are no secrets that can be told from other words.
const SCANNED_BYTES_MIN: usize = 6;
/// Longest file that is searched.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// A search for the store's values.
pub(super) struct Scan {
    session: Option<Session>,
    /// From fingerprint to path.
    known: BTreeMap<[u8; 16], String>,
    /// The values that can be told from ordinary text.
    values: Option<Patterns>,
    /// Where which secret's value was found.
    found: BTreeSet<(String, String)>,
}

impl Scan {
    pub(super) fn begin(app: &App) -> Result<Self, CommandError> {
        let session = session::open_if_there(app)?;
        let mut known = BTreeMap::new();
        if let Some(session) = &session {
            let entries = session.engine.list_recursive(&session.context, "");
            for entry in crate::runtime::wait(entries)? {
                known.insert(entry.fingerprint, entry.path);
            }
        }
        let values = session.as_ref().map(values_of).transpose()?;
        Ok(Self {
            session,
            known,
            values,
            found: BTreeSet::new(),
        })
    }

    pub(super) fn has_store(&self) -> bool {
        self.session.is_some()
    }

    /// Every text of a manifest, whole and in parts.
    pub(super) fn manifest(&mut self, manifest: &Value) {
        let mut seen = HashSet::new();
        let mut texts = Vec::new();
        assemble::texts(manifest, &mut |text| {
            if text.len() >= SCANNED_BYTES_MIN && seen.insert(text.to_owned()) {
                texts.push(text.to_owned());
            }
        });
        for text in texts {
            self.look_at(text.as_bytes(), "the manifest");
            self.look_through(text.as_bytes(), "the manifest");
        }
    }

    /// Every text in a file, whole and in parts; as a whole, too, since that may be the secret.
    pub(super) fn file(&mut self, shown: &str, path: &Path) -> Result<(), CommandError> {
        if self.session.is_none() {
            return Ok(());
        }
        let bytes = strongroom_backends::file::read_capped(path, FILE_BYTES_MAX);
        let bytes = bytes.map_err(|error| {
            CommandError::failed(format!("{} cannot be read: {error}", path.display()))
        })?;
        self.look_at(&bytes, shown);
        self.look_at(bytes.trim_ascii(), shown);
        self.look_through(&bytes, shown);
        let mut seen = HashSet::new();
        let is_text = |byte: &u8| byte.is_ascii_graphic() || *byte >= 0x80;
        for run in bytes.split(|byte| !is_text(byte)) {
            if run.len() < SCANNED_BYTES_MIN || !seen.insert(run) {
                continue;
            }
            self.look_at(run, shown);
            let Ok(text) = std::str::from_utf8(run) else {
                continue;
            };
            for part in assemble::parts(text) {
                if part.len() >= SCANNED_BYTES_MIN && seen.insert(part.as_bytes()) {
                    self.look_at(part.as_bytes(), shown);
                }
            }
        }
        Ok(())
    }

    /// What is shipped with it opens every secret that is fetched: that is a delivery of each.
    pub(super) fn note(&self, app: &App, manifest: &Value, to: &str) {
        let Some(session) = &self.session else { return };
        let references = assemble::references(manifest).into_iter();
        let given = references.map(|one| Given::reference(&one.path, &one.kind));
        ledger::note(app, session, Channel::Bundle, to, given.collect());
    }

    fn look_at(&mut self, bytes: &[u8], place: &str) {
        let Some(session) = &self.session else { return };
        let fingerprint = session.barrier.fingerprint(&SecretValue::copy_from(bytes));
        if let Some(path) = self.known.get(&fingerprint) {
            self.found.insert((path.clone(), place.to_owned()));
        }
    }

    fn look_through(&mut self, bytes: &[u8], place: &str) {
        let Some(values) = &self.values else { return };
        for found in redact::find(values, bytes) {
            self.found.insert((found.name, place.to_owned()));
        }
    }

    /// What was found, as it is told.
    pub(super) fn found(&self) -> impl Iterator<Item = String> + '_ {
        self.found
            .iter()
            .map(|(path, place)| format!("the value of /{path} stands in {place}: take it out"))
    }
}
