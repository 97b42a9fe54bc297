use super::*;

fn seconds(seconds: i64) -> Span {
    Span::from_seconds(seconds)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn system() -> Limits {
    Limits::system(seconds(0), seconds(0))
}

const HOUR: i64 = 3_600;

#[test]
fn times_are_read_as_vault_reads_them() {
    for (text, expected) in [
        ("30m", 1_800),
        ("24h", 86_400),
        ("7d", 604_800),
        ("90", 90),
        ("1.5h", 5_400),
        ("1h30m", 5_400),
        ("", 0),
        ("0", 0),
        ("0s", 0),
        ("+0", 0),
        ("+5m", 300),
        ("5m5m", 600),
        ("30s20m", 1_230),
        (".5h", 1_800),
        ("5.h", 18_000),
        ("2562047h", 9_223_369_200),
    ] {
        assert_eq!(parse_duration(text), Ok(seconds(expected)), "{text}");
    }
}

#[test]
fn a_part_of_a_second_counts_as_one() {
    for (text, expected) in [
        ("500ms", 1),
        ("1500ms", 2),
        ("1us", 1),
        ("1µs", 1),
        ("1ns", 1),
        ("0.0000000001h", 1),
        ("1000ms", 1),
    ] {
        assert_eq!(parse_duration(text), Ok(seconds(expected)), "{text}");
    }
}

#[test]
fn what_is_no_time_is_refused() {
    use ParseDurationError::Malformed;
    use ParseDurationError::Negative;
    use ParseDurationError::TooLong;
    for (text, expected) in [
        ("90.7", Malformed),
        ("1d12h", Malformed),
        ("1w", Malformed),
        ("1y", Malformed),
        (" 5m", Malformed),
        ("5m ", Malformed),
        ("5 m", Malformed),
        ("1H", Malformed),
        ("1e3", Malformed),
        ("0x10", Malformed),
        ("1_000", Malformed),
        ("d", Malformed),
        ("1.5d", Malformed),
        ("m", Malformed),
        (".", Malformed),
        (".h", Malformed),
        ("1.2.3h", Malformed),
        ("1h-5m", Malformed),
        ("+", Malformed),
        ("٣m", Malformed),
        ("-5m", Negative),
        ("-5", Negative),
        ("-1d", Negative),
        ("9999999999h", TooLong),
        ("9999999999999999999999", TooLong),
        ("9999999999999999999999d", TooLong),
        ("99999999999999999999999999999999999999999999h", TooLong),
        ("9223372037", TooLong),
    ] {
        assert_eq!(parse_duration(text), Err(expected), "{text}");
    }
}

#[test]
fn times_are_written_as_vault_writes_them() {
    for (span, long, short) in [
        (0, "0s", "0s"),
        (59, "59s", "59s"),
        (90, "1m30s", "1m30s"),
        (1_800, "30m0s", "30m"),
        (3_600, "1h0m0s", "1h"),
        (5_400, "1h30m0s", "1h30m"),
        (3_601, "1h0m1s", "1h0m1s"),
        (2_764_800, "768h0m0s", "768h"),
    ] {
        assert_eq!(format_duration(seconds(span)), long);
        assert_eq!(format_short(seconds(span)), short);
        assert_eq!(parse_duration(long), Ok(seconds(span)));
        assert_eq!(parse_duration(short), Ok(seconds(span)));
    }
}

/// What OpenBao 2.7.2 answers to `auth/token/create` with these: the TTL, and whether it warns.
#[test]
fn leases_are_given_as_openbao_gives_them() {
    let terms = |ttl, explicit_max_ttl, period| Terms {
        ttl: seconds(ttl),
        explicit_max_ttl: seconds(explicit_max_ttl),
        period: seconds(period),
        ..Terms::NONE
    };
    for (terms, ttl, warning) in [
        (Terms::NONE, 2_764_800, None),
        (terms(HOUR, 0, 0), HOUR, None),
        (
            terms(9_000 * HOUR, 0, 0),
            2_764_800,
            Some(r#"TTL of "9000h" exceeded the effective max_ttl of "768h""#),
        ),
        (
            terms(HOUR, HOUR / 2, 0),
            HOUR / 2,
            Some(r#"TTL of "1h" exceeded the effective max_ttl of "30m""#),
        ),
        (
            terms(0, 2 * HOUR, 0),
            2 * HOUR,
            Some(r#"TTL of "768h" exceeded the effective max_ttl of "2h""#),
        ),
        (terms(0, 0, HOUR), HOUR, None),
        (
            terms(0, 0, 9_000 * HOUR),
            2_764_800,
            Some(r#"period of "9000h" exceeded the effective max_ttl of "768h""#),
        ),
        (
            terms(0, HOUR / 2, HOUR),
            HOUR / 2,
            Some(r#"period of "1h" exceeded the effective max_ttl of "30m""#),
        ),
        (terms(HOUR / 3, 0, HOUR), HOUR, None),
        (terms(0, 9_000 * HOUR, 0), 2_764_800, None),
    ] {
        let (lease, capped) = Lease::issue(system(), terms, at(1_000));
        assert_eq!(lease.duration(), seconds(ttl), "{terms:?}");
        assert_eq!(lease.remaining(at(1_000)), seconds(ttl));
        let text = capped.map(|capped| capped.to_string());
        let begins = text.as_deref().and_then(|text| text.split(';').next());
        assert_eq!(begins, warning, "{terms:?}");
    }
}

#[test]
fn a_renewal_asks_for_its_own_time() {
    let hour = Terms {
        ttl: seconds(HOUR),
        ..Terms::NONE
    };
    let (lease, _) = Lease::issue(system(), hour, at(0));
    for (increment, ttl) in [
        (None, HOUR),
        (Some(0), HOUR),
        (Some(-5), HOUR),
        (Some(60), 60),
        (Some(10 * HOUR), 10 * HOUR),
        (Some(9_000 * HOUR), 2_764_790),
    ] {
        let (renewed, capped) = lease
            .renew(system(), hour, increment.map(seconds), at(10))
            .unwrap();
        assert_eq!(renewed.duration(), seconds(ttl));
        assert_eq!(renewed.issued_at, at(0));
        assert_eq!(capped.is_some(), ttl == 2_764_790);
    }
}

#[test]
fn a_role_shortens_a_mount_and_a_mount_replaces_the_system() {
    let mount = system().within(Some(seconds(HOUR)), Some(seconds(3 * HOUR)));
    assert_eq!(mount.default_ttl(), seconds(HOUR));
    assert_eq!(mount.max_ttl(), seconds(3 * HOUR));
    let longer = system().within(None, Some(seconds(10_000 * HOUR)));
    assert_eq!(longer.max_ttl(), seconds(10_000 * HOUR));
    assert_eq!(longer.default_ttl(), SYSTEM_TTL);
    let low = system().within(None, Some(seconds(60)));
    assert_eq!(low.default_ttl(), seconds(60));
    for (role_max, ttl) in [(0, 3 * HOUR), (2 * HOUR, 2 * HOUR), (9 * HOUR, 3 * HOUR)] {
        let terms = Terms {
            ttl: seconds(100 * HOUR),
            max_ttl: seconds(role_max),
            ..Terms::NONE
        };
        assert_eq!(Lease::issue(mount, terms, at(0)).0.duration(), seconds(ttl));
    }
}

/// CVE-2021-32923: a token renewed in its last second lived for ever.
#[test]
fn a_renewal_at_the_last_moment_does_not_pass_the_end() {
    let terms = Terms {
        ttl: seconds(100),
        max_ttl: seconds(150),
        ..Terms::NONE
    };
    let (lease, _) = Lease::issue(system(), terms, at(0));
    let micros = |micros| Timestamp::from_micros(micros);
    for (now, expires) in [
        (at(99), Some(at(150))),
        (micros(99_999_999), Some(at(150))),
        (at(100), None),
        (micros(100_000_001), None),
        (at(-1_000_000), Some(at(100))),
    ] {
        let renewed = lease.renew(system(), terms, None, now).ok();
        assert_eq!(renewed.map(|(lease, _)| lease.expires_at), expires);
    }
    let (late, _) = lease.renew(system(), terms, None, at(99)).unwrap();
    let (later, capped) = late
        .renew(system(), terms, None, micros(149_999_999))
        .unwrap();
    assert_eq!(later.expires_at, at(150));
    assert_eq!(later.duration(), seconds(0));
    assert!(capped.is_some());
    assert_eq!(
        later.renew(system(), terms, None, at(150)),
        Err(LeaseExpired)
    );
}

#[test]
fn times_at_the_end_of_the_scale_do_not_overflow() {
    let most = Span::from_seconds(i64::MAX);
    let terms = Terms {
        ttl: most,
        max_ttl: most,
        explicit_max_ttl: most,
        period: most,
    };
    let end = Timestamp::from_micros(i64::MAX);
    for now in [Timestamp::from_micros(i64::MIN), at(0), end] {
        let (lease, _) = Lease::issue(Limits::system(most, most), terms, now);
        let _ = lease.renew(system(), terms, Some(most), now);
        let _ = (lease.remaining(end), lease.duration());
    }
}

/// A hundred thousand leases with random terms, renewed at random and at the edges of their lives
/// by a clock that also stops and steps back.
#[test]
fn no_schedule_outlives_the_longest_ttl() {
    let mut draws = Draws(0x9e37_79b9_7f4a_7c15);
    for schedule in 0..100_000 {
        let terms = Terms {
            ttl: draws.span(),
            max_ttl: draws.span(),
            explicit_max_ttl: draws.span(),
            period: draws.span(),
        };
        let limits = Limits::system(draws.span(), draws.span());
        let limits = limits.within(Some(draws.span()), Some(draws.span()));
        let issued = at(draws.below(1_000));
        let (mut lease, _) = Lease::issue(limits, terms, issued);
        let mut latest = issued;
        for _ in 0..8 {
            let end = lease.expires_at.as_micros();
            let now = Timestamp::from_micros(match draws.below(7) {
                0 => end - 1_000_000,
                1 => end - 1,
                2 => end,
                3 => end + 1,
                4 => issued.as_micros() - draws.below(1 << 40),
                5 => latest.as_micros(),
                _ => latest.as_micros() + draws.below(2_000_000_000),
            });
            let increment = Some(draws.span());
            latest = latest.max(now);
            match lease.renew(limits, terms, increment, now) {
                Ok((renewed, _)) => {
                    assert!(now < lease.expires_at, "schedule {schedule}");
                    lease = renewed;
                }
                Err(LeaseExpired) => assert!(latest >= lease.expires_at, "schedule {schedule}"),
            }
            let end = bound(limits, terms, issued, latest);
            assert!(lease.expires_at <= end, "schedule {schedule}: {lease:?}");
            assert_eq!(lease.issued_at, issued);
        }
    }
}

/// The latest end that is right, written another way than the code under test.
fn bound(limits: Limits, terms: Terms, issued: Timestamp, latest: Timestamp) -> Timestamp {
    let mut ends = Vec::new();
    let role = [terms.max_ttl.as_seconds(), limits.max_ttl().as_seconds()];
    let longest = role.into_iter().filter(|&max| max > 0).min().unwrap();
    if terms.period.as_seconds() > 0 {
        let step = terms.period.as_seconds().min(longest);
        ends.push(latest.as_micros() + step * 1_000_000);
    } else {
        ends.push(issued.as_micros() + longest * 1_000_000);
    }
    if terms.explicit_max_ttl.as_seconds() > 0 {
        ends.push(issued.as_micros() + terms.explicit_max_ttl.as_seconds() * 1_000_000);
    }
    Timestamp::from_micros(ends.into_iter().min().unwrap())
}

/// Numbers that look random and are the same in every run.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        i64::try_from(self.0 >> 1).unwrap() % end
    }

    /// Nothing in a third of the cases.
    fn span(&mut self) -> Span {
        match self.below(3) {
            0 => seconds(0),
            1 => seconds(self.below(10) - 2),
            _ => seconds(self.below(5_000)),
        }
    }
}
