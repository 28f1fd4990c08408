//! A case for every rule, the lists themselves, and the whole of a real lock file.

use super::*;
use crate::advisories::ADVISORIES;
use crate::rules::one_slip;
use crate::well_known::WELL_KNOWN;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A package against which no rule has anything to say.
fn clean(name: &str, version: &str) -> Value {
    json!({
        "name": name, "version": version, "source": CRATES_IO, "sourceKind": "registry",
        "checksum": "ab".repeat(32), "dependencies": [], "dependents": ["app"], "otherVersions": [], "depth": 1
    })
}

fn with(mut package: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().expect("an object") {
        package[key] = value.clone();
    }
    package
}

fn examine(package: Value, policy: Value) -> Output {
    let input = json!({ "package": package, "policy": policy });
    package_examine(heddle_sdk::serde_json::from_value(input).expect("an input")).expect("an examination")
}

/// The rules that found something, with their severity.
fn found(package: Value) -> Vec<(&'static str, Severity)> {
    let output = examine(package, Value::Null);
    output.findings.iter().map(|finding| (finding.rule, finding.severity)).collect()
}

#[test]
fn a_clean_package_has_no_findings() {
    let output = examine(clean("left", "1.2.3"), json!({ "allowedRegistries": ["crates.io"] }));
    assert_eq!((output.findings, output.score), (vec![], 0));
}

#[test]
fn sources_are_judged() {
    let git = |source: &str| {
        found(with(
            clean("left", "1.0.0"),
            json!({ "source": source, "sourceKind": "git", "checksum": null }),
        ))
    };
    assert_eq!(git("git+https://git.example/left?rev=abc#0123"), [("git-source", Severity::Low)]);
    assert_eq!(git("git+https://git.example/left?tag=v1#0123"), [("git-source", Severity::Low)]);
    assert_eq!(git("git+https://git.example/left?branch=main#0123"), [("git-source", Severity::Medium)]);
    assert_eq!(git("git+https://git.example/left#0123"), [("git-source", Severity::Medium)]);
    assert_eq!(git("git+https://git.example/left"), [("git-unpinned", Severity::High)]);
    assert_eq!(git("git+http://git.example/left?rev=a#0123")[0], ("insecure-transport", Severity::High));
    let other = json!({ "source": "sparse+https://registry.example/index/", "sourceKind": "other-registry" });
    assert_eq!(found(with(clean("left", "1.0.0"), other)), [("other-registry", Severity::Low)]);
    let local = json!({ "source": null, "sourceKind": "path", "checksum": null });
    assert_eq!(found(with(clean("left", "0.0.1-alpha.1"), local)), []);
}

#[test]
fn checksums_are_judged() {
    assert_eq!(
        found(with(clean("left", "1.0.0"), json!({ "checksum": null }))),
        [("checksum-missing", Severity::Medium)]
    );
    assert_eq!(
        found(with(clean("left", "1.0.0"), json!({ "checksum": "xyz" }))),
        [("checksum-malformed", Severity::High)]
    );
}

#[test]
fn versions_are_judged() {
    assert_eq!(found(clean("left", "1.0.0-rc.1")), [("pre-release", Severity::Low)]);
    assert_eq!(found(clean("left", "0.0.7")), [("zero-zero-version", Severity::Low)]);
    assert_eq!(found(clean("left", "0.3.7")), []);
    assert_eq!(
        found(with(clean("left", "0.3.7"), json!({ "depth": 4 }))),
        [("zero-version-deep", Severity::Info)]
    );
    assert_eq!(found(clean("left", "1.0")), [("version-not-semver", Severity::Medium)]);
}

#[test]
fn only_the_older_ones_of_several_versions_are_told() {
    let beside = |version: &str, others: Value| {
        found(with(clean("left", version), json!({ "otherVersions": others })))
    };
    let two = json!([{ "version": "10.0.0" }]);
    assert_eq!(beside("9.0.0", two.clone()), [("duplicate-versions", Severity::Low)]);
    assert_eq!(beside("11.0.0", two), []);
    let three = json!([{ "version": "10.0.0" }, { "version": "2.0.0" }]);
    assert_eq!(beside("9.0.0", three), [("duplicate-versions", Severity::Medium)]);
    let output = examine(
        with(clean("left", "1.0.0"), json!({ "otherVersions": [{ "version": "2.0.0" }] })),
        Value::Null,
    );
    assert!(output.findings[0].message.ends_with("pulled in by `app`"), "{:?}", output.findings);
}

#[test]
fn the_place_in_the_tree_is_judged() {
    assert_eq!(
        found(with(clean("left", "1.0.0"), json!({ "depth": null }))),
        [("unreachable", Severity::Low)]
    );
    assert_eq!(found(clean("left-sys", "1.0.0")), [("native-code", Severity::Info)]);
    let builds = json!({ "dependencies": ["cc 1.0.0", "proc-macro2 1.0.0"] });
    assert_eq!(
        found(with(clean("left", "1.0.0"), builds)),
        [("native-code", Severity::Info), ("build-time-code", Severity::Info)]
    );
    let many: Vec<String> = (0..40).map(|index| format!("p{index} 1.0.0")).collect();
    assert_eq!(
        found(with(clean("left", "1.0.0"), json!({ "dependencies": many, "dependents": many }))),
        [("many-dependencies", Severity::Info), ("many-dependents", Severity::Info)]
    );
}

#[test]
fn the_policy_is_kept() {
    let rules = |package: Value, policy: Value| {
        examine(package, policy).findings.iter().map(|finding| finding.rule).collect::<Vec<_>>()
    };
    let denied = json!({ "denied": [{ "name": "left", "versions": "<2", "reason": "we wrote our own" }] });
    assert_eq!(rules(clean("left", "1.9.0"), denied.clone()), ["denied"]);
    assert_eq!(rules(clean("left", "2.0.0"), denied), Vec::<&str>::new());
    let nowhere = json!({ "allowedRegistries": [], "allowedGitHosts": ["git.example"] });
    assert_eq!(rules(clean("left", "1.0.0"), nowhere.clone()), ["registry-not-allowed"]);
    let git = |host: &str| {
        let source = format!("git+ssh://git@{host}/left?rev=a#0123");
        with(clean("left", "1.0.0"), json!({ "source": source, "sourceKind": "git" }))
    };
    assert_eq!(rules(git("git.example"), nowhere.clone()), ["git-source"]);
    assert_eq!(rules(git("evil.example"), nowhere), ["git-host-not-allowed", "git-source"]);
    assert_eq!(
        rules(clean("left", "0.0.1"), json!({ "ignoredRules": ["zero-zero-version"] })),
        Vec::<&str>::new()
    );
}

#[test]
fn a_policy_that_cannot_be_understood_is_refused() {
    let input = json!({ "package": clean("left", "1.0.0"), "policy": { "denied": [{ "name": "a", "versions": "??" }] } });
    let failure = heddle_sdk::run!(&input.to_string()).expect_err("not a requirement");
    assert_eq!(failure.code(), "invalid_policy");
    let input = json!({ "package": clean("left", "1.0.0"), "policy": { "allowedRegistry": [] } });
    assert_eq!(heddle_sdk::run!(&input.to_string()).expect_err("a slip").code(), "invalid_input");
}

#[test]
fn known_advisories_cover_the_versions_that_they_name() {
    let ids = |name: &str, version: &str| {
        examine(clean(name, version), Value::Null)
            .findings
            .iter()
            .filter_map(|finding| finding.reference)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("time", "0.1.45"), ["RUSTSEC-2020-0071"]);
    assert_eq!(ids("time", "0.2.6"), Vec::<&str>::new());
    assert_eq!(ids("time", "0.2.22"), ["RUSTSEC-2020-0071"]);
    assert_eq!(ids("time", "0.3.46"), ["RUSTSEC-2026-0009"]);
    assert_eq!(ids("time", "0.3.47"), Vec::<&str>::new());
    assert_eq!(ids("smallvec", "1.6.0"), ["RUSTSEC-2021-0003"]);
    assert_eq!(ids("smallvec", "1.13.2"), Vec::<&str>::new());
    assert_eq!(ids("h2", "0.4.3"), ["RUSTSEC-2024-0332"]);
    assert_eq!(ids("h2", "0.3.26"), Vec::<&str>::new());
    assert_eq!(found(clean("rustdecimal", "1.23.1"))[0], ("known-advisory", Severity::High));
    assert_eq!(found(clean("paste", "1.0.15")), [("known-advisory", Severity::Low)]);
}

#[test]
fn every_advisory_can_be_found() {
    for advisory in ADVISORIES {
        let hit = (0..3).flat_map(|major| {
            (0..120).flat_map(move |minor| (0..50).map(move |patch| (major, minor, patch)))
        });
        let mut hit = hit.map(|(major, minor, patch)| semver::Version::new(major, minor, patch));
        assert!(hit.any(|version| advisory.covers(&version)), "{} never fires", advisory.id);
    }
}

#[test]
fn slips_of_the_keyboard_are_recognised() {
    for (name, known) in
        [("serd_json", "serde_json"), ("tokoi", "tokio"), ("reqwests", "reqwest"), ("hyoer", "hyper")]
    {
        assert!(one_slip(name, known), "{name}");
    }
    for (name, known) in [("sha1", "sha2"), ("base32", "base64"), ("tokio", "tokio"), ("serde", "syn")] {
        assert!(!one_slip(name, known), "{name}");
    }
    let output = examine(clean("reqwests", "1.0.0"), Value::Null);
    assert_eq!(output.findings[0].rule, "near-name");
    assert!(output.findings[0].message.contains("`reqwest`"));
}

#[test]
fn well_known_names_do_not_accuse_each_other() {
    for name in WELL_KNOWN {
        let output = examine(clean(name, "99.0.0"), Value::Null);
        assert!(
            output.findings.iter().all(|finding| finding.rule != "near-name"),
            "{name}: {:?}",
            output.findings
        );
    }
}
