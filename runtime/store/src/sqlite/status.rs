//! The numbers that statuses are kept as, and what runs are left for: shorter than words in every index that they are
//! part of.

use crate::model::{Rest, RunStatus};

/// The statuses in the order of their codes. A code never changes its meaning.
pub(super) const STATUSES: [RunStatus; 8] = [
    RunStatus::Queued,
    RunStatus::Running,
    RunStatus::Waiting,
    RunStatus::Paused,
    RunStatus::Compensating,
    RunStatus::Succeeded,
    RunStatus::Failed,
    RunStatus::Cancelled,
];

/// The number that a status is kept as.
pub(super) fn status_code(status: RunStatus) -> i64 {
    match status {
        RunStatus::Queued => 0,
        RunStatus::Running => 1,
        RunStatus::Waiting => 2,
        RunStatus::Paused => 3,
        RunStatus::Compensating => 4,
        RunStatus::Succeeded => 5,
        RunStatus::Failed => 6,
        RunStatus::Cancelled => 7,
    }
}

/// What runs are left for, in the order of their codes, which begin with 1. A code never changes its meaning.
pub(super) const RESTS: [Rest; 3] = [Rest::Slot, Rest::Time, Rest::Parked];

/// The number that this is kept as.
pub(super) fn rest_code(rest: Rest) -> i64 {
    match rest {
        Rest::Slot => 1,
        Rest::Time => 2,
        Rest::Parked => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_places_in_the_list() {
        for (code, status) in STATUSES.into_iter().enumerate() {
            assert_eq!(status_code(status), code as i64);
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{}\"", status.word()));
        }
        for (place, rest) in RESTS.into_iter().enumerate() {
            assert_eq!(rest_code(rest), place as i64 + 1);
        }
    }
}
