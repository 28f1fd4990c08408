//! What a command prints: its result on stdout, everything else on stderr. A reader that goes away is no fault.

use super::exact::indented;
use super::exit::Fault;
use super::paint::{Colour, Paint, harmless};
use serde::Serialize;
use std::io::Write as _;

/// Text on stdout, as it is.
pub(crate) fn text(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// A line on stdout.
pub(crate) fn line(line: &str) {
    text(&format!("{}\n", harmless(line)));
}

/// A line on stderr.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// JSON on stdout.
pub(crate) fn json(value: &impl Serialize) {
    text(&format!("{}\n", indented(&serde_json::to_string(value).unwrap_or_default())));
}

/// Why a command did not do what it was asked.
pub(crate) fn fault(fault: &Fault, json_wanted: bool) {
    if json_wanted {
        let value = serde_json::json!({ "error": fault.json() });
        note(&serde_json::to_string_pretty(&value).unwrap_or_default());
        return;
    }
    let paint = Paint::for_stderr();
    note(&format!("{} {}", paint.with(Colour::Red, "error:"), fault.message));
    if !fault.shown.is_empty() {
        note(&fault.shown);
    }
    if let Some(hint) = &fault.hint {
        note(&format!("{} {hint}", paint.with(Colour::Cyan, "next:")));
    }
}

/// `1 row`, `2 rows`.
pub(crate) fn several(number: u64, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        more => format!("{more} {thing}s"),
    }
}

/// Rows in columns as wide as they must be, on stdout.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let print = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        line(padded.join("  ").trim_end());
    };
    print(head.to_vec());
    for row in rows {
        print(row.iter().map(String::as_str).collect());
    }
}
