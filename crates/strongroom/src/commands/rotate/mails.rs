//! Who gets a server's notices of rotations by mail.

use std::path::PathBuf;

use clap::Args;
use clap::Subcommand;
use serde_json::json;

use super::policies::list;
use super::policies::path_of;
use super::policies::remove;
use super::policies::text;
use super::rotators::certificates;
use crate::app::App;
use crate::error::CommandError;
use crate::server;
use crate::server::Call;
use crate::server::Server;

#[derive(Args)]
pub(super) struct MailsArgs {
    #[command(subcommand)]
    command: MailsCommand,
}

#[derive(Subcommand)]
enum MailsCommand {
    /// Register who is written to about what failed, waits and comes, and through which server
    Add(AddArgs),
    /// List who gets mail
    List,
    /// Forget who gets mail
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Args)]
struct AddArgs {
    /// Its name
    name: String,
    /// smtps://HOST (TLS from the start), or smtp://HOST (STARTTLS; in the clear on this machine
    /// only)
    #[arg(long, value_name = "URL")]
    smtp: String,
    /// Who writes, e.g. 'Strongroom <strongroom@example.org>'
    #[arg(long, value_name = "ADDRESS")]
    from: String,
    /// Who is written to; several times for several
    #[arg(long, value_name = "ADDRESS", required = true)]
    to: Vec<String>,
    /// The secret with `username` and `password` for the mail server
    #[arg(long, value_name = "NAME")]
    credentials: Option<String>,
    /// PEM certificates that the mail server's is checked by, in the place of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

pub(super) fn run(app: &App, server: &Server, args: &MailsArgs) -> Result<(), CommandError> {
    match &args.command {
        MailsCommand::Add(args) => add(app, server, args),
        MailsCommand::List => {
            let heads = ["mail", "server", "from", "to", "credentials"];
            let nothing = "nobody gets mail: `strongroom rotate mails add` registers somebody";
            list(app, server, "mails", (&heads, nothing), |name, info| {
                vec![
                    name.to_owned(),
                    text(&info["server"]),
                    text(&info["from"]),
                    server::texts(&info["to"]).join(", "),
                    text(&info["credentials"]),
                ]
            })
        }
        MailsCommand::Remove { name } => remove(app, server, "mails", name),
    }
}

fn add(app: &App, server: &Server, args: &AddArgs) -> Result<(), CommandError> {
    let ca = args.ca.as_deref().map(certificates).transpose()?;
    let body = json!({
        "server": args.smtp,
        "from": args.from,
        "to": args.to,
        "credentials": args.credentials.as_deref().unwrap_or_default(),
        "ca": ca.unwrap_or_default(),
    });
    let path = path_of("mails", &args.name)?;
    let answer = server.demand(Call::Write, &path, Some(body))?;
    if app.ui.is_json {
        let mut data = answer.json()["data"].clone();
        data["version"] = json!(1);
        data["name"] = json!(args.name);
        return app.ui.print_json(&data);
    }
    app.ui.say(&format!("registered mail {}", args.name));
    Ok(())
}
