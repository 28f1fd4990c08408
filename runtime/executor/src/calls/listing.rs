//! The call logs of a run, for people.

use crate::Executor;
use crate::read::{ReadFault, row};
use heddle_core::id::{RunId, Tenant};
use heddle_store::{CallQuery, CallRow};
use std::sync::Arc;

impl Executor {
    /// Entries of the call logs of a run, in the order of their logs, behind this one, at most `limit`. `None` where there
    /// is no such run.
    pub async fn calls(
        &self,
        tenant: &Tenant,
        run: RunId,
        after: Option<(Arc<str>, u64)>,
        limit: u32,
    ) -> Result<Option<Vec<CallRow>>, ReadFault> {
        if row(&self.shared, tenant, run).await?.is_none() {
            return Ok(None);
        }
        let query = CallQuery { run, log: None, after, limit };
        Ok(Some(self.shared.store.calls(query).await?))
    }
}
