//! The names of things: words that say nothing, or that belong to others, are not used for items, files or crates.

use super::source::Source;
use super::{Fault, Tree};
use anyhow::Result;

/// Words that are not used, with why.
const FORBIDDEN: &[(&str, &str)] = &[
    ("engine", "is wasmtime's word"),
    ("task", "is tokio's word, and A2A's"),
    ("job", "is a run or a step here"),
    ("flow", "is a workflow here"),
    ("manager", "does not say what it does"),
    ("util", "does not say what it holds"),
    ("common", "does not say what it holds"),
    ("helper", "does not say what it does"),
];

/// What begins an item, its name following.
const KEYWORDS: &[&str] =
    &["fn", "struct", "enum", "union", "trait", "type", "mod", "const", "static", "macro_rules!"];
/// What may stand before it.
const MODIFIERS: &[&str] = &["async", "unsafe", "default", "extern", "mut"];

pub(super) fn find(tree: &Tree<'_>) -> Result<Vec<Fault>> {
    Ok(tree.rust().flat_map(of_file).collect())
}

fn of_file(source: &Source) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut judge = |line: usize, name: &str, what: &str| {
        if let Some((word, why)) = forbidden(name) {
            let message = format!("the {what} `{name}`: `{word}` {why}");
            faults.push(Fault {
                rule: "names",
                path: source.path.clone(),
                line,
                item: name.to_owned(),
                message,
            });
        }
    };
    let stem = source.path.rsplit('/').next().and_then(|file| file.strip_suffix(".rs")).unwrap_or_default();
    judge(0, stem, "file");
    let in_tests_folder = source.path.split('/').any(|part| part == "tests");
    let mut in_tests = in_tests_folder;
    for (number, line) in source.lines() {
        in_tests |= line.contains("#[cfg(test)]");
        // The name of a test is a sentence.
        match item(line) {
            Some(("fn", _)) if in_tests => {}
            Some((_, name)) => judge(number, name, "item"),
            None => {}
        }
    }
    faults
}

/// The keyword and the name of the item that begins on a line.
fn item(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace().peekable();
    let keyword = loop {
        let word = words.next()?;
        match KEYWORDS.contains(&word) {
            // `const fn`: the function counts.
            true if word == "const"
                && words.peek().is_some_and(|w| ["fn", "unsafe", "async"].contains(w)) => {}
            true => break word,
            false if word.starts_with("pub") || word.starts_with('"') || MODIFIERS.contains(&word) => {}
            false => return None,
        }
    };
    let name = words.find(|word| *word != "mut")?;
    let name =
        name.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|name| !name.is_empty())?;
    Some((keyword, name))
}

fn forbidden(name: &str) -> Option<(&'static str, &'static str)> {
    let words = words(name);
    let is = |word: &str, forbidden: &str| word == forbidden || word.strip_suffix('s') == Some(forbidden);
    FORBIDDEN.iter().copied().find(|(forbidden, _)| words.iter().any(|word| is(word, forbidden)))
}

/// `HostCalls` and `host_calls` are two words each.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_is_lower = false;
    for c in name.chars() {
        let begins = c == '_' || (c.is_uppercase() && before_is_lower);
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c != '_') {
            word.extend(c.to_lowercase());
        }
        before_is_lower = c.is_lowercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found() {
        assert_eq!(item("    pub(crate) async fn go(x: u32) {"), Some(("fn", "go")));
        assert_eq!(item("pub const fn five() {"), Some(("fn", "five")));
        assert_eq!(item("pub const LIMIT: u32 = 5;"), Some(("const", "LIMIT")));
        assert_eq!(item("pub struct Plan<T> {"), Some(("struct", "Plan")));
        assert_eq!(item("pub mod graph;"), Some(("mod", "graph")));
        for line in ["let x = 1;", "// fn of it", "use crate::fn_of;", "    flow: Flow,"] {
            assert_eq!(item(line), None, "{line}");
        }
    }

    #[test]
    fn words_are_judged_whole() {
        for name in ["TaskQueue", "job_id", "Helpers", "JOBS", "run_manager"] {
            assert!(forbidden(name).is_some(), "{name}");
        }
        for name in ["Workflow", "workflow_invalid", "xtask", "overflow", "Engineer", "utility"] {
            assert!(forbidden(name).is_none(), "{name}");
        }
    }
}
