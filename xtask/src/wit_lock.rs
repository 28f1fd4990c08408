//! `cargo xtask wit-lock`: the contract with plugins does not change by accident.
//!
//! `wit/lock.json` holds the digest of each package's text without comments and layout. So a comment may be improved,
//! and a changed type shows up as a changed line in a review, beside the version that should have changed with it.

use crate::arguments::Arguments;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

const LOCK: &str = "wit/lock.json";

pub(crate) fn run(workspace: &Workspace, mut arguments: Arguments) -> Result<()> {
    let check_only = arguments.flag("--check");
    arguments.finish()?;
    if check_only {
        return check(workspace);
    }
    let text = serde_json::to_string_pretty(&digests(workspace)?)? + "\n";
    std::fs::write(workspace.path(LOCK), &text)?;
    print!("{text}");
    Ok(())
}

/// Compares the packages with the lock file.
///
/// # Errors
/// Where they differ, with each package that does.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let locked =
        std::fs::read_to_string(workspace.path(LOCK)).with_context(|| format!("`{LOCK}` cannot be read"))?;
    let locked: Map<String, Value> =
        serde_json::from_str(&locked).with_context(|| format!("`{LOCK}` is not an object"))?;
    let found = digests(workspace)?;
    let names = locked.keys().chain(found.keys()).collect::<std::collections::BTreeSet<_>>();
    let differ: Vec<&str> =
        names.into_iter().filter(|n| locked.get(*n) != found.get(*n)).map(|n| &**n).collect();
    match differ.is_empty() {
        true => Ok(()),
        false => {
            bail!("{} differs from `{LOCK}`; if that is meant, run `cargo xtask wit-lock`", differ.join(", "))
        }
    }
}

fn digests(workspace: &Workspace) -> Result<Map<String, Value>> {
    let mut packages = Map::new();
    for folder in sorted(&workspace.path("wit"))?.into_iter().filter(|path| path.is_dir()) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut text = String::new();
        for file in sorted(&folder)?.into_iter().filter(|path| path.extension().is_some_and(|e| e == "wit")) {
            text += &normalised(&std::fs::read_to_string(file)?);
        }
        let package = text.split_once(';').and_then(|(head, _)| head.strip_prefix("package "));
        let package =
            package.with_context(|| format!("`wit/{name}` does not open with its package"))?.to_owned();
        let folder_of = package.rsplit(':').next().unwrap_or_default().replace('@', "-");
        ensure!(folder_of == name, "`wit/{name}` holds `{package}`, which belongs into `wit/{folder_of}`");
        packages.insert(package, format!("sha256:{}", hex(&Sha256::digest(text))).into());
    }
    Ok(packages)
}

fn sorted(folder: &std::path::Path) -> Result<Vec<std::path::PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("`{}` cannot be read", folder.display()))?;
    let mut paths = entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// The text without comments, and with a space only where two words would run together. WIT has no strings.
fn normalised(text: &str) -> String {
    let mut rest = text;
    let mut bare = String::new();
    while let Some(at) = rest.find("//").into_iter().chain(rest.find("/*")).min() {
        bare += &rest[..at];
        bare.push(' ');
        let (comment, end) =
            if rest[at..].starts_with("//") { (&rest[at..], "\n") } else { (&rest[at + 2..], "*/") };
        rest = comment.split_once(end).map_or("", |(_, after)| after);
    }
    bare += rest;
    let is_word = |c: char| c.is_alphanumeric() || "-_%@.".contains(c);
    let mut out = String::new();
    for word in bare.split_whitespace() {
        if out.ends_with(is_word) && word.starts_with(is_word) {
            out.push(' ');
        }
        out += word;
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::normalised;

    #[test]
    fn comments_and_layout_do_not_count() {
        let one = "/// Says.\npackage a:b@0.1.0; /* all\nof it */ interface log { // one\n  write: func(level: level, message: string);\n}\n";
        let other = "package a:b@0.1.0;interface log{write:func( level : level,message:string );}";
        assert_eq!(normalised(one), normalised(other));
        assert!(normalised(one).starts_with("package a:b@0.1.0;"));
    }

    #[test]
    fn types_and_names_count() {
        assert_ne!(normalised("type a = string;"), normalised("type a = u32;"));
        assert_ne!(normalised("call: func(a: b);"), normalised("call: func(ab);"));
    }
}
