//! `heddle workflow fmt`: workflows as they read best. What they say stays as it is; that is looked at again before
//! anything is written.

use super::exit::{Exit, Fault};
use super::workflow::{SCHEMA, refused};
use super::{Context, input, out};
use crate::http::faults::document_code;
use heddle_core::document::{Doc, Fault as DocFault, Order, print};
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What becomes of what has another layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It is printed.
    Print,
    /// It is written into its file.
    Write,
    /// It is named.
    Check,
}

pub(super) fn fmt(files: &[PathBuf], then: Then, context: &Context) -> Result<Exit, Fault> {
    if then == Then::Print && files.len() > 1 {
        return Err(Fault::usage(format!("{} files, and what is printed is one", files.len()))
            .with_hint("add `--write` to change them, or `--check` to see which would change"));
    }
    // All of them are read before any is written.
    let tidied: Vec<(&Path, String, bool)> =
        files.iter().map(|file| tidied(file)).collect::<Result<_, Fault>>()?;
    for (file, text, _) in tidied.iter().filter(|(.., changed)| *changed && then == Then::Write) {
        let cannot = |error| Fault::failed(format!("`{}` cannot be written: {error}", file.display()));
        std::fs::write(file, text).map_err(cannot)?;
    }
    let others: Vec<&Path> = tidied.iter().filter(|(.., changed)| *changed).map(|(file, ..)| *file).collect();
    let exit = match then == Then::Check && !others.is_empty() {
        true => Exit::Failed,
        false => Exit::Ok,
    };
    if context.json {
        let shown = |text: &str| (then == Then::Print).then(|| text.to_owned());
        let rows: Vec<_> = tidied
            .iter()
            .map(|(file, text, changed)| json!({ "file": file, "changed": changed, "text": shown(text) }))
            .collect();
        out::json(&rows);
        return Ok(exit);
    }
    match then {
        Then::Print => tidied.iter().for_each(|(_, text, _)| out::text(text)),
        Then::Write => others.iter().for_each(|file| out::note(&format!("`{}` is written", file.display()))),
        Then::Check => others.iter().for_each(|file| out::line(&file.display().to_string())),
    }
    if exit == Exit::Failed {
        out::note(&format!(
            "{} another layout; add `--write` instead of `--check` to change them",
            had(&others)
        ));
    }
    Ok(exit)
}

fn had(files: &[&Path]) -> String {
    let verb = if files.len() == 1 { "has" } else { "have" };
    format!("{} {verb}", out::several(files.len() as u64, "file"))
}

/// The file's text, well laid out, and whether that is another one.
fn tidied(file: &Path) -> Result<(&Path, String, bool), Fault> {
    let limits = Limits::default();
    let text = input::file(&file.display().to_string())?;
    let order = Order::of_schema(SCHEMA).map_err(|fault| Fault::failed(fault.to_string()))?;
    let source = |text: &str| Doc::parse(text, &limits).map(|doc| Json::from_value(doc.value()));
    let unread = |fault: DocFault| {
        let code = document_code(&fault).word();
        refused(file, &text, &[fault], code)
    };
    let before = source(&text).map_err(unread)?;
    let after = print::tidied(&text, &order, &limits).map_err(unread)?;
    if source(&after).ok() != Some(before) {
        let message = format!("`{}` would read otherwise; nothing is changed", file.display());
        return Err(
            Fault::failed(message).with_hint("this is a fault of heddle: please report it with the file")
        );
    }
    let changed = after != text;
    Ok((file, after, changed))
}
