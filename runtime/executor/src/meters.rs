//! The metrics of the hot path, looked up once: a look-up by name and labels costs more than what it counts. What
//! happens rarely is counted where it happens, with the macros.

use crate::telemetry as t;
use heddle_core::outcome::{Outcome, PluginKind};
use heddle_core::run::Run;
use heddle_core::run::event::{Event, Finish, Node, Payload};
use heddle_core::time::Timestamp;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Handles, for as long as a node lives.
#[derive(Clone, Debug)]
pub(crate) struct Meters {
    pub(crate) runs_active: Gauge,
    pub(crate) appends: Counter,
    pub(crate) append_seconds: Histogram,
    pub(crate) queue_seconds: Histogram,
    pub(crate) attempts_queued: Gauge,
    pub(crate) slots_used: Gauge,
    pub(crate) hits_in_memory: Counter,
    pub(crate) misses: Counter,
    pub(crate) cache_bytes: Gauge,
    attempts: [Attempts; 3],
    steps: [(Counter, Histogram); 4],
    runs: [(Counter, Histogram); 3],
}

#[derive(Clone, Debug)]
struct Attempts {
    succeeded: Counter,
    failed: Counter,
    seconds: Histogram,
}

impl Meters {
    pub(crate) fn new() -> Meters {
        let attempts = |kind: PluginKind| Attempts {
            succeeded: counter!(t::ATTEMPTS, "kind" => kind.word(), "result" => "succeeded"),
            failed: counter!(t::ATTEMPTS, "kind" => kind.word(), "result" => "failed"),
            seconds: histogram!(t::ATTEMPT_SECONDS, "kind" => kind.word()),
        };
        let step = |status: &'static str| {
            (counter!(t::STEPS_FINISHED, "status" => status), histogram!(t::STEP_SECONDS, "status" => status))
        };
        let run = |status: &'static str| {
            (counter!(t::RUNS_FINISHED, "status" => status), histogram!(t::RUN_SECONDS, "status" => status))
        };
        Meters {
            runs_active: gauge!(t::RUNS_ACTIVE),
            appends: counter!(t::APPENDS),
            append_seconds: histogram!(t::APPEND_SECONDS),
            queue_seconds: histogram!(t::QUEUE_SECONDS),
            attempts_queued: gauge!(t::ATTEMPTS_QUEUED),
            slots_used: gauge!(t::SLOTS_USED),
            hits_in_memory: counter!(t::CACHE_HITS, "layer" => "memory"),
            misses: counter!(t::CACHE_MISSES),
            cache_bytes: gauge!(t::CACHE_BYTES),
            attempts: [PluginKind::Transform, PluginKind::Tool, PluginKind::Agent].map(attempts),
            steps: ["succeeded", "failed", "skipped", "cancelled"].map(step),
            runs: ["succeeded", "failed", "cancelled"].map(run),
        }
    }
    /// An attempt has ended.
    pub(crate) fn attempt_ended(&self, kind: PluginKind, outcome: &Outcome, wall_us: u64) {
        let of = &self.attempts[match kind {
            PluginKind::Transform => 0,
            PluginKind::Tool => 1,
            PluginKind::Agent => 2,
        }];
        match outcome {
            Outcome::Done(_) | Outcome::Continue(_) => of.succeeded.increment(1),
            Outcome::Failed(_) => of.failed.increment(1),
        }
        of.seconds.record(wall_us as f64 / 1e6);
    }
    /// A fact is on disk: counts the step or the item that it ends, if it ends one.
    pub(crate) fn recorded(&self, event: &Event, at: Timestamp, run: &Run) {
        let (status, node) = match event {
            Event::StepSucceeded { output: Payload::Derived, .. } => return,
            Event::StepSucceeded { node, .. } => (0, *node),
            Event::StepFailed { node, .. } => (1, *node),
            Event::StepSkipped { step, .. } => (2, Node::step(*step)),
            Event::StepCancelled { step, .. } => (3, Node::step(*step)),
            _ => return,
        };
        let (ended, seconds) = &self.steps[status];
        ended.increment(1);
        if let Some(began) = run.began(node) {
            seconds.record(at.since_ms(began) as f64 / 1000.0);
        }
    }
    /// A run has ended.
    pub(crate) fn run_ended(&self, finish: Finish, took_ms: u64) {
        let (ended, seconds) = &self.runs[match finish {
            Finish::Succeeded => 0,
            Finish::Failed => 1,
            Finish::Cancelled => 2,
        }];
        ended.increment(1);
        seconds.record(took_ms as f64 / 1000.0);
    }
}
