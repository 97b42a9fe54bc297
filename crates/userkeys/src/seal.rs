//! What a sealed value looks like, and which row it belongs to.

use strongroom_core::port::RecordId;
use strongroom_core::secret::SecretValue;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::barrier::Field;
use strongroom_crypto::barrier::OVERHEAD_BYTES;

use crate::error::UserKeysError;
use crate::pgcrypto;
use crate::table::Attachment;

/// The kind of record that rows are, beside those of the store.
const KIND: u8 = 64;
/// What every sealed value begins with. No OpenPGP message does: those have the upper bit.
pub(crate) const SEALED: u8 = 1;
/// The first bytes of a sealed value: its form and the number of its data key.
pub(crate) const HEADER_BYTES: usize = 5;

/// Seals and opens the values of one table.
#[derive(Clone)]
pub(crate) struct Sealer {
    barrier: Barrier,
    table: String,
}

/// What stands in an encrypted column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Sealed by Strongroom, under this data key.
    Sealed(u32),
    /// Encrypted by pgcrypto.
    Pgcrypto,
    /// In the plain column.
    Plain,
    /// Nobody knows.
    Unknown,
}

impl Form {
    pub(crate) fn of(encrypted: &[u8]) -> Self {
        match Barrier::key_of(encrypted) {
            Some(key) if encrypted.len() >= OVERHEAD_BYTES => Self::Sealed(key),
            _ if pgcrypto::is_meant_by(encrypted) => Self::Pgcrypto,
            _ => Self::Unknown,
        }
    }

    /// The word in tables and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Sealed(_) => "sealed",
            Self::Pgcrypto => "pgcrypto",
            Self::Plain => "plain",
            Self::Unknown => "unknown",
        }
    }
}

impl Sealer {
    pub(crate) fn new(barrier: Barrier, attachment: &Attachment) -> Self {
        Self {
            barrier,
            table: attachment.name(),
        }
    }

    /// Says which store a table belongs to, to those who have its keys.
    pub(crate) fn mark(barrier: &Barrier, attachment: &Attachment) -> Vec<u8> {
        let name = attachment.name();
        barrier.check_tag(&[b"userkeys", name.as_bytes()]).to_vec()
    }

    /// A row: its table, user and name, each with its length, so that no two rows are alike.
    fn row(&self, user: &str, name: &str) -> RecordId {
        let (table, lengths) = (&self.table, (self.table.len(), user.len()));
        let text = format!("{}:{}:{table}{user}{name}", lengths.0, lengths.1);
        self.barrier.record_id(KIND, &text)
    }

    pub(crate) fn seal(&self, user: &str, name: &str, value: &SecretValue) -> Vec<u8> {
        let row = self.row(user, name);
        // EXPOSE: goes into the cipher.
        self.barrier.seal(row, Field::Value, value.expose_secret())
    }

    pub(crate) fn open(
        &self,
        user: &str,
        name: &str,
        sealed: &[u8],
    ) -> Result<SecretValue, UserKeysError> {
        let row = self.row(user, name);
        match self.barrier.open(row, Field::Value, sealed) {
            Ok(value) => Ok(SecretValue::copy_from(&value)),
            Err(_) => Err(self.refused(user, name, sealed)),
        }
    }

    fn refused(&self, user: &str, name: &str, sealed: &[u8]) -> UserKeysError {
        let (user, name) = (user.to_owned(), name.to_owned());
        match Barrier::key_of(sealed) {
            Some(key) if key > self.active() => UserKeysError::UnknownKey { user, name, key },
            _ => UserKeysError::Damaged { user, name },
        }
    }

    /// The data key that new values are sealed under.
    pub(crate) fn active(&self) -> u32 {
        let sealed = self.barrier.seal(RecordId([0; 16]), Field::Value, b"");
        Barrier::key_of(&sealed).unwrap_or(0)
    }

    /// What values sealed now begin with.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut header = vec![SEALED];
        header.extend_from_slice(&self.active().to_le_bytes());
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Columns;
    use crate::table::Settings;
    use strongroom_core::time::Timestamp;
    use strongroom_crypto::SystemRng;
    use strongroom_crypto::keyring::Keyring;

    fn attachment(table: &str) -> Attachment {
        let column = str::to_owned;
        Attachment {
            schema: "public".into(),
            table: table.into(),
            settings: Settings {
                columns: Columns {
                    user: column("u"),
                    name: column("k"),
                    plain: column("p"),
                    encrypted: column("e"),
                },
                has_flat_names: false,
                pgcrypto_keys: Vec::new(),
            },
            types: ("text".into(), "text".into()),
            updated: None,
            made_encrypted: true,
            plain_was_required: true,
            is_leaving: false,
        }
    }

    #[test]
    fn a_value_opens_in_its_own_row_only() {
        let keyring = Keyring::generate(&SystemRng, Timestamp::from_micros(0));
        let barrier = Barrier::new([1; 16], &keyring);
        let sealer = Sealer::new(barrier.clone(), &attachment("t"));
        let value = SecretValue::copy_from(b"sk-1");
        let sealed = sealer.seal("ab", "c", &value);
        assert_eq!(Form::of(&sealed), Form::Sealed(1));
        assert_eq!(sealed[..HEADER_BYTES], sealer.header());
        assert!(sealer.open("ab", "c", &sealed).unwrap().ct_eq(&value));
        for (user, name) in [("a", "bc"), ("ab", "d"), ("b", "c"), ("c", "ab")] {
            assert!(sealer.open(user, name, &sealed).is_err(), "{user} {name}");
        }
        let elsewhere = Sealer::new(barrier, &attachment("u"));
        assert!(elsewhere.open("ab", "c", &sealed).is_err());
    }

    #[test]
    fn a_newer_data_key_is_told_from_damage() {
        let mut keyring = Keyring::generate(&SystemRng, Timestamp::from_micros(0));
        let old = Sealer::new(Barrier::new([1; 16], &keyring), &attachment("t"));
        keyring.rotate(&SystemRng, Timestamp::from_micros(1));
        let new = Sealer::new(Barrier::new([1; 16], &keyring), &attachment("t"));
        let sealed = new.seal("u", "k", &SecretValue::copy_from(b"v"));
        let error = old.open("u", "k", &sealed).unwrap_err();
        assert!(matches!(error, UserKeysError::UnknownKey { key: 2, .. }));
        let error = old.open("u", "l", &old.seal("u", "k", &SecretValue::copy_from(b"v")));
        assert!(matches!(error, Err(UserKeysError::Damaged { .. })));
    }
}
