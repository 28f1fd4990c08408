//! The shape of files: how long they are, how long their functions are, and whether they open with why they exist.

use super::source::Source;
use super::{Fault, Tree};
use anyhow::Result;

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;

fn fault(rule: &'static str, source: &Source, line: usize, item: &str, message: String) -> Fault {
    Fault { rule, path: source.path.clone(), line, item: item.to_owned(), message }
}

pub(super) fn long_files(tree: &Tree<'_>) -> Result<Vec<Fault>> {
    let lengths = tree.rust().map(|source| (source, source.text.lines().count()));
    let long = lengths.filter(|(_, lines)| *lines > FILE_LINES);
    Ok(long
        .map(|(s, lines)| {
            fault("file-length", s, 0, "*", format!("{lines} lines, and {FILE_LINES} are allowed"))
        })
        .collect())
}

pub(super) fn undocumented_modules(tree: &Tree<'_>) -> Result<Vec<Fault>> {
    // A crate whose documentation is a file of its own says so at its top.
    let is_docs = |line: &str| line.starts_with("//! ") || line.starts_with("#![doc = include_str!(");
    let opens_with_docs = |source: &Source| {
        let lines = source.text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.take_while(|line| line.starts_with("#!") || line.starts_with("//!")).any(is_docs)
    };
    let bare = tree.rust().filter(|source| !opens_with_docs(source));
    Ok(bare
        .map(|s| {
            fault("module-docs", s, 1, "*", "does not open with a `//!` that says why it exists".to_owned())
        })
        .collect())
}

pub(super) fn mod_rs(tree: &Tree<'_>) -> Result<Vec<Fault>> {
    // What integration tests share stands in `tests/<name>/mod.rs`: cargo takes `tests/<name>.rs` for a test of its own.
    let shared_by_tests = |path: &str| path.rsplit('/').nth(2) == Some("tests");
    let found = tree.rust().filter(|s| s.path.ends_with("/mod.rs") && !shared_by_tests(&s.path));
    Ok(found
        .map(|s| fault("mod-rs", s, 0, "*", "move it beside its folder: `foo.rs` and `foo/`".to_owned()))
        .collect())
}

pub(super) fn long_functions(tree: &Tree<'_>) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for source in tree.rust() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some(name) = function_name(line) else { continue };
            let length = length(&lines[at..]);
            if length > FUNCTION_LINES {
                let message = format!("`{name}` has {length} lines, and {FUNCTION_LINES} are allowed");
                faults.push(fault("function-length", source, at + 1, name, message));
            }
        }
    }
    Ok(faults)
}

/// The name of the function that begins on a line.
fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let before = before.trim();
    let modifiers = ["async", "const", "unsafe", "default", "extern"];
    let only_modifiers = before
        .split_whitespace()
        .all(|w| w.starts_with("pub") || modifiers.contains(&w) || w.ends_with('"') || w.ends_with(')'));
    let name = after.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    (only_modifiers && !before.contains("//") && !name.is_empty()).then_some(name)
}

/// The lines of a function from its first, up to the closing brace at the same depth. rustfmt puts it there.
fn length(lines: &[&str]) -> usize {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let Some(first) = lines.first() else { return 0 };
    if first.ends_with(';') || first.ends_with('}') {
        return 1;
    }
    let ends = |line: &str| {
        let text = line.trim_start();
        !text.is_empty()
            && depth(line) == depth(first)
            && (text.starts_with('}') || (text.starts_with(')') && text.ends_with(';')))
    };
    lines.iter().skip(1).position(|line| ends(line)).map_or(1, |at| at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found() {
        assert_eq!(function_name("    pub(crate) async fn go<T>(x: T) {"), Some("go"));
        assert_eq!(function_name("const fn five() -> u32 {"), Some("five"));
        assert_eq!(function_name("extern \"C\" fn raw() {}"), Some("raw"));
        for line in [
            "// a fn that",
            "let f = |x| fn_of(x);",
            "    run: fn(&Tree) -> u32,",
            "type F = Box<dyn Fn (u32)>;",
        ] {
            assert_eq!(function_name(line), None, "{line}");
        }
    }

    #[test]
    fn functions_are_measured() {
        let measure = |text: &str| length(&text.lines().collect::<Vec<_>>());
        assert_eq!(measure("fn a() {}"), 1);
        assert_eq!(measure("fn a();\nfn b() {\n}"), 1);
        assert_eq!(
            measure(
                "    fn a(\n        x: u32,\n    ) -> u32 {\n        if x {\n        }\n    }\n    fn b() {}"
            ),
            6
        );
        assert_eq!(measure("    fn a(\n        x: u32,\n    ) -> u32;\n    fn b() {}"), 3);
    }
}
