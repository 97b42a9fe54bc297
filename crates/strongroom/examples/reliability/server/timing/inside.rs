//! Comparisons of secrets in this process: a fixed input against random ones.

use std::hint::black_box;
use std::time::Instant;

use strongroom_core::port::Rng;
use strongroom_core::secret::SecretValue;
use strongroom_core::time::Timestamp;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::header::Header;
use strongroom_crypto::shamir;
use strongroom_crypto::shamir::UnsealShare;

use super::PROCESS;
use super::Two;
use crate::draw::Draw;
use crate::rig::AnyResult;

/// Measured at once: one alone takes less time than the clock's steps.
const BATCH: u64 = 16;
/// Different inputs of each kind.
const INPUTS: usize = 64;

pub(super) fn run(samples: u64) -> AnyResult<bool> {
    let compare = compare(samples);
    let keyed = keyed(samples);
    let combine = combine(samples / 50)?;
    Ok(compare && keyed && combine)
}

/// `ct_eq` with a secret that differs at the last byte, and with random ones.
fn compare(samples: u64) -> bool {
    let secret = random();
    let near = altered(&secret);
    let inputs = [
        inputs(|| SecretValue::copy_from(&near)),
        inputs(|| SecretValue::copy_from(&random())),
    ];
    let secret = SecretValue::copy_from(&secret);
    let times = measure(samples, &inputs, |input| {
        black_box(secret.ct_eq(black_box(input)));
    });
    times.row("comparing tokens: one byte off, or random", PROCESS)
}

/// The keyed hash that finds a token's record.
fn keyed(samples: u64) -> bool {
    let (header, unsealed) = Header::create(&SystemRng, Timestamp::from_micros(0));
    let barrier = Barrier::new(header.store_id(), &unsealed.keyring);
    let inputs = [inputs(|| [0_u8; 32]), inputs(random)];
    let times = measure(samples, &inputs, |input| {
        black_box(barrier.keyed_hash("token", black_box(input)));
    });
    times.row("HMAC of a token: zeros, or random", PROCESS)
}

/// Shares of the secret that is all zeros, and of random ones.
fn combine(samples: u64) -> AnyResult<bool> {
    let split = |secret: &[u8; 32]| -> AnyResult<Vec<UnsealShare>> {
        let mut shares = shamir::split(&SystemRng, secret, 5, 3)?;
        shares.truncate(3);
        Ok(shares)
    };
    let mut inputs = [Vec::new(), Vec::new()];
    for _ in 0..INPUTS {
        let [zeros, others] = &mut inputs;
        zeros.push(split(&[0; 32])?);
        others.push(split(&random())?);
    }
    let times = measure(samples, &inputs, |shares| {
        drop(black_box(shamir::combine(black_box(shares))));
    });
    Ok(times.row(
        "combining unseal shares: of zeros, or of a random secret",
        PROCESS,
    ))
}

/// Runs both kinds in an order that is drawn.
fn measure<T>(samples: u64, inputs: &[Vec<T>; 2], work: impl Fn(&T)) -> Two {
    let mut draw = Draw::new(3_100);
    let mut times = Two::default();
    for _ in 0..samples * 2 / BATCH {
        let which = usize::from(draw.below(2) == 1);
        let at = usize::try_from(draw.below(INPUTS as u64)).unwrap_or(0);
        let Some(input) = inputs.get(which).and_then(|inputs| inputs.get(at)) else {
            continue;
        };
        let begun = Instant::now();
        for _ in 0..BATCH {
            work(input);
        }
        times.note(which, begun.elapsed().as_secs_f64());
    }
    times
}

fn inputs<T>(make: impl Fn() -> T) -> Vec<T> {
    (0..INPUTS).map(|_| make()).collect()
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    SystemRng.fill(&mut bytes);
    bytes
}

fn altered(bytes: &[u8; 32]) -> [u8; 32] {
    let mut near = *bytes;
    if let Some(byte) = near.last_mut() {
        *byte ^= 1;
    }
    near
}
