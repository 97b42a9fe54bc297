use super::*;
use crate::hazmat::SystemRng;

/// Five shares, three needed, as OpenBao 2.7.2 gave them at `operator init`.
const OPENBAO_SHARES: [&str; 5] = [
    "YJBwOts5z/qTX9hzJXcPqQ120WVbTIhtBxHO4Jw+thJK",
    "iWbnGzXeLqbomIIkkW86aYJGrPdM9wG8Kq13WOEDFTvY",
    "bN4lZDKx7FfTRXfyK5jDHV5h2n5/mjocbEg6u+EsrZ7I",
    "xccXecSgEk2OMf1ccVGjY2az6SdmTGAZ4xL5kfltR3Wf",
    "2IkTpxCeFHJnP7PJe1tnMqEY4328sAs+vfOb2x9L9VHs",
];

fn share(text: &str) -> UnsealShare {
    UnsealShare::parse(&SecretValue::copy_from(text.as_bytes())).unwrap()
}

fn copy(share: &UnsealShare) -> UnsealShare {
    UnsealShare(share.0.clone())
}

/// The shares that a number's bits name.
fn subset(shares: &[UnsealShare], bits: usize) -> Vec<UnsealShare> {
    let chosen = shares.iter().enumerate();
    chosen
        .filter(|(at, _)| bits >> at & 1 == 1)
        .map(|(_, share)| copy(share))
        .collect()
}

#[test]
fn the_field_is_a_field() {
    // From the definition: polynomials, multiplied and divided.
    let reference = |a: u8, b: u8| {
        let product = (0..8).fold(0_u32, |sum, bit| {
            sum ^ ((u32::from(a) << bit) * u32::from(b >> bit & 1))
        });
        let rest = (8..16).rev().fold(product, |rest, bit| {
            rest ^ ((0x11b << (bit - 8)) * (rest >> bit & 1))
        });
        u8::try_from(rest).unwrap()
    };
    for a in 0..=255 {
        for b in 0..=255 {
            assert_eq!(mul(a, b), reference(a, b), "{a} * {b}");
        }
        assert_eq!(mul(a, inverse(a)), u8::from(a != 0), "{a}");
    }
}

/// RUSTSEC-2020-0160: a crate that took any number of shares.
#[test]
fn exactly_the_threshold_gives_the_secret_back() {
    let secret = b"0123456789abcdef0123456789abcdef";
    for shares in 2..=10_u8 {
        for threshold in 2..=shares {
            let split = split(&SystemRng, secret, shares, threshold).unwrap();
            assert_eq!(split.len(), usize::from(shares));
            for bits in 1..1_usize << shares {
                let given = subset(&split, bits);
                let is_enough = given.len() >= usize::from(threshold);
                let is_secret = combine(&given).unwrap().as_slice() == secret;
                assert_eq!(is_secret, is_enough, "{shares} {threshold} {bits:b}");
            }
        }
    }
}

#[test]
fn any_three_shares_of_openbao_agree() {
    let shares = OPENBAO_SHARES.map(share);
    let key = combine(&shares[..3]).unwrap();
    assert_eq!(key.len(), 32);
    for bits in 1..1_usize << 5 {
        let given = subset(&shares, bits);
        let is_key = combine(&given).unwrap() == key;
        assert_eq!(is_key, given.len() >= 3, "{bits:b}");
    }
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let split = |secret: &[u8], shares, threshold| {
        split(&SystemRng, secret, shares, threshold).map(|shares| shares.len())
    };
    assert_eq!(split(b"s", 1, 1), Ok(1));
    assert_eq!(split(b"s", 255, 255), Ok(255));
    assert_eq!(split(b"", 3, 2), Err(SplitError::Length));
    assert_eq!(split(&[0; SPLIT_BYTES_MAX], 2, 2), Ok(2));
    assert_eq!(
        split(&[0; SPLIT_BYTES_MAX + 1], 2, 2),
        Err(SplitError::Length)
    );
    assert_eq!(
        split(b"s", 2, 1),
        Err(SplitError::ThresholdOfOne { shares: 2 })
    );
    for (shares, threshold) in [(0, 0), (1, 0), (1, 2), (3, 4)] {
        let refused = SplitError::Threshold { threshold, shares };
        assert_eq!(split(b"s", shares, threshold), Err(refused));
    }
}

#[test]
fn one_share_is_the_secret() {
    let shares = split(&SystemRng, b"key", 1, 1).unwrap();
    assert_eq!(combine(&shares).unwrap().as_slice(), b"key");
    assert_eq!(shares[0].to_hex().expose_secret(), b"6b6579");
}

#[test]
fn shares_that_do_not_belong_together_are_refused() {
    let shares = split(&SystemRng, b"secret", 3, 2).unwrap();
    let twice = [copy(&shares[0]), copy(&shares[1]), copy(&shares[0])];
    assert_eq!(combine(&twice), Err(CombineError::Duplicate));
    assert_eq!(combine(&[]), Err(CombineError::NoShares));
    let mut zero = [copy(&shares[0]), copy(&shares[1])];
    *zero[1].0.last_mut().unwrap() = 0;
    assert_eq!(combine(&zero), Err(CombineError::Zero));
    let mut other = copy(&shares[1]);
    other.0.insert(0, 1);
    assert_eq!(
        combine(&[copy(&shares[0]), other]),
        Err(CombineError::Lengths)
    );
    // A wrong byte is not noticed here: it is another secret.
    let mut wrong = [copy(&shares[0]), copy(&shares[1])];
    wrong[1].0[0] ^= 1;
    assert_ne!(combine(&wrong).unwrap().as_slice(), b"secret");
}

#[test]
fn shares_are_read_as_they_are_written() {
    let made = split(&SystemRng, &[7; 32], 3, 2).unwrap();
    for one in &made {
        for text in [one.to_base64(), one.to_hex()] {
            assert!(UnsealShare::parse(&text).unwrap().is_same(one));
            let typed = String::from_utf8(text.expose_secret().to_vec()).unwrap();
            assert!(share(&format!(" {typed}\n")).is_same(one));
        }
        let upper = String::from_utf8(one.to_hex().expose_secret().to_vec()).unwrap();
        assert!(share(&upper.to_uppercase()).is_same(one));
    }
    assert!(!made[0].is_same(&made[1]));
    for text in [
        "",
        "a",
        "ab",
        "!!!!",
        "abc",
        "é",
        &"ab".repeat(SPLIT_BYTES_MAX + 1),
    ] {
        let text = SecretValue::copy_from(text.as_bytes());
        assert_eq!(UnsealShare::parse(&text).err(), Some(ShareMalformed));
    }
    assert_eq!(format!("{:?}", made[0]), "UnsealShare([redacted])");
}

/// A share of a threshold of two says nothing: for a fixed secret each of its bytes is as likely
/// as any other. Chi-squared with 255 degrees of freedom; 341 is passed once in 3,000 runs of a
/// fair source, and the seed is fixed.
#[test]
fn a_single_share_looks_random() {
    let rng = Counting(std::sync::Mutex::new(0x9e37_79b9_7f4a_7c15));
    let mut counts = [[0_u32; 256]; 2];
    for _ in 0..25_600 {
        let shares = split(&rng, &[0x2a], 2, 2).unwrap();
        let [y, x] = shares[0].0[..] else {
            panic!("two bytes")
        };
        counts[0][usize::from(y)] += 1;
        counts[1][usize::from(x)] += 1;
    }
    assert_eq!(counts[1][0], 0, "no coordinate is zero");
    for (counts, skip) in counts.iter().zip([0, 1]) {
        let expected = 25_600.0 / f64::from(256 - skip);
        let used = counts.iter().skip(usize::try_from(skip).unwrap());
        let chi: f64 = used
            .map(|&n| (f64::from(n) - expected).powi(2) / expected)
            .sum();
        assert!(chi < 341.0, "{chi}");
    }
}

struct Counting(std::sync::Mutex<u64>);

impl Rng for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        let mut state = self.0.lock().unwrap();
        for byte in buffer {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            *byte = (*state >> 32).to_le_bytes()[0];
        }
    }
}
