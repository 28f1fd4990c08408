//! Moves the write-ahead log into the database, on a thread and a connection of its own, so that no append pays for it.
//!
//! From half of the bound on, checkpoints run beside the writer. As long as the writer goes on there is always a tail
//! that such a checkpoint does not reach, so the log is never begun anew; at the bound the writer therefore rests for
//! the tail, which by then is short. When nothing was written for a while, the file is cut to nothing.

use super::Health;
use super::line::Line;
use super::writer::Counters;
use rusqlite::{Connection, ErrorCode};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes of a page of the database.
pub(super) const PAGE_BYTES: u64 = 4096;
/// How often the thread looks by itself.
const LOOK: Duration = Duration::from_secs(1);
/// How soon it looks again when a reader kept it from finishing.
const RETRY: Duration = Duration::from_millis(5);
/// A log below this is left as it is when the store is idle.
const IDLE_BYTES: u64 = 1024 * 1024;

/// The thread.
pub(super) struct Checkpointer {
    stop: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

/// What the thread works with.
pub(super) struct Checkpoints {
    pub(super) db: Connection,
    pub(super) wal: PathBuf,
    pub(super) wal_bytes: u64,
    pub(super) line: Arc<Line>,
    pub(super) counters: Arc<Counters>,
    pub(super) health: Arc<Health>,
}

impl Checkpointer {
    /// Starts the thread. The writer must have started.
    pub(super) fn start(work: Checkpoints) -> std::io::Result<Checkpointer> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, counters) = (stop.clone(), work.counters.clone());
        let thread = std::thread::Builder::new().name("heddle-checkpoint".into());
        let handle = thread.spawn(move || work.run(&stopped))?;
        let _ = counters.checkpointer.set(handle.thread().clone());
        Ok(Checkpointer { stop, handle: Some(handle) })
    }
    /// Ends the thread after a last checkpoint. The writer must have ended.
    pub(super) fn finish(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(handle) = self.handle.take() {
            handle.thread().unpark();
            let _ = handle.join();
        }
    }
}

/// Pages of a quarter of the log's bound.
pub(super) fn quarter(wal_bytes: u64) -> u64 {
    (wal_bytes / PAGE_BYTES / 4).max(16)
}

impl Checkpoints {
    fn run(self, stop: &AtomicBool) {
        let mut commits_seen = 0;
        let mut pages_seen = 0;
        while !stop.load(Ordering::Acquire) && self.health.is_good() {
            let commits = self.counters.commits.load(Ordering::Relaxed);
            let pages = self.counters.wal_pages.load(Ordering::Relaxed);
            if let Err(error) = self.look(pages, pages_seen, commits == commits_seen) {
                self.health.note(format!("a checkpoint failed: {error}"));
                self.health.report();
                return;
            }
            (commits_seen, pages_seen) = (commits, pages);
            let still_full = self.counters.wal_pages.load(Ordering::Relaxed) >= 4 * quarter(self.wal_bytes);
            std::thread::park_timeout(if still_full { RETRY } else { LOOK });
        }
        if self.health.is_good() {
            let _ = self.checkpoint("TRUNCATE");
        }
    }

    fn look(&self, pages: u64, pages_seen: u64, idle: bool) -> rusqlite::Result<()> {
        let quarter = quarter(self.wal_bytes);
        if pages >= 4 * quarter {
            self.checkpoint("PASSIVE")?;
            self.line.at_rest(|| self.checkpoint("PASSIVE"))
        } else if pages >= 2 * quarter && pages.abs_diff(pages_seen) >= quarter / 2 {
            self.checkpoint("PASSIVE")
        } else if idle && std::fs::metadata(&self.wal).is_ok_and(|file| file.len() > IDLE_BYTES) {
            self.line.at_rest(|| self.checkpoint("TRUNCATE"))
        } else {
            Ok(())
        }
    }

    /// One checkpoint. That somebody else is in the way is no fault: the next one will do.
    fn checkpoint(&self, mode: &str) -> rusqlite::Result<()> {
        let pragma = format!("PRAGMA wal_checkpoint({mode})");
        let progress =
            self.db.query_one(&pragma, [], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)));
        match progress {
            // All of it is in the database: the next commit begins the log anew and counts from there.
            Ok((pages, moved)) if pages == moved => self.counters.wal_pages.store(0, Ordering::Relaxed),
            Ok(_) => {}
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
