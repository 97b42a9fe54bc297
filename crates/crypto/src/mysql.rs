//! What MariaDB and MySQL keep of a password for `mysql_native_password`: the SHA-1 of its SHA-1.
//!
//! SHA-1 is theirs, not ours: it is what those servers compare with. It lets nobody in by itself;
//! who has it and has listened to a login without TLS as well could log in.

use aws_lc_rs::digest;
use data_encoding::HEXUPPER;
use strongroom_core::secret::SecretValue;

/// The hash of a password, as it stands in statements: `*` and 40 digits.
#[must_use]
pub fn native_hash(password: &SecretValue) -> String {
    let sha1 = |bytes: &[u8]| digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    // EXPOSE: hashed as the server would hash it; what comes out opens no session.
    let once = sha1(password.expose_secret());
    format!("*{}", HEXUPPER.encode(sha1(once.as_ref()).as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `SELECT PASSWORD('…')` of a MariaDB answers.
    #[test]
    fn a_hash_is_the_one_that_the_server_makes() {
        for (password, expected) in [
            ("one", "*74445CD742AF268FD22866DA0D12758951D638F7"),
            ("two", "*A41BEE51488264C01B96DE959A9142AF1A75205E"),
        ] {
            let password = SecretValue::copy_from(password.as_bytes());
            assert_eq!(native_hash(&password), expected);
        }
    }
}
