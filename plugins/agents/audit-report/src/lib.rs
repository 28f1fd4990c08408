//! The report of an audit: many small examinations turned into what one person should do first.
//!
//! It works by rules, without a model, and says so in the report. It is an agent and not a transform because it calls
//! another plugin for its tables, where the step grants one; without that grant it writes plainer tables itself.

mod group;
mod render;
mod table;
#[cfg(test)]
mod tests;

use heddle_sdk::prelude::*;

use crate::group::Action;

/// The most actions in `top`.
const TOP: usize = 10;

/// What to report on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Goal {
    /// The name of the project, for the title.
    #[serde(default)]
    project: Option<String>,
    /// The answers of `transform:package-examine`; null for each package that could not be examined.
    findings: Vec<Option<Examination>>,
    /// `summary` of `transform:lockfile-parse`.
    #[serde(default)]
    summary: Option<Summary>,
}

/// The examination of one package.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct Examination {
    package: Package,
    #[serde(default)]
    findings: Vec<Finding>,
}

/// The package that was examined.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Package {
    name: String,
    version: String,
    /// At most a dozen names of those that depend on it.
    #[serde(default)]
    dependents: Vec<String>,
    /// How many depend on it.
    #[serde(default)]
    dependent_count: usize,
    #[serde(default)]
    other_versions: Vec<String>,
}

/// One thing that was found.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct Finding {
    rule: String,
    severity: Severity,
    message: String,
    advice: String,
    #[serde(default)]
    reference: Option<String>,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Info,
    Low,
    Medium,
    High,
}

impl Severity {
    const GRAVEST_FIRST: [Severity; 4] = [Severity::High, Severity::Medium, Severity::Low, Severity::Info];

    fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
        }
    }
}

/// Numbers over the whole lock file. Whatever is missing counts as nothing.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Summary {
    format_version: Option<u32>,
    packages: usize,
    registry: usize,
    other_registry: usize,
    git: usize,
    path: usize,
    max_depth: u32,
    roots: Vec<String>,
    unused_patches: Vec<String>,
}

/// How many findings there are of each weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
struct Counts {
    high: usize,
    medium: usize,
    low: usize,
    info: usize,
}

impl Counts {
    fn of(self, severity: Severity) -> usize {
        match severity {
            Severity::Info => self.info,
            Severity::Low => self.low,
            Severity::Medium => self.medium,
            Severity::High => self.high,
        }
    }

    fn add(&mut self, severity: Severity) {
        match severity {
            Severity::Info => self.info += 1,
            Severity::Low => self.low += 1,
            Severity::Medium => self.medium += 1,
            Severity::High => self.high += 1,
        }
    }
}

/// The report.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The whole report as Markdown.
    markdown: String,
    /// Its first sentence.
    verdict: String,
    counts: Counts,
    /// The gravest weight that occurs; null where nothing was found.
    worst: Option<Severity>,
    /// What to do first, at most ten things. Notes of weight `info` are never among them.
    top: Vec<Action>,
    /// How many packages were examined.
    examined: usize,
    /// How many could not be examined.
    unexamined: usize,
    /// How the report came about: always `rules`.
    basis: &'static str,
}

/// Write an audit report.
///
/// Orders the findings of a supply-chain audit by weight, groups them by rule and crate, and writes a Markdown report with what to do first. Works by rules, without a model.
///
/// Grant `transform:markdown-table` to the step for tables that line up; without it the report has plainer ones.
#[heddle_sdk::agent(fuel = 5_000_000_000, memory = "256MiB")]
fn audit_report(goal: Goal, agent: &Agent) -> Result<Report, Failure> {
    let unexamined = goal.findings.iter().filter(|examination| examination.is_none()).count();
    let examinations: Vec<Examination> = goal.findings.into_iter().flatten().collect();
    let summary = goal.summary.unwrap_or_default();
    agent.progress("group", Some(20), &format!("{} packages", examinations.len()));
    let audit = group::group(&examinations, &summary);
    agent.progress("tables", Some(50), &format!("{} findings", audit.findings()));
    let tables = render::tables(&audit, &examinations, &summary);
    let tables = table::render_all(agent, &tables);
    let verdict = render::verdict(audit.counts, unexamined);
    let facts = render::Facts {
        project: goal.project.as_deref(),
        verdict: &verdict,
        summary: &summary,
        examined: examinations.len(),
    };
    let markdown = render::report(&facts, &audit, &tables);
    agent.progress("done", Some(100), &verdict);
    Ok(Report {
        markdown,
        verdict,
        counts: audit.counts,
        worst: Severity::GRAVEST_FIRST.into_iter().find(|severity| audit.counts.of(*severity) > 0),
        top: audit.to_do().take(TOP).cloned().collect(),
        examined: examinations.len(),
        unexamined,
        basis: "rules",
    })
}
