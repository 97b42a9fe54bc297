//! Plain digests, for callers that ask for one by name. Never for secrets of ours: those are only
//! ever put through keyed hashes.

use aws_lc_rs::digest;

/// A digest by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA3-256.
    Sha3_256,
    /// SHA3-384.
    Sha3_384,
    /// SHA3-512.
    Sha3_512,
}

/// The SHA-256 of everything that a reader gives, in pieces.
///
/// # Errors
/// The reader's.
pub fn sha256_of(reader: &mut impl std::io::Read) -> std::io::Result<[u8; 32]> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut piece = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => context.update(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(context.finish().as_ref());
    Ok(sum)
}

/// The digest of some bytes.
#[must_use]
pub fn digest(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
    let algorithm = match algorithm {
        Algorithm::Sha224 => &digest::SHA224,
        Algorithm::Sha256 => &digest::SHA256,
        Algorithm::Sha384 => &digest::SHA384,
        Algorithm::Sha512 => &digest::SHA512,
        Algorithm::Sha3_256 => &digest::SHA3_256,
        Algorithm::Sha3_384 => &digest::SHA3_384,
        Algorithm::Sha3_512 => &digest::SHA3_512,
    };
    digest::digest(algorithm, bytes).as_ref().to_vec()
}
