//! What an agent's attempt goes on with: the call log of those before it, and what they have been charged for.

use super::Run;
use super::event::Node;
use super::state::AttemptNote;
use crate::outcome::{Failure, Spent};

impl Run {
    /// Which call log an agent's attempt goes on with: another one after each attempt that failed by itself.
    pub fn call_log(&self, node: Node) -> u32 {
        let step = self.steps.get(node.step as usize);
        step.and_then(|s| s.node(node.item)).map_or(0, |work| work.call_log)
    }
    /// What all earlier attempts of a step or an item have spent.
    pub fn spent_before(&self, node: Node) -> Spent {
        let work = self.steps.get(node.step as usize).and_then(|step| step.node(node.item));
        let attempts = work.into_iter().flat_map(|work| &work.attempts);
        attempts.fold(Spent::default(), |sum, attempt| sum.and(attempt.usage.spent))
    }
    /// What of that the attempt goes on with: those before it in the same call log. Another plugin has another one.
    pub fn charged(&self, node: Node) -> Spent {
        if self.alternative(node) > 0 || self.candidate(node) > 0 {
            return Spent::default();
        }
        let work = self.steps.get(node.step as usize).and_then(|step| step.node(node.item));
        let before = work.into_iter().flat_map(|work| work.attempts.iter().rev());
        let going_on = before.take_while(|attempt| match &attempt.end {
            AttemptNote::Failed(failure) => failure.kind.keeps_calls(),
            AttemptNote::Succeeded => false,
            AttemptNote::Open | AttemptNote::Interrupted | AttemptNote::Cancelled => true,
        });
        going_on.fold(Spent::default(), |sum, attempt| sum.and(attempt.usage.spent))
    }
    /// An attempt has failed: where that was by itself, the next one is told nothing of what it was told.
    pub(super) fn forget_calls(&mut self, node: Node, failure: &Failure) {
        let state = self.steps.get_mut(node.step as usize).and_then(|step| step.node_mut(node.item));
        if let Some(state) = state.filter(|_| !failure.kind.keeps_calls()) {
            state.call_log += 1;
        }
    }
}
