//! One run as its journal and its events tell it, read over HTTP and laid side by side.
//!
//! How many events a fact is told with is written down here once more, from docs/guide/events.md. So the stream must
//! have every event of every row, and the last one of a row cannot be missing unseen.

use crate::findings::Findings;
use crate::mix::{Kind, SUB};
use crate::witness::millis;
use heddle_tests::Server;
use serde_json::Value;
use std::collections::BTreeMap;

/// A step or an item of it.
pub(crate) type Place = (String, Option<u64>);

/// A fact of the journal.
#[derive(Debug)]
pub(crate) struct Fact {
    pub(crate) at: u64,
    pub(crate) kind: String,
    pub(crate) body: Value,
    /// The step or item that it is about.
    pub(crate) place: Option<Place>,
}

impl Fact {
    pub(crate) fn attempt(&self) -> u64 {
        self.body["attempt"].as_u64().unwrap_or(0)
    }
    pub(crate) fn is_at(&self, kind: &str, place: &Place) -> bool {
        self.kind == kind && self.place.as_ref() == Some(place)
    }
    /// Whether it ends its step or item.
    pub(crate) fn is_outcome(&self) -> bool {
        matches!(&*self.kind, "stepSucceeded" | "stepFailed" | "stepSkipped" | "stepCancelled")
    }
    pub(crate) fn failure(&self) -> &str {
        self.body["failure"]["kind"].as_str().unwrap_or_default()
    }
    pub(crate) fn by(&self) -> &str {
        let by = [&self.body["by"], &self.body["pause"]["by"], &self.body["decision"]["by"]];
        by.into_iter().find_map(Value::as_str).unwrap_or_default()
    }
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) id: String,
    pub(crate) n: u64,
    pub(crate) kind: Kind,
    pub(crate) doc: Value,
    pub(crate) facts: Vec<Fact>,
}

impl Story {
    pub(crate) fn status(&self) -> &str {
        self.doc["status"].as_str().unwrap_or_default()
    }
    pub(crate) fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Fact> {
        self.facts.iter().filter(move |fact| fact.kind == kind)
    }
    /// When it was settled how the run ends.
    pub(crate) fn settled(&self) -> u64 {
        let end = self.facts.iter().find(|fact| matches!(&*fact.kind, "runEnding" | "runFinished"));
        end.map_or(u64::MAX, |fact| fact.at)
    }
}

/// Reads a run that has ended. Says what is wrong with the numbers of its rows and events on the way.
pub(crate) fn read(server: &Server, id: &str, doc: Value, findings: &Findings) -> Story {
    let rows = journal(server, id);
    let kind = Kind::of(doc["workflow"]["name"].as_str().unwrap()).unwrap();
    // What nobody asked for has no label.
    let n = doc["labels"]["n"].as_str().and_then(|n| n.parse().ok()).or(doc["input"]["n"].as_u64());
    let n = n.unwrap_or_default();
    let events = server.events(id, None);
    let mut expected = Vec::new();
    let mut facts = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let seq = row["seq"].as_u64().unwrap();
        findings.check(seq == index as u64 + 1, "seq_gap", || format!("{id}: row {seq} is the {index}th"));
        let mut ordinal = 0;
        for event in row["events"].as_array().unwrap() {
            let (word, body) = event.as_object().unwrap().iter().next().unwrap();
            let events = ordinal..ordinal + told(kind, word, body);
            ordinal = events.end;
            expected.extend(events.map(|o| (format!("{seq}.{o}"), facts.len())));
            let at = millis(row["at"].as_str().unwrap());
            facts.push(Fact { at, kind: word.clone(), body: body.clone(), place: None });
        }
    }
    let ids: Vec<&str> = events.iter().map(|(id, _, _)| id.as_str()).collect();
    let wanted: Vec<&str> = expected.iter().map(|(id, _)| id.as_str()).collect();
    findings.check(ids == wanted, "seq_gap", || format!("{id}: the events are {ids:?}, not {wanted:?}"));
    let mut twice = ids.clone();
    twice.sort_unstable();
    twice.dedup();
    findings.check(twice.len() == ids.len(), "seq_dup", || format!("{id}: {ids:?}"));
    let last = events.last().map_or("", |(_, kind, _)| kind);
    let ends = events.iter().filter(|(_, kind, _)| is_end(kind)).count();
    findings.check(is_end(last) && ends == 1, "seq_gap", || {
        format!("{id}: {ends} ends, the last event is {last}")
    });
    resume(server, id, &ids, findings);
    name_places(&mut facts, &expected, &events);
    Story { id: id.to_owned(), n, kind, doc, facts }
}

fn is_end(kind: &str) -> bool {
    matches!(kind, "run.succeeded" | "run.failed" | "run.cancelled")
}

/// A reader that comes back gets what follows, nothing twice and nothing left out.
fn resume(server: &Server, id: &str, ids: &[&str], findings: &Findings) {
    if !id.ends_with(['0', '1']) || ids.len() < 2 {
        return;
    }
    let place = id.bytes().map(usize::from).sum::<usize>() % (ids.len() - 1);
    let rest = server.events(id, Some(ids[place]));
    let rest: Vec<&str> = rest.iter().map(|(id, _, _)| id.as_str()).collect();
    findings.check(rest == ids[place + 1..], "seq_gap", || format!("{id}: after {}: {rest:?}", ids[place]));
}

fn journal(server: &Server, id: &str) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/v1/runs/{id}/journal?limit=200{cursor}"));
        rows.extend(page.body["items"].as_array().unwrap_or_else(|| panic!("{page:?}")).iter().cloned());
        match page.body["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

/// How many events tell this fact.
fn told(of: Kind, kind: &str, body: &Value) -> usize {
    let asked_cache = usize::from(body["cache"].is_object());
    match kind {
        // A run of its own chooses no plugin.
        "attemptStarted" if of == Kind::Family && body["node"] == SUB && body["attempt"] == 1 => 2,
        "mapStarted" if of == Kind::Family => 1,
        "retryDue" => 0,
        "partBegan" => usize::from(body["part"] == "compensate"),
        // With the step's beginning and the choice of the plugin, where it is the first of a step.
        "attemptStarted" if body["node"].is_number() && body["attempt"] == 1 => 3,
        "mapStarted" => 2,
        "attemptFailed" => 2 + asked_cache,
        "stepSucceeded" => 1 + usize::from(body["attempt"].as_u64() > Some(0)) + asked_cache,
        "stepSkipped" => 1 + usize::from(body["reason"] == "condition"),
        _ => 1,
    }
}

/// Facts number their steps, events name them.
fn name_places(facts: &mut [Fact], expected: &[(String, usize)], events: &[(String, String, Value)]) {
    let mut names: BTreeMap<u64, String> = BTreeMap::new();
    for ((_, fact), (_, _, data)) in expected.iter().zip(events) {
        if let (Some((step, _)), Some(name)) = (numbers(&facts[*fact].body), data["data"]["step"].as_str()) {
            let known = names.entry(step).or_insert_with(|| name.to_owned());
            assert_eq!(known, name, "step {step} has two names");
        }
    }
    for fact in facts {
        let place = numbers(&fact.body);
        fact.place = place.and_then(|(step, item)| Some((names.get(&step)?.clone(), item)));
    }
}

fn numbers(body: &Value) -> Option<(u64, Option<u64>)> {
    match &body["node"] {
        Value::Array(both) => Some((both.first()?.as_u64()?, both.get(1)?.as_u64())),
        Value::Number(step) => Some((step.as_u64()?, None)),
        _ => Some((body["step"].as_u64()?, None)),
    }
}
