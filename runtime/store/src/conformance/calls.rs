//! The call logs of agents: their order, their leases, and when they go.

use super::*;
use crate::calls::{CallAppend, CallQuery};
use heddle_core::call_log::Entry;

fn entries(numbers: std::ops::Range<u64>) -> Vec<Entry> {
    numbers.map(|pick| Entry::Picked { pick, these: vec![1] }).collect()
}

fn append(lease: &Lease, of: RunId, log: &str, expected: u64, entries: Vec<Entry>) -> CallAppend {
    let (epoch, log, urgency) = (lease.epoch, log.into(), Urgency::Now);
    CallAppend { run: of, epoch, log, expected, entries, blobs: vec![], holds: vec![], urgency }
}

fn all(of: RunId) -> CallQuery {
    CallQuery { run: of, log: None, after: None, limit: 100 }
}

async fn places<B: Backend>(node: &Setup<B>, query: CallQuery) -> Vec<String> {
    let rows = node.store().calls(query).await.unwrap();
    rows.into_iter().map(|row| format!("{}{}", row.log, row.seq)).collect()
}

/// Entries are numbered within their log, read in order and in pages, and are there after a restart.
pub async fn entries_are_numbered_in_their_log(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    node.accept(run(2), RunStatus::Running).await;
    for (of, log, expected, more) in
        [(1, "b", 0, 0..2), (1, "a", 0, 0..1), (1, "b", 2, 2..3), (2, "a", 0, 0..1)]
    {
        let written = append(&node.lease, run(of), log, expected, entries(more));
        assert_eq!(node.store().append_calls(written).await, Ok(()));
    }
    node.restart().await;
    assert_eq!(places(&node, all(run(1))).await, ["a1", "b1", "b2", "b3"]);
    assert_eq!(places(&node, CallQuery { log: Some("b".into()), ..all(run(1)) }).await, ["b1", "b2", "b3"]);
    let second = CallQuery { after: Some(("a".into(), 1)), limit: 2, ..all(run(1)) };
    assert_eq!(places(&node, second).await, ["b1", "b2"]);
    let rows = node.store().calls(CallQuery { log: Some("b".into()), ..all(run(1)) }).await.unwrap();
    assert_eq!(rows.into_iter().map(|row| row.entry).collect::<Vec<_>>(), entries(0..3));
    assert!(places(&node, all(run(3))).await.is_empty());
}

/// What was decided on another length, or under a lease that has ended, is not written.
pub async fn entries_are_fenced(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    let before = node.lease.clone();
    let write = |lease: &Lease, expected| append(lease, run(1), "a", expected, entries(0..1));
    assert_eq!(node.store().append_calls(write(&before, 0)).await, Ok(()));
    let twice = node.store().append_calls(write(&before, 0)).await;
    assert_eq!(twice, Err(AppendFault::Conflict { run: run(1), expected: 0, found: 1 }));
    node.restart().await;
    let late = node.store().append_calls(write(&before, 1)).await;
    assert_eq!(late, Err(AppendFault::Fenced { epoch: before.epoch }));
    assert_eq!(places(&node, all(run(1))).await, ["a1"]);
}

/// The entries of a run, and the values that they name, go with it.
pub async fn entries_go_with_their_run(backend: impl Backend) {
    let node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    let (large, held) = (blob(300_000, 7), blob(10, 8));
    let answer = Payload::Stored { digest: large.digest, size: 300_000 };
    let entry = Entry::Answered { call: 0, answer, at: node.now(), files: vec![], spent: Default::default() };
    let blobs = vec![large.clone(), held.clone()];
    let written = CallAppend { blobs, ..append(&node.lease, run(1), "a", 0, vec![entry]) };
    assert_eq!(node.store().append_calls(written).await, Ok(()));
    assert_eq!(node.store().append(node.end(run(1), 1)).await, Ok(2));
    for value in [&large, &held] {
        assert!(node.store().blob(value.digest).await.unwrap().is_some());
    }
    node.pass(86_400_000);
    let mut rounds = 0;
    while node.store().retain(node.now(), u64::MAX, 200).await.unwrap() > 0 {
        rounds += 1;
        node.pass(2 * 3_600_000);
        assert!(rounds < 50, "it comes to an end");
    }
    assert!(places(&node, all(run(1))).await.is_empty());
    for value in [&large, &held] {
        assert_eq!(node.store().blob(value.digest).await, Ok(None));
    }
}
