//! Rules that are the same for every backend: when a run that nobody drives needs a node, who goes first, and how
//! long a value stays that nobody holds.

use crate::model::{RunRow, RunStatus};
use heddle_core::json::Json;
use heddle_core::plan::OnLimit;
use heddle_core::time::Timestamp;

/// How long a value outlives its last holder: somebody who has just read its digest may still refer to it.
pub(crate) const GRACE_MS: u64 = 3_600_000;

/// What a turn costs in places, at a weight of 1.
pub(crate) const SHARE: f64 = 1e6;

/// The message that a run finds when it has its slots.
pub(crate) fn admitted() -> Json {
    Json::trusted(r#"{"admitted":{}}"#)
}
/// The message that a run finds when it is to make room for a newer one.
pub(crate) fn evicted(key: &str) -> Json {
    let key = serde_json::Value::from(key);
    Json::trusted(format!(r#"{{"evicted":{{"key":{key}}}}}"#))
}

/// Whether a run that is one too many does not stay. (Its acceptance would have been refused already, if it had asked
/// then.)
pub(crate) fn leaves(on_limit: OnLimit) -> bool {
    matches!(on_limit, OnLimit::CancelNewest | OnLimit::Reject)
}

/// Whether a run in this state has something to do now.
pub(crate) fn is_active(status: RunStatus) -> bool {
    matches!(status, RunStatus::Queued | RunStatus::Running | RunStatus::Compensating)
}

/// Whether a run that is accepted so is driven by whoever accepts it. One that waits for its time or for a slot is not.
pub(crate) fn is_driven(status: RunStatus) -> bool {
    !matches!(status, RunStatus::Queued | RunStatus::Waiting) && !status.is_terminal()
}

/// From when on a run without a node may be claimed; `None` for never by itself.
///
/// A run that waits or is paused is left alone until it is due (or a message comes); an active one may be claimed at
/// once, and the oldest goes first.
pub(crate) fn wake(status: RunStatus, due: Option<Timestamp>, created: Timestamp) -> Option<Timestamp> {
    match status {
        _ if is_active(status) => Some(created),
        _ if status.is_terminal() => None,
        _ => due,
    }
}

/// Takes from both in turn, so that neither many left-behind runs nor many new ones starve the others.
pub(crate) fn in_turn(left_behind: Vec<RunRow>, ready: Vec<RunRow>, limit: usize) -> Vec<RunRow> {
    let (mut left_behind, mut ready) = (left_behind.into_iter(), ready.into_iter());
    let mut chosen = Vec::new();
    while chosen.len() < limit {
        let before = chosen.len();
        chosen.extend(left_behind.next());
        if chosen.len() < limit {
            chosen.extend(ready.next());
        }
        if chosen.len() == before {
            break;
        }
    }
    chosen
}
