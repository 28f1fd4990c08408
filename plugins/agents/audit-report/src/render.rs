//! The words of the report, from the verdict down to the appendix: who reads only the first line knows whether to act.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::group::{Action, Audit};
use crate::table::{Table, left, right};
use crate::{Counts, Examination, Severity, Summary, TOP};

/// The most crates in the table of duplicates.
const DUPLICATES_MAX: usize = 25;
/// The most names in one cell.
const NAMES_MAX: usize = 6;

/// What the report says besides its findings.
pub(crate) struct Facts<'a> {
    pub(crate) project: Option<&'a str>,
    pub(crate) verdict: &'a str,
    pub(crate) summary: &'a Summary,
    pub(crate) examined: usize,
}

/// The tables of the report: counts, sources, duplicates, rules.
pub(crate) fn tables(audit: &Audit, examinations: &[Examination], summary: &Summary) -> [Table; 4] {
    [counts(audit), sources(summary), duplicates(examinations), rules(audit)]
}

/// One sentence that says whether to act.
pub(crate) fn verdict(counts: Counts, unexamined: usize) -> String {
    let many = |count: usize| format!("{count} {}", if count == 1 { "finding" } else { "findings" });
    let mut verdict = match counts {
        Counts { high: 1.., .. } => format!("Act now: {} of high weight.", many(counts.high)),
        Counts { medium: 1.., .. } => {
            format!("Look soon: nothing grave, {} of medium weight.", many(counts.medium))
        }
        Counts { low: 1.., .. } => {
            format!("Sound: {} of low weight to tidy up when there is time.", many(counts.low))
        }
        _ if unexamined == 0 => "Clean: nothing to do.".to_owned(),
        _ => "Nothing found so far.".to_owned(),
    };
    if unexamined > 0 {
        let packages = if unexamined == 1 { "package" } else { "packages" };
        let _ = write!(verdict, " {unexamined} {packages} could not be examined.");
    }
    verdict
}

/// The whole report. `tables` are those of [`tables`], rendered.
pub(crate) fn report(facts: &Facts<'_>, audit: &Audit, tables: &[String; 4]) -> String {
    let [counts, sources, duplicates, rules] = tables;
    let mut text = String::new();
    // Writing into a `String` cannot fail.
    let _ = writeln!(text, "# Supply-chain audit{}\n", title(facts));
    let _ = writeln!(text, "**{}**\n", facts.verdict);
    let _ = writeln!(text, "{}\n", overview(facts, audit));
    let _ = writeln!(text, "{counts}");
    let _ = writeln!(text, "## What to do first\n");
    let to_do: Vec<&Action> = audit.to_do().collect();
    if to_do.is_empty() {
        let _ = writeln!(text, "Nothing.\n");
    }
    for (index, action) in to_do.iter().take(TOP).enumerate() {
        let _ = writeln!(text, "{}", item(index + 1, action));
    }
    if to_do.len() > TOP {
        let _ = writeln!(text, "{} more are in the table of rules below.\n", to_do.len() - TOP);
    }
    if duplicates.lines().count() > 2 {
        let _ = writeln!(
            text,
            "## Crates in several versions\n\nEach version is compiled and shipped on its own.\n"
        );
        let _ = writeln!(text, "{duplicates}");
    }
    if facts.summary.packages > 0 {
        let _ = writeln!(text, "## Where the packages come from\n\n{sources}");
    }
    if audit.findings() > 0 {
        let _ = writeln!(text, "## Appendix: all findings by rule\n\n{rules}");
    }
    text.push_str(
        "## How this was made\n\n\
         By fixed rules, from the lock file alone: no model, no network. It cannot know whether a version was yanked, \
         what the code does, or which advisories came after its built-in list, which is short; run `cargo audit` as well.\n",
    );
    text
}

fn title(facts: &Facts<'_>) -> String {
    match (facts.project, facts.summary.roots.as_slice()) {
        (Some(project), _) if !project.trim().is_empty() => format!(" of {}", safe(project)),
        (_, [root]) => format!(" of {}", safe(root)),
        _ => String::new(),
    }
}

fn overview(facts: &Facts<'_>, audit: &Audit) -> String {
    let mut text = format!("{} packages examined", facts.examined);
    if facts.summary.max_depth > 0 {
        let _ = write!(text, ", up to {} steps away from the project", facts.summary.max_depth);
    }
    let notes = if audit.counts.info == 0 { "" } else { "; `info` are notes, with nothing to do" };
    let _ = write!(text, ". {} findings{notes}.", audit.findings());
    text
}

fn item(number: usize, action: &Action) -> String {
    let versions = if action.versions.is_empty() {
        String::new()
    } else {
        format!(" {}", safe(&action.versions.join(", ")))
    };
    let reference = action.reference.as_deref().map_or_else(String::new, |id| {
        format!(" ([{id}](https://rustsec.org/advisories/{id}.html))", id = safe(id))
    });
    format!(
        "{number}. **{}** · {}{versions} · {}{reference}  \n   {}.  \n   → {}.\n",
        action.severity.word(),
        safe(&action.name),
        safe(&action.rule),
        capital(&safe(&action.message)),
        safe(action.advice.trim_end_matches('.')),
    )
}

fn counts(audit: &Audit) -> Table {
    let row = |severity: Severity| {
        let (findings, packages) = (audit.counts.of(severity), audit.packages.of(severity));
        vec![severity.word().to_owned(), findings.to_string(), packages.to_string()]
    };
    Table {
        columns: vec![left("Weight"), right("Findings"), right("Packages")],
        rows: Severity::GRAVEST_FIRST.map(row).to_vec(),
    }
}

fn sources(summary: &Summary) -> Table {
    let kinds = [
        ("crates.io", summary.registry),
        ("other registries", summary.other_registry),
        ("git", summary.git),
        ("local folders", summary.path),
    ];
    let used = kinds.into_iter().filter(|(_, count)| *count > 0);
    Table {
        columns: vec![left("Source"), right("Packages")],
        rows: used.map(|(kind, count)| vec![kind.to_owned(), count.to_string()]).collect(),
    }
}

/// Who pulls in which version, the most split crates first.
fn duplicates(examinations: &[Examination]) -> Table {
    let mut crates: BTreeMap<&str, Vec<&Examination>> = BTreeMap::new();
    for examination in
        examinations.iter().filter(|examination| !examination.package.other_versions.is_empty())
    {
        crates.entry(&examination.package.name).or_default().push(examination);
    }
    let mut crates: Vec<(&str, Vec<&Examination>)> = crates.into_iter().collect();
    crates.sort_by_key(|(_, versions)| std::cmp::Reverse(versions.len()));
    let mut rows = Vec::new();
    for (name, mut versions) in crates.into_iter().take(DUPLICATES_MAX) {
        versions.sort_by_key(|examination| numbers(&examination.package.version));
        for (index, examination) in versions.into_iter().enumerate() {
            let package = &examination.package;
            let name = if index == 0 { safe(name) } else { String::new() };
            rows.push(vec![
                name,
                safe(&package.version),
                names(&package.dependents, package.dependent_count),
            ]);
        }
    }
    Table { columns: vec![left("Crate"), left("Version"), left("Pulled in by")], rows }
}

fn rules(audit: &Audit) -> Table {
    let mut rules: Vec<(Severity, &str, Vec<&Action>)> = Vec::new();
    for action in &audit.actions {
        match rules
            .iter_mut()
            .find(|(severity, rule, _)| (*severity, *rule) == (action.severity, &action.rule))
        {
            Some((_, _, actions)) => actions.push(action),
            None => rules.push((action.severity, &action.rule, vec![action])),
        }
    }
    let row = |(severity, rule, actions): (Severity, &str, Vec<&Action>)| {
        let found: usize = actions.iter().map(|action| action.versions.len().max(1)).sum();
        let crates: Vec<String> = actions.iter().map(|action| action.name.clone()).collect();
        vec![severity.word().to_owned(), safe(rule), found.to_string(), names(&crates, crates.len())]
    };
    Table {
        columns: vec![left("Weight"), left("Rule"), right("Packages"), left("Crates")],
        rows: rules.into_iter().map(row).collect(),
    }
}

/// A version by its numbers, so that 0.9 stands before 0.10.
fn numbers(version: &str) -> Vec<u64> {
    version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

/// As many names as fit into a cell, and how many more there are in all.
fn names(some: &[String], all: usize) -> String {
    let named: Vec<String> = some.iter().take(NAMES_MAX).map(|name| safe(name)).collect();
    match all.saturating_sub(named.len()) {
        0 if named.is_empty() => "–".to_owned(),
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A lock file is text from outside: it cannot break out of its line, nor bring HTML or links of its own into a report
/// that somebody opens in a browser.
fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '[' | ']' | '!' => safe.extend(['\\', letter]),
            letter if letter.is_control() => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}
