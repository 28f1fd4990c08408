//! `cargo xtask tidy`: the build polices the architecture.
//!
//! Each rule looks at the tree as text, which is enough because rustfmt has put it in order, and takes a second. What a
//! rule gets wrong, or what is meant, stands in `xtask/tidy-exceptions.txt` with a reason; an exception that nothing
//! needs any more is a fault too.

mod book;
mod edges;
mod exceptions;
mod names;
mod pages;
mod places;
mod readme;
mod shape;
mod source;

use crate::arguments::Arguments;
use crate::wit_lock;
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use source::Source;
use std::fmt;

/// Something that a rule found.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    rule: &'static str,
    path: String,
    /// From 1; 0 where it is about the whole file.
    line: usize,
    /// What an exception names: a function, a word, a crate.
    item: String,
    message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line.max(1), self.rule, self.message)
    }
}

/// A rule: what it is called in exceptions, and what it finds.
struct Rule {
    name: &'static str,
    find: fn(&Tree<'_>) -> Result<Vec<Fault>>,
}

/// What the rules look at.
struct Tree<'a> {
    workspace: &'a Workspace,
    sources: Vec<Source>,
}

impl Tree<'_> {
    /// The Rust files.
    fn rust(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.path.ends_with(".rs"))
    }

    fn find(&self, path: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.path == path)
    }
}

const RULES: &[Rule] = &[
    Rule { name: "book", find: book::find },
    Rule { name: "edges", find: edges::find },
    Rule { name: "file-length", find: shape::long_files },
    Rule { name: "function-length", find: shape::long_functions },
    Rule { name: "module-docs", find: shape::undocumented_modules },
    Rule { name: "mod-rs", find: shape::mod_rs },
    Rule { name: "names", find: names::find },
    Rule { name: "pages", find: pages::find },
    Rule { name: "places", find: places::find },
    Rule { name: "readme", find: readme::find },
    Rule { name: "wit-lock", find: contract },
];

pub(crate) fn run(workspace: &Workspace, arguments: Arguments) -> Result<()> {
    arguments.finish()?;
    let rules = check(workspace)?;
    println!("tidy: {rules} rules hold");
    Ok(())
}

/// Checks every rule, and gives their number.
///
/// # Errors
/// Where one is broken, with all faults.
pub(crate) fn check(workspace: &Workspace) -> Result<u32> {
    let tree = Tree { workspace, sources: source::read(&workspace.root)? };
    let mut faults = Vec::new();
    for rule in RULES {
        faults.extend((rule.find)(&tree)?);
    }
    let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    let faults = exceptions::apply(&tree, &names, faults);
    if faults.is_empty() {
        return Ok(u32::try_from(RULES.len())?);
    }
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    bail!(
        "{} faults; what is meant to be so goes into `{}`\n{}",
        faults.len(),
        exceptions::FILE,
        lines.join("\n")
    )
}

fn contract(tree: &Tree<'_>) -> Result<Vec<Fault>> {
    let fault = |error: anyhow::Error| Fault {
        rule: "wit-lock",
        path: "wit/lock.json".to_owned(),
        line: 0,
        item: "*".to_owned(),
        message: format!("{error:#}"),
    };
    Ok(wit_lock::check(tree.workspace).err().map(fault).into_iter().collect())
}
