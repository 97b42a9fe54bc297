//! One user's keys.

use std::io::IsTerminal;

use clap::Args;
use data_encoding::BASE64;
use serde_json::Value;
use serde_json::json;
use strongroom_core::audit::Action;
use strongroom_core::audit::Outcome;
use strongroom_core::secret::SecretValue;
use strongroom_userkeys::Form;
use strongroom_userkeys::KeyName;
use strongroom_userkeys::UserId;
use strongroom_userkeys::UserKeys;

use super::PlaceArgs;
use super::access::Access;
use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::input::ValueSource;
use crate::project;
use crate::runtime::wait;

#[derive(Args)]
pub(super) struct UserArgs {
    /// Whose
    user: String,
}

#[derive(Args)]
pub(super) struct SetArgs {
    /// Whose
    user: String,
    /// What the key is called, e.g. anthropic/api_key
    name: String,
    /// Where the value comes from: - for standard input, @FILE; without it, a prompt
    #[arg(value_name = "SOURCE")]
    source: Option<String>,
    /// Keep a trailing newline of what is piped in
    #[arg(long)]
    exact: bool,
}

#[derive(Args)]
pub(super) struct GetArgs {
    /// Whose
    user: String,
    /// What the key is called, e.g. anthropic/api_key
    name: String,
    /// Where the user has none: the system's key, which is the secret of that name
    #[arg(long)]
    or_system: bool,
    /// Print on a terminal without asking, where the config file says ask_before_showing
    #[arg(long)]
    reveal: bool,
}

#[derive(Args)]
pub(super) struct RmArgs {
    /// Whose
    user: String,
    /// What the key is called
    name: String,
}

struct Opened {
    access: Access,
    keys: UserKeys,
    table: String,
    user: UserId,
}

impl Opened {
    fn new(app: &App, place: &PlaceArgs, user: &str) -> Result<Self, CommandError> {
        let user = UserId::parse(user)?;
        let access = Access::open(app, place, false)?;
        let keys = access.keys(app, place)?;
        let table = keys.attachment().name();
        Ok(Self {
            access,
            keys,
            table,
            user,
        })
    }

    fn note(
        &self,
        action: Action,
        name: Option<&KeyName>,
        outcome: Outcome,
    ) -> Result<(), CommandError> {
        let (table, user) = (&self.table, &self.user);
        let what = match name {
            Some(name) => format!("{table}/{user}/{name}"),
            None => format!("{table}/{user}"),
        };
        self.access.note(action, &what, outcome)
    }

    fn missing(&self, name: &KeyName) -> CommandError {
        let user = &self.user;
        let message = format!("user {user} has no key {name}");
        CommandError::new(Kind::NotFound, "userkeys.not_found", message)
            .hint(format!("strongroom userkeys set {user} {name}"))
    }
}

pub(super) fn set(app: &App, place: &PlaceArgs, args: &SetArgs) -> Result<(), CommandError> {
    let source = ValueSource::parse(args.source.as_deref())?;
    let name = KeyName::parse(&args.name)?;
    let opened = Opened::new(app, place, &args.user)?;
    let value = source.read(app, &format!("{name} of user {}", opened.user), args.exact)?;
    let is_new = wait(opened.keys.set(&opened.user, &name, &value));
    let outcome = match is_new {
        Ok(_) => Outcome::Allowed,
        Err(_) => Outcome::Failed,
    };
    opened.note(Action::Write, Some(&name), outcome)?;
    let is_new = is_new?;
    opened.access.finish(app);
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "user": opened.user.as_str(),
            "name": name.as_str(),
            "is_new": is_new,
        }));
    }
    let done = if is_new { "set" } else { "changed" };
    app.ui
        .say(&format!("{done} {name} of user {}", opened.user));
    Ok(())
}

pub(super) fn get(app: &App, place: &PlaceArgs, args: &GetArgs) -> Result<(), CommandError> {
    let name = KeyName::parse(&args.name)?;
    let opened = Opened::new(app, place, &args.user)?;
    let found = wait(opened.keys.get(&opened.user, &name));
    let outcome = match &found {
        Ok(Some(_)) => Outcome::Allowed,
        Ok(None) | Err(_) => Outcome::Failed,
    };
    opened.note(Action::Read, Some(&name), outcome)?;
    let (value, source) = match found? {
        Some(found) => {
            if let Some(error) = &found.not_sealed {
                app.ui.warn(&format!("warning: it was not sealed: {error}"));
            }
            (found.value, "user")
        }
        None if args.or_system => (system(app, &opened, &name)?, "system"),
        None => return Err(opened.missing(&name)),
    };
    opened.access.finish(app);
    if app.ui.is_json {
        let (text, encoding) = in_json(&value);
        return app.ui.print_json(&json!({
            "version": 1,
            "user": opened.user.as_str(),
            "name": name.as_str(),
            "value": text,
            "encoding": encoding,
            "source": source,
        }));
    }
    let is_terminal = std::io::stdout().is_terminal();
    if is_terminal && !args.reveal && app.settings.asks_before_showing {
        app.ui
            .confirm(&format!("Show {name} of user {} here?", opened.user))?;
    }
    // EXPOSE: `get` is the command that shows a value.
    app.ui.print_bytes(value.expose_secret())?;
    match is_terminal {
        true => app.ui.print("\n"),
        false => Ok(()),
    }
}

/// The system's key of that name, or an error that says where both were looked for.
fn system(app: &App, opened: &Opened, name: &KeyName) -> Result<SecretValue, CommandError> {
    let project = project::load_if_there(app)?;
    let path = project::place(project.as_ref(), name.as_str())?.path;
    opened
        .access
        .secret(path.as_str())
        .map_err(|error| {
            match error.kind {
        Kind::NotFound => CommandError::new(
            Kind::NotFound,
            "userkeys.not_found",
            format!(
                "neither user {} nor the system has a key {name}; looked in {} and /{path} of the \
                 store",
                opened.user, opened.table
            ),
        )
        .hint(format!("strongroom userkeys set {} {name}", opened.user))
        .hint(format!("strongroom set /{path}")),
        _ => error,
    }
        })
}

fn in_json(value: &SecretValue) -> (String, &'static str) {
    // EXPOSE: whoever asks for values as JSON is shown them.
    match value.expose_secret_text() {
        Some(text) => (text.to_owned(), "utf-8"),
        // EXPOSE: bytes that are no text, for the same reason.
        None => (BASE64.encode(value.expose_secret()), "base64"),
    }
}

pub(super) fn list(app: &App, place: &PlaceArgs, args: &UserArgs) -> Result<(), CommandError> {
    let opened = Opened::new(app, place, &args.user)?;
    let listed = wait(opened.keys.list(&opened.user))?;
    opened.note(Action::List, None, Outcome::Allowed)?;
    opened.access.finish(app);
    if app.ui.is_json {
        let keys = listed.iter().map(|key| {
            let data_key = match key.form {
                Form::Sealed(number) => json!(number),
                _ => Value::Null,
            };
            json!({ "name": key.name, "form": key.form.word(), "data_key": data_key })
        });
        return app.ui.print_json(&json!({
            "version": 1,
            "user": opened.user.as_str(),
            "keys": keys.collect::<Vec<_>>(),
        }));
    }
    let rows = listed.into_iter();
    let rows = rows.map(|key| vec![key.name, key.form.word().to_owned()]);
    app.ui.print_table(&["name", "form"], rows.collect())
}

pub(super) fn remove(app: &App, place: &PlaceArgs, args: &RmArgs) -> Result<(), CommandError> {
    let name = KeyName::parse(&args.name)?;
    let opened = Opened::new(app, place, &args.user)?;
    let user = &opened.user;
    app.ui.confirm(&format!(
        "Remove {name} of user {user}? There is no way back"
    ))?;
    let removed = wait(opened.keys.remove(user, &name));
    let outcome = match removed {
        Ok(true) => Outcome::Allowed,
        Ok(false) | Err(_) => Outcome::Failed,
    };
    opened.note(Action::Destroy, Some(&name), outcome)?;
    opened.access.finish(app);
    match removed? {
        false => Err(opened.missing(&name)),
        true if app.ui.is_json => app.ui.print_json(&json!({
            "version": 1,
            "user": user.as_str(),
            "name": name.as_str(),
            "removed": 1,
        })),
        true => {
            app.ui.say(&format!("removed {name} of user {user}"));
            Ok(())
        }
    }
}

pub(super) fn export(app: &App, place: &PlaceArgs, args: &UserArgs) -> Result<(), CommandError> {
    let opened = Opened::new(app, place, &args.user)?;
    let exported = wait(opened.keys.export(&opened.user))?;
    // Noted before anything is shown.
    opened.note(Action::Read, None, Outcome::Allowed)?;
    opened.access.finish(app);
    let mut failed = 0;
    let keys: Vec<Value> = exported
        .iter()
        .map(|(name, value)| match value {
            Ok(value) => {
                let (text, encoding) = in_json(value);
                json!({ "name": name, "value": text, "encoding": encoding })
            }
            Err(error) => {
                failed += 1;
                json!({ "name": name, "error": error.code(), "message": error.to_string() })
            }
        })
        .collect();
    app.ui.print_json(&json!({
        "version": 1,
        "user": opened.user.as_str(),
        "table": opened.table,
        "keys": keys,
    }))?;
    match failed {
        0 => Ok(()),
        _ => Err(CommandError::reported(Kind::Findings, "userkeys.trouble")),
    }
}

pub(super) fn erase(app: &App, place: &PlaceArgs, args: &UserArgs) -> Result<(), CommandError> {
    let opened = Opened::new(app, place, &args.user)?;
    let user = &opened.user;
    app.ui.confirm(&format!(
        "Remove all keys of user {user}? There is no way back"
    ))?;
    let erased = wait(opened.keys.erase(user));
    let outcome = match erased {
        Ok(_) => Outcome::Allowed,
        Err(_) => Outcome::Failed,
    };
    opened.note(Action::Destroy, None, outcome)?;
    opened.access.finish(app);
    let erased = erased?;
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "user": user.as_str(),
            "removed": erased,
        }));
    }
    app.ui.say(&format!("removed {erased} keys of user {user}"));
    app.ui.say(
        "old copies of the rows lie in the table's file, the write-ahead log and backups until \
         those are written anew",
    );
    Ok(())
}
