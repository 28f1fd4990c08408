//! How a run ends: one terminal event, and every step with exactly one ending before it.

use super::Run;
use super::event::{CancelReason, Event, Finish, Payload, RunError, SkipReason};
use super::scope::Values;
use super::state::{Phase, StepState};
use crate::json::Json;
use crate::outcome::{Failure, FailureKind};
use crate::plan::{OnStepFailure, Part};
use crate::planted::{self, Bug};
use crate::time::{Span, Timestamp};
use crate::value::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Run {
    /// Whether nothing new may start.
    pub(super) fn is_ending(&self) -> bool {
        let cancelled = self.cancel.is_some() && !planted::is(Bug::CancelLost);
        cancelled || (self.failing.is_some() && self.plan.on_step_failure == OnStepFailure::FailFast)
    }

    /// Ends a run that was cancelled or whose step failed.
    pub(super) fn decide_end(&self) -> Vec<Event> {
        match (&self.cancel, &self.failing) {
            (Some(cancel), _) => {
                let mut events = self.sweep(CancelReason::Requested, None);
                events.push(match cancel.force {
                    true => Event::RunFinished { finish: Finish::Cancelled, output: None, error: None },
                    false => self.over(Finish::Cancelled, None, None),
                });
                events
            }
            (None, failing) => {
                let culprit = failing.as_ref().and_then(|e| e.node).map(|n| n.step);
                let mut events = self.sweep(CancelReason::RunFailing, culprit);
                events.push(self.failed(failing.clone()));
                events
            }
        }
    }

    /// Ends a run whose time is up.
    pub(super) fn decide_deadline(&self) -> Vec<Event> {
        let total = self.total_ms();
        let message = match (self.started, self.accepted.as_ref().and_then(|a| a.deadline)) {
            (None, Some(at)) => format!("the run had not begun by its deadline, {}", at.rfc3339()),
            _ => format!("the run was not done within {}", Span(total)),
        };
        let failure = Failure::new(FailureKind::DeadlineExceeded, message);
        let mut events = self.sweep(CancelReason::RunDeadline, None);
        events.push(self.failed(Some(Box::new(RunError { failure, node: None, attempt: None }))));
        events
    }
    pub(super) fn total_ms(&self) -> u64 {
        let own = self.plan.total.map_or(self.limits.run_wall_ms, |t| t.0);
        let given = self.accepted.as_ref().and_then(|accepted| accepted.deadline);
        match (given, self.started) {
            (Some(given), Some(started)) => own.min(given.since_ms(started)),
            _ => own,
        }
    }
    /// When the run must have ended.
    pub(super) fn deadline(&self) -> Timestamp {
        self.started.unwrap_or(self.created).plus_ms(self.total_ms())
    }

    fn failed(&self, error: Option<Box<RunError>>) -> Event {
        self.over(Finish::Failed, None, error)
    }

    /// An ending for every step that has none.
    fn sweep(&self, reason: CancelReason, culprit: Option<u32>) -> Vec<Event> {
        let open = self.steps.iter().enumerate().filter(|(_, s)| s.phase.ending().is_none());
        let open = open.filter(|(index, _)| self.plan.steps[*index].part == Part::Main);
        open.map(|(index, state)| {
            let step = index as u32;
            match (&state.phase, culprit) {
                (Phase::Blocked | Phase::Ready, Some(culprit)) => {
                    Event::StepSkipped { step, reason: SkipReason::RunFailing(culprit) }
                }
                _ => Event::StepCancelled { step, reason },
            }
        })
        .collect()
    }

    /// Every step has ended, and nothing stopped the run.
    pub(super) fn decide_success(&self, values: &Values) -> Vec<Event> {
        if self.failing.is_some() {
            return vec![self.failed(self.failing.clone())];
        }
        let value = match &self.plan.output {
            Some(template) => template.eval(&self.scope(values), &mut self.budget()),
            None => Ok(self.default_output(values)),
        };
        match value {
            Ok(value) => {
                let output = Some(Payload::Inline(Json::from_value(value)));
                vec![self.over(Finish::Succeeded, output, None)]
            }
            Err(fault) => {
                let failure = self.expression_failure(&fault, u32::MAX, "as");
                vec![self.failed(Some(Box::new(RunError { failure, node: None, attempt: None })))]
            }
        }
    }

    /// The steps that nothing waits for.
    pub(super) fn final_steps(&self) -> BTreeSet<u32> {
        self.plan.of_part(Part::Main).filter(|&s| self.plan.dependents[s as usize].is_empty()).collect()
    }

    /// Without `output`: what the steps gave that nothing waits for, by their ids.
    fn default_output(&self, values: &Values) -> Value {
        let last = self.final_steps();
        let outputs = last
            .iter()
            .filter_map(|&s| Some((Arc::<str>::from(self.step_id(s)), self.output_of(s, values).ok()?)));
        Value::map(outputs.collect::<Vec<_>>())
    }
}

impl StepState {
    /// Whether the step has ended.
    pub fn has_ended(&self) -> bool {
        self.phase.ending().is_some()
    }
}
