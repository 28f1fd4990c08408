//! Opening a data folder: the lock, the connections and what they are told, the threads.

use super::checkpoint::{Checkpointer, Checkpoints, PAGE_BYTES, quarter};
use super::handover::Handover;
use super::inspect::lost_database;
use super::line::Line;
use super::threads::Threads;
use super::values::Values;
use super::writer::{Counters, Writer, write};
use super::{Health, Inner, SqliteOptions, fault, schema};
use crate::model::StoreFault;
use heddle_core::id::Digest;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

/// Connections that read.
const READERS: usize = 3;
/// Threads that write the files of large values.
const FILE_WRITERS: usize = 2;
/// The least bound of the log that makes sense.
const MIN_WAL_BYTES: u64 = 1024 * 1024;

/// Opens the folder and starts the threads.
pub(super) fn open(options: SqliteOptions) -> Result<Inner, StoreFault> {
    let folder = options.folder.clone();
    make_folder(&folder).map_err(|error| at_folder(&folder, &error))?;
    let lock = lock(&folder)?;
    // A new database would know none of the values that are there, and they would be removed as nobody's.
    if let Some(lost) = lost_database(&folder) {
        return Err(lost);
    }
    let database = folder.join("heddle.db");
    let wal_bytes = options.wal_bytes.max(MIN_WAL_BYTES);

    let mut db = connect(&database, 64 * 1024)?;
    schema::migrate(&mut db, schema::STEPS)?;
    let values = Arc::new(Values::open(&folder).map_err(|error| at_folder(&folder, &error))?);
    sweep(&db, &values)?;

    let line = Arc::new(Line::default());
    let health = Arc::new(Health::new(options.on_fatal));
    let counters = Arc::new(Counters::default());
    watch_log(&mut db, &counters, wal_bytes)?;
    let writer = Writer::new(db, options.clock).map_err(fault)?;
    let checkpoints = Checkpoints {
        db: connect(&database, 1024)?,
        wal: folder.join("heddle.db-wal"),
        wal_bytes,
        line: line.clone(),
        counters: counters.clone(),
        health: health.clone(),
    };
    let readers = (0..READERS).map(|_| connect(&database, 8 * 1024)).collect::<Result<Vec<_>, _>>()?;
    let mut inner = Inner {
        folder,
        handover: Arc::new(Handover::new(line.clone())),
        line,
        health,
        counters,
        values,
        readers: Threads::start("heddle-read", readers).map_err(|error| no_thread(&error))?,
        files: Threads::start("heddle-files", vec![(); FILE_WRITERS]).map_err(|error| no_thread(&error))?,
        writer: None,
        checkpointer: None,
        _lock: lock,
    };
    inner.writer = Some(start_writer(&inner, writer).map_err(|error| no_thread(&error))?);
    inner.checkpointer = Some(Checkpointer::start(checkpoints).map_err(|error| no_thread(&error))?);
    Ok(inner)
}

fn start_writer(inner: &Inner, writer: Writer) -> io::Result<JoinHandle<()>> {
    let (line, health, counters) = (inner.line.clone(), inner.health.clone(), inner.counters.clone());
    let thread = std::thread::Builder::new().name("heddle-write".into());
    thread.spawn(move || write(writer, &line, &health, &counters))
}

/// The folder, for its owner alone: it holds what workflows are given and what they give.
fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn at_folder(folder: &Path, error: &io::Error) -> StoreFault {
    StoreFault::Unavailable(format!("the data folder `{}`: {error}", folder.display()))
}

fn no_thread(error: &io::Error) -> StoreFault {
    StoreFault::Unavailable(format!("a thread could not be started: {error}"))
}

/// The folder's lock, held for as long as the file is open.
fn lock(folder: &Path) -> Result<File, StoreFault> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join("lock"))
        .map_err(|error| at_folder(folder, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreFault::InUse(folder.display().to_string())),
        Err(TryLockError::Error(error)) => Err(at_folder(folder, &error)),
    }
}

/// A connection with the settings that durability rests on.
pub(super) fn connect(database: &Path, cache_kib: u32) -> Result<Connection, StoreFault> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(database, flags).map_err(fault)?;
    // A closing connection must not touch the database: after a failed flush nothing may, and otherwise the
    // checkpointer has done it.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(fault)?;
    db.execute_batch(&format!(
        "PRAGMA busy_timeout = 10000; PRAGMA page_size = {PAGE_BYTES}; PRAGMA journal_mode = WAL; \
         PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA mmap_size = 0; \
         PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -{cache_kib};"
    ))
    .map_err(fault)?;
    db.set_prepared_statement_cache_capacity(64);
    let settings = (
        db.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0)).map_err(fault)?,
        db.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0)).map_err(fault)?,
    );
    if settings != ("wal".to_owned(), 2) {
        let why =
            format!("the database cannot be flushed as it must be (journal and flush mode are {settings:?})");
        return Err(StoreFault::Unavailable(why));
    }
    Ok(db)
}

/// Counts the pages of the log at every commit, and wakes the checkpointer at every quarter of the bound.
fn watch_log(db: &mut Connection, counters: &Arc<Counters>, wal_bytes: u64) -> Result<(), StoreFault> {
    let (counters, quarter) = (counters.clone(), quarter(wal_bytes));
    db.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
        let pages = pages.max(0) as u64;
        let before = counters.wal_pages.swap(pages, Ordering::Relaxed);
        if let Some(thread) = counters.checkpointer.get()
            && pages / quarter > before / quarter
        {
            thread.unpark();
        }
        Ok(())
    }))
    .map_err(fault)
}

/// Removes the files of values whose append was never committed.
fn sweep(db: &Connection, values: &Values) -> Result<(), StoreFault> {
    let mut lookup = db.prepare("SELECT 1 FROM blobs WHERE digest = ?1 AND body IS NULL").map_err(fault)?;
    // A file stays unless the database says for certain that it has no row.
    let known = |digest: Digest| {
        lookup.query_row([&digest.0], |_| Ok(())).optional().map_or(true, |row| row.is_some())
    };
    match values.sweep(known) {
        Ok(0) => {}
        Ok(removed) => tracing::info!(removed, "removed the files of values that were never committed"),
        Err(error) => tracing::warn!(%error, "the folder of values could not be tidied"),
    }
    Ok(())
}
