//! What the doors ask of published workflows.

use super::{
    Changed, Instance, InstanceFault, Instantiate, LifeFault, PublishFault, PublishWish, Published,
    WorkflowEntry, entry, instance, life,
};
use crate::Executor;
use crate::listing::{self, WorkflowFilter};
use heddle_core::document::Doc;
use heddle_core::id::Tenant;
use heddle_core::plan::Plan;
use heddle_core::version::VersionStatus;
use heddle_store::StoreFault;
use std::sync::Arc;

impl Executor {
    /// Checks a workflow as publishing would, without keeping it.
    ///
    /// # Errors
    /// Every fault, in the order of their places, or that the version is taken.
    pub async fn check_workflow(&self, tenant: &Tenant, doc: &Doc) -> Result<Arc<Plan>, PublishFault> {
        super::checked(&self.shared, tenant, doc).await
    }
    /// Makes a workflow of a template, and publishes it.
    ///
    /// # Errors
    /// Every fault of the parameters, and whatever publishing refuses.
    pub async fn instantiate(&self, tenant: &Tenant, wish: Instantiate) -> Result<Instance, InstanceFault> {
        let made = instance::make(&self.shared, tenant, wish).await?;
        if let Instance::Published(published) = &made {
            self.upgrade(tenant, &published.entry);
        }
        Ok(made)
    }
    /// Publishes a version of a workflow. The same content again is not a new version, and changes no status.
    pub async fn publish(
        &self,
        tenant: &Tenant,
        doc: &Doc,
        wish: &PublishWish,
    ) -> Result<Published, PublishFault> {
        let published = super::publish(&self.shared, tenant, doc, wish).await?;
        self.upgrade(tenant, &published.entry);
        Ok(published)
    }
    /// Lets runs of earlier versions know of a version, in the background: there may be many.
    fn upgrade(&self, tenant: &Tenant, entry: &WorkflowEntry) {
        if entry.status != VersionStatus::Active {
            return;
        }
        let (shared, tenant, name) = (self.shared.clone(), tenant.clone(), entry.full_name());
        tokio::spawn(async move {
            if let Err(fault) = crate::migrate::upgrade(&shared, &tenant, &name).await {
                tracing::error!(workflow = name, %fault, "runs of earlier versions are not told; activate it once more");
            }
        });
    }
    /// Whether this can be a key of [`Executor::workflows`].
    pub fn is_workflow_key(text: &str) -> bool {
        entry::is_key(text)
    }
    /// A page of published versions after this key, and the key after which the next one begins. At most
    /// `limits.list_scan` versions are looked at.
    pub async fn workflows(
        &self,
        tenant: &Tenant,
        filter: &WorkflowFilter,
        (after, limit): (&str, u32),
    ) -> Result<(Vec<WorkflowEntry>, Option<String>), StoreFault> {
        listing::workflows(&self.shared, tenant, filter, (after, limit)).await
    }
    /// A version of `namespace/name`, whatever its status; without a version, the one that its name means, or else the
    /// highest. `None` where there is none.
    pub async fn workflow(
        &self,
        tenant: &Tenant,
        name: &str,
        version: Option<&semver::Version>,
    ) -> Result<Option<WorkflowEntry>, StoreFault> {
        match version {
            Some(version) => entry::version(&self.shared, tenant, name, version).await,
            None => entry::newest(&self.shared, tenant, name).await,
        }
    }
    /// Changes the status of a version, and with it what its schedules do. `None` where there is no such version.
    ///
    /// # Errors
    /// Where the status does not follow the one that it has.
    pub async fn set_workflow_status(
        &self,
        tenant: &Tenant,
        version: (&str, &semver::Version),
        status: VersionStatus,
        by: &str,
    ) -> Result<Option<(WorkflowEntry, Changed)>, LifeFault> {
        let changed = life::set_status(&self.shared, tenant, version, status, by).await?;
        if let Some((entry, _)) = &changed {
            self.upgrade(tenant, entry);
        }
        Ok(changed)
    }
    /// Deletes a version. `None` where there is no such version.
    ///
    /// # Errors
    /// Where something uses it.
    pub async fn remove_workflow(
        &self,
        tenant: &Tenant,
        version: (&str, &semver::Version),
        by: &str,
    ) -> Result<Option<()>, LifeFault> {
        life::remove(&self.shared, tenant, version, by).await
    }
}
