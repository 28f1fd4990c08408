//! Which crate it is: denied, known for trouble, or not the one that was meant.

use super::{Case, finding};
use crate::advisories::{ADVISORIES, AS_OF, Class};
use crate::well_known::{LOOK_ALIKES, WELL_KNOWN};
use crate::{Finding, Severity, SourceKind};

/// Shorter names have too many honest neighbours.
const NEAR_NAME_MIN_BYTES: usize = 5;

pub(super) fn denied(case: &Case<'_>) -> Vec<Finding> {
    let package = case.package;
    let denied = case.policy.denied.iter().filter(|denied| denied.covers(&package.name, &package.version));
    denied
        .map(|denied| {
            let reason = if denied.reason.is_empty() { "no reason is given" } else { &denied.reason };
            let message = format!("{} is denied by the policy: {reason}", case.title());
            let advice = format!("Remove `{}`; it is pulled in by {}", package.name, case.pulled_in_by());
            finding("denied", Severity::High, message, advice)
        })
        .collect()
}

pub(super) fn known_advisory(case: &Case<'_>) -> Vec<Finding> {
    let package = case.package;
    let Ok(version) = semver::Version::parse(&package.version) else { return Vec::new() };
    if !matches!(package.source_kind, SourceKind::Registry | SourceKind::OtherRegistry) {
        return Vec::new();
    }
    let about = |advisory: &&crate::advisories::Advisory| {
        advisory.package == package.name && advisory.covers(&version)
    };
    ADVISORIES
        .iter()
        .filter(about)
        .map(|advisory| Finding {
            rule: "known-advisory",
            severity: match advisory.class {
                Class::Malicious | Class::Vulnerable => Severity::High,
                Class::Unsound => Severity::Medium,
                Class::Unmaintained => Severity::Low,
            },
            message: format!("{} {} ({}, list of {AS_OF})", case.title(), advisory.what, advisory.id),
            advice: format!("{}; it is pulled in by {}", advisory.advice, case.pulled_in_by()),
            reference: Some(advisory.id),
        })
        .collect()
}

pub(super) fn near_name(case: &Case<'_>) -> Vec<Finding> {
    let name = case.package.name.as_str();
    let known = WELL_KNOWN.contains(&name) || LOOK_ALIKES.contains(&name);
    if known || !case.foreign() || name.len() < NEAR_NAME_MIN_BYTES {
        return Vec::new();
    }
    let Some(meant) =
        WELL_KNOWN.iter().find(|known| known.len() >= NEAR_NAME_MIN_BYTES && one_slip(name, known))
    else {
        return Vec::new();
    };
    let message = format!("{} is one slip of the keyboard away from the well-known `{meant}`", case.title());
    let advice = format!("Make sure that {} really means `{name}` and not `{meant}`", case.pulled_in_by());
    vec![finding("near-name", Severity::Medium, message, advice)]
}

/// Whether one name becomes the other by one letter inserted, left out, changed, or swapped with its neighbour
/// (Damerau-Levenshtein distance 1), or by `-` for `_`. Names that differ in digits alone, such as `sha1` and `sha2`,
/// are a habit and not a slip.
pub(crate) fn one_slip(a: &str, b: &str) -> bool {
    if a == b {
        return false;
    }
    let (a, b) = (a.replace('_', "-").into_bytes(), b.replace('_', "-").into_bytes());
    let start = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[start..], &b[start..]);
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[..a.len() - end], &b[..b.len() - end]);
    if !(a.is_empty() && b.is_empty()) && a.iter().chain(b).all(u8::is_ascii_digit) {
        return false;
    }
    match (a, b) {
        ([], []) | ([_], [] | [_]) | ([], [_]) => true,
        ([a, b], [c, d]) => a == d && b == c,
        _ => false,
    }
}
