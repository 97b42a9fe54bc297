//! The last lines of a service's log.

use std::fs::File;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::path::Path;
use std::sync::Arc;

use http::StatusCode;

use super::answer::Answer;
use crate::service;
use crate::supervisor::State;

/// Lines where nobody says how many.
const LINES_DEFAULT: usize = 200;
/// Most lines.
const LINES_MAX: usize = 10_000;
/// Most bytes of a log's end that are read.
const BYTES_MAX: u64 = 1 << 20;

pub(crate) async fn tail(state: &Arc<State>, query: &str) -> Answer {
    let refused = |text: String| Answer::text(StatusCode::BAD_REQUEST, text);
    let of = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let found = pairs.find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    };
    let id = of("serviceId").unwrap_or_default();
    let Some(service) = state.manifest.service(&id) else {
        return refused("unknown service\n".to_owned());
    };
    if service.log_dir.is_none() {
        return refused("service has no log_dir\n".to_owned());
    }
    let lines = of("lines").and_then(|lines| lines.parse().ok());
    let lines = lines.filter(|lines| *lines > 0).unwrap_or(LINES_DEFAULT);
    let declared = service.log_dir.clone().unwrap_or_default();
    let path = state.folder.below(&service::log_place(state, service));
    let is_folder = state.folder.below(&declared).is_dir() && !path.exists();
    if is_folder {
        let text = "log_dir points to a directory; expected file path\n";
        return refused(text.to_owned());
    }
    let read = move || last_lines(&path, lines.min(LINES_MAX)).map_err(|error| (path, error));
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(text)) => Answer::text(StatusCode::OK, text),
        Ok(Err((path, error))) => {
            let path = path.display();
            let why = in_words(&error);
            refused(format!("log path unavailable: stat {path}: {why}\n"))
        }
        Err(_) => refused("the log could not be read\n".to_owned()),
    }
}

fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn last_lines(path: &Path, lines: usize) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(BYTES_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut text = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut text)?;
    let body = text.strip_suffix(b"\n").unwrap_or(&text);
    let breaks = body.iter().enumerate().rev();
    let mut breaks = breaks.filter(|(_, byte)| **byte == b'\n');
    let start = breaks.nth(lines - 1).map_or(0, |(at, _)| at + 1);
    Ok(text.split_off(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let check = |text: &str, lines: usize, expected: &str| {
            std::fs::write(&path, text).unwrap();
            let found = last_lines(&path, lines).unwrap();
            assert_eq!(
                String::from_utf8(found).unwrap(),
                expected,
                "{text:?} {lines}"
            );
        };
        check("a\nb\nc\n", 2, "b\nc\n");
        check("a\nb\nc", 2, "b\nc");
        check("a\nb\nc\n", 3, "a\nb\nc\n");
        check("a\nb\nc\n", 9, "a\nb\nc\n");
        check("\n\n\n", 1, "\n");
        check("", 5, "");
    }
}
