//! The runs that a simulated run has asked for. They live in the store, so no crash of their parent touches them.

use heddle_core::id::RunId;
use heddle_core::plan::{OnParentCancel, Verb};
use heddle_core::run::child::Orphan;
use heddle_core::run::event::Node;
use heddle_core::run::{Ended, Run};
use std::collections::BTreeMap;

struct Child {
    node: Node,
    attempt: u32,
    /// How it ended; kept, because its end may have to be told again.
    end: Option<Ended>,
    told_to_end: bool,
}

#[derive(Default)]
pub(crate) struct Children(BTreeMap<RunId, Child>);

impl Children {
    /// Whether it is new.
    pub(crate) fn starts(&mut self, run: RunId, node: Node, attempt: u32) -> bool {
        let new = !self.0.contains_key(&run);
        self.0.entry(run).or_insert(Child { node, attempt, end: None, told_to_end: false });
        new
    }
    pub(crate) fn any_open(&self) -> bool {
        self.0.values().any(|child| child.end.is_none())
    }
    /// One of them, those that have ended included.
    pub(crate) fn pick(&self, number: u64) -> Option<(RunId, Node, u32)> {
        let count = self.0.len().max(1);
        self.0.iter().nth(number as usize % count).map(|(run, child)| (*run, child.node, child.attempt))
    }
    /// Its end: the first that it was given stands.
    pub(crate) fn ends(&mut self, run: RunId, fresh: Ended) -> Ended {
        match self.0.get_mut(&run) {
            Some(child) => child.end.get_or_insert(fresh).clone(),
            None => fresh,
        }
    }
    pub(crate) fn told_to_end(&mut self, orphans: &[Orphan]) {
        for orphan in orphans {
            if let Some(child) = self.0.get_mut(&orphan.run) {
                child.told_to_end = true;
            }
        }
    }
    /// The parent has moved: its steps have other numbers, and the runs that they asked for the same ids.
    pub(crate) fn moved(
        &mut self,
        number: impl Fn(Node) -> Option<Node>,
        parent: &Run,
    ) -> Result<(), String> {
        for (run, child) in &mut self.0 {
            let before = child.node;
            child.node = number(before).ok_or_else(|| format!("the step of child {run} is gone"))?;
            let known = parent.child_of(child.node, child.attempt);
            if known != Some(*run) {
                return Err(format!("child {run} of {before:?} is known as {known:?} after a move"));
            }
        }
        Ok(())
    }
    /// A run that has ended leaves no child that nobody waits for and nobody stops.
    pub(crate) fn none_is_forgotten(&self, parent: &Run) -> Result<(), String> {
        for (run, child) in self.0.iter().filter(|(_, child)| child.end.is_none() && !child.told_to_end) {
            let leaves = match &parent.plan.steps[child.node.step as usize].verb {
                Verb::Workflow(wanted) => wanted.on_parent_cancel == OnParentCancel::Leave,
                _ => false,
            };
            if !leaves {
                return Err(format!("run {run} of {:?} attempt {} was forgotten", child.node, child.attempt));
            }
        }
        Ok(())
    }
}
