//! The end of a migration from a .env file: secrets leave it, and git ignores it.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use strongroom_backends::dotenv::DotenvBackend;
use strongroom_backends::dotenv::DotenvFile;
use strongroom_core::secret::SecretValue;
use strongroom_engine::migrate::Journal;
use strongroom_engine::migrate::Stage;

use super::Work;
use crate::error::CommandError;
use crate::error::Kind;
use crate::runtime::wait;

/// What was cleaned.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cleaned {
    /// The file.
    pub(crate) file: Option<PathBuf>,
    /// Names that were taken out of it.
    pub(crate) names: Vec<String>,
    /// Names that were left, since their value has changed meanwhile.
    pub(crate) changed: Vec<String>,
    /// Lines that were added to a `.gitignore`.
    pub(crate) ignored: Option<(String, Vec<String>)>,
    /// A copy in clear that somebody left beside it.
    pub(crate) clear_copies: Vec<String>,
}

/// Keeps the file in the journal, takes out of it what is migrated, has git ignore it.
pub(crate) fn clean(work: &Work<'_>, journal: &mut Journal) -> Result<Cleaned, CommandError> {
    let Some(path) = &work.source.file else {
        return Ok(Cleaned::default());
    };
    let backend = DotenvBackend::new(path.clone(), path.display().to_string());
    if wait(journal.backup())?.is_none() {
        let bytes = backend.now()?.to_bytes();
        wait(journal.save_backup(&SecretValue::copy_from(&bytes)))?;
    }
    if journal.header.stage == Stage::Copied {
        journal.header.stage = Stage::Cleaning;
    }
    let ignored = ignore(path)?;
    if let Some(lines) = &ignored {
        journal.header.ignored.get_or_insert_with(|| lines.clone());
    }
    wait(journal.save_header())?;
    let mut cleaned = take_out(&backend, journal)?;
    cleaned.file = Some(path.clone());
    cleaned.ignored = ignored;
    cleaned.clear_copies = clear_copies(path);
    Ok(cleaned)
}

fn take_out(backend: &DotenvBackend, journal: &mut Journal) -> Result<Cleaned, CommandError> {
    let mut cleaned = Cleaned::default();
    let mut changed_entries = Vec::new();
    let before = backend.now()?;
    for (at, entry) in journal.entries.iter().enumerate() {
        if !entry.state.is_there() {
            continue;
        }
        match before.get(&entry.from) {
            // Taken out by a process that was killed afterwards.
            None => {}
            Some(value) if entry.fingerprint == Some(journal.fingerprint(value)) => {
                cleaned.names.push(entry.from.clone());
            }
            Some(_) => {
                cleaned.changed.push(entry.from.clone());
                continue;
            }
        }
        changed_entries.push(at);
    }
    let left = backend.edit(|file| {
        file.remove_all(&set_of(&cleaned.names))?;
        Ok(file.to_bytes())
    })?;
    for at in &changed_entries {
        if let Some(entry) = journal.entries.get_mut(*at) {
            entry.is_cleaned = true;
        }
    }
    journal.header.left = Some(journal.fingerprint(&SecretValue::copy_from(&left)));
    wait(journal.save_all(&changed_entries))?;
    cleaned.names.sort_unstable();
    Ok(cleaned)
}

/// What was put back into the file, and what was not.
#[derive(Clone, Debug, Default)]
pub(crate) struct PutBack {
    pub(crate) file: Option<PathBuf>,
    /// The file is to the byte what it was.
    pub(crate) is_exact: bool,
    /// Names that were written back one by one.
    pub(crate) names: Vec<String>,
}

/// Puts the file back: to the byte if nobody has changed it since, else name by name.
pub(crate) fn put_back(
    path: Option<&Path>,
    journal: &mut Journal,
) -> Result<PutBack, CommandError> {
    let Some(path) = path else {
        return Ok(PutBack::default());
    };
    let Some(backup) = wait(journal.backup())? else {
        return Ok(PutBack::default());
    };
    let backend = DotenvBackend::new(path.to_owned(), path.display().to_string());
    let kept = parsed(path, &backup)?;
    // A process that was killed may have taken them out without noting it.
    let moved = journal
        .entries
        .iter()
        .filter(|entry| entry.state.is_there());
    let names: Vec<String> = moved.map(|entry| entry.from.clone()).collect();
    let mut done = PutBack {
        file: Some(path.to_owned()),
        ..PutBack::default()
    };
    let left = match journal.header.left {
        Some(left) => left,
        None => {
            let mut left = parsed(path, &backup)?;
            // What cannot be taken out was not taken out.
            let _ = left.remove_all(&set_of(&names));
            fingerprint_of(journal, &left)
        }
    };
    if fingerprint_of(journal, &backend.now()?) == left {
        backend.edit(|file| {
            *file = kept;
            Ok(())
        })?;
        done.is_exact = true;
    } else {
        done.names = backend.edit(|file| {
            let mut written = Vec::new();
            for name in &names {
                let value = kept.get(name);
                if let (None, Some(value)) = (file.get(name), value) {
                    file.set(name, value)?;
                    written.push(name.clone());
                }
            }
            Ok(written)
        })?;
    }
    if let Some((file, lines)) = journal.header.ignored.take() {
        unignore(Path::new(&file), &lines)?;
    }
    let mut changed = Vec::new();
    for (at, entry) in journal.entries.iter_mut().enumerate() {
        if entry.is_cleaned {
            entry.is_cleaned = false;
            changed.push(at);
        }
    }
    wait(journal.save_all(&changed))?;
    Ok(done)
}

fn set_of(names: &[String]) -> BTreeSet<&str> {
    names.iter().map(String::as_str).collect()
}

fn parsed(path: &Path, backup: &SecretValue) -> Result<DotenvFile, CommandError> {
    // EXPOSE: the copy of the file goes back to where it came from.
    DotenvFile::parse(backup.expose_secret()).map_err(|error| {
        let message = format!("the copy of {} does not parse: {error}", path.display());
        CommandError::new(Kind::Validation, "migrate.backup", message)
    })
}

fn fingerprint_of(journal: &Journal, file: &DotenvFile) -> [u8; 16] {
    journal.fingerprint(&SecretValue::copy_from(&file.to_bytes()))
}

/// Adds the file to the `.gitignore` beside it, where there is a repository; what was added.
fn ignore(path: &Path) -> Result<Option<(String, Vec<String>)>, CommandError> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|it| it.to_str()))
    else {
        return Ok(None);
    };
    let file = folder.join(".gitignore");
    let is_repository = folder
        .ancestors()
        .any(|folder| folder.join(".git").exists());
    if !file.exists() && !is_repository {
        return Ok(None);
    }
    let text = read_ignores(&file)?;
    let wanted = [name.to_owned(), format!("{name}.backup")];
    let is_covered = |wanted: &str| {
        text.lines().map(str::trim).any(|line| {
            let pattern = line.trim_start_matches('/');
            pattern == wanted || (pattern == ".env*" && wanted.starts_with(".env"))
        })
    };
    let missing: Vec<String> = wanted
        .into_iter()
        .filter(|name| !is_covered(name))
        .collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let mut text = text;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for line in &missing {
        text.push_str(line);
        text.push('\n');
    }
    write_ignores(&file, &text)?;
    Ok(Some((file.display().to_string(), missing)))
}

/// Takes the lines out again that were added.
fn unignore(file: &Path, lines: &[String]) -> Result<(), CommandError> {
    let text = read_ignores(file)?;
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !lines.iter().any(|added| added == line))
        .collect();
    if kept.is_empty() {
        let _ = std::fs::remove_file(file);
        return Ok(());
    }
    write_ignores(file, &format!("{}\n", kept.join("\n")))
}

fn read_ignores(file: &Path) -> Result<String, CommandError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(CommandError::failed(format!(
            "{} cannot be read: {error}",
            file.display()
        ))),
    }
}

fn write_ignores(file: &Path, text: &str) -> Result<(), CommandError> {
    std::fs::write(file, text).map_err(|error| {
        CommandError::failed(format!("{} cannot be written: {error}", file.display()))
    })
}

/// Copies of the file in clear that other guides tell people to make.
fn clear_copies(path: &Path) -> Vec<String> {
    let ends = [".backup", ".bak", ".old", ".orig", "~"];
    let copies = ends.iter().map(|end| {
        let mut copy = path.as_os_str().to_owned();
        copy.push(end);
        PathBuf::from(copy)
    });
    let there = copies.filter(|copy| copy.exists());
    there.map(|copy| copy.display().to_string()).collect()
}
