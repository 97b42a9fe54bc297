//! Reading files of audit lines: requests with their answers, also while they are written.
//!
//! Nothing here needs a key: values are hashes in the files, and stay so.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Seek;
use std::io::SeekFrom;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use strongroom_core::time::Timestamp;

/// Requests that wait for their answers; past that the oldest is taken as unanswered.
const WAITING_MAX: usize = 10_000;
/// Requests that are remembered, so that one which two devices tell is told once.
const TOLD_MAX: usize = 1_000_000;
/// Longest line that is read.
const LINE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A file that was moved away is read so often again: its writer may not know it yet.
const MISSED_MAX: u32 = 20;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoggedOutcome {
    /// It was done.
    Allowed,
    /// It was refused.
    Denied,
    /// It was allowed and did not work, or made no sense.
    Failed,
    /// There is no line of an answer.
    Unanswered,
}

impl LoggedOutcome {
    /// The word in tables and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Unanswered => "unanswered",
        }
    }

    fn of(status: u16) -> Self {
        match status {
            403 | 401 => Self::Denied,
            0..=399 => Self::Allowed,
            _ => Self::Failed,
        }
    }
}

/// A request with its answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoggedRequest {
    /// When it came.
    pub at: String,
    /// The display name of the token; none where there was no living token.
    pub actor: Option<String>,
    /// The hash of the token's accessor.
    pub accessor: Option<String>,
    /// The token's policies.
    pub policies: Vec<String>,
    /// What was asked for.
    pub operation: String,
    /// Of what.
    pub path: String,
    /// What is mounted there.
    pub mount_point: Option<String>,
    /// From where.
    pub remote_address: Option<String>,
    /// The status of the answer.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: LoggedOutcome,
    /// What the client was told went wrong.
    pub error: Option<String>,
    /// The same in both lines.
    pub request_id: String,
    /// The fields of the request, their values hashed.
    pub request: Option<Value>,
    /// The data of the answer, its values hashed.
    pub response: Option<Value>,
}

/// Which requests are wanted: those that fit all that is said.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// The path begins so.
    pub path: Option<String>,
    /// The operation is this.
    pub operation: Option<String>,
    /// The display name or the accessor's hash is this.
    pub actor: Option<String>,
    /// It ended so.
    pub outcome: Option<LoggedOutcome>,
    /// The error has this in it.
    pub error: Option<String>,
}

impl LogFilter {
    fn fits(&self, at: Timestamp, request: &LoggedRequest) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        let actor = [&request.actor, &request.accessor];
        self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at <= until)
            && self
                .path
                .as_ref()
                .is_none_or(|prefix| request.path.starts_with(prefix.as_str()))
            && is(&self.operation, &request.operation)
            && (self.actor.is_none() || actor.contains(&&self.actor))
            && self
                .outcome
                .is_none_or(|outcome| outcome == request.outcome)
            && self.error.as_ref().is_none_or(|part| {
                let error = request.error.as_ref();
                error.is_some_and(|error| error.contains(part.as_str()))
            })
    }
}

/// A line as it is written.
#[derive(Deserialize)]
struct Line {
    time: String,
    #[serde(rename = "type")]
    kind: String,
    auth: Option<LineAuth>,
    request: LineRequest,
    response: Option<LineResponse>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct LineAuth {
    accessor: Option<String>,
    display_name: Option<String>,
    #[serde(default)]
    policies: Vec<String>,
}

#[derive(Deserialize)]
struct LineRequest {
    id: String,
    operation: String,
    path: String,
    mount_point: Option<String>,
    remote_address: Option<String>,
    data: Option<Value>,
}

#[derive(Deserialize)]
struct LineResponse {
    status: u16,
    data: Option<Value>,
}

impl Line {
    fn into_request(self) -> LoggedRequest {
        let (accessor, actor, policies) = match self.auth {
            Some(auth) => (auth.accessor, auth.display_name, auth.policies),
            None => (None, None, Vec::new()),
        };
        let status = self.response.as_ref().map(|response| response.status);
        LoggedRequest {
            at: self.time,
            actor,
            accessor,
            policies,
            operation: self.request.operation,
            path: self.request.path,
            mount_point: self.request.mount_point,
            remote_address: self.request.remote_address,
            status,
            outcome: status.map_or(LoggedOutcome::Unanswered, LoggedOutcome::of),
            error: self.error,
            request_id: self.request.id,
            request: self.request.data,
            response: self.response.and_then(|response| response.data),
        }
    }
}

/// What is told while files are read.
pub type Tell<'a> = dyn FnMut(Timestamp, LoggedRequest) + 'a;

/// Reads files and folders, and goes on where it was when they have grown.
pub struct LogReader {
    places: Vec<PathBuf>,
    filter: LogFilter,
    open: BTreeMap<(u64, u64), Open>,
    /// Requests without an answer so far, in the order of their lines.
    waiting: BTreeMap<String, LoggedRequest>,
    order: VecDeque<String>,
    told: HashSet<String>,
    left_out: Vec<PathBuf>,
    malformed: u64,
}

/// A file that is read.
struct Open {
    file: BufReader<File>,
    read: u64,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
    first: Timestamp,
    /// So often it was no longer in its place.
    missed: u32,
}

impl LogReader {
    /// A reader of files, and of all files of folders.
    #[must_use]
    pub fn new(places: Vec<PathBuf>, filter: LogFilter) -> Self {
        Self {
            places,
            filter,
            open: BTreeMap::new(),
            waiting: BTreeMap::new(),
            order: VecDeque::new(),
            told: HashSet::new(),
            left_out: Vec::new(),
            malformed: 0,
        }
    }

    /// Reads what was written since the last time, and tells the requests that fit. Files that
    /// were moved away are read to their end, new ones in their places from the beginning.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(&mut self, tell: &mut Tell<'_>) -> std::io::Result<()> {
        self.look()?;
        let mut ids: Vec<_> = self
            .open
            .iter()
            .map(|(id, open)| (open.first, *id))
            .collect();
        ids.sort_unstable();
        for (_, id) in ids {
            if let Some(mut open) = self.open.remove(&id) {
                self.read_file(&mut open, tell)?;
                if open.missed < MISSED_MAX {
                    self.open.insert(id, open);
                }
            }
        }
        Ok(())
    }

    /// Tells the requests that have no answer so far.
    pub fn tell_unanswered(&mut self, tell: &mut Tell<'_>) {
        for id in std::mem::take(&mut self.order) {
            if let Some(request) = self.waiting.remove(&id) {
                self.tell(request, tell);
            }
        }
    }

    /// Files of folders that are no audit files.
    #[must_use]
    pub fn left_out(&self) -> &[PathBuf] {
        &self.left_out
    }

    /// Lines that are no audit lines.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Opens what is new in the places.
    fn look(&mut self) -> std::io::Result<()> {
        let mut seen = HashSet::new();
        for place in &self.places {
            let is_folder = place.is_dir();
            for path in files_of(place)? {
                // A file that is being exchanged is there the next time.
                let Ok(metadata) = std::fs::metadata(&path) else {
                    continue;
                };
                let id = (metadata.dev(), metadata.ino());
                seen.insert(id);
                if self.open.contains_key(&id) || metadata.len() == 0 {
                    continue;
                }
                match begin(&path)? {
                    Some(open) => {
                        self.open.insert(id, open);
                    }
                    None if is_folder => {
                        if !self.left_out.contains(&path) {
                            self.left_out.push(path);
                        }
                    }
                    None => self.malformed += 1,
                }
            }
        }
        for (id, open) in &mut self.open {
            open.missed = match seen.contains(id) {
                true => 0,
                false => open.missed + 1,
            };
        }
        Ok(())
    }

    fn read_file(&mut self, open: &mut Open, tell: &mut Tell<'_>) -> std::io::Result<()> {
        if open.file.get_ref().metadata()?.len() < open.read {
            // Somebody has cut it off and begins anew.
            open.file.seek(SeekFrom::Start(0))?;
            open.read = 0;
            open.rest.clear();
        }
        loop {
            let count = open.file.read_until(b'\n', &mut open.rest)?;
            open.read += count as u64;
            if open.rest.last() == Some(&b'\n') {
                let line = std::mem::take(&mut open.rest);
                self.take(&line, tell);
            } else if count == 0 {
                return Ok(());
            } else if open.rest.len() > LINE_BYTES_MAX {
                return Err(std::io::Error::other("a line is too long"));
            }
        }
    }

    fn take(&mut self, line: &[u8], tell: &mut Tell<'_>) {
        let Some(line) = parse(line) else {
            self.malformed += 1;
            return;
        };
        let is_answer = line.kind == "response";
        let mut request = line.into_request();
        if is_answer {
            let asked = self.waiting.remove(&request.request_id);
            // An answer that stands alone says itself what was asked for.
            if let Some(asked) = asked {
                request.request = asked.request;
            }
            self.tell(request, tell);
            return;
        }
        self.order.push_back(request.request_id.clone());
        self.waiting.insert(request.request_id.clone(), request);
        while self.order.len() > WAITING_MAX {
            let oldest = self.order.pop_front();
            if let Some(request) = oldest.and_then(|id| self.waiting.remove(&id)) {
                self.tell(request, tell);
            }
        }
    }

    fn tell(&mut self, request: LoggedRequest, tell: &mut Tell<'_>) {
        let Ok(at) = request.at.parse::<Timestamp>() else {
            self.malformed += 1;
            return;
        };
        if !self.filter.fits(at, &request) || self.told.contains(&request.request_id) {
            return;
        }
        if self.told.len() < TOLD_MAX {
            self.told.insert(request.request_id.clone());
        }
        tell(at, request);
    }
}

fn parse(line: &[u8]) -> Option<Line> {
    serde_json::from_slice(line).ok()
}

/// A file, if it is one of ours, from its beginning.
fn begin(path: &Path) -> std::io::Result<Option<Open>> {
    let mut file = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    file.read_until(b'\n', &mut line)?;
    let first = parse(&line).and_then(|line| line.time.parse().ok());
    file.seek(SeekFrom::Start(0))?;
    Ok(first.map(|first| Open {
        file,
        read: 0,
        rest: Vec::new(),
        first,
        missed: 0,
    }))
}

/// The file itself, or the files of a folder. A file that is not there (any more) is none.
fn files_of(place: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !place.is_dir() {
        return Ok(vec![place.into()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(place)? {
        let entry = entry?;
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !is_hidden && entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn line(id: &str, second: u32, kind: &str, more: &str) -> String {
        let is_request = kind == "request";
        let data = if is_request {
            ",\"data\":{\"k\":\"hmac-sha256:1\"}"
        } else {
            ""
        };
        format!(
            "{{\"time\":\"2027-01-15T08:00:{second:02}Z\",\"type\":\"{kind}\",\
             \"auth\":{{\"client_token\":\"hmac-sha256:t\",\"accessor\":\"hmac-sha256:a\",\
             \"display_name\":\"ann\",\"policies\":[\"p\"],\"token_type\":\"service\"}},\
             \"request\":{{\"id\":\"{id}\",\"operation\":\"update\",\"path\":\"secret/data/{id}\"\
             {data}}}{more},\"seq\":1,\"chain\":\"00\"}}\n"
        )
    }

    fn pair(id: &str, second: u32, status: u16) -> String {
        let answer = format!(",\"response\":{{\"status\":{status}}}");
        line(id, second, "request", "") + &line(id, second, "response", &answer)
    }

    fn append(path: &Path, text: &str) {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn read(reader: &mut LogReader) -> Vec<LoggedRequest> {
        let mut all = Vec::new();
        reader.read(&mut |_, request| all.push(request)).unwrap();
        all
    }

    fn ids(all: &[LoggedRequest]) -> Vec<&str> {
        all.iter()
            .map(|request| request.request_id.as_str())
            .collect()
    }

    #[test]
    fn a_request_is_told_once_with_its_answer() {
        let folder = tempfile::tempdir().unwrap();
        // By their first lines, whatever the names say; two devices tell the same.
        append(
            &folder.path().join("audit.log"),
            &(pair("c", 3, 403) + &pair("d", 4, 400)),
        );
        append(
            &folder.path().join("audit.log.1"),
            &(pair("a", 1, 200) + &pair("b", 2, 204)),
        );
        append(&folder.path().join("other.log"), &pair("d", 4, 400));
        append(&folder.path().join("notes.txt"), "nothing\n");
        append(&folder.path().join("audit.log"), "no line\n");
        append(
            &folder.path().join("audit.log"),
            &line("e", 5, "request", ""),
        );
        let places = vec![folder.path().to_owned()];
        let mut reader = LogReader::new(places, LogFilter::default());
        let mut all = read(&mut reader);
        reader.tell_unanswered(&mut |_, request| all.push(request));
        assert_eq!(ids(&all), ["a", "b", "c", "d", "e"]);
        let outcomes: Vec<_> = all.iter().map(|request| request.outcome.word()).collect();
        assert_eq!(
            outcomes,
            ["allowed", "allowed", "denied", "failed", "unanswered"]
        );
        assert_eq!(all[0].request.as_ref().unwrap()["k"], "hmac-sha256:1");
        assert_eq!(all[0].actor.as_deref(), Some("ann"));
        assert_eq!(reader.malformed(), 1);
        assert_eq!(reader.left_out(), [folder.path().join("notes.txt")]);
    }

    #[test]
    fn an_answer_alone_says_what_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let answer = ",\"response\":{\"status\":200}";
        let alone = line("a", 1, "request", answer)
            .replace("\"type\":\"request\"", "\"type\":\"response\"");
        append(&path, &alone);
        let mut reader = LogReader::new(vec![path], LogFilter::default());
        let all = read(&mut reader);
        assert_eq!(all[0].request.as_ref().unwrap()["k"], "hmac-sha256:1");
        assert_eq!(all[0].status, Some(200));
    }

    #[test]
    fn filters_go_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        append(
            &path,
            &(pair("a", 1, 200) + &pair("b", 2, 403) + &pair("c", 3, 200)),
        );
        let any = LogFilter::default();
        let at = |second| format!("2027-01-15T08:00:0{second}Z").parse().ok();
        for (filter, expected) in [
            (
                LogFilter {
                    since: at(2),
                    ..any.clone()
                },
                vec!["b", "c"],
            ),
            (
                LogFilter {
                    until: at(2),
                    ..any.clone()
                },
                vec!["a", "b"],
            ),
            (
                LogFilter {
                    path: Some("secret/data/b".into()),
                    ..any.clone()
                },
                vec!["b"],
            ),
            (
                LogFilter {
                    operation: Some("read".into()),
                    ..any.clone()
                },
                vec![],
            ),
            (
                LogFilter {
                    actor: Some("ann".into()),
                    ..any.clone()
                },
                vec!["a", "b", "c"],
            ),
            (
                LogFilter {
                    actor: Some("hmac-sha256:a".into()),
                    ..any.clone()
                },
                vec!["a", "b", "c"],
            ),
            (
                LogFilter {
                    actor: Some("bob".into()),
                    ..any.clone()
                },
                vec![],
            ),
            (
                LogFilter {
                    error: Some("x".into()),
                    ..any.clone()
                },
                vec![],
            ),
            (
                LogFilter {
                    outcome: Some(LoggedOutcome::Allowed),
                    since: at(2),
                    ..any.clone()
                },
                vec!["c"],
            ),
        ] {
            let shown = format!("{filter:?}");
            let mut reader = LogReader::new(vec![path.clone()], filter);
            assert_eq!(ids(&read(&mut reader)), expected, "{shown}");
        }
    }

    #[test]
    fn following_survives_rotation_and_half_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        append(&path, &pair("a", 1, 200));
        for place in [&path, &folder.path().to_owned()] {
            let mut reader = LogReader::new(vec![place.clone()], LogFilter::default());
            assert_eq!(ids(&read(&mut reader)), ["a"], "{place:?}");
            assert!(read(&mut reader).is_empty());
            let text = pair("b", 2, 200);
            append(&path, &text[..text.len() - 5]);
            assert!(read(&mut reader).is_empty());
            append(&path, &text[text.len() - 5..]);
            assert_eq!(ids(&read(&mut reader)), ["b"]);
            // What is written just before the file is moved, and what goes to the new one.
            append(&path, &pair("c", 3, 200));
            let moved = folder.path().join("audit.log.1");
            std::fs::rename(&path, &moved).unwrap();
            append(&moved, &pair("d", 4, 200));
            append(&path, &(pair("e", 5, 200) + &pair("g", 5, 200)));
            assert_eq!(ids(&read(&mut reader)), ["c", "d", "e", "g"]);
            append(&moved, &pair("h", 5, 200));
            assert_eq!(ids(&read(&mut reader)), ["h"]);
            std::fs::write(&path, pair("f", 6, 200)).unwrap();
            assert_eq!(ids(&read(&mut reader)), ["f"]);
            std::fs::remove_file(&moved).unwrap();
            std::fs::write(&path, pair("a", 1, 200)).unwrap();
        }
    }
}
