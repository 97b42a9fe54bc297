//! Files and folders, read once each.

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;

use ignore::DirEntry;
use ignore::WalkBuilder;
use ignore::WalkState;

use crate::finding::Finding;
use crate::scanner::FINDINGS_PER_TEXT_MAX;
use crate::scanner::Lookout;
use crate::scanner::Scanner;

/// Longer files are named and left out.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// A zero byte in so many at the beginning makes a file binary.
const SNIFFED_BYTES: usize = 8 * 1_024;
/// Files with patterns of what is left out, beside `.gitignore`.
const IGNORE_FILE: &str = ".strongroomignore";
/// Most names of files that could not be read.
const NAMES_MAX: usize = 100;
/// Most findings of one scan.
pub const FINDINGS_MAX: usize = 100_000;

/// Where, and how.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Files and folders; those that are named are looked at whatever is ignored.
    pub paths: Vec<PathBuf>,
    /// Paths are told from here where they lie below.
    pub root: PathBuf,
    /// Look at what `.gitignore` leaves out, too.
    pub with_ignored: bool,
    /// How many files are read at once.
    pub threads: usize,
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The worst first.
    pub findings: Vec<Finding>,
    /// Files that were looked at.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Files that are no text.
    pub binary: u64,
    /// Files that are too long, by name.
    pub too_long: Vec<String>,
    /// Files and folders that could not be read: name and reason.
    pub unreadable: Vec<(String, String)>,
    /// How many could not be read, those without a name above included.
    pub unreadable_count: u64,
    /// Whether there is more than what is told.
    pub is_cut: bool,
}

impl Report {
    fn unread(&mut self, path: String, why: String) {
        self.unreadable_count += 1;
        if self.unreadable.len() < NAMES_MAX {
            self.unreadable.push((path, why));
        }
    }

    fn add(&mut self, found: Vec<Finding>) {
        self.is_cut |= found.len() >= FINDINGS_PER_TEXT_MAX;
        let room = FINDINGS_MAX - self.findings.len();
        self.is_cut |= found.len() > room;
        self.findings.extend(found.into_iter().take(room));
    }

    fn finish(mut self) -> Self {
        self.findings.sort_by(Finding::by_rank);
        // A file below two of the paths is found in twice.
        self.findings.dedup();
        self.too_long.sort();
        self.too_long.dedup();
        self.unreadable.sort();
        self.unreadable.dedup();
        self
    }
}

/// Looks at all files of a walk.
#[must_use]
pub fn walk(scanner: &Scanner, walk: &Walk, lookout: Lookout<'_>) -> Report {
    let mut paths = walk.paths.iter();
    let Some(first) = paths.next() else {
        return Report::default();
    };
    let mut builder = WalkBuilder::new(first);
    for path in paths {
        builder.add(path);
    }
    builder
        .standard_filters(!walk.with_ignored)
        .hidden(false)
        .require_git(false)
        // What is found is the same for everybody, whatever stands in their home.
        .git_global(false)
        .follow_links(false)
        .threads(walk.threads)
        .filter_entry(|entry| entry.depth() == 0 || entry.file_name() != ".git");
    if !walk.with_ignored {
        builder.add_custom_ignore_filename(IGNORE_FILE);
    }
    let report = Mutex::new(Report::default());
    builder.build_parallel().run(|| {
        Box::new(|entry| {
            match entry {
                Ok(entry) => look_at(scanner, walk, &entry, lookout, &report),
                Err(error) => lock(&report).unread(String::new(), error.to_string()),
            }
            WalkState::Continue
        })
    });
    let report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.finish()
}

fn lock(report: &Mutex<Report>) -> std::sync::MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

fn look_at(
    scanner: &Scanner,
    walk: &Walk,
    entry: &DirEntry,
    lookout: Lookout<'_>,
    report: &Mutex<Report>,
) {
    // No links, devices and pipes.
    if !entry.file_type().is_some_and(|kind| kind.is_file()) {
        return;
    }
    let shown = shown(entry.path(), &walk.root);
    match read(entry.path()) {
        Ok(Content::Text(text)) => {
            let found = scanner.scan(&text, &shown, lookout);
            let mut report = lock(report);
            report.files += 1;
            report.bytes += text.len() as u64;
            report.add(found);
        }
        Ok(Content::Binary) => lock(report).binary += 1,
        Ok(Content::TooLong) => lock(report).too_long.push(shown),
        Err(error) => lock(report).unread(shown, error.to_string()),
    }
}

/// Looks at one text, such as what is piped in.
#[must_use]
pub fn one(scanner: &Scanner, text: &[u8], name: &str, lookout: Lookout<'_>) -> Report {
    let mut report = Report {
        files: 1,
        bytes: text.len() as u64,
        ..Report::default()
    };
    report.add(scanner.scan(text, name, lookout));
    report.finish()
}

/// A path as it is told: from the root where it lies below, with `/`.
#[must_use]
pub fn shown(path: &Path, root: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    let text = path.to_string_lossy();
    let text = text.strip_prefix("./").unwrap_or(&text);
    match std::path::MAIN_SEPARATOR {
        '/' => text.to_owned(),
        other => text.replace(other, "/"),
    }
}

enum Content {
    Text(Vec<u8>),
    Binary,
    TooLong,
}

fn read(path: &Path) -> io::Result<Content> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > FILE_BYTES_MAX {
        return Ok(Content::TooLong);
    }
    let mut text = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default() + 1);
    let head = SNIFFED_BYTES as u64;
    (&mut file).take(head).read_to_end(&mut text)?;
    if memchr::memchr(0, &text).is_some() {
        return Ok(Content::Binary);
    }
    // It may grow while it is read.
    file.take(FILE_BYTES_MAX + 1 - text.len() as u64)
        .read_to_end(&mut text)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Ok(Content::TooLong),
        false => Ok(Content::Text(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_counted_and_the_rest_is_scanned() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = crate::example::expand("A=ghp_%alnum36%").expect("it can be drawn");
        std::fs::write(folder.path().join("a.env"), text).expect("written");
        let long = std::fs::File::create(folder.path().join("long.log")).expect("made");
        long.set_len(FILE_BYTES_MAX + 1)
            .expect("a file with a hole");
        let asked = Walk {
            paths: vec![folder.path().to_owned(), folder.path().join("gone")],
            root: folder.path().to_owned(),
            with_ignored: false,
            threads: 2,
        };
        let report = walk(&Scanner::default(), &asked, Lookout::default());
        assert_eq!(report.unreadable_count, 1, "{report:?}");
        assert_eq!(report.too_long, ["long.log"]);
        assert_eq!((report.files, report.findings.len()), (1, 1));
        assert_eq!(report.findings[0].path, "a.env");
    }
}
