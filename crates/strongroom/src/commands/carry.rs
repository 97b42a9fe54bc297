use clap::Args;
use serde_json::json;

use crate::app::App;
use crate::error::CommandError;
use crate::project;
use crate::session;

/// Move a secret with its versions, without showing a value
#[derive(Args)]
pub(crate) struct MvArgs {
    /// Declared name, or path
    from: String,
    /// Where to
    to: String,
}

/// Copy a secret with its versions, without showing a value
#[derive(Args)]
pub(crate) struct CpArgs {
    /// Declared name, or path
    from: String,
    /// Where to
    to: String,
}

pub(crate) fn mv(app: &App, args: &MvArgs) -> Result<(), CommandError> {
    carry(app, &args.from, &args.to, true)
}

pub(crate) fn cp(app: &App, args: &CpArgs) -> Result<(), CommandError> {
    carry(app, &args.from, &args.to, false)
}

fn carry(app: &App, from: &str, to: &str, is_move: bool) -> Result<(), CommandError> {
    let project = project::load_if_there(app)?;
    let from = project::place(project.as_ref(), from)?.path;
    let to = project::place(project.as_ref(), to)?.path;
    let session = session::open(app)?;
    crate::runtime::wait(async {
        if is_move {
            session.engine.rename(&session.context, &from, &to).await
        } else {
            session.engine.copy(&session.context, &from, &to).await
        }
    })?;
    session.note_write();
    session.finish(app);
    let done = if is_move { "moved" } else { "copied" };
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "done": done,
            "from": from.as_str(),
            "to": to.as_str(),
        }));
    }
    app.ui.say(&format!("{done} /{from} to /{to}"));
    Ok(())
}
