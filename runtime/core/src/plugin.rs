//! What a plugin is to the rest of the product: what it says of itself, and how a workflow names it.

use crate::id::{Digest, is_name, is_plugin_name};
use crate::json::Json;
use crate::limits::AskedLimits;
use crate::outcome::PluginKind;
use crate::schema::Schema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Capability names of one plugin. Without a bound, each of a million bad ones would be a sentence in the answer.
const MAX_PROVIDES: usize = 64;

/// Another word for the kind of a tool, for those of servers that speak the Model Context Protocol.
const MCP: &str = "mcp";

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
        faults.extend(self.text_faults());
        for (what, schema) in [("input schema", &self.input_schema), ("output schema", &self.output_schema)] {
            if let Err(fault) = Schema::compile(schema) {
                faults.push(format!("{what}: {fault}"));
            }
        }
        faults
    }
    /// What is wrong with what it says in words, and with what it provides.
    pub(crate) fn text_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (what, text, max) in [
            ("title", &self.title, 256),
            ("description", &self.description, 4 * 1024),
            ("documentation", &self.documentation, 64 * 1024),
        ] {
            if text.len() > max {
                faults.push(format!("{what} has {} bytes; at most {max} are kept", text.len()));
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
        let text = &*in_full(text);
        let (head, range) = text.split_once('@').unwrap_or((text, "*"));
        let (kind, name) = head.split_once(':').unwrap_or(("", head));
        let kind = PluginKind::from_word(kind).ok_or_else(|| PluginRefFault::Kind(cut(text), cut(name)))?;
        if !is_plugin_name(name) {
            return Err(PluginRefFault::Name(cut(name)));
        }
        // A plain number is an exact-prefix wish in every package manager that users know: `1` means `^1`.
        let range = semver::VersionReq::parse(range).map_err(|_| PluginRefFault::Range(cut(range)))?;
        Ok(PluginRef { kind, name: name.to_owned(), range })
    }
}

/// Whether this is a pattern of plugins: `kind:name`, `kind:service/*` or `kind:*`.
pub fn is_pattern(text: &str) -> bool {
    text.split_once(':').is_some_and(|(kind, name)| {
        let is_service = |name: &str| name.strip_suffix("/*").is_some_and(is_name);
        PluginKind::from_word(kind).is_some() && (name == "*" || is_plugin_name(name) || is_service(name))
    })
}

/// A name or a pattern with its kind: `mcp:crm/*` is another word for `tool:crm/*`.
pub fn in_full(text: &str) -> std::borrow::Cow<'_, str> {
    match text.strip_prefix(MCP).and_then(|rest| rest.strip_prefix(':')) {
        Some(rest) => format!("{}:{rest}", PluginKind::Tool.word()).into(),
        None => text.into(),
    }
}

/// Whether such a pattern means this: a plugin, `kind:name`, or a pattern that means less.
pub fn pattern_has(pattern: &str, plugin: &str) -> bool {
    pattern == plugin || pattern.strip_suffix('*').is_some_and(|start| plugin.starts_with(start))
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
    /// What it is made of.
    #[serde(default, skip_serializing_if = "Form::is_component")]
    pub form: Form,
}

/// What a plugin is made of: what its digest is the digest of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A WebAssembly component.
    #[default]
    Component,
    /// An endpoint of a connector.
    Endpoint,
}

impl Form {
    /// Whether it is what most are.
    pub fn is_component(&self) -> bool {
        *self == Form::Component
    }
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
    fn patterns() {
        for (text, is) in [
            ("tool:a", true),
            ("tool:*", true),
            ("tool:a/b", true),
            ("tool:a/*", true),
            ("agent:*", true),
            ("tool:a*", false),
            ("tool:*/b", false),
            ("a", false),
            ("gate:a", false),
        ] {
            assert_eq!(is_pattern(text), is, "{text}");
        }
        assert!(pattern_has("tool:*", "tool:a/b") && pattern_has("tool:a/*", "tool:a/b"));
        assert!(!pattern_has("tool:a/*", "tool:ab/c") && !pattern_has("tool:a", "tool:a/b"));
        assert!(pattern_has("tool:*", "tool:a/*") && !pattern_has("tool:a/*", "tool:*"));
    }

    #[test]
    fn references() {
        let r = PluginRef::parse("tool:http-fetch@^1").unwrap();
        assert_eq!((r.kind, r.name.as_str()), (PluginKind::Tool, "http-fetch"));
        assert!(
            r.range.matches(&semver::Version::new(1, 9, 0))
                && !r.range.matches(&semver::Version::new(2, 0, 0))
        );
        assert!(PluginRef::parse("agent:x").unwrap().range.matches(&semver::Version::new(0, 0, 1)));
        assert_eq!(PluginRef::parse("tool:weather/current@^1").unwrap().name, "weather/current");
        assert!(matches!(PluginRef::parse("tool:a/b/c"), Err(PluginRefFault::Name(_))));
        assert!(matches!(PluginRef::parse("fetch"), Err(PluginRefFault::Kind(..))));
        assert!(matches!(PluginRef::parse("plugin:fetch"), Err(PluginRefFault::Kind(..))));
        assert!(matches!(PluginRef::parse("tool:Fetch"), Err(PluginRefFault::Name(_))));
        assert!(matches!(PluginRef::parse("tool:fetch@latest"), Err(PluginRefFault::Range(_))));
    }
}
