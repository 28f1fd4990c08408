//! Every word by which an error is known has a page, and every page has a word.

use super::{Fault, Tree};
use anyhow::{Context, Result};
use std::collections::BTreeSet;

/// Where the closed lists are: the file, and the macro in which each line says `Name = "word"`.
const LISTS: &[(&str, &str)] =
    &[("runtime/core/src/outcome.rs", "failure_kinds! {"), ("runtime/server/src/http/codes.rs", "codes! {")];

const FOLDER: &str = "docs/errors/";

pub(super) fn find(tree: &Tree<'_>) -> Result<Vec<Fault>> {
    let fault = |path: &str, line, item: &str, message: String| Fault {
        rule: "pages",
        path: path.to_owned(),
        line,
        item: item.to_owned(),
        message,
    };
    let mut faults = Vec::new();
    let mut words = BTreeSet::new();
    for (path, opening) in LISTS {
        let source = tree.find(path).with_context(|| format!("`{path}` is missing"))?;
        let mut list = source
            .lines()
            .skip_while(|(_, line)| line != opening)
            .take_while(|(_, line)| *line != "}")
            .peekable();
        list.peek().with_context(|| format!("`{path}` has no list that opens with `{opening}`"))?;
        for (number, word) in list.filter_map(|(number, line)| Some((number, word(line)?))) {
            words.insert(word.to_owned());
            if tree.find(&format!("{FOLDER}{word}.md")).is_none() {
                faults.push(fault(path, number, word, format!("`{word}` has no page `{FOLDER}{word}.md`")));
            }
        }
    }
    for page in tree.sources.iter().filter(|source| source.path.starts_with(FOLDER)) {
        let name = page.path[FOLDER.len()..].trim_end_matches(".md");
        if !["README", "index"].contains(&name) && !words.contains(name) {
            faults.push(fault(&page.path, 0, name, format!("no error is called `{name}`")));
        }
        if words.contains(name) && page.text.lines().next() != Some(&format!("# {name}")) {
            faults.push(fault(&page.path, 1, name, format!("the page opens with `# {name}`")));
        }
    }
    Ok(faults)
}

/// The word in `Name = "word" ...`.
fn word(line: &str) -> Option<&str> {
    let (name, rest) = line.trim().split_once(" = \"")?;
    let is_name =
        name.chars().all(|c| c.is_ascii_alphanumeric()) && name.starts_with(|c: char| c.is_ascii_uppercase());
    rest.split('"').next().filter(|_| is_name)
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn words_are_read() {
        assert_eq!(word("    StackOverflow = \"stack_overflow\" never;"), Some("stack_overflow"));
        assert_eq!(word("    /// The word is = \"this\"."), None);
        assert_eq!(word("    let word = \"this\";"), None);
    }
}
