//! `plugin.toml`: what a plugin says of itself, where its language has no attribute for it.

use crate::language::{Kind, Language};
use crate::toolchain::AuthorFault;
use heddle_core::id::is_name;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// The name of the file.
pub const MANIFEST: &str = "plugin.toml";

/// The file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// `[a-z][a-z0-9_-]*`.
    pub name: String,
    /// A semantic version.
    pub version: semver::Version,
    /// What it is.
    pub kind: Kind,
    /// In what it is written.
    pub language: Language,
    /// The file that has the function, beside this one.
    pub source: String,
    /// A few words for a list.
    #[serde(default)]
    pub title: String,
    /// For people, and for the model that chooses a tool.
    pub description: String,
    /// What of the host it needs that an operator grants: `http`, `secret`, `config`, `kv`, `artifacts`.
    #[serde(default)]
    pub uses: Vec<String>,
    /// Capability names, for routing.
    #[serde(default)]
    pub provides: Vec<String>,
    /// JSON Schema of its input: the schema itself, or a file that has it.
    pub input: Value,
    /// JSON Schema of its output.
    pub output: Value,
    /// Limits that it asks for.
    #[serde(default)]
    pub limits: Asked,
    /// A file in Markdown.
    #[serde(default)]
    pub documentation: Option<String>,
}

/// Limits that a plugin asks for; none means the host's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Asked {
    /// Fuel of an attempt.
    pub fuel: Option<u64>,
    /// Memory of an attempt.
    pub memory_bytes: Option<u64>,
    /// Milliseconds of an attempt.
    pub wall_ms: Option<u64>,
}

impl Manifest {
    /// Reads the manifest of a project.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(project: &Path) -> Result<Manifest, AuthorFault> {
        let file = project.join(MANIFEST);
        let shown = file.display().to_string();
        let text = std::fs::read_to_string(&file).map_err(|error| AuthorFault::Read(shown.clone(), error))?;
        let mut manifest: Manifest = toml::from_str(&text)
            .map_err(|fault| AuthorFault::Manifest(shown.clone(), fault.to_string().trim_end().to_owned()))?;
        let fault = |what: String| AuthorFault::Manifest(shown.clone(), what);
        if !is_name(&manifest.name) {
            return Err(AuthorFault::Name(manifest.name.chars().take(80).collect()));
        }
        let (stem, _) = manifest.source.rsplit_once('.').unwrap_or((&manifest.source, ""));
        let is_module = !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if manifest.language == Language::Python && !is_module {
            return Err(fault(format!(
                "`source`: `{}` is no module of Python, such as `plugin.py`",
                manifest.source
            )));
        }
        for what in &manifest.uses {
            if !manifest.kind.may_use().contains(&what.as_str()) {
                let may = manifest.kind.may_use();
                let may =
                    if may.is_empty() { "nothing".to_owned() } else { format!("`{}`", may.join("`, `")) };
                return Err(fault(format!(
                    "`uses`: a {} may use {may}, and this is `{what}`",
                    manifest.kind
                )));
            }
        }
        for (key, schema) in [("input", &mut manifest.input), ("output", &mut manifest.output)] {
            if let Value::String(path) = schema {
                let path = project.join(&*path);
                let shown = path.display().to_string();
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| AuthorFault::Read(shown.clone(), error))?;
                *schema = serde_json::from_str(&text)
                    .map_err(|error| AuthorFault::Manifest(shown, format!("`{key}` is no JSON: {error}")))?;
            }
        }
        if manifest.title.is_empty() {
            manifest.title.clone_from(&manifest.name);
        }
        if let Some(path) = &manifest.documentation {
            let path = project.join(path);
            let shown = path.display().to_string();
            manifest.documentation =
                Some(std::fs::read_to_string(&path).map_err(|error| AuthorFault::Read(shown, error))?);
        }
        Ok(manifest)
    }
}
