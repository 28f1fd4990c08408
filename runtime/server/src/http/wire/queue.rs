//! What a run waits for before it begins, as a document shows it.

use heddle_core::run::slot::SlotWish;
use heddle_core::time::Timestamp;
use heddle_executor::RunDetail;
use serde::Serialize;
use utoipa::ToSchema;

/// What a run waits for before it begins.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = QueueOfRun)]
pub(crate) struct QueueDoc {
    /// It begins no earlier.
    #[schema(format = "date-time")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_at: Option<String>,
    /// 1 to 5; 1 goes first.
    pub priority: u8,
    /// The slots that it wants. It begins when it has all of them.
    pub slots: Vec<SlotDoc>,
}

/// One of so many slots with the same key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SlotOfRun)]
pub(crate) struct SlotDoc {
    /// The key, with its scope in front: `namespace/name:key`, `namespace:key` or `:key`.
    pub key: String,
    /// How many runs may have one.
    pub limit: u32,
    /// Runs that have one, the newest first, at most sixteen.
    pub held_by: Vec<String>,
}

impl QueueDoc {
    /// While the run has not begun.
    pub(crate) fn of(detail: &RunDetail) -> Option<QueueDoc> {
        let queue = detail.view.held_back.as_ref()?;
        let slot = |wish: &SlotWish| SlotDoc {
            key: wish.key.to_string(),
            limit: wish.limit,
            held_by: detail.holders(&wish.key).iter().map(ToString::to_string).collect(),
        };
        Some(QueueDoc {
            start_at: queue.start_at.map(Timestamp::rfc3339),
            priority: queue.place.level,
            slots: queue.slots.iter().map(slot).collect(),
        })
    }
}
