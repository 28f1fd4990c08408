//! What an author of plugins types, with the toolchains of the languages.

use crate::{binary, root, tools};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Types a command in a folder: whether it succeeded, and what it said.
pub fn typed(folder: &Path, words: &[&str]) -> (bool, String) {
    let done = Command::new(binary())
        .args(words)
        .current_dir(folder)
        // Cargo's is shared, so that a project's dependencies are compiled once.
        .env("CARGO_TARGET_DIR", root().join("target/tools/rust-plugins"))
        .output()
        .unwrap();
    let text = [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (done.status.success(), text)
}

/// Types a command that must succeed.
pub fn succeeds(folder: &Path, words: &[&str]) -> String {
    let (is_done, text) = typed(folder, words);
    assert!(is_done, "{words:?}: {text}");
    text
}

/// What the project's own page says to type for its toolchain; once for all projects.
pub fn with_toolchain(project: &Path, language: &str) {
    let read = |name: &str| std::fs::read_to_string(project.join(name)).unwrap();
    match language {
        "js" | "ts" => {
            let package =
                read("package.json").replace(project.file_name().unwrap().to_str().unwrap(), "greet");
            let modules = tools::node_modules(&format!("plugins-{language}"), &package);
            symlink(modules, project.join("node_modules")).unwrap();
        }
        "python" | "c" => {
            let requirements = read("requirements.txt");
            let packages: Vec<&str> = requirements.split_whitespace().collect();
            let python = tools::python(&format!("plugins-{language}"), &packages);
            symlink(python.parent().unwrap().parent().unwrap(), project.join(".venv")).unwrap();
        }
        _ => {}
    }
}

/// A new project with its toolchain.
pub fn project(folder: &Path, language: &str, kind: &str) -> PathBuf {
    let name = format!("greet-{language}-{kind}");
    let said = succeeds(folder, &["new", &name, "--kind", kind, "--language", language]);
    assert!(said.contains("heddle build"), "{said}");
    let project = folder.join(&name);
    with_toolchain(&project, language);
    project
}

/// The component of a project, built again.
pub fn built(project: &Path) -> Vec<u8> {
    let said = succeeds(project, &["build"]);
    let file = said.lines().find(|line| line.ends_with(".wasm")).unwrap_or_else(|| panic!("{said}"));
    std::fs::read(project.join(file)).unwrap()
}
