//! `login`: a token of a server, kept for the commands that follow.

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use clap::Args;
use clap::ValueEnum;
use rustix::fs::Mode;
use serde_json::Value;
use serde_json::json;
use strongroom_chain::server::token_file;
use strongroom_core::secret::SecretValue;

use crate::app::App;
use crate::error::CommandError;
use crate::output;
use crate::output::Existing;
use crate::server;
use crate::server::As;
use crate::server::Call;
use crate::server::Server;

/// Log in to the server and keep the token, for this server only
///
/// The secret (token, password or secret id) is asked for, or read from standard input. The token
/// is kept in a file that nobody else can read; STRONGROOM_TOKEN and STRONGROOM_TOKEN_FILE go
/// before it.
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom login --server https://vault.example:8200
  strongroom login --method userpass --username ann
  strongroom login --method approle --role-id 0e2f... < secret-id")]
pub(crate) struct LoginArgs {
    /// How to log in
    #[arg(long, value_enum, default_value = "token")]
    method: Method,
    /// Where the method is mounted [default: its name]
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,
    /// Who logs in, with userpass
    #[arg(long, value_name = "NAME", required_if_eq("method", "userpass"))]
    username: Option<String>,
    /// Which role, with approle
    #[arg(long, value_name = "ID", required_if_eq("method", "approle"))]
    role_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// With a token that is there already
    Token,
    /// With a name and a password
    Userpass,
    /// With a role id and a secret id
    Approle,
}

pub(crate) fn run(app: &App, args: &LoginArgs) -> Result<(), CommandError> {
    let server = Server::open(app)?;
    let token = match args.method {
        Method::Token => server::secret(app, &format!("Token for {}", server.name()))?,
        Method::Userpass => {
            let name = args.username.as_deref().unwrap_or_default();
            let password = server::secret(app, &format!("Password of {name}"))?;
            let mount = args
                .mount
                .as_deref()
                .unwrap_or("userpass")
                .trim_matches('/');
            let body = json!({ "password": server::in_body(&password)? });
            exchange(&server, &format!("auth/{mount}/login/{name}"), body)?
        }
        Method::Approle => {
            let secret_id = server::secret(app, "Secret id of the role")?;
            let mount = args.mount.as_deref().unwrap_or("approle").trim_matches('/');
            let body = json!({
                "role_id": args.role_id,
                "secret_id": server::in_body(&secret_id)?,
            });
            exchange(&server, &format!("auth/{mount}/login"), body)?
        }
    };
    // A token that the server does not know is not kept.
    let known = server.ask(
        Call::Read,
        "auth/token/lookup-self",
        None,
        As::Token(&token),
    )?;
    let known = known.ok_or_else(|| CommandError::failed("the server does not know the token"))?;
    let data = &known.json()["data"];
    let file = kept_in(app)?;
    keep(&file, &token)?;
    let policies = server::texts(&data["policies"]);
    let name = data["display_name"].as_str().unwrap_or_default();
    let ttl = data["ttl"].as_u64().unwrap_or(0);
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "server": server.name(),
            "display_name": name,
            "policies": policies,
            "accessor": data["accessor"],
            "ttl": ttl,
            "file": file,
        }));
    }
    app.ui.say(&format!(
        "logged in to {} as {name} ({}), {}; the token is kept in {}",
        server.name(),
        policies.join(", "),
        server::lasting(ttl),
        file.display()
    ));
    Ok(())
}

/// Shows what a method asks for, and gets a token.
fn exchange(server: &Server, path: &str, body: Value) -> Result<SecretValue, CommandError> {
    let answer = server.ask(Call::Write, path, Some(body), As::Nobody)?;
    let answer = answer.as_ref().map(|answer| &answer.json()["auth"]);
    let token = answer.and_then(|auth| auth["client_token"].as_str());
    let token = token.ok_or_else(|| {
        CommandError::failed(format!("there is no login at `{path}`"))
            .hint("--mount says where the method is mounted")
    })?;
    Ok(SecretValue::copy_from(token.as_bytes()))
}

/// The file of the server that is named.
pub(crate) fn kept_in(app: &App) -> Result<PathBuf, CommandError> {
    let folder = app.environment.state_folder();
    let folder = folder.ok_or_else(|| {
        CommandError::usage("there is no home folder to keep the token in")
            .hint("set HOME, or give the token with STRONGROOM_TOKEN_FILE")
    })?;
    let server = app.global.server.as_deref().unwrap_or_default();
    Ok(token_file(&folder, server))
}

fn keep(file: &std::path::Path, token: &SecretValue) -> Result<(), CommandError> {
    if let Some(folder) = file.parent() {
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder);
        made.map_err(|error| {
            CommandError::failed(format!("{} cannot be made: {error}", folder.display()))
        })?;
    }
    let mode = Mode::RUSR | Mode::WUSR;
    // EXPOSE: kept in a file of the user's, for the commands that follow.
    output::write(file, token.expose_secret(), mode, Existing::Replace)
}
