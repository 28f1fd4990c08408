//! What an input means. Pure: the state is read, never changed.

use super::artifact::{Artifact, ArtifactsOf};
use super::event::{CacheVerdict, CancelReason, Event, Node, Payload};
use super::scope::Values;
use super::state::Stage;
use super::{Ended, Entered, Input, Run, Timer};
use crate::outcome::{Failure, FailureKind, Usage};
use crate::plan::Verb;
use crate::planted::{self, Bug};
use crate::time::{Span, Timestamp};

impl Run {
    /// The events that follow from this input at this time. A stale or repeated input decides to nothing.
    pub fn decide(&self, input: &Input, now: Timestamp, values: &Values) -> Vec<Event> {
        if self.finished.is_some() || self.accepted.is_none() {
            return Vec::new();
        }
        match input {
            Input::Taken(entered) => self.decide_taken(entered, now),
            Input::AttemptEnded { node, attempt, end, cache, usage, artifacts } => {
                let with = (end, &**artifacts, cache);
                self.decide_ended(*node, *attempt, with, *usage, now, values)
            }
            Input::TimerFired(timer) => self.decide_timer(*timer, now),
            Input::Cancel { by, reason, force } => {
                // A second wish says something new only where it is the stronger one; what undoes and cleans up goes
                // on unless it is stopped by force.
                let heard = self.cancel.as_ref().is_some_and(|cancel| cancel.force || !force);
                match heard || (self.ending.is_some() && !force) {
                    true => Vec::new(),
                    false => {
                        let (by, reason) = (by.clone(), reason.clone());
                        vec![Event::CancelRequested { by, reason, force: *force }]
                    }
                }
            }
            Input::Pause(pause) => self.decide_pause(pause),
            Input::Resume { by } => self.decide_resume(by),
            Input::Decide { step, groups, decision } => self.decide_decision(step, groups, decision),
            Input::Order { step, groups, order } => self.decide_order(step, groups, order),
            Input::Signal { name, data, by } => self.decide_signal(name, data, by),
            Input::Event { name, data, by } => match self.wants(name, data, by, values) {
                true => self.decide_signal(name, data, by),
                false => Vec::new(),
            },
            Input::Admitted => self.decide_admitted(now),
            Input::Advance => self.decide_advance(now, values),
        }
    }

    /// Open attempts of a run that is taken are lost: whoever ran them is gone.
    fn decide_taken(&self, entered: &Entered, now: Timestamp) -> Vec<Event> {
        if self.started.is_none() {
            return self.decide_begin(now);
        }
        let open = self.pending.iter().map_while(|action| match *action {
            super::Action::Invoke { node, attempt } => {
                Some(Event::AttemptInterrupted { node, attempt, entered: entered.has(node, attempt) })
            }
            // A run of its own does not go away with the host that waits for it.
            super::Action::Child { .. } | super::Action::Wake { .. } => None,
        });
        open.collect()
    }

    fn decide_ended(
        &self,
        node: Node,
        attempt: u32,
        (end, artifacts, cache): (&Ended, &[Artifact], &CacheVerdict),
        usage: Usage,
        now: Timestamp,
        values: &Values,
    ) -> Vec<Event> {
        let running =
            self.steps.get(node.step as usize).and_then(|s| s.node(node.item)).and_then(|n| n.running());
        if running != Some(attempt) && !(running.is_some() && planted::is(Bug::StaleAttemptTaken)) {
            return Vec::new();
        }
        let attempt = running.unwrap_or(attempt);
        let too_much = self.too_much(end, artifacts);
        // What there is no room for is not kept. What failed by itself has failed for that.
        let of = ArtifactsOf { node, attempt, artifacts: artifacts.to_vec() };
        let kept = (too_much.is_none() && !artifacts.is_empty()).then_some(Event::ArtifactsKept(of));
        let too_much = too_much.filter(|_| matches!(end, Ended::Done(_))).map(Ended::Failed);
        let followed = match too_much.as_ref().unwrap_or(end) {
            Ended::Done(output) => {
                let mut events = vec![Event::StepSucceeded {
                    node,
                    attempt,
                    output: output.clone(),
                    usage,
                    cache: cache.clone(),
                }];
                events.extend(self.map_completed(node));
                events
            }
            Ended::Failed(failure) => {
                let retry = self.retry_verdict(node, attempt, failure, now, values);
                let retried = matches!(retry, super::event::RetryVerdict::At(_));
                let mut events = vec![Event::AttemptFailed {
                    node,
                    attempt,
                    failure: Box::new(failure.clone()),
                    usage,
                    retry,
                    cache: cache.clone(),
                }];
                if !retried {
                    events.extend(self.give_up(node, failure.clone(), now));
                }
                events
            }
        };
        kept.into_iter().chain(followed).collect()
    }

    /// A step or an item failed; for an item, also what that means for its map.
    pub(super) fn failed_for_good(&self, node: Node, failure: Failure) -> Vec<Event> {
        let mut events = vec![Event::StepFailed { node, failure: Box::new(failure.clone()) }];
        let Some(map) = self.steps[node.step as usize].map.as_ref().filter(|_| node.item.is_some()) else {
            return events;
        };
        if map.failed + 1 > map.tolerated {
            let message = format!(
                "{} of {} items failed, and {} may; the last: {}",
                map.failed + 1,
                map.items.len(),
                map.tolerated,
                failure.message
            );
            let mut whole = Failure::new(FailureKind::ItemsFailed, message);
            whole.code = Some(failure.kind.word().to_owned());
            events.push(Event::StepFailed { node: Node::step(node.step), failure: Box::new(whole) });
        } else {
            events.extend(self.map_completed(node));
        }
        events
    }

    /// Whether the end of this item is the end of its map.
    pub(super) fn map_completed(&self, node: Node) -> Option<Event> {
        let map = self.steps[node.step as usize].map.as_ref().filter(|_| node.item.is_some())?;
        (map.ended() as usize + 1 == map.items.len()).then(|| Event::StepSucceeded {
            node: Node::step(node.step),
            attempt: 0,
            output: Payload::Derived,
            usage: Usage::default(),
            cache: CacheVerdict::Off,
        })
    }

    fn decide_timer(&self, timer: Timer, now: Timestamp) -> Vec<Event> {
        let due = |at: Timestamp| now >= at || planted::is(Bug::TimerEarly);
        match timer {
            Timer::Retry { node, attempt } => {
                let step = self.steps.get(node.step as usize).filter(|step| !step.has_ended());
                let stage = step.and_then(|s| s.node(node.item)).map(|n| &n.stage);
                match stage {
                    Some(Stage::Waiting(waiting, at)) if *waiting == attempt && due(*at) => {
                        vec![Event::RetryDue { node, attempt }]
                    }
                    _ => Vec::new(),
                }
            }
            Timer::StepTotal { step } => match self.step_deadline(step) {
                Some((at, total, group)) if due(at) && !self.steps[step as usize].has_ended() => {
                    let message = match group {
                        None => format!("the step was not done within `timeout.total` of {total}"),
                        Some(group) => {
                            let group = self.step_id(group);
                            format!("the group `{group}` was not done within its `timeout` of {total}")
                        }
                    };
                    let failure = Failure::new(FailureKind::DeadlineExceeded, message);
                    vec![Event::StepFailed { node: Node::step(step), failure: Box::new(failure) }]
                }
                _ => Vec::new(),
            },
            Timer::Wait { step } => self.decide_wait_over(step, now),
            Timer::Aftermath => match &self.ending {
                Some(ending) if self.paused.is_none() && due(ending.until) => {
                    self.decide_abandon(CancelReason::RunDeadline)
                }
                _ => Vec::new(),
            },
            Timer::Start => self.decide_start_due(now),
            Timer::RunTotal if self.ending.is_some() => Vec::new(),
            Timer::RunTotal => match (self.started, self.accepted.as_ref().and_then(|a| a.deadline)) {
                (Some(started), _) if due(started.plus_ms(self.total_ms())) => self.decide_deadline(),
                (None, Some(at)) if self.held_back().is_some() && due(at) => self.decide_deadline(),
                _ => Vec::new(),
            },
        }
    }
    /// When a step must have ended, and how long it had: by itself, or together with the group that is named.
    pub(super) fn step_deadline(&self, step: u32) -> Option<(Timestamp, Span, Option<u32>)> {
        let plan = self.plan.steps.get(step as usize)?;
        let since = |from: Option<Timestamp>, total: Option<Span>| Some((from?.plus_ms(total?.0), total?));
        let own = match plan.verb {
            // Its time is that of its members.
            Verb::Group(_) => None,
            _ => since(self.steps[step as usize].ready_at, plan.timeouts.total),
        };
        let around = plan.group.and_then(|group| {
            let (state, plan) = (&self.steps[group as usize], &self.plan.steps[group as usize]);
            let (at, total) = since(state.opened_at, plan.timeouts.total)?;
            Some((at, total, Some(group)))
        });
        own.map(|(at, total)| (at, total, None)).into_iter().chain(around).min_by_key(|(at, ..)| *at)
    }
}
