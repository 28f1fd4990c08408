//! What `deny.toml` says, read line by line: the file is ours, so an entry is a line, and one that cannot be read is a
//! fault. That spares these commands a parser of TOML.

use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fmt;

/// A crate, of any version or of those that begin so: `syn@2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    name: String,
    version: Option<String>,
}

impl Spec {
    fn read(text: &str) -> Spec {
        match text.split_once('@') {
            Some((name, version)) => Spec { name: name.to_owned(), version: Some(version.to_owned()) },
            None => Spec { name: text.to_owned(), version: None },
        }
    }
    pub(super) fn fits(&self, name: &str, version: &str) -> bool {
        let begins = |wanted: &String| {
            version.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.name == name && self.version.as_ref().is_none_or(begins)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A line of a list.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) spec: Spec,
    pub(super) reason: String,
    /// Licences that it allows.
    pub(super) allow: Vec<String>,
}

/// The rules.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) targets: Vec<String>,
    pub(super) allow: BTreeSet<String>,
    pub(super) exceptions: Vec<Line>,
    pub(super) deny: Vec<Line>,
    pub(super) skip: Vec<Line>,
    pub(super) skip_tree: Vec<Line>,
}

impl Rules {
    /// Reads the file.
    ///
    /// # Errors
    /// Where a line of a list is in no form that is known here, or there is no platform.
    pub(super) fn read(text: &str) -> Result<Rules> {
        let (mut rules, mut section, mut list) = (Rules::default(), String::new(), None::<String>);
        for (number, line) in (1..).zip(text.lines()) {
            let line = without_comment(line).trim();
            if let Some(name) =
                line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).filter(|_| list.is_none())
            {
                name.clone_into(&mut section);
                continue;
            }
            match (&list, line) {
                (_, "") => {}
                (Some(_), "]") => list = None,
                (Some(key), entry) => rules
                    .entry(&section, key, entry)
                    .with_context(|| format!("line {number} of `deny.toml`"))?,
                (None, line) => {
                    let Some((key, value)) = line.split_once('=') else { continue };
                    match value.trim() {
                        "[" => list = Some(key.trim().to_owned()),
                        value if key.trim() == "targets" => rules.targets = quoted(value),
                        _ => {}
                    }
                }
            }
        }
        match rules.targets.is_empty() {
            true => bail!("`deny.toml` names no platform under `[graph]`"),
            false => Ok(rules),
        }
    }

    fn entry(&mut self, section: &str, key: &str, entry: &str) -> Result<()> {
        match (section, key) {
            ("licenses", "allow") => self.allow.extend(quoted(entry)),
            ("licenses", "exceptions") => self.exceptions.push(table(entry)?),
            ("bans", "deny") => self.deny.push(table(entry)?),
            ("bans", "skip") => self.skip.push(table(entry)?),
            ("bans", "skip-tree") => self.skip_tree.push(table(entry)?),
            _ => bail!("`{key}` of `[{section}]` is a list that is not known here"),
        }
        Ok(())
    }
}

/// `{ crate = "a@1", reason = "b" }`.
fn table(entry: &str) -> Result<Line> {
    let after = |key: &str| entry.split_once(&format!("{key} = ")).map(|(_, rest)| rest);
    let name = after("crate").and_then(|rest| quoted(rest).into_iter().next());
    let allow = after("allow").and_then(|rest| rest.split_once(']')).map(|(list, _)| quoted(list));
    let reason = after("reason").and_then(|rest| quoted(rest).into_iter().next());
    Ok(Line {
        spec: Spec::read(&name.context("wants `{ crate = \"name@version\", ... }`")?),
        reason: reason.unwrap_or_default(),
        allow: allow.unwrap_or_default(),
    })
}

/// The texts between quotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn without_comment(line: &str) -> &str {
    let mut inside = false;
    for (at, letter) in line.char_indices() {
        match letter {
            '"' => inside = !inside,
            '#' if !inside => return &line[..at],
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_line_by_line() {
        let text = "[graph]\ntargets = [\"a\", \"b\"]\n[bans]\nskip = [\n  # why\n  { crate = \"x@0.9\", reason = \"a # b\" }, # c\n]\n";
        let rules = Rules::read(text).expect("rules");
        assert_eq!((rules.targets.len(), rules.skip.len()), (2, 1));
        let line = &rules.skip[0];
        assert_eq!((line.spec.to_string(), line.reason.as_str()), ("x@0.9".to_owned(), "a # b"));
        assert!(line.spec.fits("x", "0.9.1") && line.spec.fits("x", "0.9"));
        assert!(!line.spec.fits("x", "0.90.0") && !line.spec.fits("y", "0.9.1"));
        assert!(Rules::read("[graph]\ntargets = [\"a\"]\n[bans]\nskip = [\n  \"x\",\n]\n").is_err());
        assert!(Rules::read("[bans]\n").is_err());
    }
}
