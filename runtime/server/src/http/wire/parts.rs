//! Small parts of the document of a run.

use heddle_core::run::event::Order;
use heddle_core::run::migrate::Migration;
use heddle_core::run::rerun::RerunOf;
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

/// What a person wanted of a step.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StepOrder)]
pub(crate) struct OrderDoc {
    /// Who.
    pub by: String,
    /// `retry`, `skip`, `fail` or `cancel`.
    pub what: &'static str,
    /// Why, in their words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

impl From<&Order> for OrderDoc {
    fn from(order: &Order) -> OrderDoc {
        OrderDoc { by: order.by.to_string(), what: order.what.word(), comment: order.comment.to_string() }
    }
}

/// A version that a run was to go on with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Migration)]
pub(crate) struct MigrationDoc {
    /// When that was decided.
    #[schema(format = "date-time")]
    pub at: String,
    /// Who wanted it so; `workflow` where `upgrade.inFlight` of the version did.
    pub by: String,
    /// The version.
    pub version: String,
    /// Why the run keeps its own, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl From<&Migration> for MigrationDoc {
    fn from(migration: &Migration) -> MigrationDoc {
        MigrationDoc {
            at: migration.at.rfc3339(),
            by: migration.by.to_string(),
            version: migration.version.to_string(),
            refused: migration.refused.as_ref().map(ToString::to_string),
        }
    }
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

/// The run that a run is again.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RerunDoc {
    /// That run.
    #[schema(format = "uuid")]
    pub run: String,
    /// The step from which on everything is computed again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How many outcomes of that run there are to be taken over.
    pub outcomes: u32,
}

impl From<&RerunOf> for RerunDoc {
    fn from(of: &RerunOf) -> RerunDoc {
        RerunDoc {
            run: of.run.to_string(),
            from: of.from.as_ref().map(ToString::to_string),
            outcomes: of.outcomes,
        }
    }
}
