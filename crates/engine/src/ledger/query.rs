//! What the ledger answers.

use strongroom_core::path::SecretPath;
use strongroom_core::port::RecordId;
use strongroom_core::version::VersionState;

use super::Channel;
use super::Delivery;
use super::ENTERED;
use super::Exposure;
use super::Ledger;
use super::Sight;
use crate::error::Error;
use crate::folder::PAGE;
use crate::secrets::Engine;
use crate::state::Found;
use crate::state::Pages;
use crate::state::Shelf;

/// How it stands with a value that was given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the secret's current value.
    Current,
    /// The secret has another value now, or is gone.
    Replaced,
    /// The secret is kept elsewhere, and was not given since with another value.
    Unknown,
}

impl Standing {
    /// The word in tables and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Replaced => "replaced",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the value may still open something.
    #[must_use]
    pub fn may_be_in_use(self) -> bool {
        self != Self::Replaced
    }
}

/// Which deliveries are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this person.
    pub who: Option<String>,
    /// By this channel.
    pub channel: Option<Channel>,
}

impl Ledger {
    /// The newest deliveries, newest first, at most `limit`, with their ids.
    ///
    /// # Errors
    /// As `enter`.
    pub async fn newest(
        &self,
        wanted: &Wanted,
        limit: usize,
    ) -> Result<Vec<([u8; 16], Delivery)>, Error> {
        self.enter().await?;
        let mut found = Vec::new();
        let mut pages = Pages::new(self.state.shelf_of::<Delivery>(Shelf::Of(ENTERED)));
        while let Some(page) = pages.next(&**self.state.storage()).await? {
            for record in &page {
                if found.len() >= limit {
                    return Ok(found);
                }
                let delivery = self.state.open::<Delivery>(record)?.value;
                let is_wanted = wanted
                    .who
                    .as_ref()
                    .is_none_or(|who| super::person(who) == super::person(&delivery.who))
                    && wanted.channel.is_none_or(|one| one == delivery.channel);
                if is_wanted {
                    found.push((record.id.0, delivery));
                }
            }
        }
        Ok(found)
    }

    /// A delivery by its id.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn delivery(&self, id: [u8; 16]) -> Result<Option<Delivery>, Error> {
        let Some(record) = self.state.storage().get(RecordId(id)).await? else {
            return Ok(None);
        };
        // Another record may have this id, which is then no delivery's.
        match self.state.label(&record) {
            Some((crate::state::Kind::Delivery, _)) => {
                Ok(Some(self.state.open::<Delivery>(&record)?.value))
            }
            _ => Ok(None),
        }
    }

    /// Where a secret's values went, the last one first.
    ///
    /// # Errors
    /// As `enter`.
    pub async fn of_secret(&self, secret: &str) -> Result<Vec<Found<Exposure>>, Error> {
        self.enter().await?;
        let mut found = Vec::new();
        let mut pages = Pages::new(self.state.shelf_of::<Exposure>(Shelf::Of(secret)));
        while let Some(page) = pages.next(&**self.state.storage()).await? {
            for record in &page {
                found.push(self.state.open::<Exposure>(record)?);
            }
        }
        found.sort_by(|a, b| b.value.last.cmp(&a.value.last).then(a.id.cmp(&b.id)));
        Ok(found)
    }

    /// What a person was given, the last first; `ann` is also `ann (uid 1000)`.
    ///
    /// # Errors
    /// As `enter`.
    pub async fn of_person(&self, who: &str) -> Result<Vec<Found<Exposure>>, Error> {
        self.enter().await?;
        let mut ids = Vec::new();
        let mut pages = Pages::new(self.state.shelf_of::<Sight>(Shelf::Of(super::person(who))));
        while let Some(page) = pages.next(&**self.state.storage()).await? {
            for record in &page {
                ids.push(RecordId(self.state.open::<Sight>(record)?.value.exposure));
            }
        }
        let mut found = Vec::with_capacity(ids.len());
        for piece in ids.chunks(PAGE) {
            let records = self.state.storage().get_many(piece).await?;
            for record in records.iter().flatten() {
                found.push(self.state.open::<Exposure>(record)?);
            }
        }
        found.sort_by(|a, b| b.value.last.cmp(&a.value.last).then(a.id.cmp(&b.id)));
        Ok(found)
    }

    /// What a delivery gave, as it stands now.
    ///
    /// # Errors
    /// As `enter`.
    pub async fn of_delivery(&self, delivery: &Delivery) -> Result<Vec<Found<Exposure>>, Error> {
        self.enter().await?;
        let mut found = Vec::new();
        for (given, _) in &delivery.items {
            let of_secret = self.of_secret(&given.secret).await?;
            found.extend(of_secret.into_iter().filter(|known| {
                let known = &known.value;
                known.given == *given
                    && known.who == delivery.who
                    && known.channel == delivery.channel
                    && known.to == delivery.to
            }));
        }
        Ok(found)
    }

    /// Whether a value is still the current one. `engine` has the secrets of its source, where
    /// that is this store.
    ///
    /// # Errors
    /// As `enter`, and when the secret cannot be read.
    pub async fn standing(
        &self,
        engine: Option<&Engine>,
        secret: &str,
        source: &str,
        fingerprint: [u8; 16],
    ) -> Result<Standing, Error> {
        let Some((engine, path)) = engine.zip(secret.parse::<SecretPath>().ok()) else {
            return self.standing_elsewhere(secret, source, fingerprint).await;
        };
        let newest = match engine.describe(&path).await {
            Ok(described) => described.versions.into_iter().last(),
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let is_current = newest.is_some_and(|newest| {
            newest.fingerprint == fingerprint && newest.state != VersionState::Destroyed
        });
        Ok(match is_current {
            true => Standing::Current,
            false => Standing::Replaced,
        })
    }

    /// What is kept elsewhere is known by what was given of it since.
    async fn standing_elsewhere(
        &self,
        secret: &str,
        source: &str,
        fingerprint: [u8; 16],
    ) -> Result<Standing, Error> {
        let known = self.of_secret(secret).await?;
        let mut known = known.iter().filter(|one| one.value.given.source == source);
        Ok(match known.next() {
            Some(last) if last.value.given.fingerprint != fingerprint => Standing::Replaced,
            _ => Standing::Unknown,
        })
    }
}
