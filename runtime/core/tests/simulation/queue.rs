//! What a run waits for before it begins: chosen at random, and checked from the events alone.

use crate::rng::Rng;
use heddle_core::plan::OnLimit;
use heddle_core::run::event::{Batch, Event, Place, Queueing, SlotWish};
use heddle_core::time::Timestamp;

/// One run in four waits for something, and one in four of these has a deadline meanwhile.
pub(crate) fn any(rng: &mut Rng, now: Timestamp) -> (Option<Box<Queueing>>, Option<Timestamp>) {
    if !rng.once_in(4) {
        return (None, None);
    }
    let start_at = rng.once_in(2).then(|| now.plus_ms(1 + rng.below(5_000)));
    let wish = || SlotWish { key: "a/b:k".into(), limit: 1, on_limit: OnLimit::Queue };
    let slots = if start_at.is_none() || rng.once_in(2) { vec![wish()] } else { Vec::new() };
    let place = Place { level: 3, fairness_key: "a/b".into(), weight: 1.0 };
    let deadline = rng.once_in(4).then(|| now.plus_ms(3_000 + rng.below(100_000)));
    (Some(Box::new(Queueing { start_at, slots, place })), deadline)
}

/// What must hold of the time before a run begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before {
    queue: Option<Queueing>,
    deadline: Option<Timestamp>,
    due: bool,
    began: bool,
    /// Whether the slots have been given, which outlives the process.
    pub(crate) admitted: bool,
}

impl Before {
    pub(crate) fn see(&mut self, event: &Event, now: Timestamp) -> Result<(), String> {
        let start_at = self.queue.as_ref().and_then(|queue| queue.start_at);
        let has_slots = self.queue.as_ref().is_some_and(|queue| !queue.slots.is_empty());
        match event {
            Event::RunAccepted(accepted) => {
                self.queue = accepted.queue.as_deref().cloned();
                self.deadline = accepted.deadline;
            }
            Event::RunDue {} => {
                if self.due || self.began || !has_slots || start_at.is_none_or(|at| now < at) {
                    return Err("it asks for its slots when it is not to".into());
                }
                self.due = true;
            }
            Event::RunStarted {} => {
                if start_at.is_some_and(|at| now < at) || self.deadline.is_some_and(|at| at <= now) {
                    return Err("it begins before its time, or after it".into());
                }
                if has_slots && !(self.admitted && (self.due || start_at.is_none())) {
                    return Err("it begins without its slots".into());
                }
                self.began = true;
            }
            Event::AttemptStarted { .. } | Event::StepSucceeded { .. } | Event::MapStarted { .. }
                if !self.began =>
            {
                return Err(format!("{} before it began", event.kind()));
            }
            _ => {}
        }
        Ok(())
    }
    /// Whether the store, as it has the run, may give it its slots.
    pub(crate) fn may_be_admitted(&self, durable: &[Batch]) -> bool {
        let Some(queue) = self.queue.as_ref().filter(|queue| !queue.slots.is_empty()) else { return false };
        let has = |wanted: fn(&Event) -> bool| durable.iter().flat_map(|row| &row.events).any(wanted);
        (queue.start_at.is_none() || has(|e| matches!(e, Event::RunDue {})))
            && !has(|e| matches!(e, Event::RunFinished { .. }))
    }
}
