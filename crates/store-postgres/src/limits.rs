//! How much may go into SQL.

use strongroom_core::port::BatchItem;
use strongroom_core::port::Change;
use strongroom_core::port::StorageError;

/// Longest name and value of one record together.
pub const RECORD_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest batch: one message of the protocol holds less than 2 GiB.
pub const BATCH_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// What an item is counted as beside its name and value.
const ITEM_BYTES: u64 = 64;

/// The length of a batch, if it may be stored. Looked at before anything is sent.
pub(crate) fn check_batch(batch: &[BatchItem]) -> Result<u64, StorageError> {
    let mut total = 0;
    for item in batch {
        let (name, value) = match &item.change {
            Change::Put { name, value, .. } => (name.len(), value.len()),
            Change::Check | Change::Merge(_) | Change::Delete => (0, 0),
        };
        total = add(total, check_record(wide(name), wide(value))?)?;
    }
    Ok(total)
}

/// The length of a record, if it may be stored.
pub(crate) fn check_record(name: u64, value: u64) -> Result<u64, StorageError> {
    let bytes = name.saturating_add(value);
    if bytes > RECORD_BYTES_MAX {
        return Err(StorageError::TooLarge {
            bytes,
            bytes_max: RECORD_BYTES_MAX,
        });
    }
    Ok(bytes + ITEM_BYTES)
}

fn add(total: u64, bytes: u64) -> Result<u64, StorageError> {
    let bytes = total.saturating_add(bytes);
    if bytes > BATCH_BYTES_MAX {
        return Err(StorageError::TooLarge {
            bytes,
            bytes_max: BATCH_BYTES_MAX,
        });
    }
    Ok(bytes)
}

pub(crate) fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * 1024 * 1024;

    /// Lengths that wrap to something small in the 32 bits of the protocol.
    #[test]
    fn lengths_beyond_the_protocol_do_not_wrap() {
        for value in [
            RECORD_BYTES_MAX + 1,
            2 * GIB - 1,
            2 * GIB,
            4 * GIB - 1,
            4 * GIB,
            4 * GIB + 5,
            u64::MAX,
        ] {
            for (name, value) in [(0, value), (value, 0), (value, value)] {
                assert!(
                    matches!(
                        check_record(name, value),
                        Err(StorageError::TooLarge { .. })
                    ),
                    "{name} {value}"
                );
            }
        }
        assert_eq!(
            check_record(0, RECORD_BYTES_MAX).unwrap(),
            RECORD_BYTES_MAX + ITEM_BYTES
        );
        assert!(check_record(1, RECORD_BYTES_MAX).is_err());
    }

    #[test]
    fn a_batch_is_bound_as_a_whole() {
        assert_eq!(add(BATCH_BYTES_MAX - 1, 1).unwrap(), BATCH_BYTES_MAX);
        assert!(add(BATCH_BYTES_MAX, 1).is_err());
        assert!(add(4 * GIB, 4 * GIB).is_err());
        assert!(add(u64::MAX, u64::MAX).is_err());
    }
}
