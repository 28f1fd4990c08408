//! A store that keeps everything in memory: for simulation and for tests. It answers as the SQLite store does, down to
//! the bytes of its journal rows, and adds what a test needs: commits that wait for a word, and one that fails.

mod calls;
mod outbox;
mod retain;
mod slots;
mod state;
mod timetable;

use crate::calls::{CallAppend, CallLogs, CallQuery, CallRow};
use crate::clock::StoreClock;
use crate::feed::{Feed, FeedPage, FeedQuery};
use crate::model::*;
use crate::outbox::{
    Claimed, DeliveryClaim, DeliveryQuery, DeliveryRow, DeliveryWrite, Outbox, OutboxFault, OutboxReport,
};
use crate::run_store::{ReportDepth, RunStore};
use crate::shelf::Shelf;
use crate::timetable::{ScheduleFault, ScheduleRow, ScheduleWrite, Timetable};
use futures_util::future::BoxFuture;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::time::Timestamp;
use heddle_core::webhook::DeliveryId;
use state::State;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The store. Clones share what it keeps.
#[derive(Clone)]
pub struct MemoryStore(Arc<Mutex<Guarded>>);

struct Guarded {
    state: State,
    commits: Commits,
}

/// What becomes of writes.
enum Commits {
    /// Done at once.
    AtOnce,
    /// The next one fails.
    FailNext,
    /// They wait, in order.
    Held(Vec<Write>),
    /// One has failed: nothing is written any more.
    Failed,
}

type Write = Box<dyn FnOnce(&mut State) + Send>;

/// Why a write gets no answer: its sender was dropped.
const FAILED: &str = "a commit failed";

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new(StoreClock::system())
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryStore").finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty store with this clock.
    pub fn new(clock: StoreClock) -> MemoryStore {
        MemoryStore(Arc::new(Mutex::new(Guarded { state: State::new(clock), commits: Commits::AtOnce })))
    }
    /// From now on writes wait in line, unanswered and unseen by reads, until [`MemoryStore::commit_held`].
    pub fn hold_commits(&self) {
        self.lock().commits = Commits::Held(Vec::new());
    }
    /// Makes the writes that wait, in order; later ones are made at once again. Gives how many waited.
    pub fn commit_held(&self) -> usize {
        let mut guarded = self.lock();
        let Commits::Held(held) = std::mem::replace(&mut guarded.commits, Commits::AtOnce) else { return 0 };
        let count = held.len();
        for write in held {
            write(&mut guarded.state);
        }
        count
    }
    /// The next write fails as a disk that breaks does: it and all later ones answer `Unavailable`, and so do those
    /// that are held.
    pub fn fail_next_commit(&self) {
        self.lock().commits = Commits::FailNext;
    }
    /// What a restart does: leases are over, held writes are lost, and a failed store works again.
    pub fn reopen(&self) {
        let mut guarded = self.lock();
        guarded.commits = Commits::AtOnce;
        guarded.state.leases.release_all();
    }
    /// Spoils what is stored, so that a test can see it found.
    pub fn damage(&self, what: &Damage) {
        self.lock().state.damage(what);
    }

    fn lock(&self) -> MutexGuard<'_, Guarded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn write<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> R + Send + 'static,
    ) -> BoxFuture<'static, Result<R, StoreFault>> {
        let (answer, receiver) = oneshot::channel();
        let mut guarded = self.lock();
        let Guarded { state, commits } = &mut *guarded;
        match commits {
            Commits::AtOnce => {
                state.commits += 1;
                let _ = answer.send(work(state));
            }
            Commits::Held(held) => held.push(Box::new(move |state| {
                state.commits += 1;
                let _ = answer.send(work(state));
            })),
            Commits::FailNext => *commits = Commits::Failed,
            Commits::Failed => {}
        }
        Box::pin(async move { receiver.await.map_err(|_| StoreFault::Unavailable(FAILED.into())) })
    }
    fn read<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> Result<R, StoreFault>,
    ) -> BoxFuture<'static, Result<R, StoreFault>> {
        let result = work(&mut self.lock().state);
        Box::pin(async move { result })
    }
}

/// Something stored that a test spoils.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A row of a journal: its first attempt becomes the second, which is as good JSON as before.
    Journal(RunId, u64),
    /// The bytes of a value.
    Blob(Digest),
    /// A cache entry.
    Cache(Tenant, Digest),
}

impl Feed for MemoryStore {
    fn committed(&self, query: FeedQuery) -> BoxFuture<'static, Result<FeedPage, StoreFault>> {
        self.read(|state| Ok(state.committed(&query)))
    }
    fn newest(&self) -> BoxFuture<'static, Result<u64, StoreFault>> {
        self.read(|state| Ok(state.position))
    }
}

impl RunStore for MemoryStore {
    fn take_lease(&self, node: &str, ttl_ms: u64) -> BoxFuture<'static, Result<Option<Lease>, StoreFault>> {
        let node = node.to_owned();
        self.write(move |state| {
            let now = state.clock.steady();
            state.leases.take(&node, now, ttl_ms)
        })
    }
    fn renew_lease(
        &self,
        lease: &Lease,
        ttl_ms: u64,
    ) -> BoxFuture<'static, Result<Option<Lease>, StoreFault>> {
        let lease = lease.clone();
        self.write(move |state| {
            let now = state.clock.steady();
            state.leases.renew(&lease, now, ttl_ms)
        })
    }
    fn release_lease(&self, lease: &Lease) -> BoxFuture<'static, Result<(), StoreFault>> {
        let lease = lease.clone();
        self.write(move |state| state.leases.release(&lease))
    }

    fn append(&self, append: Append) -> BoxFuture<'static, Result<u64, AppendFault>> {
        let answer = self.write(move |state| state.append(append));
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(AppendFault::Unavailable(FAILED.into()))) })
    }
    fn journal(
        &self,
        run: RunId,
        after: u64,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<JournalRow>, StoreFault>> {
        self.read(|state| state.journal(run, after, limit))
    }
    fn run(&self, run: RunId) -> BoxFuture<'static, Result<Option<RunRow>, StoreFault>> {
        self.read(|state| Ok(state.runs.get(&run).map(|entry| entry.row.clone())))
    }
    fn runs(&self, query: RunQuery) -> BoxFuture<'static, Result<Vec<Listed>, StoreFault>> {
        self.read(|state| Ok(state.query(&query).into_iter().map(|row| Listed::Run(Box::new(row))).collect()))
    }

    fn claim(&self, lease: &Lease, limit: u32) -> BoxFuture<'static, Result<Vec<RunRow>, StoreFault>> {
        let epoch = lease.epoch;
        self.write(move |state| state.claim(epoch, limit as usize))
    }
    fn release(&self, lease: &Lease, runs: Vec<RunId>) -> BoxFuture<'static, Result<(), StoreFault>> {
        let epoch = lease.epoch;
        self.write(move |state| state.release(epoch, &runs))
    }

    fn send(&self, mail: Mail) -> BoxFuture<'static, Result<u64, StoreFault>> {
        self.write(move |state| state.send(mail))
    }
    fn inbox(&self, run: RunId) -> BoxFuture<'static, Result<Vec<Message>, StoreFault>> {
        self.read(|state| Ok(state.inbox.values().filter(|message| message.run == run).cloned().collect()))
    }

    fn blob(&self, digest: Digest) -> BoxFuture<'static, Result<Option<Arc<[u8]>>, StoreFault>> {
        self.read(|state| state.blob(digest))
    }
    fn put_blob(&self, blob: Blob) -> BoxFuture<'static, Result<(), StoreFault>> {
        self.write(move |state| state.keep(blob))
    }

    fn cached(
        &self,
        tenant: &Tenant,
        key: Digest,
        now: Timestamp,
    ) -> BoxFuture<'static, Result<Option<CacheRow>, StoreFault>> {
        self.read(|state| Ok(state.cached(tenant, key, now)))
    }

    fn retain(
        &self,
        before: Timestamp,
        cache_bytes: u64,
        limit: u32,
    ) -> BoxFuture<'static, Result<u64, StoreFault>> {
        self.write(move |state| state.retain(before, cache_bytes, limit as usize))
    }
    fn report(&self, depth: ReportDepth) -> BoxFuture<'static, Result<StoreReport, StoreFault>> {
        let queued = match &self.lock().commits {
            Commits::Held(held) => held.len() as u64,
            _ => 0,
        };
        self.read(|state| Ok(StoreReport { queued, ..state.report(depth) }))
    }
}

impl CallLogs for MemoryStore {
    fn append_calls(&self, append: CallAppend) -> BoxFuture<'static, Result<(), AppendFault>> {
        let answer = self.write(move |state| state.append_calls(append));
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(AppendFault::Unavailable(FAILED.into()))) })
    }
    fn calls(&self, query: CallQuery) -> BoxFuture<'static, Result<Vec<CallRow>, StoreFault>> {
        self.read(|state| state.calls(&query))
    }
}

impl Shelf for MemoryStore {
    fn get(&self, collection: &str, key: &str) -> BoxFuture<'static, Result<Option<Record>, StoreFault>> {
        let name = (collection.to_owned(), key.to_owned());
        self.read(|state| Ok(state.shelf.get(&name).cloned()))
    }
    fn put(
        &self,
        collection: &str,
        key: &str,
        expected: u64,
        body: Json,
    ) -> BoxFuture<'static, Result<u64, StoreFault>> {
        let name = (collection.to_owned(), key.to_owned());
        let put = self.write(move |state| state.put(name, expected, body));
        Box::pin(async move { put.await? })
    }
    fn scan(
        &self,
        collection: &str,
        after: &str,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<Record>, StoreFault>> {
        self.read(|state| Ok(state.scan(collection, after, limit as usize)))
    }
    fn delete(
        &self,
        collection: &str,
        key: &str,
        expected: u64,
    ) -> BoxFuture<'static, Result<bool, StoreFault>> {
        let name = (collection.to_owned(), key.to_owned());
        let deleted = self.write(move |state| state.delete(name, expected));
        Box::pin(async move { deleted.await? })
    }
}

impl Timetable for MemoryStore {
    fn schedule(
        &self,
        tenant: &Tenant,
        id: &str,
    ) -> BoxFuture<'static, Result<Option<ScheduleRow>, StoreFault>> {
        let name = (tenant.clone(), id.to_owned());
        self.read(|state| Ok(state.schedules.by_id.get(&name).cloned()))
    }
    fn schedules(
        &self,
        tenant: &Tenant,
        after: &str,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<ScheduleRow>, StoreFault>> {
        self.read(|state| Ok(state.schedules.page(tenant, after, limit)))
    }
    fn put_schedule(&self, write: ScheduleWrite) -> BoxFuture<'static, Result<u64, ScheduleFault>> {
        let put = self.write(move |state| state.put_schedule(write));
        Box::pin(async move { put.await? })
    }
    fn claim_schedules(
        &self,
        lease: &Lease,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<ScheduleRow>, StoreFault>> {
        let epoch = lease.epoch;
        self.write(move |state| state.claim_schedules(epoch, limit))
    }
}

impl Outbox for MemoryStore {
    fn claim_deliveries(
        &self,
        lease: &Lease,
        claim: DeliveryClaim,
    ) -> BoxFuture<'static, Result<Claimed, StoreFault>> {
        let epoch = lease.epoch;
        self.write(move |state| state.claim_deliveries(epoch, &claim))
    }
    fn put_delivery(&self, write: DeliveryWrite) -> BoxFuture<'static, Result<u64, OutboxFault>> {
        let put = self.write(move |state| state.put_delivery(write));
        Box::pin(async move { put.await? })
    }
    fn delivery(
        &self,
        tenant: &Tenant,
        id: DeliveryId,
    ) -> BoxFuture<'static, Result<Option<DeliveryRow>, StoreFault>> {
        self.read(|state| Ok(state.outbox.one(tenant, id)))
    }
    fn deliveries(&self, query: DeliveryQuery) -> BoxFuture<'static, Result<Vec<DeliveryRow>, StoreFault>> {
        self.read(|state| Ok(state.outbox.page(&query)))
    }
    fn outbox_report(&self) -> BoxFuture<'static, Result<OutboxReport, StoreFault>> {
        self.read(|state| Ok(state.outbox.report()))
    }
}
