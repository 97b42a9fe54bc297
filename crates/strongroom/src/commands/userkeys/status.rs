//! How far a table is.

use serde_json::json;
use strongroom_core::audit::Action;
use strongroom_core::audit::Outcome;
use strongroom_crypto::barrier::Barrier;
use strongroom_userkeys::Database;
use strongroom_userkeys::Status;
use strongroom_userkeys::UserKeys;

use super::PlaceArgs;
use super::access::Access;
use super::access::VARIABLE;
use crate::app::App;
use crate::database;
use crate::error::CommandError;
use crate::runtime::wait;

pub(super) fn run(app: &App, place: &PlaceArgs) -> Result<(), CommandError> {
    let access = Access::open(app, place, false)?;
    let keys = access.keys(app, place)?;
    let status = wait(keys.status())?;
    let name = keys.attachment().name();
    access.note(Action::List, &name, Outcome::Allowed)?;
    access.finish(app);
    let state = match status.is_leaving {
        true => "leaving",
        false => "attached",
    };
    if app.ui.is_json {
        let by_key = status.sealed.iter().map(|(key, rows)| {
            json!({ "data_key": key, "rows": rows, "active": *key == status.active_key })
        });
        let by_form = status.pgcrypto.iter();
        let by_form = by_form.map(|(form, rows)| json!({ "form": form, "rows": rows }));
        return app.ui.print_json(&json!({
            "version": 1,
            "table": name,
            "database": access.database.place(),
            "state": state,
            "rows": status.rows,
            "sealed": status.sealed_rows(),
            "sealed_by_key": by_key.collect::<Vec<_>>(),
            "pgcrypto": status.pgcrypto_rows(),
            "pgcrypto_by_form": by_form.collect::<Vec<_>>(),
            "plain": status.plain,
            "unknown": status.unknown,
            "empty": status.empty,
            "active_key": status.active_key,
            "dead_rows": status.dead_rows,
            "bytes": status.bytes,
        }));
    }
    let mut rows = Vec::new();
    for (key, count) in &status.sealed {
        let form = match *key == status.active_key {
            true => format!("sealed, data key {key}"),
            false => format!("sealed, data key {key} (old)"),
        };
        rows.push(vec![form, count.to_string()]);
    }
    for (form, count) in &status.pgcrypto {
        rows.push(vec![format!("pgcrypto, weak: {form}"), count.to_string()]);
    }
    for (form, count) in [
        ("in clear", status.plain),
        ("in no known form", status.unknown),
        ("without a value", status.empty),
    ] {
        if count > 0 {
            rows.push(vec![form.to_owned(), count.to_string()]);
        }
    }
    let title = format!(
        "{name} in {}: {} rows, {state}",
        access.database.place(),
        status.rows
    );
    app.ui.print_line(&title)?;
    app.ui.print_table(&["values", "rows"], rows)?;
    if status.plain + status.pgcrypto_rows() > 0 {
        app.ui.say("strongroom userkeys encrypt seals them");
    } else if status.dead_rows > 0 {
        app.ui.say(&format!(
            "about {} old copies of rows lie in the table's file still: VACUUM (FULL) {name} \
             writes it anew",
            status.dead_rows
        ));
    }
    Ok(())
}

/// What `doctor` says about users' keys, where the environment names their database.
pub(crate) fn doubts(app: &App, barrier: &Barrier) -> Vec<String> {
    let url = app.environment.text(VARIABLE);
    let Some(url) = url.filter(|url| !url.is_empty()) else {
        return Vec::new();
    };
    match look(app, url, barrier) {
        Ok((table, status)) => {
            let weak = status.pgcrypto.iter();
            let weak = weak.map(|(form, rows)| {
                format!("{rows} users' keys in {table} are encrypted weakly: pgcrypto, {form}")
            });
            let plain = (status.plain > 0)
                .then(|| format!("{} users' keys in {table} lie in clear", status.plain));
            plain.into_iter().chain(weak).collect()
        }
        Err(error) => vec![format!(
            "users' keys cannot be looked at: {}",
            error.message
        )],
    }
}

fn look(app: &App, url: &str, barrier: &Barrier) -> Result<(String, Status), CommandError> {
    crate::runtime::start()?;
    let url = database::parse(app, url, false)?;
    let database = wait(Database::connect(&url, Some(1)))?;
    let keys = wait(UserKeys::open(&database, None, barrier))?;
    let status = wait(keys.status())?;
    Ok((keys.attachment().name(), status))
}
