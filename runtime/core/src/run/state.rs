//! What a run remembers of its steps.

use super::approval::Decision;
use super::event::{CacheVerdict, CancelReason, Payload, SkipReason};
use super::orders::{Asking, Order};
use crate::json::Json;
use crate::outcome::{Failure, Usage};
use crate::plan::Ending;
use crate::time::Timestamp;
use crate::value::Value;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

/// A step.
#[derive(Debug)]
pub struct StepState {
    /// Dependencies that have not ended.
    pub missing: u32,
    /// Whether its `when` has been found true.
    pub condition_held: bool,
    /// Where it stands.
    pub phase: Phase,
    /// Its attempts, where it is no `forEach`.
    pub work: NodeState,
    /// Its items, where it is one.
    pub map: Option<Box<MapState>>,
    /// What it waits for, where it is a `wait` that has begun.
    pub waiting: Option<Waiting>,
    /// What people have decided, where it asks them.
    pub decisions: Vec<Decision>,
    /// Why it asks people what becomes of it, where it has failed for good.
    pub asking: Option<Box<Asking>>,
    /// What people have wanted of it.
    pub orders: Vec<Order>,
    /// When the first step of the group could begin, where it is one.
    pub opened_at: Option<Timestamp>,
    /// Whether its breakpoint has paused the run.
    pub stopped: bool,
    /// When its dependencies had ended.
    pub ready_at: Option<Timestamp>,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// A wait under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Until when, at most.
    pub until: Option<Timestamp>,
    /// The first signal that it has not seen.
    pub next: u32,
}

/// A signal that has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Its name.
    pub name: Arc<str>,
    /// What it says.
    pub data: Payload,
    /// Who sent it.
    pub by: Arc<str>,
    /// Whether a step has taken it.
    pub taken: bool,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// It waits for others.
    Blocked,
    /// It may run, and has not begun.
    Ready,
    /// It has begun.
    Active,
    /// It has an output.
    Succeeded,
    /// It failed for good.
    Failed(Box<Failure>),
    /// It was not run.
    Skipped(SkipReason),
    /// It was stopped.
    Cancelled(CancelReason),
}

impl Phase {
    /// How it ended, if it has.
    pub fn ending(&self) -> Option<Ending> {
        match self {
            Phase::Succeeded => Some(Ending::Succeeded),
            Phase::Failed(_) => Some(Ending::Failed),
            Phase::Skipped(_) => Some(Ending::Skipped),
            Phase::Cancelled(_) => Some(Ending::Cancelled),
            Phase::Blocked | Phase::Ready | Phase::Active => None,
        }
    }
}

/// The attempts of a step or of an item.
#[derive(Clone, Debug, Default)]
pub struct NodeState {
    /// Where it stands.
    pub stage: Stage,
    /// Attempts that failed.
    pub failures: u32,
    /// The same, whatever a person has wanted in between: which candidate is next, where the call is one by capability.
    pub turns: u32,
    /// Interruptions since an attempt last ended by itself.
    pub interruptions: u32,
    /// How many of the step's alternatives it has come to.
    pub alternative: u32,
    /// Which of its candidates the last attempt went to, where it is called by capability.
    pub turn: u32,
    /// Attempts that failed by themselves: an agent's next one is told nothing of what those were told.
    pub call_log: u32,
    /// Every attempt so far.
    pub attempts: Vec<Attempt>,
    /// How many attempts there were when somebody had it tried again.
    pub told_at: usize,
    /// What they had it tried with.
    pub input: Option<Json>,
}

/// Where a step's or an item's work stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Stage {
    /// Nothing has begun.
    #[default]
    New,
    /// It waits for room; the next attempt has this number.
    Queued(u32),
    /// This attempt is under way.
    Running(u32),
    /// This attempt is due at this time.
    Waiting(u32, Timestamp),
    /// It has an output.
    Succeeded(Payload),
    /// It failed for good.
    Failed(Box<Failure>),
    /// Its step ended first.
    Cancelled,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub end: AttemptNote,
    /// What it used.
    pub usage: Usage,
    /// What the cache had to say before it began.
    pub cache: CacheVerdict,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum AttemptNote {
    /// It has not.
    Open,
    /// With an output.
    Succeeded,
    /// With a failure.
    Failed(Box<Failure>),
    /// The host went away.
    Interrupted,
    /// Its step ended first.
    Cancelled,
}

/// The items of a `forEach`.
#[derive(Debug)]
pub struct MapState {
    /// Every item, in the order of the list.
    pub items: Vec<NodeState>,
    /// The first item that has not begun.
    pub next: u32,
    /// Items that wait for a further attempt and for nothing but room.
    pub requeued: BTreeSet<u32>,
    /// Attempts of items under way.
    pub active: u32,
    /// Items that have an output.
    pub succeeded: u32,
    /// Items that failed for good.
    pub failed: u32,
    /// The most items under way at once.
    pub max_parallel: u32,
    /// The most items that may fail.
    pub tolerated: u32,
    /// How many items each list within the list has; empty where there are none.
    pub lens: Vec<u32>,
    /// The list, computed when first needed.
    pub list: OnceLock<Arc<Vec<Value>>>,
    /// The outputs as one list, computed when first needed after the end.
    pub aggregate: OnceLock<Value>,
    /// The failures of the items as one list, computed when first needed after the end.
    pub errors: OnceLock<Value>,
}

impl MapState {
    /// Items that have ended.
    pub fn ended(&self) -> u32 {
        self.succeeded + self.failed
    }
    /// Whether an item may begin, as far as the map itself is concerned.
    pub fn has_room(&self) -> bool {
        let cap =
            if crate::planted::is(crate::planted::Bug::MapOverrun) { u32::MAX } else { self.max_parallel };
        self.next_item().is_some() && self.active < cap
    }
    /// The item that begins next.
    pub fn next_item(&self) -> Option<u32> {
        let fresh = ((self.next as usize) < self.items.len()).then_some(self.next);
        self.requeued.first().copied().or(fresh)
    }
}

impl StepState {
    pub(super) fn new(missing: u32) -> StepState {
        StepState {
            missing,
            condition_held: false,
            phase: Phase::Blocked,
            work: NodeState::default(),
            map: None,
            waiting: None,
            decisions: Vec::new(),
            asking: None,
            orders: Vec::new(),
            opened_at: None,
            stopped: false,
            ready_at: None,
            started_at: None,
            finished_at: None,
        }
    }
    /// The step's own work, or that of one of its items.
    pub fn node(&self, item: Option<u32>) -> Option<&NodeState> {
        match (item, &self.map) {
            (None, _) => Some(&self.work),
            (Some(i), Some(map)) => map.items.get(i as usize),
            (Some(_), None) => None,
        }
    }
    pub(super) fn node_mut(&mut self, item: Option<u32>) -> Option<&mut NodeState> {
        match (item, &mut self.map) {
            (None, _) => Some(&mut self.work),
            (Some(i), Some(map)) => map.items.get_mut(i as usize),
            (Some(_), None) => None,
        }
    }
}

impl NodeState {
    /// The attempt that is under way.
    pub fn running(&self) -> Option<u32> {
        match self.stage {
            Stage::Running(attempt) => Some(attempt),
            _ => None,
        }
    }
    /// When the first attempt began, since somebody had it tried again.
    pub fn first_started(&self) -> Option<Timestamp> {
        self.attempts.get(self.told_at).map(|a| a.started)
    }
}
