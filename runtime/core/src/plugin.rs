//! What a plugin is to the rest of the product: what it says of itself, and how a workflow names it.

use crate::id::{Digest, is_name};
use crate::json::Json;
use crate::limits::AskedLimits;
use crate::outcome::PluginKind;
use crate::schema::Schema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Capability names of one plugin. Without a bound, each of a million bad ones would be a sentence in the answer.
const MAX_PROVIDES: usize = 64;

/// What a plugin says of itself in `describe`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// `[a-z][a-z0-9_-]*`, at most 64 bytes.
    pub name: String,
    /// Semantic version.
    pub version: semver::Version,
    /// Which of the three it is.
    pub kind: PluginKind,
    /// A few words for a list.
    pub title: String,
    /// One or two sentences.
    pub description: String,
    /// JSON Schema of the input.
    pub input_schema: Json,
    /// JSON Schema of the output.
    pub output_schema: Json,
    /// Capability names that it provides.
    pub provides: Vec<String>,
    /// Limits that it asks for.
    pub limits: AskedLimits,
    /// Markdown.
    pub documentation: String,
}

impl Metadata {
    /// Everything that is wrong with it, all at once; empty when nothing is.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !is_name(&self.name) {
            faults.push(format!("name `{}` is not `[a-z][a-z0-9_-]*` of at most 64 bytes", cut(&self.name)));
        }
        for (what, text, max) in [
            ("title", &self.title, 256),
            ("description", &self.description, 4 * 1024),
            ("documentation", &self.documentation, 64 * 1024),
        ] {
            if text.len() > max {
                faults.push(format!("{what} has {} bytes; at most {max} are kept", text.len()));
            }
        }
        for (what, schema) in [("input schema", &self.input_schema), ("output schema", &self.output_schema)] {
            if let Err(fault) = Schema::compile(schema) {
                faults.push(format!("{what}: {fault}"));
            }
        }
        if self.provides.len() > MAX_PROVIDES {
            let found = self.provides.len();
            faults.push(format!("{found} capability names; at most {MAX_PROVIDES} are kept"));
        }
        for name in self.provides.iter().take(MAX_PROVIDES) {
            if name.is_empty() || !name.split('.').all(is_name) {
                faults.push(format!("capability `{}` is not dotted names such as `ocr.text`", cut(name)));
            }
        }
        faults
    }
    /// `kind:name`, as a workflow calls it.
    pub fn reference(&self) -> String {
        format!("{}:{}", self.kind.word(), self.name)
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// How a workflow names a plugin: `kind:name@range`. Without a range, any version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PluginRef {
    /// The kind.
    pub kind: PluginKind,
    /// The name.
    pub name: String,
    /// The versions that will do.
    pub range: semver::VersionReq,
}

/// The text does not name a plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginRefFault {
    /// No `kind:` in front, or none of the three.
    #[error("`{0}` does not say its kind; write `tool:{1}`, `transform:{1}` or `agent:{1}`")]
    Kind(String, String),
    /// The name is not a name.
    #[error("`{0}` is not a plugin name (`[a-z][a-z0-9_-]*`, at most 64 bytes)")]
    Name(String),
    /// The range is not one.
    #[error("`{0}` is not a version range; write `^1`, `~1.2` or `=1.2.3`")]
    Range(String),
}

impl PluginRef {
    /// Reads `kind:name@range`.
    pub fn parse(text: &str) -> Result<PluginRef, PluginRefFault> {
        let (head, range) = text.split_once('@').unwrap_or((text, "*"));
        let (kind, name) = head.split_once(':').unwrap_or(("", head));
        let kind = PluginKind::from_word(kind).ok_or_else(|| PluginRefFault::Kind(cut(text), cut(name)))?;
        if !is_name(name) {
            return Err(PluginRefFault::Name(cut(name)));
        }
        // A plain number is an exact-prefix wish in every package manager that users know: `1` means `^1`.
        let range = semver::VersionReq::parse(range).map_err(|_| PluginRefFault::Range(cut(range)))?;
        Ok(PluginRef { kind, name: name.to_owned(), range })
    }
}

impl fmt::Display for PluginRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}@{}", self.kind.word(), self.name, self.range)
    }
}

/// The plugin that a reference was resolved to when a run was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pinned {
    /// The kind.
    pub kind: PluginKind,
    /// The name.
    pub name: String,
    /// The version.
    pub version: semver::Version,
    /// The component.
    pub digest: Digest,
    /// The limits that the plugin asked for.
    #[serde(default)]
    pub limits: AskedLimits,
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}@{}", self.kind.word(), self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let r = PluginRef::parse("tool:http-fetch@^1").unwrap();
        assert_eq!((r.kind, r.name.as_str()), (PluginKind::Tool, "http-fetch"));
        assert!(
            r.range.matches(&semver::Version::new(1, 9, 0))
                && !r.range.matches(&semver::Version::new(2, 0, 0))
        );
        assert!(PluginRef::parse("agent:x").unwrap().range.matches(&semver::Version::new(0, 0, 1)));
        assert!(matches!(PluginRef::parse("fetch"), Err(PluginRefFault::Kind(..))));
        assert!(matches!(PluginRef::parse("plugin:fetch"), Err(PluginRefFault::Kind(..))));
        assert!(matches!(PluginRef::parse("tool:Fetch"), Err(PluginRefFault::Name(_))));
        assert!(matches!(PluginRef::parse("tool:fetch@latest"), Err(PluginRefFault::Range(_))));
    }
}
