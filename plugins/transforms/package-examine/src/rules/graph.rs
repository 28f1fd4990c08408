//! The place of the package in the tree: what stands beside it, what it needs, and who needs it.

use semver::Version;

use super::{Case, finding, names};
use crate::{Finding, Severity};

/// Crates that bring or build code in other languages.
const BUILDERS: &[&str] = &["autotools", "bindgen", "cc", "cmake", "nasm-rs", "pkg-config", "vcpkg"];
/// Crates that stand under nearly every macro, and need not be told so one by one.
const MACRO_GROUND: &[&str] = &["proc-macro2", "quote", "syn"];
/// Direct dependencies from which on a crate is unusual.
const MANY_DEPENDENCIES: usize = 30;
/// Direct dependents from which on a fault is felt everywhere.
const MANY_DEPENDENTS: usize = 40;

pub(super) fn duplicate_versions(case: &Case<'_>) -> Vec<Finding> {
    let package = case.package;
    let others: Vec<&str> = package.other_versions.iter().map(|other| other.version.as_str()).collect();
    // Told for every version but the newest, which is the one to end up with.
    let Some(newest) = others.iter().copied().max_by(|a, b| compare(a, b)) else { return Vec::new() };
    if compare(&package.version, newest).is_ge() {
        return Vec::new();
    }
    let severity = if others.len() >= 2 { Severity::Medium } else { Severity::Low };
    let message = format!(
        "{} stands beside {}; it is pulled in by {}",
        case.title(),
        others.join(", "),
        case.pulled_in_by()
    );
    let name = &package.name;
    let advice = format!(
        "Move those to versions that use `{name} {newest}`; `cargo tree -i {name}@{}` shows them",
        package.version
    );
    vec![finding("duplicate-versions", severity, message, advice)]
}

/// Semantic versions by their order, others by their letters and before all semantic ones.
fn compare(a: &str, b: &str) -> std::cmp::Ordering {
    let key = |version: &str| Version::parse(version).ok();
    key(a).cmp(&key(b)).then_with(|| a.cmp(b))
}

pub(super) fn unreachable(case: &Case<'_>) -> Vec<Finding> {
    if case.package.depth.is_some() {
        return Vec::new();
    }
    let message = format!("{} is in the lock file, and nothing in the project leads to it", case.title());
    vec![finding(
        "unreachable",
        Severity::Low,
        message,
        "Let Cargo write the lock file anew; a hand may have edited it",
    )]
}

pub(super) fn native_code(case: &Case<'_>) -> Vec<Finding> {
    let package = case.package;
    let builders: Vec<String> =
        dependency_names(case).filter(|name| BUILDERS.contains(name)).map(str::to_owned).collect();
    let sys = package.name.ends_with("-sys") || package.name.ends_with("_sys");
    if !case.foreign() || (builders.is_empty() && !sys) {
        return Vec::new();
    }
    let why =
        if builders.is_empty() { "by its name".to_owned() } else { format!("with {}", names(&builders)) };
    let message = format!("{} builds or links code in another language ({why})", case.title());
    let advice = "Rust's guarantees end there: know what it links, and keep it up to date";
    vec![finding("native-code", Severity::Info, message, advice)]
}

pub(super) fn build_time_code(case: &Case<'_>) -> Vec<Finding> {
    let name = case.package.name.as_str();
    let foundation = MACRO_GROUND.contains(&name);
    let macros = dependency_names(case).any(|dependency| dependency == "proc-macro2");
    if !case.foreign() || foundation || !macros {
        return Vec::new();
    }
    let message =
        format!("{} depends on `proc-macro2`: most likely it runs while the project is built", case.title());
    let advice = "What runs at build time runs with the rights of whoever builds";
    vec![finding("build-time-code", Severity::Info, message, advice)]
}

pub(super) fn crowded(case: &Case<'_>) -> Vec<Finding> {
    let (dependencies, dependents) = (case.package.dependencies.len(), case.package.dependents.len());
    let mut found = Vec::new();
    if case.foreign() && dependencies >= MANY_DEPENDENCIES {
        let message = format!("{} has {dependencies} direct dependencies", case.title());
        let advice = "See whether features can be turned off";
        found.push(finding("many-dependencies", Severity::Info, message, advice));
    }
    if case.foreign() && dependents >= MANY_DEPENDENTS {
        let message = format!("{dependents} packages depend directly on {}", case.title());
        let advice = "A fault in it is felt everywhere: follow its releases";
        found.push(finding("many-dependents", Severity::Info, message, advice));
    }
    found
}

/// The names in `name version`.
fn dependency_names<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a str> {
    case.package.dependencies.iter().map(|dependency| dependency.split(' ').next().unwrap_or_default())
}
