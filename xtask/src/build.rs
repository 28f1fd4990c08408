//! Building the product's programs.
//!
//! For tests with `--workspace`: cargo unites the features of the packages that are *selected*, so `-p heddle-server` and
//! `--workspace` ask for different features of `rustix` or `wasmparser`, and wasmtime would be compiled for each. What is
//! shipped is built of the packages that own it, so that nothing of the tests is in it.

use crate::workspace::{Workspace, run};
use anyhow::{Result, ensure};
use std::path::PathBuf;

/// What to build for (`docs/decisions/0001-one-profile.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Optimised, and quick to build again: for the demo and the tests.
    Dev,
    /// As it is shipped: for figures.
    Release,
}

/// Builds programs of the workspace and gives their paths.
///
/// # Errors
/// Where one does not compile.
pub(crate) fn programs(workspace: &Workspace, profile: Profile, names: &[&str]) -> Result<Vec<PathBuf>> {
    let (folder, flags): (_, &[&str]) = match profile {
        Profile::Dev => ("debug", &["--workspace"]),
        Profile::Release => {
            ("release", &["--release", "--package", "heddle-server", "--package", "heddle-bench"])
        }
    };
    let paths: Vec<PathBuf> = names.iter().map(|name| workspace.target.join(folder).join(name)).collect();
    if paths.iter().any(|path| !path.exists()) {
        println!(
            "building {}: the first time this compiles wasmtime and SQLite, which takes minutes",
            names.join(", ")
        );
    }
    let mut cargo = workspace.cargo("");
    cargo.arg("build").args(flags);
    cargo.args(names.iter().flat_map(|name| ["--bin", name]));
    run(&mut cargo)?;
    for path in &paths {
        ensure!(
            path.exists(),
            "cargo built no `{}`; is `build.target` set in a configuration of yours?",
            path.display()
        );
    }
    Ok(paths)
}
