//! The memory store passes the suite, and does what only it can do.

#![allow(clippy::unwrap_used, reason = "tests")]

use futures_util::FutureExt;
use heddle_store::conformance::{Backend, START, Setup, Store, run};
use heddle_store::memory::Damage;
use heddle_store::*;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

struct Memory {
    store: MemoryStore,
    time: Arc<AtomicU64>,
}

impl Backend for Memory {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }
    fn time(&self) -> &AtomicU64 {
        &self.time
    }
    fn reopen(&mut self) {
        self.store.reopen();
    }
    fn damage(&self, what: &Damage) {
        self.store.damage(what);
    }
}

fn open() -> Memory {
    let (clock, time) = StoreClock::manual(START);
    Memory { store: MemoryStore::new(clock), time }
}

heddle_store::conformance_tests!(open());

#[tokio::test]
async fn held_commits_are_neither_answered_nor_seen_until_they_are_made() {
    let node = Setup::new(open()).await;
    node.accept(run(1), RunStatus::Running).await;
    node.backend.store.hold_commits();
    let mut first = node.store().append(node.step(run(1), 1));
    let second = node.store().append(node.step(run(1), 2));
    assert!((&mut first).now_or_never().is_none());
    assert_eq!(node.seqs(run(1)).await, [1]);
    assert_eq!(node.store().report(ReportDepth::Quick).await.unwrap().queued, 2);
    assert_eq!(node.backend.store.commit_held(), 2);
    assert_eq!((first.await, second.await), (Ok(2), Ok(3)));
}

#[tokio::test]
async fn after_a_failed_commit_nothing_is_written_until_a_restart() {
    let mut node = Setup::new(open()).await;
    node.accept(run(1), RunStatus::Running).await;
    node.backend.store.fail_next_commit();
    for _ in 0..2 {
        let refused = node.store().append(node.step(run(1), 1)).await;
        assert!(matches!(refused, Err(AppendFault::Unavailable(_))));
    }
    assert_eq!(node.seqs(run(1)).await, [1]);
    node.restart().await;
    assert_eq!(node.store().append(node.step(run(1), 1)).await, Ok(2));
}
