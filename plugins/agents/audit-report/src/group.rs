//! From findings to actions: what one person can do in one go.
//!
//! Five old versions of one crate are five findings and one action. So findings are grouped by rule and crate, and the
//! groups ordered by weight, then by how many packages they touch.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use heddle_sdk::prelude::*;

use crate::{Counts, Examination, Finding, Severity, Summary};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Action {
    pub(crate) severity: Severity,
    /// The rule that asks for it.
    pub(crate) rule: String,
    /// The crate that it is about; `Cargo.lock` where it is about the file itself.
    #[serde(rename = "crate")]
    pub(crate) name: String,
    /// The versions that it is about.
    pub(crate) versions: Vec<String>,
    /// What is the case.
    pub(crate) message: String,
    /// What to do.
    pub(crate) advice: String,
    /// The identifier of a published advisory.
    pub(crate) reference: Option<String>,
    /// How many packages depend on these versions directly.
    pub(crate) dependents: usize,
}

/// All that was found, ordered.
#[derive(Debug)]
pub(crate) struct Audit {
    pub(crate) counts: Counts,
    /// How many packages have a finding of each weight.
    pub(crate) packages: Counts,
    /// The gravest first.
    pub(crate) actions: Vec<Action>,
}

impl Audit {
    /// How many findings there are.
    pub(crate) fn findings(&self) -> usize {
        Severity::GRAVEST_FIRST.into_iter().map(|severity| self.counts.of(severity)).sum()
    }

    /// The actions that ask somebody to do something.
    pub(crate) fn to_do(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter().filter(|action| action.severity > Severity::Info)
    }
}

/// Groups and orders all findings, and adds those about the file itself.
pub(crate) fn group(examinations: &[Examination], summary: &Summary) -> Audit {
    let mut groups: BTreeMap<(&str, &str, Option<&str>), Action> = BTreeMap::new();
    let (mut counts, mut packages) = (Counts::default(), Counts::default());
    for examination in examinations {
        for severity in Severity::GRAVEST_FIRST {
            if examination.findings.iter().any(|finding| finding.severity == severity) {
                packages.add(severity);
            }
        }
        for finding in &examination.findings {
            counts.add(finding.severity);
            let key =
                (finding.rule.as_str(), examination.package.name.as_str(), finding.reference.as_deref());
            match groups.get_mut(&key) {
                Some(action) => join(action, finding, examination),
                None => {
                    groups.insert(key, open(finding, examination));
                }
            }
        }
    }
    let mut actions: Vec<Action> = groups.into_values().collect();
    for action in about_the_file(summary) {
        counts.add(action.severity);
        actions.push(action);
    }
    actions.sort_by_key(|action| (Reverse(action.severity), Reverse(action.dependents)));
    Audit { counts, packages, actions }
}

fn open(finding: &Finding, examination: &Examination) -> Action {
    Action {
        severity: finding.severity,
        rule: finding.rule.clone(),
        name: examination.package.name.clone(),
        versions: vec![examination.package.version.clone()],
        message: finding.message.clone(),
        advice: finding.advice.clone(),
        reference: finding.reference.clone(),
        dependents: examination.package.dependent_count,
    }
}

/// A further finding of the same rule about the same crate. Message and advice stay those of the gravest.
fn join(action: &mut Action, finding: &Finding, examination: &Examination) {
    if !action.versions.contains(&examination.package.version) {
        action.versions.push(examination.package.version.clone());
    }
    action.dependents += examination.package.dependent_count;
    if finding.severity > action.severity {
        action.severity = finding.severity;
        action.message.clone_from(&finding.message);
        action.advice.clone_from(&finding.advice);
    }
}

/// What no single package can know.
fn about_the_file(summary: &Summary) -> Vec<Action> {
    let file = |rule: &str, message: String, advice: &str| Action {
        severity: Severity::Low,
        rule: rule.to_owned(),
        name: "Cargo.lock".to_owned(),
        versions: Vec::new(),
        message,
        advice: advice.to_owned(),
        reference: None,
        dependents: 0,
    };
    let mut actions = Vec::new();
    if let Some(version @ 1..=2) = summary.format_version {
        let message = format!("the lock file is written in format version {version}; Cargo writes 4 today");
        actions.push(file("old-lock-format", message, "Let a current Cargo write it anew"));
    }
    if !summary.unused_patches.is_empty() {
        let message = format!("patches that nothing uses: {}", summary.unused_patches.join(", "));
        actions.push(file("unused-patch", message, "Remove them from `[patch]`: they pretend to protect"));
    }
    actions
}
