//! What is tried instead when a step or an item has failed for good.

use super::Run;
use super::event::{Event, Node};
use super::scope::{Values, failure_value};
use super::state::{AttemptNote, NodeState};
use crate::outcome::Failure;
use crate::plan::Alternative;
use crate::route::Callee;
use crate::time::Timestamp;
use crate::value::Value;

impl Run {
    /// The last attempt has failed: the next alternative, or the end of the step or the item.
    pub(super) fn give_up(&self, node: Node, failure: Failure, now: Timestamp) -> Vec<Event> {
        let step = &self.plan.steps[node.step as usize];
        let taken = self.alternative(node);
        match (taken as usize) < step.fallback.len() {
            true => vec![Event::FallbackTaken { node, alternative: taken + 1, failure: Box::new(failure) }],
            false => self.fails_or_asks(node, failure, now),
        }
    }
    /// How many of its alternatives this has come to.
    pub fn alternative(&self, node: Node) -> u32 {
        let work = self.steps.get(node.step as usize).and_then(|step| step.node(node.item));
        work.map_or(0, |work| work.alternative)
    }
    /// Which candidate the next attempt goes to, where a call is one by capability: each failure moves on. A crash
    /// does not, so that whoever may have done it already is asked again, under the same key.
    pub(super) fn turn(&self, node: Node, work: &NodeState) -> u32 {
        match self.plan.call_at(node.step, work.alternative) {
            Some((_, Callee::Capability(_))) if work.alternative == 0 => work.turns,
            _ => 0,
        }
    }
    /// Which candidate the attempt under way went to.
    pub fn candidate(&self, node: Node) -> u32 {
        let work = self.steps.get(node.step as usize).and_then(|step| step.node(node.item));
        work.map_or(0, |work| work.turn)
    }
    /// The alternative that this has come to.
    pub(super) fn taken(&self, node: Node) -> Option<&Alternative> {
        let last = self.alternative(node).checked_sub(1)?;
        self.plan.steps.get(node.step as usize)?.fallback.get(last as usize)
    }
    /// What the last attempt failed with, as an expression sees it.
    pub(super) fn last_failure(&self, node: Node) -> Value {
        let work = self.steps.get(node.step as usize).and_then(|step| step.node(node.item));
        match work.and_then(|work| work.attempts.last()).map(|last| &last.end) {
            Some(AttemptNote::Failed(failure)) => failure_value(failure),
            _ => Value::Null,
        }
    }
    /// A value that stands for what failed.
    pub(super) fn compute_fallback(&self, node: Node, values: &Values) -> Vec<Event> {
        let Some(Alternative::Value(template)) = self.taken(node) else { return Vec::new() };
        let value = self
            .node_scope(node, values)
            .map_err(|fault| self.expression_failure(&fault, node.step, "fallback"))
            .and_then(|mut scope| {
                scope.error = self.last_failure(node);
                self.computed(template, &scope, (node.step, "fallback"))
            });
        self.ends_with(node, value)
    }
}
