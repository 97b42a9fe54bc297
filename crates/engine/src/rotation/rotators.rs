//! Rotators that an administrator has registered.

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::Precondition;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;

use crate::error::Error;
use crate::state;
use crate::state::Found;
use crate::state::Kind;
use crate::state::Put;
use crate::state::Shelf;
use crate::state::State;
use crate::state::Stored;
use crate::tokens::random_text;

/// Most of them.
const ROTATORS_MAX: usize = 1000;
/// Characters of a key that requests to an endpoint are signed with: 256 bits.
const KEY_CHARS: usize = 43;

/// A rotator by its name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Registered {
    /// What it does.
    pub kind: RegisteredKind,
    /// When it was registered.
    pub created: Timestamp,
}

/// What a registered rotator does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum RegisteredKind {
    /// Draws values.
    Generate {
        /// The generator, as in a manifest, as JSON.
        spec: String,
        /// The field of a JSON object that changes.
        field: Option<String>,
    },
    /// Sends the events that a rotation function of AWS gets.
    Endpoint {
        /// Where to.
        url: String,
        /// What requests are signed with.
        #[serde(with = "crate::access_keys::kept")]
        key: SecretValue,
        /// Longest time of a step.
        timeout_seconds: u32,
        /// Certificates (PEM) that the endpoint's is checked by, in the place of the system's.
        ca: Option<String>,
    },
    /// What a declaration says.
    Declared {
        /// As in a manifest, as JSON.
        spec: String,
    },
}

impl Stored for Registered {
    const KIND: Kind = Kind::Rotator;
}

impl State {
    /// A rotator by its name.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn rotator(&self, name: &str) -> Result<Option<Found<Registered>>, Error> {
        self.load(name).await
    }

    /// All registered rotators, sorted by name.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn rotators(&self) -> Result<Vec<(String, Found<Registered>)>, Error> {
        self.all(Shelf::Kind).await
    }

    /// A new key for an endpoint.
    #[must_use]
    pub fn new_endpoint_key(&self) -> SecretValue {
        SecretValue::from_text(random_text(self.barrier().rng(), KEY_CHARS))
    }

    /// Registers a rotator, or changes one.
    ///
    /// # Errors
    /// `LimitExceeded`, storage errors.
    pub async fn put_rotator(&self, name: &str, rotator: &Registered) -> Result<(), Error> {
        let known = self.ids::<Registered>(Shelf::Kind).await?;
        let id = self.id_of::<Registered>(name);
        if known.len() >= ROTATORS_MAX && !known.contains(&id) {
            return Err(Error::LimitExceeded {
                what: "the number of rotators".into(),
                limit: ROTATORS_MAX.to_string(),
            });
        }
        self.write(vec![self.put(&Put::named(name, Shelf::Kind), rotator)])
            .await
    }

    /// Forgets a rotator. False when it is not there.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn remove_rotator(&self, name: &str) -> Result<bool, Error> {
        let id = self.id_of::<Registered>(name);
        self.commit(vec![state::delete(id, Precondition::Exists)])
            .await
    }
}
