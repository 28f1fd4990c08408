//! What a run waits for before it begins: a time, and slots that only so many runs may have at once. `RunStarted` is the
//! fact that all of it has come. The slots are given out by the store, in the transaction that takes them from others;
//! what is decided here is when they are asked for, and that nothing begins without them.

use super::event::{Accepted, Event, Place, Queueing, SlotWish};
use super::{Action, Run, Timer};
use crate::expr::{EvalFault, Scope, Template};
use crate::id::RunId;
use crate::json::Json;
use crate::limits::Limits;
use crate::plan::admission::{LEVEL, level_of};
use crate::plan::wait::time_of;
use crate::plan::{OnDuplicate, Plan, SlotScope};
use crate::planted::{self, Bug};
use crate::time::{Span, Timestamp};
use crate::value::Value;
use std::sync::Arc;

/// How a workflow lets in a run with this input.
#[derive(Clone, Debug, PartialEq)]
pub struct Admission {
    /// The slots that it wants.
    pub slots: Vec<SlotWish>,
    /// Where it stands among those that wait.
    pub place: Place,
    /// The key under which its wish is the same wish again, how long, and what becomes of that.
    pub idempotency: Option<(Arc<str>, Span, OnDuplicate)>,
    /// When it must have ended.
    pub deadline: Option<Timestamp>,
}

/// Why a workflow's rules say nothing about a run. The path is that of the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct AdmissionFault {
    /// JSON pointer into the workflow.
    pub path: String,
    /// What is wrong.
    pub why: String,
}

/// How the plan's workflow lets in a run that is accepted so, with this input.
///
/// # Errors
/// An expression without a value, or with one that is no key and no level.
pub fn admission(
    plan: &Arc<Plan>,
    (run, accepted): (RunId, &Accepted),
    input: &Json,
    limits: &Arc<Limits>,
) -> Result<Admission, AdmissionFault> {
    let name: Arc<str> = plan.full_name().into();
    let mut admission = Admission {
        slots: Vec::new(),
        place: Place { level: LEVEL, fairness_key: name.clone(), weight: 1.0 },
        idempotency: None,
        deadline: None,
    };
    if plan.admission.is_silent() {
        return Ok(admission);
    }
    let seen = Seen { input, accepted, run, plan };
    let text = |template: &Template, path: String| key_of(template, &seen, limits, path);
    for (index, rule) in plan.admission.concurrency.iter().enumerate() {
        let scope = match rule.scope {
            SlotScope::Workflow => &*name,
            SlotScope::Namespace => &*plan.namespace,
            SlotScope::Tenant => "",
        };
        let path = || format!("/concurrency/{index}/key");
        let own = rule.key.as_ref().map(|key| text(key, path())).transpose()?.unwrap_or_default();
        let wish =
            SlotWish { key: format!("{scope}:{own}").into(), limit: rule.limit, on_limit: rule.on_limit };
        match admission.slots.iter_mut().find(|other| other.key == wish.key) {
            // The narrower of two rules that mean the same slots.
            Some(other) if other.limit > wish.limit => *other = wish,
            Some(_) => {}
            None => admission.slots.push(wish),
        }
    }
    if let Some(priority) = &plan.admission.priority {
        if let Some(level) = &priority.level {
            admission.place.level = level_at(level, &seen, limits)?;
        }
        if let Some(key) = &priority.fairness_key {
            admission.place.fairness_key = text(key, "/priority/fairnessKey".to_owned())?.into();
        }
        admission.place.weight = priority.weight;
    }
    if let Some(rule) = &plan.admission.idempotency {
        let own = text(&rule.key, "/idempotency/key".to_owned())?;
        admission.idempotency = Some((format!("{name}:{own}").into(), rule.ttl, rule.on_duplicate));
    }
    if let Some(deadline) = &plan.admission.deadline {
        let fault = |why| AdmissionFault { path: "/deadline".to_owned(), why };
        let value = computed(deadline, &seen, limits).map_err(|why| fault(why.to_string()))?;
        admission.deadline = match value {
            // A run whose input names none has none.
            Value::Null => None,
            value => Some(time_of(&value).map_err(fault)?),
        };
    }
    Ok(admission)
}

fn level_at(level: &Template, seen: &Seen<'_>, limits: &Limits) -> Result<u8, AdmissionFault> {
    let fault = |why| AdmissionFault { path: "/priority/level".to_owned(), why };
    let value = computed(level, seen, limits).map_err(|why| fault(why.to_string()))?;
    let wrong = || {
        fault(format!(
            "{} is no level: these are whole numbers from 1 to 5",
            Json::from_value(value.clone()).text()
        ))
    };
    level_of(&value).ok_or_else(wrong)
}

fn key_of(
    template: &Template,
    seen: &Seen<'_>,
    limits: &Limits,
    path: String,
) -> Result<String, AdmissionFault> {
    let value = match computed(template, seen, limits) {
        Ok(value) => value,
        Err(why) => return Err(AdmissionFault { path, why: why.to_string() }),
    };
    key_text(&value, limits).map_err(|why| AdmissionFault { path, why })
}

/// A key, where the value is one; otherwise why it is none.
pub(crate) fn key_text(value: &Value, limits: &Limits) -> Result<String, String> {
    let key = match value {
        Value::String(text) => text.to_string(),
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Number(_) => {
            Json::from_value(value.clone()).text().to_owned()
        }
        other => {
            return Err(format!(
                "a key is text, a number or a truth value, and this is {}",
                other.type_name()
            ));
        }
    };
    if key.len() as u64 > limits.flow_key_bytes {
        return Err(format!(
            "the key has {} bytes; the limit flow_key_bytes is {}",
            key.len(),
            limits.flow_key_bytes
        ));
    }
    Ok(key)
}

fn computed(template: &Template, seen: &Seen<'_>, limits: &Limits) -> Result<Value, EvalFault> {
    template.eval(seen, &mut crate::expr::Budget::new(limits))
}

/// A run of which nothing is known but how it is accepted.
struct Seen<'a> {
    input: &'a Json,
    accepted: &'a Accepted,
    run: RunId,
    plan: &'a Plan,
}

impl Scope for Seen<'_> {
    fn input(&self) -> Value {
        self.input.value().clone()
    }
    fn run(&self) -> Value {
        super::scope::run_value(self.run, self.accepted, self.plan)
    }
    fn error(&self) -> Value {
        Value::Null
    }
    fn step_output(&self, _step: u32) -> Result<Value, EvalFault> {
        Err(EvalFault::Missing("steps".to_owned()))
    }
    fn step_status(&self, _step: u32) -> &'static str {
        "pending"
    }
    fn step_error(&self, _step: u32) -> Value {
        Value::Null
    }
    fn var(&self, _slot: usize) -> Value {
        Value::Null
    }
}

impl Run {
    /// What the run waits for, while it has not begun.
    pub fn held_back(&self) -> Option<&Queueing> {
        let begins = self.started.is_some() || self.finished.is_some();
        self.accepted.as_ref()?.queue.as_deref().filter(|_| !begins)
    }
    /// The slots that the run wants now: those that it was accepted with, once its time has come.
    pub fn wants_slots(&self) -> &[SlotWish] {
        match self.held_back() {
            Some(queue) if self.is_due(queue) => &queue.slots,
            _ => &[],
        }
    }
    fn is_due(&self, queue: &Queueing) -> bool {
        self.due || queue.start_at.is_none()
    }
    /// A node takes the run for the first time.
    pub(super) fn decide_begin(&self, now: Timestamp) -> Vec<Event> {
        match self.held_back() {
            Some(_) if !planted::is(Bug::SlotIgnored) => Vec::new(),
            _ => self.begins(now),
        }
    }
    /// It begins, unless it should have ended by now.
    fn begins(&self, now: Timestamp) -> Vec<Event> {
        match self.accepted.as_ref().and_then(|accepted| accepted.deadline) {
            Some(deadline) if deadline <= now => self.decide_deadline(),
            _ => vec![Event::RunStarted {}],
        }
    }
    /// The store has given it every slot that it asked for.
    pub(super) fn decide_admitted(&self, now: Timestamp) -> Vec<Event> {
        match self.wants_slots() {
            [] => Vec::new(),
            _ => self.begins(now),
        }
    }
    pub(super) fn decide_start_due(&self, now: Timestamp) -> Vec<Event> {
        let queue = self.held_back().filter(|_| !self.due);
        match queue.map(|queue| (queue.start_at, queue.slots.is_empty())) {
            Some((Some(at), _)) if now < at => Vec::new(),
            Some((Some(_), true)) => self.begins(now),
            Some((Some(_), false)) => vec![Event::RunDue {}],
            _ => Vec::new(),
        }
    }
    /// It is accepted: what it waits for is owed from now on.
    pub(super) fn is_accepted(&mut self, accepted: &Arc<Accepted>, at: Timestamp) {
        self.created = at;
        self.accepted = Some(accepted.clone());
        let Some(queue) = &accepted.queue else { return };
        if let Some(at) = queue.start_at {
            self.owe(Action::Wake { timer: Timer::Start, at });
        }
        if let Some(at) = accepted.deadline {
            self.owe(Action::Wake { timer: Timer::RunTotal, at });
        }
    }
    /// It has begun, or wants only its slots any more.
    pub(super) fn queue_over(&mut self, began: bool) {
        let Some(accepted) = self.accepted.clone() else { return };
        if let Some(at) = accepted.queue.as_ref().and_then(|queue| queue.start_at) {
            self.drop_action(Action::Wake { timer: Timer::Start, at });
        }
        if let Some(at) = accepted.deadline.filter(|_| began && accepted.queue.is_some()) {
            self.drop_action(Action::Wake { timer: Timer::RunTotal, at });
        }
    }
}
