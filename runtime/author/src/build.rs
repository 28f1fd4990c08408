//! From a project to a component. What is made on the way stands in `build/`, which may be deleted at any time.

mod c;
mod javascript;
mod python;
mod rust;

use crate::language::Language;
use crate::manifest::{MANIFEST, Manifest};
use crate::toolchain::{AuthorFault, write};
use crate::world;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The folder for what is made on the way.
const FOLDER: &str = "build";

/// A component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The file.
    pub file: PathBuf,
    /// Its language.
    pub language: Language,
}

/// Builds the project in this folder.
///
/// # Errors
/// What is missing, or what the toolchain says.
pub fn build(project: &Path) -> Result<Built, AuthorFault> {
    if !project.join(MANIFEST).is_file() {
        return match project.join("Cargo.toml").is_file() {
            true => {
                let made = rust::build(project)?;
                let file = project.join(FOLDER).join(made.file_name().unwrap_or_default());
                let bytes = std::fs::read(&made)
                    .map_err(|error| AuthorFault::Read(made.display().to_string(), error))?;
                write(&file, bytes)?;
                Ok(Built { file, language: Language::Rust })
            }
            false => Err(AuthorFault::NoProject(project.display().to_string())),
        };
    }
    let manifest = Manifest::read(project)?;
    let project = std::path::absolute(project)
        .map_err(|error| AuthorFault::Read(project.display().to_string(), error))?;
    let work = Work {
        folder: project.join(FOLDER),
        source: project.join(&manifest.source),
        said: said(&manifest),
        project,
        manifest,
    };
    if !work.source.is_file() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(AuthorFault::Read(work.source.display().to_string(), missing));
    }
    write(&work.wit(), world::text(&work.manifest))?;
    let file = work.folder.join(format!("{}.wasm", work.manifest.name));
    match work.manifest.language {
        Language::Js | Language::Ts => javascript::build(&work, &file)?,
        Language::Python => python::build(&work, &file)?,
        Language::C => c::build(&work, &file)?,
        Language::Rust => {
            let why = "a plugin in Rust says what it is in `Cargo.toml` and its attribute; delete this file";
            return Err(AuthorFault::Manifest(MANIFEST.to_owned(), why.to_owned()));
        }
    }
    Ok(Built { file, language: work.manifest.language })
}

/// A build under way.
struct Work {
    project: PathBuf,
    folder: PathBuf,
    source: PathBuf,
    manifest: Manifest,
    /// What the plugin says of itself, with the names of the contract.
    said: Value,
}

impl Work {
    fn wit(&self) -> PathBuf {
        self.folder.join("plugin.wit")
    }
    /// What of the host the plugin imports.
    fn imports(&self) -> Vec<&'static str> {
        world::imports(self.manifest.kind, &self.manifest.uses)
    }
}

/// What a plugin says of itself.
fn said(manifest: &Manifest) -> Value {
    json!({
        "name": manifest.name,
        "version": manifest.version.to_string(),
        "kind": manifest.kind.word(),
        "title": manifest.title,
        "description": manifest.description,
        "inputSchema": manifest.input.to_string(),
        "outputSchema": manifest.output.to_string(),
        "provides": manifest.provides,
        "documentation": manifest.documentation.as_deref().unwrap_or_default(),
    })
}
