//! Documents that went wrong: as text, where bytes, lines and words are changed, and as trees, where parts are moved,
//! doubled and replaced by parts of others.

use super::rng::Rng;
use heddle_core::document::{Doc, Key, Part, Place};
use heddle_core::value::Value;
use std::sync::Arc;

/// What something may be replaced with: words of the language, of YAML and of CEL, and values at the edges.
const WORDS: &[&str] = &[
    "steps",
    "call",
    "set",
    "with",
    "when",
    "dependsOn",
    "forEach",
    "in",
    "as",
    "retry",
    "timeout",
    "total",
    "compensate",
    "fallback",
    "parallel",
    "workflow",
    "from",
    "ref",
    "emit",
    "wait",
    "signal",
    "approval",
    "onError",
    "finally",
    "output",
    "document",
    "use",
    "retries",
    "schedule",
    "cron",
    "concurrency",
    "limit",
    "key",
    "schema",
    "cache",
    "rateLimit",
    "circuitBreaker",
    "onFailure",
    "ask",
    "tools",
    "limits",
    "&a",
    "*a",
    "<<",
    "---",
    "...",
    "|",
    ">",
    "- ",
    "? ",
    ": ",
    "#",
    "\t",
    "{",
    "}",
    "[",
    "]",
    "'",
    "\"",
    "\\",
    "\n",
    "\r\n",
    "${",
    "}",
    "$${",
    "${ input }",
    "${ steps.a.output }",
    "${ steps[\"a\"].status }",
    "${ has(input.a) && input.a.size() > 0 }",
    "${ [1, 2].map(x, x * x) }",
    "${ error.kind }",
    "${ default(input.a, {}) }",
    "${ input.a.matches('(a+)+$') }",
    "${ -9223372036854775808 }",
    "${ 1u }",
    "${ 1.0 / 0.0 }",
    "${ '\\u0000' }",
    "tool:e@^1",
    "agent:*",
    "transform:t@>=1, <3",
    "acme/other@^1",
    "1d",
    "PT0S",
    "0s",
    "99999999999d",
    "-1",
    "0",
    "1",
    "1.5",
    "1e400",
    "-0",
    "18446744073709551616",
    "true",
    "null",
    "5%",
    "101%",
    "128MiB",
    "99999999TiB",
    "* * * * *",
    "0 0 31 2 *",
    "Europe/Madrid",
    "2126-11-21T06:00:00Z",
    "1.0.0",
    "1.0",
    "a-b",
    "\u{0}",
    "\u{feff}",
    "\u{85}",
    "\u{1f600}",
];

fn word(rng: &mut Rng) -> &'static str {
    WORDS[rng.below(WORDS.len() as u64) as usize]
}

/// The text with some of it changed.
pub(crate) fn text(text: &str, other: &str, rng: &mut Rng) -> String {
    let mut text = text.to_owned();
    for _ in 0..=rng.below(3) * rng.below(2) {
        text = changed(&text, other, rng);
        if text.len() > 200_000 {
            break;
        }
    }
    text
}

fn changed(text: &str, other: &str, rng: &mut Rng) -> String {
    let (from, to) = (at(text, rng), at(text, rng));
    let (from, to) = (from.min(to), from.max(to).min(boundary(text, from.min(to) + 200)));
    match rng.below(8) {
        0 => format!("{}{}", &text[..from], &text[to..]),
        1 => format!("{}{}{}", &text[..to], &text[from..to], &text[to..]),
        2 => format!("{}{}{}", &text[..from], word(rng), &text[from..]),
        3 => format!("{}{}{}", &text[..from], word(rng), &text[to..]),
        4 => {
            let (a, b) = (at(other, rng), at(other, rng));
            let part = &other[a.min(b)..boundary(other, a.max(b).min(a.min(b) + 300))];
            format!("{}{part}{}", &text[..from], &text[from..])
        }
        5 => text[..from].to_owned(),
        _ => lines(text, rng),
    }
}

/// A line moved, doubled, left out, or shifted.
fn lines(text: &str, rng: &mut Rng) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let (a, b) = (rng.below(lines.len() as u64) as usize, rng.below(lines.len() as u64) as usize);
    match rng.below(5) {
        0 => lines.swap(a, b),
        1 => lines.insert(a, lines[b].clone()),
        2 => drop(lines.remove(a)),
        3 => lines[a].insert_str(0, "  "),
        _ => lines[a] = lines[a].strip_prefix("  ").unwrap_or(&lines[b]).to_owned(),
    }
    lines.join("\n")
}

fn at(text: &str, rng: &mut Rng) -> usize {
    boundary(text, rng.below(text.len() as u64 + 1) as usize)
}
fn boundary(text: &str, at: usize) -> usize {
    (at.min(text.len())..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// The tree with some of it changed.
pub(crate) fn tree(doc: &Doc, other: &Doc, rng: &mut Rng) -> Doc {
    let mut doc = doc.clone();
    for _ in 0..=rng.below(4) * rng.below(2) {
        let part = picked(other, rng);
        let target = rng.below(count(&doc));
        change(&mut doc, &mut { target }, &part, rng);
        if count(&doc) > 20_000 {
            break;
        }
    }
    doc
}

fn count(doc: &Doc) -> u64 {
    1 + match &doc.part {
        Part::Scalar(_) => 0,
        Part::List(items) => items.iter().map(count).sum(),
        Part::Map(entries) => entries.iter().map(|(_, value)| count(value)).sum::<u64>(),
    }
}

/// Some part of a tree.
fn picked(doc: &Doc, rng: &mut Rng) -> Doc {
    let inner: Vec<&Doc> = match &doc.part {
        Part::Scalar(_) => Vec::new(),
        Part::List(items) => items.iter().collect(),
        Part::Map(entries) => entries.iter().map(|(_, value)| value).collect(),
    };
    match inner.is_empty() || rng.once_in(3) {
        true => doc.clone(),
        false => picked(inner[rng.below(inner.len() as u64) as usize], rng),
    }
}

/// Changes the part with this number.
fn change(doc: &mut Doc, left: &mut u64, part: &Doc, rng: &mut Rng) -> bool {
    if *left == 0 {
        change_here(doc, part, rng);
        return true;
    }
    *left -= 1;
    match &mut doc.part {
        Part::Scalar(_) => false,
        Part::List(items) => items.iter_mut().any(|item| change(item, left, part, rng)),
        Part::Map(entries) => entries.iter_mut().any(|(_, value)| change(value, left, part, rng)),
    }
}

fn change_here(doc: &mut Doc, part: &Doc, rng: &mut Rng) {
    let place = Place::default();
    let key = |text: &str| Key { text: text.into(), place };
    match (&mut doc.part, rng.below(12)) {
        (_, 0) => *doc = part.clone(),
        (_, 1) => doc.part = Part::Scalar(scalar(rng)),
        (_, 2) => doc.part = Part::List(vec![doc.clone(), part.clone()]),
        (_, 3) => doc.part = Part::Map(vec![(key(word(rng)), doc.clone())]),
        (Part::Scalar(Value::String(text)), _) => {
            let text = changed(text, word(rng), rng);
            doc.part = Part::Scalar(Value::text(text));
        }
        (Part::Map(entries), 4 | 8) if !entries.is_empty() => {
            drop(entries.remove(rng.below(entries.len() as u64) as usize));
        }
        (Part::Map(entries), 5..8) if !entries.is_empty() => {
            let at = rng.below(entries.len() as u64) as usize;
            let other = entries[rng.below(entries.len() as u64) as usize].1.clone();
            let renamed = if rng.once_in(2) { key(word(rng)) } else { entries[at].0.clone() };
            if !entries.iter().any(|(known, _)| known.text == renamed.text) {
                entries.push((renamed, other));
            } else {
                entries[at].1 = other;
            }
        }
        (Part::Map(entries), _) => {
            let name: Arc<str> = word(rng).into();
            if !entries.iter().any(|(known, _)| known.text == name) {
                entries.push((Key { text: name, place }, part.clone()));
            }
        }
        (Part::List(items), 4..8) if !items.is_empty() => {
            drop(items.remove(rng.below(items.len() as u64) as usize));
        }
        (Part::List(items), _) => items.push(part.clone()),
        (part, _) => *part = Part::Scalar(scalar(rng)),
    }
}

fn scalar(rng: &mut Rng) -> Value {
    match rng.below(6) {
        0 => Value::Null,
        1 => Value::Bool(rng.once_in(2)),
        2 => Value::Int([0, 1, -1, i64::MAX, i64::MIN][rng.below(5) as usize]),
        3 => Value::Number(["1e308", "0.0", "123456789012345678901234567890"][rng.below(3) as usize].into()),
        _ => Value::text(word(rng)),
    }
}
