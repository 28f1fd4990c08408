//! A document as YAML that reads well, and that reads as the same document: keys in the order of their language, what
//! was in brackets in brackets where it fits on a line, text of several lines as such. What people wrote between the
//! parts stays with them.

use super::notes::Notes;
use super::order::{Here, Order};
use super::{Doc, Fault, Key, Part, scalar};
use crate::limits::Limits;
use crate::value::{Value, write_string};
use std::fmt::Write as _;

/// Characters of a line that holds more than one value.
const WIDTH: usize = 100;
/// The same where nobody has written lines before.
const NARROW: usize = 60;
/// A key that is longer stands on a line of its own, as YAML demands.
const LONGEST_KEY: usize = 500;

/// The text once more, well laid out.
///
/// # Errors
/// What keeps it from being read.
pub fn tidied(text: &str, order: &Order, limits: &Limits) -> Result<String, Fault> {
    let doc = Doc::parse(text, limits)?;
    let notes = Notes::read(text, &doc);
    Ok(Printer { out: String::new(), notes }.document(&doc, order))
}

/// A document that has no text yet.
pub fn printed(doc: &Doc, order: &Order) -> String {
    Printer { out: String::new(), notes: Notes::default() }.document(doc, order)
}

struct Printer {
    out: String,
    notes: Notes,
}

/// Where a value stands: after its key or its dash.
#[derive(Clone, Copy)]
struct Spot {
    /// Spaces before the key or the dash.
    indent: usize,
    is_item: bool,
}

impl Printer {
    fn document(mut self, doc: &Doc, order: &Order) -> String {
        let here = order.top();
        match &doc.part {
            Part::Map(entries) if !entries.is_empty() => {
                // What stands above the first key is about the whole.
                let head = self.notes.above(entries[0].0.place);
                self.lines(&head, 0);
                self.map(entries, 0, &here);
            }
            Part::List(items) if !items.is_empty() => self.list(items, 0, &here),
            _ => {
                self.out = one_line(doc, &here, false);
                self.out.push('\n');
            }
        }
        let end = std::mem::take(&mut self.notes.end);
        self.lines(&end, 0);
        self.out.trim_start_matches('\n').to_owned()
    }

    fn lines(&mut self, lines: &[String], indent: usize) {
        for line in lines {
            match line.is_empty() {
                true => self.out.push('\n'),
                false => self.line(indent, line),
            }
        }
    }
    fn line(&mut self, indent: usize, text: &str) {
        let _ = writeln!(self.out, "{:indent$}{text}", "");
    }

    fn map(&mut self, entries: &[(Key, Doc)], indent: usize, here: &Here<'_>) {
        for (number, (key, value)) in sorted(entries, here).into_iter().enumerate() {
            let mut above = self.notes.above(key.place);
            // Nothing is set apart from the map that it begins.
            above.drain(
                ..above.iter().take_while(|line| number == 0 && indent > 0 && line.is_empty()).count(),
            );
            self.lines(&above, indent);
            let _ = write!(self.out, "{:indent$}", "");
            self.entry(key, value, indent, here);
        }
    }

    fn entry(&mut self, key: &Key, value: &Doc, indent: usize, here: &Here<'_>) {
        let text = text(&key.text, true);
        let beside = self.notes.beside(key.place);
        match text.len() > LONGEST_KEY {
            true => {
                let _ = write!(self.out, "? {text}\n{:indent$}:", "");
            }
            false => {
                let _ = write!(self.out, "{text}:");
            }
        }
        self.value(value, Spot { indent, is_item: false }, &here.below(&key.text), beside);
    }

    fn list(&mut self, items: &[Doc], indent: usize, here: &Here<'_>) {
        for item in items {
            let here = here.below("");
            let above = self.notes.above(item.place);
            self.lines(&above, indent);
            let beside = self.notes.beside(item.place);
            if let (Part::Map(entries), false) =
                (&item.part, self.fits(item, Spot { indent, is_item: true }, &here))
            {
                // The comments of the first key stand above the dash.
                let sorted = sorted(entries, &here);
                if let Some((key, _)) = sorted.first() {
                    let above: Vec<String> = self
                        .notes
                        .above(key.place)
                        .into_iter()
                        .chain(beside)
                        .filter(|line| !line.is_empty())
                        .collect();
                    self.lines(&above, indent);
                }
                let _ = write!(self.out, "{:indent$}- ", "");
                let from = self.out.len();
                self.map(entries, indent + 2, &here);
                // The first key stands beside the dash.
                self.out.replace_range(from..from + indent + 2, "");
                continue;
            }
            let _ = write!(self.out, "{:indent$}-", "");
            self.value(item, Spot { indent, is_item: true }, &here, beside);
        }
    }

    /// What follows a colon or a dash, up to the end of its line or lines.
    fn value(&mut self, doc: &Doc, spot: Spot, here: &Here<'_>, beside: Option<String>) {
        let beside = beside.map_or_else(String::new, |comment| format!(" {comment}"));
        let indent = spot.indent + 2;
        match &doc.part {
            Part::Scalar(Value::String(text)) if is_block(text) => {
                let chomp = if text.ends_with('\n') { "" } else { "-" };
                let _ = writeln!(self.out, " |{chomp}{beside}");
                let text = text.strip_suffix('\n').unwrap_or(text);
                for line in text.split('\n') {
                    match line.is_empty() {
                        true => self.out.push('\n'),
                        false => self.line(indent, line),
                    }
                }
            }
            Part::Map(entries) if !self.fits(doc, spot, here) => {
                self.out.push_str(&beside);
                self.out.push('\n');
                self.map(entries, indent, here);
            }
            Part::List(items) if !self.fits(doc, spot, here) => {
                self.out.push_str(&beside);
                self.out.push('\n');
                self.list(items, indent, here);
            }
            _ => {
                let text = one_line(doc, here, false);
                let _ = writeln!(self.out, " {text}{beside}");
            }
        }
    }

    /// Whether it stands on the line of its key or its dash.
    fn fits(&self, doc: &Doc, spot: Spot, here: &Here<'_>) -> bool {
        match &doc.part {
            Part::Scalar(_) => return true,
            Part::List(items) if items.is_empty() => return true,
            Part::Map(entries) if entries.is_empty() => return true,
            Part::List(_) | Part::Map(_) => {}
        }
        if !can_be_one_line(doc) || self.notes.within(doc) {
            return false;
        }
        let (most, wanted) = match self.notes.is_text {
            true => (WIDTH, self.notes.bracketed(doc)),
            false => (NARROW, true),
        };
        let used = match spot.is_item {
            true => spot.indent + 2,
            false => self.out.chars().rev().take_while(|c| *c != '\n').count() + 1,
        };
        wanted && used + one_line(doc, here, false).chars().count() <= most
    }
}

/// The entries in the order of their language; in their author's where it has none.
fn sorted<'a>(entries: &'a [(Key, Doc)], here: &Here<'_>) -> Vec<&'a (Key, Doc)> {
    let mut sorted: Vec<&(Key, Doc)> = entries.iter().collect();
    sorted.sort_by_key(|(key, _)| here.rank(&key.text));
    sorted
}

/// Whether all of it can stand on one line.
fn can_be_one_line(doc: &Doc) -> bool {
    match &doc.part {
        Part::Scalar(Value::String(text)) => !is_block(text),
        Part::Scalar(_) => true,
        Part::List(items) => items.iter().all(can_be_one_line),
        Part::Map(entries) => {
            entries.iter().all(|(key, value)| key.text.len() <= LONGEST_KEY / 2 && can_be_one_line(value))
        }
    }
}

fn one_line(doc: &Doc, here: &Here<'_>, bracketed: bool) -> String {
    match &doc.part {
        Part::Scalar(Value::String(value)) => text(value, bracketed),
        Part::Scalar(value) => {
            let mut out = String::new();
            value.write_json(&mut out);
            out
        }
        Part::List(items) => {
            let here = here.below("");
            let items: Vec<String> = items.iter().map(|item| one_line(item, &here, true)).collect();
            format!("[{}]", items.join(", "))
        }
        Part::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Part::Map(entries) => {
            let entries: Vec<String> = sorted(entries, here)
                .into_iter()
                .map(|(key, value)| {
                    format!("{}: {}", text(&key.text, true), one_line(value, &here.below(&key.text), true))
                })
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// Text as a scalar of one line: as it is where it then reads as the same text, else in quotes.
fn text(value: &str, bracketed: bool) -> String {
    if is_plain(value, bracketed) {
        return value.to_owned();
    }
    let is_simple = value.chars().all(|c| !c.is_control() && is_shown(c));
    if is_simple && value.contains(['"', '\\']) && !value.contains('\'') {
        return format!("'{value}'");
    }
    let mut quoted = String::new();
    write_string(value, &mut quoted);
    match quoted.chars().all(is_shown) {
        true => quoted,
        false => quoted.chars().map(escaped).collect(),
    }
}

fn escaped(c: char) -> String {
    match (is_shown(c), c as u32) {
        (true, _) => c.to_string(),
        (false, code @ 0..=0xffff) => format!("\\u{code:04x}"),
        (false, code) => format!("\\U{code:08x}"),
    }
}

/// Whether YAML lets a character stand as it is, and a reader sees that it does.
fn is_shown(c: char) -> bool {
    !matches!(c, '\u{7f}'..='\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
        && !c.is_control()
        && (c as u32) & 0xfffe != 0xfffe
}

/// Words that other readers of YAML take for something else than text.
const OTHERS: &[&str] = &["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// Whether it reads as this text without quotes.
fn is_plain(value: &str, bracketed: bool) -> bool {
    let begins = |c: char| c.is_alphanumeric() || matches!(c, '_' | '/' | '$' | '(' | '^');
    let goes_on = |c: char| {
        c.is_alphanumeric()
            || " _/$()^.,:;<>=+*@&|?!'\"-~%#\\[]{}".contains(c)
                && !(bracketed && matches!(c, ',' | '[' | ']' | '{' | '}' | '"' | '\''))
    };
    value.starts_with(begins)
        && value.chars().all(|c| goes_on(c) && is_shown(c))
        && !value.contains(": ")
        && !value.contains(" #")
        && !value.ends_with([':', ' '])
        && !OTHERS.contains(&value.to_ascii_lowercase().as_str())
        && matches!(scalar(value), Value::String(_))
}

/// Whether it is text of several lines that YAML can show as such.
fn is_block(text: &str) -> bool {
    let lines = || text.strip_suffix('\n').unwrap_or(text).split('\n');
    text.contains('\n')
        && text.chars().all(|c| c == '\n' || is_shown(c))
        && lines().find(|line| !line.is_empty()).is_some_and(|line| !line.starts_with(' '))
        && lines().all(|line| line.is_empty() || !line.trim().is_empty())
        && !lines().next_back().is_some_and(str::is_empty)
}
