//! What the version number itself says.

use semver::Version;

use super::{Case, finding};
use crate::{Finding, Severity};

/// From this distance on, nobody in the project chose the version.
const DEEP: u32 = 4;

pub(super) fn not_semver(case: &Case<'_>) -> Vec<Finding> {
    match Version::parse(&case.package.version) {
        Ok(_) => Vec::new(),
        Err(error) => {
            let message = format!("the version of {} is not a semantic one: {error}", case.title());
            let advice = "Restore the lock file from version control: Cargo does not write such a version";
            vec![finding("version-not-semver", Severity::Medium, message, advice)]
        }
    }
}

pub(super) fn immature(case: &Case<'_>) -> Vec<Finding> {
    let (Ok(version), true) = (Version::parse(&case.package.version), case.foreign()) else {
        return Vec::new();
    };
    let title = case.title();
    if !version.pre.is_empty() {
        let message = format!("{title} is a pre-release");
        let advice = "Move to the release as soon as there is one: a pre-release may change in any way";
        return vec![finding("pre-release", Severity::Low, message, advice)];
    }
    if (version.major, version.minor) == (0, 0) {
        let message = format!("{title} is a 0.0 version, where every release may break every user");
        let advice = format!("Ask whether {} could do without it", case.pulled_in_by());
        return vec![finding("zero-zero-version", Severity::Low, message, advice)];
    }
    match case.package.depth {
        Some(depth) if version.major == 0 && depth >= DEEP => {
            let message = format!("{title} is a 0 version, {depth} steps from the project");
            let advice = "Nothing to do; minor versions of it may break its users";
            vec![finding("zero-version-deep", Severity::Info, message, advice)]
        }
        _ => Vec::new(),
    }
}
