//! Why something was not done, or not again, and how a run ended: the reasons that facts give.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What became of a failed attempt's retry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RetryVerdict {
    /// The next attempt is due then.
    At(Timestamp),
    /// There is none, for this reason.
    No(NoRetry),
}

/// Why a failed attempt is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NoRetry {
    /// The step has no retry policy.
    NoPolicy,
    /// All attempts of the policy are used.
    AttemptsUsed,
    /// The policy's duration would be exceeded.
    DurationUsed,
    /// The failure is not retryable.
    NotRetryable,
    /// The policy's condition said no.
    ConditionFalse,
}

/// Why a step was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SkipReason {
    /// Its `when` was false.
    Condition,
    /// This step ended in a state that `dependsOn` does not accept.
    Dependency(u32),
    /// The run was ending before the step had begun, because this step failed.
    RunFailing(u32),
    /// Somebody skipped it.
    Person,
}

/// Why a step was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CancelReason {
    /// Somebody cancelled the run.
    Requested,
    /// Another step failed.
    RunFailing,
    /// The run's time was up.
    RunDeadline,
    /// Somebody stopped this step.
    Person,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Finish {
    /// Every step succeeded or was skipped.
    Succeeded,
    /// A step failed, or the run's time was up.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}
