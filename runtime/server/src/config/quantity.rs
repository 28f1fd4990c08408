//! Quantities as people write them: `64MiB`, `30s`, `1_000_000`.

use heddle_core::limits::Unit;
use heddle_core::time::Span;

const SIZES: &[(&str, u64)] = &[
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// Bytes: `64MiB`, `4 kB`, or a plain number.
pub fn size(text: &str) -> Option<u64> {
    if let Some(count) = plain(text) {
        return Some(count);
    }
    let (unit, bytes) = SIZES.iter().find(|(unit, _)| text.ends_with(unit))?;
    plain(text.strip_suffix(unit)?.trim())?.checked_mul(*bytes)
}

/// A plain number; `_` may group its digits.
fn plain(text: &str) -> Option<u64> {
    let grouped = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    if grouped { text.replace('_', "").parse().ok() } else { None }
}

/// The value of a limit with this unit: a plain number counts in that unit, as the limit's name says.
pub fn limit(text: &str, unit: Unit) -> Option<u64> {
    match unit {
        Unit::Bytes => size(text),
        Unit::Millis => plain(text).or_else(|| Span::parse(text).ok().map(|span| span.0)),
        Unit::Fuel | Unit::Count => plain(text),
    }
}

/// How a limit with this unit is written, for a message.
pub fn wants(unit: Unit) -> &'static str {
    match unit {
        Unit::Bytes => "a size such as `64MiB`",
        Unit::Millis => "a duration such as `30s`",
        Unit::Fuel | Unit::Count => "a whole number",
    }
}

/// A value as one would write it: read again, it gives the same.
pub fn print(value: u64, unit: Unit) -> String {
    match unit {
        Unit::Millis => Span(value).to_string(),
        Unit::Bytes => {
            let fitting = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
                .into_iter()
                .find(|(_, bytes)| value >= *bytes && value.is_multiple_of(*bytes));
            match fitting {
                Some((unit, bytes)) => format!("{}{unit}", value / bytes),
                None => format!("{value}B"),
            }
        }
        Unit::Fuel | Unit::Count => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_the_same() {
        for row in heddle_core::limits::TABLE {
            for value in [1, 1023, row.default, row.max] {
                assert_eq!(limit(&print(value, row.unit), row.unit), Some(value), "{}", row.name);
            }
        }
    }
    #[test]
    fn sizes_and_spans() {
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("4 kB"), Some(4_000));
        assert_eq!(size("1_000"), Some(1_000));
        for text in ["", "MiB", "-1MiB", "1.5MiB", "64Mib", "_1", "18446744073709551615GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
        assert_eq!(limit("30s", Unit::Millis), Some(30_000));
        assert_eq!(limit("30000", Unit::Millis), Some(30_000));
        assert_eq!(limit("30s", Unit::Count), None);
    }
}
