//! Cron patterns and time zones. The only place that knows the two libraries: `croner` for the pattern, `jiff` for the
//! zone. The zones are those that the program carries, never those of the machine: every node has the same.
//!
//! When the clock of a zone jumps: a pattern with one fixed time of day that falls into the gap runs at the first
//! instant after it, and one that falls into the hour that comes twice runs in the first of the two. A pattern with
//! several times of day follows the clock: what falls into the gap is not there, what comes twice runs twice.

use crate::expr::tree::nearest;
use crate::time::Timestamp;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp as Instant, Zoned};
use std::fmt;
use std::sync::Arc;

/// A time zone of the IANA database.
#[derive(Clone, Debug)]
pub struct Zone {
    name: Arc<str>,
    zone: TimeZone,
}

/// No such time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone `{name}`{hint}")]
pub struct ZoneFault {
    /// What was asked for.
    pub name: String,
    /// What may have been meant.
    pub hint: String,
}

impl Zone {
    /// The zone with this name.
    pub fn find(name: &str) -> Result<Zone, ZoneFault> {
        let zones = TimeZoneDatabase::bundled();
        // Other spellings of a name are found, too: the name is then that of the database.
        if let Ok(zone) = zones.get(name) {
            let name = zone.iana_name().unwrap_or(name).into();
            return Ok(Zone { name, zone });
        }
        let names: Vec<String> = zones.available().map(|name| name.as_str().to_owned()).collect();
        let word = name.to_lowercase().replace(' ', "_");
        let city = |known: &&String| known.rsplit('/').next().is_some_and(|city| city.to_lowercase() == word);
        let near = names.iter().find(city).map(String::as_str);
        let hint = match near.or_else(|| nearest(name, names.iter().map(String::as_str))) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => "; write a name of the IANA database, such as `Europe/Madrid`".to_owned(),
        };
        Err(ZoneFault { name: name.chars().take(64).collect(), hint })
    }
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A cron pattern in a time zone.
#[derive(Clone)]
pub struct Cron {
    text: Arc<str>,
    zone: Zone,
    pattern: croner::Cron,
}

/// Why a pattern is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronFault {
    /// Not five fields, nor six.
    #[error(
        "a cron pattern has 5 fields (minute, hour, day of month, month, day of week), or 6 with seconds in front; this has {0}"
    )]
    Fields(usize),
    /// A word with `@` that is none.
    #[error("`{0}` is not a short form; there are `@yearly`, `@monthly`, `@weekly`, `@daily` and `@hourly`")]
    ShortForm(String),
    /// A field that cannot be read.
    #[error("the {field} field `{text}` cannot be read: {why}")]
    Field {
        /// Which one.
        field: &'static str,
        /// What it says.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// No day ever matches.
    #[error("this never comes: no day matches all of its fields")]
    Never,
}

const FIELDS: [(&str, &str); 6] = [
    ("second", "a number from 0 to 59"),
    ("minute", "a number from 0 to 59"),
    ("hour", "a number from 0 to 23"),
    ("day-of-month", "a number from 1 to 31, `L` for the last day"),
    ("month", "a number from 1 to 12, or `JAN` to `DEC`"),
    ("day-of-week", "a number from 0 (Sunday) to 7, or `SUN` to `SAT`"),
];
const SHORT_FORMS: [&str; 6] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];

/// A pattern is longer only if somebody wants to know what happens then.
const PATTERN_BYTES: usize = 256;

fn parse(text: &str) -> Result<croner::Cron, croner::errors::CronError> {
    CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build().parse(text)
}

impl Cron {
    /// Reads a pattern, and sees that there is a day that it matches.
    ///
    /// # Errors
    /// The field that is wrong, by its name.
    pub fn parse(text: &str, zone: Zone) -> Result<Cron, CronFault> {
        let said = || text.chars().take(64).collect::<String>();
        let fields: Vec<&str> = text.split_whitespace().collect();
        if text.trim_start().starts_with('@') {
            if !SHORT_FORMS.contains(&text.trim().to_lowercase().as_str()) {
                return Err(CronFault::ShortForm(said()));
            }
        } else if !(5..=6).contains(&fields.len()) || text.len() > PATTERN_BYTES {
            return Err(CronFault::Fields(fields.len()));
        } else {
            let skipped = FIELDS.len() - fields.len();
            for (at, field) in fields.iter().enumerate() {
                one_field(at + skipped, field)?;
            }
        }
        let whole = |error: croner::errors::CronError| CronFault::Field {
            field: "whole",
            text: said(),
            why: error.to_string(),
        };
        let pattern = parse(text).map_err(whole)?;
        if !has_day(&pattern) || !has_time(&pattern, &zone.zone) {
            return Err(CronFault::Never);
        }
        Ok(Cron { text: fields.join(" ").into(), zone, pattern })
    }
    /// The pattern.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// The name of its time zone.
    pub fn zone(&self) -> &str {
        self.zone.name()
    }
    /// The first instant after this one that it matches.
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        let start = Instant::from_millisecond(i64::try_from(instant.0).ok()?).ok()?;
        let start = Zoned::new(start, self.zone.zone.clone());
        let next = self.pattern.find_next_occurrence(&start, false).ok()?;
        let next = u64::try_from(next.timestamp().as_millisecond()).ok()?;
        Some(Timestamp(next)).filter(|next| *next > instant)
    }
}

/// Reads one field among fields that say nothing, so that a fault has a name.
fn one_field(at: usize, text: &str) -> Result<(), CronFault> {
    let mut fields = ["*"; 6];
    fields[at] = text;
    let (field, wants) = FIELDS[at];
    parse(&fields.join(" ")).map(|_| ()).map_err(|_| CronFault::Field {
        field,
        text: text.chars().take(64).collect(),
        why: format!("it wants {wants}; also `*`, lists `a,b`, ranges `a-b` and steps `*/n`"),
    })
}

/// The first day that is looked at: what a pattern says of days repeats itself within 28 years, and these years have
/// the longest wait for a leap day in them.
const FIRST_DAY: Date = Date::constant(2090, 1, 1);
const DAYS: usize = 40 * 366;
/// Times that are looked at: one or two a year.
const TIMES: usize = 100;

/// Whether there is a day that matches. Looked for here, in bounded time: the library would look for thousands of years.
fn has_day(pattern: &croner::Cron) -> bool {
    const WEEK: [croner::Weekday; 7] = [
        croner::Weekday::Sunday,
        croner::Weekday::Monday,
        croner::Weekday::Tuesday,
        croner::Weekday::Wednesday,
        croner::Weekday::Thursday,
        croner::Weekday::Friday,
        croner::Weekday::Saturday,
    ];
    let matches = |day: &Date| {
        let (year, month, number) = (i32::from(day.year()), day.month() as u32, day.day() as u32);
        let weekday = WEEK[day.weekday().to_sunday_zero_offset() as usize];
        let pattern = &pattern.pattern;
        pattern.month_match(month).unwrap_or(false)
            && pattern.day_match(year, month, number, weekday).unwrap_or(false)
    };
    std::iter::successors(Some(FIRST_DAY), |day| day.tomorrow().ok()).take(DAYS).any(|day| matches(&day))
}

/// Whether there is a time that the zone's clock shows: a pattern with several times of day may have all of them in
/// the hour that the clock leaves out in spring.
fn has_time(pattern: &croner::Cron, zone: &TimeZone) -> bool {
    if pattern.determine_job_type() == croner::JobType::FixedTime {
        return true;
    }
    let mut from = FIRST_DAY.at(0, 0, 0, 0);
    for _ in 0..TIMES {
        let Ok(time) = pattern.find_next_occurrence(&from, true) else { return false };
        if !matches!(zone.to_ambiguous_zoned(time).offset(), AmbiguousOffset::Gap { .. }) {
            return true;
        }
        let Ok(later) = time.checked_add(SignedDuration::from_mins(30)) else { return false };
        from = later;
    }
    false
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cron({} {})", self.text, self.zone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(text: &str, zone: &str) -> Cron {
        Cron::parse(text, Zone::find(zone).unwrap()).unwrap()
    }
    fn fault(text: &str) -> String {
        Cron::parse(text, Zone::find("UTC").unwrap()).unwrap_err().to_string()
    }
    /// The next ticks after a point in time.
    fn next(text: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let cron = cron(text, zone);
        let first = cron.next_after(after.parse().unwrap());
        std::iter::successors(first, |at| cron.next_after(*at))
            .take(count)
            .map(|at| at.rfc3339().replace(".000Z", "Z"))
            .collect()
    }

    #[test]
    fn a_time_in_the_gap_runs_at_its_end() {
        // Madrid leaves out 02:00 to 03:00 on 2027-03-28, which is 01:00Z.
        assert_eq!(
            next("30 2 * * *", "Europe/Madrid", "2027-03-26T12:00:00Z", 4),
            ["2027-03-27T01:30:00Z", "2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z", "2027-03-30T00:30:00Z"]
        );
        // New York leaves out 02:00 to 03:00 on 2027-03-14, which is 07:00Z.
        assert_eq!(
            next("30 2 * * *", "America/New_York", "2027-03-13T00:00:00Z", 3),
            ["2027-03-13T07:30:00Z", "2027-03-14T07:00:00Z", "2027-03-15T06:30:00Z"]
        );
    }
    #[test]
    fn a_time_that_comes_twice_runs_once() {
        // Madrid has 02:00 to 03:00 twice on 2027-10-31; the first is at +02:00.
        assert_eq!(
            next("30 2 * * *", "Europe/Madrid", "2027-10-30T12:00:00Z", 2),
            ["2027-10-31T00:30:00Z", "2027-11-01T01:30:00Z"]
        );
        // New York has 01:00 to 02:00 twice on 2027-11-07; the first is at -04:00.
        assert_eq!(
            next("30 1 * * *", "America/New_York", "2027-11-06T12:00:00Z", 2),
            ["2027-11-07T05:30:00Z", "2027-11-08T06:30:00Z"]
        );
        // Asked again between the two.
        assert_eq!(
            next("30 1 * * *", "America/New_York", "2027-11-07T05:30:00Z", 1),
            ["2027-11-08T06:30:00Z"]
        );
    }
    #[test]
    fn several_times_of_a_day_follow_the_clock() {
        assert_eq!(
            next("*/30 1-3 * * *", "Europe/Madrid", "2027-03-28T00:00:00Z", 4),
            ["2027-03-28T00:30:00Z", "2027-03-28T01:00:00Z", "2027-03-28T01:30:00Z", "2027-03-28T23:00:00Z"],
            "what falls into the gap is not there"
        );
        assert_eq!(
            next("*/30 2 * * *", "Europe/Madrid", "2027-10-30T12:00:00Z", 5),
            [
                "2027-10-31T00:00:00Z",
                "2027-10-31T00:30:00Z",
                "2027-10-31T01:00:00Z",
                "2027-10-31T01:30:00Z",
                "2027-11-01T01:00:00Z"
            ],
            "what comes twice runs twice"
        );
        assert_eq!(
            next("0 * * * *", "America/New_York", "2027-11-07T04:30:00Z", 4),
            ["2027-11-07T05:00:00Z", "2027-11-07T06:00:00Z", "2027-11-07T07:00:00Z", "2027-11-07T08:00:00Z"]
        );
    }
    #[test]
    fn leap_days_and_last_days() {
        assert_eq!(
            next("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2),
            ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]
        );
        assert_eq!(next("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1), ["2104-02-29T00:00:00Z"]);
        assert_eq!(
            next("0 12 L * *", "UTC", "2028-01-15T00:00:00Z", 4),
            ["2028-01-31T12:00:00Z", "2028-02-29T12:00:00Z", "2028-03-31T12:00:00Z", "2028-04-30T12:00:00Z"]
        );
        assert_eq!(next("0 6 * * 1-5", "UTC", "2026-11-20T07:00:00Z", 1), ["2026-11-23T06:00:00Z"]);
        assert_eq!(
            next("15 * * * * *", "UTC", "2026-11-20T07:00:14.500Z", 2),
            ["2026-11-20T07:00:15Z", "2026-11-20T07:01:15Z"]
        );
        assert_eq!(next("@daily", "Asia/Tokyo", "2026-11-20T07:00:00Z", 1), ["2026-11-20T15:00:00Z"]);
    }
    #[test]
    fn ticks_come_one_after_the_other_in_every_zone() {
        for zone in ["Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"] {
            for text in ["30 2 * * *", "*/20 * * * *", "0 0,12 1 * *", "45 1-3 * * SUN"] {
                let cron = cron(text, zone);
                let mut at: Timestamp = "2026-10-01T00:00:00Z".parse().unwrap();
                for _ in 0..2_000 {
                    let next = cron.next_after(at).unwrap();
                    // Whatever instant between the two is asked, the answer is the same.
                    let between = Timestamp(at.0 + (next.0 - at.0) / 2);
                    assert_eq!(
                        cron.next_after(between),
                        Some(next),
                        "{text} in {zone} after {}",
                        at.rfc3339()
                    );
                    at = next;
                }
            }
        }
    }
    #[test]
    fn a_bad_pattern_names_its_field() {
        for (text, says) in [
            ("61 * * * *", "the minute field `61` cannot be read"),
            ("* 24 * * *", "the hour field `24`"),
            ("* * 0 * *", "the day-of-month field `0`"),
            ("* * * 13 *", "the month field `13`"),
            ("* * * * FUNDAY", "the day-of-week field `FUNDAY`"),
            ("75 * * * * *", "the second field `75`"),
            ("*/0 * * * *", "the minute field `*/0`"),
            ("* * *", "this has 3"),
            ("0 0 1 1 * * 2030", "this has 7"),
            ("@hourli", "is not a short form"),
            ("", "this has 0"),
        ] {
            assert!(fault(text).contains(says), "{text}: {}", fault(text));
        }
    }
    #[test]
    fn what_never_comes_is_refused() {
        for text in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            assert_eq!(fault(text), CronFault::Never.to_string(), "{text}");
        }
        // Both of its times are in the hour that Madrid leaves out.
        let spring = Cron::parse("15,45 2 * 3 SUN#L", Zone::find("Europe/Madrid").unwrap());
        assert_eq!(spring.unwrap_err(), CronFault::Never);
        cron("15,45 2 * 3 SUN#L", "UTC");
        cron("0 0 29 2 MON#5", "UTC");
    }
    #[test]
    fn an_unknown_zone_names_the_nearest() {
        let hint = |name| Zone::find(name).unwrap_err().to_string();
        assert_eq!(
            hint("Europe/Madird"),
            "there is no time zone `Europe/Madird`; did you mean `Europe/Madrid`?"
        );
        assert!(hint("Madrid").ends_with("did you mean `Europe/Madrid`?"), "{}", hint("Madrid"));
        assert!(hint("new york").ends_with("did you mean `America/New_York`?"));
        assert!(hint("Middle/Earth-and-beyond").contains("IANA"));
        assert_eq!(Zone::find("europe/madrid").unwrap().name(), "Europe/Madrid");
    }
}
