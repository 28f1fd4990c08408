//! One package of a lock file, examined.
//!
//! Everything here is decided from the lock file's entry for this one package, the policy, and two lists that are
//! compiled in. Nothing is fetched, so the examination is pure and hundreds of them can be answered from the cache.
//! What a lock file cannot tell (whether a version was yanked, what the code does) is not guessed at.

mod advisories;
mod policy;
mod rules;
#[cfg(test)]
mod tests;
mod well_known;

use heddle_sdk::prelude::*;

use crate::policy::Policy;

/// The most dependents that are named in an answer; `dependentCount` tells the rest.
const NAMED_DEPENDENTS: usize = 12;

/// A package to examine.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Input {
    /// An entry of `packages` from `transform:lockfile-parse`.
    package: Package,
    /// What the project allows. Left out or null: only what is suspicious anywhere is found.
    #[serde(default)]
    policy: Option<Policy>,
}

/// The entry of one package. Further fields are ignored.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Package {
    name: String,
    version: String,
    /// Where it comes from, as the lock file writes it.
    #[serde(default)]
    source: Option<String>,
    source_kind: SourceKind,
    /// SHA-256 in hexadecimal digits.
    #[serde(default)]
    checksum: Option<String>,
    /// As `name version`.
    #[serde(default)]
    dependencies: Vec<String>,
    /// Names.
    #[serde(default)]
    dependents: Vec<String>,
    #[serde(default)]
    other_versions: Vec<OtherVersion>,
    /// Steps from the project; null where nothing leads here.
    #[serde(default)]
    depth: Option<u32>,
}

/// A kind of source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum SourceKind {
    /// crates.io.
    #[default]
    Registry,
    /// Any other registry.
    OtherRegistry,
    /// A git repository.
    Git,
    /// A local folder.
    Path,
    /// Something else.
    Unknown,
}

/// Another package of the same name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct OtherVersion {
    version: String,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// Worth knowing, nothing to do.
    Info,
    /// Tidy up when there is time.
    Low,
    /// Look at it soon.
    Medium,
    /// Act on it.
    High,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
struct Finding {
    /// The rule that found it, such as `duplicate-versions`.
    rule: &'static str,
    severity: Severity,
    /// What is the case.
    message: String,
    /// What to do about it.
    advice: String,
    /// The identifier of a published advisory.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'static str>,
}

/// Which package it was, in brief.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Examined {
    name: String,
    version: String,
    source_kind: SourceKind,
    /// Steps from the project.
    depth: Option<u32>,
    /// The names of those that depend on it, at most twelve.
    dependents: Vec<String>,
    /// How many depend on it.
    dependent_count: usize,
    /// The other versions of the same crate in the file.
    other_versions: Vec<String>,
}

/// What the examination found.
#[derive(Debug, Serialize, JsonSchema)]
struct Output {
    package: Examined,
    /// The gravest first.
    findings: Vec<Finding>,
    /// 0 is clean; each finding adds 40 (high), 15 (medium), 4 (low) or 1 (info), up to 100.
    score: u32,
}

/// Examine one package.
///
/// Examines one entry of a Cargo.lock by rules: where it comes from, its checksum, its version, its name, its place in the tree, known advisories, and the project's policy.
///
/// The rules, gravest first: `denied`, `registry-not-allowed`, `git-host-not-allowed`, `insecure-transport`,
/// `checksum-malformed`, `git-unpinned`, `known-advisory`, `near-name`, `checksum-missing`, `git-source`,
/// `other-registry`, `unknown-source`, `version-not-semver`, `duplicate-versions`, `unreachable`, `zero-zero-version`,
/// `pre-release`, `zero-version-deep`, `native-code`, `build-time-code`, `many-dependencies`, `many-dependents`.
///
/// The advisories are a short list of well-known ones, not a replacement for `cargo audit`.
#[heddle_sdk::transform]
fn package_examine(input: Input) -> Result<Output, Failure> {
    let policy = input.policy.unwrap_or_default();
    policy.check()?;
    let mut findings = rules::findings(&input.package, &policy);
    // The rules stand in a fixed order, so findings of equal severity keep one.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let score = findings.iter().map(|finding| weight(finding.severity)).sum::<u32>().min(100);
    Ok(Output { package: brief(input.package), findings, score })
}

fn weight(severity: Severity) -> u32 {
    match severity {
        Severity::Info => 1,
        Severity::Low => 4,
        Severity::Medium => 15,
        Severity::High => 40,
    }
}

fn brief(package: Package) -> Examined {
    Examined {
        dependent_count: package.dependents.len(),
        dependents: package.dependents.into_iter().take(NAMED_DEPENDENTS).collect(),
        other_versions: package.other_versions.into_iter().map(|other| other.version).collect(),
        name: package.name,
        version: package.version,
        source_kind: package.source_kind,
        depth: package.depth,
    }
}
