//! What follows from the state: steps whose dependencies have ended are skipped, computed or begun, in order and as
//! far as there is room.

use super::Run;
use super::event::{CacheVerdict, CancelReason, Event, Node, Payload, SkipReason};
use super::scope::Values;
use super::state::{Phase, Stage};
use crate::expr::{EvalFault, Scope, Template};
use crate::json::Json;
use crate::outcome::{Failure, FailureKind, Usage};
use crate::plan::{Emit, OnCrash, Verb};
use crate::time::Timestamp;
use crate::value::Value;
use std::sync::Arc;

impl Run {
    pub(super) fn decide_advance(&self, now: Timestamp, values: &Values) -> Vec<Event> {
        if self.ending.is_none() && self.is_ending() && (self.started.is_some() || self.held_back().is_some())
        {
            return self.decide_end();
        }
        if self.started.is_none() {
            return Vec::new();
        }
        if self.ending.is_some() && self.cancel.as_ref().is_some_and(|cancel| cancel.force) {
            return self.decide_abandon(CancelReason::Requested);
        }
        if self.paused.is_some() {
            // A signal that has come in time has come in time.
            return self.to_match.first().map(|step| self.decide_match(*step, values)).unwrap_or_default();
        }
        if self.ending.is_some() && self.open_steps == 0 {
            return self.decide_part_over();
        }
        if let Some(&step) = self.to_decide.first() {
            return self.decide_step(step, now, values);
        }
        if let Some(&step) = self.to_match.first() {
            return self.decide_match(step, values);
        }
        if let Some(&node) = self.to_compute.first() {
            return self.compute_fallback(node, values);
        }
        if let Some(&step) = self.open_maps.first()
            && self.plan.steps[step as usize].verb.computes().is_some()
        {
            return self.compute_item(step, values);
        }
        if self.has_room() && !self.leaves {
            if let Some(&node) = self.to_start.first() {
                return self.start(node, now);
            }
            if let Some(&step) = self.open_maps.first()
                && let Some(item) = self.steps[step as usize].map.as_ref().and_then(|m| m.next_item())
            {
                return self.start(Node::item(step, item), now);
            }
        }
        if self.open_steps == 0 {
            return self.decide_success(values);
        }
        Vec::new()
    }

    /// Begins an attempt, unless the host has gone away under this work too often.
    fn start(&self, node: Node, now: Timestamp) -> Vec<Event> {
        let Some(work) = self.steps[node.step as usize].node(node.item) else { return Vec::new() };
        if work.interruptions > 0 && self.plan.steps[node.step as usize].on_crash == OnCrash::Fail {
            let message = "the host went away while this was in its sandbox, and `onCrash: fail` says that it must not run twice";
            return self.give_up(node, interrupted(message), now);
        }
        if u64::from(work.interruptions) >= self.limits.interruptions {
            let message = format!(
                "the host went away {} times in a row while this was in its sandbox (limit interruptions)",
                work.interruptions
            );
            return self.give_up(node, interrupted(message), now);
        }
        let attempt = match work.stage {
            Stage::Queued(attempt) => attempt,
            _ => 1,
        };
        let turn = self.turn(node, work);
        vec![Event::AttemptStarted { node, attempt, turn }]
    }

    /// A step of which it is open whether and how it runs.
    fn decide_step(&self, index: u32, now: Timestamp, values: &Values) -> Vec<Event> {
        let (step, state) = (&self.plan.steps[index as usize], &self.steps[index as usize]);
        if let Some(blocker) = self.unaccepted(index) {
            return vec![Event::StepSkipped { step: index, reason: SkipReason::Dependency(blocker) }];
        }
        let fail = |failure: Failure| {
            vec![Event::StepFailed { node: Node::step(index), failure: Box::new(failure) }]
        };
        if step.has_condition() && !state.condition_held {
            return match self.conditions_hold(index, values) {
                Ok(true) => vec![Event::ConditionHeld { step: index }],
                Ok(false) => vec![Event::StepSkipped { step: index, reason: SkipReason::Condition }],
                Err(fault) => fail(self.expression_failure(&fault, index, "when")),
            };
        }
        if let Some(pause) = self.breakpoint(index) {
            return vec![pause];
        }
        if step.map.is_some() {
            return self.open_map(index, values);
        }
        match &step.verb {
            Verb::Set(template) | Verb::Emit(Emit { data: template, .. }) => {
                match self.made(template, &self.scope(values), index) {
                    Ok(value) => vec![succeeded(Node::step(index), value)],
                    Err(failure) => fail(failure),
                }
            }
            Verb::Group(members) => match self.gathered(members, values) {
                Ok(value) => vec![succeeded(Node::step(index), value)],
                Err(failure) => fail(failure),
            },
            Verb::Wait(wait) => self.begin_wait(index, wait, now, values),
            Verb::Approval(approval) => self.begin_approval(index, approval, now),
            Verb::Call { .. } | Verb::Workflow(_) => self.start(Node::step(index), now),
        }
    }

    /// Whether the step's `when` is true, and that of its group.
    fn conditions_hold(&self, index: u32, values: &Values) -> Result<bool, EvalFault> {
        let step = &self.plan.steps[index as usize];
        let around = step.group.and_then(|group| self.plan.steps[group as usize].when.as_ref());
        for when in around.into_iter().chain(&step.when) {
            if !when.eval_bool(&self.scope(values), &mut self.budget())? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The outputs of a group: those of its members that have one. It fails with the first that failed.
    fn gathered(&self, members: &[(Arc<str>, u32)], values: &Values) -> Result<Payload, Failure> {
        for (_, step) in members {
            if let Phase::Failed(failure) = &self.steps[*step as usize].phase {
                let message = format!("`{}` failed: {}", self.step_id(*step), failure.message);
                return Err(Failure { message, ..(**failure).clone() });
            }
        }
        let output =
            |(name, step): &(Arc<str>, u32)| Some((name.clone(), self.output_of(*step, values).ok()?));
        let json = Json::from_value(Value::map(members.iter().filter_map(output).collect::<Vec<_>>()));
        match self.no_room_for(json.size() as u64) {
            None => Ok(Payload::Inline(json)),
            Some(failure) => Err(failure),
        }
    }

    /// A `forEach` gets its list.
    fn open_map(&self, index: u32, values: &Values) -> Vec<Event> {
        let fail = |failure: Failure| {
            vec![Event::StepFailed { node: Node::step(index), failure: Box::new(failure) }]
        };
        let (list, lens) = match self.list_of(index, values) {
            Ok(items) => items,
            Err(fault) => return fail(self.expression_failure(&fault, index, "forEach.in")),
        };
        let (count, id) = (list.len() as u64, self.step_id(index));
        if count > self.limits.fan_out {
            let message =
                format!("the list of `{id}` has {count} items; the limit fan_out is {}", self.limits.fan_out);
            return fail(Failure::new(FailureKind::QuotaExceeded, message));
        }
        if self.known_work + count > self.limits.run_steps {
            let (work, most) = (self.known_work + count, self.limits.run_steps);
            let message = format!(
                "with the {count} items of `{id}` the run has {work} steps; the limit run_steps is {most}"
            );
            return fail(Failure::new(FailureKind::QuotaExceeded, message));
        }
        let mut events = vec![Event::MapStarted { step: index, count: count as u32, lens }];
        if list.is_empty() {
            events.push(succeeded(Node::step(index), Payload::Derived));
        }
        events
    }

    /// One item of a `forEach` that computes instead of calling.
    fn compute_item(&self, index: u32, values: &Values) -> Vec<Event> {
        let (Some(template), Some(map)) =
            (self.plan.steps[index as usize].verb.computes(), &self.steps[index as usize].map)
        else {
            return Vec::new();
        };
        let node = Node::item(index, map.next);
        let value = self
            .node_scope(node, values)
            .map_err(|fault| self.expression_failure(&fault, index, "forEach"))
            .and_then(|scope| self.made(template, &scope, index));
        self.ends_with(node, value)
    }

    /// A step or an item ends with what was computed for it, or because it could not be.
    pub(super) fn ends_with(&self, node: Node, value: Result<Payload, Failure>) -> Vec<Event> {
        match value {
            Err(failure) => self.failed_for_good(node, failure),
            Ok(value) => [succeeded(node, value)].into_iter().chain(self.map_completed(node)).collect(),
        }
    }

    /// What a step computes that does nothing else.
    fn made(&self, template: &Template, scope: &dyn Scope, step: u32) -> Result<Payload, Failure> {
        let verb = &self.plan.steps[step as usize].verb;
        let made = self.computed(template, scope, (step, verb.word()))?;
        match verb {
            Verb::Emit(_) => self.event_too_large(&made).map_or(Ok(made), Err),
            _ => Ok(made),
        }
    }

    /// What a `set` or a value of a `fallback` computes.
    pub(super) fn computed(
        &self,
        template: &Template,
        scope: &dyn Scope,
        (step, place): (u32, &str),
    ) -> Result<Payload, Failure> {
        let value = template.eval(scope, &mut self.budget());
        let json = Json::from_value(value.map_err(|fault| self.expression_failure(&fault, step, place))?);
        match self.no_room_for(json.size() as u64) {
            None => Ok(Payload::Inline(json)),
            Some(failure) => Err(failure),
        }
    }

    /// A dependency that ended in a way that the step does not accept.
    pub(super) fn unaccepted(&self, index: u32) -> Option<u32> {
        self.plan.steps[index as usize]
            .depends
            .iter()
            .find(|d| self.steps[d.step as usize].phase.ending().is_some_and(|e| !d.accepts.contains(&e)))
            .map(|d| d.step)
    }
}

/// The host went away often enough: trying again is what is not wanted.
fn interrupted(message: impl Into<String>) -> Failure {
    Failure { retryable: false, ..Failure::new(FailureKind::Interrupted, message) }
}

pub(super) fn succeeded(node: Node, output: Payload) -> Event {
    Event::StepSucceeded { node, attempt: 0, output, usage: Usage::default(), cache: CacheVerdict::Off }
}
