//! Steps that wait: for a time, until a point in time, for a signal. A wait holds no room and no sandbox.
//!
//! Signals are kept by the run from the moment they come, so that one which comes before anybody waits for it is not
//! lost. Each waiting step looks at each signal of its name once, in their order; what it decided is a fact. A signal
//! is taken by one step.

use super::advance::succeeded;
use super::apply::wrong;
use super::event::{Event, Node, Payload};
use super::scope::Values;
use super::state::{Phase, Signal, Waiting};
use super::{Action, IllegalEvent, Run, Timer};
use crate::expr::EvalFault;
use crate::json::Json;
use crate::outcome::{Failure, FailureKind};
use crate::plan::wait::{span_of, time_of};
use crate::plan::{Verb, Wait};
use crate::planted::{self, Bug};
use crate::time::Timestamp;
use crate::value::Value;
use std::sync::Arc;

impl Run {
    pub(super) fn decide_signal(&self, name: &Arc<str>, data: &Payload, by: &Arc<str>) -> Vec<Event> {
        if self.untaken >= self.limits.signals {
            return Vec::new();
        }
        vec![Event::SignalReceived { name: name.clone(), data: data.clone(), by: by.clone() }]
    }

    /// Whether a step may take this event, now or when it comes to its wait. What no step can take leaves no trace: a
    /// run that listens to what is often said would otherwise be full of what is not meant for it. A `match` has its last
    /// word before its step begins where all that it reads has ended: nothing of that changes any more.
    pub(super) fn wants(&self, name: &Arc<str>, data: &Payload, by: &Arc<str>, values: &Values) -> bool {
        let signal = Signal { name: name.clone(), data: data.clone(), by: by.clone(), taken: false };
        let open = (0u32..).zip(&self.plan.steps).filter(|(step, _)| !self.steps[*step as usize].has_ended());
        let mut waits = open.filter_map(|(_, step)| match &step.verb {
            Verb::Wait(Wait::Signal { name: own, matches, .. }) if own == name => Some((step.part, matches)),
            _ => None,
        });
        let settled = |read: &u32| self.steps[*read as usize].has_ended();
        waits.any(|(part, matches)| match matches {
            Some(matches) if part == self.part && matches.reads.iter().all(settled) => {
                let mut scope = self.scope(values);
                scope.bound = vec![event_value(&signal, values), Value::Int(0)];
                match matches.eval_bool(&scope, &mut self.budget()) {
                    Ok(held) => held,
                    // What the event does not have it will not get.
                    Err(EvalFault::Missing(_)) => false,
                    Err(_) => true,
                }
            }
            _ => true,
        })
    }

    /// Begins a wait. Its end is computed now, and is a fact from then on.
    pub(super) fn begin_wait(&self, step: u32, wait: &Wait, now: Timestamp, values: &Values) -> Vec<Event> {
        let fail =
            |failure: Failure| vec![Event::StepFailed { node: Node::step(step), failure: Box::new(failure) }];
        let wrong_value = |place: &str, why: String| {
            let message = format!("{why} (in `wait.{place}` of `{}`)", self.step_id(step));
            fail(Failure::new(FailureKind::ExpressionFailed, message))
        };
        let until = match wait {
            Wait::Signal { timeout, .. } => timeout.map(|timeout| now.plus_ms(timeout.0)),
            Wait::For(template) => match template.eval(&self.scope(values), &mut self.budget()) {
                Err(fault) => return fail(self.expression_failure(&fault, step, "wait.for")),
                Ok(value) => match span_of(&value) {
                    Ok(span) => Some(now.plus_ms(span.0)),
                    Err(why) => return wrong_value("for", why),
                },
            },
            Wait::Until(template) => match template.eval(&self.scope(values), &mut self.budget()) {
                Err(fault) => return fail(self.expression_failure(&fault, step, "wait.until")),
                Ok(value) => match time_of(&value) {
                    Ok(at) => Some(at),
                    Err(why) => return wrong_value("until", why),
                },
            },
        };
        vec![Event::WaitStarted { step, until }]
    }

    /// A step looks at the first signal that it has not seen.
    pub(super) fn decide_match(&self, step: u32, values: &Values) -> Vec<Event> {
        let Some((index, signal)) = self.unseen(step) else { return Vec::new() };
        let Some(Verb::Wait(Wait::Signal { matches, .. })) =
            self.plan.steps.get(step as usize).map(|s| &s.verb)
        else {
            return Vec::new();
        };
        let held = match matches {
            None => Ok(true),
            Some(matches) => {
                let mut scope = self.scope(values);
                scope.bound = vec![event_value(signal, values), Value::Int(i64::from(index))];
                matches.eval_bool(&scope, &mut self.budget())
            }
        };
        match held {
            Ok(false) => vec![Event::SignalPassed { step, signal: index }],
            Ok(true) => {
                vec![
                    Event::SignalTaken { step, signal: index },
                    succeeded(Node::step(step), signal.data.clone()),
                ]
            }
            // What a stranger sends must not end the run: `event.data.x` where there is no `x` is no match.
            Err(fault) if fault.is_absence() => vec![Event::SignalPassed { step, signal: index }],
            Err(fault) => {
                let failure = self.expression_failure(&fault, step, "wait.match");
                vec![Event::StepFailed { node: Node::step(step), failure: Box::new(failure) }]
            }
        }
    }

    pub(super) fn decide_wait_over(&self, step: u32, now: Timestamp) -> Vec<Event> {
        let waiting =
            self.steps.get(step as usize).filter(|s| s.phase == Phase::Active).and_then(|s| s.waiting);
        match waiting.and_then(|waiting| waiting.until) {
            Some(until) if now >= until || planted::is(Bug::TimerEarly) => {}
            _ => return Vec::new(),
        }
        match self.plan.steps.get(step as usize).map(|s| &s.verb) {
            Some(Verb::Wait(Wait::Signal { name, timeout, .. })) => {
                let within = timeout.map(|timeout| timeout.to_string()).unwrap_or_default();
                let message = format!("no signal `{name}` came within {within}");
                let failure = Box::new(Failure::new(FailureKind::DeadlineExceeded, message));
                vec![Event::StepFailed { node: Node::step(step), failure }]
            }
            Some(Verb::Approval(approval)) => self.decide_unanswered(step, approval),
            Some(Verb::Call { .. } | Verb::Workflow(_)) => self.unanswered(step),
            _ => vec![succeeded(Node::step(step), Payload::Inline(Json::null()))],
        }
    }

    /// The values that the next look at a signal needs.
    pub(super) fn signal_payload(&self, step: u32) -> Option<&Payload> {
        self.unseen(step).map(|(_, signal)| &signal.data)
    }

    /// The first signal of its name that a waiting step has not seen, and nobody has taken.
    fn unseen(&self, step: u32) -> Option<(u32, &Signal)> {
        let waiting = self.steps.get(step as usize)?.waiting?;
        let Verb::Wait(Wait::Signal { name, .. }) = &self.plan.steps.get(step as usize)?.verb else {
            return None;
        };
        let later = self.signals.iter().enumerate().skip(waiting.next as usize);
        let mut fitting = later.filter(|(_, signal)| !signal.taken && signal.name == *name);
        fitting.next().map(|(index, signal)| (index as u32, signal))
    }

    pub(super) fn apply_wait(&mut self, event: &Event, at: Timestamp) -> Result<(), IllegalEvent> {
        match event {
            Event::WaitStarted { step, until } => {
                let state = &mut self.steps[*step as usize];
                if state.phase != Phase::Ready {
                    return Err(wrong("the step is not ready"));
                }
                state.phase = Phase::Active;
                state.started_at = Some(at);
                state.waiting = Some(Waiting { until: *until, next: 0 });
                self.to_decide.remove(step);
                self.waiting.insert(*step);
                if let Some(until) = until {
                    self.owe(Action::Wake { timer: Timer::Wait { step: *step }, at: *until });
                }
                self.note_unseen(*step);
            }
            Event::SignalReceived { name, data, by } => {
                let signal = Signal { name: name.clone(), data: data.clone(), by: by.clone(), taken: false };
                self.signals.push(signal);
                self.untaken += 1;
                self.note_all_unseen();
            }
            Event::SignalTaken { step, signal } | Event::SignalPassed { step, signal } => {
                let Some(waiting) = self.steps[*step as usize].waiting.as_mut() else {
                    return Err(wrong("the step does not wait"));
                };
                let Some(known) = self.signals.get_mut(*signal as usize).filter(|s| !s.taken) else {
                    return Err(wrong("there is no such signal"));
                };
                waiting.next = *signal + 1;
                known.taken = matches!(event, Event::SignalTaken { .. });
                self.untaken -= u64::from(known.taken);
                self.note_all_unseen();
            }
            _ => {}
        }
        Ok(())
    }
    fn note_all_unseen(&mut self) {
        for step in self.waiting.iter().copied().collect::<Vec<_>>() {
            self.note_unseen(step);
        }
    }
    /// Keeps `to_match` true.
    fn note_unseen(&mut self, step: u32) {
        if self.unseen(step).is_some() {
            self.to_match.insert(step)
        } else {
            self.to_match.remove(&step)
        };
    }
}

/// A signal as `match` sees it.
fn event_value(signal: &Signal, values: &Values) -> Value {
    Value::map([
        ("name", Value::text(signal.name.clone())),
        ("by", Value::text(signal.by.clone())),
        ("data", values.get(&signal.data).map(|json| json.value().clone()).unwrap_or_default()),
    ])
}
