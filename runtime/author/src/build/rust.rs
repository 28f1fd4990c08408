//! Rust: cargo makes the component by itself.

use crate::toolchain::{AuthorFault, find};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TARGET: &str = "wasm32-wasip2";

pub(super) fn build(project: &Path) -> Result<PathBuf, AuthorFault> {
    let cargo = find(project, &[], &["cargo"]);
    let cargo = cargo.ok_or_else(|| AuthorFault::Missing {
        what: "cargo",
        install: "install Rust from https://rustup.rs".to_owned(),
    })?;
    // What cargo says goes to the terminal as it comes: it may take a while.
    let done = Command::new(cargo)
        .args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"])
        .current_dir(project)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| AuthorFault::Failed { program: "cargo".to_owned(), said: error.to_string() })?;
    if !done.status.success() {
        if !has_target() {
            return Err(AuthorFault::Missing {
                what: "the target wasm32-wasip2",
                install: format!("rustup target add {TARGET}"),
            });
        }
        let said = "what cargo says stands above".to_owned();
        return Err(AuthorFault::Failed { program: "cargo".to_owned(), said });
    }
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let files =
        text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).flat_map(|message| {
            let names = message["filenames"].as_array().cloned().unwrap_or_default();
            names.into_iter().filter_map(|name| name.as_str().map(PathBuf::from))
        });
    let components: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|end| end == "wasm")).collect();
    match components.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(AuthorFault::Component(
            "cargo built no component; `[lib]` wants `crate-type = [\"cdylib\"]`".to_owned(),
        )),
        more => Err(AuthorFault::Component(format!(
            "cargo built {} components; build in the folder of one of them",
            more.len()
        ))),
    }
}

/// Whether the compiler has the target's standard library.
fn has_target() -> bool {
    let asked = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    let folder = asked.map(|done| String::from_utf8_lossy(&done.stdout).trim().to_owned());
    folder.is_ok_and(|folder| Path::new(&folder).is_dir())
}
