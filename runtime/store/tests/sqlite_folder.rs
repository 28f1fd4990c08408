//! What a data folder goes through: locks, versions, half-written files, checkpoints, shutdown.

#![allow(clippy::unwrap_used, reason = "tests")]

use futures_util::future::join_all;
use heddle_core::id::Digest;
use heddle_core::time::Timestamp;
use heddle_store::conformance::{Backend, START, Setup, Store, blob, run};
use heddle_store::memory::Damage;
use heddle_store::*;
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

/// A store in a folder, with what its hook was told.
struct Folder {
    store: Option<SqliteStore>,
    time: Arc<AtomicU64>,
    fatal: Arc<Mutex<Vec<String>>>,
}

impl Folder {
    fn options(&self, folder: &Path) -> SqliteOptions {
        let fatal = self.fatal.clone();
        let on_fatal = Arc::new(move |why| fatal.lock().unwrap().push(why));
        SqliteOptions { clock: StoreClock::Manual(self.time.clone()), ..SqliteOptions::new(folder, on_fatal) }
    }
}

impl Backend for Folder {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone().unwrap())
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

fn open_with(folder: &Path, change: impl FnOnce(&mut SqliteOptions)) -> Result<Folder, StoreFault> {
    let (_, time) = StoreClock::manual(START);
    let mut opened = Folder { store: None, time, fatal: Arc::default() };
    let mut options = opened.options(folder);
    change(&mut options);
    opened.store = Some(SqliteStore::open(options)?);
    Ok(opened)
}

fn open(folder: &Path) -> Result<Folder, StoreFault> {
    open_with(folder, |_| {})
}

#[tokio::test]
async fn a_folder_is_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    let second = open(folder.path()).err();
    assert_eq!(second, Some(StoreFault::InUse(folder.path().display().to_string())));
    drop(first);
    open(folder.path()).unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let file = folder.path().join("heddle.db");
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(open(folder.path()).err(), Some(StoreFault::NewerSchema { found: 99, known: 9 }));
    let version = Connection::open(&file).unwrap().pragma_query_value(None, "user_version", |row| row.get(0));
    assert_eq!(version, Ok(99));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_said_to_be_damaged() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("heddle.db"), [7u8; 8192]).unwrap();
    assert!(matches!(open(folder.path()).err(), Some(StoreFault::Damaged { .. })));
}

#[tokio::test]
async fn the_schema_before_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let old = Connection::open(folder.path().join("heddle.db")).unwrap();
    old.execute_batch(include_str!("fixtures/schema-1.sql")).unwrap();
    drop(old);
    let node = Setup::new(open(folder.path()).unwrap()).await;
    assert_eq!(node.lease.epoch, 8, "epochs go on where they were");
    let (ended, waits) = (run(1), run(2));
    assert_eq!(node.store().run(ended).await.unwrap().unwrap().status, RunStatus::Succeeded);
    let waiting = node.store().report(ReportDepth::Waiting).await.unwrap().waiting;
    assert_eq!(waiting, WaitingRuns { parked: 1, ..WaitingRuns::default() });
    assert_eq!(node.claim(10).await, [waits]);
    assert_eq!(node.store().inbox(waits).await.unwrap()[0].body.text(), r#"{"cancel":true}"#);
    assert_eq!(node.store().blob(Digest::of(b"test")).await.unwrap().as_deref(), Some(&b"test"[..]));
    assert_eq!(node.store().retain(Timestamp(3000), 0, 100).await, Ok(1));
    assert_eq!(node.store().run(ended).await, Ok(None));
}

#[tokio::test]
async fn what_stands_in_line_is_written_before_the_folder_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::new(open(folder.path()).unwrap()).await;
    node.accept(run(1), RunStatus::Running).await;
    for expected in 1..200 {
        let blobs = if expected == 50 { vec![blob(2_000_000, 1)] } else { vec![] };
        drop(node.store().append(Append { blobs, ..node.step(run(1), expected) }));
    }
    drop(node);
    let node = Setup::new(open(folder.path()).unwrap()).await;
    assert_eq!(node.seqs(run(1)).await, (1..=200).collect::<Vec<_>>());
    assert!(node.store().blob(blob(2_000_000, 1).digest).await.unwrap().is_some());
}

#[tokio::test]
async fn files_of_values_that_were_never_committed_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::new(open(folder.path()).unwrap()).await;
    let (kept, lost) = (blob(300_000, 1), blob(300_000, 2));
    node.store().put_blob(kept.clone()).await.unwrap();
    let refused = Append { blobs: vec![lost.clone()], ..node.step(run(1), 9) };
    assert!(node.store().append(refused).await.is_err());
    drop(node);
    let path = |digest: Digest| {
        let hex = digest.hex();
        folder.path().join("values").join(&hex[..2]).join(&hex[2..])
    };
    assert!(path(kept.digest).exists() && path(lost.digest).exists());
    std::fs::write(folder.path().join("values/new/17"), b"half").unwrap();
    let node = Setup::new(open(folder.path()).unwrap()).await;
    assert!(path(kept.digest).exists() && !path(lost.digest).exists());
    assert_eq!(std::fs::read_dir(folder.path().join("values/new")).unwrap().count(), 0);
    assert_eq!(node.store().blob(kept.digest).await, Ok(Some(kept.bytes)));
}

#[tokio::test]
async fn a_value_that_cannot_be_written_ends_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::new(open(folder.path()).unwrap()).await;
    node.accept(run(1), RunStatus::Running).await;
    std::fs::remove_dir(folder.path().join("values/new")).unwrap();
    let with_file = node.store().append(Append { blobs: vec![blob(300_000, 1)], ..node.step(run(1), 1) });
    let behind = node.store().append(node.step(run(1), 2));
    assert!(matches!(with_file.await, Err(AppendFault::Unavailable(_))));
    assert!(matches!(behind.await, Err(AppendFault::Unavailable(_))));
    let later = node.store().append(node.step(run(1), 1)).await;
    assert!(
        matches!(later, Err(AppendFault::Unavailable(why)) if why.contains("a value could not be written"))
    );
    let Setup { backend: Folder { store, fatal, .. }, .. } = node;
    drop(store);
    assert_eq!(fatal.lock().unwrap().len(), 1);
    let node = Setup::new(open(folder.path()).unwrap()).await;
    assert_eq!(node.seqs(run(1)).await, [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_within_its_bound_under_load() {
    const BOUND: u64 = 4 << 20;
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::new(open_with(folder.path(), |options| options.wal_bytes = BOUND).unwrap()).await;
    let mut most = 0;
    for batch in 0..60 {
        let appends = (0..50u64).map(|number| {
            let run = run(number);
            let mut append = match batch {
                0 => node.acceptance(run, RunStatus::Running),
                _ => node.step(run, batch),
            };
            append.blobs = vec![blob(10_000 + batch as usize, number as u8)];
            node.store().append(append)
        });
        for answer in join_all(appends.collect::<Vec<_>>()).await {
            answer.unwrap();
        }
        most = most.max(node.store().report(ReportDepth::Quick).await.unwrap().wal_bytes);
    }
    let report = node.store().report(ReportDepth::Deep).await.unwrap();
    assert!(report.bytes > 4 * BOUND, "the load was not enough: {report:?}");
    assert!(most < 3 * BOUND, "the log grew to {most} bytes");
    assert_eq!(report.damage, [""; 0]);
    drop(node);
    let log = folder.path().join("heddle.db-wal");
    assert_eq!(std::fs::metadata(log).map_or(0, |file| file.len()), 0, "a clean end leaves no log");
}

#[tokio::test]
async fn a_deep_report_names_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::new(open(folder.path()).unwrap()).await;
    for number in [1, 2, 3] {
        node.accept(run(number), RunStatus::Running).await;
        node.store().append(node.step(run(number), 1)).await.unwrap();
    }
    let db = Connection::open(folder.path().join("heddle.db")).unwrap();
    let id = |number| run(number).0.to_be_bytes();
    assert_eq!(db.execute("DELETE FROM journal WHERE run = ?1 AND seq = 1", [id(1)]), Ok(1));
    assert_eq!(db.execute("DELETE FROM journal WHERE run = ?1", [id(2)]), Ok(2));
    let damage = node.store().report(ReportDepth::Deep).await.unwrap().damage;
    assert_eq!(damage.len(), 2, "{damage:?}");
    assert!(damage[0].contains("has 1 of its 2 rows") && damage[1].contains("has no journal"));
}

#[tokio::test]
async fn retention_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::new(open(folder.path()).unwrap()).await;
    for number in 0..30 {
        let mut append = node.acceptance(run(number), RunStatus::Running);
        if let IndexChange::Create(row) = &mut append.index {
            row.labels = vec![("team".into(), "it's \"a\"".into()), ("\\".into(), "é".into())];
        }
        let (key, request) = (number.to_string().into(), Digest::of(b"r"));
        append.idempotency = vec![IdempotencyClaim { key, request, expires: node.now().plus_ms(1) }];
        append.blobs = vec![blob(300_000 + number as usize, 1), blob(100, number as u8), blob(100, 99)];
        append.cache = vec![heddle_store::conformance::values::entry(
            number as u8,
            CachedOutput::Stored { digest: append.blobs[1].digest, size: 100 },
            None,
        )];
        node.store().append(append).await.unwrap();
        node.store().send(Mail::to(run(number), "a", heddle_core::json::Json::null())).await.unwrap();
        node.store().append(node.end(run(number), 1)).await.unwrap();
    }
    for _ in 0..2 {
        node.pass(4_000_000);
        while node.store().retain(node.now(), 0, 17).await.unwrap() > 0 {}
    }
    let db = Connection::open(folder.path().join("heddle.db")).unwrap();
    let mut tables =
        db.prepare("SELECT name FROM pragma_table_list WHERE type = 'table' AND schema = 'main'").unwrap();
    let tables: Vec<String> =
        tables.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert!(tables.len() > 10);
    for table in tables
        .iter()
        .filter(|table| !table.starts_with("sqlite_") && !["meta", "cache_total"].contains(&&***table))
    {
        let rows: i64 = db.query_one(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    assert_eq!(db.query_one("SELECT bytes FROM cache_total", [], |row| row.get::<_, i64>(0)), Ok(0));
    let files = std::fs::read_dir(folder.path().join("values")).unwrap();
    let left: usize = files.map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap().count()).sum();
    assert_eq!(left, 0, "files of values");
}

#[tokio::test]
async fn a_run_whose_row_cannot_be_read_takes_nothing_from_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::new(open(folder.path()).unwrap()).await;
    for number in 1..=4 {
        let status = if number == 4 { RunStatus::Running } else { RunStatus::Queued };
        node.accept(run(number), status).await;
    }
    let db = Connection::open(folder.path().join("heddle.db")).unwrap();
    assert_eq!(db.execute("UPDATE runs SET labels = 'x' WHERE run = ?1", [run(1).0.to_be_bytes()]), Ok(1));
    assert_eq!(
        db.execute("UPDATE runs SET snapshot = x'00' WHERE run = ?1", [run(4).0.to_be_bytes()]),
        Ok(1)
    );
    let readable = |listed: &Listed| (listed.run(), matches!(listed, Listed::Run(_)));
    let all = [(run(4), false), (run(3), true), (run(2), true), (run(1), false)];
    let queued = vec![RunStatus::Queued];
    for (status, expected) in [(vec![], &all[..]), (queued, &all[1..])] {
        let query = RunQuery { status, limit: 10, ..RunQuery::default() };
        let listed = node.store().runs(query).await.unwrap();
        assert_eq!(listed.iter().map(readable).collect::<Vec<_>>(), expected);
    }
    // The oldest of them does not stand in the way of those behind it, however few are asked for.
    let mut claimed = Vec::new();
    for _ in 0..3 {
        claimed.extend(node.claim(1).await);
    }
    assert_eq!(claimed, [run(2), run(3)]);
}

#[tokio::test]
async fn what_nobody_waits_for_shares_a_flush() {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::new(open(folder.path()).unwrap()).await;
    node.accept(run(1), RunStatus::Running).await;
    let commits = async || node.store().report(ReportDepth::Quick).await.unwrap().commits;
    let before = commits().await;
    let lingering = |expected| Append { urgency: Urgency::Later, ..node.step(run(1), expected) };
    let mut queued: Vec<_> = (1..=60).map(|expected| node.store().append(lingering(expected))).collect();
    queued.push(node.store().append(node.step(run(1), 61)));
    assert!(join_all(queued).await.iter().all(Result::is_ok));
    // One, unless this thread was kept from queueing for longer than a row lingers.
    let flushes = commits().await - before;
    assert!(flushes <= 6, "61 rows took {flushes} flushes");
}
