//! Where a package comes from, read from the prefix that Cargo writes before its source.

use heddle_sdk::prelude::*;

/// The ways in which crates.io is named: its git index, and the sparse index that follows it.
const CRATES_IO: [&str; 2] =
    ["registry+https://github.com/rust-lang/crates.io-index", "sparse+https://index.crates.io/"];

/// A kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SourceKind {
    /// crates.io.
    Registry,
    /// Any other registry, be it remote, a local mirror or a vendored folder.
    OtherRegistry,
    /// A git repository.
    Git,
    /// A local folder.
    Path,
    /// Something that this version does not know.
    Unknown,
}

impl SourceKind {
    /// The kind of a `source` line; a package without one lies in a local folder.
    pub(crate) fn of(source: Option<&str>) -> SourceKind {
        const REGISTRIES: [&str; 4] = ["registry", "sparse", "local-registry", "directory"];
        let Some(source) = source else { return SourceKind::Path };
        match source.split_once('+') {
            _ if CRATES_IO.contains(&source) => SourceKind::Registry,
            Some(("git", _)) => SourceKind::Git,
            Some(("path", _)) => SourceKind::Path,
            Some((prefix, _)) if REGISTRIES.contains(&prefix) => SourceKind::OtherRegistry,
            _ => SourceKind::Unknown,
        }
    }
}
