//! A generator as a row of places, each with the characters that may stand there.

use std::rc::Rc;

use super::spec::CharClass;
use super::spec::Charset;
use super::spec::GeneratorSpec;

/// Consonants and vowels of made-up words: 16 and 4, so that a word has 16 bits.
const CONSONANTS: &str = "bdfghjklmnprstvz";
const VOWELS: &str = "aiou";

/// What may stand at one place.
#[derive(Debug)]
pub(super) struct Place {
    /// Texts, all equally likely.
    pub(super) choices: Vec<Choice>,
}

/// A text at one place.
#[derive(Debug)]
pub(super) struct Choice {
    /// The text: one character, but for the numbers of a timestamp.
    pub(super) text: Box<str>,
    /// The bit of its class, when classes matter.
    pub(super) class: u8,
}

/// All places.
#[derive(Debug)]
pub(super) struct Layout {
    /// In order.
    pub(super) places: Vec<Rc<Place>>,
    /// The bits of the classes that must all occur.
    pub(super) classes: u8,
    /// False when the places only describe the value and are not drawn from.
    is_drawn: bool,
}

impl Layout {
    /// Characters of the longest value.
    pub(super) fn chars_max(&self) -> usize {
        let longest = |place: &Rc<Place>| {
            let texts = place.choices.iter();
            texts.map(|choice| choice.text.chars().count()).max()
        };
        self.places.iter().filter_map(longest).sum()
    }

    /// Bits of entropy of a drawn value.
    pub(super) fn entropy_bits(&self) -> f64 {
        if !self.is_drawn {
            return 0.0;
        }
        let bits: f64 = self
            .places
            .iter()
            .map(|place| log2(place.choices.len()))
            .sum();
        let Some(place) = self.places.first().filter(|_| self.classes != 0) else {
            return bits;
        };
        // The share of texts that hold every class, by inclusion and exclusion.
        let all = as_f64(place.choices.len());
        let length = as_f64(self.places.len());
        let mut share = 0.0;
        for missing in 0..=self.classes {
            if missing & !self.classes != 0 {
                continue;
            }
            let kept = place
                .choices
                .iter()
                .filter(|choice| choice.class & missing == 0)
                .count();
            let sign = if missing.count_ones() % 2 == 0 {
                1.0
            } else {
                -1.0
            };
            share += sign * (as_f64(kept) / all).powf(length);
        }
        (bits + share.log2()).max(0.0)
    }
}

/// The layout of a generator's values.
pub(super) fn of(spec: &GeneratorSpec) -> Layout {
    let mut layout = Layout {
        places: Vec::new(),
        classes: 0,
        is_drawn: true,
    };
    let places = &mut layout.places;
    match spec {
        GeneratorSpec::Random { length, charset } => repeat(places, &charset.chars(), *length),
        GeneratorSpec::Hex { length } => repeat(places, &Charset::Hex.chars(), *length),
        GeneratorSpec::Base64 { bytes } => base64(places, *bytes, &Charset::Base64, true),
        GeneratorSpec::Base64url { bytes, padding } => {
            base64(places, *bytes, &Charset::Base64url, *padding);
        }
        GeneratorSpec::Uuid => {
            let hex = Charset::Hex.chars();
            for (group, length) in [8, 4, 3, 3, 12].into_iter().enumerate() {
                match group {
                    0 => {}
                    2 => fixed(places, "-4"),
                    3 => {
                        fixed(places, "-");
                        repeat(places, &['8', '9', 'a', 'b'], 1);
                    }
                    _ => fixed(places, "-"),
                }
                repeat(places, &hex, length);
            }
        }
        GeneratorSpec::Timestamp => {
            layout.is_drawn = false;
            repeat(places, &Charset::Digits.chars(), 4);
            let numbers = [
                ("-", 1..=12),
                ("-", 1..=31),
                ("T", 0..=23),
                (":", 0..=59),
                (":", 0..=59),
            ];
            for (before, range) in numbers {
                fixed(places, before);
                let choices = range
                    .map(|number| choice(&format!("{number:02}"), 0))
                    .collect();
                places.push(Rc::new(Place { choices }));
            }
            fixed(places, "Z");
        }
        GeneratorSpec::Password {
            length,
            classes,
            symbols,
        } => {
            let mut choices = Vec::new();
            for class in classes {
                let (bit, chars) = match class {
                    CharClass::Lower => (1, Charset::Lower.chars()),
                    CharClass::Upper => (2, Charset::Upper.chars()),
                    CharClass::Digits => (4, Charset::Digits.chars()),
                    CharClass::Symbols => (8, symbols.chars().collect()),
                };
                layout.classes |= bit;
                choices.extend(
                    chars
                        .into_iter()
                        .map(|c| choice(c.encode_utf8(&mut [0; 4]), bit)),
                );
            }
            let place = Rc::new(Place { choices });
            places.extend(std::iter::repeat_n(place, usize::from(*length)));
        }
        GeneratorSpec::Passphrase { words, separator } => {
            let consonants: Vec<char> = CONSONANTS.chars().collect();
            let vowels: Vec<char> = VOWELS.chars().collect();
            for word in 0..*words {
                if word > 0 {
                    fixed(places, separator);
                }
                for place in 0..5 {
                    repeat(
                        places,
                        if place % 2 == 0 { &consonants } else { &vowels },
                        1,
                    );
                }
            }
        }
    }
    layout
}

fn choice(text: &str, class: u8) -> Choice {
    Choice {
        text: text.into(),
        class,
    }
}

fn repeat(places: &mut Vec<Rc<Place>>, chars: &[char], length: u16) {
    let choices = chars
        .iter()
        .map(|c| choice(c.encode_utf8(&mut [0; 4]), 0))
        .collect();
    let place = Rc::new(Place { choices });
    places.extend(std::iter::repeat_n(place, usize::from(length)));
}

fn fixed(places: &mut Vec<Rc<Place>>, text: &str) {
    if !text.is_empty() {
        places.push(Rc::new(Place {
            choices: vec![choice(text, 0)],
        }));
    }
}

/// Base64 of so many random bytes: the last character holds only the bits that are left.
fn base64(places: &mut Vec<Rc<Place>>, bytes: u16, charset: &Charset, padding: bool) {
    let chars = charset.chars();
    repeat(places, &chars, bytes / 3 * 4);
    let (step, pad) = match bytes % 3 {
        0 => return,
        1 => (16, "=="),
        _ => (4, "="),
    };
    repeat(places, &chars, bytes % 3);
    let last: Vec<char> = chars.into_iter().step_by(step).collect();
    repeat(places, &last, 1);
    if padding {
        fixed(places, pad);
    }
}

fn log2(count: usize) -> f64 {
    as_f64(count).log2()
}

fn as_f64(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}
