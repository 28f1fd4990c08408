//! Small parts of the document of a run.

use serde::Serialize;
use utoipa::ToSchema;

/// A workflow, frozen.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkflowName {
    /// `namespace/name`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Digest of its canonical source.
    pub digest: String,
}

/// How far along a run is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProgressDoc {
    /// Steps and items that have ended.
    pub done: u64,
    /// Steps and items that are known.
    pub total: u64,
    /// 0 to 100, rounded down.
    #[schema(maximum = 100)]
    pub percent: u8,
}

/// How long a run will take.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EstimateDoc {
    /// What earlier runs of the workflow took, in milliseconds.
    pub duration_ms: u64,
    /// What is left of that; absent when the run has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_ms: Option<u64>,
}

/// The most attempts of a run at once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MaxParallelDoc {
    /// How many.
    pub value: u32,
    /// Which setting says so: `definition`, `tenant` or `node`.
    pub source: String,
}

/// Who cancelled a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CancelDoc {
    /// Who.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
}
