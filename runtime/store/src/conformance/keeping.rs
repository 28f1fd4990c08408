//! What is kept, and for how long: retention, restarts, records under names, reports.

use super::values::{entry, inline};
use super::*;
use crate::run_store::ReportDepth;

const DAY_MS: u64 = 86_400_000;
const HOUR_MS: u64 = 3_600_000;

/// Calls until nothing is left to remove.
async fn retain_all<B: Backend>(node: &Setup<B>, before: Timestamp) -> u64 {
    let mut removed = 0;
    loop {
        match node.store().retain(before, u64::MAX >> 1, 200).await.unwrap() {
            0 => return removed,
            some => removed += some,
        }
    }
}

/// Runs that ended before the time go with all they had; others stay.
pub async fn old_runs_go_and_others_stay(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    for number in [1, 2, 3] {
        let mut append = node.acceptance(run(number), RunStatus::Running);
        if let IndexChange::Create(row) = &mut append.index {
            row.labels = vec![("team".into(), "a".into())];
        }
        node.store().append(append).await.unwrap();
    }
    node.store().append(node.end(run(1), 1)).await.unwrap();
    let between = node.now().plus_ms(1);
    node.pass(5);
    node.store().append(node.end(run(2), 1)).await.unwrap();
    node.pass(DAY_MS);
    node.restart().await;
    assert!(retain_all(&node, between).await >= 1);
    assert_eq!(node.store().run(run(1)).await, Ok(None));
    assert!(node.seqs(run(1)).await.is_empty());
    for number in [2, 3] {
        assert!(node.store().run(run(number)).await.unwrap().is_some());
        assert!(!node.seqs(run(number)).await.is_empty());
    }
    let label = Some(("team".to_owned(), "a".to_owned()));
    let labelled = node.store().runs(RunQuery { label, limit: 10, ..RunQuery::default() }).await.unwrap();
    assert_eq!(labelled.iter().map(Listed::run).collect::<Vec<_>>(), [run(3), run(2)]);
    assert_eq!(node.claim(10).await, [run(3)]);
}

/// A call removes no more than it may, and calls come to an end.
pub async fn retention_is_bounded(backend: impl Backend) {
    let node = Setup::new(backend).await;
    for number in 0..20 {
        node.accept(run(number), RunStatus::Running).await;
        for expected in 1..5 {
            node.store().append(node.step(run(number), expected)).await.unwrap();
        }
        node.store().append(node.end(run(number), 5)).await.unwrap();
    }
    node.accept(run(50), RunStatus::Running).await;
    let before = node.now().plus_ms(1);
    assert_eq!(node.store().retain(before, 0, 0).await, Ok(0));
    let mut calls = 0;
    loop {
        let removed = node.store().retain(before, 0, 7).await.unwrap();
        assert!(removed <= 7);
        if removed == 0 {
            break;
        }
        calls += 1;
        assert!(calls < 100, "retention does not come to an end");
    }
    assert!(calls >= 3);
    assert_eq!(node.store().runs(RunQuery { limit: 100, ..RunQuery::default() }).await.unwrap().len(), 1);
    assert_eq!(node.seqs(run(50)).await, [1]);
    for number in 0..20 {
        assert!(node.seqs(run(number)).await.is_empty());
    }
}

/// A value stays while a run, a cache entry or anybody for good holds it, and for a while after.
pub async fn a_value_goes_after_its_last_holder(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    let [own, shared, large, cached, kept] =
        [(1000, 1), (1000, 2), (300_000, 3), (1000, 4), (1000, 5)].map(|(size, fill)| blob(size, fill));
    let holds = |value: &Blob| {
        let output = Payload::Stored { digest: value.digest, size: value.bytes.len() as u64 };
        let (usage, cache) = (Default::default(), Default::default());
        vec![Event::StepSucceeded { node: Node::step(0), attempt: 1, output, usage, cache }]
    };
    node.store().put_blob(kept.clone()).await.unwrap();
    for number in [1, 2] {
        node.accept(run(number), RunStatus::Running).await;
    }
    let output = CachedOutput::Stored { digest: cached.digest, size: 1000 };
    let cache = vec![entry(1, output, Some(node.now().plus_ms(3 * DAY_MS)))];
    let blobs = vec![own.clone(), shared.clone(), large.clone(), cached.clone(), kept.clone()];
    node.store().append(Append { blobs, cache, ..node.step(run(1), 1) }).await.unwrap();
    // The second run brings no bytes: it refers to what the first one has stored.
    node.store().append(node.facts(run(2), 1, holds(&shared))).await.unwrap();
    node.store().append(node.end(run(1), 2)).await.unwrap();
    node.pass(DAY_MS);
    node.restart().await;
    retain_all(&node, node.now()).await;
    assert_eq!(node.store().run(run(1)).await, Ok(None));
    assert!(
        node.store().blob(own.digest).await.unwrap().is_some(),
        "not yet: somebody may just have read of it"
    );
    node.pass(HOUR_MS);
    retain_all(&node, node.now()).await;
    for (value, stays) in [(&own, false), (&large, false), (&shared, true), (&cached, true), (&kept, true)] {
        assert_eq!(node.store().blob(value.digest).await.unwrap().is_some(), stays, "{:?}", value.digest);
    }
    node.pass(4 * DAY_MS);
    node.restart().await;
    node.store().append(node.end(run(2), 2)).await.unwrap();
    node.pass(1);
    retain_all(&node, node.now()).await;
    // Before the while has passed, somebody refers to it again.
    node.accept(run(3), RunStatus::Running).await;
    node.store().append(node.facts(run(3), 1, holds(&shared))).await.unwrap();
    node.pass(HOUR_MS);
    retain_all(&node, node.now()).await;
    for (value, stays) in [(&shared, true), (&cached, false), (&kept, true)] {
        assert_eq!(node.store().blob(value.digest).await.unwrap().is_some(), stays, "{:?}", value.digest);
    }
    node.lease = node.store().take_lease("one", TTL_MS).await.unwrap().unwrap();
    let again = Append { blobs: vec![large.clone()], ..node.step(run(3), 2) };
    node.store().append(again).await.unwrap();
    assert_eq!(node.store().blob(large.digest).await, Ok(Some(large.bytes)), "a value can come back");
}

/// Keys and cache entries that have ended are removed.
pub async fn keys_and_entries_end(backend: impl Backend) {
    let node = Setup::new(backend).await;
    let end = node.now().plus_ms(100);
    for number in 1..=3u8 {
        let mut append = node.acceptance(run(number.into()), RunStatus::Running);
        let (key, request) = (number.to_string().into(), Digest::of(b"r"));
        append.idempotency = vec![IdempotencyClaim { key, request, expires: end }];
        append.cache = vec![entry(number, inline(5), (number < 3).then_some(end))];
        node.store().append(append).await.unwrap();
    }
    assert_eq!(node.store().retain(Timestamp(0), 1 << 30, 100).await, Ok(0));
    node.pass(100);
    assert_eq!(node.store().retain(Timestamp(0), 1 << 30, 4).await, Ok(4));
    assert_eq!(node.store().retain(Timestamp(0), 1 << 30, 4).await, Ok(1));
    assert_eq!(node.store().retain(Timestamp(0), 1 << 30, 4).await, Ok(0));
    let tenant = Tenant::default();
    assert!(node.store().cached(&tenant, Digest::of(&[3]), node.now()).await.unwrap().is_some());
    assert_eq!(node.store().cached(&tenant, Digest::of(&[1]), START).await, Ok(None));
}

/// Everything that was answered is there after a restart, and a restart is a restart: leases are over.
pub async fn a_restart_keeps_what_was_answered(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    for number in 0..5 {
        node.accept(run(number), RunStatus::Running).await;
        node.store().append(node.step(run(number), 1)).await.unwrap();
    }
    node.store().send(Mail::to(run(2), "a", Json::null())).await.unwrap();
    node.store().put("things/default", "a", 0, Json::null()).await.unwrap();
    let (rows, journal) = (
        node.store().runs(RunQuery { limit: 10, ..RunQuery::default() }).await.unwrap(),
        node.store().journal(run(3), 0, 10).await.unwrap(),
    );
    node.backend.reopen();
    assert_eq!(node.store().renew_lease(&node.lease, TTL_MS).await, Ok(None));
    assert_eq!(node.store().runs(RunQuery { limit: 10, ..RunQuery::default() }).await, Ok(rows));
    assert_eq!(node.store().journal(run(3), 0, 10).await, Ok(journal));
    assert_eq!(node.store().inbox(run(2)).await.unwrap().len(), 1);
    assert_eq!(node.store().get("things/default", "a").await.unwrap().unwrap().version, 1);
    node.lease = node.store().take_lease("one", TTL_MS).await.unwrap().unwrap();
    assert_eq!(node.claim(10).await.len(), 5);
    node.store().append(node.step(run(3), 2)).await.unwrap();
    assert_eq!(node.seqs(run(3)).await, [1, 2, 3]);
}

/// A record is written and removed only at the version that the writer has seen.
pub async fn records_have_versions(backend: impl Backend) {
    let store = backend.store();
    let body = |text: &str| Json::trusted(format!("{{\"v\":\"{text}\"}}"));
    let conflict = || StoreFault::Conflict("k".into());
    assert_eq!(store.get("c", "k").await, Ok(None));
    assert_eq!(store.put("c", "k", 1, body("a")).await, Err(conflict()));
    assert_eq!(store.put("c", "k", 0, body("a")).await, Ok(1));
    assert_eq!(store.put("c", "k", 0, body("b")).await, Err(conflict()));
    assert_eq!(store.put("c", "k", 1, body("b")).await, Ok(2));
    let record = Record { key: "k".into(), version: 2, body: body("b") };
    assert_eq!(store.get("c", "k").await, Ok(Some(record)));
    assert_eq!(store.get("d", "k").await, Ok(None));
    assert_eq!(store.delete("c", "k", 1).await, Err(conflict()));
    assert_eq!(store.delete("c", "k", 2).await, Ok(true));
    assert_eq!(store.delete("c", "k", 2).await, Ok(false));
    assert_eq!(store.put("c", "k", 0, body("c")).await, Ok(1));
}

/// Records are listed in the order of their keys, one collection at a time.
pub async fn records_are_in_order(backend: impl Backend) {
    let store = backend.store();
    for key in ["b", "", "a/2", "c", "a/10", "a"] {
        store.put("c", key, 0, Json::null()).await.unwrap();
    }
    store.put("c2", "a", 0, Json::null()).await.unwrap();
    store.put("b", "z", 0, Json::null()).await.unwrap();
    let keys = async |after: &str, limit| -> Vec<String> {
        store.scan("c", after, limit).await.unwrap().into_iter().map(|record| record.key).collect()
    };
    assert_eq!(keys("", 100).await, ["a", "a/10", "a/2", "b", "c"]);
    assert_eq!(keys("a/10", 2).await, ["a/2", "b"]);
    assert_eq!(keys("c", 2).await, [""; 0]);
}

/// The numbers of a report.
pub async fn a_store_reports(backend: impl Backend) {
    let node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    node.accept(run(2), RunStatus::Queued).await;
    node.accept(run(3), RunStatus::Running).await;
    node.store().append(node.end(run(3), 1)).await.unwrap();
    assert!(node.store().append(node.step(run(1), 9)).await.is_err());
    let quick = node.store().report(ReportDepth::Quick).await.unwrap();
    assert_eq!((quick.appends, quick.queued, quick.runs.len()), (4, 0, 0));
    assert!(quick.commits >= 4);
    let deep = node.store().report(ReportDepth::Deep).await.unwrap();
    let runs: Vec<_> = deep.runs.iter().map(|(status, count)| (status.as_str(), *count)).collect();
    assert_eq!(runs, [("queued", 1), ("running", 1), ("succeeded", 1)]);
    assert_eq!(deep.damage, [""; 0]);
}

/// Runs that no node drives are counted by what they were left for, until whoever takes them up has something to say.
pub async fn runs_that_wait_are_counted(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    let counted = async |node: &Setup<_>| {
        let WaitingRuns { node, slot, time, parked } =
            node.store().report(ReportDepth::Waiting).await.unwrap().waiting;
        [node, slot, time, parked]
    };
    assert_eq!(counted(&node).await, [0; 4]);
    let queue = Queue { level: 3, fairness_key: "w".into(), weight: 1.0, slots: vec![] };
    let queued = Append { queue: Some(Box::new(queue)), ..node.acceptance(run(1), RunStatus::Queued) };
    node.store().append(queued).await.unwrap();
    for (number, rest) in [(2, Rest::Slot), (3, Rest::Time), (4, Rest::Parked), (5, Rest::Parked)] {
        node.accept(run(number), RunStatus::Running).await;
        let due = Some(START.plus_ms(number));
        let index = IndexChange::Update { status: RunStatus::Waiting, rest: Some(rest), due, finished: None };
        let parked = Append { index, ..node.step(run(number), 1) };
        node.store().append(parked).await.unwrap();
        node.store().release(&node.lease, vec![run(number)]).await.unwrap();
        assert_eq!(node.store().run(run(number)).await.unwrap().unwrap().rest, Some(rest));
    }
    assert_eq!(counted(&node).await, [1, 1, 1, 2]);
    node.restart().await;
    assert_eq!(counted(&node).await, [1, 1, 1, 2]);
    node.pass(5);
    let mut claimed = node.store().claim(&node.lease, 10).await.unwrap();
    claimed.sort_by_key(|row| row.run);
    let rests: Vec<_> = claimed.iter().map(|row| row.rest).collect();
    assert_eq!(rests, [None, Some(Rest::Slot), Some(Rest::Time), Some(Rest::Parked), Some(Rest::Parked)]);
    node.store().append(node.status(run(1), 1, RunStatus::Running, None)).await.unwrap();
    node.store().append(node.status(run(2), 2, RunStatus::Running, None)).await.unwrap();
    node.store().append(node.end(run(4), 2)).await.unwrap();
    assert_eq!(counted(&node).await, [0, 0, 1, 1]);
}
