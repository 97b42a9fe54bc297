//! CRC32C (Castagnoli), by which Secret Manager notices what was damaged on the way.

const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The checksum of some bytes, as the interface holds it.
pub(crate) fn crc32c(bytes: &[u8]) -> i64 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let is_odd = crc & 1 == 1;
            crc >>= 1;
            if is_odd {
                crc ^= POLYNOMIAL;
            }
        }
    }
    i64::from(!crc)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From RFC 3720, B.4, and the usual check value.
    #[test]
    fn published_values() {
        assert_eq!(crc32c(b""), 0);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }
}
