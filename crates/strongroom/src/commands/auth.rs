//! `auth`: how clients of a server show who they are.

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

/// Manage how clients of the server show who they are
#[derive(Args)]
pub(crate) struct AuthArgs {
    #[command(subcommand)]
    command: AuthCommand,
}

#[derive(Subcommand)]
enum AuthCommand {
    /// Manage the access keys of AWS clients
    AwsKey(AwsKeyArgs),
}

#[derive(Args)]
struct AwsKeyArgs {
    #[command(subcommand)]
    command: AwsKeyCommand,
}

#[derive(Subcommand)]
enum AwsKeyCommand {
    /// Make an access key and print it with its secret, which is shown only now
    Create(CreateArgs),
    /// List the access keys
    List,
    /// Make a new key in the place of one, which works on for a while
    Rotate(RotateArgs),
    /// End an access key and its sessions at once
    Revoke(RevokeArgs),
}

#[derive(Args)]
struct CreateArgs {
    /// A policy of the key; can be given again
    #[arg(long = "policy", value_name = "NAME", required = true)]
    policies: Vec<String>,
    /// What it is called in lists and in the audit log
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How long it lives, e.g. 90d [default: until it is revoked]
    #[arg(long, value_name = "TIME")]
    ttl: Option<String>,
}

#[derive(Args)]
struct RotateArgs {
    /// The id of the key
    id: String,
    /// How long the old key works beside the new one, e.g. 1h
    #[arg(long, value_name = "TIME", default_value = "24h")]
    overlap: String,
}

#[derive(Args)]
struct RevokeArgs {
    /// The id of the key
    id: String,
}

pub(crate) fn run(app: &App, args: &AuthArgs) -> Result<(), CommandError> {
    let AuthCommand::AwsKey(args) = &args.command;
    let server = Server::open(app)?;
    match &args.command {
        AwsKeyCommand::Create(args) => create(app, &server, args),
        AwsKeyCommand::List => list(app, &server),
        AwsKeyCommand::Rotate(args) => rotate(app, &server, args),
        AwsKeyCommand::Revoke(args) => revoke(app, &server, &args.id),
    }
}

/// The path of a key: an id is letters and digits, so that it cannot be another path.
fn path_of(id: &str) -> Result<String, CommandError> {
    match !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => Ok(format!("sys/aws/keys/{id}")),
        false => Err(CommandError::usage("that is no id of an access key")),
    }
}

fn create(app: &App, server: &Server, args: &CreateArgs) -> Result<(), CommandError> {
    let mut body = json!({ "policies": args.policies });
    for (name, text) in [("name", &args.name), ("ttl", &args.ttl)] {
        if let Some(text) = text {
            body[name] = json!(text);
        }
    }
    let answer = server.demand(Call::Write, "sys/aws/keys", Some(body))?;
    for warning in server::texts(&answer.json()["warnings"]) {
        app.ui.warn(&warning);
    }
    show(app, &answer.json()["data"])
}

/// A new key: as the lines of a credentials file.
fn show(app: &App, key: &Value) -> Result<(), CommandError> {
    let text = |name: &str| key[name].as_str().unwrap_or_default();
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "access_key_id": key["access_key_id"],
            "secret_access_key": key["secret_access_key"],
            "name": key["name"],
            "policies": key["policies"],
            "expires": key["expire_time"],
        }));
    }
    app.ui.say(&format!(
        "an access key with the policies {}; its secret is shown only now",
        server::texts(&key["policies"]).join(", ")
    ));
    app.ui.print(&format!(
        "aws_access_key_id = {}\naws_secret_access_key = {}\n",
        text("access_key_id"),
        text("secret_access_key")
    ))
}

fn list(app: &App, server: &Server) -> Result<(), CommandError> {
    let answer = server.demand(Call::List, "sys/aws/keys", None)?;
    let data = &answer.json()["data"];
    let keys: Vec<(String, &Value)> = server::texts(&data["keys"])
        .into_iter()
        .map(|id| {
            let info = &data["key_info"][&id];
            (id, info)
        })
        .collect();
    if app.ui.is_json {
        let keys: Vec<Value> = keys
            .iter()
            .map(|(id, info)| {
                json!({
                    "access_key_id": id,
                    "name": info["name"],
                    "policies": info["policies"],
                    "created": info["created_time"],
                    "expires": info["expire_time"],
                    "successor": info["successor"],
                })
            })
            .collect();
        return app
            .ui
            .print_json(&json!({ "version": 1, "access_keys": keys }));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = keys.iter().map(|(id, info)| {
        vec![
            id.clone(),
            text(&info["name"]),
            server::texts(&info["policies"]).join(", "),
            text(&info["created_time"]),
            match info["expire_time"].as_str() {
                Some(end) => end.to_owned(),
                None => "never".to_owned(),
            },
        ]
    });
    let heads = ["access key", "name", "policies", "made", "ends"];
    app.ui.print_table(&heads, rows.collect())
}

fn rotate(app: &App, server: &Server, args: &RotateArgs) -> Result<(), CommandError> {
    let path = format!("{}/rotate", path_of(&args.id)?);
    let body = json!({ "overlap": args.overlap });
    let answer = server.ask(Call::Write, &path, Some(body), As::Configured)?;
    let answer = answer.ok_or_else(|| not_found(server, &args.id))?;
    app.ui
        .say(&format!("{} works on for {}", args.id, args.overlap));
    show(app, &answer.json()["data"])
}

fn revoke(app: &App, server: &Server, id: &str) -> Result<(), CommandError> {
    let path = path_of(id)?;
    app.ui
        .confirm(&format!("Revoke access key {id} and its sessions?"))?;
    // It is looked for first: a call that answers nothing does not tell whether it was there.
    let found = server.ask(Call::Read, &path, None, As::Configured)?;
    found.ok_or_else(|| not_found(server, id))?;
    server.ask(Call::Delete, &path, None, As::Configured)?;
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({ "version": 1, "access_key_id": id, "revoked": true }));
    }
    app.ui.say(&format!("revoked {id}"));
    Ok(())
}

fn not_found(server: &Server, id: &str) -> CommandError {
    let message = format!("{} has no access key {id}", server.name());
    CommandError::new(Kind::NotFound, "access_key.not_found", message)
        .hint("strongroom auth aws-key list shows those that are there")
}
