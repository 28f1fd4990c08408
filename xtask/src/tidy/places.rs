//! Nothing in the tree knows the machine on which it was written: no paths of somebody's home, and no place of packages
//! besides the public registry.

use super::source::Source;
use super::{Fault, Tree};
use anyhow::Result;

/// Where people's files are.
const HOMES: &[&str] = &["/home/", "/root/", "/Users/", "/work/", "C:\\Users"];

/// The only place that a lock file may name.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Sections and keys that send cargo elsewhere.
const ELSEWHERE: &[&str] = &["[source", "[registries", "[registry", "replace-with", "registry ="];

pub(super) fn find(tree: &Tree<'_>) -> Result<Vec<Fault>> {
    Ok(tree.sources.iter().flat_map(of_file).collect())
}

fn of_file(source: &Source) -> Vec<Fault> {
    let is_lock = source.path.ends_with("Cargo.lock");
    let is_manifest = source.path.ends_with("Cargo.toml") || source.path.starts_with(".cargo/");
    let mut faults = Vec::new();
    for (number, line) in source.lines() {
        let mut add = |item: &str, message: String| {
            faults.push(Fault {
                rule: "places",
                path: source.path.clone(),
                line: number,
                item: item.to_owned(),
                message,
            });
        };
        if let Some(home) = HOMES.iter().find(|home| names(line, home)) {
            add(home, format!("`{home}` is a place on one machine"));
        }
        if is_lock && line.starts_with("source = ") && !line.contains(REGISTRY) {
            add("source", format!("`{}` is not the public registry", line.trim()));
        }
        if is_manifest && ELSEWHERE.iter().any(|key| line.trim_start().starts_with(key)) {
            add("source", format!("`{}` sends cargo elsewhere", line.trim()));
        }
    }
    faults
}

/// Whether a line has a path that begins with this, and not one in whose middle it stands.
fn names(line: &str, home: &str) -> bool {
    let is_inside = |at: usize| line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~*}>".contains(c));
    line.match_indices(home).any(|(at, _)| !is_inside(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_from_the_root_count() {
        let home = HOMES[0];
        assert!(names(&format!("see {home}me/x"), home) && names(&format!("\"{home}"), home));
        assert!(!names(&format!("docs{home}index.md"), home) && !names(&format!("${{root}}{home}"), home));
    }

    #[test]
    fn a_lock_file_names_one_registry() {
        let lock = |source: &str| {
            of_file(&Source { path: "Cargo.lock".to_owned(), text: format!("source = \"{source}\"\n") }).len()
        };
        assert_eq!(
            (lock(REGISTRY), lock("registry+https://example.com/index"), lock("git+https://example.com/x#1")),
            (0, 1, 1)
        );
    }
}
