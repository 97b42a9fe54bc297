//! What commands write into the ledger of the store: who was given which secrets.

use strongroom_core::port::Durability;
use strongroom_core::registry::Delivery as Target;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::barrier::Barrier;
use strongroom_engine::ledger::Channel;
use strongroom_engine::ledger::Delivery;
use strongroom_engine::ledger::Given;
use strongroom_engine::ledger::Ledger;
use strongroom_engine::resolve::Resolved;
use strongroom_engine::state::State;

use crate::app::App;
use crate::project::Project;
use crate::runtime::wait;
use crate::session::Session;

/// Longest text that says where something went, in characters.
const PLACE_CHARS_MAX: usize = 200;

/// The ledger of the store.
pub(crate) fn of(session: &Session) -> Ledger {
    let state = State::new(session.storage.clone() as _, session.barrier.clone());
    Ledger::new(state)
}

/// A version of a secret that is about to be given.
pub(crate) fn given(
    barrier: &Barrier,
    secret: &str,
    source: &str,
    version: Option<String>,
    value: &SecretValue,
) -> Given {
    Given {
        secret: secret.to_owned(),
        source: source.to_owned(),
        version,
        fingerprint: barrier.fingerprint(value),
    }
}

/// A declared secret as it was resolved; nothing for what has no value, or is in the manifest.
pub(crate) fn given_of(
    session: &Session,
    project: &Project,
    resolved: &Resolved<'_>,
) -> Option<Given> {
    let of = (&project.manifest, project.profile.name.as_str());
    Given::resolved(&session.barrier, of, resolved)
}

/// Whether a command that is run with a secret receives it.
pub(crate) fn is_delivered(resolved: &Resolved<'_>) -> bool {
    resolved.declaration.delivery != Target::None
}

/// Writes a delivery down before it is made. What cannot be written is told, and the delivery is
/// made: a store that takes no writes is still read.
pub(crate) fn note(app: &App, session: &Session, channel: Channel, to: &str, items: Vec<Given>) {
    if items.is_empty() {
        return;
    }
    let delivery = Delivery {
        at: app.now(),
        who: session.context.actor.clone(),
        channel,
        to: to.chars().take(PLACE_CHARS_MAX).collect(),
        request_id: session.context.request_id.clone(),
        items: items.into_iter().map(|given| (given, 1)).collect(),
        is_repeat: false,
    };
    // As for the audit record of a read: a power cut may take it, a killed process does not.
    if let Err(error) = wait(of(session).note(&delivery, Durability::Relaxed)) {
        app.ui.warn(&format!(
            "warning: the ledger does not know of this delivery: {error}"
        ));
    }
}
