//! Schedules: one row each, written at the version that the writer has seen and under its node's lease.
//!
//! The node that writes a row owns it: it keeps the time for it until its lease ends or another node writes. So a person
//! may pause a schedule at any node, and the one that kept its time finds at its next write that it does no more.

use crate::model::{Lease, StoreFault};
use futures_util::future::BoxFuture;
use heddle_core::id::Tenant;
use heddle_core::json::Json;

/// A schedule's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRow {
    /// The owner.
    pub tenant: Tenant,
    /// `namespace.name.id`.
    pub id: String,
    /// Another one after each write, and never one that was there before, not even in a row that was removed.
    pub version: u64,
    /// The epoch of the node that keeps its time.
    pub owner: Option<u64>,
    /// What it says and where it stands, as JSON.
    pub body: Json,
}

/// A write of a schedule's row.
#[derive(Clone, Debug)]
pub struct ScheduleWrite {
    /// The epoch of the lease of the node that writes, and owns the row from then on.
    pub epoch: u64,
    /// The owner.
    pub tenant: Tenant,
    /// `namespace.name.id`.
    pub id: String,
    /// The version that it was decided on; 0 where there was no row.
    pub expected: u64,
    /// The new body; `None` removes the row.
    pub body: Option<Json>,
}

/// Why a schedule's row was not written. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleFault {
    /// The row has another version.
    #[error("schedule `{id}` is at version {found}, not at {expected}")]
    Conflict {
        /// The schedule.
        id: String,
        /// The version it was decided on.
        expected: u64,
        /// The version there is; 0 for none.
        found: u64,
    },
    /// The node's lease has ended.
    #[error("the lease with epoch {epoch} has ended")]
    Fenced {
        /// The epoch that the write carried.
        epoch: u64,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// The rows of schedules.
pub trait Timetable: Send + Sync + 'static {
    /// One row.
    fn schedule(
        &self,
        tenant: &Tenant,
        id: &str,
    ) -> BoxFuture<'static, Result<Option<ScheduleRow>, StoreFault>>;
    /// Rows of a tenant in the order of their ids, after `after`, at most `limit`.
    fn schedules(
        &self,
        tenant: &Tenant,
        after: &str,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<ScheduleRow>, StoreFault>>;
    /// Writes a row if it still has the expected version and the writer's lease lives. Gives the new version (that of
    /// the removal, where the row is gone). Answered after the commit.
    fn put_schedule(&self, write: ScheduleWrite) -> BoxFuture<'static, Result<u64, ScheduleFault>>;
    /// Hands the node up to `limit` rows that no living node owns. They are its own from then on. Without a living
    /// lease there are none.
    fn claim_schedules(
        &self,
        lease: &Lease,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<ScheduleRow>, StoreFault>>;
}
