//! Outputs that an expression reads although their step may have been skipped, and that it does not ask for first:
//! with `has(...)`, with `default(..., ...)`, or by the step's status.

use super::tree::{Binary, Tree};
use crate::value::Value;
use std::collections::BTreeSet;

/// Adds the steps whose output is read where nothing proves that there is one.
pub(super) fn unguarded(tree: &Tree, proven: &BTreeSet<u32>, found: &mut BTreeSet<u32>) {
    let mut each = |parts: &[&Tree]| parts.iter().for_each(|part| unguarded(part, proven, found));
    match tree {
        Tree::StepOutput(step) => {
            if !proven.contains(step) {
                found.insert(*step);
            }
        }
        // What these ask about may be missing.
        Tree::Has(..) | Tree::StepHas(_) => {}
        Tree::Default(_, fallback) => each(&[fallback]),
        Tree::Choose(condition, yes, no) => {
            each(&[condition]);
            unguarded(yes, &with(proven, proves(condition)), found);
            unguarded(no, &with(proven, disproves(condition)), found);
        }
        // Whichever side of these decides, decides, even where the other one is a fault.
        Tree::And(a, b) => {
            unguarded(a, &with(proven, proves(b)), found);
            unguarded(b, &with(proven, proves(a)), found);
        }
        Tree::Or(a, b) => {
            unguarded(a, &with(proven, disproves(b)), found);
            unguarded(b, &with(proven, disproves(a)), found);
        }
        Tree::Select(x, _) | Tree::Not(x) | Tree::Negate(x) => each(&[x]),
        Tree::Index(a, b) | Tree::Binary(_, a, b) => each(&[a, b]),
        Tree::List(items) | Tree::Call(_, items) => items.iter().for_each(|item| each(&[item])),
        Tree::Map(entries) => entries.iter().for_each(|(key, value)| each(&[key, value])),
        Tree::Fold { range, body, filter, .. } => {
            each(&[range, body]);
            filter.iter().for_each(|filter| each(&[filter]));
        }
        Tree::Literal(_)
        | Tree::Input
        | Tree::Run
        | Tree::Error
        | Tree::StepStatus(_)
        | Tree::StepError(_)
        | Tree::StepErrors(_)
        | Tree::Var(_) => {}
    }
}

fn with(proven: &BTreeSet<u32>, more: BTreeSet<u32>) -> BTreeSet<u32> {
    proven.union(&more).copied().collect()
}

/// The steps that must have an output where this is true.
pub(super) fn proves(tree: &Tree) -> BTreeSet<u32> {
    match tree {
        Tree::StepHas(step) => BTreeSet::from([*step]),
        Tree::Has(operand, _) => root(operand).into_iter().collect(),
        Tree::And(a, b) => with(&proves(a), proves(b)),
        Tree::Not(x) => disproves(x),
        Tree::Binary(Binary::Equal, a, b) => match (&**a, &**b) {
            (Tree::StepStatus(step), Tree::Literal(Value::String(word)))
            | (Tree::Literal(Value::String(word)), Tree::StepStatus(step))
                if &**word == "succeeded" =>
            {
                BTreeSet::from([*step])
            }
            _ => BTreeSet::new(),
        },
        _ => BTreeSet::new(),
    }
}

/// The steps that must have an output where this is false.
fn disproves(tree: &Tree) -> BTreeSet<u32> {
    match tree {
        Tree::Not(x) => proves(x),
        Tree::Or(a, b) => with(&disproves(a), disproves(b)),
        _ => BTreeSet::new(),
    }
}

/// The step that a path begins with.
fn root(tree: &Tree) -> Option<u32> {
    match tree {
        Tree::StepOutput(step) => Some(*step),
        Tree::Select(operand, _) | Tree::Index(operand, _) => root(operand),
        _ => None,
    }
}
