//! `scan`: secrets in files.

mod known;
mod report;
#[cfg(feature = "vault")]
mod send;

use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use clap::ValueEnum;
use strongroom_scan::Lookout;
use strongroom_scan::Scanner;
use strongroom_scan::Severity;
use strongroom_scan::walk;
use strongroom_scan::walk::Report;
use strongroom_scan::walk::Walk;

use self::known::Known;
pub(super) use self::known::read as values_of;
use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::project;

/// Most threads.
const THREADS_MAX: usize = 8;
/// What is piped in is called so.
const STDIN: &str = "(standard input)";

/// Look for secrets in files; values are never shown
///
/// Looks at the files of the folders that are named (of this one without any), except what
/// .gitignore and .strongroomignore leave out, links, binary files and .git. History is not looked
/// at. Found are the formats of vendors' tokens, key blocks, passwords in URLs and values of names
/// that sound like a secret's, but no placeholders; and, raw or encoded, the values that your store
/// has, if it can be opened without asking. A line with `strongroom:allow` in it is left out.
///
/// Exits with 10 when something is found.
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom scan
  strongroom scan src config/.env --json
  git diff --cached | strongroom scan -
  strongroom scan --sarif > findings.sarif
  strongroom scan --server https://vault.example.org --component shop")]
pub(crate) struct ScanArgs {
    /// Files and folders; `-` is standard input
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Leave out what is less bad
    #[arg(long, value_enum, value_name = "SEVERITY", default_value = "low")]
    severity: SeverityWord,
    /// Print the findings as SARIF 2.1.0
    #[arg(long)]
    sarif: bool,
    /// Look at what .gitignore and .strongroomignore leave out, too
    #[arg(long)]
    no_ignore: bool,
    /// Do not look for the values of the store
    #[arg(long)]
    no_store: bool,
    /// List the rules, and scan nothing
    #[arg(long, conflicts_with_all = ["sarif", "paths"])]
    rules: bool,
    /// With --server: what was scanned; without it the project's or the folder's name
    #[arg(long, value_name = "NAME")]
    component: Option<String>,
    /// With --server: what kind of thing that is
    #[arg(long, value_enum, value_name = "TYPE", default_value = "scenario")]
    component_type: ComponentType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SeverityWord {
    Critical,
    High,
    Medium,
    Low,
}

impl SeverityWord {
    fn severity(self) -> Severity {
        match self {
            Self::Critical => Severity::Critical,
            Self::High => Severity::High,
            Self::Medium => Severity::Medium,
            Self::Low => Severity::Low,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ComponentType {
    /// An application
    Scenario,
    /// A service that applications lean on
    Resource,
}

/// What was scanned, and how.
#[cfg_attr(
    not(feature = "vault"),
    expect(dead_code, reason = "some of it only a server is told")
)]
struct Scanned {
    report: Report,
    /// Where paths are told from.
    root: PathBuf,
    /// What was named, as it is told.
    scope: Vec<String>,
    rules: usize,
    has_store: bool,
    millis: u64,
}

pub(crate) fn run(app: &App, args: &ScanArgs) -> Result<(), CommandError> {
    if args.rules {
        return report::rules(app);
    }
    if args.component.is_some() && app.global.server.is_none() {
        let message = "--component names what a server keeps the findings of";
        return Err(CommandError::usage(message).hint("--server URL, or STRONGROOM_ADDR"));
    }
    if args.sarif && app.ui.is_json {
        return Err(CommandError::usage(
            "--json and --sarif are two forms of the same",
        ));
    }
    let mut scanned = scan(app, args)?;
    let least = args.severity.severity();
    scanned.report.findings.retain(|one| one.severity <= least);
    report::print(app, &scanned, args.sarif)?;
    #[cfg(feature = "vault")]
    if app.global.server.is_some() {
        send::run(app, args, &scanned)?;
    }
    if !scanned.report.findings.is_empty() {
        return Err(CommandError::reported(Kind::Findings, "scan.findings"));
    }
    match scanned.report.unreadable_count {
        0 => Ok(()),
        // Nothing was found, but not everything was looked at: that is no clean end.
        _ => Err(CommandError::reported(Kind::Failed, "scan.unreadable")),
    }
}

fn scan(app: &App, args: &ScanArgs) -> Result<Scanned, CommandError> {
    let folder = std::env::current_dir()
        .map_err(|error| CommandError::failed(format!("the working folder is gone: {error}")))?;
    let root = root(app, &folder)?;
    let is_stdin = args.paths.iter().any(|path| path == Path::new("-"));
    if is_stdin && args.paths.len() > 1 {
        let message = "`-` is standard input, and stands alone";
        return Err(CommandError::usage(message));
    }
    // Before the store is opened: what is typed wrong is told first.
    let paths = match is_stdin {
        true => Vec::new(),
        false => paths(&folder, &args.paths)?,
    };
    let known = match args.no_store {
        true => Known::none(),
        false => Known::open(app)?,
    };
    let fingerprint = known.fingerprint();
    let lookout = Lookout {
        known: known.patterns(),
        fingerprint: fingerprint.as_deref(),
    };
    let scanner = Scanner::default();
    let begun = Instant::now();
    let scope: Vec<String> = paths.iter().map(|path| walk::shown(path, &root)).collect();
    let report = match is_stdin {
        true => walk::one(&scanner, &standard_input()?, STDIN, lookout),
        false => {
            let walk = Walk {
                paths,
                root: root.clone(),
                with_ignored: args.no_ignore,
                threads: std::thread::available_parallelism()
                    .map_or(1, |count| count.get().min(THREADS_MAX)),
            };
            walk::walk(&scanner, &walk, lookout)
        }
    };
    Ok(Scanned {
        report,
        root,
        scope,
        rules: scanner.rules(),
        has_store: known.has_store(),
        millis: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// Where paths are told from: the folder of the manifest or the repository, so that they are the
/// same wherever the command is given.
fn root(app: &App, folder: &Path) -> Result<PathBuf, CommandError> {
    let folder = std::fs::canonicalize(folder)
        .map_err(|error| CommandError::failed(format!("the working folder is gone: {error}")))?;
    if let Some(manifest) = project::find(app)?
        && let Some(root) = manifest.parent()
        && let Ok(root) = std::fs::canonicalize(root)
        && folder.starts_with(&root)
    {
        return Ok(root);
    }
    let mut above = folder.ancestors();
    let repository = above.find(|above| above.join(".git").exists());
    Ok(repository.unwrap_or(&folder).to_owned())
}

/// What was named, as it lies on the disk.
fn paths(folder: &Path, named: &[PathBuf]) -> Result<Vec<PathBuf>, CommandError> {
    let here = [PathBuf::from(".")];
    let named = match named.is_empty() {
        true => &here,
        false => named,
    };
    let found = named.iter().map(|path| {
        let failed = |error: std::io::Error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => Kind::NotFound,
                std::io::ErrorKind::PermissionDenied => Kind::Denied,
                _ => Kind::Failed,
            };
            let message = format!("{} cannot be scanned: {error}", path.display());
            CommandError::new(kind, "scan.path", message)
        };
        let found = std::fs::canonicalize(folder.join(path)).map_err(failed)?;
        let about = std::fs::metadata(&found).map_err(failed)?;
        match about.is_file() || about.is_dir() {
            true => Ok(found),
            false => {
                let message = format!("{} is neither a file nor a folder", path.display());
                Err(CommandError::usage(message).hint("`-` scans what is piped in"))
            }
        }
    });
    found.collect()
}

fn standard_input() -> Result<Vec<u8>, CommandError> {
    let mut text = Vec::new();
    let input = std::io::stdin().lock().take(walk::FILE_BYTES_MAX + 1);
    let mut input = input;
    input
        .read_to_end(&mut text)
        .map_err(|error| CommandError::failed(format!("standard input cannot be read: {error}")))?;
    match text.len() as u64 > walk::FILE_BYTES_MAX {
        true => {
            let most = walk::FILE_BYTES_MAX >> 20;
            Err(CommandError::usage(format!("that is more than {most} MiB")))
        }
        false => Ok(text),
    }
}
