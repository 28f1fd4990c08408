//! What was committed, of all runs, in the order of the commits. A reader that knows the position of the last row that
//! it has seen goes on behind it, across restarts and whatever became of the runs in between, and misses nothing.

use crate::model::{JournalRow, StoreFault};
use futures_util::future::BoxFuture;
use heddle_core::id::{Digest, RunId, Tenant};
use std::sync::Arc;

/// What is asked of the rows of all runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedQuery {
    /// Only runs of this tenant; all of them where nobody is named.
    pub tenant: Option<Tenant>,
    /// Only runs of this `namespace/name`.
    pub workflow: Option<Arc<str>>,
    /// Only rows behind this position.
    pub after: u64,
    /// Rows that are looked at, whether or not they are asked for.
    pub limit: u32,
}

impl FeedQuery {
    /// Whether a row of such a run is asked for.
    pub fn wants(&self, tenant: &str, workflow: &str) -> bool {
        self.tenant.as_ref().is_none_or(|wanted| *wanted.0 == *tenant)
            && self.workflow.as_deref().is_none_or(|wanted| *wanted == *workflow)
    }
}

/// A row of a run's journal, and where it stands among those of all runs.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedRow {
    /// Its place in the order of the commits, from 1. None is given twice, not even after its row was removed.
    pub position: u64,
    /// The run.
    pub run: RunId,
    /// The run's owner.
    pub tenant: Tenant,
    /// `namespace/name` of the run's workflow.
    pub workflow: Arc<str>,
    /// The snapshot that the run owns.
    pub snapshot: Digest,
    /// The row, or what of it does not hold. One damaged row takes nothing from the others.
    pub row: Result<JournalRow, String>,
}

/// A page of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeedPage {
    /// Those that were asked for, in order. Rows of runs that retention has removed are not among them.
    pub rows: Vec<FeedRow>,
    /// The last position that was looked at; where there was none, the one that was asked for.
    pub upto: u64,
    /// Whether there may be more behind it.
    pub more: bool,
}

/// The rows of all runs, in the order of their commits.
pub trait Feed: Send + Sync + 'static {
    /// A page of rows. It sees all that was committed before the call.
    fn committed(&self, query: FeedQuery) -> BoxFuture<'static, Result<FeedPage, StoreFault>>;
    /// The last position that was given; 0 where there was none yet.
    fn newest(&self) -> BoxFuture<'static, Result<u64, StoreFault>>;
}
