//! `token`: tokens of a server.

use clap::Args;
use clap::Subcommand;
use serde_json::Value;
use serde_json::json;

use crate::app::App;
use crate::commands::login;
use crate::error::CommandError;
use crate::server;
use crate::server::Call;
use crate::server::Server;

/// Make, look up, renew and revoke tokens of the server
#[derive(Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Make a token and print it
    Create(CreateArgs),
    /// Show what a token may do and how long it lives; your own without --accessor
    Lookup(WhichArgs),
    /// Let a token live longer; your own without --accessor
    Renew(RenewArgs),
    /// End a token and all that it made; your own without --accessor
    Revoke(WhichArgs),
}

#[derive(Args)]
struct CreateArgs {
    /// A policy of the token; can be given again [default: those of yours]
    #[arg(long = "policy", value_name = "NAME")]
    policies: Vec<String>,
    /// How long it lives, e.g. 1h
    #[arg(long, value_name = "TIME")]
    ttl: Option<String>,
    /// It lives on when it is renewed within this time, e.g. 24h
    #[arg(long, value_name = "TIME")]
    period: Option<String>,
    /// How often it can be used; 0: without a limit
    #[arg(long, value_name = "COUNT", default_value = "0")]
    uses: u32,
    /// What it is called in the audit log
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// It does not end with yours
    #[arg(long)]
    orphan: bool,
}

#[derive(Args)]
struct WhichArgs {
    /// The accessor of another token, which is no secret
    #[arg(long, value_name = "ACCESSOR")]
    accessor: Option<String>,
}

#[derive(Args)]
struct RenewArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// For how long, e.g. 1h
    #[arg(long, value_name = "TIME")]
    increment: Option<String>,
}

pub(crate) fn run(app: &App, args: &TokenArgs) -> Result<(), CommandError> {
    let server = Server::open(app)?;
    match &args.command {
        TokenCommand::Create(args) => create(app, &server, args),
        TokenCommand::Lookup(which) => lookup(app, &server, which),
        TokenCommand::Renew(args) => renew(app, &server, args),
        TokenCommand::Revoke(which) => revoke(app, &server, which),
    }
}

/// The call about a token, and its body.
fn call_of(what: &str, which: &WhichArgs) -> (Call, String, Option<Value>) {
    match &which.accessor {
        Some(accessor) => {
            let body = json!({ "accessor": accessor });
            (
                Call::Write,
                format!("auth/token/{what}-accessor"),
                Some(body),
            )
        }
        None if what == "lookup" => (Call::Read, "auth/token/lookup-self".into(), None),
        None => (
            Call::Write,
            format!("auth/token/{what}-self"),
            Some(json!({})),
        ),
    }
}

fn create(app: &App, server: &Server, args: &CreateArgs) -> Result<(), CommandError> {
    let mut body = json!({ "num_uses": args.uses });
    if !args.policies.is_empty() {
        body["policies"] = json!(args.policies);
    }
    let texts = [
        ("ttl", &args.ttl),
        ("period", &args.period),
        ("display_name", &args.display_name),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            body[name] = json!(text);
        }
    }
    let path = match args.orphan {
        true => "auth/token/create-orphan",
        false => "auth/token/create",
    };
    let answer = server.demand(Call::Write, path, Some(body))?;
    let auth = &answer.json()["auth"];
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "token": auth["client_token"],
            "accessor": auth["accessor"],
            "policies": auth["policies"],
            "ttl": auth["lease_duration"],
            "renewable": auth["renewable"],
        }));
    }
    app.ui.say(&format!(
        "accessor {}, policies {}, {}",
        auth["accessor"].as_str().unwrap_or_default(),
        server::texts(&auth["policies"]).join(", "),
        server::lasting(auth["lease_duration"].as_u64().unwrap_or(0))
    ));
    // The one thing on standard output, so that it can be piped on.
    app.ui
        .print_line(auth["client_token"].as_str().unwrap_or_default())
}

fn lookup(app: &App, server: &Server, which: &WhichArgs) -> Result<(), CommandError> {
    let (call, path, body) = call_of("lookup", which);
    let answer = server.demand(call, &path, body)?;
    let data = &answer.json()["data"];
    let shown = [
        "accessor",
        "display_name",
        "policies",
        "ttl",
        "explicit_max_ttl",
        "period",
        "num_uses",
        "renewable",
        "orphan",
        "path",
        "type",
        "expire_time",
    ];
    if app.ui.is_json {
        // The token itself is left out: whoever asks has it.
        let mut report = json!({ "version": 1 });
        for name in shown {
            report[name] = data[name].clone();
        }
        return app.ui.print_json(&report);
    }
    let rows = shown
        .into_iter()
        .filter(|name| !data[*name].is_null())
        .map(|name| {
            let text = match &data[name] {
                Value::String(text) => text.clone(),
                Value::Array(_) => server::texts(&data[name]).join(", "),
                Value::Number(number) if name.ends_with("ttl") || name == "period" => {
                    server::span(number.as_u64().unwrap_or(0))
                }
                other => other.to_string(),
            };
            vec![name.to_owned(), text]
        });
    app.ui.print_table(&["what", "is"], rows.collect())
}

fn renew(app: &App, server: &Server, args: &RenewArgs) -> Result<(), CommandError> {
    let (call, path, body) = call_of("renew", &args.which);
    let mut body = body.unwrap_or_else(|| json!({}));
    if let Some(increment) = &args.increment {
        body["increment"] = json!(increment);
    }
    let answer = server.demand(call, &path, Some(body))?;
    let auth = &answer.json()["auth"];
    let ttl = auth["lease_duration"].as_u64().unwrap_or(0);
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({ "version": 1, "ttl": ttl, "renewable": auth["renewable"] }));
    }
    app.ui.say(&format!("renewed, {}", server::lasting(ttl)));
    Ok(())
}

fn revoke(app: &App, server: &Server, which: &WhichArgs) -> Result<(), CommandError> {
    let whose = match &which.accessor {
        Some(accessor) => format!("the token with accessor {accessor}"),
        None => "your own token".to_owned(),
    };
    app.ui
        .confirm(&format!("Revoke {whose} and all that it made?"))?;
    let (call, path, body) = call_of("revoke", which);
    server.demand(call, &path, body)?;
    if which.accessor.is_none() {
        forget(app);
    }
    if app.ui.is_json {
        return app.ui.print_json(&json!({ "version": 1, "revoked": true }));
    }
    app.ui.say(&format!("revoked {whose}"));
    Ok(())
}

/// A token that is kept and dead now is not kept, unless another one was used.
fn forget(app: &App) {
    if let Ok(file) = login::kept_in(app)
        && app.environment.text("STRONGROOM_TOKEN_FILE") == file.to_str()
        && !app.environment.has("STRONGROOM_TOKEN")
    {
        // It opens nothing any more, whether or not it can be removed.
        let _ = std::fs::remove_file(file);
    }
}
