//! Real lock files, the formats that are no longer written, and the ways in which a file breaks.

use std::fs;
use std::path::Path;

use super::*;

fn fixture(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a fixture")
}

fn parse(text: &str) -> Output {
    lockfile_parse(Input { text: text.to_owned() }).expect("a lock file")
}

fn failure(text: &str) -> Failure {
    lockfile_parse(Input { text: text.to_owned() }).expect_err("a broken file")
}

fn package<'a>(output: &'a Output, name: &str, version: &str) -> &'a Package {
    let fits = |package: &&Package| package.name == name && package.version == version;
    output.packages.iter().find(fits).expect("the package")
}

#[test]
fn version_1_has_its_checksums_apart_and_a_root() {
    let output = parse(&fixture("fixtures/v1.lock"));
    assert_eq!(output.format_version, 1);
    assert_eq!(output.summary.roots, ["old-tool"]);
    let time = package(&output, "time", "0.1.39");
    assert!(time.checksum.as_deref().is_some_and(|checksum| checksum.starts_with("a15375f1")));
    assert_eq!(time.dependencies, ["libc 0.2.40"]);
    assert_eq!(time.depth, Some(1));
    let widget = package(&output, "widget", "1.0.0");
    assert_eq!((widget.checksum.as_deref(), widget.source_kind), (None, SourceKind::Git));
    assert_eq!(package(&output, "toolbox", "0.2.0").source_kind, SourceKind::Path);
}

#[test]
fn version_3_shortens_names_and_all_kinds_of_source_are_told_apart() {
    let output = parse(&fixture("fixtures/v3.lock"));
    assert_eq!(output.format_version, 3);
    let new = package(&output, "bitflags", "2.4.0");
    assert_eq!(new.dependents, ["app", "rand"]);
    assert_eq!(new.other_versions.len(), 1);
    assert_eq!(new.other_versions[0].version, "1.3.2");
    assert_eq!(new.other_versions[0].dependents, ["core-part"]);
    assert_eq!(package(&output, "inner", "0.3.0").source_kind, SourceKind::OtherRegistry);
    assert_eq!(package(&output, "left-over", "0.0.3").depth, None);
    assert_eq!(package(&output, "rand", "0.8.5").dependencies, ["bitflags 2.4.0"]);
    let summary = Summary {
        format_version: 3,
        packages: 7,
        registry: 3,
        other_registry: 1,
        git: 1,
        path: 2,
        duplicated_names: 1,
        max_depth: 2,
        roots: vec!["app".into()],
        unused_patches: vec!["unused-patch 9.9.9".into()],
    };
    assert_eq!(output.summary, summary);
}

#[test]
fn this_projects_own_lock_file_is_read() {
    let text = fixture("../../../Cargo.lock");
    let output = parse(&text);
    assert_eq!(output.format_version, 4);
    assert_eq!(output.packages.len(), text.matches("[[package]]").count());
    assert!(output.packages.iter().all(|package| package.depth.is_some()), "everything is reachable");
    let serde = output.packages.iter().find(|package| package.name == "serde").expect("serde");
    assert!(serde.dependents.len() > 10 && serde.source_kind == SourceKind::Registry);
}

#[test]
fn a_changed_package_changes_only_its_own_entry_and_those_of_its_dependents() {
    let before = fixture("fixtures/v3.lock");
    let after = before.replace("2.4.0", "2.4.1");
    let (before, after) = (parse(&before), parse(&after));
    let changed: Vec<&str> = before
        .packages
        .iter()
        .zip(&after.packages)
        .filter(|(before, after)| before != after)
        .map(|(before, _)| before.name.as_str())
        .collect();
    // `bitflags` twice: the other version of the same crate says which versions stand beside it.
    assert_eq!(changed, ["app", "bitflags", "bitflags", "rand"]);
}

#[test]
fn broken_files_name_the_line() {
    let conflict = failure("version = 4\n<<<<<<< HEAD\n[[package]]\n");
    assert_eq!(
        (conflict.code(), conflict.detail().data.clone()),
        ("merge_conflict", Some(json!({ "line": 2 })))
    );
    let cut = failure("version = 4\n\n[[package]]\nname = \"a");
    assert_eq!(cut.code(), "invalid_toml");
    assert!(cut.message().starts_with("line 4, column"), "{}", cut.message());
    let missing = failure("version = 4\n\n[[package]]\nname = \"a\"\n");
    assert!(missing.message().contains("version"), "{}", missing.message());
}

#[test]
fn files_of_another_kind_are_refused() {
    assert_eq!(failure("").code(), "no_packages");
    assert_eq!(failure("[package]\nname = \"a\"\nversion = \"1.0.0\"\n").code(), "invalid_toml");
    assert_eq!(
        failure("version = 5\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n").code(),
        "unsupported_format"
    );
}

#[test]
fn dependencies_that_mean_nothing_or_too_much_are_refused() {
    let package = |name: &str, version: &str, dependencies: &str| {
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"registry+https://registry.example\"\ndependencies = [{dependencies}]\n"
        )
    };
    let dangling = package("a", "1.0.0", "\"b\"");
    assert_eq!(failure(&dangling).code(), "unresolved_dependency");
    let ambiguous = package("a", "1.0.0", "\"b\"") + &package("b", "1.0.0", "") + &package("b", "2.0.0", "");
    assert_eq!(failure(&ambiguous).code(), "ambiguous_dependency");
}

#[test]
fn the_samples_lock_file_is_read() {
    let output = parse(&fixture("../../samples/risky.lock"));
    assert_eq!((output.packages.len(), output.summary.git, output.summary.other_registry), (12, 1, 1));
    assert_eq!(package(&output, "bitflags", "1.3.2").dependents, ["widget"]);
}
