//! That a run is another one again, as the journal has it.

use super::artifact::Artifact;
use super::event::Payload;
use crate::id::{Digest, RunId};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The run that a run is again, and what it takes over from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RerunOf {
    /// The run.
    pub run: RunId,
    /// The step from which on nothing is taken over.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<Arc<str>>,
    /// How many outcomes there are to be taken over.
    pub outcomes: u32,
    /// The value that has them: [`Imports`], as JSON.
    pub imports: Digest,
}

/// Outcomes by the fingerprint of what was computed. A step of the new run whose fingerprint is here does not run.
pub type Imports = BTreeMap<Digest, Imported>;

/// An outcome that may be taken over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// The output.
    pub output: Payload,
    /// When it was there.
    pub at: Timestamp,
    /// The files that came with it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub artifacts: Vec<Artifact>,
}
