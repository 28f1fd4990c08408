//! One execution of a plan, as a state machine without I/O.
//!
//! ```text
//!   input ──► decide ──► events ──► apply ──► state ──► pending actions
//!               ▲                               │
//!               └────── what follows (Advance) ◄┘
//! ```
//! [`Run::decide`] is pure: a stale or repeated input decides to nothing. [`Run::apply`] is the only mutation, live and
//! on replay alike. [`Run::pending`] is what the shell owes the run now; it is kept up to date by `apply`, so that
//! resuming after a crash needs no code of its own. [`Run::settle`] decides, applies and goes on with what follows
//! from it until nothing more does.
//!
//! One concern, one file: [`event`] the facts, [`state`] what is remembered, `apply` and `decide` the machine,
//! `advance` what becomes ready, `retry` what becomes of a failure, `wait` times and signals,
//! [`approval`] people, [`child`] runs of other workflows, [`emit`] events, [`artifact`] files, [`queue`] what comes before the first step, `pause` standing still, `fallback` what is tried instead, `lists` the items of a `forEach`, `finish` the end of the steps,
//! `aftermath` what follows it, [`scope`] what an expression
//! sees, [`status`] where it stands, [`view`] what people are shown.

mod advance;
mod aftermath;
mod agent;
mod apply;
pub mod approval;
pub mod artifact;
pub mod child;
mod decide;
pub mod emit;
pub mod event;
mod fallback;
mod finish;
mod gate;
mod lists;
pub mod migrate;
pub mod orders;
pub mod past;
mod pause;
pub mod public;
pub mod queue;
mod reason;
pub mod rerun;
mod retry;
pub mod scope;
pub mod slot;
pub mod state;
pub mod status;
pub mod view;
mod wait;

use crate::id::{Digest, RunId};
use crate::json::Json;
use crate::limits::Limits;
use crate::outcome::{Failure, FailureKind, Usage};
use crate::plan::{Part, Plan};
use crate::time::Timestamp;
use aftermath::Ending;
use approval::Decision;
use artifact::{Artifact, Kept};
use child::Orphan;
pub use emit::Emitted;
use event::{Accepted, CacheVerdict, Event, Node, Order, Pause, Payload, RunError};
use migrate::Migration;
use scope::Values;
use state::{Signal, StepState};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Something that happened outside the core.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A node has taken the run. On a run that was under way before, this tells that its open attempts are lost.
    Taken(Entered),
    /// An attempt has ended.
    AttemptEnded {
        /// Of what.
        node: Node,
        /// Which.
        attempt: u32,
        /// How, with the output as it is kept.
        end: Ended,
        /// What the cache had to say.
        cache: CacheVerdict,
        /// What it used.
        usage: Usage,
        /// Files that it kept.
        artifacts: Vec<Artifact>,
    },
    /// This timer's time has come.
    TimerFired(Timer),
    /// Somebody wants the run cancelled.
    Cancel {
        /// Who.
        by: Arc<str>,
        /// Why.
        reason: Arc<str>,
        /// Whether nothing more is to run, not even what undoes and cleans up.
        force: bool,
    },
    /// Somebody wants the run to stand still.
    Pause(Pause),
    /// Somebody wants it to go on.
    Resume {
        /// Who.
        by: Arc<str>,
    },
    /// A person wants something of one step.
    Order {
        /// The step.
        step: Arc<str>,
        /// The person's groups.
        groups: Vec<Arc<str>>,
        /// Who, what, and why.
        order: Order,
    },
    /// A person decides an approval.
    Decide {
        /// The id of the step that asks.
        step: Arc<str>,
        /// The groups that the person belongs to.
        groups: Vec<Arc<str>>,
        /// Who, what, and why.
        decision: Decision,
    },
    /// Somebody signals the run.
    Signal {
        /// The signal's name.
        name: Arc<str>,
        /// What it says, as it is kept.
        data: Payload,
        /// Who.
        by: Arc<str>,
    },
    /// It has every slot that it asked for.
    Admitted,
    /// An event of the tenant, for everybody who listens to its name.
    Event {
        /// The event's name.
        name: Arc<str>,
        /// What it says, as it is kept.
        data: Payload,
        /// Who.
        by: Arc<str>,
    },
    /// Nothing new: go on with what follows from the state.
    Advance,
}

/// Which of a run's open attempts had entered their sandbox when whoever ran them went away. Those that had not were
/// only waiting, and are not to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entered {
    /// Nobody knows, so it may be any of them.
    Unknown,
    /// These.
    Only(Vec<(Node, u32)>),
}

impl Entered {
    fn has(&self, node: Node, attempt: u32) -> bool {
        match self {
            Entered::Unknown => true,
            Entered::Only(these) => these.contains(&(node, attempt)),
        }
    }
}

/// How an attempt ended, as the core needs it.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// With this output, kept here or under its digest.
    Done(Payload),
    /// With a failure.
    Failed(Failure),
}

/// Something that the core owes the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Run this attempt and tell how it ended.
    Invoke {
        /// Of what.
        node: Node,
        /// Which.
        attempt: u32,
    },
    /// See to it that the run exists that this attempt asks for, and tell how it ended.
    Child {
        /// Of what.
        node: Node,
        /// Which.
        attempt: u32,
    },
    /// Tell when it is this time.
    Wake {
        /// Which timer.
        timer: Timer,
        /// When.
        at: Timestamp,
    },
}

/// A reason to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A further attempt is due.
    Retry {
        /// Of what.
        node: Node,
        /// Which.
        attempt: u32,
    },
    /// A step's `timeout.total` is up.
    StepTotal {
        /// The step.
        step: u32,
    },
    /// A step's wait is over.
    Wait {
        /// The step.
        step: u32,
    },
    /// The time has come before which the run was not to begin.
    Start,
    /// The run's time is up.
    RunTotal,
    /// The time of what follows the steps is up.
    Aftermath,
}

/// What `apply` did to the pending actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// This is owed from now on.
    Owed(Action),
    /// This is no longer wanted: stop it if it is under way.
    Dropped(Action),
}

/// An event that cannot have happened in this state: the journal and the plan do not belong together, or one of them
/// is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {kind} cannot follow here: {why}")]
pub struct IllegalEvent {
    /// The kind of event.
    pub kind: &'static str,
    /// What it contradicts.
    pub why: String,
}

/// How far [`Run::settle`] came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Nothing more follows.
    Quiet,
    /// More follows, but enough has been decided for one append.
    More,
    /// These values must be fetched first.
    Needs(Vec<Digest>),
}

/// Bytes of computed values after which enough has been decided for one append.
const MADE_BYTES: u64 = 16 * 1024 * 1024;
/// What stays in the journal when a run has many values there already.
const SMALL_BYTES: u64 = 1024;

/// One run.
#[derive(Debug)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Its plan.
    pub plan: Arc<Plan>,
    limits: Arc<Limits>,
    accepted: Option<Arc<Accepted>>,
    created: Timestamp,
    started: Option<Timestamp>,
    /// Whether the time has come before which it was not to begin.
    due: bool,
    finished: Option<Finished>,
    cancel: Option<Cancel>,
    failing: Option<Box<RunError>>,
    paused: Option<Box<Pause>>,
    /// The part under way.
    part: Part,
    /// How the steps ended, once they have and something follows.
    ending: Option<Ending>,
    /// Steps that succeeded, and lists of which items did before the rest failed or was stopped, in the order in which
    /// they ended.
    completed: Vec<u32>,
    /// Compensations that are still to begin, the next at the end.
    undo: Vec<u32>,
    /// Steps of the part under way that have been let begin, once the steps are over.
    open_now: BTreeSet<u32>,
    /// Steps and items that get a value instead of what failed.
    to_compute: BTreeSet<Node>,
    steps: Vec<StepState>,
    /// Steps of which it is not yet settled whether and how they run.
    to_decide: BTreeSet<u32>,
    /// Steps and items that wait for nothing but room.
    to_start: BTreeSet<Node>,
    /// Maps that have items not yet started, and room of their own for one.
    open_maps: BTreeSet<u32>,
    /// Every signal so far.
    signals: Vec<Signal>,
    /// How many of them no step has taken.
    untaken: u64,
    /// Every version that it was to go on with.
    migrations: Vec<Migration>,
    /// How often people have paused it or decided something.
    interventions: u64,
    /// Steps that wait for a time or a signal.
    waiting: BTreeSet<u32>,
    /// Steps that wait for a signal, of which there is one that they have not seen.
    to_match: BTreeSet<u32>,
    /// Attempts under way.
    running: u32,
    /// Steps of the part under way that have not ended.
    open_steps: u32,
    /// Steps, and items of every list so far.
    known_work: u64,
    /// Whether the host goes away, so that no attempt is to begin here. No fact, and nobody's but this host's.
    leaves: bool,
    pending: BTreeSet<Action>,
    /// Large values that were computed here, until the shell takes them, and their bytes.
    made: Vec<(Digest, Json)>,
    made_bytes: u64,
    /// Bytes of the values that are kept by digest.
    stored: u64,
    /// Files that attempts have kept, in the order of the facts.
    artifacts: Vec<Kept>,
    /// Bytes of computed values that were kept in the journal itself.
    made_inline: u64,
    changes: Vec<Change>,
    /// Children that nobody waits for any more, until the shell takes them.
    orphans: Vec<Orphan>,
    /// Events on their way, until the shell takes them.
    emitted: Vec<Emitted>,
    events: u64,
}

#[derive(Clone, Debug)]
struct Cancel {
    by: Arc<str>,
    reason: Arc<str>,
    force: bool,
}

#[derive(Clone, Debug)]
struct Finished {
    at: Timestamp,
    finish: event::Finish,
    output: Option<Payload>,
    error: Option<Box<RunError>>,
}

impl Run {
    /// A run of which nothing has been recorded yet.
    pub fn new(id: RunId, plan: Arc<Plan>, limits: Arc<Limits>) -> Run {
        let steps: Vec<StepState> =
            plan.steps.iter().map(|s| StepState::new(s.depends.len() as u32)).collect();
        let main = plan.of_part(Part::Main).count() as u32;
        Run {
            id,
            limits,
            accepted: None,
            created: Timestamp(0),
            started: None,
            due: false,
            finished: None,
            cancel: None,
            failing: None,
            paused: None,
            part: Part::Main,
            ending: None,
            completed: Vec::new(),
            undo: Vec::new(),
            open_now: BTreeSet::new(),
            to_compute: BTreeSet::new(),
            to_decide: BTreeSet::new(),
            to_start: BTreeSet::new(),
            open_maps: BTreeSet::new(),
            signals: Vec::new(),
            untaken: 0,
            migrations: Vec::new(),
            interventions: 0,
            waiting: BTreeSet::new(),
            to_match: BTreeSet::new(),
            running: 0,
            open_steps: main,
            known_work: u64::from(main),
            steps,
            pending: BTreeSet::new(),
            made: Vec::new(),
            made_bytes: 0,
            stored: 0,
            artifacts: Vec::new(),
            made_inline: 0,
            leaves: false,
            changes: Vec::new(),
            orphans: Vec::new(),
            emitted: Vec::new(),
            events: 0,
            plan,
        }
    }
    /// The run as its journal tells it.
    ///
    /// # Errors
    /// The first event that cannot have happened.
    pub fn replay<'a>(
        id: RunId,
        plan: Arc<Plan>,
        limits: Arc<Limits>,
        journal: impl IntoIterator<Item = &'a event::Batch>,
    ) -> Result<Run, IllegalEvent> {
        let mut run = Run::new(id, plan, limits);
        for batch in journal {
            for event in &batch.events {
                run.apply(event, batch.at)?;
            }
        }
        run.changes.clear();
        run.orphans.clear();
        Ok(run)
    }

    /// Decides, applies, and goes on with what follows, until nothing does or `most` events have been decided.
    /// The events are added to `out` in order: they belong into one append.
    ///
    /// # Errors
    /// Only when a decision contradicts the state, which is a fault of ours.
    pub fn settle(
        &mut self,
        input: &Input,
        now: Timestamp,
        values: &Values,
        most: usize,
        out: &mut Vec<Event>,
    ) -> Result<Settled, IllegalEvent> {
        self.take(input, now, values, out)?;
        loop {
            if out.len() >= most || self.made_bytes >= MADE_BYTES {
                return Ok(Settled::More);
            }
            let needs = self.needs(values);
            if !needs.is_empty() {
                return Ok(Settled::Needs(needs));
            }
            if !self.take(&Input::Advance, now, values, out)? {
                return Ok(Settled::Quiet);
            }
        }
    }
    fn take(
        &mut self,
        input: &Input,
        now: Timestamp,
        values: &Values,
        out: &mut Vec<Event>,
    ) -> Result<bool, IllegalEvent> {
        let mut events = self.decide(input, now, values);
        self.note_emitted(&events);
        for event in &mut events {
            self.keep_large(event);
        }
        for event in &events {
            self.apply(event, now)?;
        }
        let any = !events.is_empty();
        out.extend(events);
        Ok(any)
    }

    /// What was computed here and is too large for the journal is kept by its digest, like what a plugin gives.
    fn keep_large(&mut self, event: &mut Event) {
        let payload = match event {
            Event::StepSucceeded { output, attempt: 0, .. } => output,
            Event::RunFinished { output: Some(output), .. }
            | Event::RunEnding { output: Some(output), .. } => output,
            _ => return,
        };
        let Payload::Inline(json) = payload else { return };
        let most = match self.made_inline < self.limits.run_inline_bytes {
            true => self.limits.inline_bytes,
            false => self.limits.inline_bytes.min(SMALL_BYTES),
        };
        let size = json.size() as u64;
        if size <= most {
            self.made_inline += size;
            return;
        }
        let digest = json.digest();
        self.made.push((digest, json.clone()));
        self.made_bytes += size;
        *payload = Payload::Stored { digest, size };
    }
    /// What is wrong with keeping a value of so many bytes, where the run has kept enough.
    fn no_room_for(&self, size: u64) -> Option<Failure> {
        let most = self.limits.run_stored_bytes;
        (size > self.limits.inline_bytes && self.stored + size > most).then(|| {
            let message = format!(
                "with these {size} bytes the outputs of the run have {}; the limit run_stored_bytes is {most}",
                self.stored + size
            );
            Failure::new(FailureKind::QuotaExceeded, message)
        })
    }
    /// The large values that were computed since this was asked last: they belong into the append that names them.
    pub fn take_made(&mut self) -> Vec<(Digest, Json)> {
        self.made_bytes = 0;
        std::mem::take(&mut self.made)
    }

    /// What the shell owes the run now.
    pub fn pending(&self) -> &BTreeSet<Action> {
        &self.pending
    }
    /// What has changed in [`Run::pending`] since this was asked last.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }
    /// What has changed since [`Run::take_changes`], to look at.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
    /// How many events have been applied.
    pub fn events(&self) -> u64 {
        self.events
    }
    /// Attempts under way.
    pub fn running(&self) -> u32 {
        self.running
    }
    /// Signals that have come and that no step has taken.
    pub fn signals(&self) -> u64 {
        self.untaken
    }
    /// How often people have paused it or decided something.
    pub fn interventions(&self) -> u64 {
        self.interventions
    }
    /// When the first attempt of this began.
    pub fn began(&self, node: Node) -> Option<Timestamp> {
        self.steps.get(node.step as usize)?.node(node.item)?.attempts.first().map(|first| first.started)
    }
    /// How often in a row the host has gone away while this was in its sandbox.
    pub fn interruptions(&self, node: Node) -> u32 {
        let step = self.steps.get(node.step as usize);
        step.and_then(|s| s.node(node.item)).map_or(0, |work| work.interruptions)
    }
    /// What it was accepted with.
    pub fn accepted(&self) -> Option<&Arc<Accepted>> {
        self.accepted.as_ref()
    }
    /// Whether the steps are over, and only what follows them runs.
    pub fn is_over(&self) -> bool {
        self.ending.is_some()
    }
    /// Whether nothing will ever change again.
    pub fn is_finished(&self) -> bool {
        self.finished.is_some()
    }
    /// How it ended, if it has.
    pub fn finish(&self) -> Option<event::Finish> {
        self.finished.as_ref().map(|f| f.finish)
    }
    fn max_parallel(&self) -> u32 {
        self.accepted.as_ref().map_or(1, |a| a.max_parallel)
    }
    /// The host is going away: from now on no attempt begins here. What is under way may end and is recorded.
    pub fn leave(&mut self) {
        self.leaves = true;
    }
    fn has_room(&self) -> bool {
        self.running < self.max_parallel()
    }
}
