use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;
use data_encoding::BASE64;
use data_encoding::HEXLOWER;
use rustix::fs::Mode;
#[cfg(feature = "kubernetes")]
use serde_json::json;
use strongroom_backends::dotenv::assignment;
#[cfg(feature = "kubernetes")]
use strongroom_chain::remote::apply_to_kubernetes;
use strongroom_core::port::Rng;
use strongroom_core::registry::Delivery;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::SystemRng;
use strongroom_engine::ledger::Channel;
use strongroom_engine::resolve;
use strongroom_engine::resolve::Generate;
use strongroom_engine::resolve::Request;
use zeroize::Zeroizing;

use crate::app::App;
#[cfg(feature = "kubernetes")]
use crate::chain::Entry;
use crate::commands::check;
use crate::error::CommandError;
use crate::error::Kind;
use crate::ledger;
use crate::output;
use crate::output::Existing;
use crate::project;
use crate::session;

/// Print the profile's secrets for another program to read
///
/// Values are shown: this is for files and pipes. With --output the file is made for its owner
/// only, mode 0600, and never through a link.
#[derive(Args)]
pub(crate) struct ExportArgs {
    /// How to write them
    #[arg(long, value_enum, default_value = "env")]
    format: ExportFormat,
    /// Write to a new file instead of standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "output")]
    force: bool,
    /// Print on a terminal without asking, where the config file says ask_before_showing
    #[arg(long)]
    reveal: bool,
    /// Leave plain settings out
    #[arg(long)]
    secrets_only: bool,
    /// Write them into a Kubernetes Secret of a cluster, in one request; its other keys stay
    #[arg(long, value_name = "k8s:NAMESPACE/NAME")]
    #[arg(conflicts_with_all = ["format", "output", "reveal"])]
    apply: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// A .env file
    Env,
    /// A JSON object
    Json,
    /// A YAML map
    Yaml,
    /// `export NAME='…'` for a POSIX shell
    Shell,
    /// A file for `docker run --env-file`
    Docker,
    /// A Kubernetes Secret
    K8s,
    /// Lines for $GITHUB_ENV
    Github,
    /// A dotenv report for GitLab CI
    Gitlab,
}

type Values = Vec<(String, SecretValue)>;

pub(crate) fn run(app: &App, args: &ExportArgs) -> Result<(), CommandError> {
    let project = project::load(app)?;
    let session = if project.uses_store() {
        session::open_if_there(app)?
    } else {
        None
    };
    let links = project.links(app, session.as_ref(), None)?;
    let request = Request {
        manifest: &project.manifest,
        profile: &project.profile,
        only: None,
        allow_placeholders: &[],
        fallback: resolve::Fallback::NotFound,
        generate: Generate::Never,
        elsewhere: None,
        rng: &SystemRng,
        now: app.now(),
    };
    let resolution = crate::chain::resolve(app, &request, &links);
    if !resolution.is_ok() {
        return Err(check::refusal(app, &project, &resolution));
    }
    let values: Values = resolution
        .secrets
        .iter()
        .filter(|secret| secret.declaration.is_sensitive || !args.secrets_only)
        .filter_map(|secret| {
            let name = match &secret.declaration.delivery {
                Delivery::Env(variable) => variable.clone(),
                _ => secret.declaration.name.clone(),
            };
            secret.value.clone().map(|value| (name, value))
        })
        .collect();
    // What other backends have is noted in the store, too, where there is one.
    let beside = match &session {
        Some(_) => None,
        None => session::open_beside(app),
    };
    let noting = session.as_ref().or(beside.as_ref());
    let note = |to: &str| {
        let Some(session) = noting else { return };
        let secrets = resolution.secrets.iter();
        let given = secrets.filter_map(|one| ledger::given_of(session, &project, one));
        ledger::note(app, session, Channel::Export, to, given.collect());
    };
    if let Some(target) = &args.apply {
        note(target);
        return apply(app, target, values);
    }
    let format = if app.ui.is_json {
        ExportFormat::Json
    } else {
        args.format
    };
    let text = render(format, &project.manifest.project, &values)?;
    if let Some(path) = &args.output {
        let existing = if args.force {
            Existing::Replace
        } else {
            Existing::Keep(output::FORCE_REPLACES)
        };
        note(&format!("file {}", path.display()));
        output::write(path, &text, Mode::RUSR | Mode::WUSR, existing)?;
        app.ui.say(&format!(
            "wrote {} to {} (mode 600)",
            check::plural(values.len(), "value"),
            path.display()
        ));
        return Ok(());
    }
    if std::io::stdout().is_terminal() && !args.reveal && app.settings.asks_before_showing {
        app.ui.confirm("Show all values on this terminal?")?;
    }
    note(match std::io::stdout().is_terminal() {
        true => "terminal",
        false => "another program",
    });
    app.ui.print_bytes(&text)
}

#[cfg(feature = "kubernetes")]
fn apply(app: &App, target: &str, values: Values) -> Result<(), CommandError> {
    let entry = Entry::parse(target)?;
    let count = values.len();
    let values = values.into_iter().collect::<BTreeMap<_, _>>();
    let variables = app.environment.for_backends();
    crate::runtime::start()?;
    crate::runtime::wait(apply_to_kubernetes(&entry.uri, &variables, &values))?;
    let applied = check::plural(count, "value");
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({ "version": 1, "applied": count, "target": target }));
    }
    app.ui.say(&format!("applied {applied} to {target}"));
    Ok(())
}

#[cfg(not(feature = "kubernetes"))]
fn apply(_app: &App, _target: &str, _values: Values) -> Result<(), CommandError> {
    Err(CommandError::usage("this program was built without k8s"))
}

fn render(
    format: ExportFormat,
    project: &str,
    values: &Values,
) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    match format {
        ExportFormat::Env => dotenv(values),
        ExportFormat::Json => json(values),
        ExportFormat::Yaml => yaml_map(values),
        ExportFormat::Shell => shell(values),
        ExportFormat::Docker => lines(values, "docker's env files"),
        ExportFormat::Gitlab => lines(values, "GitLab's dotenv reports"),
        ExportFormat::K8s => kubernetes(project, values),
        ExportFormat::Github => github(values),
    }
}

fn buffer(values: &Values) -> Zeroizing<Vec<u8>> {
    let bytes: usize = values
        .iter()
        .map(|(name, value)| name.len() + value.len_bytes())
        .sum();
    Zeroizing::new(Vec::with_capacity(2 * bytes + 64 * values.len() + 256))
}

fn cannot(name: &str, format: &str, what: &str) -> CommandError {
    let message = format!("{name} {what}, which {format} cannot hold");
    CommandError::new(Kind::Validation, "export.not_representable", message)
        .hint("--format json holds any text; nothing was written")
}

fn dotenv(values: &Values) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let mut out = buffer(values);
    for (name, value) in values {
        let line = assignment(name, value).map_err(|error| {
            let message = format!("{name} cannot be written to a .env file: {error}");
            CommandError::new(Kind::Validation, "export.not_representable", message)
                .hint("--format json holds any text; nothing was written")
        })?;
        out.extend_from_slice(&line);
        if !line.ends_with(b"\n") {
            out.push(b'\n');
        }
    }
    Ok(out)
}

/// Name and text of each value; bytes that are no text are an error.
fn text_map(values: &Values) -> Result<BTreeMap<&str, &str>, CommandError> {
    values
        .iter()
        .map(|(name, value)| {
            // EXPOSE: exported on the user's order.
            match value.expose_secret_text() {
                Some(text) => Ok((name.as_str(), text)),
                None => Err(cannot(name, "this format", "is binary")),
            }
        })
        .collect()
}

fn json(values: &Values) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let mut out = buffer(values);
    serde_json::to_writer_pretty(&mut *out, &text_map(values)?)
        .map_err(|_| CommandError::failed("the JSON cannot be written"))?;
    out.push(b'\n');
    Ok(out)
}

/// A map of double-quoted texts: readers of YAML 1.1 take a bare `yes` or `1:30` for something
/// else.
fn yaml_map(values: &Values) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let mut out = buffer(values);
    for (name, text) in text_map(values)? {
        quote_yaml(name, &mut out);
        out.extend_from_slice(b": ");
        quote_yaml(text, &mut out);
        out.push(b'\n');
    }
    Ok(out)
}

fn quote_yaml(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend([b'\\', c as u8]),
            '\n' => out.extend(b"\\n"),
            // Not printable in YAML, or a line break in YAML 1.1.
            c if c.is_control()
                || matches!(
                    c,
                    '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
                ) =>
            {
                out.extend(format!("\\u{:04x}", u32::from(c)).bytes());
            }
            c => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    out.push(b'"');
}

fn yaml<T: serde::Serialize>(map: &T) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let mut out = Zeroizing::new(Vec::with_capacity(64 * 1024));
    serde_yaml_ng::to_writer(&mut *out, map)
        .map_err(|_| CommandError::failed("the YAML cannot be written"))?;
    Ok(out)
}

fn shell(values: &Values) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let mut out = buffer(values);
    for (name, value) in values {
        check_variable(name)?;
        // EXPOSE: exported on the user's order.
        let bytes = value.expose_secret();
        if bytes.contains(&0) {
            return Err(cannot(name, "a shell variable", "holds a NUL byte"));
        }
        out.extend_from_slice(format!("export {name}='").as_bytes());
        for byte in bytes {
            match byte {
                b'\'' => out.extend_from_slice(b"'\\''"),
                _ => out.push(*byte),
            }
        }
        out.extend_from_slice(b"'\n");
    }
    Ok(out)
}

/// `NAME=value` lines without any quoting.
fn lines(values: &Values, format: &str) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let mut out = buffer(values);
    for (name, value) in values {
        check_variable(name)?;
        // EXPOSE: exported on the user's order.
        let bytes = value.expose_secret();
        if bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
            return Err(cannot(name, format, "has several lines or a NUL byte"));
        }
        out.extend_from_slice(format!("{name}=").as_bytes());
        out.extend_from_slice(bytes);
        out.push(b'\n');
    }
    Ok(out)
}

/// A name that a shell would not take could run as a command.
fn check_variable(name: &str) -> Result<(), CommandError> {
    let mut chars = name.chars();
    let is_variable = chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_variable {
        return Ok(());
    }
    let message = format!("{name} is no name of a shell variable");
    Err(
        CommandError::new(Kind::Validation, "export.not_representable", message)
            .hint("target = { type = \"env\", name = \"…\" } in the manifest gives it one"),
    )
}

#[derive(serde::Serialize)]
struct KubernetesSecret<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'a str,
    kind: &'a str,
    metadata: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "type")]
    secret_type: &'a str,
    data: BTreeMap<&'a str, String>,
}

fn kubernetes(project: &str, values: &Values) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let name = project.to_lowercase().replace(['_', ' '], "-");
    let mut secret = KubernetesSecret {
        api_version: "v1",
        kind: "Secret",
        metadata: BTreeMap::from([("name", name.as_str())]),
        secret_type: "Opaque",
        // EXPOSE: exported on the user's order.
        data: values
            .iter()
            .map(|(name, value)| (name.as_str(), BASE64.encode(value.expose_secret())))
            .collect(),
    };
    let text = yaml(&secret);
    secret.data.values_mut().for_each(zeroize::Zeroize::zeroize);
    text
}

/// Heredoc lines, with an end mark that no value can foresee.
fn github(values: &Values) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let mut mark = [0; 16];
    SystemRng.fill(&mut mark);
    let mark = format!("strongroom_{}", HEXLOWER.encode(&mark));
    let mut out = buffer(values);
    for (name, value) in values {
        check_variable(name)?;
        out.extend_from_slice(format!("{name}<<{mark}\n").as_bytes());
        // EXPOSE: exported on the user's order.
        out.extend_from_slice(value.expose_secret());
        out.extend_from_slice(format!("\n{mark}\n").as_bytes());
    }
    Ok(out)
}
