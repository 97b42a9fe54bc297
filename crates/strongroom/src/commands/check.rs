use std::collections::BTreeMap;

use clap::Args;
use clap::ValueEnum;
use serde_json::Value;
use serde_json::json;
use strongroom_core::manifest;
use strongroom_core::port::BackendError;
use strongroom_crypto::SystemRng;
use strongroom_engine::resolve;
use strongroom_engine::resolve::Elsewhere;
use strongroom_engine::resolve::Generate;
use strongroom_engine::resolve::Link;
use strongroom_engine::resolve::Request;
use strongroom_engine::resolve::Resolution;
use strongroom_engine::resolve::Severity;

use crate::app::App;
use crate::cache;
use crate::cache::KeptAnswers;
use crate::error;
use crate::error::CommandError;
use crate::error::Kind;
use crate::project;
use crate::project::Project;
use crate::session;
use crate::session::Session;
use crate::ui::Tone;

/// Check that every declared secret is there and good; report all problems at once
///
/// Checks presence, type, format, length, entropy, placeholders, expiry and the rules of the
/// profile. Nothing is generated or written. Exits with 5 when something is wrong.
#[derive(Args)]
pub(crate) struct CheckArgs {
    /// How to report
    #[arg(long, value_enum, default_value = "table")]
    format: ReportFormat,
    /// Let the placeholder value of a secret through (repeatable)
    #[arg(long, value_name = "NAME")]
    allow_placeholder: Vec<String>,
    /// When the chain goes on to its next backend
    #[arg(long, value_enum, default_value = "not-found", value_name = "WHEN")]
    fallback: FallbackWhen,
    #[command(flatten)]
    cache: cache::CacheArgs,
    /// Count warnings as errors
    #[arg(long)]
    strict: bool,
}

/// When a chain goes on to its next backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FallbackWhen {
    /// When a backend does not have the secret; a failure stops
    NotFound,
    /// When it fails, too: a later backend's value is used, and the failure is told
    OnError,
}

impl From<FallbackWhen> for resolve::Fallback {
    fn from(when: FallbackWhen) -> Self {
        match when {
            FallbackWhen::NotFound => Self::NotFound,
            FallbackWhen::OnError => Self::OnError,
        }
    }
}

/// Tells which backends failed where another had what was asked for.
pub(crate) fn tell_tolerated(app: &App, resolution: &Resolution<'_>) {
    for failure in &resolution.tolerated {
        app.ui.warn(&format!(
            "warning: {failure}; a later backend's value is used"
        ));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// A table and a list of problems
    Table,
    /// JSON, as --json
    Json,
    /// Annotations for GitHub Actions
    Github,
}

pub(crate) fn run(app: &App, args: &CheckArgs) -> Result<(), CommandError> {
    let project = project::load(app)?;
    args.cache.check(app, &project)?;
    let session = if project.uses_store() {
        session::open_if_there(app)?
    } else {
        None
    };
    let kept = cache::open(app, &project, &args.cache, session.as_ref())?;
    let links = project.links(app, session.as_ref(), kept.as_ref())?;
    let barrier = session.as_ref().map(|session| session.barrier.clone());
    let fingerprint = |value: &strongroom_core::secret::SecretValue| {
        let barrier = barrier.as_ref();
        barrier.map_or([0; 16], |barrier| barrier.fingerprint(value))
    };
    let elsewhere = elsewhere(&project, session.as_ref(), &fingerprint)?;
    let request = Request {
        manifest: &project.manifest,
        profile: &project.profile,
        only: None,
        allow_placeholders: &args.allow_placeholder,
        fallback: args.fallback.into(),
        generate: Generate::Never,
        elsewhere: elsewhere.as_ref(),
        rng: &SystemRng,
        now: app.now(),
    };
    let resolution = crate::chain::resolve(app, &request, &links);
    if let Some(kept) = &kept {
        kept.finish(app, &resolution);
    }
    tell_tolerated(app, &resolution);
    let is_ok = resolution.is_ok()
        && !(args.strict && !(resolution.problems.is_empty() && project.notices.is_empty()));
    let format = if app.ui.is_json {
        ReportFormat::Json
    } else {
        args.format
    };
    match format {
        ReportFormat::Json => {
            let report = report_json(&project, &resolution, kept.as_ref(), is_ok);
            app.ui.print_json(&report)?;
        }
        ReportFormat::Github => app.ui.print(&annotations(&project, &resolution))?,
        ReportFormat::Table => {
            let table = table(app, &project, &resolution, kept.as_ref());
            app.ui.print(&table)?;
            app.ui
                .print(&problems(app, &project, &resolution, Stream::Out))?;
        }
    }
    if is_ok {
        Ok(())
    } else {
        Err(CommandError::reported(kind_of(&resolution), "check.failed"))
    }
}

/// Why a command does not go on: all problems on stderr, or, for `--json`, in the error.
pub(crate) fn refusal(app: &App, project: &Project, resolution: &Resolution<'_>) -> CommandError {
    let kind = kind_of(resolution);
    if !app.ui.is_json {
        let text = problems(app, project, resolution, Stream::Err);
        app.ui.warn(text.trim_start());
        return CommandError::reported(kind, "check.failed");
    }
    let failures = resolution.failures.iter().map(with_fix);
    let errors = resolution
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| format!("{} {}; {}", problem.secret, problem.message, problem.fix));
    let hints: Vec<String> = failures.chain(errors).collect();
    let message = format!(
        "the check of profile {} found {}",
        project.profile.name,
        plural(hints.len(), "error")
    );
    CommandError {
        hints,
        ..CommandError::new(kind, "check.failed", message)
    }
}

/// A failure and what to do about it, on one line.
fn with_fix(failure: &BackendError) -> String {
    match &failure.hint {
        Some(hint) => format!("{failure}; {hint}"),
        None => failure.to_string(),
    }
}

/// The exit code: that of a failed backend, or "validation failed".
pub(crate) fn kind_of(resolution: &Resolution<'_>) -> Kind {
    resolution
        .failures
        .first()
        .map_or(Kind::Validation, |failure| {
            error::backend_kind(failure.kind)
        })
}

/// What other profiles hold, where the profile is strict and there is a store.
pub(crate) fn elsewhere<'f>(
    project: &Project,
    session: Option<&Session>,
    fingerprint: &'f (dyn Fn(&strongroom_core::secret::SecretValue) -> [u8; 16] + Sync),
) -> Result<Option<Elsewhere<'f>>, CommandError> {
    let (Some(session), true) = (session, project.profile.is_strict) else {
        return Ok(None);
    };
    let mut fingerprints: BTreeMap<String, Vec<(String, [u8; 16])>> = BTreeMap::new();
    for profile in project.manifest.profiles() {
        if profile.name == project.profile.name {
            continue;
        }
        let folder = project.manifest.folder(&profile.name);
        let entries =
            crate::runtime::wait(session.engine.list_recursive(&session.context, &folder))?;
        for entry in entries.iter().filter(|entry| entry.is_live) {
            let path = entry
                .path
                .strip_prefix(&format!("{folder}/"))
                .unwrap_or(&entry.path);
            let declared = project.manifest.declarations().iter();
            for declaration in declared.filter(|declaration| declaration.path.as_str() == path) {
                let others = fingerprints.entry(declaration.name.clone()).or_default();
                others.push((profile.name.clone(), entry.fingerprint));
            }
        }
    }
    Ok(Some(Elsewhere {
        fingerprints,
        fingerprint,
    }))
}

pub(crate) fn looked_in(links: &[Link]) -> String {
    links
        .iter()
        .map(|link| link.backend.describe())
        .collect::<Vec<_>>()
        .join(", ")
}

fn table(
    app: &App,
    project: &Project,
    resolution: &Resolution<'_>,
    kept: Option<&KeptAnswers>,
) -> String {
    let chain = match project.chain.is_explicit {
        true => project.chain.entries.join(" → "),
        false => project.chain.line(),
    };
    let title = format!(
        "{} · profile {} · {chain}",
        project.manifest.project, project.profile.name
    );
    let rows = resolution
        .secrets
        .iter()
        .map(|secret| {
            vec![
                secret.declaration.name.clone(),
                secret.status.word().to_owned(),
                kept.and_then(|kept| kept.source_of(secret))
                    .or_else(|| secret.origin.word())
                    .unwrap_or_else(|| "-".into()),
                if secret.is_required {
                    "required"
                } else {
                    "optional"
                }
                .to_owned(),
                match secret.declaration.is_sensitive {
                    true => secret.declaration.class.word().to_owned(),
                    false => "setting".to_owned(),
                },
            ]
        })
        .collect();
    let table = app
        .ui
        .table(&["name", "status", "source", "needed", "class"], rows);
    format!("{}\n{table}\n", app.ui.tint(Tone::Strong, &title))
}

/// Where a report goes: decides about colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// All problems, in full sentences, and the sum of them.
pub(crate) fn problems(
    app: &App,
    project: &Project,
    resolution: &Resolution<'_>,
    stream: Stream,
) -> String {
    let tint = |tone, text: &str| match stream {
        Stream::Out => app.ui.tint(tone, text),
        Stream::Err => app.ui.tint_err(tone, text),
    };
    let mut text = String::new();
    let mut add = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    for failure in &resolution.failures {
        add(&format!(
            "\n{} {}",
            tint(Tone::Bad, "error"),
            crate::ui::clean(&failure.to_string())
        ));
        if let Some(hint) = &failure.hint {
            add(&format!("      mend it: {}", crate::ui::clean(hint)));
        }
    }
    for problem in &resolution.problems {
        let tone = if problem.severity == Severity::Error {
            Tone::Bad
        } else {
            Tone::Doubtful
        };
        let word = tint(tone, problem.severity.word());
        let name = tint(Tone::Strong, &problem.secret);
        add(&format!(
            "\n{word} {name} {}",
            crate::ui::clean(&problem.message)
        ));
        if problem.code == "check.missing" {
            add(&format!(
                "      looked in: {}",
                problem.looked_in.join(", ")
            ));
            add(&format!("      who can set it: {}", problem.who));
        }
        add(&format!("      mend it: {}", problem.fix));
    }
    for notice in &project.notices {
        add(&format!("\n{} {notice}", tint(Tone::Doubtful, "notice")));
    }
    let count = |severity| {
        resolution
            .problems
            .iter()
            .filter(|problem| problem.severity == severity)
            .count()
    };
    let errors = count(Severity::Error) + resolution.failures.len();
    let warnings = count(Severity::Warning);
    let good = resolution
        .secrets
        .iter()
        .filter(|secret| secret.value.is_some())
        .count();
    let total = resolution.secrets.len();
    add(&format!(
        "\n{good} of {total} have a value; {}, {}",
        plural(errors, "error"),
        plural(warnings, "warning")
    ));
    text
}

pub(crate) fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

pub(crate) fn report_json(
    project: &Project,
    resolution: &Resolution<'_>,
    kept: Option<&KeptAnswers>,
    is_ok: bool,
) -> Value {
    let secrets: Vec<Value> = resolution
        .secrets
        .iter()
        .map(|secret| {
            json!({
                "name": secret.declaration.name,
                "status": secret.status.word(),
                "source": secret.origin.word(),
                "cached": kept.map_or(Value::Null, |kept| kept.json_of(secret)),
                "required": secret.is_required,
                "class": secret.declaration.class.word(),
                "sensitive": secret.declaration.is_sensitive,
            })
        })
        .collect();
    let mut problems: Vec<Value> = resolution
        .failures
        .iter()
        .map(|failure| {
            json!({
                "code": error::backend_code(failure.kind),
                "secret": null,
                "severity": "error",
                "message": failure.to_string(),
                "looked_in": [],
                "fix": failure.hint,
            })
        })
        .collect();
    problems.extend(resolution.problems.iter().map(|problem| {
        json!({
            "code": problem.code,
            "secret": problem.secret,
            "severity": problem.severity.word(),
            "message": problem.message,
            "looked_in": problem.looked_in,
            "fix": problem.fix,
        })
    }));
    let notices: Vec<Value> = project.notices.iter().map(notice_json).collect();
    json!({
        "version": 1,
        "project": project.manifest.project,
        "profile": project.profile.name,
        "chain": project.chain.entries,
        "chain_from": project.chain.why,
        "not_taken": project.chain.not_taken,
        "ok": is_ok,
        "secrets": secrets,
        "problems": problems,
        "notices": notices,
    })
}

fn notice_json(notice: &manifest::Problem) -> Value {
    json!({
        "code": notice.code,
        "file": notice.place.file,
        "line": notice.place.line,
        "column": notice.place.column,
        "key": notice.place.key,
        "message": notice.message,
    })
}

/// `::error file=…,line=…::…` lines.
fn annotations(project: &Project, resolution: &Resolution<'_>) -> String {
    let escape = |text: &str| {
        text.replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
    };
    let property = |text: &str| escape(text).replace(':', "%3A").replace(',', "%2C");
    let file = property(&project.path.display().to_string());
    let mut text = String::new();
    for failure in &resolution.failures {
        text.push_str(&format!(
            "::error file={file}::{}\n",
            escape(&with_fix(failure))
        ));
    }
    for problem in &resolution.problems {
        let message = format!("{} {}. {}", problem.secret, problem.message, problem.fix);
        let word = problem.severity.word();
        let at = match project.manifest.place_of(&problem.secret) {
            Some(place) => format!("file={},line={}", property(&place.file), place.line),
            None => format!("file={file}"),
        };
        text.push_str(&format!(
            "::{word} {at},title={}::{}\n",
            problem.code,
            escape(&message)
        ));
    }
    for notice in &project.notices {
        let place = &notice.place;
        let message = format!("{}: {}", place.key, notice.message);
        text.push_str(&format!(
            "::notice file={},line={},col={}::{}\n",
            property(&place.file),
            place.line,
            place.column,
            escape(&message)
        ));
    }
    text
}
