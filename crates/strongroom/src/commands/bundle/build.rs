//! `bundle build`.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Instant;

use clap::Args;
use serde_json::Value;
use serde_json::json;
use strongroom_deploy::build;
use strongroom_deploy::build::Platform;
use strongroom_deploy::build::Request;
use strongroom_deploy::build::Step;

use super::assemble;
use super::assemble::OutputArgs;
use crate::app::App;
use crate::commands::check::plural;
use crate::deployment;
use crate::error::CommandError;
use crate::error::Kind;
use crate::output;

/// Variables of ours: what builds a program needs no key of a store.
const OWN_PREFIX: &str = "STRONGROOM_";

/// Build the programs of a bundle with the commands of its manifest
///
/// A service's `build` says how: with go, cargo, npm, PyInstaller or a command of its own. Programs
/// come to lie below --root, where `bundle assemble` and `bundle export` look for them. Commands
/// run as you, with your variables, but for those that begin with STRONGROOM_.
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom bundle build bundle.json --root build --dry-run
  strongroom bundle build bundle.json --root build -o built.json
  strongroom bundle build bundle.json --root build --platform win-x64 --platform linux-x64")]
pub(crate) struct BuildArgs {
    /// The manifest
    file: PathBuf,
    /// Folder that the sources lie in; default: the manifest's
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
    /// Folder that programs come to lie in; default: the working folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// Platform to build for, as often as needed, or 'all'; default: this machine's
    #[arg(long, value_name = "PLATFORM")]
    platform: Vec<String>,
    /// Only this service, as often as needed
    #[arg(long, value_name = "ID")]
    service: Vec<String>,
    /// Say what would be run, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Write the manifest to a new file, with the places of the programs
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace that file when it is there already
    #[arg(long, requires = "output")]
    force: bool,
}

pub(super) fn run(app: &App, args: &BuildArgs) -> Result<(), CommandError> {
    let bundle = deployment::read_bundle(&args.file)?;
    let host = this_machine();
    let platforms = platforms(&args.platform, host)?;
    let root = absolute(&args.root)?;
    let request = Request {
        platforms: &platforms,
        services: &args.service,
        host,
        root: &root.to_string_lossy(),
    };
    let steps = build::steps(bundle.raw(), request).map_err(assemble::refused)?;
    let source = match &args.source {
        Some(folder) => absolute(folder)?,
        None => {
            let file = absolute(&args.file)?;
            file.parent().unwrap_or(Path::new("/")).to_owned()
        }
    };
    if args.dry_run {
        return tell_plan(app, &steps);
    }
    if let Some(path) = &args.output
        && !args.force
    {
        // Not after minutes of building.
        output::check_free(path)?;
    }
    let mut done: Vec<(&Step, Result<Option<u64>, String>)> = Vec::with_capacity(steps.len());
    for step in &steps {
        let same = done.iter().find(|(other, _)| other.is_same_work(step));
        if let Some(result) = same.map(|(_, result)| result.clone()) {
            done.push((step, result));
            continue;
        }
        let name = name_of(step);
        app.ui.say(&format!("building {name}: {}", step.line()));
        let began = Instant::now();
        let result = build(app, step, &source, &root);
        if result.is_ok() {
            let seconds = began.elapsed().as_secs_f64();
            app.ui
                .say(&format!("built {} in {seconds:.1} s", step.output));
        }
        done.push((step, result));
    }
    let (mut made, mut problems) = (Vec::with_capacity(done.len()), Vec::new());
    for (step, result) in done {
        match result {
            Ok(bytes) => made.push((step, bytes)),
            Err(problem) => problems.push(format!("{}: {problem}", name_of(step))),
        }
    }
    let count = format!("{} of {}", made.len(), plural(steps.len(), "program"));
    if !problems.is_empty() {
        return Err(CommandError {
            hints: problems,
            ..CommandError::new(
                Kind::Failed,
                "bundle.build_failed",
                format!("{count} could be built"),
            )
        });
    }
    let mut manifest = bundle.raw().clone();
    for (step, _) in &made {
        if let Some(before) = build::note(&mut manifest, step) {
            app.ui.say(&format!(
                "{}: the program for {} was {before} in the manifest, and is {} now",
                step.service, step.platform.name, step.output
            ));
        }
    }
    if args.output.is_some() {
        let output = OutputArgs {
            output: args.output.clone(),
            force: args.force,
        };
        assemble::write(app, "built", &manifest, &output)?;
    }
    tell_made(app, args, &made, &count)
}

fn name_of(step: &Step) -> String {
    format!("{} for {}", step.service, step.platform.name)
}

fn tell_plan(app: &App, steps: &[Step]) -> Result<(), CommandError> {
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "status": "planned",
            "builds": steps.iter().map(Step::to_json).collect::<Vec<Value>>(),
        }));
    }
    let rows = steps.iter().map(|step| {
        vec![
            step.service.clone(),
            step.platform.name.to_owned(),
            step.directory.clone(),
            step.whole_line(),
        ]
    });
    let headings = ["SERVICE", "PLATFORM", "FOLDER", "COMMAND"];
    app.ui.print_table(&headings, rows.collect())
}

fn tell_made(
    app: &App,
    args: &BuildArgs,
    made: &[(&Step, Option<u64>)],
    count: &str,
) -> Result<(), CommandError> {
    if app.ui.is_json {
        let rows = made.iter().map(|(step, bytes)| {
            json!({
                "service": step.service,
                "platform": step.platform.name,
                "path": step.output,
                "size_bytes": bytes,
            })
        });
        return app.ui.print_json(&json!({
            "version": 1,
            "status": "built",
            "builds": rows.collect::<Vec<Value>>(),
        }));
    }
    app.ui
        .say(&format!("{count} built below {}", args.root.display()));
    if args.output.is_none() {
        app.ui
            .say("-o FILE writes a manifest that says where they lie");
    }
    Ok(())
}

/// The platform of this machine, when bundles are made for it.
fn this_machine() -> Option<Platform> {
    let system = std::env::consts::OS;
    Platform::find(&format!("{system}-{}", std::env::consts::ARCH))
}

fn platforms(names: &[String], host: Option<Platform>) -> Result<Vec<Platform>, CommandError> {
    let known = || {
        let names = Platform::ALL.map(|one| one.name);
        format!("platforms: {}, all", names.join(", "))
    };
    if names.is_empty() {
        let host = host.ok_or_else(|| {
            CommandError::usage("bundles are not made for this machine; name a --platform")
                .hint(known())
        })?;
        return Ok(vec![host]);
    }
    if names.iter().any(|name| name == "all") {
        return Ok(Platform::ALL.to_vec());
    }
    let mut platforms = Vec::with_capacity(names.len());
    for name in names {
        let platform = Platform::find(name).ok_or_else(|| {
            CommandError::usage(format!("there is no platform {name}")).hint(known())
        })?;
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
}

fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(path)
        .map_err(|error| CommandError::failed(format!("{}: {error}", path.display())))
}

/// Runs one command; the size of what it made, unless that is a folder.
fn build(app: &App, step: &Step, source: &Path, root: &Path) -> Result<Option<u64>, String> {
    let folder = source.join(&step.directory);
    if !folder.is_dir() {
        return Err(format!("there is no folder {}", folder.display()));
    }
    let output = root.join(&step.output);
    if let Some(parent) = output.parent() {
        fs::create_dir_all(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    }
    let (program, arguments) = step.command.split_first().ok_or("there is no command")?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&folder);
    if let Some(made_at) = &step.made_at {
        // What was built before, or elsewhere, is never taken for what is built now.
        let _ = fs::remove_file(folder.join(made_at));
        if !step.env.contains_key(build::CARGO_TARGET) {
            command.env_remove(build::CARGO_TARGET);
        }
    }
    let variables = app.environment.variables().iter();
    for (name, _) in variables {
        if name.to_string_lossy().starts_with(OWN_PREFIX) {
            command.env_remove(name);
        }
    }
    // What it says is talk; our stdout is data.
    let talk = std::io::stderr().as_fd().try_clone_to_owned();
    let talk = talk.map_err(|error| error.to_string())?;
    command.envs(&step.env).stdout(Stdio::from(talk));
    let status = {
        let _limits = app.limits.lift();
        command.spawn()
    };
    let status = status.and_then(|mut child| child.wait());
    let status = status.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("{program} is not installed, or not in PATH")
        }
        _ => format!("{program} could not be run: {error}"),
    })?;
    match (status.code(), status.signal()) {
        (Some(0), _) => {}
        (Some(code), _) => return Err(format!("{program} ended with exit code {code}")),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            return Err(format!("{program} was ended by signal {signal}"));
        }
    }
    if let Some(made_at) = &step.made_at {
        take_over(&folder.join(made_at), &output)?;
    }
    let about = fs::metadata(&output);
    let about = about.map_err(|_| {
        format!(
            "{program} went well and left nothing at {}; 'output_pattern' says that it would",
            output.display()
        )
    })?;
    Ok(about.is_file().then_some(about.len()))
}

/// Copies a program to where the bundle has it.
fn take_over(made: &Path, output: &Path) -> Result<(), String> {
    let is_same = match (made.canonicalize(), output.canonicalize()) {
        (Ok(made), Ok(output)) => made == output,
        _ => false,
    };
    if is_same {
        return Ok(());
    }
    match fs::copy(made, output) {
        Ok(_) => Ok(()),
        Err(_) if !made.exists() => Err(format!(
            "cargo went well and left nothing at {}; if its configuration names a target, name it \
             in 'args', too, with --target",
            made.display()
        )),
        Err(error) => Err(format!(
            "{} could not be copied to {}: {error}",
            made.display(),
            output.display()
        )),
    }
}
