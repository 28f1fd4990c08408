//! Points in time and spans. Core never reads a clock: both come in as arguments.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This many milliseconds later; stays at the end of time rather than wrapping.
    pub fn plus_ms(self, ms: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }
    /// Milliseconds from `earlier` to here; zero when `earlier` is later.
    pub fn since_ms(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
    /// RFC 3339 text with milliseconds, as every API answer shows it.
    pub fn rfc3339(self) -> String {
        let (days, ms_of_day) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (y, m, d) = civil(days as i64);
        let (h, min) = (ms_of_day / 3_600_000, ms_of_day / 60_000 % 60);
        let mut text = String::with_capacity(24);
        let mut number = |n: u64, digits: u32, then: char| {
            for place in (0..digits).rev() {
                text.push(char::from(b'0' + (n / 10_u64.pow(place) % 10) as u8));
            }
            text.push(then);
        };
        number(y as u64, 4, '-');
        number(m as u64, 2, '-');
        number(d as u64, 2, 'T');
        number(h, 2, ':');
        number(min, 2, ':');
        number(ms_of_day / 1000 % 60, 2, '.');
        number(ms_of_day % 1000, 3, 'Z');
        text
    }
}

/// The text is not a point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a point in time; write `2026-11-21T06:00:00Z` or `2026-11-21T07:00:00+01:00`")]
pub struct TimestampFault(pub String);

impl std::str::FromStr for Timestamp {
    type Err = TimestampFault;
    /// RFC 3339, with `Z` or an offset; fractions of a second down to milliseconds. Leap seconds have no place.
    fn from_str(text: &str) -> Result<Timestamp, TimestampFault> {
        read_rfc3339(text).ok_or_else(|| TimestampFault(text.chars().take(64).collect()))
    }
}

fn read_rfc3339(text: &str) -> Option<Timestamp> {
    let number = |from: usize, digits: usize, most: i64| {
        let part = text.get(from..from + digits)?;
        let number: i64 = part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())??;
        (number <= most).then_some(number)
    };
    let is = |at: usize, wanted: &[u8]| text.as_bytes().get(at).is_some_and(|b| wanted.contains(b));
    let (year, month, day) = (number(0, 4, 9999)?, number(5, 2, 12)?, number(8, 2, 31)?);
    let (hour, minute, second) = (number(11, 2, 23)?, number(14, 2, 59)?, number(17, 2, 59)?);
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let rest = text.get(19..)?;
    let digits = rest.strip_prefix('.').map_or(0, |f| f.bytes().take_while(u8::is_ascii_digit).count());
    let fraction: i64 = match digits {
        0 if rest.starts_with('.') => return None,
        0 => 0,
        n => format!("{:0<3}", &rest[1..=n])[..3].parse().ok()?,
    };
    let zone = if digits == 0 { rest } else { &rest[digits + 1..] };
    let at = text.len() - zone.len();
    let offset_minutes = match zone.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let minutes = number(at + 1, 2, 23)? * 60 + number(at + 4, 2, 59)?;
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    let days = days_of(year, month, day);
    if civil(days) != (year, month, day) {
        return None;
    }
    let seconds = ((days * 24 + hour) * 60 + minute - offset_minutes) * 60 + second;
    u64::try_from(seconds * 1000 + fraction).ok().map(Timestamp)
}

/// A date to days since the epoch; the other way round from [`civil`].
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Days since the epoch to a date of the proleptic Gregorian calendar (years of 400-year eras that start in March).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// A length of time in milliseconds, written `250ms`, `30s`, `1h30m`, `7d` or ISO 8601 `PT30S`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub u64);

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanFault {
    /// A number without a unit.
    #[error("`{0}` has no unit; write `{0}s` or `{0}ms`")]
    BareNumber(String),
    /// Not a duration in either form.
    #[error("`{0}` is not a duration; write `30s`, `1h30m`, `500ms` or `PT30S`")]
    Malformed(String),
    /// Longer than ten years.
    #[error("`{0}` is longer than ten years")]
    TooLong(String),
}

const TEN_YEARS_MS: u64 = 3_652 * 86_400_000;

impl Span {
    /// Reads both forms. A bare number is refused, since nobody can tell seconds from milliseconds.
    pub fn parse(text: &str) -> Result<Span, SpanFault> {
        let shown = || text.chars().take(40).collect::<String>();
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(SpanFault::BareNumber(shown()));
        }
        let ms = match text.strip_prefix('P') {
            Some(iso) => iso_ms(iso),
            None => short_ms(text),
        };
        match ms {
            None => Err(SpanFault::Malformed(shown())),
            Some(ms) if ms > TEN_YEARS_MS => Err(SpanFault::TooLong(shown())),
            Some(ms) => Ok(Span(ms)),
        }
    }
}

fn short_ms(mut text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 5] =
        [("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let (mut total, mut last) = (0u64, u64::MAX);
    if text.is_empty() {
        return None;
    }
    while !text.is_empty() {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = text[..digits].parse().ok()?;
        let rest = &text[digits..];
        let (unit, ms) = *UNITS.iter().find(|(u, _)| rest.starts_with(u))?;
        if ms >= last {
            return None;
        }
        last = ms;
        total = total.checked_add(count.checked_mul(ms)?)?;
        text = &rest[unit.len()..];
    }
    Some(total)
}

fn iso_ms(text: &str) -> Option<u64> {
    let (date, time) = match text.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (text, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let part = |mut text: &str, units: &[(char, u64)]| -> Option<u64> {
        let (mut total, mut next) = (0u64, 0);
        while !text.is_empty() {
            let end = text.find(|c: char| !c.is_ascii_digit())?;
            let count: u64 = text[..end].parse().ok()?;
            let unit = text[end..].chars().next()?;
            let at = units.iter().position(|(u, _)| *u == unit).filter(|at| *at >= next)?;
            next = at + 1;
            total = total.checked_add(count.checked_mul(units[at].1)?)?;
            text = &text[end + 1..];
        }
        Some(total)
    };
    part(date, &[('W', 604_800_000), ('D', 86_400_000)])?
        .checked_add(part(time, &[('H', 3_600_000), ('M', 60_000), ('S', 1000)])?)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if rest >= ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_both_forms_and_refuse_bare_numbers() {
        for (text, ms) in [
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("PT30S", 30_000),
            ("P1DT2H", 93_600_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(Span::parse(text), Ok(Span(ms)), "{text}");
        }
        assert!(matches!(Span::parse("30"), Err(SpanFault::BareNumber(_))));
        for text in ["", "s", "-1s", "1s1h", "P", "PT", "1.5s", "30 s", "PTS", "é"] {
            assert!(matches!(Span::parse(text), Err(SpanFault::Malformed(_))), "{text}");
        }
        assert!(matches!(Span::parse("4000d"), Err(SpanFault::TooLong(_))));
        assert_eq!(Span(5_400_500).to_string(), "1h30m500ms");
    }
    #[test]
    fn timestamps_are_read_as_they_are_printed() {
        for ms in (0..4_102_444_800_000).step_by(86_400_000 * 13 + 7_654_321) {
            assert_eq!(Timestamp(ms).rfc3339().parse(), Ok(Timestamp(ms)));
        }
        let same = ["2026-11-21T06:00:00Z", "2026-11-21t07:00:00.000+01:00", "2026-11-21 00:30:00-05:30"];
        assert!(same.iter().all(|text| text.parse() == Ok(Timestamp(1_795_240_800_000))));
        for bad in [
            "",
            "2026-11-21",
            "2026-02-30T00:00:00Z",
            "2026-11-21T06:00:00",
            "2026-11-21T24:00:00Z",
            "2026-11-21T06:00:00.Z",
            "+026-11-21T06:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-11-21T06:00:00+1:00",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }
    #[test]
    fn timestamps_print_rfc3339() {
        assert_eq!(Timestamp(0).rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(951_782_400_123).rfc3339(), "2000-02-29T00:00:00.123Z");
        assert_eq!(Timestamp(1_795_219_200_000).rfc3339(), "2026-11-21T00:00:00.000Z");
    }
}
