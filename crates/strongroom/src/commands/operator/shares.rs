//! Opening a store that only unseal shares open, without a server.

use strongroom_core::secret::SecretValue;
use strongroom_crypto::header::Header;
use strongroom_crypto::header::Unsealed;
use strongroom_crypto::shamir;
use strongroom_crypto::shamir::UnsealShare;
use strongroom_crypto::slot::KeySlot;
use strongroom_crypto::slot::SlotKind;

use crate::app::App;
use crate::error::CommandError;
use crate::error::Kind;
use crate::input::ValueSource;
use crate::session;

/// The keys of a store: by what opens it without a person, or a passphrase; by unseal shares where
/// nothing else can.
pub(super) fn unseal(app: &App, header: &Header) -> Result<Unsealed, CommandError> {
    let slots = header.slots();
    let of_shares = |slot: &&KeySlot| matches!(slot.kind, SlotKind::Shamir { .. });
    let slot = slots.iter().find(of_shares);
    let (Some(slot), true) = (slot, slots.iter().all(|slot| of_shares(&slot))) else {
        return Ok(session::unseal(app, header)?.0);
    };
    let SlotKind::Shamir { threshold, .. } = slot.kind else {
        return Ok(session::unseal(app, header)?.0);
    };
    let shares = read(app, threshold)?;
    let locked = |message: String| {
        CommandError::new(Kind::Locked, "store.locked", message).hint(format!(
            "{threshold} different shares of this store open it, one a line on standard input"
        ))
    };
    let whole = shamir::combine(&shares).map_err(|error| locked(error.to_string()))?;
    let whole = SecretValue::copy_from(&whole);
    let opened = header.unseal(slot.id, &whole);
    opened.map_err(|_| locked("these unseal shares do not open the store".into()))
}

/// So many shares, from a person, or one a line.
fn read(app: &App, threshold: u8) -> Result<Vec<UnsealShare>, CommandError> {
    let given: Vec<SecretValue> = match ValueSource::parse(None)? {
        ValueSource::Prompt => (1..=threshold)
            .map(|number| {
                let question = format!("Unseal share {number} of {threshold}");
                app.ui.ask_secret(&question, false)
            })
            .collect::<Result<_, _>>()?,
        source => {
            let text = source.read(app, "unseal shares", true)?;
            // EXPOSE: cut into lines, each of which is a share.
            let lines = text.expose_secret().split(|byte| *byte == b'\n');
            let lines = lines.map(<[u8]>::trim_ascii);
            let lines = lines.filter(|line| !line.is_empty());
            lines.map(SecretValue::copy_from).collect()
        }
    };
    let parsed = (1..).zip(&given).map(|(number, share)| {
        UnsealShare::parse(share).map_err(|_| {
            CommandError::usage(format!("share {number} is no unseal share"))
                .hint("one share a line, as they were shown when they were made")
        })
    });
    parsed.take(threshold.into()).collect()
}
