//! Taking a table over, and giving it back.

use clap::Args;
use serde_json::json;
use strongroom_core::audit::Action;
use strongroom_core::audit::Outcome;
use strongroom_core::path::SecretPath;
use strongroom_userkeys::Columns;
use strongroom_userkeys::Inspection;
use strongroom_userkeys::Settings;

use super::PlaceArgs;
use super::access;
use super::access::Access;
use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::progress::Meter;
use crate::runtime::wait;

#[derive(Args)]
pub(super) struct AttachArgs {
    /// The columns that say whose key it is and what it is called
    #[arg(long, value_name = "USER,NAME", value_delimiter = ',', num_args = 1)]
    #[arg(default_value = "user_id,secret_key")]
    id: Vec<String>,
    /// The column with values in clear
    #[arg(long, value_name = "COLUMN", default_value = "secret_value")]
    plain: String,
    /// The column with sealed values; it is made where it is missing
    #[arg(long, value_name = "COLUMN", default_value = "secret_value_encrypted")]
    encrypted: String,
    /// Names have `_` in the table where Strongroom has `/`: anthropic/api_key, anthropic_api_key
    #[arg(long)]
    flat_names: bool,
    /// A secret of the store that holds a key of pgcrypto's (repeatable)
    #[arg(long, value_name = "PATH")]
    pgcrypto_key: Vec<String>,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
pub(super) struct RollbackArgs {
    /// Write all values back into the plain column first, in clear
    #[arg(long)]
    to_plain: bool,
}

pub(super) fn attach(app: &App, place: &PlaceArgs, args: &AttachArgs) -> Result<(), CommandError> {
    let table = access::table_of(place)?
        .ok_or_else(|| CommandError::usage("which table?").hint("--table user_secrets"))?;
    let [user, name] = args.id.as_slice() else {
        return Err(CommandError::usage("--id takes two columns")
            .hint("for example --id user_id,secret_key"));
    };
    for path in &args.pgcrypto_key {
        let _: SecretPath = path.parse()?;
    }
    let settings = Settings {
        columns: Columns {
            user: user.clone(),
            name: name.clone(),
            plain: args.plain.clone(),
            encrypted: args.encrypted.clone(),
        },
        has_flat_names: args.flat_names,
        pgcrypto_keys: args.pgcrypto_key.clone(),
    };
    let access = Access::open(app, place, !args.dry_run)?;
    let found = wait(strongroom_userkeys::inspect(
        &access.database,
        &table,
        &settings,
    ))?;
    if !app.ui.is_json {
        show(app, &access, &found)?;
    }
    let problems = !found.problems.is_empty() && !found.is_attached;
    if args.dry_run || problems {
        if app.ui.is_json {
            app.ui.print_json(&report(&access, &found, false))?;
        }
        return match problems {
            true => Err(CommandError::reported(Kind::Validation, "userkeys.unfit")),
            false => Ok(()),
        };
    }
    for path in &args.pgcrypto_key {
        access.secret(path)?;
    }
    if !found.is_attached {
        app.ui.confirm("Change the table like this?")?;
    }
    let changed = wait(strongroom_userkeys::attach(
        &access.database,
        &found,
        access.barrier(),
    ))?;
    access.note(Action::Keys, &found.attachment.name(), Outcome::Allowed)?;
    access.finish(app);
    if app.ui.is_json {
        return app.ui.print_json(&report(&access, &found, changed));
    }
    app.ui.say(match changed {
        true => {
            "attached; strongroom userkeys encrypt, with the same database, seals what is there"
        }
        false => "it was attached already",
    });
    Ok(())
}

fn show(app: &App, access: &Access, found: &Inspection) -> Result<(), CommandError> {
    let name = found.attachment.name();
    let place = access.database.place();
    let rows = match found.rows_estimate {
        // The database counts when it analyses the table.
        0 => "not counted by the database yet".to_owned(),
        rows => format!("about {rows} rows"),
    };
    app.ui.print_line(&format!("{name} in {place}, {rows}"))?;
    for problem in &found.problems {
        app.ui.print_line(&format!("  in the way: {problem}"))?;
    }
    for note in &found.notes {
        app.ui.print_line(&format!("  note: {note}"))?;
    }
    if !found.is_attached {
        for (title, statements) in [("up", &found.up), ("down", &found.down)] {
            app.ui.print_line(&format!("  {title}:"))?;
            for statement in statements {
                app.ui.print_line(&format!("    {statement}"))?;
            }
        }
    }
    Ok(())
}

fn report(access: &Access, found: &Inspection, changed: bool) -> serde_json::Value {
    json!({
        "version": 1,
        "table": found.attachment.name(),
        "database": access.database.place(),
        "was_attached": found.is_attached,
        "changed": changed,
        "rows_estimate": found.rows_estimate,
        "up": found.up,
        "down": found.down,
        "problems": found.problems,
        "notes": found.notes,
    })
}

pub(super) fn rollback(
    app: &App,
    place: &PlaceArgs,
    args: &RollbackArgs,
) -> Result<(), CommandError> {
    let access = Access::open(app, place, false)?;
    let keys = access.keys(app, place)?;
    let name = keys.attachment().name();
    let mut restored = 0;
    if args.to_plain {
        let count = wait(keys.only_copies())?;
        app.ui.confirm(&format!(
            "Write {count} values in clear into {name}? Who reads the table can then read \
             them"
        ))?;
        access.note(Action::Read, &name, Outcome::Allowed)?;
        wait(keys.leave())?;
        let meter = Meter::new(&app.ui, "restored");
        loop {
            let rows = wait(keys.restore_piece())?;
            if rows == 0 {
                break;
            }
            restored += rows;
            meter.step(
                usize::try_from(restored).unwrap_or(usize::MAX),
                usize::try_from(count.max(restored)).unwrap_or(usize::MAX),
            );
        }
    } else {
        let rows = wait(keys.only_copies())?;
        if rows > 0 {
            let table = name;
            return Err(strongroom_userkeys::UserKeysError::OnlyCopy { table, rows }.into());
        }
        app.ui
            .confirm(&format!("Take {name} back to how it was?"))?;
    }
    let done = wait(keys.detach())?;
    access.note(Action::Keys, &name, Outcome::Allowed)?;
    access.finish(app);
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "table": name,
            "restored": restored,
            "plain_takes_null": done.plain_takes_null,
        }));
    }
    if done.plain_takes_null {
        app.ui.warn(
            "warning: the plain column takes NULL still: there are rows without a value in it",
        );
    }
    app.ui.say(&format!(
        "{name} is as it was; {restored} values were written back"
    ));
    Ok(())
}
