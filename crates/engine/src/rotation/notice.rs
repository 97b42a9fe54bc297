//! Notices: what somebody is to be told of, kept until it was told.
//!
//! A notice is made once for each of its keys: whoever makes it again changes nothing. It is kept
//! for two days after it was told, so that it is not made again.

use serde::Deserialize;
use serde::Serialize;
use strongroom_core::port::Precondition;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;

use crate::error::Error;
use crate::state;
use crate::state::Found;
use crate::state::Kind;
use crate::state::Put;
use crate::state::Shelf;
use crate::state::State;
use crate::state::Stored;

/// How long after a failure a notice is told again, in seconds; after the last one it is dropped.
const RETRY_SECONDS: [i64; 8] = [10, 60, 300, 1800, 7200, 28_800, 86_400, 86_400];
/// How long a notice that was told is remembered.
const REMEMBERED: Span = Span::from_seconds(2 * 86_400);
/// Most webhooks, and most that get mail.
const TARGETS_MAX: usize = 100;

/// Something that somebody is to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What makes it this one.
    pub key: String,
    /// The webhook.
    pub to: String,
    /// What it is told: JSON, without values.
    pub body: String,
    /// When it was made.
    pub made: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// Whether it was told.
    pub is_told: bool,
}

/// Where notices are sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Webhook {
    /// Where to.
    pub url: String,
    /// What requests are signed with.
    #[serde(with = "crate::access_keys::kept")]
    pub key: SecretValue,
    /// Certificates (PEM) that its own is checked by, in the place of the system's.
    pub ca: Option<String>,
    /// When it was registered.
    pub created: Timestamp,
}

/// Who gets notices by mail, and through which server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailTarget {
    /// The server: `smtps://HOST` (TLS from the start) or `smtp://HOST` (STARTTLS).
    pub server: String,
    /// Who writes.
    pub from: String,
    /// Who is written to.
    pub to: Vec<String>,
    /// The secret with the name and the password for the server.
    pub credentials: Option<String>,
    /// Certificates (PEM) that the server's is checked by, in the place of the system's.
    pub ca: Option<String>,
    /// When it was registered.
    pub created: Timestamp,
}

/// What to do with a notice that is due.
#[derive(Debug)]
pub enum Turn {
    /// Tell it.
    Tell(Box<Found<Notice>>),
    /// It was tried too often and is dropped.
    Dropped(Box<Notice>),
    /// Nothing: somebody else has it, or it was forgotten.
    None,
}

impl Stored for Notice {
    const KIND: Kind = Kind::Notice;
}

impl Stored for MailTarget {
    const KIND: Kind = Kind::MailTarget;
}

impl Stored for Webhook {
    const KIND: Kind = Kind::Webhook;
}

impl Notice {
    fn name(&self) -> String {
        format!("{}\0{}", self.to, self.key)
    }
}

impl State {
    /// Makes a notice. False when it was made before.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn add_notice(&self, notice: &Notice) -> Result<bool, Error> {
        self.put_notice(notice, Precondition::Absent, notice.made)
            .await
    }

    /// The ids of the notices that are due.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn due_notices(&self, now: Timestamp) -> Result<Vec<Found<Notice>>, Error> {
        let due = self.due(Kind::Notice, now).await?;
        due.iter().map(|(record, _)| self.open(record)).collect()
    }

    /// Takes a notice that is due: it is noted that it is tried before it is.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn take_notice(&self, found: Found<Notice>, now: Timestamp) -> Result<Turn, Error> {
        let unchanged = found.unchanged();
        let place = usize::try_from(found.value.attempts).unwrap_or(usize::MAX);
        let wait = RETRY_SECONDS.get(place).filter(|_| !found.value.is_told);
        let Some(wait) = wait else {
            let is_gone = self
                .commit(vec![state::delete(found.id, unchanged)])
                .await?;
            return Ok(match is_gone && !found.value.is_told {
                true => Turn::Dropped(Box::new(found.value)),
                false => Turn::None,
            });
        };
        let mut notice = found.value;
        notice.attempts += 1;
        let again = now.plus(Span::from_seconds(*wait));
        match self.put_notice(&notice, unchanged, again).await? {
            true => {
                let taken = self.load::<Notice>(&notice.name()).await?;
                Ok(taken.map_or(Turn::None, |found| Turn::Tell(Box::new(found))))
            }
            false => Ok(Turn::None),
        }
    }

    /// Notes that a notice was told.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn told_notice(&self, found: Found<Notice>, now: Timestamp) -> Result<(), Error> {
        let unchanged = found.unchanged();
        let notice = Notice {
            is_told: true,
            ..found.value
        };
        // Where somebody was faster it is told once more, at worst.
        let forgotten = now.plus(REMEMBERED);
        self.put_notice(&notice, unchanged, forgotten)
            .await
            .map(drop)
    }

    async fn put_notice(
        &self,
        notice: &Notice,
        precondition: Precondition,
        due: Timestamp,
    ) -> Result<bool, Error> {
        let put = Put {
            name: &notice.name(),
            shown: &notice.key,
            shelf: Shelf::Kind,
            due_at: Some(due),
            precondition,
        };
        self.commit(vec![self.put(&put, notice)]).await
    }

    /// All webhooks, sorted by name.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn webhooks(&self) -> Result<Vec<(String, Found<Webhook>)>, Error> {
        self.all(Shelf::Kind).await
    }

    /// A webhook by its name.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn webhook(&self, name: &str) -> Result<Option<Found<Webhook>>, Error> {
        self.load(name).await
    }

    /// Registers a webhook, or changes one.
    ///
    /// # Errors
    /// `LimitExceeded`, storage errors.
    pub async fn put_webhook(&self, name: &str, webhook: &Webhook) -> Result<(), Error> {
        self.put_target(name, webhook, "the number of webhooks")
            .await
    }

    async fn put_target<T: Stored>(&self, name: &str, target: &T, what: &str) -> Result<(), Error> {
        let known = self.ids::<T>(Shelf::Kind).await?;
        let id = self.id_of::<T>(name);
        if known.len() >= TARGETS_MAX && !known.contains(&id) {
            return Err(Error::LimitExceeded {
                what: what.into(),
                limit: TARGETS_MAX.to_string(),
            });
        }
        let put = Put::named(name, Shelf::Kind);
        self.write(vec![self.put(&put, target)]).await
    }

    /// All that get notices by mail, sorted by name.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn mail_targets(&self) -> Result<Vec<(String, Found<MailTarget>)>, Error> {
        self.all(Shelf::Kind).await
    }

    /// Who gets notices by mail, by its name.
    ///
    /// # Errors
    /// `Damaged`, storage errors.
    pub async fn mail_target(&self, name: &str) -> Result<Option<Found<MailTarget>>, Error> {
        self.load(name).await
    }

    /// Registers who gets notices by mail, or changes it.
    ///
    /// # Errors
    /// `LimitExceeded`, storage errors.
    pub async fn put_mail_target(&self, name: &str, target: &MailTarget) -> Result<(), Error> {
        self.put_target(name, target, "the number of mail targets")
            .await
    }

    /// Forgets who gets notices by mail. False when it is not there.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn remove_mail_target(&self, name: &str) -> Result<bool, Error> {
        let id = self.id_of::<MailTarget>(name);
        self.commit(vec![state::delete(id, Precondition::Exists)])
            .await
    }

    /// Forgets a webhook. False when it is not there.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn remove_webhook(&self, name: &str) -> Result<bool, Error> {
        let id = self.id_of::<Webhook>(name);
        self.commit(vec![state::delete(id, Precondition::Exists)])
            .await
    }
}
