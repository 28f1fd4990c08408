//! Files that runs have kept: those of one, and one by its digest.

use crate::Executor;
use crate::read::{ReadFault, replay, row};
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::run::artifact::{Artifact, Kept};
use heddle_store::{Listed, RunQuery};
use std::sync::Arc;

/// Runs that hold a value and are asked at a time whether it is a file of theirs: the newest first.
const HOLDERS: u32 = 16;
/// How often. What is held by more and is no file of any of them is hardly one at all.
const PAGES: usize = 64;

/// The files of a run, each with its step's id.
pub(crate) type FilesOfRun = Vec<(Arc<str>, Kept)>;

/// A file with its bytes.
pub(crate) type WithBytes = (Artifact, Arc<[u8]>);

impl Executor {
    /// The files that a run has kept, in the order of the facts. `None` where there is no such run.
    pub async fn artifacts(&self, tenant: &Tenant, run: RunId) -> Result<Option<FilesOfRun>, ReadFault> {
        let Some(row) = row(&self.shared, tenant, run).await? else { return Ok(None) };
        let replayed = replay(&self.shared, &row).await?;
        let steps = &replayed.snapshot.plan.steps;
        let with_step = |kept: &Kept| (steps[kept.node.step as usize].id.clone(), kept.clone());
        Ok(Some(replayed.run.artifacts().iter().map(with_step).collect()))
    }
    /// A file of a run, by its digest. `None` where there is no such run, or it has kept none.
    pub async fn artifact_of(
        &self,
        tenant: &Tenant,
        run: RunId,
        digest: Digest,
    ) -> Result<Option<WithBytes>, ReadFault> {
        let kept = self.artifacts(tenant, run).await?.unwrap_or_default();
        let found = kept.into_iter().find(|(_, kept)| kept.artifact.digest == digest);
        let Some((_, Kept { artifact, .. })) = found else { return Ok(None) };
        Ok(self.shared.store.blob(digest).await?.map(|bytes| (artifact, bytes)))
    }
    /// A file by its digest, as the newest run of the tenant has kept it that has. `None` where none has.
    pub async fn artifact(&self, tenant: &Tenant, digest: Digest) -> Result<Option<WithBytes>, ReadFault> {
        let mut before = None;
        for _ in 0..PAGES {
            let (tenant_of, holding) = (tenant.clone(), Some(digest));
            let query =
                RunQuery { tenant: tenant_of, holding, before, limit: HOLDERS, ..RunQuery::default() };
            let holders = self.shared.store.runs(query).await?;
            let Some(last) = holders.last().map(Listed::run) else { return Ok(None) };
            for holder in &holders {
                if let Some(found) = self.artifact_of(tenant, holder.run(), digest).await? {
                    return Ok(Some(found));
                }
            }
            before = Some(last);
        }
        Ok(None)
    }
}
