//! The SQLite store passes the suite on real files.

#![allow(clippy::unwrap_used, reason = "tests")]

use heddle_store::conformance::{Backend, START, Store};
use heddle_store::memory::Damage;
use heddle_store::*;
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tempfile::TempDir;

struct Sqlite {
    store: Option<SqliteStore>,
    time: Arc<AtomicU64>,
    folder: TempDir,
}

fn options(folder: &Path, clock: StoreClock) -> SqliteOptions {
    let on_fatal = Arc::new(|why| panic!("the store failed: {why}"));
    SqliteOptions { clock, ..SqliteOptions::new(folder, on_fatal) }
}

impl Backend for Sqlite {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone().unwrap())
    }
    fn time(&self) -> &AtomicU64 {
        &self.time
    }
    fn reopen(&mut self) {
        self.store = None;
        let clock = StoreClock::Manual(self.time.clone());
        self.store = Some(SqliteStore::open(options(self.folder.path(), clock)).unwrap());
    }
    fn damage(&self, what: &Damage) {
        let db = Connection::open(self.folder.path().join("heddle.db")).unwrap();
        let changed = match what {
            Damage::Journal(run, seq) => db.execute(
                r#"UPDATE journal SET body = cast(replace(body, '"attempt":1', '"attempt":2') AS BLOB)
                   WHERE run = ?1 AND seq = ?2"#,
                (run.0.to_be_bytes(), *seq as i64),
            ),
            Damage::Blob(digest) => {
                let hex = digest.hex();
                let file = self.folder.path().join("values").join(&hex[..2]).join(&hex[2..]);
                if let Ok(mut bytes) = std::fs::read(&file) {
                    bytes[7] ^= 1;
                    std::fs::write(&file, bytes).unwrap();
                    return;
                }
                db.execute("UPDATE blobs SET body = zeroblob(size) WHERE digest = ?1", [digest.0])
            }
            Damage::Cache(tenant, key) => db.execute(
                "UPDATE cache SET output = replace(output, 'x', 'y') WHERE tenant = ?1 AND key = ?2",
                (&*tenant.0, key.0),
            ),
        };
        assert_eq!(changed, Ok(1));
    }
}

fn open() -> Sqlite {
    let (clock, time) = StoreClock::manual(START);
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(options(folder.path(), clock)).unwrap();
    Sqlite { store: Some(store), time, folder }
}

heddle_store::conformance_tests!(open());
