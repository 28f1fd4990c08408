//! Where a run stands, as lists, documents and drivers need it.

use super::Run;
use super::event::Finish;
use crate::plan::Part;
use serde::{Deserialize, Serialize};

/// Where a run stands. Changes with the run, not with every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunStatus {
    /// Accepted; no node drives it yet.
    Queued,
    /// A node drives it and something is under way.
    Running,
    /// Nothing is under way until a timer or somebody outside moves it.
    Waiting,
    /// Somebody paused it.
    Paused,
    /// It is undoing what it did.
    Compensating,
    /// Ended well.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended because somebody said so.
    Cancelled,
}

impl RunStatus {
    /// All in which a run has not ended.
    pub const OPEN: [RunStatus; 5] = [
        RunStatus::Queued,
        RunStatus::Running,
        RunStatus::Waiting,
        RunStatus::Paused,
        RunStatus::Compensating,
    ];
    /// Whether nothing will ever change again.
    pub fn is_terminal(self) -> bool {
        matches!(self, RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled)
    }
    /// The word of the API.
    pub fn word(self) -> &'static str {
        match self {
            RunStatus::Queued => "queued",
            RunStatus::Running => "running",
            RunStatus::Waiting => "waiting",
            RunStatus::Paused => "paused",
            RunStatus::Compensating => "compensating",
            RunStatus::Succeeded => "succeeded",
            RunStatus::Failed => "failed",
            RunStatus::Cancelled => "cancelled",
        }
    }
}

/// What a run is left for while no node drives it. Counted, and bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rest {
    /// A slot that other runs have; it has not begun.
    Slot,
    /// Its time; it has not begun.
    Time,
    /// It is parked: it has begun, and waits for a time, a signal, a person or another run.
    Parked,
}

impl From<Finish> for RunStatus {
    fn from(finish: Finish) -> RunStatus {
        match finish {
            Finish::Succeeded => RunStatus::Succeeded,
            Finish::Failed => RunStatus::Failed,
            Finish::Cancelled => RunStatus::Cancelled,
        }
    }
}

impl Run {
    /// Where the run stands.
    pub fn standing(&self) -> RunStatus {
        match (&self.finished, self.started) {
            (Some(finished), _) => finished.finish.into(),
            (None, None) if self.paused.is_some() => RunStatus::Paused,
            (None, None) if self.held_back().is_some() => RunStatus::Waiting,
            (None, None) => RunStatus::Queued,
            (None, Some(_)) if self.paused.is_some() => RunStatus::Paused,
            (None, Some(_)) if self.part == Part::Compensate => RunStatus::Compensating,
            (None, Some(_)) if self.waits() => RunStatus::Waiting,
            (None, Some(_)) => RunStatus::Running,
        }
    }
    /// The same, in the words of the API.
    pub fn status(&self) -> &'static str {
        self.standing().word()
    }
    /// What it is left for, where its driver goes.
    pub fn rest(&self) -> Rest {
        match self.held_back() {
            Some(_) if !self.wants_slots().is_empty() => Rest::Slot,
            Some(queue) if queue.start_at.is_some() => Rest::Time,
            _ => Rest::Parked,
        }
    }
}
