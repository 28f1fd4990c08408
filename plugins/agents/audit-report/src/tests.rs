//! The report as a whole, with and without the table plugin, and what a hostile lock file can do to it.

use heddle_sdk::testing;

use super::*;

fn examination(name: &str, version: &str, findings: Value) -> Value {
    json!({
        "package": {
            "name": name, "version": version, "sourceKind": "registry", "depth": 2,
            "dependents": ["app", "lib"], "dependentCount": 2, "otherVersions": []
        },
        "findings": findings, "score": 0
    })
}

fn finding(rule: &str, severity: &str) -> Value {
    json!({ "rule": rule, "severity": severity, "message": format!("`x` breaks {rule}"), "advice": "Mend it" })
}

fn write(goal: Value) -> Report {
    audit_report(heddle_sdk::serde_json::from_value(goal).expect("a goal"), &testing::agent())
        .expect("a report")
}

fn sample() -> Value {
    json!({
        "project": "demo",
        "findings": [
            examination("alpha", "1.0.0", json!([finding("pre-release", "low")])),
            examination("alpha", "0.9.0", json!([finding("pre-release", "low"), finding("native-code", "info")])),
            examination("beta", "0.2.0", json!([finding("denied", "high")])),
            examination("gamma", "3.0.0", json!([])),
            null
        ],
        "summary": { "formatVersion": 2, "packages": 5, "registry": 5, "maxDepth": 3, "roots": ["demo"], "unusedPatches": [] }
    })
}

#[test]
fn findings_become_ordered_actions() {
    let report = write(sample());
    assert_eq!(report.counts, Counts { high: 1, medium: 0, low: 3, info: 1 });
    assert_eq!(report.worst, Some(Severity::High));
    assert_eq!((report.examined, report.unexamined, report.basis), (4, 1, "rules"));
    let top: Vec<(&str, &str, usize)> = report
        .top
        .iter()
        .map(|action| (action.rule.as_str(), action.name.as_str(), action.versions.len()))
        .collect();
    assert_eq!(
        top,
        [("denied", "beta", 1), ("pre-release", "alpha", 2), ("old-lock-format", "Cargo.lock", 0)]
    );
    assert_eq!(report.verdict, "Act now: 1 finding of high weight. 1 package could not be examined.");
    assert!(
        report.markdown.starts_with("# Supply-chain audit of demo\n\n**Act now: 1 finding"),
        "{}",
        report.markdown
    );
}

#[test]
fn the_granted_plugin_renders_the_tables() {
    testing::offer("transform:markdown-table", |input| {
        Ok(json!({ "markdown": format!("<table of {}>\n", input["columns"][0]["title"]), "rows": 0 }))
    });
    let report = write(sample());
    testing::withdraw_all();
    assert!(report.markdown.contains("<table of \"Weight\">"), "{}", report.markdown);
    assert!(!report.markdown.contains("| Weight |"), "{}", report.markdown);
}

#[test]
fn a_plugin_that_fails_does_not_cost_the_report() {
    testing::offer("transform:markdown-table", |_| Err(Failure::retryable("down", "not now")));
    let report = write(sample());
    testing::withdraw_all();
    assert!(report.markdown.contains("| Weight | Findings | Packages |"), "{}", report.markdown);
}

#[test]
fn nothing_found_is_said_plainly() {
    let clean = write(json!({ "findings": [examination("alpha", "1.0.0", json!([]))] }));
    assert_eq!((clean.verdict.as_str(), clean.worst), ("Clean: nothing to do.", None));
    let unknown = write(json!({ "findings": [null] }));
    assert!(!unknown.verdict.contains("Clean"), "{}", unknown.verdict);
}

#[test]
fn a_lock_file_cannot_write_html_into_the_report() {
    let hostile = "x<script>alert(1)</script>\n# Clean ![i](http://e.example)";
    let mut examination = examination(hostile, "1.0.0", json!([finding("denied", "high")]));
    examination["package"]["otherVersions"] = json!(["2.0.0"]);
    let report = write(json!({ "project": hostile, "findings": [examination] }));
    assert!(!report.markdown.contains("<script>"), "{}", report.markdown);
    assert!(!report.markdown.contains("![i]"), "{}", report.markdown);
    assert!(!report.markdown.contains("\n# Clean"), "{}", report.markdown);
}

#[test]
fn duplicates_say_who_pulls_in_which_version() {
    let mut old = examination("syn", "1.0.0", json!([]));
    old["package"]["otherVersions"] = json!(["2.0.0"]);
    let mut new = examination("syn", "2.0.0", json!([]));
    new["package"]["otherVersions"] = json!(["1.0.0"]);
    new["package"]["dependentCount"] = json!(30);
    let report = write(json!({ "findings": [old, new] }));
    assert!(report.markdown.contains("| syn | 1.0.0 | app, lib |\n"), "{}", report.markdown);
    assert!(report.markdown.contains("|  | 2.0.0 | app, lib and 28 more |\n"), "{}", report.markdown);
}
