//! Who waits for whom: declared dependencies, implied ones, and the proof that nobody waits for himself.

use super::parts::Entry;
use super::walk::Faults;
use super::{Dependency, Ending, Step};
use crate::document::{Doc, Part, pointer};
use crate::expr::tree::nearest;
use std::collections::BTreeSet;

/// The endings that an ordinary dependency accepts.
const DONE: [Ending; 2] = [Ending::Succeeded, Ending::Skipped];

/// Reads `dependsOn`: a list of ids, or a map from id to the endings that will do.
pub(super) fn read(doc: &Doc, path: &str, ids: &[String], faults: &mut Faults) -> Vec<Dependency> {
    let mut dependencies = Vec::new();
    match &doc.part {
        Part::List(items) => {
            for (i, item) in items.iter().enumerate() {
                if let Some(step) = named(item, item.as_str(), &pointer(path, &i.to_string()), ids, faults) {
                    dependencies.push(Dependency { step, accepts: DONE.to_vec() });
                }
            }
        }
        Part::Map(entries) => {
            for (key, value) in entries {
                let path = pointer(path, &key.text);
                let step = named(value, Some(&key.text), &path, ids, faults);
                let accepts = endings(value, &path, faults);
                if let Some(step) = step {
                    dependencies.push(Dependency { step, accepts });
                }
            }
            // A map has no order, and its plan is the same however it was written.
            dependencies.sort_by_key(|dependency| dependency.step);
        }
        _ => faults.at(
            doc,
            path,
            format!("wants a list of steps or a map from step to endings, and this is {}", doc.kind()),
        ),
    }
    dependencies
}

fn named(doc: &Doc, id: Option<&str>, path: &str, ids: &[String], faults: &mut Faults) -> Option<u32> {
    let Some(id) = id else {
        faults.at(doc, path, format!("wants the id of a step, and this is {}", doc.kind()));
        return None;
    };
    let found = ids.iter().position(|known| known == id && !id.is_empty());
    if found.is_none() {
        let hint = match nearest(id, ids.iter().map(String::as_str)) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => format!(
                "; there are {}",
                ids.iter()
                    .filter(|id| !id.is_empty())
                    .take(12)
                    .map(|s| format!("`{s}`"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        };
        faults.at(doc, path, format!("no step is called `{id}`{hint}"));
    }
    found.map(|i| i as u32)
}

fn endings(doc: &Doc, path: &str, faults: &mut Faults) -> Vec<Ending> {
    const ALL: [Ending; 4] = [Ending::Succeeded, Ending::Skipped, Ending::Failed, Ending::Cancelled];
    let Part::List(items) = &doc.part else {
        faults.at(doc, path, "wants a list of endings, such as `[succeeded, skipped]`");
        return DONE.to_vec();
    };
    let mut accepts = BTreeSet::new();
    for item in items {
        match ALL.iter().find(|e| Some(e.word()) == item.as_str()) {
            Some(ending) => drop(accepts.insert(*ending)),
            None => faults.at(item, path, "an ending is `succeeded`, `skipped`, `failed` or `cancelled`"),
        }
    }
    accepts.into_iter().collect()
}

/// Adds the dependencies that expressions imply, where none was declared. The steps of another part have ended anyway.
pub(super) fn imply(step: &mut Step, entries: &[Entry<'_>]) {
    for &read in &step.reads {
        let beside = entries.get(read as usize).is_some_and(|entry| entry.part == step.part);
        if beside && !step.depends.iter().any(|d| d.step == read) {
            step.depends.push(Dependency { step: read, accepts: DONE.to_vec() });
        }
    }
}

/// For each step, the steps that wait for it.
pub(super) fn dependents(steps: &[Step]) -> Vec<Vec<u32>> {
    let mut dependents = vec![Vec::new(); steps.len()];
    for (index, step) in steps.iter().enumerate() {
        for dependency in &step.depends {
            dependents[dependency.step as usize].push(index as u32);
        }
    }
    dependents
}

/// The steps so that each stands after those that it waits for; equals by their index. Only for a graph without cycles.
pub(super) fn order(steps: &[Step]) -> Vec<u32> {
    let mut missing: Vec<usize> = steps.iter().map(|s| s.depends.len()).collect();
    let mut ready: BTreeSet<u32> = (0..steps.len() as u32).filter(|s| missing[*s as usize] == 0).collect();
    let dependents = dependents(steps);
    let mut order = Vec::with_capacity(steps.len());
    while let Some(step) = ready.pop_first() {
        order.push(step);
        for &dependent in &dependents[step as usize] {
            missing[dependent as usize] -= 1;
            if missing[dependent as usize] == 0 {
                ready.insert(dependent);
            }
        }
    }
    order
}

/// Reports every cycle at one of its steps. Without recursion: a chain may be as long as a workflow.
pub(super) fn no_cycles(steps: &[Step], entries: &[Entry<'_>], faults: &mut Faults) {
    for cycle in cycles(steps) {
        let first = cycle[0] as usize;
        let Entry { doc, path, .. } = &entries[first];
        let (place, path) = match doc.get("dependsOn") {
            Some(declared) => (declared, pointer(path, "dependsOn")),
            None => (*doc, path.clone()),
        };
        let message = match cycle.as_slice() {
            [_] => format!("`{}` waits for itself; leave that out", steps[first].id),
            _ => {
                let ids: Vec<&str> =
                    cycle.iter().chain(&cycle[..1]).map(|s| &*steps[*s as usize].id).collect();
                format!(
                    "these steps wait for each other: {}; take one `dependsOn`, or one `steps.…` of an expression, out",
                    ids.join(" -> ")
                )
            }
        };
        faults.at(place, &path, message);
    }
}

/// The cycles, each from its lowest step on: enough of them to break all.
fn cycles(steps: &[Step]) -> BTreeSet<Vec<u32>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; steps.len()];
    let mut found = BTreeSet::new();
    for start in 0..steps.len() as u32 {
        if marks[start as usize] != Mark::New {
            continue;
        }
        let mut path: Vec<(u32, usize)> = vec![(start, 0)];
        while let Some((at, next)) = path.last_mut() {
            let at = *at as usize;
            marks[at] = Mark::Open;
            let Some(dependency) = steps[at].depends.get(*next) else {
                marks[at] = Mark::Done;
                path.pop();
                continue;
            };
            *next += 1;
            let to = dependency.step;
            match marks[to as usize] {
                Mark::Open => {
                    let from = path.iter().position(|(s, _)| *s == to).unwrap_or(0);
                    let mut cycle: Vec<u32> = path[from..].iter().map(|(s, _)| *s).collect();
                    let lowest = cycle.iter().enumerate().min_by_key(|(_, s)| **s).map_or(0, |(i, _)| i);
                    cycle.rotate_left(lowest);
                    found.insert(cycle);
                }
                Mark::New => path.push((to, 0)),
                Mark::Done => {}
            }
        }
    }
    found
}
