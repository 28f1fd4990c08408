//! A Cargo.lock as data.
//!
//! The audit examines every package in a step of its own, and a transform's output is cached by its input. So each
//! entry carries what an examination needs of *that* package and nothing of the rest of the file: no totals, no format
//! version, no list of all crates. When one package changes, only its own entry and those of the packages that depend
//! on it differ, and all other examinations come from the cache.

mod graph;
mod lock;
mod source;
#[cfg(test)]
mod tests;

use heddle_sdk::prelude::*;

use crate::source::SourceKind;

/// The longest file that is read.
const TEXT_MAX_BYTES: usize = 8 * 1024 * 1024;

/// The most other versions that an entry tells of. Real projects have a handful; a file with thousands would otherwise
/// grow with the square of their number.
const OTHER_VERSIONS_MAX: usize = 20;

/// A file to read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The text of a Cargo.lock. At most 8 MiB.
    text: String,
}

/// The file, read and resolved.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Output {
    /// The version of the lock file's format, 1 to 4.
    format_version: u32,
    /// One entry for each package, by name and version.
    packages: Vec<Package>,
    /// Numbers over the whole file.
    summary: Summary,
}

/// One package, with all that an examination of it needs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Package {
    name: String,
    version: String,
    /// Where it comes from, as the lock file writes it; null for a package in a local folder.
    source: Option<String>,
    source_kind: SourceKind,
    /// SHA-256 of the package in hexadecimal digits; null where the file has none.
    checksum: Option<String>,
    /// What it depends on, as `name version`.
    dependencies: Vec<String>,
    /// The names of the packages that depend on it. Without versions, so that a new version of a dependent alone does
    /// not change this entry.
    dependents: Vec<String>,
    /// The same crate elsewhere in the file, in another version or from another source. At most 20.
    other_versions: Vec<OtherVersion>,
    /// Steps from the project: 0 for its own packages, 1 for direct dependencies; null where nothing leads here.
    depth: Option<u32>,
}

/// Another package of the same name.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct OtherVersion {
    version: String,
    source_kind: SourceKind,
    /// The names of the packages that depend on it.
    dependents: Vec<String>,
}

/// Numbers over the whole file.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Summary {
    /// The version of the lock file's format.
    format_version: u32,
    /// All packages.
    packages: usize,
    /// Packages from crates.io.
    registry: usize,
    /// Packages from another registry.
    other_registry: usize,
    /// Packages from a git repository.
    git: usize,
    /// Packages from local folders, the project's own among them.
    path: usize,
    /// Names that occur more than once.
    duplicated_names: usize,
    /// The longest of the shortest ways from the project to a package.
    max_depth: u32,
    /// The project's own packages: those in local folders that nothing else depends on.
    roots: Vec<String>,
    /// Patches that the file lists as unused, as `name version`.
    unused_patches: Vec<String>,
}

/// Read a Cargo.lock.
///
/// Reads the text of a Cargo.lock (format 1 to 4) into one self-contained entry for each package: source, checksum, resolved dependencies, dependents, other versions of the same crate, and the distance from the project.
///
/// A broken file is a permanent failure that names the line: `invalid_toml`, `merge_conflict`, `no_packages`,
/// `unsupported_format`, `unresolved_dependency`, `ambiguous_dependency`, `text_too_long`.
#[heddle_sdk::transform(fuel = 20_000_000_000, memory = "256MiB", wall = "60s")]
fn lockfile_parse(input: Input) -> Result<Output, Failure> {
    if input.text.len() > TEXT_MAX_BYTES {
        let message =
            format!("the text has {} bytes, over {TEXT_MAX_BYTES}; give one Cargo.lock", input.text.len());
        return Err(Failure::permanent("text_too_long", message));
    }
    let lock = lock::read(&input.text)?;
    let graph = graph::resolve(&lock.packages)?;
    let packages: Vec<Package> = (0..lock.packages.len()).map(|index| entry(&lock, &graph, index)).collect();
    let summary = summarise(&lock, &graph, &packages);
    Ok(Output { format_version: lock.format_version, packages, summary })
}

fn entry(lock: &lock::Lock, graph: &graph::Graph, index: usize) -> Package {
    let package = &lock.packages[index];
    let title = |index: &usize| format!("{} {}", lock.packages[*index].name, lock.packages[*index].version);
    let mut dependencies: Vec<String> = graph.dependencies[index].iter().map(title).collect();
    dependencies.sort();
    let other_versions = graph.same_name[package.name.as_str()]
        .iter()
        .filter(|other| **other != index)
        .take(OTHER_VERSIONS_MAX)
        .map(|other| OtherVersion {
            version: lock.packages[*other].version.clone(),
            source_kind: SourceKind::of(lock.packages[*other].source.as_deref()),
            dependents: dependents(lock, graph, *other),
        })
        .collect();
    Package {
        name: package.name.clone(),
        version: package.version.clone(),
        source: package.source.clone(),
        source_kind: SourceKind::of(package.source.as_deref()),
        checksum: package.checksum.clone(),
        dependencies,
        dependents: dependents(lock, graph, index),
        other_versions,
        depth: graph.depths[index],
    }
}

fn dependents(lock: &lock::Lock, graph: &graph::Graph, index: usize) -> Vec<String> {
    let mut names: Vec<String> =
        graph.dependents[index].iter().map(|dependent| lock.packages[*dependent].name.clone()).collect();
    names.sort();
    names.dedup();
    names
}

fn summarise(lock: &lock::Lock, graph: &graph::Graph, packages: &[Package]) -> Summary {
    let from =
        |kinds: &[SourceKind]| packages.iter().filter(|package| kinds.contains(&package.source_kind)).count();
    Summary {
        format_version: lock.format_version,
        packages: packages.len(),
        registry: from(&[SourceKind::Registry]),
        other_registry: from(&[SourceKind::OtherRegistry, SourceKind::Unknown]),
        git: from(&[SourceKind::Git]),
        path: from(&[SourceKind::Path]),
        duplicated_names: graph.same_name.values().filter(|indices| indices.len() > 1).count(),
        max_depth: graph.depths.iter().flatten().copied().max().unwrap_or(0),
        roots: graph.roots.iter().map(|root| lock.packages[*root].name.clone()).collect(),
        unused_patches: lock.unused_patches.clone(),
    }
}
