//! The facts of a run. The journal holds these and nothing else; everything that anybody is shown follows from them.
//!
//! The encoding is JSON, one outer key naming the fact, and steps by their index in the plan. It is versioned by
//! [`ENCODING`] and pinned by golden tests: a changed encoding is a new version, never a silent one.

use super::approval::Decision;
pub use super::artifact::ArtifactsOf;
pub use super::orders::Order;
pub use super::pause::Pause;
pub use super::reason::{CancelReason, Finish, NoRetry, RetryVerdict, SkipReason};
use super::rerun::RerunOf;
pub use super::slot::{Place, Queueing, SlotWish};
use crate::id::{Digest, RunId, Tenant};
use crate::json::Json;
use crate::outcome::{Failure, Usage};
use crate::plan::Part;
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The version of this encoding, kept with every row of the journal.
pub const ENCODING: u32 = 1;

/// What is run: a step, or one item of a `forEach` step. Encoded as `3` or `[3, 7]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "NodeCode", into = "NodeCode")]
pub struct Node {
    /// Index of the step in the plan.
    pub step: u32,
    /// Index of the item, where the step is a `forEach` and this is one of its items.
    pub item: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum NodeCode {
    Step(u32),
    Item(u32, u32),
}
impl From<NodeCode> for Node {
    fn from(code: NodeCode) -> Node {
        match code {
            NodeCode::Step(step) => Node::step(step),
            NodeCode::Item(step, item) => Node::item(step, item),
        }
    }
}
impl From<Node> for NodeCode {
    fn from(node: Node) -> NodeCode {
        match node.item {
            None => NodeCode::Step(node.step),
            Some(item) => NodeCode::Item(node.step, item),
        }
    }
}

impl Node {
    /// The step itself.
    pub fn step(step: u32) -> Node {
        Node { step, item: None }
    }
    /// One item of the step.
    pub fn item(step: u32, item: u32) -> Node {
        Node { step, item: Some(item) }
    }
}

/// A value by reference: in the journal, by digest, or following from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Payload {
    /// The value itself.
    Inline(Json),
    /// A value kept once under its digest.
    Stored {
        /// SHA-256 of the canonical text.
        digest: Digest,
        /// Bytes of the canonical text.
        size: u64,
    },
    /// The list of a `forEach`'s item outputs: follows from the items, so it is never written down.
    Derived,
}

/// What the cache had to say about an outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CacheVerdict {
    /// The step may not be cached, or has asked not to be.
    #[default]
    Off,
    /// Nothing was there; the outcome is kept under this key.
    Miss {
        /// The fingerprint.
        key: Digest,
    },
    /// The outcome came from the cache.
    Hit {
        /// The fingerprint.
        key: Digest,
        /// When the entry was written.
        stored_at: Timestamp,
        /// The run that computed it.
        source_run: RunId,
        /// Which hit of the entry this one is, as far as this node knows.
        hits: u64,
    },
}

/// The failure of a run, with the step that caused it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunError {
    /// What went wrong.
    pub failure: Failure,
    /// Where, if it was in a step.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub node: Option<Node>,
    /// Which attempt.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attempt: Option<u32>,
}

/// What a run was accepted with. It owns its snapshot: nothing that is published or loaded later changes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The owner.
    pub tenant: Tenant,
    /// Digest of the snapshot: the workflow's canonical source and the plugins that its references were resolved to.
    pub snapshot: Digest,
    /// The run's input, defaults filled in.
    pub input: Payload,
    /// The most attempts of this run under way at the same time, and where that number comes from.
    pub max_parallel: u32,
    /// Which setting `max_parallel` comes from: `definition`, `tenant` or `node`.
    pub max_parallel_from: Arc<str>,
    /// Who asked for it, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<Arc<str>>,
    /// Labels for finding it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub labels: Vec<(String, String)>,
    /// W3C trace context of the caller.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub traceparent: Option<String>,
    /// The run that asked for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parent: Option<Box<Parent>>,
    /// When it must have ended, whatever its workflow says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deadline: Option<Timestamp>,
    /// What the node does where the workflow says nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub defaults: Option<Defaults>,
    /// What it waits for before it begins; `None` where it may begin at once.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub queue: Option<Box<Queueing>>,
    /// The run that it is again.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rerun: Option<Box<RerunOf>>,
}

/// The attempt that a run is run for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parent {
    /// The run.
    pub run: RunId,
    /// Its step or item.
    pub node: Node,
    /// The attempt.
    pub attempt: u32,
    /// The id of the step.
    pub step: Arc<str>,
    /// How many runs stand above this one.
    pub depth: u32,
    /// What this run may call at most: `kind:name` or `kind:*`. `None`: what the operator lets anybody call.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub may_call: Option<Vec<Arc<str>>>,
}

/// The label of a run that a schedule has started: the schedule's id.
pub const SCHEDULE_LABEL: &str = "schedule";
/// The label of such a run: the time of its tick.
pub const SCHEDULED_AT_LABEL: &str = "scheduledAt";
/// The label of a run that a trigger has started: the trigger's id.
pub const TRIGGER_LABEL: &str = "trigger";
/// The label of such a run: the id of the event.
pub const EVENT_LABEL: &str = "event";
/// The label of such a run, and of those that its steps ask for: how many have started one another, from 1.
pub const TRIGGER_DEPTH_LABEL: &str = "triggerDepth";

impl Accepted {
    /// The time that the run is for, where a schedule has started it (or whoever did says so with the same label).
    pub fn scheduled_at(&self) -> Option<&str> {
        self.label(SCHEDULED_AT_LABEL)
    }
    /// How many runs have started one another by triggers, up to this one; 0 where none has.
    pub fn trigger_depth(&self) -> u64 {
        self.label(TRIGGER_DEPTH_LABEL).and_then(|depth| depth.parse().ok()).unwrap_or(0)
    }
    /// Labels that a run has from the one that asks for it.
    pub fn inherited_labels(&self) -> Vec<(String, String)> {
        self.labels.iter().filter(|(name, _)| name == TRIGGER_DEPTH_LABEL).cloned().collect()
    }
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// What an operator chose for steps whose workflow says nothing of it. Kept with the run, so that a run ends as it
/// began, whatever is configured meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Defaults {
    /// Attempts of a step that fails with something retryable, the first included.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_attempts: Option<u32>,
    /// Before the second attempt; twice as long before each further one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_delay: Option<Span>,
    /// How long one attempt may take.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attempt_timeout: Option<Span>,
}

/// One fact of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// The run exists. Always the first.
    RunAccepted(Arc<Accepted>),
    /// A node has begun to drive it, and what it waits for before it begins has come.
    RunStarted {},
    /// The time has come before which it was not to begin; it wants its slots now.
    RunDue {},
    /// Somebody asked for the run to be cancelled.
    CancelRequested {
        /// Who.
        by: Arc<str>,
        /// Why, in their words.
        reason: Arc<str>,
        /// Whether nothing more is to run, not even what undoes and cleans up.
        #[serde(skip_serializing_if = "is_default", default)]
        force: bool,
    },
    /// Somebody, or a breakpoint, has paused the run.
    RunPaused {
        /// Who and why.
        pause: Box<Pause>,
    },
    /// Somebody has let the run go on.
    RunResumed {
        /// Who.
        by: Arc<str>,
    },
    /// The steps are over, and something follows before the run ends.
    RunEnding {
        /// How the run ends, unless what follows fails.
        finish: Finish,
        /// Its output.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        output: Option<Payload>,
        /// Its failure.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        error: Option<Box<RunError>>,
    },
    /// A part of what follows the steps begins.
    PartBegan {
        /// Which.
        part: Part,
    },
    /// A person has decided.
    ApprovalDecided {
        /// The step that asks.
        step: u32,
        /// Who, what, and why.
        decision: Decision,
    },
    /// A step has failed for good, and people are asked what becomes of it.
    HelpAsked {
        /// Which.
        step: u32,
        /// What it failed with.
        failure: Box<Failure>,
        /// Until when, at most.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        until: Option<Timestamp>,
    },
    /// A person wants something of a step.
    StepOrdered {
        /// Which.
        step: u32,
        /// Who, what, and why.
        order: Box<Order>,
    },
    /// A step or an item has failed for good, and something else is tried.
    FallbackTaken {
        /// Which.
        node: Node,
        /// Which of the step's alternatives, from 1.
        alternative: u32,
        /// What made it necessary.
        failure: Box<Failure>,
    },
    /// A step's `when` was true.
    ConditionHeld {
        /// The step.
        step: u32,
    },
    /// A `forEach` has its list.
    MapStarted {
        /// The step.
        step: u32,
        /// How many items the list has.
        count: u32,
        /// How many of them each list within it has, where there are some.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        lens: Vec<u32>,
    },
    /// The step waits.
    WaitStarted {
        /// The step.
        step: u32,
        /// Until when, at most.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        until: Option<Timestamp>,
    },
    /// A signal has come. Signals are numbered in their order, from 0.
    SignalReceived {
        /// Its name.
        name: Arc<str>,
        /// What it says.
        data: Payload,
        /// Who sent it.
        by: Arc<str>,
    },
    /// The signal is what the step waited for; nobody else gets it.
    SignalTaken {
        /// The step.
        step: u32,
        /// The signal.
        signal: u32,
    },
    /// The signal is not what the step waits for: its `match` is false.
    SignalPassed {
        /// The step.
        step: u32,
        /// The signal.
        signal: u32,
    },
    /// The wait before a further attempt is over.
    RetryDue {
        /// Of what.
        node: Node,
        /// The attempt that may begin.
        attempt: u32,
    },
    /// An attempt may begin.
    AttemptStarted {
        /// Of what.
        node: Node,
        /// Counts from 1.
        attempt: u32,
        /// Which candidate does it, where the call is one by capability: how many failures came before.
        #[serde(default, skip_serializing_if = "is_default")]
        turn: u32,
    },
    /// The host went away while the attempt was open.
    AttemptInterrupted {
        /// Of what.
        node: Node,
        /// Which.
        attempt: u32,
        /// Whether it may have been in its sandbox. One that only waited for it is not counted.
        #[serde(default = "entered", skip_serializing_if = "has_entered")]
        entered: bool,
    },
    /// The attempt failed.
    AttemptFailed {
        /// Of what.
        node: Node,
        /// Which.
        attempt: u32,
        /// Why.
        failure: Box<Failure>,
        /// What it used.
        usage: Usage,
        /// What became of its retry.
        retry: RetryVerdict,
        /// What the cache had to say before it began.
        #[serde(skip_serializing_if = "is_default", default)]
        cache: CacheVerdict,
    },
    /// A step or an item has its output.
    StepSucceeded {
        /// Which.
        node: Node,
        /// The attempt that brought it; 0 for steps that run nothing.
        attempt: u32,
        /// The output.
        output: Payload,
        /// What the attempt used.
        #[serde(skip_serializing_if = "is_default", default)]
        usage: Usage,
        /// What the cache had to say.
        #[serde(skip_serializing_if = "is_default", default)]
        cache: CacheVerdict,
    },
    /// An attempt has kept files; how it ended follows in the same row.
    ArtifactsKept(ArtifactsOf),
    /// A step or an item failed for good.
    StepFailed {
        /// Which.
        node: Node,
        /// Why.
        failure: Box<Failure>,
    },
    /// A step was not run.
    StepSkipped {
        /// Which.
        step: u32,
        /// Why.
        reason: SkipReason,
    },
    /// A step was under way or waiting and will not go on.
    StepCancelled {
        /// Which.
        step: u32,
        /// Why.
        reason: CancelReason,
    },
    /// The run goes on with another version of its workflow. What was recorded before counts steps by the plan before.
    RunMigrated {
        /// Who wanted it so.
        by: Arc<str>,
        /// The version.
        version: Arc<str>,
        /// Digest of the snapshot that it owns from now on.
        snapshot: Digest,
    },
    /// The run was to go on with another version and keeps its own.
    MigrationRefused {
        /// Who wanted it so.
        by: Arc<str>,
        /// The version.
        version: Arc<str>,
        /// What differs, or what stands in the way.
        why: Arc<str>,
    },
    /// The run has ended. Always the last.
    RunFinished {
        /// How.
        finish: Finish,
        /// Its output, where it succeeded.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        output: Option<Payload>,
        /// Its failure, where it failed.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        error: Option<Box<RunError>>,
    },
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Event {
    /// The step that this ends, as a whole.
    pub fn ends_step(&self) -> Option<u32> {
        match self {
            Event::StepSucceeded { node, .. } | Event::StepFailed { node, .. } if node.item.is_none() => {
                Some(node.step)
            }
            Event::StepSkipped { step, .. } | Event::StepCancelled { step, .. } => Some(*step),
            _ => None,
        }
    }
    /// The names of all kinds of event, for coverage.
    pub const KINDS: &[&str] = &[
        "RunAccepted",
        "RunStarted",
        "CancelRequested",
        "ConditionHeld",
        "MapStarted",
        "AttemptStarted",
        "AttemptInterrupted",
        "AttemptFailed",
        "StepSucceeded",
        "StepFailed",
        "StepSkipped",
        "StepCancelled",
        "RunFinished",
        "RetryDue",
        "WaitStarted",
        "SignalReceived",
        "SignalTaken",
        "SignalPassed",
        "RunEnding",
        "PartBegan",
        "ApprovalDecided",
        "FallbackTaken",
        "RunPaused",
        "RunResumed",
        "RunDue",
        "HelpAsked",
        "StepOrdered",
        "RunMigrated",
        "MigrationRefused",
        "ArtifactsKept",
    ];
    /// The name of this kind.
    pub fn kind(&self) -> &'static str {
        Event::KINDS[match self {
            Event::RunAccepted(_) => 0,
            Event::RunStarted {} => 1,
            Event::CancelRequested { .. } => 2,
            Event::ConditionHeld { .. } => 3,
            Event::MapStarted { .. } => 4,
            Event::AttemptStarted { .. } => 5,
            Event::AttemptInterrupted { .. } => 6,
            Event::AttemptFailed { .. } => 7,
            Event::StepSucceeded { .. } => 8,
            Event::StepFailed { .. } => 9,
            Event::StepSkipped { .. } => 10,
            Event::StepCancelled { .. } => 11,
            Event::RunFinished { .. } => 12,
            Event::RetryDue { .. } => 13,
            Event::WaitStarted { .. } => 14,
            Event::SignalReceived { .. } => 15,
            Event::SignalTaken { .. } => 16,
            Event::SignalPassed { .. } => 17,
            Event::RunEnding { .. } => 18,
            Event::PartBegan { .. } => 19,
            Event::ApprovalDecided { .. } => 20,
            Event::FallbackTaken { .. } => 21,
            Event::RunPaused { .. } => 22,
            Event::RunResumed { .. } => 23,
            Event::RunDue {} => 24,
            Event::HelpAsked { .. } => 25,
            Event::StepOrdered { .. } => 26,
            Event::RunMigrated { .. } => 27,
            Event::MigrationRefused { .. } => 28,
            Event::ArtifactsKept(_) => 29,
        }]
    }
}

/// The facts that were decided together: one append, one row of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// When they were decided.
    pub at: Timestamp,
    /// The facts, in order.
    pub events: Vec<Event>,
}

/// What a row says that says nothing of it.
fn entered() -> bool {
    true
}
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn has_entered(entered: &bool) -> bool {
    *entered
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The journal outlives programs: a line that changes here is a new version of the encoding.
    #[test]
    fn the_encoding_is_pinned() {
        let batch = Batch {
            at: Timestamp(1_795_219_200_000),
            events: vec![
                Event::StepSucceeded {
                    node: Node::step(3),
                    attempt: 1,
                    output: Payload::Inline(Json::trusted(r#"{"a":1.50}"#)),
                    usage: Usage { fuel: 7, ..Usage::default() },
                    cache: CacheVerdict::Off,
                },
                Event::AttemptStarted { node: Node::item(4, 7), attempt: 2, turn: 0 },
                Event::AttemptInterrupted { node: Node::step(1), attempt: 1, entered: true },
                Event::AttemptInterrupted { node: Node::step(2), attempt: 1, entered: false },
                Event::RunFinished { finish: Finish::Succeeded, output: Some(Payload::Derived), error: None },
            ],
        };
        let text = concat!(
            r#"{"at":1795219200000,"events":[{"stepSucceeded":{"node":3,"attempt":1,"output":{"inline":{"a":1.50}},"#,
            r#""usage":{"fuel":7,"memoryPeakBytes":0,"wallUs":0,"cpuUs":0,"hostcalls":0}}},"#,
            r#"{"attemptStarted":{"node":[4,7],"attempt":2}},{"attemptInterrupted":{"node":1,"attempt":1}},"#,
            r#"{"attemptInterrupted":{"node":2,"attempt":1,"entered":false}},{"runFinished":{"finish":"succeeded","output":"derived"}}]}"#
        );
        assert_eq!(serde_json::to_string(&batch).unwrap(), text);
        assert_eq!(serde_json::from_str::<Batch>(text).unwrap(), batch);
    }
}
