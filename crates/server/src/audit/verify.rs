//! Checking a file of audit lines.

use strongroom_crypto::barrier::Barrier;

use crate::devices::AuditHead;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Lines.
    pub lines: u64,
    /// The number of the last one.
    pub last: u64,
}

/// What is wrong with a file of audit lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A line is no audit line.
    #[error("line {line} is no audit line")]
    Malformed {
        /// Counted from 1.
        line: u64,
    },
    /// A line was changed, or one before it is missing.
    #[error("line {line} does not follow the one before: it was changed, or lines are missing")]
    Broken {
        /// Counted from 1.
        line: u64,
    },
    /// Lines at the end are missing.
    #[error("it ends at line {found}, and had {expected} lines: the end was cut off")]
    Shortened {
        /// Lines there are.
        found: u64,
        /// Lines there were.
        expected: u64,
    },
    /// There is nothing in it, and the lines that were last written in its place are not beside it.
    #[error(
        "it is empty, and {expected} lines were written here: they were cut off, or moved away"
    )]
    Emptied {
        /// Lines there were.
        expected: u64,
    },
    /// The last line is not whole.
    #[error("the last line ({line}) is cut off")]
    CutOff {
        /// Counted from 1.
        line: u64,
    },
}

/// Checks a whole file; `head` is how far it went at least.
///
/// # Errors
/// For the first line that is not what was written, and for an end that is missing.
pub(crate) fn verify(
    barrier: &Barrier,
    content: &[u8],
    head: Option<AuditHead>,
) -> Result<Verified, VerifyError> {
    let mut last = [0; 32];
    let mut seen = 0;
    let mut lines = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        lines += 1;
        let Some(line) = line.strip_suffix(b"\n") else {
            return Err(VerifyError::CutOff { line: lines });
        };
        let malformed = VerifyError::Malformed { line: lines };
        let (body, number, hash) = split(line).ok_or(malformed)?;
        let expected = super::file::link(barrier, &last, body);
        if number != seen + 1 || hash != expected {
            return Err(VerifyError::Broken { line: lines });
        }
        if head.is_some_and(|head| head.number == number && head.hash != hash) {
            return Err(VerifyError::Broken { line: lines });
        }
        last = hash;
        seen = number;
    }
    if let Some(head) = head.filter(|head| head.number > seen) {
        return Err(VerifyError::Shortened {
            found: seen,
            expected: head.number,
        });
    }
    Ok(Verified { lines, last: seen })
}

/// A line without its hash, its number, and the hash.
pub(super) fn split(line: &[u8]) -> Option<(&[u8], u64, [u8; 32])> {
    const TAIL: usize = ",\"chain\":\"".len() + 64 + "\"}".len();
    let at = line.len().checked_sub(TAIL)?;
    let (body, tail) = line.split_at(at);
    let hex = tail.strip_prefix(b",\"chain\":\"")?.strip_suffix(b"\"}")?;
    let hash = data_encoding::HEXLOWER.decode(hex).ok()?;
    let number_at = body.windows(7).rposition(|part| part == b",\"seq\":")?;
    let number = std::str::from_utf8(&body[number_at + 7..]).ok()?;
    Some((body, number.parse().ok()?, hash.try_into().ok()?))
}
