//! The ledger: which version of which secret was given to whom, where and when. Never a value:
//! a keyed fingerprint says which one it was.
//!
//! A delivery is one record, however many secrets it gives, so that whoever gives pays one write.
//! It waits on a shelf until somebody asks the ledger something. Then it is entered: it moves to
//! the log, and what it gave is added to the *exposures*, of which there is one for each version
//! of a secret, place and person. These are shelved by secret and pointed to by person: "where is
//! this value" and "what did this person see" read what they answer, and no more. Each delivery is
//! entered once, whoever asks first; two that ask at once are kept apart by preconditions.

mod consumers;
mod enter;
mod query;
mod resolved;
mod revoke;

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::BatchItem;
use strongroom_core::port::Durability;
use strongroom_core::port::RecordId;
use strongroom_core::time::Timestamp;

pub use consumers::Consumer;
pub use consumers::Progress;
pub use consumers::Reader;
pub use consumers::consumers_of;
pub use query::Standing;
pub use query::Wanted;
pub use revoke::Mark;

use crate::error::Error;
use crate::state::Kind;
use crate::state::Put;
use crate::state::Shelf;
use crate::state::State;
use crate::state::Stored;

/// Secrets in one delivery; of more, several are made.
pub const ITEMS_MAX: usize = 512;
/// The shelf of deliveries that were not entered yet.
const WAITING: &str = "waiting";
/// The shelf of those that were.
const ENTERED: &str = "entered";

/// How a secret left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Channel {
    /// A command was started with it.
    Run,
    /// It was shown.
    Reveal,
    /// It was printed or written for another program.
    Export,
    /// It went out in a bundle.
    Bundle,
    /// It was written into another manager, to stay the same there.
    Sync,
    /// It was moved to another manager.
    Migrate,
    /// It is in a backup.
    Backup,
    /// A service of an installed application was started with it.
    Supervise,
    /// It was read from a server.
    Server,
    /// A lease was given for it.
    Lease,
    /// An application fetched it with the library.
    Sdk,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Run,
        Self::Reveal,
        Self::Export,
        Self::Bundle,
        Self::Sync,
        Self::Migrate,
        Self::Backup,
        Self::Supervise,
        Self::Server,
        Self::Lease,
        Self::Sdk,
    ];

    /// The word in tables and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Reveal => "reveal",
            Self::Export => "export",
            Self::Bundle => "bundle",
            Self::Sync => "sync",
            Self::Migrate => "migrate",
            Self::Backup => "backup",
            Self::Supervise => "supervise",
            Self::Server => "server",
            Self::Lease => "lease",
            Self::Sdk => "sdk",
        }
    }

    /// The channel of a word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.word() == word)
    }
}

/// The fingerprint of a reference: whoever has it fetches whatever value there is.
pub const NO_VALUE: [u8; 16] = [0; 16];

/// A version of a secret that was given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Given {
    /// Its path in the store; where it is kept elsewhere, the path it would have, or its address.
    pub secret: String,
    /// The backend it came from, e.g. `store`.
    pub source: String,
    /// The backend's name for the version.
    pub version: Option<String>,
    /// Keyed hash of the value.
    pub fingerprint: [u8; 16],
}

impl Given {
    /// A reference that whoever has it fetches a secret with. Its source is not that of values, so
    /// that no other value takes its place: it opens each.
    #[must_use]
    pub fn reference(path: &str, kind: &str) -> Self {
        Self {
            secret: path.to_owned(),
            source: format!("reference to {kind}"),
            version: None,
            fingerprint: NO_VALUE,
        }
    }
}

/// Secrets were given to somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// When.
    pub at: Timestamp,
    /// Who had it done: a user of the operating system, or who a token is for.
    pub who: String,
    /// How.
    pub channel: Channel,
    /// Where to, in words: a program, a file, another manager.
    pub to: String,
    /// Joins it with the audit log.
    pub request_id: String,
    /// What was given, and how often.
    pub items: Vec<(Given, u64)>,
    /// Since the beginning of the one before, the same was given to the same: only the counts
    /// are new.
    pub is_repeat: bool,
}

impl Stored for Delivery {
    const KIND: Kind = Kind::Delivery;
}

/// A version of a secret that somebody was given, once or again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposure {
    /// What.
    pub given: Given,
    /// To whom.
    pub who: String,
    /// How.
    pub channel: Channel,
    /// Where to.
    pub to: String,
    /// When it was given first.
    pub first: Timestamp,
    /// When it was given last.
    pub last: Timestamp,
    /// How often.
    pub count: u64,
    /// The last delivery that is in the log.
    pub delivery: Option<[u8; 16]>,
    /// Since when, and by whom, it is revoked. That stays.
    pub revoked: Option<(Timestamp, String)>,
}

impl Stored for Exposure {
    const KIND: Kind = Kind::Exposure;
}

/// From a person to an exposure.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sight {
    exposure: [u8; 16],
}

impl Stored for Sight {
    const KIND: Kind = Kind::Sight;
}

/// The ledger of a store.
#[derive(Clone)]
pub struct Ledger {
    state: State,
}

impl Ledger {
    /// The ledger that lies with a state.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self { state }
    }

    /// Keyed hash of a value, as [`Given`] has it.
    #[must_use]
    pub fn fingerprint(&self, value: &strongroom_core::secret::SecretValue) -> [u8; 16] {
        self.state.barrier().fingerprint(value)
    }

    /// Writes a delivery down, in one commit. Without `Durable` this does not wait for the disk:
    /// a power cut may take it, a killed process does not.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn note(&self, delivery: &Delivery, durability: Durability) -> Result<(), Error> {
        self.note_all(std::slice::from_ref(delivery), durability)
            .await
    }

    /// As `note`, for several.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn note_all(
        &self,
        deliveries: &[Delivery],
        durability: Durability,
    ) -> Result<(), Error> {
        let items: Vec<BatchItem> = deliveries.iter().flat_map(|one| self.notes(one)).collect();
        if !items.is_empty() {
            self.state.storage().commit(items, durability).await?;
        }
        Ok(())
    }

    /// What writes a delivery down, to be part of a commit.
    #[must_use]
    pub fn notes(&self, delivery: &Delivery) -> Vec<BatchItem> {
        let pieces = delivery.items.chunks(ITEMS_MAX);
        pieces
            .map(|items| {
                let piece = Delivery {
                    items: items.to_vec(),
                    ..delivery.clone()
                };
                let put = Put {
                    name: "",
                    shown: "",
                    ..Put::named("", Shelf::Of(WAITING))
                };
                let id = self.new_id(delivery.at);
                self.state.put_by_id(id, &put, &piece)
            })
            .collect()
    }

    /// The newest come first in a list.
    fn new_id(&self, at: Timestamp) -> RecordId {
        let mut id = [0; 16];
        self.state.barrier().rng().fill(&mut id[8..]);
        id[..8].copy_from_slice(&(i64::MAX.saturating_sub(at.as_micros())).to_be_bytes());
        RecordId(id)
    }
}

/// The person's name in what names a user of the system: `ann (uid 1000)` is ann.
#[must_use]
pub fn person(who: &str) -> &str {
    match who.split_once(" (uid ") {
        Some((name, _)) if !name.is_empty() => name,
        _ => who,
    }
}

/// A record's id as people write it.
#[must_use]
pub fn id_text(id: [u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The id that people write.
#[must_use]
pub fn parse_id(text: &str) -> Option<[u8; 16]> {
    let digits = text.as_bytes();
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}
