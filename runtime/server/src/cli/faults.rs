//! Faults of a file as a person wants them: the line, a caret under the place, what is wrong there.

use super::exit::Fault;
use super::paint::{Colour, Paint, harmless};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// One fault of a file, or of a request.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct FileFault {
    /// The file, where it is one of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<PathBuf>,
    /// JSON pointer to the part; empty for the whole.
    pub(crate) pointer: String,
    /// What is wrong and what to do.
    pub(crate) message: String,
    /// The line, from 1, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u32>,
    /// The column, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<u32>,
}

impl FileFault {
    /// Whether it is only that a plugin is not loaded.
    pub(super) fn misses_a_plugin(&self) -> bool {
        self.pointer.ends_with("/call") && self.message.contains("is loaded")
    }
}

/// The faults of a workflow's file as the end of a command.
pub(crate) fn of_file(file: &Path, text: &str, mut faults: Vec<FileFault>, code: &str) -> Fault {
    for fault in &mut faults {
        fault.file = Some(file.to_owned());
    }
    let count = match faults.len() {
        1 => "a fault".to_owned(),
        more => format!("{more} faults"),
    };
    let shown = render(file, text, &faults, Paint::for_stderr());
    Fault::usage(format!("`{}` has {count}", file.display()))
        .with_errors(faults, shown.trim_end())
        .with_code(code)
        .with_hint(
            "correct them and run `heddle workflow validate` again; `heddle workflow schema` describes every key",
        )
}

/// All faults of a file, with the lines that they stand in.
fn render(file: &Path, text: &str, faults: &[FileFault], paint: Paint) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::new();
    for fault in faults {
        out.push('\n');
        match fault.line {
            Some(line) => out.push_str(&placed(file, &lines, line, fault, paint)),
            None => out.push_str(&format!("  {}: {}\n", file.display(), unplaced(fault))),
        }
    }
    out
}

fn unplaced(fault: &FileFault) -> String {
    let message = harmless(&fault.message);
    if fault.pointer.is_empty() { message } else { format!("{}: {message}", fault.pointer) }
}

fn placed(file: &Path, lines: &[&str], line: u32, fault: &FileFault, paint: Paint) -> String {
    let column = fault.column.unwrap_or(1);
    let number = line.to_string();
    let bar = paint.with(Colour::Dim, "|");
    let gutter = " ".repeat(number.len());
    let shown: String = lines
        .get(line as usize - 1)
        .unwrap_or(&"")
        .chars()
        .take(160)
        .map(|c| if c == '\t' { ' ' } else { c })
        .collect();
    let caret = " ".repeat((column as usize - 1).min(160));
    let place = if fault.pointer.is_empty() { String::new() } else { format!(" ({})", fault.pointer) };
    format!(
        "  {}:{line}:{column}{place}\n  {number} {bar} {}\n  {gutter} {bar} {caret}{} {}\n",
        file.display(),
        harmless(&shown),
        paint.with(Colour::Red, "^"),
        harmless(&fault.message),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_place() {
        let (pointer, message) = ("/a/b".into(), "not so".into());
        let fault = FileFault { file: None, line: Some(2), column: Some(3), pointer, message };
        let text = render(Path::new("w.yaml"), "a:\n  b: 1\n", &[fault], Paint::plain());
        assert_eq!(text, "\n  w.yaml:2:3 (/a/b)\n  2 |   b: 1\n    |   ^ not so\n");
    }
}
