//! Which outputs may not be there when somebody reads them, so that whoever reads them must say what happens then. That
//! a run fails is no reason: nothing is read any more then, except by what follows the steps.

use super::parts::Entry;
use super::{Part, Step};
use crate::document::Part as DocPart;
use std::collections::BTreeSet;

/// Why a step's output may not be there, by step.
pub(super) type Absent = Vec<Option<&'static str>>;

const CONDITION: &str = "the step has a `when`, so it may be skipped";
const ENDINGS: &str = "the step wants certain endings of others, so it may be skipped";
const ANYHOW: &str = "this runs whether or not the step has succeeded";

/// Why each step of a part may be skipped, read from the document alone: expressions that read them come later.
pub(super) fn skips(entries: &[Entry<'_>]) -> Absent {
    let mut known: Vec<Option<Option<&'static str>>> = vec![None; entries.len()];
    // Without recursion a chain as long as a workflow is no matter. Each round settles those whose dependencies are.
    for _ in 0..entries.len() {
        let before = known.iter().flatten().count();
        for index in 0..entries.len() {
            if known[index].is_none() {
                known[index] = skip(entries, index, &known);
            }
        }
        if known.iter().flatten().count() == before {
            break;
        }
    }
    // Those in a cycle are a fault of their own.
    known.into_iter().map(Option::flatten).collect()
}

/// Whether the step may be skipped, once that is known of those whose endings it wants.
fn skip(
    entries: &[Entry<'_>],
    index: usize,
    known: &[Option<Option<&'static str>>],
) -> Option<Option<&'static str>> {
    let entry = &entries[index];
    let group = entry.group.as_ref().and_then(|id| entries.iter().find(|other| other.id == *id));
    if entry.doc.get("when").is_some() || group.is_some_and(|group| group.doc.get("when").is_some()) {
        return Some(Some(CONDITION));
    }
    let Some(DocPart::Map(wants)) = entry.doc.get("dependsOn").map(|on| &on.part) else { return Some(None) };
    for (key, wanted) in wants {
        let near = |other: &Entry<'_>| other.group.is_none() || other.group == entry.group;
        let of = entries
            .iter()
            .position(|other| other.part == entry.part && near(other) && *other.name == *key.text);
        let Some(of) = of else { continue };
        let accepts = |word: &str| match &wanted.part {
            DocPart::List(words) => words.iter().any(|known| known.as_str() == Some(word)),
            _ => true,
        };
        if !accepts("succeeded") || (!accepts("skipped") && known[of]?.is_some()) {
            return Some(Some(ENDINGS));
        }
    }
    Some(None)
}

/// What a step of this part may miss.
pub(super) fn for_part(entries: &[Entry<'_>], skips: &Absent, part: Part) -> Absent {
    let why = |(entry, skip): (&Entry<'_>, &Option<&'static str>)| match entry.part == Part::Main {
        true if part != Part::Main => Some(ANYHOW),
        _ => *skip,
    };
    entries.iter().zip(skips).map(why).collect()
}

/// What a compensation may miss: the step that it undoes has succeeded, and so has what that waited for, unless it was
/// skipped.
pub(super) fn for_undoing(undone: u32, steps: &[Step], skips: &Absent) -> Absent {
    let mut before = BTreeSet::new();
    let mut open = vec![undone];
    while let Some(step) = open.pop() {
        if let (true, Some(step)) = (before.insert(step), steps.get(step as usize)) {
            open.extend(step.depends.iter().map(|dependency| dependency.step));
        }
    }
    let why = |(step, skip): (u32, &Option<&'static str>)| match before.contains(&step) {
        true if step == undone => None,
        true => *skip,
        false => Some(ANYHOW),
    };
    (0..).zip(skips).map(why).collect()
}
