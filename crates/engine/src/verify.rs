//! The whole store read through: what `doctor` reports.

use std::collections::HashSet;

use strongroom_core::path::SecretPath;
use strongroom_core::port::Changed;
use strongroom_core::port::RecordId;
use strongroom_core::port::StorageError;
use strongroom_core::version::VersionState;

use strongroom_crypto::barrier::Field;

use crate::error::Error;
use crate::folder;
use crate::folder::PAGE;
use crate::mounts::Engines;
use crate::record;
use crate::record::Kind;
use crate::secrets::Engine;
use crate::state::State;

/// Changes read at once when looking for strays.
const STRAYS_PAGE: usize = 65_536;

/// What a reading of the whole store found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Secrets that open with all their versions.
    pub secrets: u64,
    /// Versions that open, newest ones included.
    pub versions: u64,
    /// Audit records that open.
    pub audit_records: u64,
    /// What is wrong: the secret or folder, and what was found.
    pub problems: Vec<Problem>,
    /// The secrets whose newest value can be read.
    pub readable: Vec<SecretPath>,
}

impl Report {
    /// Damage below the records is a problem to report, not the end of the reading.
    fn note_damage(&mut self, what: &str, result: Result<(), Error>) -> Result<(), Error> {
        match result {
            Err(Error::Storage(StorageError::Damaged { detail })) => {
                let what = what.to_owned();
                self.problems.push(Problem { what, detail });
                Ok(())
            }
            other => other,
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which secret or folder.
    pub what: String,
    /// What was found.
    pub detail: String,
}

impl Engine {
    /// Opens every record of the store.
    ///
    /// # Errors
    /// When storage itself cannot be read.
    pub async fn verify(&self) -> Result<Report, Error> {
        let mut report = Report::default();
        let mut seen = HashSet::new();
        self.verify_space(&mut report, &mut seen).await?;
        let read = self.verify_other_spaces(&mut report, &mut seen).await;
        report.note_damage("the mounts", read)?;
        let read = self.verify_audit(&mut report, &mut seen).await;
        report.note_damage("the audit log", read)?;
        let read = self.verify_strays(&mut report, &seen).await;
        report.note_damage("the store", read)?;
        Ok(report)
    }

    /// All folders and secrets of this engine's space.
    async fn verify_space(
        &self,
        report: &mut Report,
        seen: &mut HashSet<RecordId>,
    ) -> Result<(), Error> {
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            seen.insert(record::id_of(&self.barrier, Kind::Folder, &folder));
            let walked = self
                .verify_folder(&folder, &mut folders, report, seen)
                .await;
            report.note_damage("a folder", walked)?;
        }
        Ok(())
    }

    /// The secrets of a server's mounts, and what is left of those that are being removed.
    async fn verify_other_spaces(
        &self,
        report: &mut Report,
        seen: &mut HashSet<RecordId>,
    ) -> Result<(), Error> {
        let state = self.state();
        let mounts = state.mounts().await?.map(|found| found.value);
        for (at, mount) in mounts.unwrap_or_default().by_path {
            let (Engines::Kv1 | Engines::Kv2, Some(space)) = (mount.engine, mount.space()) else {
                continue;
            };
            let mut found = Report::default();
            let engine = self.with(Some(space), self.trail);
            engine.verify_space(&mut found, seen).await?;
            report.secrets += found.secrets;
            report.versions += found.versions;
            report
                .problems
                .extend(found.problems.into_iter().map(|problem| Problem {
                    what: format!("{} (mount {at})", problem.what),
                    ..problem
                }));
        }
        for doomed in state.doomed().await? {
            let engine = self.with(Some(doomed.value.space), self.trail);
            // Half of it is gone already: nothing that is found there is a problem.
            let _ = engine.verify_space(&mut Report::default(), seen).await;
        }
        Ok(())
    }

    fn state(&self) -> State {
        State::new(std::sync::Arc::clone(&self.storage), self.barrier.clone())
    }

    async fn verify_folder(
        &self,
        folder: &str,
        folders: &mut Vec<String>,
        report: &mut Report,
        seen: &mut HashSet<RecordId>,
    ) -> Result<(), Error> {
        match folder::children(&*self.storage, &self.barrier, folder).await {
            Ok(_) => {}
            Err(Error::Damaged { what, detail }) => report.problems.push(Problem { what, detail }),
            // Said below, where the reading stops.
            Err(Error::Storage(StorageError::Damaged { .. })) => {}
            Err(error) => return Err(error),
        }
        // Read again without the check, so that everything that does open is counted.
        let id = record::id_of(&self.barrier, Kind::Folder, folder);
        let mut after = None;
        loop {
            let page = self.storage.list(id, after, PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|record| record.id);
            for stored in page {
                seen.insert(stored.id);
                let Some(summary) = record::open_summary(&self.barrier, &stored) else {
                    continue;
                };
                let path = match folder {
                    "" => summary.leaf,
                    _ => format!("{folder}/{}", summary.leaf),
                };
                if summary.is_folder {
                    folders.push(path);
                } else if let Ok(path) = path.parse::<SecretPath>() {
                    let read = self.verify_secret(&path, report, seen).await;
                    report.note_damage(path.as_str(), read)?;
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    async fn verify_secret(
        &self,
        path: &SecretPath,
        report: &mut Report,
        seen: &mut HashSet<RecordId>,
    ) -> Result<(), Error> {
        let (record, head) = match self.find(path).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(()),
            Err(Error::Damaged { what, detail }) => {
                report.problems.push(Problem { what, detail });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut is_whole = true;
        let mut is_readable = false;
        let newest = head.newest().map(|version| version.number);
        let is_newest = |number| newest == Some(number);
        for version in &head.versions {
            seen.insert(record::version_id(&self.barrier, path, version.number));
            if version.state == VersionState::Destroyed {
                continue;
            }
            match self.value_of(&head, version.number).await {
                Ok(_) => {
                    report.versions += 1;
                    is_readable |= is_newest(version.number);
                }
                Err(Error::Damaged { .. })
                    if !folder::is_unchanged(&*self.storage, &record).await? =>
                {
                    // Somebody changes the secret just now: it is in good hands.
                    return Ok(());
                }
                Err(Error::Damaged { what, detail }) => {
                    is_whole = false;
                    report.problems.push(Problem { what, detail });
                }
                Err(error) => return Err(error),
            }
        }
        report.secrets += u64::from(is_whole);
        if is_readable
            && head
                .newest()
                .is_some_and(|it| it.state == VersionState::Live)
        {
            report.readable.push(path.clone());
        }
        Ok(())
    }

    async fn verify_audit(
        &self,
        report: &mut Report,
        seen: &mut HashSet<RecordId>,
    ) -> Result<(), Error> {
        let parent = record::id_of(&self.barrier, Kind::Audit, "");
        let mut after = None;
        let mut closed = 0_u64;
        loop {
            let page = self.storage.list(parent, after, PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|record| record.id);
            for stored in &page {
                seen.insert(stored.id);
                match record::open_audit(&self.barrier, stored) {
                    Some(_) => report.audit_records += 1,
                    None => closed += 1,
                }
            }
            if is_last {
                break;
            }
        }
        if closed > 0 {
            let detail = format!("{closed} of its records do not open");
            report.problems.push(Problem {
                what: "the audit log".into(),
                detail,
            });
        }
        Ok(())
    }

    /// Leaves of some records those that are no state of a server.
    async fn take_out_state(&self, ids: &mut Vec<RecordId>) -> Result<(), Error> {
        let state = self.state();
        let mut others = Vec::new();
        for chunk in ids.chunks(PAGE) {
            let records = self.storage.get_many(chunk).await?;
            // One that has gone meanwhile is no stray either.
            let strays = records.iter().flatten().filter(|record| {
                let opens = self.barrier.open(record.id, Field::Value, &record.value);
                state.label(record).is_none() || opens.is_err()
            });
            others.extend(strays.map(|record| record.id));
        }
        *ids = others;
        Ok(())
    }

    /// Records that no folder, secret or log leads to.
    async fn verify_strays(
        &self,
        report: &mut Report,
        seen: &HashSet<RecordId>,
    ) -> Result<(), Error> {
        let mut after = 0;
        let mut strays = HashSet::new();
        loop {
            let page = self.storage.watch(after, STRAYS_PAGE).await?;
            let is_stray = |change: &&Changed| change.exists && !seen.contains(&change.id);
            strays.extend(page.iter().filter(is_stray).map(|change| change.id));
            let (Some(first), Some(last)) = (page.first(), page.last()) else {
                break;
            };
            if page.len() < STRAYS_PAGE {
                break;
            }
            // The last revision of a page may go on in the next.
            let is_one = first.revision == last.revision;
            after = if is_one {
                last.revision
            } else {
                last.revision - 1
            };
        }
        let mut strays = strays.into_iter().collect::<Vec<_>>();
        self.take_out_state(&mut strays).await?;
        let strays = strays.len();
        if strays > 0 {
            let detail = format!("{strays} records belong to no secret");
            report.problems.push(Problem {
                what: "the store".into(),
                detail,
            });
        }
        Ok(())
    }
}
