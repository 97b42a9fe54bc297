//! The recovery kit: 256 random bits that a person can print, keep and type in again.

use data_encoding::Encoding;
use data_encoding::Specification;
use strongroom_core::port::Rng;
use strongroom_core::secret::SecretValue;
use zeroize::Zeroizing;

use crate::hazmat;

const PREFIX: &str = "SRK1";
const CHECK_BYTES: usize = 3;
const GROUP: usize = 5;

/// Draws a new recovery key and gives its printed form: `SRK1-XXXXX-…`.
#[must_use]
pub fn generate_recovery_key(rng: &dyn Rng) -> SecretValue {
    let mut material = Zeroizing::new([0_u8; 32]);
    rng.fill(&mut *material);
    let mut bytes = Zeroizing::new(material.to_vec());
    bytes.extend_from_slice(&hazmat::digest(&*material)[..CHECK_BYTES]);
    let text = Zeroizing::new(alphabet().encode(&bytes));
    let groups = text.len().div_ceil(GROUP);
    let mut printed = Vec::with_capacity(PREFIX.len() + text.len() + groups);
    printed.extend_from_slice(PREFIX.as_bytes());
    for group in text.as_bytes().chunks(GROUP) {
        printed.push(b'-');
        printed.extend_from_slice(group);
    }
    SecretValue::new(printed)
}

/// Reads a printed recovery key; case, blanks and dashes do not matter, nor do O for 0 and I for 1.
///
/// # Errors
/// When it is none, or mistyped.
pub(crate) fn parse_recovery_key(
    printed: &SecretValue,
) -> Result<Zeroizing<Vec<u8>>, RecoveryKeyMistyped> {
    // EXPOSE: the typed key is decoded here into a wiped buffer.
    let text = printed.expose_secret_text().ok_or(RecoveryKeyMistyped)?;
    let compact: Zeroizing<String> = Zeroizing::new(
        text.chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .collect(),
    );
    let upper = Zeroizing::new(compact.to_ascii_uppercase());
    let body = upper.strip_prefix(PREFIX).ok_or(RecoveryKeyMistyped)?;
    let bytes = Zeroizing::new(
        alphabet()
            .decode(body.as_bytes())
            .map_err(|_| RecoveryKeyMistyped)?,
    );
    if bytes.len() != 32 + CHECK_BYTES {
        return Err(RecoveryKeyMistyped);
    }
    let (material, check) = bytes.split_at(32);
    if hazmat::digest(material)[..CHECK_BYTES] != *check {
        return Err(RecoveryKeyMistyped);
    }
    Ok(Zeroizing::new(material.to_vec()))
}

/// The text is not a recovery key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is not a recovery key, or it has a typing error (it begins with SRK1-)")]
pub struct RecoveryKeyMistyped;

#[expect(
    clippy::expect_used,
    reason = "the specification is a constant, covered by the tests"
)]
fn alphabet() -> Encoding {
    let mut specification = Specification::new();
    specification
        .symbols
        .push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    specification.translate.from.push_str("OIL");
    specification.translate.to.push_str("011");
    specification
        .encoding()
        .expect("the alphabet has 32 distinct symbols")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back_and_typing_errors_are_noticed() {
        let printed = generate_recovery_key(&hazmat::SystemRng);
        let text = String::from_utf8(printed.expose_secret().to_vec()).unwrap();
        let material = parse_recovery_key(&printed).unwrap();
        for typed in [
            text.to_lowercase(),
            text.replace('-', " "),
            format!("  {text}\n"),
        ] {
            assert_eq!(
                parse_recovery_key(&SecretValue::from_text(typed)).unwrap(),
                material
            );
        }
        for position in 5..text.len() {
            let mut typed = text.clone().into_bytes();
            if typed[position] == b'-' {
                continue;
            }
            typed[position] = if typed[position] == b'7' { b'8' } else { b'7' };
            assert_eq!(
                parse_recovery_key(&SecretValue::new(typed)),
                Err(RecoveryKeyMistyped)
            );
        }
    }
}
