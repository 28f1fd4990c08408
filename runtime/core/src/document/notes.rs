//! What a text says besides its tree: comments, blank lines, and what its author wrote on one line. A document that is
//! printed again keeps them, each at the part that it stood before or beside.

use super::{Doc, Part, Place, place};
use saphyr_parser::{Event, Parser, ScalarStyle};
use std::collections::{BTreeMap, BTreeSet};

/// The notes of a text.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The lines above a part: comments, and an empty text for a blank line.
    above: BTreeMap<Place, Vec<String>>,
    /// The comment on the line of a part.
    beside: BTreeMap<Place, String>,
    /// Where a map or a list stands in brackets.
    bracketed: BTreeSet<Place>,
    /// What follows the last part.
    pub(super) end: Vec<String>,
    /// Whether there is a text at all.
    pub(super) is_text: bool,
}

/// Where scalars stand in the text, in characters, and where brackets open.
#[derive(Default)]
struct Marks {
    scalars: Vec<(usize, usize)>,
    bracketed: BTreeSet<Place>,
}

impl Marks {
    fn of(text: &str, chars: &[char]) -> Marks {
        let mut marks = Marks::default();
        for event in Parser::new_from_str(text) {
            // It has been parsed before, so this is its end.
            let Ok((event, span)) = event else { break };
            let (start, end) = (span.start.index(), span.end.index());
            match event {
                // It begins below the line that says so, and the blank lines at its head are its own.
                Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
                    let above = &chars[..start.min(chars.len())];
                    let said = above.iter().rposition(|c| !c.is_whitespace()).map_or(0, |at| at + 1);
                    marks.scalars.push((said, end));
                }
                Event::Scalar(..) if end > start => marks.scalars.push((start, end)),
                Event::SequenceStart(..) | Event::MappingStart(..)
                    if matches!(chars.get(start), Some('[' | '{')) =>
                {
                    marks.bracketed.insert(place(&span));
                }
                _ => {}
            }
        }
        marks
    }
    fn in_scalar(&self, at: usize) -> bool {
        let before = self.scalars.partition_point(|(start, _)| *start <= at);
        before.checked_sub(1).and_then(|last| self.scalars.get(last)).is_some_and(|(_, end)| at < *end)
    }
}

impl Notes {
    /// The notes of a text whose tree this is.
    pub(super) fn read(text: &str, doc: &Doc) -> Notes {
        let chars: Vec<char> = text.chars().collect();
        let marks = Marks::of(text, &chars);
        let mut parts = BTreeSet::new();
        places(doc, &mut parts);
        let mut notes = Notes { is_text: true, ..Notes::default() };
        let mut waiting: Vec<String> = Vec::new();
        let (mut at, mut last) = (0, None);
        for (line, text) in (1..).zip(text.split('\n')) {
            let here: Vec<Place> = parts
                .range(Place { line, column: 0 }..Place { line: line + 1, column: 0 })
                .copied()
                .collect();
            if let Some(first) = here.first() {
                let above = std::mem::take(&mut waiting);
                notes.above.insert(*first, above);
                last = Some(*first);
            }
            let (comment, is_alone) = comment(&chars, at, text.chars().count(), &marks);
            match (comment, is_alone, last) {
                (Some(comment), false, Some(last)) => {
                    let beside = notes.beside.entry(last).or_default();
                    *beside = if beside.is_empty() { comment } else { format!("{beside} {comment}") };
                }
                (Some(comment), ..) => waiting.push(comment),
                (None, true, _) if waiting.last().is_none_or(|line| !line.is_empty()) => {
                    waiting.push(String::new());
                }
                _ => {}
            }
            at += text.chars().count() + 1;
        }
        while waiting.last().is_some_and(String::is_empty) {
            waiting.pop();
        }
        notes.end = waiting;
        notes.bracketed = marks.bracketed;
        notes
    }
    /// Takes what stands above the part here.
    pub(super) fn above(&mut self, at: Place) -> Vec<String> {
        self.above.remove(&at).unwrap_or_default()
    }
    /// Takes the comment beside the part here.
    pub(super) fn beside(&mut self, at: Place) -> Option<String> {
        self.beside.remove(&at)
    }
    /// Whether somebody has said something within this part.
    pub(super) fn within(&self, doc: &Doc) -> bool {
        let mut parts = BTreeSet::new();
        places(doc, &mut parts);
        let has_comment =
            |at| self.above.get(at).is_some_and(|lines| lines.iter().any(|line| !line.is_empty()));
        parts.iter().any(|at| has_comment(at) || self.beside.contains_key(at))
    }
    /// Whether this map or list stands in brackets.
    pub(super) fn bracketed(&self, doc: &Doc) -> bool {
        self.bracketed.contains(&doc.place)
    }
}

/// The places of keys and of items.
fn places(doc: &Doc, found: &mut BTreeSet<Place>) {
    match &doc.part {
        Part::Scalar(_) => {}
        Part::List(items) => items.iter().for_each(|item| {
            found.extend(Some(item.place).filter(|place| place.line > 0));
            places(item, found);
        }),
        Part::Map(entries) => entries.iter().for_each(|(key, value)| {
            found.extend(Some(key.place).filter(|place| place.line > 0));
            places(value, found);
        }),
    }
}

/// The comment of a line, and whether there is nothing else on it.
fn comment(chars: &[char], start: usize, length: usize, marks: &Marks) -> (Option<String>, bool) {
    let line = &chars[start..start + length];
    let is_blank = |until: usize| line[..until].iter().all(|c| c.is_whitespace());
    let begins = |at: usize| {
        line[at] == '#' && (at == 0 || line[at - 1].is_whitespace()) && !marks.in_scalar(start + at)
    };
    match (0..length).find(|at| begins(*at)) {
        Some(at) => {
            let text: String = line[at..].iter().collect();
            (Some(text.trim_end().to_owned()), is_blank(at))
        }
        None => (None, is_blank(length) && !marks.in_scalar(start)),
    }
}
