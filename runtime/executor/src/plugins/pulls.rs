//! What references of OCI registries named when they were pulled last, so that a tag that moves is told.

use crate::Executor;
use crate::record;
use heddle_core::id::{Digest, Tenant};
use heddle_store::StoreFault;
use heddle_store::shelf::collection;
use serde::{Deserialize, Serialize};

const PULLS: &str = "pulls";

/// What is kept of a reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    /// The manifest that it named last.
    manifest: Option<Digest>,
}

impl Executor {
    /// Notes what a reference names now, and gives what it named before, where that was something else.
    pub async fn pulled(
        &self,
        tenant: &Tenant,
        reference: &str,
        manifest: Digest,
    ) -> Result<Option<Digest>, StoreFault> {
        let change = |named: &mut Named| Ok::<_, StoreFault>(named.manifest.replace(manifest));
        let (shelf, pulls) = (&*self.shared.shelf, collection(PULLS, tenant));
        let (_, before) = record::changed(shelf, &pulls, reference, change).await?;
        Ok(before.filter(|before| *before != manifest))
    }
}
