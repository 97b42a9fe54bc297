//! Values that can be found again wherever they leak to, in the forms in which values leak.

use data_encoding::BASE64;
use data_encoding::BASE64URL_NOPAD;
use data_encoding::HEXLOWER;
use data_encoding::HEXUPPER;
use strongroom_core::port::Rng;
use strongroom_core::secret::SecretValue;

const RANDOM_BYTES: usize = 16;
/// Characters at either end of a base64 text that depend on what stands beside the value.
const BASE64_EDGE: usize = 4;

/// A secret value that is like no other.
pub struct Canary {
    text: String,
}

impl Canary {
    /// Draws one.
    #[must_use]
    pub fn new(rng: &dyn Rng) -> Self {
        let mut bytes = [0; RANDOM_BYTES];
        rng.fill(&mut bytes);
        Self {
            text: format!("canary-{}", HEXLOWER.encode(&bytes)),
        }
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> SecretValue {
        SecretValue::copy_from(self.text.as_bytes())
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The form in which the canary stands in `bytes`, if it does.
    #[must_use]
    pub fn find_in(&self, bytes: &[u8]) -> Option<&'static str> {
        self.forms()
            .into_iter()
            .find(|(_, form)| contains(bytes, form.as_bytes()))
            .map(|(name, _)| name)
    }

    fn forms(&self) -> Vec<(&'static str, String)> {
        let raw = self.text.as_bytes();
        let mut forms = vec![
            ("raw", self.text.clone()),
            ("hex", HEXLOWER.encode(raw)),
            ("hex", HEXUPPER.encode(raw)),
        ];
        // In base64 of something longer, the value stands at one of three alignments.
        for before in 0..3 {
            let mut shifted = vec![0; before];
            shifted.extend_from_slice(raw);
            let plain = BASE64.encode(&shifted);
            let url = BASE64URL_NOPAD.encode(&shifted);
            forms.push(("base64", inner(&plain)));
            forms.push(("base64url", inner(&url)));
        }
        forms
    }
}

fn inner(encoded: &str) -> String {
    encoded[BASE64_EDGE..encoded.len() - BASE64_EDGE].to_owned()
}

/// Whether `needle` stands in `haystack`.
#[must_use]
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty()
        && haystack
            .windows(needle.len())
            .any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;

    #[test]
    fn is_found_in_every_form_and_not_where_it_is_not() {
        let rng = SeededRng::new(1);
        let (canary, other) = (Canary::new(&rng), Canary::new(&rng));
        let text = canary.text();
        let check = |bytes: &[u8], expected| {
            assert_eq!(canary.find_in(bytes), expected);
            assert_eq!(other.find_in(bytes), None);
        };
        check(format!("a {text} b").as_bytes(), Some("raw"));
        check(HEXLOWER.encode(text.as_bytes()).as_bytes(), Some("hex"));
        for before in ["", "x", "xy", "xyz"] {
            let around = format!("{before}{text}\n");
            let encoded = BASE64.encode(around.as_bytes());
            check(encoded.as_bytes(), Some("base64"));
        }
        check(b"nothing here", None);
    }
}
