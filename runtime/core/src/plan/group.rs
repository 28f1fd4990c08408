//! `parallel`: steps as a named group. Its members are steps like others, named `group.member` outside; they begin when
//! the group may, each as far as its own `dependsOn` lets it, and the group itself succeeds when they have ended, with
//! their outputs by name.

use super::parts::Entry;
use super::walk::{Faults, Fields};
use super::{Dependency, Ending, Part, Step, Verb};
use crate::document::{Doc, Key, Part as DocPart, pointer};
use crate::id::is_name;
use std::sync::Arc;

/// The members of a group, by their names.
pub(super) fn members<'a>(doc: &'a Doc, path: &str, part: Part, group: &str) -> Vec<Entry<'a>> {
    let steps = doc.get("parallel").and_then(|parallel| parallel.get("steps"));
    let Some(DocPart::Map(members)) = steps.map(|steps| &steps.part) else { return Vec::new() };
    let mut members: Vec<&(Key, Doc)> = members.iter().collect();
    members.sort_by(|a, b| a.0.text.cmp(&b.0.text));
    let path = pointer(&pointer(path, "parallel"), "steps");
    let entry = |(key, doc): &'a (Key, Doc)| Entry {
        part,
        id: format!("{group}.{}", key.text),
        name: key.text.to_string(),
        doc,
        path: pointer(&path, &key.text),
        undoes: None,
        group: Some(group.to_owned()),
    };
    members.into_iter().map(entry).collect()
}

/// Reads `parallel: {steps: {a: ..., b: ...}}` of the group with this id.
pub(super) fn read(
    step: &mut Fields<'_>,
    (doc, path): (&Doc, &str),
    (group, entries): (&str, &[(String, Option<String>)]),
    faults: &mut Faults,
) -> Verb {
    for key in ["with", "forEach", "compensate", "fallback"] {
        if let Some((doc, path)) = step.get(key) {
            faults.at(doc, &path, format!("a group has no `{key}`; give it to the steps of the group"));
        }
    }
    let mut fields = Fields::of(doc, path, faults);
    if let Some((steps, path)) = fields.need("steps", faults) {
        match &steps.part {
            DocPart::Map(members) if members.is_empty() => faults.at(steps, &path, "there are no steps"),
            DocPart::Map(members) => {
                for (key, member) in members {
                    let path = pointer(&path, &key.text);
                    if !is_name(&key.text) {
                        faults.at(member, &path, "a step's id is `[a-z][a-z0-9_-]*`, at most 64 bytes");
                    }
                    if let Some(inner) = member.get("parallel") {
                        faults.at(
                            inner,
                            &path,
                            "a group has no groups; use `dependsOn`, or run a `workflow`",
                        );
                    }
                }
            }
            _ => {
                faults.at(steps, &path, format!("wants a map from id to step, and this is {}", steps.kind()))
            }
        }
    }
    fields.finish(faults);
    if group.ends_with(".compensate") {
        faults.at(doc, path, "what undoes a step is one step; run a `workflow` where it takes several");
    }
    let members = (0u32..).zip(entries).filter(|(_, (_, of))| of.as_deref() == Some(group));
    let named = members.map(|(index, (id, _))| {
        let name = id.strip_prefix(group).and_then(|rest| rest.strip_prefix('.')).unwrap_or(id);
        (Arc::<str>::from(name), index)
    });
    Verb::Group(named.collect())
}

/// Members wait for what their group waits for; the group waits for its members.
pub(super) fn tie(steps: &mut [Step]) {
    for group in 0..steps.len() {
        let Verb::Group(members) = &steps[group].verb else { continue };
        let members: Vec<u32> = members.iter().map(|(_, member)| *member).collect();
        let (before, conditional) = (steps[group].depends.clone(), steps[group].when.is_some());
        let reads: Vec<u32> = steps[group].when.iter().flat_map(|when| when.reads.iter().copied()).collect();
        for &member in &members {
            let step = &mut steps[member as usize];
            (step.group, step.conditional) = (Some(group as u32), conditional);
            step.reads.extend(&reads);
            for dependency in &before {
                if !step.depends.iter().any(|known| known.step == dependency.step) {
                    step.depends.push(dependency.clone());
                }
            }
        }
        // It says itself what came of them.
        let done = vec![Ending::Succeeded, Ending::Skipped, Ending::Failed, Ending::Cancelled];
        let step = &mut steps[group];
        step.reads.extend(&members);
        step.depends.extend(members.iter().map(|&step| Dependency { step, accepts: done.clone() }));
    }
}
