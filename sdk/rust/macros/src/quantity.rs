//! Amounts as people write them, `64MiB` and `30s`, read when the plugin is compiled rather than when it is loaded.

/// Bytes from `512KiB`, `64MiB` or `1GiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
    amount(text, &UNITS)
        .ok_or_else(|| format!("`{text}` is not an amount of memory; write `64MiB` or `512KiB`"))
}

/// Milliseconds from `500ms`, `30s`, `2m` or `1h`.
pub(crate) fn millis(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    amount(text, &UNITS).ok_or_else(|| format!("`{text}` is not a duration; write `500ms`, `30s` or `2m`"))
}

/// The first unit that fits wins, so a unit that ends in another one stands before it.
fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, scale) = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *scale)))?;
    let count: u64 = digits.trim_end().parse().ok()?;
    count.checked_mul(scale).filter(|total| *total > 0)
}
