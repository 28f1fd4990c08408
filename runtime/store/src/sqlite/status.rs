//! The numbers that statuses are kept as: shorter than words in every index that a status is part of.

use crate::model::RunStatus;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_places_in_the_list() {
        for (code, status) in STATUSES.into_iter().enumerate() {
            assert_eq!(status_code(status), code as i64);
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{}\"", status.word()));
        }
    }
}
