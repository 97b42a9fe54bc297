//! Finds the places where a form may stand.
//!
//! Of every form a window is chosen that is likely rare in ordinary output. All grams (byte
//! strings of a fixed length) of `STRIDE` consecutive offsets in the window are indexed, so that
//! it is enough to look at every `STRIDE`th position of the stream: one of them must hit. A
//! small bit table turns away nearly all positions, a hash table names the forms for the rest.

use zeroize::Zeroize;

use super::store::Forms;

/// The window of a form lies in its first bytes, so that the end of the stream that a window
/// may still be missing from is short.
const WINDOW_END_MAX: usize = 48;

/// Bits in the first table for each gram.
const BITS_PER_GRAM: usize = 10;

/// Sizes of the first table in words: 4 KiB, 32 KiB (as large as the fastest cache), 1 MiB.
const WORDS_SMALL: usize = 512;
const WORDS_MEDIUM: usize = 4 * 1024;
const WORDS_LARGE: usize = 128 * 1024;

/// A form that may stand at `at`.
pub(super) struct Hit {
    pub(super) at: usize,
    pub(super) form: u32,
}

/// The index of all forms, by length.
pub(super) struct Index {
    long: Tier<8, 8>,
    middle: Tier<5, 4>,
    short: Tier<3, 2>,
}

/// Where each part of the index goes on in the stream.
#[derive(Clone, Copy, Default)]
pub(super) struct Probes {
    long: usize,
    middle: usize,
    short: usize,
}

impl Index {
    pub(super) fn build(forms: &Forms, ids: &[u32]) -> Self {
        let mut index = Self {
            long: Tier::default(),
            middle: Tier::default(),
            short: Tier::default(),
        };
        let (mut long, mut middle, mut short) = (Vec::new(), Vec::new(), Vec::new());
        long.reserve_exact(ids.len() * 8);
        middle.reserve_exact(ids.len() * 4);
        short.reserve_exact(ids.len() * 2);
        let mut head = [0; WINDOW_END_MAX];
        for &id in ids {
            let Some(form) = forms.form(id) else { continue };
            let head_len = forms.head(form, &mut head);
            let head = &head[..head_len];
            if head_len >= Tier::<8, 8>::WINDOW {
                index.long.add(id, head, &mut long);
            } else if head_len >= Tier::<5, 4>::WINDOW {
                index.middle.add(id, head, &mut middle);
            } else {
                index.short.add(id, head, &mut short);
            }
        }
        head.zeroize();
        index.long.fill(long);
        index.middle.fill(middle);
        index.short.fill(short);
        index
    }

    /// A form of which the last `reach` bytes of the stream are the beginning may not have been
    /// hit yet.
    pub(super) fn reach(&self) -> usize {
        self.long.reach.max(self.middle.reach).max(self.short.reach)
    }

    /// Adds the hits in `data` at the positions not looked at before.
    pub(super) fn scan(&self, data: &[u8], probes: &mut Probes, hits: &mut Vec<Hit>) {
        self.long.scan(data, &mut probes.long, hits);
        self.middle.scan(data, &mut probes.middle, hits);
        self.short.scan(data, &mut probes.short, hits);
    }

    pub(super) fn table_bytes(&self) -> usize {
        self.long.table_bytes() + self.middle.table_bytes() + self.short.table_bytes()
    }
}

impl Probes {
    /// Moves with the data, of which the first `count` bytes are dropped.
    pub(super) fn cut(&mut self, count: usize) {
        self.long = Tier::<8, 8>::cut(self.long, count);
        self.middle = Tier::<5, 4>::cut(self.middle, count);
        self.short = Tier::<3, 2>::cut(self.short, count);
    }
}

/// Forms of like length: grams of `GRAM` bytes, looked for at every `STRIDE`th position.
#[derive(Default)]
struct Tier<const GRAM: usize, const STRIDE: usize> {
    /// One bit for each gram.
    bits: Vec<u64>,
    /// Start of each bucket in the two lists below.
    buckets: Vec<u32>,
    buckets_shift: u32,
    grams: Vec<u64>,
    places: Vec<Place>,
    reach: usize,
}

/// A gram stands at `offset` in `form`.
#[derive(Clone, Copy, Default)]
struct Place {
    form: u32,
    offset: u32,
}

impl<const GRAM: usize, const STRIDE: usize> Tier<GRAM, STRIDE> {
    const WINDOW: usize = GRAM + STRIDE - 1;
    const MASK: u64 = u64::MAX >> (64 - 8 * GRAM);

    /// Chooses the window of a form, and adds its grams to `rows`.
    fn add(&mut self, form: u32, head: &[u8], rows: &mut Vec<(u64, Place)>) {
        let start = rarest_window(head, Self::WINDOW);
        self.reach = self.reach.max(start + Self::WINDOW);
        for offset in start..start + STRIDE {
            let gram = partial_word(head, offset) & Self::MASK;
            let offset = u32::try_from(offset).unwrap_or_default();
            rows.push((gram, Place { form, offset }));
        }
    }

    fn fill(&mut self, mut rows: Vec<(u64, Place)>) {
        if rows.is_empty() {
            return;
        }
        let wanted = rows.len() * BITS_PER_GRAM / 64;
        let sizes = [WORDS_SMALL, WORDS_MEDIUM];
        let words = sizes
            .into_iter()
            .find(|&words| wanted <= words)
            .unwrap_or(WORDS_LARGE);
        self.bits = vec![0; words];
        let bits_shift = 64 - words.trailing_zeros();
        let buckets = rows.len().next_power_of_two().max(2);
        self.buckets_shift = 64 - buckets.trailing_zeros();
        self.buckets = vec![0; buckets + 1];
        for &(gram, _) in &rows {
            let hash = hash(gram);
            self.bits[(hash >> bits_shift) as usize] |= 1 << (hash >> 40 & 63);
            self.buckets[(hash >> self.buckets_shift) as usize] += 1;
        }
        let mut end = 0;
        for bucket in &mut self.buckets {
            end += *bucket;
            *bucket = end;
        }
        self.grams = vec![0; rows.len()];
        self.places = vec![Place::default(); rows.len()];
        for &(gram, place) in &rows {
            let bucket = &mut self.buckets[(hash(gram) >> self.buckets_shift) as usize];
            *bucket -= 1;
            self.grams[*bucket as usize] = gram;
            self.places[*bucket as usize] = place;
        }
        for row in &mut rows {
            row.0.zeroize();
        }
    }

    fn scan(&self, data: &[u8], next: &mut usize, hits: &mut Vec<Hit>) {
        // The size is a constant in the loop: so there are no bounds checks in it.
        if let Some(bits) = self.bits.as_array::<WORDS_SMALL>() {
            self.scan_with(bits, data, next, hits);
        } else if let Some(bits) = self.bits.as_array::<WORDS_MEDIUM>() {
            self.scan_with(bits, data, next, hits);
        } else if let Some(bits) = self.bits.as_array::<WORDS_LARGE>() {
            self.scan_with(bits, data, next, hits);
        }
    }

    fn scan_with<const WORDS: usize>(
        &self,
        bits: &[u64; WORDS],
        data: &[u8],
        next: &mut usize,
        hits: &mut Vec<Hit>,
    ) {
        let (words, _) = data.get(*next..).unwrap_or_default().as_chunks::<8>();
        let mut at = *next;
        for pair in words.windows(2) {
            let (word, after) = (u64::from_le_bytes(pair[0]), u64::from_le_bytes(pair[1]));
            for skip in (0..8).step_by(STRIDE) {
                let gram = match skip {
                    0 => word,
                    _ => word >> (8 * skip) | after << (64 - 8 * skip),
                };
                let gram = gram & Self::MASK;
                if has_bit(bits, hash(gram)) {
                    self.look_up(gram, at + skip, hits);
                }
            }
            at += 8;
        }
        while at + GRAM <= data.len() {
            let gram = partial_word(data, at) & Self::MASK;
            if has_bit(bits, hash(gram)) {
                self.look_up(gram, at, hits);
            }
            at += STRIDE;
        }
        *next = at;
    }

    #[inline(never)]
    fn look_up(&self, gram: u64, at: usize, hits: &mut Vec<Hit>) {
        let bucket = (hash(gram) >> self.buckets_shift) as usize;
        let Some(&[from, to]) = self
            .buckets
            .get(bucket..bucket + 2)
            .and_then(<[u32]>::as_array)
        else {
            return;
        };
        for entry in from as usize..to as usize {
            if self.grams.get(entry) == Some(&gram)
                && let Some(place) = self.places.get(entry)
                && let Some(at) = at.checked_sub(place.offset as usize)
            {
                hits.push(Hit {
                    at,
                    form: place.form,
                });
            }
        }
    }

    /// The position `next` after the first `count` bytes are dropped, or a later one in step
    /// with it.
    fn cut(next: usize, count: usize) -> usize {
        match next.checked_sub(count) {
            Some(next) => next,
            None => (STRIDE - (count - next) % STRIDE) % STRIDE,
        }
    }

    fn table_bytes(&self) -> usize {
        (self.bits.capacity() + self.grams.capacity() + self.places.capacity()) * 8
            + self.buckets.capacity() * 4
    }
}

impl<const GRAM: usize, const STRIDE: usize> Drop for Tier<GRAM, STRIDE> {
    fn drop(&mut self) {
        self.grams.zeroize();
    }
}

fn hash(gram: u64) -> u64 {
    gram.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn has_bit<const WORDS: usize>(bits: &[u64; WORDS], hash: u64) -> bool {
    let word = bits[(hash >> (64 - WORDS.trailing_zeros())) as usize];
    word >> (hash >> 40 & 63) & 1 == 1
}

/// Eight bytes from `at` on, zeros past the end.
fn partial_word(data: &[u8], at: usize) -> u64 {
    let rest = data.get(at..).unwrap_or_default();
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(rest) {
        *to = *from;
    }
    u64::from_le_bytes(word)
}

/// Start of the `len` bytes of `head` that ordinary output is least likely to have.
fn rarest_window(head: &[u8], len: usize) -> usize {
    let mut weights = [0u32; WINDOW_END_MAX];
    let mut before = None;
    for (weight, &byte) in weights.iter_mut().zip(head) {
        *weight = COMMONNESS[usize::from(byte)] + if before == Some(byte) { 4 } else { 0 };
        before = Some(byte);
    }
    let mut sum: u32 = weights.iter().take(len).sum();
    let (mut best, mut best_sum) = (0, sum);
    for start in 1..=head.len().saturating_sub(len) {
        sum = sum + weights[start + len - 1] - weights[start - 1];
        if sum < best_sum {
            (best, best_sum) = (start, sum);
        }
    }
    best
}

/// How often each byte stands in ordinary output, roughly.
static COMMONNESS: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            0 | 0xff | b' ' | b'\n' => 6,
            b'a'..=b'z' | b'/' | b':' | b'.' | b'-' | b'_' | b'=' | b'%' | b'"' | b',' | b'\\' => 4,
            b'0'..=b'9' => 3,
            _ => 2,
        };
        byte += 1;
    }
    table
};
