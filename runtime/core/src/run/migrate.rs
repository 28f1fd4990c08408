//! A run in flight that goes on with another version of its workflow. It may where what it has done so far is the same
//! in both: every step that its journal speaks of, with all that decides about it. That is proved from the two plans and
//! the journal; nothing is guessed, and nothing is done again.
//!
//! The journal counts steps by their place in a plan, so what was recorded before is read with the numbers of the plan
//! after: [`Move`] knows them by the ids of the steps. The run is then what the journal tells of the new plan.

use super::event::{ArtifactsOf, Batch, Event, SkipReason};
use super::public::Emit;
use super::state::{Phase, StepState};
use super::{Action, Run, Timer};
use crate::diff::{Change, changed};
use crate::json::Json;
use crate::plan::{Dependency, Ending, Part, Plan};
use crate::planted::{self, Bug};
use crate::time::Timestamp;
use crate::value::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// From this bit on, the number of a step that came with a move says with which one; no plan has so many steps.
const NEW_FROM: u32 = 20;

/// A version that a run was to go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// When.
    pub at: Timestamp,
    /// Who wanted it so.
    pub by: Arc<str>,
    /// The version.
    pub version: Arc<str>,
    /// Why it keeps its own, where it does.
    pub refused: Option<Arc<str>>,
}

impl Migration {
    pub(super) fn of(event: &Event, at: Timestamp) -> Option<Migration> {
        let (by, version, refused) = match event {
            Event::RunMigrated { by, version, .. } => (by, version, None),
            Event::MigrationRefused { by, version, why } => (by, version, Some(why.clone())),
            _ => return None,
        };
        Some(Migration { at, by: by.clone(), version: version.clone(), refused })
    }
}

/// Why a run cannot go on with another version at the moment, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmovable {
    /// It has ended.
    #[error("the run has ended")]
    Ended,
    /// Its steps are over, or it is on its way to its end.
    #[error("the run is ending: what follows its steps belongs to the version that it has")]
    Ending,
    /// It has not begun.
    #[error("the run has not begun; cancel it, and submit it again")]
    NotBegun,
    /// Something of it is under way.
    #[error("something of the run is under way; it moves when it waits or stands still: `heddle runs pause`")]
    Busy,
}

impl Run {
    /// Whether the run can go on with another version now, as far as it is its own affair.
    ///
    /// # Errors
    /// Why not. [`Unmovable::Busy`] passes.
    pub fn may_move(&self) -> Result<(), Unmovable> {
        let under_way = |action: &Action| matches!(action, Action::Invoke { .. } | Action::Child { .. });
        // Where its time was up while it stood still, its steps are over, and what follows them has not begun.
        let is_over = self.is_over() && !planted::is(Bug::MovedAtItsEnd);
        match () {
            () if self.is_finished() => Err(Unmovable::Ended),
            () if self.started.is_none() => Err(Unmovable::NotBegun),
            () if is_over || self.part != Part::Main || self.cancel.is_some() || self.failing.is_some() => {
                Err(Unmovable::Ending)
            }
            () if self.running > 0 || self.pending.iter().any(under_way) => Err(Unmovable::Busy),
            () => Ok(()),
        }
    }
    pub(super) fn apply_migration(&mut self, event: &Event, at: Timestamp) {
        self.migrations.extend(Migration::of(event, at));
        if matches!(event, Event::RunMigrated { .. }) {
            self.time_anew(at);
        }
    }
    /// A step that comes with this move has its time from now on, however long ago what it waits for has ended.
    fn time_anew(&mut self, at: Timestamp) {
        let plan = self.plan.clone();
        let came = self.migrations.len() as u32;
        let is_new = |step: u32| plan.steps[step as usize].number >> NEW_FROM == came;
        let is_ready = |(step, state): &(u32, &StepState)| state.phase == Phase::Ready && is_new(*step);
        let ready: Vec<u32> = (0..).zip(&self.steps).filter(is_ready).map(|(step, _)| step).collect();
        let before: Vec<_> = ready.iter().map(|step| self.step_deadline(*step)).collect();
        for step in &ready {
            self.steps[*step as usize].ready_at = Some(at);
            if let Some(group) = plan.steps[*step as usize].group.filter(|group| is_new(*group)) {
                self.steps[group as usize].opened_at = Some(at);
            }
        }
        for (step, before) in ready.into_iter().zip(before) {
            let wake = |at| Action::Wake { timer: Timer::StepTotal { step }, at };
            if let Some((at, ..)) = before {
                self.drop_action(wake(at));
            }
            if let Some((at, ..)) = self.step_deadline(step) {
                self.owe(wake(at));
            }
        }
    }
    /// Every version that the run was to go on with, the oldest first.
    pub fn migrations(&self) -> &[Migration] {
        &self.migrations
    }
}

/// How the steps of one plan are counted in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    numbers: Vec<Option<u32>>,
}

impl Move {
    /// From the numbers of one plan to those of another, by id.
    pub fn between(from: &Plan, to: &Plan) -> Move {
        Move { numbers: from.steps.iter().map(|step| to.step(&step.id)).collect() }
    }
    /// The numbers that runs which steps ask for know the steps of the other plan by: those that they had, and for each
    /// new one a number that no step has had. `before` is how often the run was to move before.
    pub fn numbers(&self, from: &Plan, to: &Plan, before: usize) -> Vec<u32> {
        let fresh = (before as u32 + 1) << NEW_FROM;
        let mut numbers: Vec<u32> = (0..to.steps.len() as u32).map(|step| fresh + step).collect();
        for (step, number) in from.steps.iter().zip(&self.numbers) {
            if let Some(number) = number.filter(|_| !planted::is(Bug::NumbersForgotten)) {
                numbers[number as usize] = step.number;
            }
        }
        numbers
    }
    /// The number of a step in the other plan.
    pub fn step(&self, step: u32) -> Option<u32> {
        self.numbers.get(step as usize).copied().flatten()
    }
    /// A row of the journal with the numbers of the other plan; `None` where that has not all of its steps.
    pub fn batch(&self, batch: &Batch) -> Option<Batch> {
        let events = batch.events.iter().map(|event| self.event(event)).collect::<Option<Vec<_>>>()?;
        Some(Batch { at: batch.at, events })
    }
    fn event(&self, event: &Event) -> Option<Event> {
        let mut event = event.clone();
        let known = event.each_step(&mut |step| match self.step(*step) {
            Some(number) => {
                *step = number;
                true
            }
            None => false,
        });
        known.then_some(event)
    }
}

impl Event {
    /// Looks at each number of a step in it, and may change it. Gives whether every one of them was to its liking.
    fn each_step(&mut self, look: &mut dyn FnMut(&mut u32) -> bool) -> bool {
        match self {
            Event::ConditionHeld { step }
            | Event::ApprovalDecided { step, .. }
            | Event::HelpAsked { step, .. }
            | Event::StepOrdered { step, .. }
            | Event::MapStarted { step, .. }
            | Event::StepCancelled { step, .. }
            | Event::WaitStarted { step, .. }
            | Event::SignalTaken { step, .. }
            | Event::SignalPassed { step, .. } => look(step),
            Event::StepSkipped { step, reason } => {
                let because = match reason {
                    SkipReason::Dependency(other) | SkipReason::RunFailing(other) => look(other),
                    SkipReason::Condition | SkipReason::Person => true,
                };
                look(step) && because
            }
            Event::AttemptStarted { node, .. }
            | Event::AttemptInterrupted { node, .. }
            | Event::AttemptFailed { node, .. }
            | Event::RetryDue { node, .. }
            | Event::ArtifactsKept(ArtifactsOf { node, .. })
            | Event::FallbackTaken { node, .. }
            | Event::StepSucceeded { node, .. }
            | Event::StepFailed { node, .. } => look(&mut node.step),
            Event::RunPaused { pause } => pause.step.as_mut().is_none_or(look),
            Event::RunEnding { error, .. } | Event::RunFinished { error, .. } => {
                let node = error.as_mut().and_then(|error| error.node.as_mut());
                node.is_none_or(|node| look(&mut node.step))
            }
            Event::RunAccepted(_)
            | Event::RunStarted {}
            | Event::RunDue {}
            | Event::CancelRequested { .. }
            | Event::SignalReceived { .. }
            | Event::RunResumed { .. }
            | Event::PartBegan { .. }
            | Event::RunMigrated { .. }
            | Event::MigrationRefused { .. } => true,
        }
    }
}

/// What people are told of a migration.
pub(super) fn tell(event: &Event, emit: &mut Emit<'_>) {
    let said = |by: &Arc<str>, version: &Arc<str>| {
        vec![("version", Value::text(version.clone())), ("by", Value::text(by.clone()))]
    };
    match event {
        Event::RunMigrated { by, version, .. } => emit("run.migrated", said(by, version)),
        Event::MigrationRefused { by, version, why } => {
            let mut data = said(by, version);
            data.push(("reason", Value::text(why.clone())));
            emit("run.notMigrated", data);
        }
        _ => {}
    }
}

/// One thing that keeps a run where it is.
#[derive(Clone, Debug)]
pub struct Obstacle {
    /// Where it stands in the documents of the two versions.
    pub path: String,
    /// What differs, in a sentence.
    pub message: String,
}

/// The steps that a journal speaks of: those that have begun or ended, and those that were the reason for it.
pub fn begun<'a>(journal: impl IntoIterator<Item = &'a Event>) -> BTreeSet<u32> {
    let mut begun = BTreeSet::new();
    for event in journal {
        event.clone().each_step(&mut |step| {
            begun.insert(*step);
            true
        });
    }
    begun
}

/// Proves that what a run has done so far is the same in both versions.
///
/// # Errors
/// Everything that is not.
pub fn prove(from: &Plan, to: &Plan, begun: &BTreeSet<u32>, input: &Json) -> Result<(), Vec<Obstacle>> {
    let mut obstacles = Vec::new();
    if from.full_name() != to.full_name() {
        let message = format!("`{}` is another workflow than `{}`", to.full_name(), from.full_name());
        obstacles.push(Obstacle { path: "/document/name".to_owned(), message });
        return Err(obstacles);
    }
    if to.accept_input(input).ok().as_ref() != Some(input) {
        let message = "the run's input does not match it, or would get other defaults".to_owned();
        obstacles.push(Obstacle { path: "/input/schema".to_owned(), message });
    }
    let mut seen = BTreeSet::new();
    for &step in begun {
        let root = root(from, step);
        if seen.insert(root) {
            whole_step(from, to, root, &mut obstacles);
        }
        ties(from, to, step, &mut obstacles);
    }
    if !begun.is_empty() {
        around(from, to, &mut obstacles);
    }
    obstacles.dedup_by(|a, b| a.path == b.path && a.message == b.message);
    if obstacles.is_empty() || planted::is(Bug::PastUnproved) { Ok(()) } else { Err(obstacles) }
}

/// The step of the document that a step of the plan stands in: the group of a member, the step that a `compensate` undoes.
fn root(plan: &Plan, step: u32) -> u32 {
    let of = |step: u32| plan.steps.get(step as usize).and_then(|s| s.undoes.or(s.group));
    std::iter::successors(Some(step), |step| of(*step)).last().unwrap_or(step)
}

/// Where a step that is no member of anything stands in the document, and what its author said there.
fn said<'a>(plan: &'a Plan, part: Part, id: &str) -> (String, Option<&'a Value>) {
    let (keys, name): (&[&str], &str) = match part {
        Part::OnError => (&["onError", "steps"], id.strip_prefix("onError.").unwrap_or(id)),
        Part::Finally => (&["finally"], id.strip_prefix("finally.").unwrap_or(id)),
        Part::Main | Part::Compensate => (&["steps"], id),
    };
    let path = keys.iter().chain([&name]).map(|key| format!("/{key}")).collect();
    let section = keys.iter().try_fold(plan.source.value(), |value, key| value.get(key));
    (path, section.and_then(|section| section.get(name)))
}

/// All that the author said of a step must be the same.
fn whole_step(from: &Plan, to: &Plan, step: u32, obstacles: &mut Vec<Obstacle>) {
    let Some(step) = from.steps.get(step as usize) else { return };
    let (path, before) = said(from, step.part, &step.id);
    let (_, after) = said(to, step.part, &step.id);
    let (Some(before), Some(after)) = (before, after) else {
        let message = format!("step `{}` has begun and is not there any more", step.id);
        obstacles.push(Obstacle { path, message });
        return;
    };
    let differs = |change: Change| Obstacle {
        message: format!("step `{}` has begun: {}", step.id, told(&change)),
        path: change.path,
    };
    obstacles.extend(changed(before, after, &path).into_iter().map(differs));
}

/// What a step waits for follows from its own words and from those of others.
fn ties(from: &Plan, to: &Plan, step: u32, obstacles: &mut Vec<Obstacle>) {
    let (Some(before), Some(number)) =
        (from.steps.get(step as usize), to.step(&from.steps[step as usize].id))
    else {
        return;
    };
    let named = |plan: &Plan, depends: &[Dependency]| -> Vec<(Arc<str>, Vec<Ending>)> {
        let id = |step: u32| plan.steps.get(step as usize).map(|step| step.id.clone()).unwrap_or_default();
        let mut named: Vec<_> = depends.iter().map(|d| (id(d.step), d.accepts.clone())).collect();
        named.sort();
        named
    };
    let after = &to.steps[number as usize];
    if named(from, &before.depends) != named(to, &after.depends) || before.part != after.part {
        let (path, _) = said(from, before.part, &before.id);
        let message = format!("step `{}` has begun, and waits for other steps there", before.id);
        obstacles.push(Obstacle { path: format!("{path}/dependsOn"), message });
    }
}

/// What stands outside of a step and counts for it: defaults, and the retry policies that there were.
fn around(from: &Plan, to: &Plan, obstacles: &mut Vec<Obstacle>) {
    let null = Value::Null;
    let part = |plan: &Plan, keys: &[&str]| {
        keys.iter().try_fold(plan.source.value(), |value, key| value.get(key)).unwrap_or(&null).clone()
    };
    let mut changes = changed(&part(from, &["defaults"]), &part(to, &["defaults"]), "/defaults");
    let policies = changed(&part(from, &["use", "retries"]), &part(to, &["use", "retries"]), "/use/retries");
    // One more is nobody's yet.
    changes.extend(
        policies.into_iter().filter(|change| change.a.as_ref().is_some_and(|a| !matches!(a, Value::Null))),
    );
    obstacles.extend(changes.into_iter().map(|change| Obstacle {
        message: format!("steps that have begun count on it: {}", told(&change)),
        path: change.path,
    }));
}

/// Characters of a value that are told.
const TOLD: usize = 60;

fn told(change: &Change) -> String {
    let text = |value: &Option<Value>| match value {
        None => "nothing".to_owned(),
        Some(value) => {
            let text = Json::from_value(value.clone()).text().to_owned();
            match text.char_indices().nth(TOLD) {
                Some((end, _)) => format!("`{}…`", &text[..end]),
                None => format!("`{text}`"),
            }
        }
    };
    format!("it was {}, and is {} there", text(&change.a), text(&change.b))
}
