//! Files that runs have kept: those of one, and one by its digest.

use crate::Executor;
use crate::read::ReadFault;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::run::artifact::{Artifact, Kept};
use heddle_store::{Listed, RunQuery};
use std::sync::Arc;

/// Runs that hold a value and are asked whether it is a file of theirs: the newest first.
const HOLDERS: u32 = 16;

/// The files of a run, each with its step's id.
pub(crate) type FilesOfRun = Vec<(Arc<str>, Kept)>;

impl Executor {
    /// The files that a run has kept, in the order of the facts. `None` where there is no such run.
    pub async fn artifacts(&self, tenant: &Tenant, run: RunId) -> Result<Option<FilesOfRun>, ReadFault> {
        let Some(detail) = self.run(tenant, run).await? else { return Ok(None) };
        let steps = &detail.plan().steps;
        let with_step = |kept: &Kept| (steps[kept.node.step as usize].id.clone(), kept.clone());
        Ok(Some(detail.view.artifacts.iter().map(with_step).collect()))
    }
    /// A file by its digest, with its bytes. `None` where no run of the tenant has kept it.
    pub async fn artifact(
        &self,
        tenant: &Tenant,
        digest: Digest,
    ) -> Result<Option<(Artifact, Arc<[u8]>)>, ReadFault> {
        let (holding, limit) = (Some(digest), HOLDERS);
        let query = RunQuery { tenant: tenant.clone(), holding, limit, ..RunQuery::default() };
        for holder in self.shared.store.runs(query).await? {
            // One whose row cannot be read cannot say what it has kept.
            let Listed::Run(row) = holder else { continue };
            let kept = self.artifacts(tenant, row.run).await?.unwrap_or_default();
            let found = kept.into_iter().find(|(_, kept)| kept.artifact.digest == digest);
            let Some((_, Kept { artifact, .. })) = found else { continue };
            return Ok(self.shared.store.blob(digest).await?.map(|bytes| (artifact, bytes)));
        }
        Ok(None)
    }
}
