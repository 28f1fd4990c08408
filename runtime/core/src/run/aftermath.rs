//! What runs once the steps are over: `onError`, compensation, `finally`, in this order, each only where there is
//! something to do. How the run ends is settled when the steps are over; what follows can make it worse, never better.

use super::apply::wrong;
use super::event::{CacheVerdict, CancelReason, Event, Finish, Payload, RunError};
use super::state::{NodeState, Phase, Stage, StepState};
use super::{Action, IllegalEvent, Run, Timer};
use crate::outcome::{Failure, FailureKind};
use crate::plan::{Compensation, Part};
use crate::planted::{self, Bug};
use crate::time::{Span, Timestamp};

/// How the steps ended, while what follows them runs.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) finish: Finish,
    pub(super) output: Option<Payload>,
    pub(super) error: Option<Box<RunError>>,
    /// When what follows must be done.
    pub(super) until: Timestamp,
}

impl Run {
    /// The steps are over: the run ends so, at once or after what follows.
    pub(super) fn over(
        &self,
        finish: Finish,
        output: Option<Payload>,
        error: Option<Box<RunError>>,
    ) -> Event {
        // Where nothing has begun, nothing is to be cleaned up.
        let undoes = finish != Finish::Succeeded && self.stops_halfway();
        match self.started.is_some() && (undoes || self.part_after(Part::Main, finish).is_some()) {
            true => Event::RunEnding { finish, output, error },
            false => Event::RunFinished { finish, output, error },
        }
    }
    /// Whether a list that is being stopped with the run leaves items that are to be undone: it counts among what has
    /// ended only when its own end is applied, behind the question whether anything is to be undone.
    fn stops_halfway(&self) -> bool {
        let open = |step: &u32| self.steps[*step as usize].phase.ending().is_none();
        let leaves = |step: u32| {
            self.plan.steps[step as usize].compensation.is_some()
                && self.steps[step as usize].map.is_some()
                && self.has_worked(step)
        };
        self.plan.compensation != Compensation::None && self.plan.of_part(Part::Main).filter(open).any(leaves)
    }

    /// The next part that has something to do.
    fn part_after(&self, part: Part, finish: Finish) -> Option<Part> {
        Part::ALL.into_iter().filter(|next| *next > part).find(|next| match next {
            Part::Main => false,
            Part::OnError => finish == Finish::Failed && self.plan.of_part(Part::OnError).next().is_some(),
            Part::Compensate => finish != Finish::Succeeded && !self.to_undo().is_empty(),
            Part::Finally => self.plan.of_part(Part::Finally).next().is_some(),
        })
    }

    /// The compensations that are due, the one that comes first at the end. What came from the cache was not done by
    /// this run, so it is not this run's to undo.
    fn to_undo(&self) -> Vec<u32> {
        if self.plan.compensation == Compensation::None {
            return Vec::new();
        }
        let undoing = |step: &u32| self.plan.steps[*step as usize].compensation;
        let mut due: Vec<u32> =
            self.completed.iter().filter(|step| self.has_worked(**step)).filter_map(undoing).collect();
        if planted::is(Bug::CompensationOrder) {
            due.reverse();
        }
        due
    }
    /// Whether the step did something itself. Of a list that did not end well, only the items that succeeded count.
    fn has_worked(&self, step: u32) -> bool {
        let state = &self.steps[step as usize];
        let own = |work: &NodeState| {
            !matches!(work.attempts.last().map(|attempt| &attempt.cache), Some(CacheVerdict::Hit { .. }))
        };
        match &state.map {
            None => own(&state.work),
            Some(map) if state.phase == Phase::Succeeded => map.items.iter().any(own),
            Some(map) => map.items.iter().any(|item| matches!(item.stage, Stage::Succeeded(_)) && own(item)),
        }
    }
    /// Whether something of this step is to be undone when the run fails: it succeeded, or items of it did.
    pub(super) fn leaves_work(&self, step: u32) -> bool {
        let state = &self.steps[step as usize];
        match (&state.phase, &state.map) {
            (Phase::Succeeded, _) => true,
            (Phase::Failed(_) | Phase::Cancelled(_), Some(_)) => self.has_worked(step),
            _ => false,
        }
    }
    /// The step that is undone now.
    pub(super) fn undoes_now(&self) -> Option<u32> {
        let undoing = self.open_now.first().filter(|_| self.part == Part::Compensate)?;
        self.plan.steps[*undoing as usize].undoes
    }

    /// A part is over: the next one, or the end.
    pub(super) fn decide_part_over(&self) -> Vec<Event> {
        let Some(ending) = &self.ending else { return Vec::new() };
        match self.part_after(self.part, ending.finish) {
            Some(part) => vec![Event::PartBegan { part }],
            None => vec![self.end_of(ending)],
        }
    }

    /// How the run ends after what followed its steps.
    fn end_of(&self, ending: &Ending) -> Event {
        let failed = |part| {
            let failed = |step: &u32| matches!(self.steps[*step as usize].phase, Phase::Failed(_));
            self.plan.of_part(part).find(failed)
        };
        if let Some(step) = failed(Part::Compensate) {
            let why = match &self.steps[step as usize].phase {
                Phase::Failed(failure) => failure.message.clone(),
                _ => String::new(),
            };
            return self.not_undone(step, &why, ending);
        }
        if let (Finish::Succeeded, Some(step)) = (ending.finish, failed(Part::Finally))
            && let Phase::Failed(failure) = &self.steps[step as usize].phase
        {
            let node = Some(super::Node::step(step));
            let error = RunError { failure: (**failure).clone(), node, attempt: None };
            return Event::RunFinished { finish: Finish::Failed, output: None, error: Some(Box::new(error)) };
        }
        let Ending { finish, output, error, .. } = ending.clone();
        Event::RunFinished { finish, output, error }
    }

    /// The run ends with something left that a person must undo.
    fn not_undone(&self, step: u32, why: &str, ending: &Ending) -> Event {
        let undone = self.plan.steps[step as usize].undoes.unwrap_or(step);
        let cause = ending.error.as_ref().map(|e| format!("; the run failed because {}", e.failure.message));
        let message =
            format!("`{}` could not be undone: {why}{}", self.step_id(undone), cause.unwrap_or_default());
        let mut failure = Failure::new(FailureKind::CompensationFailed, message);
        failure.code = ending.error.as_ref().map(|e| e.failure.kind.word().to_owned());
        failure.data = self.plan.steps[step as usize].hint.clone();
        let error = RunError { failure, node: Some(super::Node::step(step)), attempt: None };
        Event::RunFinished { finish: Finish::Failed, output: None, error: Some(Box::new(error)) }
    }

    /// What follows the steps has taken too long, or somebody wants no more of it.
    pub(super) fn decide_abandon(&self, reason: CancelReason) -> Vec<Event> {
        let Some(ending) = &self.ending else { return Vec::new() };
        let open = self.undo.iter().chain(&self.open_now).copied();
        let mut steps: Vec<u32> = open.filter(|step| !self.steps[*step as usize].has_ended()).collect();
        steps.sort_unstable();
        steps.dedup();
        let undoing =
            steps.iter().copied().find(|step| self.plan.steps[*step as usize].part == Part::Compensate);
        // What was not even begun is left undone, too.
        let unbegun = match self.part < Part::Compensate && ending.finish != Finish::Succeeded {
            true => self.to_undo().last().copied(),
            false => None,
        };
        let mut events: Vec<Event> =
            steps.into_iter().map(|step| Event::StepCancelled { step, reason }).collect();
        events.push(match (undoing.or(unbegun), ending.finish, reason) {
            (Some(step), _, CancelReason::Requested) => self.not_undone(step, "somebody stopped it", ending),
            (Some(step), ..) => self.not_undone(step, "there was no time left", ending),
            (None, Finish::Succeeded, CancelReason::Requested) => {
                Event::RunFinished { finish: Finish::Cancelled, output: None, error: None }
            }
            (None, Finish::Succeeded, _) => {
                let message =
                    format!("what follows the steps was not done within {}", Span(self.limits.aftermath_ms));
                let failure = Failure::new(FailureKind::DeadlineExceeded, message);
                let error = RunError { failure, node: None, attempt: None };
                Event::RunFinished { finish: Finish::Failed, output: None, error: Some(Box::new(error)) }
            }
            // It has failed or was cancelled before; that stands.
            (None, ..) => self.end_of(ending),
        });
        events
    }

    pub(super) fn apply_part(&mut self, event: &Event, at: Timestamp) -> Result<(), IllegalEvent> {
        match event {
            Event::RunEnding { finish, output, error } => {
                if self.ending.is_some() || self.open_steps > 0 {
                    return Err(wrong("the steps are not over"));
                }
                let (output, error) = (output.clone(), error.clone());
                self.ending = Some(Ending { finish: *finish, output, error, until: at });
                let total = |action: &Action| matches!(action, Action::Wake { timer: Timer::RunTotal, .. });
                let over: Vec<Action> = self.pending.iter().copied().filter(total).collect();
                over.into_iter().for_each(|action| self.drop_action(action));
                self.time_aftermath(at);
            }
            Event::PartBegan { part } => {
                if self.ending.is_none() || self.open_steps > 0 || *part <= self.part {
                    return Err(wrong("this part cannot begin now"));
                }
                self.part = *part;
                let plan = self.plan.clone();
                if *part == Part::Compensate {
                    self.undo = self.to_undo();
                    self.open_steps = self.undo.len() as u32;
                    self.known_work += u64::from(self.open_steps);
                    self.undo_next(at);
                    return Ok(());
                }
                let steps: Vec<u32> = plan.of_part(*part).collect();
                self.open_steps = steps.len() as u32;
                self.known_work += u64::from(self.open_steps);
                self.open_now = steps.iter().copied().collect();
                for step in steps {
                    if self.steps[step as usize].missing == 0 {
                        self.unblock(step, at);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What follows the steps has its time from now on, unless the run stands still: a pause takes none of it.
    pub(super) fn time_aftermath(&mut self, at: Timestamp) {
        let until = at.plus_ms(self.limits.aftermath_ms);
        if let Some(ending) = &mut self.ending {
            let before =
                Action::Wake { timer: Timer::Aftermath, at: std::mem::replace(&mut ending.until, until) };
            self.drop_action(before);
            if self.paused.is_none() {
                self.owe(Action::Wake { timer: Timer::Aftermath, at: until });
            }
        }
    }

    /// The next compensation may begin.
    pub(super) fn undo_next(&mut self, at: Timestamp) {
        if let Some(step) = self.undo.pop() {
            self.open_now.insert(step);
            self.unblock(step, at);
        }
    }

    /// Whether a step will never be reached: its part was left out.
    pub(super) fn is_left_out(&self, step: u32, state: &StepState) -> bool {
        let part = self.plan.steps[step as usize].part;
        state.phase == Phase::Blocked && part != Part::Main && self.finished.is_some()
    }
    /// Whether this would have undone something in a run that has ended without it.
    pub(super) fn is_left_undone(&self, undoing: u32) -> bool {
        let over = self.finished.as_ref().is_some_and(|end| end.finish != Finish::Succeeded);
        over && self.to_undo().contains(&undoing)
    }
    /// Whether a step counts among the work of the run.
    pub(super) fn is_known(&self, step: u32, state: &StepState) -> bool {
        self.plan.steps[step as usize].part == Part::Main
            || state.phase != Phase::Blocked
            || self.open_now.contains(&step)
            || self.undo.contains(&step)
    }
}
