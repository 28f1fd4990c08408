//! Looking at a data folder: everything is read, nothing is written, and what is damaged is named.

#![allow(clippy::unwrap_used, reason = "tests")]

use heddle_core::id::{Digest, RunId};
use heddle_store::conformance::{Backend, START, Setup, Store, blob, run};
use heddle_store::memory::Damage;
use heddle_store::*;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

struct Folder {
    store: SqliteStore,
    time: Arc<AtomicU64>,
}

impl Backend for Folder {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }
    fn time(&self) -> &AtomicU64 {
        &self.time
    }
    fn reopen(&mut self) {
        unreachable!("these tests open folders themselves")
    }
    fn damage(&self, _: &Damage) {
        unreachable!("these tests damage folders themselves")
    }
}

fn open(folder: &Path) -> Result<Folder, StoreFault> {
    let (clock, time) = StoreClock::manual(START);
    let options = SqliteOptions { clock, ..SqliteOptions::new(folder, Arc::new(|_| {})) };
    Ok(Folder { store: SqliteStore::open(options)?, time })
}

/// What the runs of these tests were accepted as.
async fn snapshot(node: &Setup<Folder>) {
    let bytes: Arc<[u8]> = b"snapshot"[..].into();
    node.store().put_blob(Blob { digest: Digest::of(&bytes), bytes }).await.unwrap();
}

/// Three runs of three rows each, a value that is a file for each, and their snapshot.
async fn filled(folder: &Path) -> Setup<Folder> {
    let node = Setup::new(open(folder).unwrap()).await;
    snapshot(&node).await;
    for number in [1, 2, 3] {
        node.accept(run(number), RunStatus::Running).await;
        let with_value = Append { blobs: vec![blob(300_000, number as u8)], ..node.step(run(number), 1) };
        node.store().append(with_value).await.unwrap();
        node.store().append(node.step(run(number), 2)).await.unwrap();
    }
    node
}

/// Every file and folder with its bytes and the time of its last change.
fn everything(folder: &Path) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let changed = path.metadata().unwrap().modified().unwrap();
        let bytes = if path.is_dir() { Vec::new() } else { std::fs::read(&path).unwrap() };
        if path.is_dir() {
            found.extend(everything(&path));
        }
        found.insert(path, (changed, bytes));
    }
    let changed = folder.metadata().unwrap().modified().unwrap();
    found.insert(folder.to_owned(), (changed, Vec::new()));
    found
}

/// Looks, and holds that nothing was written.
#[track_caller]
fn look(folder: &Path) -> Result<Option<Inspection>, StoreFault> {
    let before = everything(folder);
    let found = inspect(folder);
    assert!(everything(folder) == before, "the look has written something");
    found
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let there = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&there).unwrap();
            copy(&entry.path(), &there);
        } else {
            std::fs::copy(entry.path(), there).unwrap();
        }
    }
}

#[tokio::test]
async fn everything_is_read_and_nothing_written_whatever_state_the_log_is_in() {
    let folder = tempfile::tempdir().unwrap();
    let node = filled(folder.path()).await;
    // As a process leaves it that was killed: most of it is in the log, and the shared index is stale.
    let killed = tempfile::tempdir().unwrap();
    copy(folder.path(), killed.path());
    assert!(std::fs::metadata(killed.path().join("heddle.db-wal")).unwrap().len() > 0);
    drop(node);
    // As somebody has copied it who took the database alone. What a URI would take for something else is in its name.
    let place = tempfile::tempdir().unwrap();
    let bare = place.path().join("a b?c#d%41é");
    std::fs::create_dir(&bare).unwrap();
    copy(folder.path(), &bare);
    for name in ["heddle.db-wal", "heddle.db-shm", "lock"] {
        std::fs::remove_file(bare.join(name)).unwrap();
    }
    for folder in [folder.path(), killed.path(), &bare] {
        let found = look(folder).unwrap().unwrap();
        assert_eq!((found.rows_read, found.values_read, found.runs_damaged), (9, 4, 0), "{found:?}");
        assert_eq!((found.damaged.as_slice(), found.report.damage.as_slice()), (&[][..], &[][..]));
        assert_eq!(found.report.runs, BTreeMap::from([("running".to_owned(), 3)]));
        assert!(found.report.bytes + found.report.wal_bytes > 4096 * 2);
    }
}

#[tokio::test]
async fn damaged_runs_are_named_with_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let node = filled(folder.path()).await;
    for number in [4, 5] {
        node.accept(run(number), RunStatus::Running).await;
    }
    drop(node);
    let db = Connection::open(folder.path().join("heddle.db")).unwrap();
    let change = |sql: &str, number| {
        assert!(db.execute(sql, [run(number).0.to_be_bytes()]).unwrap() > 0, "{sql}");
    };
    change("UPDATE journal SET checksum = checksum + 1 WHERE run = ?1 AND seq >= 2", 1);
    change("DELETE FROM journal WHERE run = ?1 AND seq = 2", 2);
    change("DELETE FROM journal WHERE run = ?1", 4);
    change("UPDATE runs SET labels = 'x' WHERE run = ?1", 5);
    change("DELETE FROM runs WHERE run = ?1", 3);
    drop(db);
    let found = look(folder.path()).unwrap().unwrap();
    let named: Vec<(RunId, &[u64])> = found.damaged.iter().map(|run| (run.run, &*run.rows)).collect();
    assert_eq!(named, [(run(1), &[2, 3][..]), (run(2), &[2][..]), (run(4), &[][..]), (run(5), &[][..])]);
    let why: Vec<&str> = found.damaged.iter().map(|run| &*run.why).collect();
    assert_eq!(why[..3], ["row 2: its checksum does not hold", "row 2 is missing", "it has no journal"]);
    assert!(why[3].contains("index row"), "{why:?}");
    assert_eq!(
        found.report.damage,
        [format!("run {} has a journal and is not in the index of runs", run(3))]
    );
}

#[tokio::test]
async fn a_lost_last_row_and_a_lost_snapshot_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let node = filled(folder.path()).await;
    for number in [4, 5, 6] {
        node.accept(run(number), RunStatus::Running).await;
    }
    node.store().append(node.status(run(4), 1, RunStatus::Waiting, None)).await.unwrap();
    node.store().append(node.end(run(5), 1)).await.unwrap();
    node.store().append(node.end(run(6), 1)).await.unwrap();
    drop(node);
    assert_eq!(look(folder.path()).unwrap().unwrap().runs_damaged, 0);
    let db = Connection::open(folder.path().join("heddle.db")).unwrap();
    // Run 6 is as the program before this schema left it.
    assert_eq!(db.execute("UPDATE runs SET seq = 0 WHERE run = ?1", [run(6).0.to_be_bytes()]), Ok(1));
    for number in [4, 5, 6] {
        let last = "DELETE FROM journal WHERE run = ?1 AND seq = 2";
        assert_eq!(db.execute(last, [run(number).0.to_be_bytes()]), Ok(1));
    }
    drop(db);
    let found = look(folder.path()).unwrap().unwrap();
    let named: Vec<(RunId, &[u64])> = found.damaged.iter().map(|run| (run.run, &*run.rows)).collect();
    assert_eq!(named, [(run(4), &[2][..]), (run(5), &[2][..]), (run(6), &[2][..])]);
    assert!(found.damaged[1].why.contains("the index knows of 2"), "{found:?}");
    assert!(found.damaged[2].why.contains("the index says that the run has ended"), "{found:?}");
    // A node that runs finds what the index tells, too.
    let report = open(folder.path()).unwrap().store.report(ReportDepth::Deep).await.unwrap();
    let short = format!("the journal of run {} ends with row 1; the index knows of 2", run(4));
    assert!(report.damage.contains(&short), "{report:?}");

    let db = Connection::open(folder.path().join("heddle.db")).unwrap();
    let gone = Digest::of(b"snapshot");
    assert_eq!(db.execute("DELETE FROM blobs WHERE digest = ?1", [gone.0]), Ok(1));
    drop(db);
    let found = look(folder.path()).unwrap().unwrap();
    assert_eq!(found.runs_damaged, 6);
    let why = &found.damaged[0].why;
    assert!(why.contains(&format!("its snapshot {gone}")) && why.contains("is missing"), "{why}");
}

#[tokio::test]
async fn a_long_list_of_damage_is_counted_and_named_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::new(open(folder.path()).unwrap()).await;
    for number in 0..600 {
        drop(node.store().append(node.acceptance(run(number), RunStatus::Running)));
    }
    drop(node);
    let db = Connection::open(folder.path().join("heddle.db")).unwrap();
    assert_eq!(db.execute("UPDATE journal SET body = 'x'", []).ok(), None, "a body is bytes");
    assert_eq!(db.execute("UPDATE journal SET body = x'00'", []), Ok(600));
    drop(db);
    let found = look(folder.path()).unwrap().unwrap();
    assert_eq!((found.rows_read, found.runs_damaged, found.damaged.len()), (600, 600, 20));
}

#[tokio::test]
async fn a_damaged_value_is_named_with_the_run_that_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()).await);
    let file = |digest: Digest| {
        let hex = digest.hex();
        folder.path().join("values").join(&hex[..2]).join(&hex[2..])
    };
    let (gone, other) = (blob(300_000, 1).digest, blob(300_000, 2).digest);
    std::fs::remove_file(file(gone)).unwrap();
    std::fs::write(file(other), b"other").unwrap();
    let damage = look(folder.path()).unwrap().unwrap().report.damage;
    assert_eq!(damage.len(), 2, "{damage:?}");
    for (digest, why, needs) in
        [(gone, "its file is missing", run(1)), (other, "its bytes have another digest", run(2))]
    {
        let found = damage.iter().find(|found| found.contains(&digest.to_string())).unwrap();
        assert!(found.contains(why) && found.ends_with(&format!("run {needs} needs it")), "{found}");
    }
}

#[tokio::test]
async fn a_folder_without_a_store_is_left_without_one() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(look(folder.path()), Ok(None));
    // A start that died before its first commit.
    std::fs::write(folder.path().join("lock"), b"").unwrap();
    std::fs::write(folder.path().join("heddle.db"), b"").unwrap();
    assert_eq!(look(folder.path()), Ok(None));
    let nowhere = folder.path().join("nowhere");
    assert_eq!(inspect(&nowhere), Ok(None));
    assert!(!nowhere.exists());
}

#[tokio::test]
async fn a_database_that_is_gone_is_noticed_and_not_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path()).await);
    let whole = everything(&folder.path().join("values"));
    let database = folder.path().join("heddle.db");
    std::fs::write(&database, b"").unwrap();
    let expect = |found: Option<StoreFault>, state: &str| {
        assert!(
            matches!(&found, Some(StoreFault::Damaged { why, .. }) if why.contains(state)),
            "{state}: {found:?}"
        );
    };
    expect(look(folder.path()).err(), "is empty");
    expect(open(folder.path()).err(), "is empty");
    for name in ["heddle.db", "heddle.db-wal", "heddle.db-shm"] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    expect(look(folder.path()).err(), "is missing");
    expect(open(folder.path()).err(), "is missing");
    assert!(!database.exists());
    assert!(everything(&folder.path().join("values")) == whole, "the values of the lost database are gone");
}

#[tokio::test]
async fn what_cannot_be_looked_at_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let node = filled(folder.path()).await;
    assert_eq!(inspect(folder.path()), Err(StoreFault::InUse(folder.path().display().to_string())));
    drop(node);
    let database = folder.path().join("heddle.db");
    Connection::open(&database).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(look(folder.path()), Err(StoreFault::NewerSchema { found: 99, known: 9 }));
    std::fs::write(&database, [7u8; 8192]).unwrap();
    assert!(matches!(look(folder.path()), Err(StoreFault::Damaged { .. })));
}

#[tokio::test]
async fn an_older_schema_is_read_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let old = Connection::open(folder.path().join("heddle.db")).unwrap();
    old.execute_batch(include_str!("fixtures/schema-1.sql")).unwrap();
    drop(old);
    let found = look(folder.path()).unwrap().unwrap();
    assert_eq!((found.schema, found.report.runs.values().sum::<u64>()), (1, 2), "{found:?}");
    assert_eq!(found.report.damage, [""; 0]);
    // The fixture has index rows alone.
    assert!(found.damaged.iter().all(|run| run.why == "it has no journal"), "{found:?}");
}
