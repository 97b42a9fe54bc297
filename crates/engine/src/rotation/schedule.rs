//! When a secret is rotated: AWS's rules, in UTC.
//!
//! | rule | window opens |
//! | --- | --- |
//! | days, `rate(N days)` | at midnight, N days after the last one |
//! | `rate(N hours)` | on the hour, N hours after the last one; N is 4 or more |
//! | `cron(0 hours day-of-month month day-of-week *)` | at its hours, at least 4 hours apart |
//!
//! Of the fields of `cron`, minutes are `0` and years `*`, and one of the two days is `?`. Days of
//! the week are 1-7 or SUN-SAT. `L`, `W` and `#` mean what they do there.

use croner::Cron;
use croner::parser::CronParser;
use croner::parser::Seconds;
use croner::parser::Year;
use jiff::tz::TimeZone;
use strongroom_core::time::Span;
use strongroom_core::time::Timestamp;

/// Fewest hours between two rotations.
const HOURS_MIN: i64 = 4;
/// So many rotations are looked at to see how far they are apart.
const LOOKED_AHEAD: usize = 16;
/// Most days between two rotations.
const DAYS_MAX: i64 = 1000;
/// Longest expression, in characters.
const EXPRESSION_CHARS_MAX: usize = 256;
/// Hours of a day.
const DAY_HOURS: i64 = 24;
const HOUR: Span = Span::from_seconds(3600);
/// Rotations that are due together are spread over so much of the window, unless somebody says.
const SPREAD_SECONDS: i64 = 600;

/// A rule that says when.
#[derive(Clone, Debug)]
pub struct Schedule {
    rule: Rule,
    duration: Option<i64>,
}

#[derive(Clone, Debug)]
enum Rule {
    Days(i64),
    Hours(i64),
    Cron { cron: Box<Cron>, is_hourly: bool },
}

/// When a secret is rotated next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When it opens.
    pub opens: Timestamp,
    /// When it closes.
    pub closes: Timestamp,
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Neither `rate(…)` nor `cron(…)`.
    #[error(
        "a schedule is rate(10 days), rate(12 hours) or cron(0 8 1 * ? *), of at most 256 letters"
    )]
    Form,
    /// The number is out of its bounds.
    #[error("a rate is 4 hours or more, and at most 1000 days")]
    Rate,
    /// A field of `cron` is not what it should be.
    #[error("{0}")]
    Cron(&'static str),
    /// Not a number of hours.
    #[error("a window lasts 1h to 24h, and does not reach into the next day or the next window")]
    Duration,
}

impl Schedule {
    /// Every so many days.
    ///
    /// # Errors
    /// When the number is out of its bounds.
    pub fn of_days(days: u32, duration: Option<&str>) -> Result<Self, ScheduleError> {
        Self::of(Rule::Days(in_days(days.into())?), duration)
    }

    /// Reads `rate(…)` or `cron(…)`, and a window such as `3h`.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(text: &str, duration: Option<&str>) -> Result<Self, ScheduleError> {
        if text.len() > EXPRESSION_CHARS_MAX || !text.is_ascii() {
            return Err(ScheduleError::Form);
        }
        let inner = |name: &str| text.strip_prefix(name)?.strip_suffix(')');
        let rule = match (inner("rate("), inner("cron(")) {
            (Some(rate), _) => parse_rate(rate)?,
            (None, Some(cron)) => parse_cron(cron)?,
            (None, None) => return Err(ScheduleError::Form),
        };
        Self::of(rule, duration)
    }

    fn of(rule: Rule, duration: Option<&str>) -> Result<Self, ScheduleError> {
        let duration = duration.map(parse_duration).transpose()?;
        let longest = match &rule {
            Rule::Hours(hours) => (*hours).min(DAY_HOURS),
            Rule::Cron { cron, is_hourly } => {
                let hours: Vec<i64> = hours_of(cron);
                let last = hours.last().copied().unwrap_or(0);
                let gap = gap_of(&hours);
                match is_hourly {
                    true => gap.min(DAY_HOURS - last),
                    false => DAY_HOURS - last,
                }
            }
            Rule::Days(_) => DAY_HOURS,
        };
        if duration.is_some_and(|hours| hours > longest) {
            return Err(ScheduleError::Duration);
        }
        Ok(Self { rule, duration })
    }

    /// The first window that opens after a time. `last` is when it was rotated before.
    #[must_use]
    pub fn next(&self, last: Timestamp, now: Timestamp) -> Option<Window> {
        let opens = match &self.rule {
            Rule::Days(days) => {
                let seconds = days * DAY_HOURS * HOUR.as_seconds();
                let opens = floor(last.plus(Span::from_seconds(seconds)), DAY_HOURS);
                // Missed windows are one window: the next that has not begun.
                opens.max(floor(now, DAY_HOURS).plus(day()))
            }
            Rule::Hours(hours) => {
                let opens = last.plus(Span::from_seconds(hours * HOUR.as_seconds()));
                floor(opens, 1).max(floor(now, 1).plus(HOUR))
            }
            Rule::Cron { cron, .. } => {
                let now = jiff::Timestamp::from_microsecond(now.as_micros()).ok()?;
                let found = cron.find_next_occurrence(&now.to_zoned(TimeZone::UTC), false);
                Timestamp::from_micros(found.ok()?.timestamp().as_microsecond())
            }
        };
        let end_of_day = floor(opens, DAY_HOURS).plus(day());
        let is_hourly = match &self.rule {
            Rule::Days(_) => false,
            Rule::Hours(_) => true,
            Rule::Cron { is_hourly, .. } => *is_hourly,
        };
        let closes = match (self.duration, is_hourly) {
            (Some(hours), _) => opens.plus(Span::from_seconds(hours * HOUR.as_seconds())),
            (None, true) => opens.plus(HOUR),
            (None, false) => end_of_day,
        };
        // The last moment that belongs to it.
        let closes = Timestamp::from_micros(closes.as_micros() - 1_000_000);
        Some(Window { opens, closes })
    }

    /// The longest time between two of the rotations that come.
    #[must_use]
    pub fn longest(&self, now: Timestamp) -> Option<Span> {
        let mut opens = self.next(now, now)?.opens;
        let mut longest = 0;
        for _ in 0..LOOKED_AHEAD {
            let Some(next) = self.next(opens, opens) else {
                break;
            };
            longest = longest.max(next.opens.seconds_since(opens));
            opens = next.opens;
        }
        Some(Span::from_seconds(longest)).filter(|_| longest > 0)
    }
}

impl Window {
    /// A moment in it, the same one for the same number: what is due together is spread over
    /// `jitter`, or over the whole window where that is shorter.
    #[must_use]
    pub fn moment(&self, number: u64, jitter: Option<Span>) -> Timestamp {
        let length = self.closes.seconds_since(self.opens).max(1);
        let spread = jitter.map_or(SPREAD_SECONDS, Span::as_seconds);
        let length = u64::try_from(spread.clamp(1, length)).unwrap_or(1);
        let seconds = i64::try_from(number % length).unwrap_or(0);
        self.opens.plus(Span::from_seconds(seconds))
    }
}

const fn day() -> Span {
    Span::from_seconds(DAY_HOURS * HOUR.as_seconds())
}

/// The beginning of the stretch of so many hours that a time lies in.
fn floor(at: Timestamp, hours: i64) -> Timestamp {
    let stretch = hours * HOUR.as_seconds() * 1_000_000;
    Timestamp::from_micros(at.as_micros() - at.as_micros().rem_euclid(stretch))
}

fn in_days(days: i64) -> Result<i64, ScheduleError> {
    match (1..=DAYS_MAX).contains(&days) {
        true => Ok(days),
        false => Err(ScheduleError::Rate),
    }
}

fn parse_rate(text: &str) -> Result<Rule, ScheduleError> {
    let (number, unit) = text.split_once(' ').ok_or(ScheduleError::Form)?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = match is_number {
        true => number.parse().map_err(|_| ScheduleError::Rate)?,
        false => return Err(ScheduleError::Form),
    };
    match unit.trim() {
        "day" | "days" => Ok(Rule::Days(in_days(number)?)),
        "hour" | "hours" if (HOURS_MIN..=DAYS_MAX * DAY_HOURS).contains(&number) => {
            Ok(Rule::Hours(number))
        }
        "hour" | "hours" => Err(ScheduleError::Rate),
        _ => Err(ScheduleError::Form),
    }
}

fn parse_duration(text: &str) -> Result<i64, ScheduleError> {
    let hours = text.strip_suffix('h').ok_or(ScheduleError::Duration)?;
    let is_number = !hours.is_empty() && hours.bytes().all(|byte| byte.is_ascii_digit());
    match hours.parse() {
        Ok(hours) if is_number && (1..=DAY_HOURS).contains(&hours) => Ok(hours),
        _ => Err(ScheduleError::Duration),
    }
}

fn parse_cron(text: &str) -> Result<Rule, ScheduleError> {
    let fields: Vec<&str> = text.split(' ').filter(|field| !field.is_empty()).collect();
    let [minutes, hours, day, month, weekday, year] = fields.as_slice() else {
        let six = "cron has six fields: minutes hours day-of-month month day-of-week year";
        return Err(ScheduleError::Cron(six));
    };
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "*,-/?#".contains(c);
    if !text.chars().all(|c| c == ' ' || is_letter(c)) {
        let letters = "cron has digits, names of days and months, and * , - / ? # L W";
        return Err(ScheduleError::Cron(letters));
    }
    if *minutes != "0" {
        return Err(ScheduleError::Cron("the minutes of cron have to be 0"));
    }
    if *year != "*" {
        return Err(ScheduleError::Cron("the year of cron has to be *"));
    }
    let is_any = |field: &str| field == "?";
    if is_any(day) == is_any(weekday) {
        let one = "one of day-of-month and day-of-week of cron has to be ?, and not both";
        return Err(ScheduleError::Cron(one));
    }
    if hours.contains('?') || month.contains('?') {
        let places = "? stands in the days of cron only";
        return Err(ScheduleError::Cron(places));
    }
    let weekday = last_weekday(&weekday.to_ascii_uppercase());
    let pattern = format!("0 {minutes} {hours} {day} {month} {weekday}");
    let parser = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Disallowed)
        .alternative_weekdays(true)
        .sloppy_ranges(true)
        .build();
    let unread = ScheduleError::Cron("a field of cron is not one that AWS's schedules know");
    let cron = parser.parse(&pattern).map_err(|_| unread)?;
    let apart = hours_of(&cron);
    if gap_of(&apart) < HOURS_MIN {
        return Err(ScheduleError::Cron(
            "a secret is rotated every 4 hours at most",
        ));
    }
    let is_hourly = apart.len() > 1;
    let rule = Rule::Cron {
        cron: Box::new(cron),
        is_hourly,
    };
    // A day that never comes.
    let schedule = Schedule {
        rule,
        duration: None,
    };
    let epoch = Timestamp::from_micros(0);
    if schedule.next(epoch, epoch).is_none() {
        return Err(ScheduleError::Cron("no day fits this cron"));
    }
    Ok(schedule.rule)
}

/// The last one of a day of the week (`6L`, `FRIL`), and `L` alone for Saturday, as the crate has
/// it.
fn last_weekday(field: &str) -> String {
    match field.strip_suffix('L') {
        Some("") => "7".to_owned(),
        Some(day) if !day.ends_with('#') => format!("{day}#L"),
        _ => field.to_owned(),
    }
}

fn hours_of(cron: &Cron) -> Vec<i64> {
    let hours = cron.pattern.hours.values();
    hours.into_iter().map(i64::from).collect()
}

/// Fewest hours between two of a day, and from the last one to the first one of the next day.
fn gap_of(hours: &[i64]) -> i64 {
    let (Some(first), Some(last)) = (hours.first(), hours.last()) else {
        return DAY_HOURS;
    };
    let over_night = first + DAY_HOURS - last;
    let between = hours.windows(2).map(|pair| match pair {
        [a, b] => b - a,
        _ => DAY_HOURS,
    });
    between.min().unwrap_or(DAY_HOURS).min(over_night)
}

#[cfg(test)]
mod tests;
