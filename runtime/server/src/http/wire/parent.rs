//! Which step of another run a run is run for.

use heddle_core::run::event::Parent;
use serde::Serialize;
use utoipa::ToSchema;

/// The attempt that a run is run for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ParentOfRun)]
pub(crate) struct ParentDoc {
    /// The run that asked.
    #[schema(format = "uuid")]
    pub run: String,
    /// Its step.
    pub step: String,
    /// The item of that step, where it is a `forEach`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// The attempt.
    pub attempt: u32,
}

impl From<&Parent> for ParentDoc {
    fn from(parent: &Parent) -> ParentDoc {
        ParentDoc {
            run: parent.run.to_string(),
            step: parent.step.to_string(),
            item: parent.node.item,
            attempt: parent.attempt,
        }
    }
}
