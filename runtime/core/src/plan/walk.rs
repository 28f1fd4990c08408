//! How a map of the document is read: each key once, by its path, with a fault for every key that is not known.

use crate::document::{Doc, Fault, Key, Part, pointer};
use crate::expr::tree::nearest;
use crate::time::Span;
use crate::value::Value;
use std::collections::BTreeSet;

/// Words of other systems, and what they are here.
const FOREIGN: &[(&str, &str)] = &[
    ("condition", "`when`"),
    ("if", "`when`"),
    ("needs", "`dependsOn`"),
    ("depends_on", "`dependsOn`"),
    ("after", "`dependsOn`"),
    ("type", "the verb itself, such as `call: tool:name@^1`"),
    ("uses", "`call`"),
    ("task", "`call`"),
    ("image", "`call`"),
    ("inputs", "`with`"),
    ("args", "`with`"),
    ("params", "`with`"),
    ("parameters", "`with`"),
    ("input", "`with`"),
    ("retries", "`retry: {limit: {attempts: 4}}`"),
    ("maxAttempts", "`limit: {attempts: 4}`"),
    ("max_attempts", "`limit: {attempts: 4}`"),
    ("maxRetries", "`limit: {attempts: 4}` (attempts count the first try)"),
    ("loop", "`forEach`"),
    ("withItems", "`forEach`"),
    ("matrix", "`forEach`"),
    ("concurrencyLimit", "`maxParallel`"),
    ("timeoutSeconds", "`timeout: 30s`"),
    ("continueOnError", "`failFast: false` on the workflow, or `dependsOn: {x: [succeeded, failed]}`"),
    ("outputs", "`output`"),
    ("on", "`schedule` for times and `triggers` for events"),
];

/// Words of the language that this version does not run yet. Refused, so that nobody relies on them in vain.
const NOT_YET: &[&str] = &["checkpointInterval", "summarizeAt"];

/// Collects faults while the document is walked.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Those found so far.
    pub(crate) list: Vec<Fault>,
    /// The steps that faulty conditions of the step at hand read.
    pub(crate) reads: BTreeSet<u32>,
}

impl Faults {
    pub(crate) fn at(&mut self, doc: &Doc, path: &str, message: impl Into<String>) {
        self.list.push(Fault {
            place: doc.place,
            path: path.to_owned(),
            message: message.into(),
            ..Fault::default()
        });
    }
    fn at_key(&mut self, key: &Key, path: &str, message: String) {
        self.list.push(Fault {
            place: key.place,
            path: pointer(path, &key.text),
            message,
            ..Fault::default()
        });
    }
}

/// A map that is being read. Keys that nobody asks for are reported by [`Fields::finish`].
pub(crate) struct Fields<'a> {
    pub(crate) doc: &'a Doc,
    pub(crate) path: String,
    entries: &'a [(Key, Doc)],
    asked: Vec<&'static str>,
    /// Words of other systems and of the language to come, for which there is a better answer than that they are unknown.
    knows_others: bool,
}

impl<'a> Fields<'a> {
    /// The map here; a fault and an empty one where there is none.
    pub(crate) fn of(doc: &'a Doc, path: &str, faults: &mut Faults) -> Fields<'a> {
        let entries = match &doc.part {
            Part::Map(entries) => entries.as_slice(),
            _ => {
                faults.at(doc, path, format!("wants a map, and this is {}", doc.kind()));
                &[]
            }
        };
        Fields { doc, path: path.to_owned(), entries, asked: Vec::new(), knows_others: true }
    }
    /// The same of a document that is no workflow.
    pub(crate) fn plain(doc: &'a Doc, path: &str, faults: &mut Faults) -> Fields<'a> {
        Fields { knows_others: false, ..Fields::of(doc, path, faults) }
    }
    /// The value under this key, with its path.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<(&'a Doc, String)> {
        self.asked.push(key);
        let (_, doc) = self.entries.iter().find(|(k, _)| &*k.text == key)?;
        Some((doc, pointer(&self.path, key)))
    }
    /// The value under a key that must be there.
    pub(crate) fn need(&mut self, key: &'static str, faults: &mut Faults) -> Option<(&'a Doc, String)> {
        let found = self.get(key);
        if found.is_none() && matches!(self.doc.part, Part::Map(_)) {
            faults.at(self.doc, &self.path, format!("`{key}` is missing"));
        }
        found
    }
    /// Text under this key.
    pub(crate) fn text(&mut self, key: &'static str, faults: &mut Faults) -> Option<&'a str> {
        let (doc, path) = self.get(key)?;
        if doc.as_str().is_none() {
            faults.at(doc, &path, format!("wants text, and this is {}", doc.kind()));
        }
        doc.as_str()
    }
    /// A duration under this key.
    pub(crate) fn span(&mut self, key: &'static str, faults: &mut Faults) -> Option<Span> {
        let (doc, path) = self.get(key)?;
        span(doc, &path, faults)
    }
    /// A whole number from 1 under this key.
    pub(crate) fn count(&mut self, key: &'static str, max: u64, faults: &mut Faults) -> Option<u32> {
        let (doc, path) = self.get(key)?;
        match doc.part {
            Part::Scalar(Value::Int(n)) if n >= 1 && n as u64 <= max => Some(n as u32),
            _ => {
                faults.at(doc, &path, format!("wants a whole number from 1 to {max}"));
                None
            }
        }
    }
    /// True or false under this key.
    pub(crate) fn flag(&mut self, key: &'static str, faults: &mut Faults) -> Option<bool> {
        let (doc, path) = self.get(key)?;
        match doc.part {
            Part::Scalar(Value::Bool(b)) => Some(b),
            _ => {
                faults.at(doc, &path, format!("wants `true` or `false`, and this is {}", doc.kind()));
                None
            }
        }
    }
    /// Reports every key that nobody asked for.
    pub(crate) fn finish(self, faults: &mut Faults) {
        for (key, _) in self.entries.iter().filter(|(k, _)| !self.asked.contains(&&*k.text)) {
            let word = &*key.text;
            let message = if self.knows_others && NOT_YET.contains(&word) {
                format!("`{word}` is a word of the language that this version does not run yet")
            } else if let Some(near) = nearest(word, self.asked.iter().copied()) {
                format!("unknown key `{word}`; did you mean `{near}`?")
            } else if let (Some((_, ours)), true) =
                (FOREIGN.iter().find(|(theirs, _)| *theirs == word), self.knows_others)
            {
                format!("unknown key `{word}`; here it is {ours}")
            } else {
                format!(
                    "unknown key `{word}`; there are {}",
                    self.asked.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
                )
            };
            faults.at_key(key, &self.path, message);
        }
    }
}

/// A duration.
pub(crate) fn span(doc: &Doc, path: &str, faults: &mut Faults) -> Option<Span> {
    let text = match &doc.part {
        Part::Scalar(Value::String(text)) => text.to_string(),
        Part::Scalar(number @ (Value::Int(_) | Value::Number(_))) => {
            let mut text = String::new();
            number.write_json(&mut text);
            text
        }
        _ => {
            faults.at(doc, path, format!("wants a duration such as `30s`, and this is {}", doc.kind()));
            return None;
        }
    };
    match Span::parse(&text) {
        Ok(Span(0)) => {
            faults.at(doc, path, "a duration of zero means nothing here; leave the key out");
            None
        }
        Ok(span) => Some(span),
        Err(fault) => {
            faults.at(doc, path, fault.to_string());
            None
        }
    }
}
