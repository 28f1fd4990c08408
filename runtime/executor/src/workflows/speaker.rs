//! The version of a workflow that says by itself when it runs: its schedules and its triggers are those that count.

use super::{WorkflowEntry, ever};
use crate::shared::Shared;
use heddle_core::id::Tenant;
use heddle_core::time::Timestamp;
use heddle_core::version::VersionStatus;
use heddle_store::StoreFault;

/// The version that counts.
pub(crate) struct Speaker {
    /// The highest one that is active; a pre-release starts nothing by itself.
    pub(crate) entry: Option<WorkflowEntry>,
    /// Since when it may be the one: when anything was last changed about any version.
    pub(crate) since: Timestamp,
}

impl Speaker {
    pub(crate) fn version(&self) -> Option<&semver::Version> {
        self.entry.as_ref().map(|entry| &entry.version)
    }
}

/// Finds it.
pub(crate) async fn speaker(shared: &Shared, tenant: &Tenant, workflow: &str) -> Result<Speaker, StoreFault> {
    let ever = ever(shared, tenant, Some(workflow)).await?;
    let since = ever.iter().map(WorkflowEntry::touched).max().unwrap_or_default();
    let speaks = |entry: &WorkflowEntry| {
        entry.removed.is_none()
            && entry.status == VersionStatus::Active
            && entry.version.pre.is_empty()
            && !entry.is_template()
    };
    Ok(Speaker { entry: ever.into_iter().rev().find(speaks), since })
}

/// What follows when anything was changed about a version: schedules and triggers are those of the version that counts
/// now.
pub(super) async fn follow(shared: &Shared, tenant: &Tenant, workflow: &str) -> Result<(), StoreFault> {
    crate::schedules::sync(shared, tenant, workflow).await?;
    crate::triggers::sync(shared, tenant, workflow).await
}
