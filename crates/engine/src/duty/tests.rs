use std::sync::Arc;

use strongroom_core::port::Storage;
use strongroom_crypto::SystemRng;
use strongroom_crypto::barrier::Barrier;
use strongroom_crypto::keyring::Keyring;
use strongroom_store::memory::MemoryStorage;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn state() -> State {
    let keyring = Keyring::generate(&SystemRng, NOW);
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
    State::new(storage, Barrier::new([1; 16], &keyring))
}

/// So many seconds after the beginning, by a clock that is `skew` seconds off.
fn at(seconds: u64, skew: i64) -> Moment {
    let passed = Span::from_seconds(i64::try_from(seconds).unwrap() + skew);
    Moment {
        now: NOW.plus(passed),
        steady: Duration::from_secs(1000 + seconds),
    }
}

fn take(post: &mut Post, state: &State, at: Moment) -> bool {
    pollster::block_on(post.take(state, at)).unwrap()
}

#[test]
fn one_has_it_until_it_stops_renewing() {
    let state = state();
    let (mut one, mut two) = (
        Post::new("work", "one", LEASE_SECONDS),
        Post::new("work", "two", LEASE_SECONDS),
    );
    assert!(take(&mut one, &state, at(0, 0)));
    for seconds in 0..60 {
        assert!(take(&mut one, &state, at(seconds, 0)));
        assert!(!take(&mut two, &state, at(seconds, 0)), "{seconds}");
    }
    // It was renewed last at 50, and seen then.
    assert!(!take(&mut two, &state, at(69, 0)));
    assert!(take(&mut two, &state, at(70, 0)));
    assert!(!take(&mut one, &state, at(71, 0)));
}

#[test]
fn clocks_need_not_agree() {
    for skew in [-3600, -30, 30] {
        let state = state();
        let (mut one, mut two) = (
            Post::new("work", "one", LEASE_SECONDS),
            Post::new("work", "two", LEASE_SECONDS),
        );
        assert!(take(&mut one, &state, at(0, 0)));
        assert!(!take(&mut two, &state, at(1, skew)));
        assert!(!take(&mut two, &state, at(20, skew)), "{skew}");
        assert!(take(&mut two, &state, at(21, skew)), "{skew}");
    }
}

#[test]
fn what_was_left_long_ago_is_taken_at_once() {
    let state = state();
    let (mut one, mut two) = (
        Post::new("work", "one", LEASE_SECONDS),
        Post::new("work", "two", LEASE_SECONDS),
    );
    assert!(take(&mut one, &state, at(0, 0)));
    assert!(!take(&mut two, &state, at(80, 0)));
    let mut three = Post::new("work", "three", LEASE_SECONDS);
    assert!(take(&mut three, &state, at(81, 0)));
    assert!(!take(&mut two, &state, at(82, 0)));
}

#[test]
fn who_looks_before_there_is_work_misses_a_holder_in_time() {
    let state = state();
    let (mut one, mut two) = (Post::new("work", "one", 3), Post::new("work", "two", 3));
    assert!(take(&mut one, &state, at(0, 0)));
    pollster::block_on(two.watch(&state, at(1, 0))).unwrap();
    assert!(!take(&mut two, &state, at(3, 0)));
    // Renewed, it is somebody's for as long again.
    assert!(take(&mut one, &state, at(3, 0)));
    for seconds in 4..7 {
        pollster::block_on(two.watch(&state, at(seconds, 0))).unwrap();
    }
    assert!(take(&mut two, &state, at(7, 0)), "looked at since 4");
    assert!(!take(&mut one, &state, at(8, 0)));
}

#[test]
fn what_was_laid_down_is_taken_at_once() {
    let state = state();
    let (mut one, mut two) = (
        Post::new("work", "one", LEASE_SECONDS),
        Post::new("work", "two", LEASE_SECONDS),
    );
    assert!(take(&mut one, &state, at(0, 0)));
    // Who does not have it lays nothing down.
    pollster::block_on(two.lay_down(&state, NOW)).unwrap();
    assert!(!take(&mut two, &state, at(1, 0)));
    pollster::block_on(one.lay_down(&state, NOW)).unwrap();
    assert!(take(&mut two, &state, at(2, 0)));
    // A late word of the first one changes nothing.
    pollster::block_on(one.lay_down(&state, NOW)).unwrap();
    assert!(!take(&mut one, &state, at(3, 0)));
}

#[test]
fn duties_do_not_touch_each_other() {
    let state = state();
    let (mut one, mut two) = (
        Post::new("work", "one", LEASE_SECONDS),
        Post::new("other", "two", LEASE_SECONDS),
    );
    assert!(take(&mut one, &state, at(0, 0)));
    assert!(take(&mut two, &state, at(0, 0)));
}
