//! The only mutation. Work done here is proportional to what the event changes, never to the size of the run.

use super::event::{ArtifactsOf, CacheVerdict, Event, Node, Payload, RetryVerdict, RunError};
use super::state::{Attempt, AttemptNote, MapState, NodeState, Phase, Stage, StepState};
use super::{Action, Cancel, Change, Finished, IllegalEvent, Run, Timer};
use crate::outcome::Usage;
use crate::plan::{Alternative, Part, Verb};
use crate::planted::{self, Bug};
use crate::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::OnceLock;

impl Run {
    /// Takes one fact into the state.
    ///
    /// # Errors
    /// When the fact cannot have happened in this state; the run must not be used any further.
    pub fn apply(&mut self, event: &Event, at: Timestamp) -> Result<(), IllegalEvent> {
        let illegal = |why: &str| IllegalEvent { kind: event.kind(), why: why.to_owned() };
        if self.finished.is_some() {
            return Err(illegal("the run has finished"));
        }
        if self.accepted.is_some() == matches!(event, Event::RunAccepted(_)) {
            return Err(illegal("a run is accepted once, before anything else"));
        }
        if let Some(step) = step_of(event)
            && step as usize >= self.steps.len()
        {
            return Err(illegal("the plan has no such step"));
        }
        self.events += 1;
        match event {
            Event::RunAccepted(accepted) => {
                self.is_accepted(accepted, at);
                Ok(())
            }
            Event::RunStarted {} => self.started(at),
            Event::RunDue {} => self.run_due(),
            Event::CancelRequested { .. }
            | Event::RunPaused { .. }
            | Event::RunResumed { .. }
            | Event::RunMigrated { .. }
            | Event::MigrationRefused { .. } => {
                self.apply_wish(event, at);
                Ok(())
            }
            Event::RunEnding { .. } | Event::PartBegan { .. } => self.apply_part(event, at),
            Event::ApprovalDecided { .. } | Event::HelpAsked { .. } | Event::StepOrdered { .. } => {
                self.apply_word(event, at)
            }
            Event::FallbackTaken { node, alternative, .. } => self.fallback_taken(*node, *alternative),
            Event::ConditionHeld { step } => self.condition_held(*step),
            Event::MapStarted { step, count, lens } => self.map_started(*step, (*count, lens), at),
            Event::AttemptStarted { node, attempt, turn } => {
                self.attempt_started(*node, (*attempt, *turn), at)
            }
            Event::AttemptInterrupted { node, attempt, entered } => {
                self.attempt_interrupted(*node, *attempt, *entered, at)
            }
            Event::AttemptFailed { .. } => self.apply_failure(event, at),
            Event::RetryDue { node, attempt } => self.retry_due(*node, *attempt),
            Event::WaitStarted { .. }
            | Event::SignalReceived { .. }
            | Event::SignalTaken { .. }
            | Event::SignalPassed { .. } => self.apply_wait(event, at),
            Event::StepSucceeded { node, attempt, output, usage, cache } => {
                if *attempt > 0 {
                    let end = (AttemptNote::Succeeded, cache.clone());
                    self.close(*node, *attempt, end, *usage, at)?;
                }
                self.succeeded(*node, output, at)
            }
            Event::ArtifactsKept(of) => self.keep_artifacts(of, at),
            Event::StepFailed { node, failure } => self.failed_node(*node, failure, at),
            Event::StepSkipped { step, reason } => self.end_step(*step, Phase::Skipped(reason.clone()), at),
            Event::StepCancelled { step, reason } => self.end_step(*step, Phase::Cancelled(*reason), at),
            Event::RunFinished { finish, output, error } => self.run_finished(Finished {
                at,
                finish: *finish,
                output: output.clone(),
                error: error.clone(),
            }),
        }
        .map_err(|e: IllegalEvent| IllegalEvent { kind: event.kind(), ..e })
    }

    fn apply_failure(&mut self, event: &Event, at: Timestamp) -> Result<(), IllegalEvent> {
        let Event::AttemptFailed { node, attempt, failure, usage, retry, cache } = event else {
            return Ok(());
        };
        let end = (AttemptNote::Failed(failure.clone()), cache.clone());
        self.close(*node, *attempt, end, *usage, at)?;
        self.forget_calls(*node, failure);
        self.attempt_failed(*node, *attempt, retry)
    }

    fn run_finished(&mut self, finished: Finished) -> Result<(), IllegalEvent> {
        if self.open_steps > 0 {
            return Err(wrong("steps are still open"));
        }
        self.finished = Some(finished);
        self.changes.extend(std::mem::take(&mut self.pending).into_iter().map(Change::Dropped));
        Ok(())
    }

    /// What people are asked about a step, and what they say of it.
    fn apply_word(&mut self, event: &Event, at: Timestamp) -> Result<(), IllegalEvent> {
        match event {
            Event::ApprovalDecided { step, decision } => self.apply_decision(*step, decision),
            Event::HelpAsked { step, failure, until } => self.help_asked(*step, failure, *until, at),
            Event::StepOrdered { step, order } => self.step_ordered(*step, order),
            _ => Ok(()),
        }
    }

    /// What somebody wants of the run as a whole.
    fn apply_wish(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::CancelRequested { by, reason, force } => {
                // What stands still could not end.
                self.paused = None;
                self.cancel = Some(Cancel { by: by.clone(), reason: reason.clone(), force: *force });
            }
            Event::RunPaused { pause } => self.apply_pause(pause),
            Event::RunMigrated { .. } | Event::MigrationRefused { .. } => {
                return self.apply_migration(event, at);
            }
            _ => self.paused = None,
        }
        self.time_approvals();
        self.time_aftermath(at);
    }

    pub(super) fn owe(&mut self, action: Action) {
        if self.pending.insert(action) {
            self.changes.push(Change::Owed(action));
        }
    }
    pub(super) fn drop_action(&mut self, action: Action) {
        if self.pending.remove(&action) {
            self.changes.push(Change::Dropped(action));
        }
    }

    fn started(&mut self, at: Timestamp) -> Result<(), IllegalEvent> {
        if self.started.is_some() {
            return Err(wrong("the run has started before"));
        }
        self.queue_over(true);
        self.started = Some(at);
        self.owe(Action::Wake { timer: Timer::RunTotal, at: at.plus_ms(self.total_ms()) });
        let plan = self.plan.clone();
        for step in plan.of_part(Part::Main) {
            if self.steps[step as usize].missing == 0 {
                self.unblock(step, at);
            }
        }
        Ok(())
    }

    fn run_due(&mut self) -> Result<(), IllegalEvent> {
        if self.started.is_some() || self.due {
            return Err(wrong("it was due before"));
        }
        self.due = true;
        self.queue_over(false);
        Ok(())
    }

    /// All dependencies of the step have ended.
    pub(super) fn unblock(&mut self, step: u32, at: Timestamp) {
        let state = &mut self.steps[step as usize];
        if state.phase != Phase::Blocked {
            return;
        }
        state.phase = Phase::Ready;
        state.ready_at = Some(at);
        if let Some(group) = self.plan.steps[step as usize].group {
            self.steps[group as usize].opened_at.get_or_insert(at);
        }
        if let Some((at, ..)) = self.step_deadline(step) {
            self.owe(Action::Wake { timer: Timer::StepTotal { step }, at });
        }
        self.classify(step);
    }

    fn condition_held(&mut self, step: u32) -> Result<(), IllegalEvent> {
        self.steps[step as usize].condition_held = true;
        self.classify(step);
        Ok(())
    }

    /// Puts a ready step where it belongs: something is to be decided, or it waits for nothing but room.
    pub(super) fn classify(&mut self, step: u32) {
        let (plan, state) = (&self.plan.steps[step as usize], &self.steps[step as usize]);
        let settled = (!plan.has_condition() || state.condition_held)
            && (!plan.breakpoint || state.stopped)
            && self.unaccepted(step).is_none();
        if settled && plan.map.is_none() && matches!(plan.verb, Verb::Call { .. } | Verb::Workflow(_)) {
            self.to_decide.remove(&step);
            self.to_start.insert(Node::step(step));
        } else {
            self.to_decide.insert(step);
        }
    }

    fn map_started(
        &mut self,
        step: u32,
        (count, lens): (u32, &[u32]),
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let plan = &self.plan.steps[step as usize];
        let Some(over) = &plan.map else { return Err(wrong("the step is no `forEach`")) };
        let (max_parallel, tolerated) = (over.max_parallel.unwrap_or(u32::MAX), over.tolerance.of(count));
        let state = &mut self.steps[step as usize];
        if state.phase != Phase::Ready || state.map.is_some() {
            return Err(wrong("the step is not ready"));
        }
        self.known_work += u64::from(count);
        state.phase = Phase::Active;
        state.started_at = Some(at);
        state.map = Some(Box::new(MapState {
            items: vec![NodeState::default(); count as usize],
            next: 0,
            requeued: BTreeSet::new(),
            active: 0,
            succeeded: 0,
            failed: 0,
            max_parallel,
            tolerated,
            lens: lens.to_vec(),
            list: OnceLock::new(),
            aggregate: OnceLock::new(),
            errors: OnceLock::new(),
        }));
        self.to_decide.remove(&step);
        self.note_map_room(step);
        Ok(())
    }
    /// Keeps `open_maps` true to the map's own room.
    fn note_map_room(&mut self, step: u32) {
        let state = &self.steps[step as usize];
        let open = state.phase == Phase::Active && state.map.as_ref().is_some_and(|m| m.has_room());
        if open {
            self.open_maps.insert(step)
        } else {
            self.open_maps.remove(&step)
        };
    }

    fn attempt_started(
        &mut self,
        node: Node,
        (attempt, turn): (u32, u32),
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let step = &mut self.steps[node.step as usize];
        if !matches!(
            (&step.phase, node.item),
            (Phase::Ready | Phase::Active, None) | (Phase::Active, Some(_))
        ) {
            return Err(wrong("the step is not ready"));
        }
        let fresh = match step.node(node.item).map(|n| &n.stage) {
            Some(Stage::New) if attempt == 1 => true,
            Some(Stage::Queued(queued)) if *queued == attempt => false,
            _ => return Err(wrong("this attempt is not due")),
        };
        step.phase = Phase::Active;
        step.started_at.get_or_insert(at);
        if let (Some(item), Some(map)) = (node.item, &mut step.map) {
            match fresh {
                true if item != map.next => return Err(wrong("items begin in their order")),
                true => map.next += 1,
                false => drop(map.requeued.remove(&item)),
            }
            map.active += 1;
        }
        if let Some(work) = step.node_mut(node.item) {
            work.stage = Stage::Running(attempt);
            work.turn = turn;
            work.attempts.push(Attempt {
                attempt,
                started: at,
                ended: None,
                end: AttemptNote::Open,
                usage: Usage::default(),
                cache: CacheVerdict::Off,
            });
        }
        self.running += 1;
        self.to_decide.remove(&node.step);
        self.to_start.remove(&node);
        self.note_map_room(node.step);
        self.owe(self.work_of(node, attempt));
        Ok(())
    }

    /// Ends the attempt that is under way.
    fn close(
        &mut self,
        node: Node,
        attempt: u32,
        (end, cache): (AttemptNote, CacheVerdict),
        usage: Usage,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let Some(work) = self.steps[node.step as usize].node_mut(node.item) else {
            return Err(wrong("there is no such item"));
        };
        if work.running() != Some(attempt) {
            return Err(wrong("this attempt is not under way"));
        }
        let lost = planted::is(Bug::LostCounter) && matches!(end, AttemptNote::Failed(_));
        if let Some(last) = work.attempts.last_mut() {
            (last.ended, last.end, last.cache, last.usage) = (Some(at), end, cache, usage);
        }
        if !lost {
            self.running -= 1;
        }
        if let (Some(_), Some(map)) = (node.item, &mut self.steps[node.step as usize].map) {
            map.active -= 1;
        }
        self.note_map_room(node.step);
        self.drop_action(self.work_of(node, attempt));
        Ok(())
    }

    fn attempt_interrupted(
        &mut self,
        node: Node,
        attempt: u32,
        entered: bool,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let end = (AttemptNote::Interrupted, CacheVerdict::Off);
        self.close(node, attempt, end, Usage::default(), at)?;
        if let Some(work) = self.steps[node.step as usize].node_mut(node.item) {
            work.interruptions += u32::from(entered && !planted::is(Bug::InterruptionForgotten));
            work.stage = Stage::Queued(attempt + 1);
        }
        self.requeue(node);
        Ok(())
    }

    fn attempt_failed(&mut self, node: Node, attempt: u32, retry: &RetryVerdict) -> Result<(), IllegalEvent> {
        if let Some(work) = self.steps[node.step as usize].node_mut(node.item) {
            work.failures += 1;
            work.turns += 1;
            work.interruptions = 0;
            work.stage = match retry {
                RetryVerdict::At(due) => Stage::Waiting(attempt + 1, *due),
                // The step's or the item's failure follows in the same append.
                RetryVerdict::No(_) => Stage::Queued(attempt + 1),
            };
        }
        if let RetryVerdict::At(at) = retry {
            self.owe(Action::Wake { timer: Timer::Retry { node, attempt: attempt + 1 }, at: *at });
        }
        Ok(())
    }

    fn retry_due(&mut self, node: Node, attempt: u32) -> Result<(), IllegalEvent> {
        let Some(work) = self.steps[node.step as usize].node_mut(node.item) else {
            return Err(wrong("there is no such item"));
        };
        let Stage::Waiting(waiting, at) = work.stage else { return Err(wrong("nothing waits for a retry")) };
        if waiting != attempt {
            return Err(wrong("another attempt is due"));
        }
        work.stage = Stage::Queued(attempt);
        self.drop_action(Action::Wake { timer: Timer::Retry { node, attempt }, at });
        self.requeue(node);
        Ok(())
    }
    /// A further attempt waits for nothing but room.
    fn requeue(&mut self, node: Node) {
        match (node.item, &mut self.steps[node.step as usize].map) {
            (Some(item), Some(map)) => {
                map.requeued.insert(item);
                self.note_map_room(node.step);
            }
            _ => drop(self.to_start.insert(node)),
        }
    }

    /// What failed is tried in another way.
    fn fallback_taken(&mut self, node: Node, alternative: u32) -> Result<(), IllegalEvent> {
        let step = self.steps[node.step as usize].node_mut(node.item);
        let Some(work) = step.filter(|work| work.alternative + 1 == alternative) else {
            return Err(wrong("this alternative is not the next"));
        };
        work.alternative = alternative;
        work.interruptions = 0;
        let attempt = work.attempts.last().map_or(1, |last| last.attempt + 1);
        work.stage = Stage::Queued(attempt);
        self.to_start.remove(&node);
        if let (Some(item), Some(map)) = (node.item, &mut self.steps[node.step as usize].map) {
            map.requeued.remove(&item);
        }
        match self.taken(node) {
            Some(Alternative::Value(_)) => drop(self.to_compute.insert(node)),
            _ => self.requeue(node),
        }
        self.note_map_room(node.step);
        Ok(())
    }

    fn succeeded(&mut self, node: Node, output: &Payload, at: Timestamp) -> Result<(), IllegalEvent> {
        if let Payload::Stored { size, .. } = output {
            self.stored += size;
        }
        self.to_compute.remove(&node);
        let step = &mut self.steps[node.step as usize];
        if step.phase.ending().is_some() {
            return Err(wrong("the step has ended"));
        }
        match node.item {
            None => {
                step.work.stage = Stage::Succeeded(output.clone());
                if self.part == Part::Main {
                    self.completed.push(node.step);
                }
                self.end_step(node.step, Phase::Succeeded, at)
            }
            Some(item) => {
                self.item_ended(node.step, item, Stage::Succeeded(output.clone()))?;
                self.note_map_room(node.step);
                Ok(())
            }
        }
    }

    fn failed_node(
        &mut self,
        node: Node,
        failure: &crate::outcome::Failure,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        self.to_start.remove(&node);
        self.to_compute.remove(&node);
        if let Some(item) = node.item {
            self.item_ended(node.step, item, Stage::Failed(Box::new(failure.clone())))?;
            self.note_map_room(node.step);
            return Ok(());
        }
        let attempt = self.steps[node.step as usize].work.attempts.last().map(|a| a.attempt);
        if self.failing.is_none() && self.part == Part::Main {
            self.failing = Some(Box::new(RunError { failure: failure.clone(), node: Some(node), attempt }));
        }
        self.end_step(node.step, Phase::Failed(Box::new(failure.clone())), at)
    }

    fn item_ended(&mut self, step: u32, item: u32, stage: Stage) -> Result<(), IllegalEvent> {
        let Some(map) = &mut self.steps[step as usize].map else {
            return Err(wrong("the step is no `forEach`"));
        };
        let Some(work) = map.items.get_mut(item as usize) else { return Err(wrong("there is no such item")) };
        match work.stage {
            Stage::Succeeded(_) | Stage::Failed(_) => return Err(wrong("the item has ended")),
            // An item that is computed begins and ends at once.
            Stage::New => map.next += 1,
            _ => drop(map.requeued.remove(&item)),
        }
        if matches!(stage, Stage::Succeeded(_)) {
            map.succeeded += 1
        } else {
            map.failed += 1
        }
        work.interruptions = 0;
        work.stage = stage;
        Ok(())
    }

    /// What is under way ends with its step.
    fn stop(&mut self, node: Node, at: Timestamp) {
        let Some(work) = self.steps[node.step as usize].node_mut(node.item) else { return };
        if matches!(work.stage, Stage::Running(_)) {
            work.stage = Stage::Cancelled;
        }
        if let Some(last) = work.attempts.last_mut().filter(|last| last.ended.is_none()) {
            (last.ended, last.end) = (Some(at), AttemptNote::Cancelled);
        }
        if let (Some(_), Some(map)) = (node.item, &mut self.steps[node.step as usize].map) {
            map.active -= 1;
        }
    }

    /// What is owed for this step. The actions are ordered by step, so nothing else is looked at.
    fn owed_by(&self, step: u32) -> Vec<Action> {
        let (first, last) = (Node::step(step), Node::item(step, u32::MAX));
        let invoke = |node, attempt| Action::Invoke { node, attempt };
        let child = |node, attempt| Action::Child { node, attempt };
        let retry = |node, attempt, at| Action::Wake { timer: Timer::Retry { node, attempt }, at };
        let total = |at| Action::Wake { timer: Timer::StepTotal { step }, at };
        let wait = |at| Action::Wake { timer: Timer::Wait { step }, at };
        let (early, late) = (Timestamp(0), Timestamp(u64::MAX));
        let mut owed: Vec<Action> =
            self.pending.range(invoke(first, 0)..=invoke(last, u32::MAX)).copied().collect();
        owed.extend(self.pending.range(child(first, 0)..=child(last, u32::MAX)));
        owed.extend(self.pending.range(retry(first, 0, early)..=retry(last, u32::MAX, late)));
        owed.extend(self.pending.range(total(early)..=total(late)));
        owed.extend(self.pending.range(wait(early)..=wait(late)));
        owed
    }

    /// Gives the step its one ending, stops what it has under way, and tells those that wait for it.
    fn end_step(&mut self, step: u32, phase: Phase, at: Timestamp) -> Result<(), IllegalEvent> {
        if self.steps[step as usize].phase.ending().is_some() {
            return Err(wrong("the step has ended"));
        }
        for action in self.owed_by(step) {
            if let Action::Child { node, .. } = action {
                self.leave_child(node);
            }
            if let Action::Invoke { node, .. } | Action::Child { node, .. } = action {
                self.running -= 1;
                self.stop(node, at);
            }
            self.drop_action(action);
        }
        self.to_decide.remove(&step);
        self.open_maps.remove(&step);
        self.to_start.remove(&Node::step(step));
        self.waiting.remove(&step);
        self.to_match.remove(&step);
        self.open_now.remove(&step);
        let gone: Vec<Node> =
            self.to_compute.range(Node::step(step)..=Node::item(step, u32::MAX)).copied().collect();
        self.to_compute.retain(|node| !gone.contains(node));
        let state: &mut StepState = &mut self.steps[step as usize];
        let halfway = matches!(phase, Phase::Failed(_) | Phase::Cancelled(_))
            && state.map.as_ref().is_some_and(|map| map.succeeded > 0);
        state.phase = phase;
        state.finished_at = Some(at);
        if halfway && self.part == Part::Main {
            self.completed.push(step);
        }
        self.open_steps -= 1;
        let plan = self.plan.clone();
        if plan.steps[step as usize].part == Part::Compensate {
            // Whoever cancels what is left of them has more to say.
            if !matches!(self.steps[step as usize].phase, Phase::Cancelled(_)) {
                self.undo_next(at);
            }
            return Ok(());
        }
        for &dependent in &plan.dependents[step as usize] {
            let waiting = &mut self.steps[dependent as usize].missing;
            *waiting -= 1;
            if *waiting == 0 || planted::is(Bug::JoinOnAny) {
                self.unblock(dependent, at);
            }
        }
        Ok(())
    }
}

pub(super) fn wrong(why: &str) -> IllegalEvent {
    IllegalEvent { kind: "", why: why.to_owned() }
}

fn step_of(event: &Event) -> Option<u32> {
    match event {
        Event::ConditionHeld { step }
        | Event::ApprovalDecided { step, .. }
        | Event::HelpAsked { step, .. }
        | Event::StepOrdered { step, .. }
        | Event::MapStarted { step, .. }
        | Event::StepSkipped { step, .. }
        | Event::StepCancelled { step, .. }
        | Event::WaitStarted { step, .. }
        | Event::SignalTaken { step, .. }
        | Event::SignalPassed { step, .. } => Some(*step),
        Event::AttemptStarted { node, .. }
        | Event::AttemptInterrupted { node, .. }
        | Event::AttemptFailed { node, .. }
        | Event::RetryDue { node, .. }
        | Event::FallbackTaken { node, .. }
        | Event::StepSucceeded { node, .. }
        | Event::ArtifactsKept(ArtifactsOf { node, .. })
        | Event::StepFailed { node, .. } => Some(node.step),
        Event::RunAccepted(_)
        | Event::RunStarted {}
        | Event::RunDue {}
        | Event::CancelRequested { .. }
        | Event::SignalReceived { .. }
        | Event::RunPaused { .. }
        | Event::RunResumed { .. }
        | Event::RunEnding { .. }
        | Event::PartBegan { .. }
        | Event::RunMigrated { .. }
        | Event::MigrationRefused { .. }
        | Event::RunFinished { .. } => None,
    }
}
