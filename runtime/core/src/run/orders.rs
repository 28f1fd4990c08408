//! What people may do with one step: skip it, stop it, and decide what becomes of it when it has failed for good and
//! asks (`onFailure: ask`). A step that asks waits like any other: it holds no room and no sandbox, and its time runs.

use super::apply::wrong;
use super::approval::Undecidable;
use super::event::{CancelReason, Event, Node, SkipReason};
use super::state::{Phase, Stage, StepState, Waiting};
use super::{Action, IllegalEvent, Run, Timer};
use crate::json::Json;
use crate::outcome::Failure;
use crate::plan::{Part, Verb, is_one_of};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a person wants of one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Who.
    pub by: Arc<str>,
    /// Why, in their words.
    #[serde(skip_serializing_if = "is_empty", default)]
    pub comment: Arc<str>,
    /// What.
    pub what: Wish,
}

/// What may be wanted of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wish {
    /// A step that asks is tried again, with its whole retry policy.
    Retry {
        /// What it is tried with, where that is not its own input.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        input: Option<Json>,
    },
    /// It is skipped; this stands for its output.
    Skip {
        /// The value; null where nobody gave one.
        value: Json,
    },
    /// A step that asks fails, as it would have without asking.
    Fail {},
    /// It is stopped.
    Cancel {},
}

impl Wish {
    /// The word of the API.
    pub fn word(&self) -> &'static str {
        match self {
            Wish::Retry { .. } => "retry",
            Wish::Skip { .. } => "skip",
            Wish::Fail {} => "fail",
            Wish::Cancel {} => "cancel",
        }
    }
}

fn is_empty(text: &Arc<str>) -> bool {
    text.is_empty()
}

/// Why a step asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Asking {
    /// What it failed with.
    pub failure: Failure,
    /// When.
    pub since: Timestamp,
}

impl Run {
    /// Whether this order counts. Gives the step.
    ///
    /// # Errors
    /// Why it does not.
    pub fn may_order(&self, step: &str, groups: &[Arc<str>], order: &Order) -> Result<u32, Undecidable> {
        let index = self.plan.step(step).ok_or_else(|| Undecidable::NoStep(step.to_owned()))?;
        let (plan, state) = (&self.plan.steps[index as usize], &self.steps[index as usize]);
        let impossible = |why: &'static str| Undecidable::Impossible {
            step: step.to_owned(),
            status: state.word(),
            wish: order.what.word(),
            why,
        };
        if self.finished.is_some() || state.has_ended() {
            return Err(impossible("it has ended"));
        }
        if self.is_left_alone() {
            return Err(Undecidable::TooMany { most: self.limits.interventions });
        }
        let asks = state.asks().is_some();
        match &order.what {
            Wish::Retry { .. } | Wish::Fail {} if !asks => {
                return Err(impossible("it has not failed, or does not ask"));
            }
            Wish::Retry { .. } | Wish::Fail {} => {}
            _ if plan.part > self.part => {
                return Err(impossible("what follows the steps can be told when it has begun"));
            }
            _ if plan.part != self.part => {
                return Err(impossible("its part of the run is over"));
            }
            _ if matches!(plan.verb, Verb::Group(_)) => {
                return Err(impossible("it is a group; say it of a step that stands in it"));
            }
            Wish::Skip { .. } if !plan.skippable => {
                return Err(impossible("its workflow does not say `skippable: true`"));
            }
            Wish::Cancel {} if plan.part != Part::Main => {
                return Err(impossible("it follows the steps; the run as a whole can be cancelled by force"));
            }
            Wish::Skip { .. } | Wish::Cancel {} => {}
        }
        // Who is named decides, whether or not they are asked yet: else it would be a matter of being early.
        let named: &[Arc<str>] = match (&plan.verb, plan.on_failure.as_deref()) {
            (Verb::Approval(approval), _) => &approval.assignees,
            (_, Some(ask)) => &ask.assignees,
            _ => &[],
        };
        match is_one_of(named, &order.by, groups) {
            true => Ok(index),
            false => Err(Undecidable::NotAssigned {
                step: step.to_owned(),
                by: order.by.to_string(),
                who: named.iter().map(|who| format!("`{who}`")).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// What people have wanted of this step.
    pub fn orders(&self, step: &str) -> &[Order] {
        let step = self.plan.step(step).and_then(|step| self.steps.get(step as usize));
        step.map_or(&[], |step| &step.orders)
    }

    pub(super) fn decide_order(&self, step: &str, groups: &[Arc<str>], order: &Order) -> Vec<Event> {
        let Ok(index) = self.may_order(step, groups, order) else { return Vec::new() };
        let mut events = vec![Event::StepOrdered { step: index, order: Box::new(order.clone()) }];
        match &order.what {
            Wish::Retry { .. } => {}
            Wish::Skip { .. } => events.push(Event::StepSkipped { step: index, reason: SkipReason::Person }),
            Wish::Cancel {} => {
                events.push(Event::StepCancelled { step: index, reason: CancelReason::Person })
            }
            Wish::Fail {} => events.extend(self.unanswered(index)),
        }
        events
    }

    /// The step or item has failed for good: people are asked, or that is its end.
    pub(super) fn fails_or_asks(&self, node: Node, failure: Failure, now: Timestamp) -> Vec<Event> {
        let ask = self.plan.steps[node.step as usize].on_failure.as_deref().filter(|_| node.item.is_none());
        match ask {
            Some(ask) if !self.is_left_alone() => {
                let until = ask.timeout.map(|time| now.plus_ms(time.0));
                vec![Event::HelpAsked { step: node.step, failure: Box::new(failure), until }]
            }
            _ => self.failed_for_good(node, failure),
        }
    }
    /// Nobody has decided, or somebody that it fails.
    pub(super) fn unanswered(&self, step: u32) -> Vec<Event> {
        match self.steps[step as usize].asks() {
            Some(asking) => {
                vec![Event::StepFailed { node: Node::step(step), failure: Box::new(asking.failure.clone()) }]
            }
            None => Vec::new(),
        }
    }

    pub(super) fn help_asked(
        &mut self,
        step: u32,
        failure: &Failure,
        until: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        self.to_start.remove(&Node::step(step));
        self.to_compute.remove(&Node::step(step));
        let state = &mut self.steps[step as usize];
        if state.has_ended() || state.waiting.is_some() || state.work.running().is_some() {
            return Err(wrong("the step has not just failed"));
        }
        // One that the host went away under has begun; one that could not begin asks all the same.
        state.phase = Phase::Active;
        state.started_at.get_or_insert(at);
        state.asking = Some(Box::new(Asking { failure: failure.clone(), since: at }));
        state.waiting = Some(Waiting { until, next: 0 });
        self.to_decide.remove(&step);
        self.waiting.insert(step);
        if let Some(at) = until {
            self.owe(Action::Wake { timer: Timer::Wait { step }, at });
        }
        Ok(())
    }

    pub(super) fn step_ordered(&mut self, step: u32, order: &Order) -> Result<(), IllegalEvent> {
        let state = &mut self.steps[step as usize];
        if state.has_ended() {
            return Err(wrong("the step has ended"));
        }
        state.orders.push(order.clone());
        self.interventions += 1;
        let Wish::Retry { input } = &order.what else { return Ok(()) };
        let Some(waiting) = state.waiting.take().filter(|_| state.asking.is_some()) else {
            return Err(wrong("the step does not ask"));
        };
        state.asking = None;
        let work = &mut state.work;
        let next = work.attempts.last().map_or(1, |last| last.attempt + 1);
        (work.failures, work.interruptions, work.alternative) = (0, 0, 0);
        work.told_at = work.attempts.len();
        work.stage = Stage::Queued(next);
        if input.is_some() {
            work.input.clone_from(input);
        }
        self.waiting.remove(&step);
        if let Some(at) = waiting.until {
            self.drop_action(Action::Wake { timer: Timer::Wait { step }, at });
        }
        self.to_start.insert(Node::step(step));
        Ok(())
    }
}

impl StepState {
    /// Why it asks people, while it does.
    pub fn asks(&self) -> Option<&Asking> {
        self.asking.as_deref().filter(|_| self.phase == Phase::Active)
    }
    /// What stands for its output, where somebody skipped it.
    pub fn stand_in(&self) -> Option<&Json> {
        if self.phase != Phase::Skipped(SkipReason::Person) {
            return None;
        }
        self.orders.iter().rev().find_map(|order| match &order.what {
            Wish::Skip { value } => Some(value),
            _ => None,
        })
    }
}
