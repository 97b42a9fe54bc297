//! What makes new values for the secrets of a server.

use clap::Args;
use clap::Subcommand;
use serde_json::Value;
use serde_json::json;

use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::server;
use crate::server::As;
use crate::server::Call;
use crate::server::Server;

/// Longest file of certificates, in bytes.
const CA_BYTES_MAX: u64 = 64 * 1024;
/// The rotator that nobody registers.
const ALWAYS_THERE: &str = "strongroom-generate";

#[derive(Args)]
pub(super) struct RotatorsArgs {
    #[command(subcommand)]
    command: RotatorsCommand,
}

#[derive(Subcommand)]
enum RotatorsCommand {
    /// Register a rotator, or change one; an endpoint's signing key is shown only now
    Add(AddArgs),
    /// List the rotators with their ARNs
    List,
    /// Forget a rotator: what it rotated waits
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Args)]
struct AddArgs {
    /// Its name: the last part of its ARN
    name: String,
    /// An HTTPS endpoint that gets the events of a rotation function of AWS
    #[arg(long, value_name = "URL")]
    #[arg(required_unless_present_any = ["generator", "declare"])]
    endpoint: Option<String>,
    /// How values are drawn, as in a manifest, e.g. '{"type":"hex","length":64}'
    #[arg(long, value_name = "JSON", conflicts_with = "endpoint")]
    generator: Option<String>,
    /// What rotates, as `rotation.rotator` in a manifest: of the type postgres, mysql, redis,
    /// signing-key, command or manual, e.g.
    /// '{"type":"postgres","address":"postgres://app@db/app"}'
    #[arg(long, value_name = "JSON", conflicts_with_all = ["endpoint", "generator"])]
    declare: Option<String>,
    /// The field of a JSON object that is drawn anew [default: password]
    #[arg(long, value_name = "NAME", requires = "generator")]
    field: Option<String>,
    /// Longest time of a step
    #[arg(long, value_name = "TIME", default_value = "30s")]
    timeout: String,
    /// PEM certificates that the endpoint's is checked by, in the place of the system's
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    ca: Option<std::path::PathBuf>,
    /// Make a new signing key for an endpoint that has one
    #[arg(long, requires = "endpoint")]
    new_key: bool,
}

fn path_of(name: &str) -> Result<String, CommandError> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !name.is_empty() && name.chars().all(is_letter) {
        true => Ok(format!("sys/aws/rotators/{name}")),
        false => Err(CommandError::usage(
            "the name of a rotator has letters, digits, `-` and `_`",
        )),
    }
}

pub(super) fn run(app: &App, server: &Server, args: &RotatorsArgs) -> Result<(), CommandError> {
    match &args.command {
        RotatorsCommand::Add(args) => add(app, server, args),
        RotatorsCommand::List => list(app, server),
        RotatorsCommand::Remove { name } => remove(app, server, name),
    }
}

fn add(app: &App, server: &Server, args: &AddArgs) -> Result<(), CommandError> {
    let path = path_of(&args.name)?;
    let mut body = json!({});
    if let Some(url) = &args.endpoint {
        body = json!({ "url": url, "timeout": args.timeout, "new_key": args.new_key });
    }
    if let Some(generator) = &args.generator {
        let spec: Value = serde_json::from_str(generator)
            .map_err(|_| CommandError::usage("--generator is no JSON object"))?;
        body = json!({ "generator": spec, "field": args.field });
    }
    if let Some(declared) = &args.declare {
        let spec: Value = serde_json::from_str(declared)
            .map_err(|_| CommandError::usage("--declare is no JSON object"))?;
        body = json!({ "rotator": spec });
    }
    if let Some(file) = &args.ca {
        body["ca"] = json!(certificates(file)?);
    }
    let answer = server.demand(Call::Tell, &path, Some(body))?;
    let data = &answer.json()["data"];
    if app.ui.is_json {
        let mut shown = data.clone();
        shown["version"] = json!(1);
        shown["name"] = json!(args.name);
        return app.ui.print_json(&shown);
    }
    let text = |name: &str| data[name].as_str().unwrap_or_default();
    app.ui.say(&format!("registered {}", text("arn")));
    match data["signing_key"].as_str() {
        Some(key) => {
            app.ui
                .say("requests to it are signed with this key, which is shown only now");
            app.ui.print_line(key)
        }
        None => Ok(()),
    }
}

pub(super) fn certificates(file: &std::path::Path) -> Result<String, CommandError> {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(file)
        .and_then(|file| file.take(CA_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| {
        CommandError::failed(format!("{} cannot be read: {error}", file.display()))
    })?;
    Ok(text)
}

fn list(app: &App, server: &Server) -> Result<(), CommandError> {
    let answer = server.demand(Call::List, "sys/aws/rotators", None)?;
    let data = &answer.json()["data"];
    let all: Vec<(String, &Value)> = server::texts(&data["keys"])
        .into_iter()
        .map(|name| {
            let info = &data["key_info"][&name];
            (name, info)
        })
        .collect();
    if app.ui.is_json {
        let rows = all.iter().map(|(name, info)| {
            let mut row = (*info).clone();
            row["name"] = json!(name);
            row
        });
        let rows: Vec<Value> = rows.collect();
        return app
            .ui
            .print_json(&json!({ "version": 1, "rotators": rows }));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = all.iter().map(|(name, info)| {
        let what = match info["url"].as_str() {
            Some(url) => url.to_owned(),
            None if info["rotator"].is_object() => info["rotator"].to_string(),
            None => info["generator"].to_string(),
        };
        vec![name.clone(), text(&info["type"]), what, text(&info["arn"])]
    });
    let heads = ["rotator", "type", "what", "ARN"];
    app.ui.print_table(&heads, rows.collect())?;
    if all.iter().all(|(name, _)| name == ALWAYS_THERE) {
        app.ui
            .say("no other is registered: `strongroom rotate rotators add` registers one");
    }
    Ok(())
}

fn remove(app: &App, server: &Server, name: &str) -> Result<(), CommandError> {
    let path = path_of(name)?;
    app.ui.confirm(&format!("Forget rotator {name}?"))?;
    let found = server.ask(Call::Read, &path, None, As::Configured)?;
    if found.is_none() {
        let message = format!("{} has no rotator {name}", server.name());
        return Err(
            CommandError::new(Kind::NotFound, "rotator.not_found", message)
                .hint("strongroom rotate rotators list shows those that are there"),
        );
    }
    server.ask(Call::Delete, &path, None, As::Configured)?;
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({ "version": 1, "name": name, "removed": true }));
    }
    app.ui.say(&format!("forgot rotator {name}"));
    Ok(())
}
