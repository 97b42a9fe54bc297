//! Rules read, and checked against a slow look at every day.

use jiff::civil::Date;
use jiff::civil::date;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn opens(rule: &str, last: &str, now: &str) -> String {
    let schedule = Schedule::parse(rule, None).unwrap();
    let window = schedule.next(at(last), at(now)).unwrap();
    window.opens.to_string()
}

#[test]
fn windows_open_where_aws_says() {
    for (rule, last, expected) in [
        (
            "rate(10 days)",
            "2026-03-01T15:20:00Z",
            "2026-03-11T00:00:00Z",
        ),
        (
            "rate(1 day)",
            "2026-12-31T23:59:59Z",
            "2027-01-01T00:00:00Z",
        ),
        (
            "rate(4 hours)",
            "2026-03-01T15:20:00Z",
            "2026-03-01T19:00:00Z",
        ),
        (
            "cron(0 8 1 * ? *)",
            "2026-03-01T08:00:00Z",
            "2026-04-01T08:00:00Z",
        ),
        (
            "cron(0 16 L * ? *)",
            "2026-02-01T00:00:00Z",
            "2026-02-28T16:00:00Z",
        ),
        (
            "cron(0 0 ? * SUN#1 *)",
            "2026-03-02T00:00:00Z",
            "2026-04-05T00:00:00Z",
        ),
        (
            "cron(0 0 ? * 1#1 *)",
            "2026-03-02T00:00:00Z",
            "2026-04-05T00:00:00Z",
        ),
        (
            "cron(0 0 ? * 6L *)",
            "2026-03-02T00:00:00Z",
            "2026-03-27T00:00:00Z",
        ),
        (
            "cron(0 0 ? * FRIL *)",
            "2026-03-02T00:00:00Z",
            "2026-03-27T00:00:00Z",
        ),
        (
            "cron(0 0 ? * L *)",
            "2026-03-02T00:00:00Z",
            "2026-03-07T00:00:00Z",
        ),
        (
            "cron(0 0 15W * ? *)",
            "2026-08-01T00:00:00Z",
            "2026-08-14T00:00:00Z",
        ),
        (
            "cron(0 0 LW * ? *)",
            "2026-05-01T00:00:00Z",
            "2026-05-29T00:00:00Z",
        ),
        (
            "cron(0 4/12 * * ? *)",
            "2026-03-01T05:00:00Z",
            "2026-03-01T16:00:00Z",
        ),
        (
            "cron(0 /4 * * ? *)",
            "2026-03-01T05:00:00Z",
            "2026-03-01T08:00:00Z",
        ),
        (
            "cron(0 8 1/7 * ? *)",
            "2026-03-01T09:00:00Z",
            "2026-03-08T08:00:00Z",
        ),
        (
            "cron(0 8 ? JAN,JUL MON-FRI *)",
            "2026-03-01T09:00:00Z",
            "2026-07-01T08:00:00Z",
        ),
        (
            "cron(0 8 29 2 ? *)",
            "2026-03-01T09:00:00Z",
            "2028-02-29T08:00:00Z",
        ),
    ] {
        assert_eq!(opens(rule, last, last), expected, "{rule}");
    }
}

#[test]
fn missed_windows_are_one() {
    let last = "2020-01-01T00:00:00Z";
    let now = "2026-03-01T15:20:00Z";
    assert_eq!(opens("rate(10 days)", last, now), "2026-03-02T00:00:00Z");
    assert_eq!(opens("rate(4 hours)", last, now), "2026-03-01T16:00:00Z");
    assert_eq!(
        opens("cron(0 8 * * ? *)", last, now),
        "2026-03-02T08:00:00Z"
    );
}

#[test]
fn windows_close_where_aws_says() {
    let now = at("2026-03-01T15:20:00Z");
    for (rule, duration, expected) in [
        ("rate(10 days)", None, "2026-03-11T23:59:59Z"),
        ("rate(10 days)", Some("3h"), "2026-03-11T02:59:59Z"),
        ("rate(4 hours)", None, "2026-03-01T19:59:59Z"),
        ("rate(4 hours)", Some("4h"), "2026-03-01T22:59:59Z"),
        ("cron(0 8 1 * ? *)", None, "2026-04-01T23:59:59Z"),
        ("cron(0 8 1 * ? *)", Some("16h"), "2026-04-01T23:59:59Z"),
        ("cron(0 4/12 * * ? *)", None, "2026-03-01T16:59:59Z"),
    ] {
        let schedule = Schedule::parse(rule, duration).unwrap();
        let window = schedule.next(now, now).unwrap();
        assert_eq!(window.closes.to_string(), expected, "{rule}");
        for number in [0, 1, 599, 600, u64::MAX] {
            let moment = window.moment(number, None);
            assert!(window.opens <= moment && moment <= window.closes, "{rule}");
        }
    }
}

#[test]
fn what_is_no_rule_is_refused() {
    for (rule, duration) in [
        ("", None),
        ("10 days", None),
        ("rate(10)", None),
        ("rate(0 days)", None),
        ("rate(-1 days)", None),
        ("rate(+1 days)", None),
        ("rate(1001 days)", None),
        ("rate(3 hours)", None),
        ("rate(10 minutes)", None),
        ("rate(99999999999999999999 days)", None),
        ("cron(0 8 1 * ?)", None),
        ("cron(0 8 1 * ? * *)", None),
        ("cron(5 8 1 * ? *)", None),
        ("cron(* 8 1 * ? *)", None),
        ("cron(0 8 1 * ? 2030)", None),
        ("cron(0 8 1 * MON *)", None),
        ("cron(0 8 ? * ? *)", None),
        ("cron(0 8 * * * *)", None),
        ("cron(0 /3 * * ? *)", None),
        ("cron(0 * * * ? *)", None),
        ("cron(0 8-12 * * ? *)", None),
        ("cron(0 2,23 * * ? *)", None),
        ("cron(0 24 * * ? *)", None),
        ("cron(0 8 32 * ? *)", None),
        ("cron(0 8 0 * ? *)", None),
        ("cron(0 8 1 13 ? *)", None),
        ("cron(0 8 ? * 8 *)", None),
        ("cron(0 8 ? * 0 *)", None),
        ("cron(0 8 ? * MON#6 *)", None),
        ("cron(0 8 30 2 ? *)", None),
        ("cron(0 L 1 * ? *)", None),
        ("cron(0 8 1 L ? *)", None),
        ("cron(0 8 @daily * ? *)", None),
        ("cron(0 8 1 * ? *", None),
        ("cron(0 8 \u{e9} * ? *)", None),
        ("rate(10 days)", Some("")),
        ("rate(10 days)", Some("25h")),
        ("rate(10 days)", Some("0h")),
        ("rate(10 days)", Some("3")),
        ("rate(10 days)", Some("+3h")),
        ("rate(4 hours)", Some("5h")),
        ("cron(0 8 1 * ? *)", Some("17h")),
    ] {
        let read = Schedule::parse(rule, duration);
        assert!(read.is_err(), "{rule} {duration:?}: {read:?}");
    }
}

/// One field as the test means it, and as it is written.
#[derive(Clone, Debug)]
enum Days {
    Of(Vec<i8>),
    Last,
    Weekdays(Vec<i8>),
    Nth(i8, i8),
    LastOf(i8),
}

impl Days {
    fn fields(&self) -> (String, String) {
        let join = |all: &[i8]| {
            let all: Vec<String> = all.iter().map(i8::to_string).collect();
            all.join(",")
        };
        match self {
            Self::Of(days) => (join(days), "?".into()),
            Self::Last => ("L".into(), "?".into()),
            Self::Weekdays(days) => ("?".into(), join(days)),
            Self::Nth(day, nth) => ("?".into(), format!("{day}#{nth}")),
            Self::LastOf(day) => ("?".into(), format!("{day}L")),
        }
    }

    fn fits(&self, day: Date) -> bool {
        let weekday = day.weekday().to_sunday_one_offset();
        let is_last_week = day.day() + 7 > day.days_in_month();
        match self {
            Self::Of(days) => days.contains(&day.day()),
            Self::Last => day.day() == day.days_in_month(),
            Self::Weekdays(days) => days.contains(&weekday),
            Self::Nth(wanted, nth) => weekday == *wanted && (day.day() - 1) / 7 + 1 == *nth,
            Self::LastOf(wanted) => weekday == *wanted && is_last_week,
        }
    }
}

fn days() -> impl Strategy<Value = Days> {
    prop_oneof![
        prop::collection::btree_set(1..=28_i8, 1..4)
            .prop_map(|days| Days::Of(days.into_iter().collect())),
        Just(Days::Last),
        prop::collection::btree_set(1..=7_i8, 1..4)
            .prop_map(|days| Days::Weekdays(days.into_iter().collect())),
        (1..=7_i8, 1..=4_i8).prop_map(|(day, nth)| Days::Nth(day, nth)),
        (1..=7_i8).prop_map(Days::LastOf),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_next_window_is_the_first_that_fits(
        days in days(),
        hour in 0..24_i8,
        months in prop::collection::btree_set(1..=12_i8, 1..5),
        start in 0..20_000_i64,
        seconds in 0..86_400_i64,
    ) {
        let (day, weekday) = days.fields();
        let names: Vec<String> = months.iter().map(i8::to_string).collect();
        let rule = format!("cron(0 {hour} {day} {} {weekday} *)", names.join(","));
        let schedule = Schedule::parse(&rule, None).unwrap();
        let now = Timestamp::from_micros((start * 86_400 + seconds) * 1_000_000);
        let found = schedule.next(now, now).unwrap().opens;
        let mut day = date(1970, 1, 1) + jiff::Span::new().days(start);
        let expected = loop {
            if days.fits(day) && months.contains(&day.month()) {
                let zoned = day.at(hour, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap();
                let opens = Timestamp::from_micros(zoned.timestamp().as_microsecond());
                if opens > now {
                    break opens;
                }
            }
            day = day.tomorrow().unwrap();
        };
        prop_assert_eq!(found, expected, "{}", rule);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(rate|cron)\\([ -~]{0,30}\\)") {
        if let Ok(schedule) = Schedule::parse(&text, None) {
            let now = at("2026-03-01T15:20:00Z");
            let next = schedule.next(now, now);
            prop_assert!(next.is_some_and(|window| window.opens > now), "{}", text);
        }
    }
}
