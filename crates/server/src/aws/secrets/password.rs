//! Random passwords.

use serde_json::Value;
use serde_json::json;
use strongroom_core::port::Rng;
use zeroize::Zeroize;
use zeroize::Zeroizing;

use crate::aws::call::Call;
use crate::aws::error::Fault;
use crate::aws::input;

/// The kinds of letters, in the order of their switches.
const KINDS: [(&str, &str); 4] = [
    ("ExcludeLowercase", "abcdefghijklmnopqrstuvwxyz"),
    ("ExcludeUppercase", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    ("ExcludeNumbers", "0123456789"),
    ("ExcludePunctuation", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
];
const LENGTH_DEFAULT: i64 = 32;
const LENGTH_MAX: i64 = 4096;
/// Longest list of letters that are not wanted.
const EXCLUDED_CHARS_MAX: usize = 4096;

pub(super) fn draw(call: &mut Call) -> Result<Value, Fault> {
    let fields = &call.fields;
    let length = input::number(fields, "PasswordLength")?.unwrap_or(LENGTH_DEFAULT);
    if !(1..=LENGTH_MAX).contains(&length) {
        return Err(Fault::Parameter(format!(
            "Password length has to be between 1 and {LENGTH_MAX}."
        )));
    }
    let length = usize::try_from(length).unwrap_or_default();
    let excluded = input::text(fields, "ExcludeCharacters", 0, EXCLUDED_CHARS_MAX)?;
    let excluded = excluded.unwrap_or_default();
    let mut kinds: Vec<Vec<u8>> = Vec::new();
    let mut add = |letters: &str| {
        let kept = letters.chars().filter(|letter| !excluded.contains(*letter));
        let kept: String = kept.collect();
        if !kept.is_empty() {
            kinds.push(kept.into_bytes());
        }
    };
    for (switch, letters) in KINDS {
        if !input::flag(fields, switch)? {
            add(letters);
        }
    }
    if input::flag(fields, "IncludeSpace")? {
        add(" ");
    }
    let each = input::perhaps(fields, "RequireEachIncludedType")?.unwrap_or(true);
    if kinds.is_empty() {
        return Err(Fault::Parameter(
            "The exclusions leave no letters to make a password of.".into(),
        ));
    }
    if each && kinds.len() > length {
        return Err(Fault::Parameter(format!(
            "Password length {length} is too short for the {} types of letters that are required.",
            kinds.len()
        )));
    }
    let password = password(&*call.request.node.rng, &kinds, length, each);
    Ok(json!({ "RandomPassword": password.as_str() }))
}

/// Letters drawn evenly from all kinds; where each kind is wanted, drawn again until all are there
/// — or, where that may take long, with one of each put at a random place.
fn password(rng: &dyn Rng, kinds: &[Vec<u8>], length: usize, each: bool) -> Zeroizing<String> {
    let all: Vec<u8> = kinds.concat();
    let mut letters = Zeroizing::new(vec![0; length]);
    for letter in letters.iter_mut() {
        *letter = all[below(rng, all.len())];
    }
    if each {
        // One place for each kind, no two the same: the first of a shuffled list.
        let mut places: Vec<usize> = (0..length).collect();
        for (at, kind) in kinds.iter().enumerate() {
            let other = at + below(rng, length - at);
            places.swap(at, other);
            letters[places[at]] = kind[below(rng, kind.len())];
        }
    }
    let mut text = Zeroizing::new(String::with_capacity(length));
    text.extend(letters.iter().map(|letter| char::from(*letter)));
    text
}

/// A number below a bound of at most 4096, all alike.
fn below(rng: &dyn Rng, bound: usize) -> usize {
    let bound = u32::try_from(bound).unwrap_or(1).max(1);
    let limit = u32::MAX - u32::MAX % bound;
    loop {
        let mut bytes = [0; 4];
        rng.fill(&mut bytes);
        let drawn = u32::from_le_bytes(bytes);
        bytes.zeroize();
        if drawn < limit {
            return usize::try_from(drawn % bound).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use strongroom_crypto::SystemRng;

    use super::*;

    #[test]
    fn each_kind_is_there_when_it_is_wanted() {
        let kinds: Vec<Vec<u8>> = KINDS
            .iter()
            .map(|(_, kind)| kind.as_bytes().into())
            .collect();
        for length in [4, 5, 32, 4096] {
            for _ in 0..50 {
                let drawn = password(&SystemRng, &kinds, length, true);
                assert_eq!(drawn.len(), length);
                for kind in &kinds {
                    let has = drawn.bytes().any(|letter| kind.contains(&letter));
                    assert!(has, "{}", drawn.as_str());
                }
            }
        }
    }

    #[test]
    fn letters_are_drawn_evenly() {
        let kinds = vec![b"abc".to_vec()];
        let drawn = password(&SystemRng, &kinds, 3000, false);
        for letter in b"abc" {
            let count = drawn.bytes().filter(|other| other == letter).count();
            assert!((850..1150).contains(&count), "{count}");
        }
    }
}
