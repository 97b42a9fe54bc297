use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use strongroom_core::secret::SecretValue;
use strongroom_supervise::Dialogue;
use strongroom_supervise::Manifest;
use strongroom_supervise::Question;
use zeroize::Zeroizing;

use crate::app::App;
use crate::commands::supervise;
use crate::commands::supervise::PlaceArgs;
use crate::error::CommandError;
use crate::error::Kind;
use crate::ui::clean;

/// Longest file that is read as a value.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Set an installed application's secrets in a terminal
///
/// Draws what is drawn once for each installation, asks for what a person has to enter, and checks
/// each value before it keeps it. What was kept stays, whatever comes after: the command may be
/// ended and started again. Without a terminal it says what is missing (exit code 5).
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom setup --bundle bundle.json
  strongroom setup --bundle bundle.json --all")]
pub(crate) struct SetupArgs {
    /// The bundle manifest
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    #[command(flatten)]
    place: PlaceArgs,
    /// Ask for values that are there already, too
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(app: &App, args: &SetupArgs) -> Result<(), CommandError> {
    let manifest = Manifest::read(&args.bundle)?;
    let options = supervise::options(app, &args.place, &args.bundle, &manifest)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::failed(format!("no runtime can be started: {error}")))?;
    let mut dialogue = runtime.block_on(Dialogue::open(manifest, options))?;
    for warning in dialogue.warnings() {
        app.ui.warn(&format!("warning: {}", clean(warning)));
    }
    let questions = dialogue.questions();
    for question in questions.iter().filter(|question| question.is_drawn) {
        app.ui.say(&format!(
            "drawn for this installation: {}",
            clean(&question.label)
        ));
    }
    if app.ui.is_interactive() && !app.ui.is_json {
        let asked = questions.iter();
        let asked = asked.filter(|question| question.is_asked && (args.all || !question.is_set));
        for question in asked {
            ask(app, question, |value| {
                runtime.block_on(dialogue.save(&question.id, value))
            })?;
        }
    }
    report(app, &dialogue)
}

/// Asks until there is a value that fits, or nothing is entered.
fn ask(
    app: &App,
    question: &Question,
    mut save: impl FnMut(SecretValue) -> Result<(), String>,
) -> Result<(), CommandError> {
    let label = clean(&question.label);
    let texts = [&question.description, &question.hint, &question.link];
    app.ui.say("");
    for text in texts.into_iter().flatten() {
        app.ui.say(&clean(text));
    }
    if question.is_file {
        app.ui
            .say("It may have many lines: type @ and the path of a file that holds it.");
    }
    let may_be_left = match (question.is_set, question.is_required) {
        (true, _) => "empty keeps what is there",
        (false, false) => "empty leaves it out",
        (false, true) => "needed to start; empty leaves it for later",
    };
    let shown = format!("{label} ({may_be_left})");
    loop {
        let typed = app.ui.ask_secret(&shown, false)?;
        if typed.is_empty() {
            return Ok(());
        }
        // EXPOSE: only a path is taken out of it, where it is one.
        let path = typed
            .expose_secret_text()
            .and_then(|text| text.strip_prefix('@'));
        let value = match path.filter(|_| question.is_file) {
            Some(path) => match read(Path::new(path)) {
                Ok(value) => value,
                Err(why) => {
                    app.ui.warn(&format!("{}: {why}", clean(path)));
                    continue;
                }
            },
            None => typed,
        };
        match save(value) {
            Ok(()) => return Ok(()),
            Err(why) => app.ui.warn(&clean(&why)),
        }
    }
}

fn read(path: &Path) -> std::io::Result<SecretValue> {
    let capacity = usize::try_from(FILE_BYTES_MAX).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(std::io::Error::other("it is larger than 1 MiB")),
        false => Ok(SecretValue::copy_from(&bytes)),
    }
}

fn report(app: &App, dialogue: &Dialogue) -> Result<(), CommandError> {
    let questions = dialogue.questions();
    let missing = dialogue.missing();
    if app.ui.is_json {
        let rows: Vec<_> = questions
            .iter()
            .map(|question| {
                json!({
                    "id": question.id,
                    "label": question.label,
                    "required": question.is_required,
                    "set": question.is_set,
                })
            })
            .collect();
        app.ui.print_json(&json!({
            "version": 1, "ok": missing.is_empty(), "missing": missing, "secrets": rows,
        }))?;
    } else {
        for question in &questions {
            let word = match (question.is_set, question.is_required) {
                (true, _) => "set",
                (false, true) => "missing",
                (false, false) => "left out",
            };
            app.ui
                .print(&format!("{word:9} {}\n", clean(&question.label)))?;
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false if app.ui.is_json => Err(CommandError::reported(Kind::Validation, "setup.missing")),
        false => {
            let list = clean(&missing.join(", "));
            let message = format!("the application cannot start yet, missing: {list}");
            Err(
                CommandError::new(Kind::Validation, "setup.missing", message)
                    .hint("run it in a terminal, or let the application's page ask"),
            )
        }
    }
}
