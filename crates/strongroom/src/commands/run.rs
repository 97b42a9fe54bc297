#[cfg_attr(not(feature = "vault"), path = "run/no_dynamic.rs")]
mod dynamic;
mod store;
mod watch;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::OnceLock;

use clap::Args;
use strongroom_core::format::url_password;
use strongroom_core::redact::Coverage;
use strongroom_core::redact::Patterns;
use strongroom_core::redact::Redactor;
use strongroom_core::redact::RedactorBuilder;
use strongroom_core::registry::Declaration;
use strongroom_core::registry::Delivery;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::SystemRng;
use strongroom_engine::ledger::Channel;
use strongroom_engine::resolve::Generate;
use strongroom_engine::resolve::Link;
use strongroom_engine::resolve::Origin;
use strongroom_engine::resolve::Request;
use strongroom_engine::resolve::Resolution;
use strongroom_engine::resolve::Severity;

use crate::app::App;
use crate::cache;
use crate::child;
use crate::child::ChildSpec;
use crate::child::Mask;
use crate::child::PassThrough;
use crate::child::SecretFile;
use crate::child::SecretOrPlain;
use crate::commands::check;
use crate::commands::migrate::lazy;
use crate::commands::userkeys;
use crate::commands::userkeys::PlaceArgs;
use crate::error::CommandError;
use crate::error::Kind;
use crate::ledger;
use crate::project;
use crate::project::Project;
use crate::session;
use crate::session::Session;

/// Variables that a child inherits without being asked for. `*` stands for any rest.
const INHERITED: [&str; 34] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "COLORTERM",
    "TERM_PROGRAM*",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMPDIR",
    "PWD",
    "HOSTNAME",
    "XDG_*",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSH_AUTH_SOCK",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR*",
    "CI",
    "COLUMNS",
    "LINES",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "NODE_ENV",
    "PYTHONUNBUFFERED",
    "SSL_CERT_*",
];

/// Run a command with the secrets it needs, masked in its output
///
/// Checks everything first and reports all problems at once; then starts the command with the
/// secrets in its environment (or in files, or on standard input), and masks them, raw and
/// encoded, in what it prints. Returns the command's exit code.
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom run -- npm start
  strongroom run --profile production -- ./server
  strongroom run --only DATABASE_URL -- ./migrate
  strongroom run --watch -- ./server")]
pub(crate) struct RunArgs {
    /// Inject only these (repeatable, or separated by commas)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Give the command the whole environment, not only the usual variables
    #[arg(long)]
    inherit_env: bool,
    /// Leave the command's output as it is
    #[arg(long)]
    no_redact: bool,
    /// Let the placeholder value of a secret through (repeatable)
    #[arg(long, value_name = "NAME")]
    allow_placeholder: Vec<String>,
    /// When the chain goes on to its next backend
    #[arg(long, value_enum, default_value = "not-found", value_name = "WHEN")]
    fallback: check::FallbackWhen,
    #[command(flatten)]
    cache: cache::CacheArgs,
    #[command(flatten)]
    watch: watch::WatchArgs,
    /// A user of the application, whose own keys come before the others; see userkeys
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// The database with users' keys: postgres://USER@HOST/DATABASE; without one, those of --server
    #[arg(long, value_name = "URL", env = "STRONGROOM_USERKEYS_DATABASE")]
    #[arg(hide_env_values = true, value_parser = super::userkeys::url)]
    user_database: Option<SecretValue>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    #[arg(value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl RunArgs {
    /// The user's own keys, which come before the chain; `is_watched`: asked again and again.
    fn user_link(&self, app: &App, is_watched: bool) -> Result<Option<Link>, CommandError> {
        let Some(user) = &self.user else {
            return Ok(None);
        };
        let place = PlaceArgs {
            database: self.user_database.clone(),
            database_from: None,
            table: None,
        };
        userkeys::link(app, &place, user, is_watched).map(Some)
    }
}

pub(crate) fn run(app: &App, args: &RunArgs) -> Result<u8, CommandError> {
    let project = project::load(app)?;
    args.cache.check(app, &project)?;
    args.watch.check(&args.cache)?;
    let only = only_of(&project, &args.only)?;
    let session = match project.uses_store() {
        true => Some(session::open_or_create(app)?),
        false => None,
    };
    if !project.chain.is_explicit && project.chain.is_remarkable() {
        app.ui.say(&format!("chain: {}", project.chain.line()));
    }
    let kept = cache::open(app, &project, &args.cache, session.as_ref())?;
    let mut links = project.links(app, session.as_ref(), kept.as_ref())?;
    links.splice(0..0, args.user_link(app, false)?);
    let leases = dynamic::Leases::of(app, &project, only.as_ref())?;
    let leases = Lent { app, leases };
    links.splice(0..0, leases.link());
    let barrier = session.as_ref().map(|session| session.barrier.clone());
    let fingerprint = |value: &SecretValue| {
        let barrier = barrier.as_ref();
        barrier.map_or([0; 16], |barrier| barrier.fingerprint(value))
    };
    let elsewhere = check::elsewhere(&project, session.as_ref(), &fingerprint)?;
    let request = Request {
        manifest: &project.manifest,
        profile: &project.profile,
        only: only.as_ref(),
        allow_placeholders: &args.allow_placeholder,
        fallback: args.fallback.into(),
        generate: Generate::Missing,
        elsewhere: elsewhere.as_ref(),
        rng: &SystemRng,
        now: app.now(),
    };
    let resolution = crate::chain::resolve(app, &request, &links);
    if let Some(kept) = &kept {
        kept.finish(app, &resolution);
    }
    check::tell_tolerated(app, &resolution);
    if !resolution.is_ok() {
        let refused = check::refusal(app, &project, &resolution);
        if !app.ui.is_json {
            app.ui.warn("the command was not started");
        }
        return Err(refused);
    }
    for problem in &resolution.problems {
        if problem.severity == Severity::Warning {
            app.ui
                .say(&format!("warning: {} {}", problem.secret, problem.message));
        }
    }
    lazy::move_read(app, &project, session.as_ref(), &resolution);
    // What other backends have is noted in the store, too, where there is one.
    let beside = match &session {
        Some(_) => None,
        None => session::open_beside(app),
    };
    let noting = session.as_ref().or(beside.as_ref());
    let values = values_of(&resolution);
    let delivery = deliver(app, args, &project, &values);
    if let Some(session) = noting {
        note_delivery(app, args, &project, session, &resolution);
    }
    let generated = resolution
        .secrets
        .iter()
        .any(|secret| matches!(secret.origin, Origin::Generated(_)));
    app.ui
        .say(&summary(&project, &resolution, &delivery, args.no_redact));
    let status = if args.watch.is_on() || leases.is_any() {
        let watched = watch::Watched {
            app,
            args,
            project: &project,
            session: session.as_ref(),
            noting,
            elsewhere: elsewhere.as_ref(),
            leases: leases.leases.clone(),
            is_caching: kept.is_some(),
        };
        watched.run(values, delivery)?
    } else {
        let masked = delivery.masked;
        let masks = || masks_of(masked);
        child::run(delivery.spec, masks).map_err(|error| child_error(&error))?
    };
    if let Some(session) = &session {
        if generated {
            session.note_write();
        }
        session.finish(app);
    }
    Ok(status.code())
}

/// One write, before the command has anything.
fn note_delivery(
    app: &App,
    args: &RunArgs,
    project: &Project,
    session: &Session,
    resolution: &Resolution<'_>,
) {
    let secrets = resolution.secrets.iter();
    let delivered = secrets.filter(|secret| ledger::is_delivered(secret));
    let given = delivered.filter_map(|secret| ledger::given_of(session, project, secret));
    let given: Vec<_> = given.collect();
    ledger::note(app, session, Channel::Run, &place_of(args), given);
}

/// The program by its name: its arguments may say more than is meant for others.
fn place_of(args: &RunArgs) -> String {
    let program = args.command.first().map(std::path::Path::new);
    let name = program.and_then(std::path::Path::file_name);
    name.unwrap_or_default().to_string_lossy().into_owned()
}

/// Credentials made for this run, which are removed when it ends, however it does.
struct Lent<'a> {
    app: &'a App,
    leases: Option<Arc<dynamic::Leases>>,
}

impl Lent<'_> {
    fn is_any(&self) -> bool {
        self.leases.is_some()
    }

    fn link(&self) -> Option<Link> {
        self.leases.as_ref().map(dynamic::Leases::link)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        for left in self.leases.iter().flat_map(|leases| leases.revoke()) {
            self.app.ui.warn(&format!("warning: {left}"));
        }
    }
}

fn only_of(project: &Project, names: &[String]) -> Result<Option<BTreeSet<String>>, CommandError> {
    for name in names {
        if project.manifest.declaration(name).is_none() {
            let declared = project
                .manifest
                .declarations()
                .iter()
                .map(|declared| declared.name.as_str());
            let error = CommandError::usage(format!("--only {name}: there is no such declaration"));
            return Err(
                match strongroom_core::manifest::did_you_mean(name, declared) {
                    Some(near) => error.hint(format!("did you mean {near}?")),
                    None => error,
                },
            );
        }
    }
    Ok((!names.is_empty()).then(|| names.iter().cloned().collect()))
}

/// The values that there are, in the manifest's order.
fn values_of<'m>(resolution: &Resolution<'m>) -> Vec<Value<'m>> {
    let secrets = resolution.secrets.iter();
    secrets
        .filter_map(|secret| {
            Some(Value {
                declaration: secret.declaration,
                value: secret.value.clone()?,
            })
        })
        .collect()
}

/// A declared secret with its value.
struct Value<'m> {
    declaration: &'m Declaration,
    value: SecretValue,
}

/// What the child gets, and what is masked.
struct Deliveries {
    spec: ChildSpec,
    masked: Vec<(String, SecretValue)>,
    redacting: usize,
    too_short: Vec<String>,
    injected: usize,
}

fn deliver(app: &App, args: &RunArgs, project: &Project, values: &[Value<'_>]) -> Deliveries {
    let mut env: BTreeMap<OsString, SecretOrPlain> = app
        .environment
        .variables()
        .iter()
        .filter(|(name, _)| args.inherit_env || is_inherited(name.to_str(), project))
        .map(|(name, value)| (name.clone(), SecretOrPlain::Plain(value.clone())))
        .collect();
    let mut files = Vec::new();
    let mut stdin_secret = None;
    let mut masked = Vec::new();
    let mut too_short = Vec::new();
    let mut injected = 0;
    let mut secrets = 0;
    for secret in values {
        let value = &secret.value;
        let name = &secret.declaration.name;
        match &secret.declaration.delivery {
            Delivery::Env(variable) => {
                env.insert(variable.into(), SecretOrPlain::Secret(value.clone()));
            }
            Delivery::File {
                name,
                env: variable,
                mode,
            } => files.push(SecretFile {
                name: name.clone(),
                value: value.clone(),
                mode: *mode,
                env: Some(variable.clone()),
            }),
            Delivery::Stdin => stdin_secret = Some(value.clone()),
            Delivery::None => continue,
        }
        injected += 1;
        if !secret.declaration.is_sensitive {
            continue;
        }
        if Coverage::of(value) == Coverage::Never {
            too_short.push(name.clone());
        } else {
            masked.push((name.clone(), value.clone()));
        }
        masked.extend(passwords_in(value).map(|password| (name.clone(), password)));
        secrets += 1;
    }
    let mut command = args.command.iter().cloned();
    let spec = ChildSpec {
        program: command.next().unwrap_or_default(),
        args: command.collect(),
        env: env.into_iter().collect(),
        files,
        private_dirs: app.environment.private_folders(),
        stdin_secret,
        redact: !args.no_redact,
        original_limits: app.limits.clone(),
    };
    let redacting = secrets - too_short.len();
    Deliveries {
        spec,
        redacting,
        masked,
        too_short,
        injected,
    }
}

/// The password inside a URL, as written and decoded: applications print it on its own, too.
fn passwords_in(value: &SecretValue) -> impl Iterator<Item = SecretValue> {
    // EXPOSE: cut out of the value to be masked on its own.
    let password = value.expose_secret_text().and_then(url_password);
    let decoded = password
        .filter(|password| password.contains('%'))
        .map(|password| {
            let bytes = percent_decoded(password.as_bytes());
            SecretValue::new(bytes)
        });
    let plain = password.map(|password| SecretValue::copy_from(password.as_bytes()));
    plain.into_iter().chain(decoded)
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let escape = after.get(..2).filter(|_| *first == b'%');
        match escape.and_then(|digits| data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok()) {
            Some(byte) => {
                bytes.extend(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

fn is_inherited(name: Option<&str>, project: &Project) -> bool {
    let Some(name) = name else { return false };
    let mut own = project.profile.inherit_env.iter().map(String::as_str);
    is_usual(name) || own.any(|pattern| matches(name, pattern))
}

/// Whether a child inherits a variable without being asked.
pub(crate) fn is_usual(name: &str) -> bool {
    INHERITED.iter().any(|pattern| matches(name, pattern))
}

fn matches(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

/// `injected 14 (profile development: store 9, dotenv 4, generated 1), redacting 12`
fn summary(
    project: &Project,
    resolution: &Resolution<'_>,
    delivery: &Deliveries,
    no_redact: bool,
) -> String {
    let mut sources: Vec<(String, usize)> = Vec::new();
    for secret in resolution
        .secrets
        .iter()
        .filter(|secret| secret.value.is_some())
    {
        if secret.declaration.delivery == Delivery::None {
            continue;
        }
        let source = match &secret.origin {
            Origin::Backend(name) => name.split(':').next().unwrap_or(name).to_owned(),
            Origin::Fallback(_) => "fallback".to_owned(),
            origin => origin.word().unwrap_or_default(),
        };
        match sources.iter_mut().find(|(known, _)| *known == source) {
            Some((_, count)) => *count += 1,
            None => sources.push((source, 1)),
        }
    }
    let parts: Vec<String> = sources
        .iter()
        .map(|(source, count)| format!("{source} {count}"))
        .collect();
    let parts = if parts.is_empty() {
        "nothing".to_owned()
    } else {
        parts.join(", ")
    };
    let redacting = if no_redact {
        "redacting nothing (--no-redact)".to_owned()
    } else {
        format!("redacting {}", delivery.redacting)
    };
    let mut line = format!(
        "injected {} (profile {}: {parts}), {redacting}",
        delivery.injected, project.profile.name
    );
    if !delivery.too_short.is_empty() && !no_redact {
        line.push_str(&format!(
            "; too short to redact: {}",
            delivery.too_short.join(", ")
        ));
    }
    line
}

/// The patterns of both streams, built when one of them has its first bytes: a command that
/// prints nothing does not wait for them, one that does is running meanwhile.
struct LazyPatterns {
    masked: Vec<(String, SecretValue)>,
    built: OnceLock<Patterns>,
}

impl LazyPatterns {
    fn stream(&self) -> Redactor {
        let build = || {
            let mut builder = RedactorBuilder::new();
            for (name, value) in &self.masked {
                builder.add(name, value);
            }
            builder.build()
        };
        self.built.get_or_init(build).stream()
    }
}

/// One stream's mask.
enum RedactorMask {
    Silent(Arc<LazyPatterns>),
    Masking(Box<Redactor>),
    Finished,
}

impl Mask for RedactorMask {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        if let (Self::Silent(patterns), false) = (&*self, chunk.is_empty()) {
            *self = Self::Masking(Box::new(patterns.stream()));
        }
        // After `finish` nothing comes any more.
        if let Self::Masking(redactor) = self {
            redactor.push(chunk, out);
        }
    }

    fn flush_idle(&mut self, out: &mut Vec<u8>) {
        if let Self::Masking(redactor) = self {
            redactor.flush_idle(out);
        }
    }

    fn has_held(&self) -> bool {
        matches!(self, Self::Masking(redactor) if redactor.has_held())
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if let Self::Masking(redactor) = std::mem::replace(self, Self::Finished) {
            redactor.finish(out);
        }
    }
}

fn masks_of(masked: Vec<(String, SecretValue)>) -> child::Masks {
    if masked.is_empty() {
        return [Box::new(PassThrough), Box::new(PassThrough)];
    }
    let patterns = Arc::new(LazyPatterns {
        masked,
        built: OnceLock::new(),
    });
    let mask = || Box::new(RedactorMask::Silent(Arc::clone(&patterns)));
    [mask(), mask()]
}

fn child_error(error: &child::ChildError) -> CommandError {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        message.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    let failed = CommandError::new(Kind::Failed, "run.not_started", message);
    match error.exit_code() {
        Some(code) => CommandError {
            kind: Kind::Child(code),
            ..failed
        },
        None => failed,
    }
}
