//! Making a server, and opening and closing it.

use clap::Args;
use serde_json::Value;
use serde_json::json;

use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::server;
use crate::server::As;
use crate::server::Call;
use crate::server::Server;

#[derive(Args)]
pub(crate) struct InitArgs {
    /// Unseal shares that are made
    #[arg(long, value_name = "COUNT", default_value = "5")]
    shares: u8,
    /// How many of them open the server
    #[arg(long, value_name = "COUNT", default_value = "3")]
    threshold: u8,
}

/// Makes the server's store and prints its shares and the first token, once.
pub(super) fn init(app: &App, args: &InitArgs) -> Result<(), CommandError> {
    let server = Server::open(app)?;
    let body = json!({ "secret_shares": args.shares, "secret_threshold": args.threshold });
    let answer = server.ask(Call::Write, "sys/init", Some(body), As::Nobody)?;
    let answer = answer.ok_or_else(|| CommandError::failed("that is no server to be made"))?;
    let made = answer.json();
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "shares": made["keys_base64"],
            "threshold": args.threshold,
            "root_token": made["root_token"],
        }));
    }
    for (number, share) in (1..).zip(made["keys_base64"].as_array().into_iter().flatten()) {
        let share = share.as_str().unwrap_or_default();
        app.ui
            .print_line(&format!("unseal share {number}: {share}"))?;
    }
    let token = made["root_token"].as_str().unwrap_or_default();
    app.ui.print_line(&format!("root token: {token}"))?;
    app.ui.say(&format!(
        "{} of {} shares open {}: give each to another person; they are not shown again",
        args.threshold,
        args.shares,
        server.name()
    ));
    app.ui
        .say("next: strongroom operator unseal, once for each share");
    Ok(())
}

/// Gives one share.
pub(super) fn unseal(app: &App, is_reset: bool) -> Result<(), CommandError> {
    let server = Server::open(app)?;
    let body = match is_reset {
        true => json!({ "reset": true }),
        false => {
            let share = server::secret(app, &format!("Unseal share for {}", server.name()))?;
            json!({ "key": server::in_body(&share)? })
        }
    };
    let answer = server.ask(Call::Write, "sys/unseal", Some(body), As::Nobody)?;
    let answer = answer.ok_or_else(|| CommandError::failed("that is no server to be unsealed"))?;
    show(app, &server, answer.json())
}

pub(super) fn seal(app: &App) -> Result<(), CommandError> {
    let server = Server::open(app)?;
    app.ui.confirm(&format!(
        "Seal {}? Nobody can use it until it is unsealed",
        server.name()
    ))?;
    server.ask(Call::Write, "sys/seal", None, As::Configured)?;
    if app.ui.is_json {
        return app.ui.print_json(&json!({ "version": 1, "sealed": true }));
    }
    app.ui.say(&format!("sealed {}", server.name()));
    Ok(())
}

/// Shows how the server is; a sealed one is no success.
pub(super) fn status(app: &App) -> Result<(), CommandError> {
    let server = Server::open(app)?;
    let answer = server.ask(Call::Read, "sys/seal-status", None, As::Nobody)?;
    let answer = answer.ok_or_else(|| CommandError::failed("that is no server"))?;
    show(app, &server, answer.json())?;
    match answer.json()["sealed"].as_bool() {
        Some(false) => Ok(()),
        _ => Err(CommandError::reported(Kind::Locked, "server.sealed")),
    }
}

fn show(app: &App, server: &Server, status: &Value) -> Result<(), CommandError> {
    let is = |name: &str| status[name].as_bool().unwrap_or(false);
    let (progress, threshold) = (&status["progress"], &status["t"]);
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "server": server.name(),
            "server_version": status["version"],
            "initialized": is("initialized"),
            "sealed": is("sealed"),
            "progress": progress,
            "threshold": threshold,
            "shares": status["n"],
        }));
    }
    let state = match (is("initialized"), is("sealed")) {
        (false, _) => "not initialised: strongroom operator init makes it".to_owned(),
        (true, true) => format!("sealed: {progress} of {threshold} shares given"),
        (true, false) => "unsealed".to_owned(),
    };
    app.ui.print_line(&format!("{} is {state}", server.name()))
}
