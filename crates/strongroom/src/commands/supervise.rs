use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::SecretValue;
use strongroom_supervise::Manifest;
use strongroom_supervise::Options;
use strongroom_supervise::Remote;
use strongroom_supervise::SuperviseError;
use strongroom_supervise::Supervisor;
use strongroom_supervise::Told;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::unbounded_channel;

use crate::app::App;
use crate::chain::Entry;
use crate::commands::check::plural;
use crate::commands::run::is_usual;
use crate::elsewhere::opener;
use crate::error::CommandError;
use crate::error::Kind;
use crate::runtime::wait;
use crate::ui::clean;

/// Run an installed application: its secrets, its services, its control API
///
/// Reads a bundle manifest (schema v0.1), draws what is drawn once for each installation, keeps all
/// of it in an encrypted store below the application's folder, and starts the services in the order
/// of their dependencies, each with its own secrets and no others, as soon as no required secret is
/// missing. The control API listens on the loopback address; its token is in the file that the
/// manifest names, anew at each start.
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom supervise bundle.json --app-data ~/.config/picker-wheel
  strongroom supervise bundle.json --dry-run")]
pub(crate) struct SuperviseArgs {
    /// The bundle manifest
    #[arg(required_unless_present = "manifest")]
    file: Option<PathBuf>,
    /// The bundle manifest, as the older runtime was told
    #[arg(long, value_name = "FILE", conflicts_with = "file", hide = true)]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArgs,
    /// Start no service, and say that all are ready
    #[arg(long)]
    dry_run: bool,
    /// Give services the whole environment, not only the usual variables
    #[arg(long)]
    inherit_env: bool,
    /// Let a web page of this origin use the control API (repeatable); it needs the token, too
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
}

/// Where an installation is.
#[derive(Args)]
pub(crate) struct PlaceArgs {
    /// The folder of the application's data [default: a folder named after the application beside
    /// your configuration]
    #[arg(long, value_name = "FOLDER")]
    app_data: Option<PathBuf>,
    /// The folder of what was shipped [default: the manifest's folder]
    #[arg(long, value_name = "FOLDER")]
    bundle_root: Option<PathBuf>,
}

pub(crate) fn run(app: &App, args: &SuperviseArgs) -> Result<(), CommandError> {
    let file = args.file.as_ref().or(args.manifest.as_ref());
    let file = file.ok_or_else(|| CommandError::usage("no bundle manifest is named"))?;
    let manifest = Manifest::read(file)?;
    if manifest.remarks() > 0 {
        let count = plural(manifest.remarks(), "thing");
        let file = clean(&file.display().to_string());
        (app.ui).warn(&format!(
            "hint: {count} to look at: strongroom bundle lint {file}"
        ));
    }
    let options = options(app, &args.place, file, &manifest)?;
    let options = Options {
        is_dry_run: args.dry_run,
        environment: environment(app, args.inherit_env),
        origins: args.allow_origin.clone(),
        ..options
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CommandError::failed(format!("no runtime can be started: {error}")))?;
    runtime.block_on(supervise(app, manifest, options))
}

/// How an installation is opened, by `supervise` and `setup`.
pub(crate) fn options(
    app: &App,
    place: &PlaceArgs,
    file: &Path,
    manifest: &Manifest,
) -> Result<Options, CommandError> {
    Ok(Options {
        app_data: match &place.app_data {
            Some(folder) => folder.clone(),
            None => default_folder(app, manifest)?,
        },
        bundle_root: match (&place.bundle_root, file.parent()) {
            (Some(folder), _) => folder.clone(),
            (None, Some(folder)) if folder != Path::new("") => folder.to_path_buf(),
            (None, _) => PathBuf::from("."),
        },
        is_dry_run: false,
        key_file: app.settings.key_file()?.value,
        passphrase: app.settings.passphrase()?,
        actor: app.environment.user(),
        environment: Vec::new(),
        origins: Vec::new(),
        fetched: fetch_all(app, &manifest.remote_secrets()),
        tell: None,
    })
}

async fn supervise(
    app: &App,
    manifest: Manifest,
    mut options: Options,
) -> Result<(), CommandError> {
    let is_dry_run = options.is_dry_run;
    let (tell, told) = unbounded_channel();
    options.tell = Some(tell);
    // Before anything is started: whoever asks for the end gets one.
    let signals = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let mut signals = signals.map(signal);
    let supervisor = Supervisor::start(manifest, options).await?;
    for warning in supervisor.warnings() {
        app.ui.warn(&format!("warning: {warning}"));
    }
    let missing = supervisor.missing().await;
    for (id, why) in &missing {
        let why = why.as_ref().map(|why| format!(": {why}"));
        let why = why.unwrap_or_default();
        (app.ui).warn(&format!("missing: {}{}", clean(id), clean(&why)));
    }
    if app.ui.is_interactive() && !missing.is_empty() {
        let link = supervisor.setup_link();
        // EXPOSE: a link that works once, to the person at the terminal who started this.
        let link = link.expose_secret_text().unwrap_or_default();
        (app.ui).say(&format!(
            "enter what is missing (the link works once): {link}"
        ));
    }
    let address = supervisor.address();
    match app.ui.is_json {
        true => app.ui.print_json(&json!({
            "version": 1,
            "host": address.ip().to_string(),
            "port": address.port(),
            "dry_run": is_dry_run,
        }))?,
        false => app.ui.print(&format!(
            "runtime ready \u{2014} IPC listening on {address} (dry-run={is_dry_run})\n"
        ))?,
    }
    let ended = async {
        let [interrupt, terminate, hangup] = &mut signals;
        tokio::select! {
            () = received(interrupt) => {}
            () = received(terminate) => {}
            () = received(hangup) => {}
        }
    };
    let problems = telling(app, told, supervisor.run(ended)).await;
    for problem in &problems {
        app.ui.warn(&format!("warning: {}", clean(problem)));
    }
    if !app.ui.is_json {
        app.ui.print("shutdown requested\n")?;
    }
    Ok(())
}

/// Runs to the end, and says meanwhile which services ended unasked.
async fn telling(
    app: &App,
    mut told: UnboundedReceiver<Told>,
    run: impl Future<Output = Vec<String>>,
) -> Vec<String> {
    let mut run = std::pin::pin!(run);
    loop {
        tokio::select! {
            problems = &mut run => return problems,
            Some(one) = told.recv() => {
                let line = format!("service {}: {}", one.service, one.how);
                app.ui.warn(&clean(&line));
            }
        }
    }
}

async fn received(signal: &mut std::io::Result<tokio::signal::unix::Signal>) {
    match signal {
        Ok(signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

/// A folder named after the application, beside that of our own configuration.
fn default_folder(app: &App, manifest: &Manifest) -> Result<PathBuf, CommandError> {
    let name = manifest.folder_name();
    let config = app.environment.config_folder();
    let beside = config.as_deref().and_then(Path::parent);
    match beside.filter(|_| !name.is_empty() && name != "strongroom") {
        Some(folder) => Ok(folder.join(name)),
        None => Err(
            CommandError::usage("nothing says where the application's data is")
                .hint("name a folder with --app-data"),
        ),
    }
}

fn environment(app: &App, is_whole: bool) -> Vec<(OsString, OsString)> {
    let variables = app.environment.variables().iter();
    // Services run in a folder of their own.
    let elsewhere = variables.filter(|(name, _)| name != "PWD");
    let wanted = elsewhere.filter(|(name, _)| is_whole || name.to_str().is_some_and(is_usual));
    wanted.cloned().collect()
}

/// Asks for each secret where it is kept. A failure is a reason, not an end: the value of an
/// earlier fetch may do.
fn fetch_all(app: &App, remotes: &[Remote]) -> BTreeMap<String, Result<SecretValue, String>> {
    let fetch = |remote: &Remote| {
        let fetched = fetch(app, remote).map_err(|error| {
            let place = clean(&format!("{} {}", remote.kind, remote.path));
            format!("{place}: {}", error.message)
        });
        (remote.id.clone(), fetched)
    };
    remotes.iter().map(fetch).collect()
}

fn fetch(app: &App, remote: &Remote) -> Result<SecretValue, CommandError> {
    let is_vault = matches!(
        remote.kind.as_str(),
        "hashicorp" | "hashicorp_vault" | "vault" | "openbao"
    );
    let (entry, address) = match is_vault {
        true => {
            let path = remote.path.trim_matches('/');
            let (mount, below) = path.split_once('/').ok_or_else(|| {
                CommandError::usage("the path names no secret: write MOUNT/data/NAME")
            })?;
            let below = below.strip_prefix("data/").unwrap_or(below);
            let field = remote.key.as_ref();
            let field = field.map(|key| format!("?field={key}")).unwrap_or_default();
            (format!("vault:{mount}{field}"), below)
        }
        false if remote.key.is_some() => {
            return Err(CommandError::usage(
                "a key is known of Vault only; keep the secret on its own",
            ));
        }
        false => (format!("{}:", remote.kind), remote.path.as_str()),
    };
    let backend = opener(app).open(&Entry::parse(&entry)?)?;
    let found = wait(backend.read(address, &VersionRef::Current))?;
    let missing = || {
        CommandError::new(
            Kind::NotFound,
            "supervise.no_such_secret",
            "it is not there",
        )
    };
    found.map(|item| item.payload.value).ok_or_else(missing)
}

impl From<SuperviseError> for CommandError {
    fn from(error: SuperviseError) -> Self {
        let code = error.code();
        let message = error.to_string();
        let failed = |kind| Self::new(kind, code, message.clone());
        match error {
            SuperviseError::OpenStore(error) => error.into(),
            SuperviseError::KeyFile(error) => error.into(),
            SuperviseError::Unlock(error) => error.into(),
            SuperviseError::Secret(error) => error.into(),
            SuperviseError::Locked { refused, .. } => Self {
                hints: refused,
                ..failed(Kind::Locked)
            },
            SuperviseError::Unfit { findings, .. } => {
                let hints = findings.iter().map(|finding| {
                    let (code, path) = (finding.code, clean(&finding.path));
                    let (what, fix) = (clean(&finding.message), clean(&finding.fix));
                    format!("{path} {code}: {what}; {fix}")
                });
                Self {
                    hints: hints.collect(),
                    ..failed(Kind::Validation)
                }
            }
            SuperviseError::Manifest { .. } => {
                failed(Kind::Validation).hint("strongroom bundle lint FILE says all that is wrong")
            }
            SuperviseError::ReadManifest { .. } => failed(Kind::NotFound),
            SuperviseError::Running { .. } => failed(Kind::Conflict)
                .hint("use the one that runs, or end it with a POST to its /shutdown"),
            SuperviseError::KeyBesideStore { .. } => failed(Kind::Usage)
                .hint("choose another folder with --key-file or STRONGROOM_KEY_FILE"),
            SuperviseError::Import { .. } => failed(Kind::Failed)
                .hint("nothing was changed; mend the file, or put a copy of it in its place"),
            SuperviseError::NoPort { .. } => {
                failed(Kind::Failed).hint("end what listens there, or widen the range")
            }
            SuperviseError::Generate { .. } => failed(Kind::Validation)
                .hint("mend the generator or the format: strongroom bundle lint FILE"),
            _ => failed(Kind::Failed),
        }
    }
}
