//! `lease`: the leases of a server's dynamic credentials.

use clap::Args;
use clap::Subcommand;
use serde_json::Value;
use serde_json::json;
use strongroom_core::time::Span;

use crate::app::App;
use crate::chain::parse_age;
use crate::error::CommandError;
use crate::error::Kind;
use crate::server;
use crate::server::As;
use crate::server::Call;
use crate::server::Server;

/// List, look up, renew and revoke leases of the server's dynamic credentials; look for orphans
#[derive(Args)]
#[command(after_help = "Examples:
  strongroom lease list database/creds/readonly
  strongroom lease renew database/creds/readonly/2f6a614c --increment 1h
  strongroom lease revoke --prefix database/creds/readonly
  strongroom lease doctor --repair")]
pub(crate) struct LeaseArgs {
    #[command(subcommand)]
    command: LeaseCommand,
}

#[derive(Subcommand)]
enum LeaseCommand {
    /// List what comes next below a path: mounts, roles, or the leases of a role
    List {
        /// The path, such as database/creds/readonly; all leases without one
        path: Option<String>,
    },
    /// Show a lease: since when it is there, and how long it still is
    Lookup {
        /// Its id, as it was told with the credentials
        lease: String,
    },
    /// Keep a lease for longer
    Renew {
        /// Its id
        lease: String,
        /// For how long from now on; for as long as the role says without it
        #[arg(long, value_name = "DURATION", value_parser = parse_age)]
        increment: Option<Span>,
    },
    /// End a lease: its credentials are removed where they were made
    Revoke {
        /// Its id; with --prefix, the path that ids of leases begin with
        lease: String,
        /// End all leases whose id begins so
        #[arg(long)]
        prefix: bool,
        /// Forget also those whose credentials cannot be removed
        #[arg(long, requires = "prefix")]
        force: bool,
    },
    /// Compare the users of databases with leases, both ways
    ///
    /// Users that this server has made and that have no lease are orphans; leases whose user is
    /// gone are of no use. Exits with 10 when there are any, or leases that cannot be revoked.
    Doctor {
        /// Remove orphans (where that fails they may not log in any more), end leases without user
        #[arg(long)]
        repair: bool,
    },
}

pub(crate) fn run(app: &App, args: &LeaseArgs) -> Result<(), CommandError> {
    let server = Server::open(app)?;
    match &args.command {
        LeaseCommand::List { path } => list(app, &server, path.as_deref().unwrap_or_default()),
        LeaseCommand::Lookup { lease } => look_up(app, &server, lease),
        LeaseCommand::Renew { lease, increment } => renew(app, &server, lease, *increment),
        LeaseCommand::Revoke {
            lease,
            prefix,
            force,
        } => revoke(app, &server, lease, *prefix, *force),
        LeaseCommand::Doctor { repair } => doctor(app, &server, *repair),
    }
}

/// A path whose letters stand for nothing else in a URL.
fn plain(path: &str) -> Result<&str, CommandError> {
    let path = path.trim_matches('/');
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c);
    let is_plain = |part: &str| part != "." && part != "..";
    match path.chars().all(is_letter) && path.split('/').all(is_plain) {
        true => Ok(path),
        false => Err(CommandError::usage("that is no path of leases")),
    }
}

fn list(app: &App, server: &Server, path: &str) -> Result<(), CommandError> {
    let path = format!("sys/leases/lookup/{}", plain(path)?);
    let answer = server.ask(Call::List, &path, None, As::Configured)?;
    let names = answer.map_or_else(Vec::new, |answer| {
        server::texts(&answer.json()["data"]["keys"])
    });
    if app.ui.is_json {
        return app.ui.print_json(&json!({ "version": 1, "leases": names }));
    }
    names.iter().try_for_each(|name| app.ui.print_line(name))
}

fn look_up(app: &App, server: &Server, lease: &str) -> Result<(), CommandError> {
    let body = json!({ "lease_id": lease });
    let answer = server.demand(Call::Write, "sys/leases/lookup", Some(body))?;
    let data = &answer.json()["data"];
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "lease": data["id"],
            "issued": data["issue_time"],
            "renewed": data["last_renewal"],
            "ends": data["expire_time"],
            "renewable": data["renewable"],
            "seconds_left": data["ttl"],
        }));
    }
    let text = |name: &str| data[name].as_str().unwrap_or("never").to_owned();
    let left = server::span(data["ttl"].as_u64().unwrap_or(0).max(1));
    for (name, value) in [
        ("lease", text("id")),
        ("issued", text("issue_time")),
        ("renewed", text("last_renewal")),
        ("ends", format!("{} (in {left})", text("expire_time"))),
    ] {
        app.ui.print_line(&format!("{name:<8} {value}"))?;
    }
    Ok(())
}

fn renew(
    app: &App,
    server: &Server,
    lease: &str,
    increment: Option<Span>,
) -> Result<(), CommandError> {
    let seconds = increment.map_or(0, Span::as_seconds);
    let body = json!({ "lease_id": lease, "increment": seconds });
    let answer = server.demand(Call::Write, "sys/leases/renew", Some(body))?;
    let answer = answer.json();
    let warnings = server::texts(&answer["warnings"]);
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "lease": lease,
            "seconds_left": answer["lease_duration"],
            "warnings": warnings,
        }));
    }
    for warning in &warnings {
        app.ui.warn(&format!("warning: {warning}"));
    }
    let seconds = answer["lease_duration"].as_u64().unwrap_or(0);
    let lasting = server::lasting(seconds.max(1));
    app.ui.say(&format!("renewed {lasting}"));
    Ok(())
}

fn revoke(
    app: &App,
    server: &Server,
    lease: &str,
    prefix: bool,
    force: bool,
) -> Result<(), CommandError> {
    let question = match prefix {
        true => format!("End all leases below {lease}?"),
        false => format!("End the lease {lease}?"),
    };
    app.ui.confirm(&question)?;
    let (path, body) = match (prefix, force) {
        (false, _) => ("sys/leases/revoke".to_owned(), json!({ "lease_id": lease })),
        (true, false) => (
            format!("sys/leases/revoke-prefix/{}", plain(lease)?),
            json!({}),
        ),
        (true, true) => (
            format!("sys/leases/revoke-force/{}", plain(lease)?),
            json!({}),
        ),
    };
    server.ask(Call::Write, &path, Some(body), As::Configured)?;
    if app.ui.is_json {
        return app
            .ui
            .print_json(&json!({ "version": 1, "lease": lease, "revoked": true }));
    }
    app.ui.say(&format!("revoked {lease}"));
    Ok(())
}

fn doctor(app: &App, server: &Server, repair: bool) -> Result<(), CommandError> {
    let (call, body) = match repair {
        true => (Call::Write, Some(json!({}))),
        false => (Call::Read, None),
    };
    let answer = server.demand(call, "sys/leases/reconcile", body)?;
    let data = &answer.json()["data"];
    let irrevocable = data["irrevocable"].as_u64().unwrap_or(0);
    let databases = data["databases"].as_array().cloned().unwrap_or_default();
    let count = |database: &Value, name: &str| {
        let list = database[name].as_array();
        list.map_or(0, Vec::len)
    };
    let is_wrong = |database: &Value| {
        let lost = match repair {
            true => 0,
            false => count(database, "leases_without_user"),
        };
        count(database, "orphans") + count(database, "quarantined") + lost > 0
            || !database["error"].is_null()
    };
    let is_healthy = irrevocable == 0 && !databases.iter().any(is_wrong);
    if app.ui.is_json {
        app.ui.print_json(&json!({
            "version": 1,
            "ok": is_healthy,
            "irrevocable": irrevocable,
            "databases": databases,
        }))?;
    } else {
        let rows = databases.iter().map(|database| {
            let number = |name: &str| database[name].as_u64().unwrap_or(0).to_string();
            let names = |name: &str| count(database, name).to_string();
            vec![
                database["database"].as_str().unwrap_or_default().to_owned(),
                number("leases"),
                number("users"),
                names("orphans"),
                names("removed"),
                names("quarantined"),
                names("leases_without_user"),
                database["error"].as_str().unwrap_or("-").to_owned(),
            ]
        });
        let heads = [
            "database",
            "leases",
            "users",
            "orphans",
            "removed",
            "locked out",
            "user gone",
            "error",
        ];
        app.ui.print_table(&heads, rows.collect())?;
        if irrevocable > 0 {
            app.ui.warn(&format!(
                "{irrevocable} leases could not be revoked so far: they are tried again"
            ));
        }
    }
    match is_healthy {
        true => Ok(()),
        false => {
            let message = "users of databases and leases do not fit";
            let error = CommandError::new(Kind::Findings, "lease.orphans", message);
            Err(match repair {
                true => error,
                false => error.hint("strongroom lease doctor --repair puts them right"),
            })
        }
    }
}
