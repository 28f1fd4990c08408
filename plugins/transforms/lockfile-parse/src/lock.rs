//! The lock file as Cargo writes it, in all four versions of the format, brought to one shape.
//!
//! Version 1 keeps checksums in a table of their own and names a dependency in full. Version 2 moved the checksum to
//! the package and shortens names where that is unambiguous. Versions 3 and 4 say so in a `version` line and differ in
//! how they spell git sources. What is left to do for a reader is to find the checksum, and to bear both spellings.

use std::collections::BTreeMap;

use heddle_sdk::prelude::*;

/// The newest version of the format that is understood.
const FORMAT_MAX: u32 = 4;

/// A lock file.
#[derive(Debug)]
pub(crate) struct Lock {
    pub(crate) format_version: u32,
    /// By name, then version, then source.
    pub(crate) packages: Vec<Locked>,
    /// As `name version`.
    pub(crate) unused_patches: Vec<String>,
}

/// One `[[package]]`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Locked {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) source: Option<String>,
    pub(crate) checksum: Option<String>,
    /// As written: `name`, `name version` or `name version (source)`.
    #[serde(default)]
    pub(crate) dependencies: Vec<String>,
    /// The package that stands in for this one, from `[replace]`.
    pub(crate) replace: Option<String>,
    /// Whether it is the `[root]` of a very old file.
    #[serde(skip)]
    pub(crate) root: bool,
}

#[derive(Deserialize)]
struct Written {
    version: Option<u32>,
    root: Option<Locked>,
    #[serde(default)]
    package: Vec<Locked>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    patch: Patch,
}

#[derive(Default, Deserialize)]
struct Patch {
    #[serde(default)]
    unused: Vec<Locked>,
}

/// Reads a lock file. Fails with the line of the first fault.
pub(crate) fn read(text: &str) -> Result<Lock, Failure> {
    refuse_conflict(text)?;
    let written: Written = toml::from_str(text).map_err(|error| invalid(text, &error))?;
    let format_version = format_version(&written)?;
    let mut packages = written.package;
    packages.extend(written.root.map(|root| Locked { root: true, ..root }));
    if packages.is_empty() {
        let message =
            "there is no `[[package]]` in this text; give the text of a Cargo.lock, not of a Cargo.toml";
        return Err(Failure::permanent("no_packages", message));
    }
    for package in &mut packages {
        if package.checksum.is_none() {
            package.checksum = old_checksum(&written.metadata, package);
        }
    }
    packages.sort_by(|a, b| (&a.name, &a.version, &a.source).cmp(&(&b.name, &b.version, &b.source)));
    let unused_patches =
        written.patch.unused.iter().map(|unused| format!("{} {}", unused.name, unused.version));
    Ok(Lock { format_version, packages, unused_patches: unused_patches.collect() })
}

/// The format says its version since 3; before that, version 2 is told by a checksum inside a package.
fn format_version(written: &Written) -> Result<u32, Failure> {
    match written.version {
        Some(version @ 1..=FORMAT_MAX) => Ok(version),
        Some(version) => {
            let message = format!(
                "format version {version} is not known, only 1 to {FORMAT_MAX}; use a newer version of this plugin"
            );
            Err(Failure::permanent("unsupported_format", message))
        }
        None if written.package.iter().any(|package| package.checksum.is_some()) => Ok(2),
        None => Ok(1),
    }
}

/// Version 1: `"checksum name version (source)" = "..."`, where `<none>` stands for no checksum.
fn old_checksum(metadata: &BTreeMap<String, String>, package: &Locked) -> Option<String> {
    let source = package.source.as_deref()?;
    let checksum = metadata.get(&format!("checksum {} {} ({source})", package.name, package.version))?;
    (checksum != "<none>").then(|| checksum.clone())
}

/// A merge conflict is the usual way in which a lock file breaks, and TOML's own message for it does not say so.
fn refuse_conflict(text: &str) -> Result<(), Failure> {
    let marker = |line: &&str| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ");
    let Some((index, _)) = text.lines().enumerate().find(|(_, line)| marker(line)) else { return Ok(()) };
    let line = index + 1;
    let message =
        format!("line {line} is the mark of a merge conflict; resolve it, or let Cargo write the file anew");
    Err(Failure::permanent("merge_conflict", message).with_data(json!({ "line": line })))
}

fn invalid(text: &str, error: &toml::de::Error) -> Failure {
    let reason = error.message().trim().replace('\n', ", ");
    let Some(span) = error.span() else {
        return Failure::permanent("invalid_toml", format!("this is not a Cargo.lock: {reason}"));
    };
    let before = text.get(..span.start.min(text.len())).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
    Failure::permanent("invalid_toml", format!("line {line}, column {column}: {reason}"))
        .with_data(json!({ "line": line, "column": column }))
}
