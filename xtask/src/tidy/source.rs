//! The files of the tree, read once.

use anyhow::{Context, Result};
use std::path::Path;

/// Folders that are built or belong to tools.
const SKIPPED: &[&str] = &["target", "node_modules"];

/// One text file.
pub(super) struct Source {
    /// From the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// The lines with their numbers, from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }
}

/// Every text file below a folder, by path.
///
/// # Errors
/// Where one cannot be read.
pub(super) fn read(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    collect(root, "", &mut sources)?;
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn collect(folder: &Path, prefix: &str, sources: &mut Vec<Source>) -> Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("`{}` cannot be read", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        let path = format!("{prefix}{name}");
        // Of the folders whose name begins with a dot, those that the project itself keeps.
        let hidden = name.starts_with('.') && ![".cargo", ".ci", ".config", ".github"].contains(&&*name);
        if kind.is_dir() && !hidden && !SKIPPED.contains(&&*name) {
            collect(&entry.path(), &format!("{path}/"), sources)?;
        } else if kind.is_file() && name != ".git" && !name.ends_with(".log") {
            // What is not text (images, components) is of no interest here.
            if let Ok(text) = String::from_utf8(std::fs::read(entry.path())?) {
                sources.push(Source { path, text });
            }
        }
    }
    Ok(())
}
