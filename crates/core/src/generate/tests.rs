//! Behaviour of generators.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;

/// A seeded source (splitmix64).
struct Seeded(Mutex<u64>);

impl Seeded {
    fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Rng for Seeded {
    fn fill(&self, buffer: &mut [u8]) {
        let mut state = self.0.lock().unwrap();
        for chunk in buffer.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A source that is stuck.
struct Stuck;

impl Rng for Stuck {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(0);
    }
}

fn parse(inner: &str) -> Result<GeneratorSpec, String> {
    let text = format!("g = {{ {inner} }}");
    let table: Result<BTreeMap<String, GeneratorSpec>, _> = toml::from_str(&text);
    table
        .map(|mut table| table.remove("g").unwrap())
        .map_err(|error| error.message().to_owned())
}

fn spec(inner: &str) -> GeneratorSpec {
    parse(inner).unwrap()
}

fn draw(inner: &str, seed: u64) -> String {
    let now = "2026-12-31T09:00:00.5Z".parse().unwrap();
    let value = spec(inner).generate(&Seeded::new(seed), now);
    value.expose_secret_text().unwrap().to_owned()
}

#[test]
fn declarations_parse_and_print_back() {
    assert_eq!(spec(""), GeneratorSpec::default());
    assert_eq!(
        spec("length = \"64\""),
        spec("type = \"random\", length = 64")
    );
    assert_eq!(spec("charset = \"numeric\""), spec("charset = \"digits\""));
    assert_eq!(
        spec("type = \"hex\", bytes = 16"),
        spec("type = \"hex\", length = 32")
    );
    assert_eq!(
        spec("type = \"base64\""),
        GeneratorSpec::Base64 { bytes: 24 }
    );
    for inner in [
        "",
        "type = \"uuid\"",
        "type = \"base64\", bytes = 32",
        "type = \"timestamp\"",
        "type = \"base64url\", bytes = 32, padding = true",
        "type = \"hex\", length = 7",
        "type = \"password\", length = 20, symbols = \"#!\"",
        "type = \"passphrase\", words = 4",
        "charset = \"äöüßéèêëàáâ\"",
        "charset = \"ab\", allow_short_charset = true",
    ] {
        let first = spec(inner);
        let text = toml::to_string(&BTreeMap::from([("g", first.clone())])).unwrap();
        let again: BTreeMap<String, GeneratorSpec> = toml::from_str(&text).unwrap();
        assert_eq!(again["g"], first, "{text}");
    }
}

#[test]
fn malformed_declarations_are_refused_with_a_reason() {
    for (inner, part) in [
        ("length = 0", "from 1 to 4096, not 0"),
        ("length = -1", "from 1 to 4096, not -1"),
        ("length = 4097", "from 1 to 4096, not 4097"),
        ("length = 1.5", "whole number, not 1.5"),
        ("length = \"many\"", "whole number"),
        ("length = true", "whole number"),
        ("lenght = 3", "unknown field"),
        ("type = \"file\"", "unknown generator type `file`"),
        ("type = \"uuid\", length = 3", "`length` means nothing"),
        ("charset = \"base65\"", "only 6 distinct"),
        (
            "charset = \"a\", allow_short_charset = true",
            "only 1 distinct",
        ),
        ("type = \"base64\", length = 33", "multiple of 4"),
        ("type = \"base64\", length = 32, bytes = 24", "either"),
        ("type = \"password\", length = 2", "too short"),
        (
            "type = \"password\", symbols = \"a\"",
            "neither letters nor digits",
        ),
        ("type = \"passphrase\", words = 65", "at most 64 words"),
    ] {
        let error = parse(inner).unwrap_err();
        assert!(error.contains(part), "{inner}: {error}");
    }
    assert!(parse("length = 4096").is_ok());
}

#[test]
fn each_generator_has_its_shape() {
    for seed in 0..200 {
        let all = |text: &str, test: fn(char) -> bool| text.chars().all(test);
        assert!(all(&draw("length = 64", seed), |c| c.is_ascii_alphanumeric()));
        assert_eq!(draw("length = 64", seed).len(), 64);
        assert!(
            ValueType::Uuid
                .check(draw("type = \"uuid\"", seed).as_bytes())
                .is_ok()
        );
        assert_eq!(&draw("type = \"uuid\"", seed)[14..15], "4");
        assert!("89ab".contains(&draw("type = \"uuid\"", seed)[19..20]));
        let encoded = draw("type = \"base64\", bytes = 32", seed);
        assert_eq!(
            data_encoding::BASE64
                .decode(encoded.as_bytes())
                .unwrap()
                .len(),
            32
        );
        let encoded = draw("type = \"base64url\", bytes = 31", seed);
        assert_eq!(
            data_encoding::BASE64URL_NOPAD
                .decode(encoded.as_bytes())
                .unwrap()
                .len(),
            31
        );
        let password = draw("type = \"password\", length = 4, symbols = \"#\"", seed);
        assert!(password.contains('#') && password.contains(|c: char| c.is_ascii_digit()));
        assert!(password.contains(|c: char| c.is_ascii_lowercase()));
        assert!(password.contains(|c: char| c.is_ascii_uppercase()));
        assert_eq!(draw("type = \"passphrase\"", seed).split('-').count(), 8);
        let umlauts = draw("charset = \"äöüßéèêëàáâ\", length = 20", seed);
        assert_eq!(umlauts.chars().count(), 20);
    }
    assert_eq!(draw("type = \"timestamp\"", 1), "2026-12-31T09:00:00Z");
}

#[test]
fn no_value_is_longer_than_is_said() {
    for inner in [
        "length = 64",
        "type = \"uuid\"",
        "type = \"base64\", bytes = 32",
        "type = \"password\", length = 20",
        "type = \"passphrase\"",
        "type = \"timestamp\"",
    ] {
        let most = parse(inner).unwrap().chars_max().unwrap();
        let longest = (0..50).map(|seed| draw(inner, seed).chars().count()).max();
        assert_eq!(Some(most), longest, "{inner}");
    }
}

#[test]
fn a_stuck_source_still_ends() {
    let now = Timestamp::from_micros(0);
    let value = spec("type = \"password\", symbols = \"#\"").generate(&Stuck, now);
    let text = value.expose_secret_text().unwrap();
    assert!(text.starts_with("aA0#"), "{text}");
}

/// Draws a million characters and compares their counts with even ones.
fn check_evenness(charset: &str, seed: u64) {
    let draws = 1_000_000_u32;
    let one = spec(&format!("charset = \"{charset}\", length = 4000"));
    let GeneratorSpec::Random { charset, .. } = &one else {
        panic!("not random")
    };
    let chars = charset.chars();
    let mut counts = vec![0_u32; 0x100];
    let rng = Seeded::new(seed);
    for _ in 0..draws / 4_000 {
        let value = one.generate(&rng, Timestamp::from_micros(0));
        for c in value.expose_secret_text().unwrap().chars() {
            counts[c as usize] += 1;
        }
    }
    let drawn: Vec<u32> = chars.iter().map(|c| counts[*c as usize]).collect();
    assert_eq!(drawn.iter().sum::<u32>(), draws);
    let expected = f64::from(draws) / chars.len() as f64;
    let chi: f64 = drawn
        .iter()
        .map(|count| (f64::from(*count) - expected).powi(2) / expected)
        .sum();
    // Wilson and Hilferty: the 0.1 % point of the distribution.
    let freedom = (chars.len() - 1) as f64;
    let ninth = 2.0 / (9.0 * freedom);
    let bound = freedom * (1.0 - ninth + 3.09 * ninth.sqrt()).powi(3);
    assert!(chi < bound, "{charset:?}: {chi} over {bound}");
}

#[test]
fn every_charset_is_drawn_evenly() {
    let charsets = [
        "alnum",
        "alpha",
        "lower",
        "upper",
        "digits",
        "hex",
        "base64",
        "base64url",
        "ascii",
        "0123456789abc",
        "äöüßéèêëàáâ",
    ];
    std::thread::scope(|scope| {
        for (seed, charset) in (7..).zip(charsets) {
            scope.spawn(move || check_evenness(charset, seed));
        }
    });
}

#[test]
fn numbers_past_one_byte_are_drawn_evenly_too() {
    let rng = Seeded::new(3);
    let mut source = draw::Source::new(&rng);
    let mut low = 0;
    for _ in 0..100_000 {
        let number = source.below(300);
        assert!(number < 300);
        low += usize::from(number < 150);
    }
    assert!((49_200..50_800).contains(&low), "{low}");
}

#[test]
fn entropy_is_what_the_choices_make() {
    let near = |inner: &str, bits: f64| {
        let got = spec(inner).entropy_bits();
        assert!((got - bits).abs() < 0.01, "{inner}: {got}");
    };
    near("", 32.0 * 62_f64.log2());
    near("type = \"uuid\"", 122.0);
    near("type = \"base64\", bytes = 32", 256.0);
    near("type = \"base64url\", bytes = 31", 248.0);
    near("type = \"hex\", length = 32", 128.0);
    near("type = \"passphrase\"", 128.0);
    near("type = \"timestamp\"", 0.0);
    // Two characters of two classes: 26 x 10 x 2 of 36 x 36.
    near(
        "type = \"password\", length = 2, classes = [\"lower\", \"digits\"]",
        520_f64.log2(),
    );
    assert!(!spec("type = \"timestamp\"").makes_secrets());
}

#[test]
fn formats_are_proved_or_refuted() {
    let prove = |inner: &str, pattern: &str| match spec(inner)
        .proves(Some(&Pattern::parse(pattern).unwrap()), None)
    {
        Proof::Always => "always",
        Proof::Never { .. } => "never",
        Proof::Sometimes { .. } => "sometimes",
    };
    for (inner, pattern, expected) in [
        ("length = 64", "^[A-Za-z0-9]{32,}$", "always"),
        ("length = 31", "^[A-Za-z0-9]{32,}$", "never"),
        ("length = 32", "^[a-z]{32}$", "sometimes"),
        ("length = 32", "^sk-", "never"),
        ("length = 32", "", "always"),
        ("length = 32", "a", "sometimes"),
        (
            "length = 32, charset = \"base64\"",
            "^[A-Za-z0-9]+$",
            "sometimes",
        ),
        (
            "type = \"uuid\"",
            "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-",
            "always",
        ),
        ("type = \"uuid\"", "^[0-9a-f]{32}$", "never"),
        (
            "type = \"timestamp\"",
            r"^\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\dZ$",
            "always",
        ),
        (
            "type = \"base64\", bytes = 32",
            "^[A-Za-z0-9+/]{43}=$",
            "always",
        ),
        ("type = \"base64\", bytes = 32", r"^\S+[^+]=$", "always"),
        ("type = \"password\"", "[0-9]", "always"),
        ("type = \"password\"", "[0-9].*[0-9]", "sometimes"),
        ("type = \"password\", length = 3", "^[a-z]+$", "never"),
        (
            "type = \"passphrase\"",
            r"^[a-z]{5}(?:-[a-z]{5}){7}$",
            "always",
        ),
        ("charset = \"äöüßéèêëàáâ\", length = 5", "^.{5}$", "always"),
        ("length = 4096", "^[A-Za-z0-9]+$", "always"),
        ("length = 200", "(?:a.{12}b|c.{13}d).*$", "sometimes"),
    ] {
        assert_eq!(prove(inner, pattern), expected, "{inner} {pattern}");
    }
}

#[test]
fn types_are_proved_too() {
    let prove = |inner: &str, value_type: ValueType| spec(inner).proves(None, Some(value_type));
    assert_eq!(prove("type = \"hex\"", ValueType::Hex), Proof::Always);
    assert_eq!(prove("type = \"uuid\"", ValueType::Uuid), Proof::Always);
    assert_eq!(
        prove("type = \"base64\", bytes = 32", ValueType::Base64),
        Proof::Always
    );
    assert_eq!(prove("length = 32", ValueType::Base64url), Proof::Always);
    assert_eq!(prove("length = 32", ValueType::Text), Proof::Always);
    assert!(matches!(
        prove("", ValueType::PostgresUrl),
        Proof::Never { .. }
    ));
    assert!(matches!(prove("", ValueType::Email), Proof::Never { .. }));
    assert!(matches!(
        prove("length = 5, charset = \"digits\"", ValueType::Port),
        Proof::Sometimes { .. }
    ));
}

#[test]
fn a_proof_agrees_with_what_is_drawn() {
    let specs = [
        "length = 6",
        "type = \"uuid\"",
        "type = \"password\", length = 5",
        "type = \"base64\", bytes = 5",
        "type = \"passphrase\", words = 1",
        "charset = \"0123456789\", length = 3",
        "type = \"hex\", length = 4",
        "type = \"timestamp\"",
    ];
    for inner in specs {
        let one = spec(inner);
        for value_type in ValueType::all() {
            let proof = one.proves(None, Some(value_type));
            for seed in 0..50 {
                let good = value_type.check(draw(inner, seed).as_bytes()).is_ok();
                match proof {
                    Proof::Always => assert!(good, "{inner} {value_type}"),
                    Proof::Never { .. } => assert!(!good, "{inner} {value_type}"),
                    Proof::Sometimes { .. } => {}
                }
            }
        }
    }
}

#[test]
fn drawing_to_a_format_tries_again_and_gives_up() {
    let now = Timestamp::from_micros(0);
    let rng = Seeded::new(1);
    let digit_first = Pattern::parse("^[0-9]").unwrap();
    let value = spec("")
        .generate_matching(Some(&digit_first), None, &rng, now)
        .unwrap();
    assert!(value.expose_secret()[0].is_ascii_digit());
    let never = Pattern::parse("^sk-").unwrap();
    let error = spec("")
        .generate_matching(Some(&never), None, &rng, now)
        .unwrap_err();
    assert!(matches!(error, GenerateError::Never { .. }));
    let rare = Pattern::parse("^[a-c]{32}$").unwrap();
    let error = spec("")
        .generate_matching(Some(&rare), None, &rng, now)
        .unwrap_err();
    assert!(matches!(
        error,
        GenerateError::Unlucky {
            attempts: 1_000,
            ..
        }
    ));
    assert!(
        error
            .to_string()
            .ends_with("the last does not match its format ^[a-c]{32}$")
    );
}
