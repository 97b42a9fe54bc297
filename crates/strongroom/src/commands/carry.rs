use clap::Args;
use serde_json::json;
use strongroom_core::path::SecretPath;
use strongroom_core::port::Removal;
use strongroom_engine::transfer::carry;
use strongroom_engine::transfer::carry::Carried;

use crate::app::App;
use crate::elsewhere;
use crate::elsewhere::Elsewhere;
use crate::error::CommandError;
use crate::error::Kind;
use crate::project;
use crate::runtime::wait;
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
    let (from_name, to_name) = (from, to);
    let from = project::place(project.as_ref(), from)?;
    let to = project::place(project.as_ref(), to)?;
    let find = |place, name| elsewhere::find(app, project.as_ref(), place, name, |can| can.write);
    match (find(&from, from_name)?, find(&to, to_name)?) {
        (None, None) => {}
        (Some(from), Some(to)) => return carry_elsewhere(app, &from, &to, is_move),
        (Some(there), None) | (None, Some(there)) => {
            let backend = there.backend.describe();
            let message = format!("one of them is in the store, {} in {backend}", there.name);
            return Err(CommandError::usage(message)
                .hint("strongroom migrate --from URI --to URI moves from one to the other"));
        }
    }
    let (from, to) = (from.path, to.path);
    let session = session::open(app)?;
    wait(async {
        if is_move {
            session.engine.rename(&session.context, &from, &to).await
        } else {
            session.engine.copy(&session.context, &from, &to).await
        }
    })?;
    session.note_write();
    session.finish(app);
    let described = (format!("/{from}"), format!("/{to}"));
    report(app, is_move, (&from, &to), (&described.0, &described.1))
}

fn carry_elsewhere(
    app: &App,
    from: &Elsewhere,
    to: &Elsewhere,
    is_move: bool,
) -> Result<(), CommandError> {
    let backend = from.backend.as_ref();
    // Read before the backend is asked what it can do: a server's abilities depend on what is
    // mounted there.
    from.require()?;
    let can = backend.capabilities();
    if is_move && !can.delete {
        let instead = "strongroom cp copies; remove the other with the manager's own tools";
        return Err(from.unsupported("remove", instead));
    }
    let carried = wait(carry::copy(backend, &from.address, &to.address))?;
    let (losses, was_there) = match carried {
        Carried::Copied { losses } => (losses, false),
        Carried::WasThere => (Vec::new(), true),
        Carried::Begun { versions, of } => {
            let to_name = &to.name;
            let message = format!(
                "{} holds the first {versions} of {of} versions, as an interrupted copy leaves it",
                to.describe()
            );
            return Err(
                CommandError::new(Kind::Conflict, "secret.exists", message).hint(format!(
                    "strongroom destroy {to_name}, then the same line again; or choose another name"
                )),
            );
        }
        Carried::NotFound => return Err(from.not_found()),
        Carried::AlreadyExists => {
            let message = format!("{} is there already", to.describe());
            return Err(CommandError::new(Kind::Conflict, "secret.exists", message)
                .hint("choose another name, or rm it first"));
        }
    };
    for loss in losses {
        let (to, loss) = (to.describe(), loss.word());
        app.ui.warn(&format!("warning: not copied to {to}: {loss}"));
    }
    if was_there {
        let (from, to) = (&from.name, to.describe());
        let then = match is_move {
            true => format!("; removing {from}"),
            false => String::new(),
        };
        app.ui
            .say(&format!("{to} holds the same as {from} already{then}"));
    }
    if is_move && !wait(backend.remove(&from.address, Removal::Recoverable))? {
        return Err(from.not_found());
    }
    report(
        app,
        is_move,
        (&from.path, &to.path),
        (&from.name, &to.describe()),
    )
}

fn report(
    app: &App,
    is_move: bool,
    (from, to): (&SecretPath, &SecretPath),
    described: (&str, &str),
) -> Result<(), CommandError> {
    let done = if is_move { "moved" } else { "copied" };
    if app.ui.is_json {
        return app.ui.print_json(&json!({
            "version": 1,
            "done": done,
            "from": from.as_str(),
            "to": to.as_str(),
        }));
    }
    app.ui
        .say(&format!("{done} {} to {}", described.0, described.1));
    Ok(())
}
