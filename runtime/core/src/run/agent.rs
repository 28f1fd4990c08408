//! What an agent's attempt goes on with: the call log of those before it, and what they have been charged for.

use super::Run;
use super::event::Node;
use super::state::AttemptNote;
use crate::outcome::Spent;

impl Run {
    /// Which call log an agent's attempt goes on with: another one after each attempt that failed by itself.
    pub fn call_log(&self, node: Node) -> u32 {
        let step = self.steps.get(node.step as usize);
        step.and_then(|s| s.node(node.item)).map_or(0, |work| work.call_log)
    }
    /// What earlier attempts that an agent's attempt goes on with have been charged for already.
    pub fn charged(&self, node: Node) -> Spent {
        let work = self.steps.get(node.step as usize).and_then(|step| step.node(node.item));
        let before = work.into_iter().flat_map(|work| work.attempts.iter().rev());
        let going_on = before.take_while(|attempt| match &attempt.end {
            AttemptNote::Failed(failure) => failure.kind.keeps_calls(),
            AttemptNote::Succeeded => false,
            AttemptNote::Open | AttemptNote::Interrupted | AttemptNote::Cancelled => true,
        });
        going_on.fold(Spent::default(), |sum, attempt| sum.and(attempt.usage.spent))
    }
}
