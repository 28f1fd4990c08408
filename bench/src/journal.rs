//! A bare journal: one SQLite file, one thread that writes, group commit, a flush at every commit.
//!
//! Settings, schema and row bytes are the product's (`runtime/store/src/sqlite`), so that this is no slow straw man;
//! what it does not have is everything around them: no index row, no leases, no checks, no values, no encoding of
//! facts (the body is made once).

use anyhow::Context as _;
use heddle_core::json::Json;
use heddle_core::outcome::Usage;
use heddle_core::run::event::{Batch, CacheVerdict, Event, Node, Payload};
use heddle_core::time::Timestamp;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Rows in one commit at most, as the product's writer takes them.
const MOST_IN_A_COMMIT: usize = 256;
/// Pages of the log at which it is moved into the database before the next commit: the product's 64 MiB.
const LOG_PAGES: u64 = (64 << 20) / 4096;

/// The connection that writes.
#[derive(Debug)]
pub(crate) struct Journal {
    db: Connection,
    /// Pages in the log after the last commit.
    log_pages: Arc<AtomicU64>,
    body: Vec<u8>,
}

/// The facts of an ordinary step, as the product's journal holds them: the outcome of one and the start of the next.
pub(crate) fn row_body() -> Vec<u8> {
    let usage = Usage {
        fuel: 24_310,
        memory_peak_bytes: 1_179_648,
        wall_us: 96,
        cpu_us: 61,
        hostcalls: 2,
        ..Usage::default()
    };
    let batch = Batch {
        at: Timestamp(1_795_219_200_000),
        events: vec![
            Event::StepSucceeded {
                node: Node::step(3),
                attempt: 1,
                output: Payload::Inline(Json::trusted(r#"{"value":1,"waitedMs":0}"#)),
                usage,
                cache: CacheVerdict::Off,
            },
            Event::AttemptStarted { node: Node::step(4), attempt: 1, turn: 0 },
        ],
    };
    serde_json::to_vec(&batch).unwrap_or_default()
}

impl Journal {
    /// Makes the file in this folder.
    pub(crate) fn create(folder: &Path) -> anyhow::Result<Journal> {
        let file = folder.join("bare.db");
        let mut db = connect(&file, 64 * 1024)?;
        db.execute_batch(
            "CREATE TABLE journal (id INTEGER PRIMARY KEY, run BLOB NOT NULL, seq INTEGER NOT NULL, \
             encoding INTEGER NOT NULL, checksum INTEGER NOT NULL, body BLOB NOT NULL) STRICT; \
             CREATE UNIQUE INDEX journal_by_run ON journal (run, seq);",
        )?;
        let log_pages = Arc::new(AtomicU64::new(0));
        let counted = log_pages.clone();
        db.wal_hook(Some(move |_: &mut Wal, pages: i32| {
            counted.store(pages.max(0) as u64, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Journal { db, log_pages, body: row_body() })
    }
    /// Opens a transaction.
    pub(crate) fn begin(&self) -> anyhow::Result<()> {
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(())
    }
    /// One row.
    pub(crate) fn insert(&self, run: u128, seq: u64) -> anyhow::Result<()> {
        let sql = "INSERT INTO journal (run, seq, encoding, checksum, body) VALUES (?1, ?2, 1, ?3, ?4)";
        let checksum = run as i64;
        self.db.prepare_cached(sql)?.execute((&run.to_be_bytes(), seq as i64, checksum, &self.body))?;
        Ok(())
    }
    /// Commits and flushes. When the log is at its bound, it is moved into the database.
    pub(crate) fn commit(&mut self) -> anyhow::Result<()> {
        self.db.prepare_cached("COMMIT")?.execute([])?;
        if self.log_pages.load(Ordering::Relaxed) >= LOG_PAGES {
            checkpoint(&self.db)?;
        }
        Ok(())
    }
}

fn connect(file: &Path, cache_kib: u32) -> anyhow::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags)?;
    db.execute_batch(&format!(
        "PRAGMA busy_timeout = 10000; PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
         PRAGMA wal_autocheckpoint = 0; PRAGMA mmap_size = 0; PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY; \
         PRAGMA cache_size = -{cache_kib};"
    ))?;
    Ok(db)
}

fn checkpoint(db: &Connection) -> anyhow::Result<()> {
    Ok(db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
}

/// One row to be written, and who waits for its commit.
struct Append {
    run: u128,
    seq: u64,
    committed: oneshot::Sender<()>,
}

/// The way to the thread that writes. It ends when the last of these is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Writer(mpsc::UnboundedSender<Append>);

impl Writer {
    /// Starts the thread, and one beside it that keeps the log short.
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Writer> {
        let journal = Journal::create(folder)?;
        let (line, appends) = mpsc::unbounded_channel();
        let ended = Arc::new(AtomicBool::new(false));
        keep_log_short(connect(&folder.join("bare.db"), 1024)?, journal.log_pages.clone(), ended.clone())?;
        std::thread::Builder::new().name("bare-write".into()).spawn(move || {
            let written = write(journal, appends);
            ended.store(true, Ordering::Release);
            // Whoever waits finds the line closed and fails: a benchmark has no better answer.
            written.expect("the disk takes the journal");
        })?;
        Ok(Writer(line))
    }
    /// Puts a row in line. What it gives resolves after the commit.
    pub(crate) fn append(&self, run: u128, seq: u64) -> oneshot::Receiver<()> {
        let (committed, answer) = oneshot::channel();
        let _ = self.0.send(Append { run, seq, committed });
        answer
    }
}

fn write(mut journal: Journal, mut appends: mpsc::UnboundedReceiver<Append>) -> anyhow::Result<()> {
    let mut waiting = Vec::with_capacity(MOST_IN_A_COMMIT);
    while let Some(first) = appends.blocking_recv() {
        journal.begin()?;
        let mut next = Some(first);
        while let Some(append) = next {
            journal.insert(append.run, append.seq)?;
            waiting.push(append.committed);
            next = if waiting.len() < MOST_IN_A_COMMIT { appends.try_recv().ok() } else { None };
        }
        journal.commit()?;
        for committed in waiting.drain(..) {
            let _ = committed.send(());
        }
    }
    Ok(())
}

/// Moves the log into the database beside the writer from half of its bound on, so that the writer's own part is short.
fn keep_log_short(db: Connection, log_pages: Arc<AtomicU64>, ended: Arc<AtomicBool>) -> anyhow::Result<()> {
    let work = move || {
        let mut seen = 0;
        while !ended.load(Ordering::Acquire) {
            let pages = log_pages.load(Ordering::Relaxed);
            if pages >= LOG_PAGES / 2 && pages.abs_diff(seen) >= LOG_PAGES / 8 {
                let _ = checkpoint(&db);
            }
            seen = pages;
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    std::thread::Builder::new().name("bare-checkpoint".into()).spawn(work).context("no thread")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_answered_is_committed() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::start(folder.path()).unwrap();
        let answers: Vec<_> = (1..=600).map(|seq| writer.append(7, seq)).collect();
        for answer in answers {
            answer.await.unwrap();
        }
        let db = connect(&folder.path().join("bare.db"), 64).unwrap();
        let (rows, bytes): (u64, u64) = db
            .query_row("SELECT count(*), sum(length(body)) FROM journal", [], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
            })
            .unwrap();
        assert_eq!((rows, bytes), (600, 600 * row_body().len() as u64));
    }
}
