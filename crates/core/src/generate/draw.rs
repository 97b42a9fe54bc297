//! Drawing texts without bias.

use zeroize::Zeroizing;

use super::layout::Layout;
use super::layout::Place;
use crate::port::Rng;

/// Draws made until every class of a password occurs.
pub(super) const CLASS_ATTEMPTS_MAX: u32 = 1_000;
/// Random bytes asked for at once.
const BUFFER_BYTES: usize = 128;

/// Random numbers below a bound, each equally likely.
pub(crate) struct Source<'a> {
    rng: &'a dyn Rng,
    buffer: Zeroizing<[u8; BUFFER_BYTES]>,
    used: usize,
}

impl<'a> Source<'a> {
    pub(crate) fn new(rng: &'a dyn Rng) -> Self {
        Self {
            rng,
            buffer: Zeroizing::new([0; BUFFER_BYTES]),
            used: BUFFER_BYTES,
        }
    }

    fn byte(&mut self) -> u32 {
        if self.used == BUFFER_BYTES {
            self.rng.fill(&mut *self.buffer);
            self.used = 0;
        }
        let byte = self.buffer.get(self.used).copied().unwrap_or_default();
        self.used += 1;
        u32::from(byte)
    }

    /// A number below `bound`, at most 2^24. What lies past the last whole multiple of the bound
    /// is thrown away, so that no number is likelier than another.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u32::try_from(bound).unwrap_or(u32::MAX).max(1);
        if bound == 1 {
            return 0;
        }
        let bytes = if bound <= 1 << 8 { 1 } else { 3 };
        let range: u32 = 1 << (8 * bytes);
        let limit = range - range % bound;
        loop {
            let number = (0..bytes).fold(0, |number, _| number << 8 | self.byte());
            if number < limit {
                return usize::try_from(number % bound).unwrap_or_default();
            }
        }
    }
}

/// One text of a layout, with the classes that occur in it.
pub(super) fn text(layout: &Layout, source: &mut Source<'_>) -> (Zeroizing<String>, u8) {
    let mut text = Zeroizing::new(String::with_capacity(size(layout)));
    let mut classes = 0;
    for place in &layout.places {
        if let Some(choice) = place.choices.get(source.below(place.choices.len())) {
            text.push_str(&choice.text);
            classes |= choice.class;
        }
    }
    (text, classes)
}

/// A text that holds every class, for a source of randomness so poor that none came by chance.
pub(super) fn forced(layout: &Layout, source: &mut Source<'_>) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(size(layout)));
    let mut missing = layout.classes;
    for place in &layout.places {
        let wanted = missing & missing.wrapping_neg();
        missing &= !wanted;
        let fits = |class: u8| wanted == 0 || class == wanted;
        let count = place
            .choices
            .iter()
            .filter(|choice| fits(choice.class))
            .count();
        let at = source.below(count);
        if let Some(choice) = place
            .choices
            .iter()
            .filter(|choice| fits(choice.class))
            .nth(at)
        {
            text.push_str(&choice.text);
        }
    }
    text
}

/// Room for the longest text of a layout, so that the buffer never moves.
fn size(layout: &Layout) -> usize {
    let longest = |place: &Place| {
        place
            .choices
            .iter()
            .map(|choice| choice.text.len())
            .max()
            .unwrap_or_default()
    };
    layout.places.iter().map(|place| longest(place)).sum()
}
