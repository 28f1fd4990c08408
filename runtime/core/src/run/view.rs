//! What people are shown of a run: a bounded document of plain data, made from the state.

use super::approval::Decision;
use super::event::{
    CacheVerdict, CancelReason, Defaults, Node, Parent, Pause, Payload, Queueing, SkipReason,
};
use super::migrate::Migration;
use super::orders::{Order, Wish};
use super::rerun::RerunOf;
use super::state::{AttemptNote, MapState, NodeState, Phase, Stage, StepState};
use super::{Action, Run, Timer};
use crate::id::{Digest, RunId};
use crate::json::Json;
use crate::outcome::{Failure, Usage};
use crate::plan::{Part, Verb, Wait};
use crate::planted::{self, Bug};
use crate::time::Timestamp;
use std::sync::Arc;

/// A run.
#[derive(Clone, Debug)]
pub struct RunView {
    /// Its id.
    pub id: RunId,
    /// Its owner.
    pub tenant: Arc<str>,
    /// `namespace/name`.
    pub workflow: String,
    /// The workflow's version.
    pub workflow_version: String,
    /// Digest of the workflow's canonical source.
    pub workflow_digest: Digest,
    /// `queued`, `running`, `waiting`, `paused`, `compensating`, `succeeded`, `failed` or `cancelled`.
    pub status: &'static str,
    /// Its input.
    pub input: ValueView,
    /// Its output.
    pub output: Option<ValueView>,
    /// Why it failed.
    pub error: Option<ErrorView>,
    /// Who cancelled it and why.
    pub cancelled: Option<(Arc<str>, Arc<str>)>,
    /// Who paused it and why, while it stands still.
    pub paused: Option<Pause>,
    /// Who asked for it.
    pub by: Option<Arc<str>>,
    /// Every version that it was to go on with, the oldest first.
    pub migrations: Vec<Migration>,
    /// What it waits for, while it has not begun.
    pub held_back: Option<Queueing>,
    /// The run that it is again.
    pub rerun: Option<Box<RerunOf>>,
    /// When it must have ended, where somebody has said so.
    pub deadline: Option<Timestamp>,
    /// The attempt that it is run for, where that belongs to another run.
    pub parent: Option<Box<Parent>>,
    /// Work that has ended, steps and items.
    pub done: u64,
    /// Work that is known, steps and items.
    pub total: u64,
    /// Steps under way now, at most sixteen.
    pub current: Vec<Arc<str>>,
    /// The most attempts at once, and which setting says so.
    pub max_parallel: (u32, Arc<str>),
    /// What its steps do where the workflow says nothing.
    pub defaults: Option<Defaults>,
    /// The trace that its request belongs to.
    pub traceparent: Option<String>,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When a node took it first.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Its steps, each after those that it waits for.
    pub steps: Vec<StepView>,
}

/// A value, or where to find it when it is large.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueView {
    /// The value.
    Inline(Json),
    /// Its digest and size.
    Stored(Digest, u64),
}

/// Why something failed, and where.
#[derive(Clone, Debug)]
pub struct ErrorView {
    /// The failure.
    pub failure: Failure,
    /// The step.
    pub step: Option<Arc<str>>,
    /// The item.
    pub item: Option<u32>,
    /// The attempt.
    pub attempt: Option<u32>,
}

/// A step.
#[derive(Clone, Debug)]
pub struct StepView {
    /// Its index in the plan.
    pub index: u32,
    /// The part of the run that it belongs to.
    pub part: Part,
    /// How it is undone by hand, where that must be.
    pub hint: Option<Json>,
    /// What people are asked, while they are.
    pub asks: Option<AskView>,
    /// What people have decided.
    pub decisions: Vec<Decision>,
    /// What people have wanted of it.
    pub orders: Vec<Order>,
    /// Its id.
    pub id: Arc<str>,
    /// `pending`, `running`, `waiting`, `retrying`, `interrupted`, `succeeded`, `failed`, `skipped`, `cancelled`,
    /// `compensated` or `compensationFailed`.
    pub status: &'static str,
    /// `kind:name@range` as the workflow says, where it calls a plugin.
    pub calls: Option<String>,
    /// Index of the plugin in the plan's calls.
    pub call: Option<usize>,
    /// Which of the call's candidates the last attempt went to.
    pub turn: u32,
    /// Steps that it waits for.
    pub depends_on: Vec<Arc<str>>,
    /// Why it was skipped or cancelled.
    pub reason: Option<String>,
    /// Counts of its items, where it is a `forEach`.
    pub items: Option<ItemCounts>,
    /// What it waits for, where it is a `wait` that has begun and not ended.
    pub waits: Option<WaitView>,
    /// Its own work.
    pub work: WorkView,
    /// When its dependencies had ended.
    pub ready_at: Option<Timestamp>,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// An approval that waits for people.
#[derive(Clone, Debug, PartialEq)]
pub struct AskView {
    /// Who may decide; empty for anybody.
    pub assignees: Vec<Arc<str>>,
    /// How many must approve.
    pub quorum: u32,
    /// JSON Schema of what an approval must say.
    pub form: Option<Json>,
    /// Since when they are asked.
    pub since: Option<Timestamp>,
    /// What the step failed with, where people decide what becomes of that.
    pub failure: Option<Failure>,
    /// Whether they may skip it.
    pub skippable: bool,
}

/// A wait under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitView {
    /// The signal, where it waits for one.
    pub signal: Option<Arc<str>>,
    /// Until when, at most.
    pub until: Option<Timestamp>,
    /// Whether that is the end of all that follows the steps, which comes before its own.
    pub ends_with_all: bool,
}

/// Counts of a `forEach`'s items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ItemCounts {
    /// All.
    pub total: u32,
    /// Under way.
    pub running: u32,
    /// Ended well.
    pub succeeded: u32,
    /// Ended badly.
    pub failed: u32,
    /// Not ended when their step did.
    pub cancelled: u32,
    /// Of those that ended well, from the cache.
    pub cached: u32,
    /// Of those that ended, not in the cache although it was asked.
    pub missed: u32,
}

/// The attempts and the result of a step or an item.
#[derive(Clone, Debug)]
pub struct WorkView {
    /// Where it stands, in the words of a step's status.
    pub status: &'static str,
    /// Its output.
    pub output: Option<ValueView>,
    /// Its failure.
    pub error: Option<Failure>,
    /// What the cache had to say.
    pub cache: CacheVerdict,
    /// Its attempts.
    pub attempts: Vec<AttemptView>,
    /// When a further attempt is due.
    pub retry_at: Option<Timestamp>,
    /// What its attempts used; of a `forEach`, those of all its items.
    pub usage: Usage,
}

/// An attempt.
#[derive(Clone, Debug)]
pub struct AttemptView {
    /// Its number, from 1.
    pub attempt: u32,
    /// The run that it asked for, where its step runs a workflow.
    pub run: Option<RunId>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// `running`, `succeeded`, `failed` or `interrupted`.
    pub status: &'static str,
    /// Why it failed.
    pub error: Option<Failure>,
    /// What it used.
    pub usage: Usage,
}

/// Steps listed as current.
const CURRENT: usize = 16;

impl Run {
    /// Whether nothing but a timer moves it on.
    pub fn waits(&self) -> bool {
        let idle = !matches!(self.pending.first(), Some(Action::Invoke { .. }));
        if self.finished.is_some() || !idle {
            return false;
        }
        if self.started.is_none() {
            return self.held_back().is_some();
        }
        self.paused.is_some()
            || self.to_decide.is_empty()
                && (!self.has_room() || self.to_start.is_empty() && self.open_maps.is_empty())
                && self.to_compute.is_empty()
                && self.to_match.is_empty()
                && (!self.waiting.is_empty()
                    || self.pending.iter().any(|a| matches!(a, Action::Child { .. }))
                    || self
                        .pending
                        .iter()
                        .any(|a| matches!(a, Action::Wake { timer: Timer::Retry { .. }, .. })))
    }

    /// The document of the run.
    pub fn view(&self) -> RunView {
        let accepted = self.accepted.as_deref();
        let (done, total) = self.work_counts();
        RunView {
            id: self.id,
            defaults: accepted.and_then(|a| a.defaults),
            tenant: accepted.map(|a| a.tenant.0.clone()).unwrap_or_default(),
            workflow: self.plan.full_name(),
            workflow_version: self.plan.version.to_string(),
            workflow_digest: self.plan.digest,
            status: self.status(),
            input: accepted.and_then(|a| value(&a.input)).unwrap_or_else(|| ValueView::Inline(Json::null())),
            output: self.finished.as_ref().and_then(|f| f.output.as_ref()).and_then(value),
            error: self.finished.as_ref().and_then(|f| f.error.as_ref()).map(|e| ErrorView {
                failure: e.failure.clone(),
                step: e.node.map(|n| self.step_id(n.step).into()),
                item: e.node.and_then(|n| n.item),
                attempt: e.attempt,
            }),
            cancelled: self.cancel.as_ref().map(|cancel| (cancel.by.clone(), cancel.reason.clone())),
            paused: self.paused().cloned(),
            by: accepted.and_then(|a| a.by.clone()),
            migrations: self.migrations().to_vec(),
            held_back: self.held_back().cloned(),
            rerun: accepted.and_then(|a| a.rerun.clone()),
            deadline: accepted.and_then(|a| a.deadline),
            parent: accepted.and_then(|a| a.parent.clone()),
            done,
            total,
            current: self.current(),
            max_parallel: accepted
                .map_or((1, "node".into()), |a| (a.max_parallel, a.max_parallel_from.clone())),
            traceparent: accepted.and_then(|a| a.traceparent.clone()),
            labels: accepted.map(|a| a.labels.clone()).unwrap_or_default(),
            created_at: self.created,
            started_at: self.started,
            finished_at: self.finished.as_ref().map(|f| f.at),
            steps: self.plan.order.iter().filter_map(|&i| self.step_view(i)).collect(),
        }
    }

    fn work_counts(&self) -> (u64, u64) {
        let (mut done, mut total) = (0, 0);
        for (index, state) in self.steps.iter().enumerate() {
            if !self.is_known(index as u32, state) {
                continue;
            }
            total += 1;
            done += u64::from(state.has_ended());
            if let Some(map) = &state.map {
                total += map.items.len() as u64;
                done += if state.has_ended() { map.items.len() as u64 } else { u64::from(map.ended()) };
            }
        }
        (done, total)
    }
    fn current(&self) -> Vec<Arc<str>> {
        let active = self.steps.iter().enumerate().filter(|(_, s)| s.phase == Phase::Active);
        active.take(CURRENT).map(|(i, _)| self.plan.steps[i].id.clone()).collect()
    }

    /// One step.
    pub fn step_view(&self, index: u32) -> Option<StepView> {
        let (step, state) = (self.plan.steps.get(index as usize)?, self.steps.get(index as usize)?);
        let call = self.plan.call_at(index, state.work.alternative).map(|(call, _)| call);
        let asks = match &step.verb {
            _ if state.asks().is_some() => self.help_view(index, state),
            Verb::Approval(approval) if state.phase == Phase::Active => Some(AskView {
                assignees: approval.assignees.clone(),
                quorum: approval.quorum,
                form: approval.form.as_ref().map(|form| form.text().clone()),
                since: state.started_at,
                failure: None,
                skippable: false,
            }),
            _ => None,
        };
        let (status, hint) = self.step_standing(index, state);
        let mut work = work_view(&state.work);
        work.status = status;
        self.name_children(Node::step(index), &mut work);
        if let Some(value) = state.stand_in() {
            work.output = Some(ValueView::Inline(value.clone()));
        }
        if let Phase::Failed(failure) = &state.phase {
            work.error = Some((**failure).clone());
        }
        if let Some(map) = &state.map {
            work.usage = map.items.iter().map(used).fold(Usage::default(), Usage::and);
        }
        Some(StepView {
            index,
            part: step.part,
            hint,
            asks,
            decisions: state.decisions.clone(),
            orders: state.orders.clone(),
            id: step.id.clone(),
            status,
            calls: match call {
                Some(call) => self.plan.calls.get(call).map(ToString::to_string),
                None => self.plan.runs(index).filter(|_| self.runs_child(index)),
            },
            call,
            turn: state.work.turn,
            depends_on: step.depends.iter().map(|d| self.step_id(d.step).into()).collect(),
            reason: match self.is_left_out(index, state) {
                true => Some("the run ended without it".to_owned()),
                false => self.reason(state),
            },
            items: state.map.as_ref().map(|map| item_counts(state, map)),
            waits: self.wait_view(index, state),
            work,
            ready_at: state.ready_at,
            started_at: match (state.started_at, state.work.attempts.first()) {
                // In its sandbox, and not in line for one.
                (Some(at), Some(first)) => Some(at.plus_ms(first.usage.queued_us / 1_000)),
                (at, _) => at,
            },
            finished_at: state.finished_at,
        })
    }

    /// A step that has failed for good and asks what becomes of it.
    fn help_view(&self, index: u32, state: &StepState) -> Option<AskView> {
        let (plan, asking) = (&self.plan.steps[index as usize], state.asks()?);
        Some(AskView {
            assignees: plan.on_failure.as_ref().map(|ask| ask.assignees.clone()).unwrap_or_default(),
            quorum: 1,
            form: None,
            since: Some(asking.since),
            failure: Some(asking.failure.clone()),
            skippable: plan.skippable,
        })
    }

    /// Which runs the attempts asked for, where their step runs a workflow.
    fn name_children(&self, node: Node, work: &mut WorkView) {
        for attempt in work.attempts.iter_mut().filter(|_| self.runs_child(node.step)) {
            attempt.run = self.child_of(node, attempt.attempt);
        }
    }

    /// What a step waits for. What follows the steps has its time in all, and no wait there outlasts it.
    fn wait_view(&self, index: u32, state: &StepState) -> Option<WaitView> {
        let named = !planted::is(Bug::WaitUnnamed);
        let waiting = state.waiting.filter(|_| state.phase == Phase::Active && named)?;
        let step = &self.plan.steps[index as usize];
        let follows = step.part != Part::Main && self.paused.is_none();
        let all = self.ending.as_ref().filter(|_| follows).map(|ending| ending.until);
        let whole = state.asks().map(|_| self.deadline()).filter(|_| step.part == Part::Main);
        let total = state.asks().and(self.step_deadline(index)).map(|(at, ..)| at);
        let own = [waiting.until, whole, total].into_iter().flatten().min();
        let earlier = all.filter(|all| own.is_none_or(|own| *all < own));
        Some(WaitView {
            signal: match &step.verb {
                Verb::Wait(Wait::Signal { name, .. }) => Some(name.clone()),
                _ => None,
            },
            until: earlier.or(own),
            ends_with_all: earlier.is_some(),
        })
    }

    /// Where a step stands, what undoes it included, and what to do by hand where that failed.
    fn step_standing(&self, index: u32, state: &StepState) -> (&'static str, Option<Json>) {
        if self.is_left_out(index, state) {
            return ("skipped", None);
        }
        let Some(undoing) = self.plan.steps[index as usize].compensation else {
            return (state.word(), None);
        };
        if !self.leaves_work(index) {
            // Nobody can say how far it came, so nothing undoes it by itself.
            let hint = self.plan.steps[undoing as usize].hint.clone();
            return (state.word(), hint.filter(|_| was_stopped(state)));
        }
        match &self.steps[undoing as usize].phase {
            // That it failed, and why, is the greater news.
            Phase::Succeeded if state.phase != Phase::Succeeded => (state.word(), None),
            Phase::Succeeded => ("compensated", None),
            Phase::Failed(_) | Phase::Cancelled(_) => {
                ("compensationFailed", self.plan.steps[undoing as usize].hint.clone())
            }
            Phase::Blocked if self.is_left_undone(undoing) => {
                let hint = self.plan.steps[undoing as usize].hint.clone();
                match self.ending {
                    Some(_) => ("compensationFailed", hint),
                    // By force, and before anything could have been undone: nothing has failed, and it is to be done.
                    None => (state.word(), hint),
                }
            }
            _ => (state.word(), None),
        }
    }

    fn reason(&self, state: &StepState) -> Option<String> {
        Some(match &state.phase {
            Phase::Skipped(SkipReason::Condition) => "its `when` was false".to_owned(),
            Phase::Skipped(SkipReason::Dependency(on)) => {
                format!("`{}` did not end as `dependsOn` wants", self.step_id(*on))
            }
            Phase::Skipped(SkipReason::RunFailing(on)) => {
                format!("`{}` failed before it began", self.step_id(*on))
            }
            Phase::Skipped(SkipReason::Person) | Phase::Cancelled(CancelReason::Person) => told(state),
            Phase::Cancelled(CancelReason::Requested) => "the run was cancelled".to_owned(),
            Phase::Cancelled(CancelReason::RunFailing) => "another step failed".to_owned(),
            Phase::Cancelled(CancelReason::RunDeadline) => "the run's time was up".to_owned(),
            _ => return None,
        })
    }

    /// A page of a `forEach`'s items, from `from` on.
    pub fn item_views(&self, step: u32, from: u32, limit: u32) -> Vec<(u32, WorkView)> {
        let Some(map) = self.steps.get(step as usize).and_then(|s| s.map.as_ref()) else { return Vec::new() };
        let items = map.items.iter().enumerate().skip(from as usize).take(limit as usize);
        let ended = self.steps.get(step as usize).is_some_and(StepState::has_ended);
        let shown = items.map(|(i, item)| {
            let mut view = work_view(item);
            self.name_children(Node::item(step, i as u32), &mut view);
            // What had not ended when its step did never will.
            if ended && !matches!(view.status, "succeeded" | "failed") {
                (view.status, view.retry_at) = ("cancelled", None);
            }
            (i as u32, view)
        });
        shown.collect()
    }

    /// The output of the run, where it has one at hand.
    pub fn output(&self) -> Option<&Payload> {
        self.finished.as_ref().and_then(|f| f.output.as_ref())
    }
}

/// Whether an attempt of the step was under way when the step was cancelled.
fn was_stopped(state: &StepState) -> bool {
    let cut = |work: &NodeState| matches!(work.attempts.last().map(|a| &a.end), Some(AttemptNote::Cancelled));
    let items = state.map.as_ref().is_some_and(|map| map.items.iter().any(cut));
    matches!(state.phase, Phase::Cancelled(_)) && (items || cut(&state.work))
}

fn value(payload: &Payload) -> Option<ValueView> {
    match payload {
        Payload::Inline(json) => Some(ValueView::Inline(json.clone())),
        Payload::Stored { digest, size } => Some(ValueView::Stored(*digest, *size)),
        Payload::Derived => None,
    }
}

fn used(work: &NodeState) -> Usage {
    work.attempts.iter().map(|attempt| attempt.usage).fold(Usage::default(), Usage::and)
}

/// What became of a list's items so far.
fn item_counts(state: &StepState, map: &MapState) -> ItemCounts {
    ItemCounts {
        total: map.items.len() as u32,
        running: map.active,
        succeeded: map.succeeded,
        failed: map.failed,
        cancelled: match state.has_ended() {
            true => map.items.len() as u32 - map.ended(),
            false => 0,
        },
        cached: map.items.iter().filter(|i| is_hit(i)).count() as u32,
        missed: map.items.iter().filter(|i| is_miss(i)).count() as u32,
    }
}

fn is_hit(work: &NodeState) -> bool {
    matches!(work.attempts.last().map(|a| &a.cache), Some(CacheVerdict::Hit { .. }))
}

fn is_miss(work: &NodeState) -> bool {
    matches!(work.attempts.last().map(|a| &a.cache), Some(CacheVerdict::Miss { .. }))
}

/// Who ended it, and why.
fn told(state: &StepState) -> String {
    let Some(order) = state.orders.last() else { return "somebody said so".to_owned() };
    let done = if matches!(order.what, Wish::Skip { .. }) { "skipped" } else { "cancelled" };
    match order.comment.is_empty() {
        true => format!("{} {done} it", order.by),
        false => format!("{} {done} it: {}", order.by, order.comment),
    }
}

fn work_view(work: &NodeState) -> WorkView {
    let (status, output, error, retry_at) = match &work.stage {
        Stage::New => ("pending", None, None, None),
        Stage::Queued(_) if work.interruptions > 0 => ("interrupted", None, None, None),
        Stage::Queued(_) => ("pending", None, None, None),
        Stage::Running(_) => ("running", None, None, None),
        Stage::Waiting(_, at) => ("retrying", None, None, Some(*at)),
        Stage::Succeeded(payload) => ("succeeded", value(payload), None, None),
        Stage::Failed(failure) => ("failed", None, Some((**failure).clone()), None),
        Stage::Cancelled => ("cancelled", None, None, None),
    };
    let attempts: Vec<AttemptView> = work
        .attempts
        .iter()
        .map(|a| {
            let (status, error) = match &a.end {
                AttemptNote::Open => ("running", None),
                AttemptNote::Succeeded => ("succeeded", None),
                AttemptNote::Failed(failure) => ("failed", Some((**failure).clone())),
                AttemptNote::Interrupted => ("interrupted", None),
                AttemptNote::Cancelled => ("cancelled", None),
            };
            AttemptView {
                attempt: a.attempt,
                run: None,
                started_at: a.started.plus_ms(a.usage.queued_us / 1_000),
                ended_at: a.ended,
                status,
                error,
                usage: a.usage,
            }
        })
        .collect();
    let cache = work.attempts.last().map(|a| a.cache.clone()).unwrap_or_default();
    WorkView { status, output, error, cache, attempts, retry_at, usage: used(work) }
}
