use std::collections::BTreeSet;
use std::io::IsTerminal;

use clap::Args;
use data_encoding::BASE64;
use serde_json::Value;
use serde_json::json;
use strongroom_core::port::Capabilities;
use strongroom_core::port::VersionRef;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::SystemRng;
use strongroom_engine::Error as EngineError;
use strongroom_engine::ledger::Channel;
use strongroom_engine::ledger::Given;
use strongroom_engine::resolve;
use strongroom_engine::resolve::Generate;
use strongroom_engine::resolve::Request;

use crate::app::App;
use crate::cache;
use crate::chain::Entry;
use crate::commands::check;
use crate::commands::history;
use crate::commands::migrate::lazy;
use crate::elsewhere;
use crate::elsewhere::Elsewhere;
use crate::elsewhere::version_json;
use crate::error::CommandError;
use crate::error::Kind;
use crate::ledger;
use crate::project;
use crate::project::Place;
use crate::project::Project;
use crate::session;
use crate::session::Session;

/// Print a secret's value
///
/// A declared name is looked up through the profile's chain, as `run` does. The value is printed
/// exactly; a newline follows only on a terminal.
#[derive(Args)]
pub(crate) struct GetArgs {
    /// Declared name, or path (a leading / makes it absolute)
    name: String,
    /// A version, by the backend's name for it (a number in the store), instead of the current one
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// One field of a value that is a JSON object
    #[arg(long, value_name = "NAME")]
    field: Option<String>,
    /// Print on a terminal without asking, where the config file says ask_before_showing
    #[arg(long)]
    reveal: bool,
    /// When the chain goes on to its next backend
    #[arg(long, value_enum, default_value = "not-found", value_name = "WHEN")]
    fallback: check::FallbackWhen,
    #[command(flatten)]
    cache: cache::CacheArgs,
}

struct Found {
    value: SecretValue,
    source: String,
    /// For the ledger; nothing where there is no store to keep one.
    given: Option<(Session, Given)>,
    version: Option<String>,
    /// When it is a kept answer: since when.
    cached: Value,
}

pub(crate) fn run(app: &App, args: &GetArgs) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    if let Some(project) = &project {
        args.cache.check(app, project)?;
    }
    let place = project::place(project.as_ref(), &args.name)?;
    let is_through_chain = place.declaration.is_some() && args.version.is_none();
    let found = match &project {
        Some(project) if is_through_chain => through_chain(app, args, project, &place)?,
        project => {
            let has_version = args.version.is_some();
            let may = |can: Capabilities| can.versions || can.list && !has_version;
            match elsewhere::find(app, project.as_ref(), &place, &args.name, may)? {
                Some(elsewhere) => {
                    refuse_offline(args, project.as_ref())?;
                    by_address(app, args, &elsewhere)?
                }
                None => from_store(app, args, &place)?,
            }
        }
    };
    let value = match &args.field {
        Some(field) => field_of(&found.value, field, &args.name)?,
        None => found.value.clone(),
    };
    let is_terminal = std::io::stdout().is_terminal();
    if !app.ui.is_json && is_terminal && !args.reveal && app.settings.asks_before_showing {
        app.ui.confirm(&format!(
            "Show the value of {} on this terminal?",
            args.name
        ))?;
    }
    if let Some((session, given)) = found.given {
        let to = match is_terminal {
            true => "terminal",
            false => "another program",
        };
        ledger::note(app, &session, Channel::Reveal, to, vec![given]);
    }
    if app.ui.is_json {
        // EXPOSE: `get` is the command that shows a value.
        let (text, encoding) = match value.expose_secret_text() {
            Some(text) => (text.to_owned(), "utf-8"),
            // EXPOSE: bytes that are no text, for the same reason.
            None => (BASE64.encode(value.expose_secret()), "base64"),
        };
        return app.ui.print_json(&json!({
            "version": 1,
            "name": args.name,
            "path": place.path.as_str(),
            "value": text,
            "encoding": encoding,
            "source": found.source,
            "secret_version": version_json(found.version.as_deref()),
            "cached": found.cached,
        }));
    }
    // EXPOSE: `get` is the command that shows a value.
    app.ui.print_bytes(value.expose_secret())?;
    if is_terminal {
        app.ui.print("\n")
    } else {
        Ok(())
    }
}

fn from_store(app: &App, args: &GetArgs, place: &Place<'_>) -> Result<Found, CommandError> {
    let (name, version) = (&args.name, args.version.as_deref());
    let number = history::number_of(version, &place.path)?;
    let session = session::open(app)?;
    let read = session.engine.read(&session.context, &place.path, number);
    let secret = crate::runtime::wait(read).map_err(|error| {
        let is_missing = matches!(error, EngineError::NotFound { .. }) && number.is_none();
        match (CommandError::from(error), is_missing) {
            (error, true) => error.hint(format!("strongroom set {name} writes it")),
            (error, false) => error,
        }
    })?;
    let version = Some(secret.version.number.to_string());
    let given = Given {
        secret: place.path.to_string(),
        source: "store".into(),
        version: version.clone(),
        fingerprint: secret.version.fingerprint,
    };
    Ok(Found {
        value: secret.payload.value,
        source: "store".into(),
        given: Some((session, given)),
        version,
        cached: Value::Null,
    })
}

/// What is not declared, and versions, are asked for each time.
fn refuse_offline(args: &GetArgs, project: Option<&Project>) -> Result<(), CommandError> {
    let entries = project.map(|project| project.chain.parsed()).transpose()?;
    let may_ask = entries.is_none_or(|entries| entries.iter().any(Entry::may_use_network));
    if !args.cache.is_offline() || !may_ask {
        return Ok(());
    }
    let message = "only the current values of declared secrets are kept for --offline";
    Err(CommandError::usage(message).hint("leave --offline away"))
}

/// From another manager: what is not declared, or a version.
fn by_address(app: &App, args: &GetArgs, elsewhere: &Elsewhere) -> Result<Found, CommandError> {
    let backend = elsewhere.backend.as_ref();
    let version = match &args.version {
        Some(id) => VersionRef::Id(id.clone()),
        None => VersionRef::Current,
    };
    let found = crate::runtime::wait(backend.read(&elsewhere.address, &version))?;
    let item = found.ok_or_else(|| match &args.version {
        Some(version) => elsewhere.no_version(version),
        None => elsewhere.not_found(),
    })?;
    let (value, source) = (item.payload.value, backend.describe());
    let given = session::open_beside(app).map(|session| {
        let (barrier, path) = (&session.barrier, elsewhere.path.as_str());
        let given = ledger::given(barrier, path, &source, item.version.clone(), &value);
        (session, given)
    });
    Ok(Found {
        value,
        source,
        given,
        version: item.version,
        cached: Value::Null,
    })
}

fn through_chain(
    app: &App,
    args: &GetArgs,
    project: &Project,
    place: &Place<'_>,
) -> Result<Found, CommandError> {
    let declaration = place
        .declaration
        .map(|declaration| declaration.name.clone());
    let name = declaration.unwrap_or_default();
    let session = match (project.migrates(), project.uses_store()) {
        (true, _) => Some(session::open_or_create(app)?),
        (false, true) => session::open_if_there(app)?,
        (false, false) => None,
    };
    let kept = cache::open(app, project, &args.cache, session.as_ref())?;
    let links = project.links(app, session.as_ref(), kept.as_ref())?;
    let only = BTreeSet::from([name.clone()]);
    let request = Request {
        manifest: &project.manifest,
        profile: &project.profile,
        only: Some(&only),
        allow_placeholders: std::slice::from_ref(&name),
        fallback: args.fallback.into(),
        generate: Generate::Never,
        elsewhere: None,
        rng: &SystemRng,
        now: app.now(),
    };
    let mut resolution = crate::chain::resolve(app, &request, &links);
    if let Some(kept) = &kept {
        kept.finish(app, &resolution);
    }
    check::tell_tolerated(app, &resolution);
    if let Some(failure) = resolution.failures.pop() {
        return Err(failure.into());
    }
    lazy::move_read(app, project, session.as_ref(), &resolution);
    let resolved = resolution.secrets.pop();
    // What other backends have is noted in the store, too, where there is one.
    let noting = session.or_else(|| session::open_beside(app));
    let given = noting.as_ref().zip(resolved.as_ref());
    let given = given.and_then(|(session, one)| ledger::given_of(session, project, one));
    if let Some(session) = &noting {
        session.finish(app);
    }
    let cached = match (&kept, &resolved) {
        (Some(kept), Some(resolved)) => kept.json_of(resolved),
        _ => Value::Null,
    };
    let (value, origin) = match resolved {
        Some(resolved) => (resolved.value, resolved.origin),
        None => (None, resolve::Origin::Nowhere),
    };
    let Some(value) = value else {
        let looked_in = check::looked_in(&links);
        let message = format!("{name} has no value in profile {}", project.profile.name);
        return Err(
            CommandError::new(Kind::NotFound, "secret.not_found", message)
                .hint(format!("looked in: {looked_in}"))
                .hint(format!(
                    "strongroom set {name} --profile {}",
                    project.profile.name
                )),
        );
    };
    Ok(Found {
        value,
        source: origin.word().unwrap_or_default(),
        given: noting.zip(given),
        version: None,
        cached,
    })
}

fn field_of(value: &SecretValue, field: &str, name: &str) -> Result<SecretValue, CommandError> {
    // EXPOSE: parsed to find one field of it, which is printed.
    let parsed: Result<serde_json::Map<String, serde_json::Value>, _> =
        serde_json::from_slice(value.expose_secret());
    let Ok(mut fields) = parsed else {
        return Err(CommandError::usage(format!(
            "the value of {name} is not a JSON object"
        )));
    };
    let known = fields.keys().cloned().collect::<Vec<_>>().join(", ");
    match fields.remove(field) {
        Some(serde_json::Value::String(text)) => Ok(SecretValue::from_text(text)),
        Some(other) => Ok(SecretValue::from_text(other.to_string())),
        None => Err(CommandError::new(
            Kind::NotFound,
            "secret.no_field",
            format!("{name} has no field {field}"),
        )
        .hint(format!("its fields: {known}"))),
    }
}
