//! Reading what pgcrypto's `pgp_sym_encrypt` wrote: OpenPGP messages under a password.
//!
//! Decrypted on this side, never by the database: a key that is a parameter of a statement stands
//! in its log as soon as `log_statement` is on.

use std::io::Read;

use pgp::armor::Dearmor;
use pgp::composed::PlainSessionKey;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::CompressedData;
use pgp::packet::LiteralData;
use pgp::packet::PacketHeader;
use pgp::packet::SymEncryptedData;
use pgp::packet::SymEncryptedProtectedData;
use pgp::packet::SymEncryptedProtectedDataConfig;
use pgp::packet::SymKeyEncryptedSessionKey;
use pgp::types::PacketLength;
use pgp::types::Seipdv1ReadMode;
use pgp::types::Tag;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroizing;

/// Longest plaintext: what is compressed may unfold to anything.
const PLAIN_BYTES_MAX: u64 = 1024 * 1024;
/// Packets in packets.
const DEPTH_MAX: usize = 4;
/// Bytes of a message's first block that come again behind it.
const REPEATED_BYTES: usize = 2;
/// Modes of literals that pgcrypto writes: binary, text, text in UTF-8.
const MODES: &[u8] = b"btu";
/// What armoured messages begin with.
pub(crate) const ARMOUR: &[u8] = b"-----BEGIN PGP";

/// Why a row of pgcrypto's cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PgcryptoError {
    /// No key was given.
    #[error("no key for it is known")]
    NoKey,
    /// None of the keys fits, or the row was changed.
    #[error("none of {tried} known keys opens it, or it was changed")]
    WrongKey {
        /// How many were tried.
        tried: usize,
    },
    /// It is encrypted to a public key.
    #[error("it is encrypted to a public key, not with a password")]
    PublicKey,
    /// It is no OpenPGP message, or cut short.
    #[error("it is no whole OpenPGP message")]
    Malformed,
    /// It unfolds to more than a key can be.
    #[error("it is longer than {PLAIN_BYTES_MAX} bytes")]
    TooLong,
}

/// Whether bytes look like something of pgcrypto's.
pub(crate) fn is_meant_by(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 0x80 != 0) || bytes.starts_with(ARMOUR)
}

/// The plaintext of a message under one of several keys.
///
/// # Errors
/// When it is none of pgcrypto's, or no key opens it.
pub fn decrypt(message: &[u8], keys: &[SecretValue]) -> Result<SecretValue, PgcryptoError> {
    let parts = Parts::read(message)?;
    if keys.is_empty() {
        return Err(PgcryptoError::NoKey);
    }
    let mut worst = PgcryptoError::WrongKey { tried: keys.len() };
    for key in keys {
        match parts.open(key) {
            Ok(value) => return Ok(value),
            Err(PgcryptoError::TooLong) => worst = PgcryptoError::TooLong,
            Err(_) => {}
        }
    }
    Err(worst)
}

struct Parts {
    session_key: SymKeyEncryptedSessionKey,
    body: Body,
}

enum Body {
    /// With a hash of the plaintext.
    Protected(SymEncryptedProtectedData),
    /// Without (`disable-mdc=1`).
    Bare(SymEncryptedData),
}

impl Parts {
    fn read(message: &[u8]) -> Result<Self, PgcryptoError> {
        let mut bytes = Vec::new();
        let mut rest = message;
        if message.starts_with(ARMOUR) {
            let limit = message.len() as u64;
            let mut armour = Dearmor::new(message).take(limit);
            armour
                .read_to_end(&mut bytes)
                .map_err(|_| PgcryptoError::Malformed)?;
            rest = &bytes;
        }
        let (header, body) = next_packet(&mut rest)?;
        match header.tag() {
            Tag::SymKeyEncryptedSessionKey => {}
            Tag::PublicKeyEncryptedSessionKey => return Err(PgcryptoError::PublicKey),
            _ => return Err(PgcryptoError::Malformed),
        }
        let malformed = |_| PgcryptoError::Malformed;
        let session_key = SymKeyEncryptedSessionKey::try_from_reader(header, body.as_slice())
            .map_err(malformed)?;
        let (header, body) = next_packet(&mut rest)?;
        let body = match header.tag() {
            Tag::SymEncryptedProtectedData => Body::Protected(
                SymEncryptedProtectedData::try_from_reader(header, body.as_slice())
                    .map_err(malformed)?,
            ),
            Tag::SymEncryptedData => Body::Bare(
                SymEncryptedData::try_from_reader(header, body.as_slice()).map_err(malformed)?,
            ),
            _ => return Err(PgcryptoError::Malformed),
        };
        Ok(Self { session_key, body })
    }

    fn open(&self, key: &SecretValue) -> Result<SecretValue, PgcryptoError> {
        let wrong = || PgcryptoError::WrongKey { tried: 1 };
        let SymKeyEncryptedSessionKey::V4 {
            sym_algorithm,
            s2k,
            encrypted_key,
            ..
        } = &self.session_key
        else {
            return Err(PgcryptoError::Malformed);
        };
        if sym_algorithm.key_size() == 0 {
            return Err(PgcryptoError::Malformed);
        }
        // EXPOSE: the library makes the message's key of it.
        let derived = s2k
            .derive_key(key.expose_secret(), sym_algorithm.key_size())
            .map_err(|_| wrong())?;
        let (session_key, cipher) = match encrypted_key.is_empty() {
            true => (derived, *sym_algorithm),
            false => match &self.session_key.decrypt(&derived).map_err(|_| wrong())? {
                PlainSessionKey::V3_4 { key, sym_alg } => (key.clone(), *sym_alg),
                _ => return Err(PgcryptoError::Malformed),
            },
        };
        let plain = match &self.body {
            Body::Protected(data) => {
                if !matches!(data.config(), SymEncryptedProtectedDataConfig::V1) {
                    return Err(PgcryptoError::Malformed);
                }
                data.decrypt(
                    session_key.as_ref(),
                    Some(cipher),
                    Seipdv1ReadMode::Streaming,
                )
                .map_err(|_| wrong())?
            }
            Body::Bare(data) => {
                if !is_prefix_repeated(data.data(), session_key.as_ref(), cipher) {
                    return Err(wrong());
                }
                let mut reader = cipher
                    .stream_decryptor_unprotected(session_key.as_ref(), data.data())
                    .map_err(|_| wrong())?;
                let mut plain = Zeroizing::new(Vec::with_capacity(data.data().len()));
                reader.read_to_end(&mut plain).map_err(|_| wrong())?;
                return literal(&plain, DEPTH_MAX, Strictness::AsPgcryptoWrites);
            }
        };
        literal(&Zeroizing::new(plain), DEPTH_MAX, Strictness::AsHashed)
    }
}

/// Without a hash of the plaintext only its form tells a wrong key from the right one: what it
/// decrypts to may well begin like a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// Its hash was right.
    AsHashed,
    /// No byte is left over, the literal's mode is one of pgcrypto's, and it names no file.
    AsPgcryptoWrites,
}

/// Whether a message without a hash begins as one does that this key encrypted: with a block of
/// which the last two bytes come again.
fn is_prefix_repeated(data: &[u8], key: &[u8], cipher: SymmetricKeyAlgorithm) -> bool {
    let block = cipher.block_size();
    let Some(prefix) = data.get(..block + REPEATED_BYTES) else {
        return false;
    };
    let mut prefix = Zeroizing::new(prefix.to_vec());
    let is_decrypted = cipher
        .decrypt_with_iv_regular(key, &vec![0; block], &mut prefix)
        .is_ok();
    is_decrypted && prefix.get(block - REPEATED_BYTES..block) == prefix.get(block..)
}

/// The content of the literal packet, below compressed ones.
fn literal(
    bytes: &[u8],
    depth: usize,
    strictness: Strictness,
) -> Result<SecretValue, PgcryptoError> {
    let mut rest = bytes;
    let (header, body) = next_packet(&mut rest)?;
    let malformed = |_| PgcryptoError::Malformed;
    let is_strict = strictness == Strictness::AsPgcryptoWrites;
    if is_strict && !rest.is_empty() {
        return Err(PgcryptoError::Malformed);
    }
    match header.tag() {
        Tag::LiteralData => {
            let data = LiteralData::try_from_reader(header, body.as_slice()).map_err(malformed)?;
            // The mode is the body's first byte.
            let is_usual = body.first().is_some_and(|mode| MODES.contains(mode));
            if is_strict && !(is_usual && data.file_name().is_empty()) {
                return Err(PgcryptoError::Malformed);
            }
            Ok(SecretValue::copy_from(data.data()))
        }
        Tag::CompressedData if depth > 0 => {
            let data =
                CompressedData::try_from_reader(header, body.as_slice()).map_err(malformed)?;
            let unfolded = data.decompress().map_err(malformed)?;
            let mut plain = Zeroizing::new(Vec::new());
            unfolded
                .take(PLAIN_BYTES_MAX + 1)
                .read_to_end(&mut plain)
                .map_err(|_| PgcryptoError::Malformed)?;
            if plain.len() as u64 > PLAIN_BYTES_MAX {
                return Err(PgcryptoError::TooLong);
            }
            literal(&plain, depth - 1, strictness)
        }
        _ => Err(PgcryptoError::Malformed),
    }
}

/// A packet's header and body. pgcrypto writes long bodies in pieces.
fn next_packet(rest: &mut &[u8]) -> Result<(PacketHeader, Zeroizing<Vec<u8>>), PgcryptoError> {
    let header = PacketHeader::try_from_reader(&mut *rest).map_err(|_| PgcryptoError::Malformed)?;
    let mut body = Zeroizing::new(Vec::with_capacity(rest.len()));
    let mut length = header.packet_length();
    loop {
        let (here, is_last) = match length {
            PacketLength::Fixed(here) => (here as usize, true),
            PacketLength::Indeterminate => (rest.len(), true),
            PacketLength::Partial(here) => (here as usize, false),
        };
        let (piece, after) = rest
            .split_at_checked(here)
            .ok_or(PgcryptoError::Malformed)?;
        body.extend_from_slice(piece);
        *rest = after;
        if is_last {
            return Ok((header, body));
        }
        length = PacketLength::try_from_reader(&mut *rest).map_err(|_| PgcryptoError::Malformed)?;
    }
}
