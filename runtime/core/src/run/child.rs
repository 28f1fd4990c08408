//! Steps that run another workflow. The child is a run of its own: it has its own journal, and any node may drive it.
//!
//! An attempt of such a step is open for as long as its child runs. It is in no sandbox and holds no place on the node,
//! so a host that goes away does not interrupt it, and a run that waits for nothing else is parked. The child's id
//! follows from the attempt, so asking for it twice is asking once; its end comes as a message that is written together
//! with it.

use super::event::{Node, Payload, RunError};
use super::scope::Values;
use super::state::AttemptNote;
use super::{Action, Ended, Run};
use crate::id::RunId;
use crate::json::Json;
use crate::outcome::{Failure, FailureKind};
use crate::plan::{ChildWorkflow, OnParentCancel, Verb, WorkflowRef};
use crate::planted::{self, Bug};
use crate::time::Timestamp;
use crate::value::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The child that an attempt asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its id.
    pub run: RunId,
    /// What it runs.
    pub workflow: WantedWorkflow,
    /// Its input.
    pub input: Json,
    /// What it may call at most, where that is bounded.
    pub may_call: Option<Vec<Arc<str>>>,
    /// When it must have ended: no later than its parent.
    pub deadline: Timestamp,
    /// How many runs stand above it.
    pub depth: u32,
}

/// What a child runs.
#[derive(Clone, Debug)]
pub enum WantedWorkflow {
    /// A published workflow.
    Published(WorkflowRef),
    /// The workflow that a step has made, as it made it.
    Made(Value),
}

/// A child that nobody waits for any more, and that is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The child.
    pub run: RunId,
    /// Who has left it.
    pub left_by: LeftBy,
    /// Whether it must end at once.
    pub force: bool,
}

/// Who waits for a child no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftBy {
    /// The step that asked for it; its run goes on.
    Step,
    /// The run, which ends.
    Run,
}

impl LeftBy {
    /// Why the child is told to end.
    pub fn reason(self) -> &'static str {
        match self {
            LeftBy::Step => "the step that asked for it goes on without it",
            LeftBy::Run => "the run that asked for it is ending",
        }
    }
}

/// The id of the run that this attempt asks for. It ascends in time like any other, and is always the same.
pub fn child_id(parent: RunId, node: Node, attempt: u32, began: Timestamp) -> RunId {
    let mut hash = Sha256::new();
    hash.update(parent.0.to_be_bytes());
    for part in [node.step, node.item.unwrap_or(u32::MAX), attempt] {
        hash.update(part.to_be_bytes());
    }
    let mut bytes: [u8; 16] = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    let random = u128::from_be_bytes(bytes) & !(0xFFFF_FFFF_FFFF_u128 << 80);
    let time = u128::from(began.0 & 0xFFFF_FFFF_FFFF) << 80;
    // The marks of a UUID of version 7.
    let marked = (time | random) & !(0xF000_u128 << 64) | (0x7000_u128 << 64);
    RunId(marked & !(0xC000_u128 << 48) | (0x8000_u128 << 48))
}

impl Run {
    /// Whether this step runs another workflow.
    pub(super) fn runs_child(&self, step: u32) -> bool {
        matches!(self.plan.steps.get(step as usize).map(|s| &s.verb), Some(Verb::Workflow(_)))
    }
    /// What is owed while this attempt is open.
    pub(super) fn work_of(&self, node: Node, attempt: u32) -> Action {
        match self.runs_child(node.step) {
            true => Action::Child { node, attempt },
            false => Action::Invoke { node, attempt },
        }
    }
    /// The child of an attempt that has begun.
    pub fn child_of(&self, node: Node, attempt: u32) -> Option<RunId> {
        let work =
            self.steps.get(node.step as usize).filter(|_| self.runs_child(node.step))?.node(node.item)?;
        let began = work.attempts.iter().find(|known| known.attempt == attempt)?.started;
        Some(child_id(self.id, self.plan.counted(node), attempt, began))
    }

    /// What an attempt asks for.
    ///
    /// # Errors
    /// `expression_failed` with the expression's own fault, `quota_exceeded` past the limit of runs below runs, or
    /// `internal` where the run cannot have such an attempt.
    pub fn wanted_child(&self, node: Node, attempt: u32, values: &Values) -> Result<Wanted, Failure> {
        let internal = || Failure::new(FailureKind::Internal, "the step runs no workflow");
        let Some(Verb::Workflow(child)) = self.plan.steps.get(node.step as usize).map(|s| &s.verb) else {
            return Err(internal());
        };
        let run = self.child_of(node, attempt).ok_or_else(internal)?;
        let parent = self.accepted.as_ref().and_then(|accepted| accepted.parent.as_ref());
        let depth = parent.map_or(0, |parent| parent.depth) + 1;
        if u64::from(depth) > self.limits.child_depth {
            let message = format!(
                "this run has {} runs above it; the limit child_depth is {}",
                depth - 1,
                self.limits.child_depth
            );
            return Err(Failure::new(FailureKind::QuotaExceeded, message));
        }
        let scope =
            self.node_scope(node, values).map_err(|f| self.expression_failure(&f, node.step, "with"))?;
        let given = |place, template: &crate::expr::Template| {
            template
                .eval(&scope, &mut self.budget())
                .map_err(|fault| self.expression_failure(&fault, node.step, place))
        };
        let input = match self.ordered_input(node) {
            Some(input) => input.clone(),
            None => Json::from_value(given("with", &child.with)?),
        };
        let bounded = parent.and_then(|parent| parent.may_call.clone());
        let (workflow, may_call) = match &child.workflow {
            ChildWorkflow::Published(reference) => (WantedWorkflow::Published(reference.clone()), bounded),
            ChildWorkflow::Made(template) => {
                let allowed = child.allow.clone().unwrap_or_else(|| self.plan.may_call());
                (WantedWorkflow::Made(given("workflow.from", template)?), Some(allowed))
            }
        };
        let own = match child.on_parent_cancel {
            // It goes on without its parent, so a default for all steps is not its time.
            OnParentCancel::Leave => None,
            OnParentCancel::Cancel => self.plan.steps[node.step as usize].timeouts.run,
        };
        let deadline = match (own, self.began_at(node, attempt)) {
            (Some(time), Some(began)) => began.plus_ms(time.0).min(self.deadline()),
            _ => self.deadline(),
        };
        Ok(Wanted { run, workflow, input, may_call, deadline, depth })
    }
    fn began_at(&self, node: Node, attempt: u32) -> Option<Timestamp> {
        let work = self.steps.get(node.step as usize)?.node(node.item)?;
        work.attempts.iter().find(|known| known.attempt == attempt).map(|known| known.started)
    }

    /// Children that have been left alone since this was asked last: they are told to end in the append that says so.
    pub fn take_orphans(&mut self) -> Vec<Orphan> {
        std::mem::take(&mut self.orphans)
    }
    /// A step ends while it has this child.
    pub(super) fn leave_child(&mut self, node: Node) {
        let Some(Verb::Workflow(child)) = self.plan.steps.get(node.step as usize).map(|s| &s.verb) else {
            return;
        };
        if child.on_parent_cancel == OnParentCancel::Leave || planted::is(Bug::ChildForgotten) {
            return;
        }
        let open = self.steps[node.step as usize].node(node.item).and_then(|work| work.attempts.last());
        let open = open.filter(|last| matches!(last.end, AttemptNote::Open)).map(|last| last.attempt);
        let force = self.cancel.as_ref().is_some_and(|cancel| cancel.force);
        if let Some(run) = open.and_then(|attempt| self.child_of(node, attempt)) {
            let left_by = if self.is_ending() { LeftBy::Run } else { LeftBy::Step };
            self.orphans.push(Orphan { run, left_by, force });
        }
    }

    /// How this run ended, as the attempt that asked for it takes it.
    pub fn end_as_child(&self) -> Option<Ended> {
        let finished = self.finished.as_ref()?;
        let failed = |error: &RunError| {
            let place = error.node.map(|node| format!(" in `{}`", self.step_id(node.step)));
            let message =
                format!("run {} failed{}: {}", self.id, place.unwrap_or_default(), error.failure.message);
            Failure { message, ..error.failure.clone() }
        };
        Some(match (finished.finish, &finished.error) {
            (super::event::Finish::Succeeded, _) => {
                Ended::Done(finished.output.clone().unwrap_or(Payload::Inline(Json::null())))
            }
            (super::event::Finish::Failed, Some(error)) => Ended::Failed(failed(error)),
            _ => {
                let message = format!("run {} was cancelled", self.id);
                Ended::Failed(Failure::new(FailureKind::Cancelled, message))
            }
        })
    }
}
