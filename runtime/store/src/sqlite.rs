//! The store of one node: one folder with a SQLite database and the files of large values.
//!
//! ```text
//!            append, send, claim ...                    journal, run, blob ...
//!                     |                                          |
//!   files threads <-- Line --> writer thread            read threads, a connection each
//!        |                     | group commit                    |
//!   values/ab/cdef…        heddle.db + log  <-- checkpoint thread
//! ```
//!
//! The folder is locked for the life of the store. Writes go through one thread, which commits many at once; reads go
//! beside it and see all that was committed before they were called.

mod append;
mod cache;
mod calls;
mod checkpoint;
mod drive;
mod feed;
mod gathering;
mod handover;
pub mod inspect;
mod line;
mod open;
mod outbox;
mod read;
mod report;
mod retain;
mod schema;
mod shelf;
mod slots;
mod status;
mod threads;
mod timetable;
mod values;
mod writer;

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
use append::Prepared;
use checkpoint::Checkpointer;
use futures_util::future::BoxFuture;
use handover::Handover;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::time::Timestamp;
use heddle_core::webhook::DeliveryId;
use line::{Lane, Line};
use rusqlite::{Connection, ErrorCode};
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use threads::Threads;
use tokio::sync::oneshot;
use values::Values;
use writer::{Counters, Operation, Writer};

/// What to do when the store cannot go on: end the process.
pub type OnFatal = Arc<dyn Fn(String) + Send + Sync>;

/// How to open a store.
#[derive(Clone)]
pub struct SqliteOptions {
    /// The data folder. Made if it is not there.
    pub folder: PathBuf,
    /// Bytes that the write-ahead log may have before the writer waits for a checkpoint (`limits.wal_bytes`).
    pub wal_bytes: u64,
    /// Called once, with the reason, when a commit or a flush has failed: it should end the process. Must not own the
    /// store.
    pub on_fatal: OnFatal,
    /// The store's time.
    pub clock: StoreClock,
}

impl SqliteOptions {
    /// Options for this folder, with the default bound of the log and the machine's clock.
    pub fn new(folder: impl Into<PathBuf>, on_fatal: OnFatal) -> SqliteOptions {
        let wal_bytes = heddle_core::limits::Limits::default().wal_bytes;
        SqliteOptions { folder: folder.into(), wal_bytes, on_fatal, clock: StoreClock::system() }
    }
}

impl fmt::Debug for SqliteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOptions").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// The store. Cheap to clone; the folder is free again when the last clone is dropped, which waits until what stands
/// in line is written.
#[derive(Clone)]
pub struct SqliteStore(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    line: Arc<Line>,
    handover: Arc<Handover>,
    health: Arc<Health>,
    counters: Arc<Counters>,
    values: Arc<Values>,
    readers: Threads<Connection>,
    files: Threads<()>,
    writer: Option<JoinHandle<()>>,
    checkpointer: Option<Checkpointer>,
    /// Last, so that the folder is free only when nothing uses it.
    _lock: File,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.files.finish();
        self.line.close();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
        self.readers.finish();
        if let Some(checkpointer) = &mut self.checkpointer {
            checkpointer.finish();
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqliteStore").field(&self.0.folder).finish()
    }
}

/// Whether the store can go on, and the hook for when it cannot.
pub(crate) struct Health {
    reason: OnceLock<String>,
    reported: AtomicBool,
    on_fatal: OnFatal,
}

impl Health {
    fn new(on_fatal: OnFatal) -> Health {
        Health { reason: OnceLock::new(), reported: AtomicBool::new(false), on_fatal }
    }
    /// Notes why it cannot; the first reason counts.
    fn note(&self, why: String) {
        let _ = self.reason.set(why);
    }
    /// Calls the hook, once, if there is a reason.
    fn report(&self) {
        if let Some(why) = self.reason.get()
            && !self.reported.swap(true, Ordering::AcqRel)
        {
            tracing::error!(why, "the store cannot go on");
            (self.on_fatal)(why.clone());
        }
    }
    fn is_good(&self) -> bool {
        self.reason.get().is_none()
    }
    /// Why somebody who waits gets no answer.
    fn why(&self) -> String {
        self.reason
            .get()
            .cloned()
            .unwrap_or_else(|| "it is shutting down, or too many operations wait".to_owned())
    }
}

/// What a failed statement means to whoever asked.
pub(crate) fn fault(error: rusqlite::Error) -> StoreFault {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    let why = error.to_string();
    let corrupt =
        matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
    match error {
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) => {
            StoreFault::Damaged { what: "a row".into(), why }
        }
        _ if corrupt => StoreFault::Damaged { what: "the database".into(), why },
        _ => StoreFault::Unavailable(why),
    }
}

impl SqliteStore {
    /// Opens the folder. Leases of an earlier process are over.
    ///
    /// # Errors
    /// [`StoreFault::InUse`] while another process has it open, [`StoreFault::NewerSchema`] if a newer program wrote it,
    /// [`StoreFault::Damaged`] or [`StoreFault::Unavailable`] if it cannot be read or written.
    pub fn open(options: SqliteOptions) -> Result<SqliteStore, StoreFault> {
        open::open(options).map(|inner| SqliteStore(Arc::new(inner)))
    }

    /// Puts a write in line and gives the future of its answer.
    fn write<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> rusqlite::Result<R> + Send + 'static,
    ) -> BoxFuture<'static, Result<R, StoreFault>> {
        let (operation, answer) = operation(work);
        self.0.line.put(Lane::First, operation);
        self.answer(answer)
    }
    /// Has a read thread do this.
    fn read<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<R, StoreFault> + Send + 'static,
    ) -> BoxFuture<'static, Result<R, StoreFault>> {
        let answer = self.answer(self.0.readers.run(move |db| work(db)));
        Box::pin(async move { answer.await? })
    }
    fn answer<R: Send + 'static>(
        &self,
        answer: oneshot::Receiver<R>,
    ) -> BoxFuture<'static, Result<R, StoreFault>> {
        let health = self.0.health.clone();
        Box::pin(async move { answer.await.map_err(|_| StoreFault::Unavailable(health.why())) })
    }
    /// Puts an append of a run in line, behind those that were handed over before, once its files are on disk.
    fn hand_over(&self, run: RunId, lane: Lane, files: Vec<Blob>, operation: Operation) {
        let operation = self.0.counters.waits(operation);
        if files.is_empty() {
            return self.0.handover.put(run, lane, operation);
        }
        let place = self.0.handover.hold(run, operation);
        let handover = self.0.handover.clone();
        self.write_files(files, move |claim| handover.written(&place, claim));
    }
    /// Writes files on their threads, then does `then`. What waits for files that cannot be written is dropped, and
    /// the store is at its end.
    fn write_files(&self, blobs: Vec<Blob>, then: impl FnOnce(values::Claim) + Send + 'static) {
        let Inner { values, health, handover, line, .. } = &*self.0;
        let (values, health, handover, line) =
            (values.clone(), health.clone(), handover.clone(), line.clone());
        let claim = values.claim(blobs.iter().map(|blob| blob.digest).collect());
        self.0.files.run(move |()| {
            let written = blobs.iter().try_for_each(|blob| values.write(blob.digest, &blob.bytes));
            match written {
                Ok(()) => then(claim),
                Err(error) => {
                    health.note(format!("a value could not be written: {error}"));
                    line.close();
                    handover.abandon();
                    health.report();
                }
            }
        });
    }
}

/// Where an append waits.
fn lane(urgency: Urgency) -> Lane {
    match urgency {
        Urgency::Now => Lane::First,
        Urgency::Later => Lane::Lingering,
    }
}

/// A write as the writer takes it, and where its answer comes out.
fn operation<R: Send + 'static>(
    work: impl FnOnce(&mut Writer) -> rusqlite::Result<R> + Send + 'static,
) -> (Operation, oneshot::Receiver<R>) {
    let (answer, receiver) = oneshot::channel();
    let operation: Operation = Box::new(move |writer| {
        let result = work(writer)?;
        Ok(Box::new(move || {
            let _ = answer.send(result);
        }))
    });
    (operation, receiver)
}

impl Feed for SqliteStore {
    fn committed(&self, query: FeedQuery) -> BoxFuture<'static, Result<FeedPage, StoreFault>> {
        self.read(move |db| feed::committed(db, &query))
    }
    fn newest(&self) -> BoxFuture<'static, Result<u64, StoreFault>> {
        self.read(|db| feed::newest(db).map_err(fault))
    }
}

impl RunStore for SqliteStore {
    fn take_lease(&self, node: &str, ttl_ms: u64) -> BoxFuture<'static, Result<Option<Lease>, StoreFault>> {
        let node = node.to_owned();
        self.write(move |writer| drive::take_lease(writer, &node, ttl_ms))
    }
    fn renew_lease(
        &self,
        lease: &Lease,
        ttl_ms: u64,
    ) -> BoxFuture<'static, Result<Option<Lease>, StoreFault>> {
        let lease = lease.clone();
        self.write(move |writer| {
            let now = writer.clock.steady();
            Ok(writer.leases.renew(&lease, now, ttl_ms))
        })
    }
    fn release_lease(&self, lease: &Lease) -> BoxFuture<'static, Result<(), StoreFault>> {
        let lease = lease.clone();
        self.write(move |writer| {
            writer.leases.release(&lease);
            Ok(())
        })
    }

    fn append(&self, append: Append) -> BoxFuture<'static, Result<u64, AppendFault>> {
        let (run, urgency) = (append.run, append.urgency);
        let (prepared, files) = match Prepared::new(append) {
            Ok(prepared) => prepared,
            Err(error) => {
                let why = format!("the facts have no encoding: {error}");
                return Box::pin(async move { Err(AppendFault::Unavailable(why)) });
            }
        };
        let counters = self.0.counters.clone();
        let (operation, answer) = operation(move |writer| {
            let result = append::append(writer, prepared)?;
            counters.appends.fetch_add(u64::from(result.is_ok()), Ordering::Relaxed);
            Ok(result)
        });
        self.hand_over(run, lane(urgency), files, operation);
        let health = self.0.health.clone();
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(AppendFault::Unavailable(health.why()))) })
    }
    fn journal(
        &self,
        run: RunId,
        after: u64,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<JournalRow>, StoreFault>> {
        self.read(move |db| read::journal(db, run, after, limit))
    }
    fn run(&self, run: RunId) -> BoxFuture<'static, Result<Option<RunRow>, StoreFault>> {
        self.read(move |db| read::run(db, run))
    }
    fn runs(&self, query: RunQuery) -> BoxFuture<'static, Result<Vec<Listed>, StoreFault>> {
        self.read(move |db| read::runs(db, &query))
    }

    fn claim(&self, lease: &Lease, limit: u32) -> BoxFuture<'static, Result<Vec<RunRow>, StoreFault>> {
        let lease = lease.clone();
        self.write(move |writer| drive::claim(writer, &lease, limit))
    }
    fn release(&self, lease: &Lease, runs: Vec<RunId>) -> BoxFuture<'static, Result<(), StoreFault>> {
        let lease = lease.clone();
        self.write(move |writer| drive::release(writer, &lease, &runs))
    }

    fn send(&self, mail: Mail) -> BoxFuture<'static, Result<u64, StoreFault>> {
        self.write(move |writer| drive::send(writer, &mail))
    }
    fn inbox(&self, run: RunId) -> BoxFuture<'static, Result<Vec<Message>, StoreFault>> {
        self.read(move |db| read::inbox(db, run))
    }

    fn blob(&self, digest: Digest) -> BoxFuture<'static, Result<Option<Arc<[u8]>>, StoreFault>> {
        let values = self.0.values.clone();
        self.read(move |db| read::blob(db, &values, digest))
    }
    fn put_blob(&self, blob: Blob) -> BoxFuture<'static, Result<(), StoreFault>> {
        let (values, files) = append::split(vec![blob]);
        let (operation, answer) = operation(move |writer| append::keep(writer, &values));
        if files.is_empty() {
            self.0.line.put(Lane::First, operation);
        } else {
            let line = self.0.line.clone();
            self.write_files(files, move |claim| {
                line.put(
                    Lane::First,
                    Box::new(move |writer| {
                        let reply = operation(writer)?;
                        Ok(Box::new(move || {
                            reply();
                            drop(claim);
                        }))
                    }),
                );
            });
        }
        self.answer(answer)
    }

    fn cached(
        &self,
        tenant: &Tenant,
        key: Digest,
        now: Timestamp,
    ) -> BoxFuture<'static, Result<Option<CacheRow>, StoreFault>> {
        let store = self.clone();
        let tenant = tenant.clone();
        let found = {
            let tenant = tenant.clone();
            self.read(move |db| cache::find(db, &tenant, key, now).map_err(fault))
        };
        Box::pin(async move {
            match found.await? {
                cache::Found::Nothing => Ok(None),
                cache::Found::Fresh(entry) => Ok(Some(entry)),
                cache::Found::ToNote(entry) => {
                    drop(store.write(move |writer| cache::note_use(writer, &tenant, key)));
                    Ok(Some(entry))
                }
                cache::Found::Damaged => {
                    tracing::warn!(%key, "a cache entry is damaged and is dropped");
                    store.write(move |writer| cache::drop_entry(writer, &tenant, key)).await?;
                    Ok(None)
                }
            }
        })
    }

    fn retain(
        &self,
        before: Timestamp,
        cache_bytes: u64,
        limit: u32,
    ) -> BoxFuture<'static, Result<u64, StoreFault>> {
        let (answer, receiver) = oneshot::channel();
        let values = self.0.values.clone();
        self.0.line.put(
            Lane::Upkeep,
            Box::new(move |writer| {
                let removed = retain::retain(writer, before, cache_bytes, limit)?;
                Ok(Box::new(move || {
                    removed.files.iter().for_each(|digest| values.remove(*digest));
                    let _ = answer.send(removed.rows);
                }))
            }),
        );
        self.answer(receiver)
    }
    fn report(&self, depth: ReportDepth) -> BoxFuture<'static, Result<StoreReport, StoreFault>> {
        let Inner { folder, counters, line, .. } = &*self.0;
        let folder = folder.clone();
        let report = StoreReport {
            backend: "sqlite".into(),
            place: folder.display().to_string(),
            commits: counters.commits.load(Ordering::Relaxed),
            appends: counters.appends.load(Ordering::Relaxed),
            queued: line.waiting(),
            ..StoreReport::default()
        };
        self.read(move |db| report::report(db, &folder, depth, report))
    }
}

impl CallLogs for SqliteStore {
    fn append_calls(&self, append: CallAppend) -> BoxFuture<'static, Result<(), AppendFault>> {
        let (run, urgency) = (append.run, append.urgency);
        let (entries, files) = match calls::Entries::new(append) {
            Ok(prepared) => prepared,
            Err(error) => {
                let why = format!("an entry has no encoding: {error}");
                return Box::pin(async move { Err(AppendFault::Unavailable(why)) });
            }
        };
        let (operation, answer) = operation(move |writer| calls::append(writer, &entries));
        self.hand_over(run, lane(urgency), files, operation);
        let health = self.0.health.clone();
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(AppendFault::Unavailable(health.why()))) })
    }
    fn calls(&self, query: CallQuery) -> BoxFuture<'static, Result<Vec<CallRow>, StoreFault>> {
        self.read(move |db| calls::calls(db, &query))
    }
}

impl Shelf for SqliteStore {
    fn get(&self, collection: &str, key: &str) -> BoxFuture<'static, Result<Option<Record>, StoreFault>> {
        let (collection, key) = (collection.to_owned(), key.to_owned());
        self.read(move |db| shelf::get(db, &collection, &key))
    }
    fn put(
        &self,
        collection: &str,
        key: &str,
        expected: u64,
        body: Json,
    ) -> BoxFuture<'static, Result<u64, StoreFault>> {
        let (collection, key) = (collection.to_owned(), key.to_owned());
        let name = key.clone();
        let put = self.write(move |writer| shelf::put(writer, &collection, &key, expected, &body));
        Box::pin(async move { put.await?.ok_or(StoreFault::Conflict(name)) })
    }
    fn scan(
        &self,
        collection: &str,
        after: &str,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<Record>, StoreFault>> {
        let (collection, after) = (collection.to_owned(), after.to_owned());
        self.read(move |db| shelf::scan(db, &collection, &after, limit))
    }
    fn delete(
        &self,
        collection: &str,
        key: &str,
        expected: u64,
    ) -> BoxFuture<'static, Result<bool, StoreFault>> {
        let (collection, key) = (collection.to_owned(), key.to_owned());
        let name = key.clone();
        let deleted = self.write(move |writer| shelf::delete(writer, &collection, &key, expected));
        Box::pin(async move { deleted.await?.ok_or(StoreFault::Conflict(name)) })
    }
}

impl Timetable for SqliteStore {
    fn schedule(
        &self,
        tenant: &Tenant,
        id: &str,
    ) -> BoxFuture<'static, Result<Option<ScheduleRow>, StoreFault>> {
        let (tenant, id) = (tenant.clone(), id.to_owned());
        self.read(move |db| timetable::schedule(db, &tenant, &id))
    }
    fn schedules(
        &self,
        tenant: &Tenant,
        after: &str,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<ScheduleRow>, StoreFault>> {
        let (tenant, after) = (tenant.clone(), after.to_owned());
        self.read(move |db| timetable::schedules(db, &tenant, &after, limit))
    }
    fn put_schedule(&self, write: ScheduleWrite) -> BoxFuture<'static, Result<u64, ScheduleFault>> {
        let put = self.write(move |writer| timetable::put(writer, &write));
        Box::pin(async move { put.await? })
    }
    fn claim_schedules(
        &self,
        lease: &Lease,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<ScheduleRow>, StoreFault>> {
        let lease = lease.clone();
        self.write(move |writer| timetable::claim(writer, &lease, limit))
    }
}

impl Outbox for SqliteStore {
    fn claim_deliveries(
        &self,
        lease: &Lease,
        claim: DeliveryClaim,
    ) -> BoxFuture<'static, Result<Claimed, StoreFault>> {
        let lease = lease.clone();
        self.write(move |writer| outbox::claim(writer, &lease, &claim))
    }
    fn put_delivery(&self, write: DeliveryWrite) -> BoxFuture<'static, Result<u64, OutboxFault>> {
        let put = self.write(move |writer| outbox::put(writer, &write));
        Box::pin(async move { put.await? })
    }
    fn delivery(
        &self,
        tenant: &Tenant,
        id: DeliveryId,
    ) -> BoxFuture<'static, Result<Option<DeliveryRow>, StoreFault>> {
        let tenant = tenant.clone();
        self.read(move |db| outbox::one(db, &tenant, id))
    }
    fn deliveries(&self, query: DeliveryQuery) -> BoxFuture<'static, Result<Vec<DeliveryRow>, StoreFault>> {
        self.read(move |db| outbox::page(db, &query))
    }
    fn outbox_report(&self) -> BoxFuture<'static, Result<OutboxReport, StoreFault>> {
        self.read(outbox::report)
    }
}
