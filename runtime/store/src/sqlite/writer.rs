//! The one thread that writes. It turns what stands in line into transactions and answers after the commit.
//!
//! ```text
//!  append, send, claim ...  --Line-->  writer thread  --BEGIN, 1..256 operations, COMMIT-->  answers
//! ```
//!
//! An operation checks before it writes, so one that is refused has written nothing and the others of its transaction
//! go on. Anything that fails otherwise is fatal: nobody who waits gets an answer but "unavailable", and the process is
//! told to end. After a failed flush nobody knows what the disk holds, and asking it again may be answered with a lie.

use super::Health;
use super::line::{Line, MAX_BATCH};
use crate::clock::StoreClock;
use crate::leases::Leases;
use crate::model::APPENDS_WAITING;
use heddle_core::id::{RunId, Tenant};
use metrics::Gauge;
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, Params};
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// One write: does its part of a transaction and leaves the answer to give after the commit.
pub(super) type Operation = Box<dyn FnOnce(&mut Writer) -> rusqlite::Result<Reply> + Send>;
/// Gives the answer.
pub(super) type Reply = Box<dyn FnOnce() + Send>;

/// How long a transaction takes in operations.
const MAX_BATCH_TIME: Duration = Duration::from_millis(2);
/// Journals whose length is known without asking the database.
const MAX_KNOWN: usize = 131_072;

/// What the writer counts.
#[derive(Debug)]
pub(super) struct Counters {
    /// Appends that were handed over and are not on disk yet.
    pub(super) waiting: Gauge,
    /// Transactions.
    pub(super) commits: AtomicU64,
    /// Appends that were made.
    pub(super) appends: AtomicU64,
    /// Pages in the write-ahead log at the last commit.
    pub(super) wal_pages: AtomicU64,
    /// The checkpointer, to be woken when the log has grown by a quarter of its bound.
    pub(super) checkpointer: OnceLock<Thread>,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            waiting: metrics::gauge!(APPENDS_WAITING),
            commits: AtomicU64::default(),
            appends: AtomicU64::default(),
            wal_pages: AtomicU64::default(),
            checkpointer: OnceLock::default(),
        }
    }
}

impl Counters {
    /// Counts this append as waiting until its commit, or until nobody will make it any more.
    pub(super) fn waits(&self, append: Operation) -> Operation {
        let waiting = Waiting::new(&self.waiting);
        Box::new(move |writer| {
            let reply = append(writer)?;
            Ok(Box::new(move || {
                drop(waiting);
                reply();
            }))
        })
    }
}

/// One append that is not on disk yet.
struct Waiting(Gauge);

impl Waiting {
    fn new(gauge: &Gauge) -> Waiting {
        gauge.increment(1.0);
        Waiting(gauge.clone())
    }
}
impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// The write connection and what its thread knows.
pub(super) struct Writer {
    pub(super) db: Connection,
    pub(super) clock: StoreClock,
    pub(super) leases: Leases,
    /// The length of journals that were written to lately.
    known: HashMap<RunId, u64>,
    /// The last place in the journal that was given.
    pub(super) position: u64,
    /// What this transaction adds to the sizes of the tenants' caches.
    pub(super) cache_growth: HashMap<Tenant, i64>,
}

impl Writer {
    /// A writer on this connection; leases get epochs after all that were given out before.
    pub(super) fn new(db: Connection, clock: StoreClock) -> rusqlite::Result<Writer> {
        let epoch: i64 = db.query_one("SELECT value FROM meta WHERE name = 'epoch'", [], |row| row.get(0))?;
        let leases = Leases::after(epoch as u64);
        let position = super::feed::newest(&db)?;
        Ok(Writer { db, clock, leases, known: HashMap::new(), position, cache_growth: HashMap::new() })
    }
    /// A statement, prepared at its first use.
    pub(super) fn statement(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.db.prepare_cached(sql)
    }
    /// Runs a statement. Gives the number of rows that it changed.
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.statement(sql)?.execute(params)
    }
    /// The number of rows in a run's journal.
    pub(super) fn version(&self, run: RunId) -> rusqlite::Result<u64> {
        if let Some(version) = self.known.get(&run) {
            return Ok(*version);
        }
        let last = self
            .statement("SELECT seq FROM journal WHERE run = ?1 ORDER BY seq DESC LIMIT 1")?
            .query_row([run.0.to_be_bytes()], |row| row.get::<_, i64>(0))
            .optional()?;
        Ok(last.unwrap_or(0) as u64)
    }
    /// Notes how long a journal has become. Everything is forgotten when there are too many, and asked for again.
    pub(super) fn note_version(&mut self, run: RunId, version: u64) {
        if self.known.len() >= MAX_KNOWN && !self.known.contains_key(&run) {
            self.known.clear();
        }
        self.known.insert(run, version);
    }
    /// Forgets a journal that nobody will write to.
    pub(super) fn forget(&mut self, run: RunId) {
        self.known.remove(&run);
    }

    fn commit(&mut self, batch: &mut VecDeque<Operation>, line: &Line) -> rusqlite::Result<Vec<Reply>> {
        self.begin()?;
        let begun = Instant::now();
        let mut replies = Vec::with_capacity(batch.len());
        loop {
            while let Some(operation) = batch.pop_front() {
                replies.push(operation(self)?);
                if begun.elapsed() >= MAX_BATCH_TIME {
                    break;
                }
            }
            let full = replies.len() >= MAX_BATCH || begun.elapsed() >= MAX_BATCH_TIME;
            if full || !line.more(batch, MAX_BATCH - replies.len()) {
                break;
            }
        }
        self.write_cache_growth()?;
        self.execute("COMMIT", [])?;
        Ok(replies)
    }

    /// Nobody else writes, but somebody may look into the database with a tool and hold it: then nothing has been
    /// written yet, and the writer waits on.
    fn begin(&self) -> rusqlite::Result<()> {
        loop {
            match self.execute("BEGIN IMMEDIATE", []) {
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                    tracing::warn!("another program keeps the database from being written to");
                }
                begun => return begun.map(|_| ()),
            }
        }
    }

    fn write_cache_growth(&mut self) -> rusqlite::Result<()> {
        for (tenant, growth) in std::mem::take(&mut self.cache_growth) {
            self.execute(
                "INSERT INTO cache_total (tenant, bytes) VALUES (?1, ?2) \
                 ON CONFLICT (tenant) DO UPDATE SET bytes = bytes + excluded.bytes",
                (&*tenant.0, growth),
            )?;
        }
        Ok(())
    }
}

/// The thread's whole life: transactions until the line is closed and empty, or until one fails.
pub(super) fn write(mut writer: Writer, line: &Line, health: &Health, counters: &Counters) {
    let mut batch = VecDeque::new();
    while !batch.is_empty() || line.wait(&mut batch) {
        let committed = catch_unwind(AssertUnwindSafe(|| writer.commit(&mut batch, line)));
        let why = match committed {
            Ok(Ok(replies)) => {
                counters.commits.fetch_add(1, Ordering::Relaxed);
                replies.into_iter().for_each(|reply| reply());
                continue;
            }
            Ok(Err(error)) => format!("a commit failed: {error}"),
            Err(_) => "the writer panicked".to_owned(),
        };
        health.note(why);
        break;
    }
    // Whoever waits is told by the loss of the sender, before the hook may end the process.
    drop(batch);
    line.abandon();
    health.report();
}
