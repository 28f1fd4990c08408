//! Runs and their journals.

use crate::calls::CallLogs;
use crate::feed::Feed;
use crate::model::*;
use futures_util::future::BoxFuture;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::time::Timestamp;
use std::sync::Arc;

/// The store of runs. Every method may be called from any task; none blocks the caller's thread.
///
/// At most sixteen methods: what can be said by a query is not a method. What all runs did together is read by [`Feed`];
/// what agents ask and are told lies in [`CallLogs`].
pub trait RunStore: Feed + CallLogs {
    /// Takes the node's name with a new epoch, or finds it held by a living other (`None`).
    /// With an embedded store nobody else can hold it, so a restart waits for nothing.
    fn take_lease(&self, node: &str, ttl_ms: u64) -> BoxFuture<'static, Result<Option<Lease>, StoreFault>>;
    /// Renews the lease. `None` when it has ended: the caller drives nothing any more.
    fn renew_lease(
        &self,
        lease: &Lease,
        ttl_ms: u64,
    ) -> BoxFuture<'static, Result<Option<Lease>, StoreFault>>;
    /// Gives the lease up, and with it every run that it drives.
    fn release_lease(&self, lease: &Lease) -> BoxFuture<'static, Result<(), StoreFault>>;

    /// Queues one append. The call itself puts it in line (so two calls in a row keep their order); the future
    /// answers after the commit with the row's `seq`.
    fn append(&self, append: Append) -> BoxFuture<'static, Result<u64, AppendFault>>;
    /// Rows of a run's journal after `after`, in order, at most `limit`.
    fn journal(
        &self,
        run: RunId,
        after: u64,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<JournalRow>, StoreFault>>;
    /// The index row of a run.
    fn run(&self, run: RunId) -> BoxFuture<'static, Result<Option<RunRow>, StoreFault>>;
    /// A page of index rows, newest first. One that cannot be read stands among them and says so.
    fn runs(&self, query: RunQuery) -> BoxFuture<'static, Result<Vec<Listed>, StoreFault>>;

    /// Hands the node up to `limit` runs that nobody living drives and that have something to do: queued, due,
    /// with a message, or left behind by a node whose lease has ended. They are its own from then on. The oldest go
    /// first, in turn with those that were left behind. Without a living lease there are none. A run whose row cannot
    /// be read is kept back, so that it stands in nobody's way.
    fn claim(&self, lease: &Lease, limit: u32) -> BoxFuture<'static, Result<Vec<RunRow>, StoreFault>>;
    /// Gives runs back without ending the lease: parked ones until they are due, or all at a drain. A run whose status
    /// is waiting or paused is claimed again when it is due or has a message, any other at once.
    fn release(&self, lease: &Lease, runs: Vec<RunId>) -> BoxFuture<'static, Result<(), StoreFault>>;

    /// Puts a message in the inbox of each recipient and makes those claimable that nobody drives. Gives the number of
    /// runs that have it.
    fn send(&self, mail: Mail) -> BoxFuture<'static, Result<u64, StoreFault>>;
    /// The messages of a run, in order.
    fn inbox(&self, run: RunId) -> BoxFuture<'static, Result<Vec<Message>, StoreFault>>;

    /// A value by its digest, checked against it.
    fn blob(&self, digest: Digest) -> BoxFuture<'static, Result<Option<Arc<[u8]>>, StoreFault>>;
    /// Keeps a value outside any run, for good: a component, a workflow's source. Answered after the commit. What
    /// belongs to runs rides in their appends instead, and goes with the last run or cache entry that names it.
    fn put_blob(&self, blob: Blob) -> BoxFuture<'static, Result<(), StoreFault>>;

    /// A cache entry of this tenant that has not ended at `now`; its use is noted for the coarse LRU.
    fn cached(
        &self,
        tenant: &Tenant,
        key: Digest,
        now: Timestamp,
    ) -> BoxFuture<'static, Result<Option<CacheRow>, StoreFault>>;

    /// Removes at most `limit` rows of what has outlived `before`, and cache entries past `cache_bytes` per tenant.
    /// Gives the number removed; zero when there is nothing left to remove.
    fn retain(
        &self,
        before: Timestamp,
        cache_bytes: u64,
        limit: u32,
    ) -> BoxFuture<'static, Result<u64, StoreFault>>;
    /// How the store is. `deep` asks for an integrity check as well.
    fn report(&self, depth: ReportDepth) -> BoxFuture<'static, Result<StoreReport, StoreFault>>;
}

/// How much a report looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportDepth {
    /// Counters only.
    Quick,
    /// Counts the runs that no node drives, too.
    Waiting,
    /// Counts the runs and checks the integrity of what is stored.
    Deep,
}
