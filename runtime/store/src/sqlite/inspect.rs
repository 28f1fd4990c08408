//! Looking at a data folder that no process has open: what there is, whether the database is whole, every row of every
//! journal and every value against its checksum.
//!
//! Nothing is written, not even what SQLite keeps beside a database for its own use: a copy that somebody wants to
//! restore from stays as it is. What is read is let go of at once, so a large store needs no more memory than a small
//! one.

use super::report::{count, sizes, structure};
use super::values::Values;
use super::{fault, read, schema};
use crate::model::{StoreFault, StoreReport};
use crate::row::{self, Coded};
use heddle_core::id::{Digest, RunId};
use heddle_core::run::event::Event;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Damaged runs and values that are named.
const NAMED: usize = 20;
/// Damaged rows of one run that are named.
const ROWS_NAMED: usize = 10;
/// Runs whose ids are held at once.
const PAGE: u32 = 500;

/// What was found in a data folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Sizes and counts; `damage` is what is wrong with the database as a whole and with values.
    pub report: StoreReport,
    /// The version of the schema. An earlier one than the program's is brought up to date by the next start.
    pub schema: u32,
    /// Rows of journals that were read.
    pub rows_read: u64,
    /// Values that were read.
    pub values_read: u64,
    /// Runs of which something is damaged, the first twenty.
    pub damaged: Vec<DamagedRun>,
    /// How many runs there are of which something is damaged.
    pub runs_damaged: u64,
}

/// A run of which something is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedRun {
    /// The run.
    pub run: RunId,
    /// Rows of its journal that are damaged or missing, the first ten.
    pub rows: Vec<u64>,
    /// What does not hold, of the first of them.
    pub why: String,
}

/// Whether a database was here that is gone or empty, and what shows it: the folder of values is made right after the
/// schema. A start that died before leaves nothing of the kind.
pub(super) fn lost_database(folder: &Path) -> Option<StoreFault> {
    let size = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |file| file.len());
    if size("heddle.db") > 0 {
        return None;
    }
    let left = match folder.join("values/new").is_dir() {
        true => "values",
        false if size("heddle.db-wal") > 0 => "heddle.db-wal",
        false => return None,
    };
    let state = if folder.join("heddle.db").exists() { "is empty" } else { "is missing" };
    Some(StoreFault::Damaged {
        what: format!("the data folder `{}`", folder.display()),
        why: format!("its database `heddle.db` {state}, and `{left}` beside it shows that there was one"),
    })
}

/// Looks at a folder. `None` where there is no store in it.
///
/// # Errors
/// [`StoreFault::InUse`] while a process has it open, [`StoreFault::NewerSchema`] if a newer program wrote it,
/// [`StoreFault::Damaged`] if the database cannot be read at all, [`StoreFault::Unavailable`] if the folder cannot be.
pub fn inspect(folder: &Path) -> Result<Option<Inspection>, StoreFault> {
    if let Some(lost) = lost_database(folder) {
        return Err(lost);
    }
    let database = folder.join("heddle.db");
    match std::fs::metadata(&database) {
        Ok(file) if file.len() > 0 => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&database, &error)),
    }
    let _lock = lock(folder)?;
    let db = connect(&database)?;
    let known = schema::STEPS.len() as u32;
    let found: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fault)?;
    match found {
        0 => return Ok(None),
        found if found > known => return Err(StoreFault::NewerSchema { found, known }),
        _ => {}
    }
    let mut look = Look { db, values: Values::at(folder), found: Inspection::default() };
    let report = &mut look.found.report;
    (report.backend, report.place) = ("sqlite".to_owned(), folder.display().to_string());
    look.found.schema = found;
    sizes(folder, report);
    look.everything();
    Ok(Some(look.found))
}

fn unreadable(path: &Path, error: &io::Error) -> StoreFault {
    StoreFault::Unavailable(format!("`{}` cannot be read: {error}", path.display()))
}

/// The folder's lock, shared with others that look: while it is held no node begins to write.
fn lock(folder: &Path) -> Result<Option<File>, StoreFault> {
    let path = folder.join("lock");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&path, &error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StoreFault::InUse(folder.display().to_string())),
        Err(TryLockError::Error(error)) => Err(unreadable(&path, &error)),
    }
}

/// A connection that cannot write.
///
/// Beside a log, SQLite would make the file that readers and writers share; one that has the database to itself keeps
/// that in its own memory. It would also lock the file for writing, which it is not opened for: the folder's lock is
/// enough. Without a log it would make an empty one, unless it is told that nothing ever changes.
fn connect(database: &Path) -> Result<Connection, StoreFault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let log = database.with_file_name("heddle.db-wal");
    let db = if log.exists() {
        Connection::open_with_flags_and_vfs(database, flags, c"unix-none").map_err(fault)?
    } else {
        Connection::open_with_flags(unchanging(database)?, flags | OpenFlags::SQLITE_OPEN_URI)
            .map_err(fault)?
    };
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(fault)?;
    db.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA query_only = ON; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;",
    )
    .map_err(fault)?;
    Ok(db)
}

/// The URI of a file that does not change.
fn unchanging(database: &Path) -> Result<PathBuf, StoreFault> {
    let path = std::path::absolute(database).map_err(|error| unreadable(database, &error))?;
    let mut uri = String::from("file://");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(*byte as char),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    Ok(PathBuf::from(uri + "?immutable=1"))
}

struct Look {
    db: Connection,
    values: Values,
    found: Inspection,
}

impl Look {
    /// Each part by itself: where one cannot be read, the others still tell what they can.
    fn everything(&mut self) {
        let mut damage = structure(&self.db).unwrap_or_else(|error| failed(&error));
        if let Err(error) = count(&self.db, &mut self.found.report) {
            damage.push(error.to_string());
        }
        if let Err(error) = self.runs() {
            damage.extend(failed(&error));
        }
        if let Err(error) = self.strays(&mut damage) {
            damage.extend(failed(&error));
        }
        if let Err(error) = self.values(&mut damage) {
            damage.extend(failed(&error));
        }
        damage.dedup();
        self.found.report.damage = damage;
    }

    fn runs(&mut self) -> rusqlite::Result<()> {
        let mut after: Vec<u8> = Vec::new();
        loop {
            let page: Vec<Vec<u8>> = {
                let mut statement =
                    self.db.prepare_cached("SELECT run FROM runs WHERE run > ?1 ORDER BY run LIMIT ?2")?;
                let rows = statement.query_map((&after, PAGE), |row| row.get(0))?;
                rows.collect::<Result<_, _>>()?
            };
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(last);
            for run in page {
                // What is no id cannot be asked for either; the index row says so.
                let Ok(run) = <[u8; 16]>::try_from(run) else { continue };
                self.run(RunId(u128::from_be_bytes(run)));
            }
        }
    }

    fn run(&mut self, run: RunId) {
        let mut damaged = DamagedRun { run, rows: Vec::new(), why: String::new() };
        let row = match read::run_by(&self.db, &read::columns_of(self.found.schema), run) {
            Ok(row) => row,
            Err(fault) => {
                damaged.why = fault.to_string();
                None
            }
        };
        let ended = row.as_ref().is_some_and(|row| row.status.is_terminal());
        if let Err(error) = self.journal(&mut damaged, ended) {
            damaged.note(None, format!("its journal cannot be read: {error}"));
        }
        if let Some(row) = row {
            self.snapshot(&mut damaged, row.snapshot);
        }
        if !damaged.why.is_empty() {
            self.found.runs_damaged += 1;
            if self.found.damaged.len() < NAMED {
                self.found.damaged.push(damaged);
            }
        }
    }

    /// Without what it was accepted as, a run can neither be shown nor go on.
    fn snapshot(&self, damaged: &mut DamagedRun, snapshot: Digest) {
        let why = match read::blob(&self.db, &self.values, snapshot) {
            Ok(Some(_)) => return,
            Ok(None) => format!("its snapshot {snapshot}, the workflow as it was accepted, is missing"),
            Err(fault) => format!("its snapshot, the workflow as it was accepted, cannot be read: {fault}"),
        };
        damaged.note(None, why);
    }

    /// How many rows the index knows of; a store from before knows of none.
    fn rows_known(&self, run: RunId) -> rusqlite::Result<u64> {
        if self.found.schema < 3 {
            return Ok(0);
        }
        let mut statement = self.db.prepare_cached("SELECT seq FROM runs WHERE run = ?1")?;
        let known = statement.query_row([run.0.to_be_bytes()], |row| row.get::<_, i64>(0)).optional()?;
        Ok(known.unwrap_or(0) as u64)
    }

    /// Reads a journal row by row, holding one at a time.
    fn journal(&mut self, damaged: &mut DamagedRun, ended: bool) -> rusqlite::Result<()> {
        let known = self.rows_known(damaged.run)?;
        let mut statement = self.db.prepare_cached(
            "SELECT seq, encoding, checksum, body FROM journal WHERE run = ?1 ORDER BY seq",
        )?;
        let mut rows = statement.query([damaged.run.0.to_be_bytes()])?;
        let (mut expected, mut is_last) = (1u64, false);
        while let Some(row) = rows.next()? {
            let seq = row.get::<_, i64>(0)? as u64;
            if seq > expected {
                damaged.note(Some(expected), format!("row {expected} is missing"));
            }
            expected = seq.saturating_add(1);
            self.found.rows_read += 1;
            let body = row.get_ref(3)?.as_blob();
            let read = body.map_err(|error| error.to_string()).and_then(|body| {
                let coded = Coded {
                    encoding: row.get(1).map_err(|error| error.to_string())?,
                    checksum: row.get(2).map_err(|error| error.to_string())?,
                    body,
                };
                row::decode(damaged.run, seq, &coded).map_err(|fault| match fault {
                    StoreFault::Damaged { why, .. } => why,
                    other => other.to_string(),
                })
            });
            // A row that cannot be read may be the last one; it is named anyway.
            is_last = read
                .as_ref()
                .map_or(true, |row| matches!(row.batch.events.last(), Some(Event::RunFinished { .. })));
            if let Err(why) = read {
                damaged.note(Some(seq), format!("row {seq}: {why}"));
            }
        }
        if expected == 1 {
            damaged.note(None, "it has no journal".to_owned());
        } else if expected <= known {
            let why = format!(
                "row {expected} is missing: the index knows of {known}, and the journal ends before it"
            );
            damaged.note(Some(expected), why);
        } else if ended && !is_last {
            let why = format!(
                "row {expected} is missing: the index says that the run has ended, and the journal does not"
            );
            damaged.note(Some(expected), why);
        }
        Ok(())
    }

    /// Journals of which no index row knows.
    fn strays(&self, damage: &mut Vec<String>) -> rusqlite::Result<()> {
        let removing = match self.found.schema {
            1 => "",
            _ => "AND run NOT IN (SELECT run FROM removing)",
        };
        let sql = format!(
            "SELECT DISTINCT run FROM journal WHERE run NOT IN (SELECT run FROM runs) {removing} LIMIT {NAMED}"
        );
        let mut statement = self.db.prepare(&sql)?;
        for run in statement.query_map([], |row| row.get::<_, [u8; 16]>(0))? {
            let run = RunId(u128::from_be_bytes(run?));
            damage.push(format!("run {run} has a journal and is not in the index of runs"));
        }
        Ok(())
    }

    fn values(&mut self, damage: &mut Vec<String>) -> rusqlite::Result<()> {
        let mut statement = self.db.prepare("SELECT digest FROM blobs")?;
        let mut digests = statement.query([])?;
        let mut named = 0;
        while let Some(row) = digests.next()? {
            let digest = Digest(row.get(0)?);
            self.found.values_read += 1;
            if let Err(fault) = read::blob(&self.db, &self.values, digest)
                && named < NAMED
            {
                named += 1;
                damage.push(format!("{fault}; {}", self.holder(digest)?));
            }
        }
        Ok(())
    }

    /// Who needs a value.
    fn holder(&self, digest: Digest) -> rusqlite::Result<String> {
        let sql = "SELECT owner FROM blob_refs WHERE digest = ?1 ORDER BY owner LIMIT 1";
        let owner: Option<Vec<u8>> = self.db.query_row(sql, [&digest.0], |row| row.get(0)).optional()?;
        Ok(match owner.map(<[u8; 16]>::try_from) {
            None => "no run needs it".to_owned(),
            Some(Ok(run)) => format!("run {} needs it", RunId(u128::from_be_bytes(run))),
            Some(Err(_)) => "a plugin or a published workflow needs it".to_owned(),
        })
    }
}

impl DamagedRun {
    fn note(&mut self, row: Option<u64>, why: String) {
        if self.why.is_empty() {
            self.why = why;
        }
        if let Some(row) = row
            && self.rows.len() < ROWS_NAMED
        {
            self.rows.push(row);
        }
    }
}

fn failed(error: &rusqlite::Error) -> Vec<String> {
    vec![format!("the check itself failed: {error}")]
}
