//! Processes that really die, and a disk that really refuses. Each test starts this test program again as a child that
//! uses the store, and looks at what the child left behind.

#![allow(clippy::unwrap_used, reason = "tests")]

use heddle_store::conformance::{Backend, Setup, Store, TTL_MS, blob, run};
use heddle_store::memory::Damage;
use heddle_store::*;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FOLDER: &str = "HEDDLE_TEST_CHILD_FOLDER";
const CYCLE: &str = "HEDDLE_TEST_CHILD_CYCLE";

/// A store on the machine's clock.
struct Real(SqliteStore, AtomicU64);

impl Backend for Real {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }
    fn time(&self) -> &AtomicU64 {
        &self.1
    }
    fn reopen(&mut self) {
        unreachable!("a real end is what these tests are about")
    }
    fn damage(&self, _: &Damage) {
        unreachable!("a real end is what these tests are about")
    }
}

fn open(folder: &Path) -> Real {
    let on_fatal = Arc::new(|why: String| {
        say(&format!("fatal {why}"));
        std::process::exit(7);
    });
    Real(SqliteStore::open(SqliteOptions::new(folder, on_fatal)).unwrap(), AtomicU64::new(1))
}

/// A line to the parent, past the test harness.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The folder, in a child.
fn as_child() -> Option<(PathBuf, u64)> {
    let folder = std::env::var_os(FOLDER)?;
    Some((folder.into(), std::env::var(CYCLE).unwrap().parse().unwrap()))
}

/// Starts one of the tests below as a child. `shell` is what a shell does first.
fn child(test: &str, folder: &Path, cycle: u64, shell: &str) -> Child {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{shell} exec \"$0\" \"$@\"")).arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(FOLDER, folder).env(CYCLE, cycle.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Numbers that differ from start to start; the seed is printed with a failure.
struct Chance(u64);

impl Chance {
    fn new() -> Chance {
        Chance(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1)
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Appends for ever and says what was answered: `ack <run> <seq>`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_appends() {
    let Some((folder, cycle)) = as_child() else { return };
    let node = Arc::new(Setup::new(open(&folder)).await);
    let drivers: Vec<_> = (0..8)
        .map(|number| {
            let (node, number) = (node.clone(), cycle * 100 + number);
            tokio::spawn(async move {
                for expected in 0.. {
                    let mut append = match expected {
                        0 => node.acceptance(run(number), RunStatus::Running),
                        _ => node.step(run(number), expected),
                    };
                    if expected % 16 == 5 {
                        append.blobs = vec![blob(300_000 + expected as usize, number as u8), blob(20_000, 3)];
                    }
                    match node.store().append(append).await {
                        Ok(seq) => say(&format!("ack {number} {seq}")),
                        Err(fault) => return say(&format!("refused {fault}")),
                    }
                }
            })
        })
        .collect();
    for driver in drivers {
        driver.await.unwrap();
    }
    // The hook ends the process; a refusal alone does not.
    std::future::pending::<()>().await;
}

/// Reads what a child has said, to the end. Gives the last answered row of each run and the other lines.
fn listen(child: &mut Child, mut at_first_ack: impl FnMut(&mut Child)) -> (BTreeMap<u64, u64>, Vec<String>) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut acked, mut others) = (BTreeMap::new(), Vec::new());
    while let Some(Ok(line)) = lines.next() {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["ack", number, seq] => {
                if acked.is_empty() {
                    at_first_ack(child);
                }
                acked.insert(number.parse().unwrap(), seq.parse().unwrap());
            }
            _ => others.push(line),
        }
    }
    (acked, others)
}

async fn check(folder: &Path, acked: &BTreeMap<u64, u64>, seed: u64) {
    let store = open(folder).0;
    for (number, acked) in acked {
        let rows = store.journal(run(*number), 0, u32::MAX).await.unwrap();
        let seqs: Vec<_> = rows.iter().map(|row| row.seq).collect();
        assert_eq!(seqs, (1..=rows.len() as u64).collect::<Vec<_>>(), "a gap; seed {seed}");
        assert!(
            rows.len() as u64 >= *acked,
            "run {number}: {acked} answered, {} there; seed {seed}",
            rows.len()
        );
        for expected in (0..rows.len()).filter(|expected| expected % 16 == 5) {
            let value = blob(300_000 + expected, *number as u8);
            assert_eq!(store.blob(value.digest).await, Ok(Some(value.bytes)), "seed {seed}");
        }
    }
    let report = store.report(ReportDepth::Deep).await.unwrap();
    assert_eq!(report.damage, [""; 0], "seed {seed}");
    let lease = store.take_lease("one", TTL_MS).await.unwrap().unwrap();
    assert!(store.claim(&lease, 1).await.unwrap().len() == 1, "runs of a dead process are claimed at once");
}

#[tokio::test]
async fn nothing_that_was_answered_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut chance = Chance::new();
    let seed = chance.0;
    let mut all = BTreeMap::new();
    for cycle in 0..20 {
        let mut process = child("child_appends", folder.path(), cycle, "");
        let delay = Duration::from_micros(chance.below(120_000));
        let (acked, others) = listen(&mut process, |process| {
            std::thread::sleep(delay);
            process.kill().unwrap();
        });
        assert!(!process.wait().unwrap().success(), "{others:?}");
        assert!(
            !others.iter().any(|line| line.starts_with("fatal") || line.starts_with("refused")),
            "{others:?}"
        );
        all.extend(acked);
        check(folder.path(), &all, seed).await;
    }
    assert!(all.len() >= 20 && all.values().sum::<u64>() > 200, "{all:?}");
}

#[tokio::test]
async fn a_disk_that_refuses_a_write_ends_the_process_and_loses_nothing_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    // No file may grow past a bound (in blocks of 512 or 1,024 bytes): in the middle of some commit, the log does.
    let mut process = child("child_appends", folder.path(), 0, "trap '' XFSZ; ulimit -f 2500;");
    let (acked, others) = listen(&mut process, |_| {});
    assert_eq!(process.wait().unwrap().code(), Some(7), "{others:?}");
    assert!(others.iter().any(|line| line.starts_with("fatal")), "{others:?}");
    assert!(acked.values().sum::<u64>() > 50, "{acked:?}");
    check(folder.path(), &acked, 0).await;
}

/// Opens the folder, which brings it up to date.
#[test]
fn child_migrates() {
    let Some((folder, _)) = as_child() else { return };
    say("ack 0 0");
    drop(open(&folder));
    say("done");
}

/// Everything that a schema is made of.
fn parts(db: &Connection) -> Vec<(String, Option<String>)> {
    let mut parts = db.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
    let rows = parts.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// The first schema, and on it every later step up to `version`.
fn upgraded_to(version: u32) -> Connection {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(include_str!("fixtures/schema-1.sql")).unwrap();
    let steps = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sqlite/schema");
    for number in 2..=version {
        let step = std::fs::read_to_string(steps.join(format!("{number:04}.sql"))).unwrap();
        db.execute_batch(&step).unwrap();
    }
    db
}

#[tokio::test]
async fn a_kill_in_the_middle_of_an_upgrade_leaves_the_schema_before_or_after() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("heddle.db");
    let mut chance = Chance::new();
    let (seed, mut before) = (chance.0, 0);
    for _ in 0..10 {
        for name in ["heddle.db", "heddle.db-wal", "heddle.db-shm"] {
            let _ = std::fs::remove_file(folder.path().join(name));
        }
        let old = Connection::open(&file).unwrap();
        old.execute_batch(include_str!("fixtures/schema-1.sql")).unwrap();
        // Enough rows that building an index takes its time.
        old.execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 15000) \
             INSERT INTO runs SELECT randomblob(16), 'default', 'demo/many', '1', zeroblob(32), '[]', i, 5, NULL, i, NULL, NULL FROM n",
        )
        .unwrap();
        drop(old);
        let mut process = child("child_migrates", folder.path(), 0, "");
        let delay = Duration::from_micros(chance.below(40_000));
        listen(&mut process, |process| {
            std::thread::sleep(delay);
            let _ = process.kill();
        });
        process.wait().unwrap();
        let left = Connection::open(&file).unwrap();
        let version: u32 = left.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(parts(&left), parts(&upgraded_to(version)), "version {version}, seed {seed}");
        before += u32::from(version == 1);
        drop(left);
        let store = open(folder.path()).0;
        let report = store.report(ReportDepth::Deep).await.unwrap();
        assert_eq!(report.runs["succeeded"], 15_001, "seed {seed}");
    }
    say(&format!("killed before the end of the upgrade: {before} of 10"));
}
