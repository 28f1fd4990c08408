//! Appends: order, versions, leases, idempotency, and journals as they are read back.

use super::*;
use futures_util::future::join_all;

/// Appends queued one after another are numbered in that order.
pub async fn rows_are_numbered_without_gaps(backend: impl Backend) {
    let node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    let queued: Vec<_> = (1..=40).map(|expected| node.store().append(node.step(run(1), expected))).collect();
    let answers = join_all(queued).await;
    assert_eq!(answers, (2..=41).map(Ok).collect::<Vec<_>>());
    assert_eq!(node.seqs(run(1)).await, (1..=41).collect::<Vec<_>>());
}

/// Appends for which nobody waits are committed like the others, in their order, whether somebody comes or not.
pub async fn lingering_appends_are_committed_too(backend: impl Backend) {
    let node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    let lingering = |expected| Append { urgency: Urgency::Later, ..node.step(run(1), expected) };
    let alone: Vec<_> = (1..=20).map(|expected| node.store().append(lingering(expected))).collect();
    assert_eq!(join_all(alone).await, (2..=21).map(Ok).collect::<Vec<_>>());
    let mut queued: Vec<_> = (21..=40).map(|expected| node.store().append(lingering(expected))).collect();
    queued.push(node.store().append(node.step(run(1), 41)));
    queued.extend((42..=700).map(|expected| node.store().append(lingering(expected))));
    assert_eq!(join_all(queued).await, (22..=701).map(Ok).collect::<Vec<_>>());
}

/// What is read is what was written, numbers by their text.
pub async fn facts_come_back_as_written(backend: impl Backend) {
    let node = Setup::new(backend).await;
    let output = Payload::Inline(Json::trusted(r#"{"a":[1.50,1e2,123456789012345678901],"b":"é\u0001"}"#));
    let stored = Payload::Stored { digest: Digest::of(b"x"), size: 70_000 };
    let events = vec![
        Event::StepSucceeded {
            node: Node::item(3, 7),
            attempt: 2,
            output: output.clone(),
            usage: Default::default(),
            cache: Default::default(),
        },
        Event::CancelRequested { by: "key:ops".into(), reason: "`stop`".into(), force: false },
        Event::RunFinished { finish: Finish::Cancelled, output: Some(stored), error: None },
    ];
    node.accept(run(1), RunStatus::Running).await;
    let written = node.facts(run(1), 1, events);
    let batch = written.batch.clone();
    node.store().append(written).await.unwrap();
    let rows = node.store().journal(run(1), 1, 10).await.unwrap();
    assert_eq!(rows, vec![JournalRow { seq: 2, batch }]);
}

/// An append that was decided on another version changes nothing at all.
pub async fn a_conflict_writes_nothing(backend: impl Backend) {
    let node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    node.store().append(node.step(run(1), 1)).await.unwrap();
    assert_eq!(node.store().send(Mail::to(run(1), "a", Json::null())).await, Ok(1));
    let message = node.store().inbox(run(1)).await.unwrap()[0].id;
    for expected in [0, 1, 3, 9] {
        let mut append = node.status(run(1), expected, RunStatus::Failed, None);
        append.blobs = vec![blob(10, 1), blob(300_000, 2)];
        append.consumed = vec![message];
        let conflict = AppendFault::Conflict { run: run(1), expected, found: 2 };
        assert_eq!(node.store().append(append).await, Err(conflict));
    }
    let unknown = AppendFault::Conflict { run: run(2), expected: 1, found: 0 };
    assert_eq!(node.store().append(node.step(run(2), 1)).await, Err(unknown));
    assert_eq!(node.seqs(run(1)).await, [1, 2]);
    assert_eq!(node.store().run(run(1)).await.unwrap().unwrap().status, RunStatus::Running);
    assert_eq!(node.store().inbox(run(1)).await.unwrap().len(), 1);
    assert_eq!(node.store().blob(blob(10, 1).digest).await, Ok(None));
    assert_eq!(node.store().blob(blob(300_000, 2).digest).await, Ok(None));
}

/// Those behind a refused append fail, too; other runs do not notice.
pub async fn a_refused_append_poisons_those_behind_it(backend: impl Backend) {
    let node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    node.accept(run(2), RunStatus::Running).await;
    let mut queued = vec![node.step(run(1), 1), node.step(run(1), 2), node.step(run(2), 1)];
    queued[1].epoch += 100;
    queued.extend([node.step(run(1), 3), node.step(run(1), 4), node.step(run(2), 2)]);
    let queued: Vec<_> = queued.into_iter().map(|append| node.store().append(append)).collect();
    let answers = join_all(queued).await;
    let conflict = |expected| Err(AppendFault::Conflict { run: run(1), expected, found: 2 });
    let fenced = Err(AppendFault::Fenced { epoch: node.lease.epoch + 100 });
    assert_eq!(answers, [Ok(2), fenced, Ok(2), conflict(3), conflict(4), Ok(3)]);
    assert_eq!(node.seqs(run(1)).await, [1, 2]);
}

/// No append passes after the lease has ended, whether by time, by its holder or by a restart.
pub async fn an_ended_lease_is_fenced(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    node.pass(TTL_MS - 1);
    node.store().append(node.step(run(1), 1)).await.unwrap();
    node.pass(1);
    let fenced = |node: &Setup<_>| Err(AppendFault::Fenced { epoch: node.lease.epoch });
    assert_eq!(node.store().append(node.step(run(1), 2)).await, fenced(&node));

    node.lease = node.store().take_lease("one", TTL_MS).await.unwrap().unwrap();
    node.store().append(node.step(run(1), 2)).await.unwrap();
    node.store().release_lease(&node.lease).await.unwrap();
    assert_eq!(node.store().append(node.step(run(1), 3)).await, fenced(&node));

    let before = node.lease.clone();
    node.restart().await;
    assert!(node.lease.epoch > before.epoch);
    let old = Append { epoch: before.epoch, ..node.step(run(1), 3) };
    assert_eq!(node.store().append(old).await, Err(AppendFault::Fenced { epoch: before.epoch }));
    node.store().append(node.step(run(1), 3)).await.unwrap();
    assert_eq!(node.seqs(run(1)).await, [1, 2, 3, 4]);
}

/// Another node takes a run over where it is; the first one cannot write any more, even if it comes back.
pub async fn a_run_is_taken_over(backend: impl Backend) {
    let node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    node.pass(TTL_MS / 2);
    let other = node.store().take_lease("two", TTL_MS).await.unwrap().unwrap();
    assert!(other.epoch > node.lease.epoch);
    assert!(node.store().claim(&other, 10).await.unwrap().is_empty());
    node.pass(TTL_MS / 2);
    let taken = node.store().claim(&other, 10).await.unwrap();
    assert_eq!(taken.iter().map(|row| row.run).collect::<Vec<_>>(), [run(1)]);
    let late = node.store().append(node.step(run(1), 1));
    let next = node.store().append(Append { epoch: other.epoch, ..node.step(run(1), 1) });
    assert_eq!(late.await, Err(AppendFault::Fenced { epoch: node.lease.epoch }));
    assert_eq!(next.await, Ok(2));
}

fn with_key(mut append: Append, request: &[u8], expires: Timestamp) -> Append {
    append.idempotency =
        vec![IdempotencyClaim { key: "order-1".into(), request: Digest::of(request), expires }];
    append
}

/// The same key is the same run, whatever has become of it; the answer says whether the request was the same.
pub async fn an_idempotency_key_is_one_run(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    let end = node.now().plus_ms(60_000);
    let accept = |node: &Setup<_>, number| node.acceptance(run(number), RunStatus::Running);
    node.store().append(with_key(accept(&node, 1), b"a", end)).await.unwrap();
    let duplicate =
        |same_request| Err(AppendFault::Duplicate { key: "order-1".into(), run: run(1), same_request });
    let again = with_key(accept(&node, 2), b"a", end);
    assert_eq!(node.store().append(again).await, duplicate(SameRequest::Yes));
    node.store().append(node.end(run(1), 1)).await.unwrap();
    let other = with_key(accept(&node, 2), b"b", end);
    assert_eq!(node.store().append(other).await, duplicate(SameRequest::No));
    assert_eq!(node.store().run(run(2)).await, Ok(None));
    node.restart().await;
    let again = with_key(accept(&node, 2), b"a", end);
    assert_eq!(node.store().append(again).await, duplicate(SameRequest::Yes));

    let mut elsewhere = with_key(accept(&node, 3), b"a", end);
    if let IndexChange::Create(row) = &mut elsewhere.index {
        row.tenant = Tenant("other".into());
    }
    assert_eq!(node.store().append(elsewhere).await, Ok(1));
}

/// A key is free again at its end, and an append that is refused claims none.
pub async fn an_idempotency_key_ends(backend: impl Backend) {
    let node = Setup::new(backend).await;
    let end = node.now().plus_ms(500);
    let accept = |number| node.acceptance(run(number), RunStatus::Running);
    let refused = Append { expected: 4, ..with_key(accept(1), b"a", end) };
    assert!(matches!(node.store().append(refused).await, Err(AppendFault::Conflict { .. })));
    node.store().append(with_key(accept(2), b"a", end)).await.unwrap();
    node.pass(499);
    let early = with_key(node.acceptance(run(3), RunStatus::Running), b"a", end);
    let duplicate =
        AppendFault::Duplicate { key: "order-1".into(), run: run(2), same_request: SameRequest::Yes };
    assert_eq!(node.store().append(early).await, Err(duplicate));
    node.pass(1);
    let after = with_key(node.acceptance(run(3), RunStatus::Running), b"b", end.plus_ms(500));
    assert_eq!(node.store().append(after).await, Ok(1));
    let held = with_key(node.acceptance(run(4), RunStatus::Running), b"b", end);
    let duplicate =
        AppendFault::Duplicate { key: "order-1".into(), run: run(3), same_request: SameRequest::Yes };
    assert_eq!(node.store().append(held).await, Err(duplicate));
}

/// A thousand appends of fifty runs in line at the same time, from many threads.
pub async fn many_appends_at_once(backend: impl Backend) {
    let node = Arc::new(Setup::new(backend).await);
    let drivers: Vec<_> = (0..50)
        .map(|number| {
            let node = node.clone();
            tokio::spawn(async move {
                let first = node.store().append(node.acceptance(run(number), RunStatus::Running));
                let rest: Vec<_> =
                    (1..20).map(|at| node.store().append(node.step(run(number), at))).collect();
                assert_eq!(first.await, Ok(1));
                assert_eq!(join_all(rest).await, (2..=20).map(Ok).collect::<Vec<_>>());
            })
        })
        .collect();
    for driver in drivers {
        driver.await.unwrap();
    }
    for number in 0..50 {
        assert_eq!(node.seqs(run(number)).await, (1..=20).collect::<Vec<_>>());
    }
}

/// Of two appends that were decided on the same version, one is made.
pub async fn two_drivers_never_both_win(backend: impl Backend) {
    let node = Arc::new(Setup::new(backend).await);
    node.accept(run(1), RunStatus::Running).await;
    let drivers: Vec<_> = (0..4)
        .map(|_| {
            let node = node.clone();
            tokio::spawn(async move {
                let mut won = 0u64;
                for expected in 1..50 {
                    won += u64::from(node.store().append(node.step(run(1), expected)).await.is_ok());
                }
                won
            })
        })
        .collect();
    let mut won = 0;
    for driver in drivers {
        won += driver.await.unwrap();
    }
    assert_eq!(node.seqs(run(1)).await, (1..=won + 1).collect::<Vec<_>>());
    assert!(won >= 1);
}

/// Pages of a journal.
pub async fn a_journal_is_read_in_pages(backend: impl Backend) {
    let node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    node.accept(run(2), RunStatus::Running).await;
    for expected in 1..7 {
        node.store().append(node.step(run(1), expected)).await.unwrap();
    }
    let page = async |after, limit| {
        let rows = node.store().journal(run(1), after, limit).await.unwrap();
        rows.into_iter().map(|row| row.seq).collect::<Vec<_>>()
    };
    assert_eq!(page(0, 3).await, [1, 2, 3]);
    assert_eq!(page(3, 3).await, [4, 5, 6]);
    assert_eq!(page(6, 3).await, [7]);
    assert!(page(7, 3).await.is_empty());
    assert_eq!(node.store().journal(run(3), 0, 10).await, Ok(vec![]));
}

/// A row that is not what was written is said by name; what is before it and other runs can be read.
pub async fn a_damaged_row_is_found(backend: impl Backend) {
    let node = Setup::new(backend).await;
    for number in [1, 2] {
        node.accept(run(number), RunStatus::Running).await;
        node.store().append(node.step(run(number), 1)).await.unwrap();
        node.store().append(node.step(run(number), 2)).await.unwrap();
    }
    node.backend.damage(&Damage::Journal(run(1), 2));
    let read = node.store().journal(run(1), 0, 10).await;
    assert!(
        matches!(&read, Err(StoreFault::Damaged { what, .. })
        if what.contains(&run(1).to_string()) && what.contains("row 2")),
        "{read:?}"
    );
    assert_eq!(node.store().journal(run(1), 0, 1).await.unwrap().len(), 1);
    assert_eq!(node.seqs(run(2)).await, [1, 2, 3]);
}
