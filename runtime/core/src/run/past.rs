//! What a run has already: the outcomes that another run may take over instead of having the work done again.

use super::Run;
use super::artifact::Artifact;
use super::event::{Finish, Node, Payload};
use super::state::{Phase, Stage, StepState};
use crate::plan::{Compensation, Part, Plan, Verb};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// An outcome of a step or an item.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// Of what.
    pub node: Node,
    /// Which of the step's alternatives gave it: 0 for its own call.
    pub alternative: u32,
    /// Which candidate of that call.
    pub turn: u32,
    /// The output.
    pub output: Payload,
    /// When it was there.
    pub at: Timestamp,
    /// The files that the attempt kept which gave it.
    pub artifacts: Vec<Artifact>,
}

/// The files of each attempt.
type Files = BTreeMap<(Node, u32), Vec<Artifact>>;

impl Plan {
    /// This step, and every step that waits for it, directly or not.
    pub fn from_step_on(&self, step: u32) -> BTreeSet<u32> {
        let (mut found, mut open) = (BTreeSet::new(), vec![step]);
        while let Some(step) = open.pop() {
            if found.insert(step) {
                open.extend(self.dependents[step as usize].iter().copied());
                if let Verb::Group(members) = &self.steps[step as usize].verb {
                    open.extend(members.iter().map(|(_, member)| *member));
                }
            }
        }
        found
    }
}

impl Run {
    /// What plugins have given this run, step by step, without these steps and without what it has undone since.
    pub fn past(&self, without: &BTreeSet<u32>) -> Vec<Past> {
        let mut files = Files::new();
        for kept in self.artifacts() {
            files.entry((kept.node, kept.attempt)).or_default().push(kept.artifact.clone());
        }
        let mut past = Vec::new();
        for step in self.plan.of_part(Part::Main).filter(|step| !without.contains(step)) {
            let state = &self.steps[step as usize];
            if !matches!(self.plan.steps[step as usize].verb, Verb::Call { .. }) || self.is_undone(step) {
                continue;
            }
            match &state.map {
                None => past.extend(self.past_of(Node::step(step), &files)),
                Some(map) => past.extend(
                    (0..map.items.len() as u32)
                        .filter_map(|item| self.past_of(Node::item(step, item), &files)),
                ),
            }
        }
        past
    }
    fn past_of(&self, node: Node, files: &Files) -> Option<Past> {
        let work = self.steps[node.step as usize].node(node.item)?;
        let Stage::Succeeded(output) = &work.stage else { return None };
        let last = work.attempts.last()?;
        let at = last.ended?;
        let artifacts = files.get(&(node, last.attempt)).cloned().unwrap_or_default();
        (*output != Payload::Derived).then(|| Past {
            node,
            alternative: work.alternative,
            turn: work.turn,
            output: output.clone(),
            at,
            artifacts,
        })
    }
    /// Whether what undoes the step has begun, or will.
    fn is_undone(&self, step: u32) -> bool {
        let undoing = self.plan.steps[step as usize].compensation;
        let fails = self.ending.as_ref().is_some_and(|ending| ending.finish != Finish::Succeeded);
        if fails
            && self.finished.is_none()
            && self.plan.compensation != Compensation::None
            && undoing.is_some()
        {
            return true;
        }
        let begun = |state: &StepState| !matches!(state.phase, Phase::Blocked | Phase::Skipped(_));
        undoing.is_some_and(|undoing| begun(&self.steps[undoing as usize]))
    }
}
