//! What a plugin is, apart from the component around it: a description and one function on JSON text.
//!
//! The attributes implement this trait. The component's exports are a thin layer over it, and tests use the same trait
//! natively, so that what is tested is what runs.

use serde::Serialize;
use serde_json::Value;

use crate::{Failure, Outcome};

/// The three kinds of plugin. The kind decides what a plugin may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Pure: its output depends on its input alone, and is always cached.
    Transform,
    /// Acts on the world within its grants.
    Tool,
    /// Decides as it goes; its calls and their answers are recorded.
    Agent,
}

/// Limits that a plugin asks for. The operator's maximum still holds; `None` means the host's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Units of fuel for one attempt.
    pub fuel: Option<u64>,
    /// Bytes of linear memory.
    pub memory_bytes: Option<u64>,
    /// Milliseconds for one attempt.
    pub wall_ms: Option<u64>,
}

/// What a plugin says of itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metadata {
    /// `[a-z][a-z0-9_-]*`, at most 64 bytes.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// The attribute that was used.
    pub kind: Kind,
    /// A few words for a list.
    pub title: String,
    /// One or two sentences, for people and for the model that chooses a tool.
    pub description: String,
    /// JSON Schema (2020-12) of the input.
    pub input_schema: Value,
    /// JSON Schema (2020-12) of the output.
    pub output_schema: Value,
    /// Capability names that it provides, such as `ocr.text`.
    pub provides: Vec<String>,
    /// What it asks for.
    pub limits: Limits,
    /// Markdown.
    pub documentation: String,
}

/// A plugin, as the attributes write it. Not meant to be implemented by hand.
pub trait Plugin {
    /// What the plugin says of itself.
    fn describe() -> Metadata;

    /// Runs it once on JSON text. `state` is the last checkpoint, of an agent. Everything but an agent with state ends
    /// with `Done`. Fails with the plugin's own failure, with `invalid_input` where the JSON does not fit the input
    /// type, and with `invalid_output` where the output cannot be written as JSON.
    fn run(input: &str, state: Option<&str>) -> Result<Outcome<String, String>, Failure>;
}
