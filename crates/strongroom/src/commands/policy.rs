//! `policy`: what tokens of a server may do.

use clap::Args;
use clap::Subcommand;
use serde_json::json;
use strongroom_core::policy::Policy;
use strongroom_core::policy::PolicyName;

use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::server;
use crate::server::As;
use crate::server::Call;
use crate::server::Server;

/// Longest policy, in bytes.
const POLICY_BYTES_MAX: u64 = 1024 * 1024;

/// Read, write, list and delete policies of the server
#[derive(Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Subcommand)]
enum PolicyCommand {
    /// List the names of all policies
    List,
    /// Print a policy
    Read {
        /// Its name
        name: String,
    },
    /// Write a policy from a file, after a look at whether it can be one
    Write {
        /// Its name
        name: String,
        /// The file, in HCL or JSON; - is standard input
        file: String,
    },
    /// Delete a policy: tokens that have it lose what it gave
    Delete {
        /// Its name
        name: String,
    },
}

pub(crate) fn run(app: &App, args: &PolicyArgs) -> Result<(), CommandError> {
    let server = Server::open(app)?;
    match &args.command {
        PolicyCommand::List => list(app, &server),
        PolicyCommand::Read { name } => read(app, &server, name),
        PolicyCommand::Write { name, file } => write(app, &server, name, file),
        PolicyCommand::Delete { name } => delete(app, &server, name),
    }
}

fn path_of(name: &str) -> Result<String, CommandError> {
    let name: PolicyName = name
        .parse()
        .map_err(|error| CommandError::usage(format!("that is no name of a policy: {error}")))?;
    Ok(format!("sys/policies/acl/{name}"))
}

fn list(app: &App, server: &Server) -> Result<(), CommandError> {
    let answer = server.demand(Call::List, "sys/policies/acl", None)?;
    let names = server::texts(&answer.json()["data"]["keys"]);
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({ "version": 1, "policies": names }));
    }
    names.iter().try_for_each(|name| app.ui.print_line(name))
}

fn read(app: &App, server: &Server, name: &str) -> Result<(), CommandError> {
    let answer = server.ask(Call::Read, &path_of(name)?, None, As::Configured)?;
    let answer = answer.ok_or_else(|| not_found(server, name))?;
    let text = answer.json()["data"]["policy"].as_str().unwrap_or_default();
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({ "version": 1, "name": name, "policy": text }));
    }
    app.ui.print_line(text.trim_end())
}

fn not_found(server: &Server, name: &str) -> CommandError {
    let message = format!("{} has no policy {name}", server.name());
    CommandError::new(Kind::NotFound, "policy.not_found", message)
        .hint("strongroom policy list shows those that are there")
}

fn write(app: &App, server: &Server, name: &str, file: &str) -> Result<(), CommandError> {
    let path = path_of(name)?;
    let text = text_of(file)?;
    let parsed_name = name
        .parse()
        .map_err(|_| CommandError::usage("that is no name of a policy"))?;
    // Told here with its place, before anything is sent.
    Policy::parse(&parsed_name, &text).map_err(|error| {
        let message = format!("{file} is no policy: {error}");
        CommandError::new(Kind::Validation, "policy.invalid", message)
    })?;
    server.ask(
        Call::Write,
        &path,
        Some(json!({ "policy": text })),
        As::Configured,
    )?;
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({ "version": 1, "name": name, "written": true }));
    }
    app.ui.say(&format!("wrote policy {name}"));
    Ok(())
}

fn text_of(file: &str) -> Result<String, CommandError> {
    use std::io::Read;
    let mut text = String::new();
    let read = match file {
        "-" => std::io::stdin()
            .lock()
            .take(POLICY_BYTES_MAX)
            .read_to_string(&mut text),
        file => std::fs::File::open(file)
            .and_then(|file| file.take(POLICY_BYTES_MAX).read_to_string(&mut text)),
    };
    match read {
        Ok(_) => Ok(text),
        Err(error) => Err(CommandError::failed(format!(
            "{file} cannot be read: {error}"
        ))),
    }
}

fn delete(app: &App, server: &Server, name: &str) -> Result<(), CommandError> {
    let path = path_of(name)?;
    app.ui.confirm(&format!("Delete policy {name}?"))?;
    server.ask(Call::Delete, &path, None, As::Configured)?;
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({ "version": 1, "name": name, "deleted": true }));
    }
    app.ui.say(&format!("deleted policy {name}"));
    Ok(())
}
