//! Numbers and texts that are the same at every run.

/// A small generator.
pub(crate) struct Draw(u64);

impl Draw {
    /// Begins at a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 20) % bound.max(1)
    }

    /// A text of letters and digits.
    pub(crate) fn text(&mut self, length: usize) -> String {
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let mut letter = || {
            let at = usize::try_from(self.below(LETTERS.len() as u64)).unwrap_or(0);
            char::from(LETTERS.get(at).copied().unwrap_or(b'a'))
        };
        (0..length).map(|_| letter()).collect()
    }
}
