//! The parts of a workflow besides its steps: what runs after a failure (`onError`), what undoes a step
//! (`compensate`), and what runs at the end whatever happened (`finally`).

use super::walk::{Faults, Fields};
use super::{Part, group, policy};
use crate::document::{Doc, Key, Part as DocPart, pointer};
use crate::id::is_name;

/// A step as it stands in the document, before it is read.
pub(super) struct Entry<'a> {
    /// The part that it belongs to.
    pub(super) part: Part,
    /// Its id in the plan.
    pub(super) id: String,
    /// Its name in the expressions of its part.
    pub(super) name: String,
    /// Its map.
    pub(super) doc: &'a Doc,
    /// Where that stands.
    pub(super) path: String,
    /// The step that it undoes.
    pub(super) undoes: Option<u32>,
    /// The id of the group that it stands in.
    pub(super) group: Option<String>,
}

/// What a workflow does when it has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compensation {
    /// What succeeded is undone, the last first. The default.
    #[default]
    Reverse,
    /// Nothing is undone.
    None,
}

/// The steps of all parts, in the order in which the journal counts them: those of `steps` first, each part by id. The
/// canonical form of a document has its keys sorted, so a plan that is read again from there counts as the first did.
pub(super) fn entries<'a>(
    steps: Option<&'a Doc>,
    fields: &mut Fields<'a>,
    faults: &mut Faults,
) -> (Vec<Entry<'a>>, Compensation) {
    let mut found = section(steps, "/steps", Part::Main);
    let mut compensation = Compensation::default();
    if let Some((doc, path)) = fields.get("onError") {
        let mut inner = Fields::of(doc, &path, faults);
        let words = &[("reverse", Compensation::Reverse), ("none", Compensation::None)];
        compensation = policy::word(&mut inner, "compensate", words, faults).unwrap_or_default();
        if let Some((doc, path)) = inner.get("steps") {
            names(doc, &path, faults);
            found.extend(section(Some(doc), &path, Part::OnError));
        }
        inner.finish(faults);
    }
    let undoing: Vec<Entry<'a>> = found
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.part == Part::Main)
        .filter_map(|(index, entry)| {
            Some(Entry {
                part: Part::Compensate,
                id: format!("{}.compensate", entry.id),
                name: String::new(),
                doc: entry.doc.get("compensate")?,
                path: pointer(&entry.path, "compensate"),
                undoes: Some(index as u32),
                group: None,
            })
        })
        .collect();
    found.extend(undoing);
    if let Some((doc, path)) = fields.get("finally") {
        names(doc, &path, faults);
        found.extend(section(Some(doc), &path, Part::Finally));
    }
    (found, compensation)
}

fn section<'a>(doc: Option<&'a Doc>, path: &str, part: Part) -> Vec<Entry<'a>> {
    let mut entries: Vec<&(Key, Doc)> = match doc.map(|doc| &doc.part) {
        Some(DocPart::Map(entries)) => entries.iter().collect(),
        _ => Vec::new(),
    };
    entries.sort_by(|a, b| a.0.text.cmp(&b.0.text));
    let mut found = Vec::new();
    for (key, doc) in entries {
        let id = match part {
            Part::OnError => format!("onError.{}", key.text),
            Part::Finally => format!("finally.{}", key.text),
            Part::Main | Part::Compensate => key.text.to_string(),
        };
        let path = pointer(path, &key.text);
        found.extend(group::members(doc, &path, part, &id));
        found.push(Entry { part, id, name: key.text.to_string(), doc, path, undoes: None, group: None });
    }
    found
}

fn names(doc: &Doc, path: &str, faults: &mut Faults) {
    let DocPart::Map(entries) = &doc.part else {
        faults.at(doc, path, format!("wants a map from id to step, and this is {}", doc.kind()));
        return;
    };
    for (key, value) in entries.iter().filter(|(k, _)| !is_name(&k.text)) {
        faults.at(value, &pointer(path, &key.text), "a step's id is `[a-z][a-z0-9_-]*`, at most 64 bytes");
    }
}

/// What the steps of this part, and of this group in it, can name: those of `steps`, and their neighbours. The others
/// have no name there.
pub(super) fn visible(entries: &[Entry<'_>], part: Part, group: Option<&str>) -> Vec<String> {
    let seen = |entry: &Entry<'_>| match entry.group.as_deref() {
        None => entry.part == Part::Main || entry.part == part,
        of => of == group,
    };
    entries.iter().map(|entry| if seen(entry) { entry.name.clone() } else { String::new() }).collect()
}

/// Two steps that one expression could mean.
pub(super) fn no_doubles(entries: &[Entry<'_>], faults: &mut Faults) {
    let inner =
        |entry: &&Entry<'_>| matches!(entry.part, Part::OnError | Part::Finally) || entry.group.is_some();
    for entry in entries.iter().filter(inner) {
        let seen = |other: &Entry<'_>| other.part == Part::Main || other.part == entry.part;
        let twice = |other: &&Entry<'_>| other.group.is_none() && seen(other) && other.name == entry.name;
        if entries.iter().find(twice).is_some_and(|other| other.id != entry.id) {
            let message = format!("`{}` is the id of a step already; choose another", entry.name);
            faults.at(entry.doc, &entry.path, message);
        }
    }
}
