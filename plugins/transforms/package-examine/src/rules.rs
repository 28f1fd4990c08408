//! The rules, in the order in which their findings are reported.
//!
//! A rule is a function from one package to what it found. None knows of the others, and none knows of the rest of the
//! lock file.

mod graph;
mod identity;
mod source;
mod version;

#[cfg(test)]
pub(crate) use identity::one_slip;

use crate::policy::Policy;
use crate::{Finding, Package, Severity, SourceKind};

/// What a rule is given.
pub(crate) struct Case<'a> {
    pub(crate) package: &'a Package,
    pub(crate) policy: &'a Policy,
}

type Rule = fn(&Case<'_>) -> Vec<Finding>;

const RULES: &[Rule] = &[
    identity::denied,
    identity::known_advisory,
    identity::near_name,
    source::allowed,
    source::transport,
    source::git,
    source::elsewhere,
    source::checksum,
    version::not_semver,
    version::immature,
    graph::duplicate_versions,
    graph::unreachable,
    graph::native_code,
    graph::build_time_code,
    graph::crowded,
];

/// Everything that the rules find, without those that the policy ignores.
pub(crate) fn findings(package: &Package, policy: &Policy) -> Vec<Finding> {
    let case = Case { package, policy };
    let ignored = |finding: &Finding| policy.ignored_rules.iter().any(|rule| rule == finding.rule);
    RULES.iter().flat_map(|rule| rule(&case)).filter(|finding| !ignored(finding)).collect()
}

impl Case<'_> {
    /// `name version` in back quotes.
    fn title(&self) -> String {
        format!("`{} {}`", self.package.name, self.package.version)
    }

    /// The dependents by name, as many as fit into a sentence.
    fn pulled_in_by(&self) -> String {
        names(&self.package.dependents)
    }

    /// Whether the package belongs to somebody else.
    fn foreign(&self) -> bool {
        self.package.source_kind != SourceKind::Path
    }
}

/// A finding without a reference.
fn finding(rule: &'static str, severity: Severity, message: String, advice: impl Into<String>) -> Finding {
    Finding { rule, severity, message, advice: advice.into(), reference: None }
}

/// Names in back quotes, at most five.
fn names(all: &[String]) -> String {
    const NAMED: usize = 5;
    let named: Vec<String> = all.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    match all.len() {
        0 => "nothing".to_owned(),
        count if count > NAMED => format!("{} and {} more", named.join(", "), count - NAMED),
        _ => named.join(", "),
    }
}
