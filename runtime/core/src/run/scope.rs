//! What an expression of a run can see, and which values must be fetched before it can.

use super::event::{Accepted, Node, Payload};
use super::state::{MapState, Phase, Stage, StepState};
use super::{Run, lists};
use crate::expr::{Budget, EvalFault, Scope};
use crate::id::{Digest, RunId};
use crate::json::Json;
use crate::outcome::{Failure, FailureKind};
use crate::plan::{Alternative, Part, Plan, Verb};
use crate::value::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The values that are kept by digest and have been fetched.
#[derive(Debug, Default)]
pub struct Values {
    by_digest: HashMap<Digest, Json>,
}

impl Values {
    /// Adds a fetched value.
    pub fn insert(&mut self, digest: Digest, value: Json) {
        self.by_digest.insert(digest, value);
    }
    /// Whether it has been fetched.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.by_digest.contains_key(digest)
    }
    /// Bytes held.
    pub fn size(&self) -> usize {
        self.by_digest.values().map(Json::size).sum()
    }
    /// Forgets everything; it can be fetched again.
    pub fn clear(&mut self) {
        self.by_digest.clear();
    }
    /// The value that a payload means, where it is here.
    pub fn get(&self, payload: &Payload) -> Option<Json> {
        match payload {
            Payload::Inline(json) => Some(json.clone()),
            Payload::Stored { digest, .. } => self.by_digest.get(digest).cloned(),
            Payload::Derived => None,
        }
    }
}

/// A run as one expression sees it.
pub(super) struct RunScope<'a> {
    pub(super) run: &'a Run,
    pub(super) values: &'a Values,
    /// What the step binds: an item and its index, that of the list around it first, or a signal and its number.
    pub(super) bound: Vec<Value>,
    pub(super) error: Value,
}

impl Run {
    pub(super) fn scope<'a>(&'a self, values: &'a Values) -> RunScope<'a> {
        let error = match self.part {
            Part::Main => Value::Null,
            _ => self.ending_error(),
        };
        RunScope { run: self, values, bound: Vec::new(), error }
    }
    /// Why the run fails, as what follows its steps sees it: a failure, with the step that it came from.
    fn ending_error(&self) -> Value {
        let Some(error) = self.ending.as_ref().and_then(|ending| ending.error.as_ref()) else {
            return Value::Null;
        };
        let Value::Map(members) = failure_value(&error.failure) else { return Value::Null };
        let mut members = (*members).clone();
        let step = error.node.map(|node| Value::text(self.step_id(node.step)));
        members.insert("step".into(), step.unwrap_or_default());
        let number = |n: Option<u32>| n.map(|n| Value::Int(i64::from(n))).unwrap_or_default();
        members.insert("item".into(), number(error.node.and_then(|node| node.item)));
        members.insert("attempt".into(), number(error.attempt));
        Value::Map(Arc::new(members))
    }
    pub(super) fn budget(&self) -> Budget {
        Budget::new(&self.limits)
    }

    /// The values that the next decision reads and that have not been fetched.
    pub fn needs(&self, values: &Values) -> Vec<Digest> {
        if self.finished.is_some() {
            return Vec::new();
        }
        if self.ending.is_none() && self.open_steps == 0 && self.failing.is_none() && self.cancel.is_none() {
            return match &self.plan.output {
                Some(output) => self.missing(&output.reads, values),
                None => self.missing(&self.final_steps(), values),
            };
        }
        let still = self.paused.is_some();
        if let Some(&step) = self.to_decide.first().filter(|_| !still) {
            return self.missing(&self.plan.steps[step as usize].reads, values);
        }
        let Some(&step) = self.to_match.first() else {
            let computed = self.to_compute.first().filter(|_| !still);
            return computed.map(|node| self.needs_for(*node, values)).unwrap_or_default();
        };
        let mut missing = self.missing(&self.plan.steps[step as usize].reads, values);
        if let Some(Payload::Stored { digest, .. }) = self.signal_payload(step)
            && !values.contains(digest)
        {
            missing.push(*digest);
        }
        missing
    }
    /// The values that a step's input reads and that have not been fetched.
    pub fn needs_for(&self, node: Node, values: &Values) -> Vec<Digest> {
        self.plan.steps.get(node.step as usize).map(|s| self.missing(&s.reads, values)).unwrap_or_default()
    }
    fn missing(&self, reads: &BTreeSet<u32>, values: &Values) -> Vec<Digest> {
        let mut missing = Vec::new();
        let mut want = |payload: &Payload| {
            if let Payload::Stored { digest, .. } = payload
                && !values.contains(digest)
            {
                missing.push(*digest);
            }
        };
        if let Some(accepted) = &self.accepted {
            want(&accepted.input);
        }
        let undone = self.undoes_now();
        for (index, step) in reads.iter().filter_map(|&s| Some((s, self.steps.get(s as usize)?))) {
            if let Stage::Succeeded(payload) = &step.work.stage {
                want(payload);
            }
            // A list that did not end well is read by what undoes it.
            let read = step.phase == Phase::Succeeded || undone == Some(index);
            if let Some(map) = step.map.as_ref().filter(|m| read && m.aggregate.get().is_none()) {
                for item in &map.items {
                    if let Stage::Succeeded(payload) = &item.stage {
                        want(payload);
                    }
                }
            }
        }
        missing
    }

    /// The input of an attempt: `with`, computed from what the run has so far.
    ///
    /// # Errors
    /// `expression_failed`, with the expression's own fault, or `internal` where the run cannot have such an attempt.
    pub fn input_of(&self, node: Node, values: &Values) -> Result<Json, Failure> {
        let step = self.plan.steps.get(node.step as usize);
        let with = match (self.taken(node), step.map(|s| &s.verb)) {
            (Some(Alternative::Call { with: Some(with), .. }), _) => with,
            (_, Some(Verb::Call { with, .. })) => match self.ordered_input(node) {
                Some(input) => return Ok(input.clone()),
                None => with,
            },
            _ => return Err(Failure::new(FailureKind::Internal, "the step calls nothing")),
        };
        let mut scope =
            self.node_scope(node, values).map_err(|f| self.expression_failure(&f, node.step, "with"))?;
        if self.alternative(node) > 0 {
            scope.error = self.last_failure(node);
        }
        with.eval(&scope, &mut self.budget())
            .map(Json::from_value)
            .map_err(|f| self.expression_failure(&f, node.step, "with"))
    }

    /// What somebody has had the step tried with.
    pub(super) fn ordered_input(&self, node: Node) -> Option<&Json> {
        self.steps.get(node.step as usize)?.node(node.item)?.input.as_ref()
    }

    /// The scope of a step's own expressions; for an item, with the item bound.
    pub(super) fn node_scope<'a>(
        &'a self,
        node: Node,
        values: &'a Values,
    ) -> Result<RunScope<'a>, EvalFault> {
        let mut scope = self.scope(values);
        if let Some(index) = node.item {
            let (list, _) = self.list_of(node.step, values)?;
            let item = list
                .get(index as usize)
                .cloned()
                .ok_or_else(|| EvalFault::Missing(format!("item {index}")))?;
            scope.bound = match item {
                Value::List(bound) if self.is_nested(node.step) => bound.to_vec(),
                item => vec![item, Value::Int(i64::from(index))],
            };
        }
        Ok(scope)
    }

    pub(super) fn expression_failure(&self, fault: &EvalFault, step: u32, place: &str) -> Failure {
        let id = self.plan.steps.get(step as usize).map_or("output", |s| &s.id);
        Failure::new(FailureKind::ExpressionFailed, format!("{fault} (in `{place}` of `{id}`)"))
    }

    /// The output of a step, where it has one.
    pub fn output_of(&self, step: u32, values: &Values) -> Result<Value, EvalFault> {
        let missing = |why| EvalFault::NoOutput { step: self.step_id(step).to_owned(), why };
        let Some(state) = self.steps.get(step as usize) else { return Err(missing("no such step")) };
        if let Some(value) = state.stand_in() {
            return Ok(value.value().clone());
        }
        match &state.phase {
            Phase::Succeeded => {}
            Phase::Failed(_) | Phase::Cancelled(_)
                if self.undoes_now() == Some(step) && state.map.is_some() => {}
            Phase::Skipped(_) => return Err(missing("the step was skipped")),
            Phase::Failed(_) => return Err(missing("the step failed")),
            Phase::Cancelled(_) => return Err(missing("the step was cancelled")),
            _ => return Err(missing("the step has not ended")),
        }
        if let Some(map) = &state.map {
            return lists::aggregate(state, map, values).ok_or_else(|| missing("its items are not at hand"));
        }
        match &state.work.stage {
            Stage::Succeeded(payload) => {
                values.get(payload).map(|j| j.value().clone()).ok_or_else(|| missing("it is not at hand"))
            }
            _ => Err(missing("the step has none")),
        }
    }
    pub(super) fn step_id(&self, step: u32) -> &str {
        self.plan.steps.get(step as usize).map_or("?", |s| &s.id)
    }
}

/// What an expression sees of the run as a whole.
pub(super) fn run_value(run: RunId, accepted: &Accepted, plan: &Plan) -> Value {
    let labels = accepted.labels.iter().map(|(key, value)| (key.as_str(), Value::text(value.as_str())));
    Value::map([
        ("id", Value::text(run.to_string())),
        ("tenant", Value::text(accepted.tenant.0.clone())),
        ("workflow", Value::text(plan.full_name())),
        ("version", Value::text(plan.version.to_string())),
        ("scheduledAt", accepted.scheduled_at().map(Value::text).unwrap_or_default()),
        ("labels", Value::map(labels)),
    ])
}

impl Scope for RunScope<'_> {
    fn input(&self) -> Value {
        self.run
            .accepted
            .as_ref()
            .and_then(|a| self.values.get(&a.input))
            .map(|j| j.value().clone())
            .unwrap_or_default()
    }
    fn run(&self) -> Value {
        let accepted = self.run.accepted.as_ref();
        accepted.map_or(Value::Null, |accepted| run_value(self.run.id, accepted, &self.run.plan))
    }
    fn error(&self) -> Value {
        self.error.clone()
    }
    fn step_output(&self, step: u32) -> Result<Value, EvalFault> {
        self.run.output_of(step, self.values)
    }
    fn step_status(&self, step: u32) -> &'static str {
        self.run.steps.get(step as usize).map_or("pending", StepState::word)
    }
    fn step_error(&self, step: u32) -> Value {
        match self.run.steps.get(step as usize).map(|s| &s.phase) {
            Some(Phase::Failed(failure)) => failure_value(failure),
            _ => Value::Null,
        }
    }
    fn step_errors(&self, step: u32) -> Value {
        let state = self.run.steps.get(step as usize);
        let map = state.filter(|state| state.has_ended()).and_then(|state| state.map.as_ref());
        let none = || Value::list(Vec::new());
        map.map_or_else(none, |map| map.errors.get_or_init(|| item_errors(map)).clone())
    }
    fn var(&self, slot: usize) -> Value {
        self.bound.get(slot).cloned().unwrap_or_default()
    }
}

/// The failures of the items, in the order of the list, each with the item that it is of.
fn item_errors(map: &MapState) -> Value {
    let failed = (0..).zip(&map.items).filter_map(|(index, item)| match &item.stage {
        Stage::Failed(failure) => Some(with_index(failure_value(failure), index)),
        _ => None,
    });
    Value::list(failed.collect())
}

fn with_index(failure: Value, index: i64) -> Value {
    let Value::Map(members) = failure else { return failure };
    let mut members = (*members).clone();
    members.insert("index".into(), Value::Int(index));
    Value::Map(Arc::new(members))
}

/// A failure as an expression sees it.
pub(super) fn failure_value(failure: &Failure) -> Value {
    Value::map([
        ("kind", Value::text(failure.kind.word())),
        ("code", failure.code.as_deref().map(Value::text).unwrap_or_default()),
        ("message", Value::text(failure.message.as_str())),
        ("retryable", Value::Bool(failure.retryable)),
        ("retryAfterMs", failure.retry_after_ms.map(|ms| Value::Int(ms as i64)).unwrap_or_default()),
        ("data", failure.data.as_ref().map(|d| d.value().clone()).unwrap_or_default()),
    ])
}

impl StepState {
    /// The word of the API for where the step stands.
    pub fn word(&self) -> &'static str {
        match &self.phase {
            Phase::Blocked | Phase::Ready => "pending",
            Phase::Succeeded => "succeeded",
            Phase::Failed(_) => "failed",
            Phase::Skipped(_) => "skipped",
            Phase::Cancelled(_) => "cancelled",
            Phase::Active if self.waiting.is_some() => "waiting",
            Phase::Active => match &self.work.stage {
                Stage::Waiting(..) => "retrying",
                Stage::Queued(_) if self.work.interruptions > 0 => "interrupted",
                _ => "running",
            },
        }
    }
}
