//! Which secrets of a server are rotated by what and when, and who is told.

use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use serde_json::Value;
use serde_json::json;

use super::rotators::certificates;
use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::server;
use crate::server::As;
use crate::server::Call;
use crate::server::Server;

/// What `--defaults` writes: name, pattern, interval.
const DEFAULTS: [(&str, &str, &str); 4] = [
    ("default-jwt", "*jwt*", "30d"),
    ("default-database", "*database*", "90d"),
    ("default-api-key", "*api_key*", "180d"),
    ("default-encryption", "*encryption*", "365d"),
];
/// How long before somebody is told of those.
const DEFAULT_NOTICE: &str = "7d";

#[derive(Args)]
pub(super) struct PoliciesArgs {
    #[command(subcommand)]
    command: PoliciesCommand,
}

#[derive(Subcommand)]
enum PoliciesCommand {
    /// Write a policy: what rotates the secrets of a pattern, and when
    Add(Box<AddArgs>),
    /// Bring the manifest's policies: those of patterns, and of secrets with a rotation
    Push(super::push::PushArgs),
    /// List the policies
    List,
    /// Forget a policy: what it has set up stays
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Args)]
struct AddArgs {
    /// Its name
    #[arg(required_unless_present = "defaults")]
    name: Option<String>,
    /// Which secrets, e.g. 'jwt/*'; `*` stands for any letters, `?` for one
    #[arg(long, required_unless_present = "defaults")]
    pattern: Option<String>,
    /// What rotates them [default: a person is reminded and waited for]
    #[arg(long, value_name = "NAME")]
    rotator: Option<String>,
    /// How often, in days, e.g. 30d
    #[arg(long, value_name = "TIME", conflicts_with = "schedule")]
    every: Option<String>,
    /// When exactly: rate(…) or cron(…), as for AWS clients
    #[arg(long, value_name = "RULE")]
    schedule: Option<String>,
    /// How long the window is, e.g. 2h
    #[arg(long, value_name = "TIME")]
    window: Option<String>,
    /// Secrets that are due together begin within so long [default: 10m]
    #[arg(long, value_name = "TIME")]
    jitter: Option<String>,
    /// Retire the old value after so long at most; without it, it stays
    #[arg(long, value_name = "TIME")]
    overlap: Option<String>,
    /// What the end of the old value waits for
    #[arg(long, value_parser = ["deadline", "consumers"], requires = "overlap")]
    wait: Option<String>,
    /// Who has read the secret so lately is waited for [default: 7d]
    #[arg(long, value_name = "TIME", requires = "overlap")]
    consumers_within: Option<String>,
    /// Tell somebody so long before, once a day, and on the day
    #[arg(long, value_name = "TIME")]
    notify_before: Option<String>,
    /// Who answers for them
    #[arg(long, value_name = "WHO")]
    owner: Option<String>,
    /// Write the usual policies, which remind a person: JWT 30 days, databases 90, API keys 180,
    /// encryption a year
    #[arg(long, conflicts_with_all = ["name", "pattern", "rotator", "every", "schedule"])]
    defaults: bool,
}

#[derive(Args)]
pub(super) struct WebhooksArgs {
    #[command(subcommand)]
    command: WebhooksCommand,
}

#[derive(Subcommand)]
enum WebhooksCommand {
    /// Register a URL that is told what failed, waits and comes; its signing key is shown only now
    Add {
        /// Its name
        name: String,
        /// Where to
        #[arg(long)]
        url: String,
        /// PEM certificates that its own is checked by, in the place of the system's
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
        /// Make a new signing key
        #[arg(long)]
        new_key: bool,
    },
    /// List the webhooks
    List,
    /// Forget a webhook
    Remove {
        /// Its name
        name: String,
    },
}

pub(super) fn path_of(below: &str, name: &str) -> Result<String, CommandError> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !name.is_empty() && name.chars().all(is_letter) {
        true => Ok(format!("sys/rotation/{below}/{name}")),
        false => Err(CommandError::usage(
            "a name has letters, digits, `-` and `_`",
        )),
    }
}

pub(super) fn policies(
    app: &App,
    server: &Server,
    args: &PoliciesArgs,
) -> Result<(), CommandError> {
    match &args.command {
        PoliciesCommand::Add(args) if args.defaults => {
            for (name, pattern, every) in DEFAULTS {
                let body = json!({
                    "pattern": pattern,
                    "every": every,
                    "notify_before": args.notify_before.as_deref().unwrap_or(DEFAULT_NOTICE),
                    "owner": args.owner,
                });
                write(app, server, name, body)?;
            }
            Ok(())
        }
        PoliciesCommand::Add(args) => {
            let body = json!({
                "pattern": args.pattern,
                "rotator": args.rotator,
                "every": args.every,
                "schedule": args.schedule,
                "duration": args.window,
                "jitter": args.jitter,
                "overlap": args.overlap,
                "wait": args.wait,
                "consumers_within": args.consumers_within,
                "notify_before": args.notify_before,
                "owner": args.owner,
            });
            write(app, server, args.name.as_deref().unwrap_or_default(), body)
        }
        PoliciesCommand::Push(args) => super::push::run(app, server, args),
        PoliciesCommand::List => {
            let heads = ["policy", "pattern", "when", "owner", "rotator", "old value"];
            let nothing = "no policy is written: `strongroom rotate policies add` writes one, \
                           `push` those of the manifest";
            list(app, server, "policies", (&heads, nothing), |name, info| {
                let when = match info["days"].as_u64() {
                    Some(days) => format!("every {days} days"),
                    None => text(&info["schedule"]),
                };
                let rotator = text(&info["rotator"]);
                let rotator = rotator.rsplit(':').next().unwrap_or_default().to_owned();
                let (pattern, owner) = (text(&info["pattern"]), text(&info["owner"]));
                let old = match (info["overlap"].as_str(), info["wait"].as_str()) {
                    (Some(overlap), Some("consumers")) => {
                        format!("until consumers moved, at most {overlap}")
                    }
                    (Some(overlap), _) => format!("for {overlap}"),
                    (None, _) => "stays".to_owned(),
                };
                vec![name.to_owned(), pattern, when, owner, rotator, old]
            })
        }
        PoliciesCommand::Remove { name } => remove(app, server, "policies", name),
    }
}

fn write(app: &App, server: &Server, name: &str, body: Value) -> Result<(), CommandError> {
    let mut body = body;
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    let answer = server.demand(Call::Tell, &path_of("policies", name)?, Some(body))?;
    let mut data = answer.json()["data"].clone();
    if app.ui.is_json {
        data["version"] = json!(1);
        data["name"] = json!(name);
        return app.ui.print_json(&data);
    }
    let changed = data["secrets_set_up"].as_u64().unwrap_or(0);
    app.ui.say(&format!(
        "wrote policy {name}: {changed} secrets follow it newly"
    ));
    Ok(())
}

pub(super) fn webhooks(
    app: &App,
    server: &Server,
    args: &WebhooksArgs,
) -> Result<(), CommandError> {
    match &args.command {
        WebhooksCommand::Add {
            name,
            url,
            ca,
            new_key,
        } => {
            let ca = ca.as_deref().map(certificates).transpose()?;
            let body = json!({ "url": url, "ca": ca.unwrap_or_default(), "new_key": new_key });
            let path = path_of("webhooks", name)?;
            let answer = server.demand(Call::Write, &path, Some(body))?;
            let mut data = answer.json()["data"].clone();
            if app.ui.is_json {
                data["version"] = json!(1);
                data["name"] = json!(name);
                return app.ui.print_json(&data);
            }
            app.ui.say(&format!("registered webhook {name}"));
            match data["signing_key"].as_str() {
                Some(key) => {
                    app.ui
                        .say("requests to it are signed with this key, which is shown only now");
                    app.ui.print_line(key)
                }
                None => Ok(()),
            }
        }
        WebhooksCommand::List => {
            let heads = ["webhook", "url", "since"];
            let nothing = "no webhook is registered: `strongroom rotate webhooks add` registers \
                           one";
            list(app, server, "webhooks", (&heads, nothing), |name, info| {
                vec![name.to_owned(), text(&info["url"]), text(&info["created"])]
            })
        }
        WebhooksCommand::Remove { name } => remove(app, server, "webhooks", name),
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

/// A list of those that a server knows; what is said where there is none.
pub(super) fn list(
    app: &App,
    server: &Server,
    what: &str,
    (heads, nothing): (&[&str], &str),
    row: impl Fn(&str, &Value) -> Vec<String>,
) -> Result<(), CommandError> {
    let answer = server.demand(Call::List, &format!("sys/rotation/{what}"), None)?;
    let data = &answer.json()["data"];
    let names = server::texts(&data["keys"]);
    if app.ui.is_json {
        let rows = names.iter().map(|name| {
            let mut row = data["key_info"][name].clone();
            row["name"] = json!(name);
            row
        });
        let rows: Vec<Value> = rows.collect();
        return app.ui.print_json(&json!({ "version": 1, what: rows }));
    }
    if names.is_empty() {
        app.ui.say(nothing);
        return Ok(());
    }
    let rows = names.iter().map(|name| row(name, &data["key_info"][name]));
    app.ui.print_table(heads, rows.collect())
}

pub(super) fn remove(
    app: &App,
    server: &Server,
    what: &str,
    name: &str,
) -> Result<(), CommandError> {
    let path = path_of(what, name)?;
    app.ui.confirm(&format!("Forget {name}?"))?;
    if server
        .ask(Call::Read, &path, None, As::Configured)?
        .is_none()
    {
        let message = format!("{} has no {name} among its {what}", server.name());
        return Err(CommandError::new(
            Kind::NotFound,
            "server.not_found",
            message,
        ));
    }
    server.ask(Call::Delete, &path, None, As::Configured)?;
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({ "version": 1, "name": name, "removed": true }));
    }
    app.ui.say(&format!("forgot {name}"));
    Ok(())
}
