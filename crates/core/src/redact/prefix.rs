//! Tells whether the end of the stream may be the beginning of a form.

use zeroize::Zeroize;

use super::store::Forms;

/// Bytes of a form that are in its key.
const KEY_BYTES: usize = 8;

/// The distinct forms, sorted by their first bytes.
pub(super) struct Prefixes {
    keys: Vec<u64>,
    forms: Vec<u32>,
    /// One bit for the hash of the first four bytes of each form.
    starts: Vec<u64>,
    /// One bit for each byte that may be hidden on the left of a form.
    lefts: [u64; 4],
    /// One bit for each mask and bits of a left byte that is in `lefts`.
    lefts_seen: [u64; 4],
    longest: usize,
}

impl Prefixes {
    pub(super) fn build(forms: &Forms) -> Self {
        let mut rows: Vec<(u64, usize, u64, u32)> = Vec::with_capacity(forms.count());
        for id in (0u32..).take(forms.count()) {
            let Some(form) = forms.form(id) else { continue };
            let mut head = [0; KEY_BYTES];
            forms.head(form, &mut head);
            rows.push((
                u64::from_be_bytes(head),
                form.len(),
                forms.fingerprint(form),
                id,
            ));
            head.zeroize();
        }
        rows.sort_unstable();
        let mut prefixes = Self {
            keys: Vec::with_capacity(rows.len()),
            forms: Vec::with_capacity(rows.len()),
            starts: vec![0; (1 << 16) / 64],
            lefts: [0; 4],
            lefts_seen: [0; 4],
            longest: 0,
        };
        for &(key, _, _, id) in &rows {
            prefixes.add(forms, key, id);
        }
        rows.zeroize();
        prefixes
    }

    /// The distinct forms.
    pub(super) fn forms(&self) -> &[u32] {
        &self.forms
    }

    /// The most bytes one form can hide, and so one more than are ever held back for it.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// True when `data` from `at` on, which is not empty, is the beginning of a longer form.
    pub(super) fn may_begin(&self, forms: &Forms, data: &[u8], at: usize) -> bool {
        let tail = data.get(at..).unwrap_or_default();
        if let Some(&start) = tail.first_chunk::<4>()
            && !has_bit(&self.starts, start_hash(start))
        {
            return false;
        }
        let taken = tail.len().min(KEY_BYTES);
        let mut low = [0; KEY_BYTES];
        let mut high = [0xff; KEY_BYTES];
        low[..taken].copy_from_slice(&tail[..taken]);
        high[..taken].copy_from_slice(&tail[..taken]);
        let (low, high) = (u64::from_be_bytes(low), u64::from_be_bytes(high));
        let from = self.keys.partition_point(|&key| key < low);
        let keys = self.keys.iter().zip(&self.forms).skip(from);
        keys.take_while(|&(&key, _)| key <= high).any(|(_, &id)| {
            forms.form(id).is_some_and(|form| {
                form.len() > tail.len()
                    && form.may_start(data, at)
                    && forms.agrees(form, taken, &tail[taken..])
            })
        })
    }

    /// True when `byte` may be hidden along with a form that follows it.
    pub(super) fn may_be_left(&self, byte: u8) -> bool {
        has_bit(&self.lefts, byte.into())
    }

    pub(super) fn table_bytes(&self) -> usize {
        self.keys.capacity() * 8 + self.forms.capacity() * 4 + self.starts.capacity() * 8
    }

    fn add(&mut self, forms: &Forms, key: u64, id: u32) {
        let Some(form) = forms.form(id) else { return };
        let last = self.forms.last().and_then(|&last| forms.form(last));
        if self.keys.last() == Some(&key) && last.is_some_and(|last| forms.is_same(last, form)) {
            return;
        }
        self.keys.push(key);
        self.forms.push(id);
        // No form is shorter than four bytes.
        let [a, b, c, d, ..] = key.to_be_bytes();
        set_bit(&mut self.starts, start_hash([a, b, c, d]));
        self.longest = self.longest.max(form.len_max());
        if let Some(left) = form.left()
            && !has_bit(&self.lefts_seen, usize::from(left.mask << 4 | left.bits))
        {
            set_bit(
                &mut self.lefts_seen,
                usize::from(left.mask << 4 | left.bits),
            );
            for byte in (0..=u8::MAX).filter(|&byte| left.admits(byte)) {
                set_bit(&mut self.lefts, byte.into());
            }
        }
    }
}

impl Drop for Prefixes {
    fn drop(&mut self) {
        self.keys.zeroize();
    }
}

fn start_hash(start: [u8; 4]) -> usize {
    (u32::from_le_bytes(start).wrapping_mul(0x9e37_79b1) >> 16) as usize
}

fn has_bit(words: &[u64], at: usize) -> bool {
    words
        .get(at / 64)
        .is_some_and(|word| word >> (at % 64) & 1 == 1)
}

fn set_bit(words: &mut [u64], at: usize) {
    if let Some(word) = words.get_mut(at / 64) {
        *word |= 1 << (at % 64);
    }
}
