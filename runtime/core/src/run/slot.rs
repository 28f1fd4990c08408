//! What a run waits for before it begins, as the journal has it.

use crate::plan::OnLimit;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a run waits for before it begins, and where it stands among those that wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queueing {
    /// It begins no earlier.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub start_at: Option<Timestamp>,
    /// It begins with a slot of each of these, and has them until it has ended.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub slots: Vec<SlotWish>,
    /// Where it stands in the line for them.
    pub place: Place,
}

/// Where a run stands among those that wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// 1 to 5; 1 goes first.
    pub level: u8,
    /// Runs of the tenant with the same key share.
    pub fairness_key: Arc<str>,
    /// What it is worth against 1.
    pub weight: f64,
}

/// A slot that a run wants: one of so many with this key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotWish {
    /// The key, with the scope in front: `namespace/name:key`, `namespace:key` or `:key`.
    pub key: Arc<str>,
    /// How many runs may have one.
    pub limit: u32,
    /// What becomes of a run when they are taken.
    pub on_limit: OnLimit,
}
