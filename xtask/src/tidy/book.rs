//! The documentation holds together: every page of the guide is a chapter of the book, every decision is listed, and
//! every link to a file or to a heading of one leads there. A page of the book links to pages of the book alone, since
//! nothing else is beside it where it is read as a web site.

use super::source::Source;
use super::{Fault, Tree};
use anyhow::{Context, Result};
use std::collections::BTreeSet;

/// The book's table of contents.
const SUMMARY: &str = "docs/SUMMARY.md";
/// Its pages.
const GUIDE: &str = "docs/guide/";
/// Pages that an index must name: the folder, and the index.
const LISTED: &[(&str, &str)] = &[(GUIDE, SUMMARY), ("docs/decisions/", "docs/README.md")];

pub(super) fn find(tree: &Tree<'_>) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for (folder, index) in LISTED {
        let listed: BTreeSet<String> =
            links(tree.find(index).with_context(|| format!("`{index}` is missing"))?)
                .into_iter()
                .filter_map(|link| target(index, &link.to))
                .map(|(path, _)| path)
                .collect();
        for page in pages(tree).filter(|page| page.path.starts_with(folder)) {
            if !listed.contains(&page.path) {
                let message = format!(
                    "`{index}` does not name this page; add `[...]({})`",
                    &page.path["docs/".len()..]
                );
                faults.push(fault(&page.path, 0, &page.path, message));
            }
        }
    }
    for page in pages(tree) {
        for link in links(page) {
            let Some((path, heading)) = target(&page.path, &link.to) else { continue };
            if let Some(message) = broken(tree, page, &path, heading.as_deref()) {
                faults.push(fault(&page.path, link.line, &link.to, message));
            }
        }
    }
    Ok(faults)
}

fn fault(path: &str, line: usize, item: &str, message: String) -> Fault {
    Fault { rule: "book", path: path.to_owned(), line, item: item.to_owned(), message }
}

/// The pages whose links are looked at: all of the project's own.
fn pages<'a>(tree: &'a Tree<'_>) -> impl Iterator<Item = &'a Source> {
    tree.sources.iter().filter(|source| source.path.ends_with(".md"))
}

/// What is wrong with a link, if something is.
fn broken(tree: &Tree<'_>, page: &Source, path: &str, heading: Option<&str>) -> Option<String> {
    let is_folder = || tree.sources.iter().any(|source| source.path.starts_with(&format!("{path}/")));
    let Some(found) = tree.find(path) else {
        return (!is_folder()).then(|| format!("there is no `{path}`"));
    };
    if page.path.starts_with(GUIDE) && !path.starts_with(GUIDE) {
        return Some(format!("`{path}` is not in the book; write its name without a link"));
    }
    let heading = heading?;
    let known: Vec<String> = headings(found).collect();
    (!known.iter().any(|known| known == heading))
        .then(|| format!("`{path}` has no heading `#{heading}`; it has {}", known.join(", ")))
}

/// A link: its line, and where it leads.
struct Link {
    line: usize,
    to: String,
}

/// The lines of a page that are no code.
fn prose(page: &Source) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    page.lines().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    })
}

fn links(page: &Source) -> Vec<Link> {
    let mut found = Vec::new();
    for (line, text) in prose(page) {
        // What stands between backticks is code.
        let text: String = text.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let mut rest = text.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let Some((to, more)) = after.split_once(')') else { break };
            found.push(Link { line, to: to.to_owned() });
            rest = more;
        }
    }
    found
}

/// The file of the tree that a link means, and the heading in it. `None` for what is elsewhere, and for items of Rust.
fn target(from: &str, link: &str) -> Option<(String, Option<String>)> {
    if link.contains("://") || link.contains("::") || link.starts_with("mailto:") || link.starts_with('/') {
        return None;
    }
    let (path, heading) = match link.split_once('#') {
        Some((path, heading)) => (path, Some(heading.to_owned())),
        None => (link, None),
    };
    if path.is_empty() {
        return Some((from.to_owned(), heading));
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some((parts.join("/"), heading))
}

/// The headings of a page as links name them.
fn headings(page: &Source) -> impl Iterator<Item = String> + '_ {
    let lines = prose(page).map(|(_, line)| line).filter(|line| line.starts_with('#'));
    lines.map(|line| {
        let text = line.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn links_and_headings_are_read() {
        let page = page(
            "docs/guide/a.md",
            "# It's `x`, now\nsee [b](b.md#c), `[no](x)` and [d](../d.md)\n```\n[e](f)\n# g\n```\n",
        );
        let found: Vec<String> = links(&page).into_iter().map(|link| link.to).collect();
        assert_eq!(found, ["b.md#c", "../d.md"]);
        assert_eq!(headings(&page).collect::<Vec<_>>(), ["its-x-now"]);
    }
    #[test]
    fn targets_are_of_the_tree() {
        let of = |link| target("docs/guide/a.md", link);
        assert_eq!(of("b.md#c"), Some(("docs/guide/b.md".to_owned(), Some("c".to_owned()))));
        assert_eq!(of("../../README.md"), Some(("README.md".to_owned(), None)));
        assert_eq!(of("#c"), Some(("docs/guide/a.md".to_owned(), Some("c".to_owned()))));
        assert_eq!(of("../errors/"), Some(("docs/errors".to_owned(), None)));
        assert_eq!((of("https://example.org/x.md"), of("Failure::new")), (None, None));
    }
}
