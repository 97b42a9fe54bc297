use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use strongroom_core::lease::Lease;
use strongroom_core::lease::Limits;
use strongroom_core::lease::Terms;

use super::*;

const START: i64 = 1_795_000_000_000_000;
const SCHEDULES: u64 = 100_000;
const SECOND: i64 = 1_000_000;
const YEARS: i64 = 10 * 365 * 86_400;

/// Both clocks of a machine, in microseconds; the steady one goes, the other is set.
#[derive(Default)]
struct Machine {
    steady: AtomicU64,
    wall: AtomicI64,
}

impl Machine {
    fn at(wall: i64) -> Arc<Self> {
        let machine = Self::default();
        machine.wall.store(wall, Ordering::SeqCst);
        machine.steady.store(77_000_000, Ordering::SeqCst);
        Arc::new(machine)
    }

    fn pass(&self, micros: i64, is_wall_stopped: bool) {
        let more = u64::try_from(micros).unwrap();
        self.steady.fetch_add(more, Ordering::SeqCst);
        if !is_wall_stopped {
            self.wall.fetch_add(micros, Ordering::SeqCst);
        }
    }

    fn set(&self, by: i64) {
        self.wall.fetch_add(by * SECOND, Ordering::SeqCst);
    }

    fn passed(&self) -> i64 {
        i64::try_from(self.steady.load(Ordering::SeqCst)).unwrap()
    }
}

fn clock(machine: &Arc<Machine>) -> impl Clock + use<> {
    let (one, two) = (Arc::clone(machine), Arc::clone(machine));
    let wall = move || Timestamp::from_micros(one.wall.load(Ordering::SeqCst));
    let steady = move || Duration::from_micros(two.steady.load(Ordering::SeqCst));
    SteadyClock::telling(wall, steady, |_| {})
}

struct Draw(u64);

impl Draw {
    fn below(&mut self, end: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        i64::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }

    /// How the machine's clock is set, in seconds: a day, years, a little, a leap second.
    fn jump(&mut self) -> i64 {
        match self.below(6) {
            0 => 86_400,
            1 => -86_400,
            2 => YEARS,
            3 => -YEARS,
            4 => [-1, 1][usize::try_from(self.below(2)).unwrap()],
            _ => self.below(4_000) - 2_000,
        }
    }
}

#[test]
fn a_clock_that_is_set_ends_nothing_and_lengthens_nothing() {
    for seed in 1..=SCHEDULES {
        schedule(&mut Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
    }
}

/// One lease and one deadline (of a rotation, a duty), under a clock that is set again and again.
fn schedule(draw: &mut Draw) {
    let machine = Machine::at(START);
    let clock = clock(&machine);
    machine.pass(draw.below(100 * SECOND), false);
    let limits = Limits::system(Span::from_seconds(600), Span::from_seconds(3_600));
    let terms = Terms {
        ttl: Span::from_seconds(1 + draw.below(900)),
        max_ttl: Span::from_seconds(1 + draw.below(3_000)),
        ..Terms::NONE
    };
    let issued = machine.passed();
    let (mut lease, _) = Lease::issue(limits, terms, clock.now());
    let most = terms.max_ttl.as_seconds().min(3_600) * SECOND;
    // What it is owed: from its issue or its last renewal.
    let mut owed = machine.passed() + lease.duration().as_seconds() * SECOND;
    let wait = 1 + draw.below(120);
    let (deadline, due) = (
        clock.now().plus(Span::from_seconds(wait)),
        machine.passed() + wait * SECOND,
    );
    let mut last = clock.now();
    let is_stopped = draw.below(10) == 0;
    for _ in 0..12 {
        machine.pass(draw.below(400 * SECOND), is_stopped);
        if draw.below(2) == 0 {
            machine.set(draw.jump());
        }
        let now = clock.now();
        assert!(now >= last, "it never goes back");
        last = now;
        let (passed, is_over) = (machine.passed(), lease.is_expired(now));
        assert!(
            is_over || passed - issued < most + SECOND,
            "it lives too long"
        );
        assert!(!is_over || passed >= owed - 5 * SECOND, "it ends too early");
        assert_eq!(now >= deadline, passed >= due, "what waits is due in time");
        if draw.below(3) == 0
            && let Ok((renewed, _)) = lease.renew(limits, terms, None, now)
        {
            lease = renewed;
            owed = passed + lease.duration().as_seconds() * SECOND;
        }
    }
}

#[test]
fn what_others_compare_goes_by_the_machines_clock() {
    let machine = Machine::at(START);
    let clock = clock(&machine);
    let end = clock.now().plus(Span::from_seconds(60));
    machine.set(86_400);
    assert_eq!(clock.now().as_micros(), START);
    assert_eq!(clock.wall().as_micros(), START + 86_400 * SECOND);
    // Whichever of the two is right, a database lets in until then.
    assert_eq!(for_others(&clock, end).seconds_since(clock.wall()), 60);
    machine.set(-86_400);
    assert_eq!(for_others(&clock, end), end);
    machine.set(-86_400);
    assert_eq!(clock.wall().as_micros(), START - 86_400 * SECOND);
    assert_eq!(for_others(&clock, end), end);
}

#[test]
fn a_clock_that_was_not_set_yet_is_followed() {
    let machine = Machine::at(0);
    let clock = clock(&machine);
    machine.pass(30 * SECOND, false);
    assert_eq!(clock.now().as_micros(), 30 * SECOND);
    machine.wall.store(START, Ordering::SeqCst);
    assert_eq!(clock.now().as_micros(), START);
    // From then on it is held to.
    machine.set(-YEARS * 6);
    assert_eq!(clock.now().as_micros(), START);
}

#[test]
fn whoever_runs_the_server_is_told_once() {
    static TOLD: AtomicU64 = AtomicU64::new(0);
    let machine = Machine::at(START);
    let (one, two) = (Arc::clone(&machine), Arc::clone(&machine));
    let wall = move || Timestamp::from_micros(one.wall.load(Ordering::SeqCst));
    let steady = move || Duration::from_micros(two.steady.load(Ordering::SeqCst));
    let clock = SteadyClock::telling(wall, steady, |text| {
        assert!(text.contains("clock"), "{text}");
        TOLD.fetch_add(1, Ordering::SeqCst);
    });
    machine.set(3);
    clock.now();
    assert_eq!(TOLD.load(Ordering::SeqCst), 0);
    machine.set(3_600);
    for _ in 0..3 {
        clock.now();
    }
    assert_eq!(TOLD.load(Ordering::SeqCst), 1);
    machine.set(-3_603);
    clock.now();
    assert_eq!(TOLD.load(Ordering::SeqCst), 2);
}
