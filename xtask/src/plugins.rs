//! `cargo xtask plugins`: the bundled plugins as components, and how large each is.

use crate::arguments::Arguments;
use crate::toolchain::{self, WASM};
use crate::workspace::{Workspace, run as run_command};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::PathBuf;

/// One component.
pub(crate) struct Component {
    /// The name of its crate, which is that of the plugin.
    pub(crate) name: String,
    /// The file.
    pub(crate) path: PathBuf,
}

pub(crate) fn run(workspace: &Workspace, arguments: Arguments) -> Result<()> {
    arguments.finish()?;
    for component in build(workspace)? {
        let bytes = std::fs::metadata(&component.path)?.len();
        println!(
            "{:>7.1} KiB  {:<16} {}",
            bytes as f64 / 1024.0,
            component.name,
            workspace.shown(&component.path)
        );
    }
    Ok(())
}

/// Builds every plugin, by name.
///
/// # Errors
/// Where one does not compile.
pub(crate) fn build(workspace: &Workspace) -> Result<Vec<Component>> {
    toolchain::wasm_target(workspace)?;
    run_command(workspace.cargo("plugins").args(["build", "--release", "--target", WASM]))?;
    let metadata = workspace.metadata("plugins")?;
    let target = metadata["target_directory"].as_str().context("cargo names no target folder")?;
    let folder = PathBuf::from(target).join(WASM).join("release");
    let components = list(&metadata["packages"]).iter().flat_map(|package| {
        let name = package["name"].as_str().unwrap_or_default().to_owned();
        let libraries = list(&package["targets"])
            .iter()
            .filter(|t| list(&t["crate_types"]).iter().any(|c| c == "cdylib"));
        let file = libraries.filter_map(|t| t["name"].as_str()).next()?;
        Some(Component { name, path: folder.join(format!("{file}.wasm")) })
    });
    let mut components: Vec<Component> = components.collect();
    components.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(components)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
