use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;
use strongroom_core::port::Backend;
use strongroom_core::port::Expected;
use strongroom_core::port::NewValue;
use strongroom_core::secret::Payload;
use strongroom_core::secret::SecretValue;
use strongroom_core::secret::Shape;
use strongroom_core::version::Provenance;
use strongroom_engine::secrets::MetadataPatch;
use strongroom_engine::secrets::WriteOptions;

use crate::app::App;
use crate::elsewhere;
use crate::elsewhere::Elsewhere;
use crate::error::CommandError;
use crate::error::Kind;
use crate::input::ValueSource;
use crate::project;
use crate::project::Place;
use crate::session;

/// Set a secret: by prompt, from standard input, or from a file
///
/// The value is never an argument. It goes to the first writable backend of the profile's chain,
/// usually the store, and is checked against its declaration first.
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom set OPENAI_API_KEY
  pbpaste | strongroom set OPENAI_API_KEY
  strongroom set tls/key @server.key --profile production")]
pub(crate) struct SetArgs {
    /// Declared name, or path (a leading / makes it absolute)
    name: String,
    /// `-` for standard input, `@FILE` for a file; without it: prompt, or standard input if piped
    source: Option<String>,
    /// Keep every byte of standard input, a trailing newline too
    #[arg(long)]
    exact: bool,
    /// The value is a JSON object: store it as fields
    #[arg(long)]
    fields: bool,
    /// Write only if this is the current version; 0: only if there is none
    #[arg(long, value_name = "VERSION")]
    cas: Option<String>,
    /// Make a new version even if the value has not changed
    #[arg(long)]
    force: bool,
    /// Store a value that does not fit its declaration
    #[arg(long)]
    no_check: bool,
    /// Describe what it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Say when it expires, e.g. 2027-01-31
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
}

impl SetArgs {
    fn needs_more_than_a_value(&self) -> bool {
        self.cas.is_some() || self.description.is_some() || self.expires.is_some() || self.fields
    }
}

pub(crate) fn run(app: &App, args: &SetArgs) -> Result<(), CommandError> {
    let source = ValueSource::parse(args.source.as_deref())?;
    if args.name.contains('=') && !args.name.starts_with('/') {
        // Most likely NAME=VALUE, so the argument is not repeated.
        return Err(CommandError::usage(
            "a value is never an argument, and a name with '=' looks like one",
        )
        .hint("strongroom set NAME asks for the value; a path with '=' begins with /"));
    }
    let project = project::load_if_there(app)?;
    let place = project::place(project.as_ref(), &args.name)?;
    let elsewhere = elsewhere::find(app, project.as_ref(), &place, &args.name, |can| can.write)?;
    let cas = match elsewhere {
        Some(_) => None,
        None => store_cas(args.cas.as_deref())?,
    };
    let value = source.read(app, &args.name, args.exact)?;
    if value.is_empty() {
        return Err(CommandError::usage("the value is empty")
            .hint(format!("strongroom rm {} removes a value", args.name)));
    }
    check_value(args, &place, &value)?;
    if let Some(elsewhere) = &elsewhere {
        return set_elsewhere(app, args, elsewhere, &place, value);
    }
    let payload = payload_of(args, value)?;
    let session = session::open_or_create(app)?;
    let mut options = WriteOptions::new(Provenance::Set);
    options.cas = cas;
    options.force = args.force;
    options.metadata = patch_of(args, &place)?;
    let written = crate::runtime::wait(session.engine.write(
        &session.context,
        &place.path,
        &payload,
        &options,
    ))?;
    session.note_write();
    session.finish(app);
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "path": place.path.as_str(),
            "written_to": "store",
            "secret_version": written.version,
            "changed": written.is_new,
        }));
    }
    if written.is_new {
        app.ui.say(&format!(
            "set /{} in the store, version {}",
            place.path, written.version
        ));
    } else {
        app.ui.say(&format!(
            "/{} has this value already (version {}); nothing was written",
            place.path, written.version
        ));
    }
    Ok(())
}

/// The store's versions are numbers.
fn store_cas(cas: Option<&str>) -> Result<Option<u64>, CommandError> {
    cas.map(str::parse).transpose().map_err(|_| {
        CommandError::usage("the value of --cas is no number of a version")
            .hint("strongroom history shows them; 0 stands for none")
    })
}

fn check_value(args: &SetArgs, place: &Place<'_>, value: &SecretValue) -> Result<(), CommandError> {
    let (Some(declaration), false) = (place.declaration, args.no_check) else {
        return Ok(());
    };
    // EXPOSE: the value is checked against its declaration; the problem never quotes it.
    let bytes = value.expose_secret();
    let by_type = declaration
        .value_type
        .map_or(Ok(()), |kind| kind.check(bytes));
    let by_format = declaration
        .format
        .as_ref()
        .map_or(Ok(()), |format| format.check(bytes));
    let by_length = declaration.min_length.map_or(Ok(()), |chars| {
        strongroom_core::format::check_min_length(bytes, chars)
    });
    by_type.and(by_format).and(by_length).map_err(|problem| {
        let message = format!("the value for {} does not fit: {problem}", declaration.name);
        CommandError::new(Kind::Validation, "check.invalid", message)
            .hint("nothing was written; --no-check writes it all the same")
    })
}

/// Writes to the first writable backend, which is not the store.
fn set_elsewhere(
    app: &App,
    args: &SetArgs,
    elsewhere: &Elsewhere,
    place: &Place<'_>,
    value: SecretValue,
) -> Result<(), CommandError> {
    let backend = elsewhere.backend.as_ref();
    let can = backend.capabilities();
    let target = backend.describe();
    let is_by_address = can.versions || !elsewhere.has_project;
    let stored = if args.needs_more_than_a_value() || is_by_address {
        let new = new_value(args, place, value, backend)?;
        crate::runtime::wait(backend.write(&elsewhere.address, &new))?
    } else {
        crate::runtime::wait(backend.set(&elsewhere.lookup, &value))?
    };
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "path": place.path.as_str(),
            "written_to": target,
            "secret_version": stored.version,
            "changed": stored.is_new,
        }));
    }
    let name = &elsewhere.name;
    match (stored.is_new, stored.version) {
        (false, _) => app.ui.say(&format!(
            "{name} has this value already in {target}; nothing was written"
        )),
        (true, Some(version)) => {
            app.ui
                .say(&format!("set {name} in {target}, version {version}"));
        }
        (true, None) => app.ui.say(&format!("set {name} in {target}")),
    }
    Ok(())
}

/// The value with what the backend can hold beside it; what it cannot is refused.
fn new_value(
    args: &SetArgs,
    place: &Place<'_>,
    value: SecretValue,
    backend: &dyn Backend,
) -> Result<NewValue, CommandError> {
    let can = backend.capabilities();
    let cannot = |what: &str| {
        let message = format!("{} keeps no {what}", backend.describe());
        Err(CommandError::usage(message).hint("nothing was written"))
    };
    if args.expires.is_some() {
        return cannot("time of expiry");
    }
    if args.description.is_some() && !can.description {
        return cannot("description");
    }
    if args.cas.is_some() && !(can.cas && can.versions) {
        return cannot("versions to compare with");
    }
    let mut new = NewValue::new(payload_of(args, value)?);
    new.expected = match args.cas.as_deref() {
        None => Expected::Any,
        Some("0") => Expected::Absent,
        Some(version) => Expected::Version(version.to_owned()),
    };
    let declared = place.declaration;
    if can.description {
        let described = declared.and_then(|declared| declared.description.clone());
        new.annotation.description = args.description.clone().or(described);
    }
    if can.tags {
        let tags = declared.map(|declared| declared.tags.clone());
        let tags = tags.unwrap_or_default().into_iter();
        new.annotation.tags = tags.map(|(key, value)| (key, Some(value))).collect();
    }
    Ok(new)
}

fn payload_of(args: &SetArgs, value: SecretValue) -> Result<Payload, CommandError> {
    if !args.fields {
        return Ok(Payload::detect(value));
    }
    // EXPOSE: parsed to see that it is a JSON object; the exact text is stored.
    let parsed: Result<BTreeMap<String, serde::de::IgnoredAny>, _> =
        serde_json::from_slice(value.expose_secret());
    match parsed {
        Ok(_) => Ok(Payload {
            value,
            shape: Shape::Fields,
        }),
        Err(error) => Err(CommandError::new(
            Kind::Validation,
            "check.fields",
            format!(
                "the value is not a JSON object (line {}, column {})",
                error.line(),
                error.column()
            ),
        )),
    }
}

fn patch_of(args: &SetArgs, place: &Place<'_>) -> Result<MetadataPatch, CommandError> {
    let mut patch = MetadataPatch {
        description: args.description.clone(),
        ..MetadataPatch::default()
    };
    if let Some(expires) = &args.expires {
        let time = expires
            .parse()
            .map_err(|error: strongroom_core::time::ParseTimeError| {
                CommandError::usage(format!("--expires: {error}"))
            })?;
        patch.expires_at = Some(Some(time));
    }
    if let Some(declaration) = place.declaration {
        patch.class = Some(declaration.class);
        patch.description = patch
            .description
            .or_else(|| declaration.description.clone());
        patch.owner.clone_from(&declaration.owner);
        let tags = declaration.tags.iter();
        patch.tags = tags
            .map(|(key, value)| (key.clone(), Some(value.clone())))
            .collect();
    }
    Ok(patch)
}
