//! Who drives what: leases, claims, releases and messages.

use super::*;

/// A living node's name is its own.
pub async fn a_name_is_held_once(backend: impl Backend) {
    let node = Setup::new(backend).await;
    assert_eq!(node.store().take_lease("one", TTL_MS).await, Ok(None));
    assert_eq!(node.lease.expires, node.now().plus_ms(TTL_MS));
    node.pass(TTL_MS);
    let next = node.store().take_lease("one", TTL_MS).await.unwrap().unwrap();
    assert!(next.epoch > node.lease.epoch);
    node.store().release_lease(&next).await.unwrap();
    assert!(node.store().take_lease("one", TTL_MS).await.unwrap().unwrap().epoch > next.epoch);
}

/// A renewal counts from when it is made, and comes too late after the end.
pub async fn a_lease_is_renewed_until_it_ends(backend: impl Backend) {
    let node = Setup::new(backend).await;
    node.pass(TTL_MS - 1);
    let renewed = node.store().renew_lease(&node.lease, TTL_MS).await.unwrap().unwrap();
    assert_eq!((renewed.epoch, renewed.expires), (node.lease.epoch, node.now().plus_ms(TTL_MS)));
    node.pass(TTL_MS - 1);
    node.accept(run(1), RunStatus::Running).await;
    node.pass(1);
    assert_eq!(node.store().renew_lease(&renewed, TTL_MS).await, Ok(None));
    let next = node.store().take_lease("one", TTL_MS).await.unwrap().unwrap();
    assert_eq!(node.store().renew_lease(&renewed, TTL_MS).await, Ok(None));
    assert!(node.store().renew_lease(&next, TTL_MS).await.unwrap().is_some());
}

/// Queued runs, and those that are due; not those that wait, have ended or are driven.
pub async fn claims_what_has_something_to_do(backend: impl Backend) {
    let node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Queued).await;
    node.accept(run(2), RunStatus::Running).await;
    for (number, status, due) in [
        (3, RunStatus::Waiting, None),
        (4, RunStatus::Waiting, Some(START)),
        (5, RunStatus::Paused, None),
        (6, RunStatus::Waiting, Some(START.plus_ms(1))),
    ] {
        node.accept(run(number), RunStatus::Running).await;
        node.store().append(node.status(run(number), 1, status, due)).await.unwrap();
        node.store().release(&node.lease, vec![run(number)]).await.unwrap();
    }
    node.accept(run(7), RunStatus::Running).await;
    node.store().append(node.end(run(7), 1)).await.unwrap();
    let claimed = node.store().claim(&node.lease, 10).await.unwrap();
    let mut statuses: Vec<_> = claimed.iter().map(|row| (row.run, row.status)).collect();
    statuses.sort_by_key(|(run, _)| *run);
    assert_eq!(statuses, [(run(1), RunStatus::Queued), (run(4), RunStatus::Waiting)]);
    node.pass(1);
    assert_eq!(node.claim(10).await, [run(6)]);
    let gone = Lease { epoch: node.lease.epoch + 7, ..node.lease.clone() };
    node.accept(run(8), RunStatus::Queued).await;
    assert_eq!(node.store().claim(&gone, 10).await, Ok(vec![]), "without a lease nothing is claimed");
}

/// What a node drove when its lease ended is claimed at once, whatever it waited for.
pub async fn claims_what_was_left_behind(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    node.accept(run(2), RunStatus::Running).await;
    node.store().append(node.status(run(2), 1, RunStatus::Waiting, None)).await.unwrap();
    let other = node.store().take_lease("two", TTL_MS).await.unwrap().unwrap();
    assert_eq!(node.claim(10).await, []);
    node.store().release_lease(&node.lease).await.unwrap();
    let claimed = node.store().claim(&other, 1).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(node.store().claim(&other, 10).await.unwrap().len(), 1);
    assert_eq!(node.store().claim(&other, 10).await.unwrap().len(), 0);
    node.restart().await;
    let mut claimed = node.claim(10).await;
    claimed.sort();
    assert_eq!(claimed, [run(1), run(2)]);
}

/// The oldest first, and neither the queue nor what was left behind starves.
pub async fn claims_are_fair(backend: impl Backend) {
    let mut node = Setup::new(backend).await;
    for number in [11, 12, 13] {
        node.accept(run(number), RunStatus::Running).await;
    }
    for number in [3, 1, 2] {
        node.accept(run(number), RunStatus::Queued).await;
        node.pass(1);
    }
    node.restart().await;
    let (first, second) = (node.claim(4).await, node.claim(4).await);
    let queued =
        |claimed: &[RunId]| claimed.iter().filter(|run| **run < super::run(10)).copied().collect::<Vec<_>>();
    assert_eq!((first.len(), second.len()), (4, 2));
    assert_eq!(queued(&first), [run(3), run(1)]);
    assert_eq!(queued(&second), [run(2)]);
}

/// Two nodes never get the same run.
pub async fn a_claimed_run_is_not_claimed_again(backend: impl Backend) {
    let node = Setup::new(backend).await;
    let other = node.store().take_lease("two", TTL_MS).await.unwrap().unwrap();
    for number in 0..30 {
        node.accept(run(number), RunStatus::Queued).await;
    }
    let mut claimed = Vec::new();
    for _ in 0..4 {
        let (one, two) = (node.store().claim(&node.lease, 5), node.store().claim(&other, 5));
        claimed.extend(one.await.unwrap().into_iter().chain(two.await.unwrap()).map(|row| row.run));
    }
    claimed.sort();
    assert_eq!(claimed, (0..30).map(run).collect::<Vec<_>>());
}

/// A run that is given back is claimed when it is due; one that is under way, at once; one of another node, not.
pub async fn released_runs_are_claimed_when_due(backend: impl Backend) {
    let node = Setup::new(backend).await;
    let due = node.now().plus_ms(100);
    for number in [1, 2, 3] {
        node.accept(run(number), RunStatus::Running).await;
    }
    node.store().append(node.status(run(1), 1, RunStatus::Waiting, Some(due))).await.unwrap();
    let other = node.store().take_lease("two", TTL_MS).await.unwrap().unwrap();
    node.store().release(&other, vec![run(3)]).await.unwrap();
    node.store().release(&node.lease, vec![run(1), run(2), run(99)]).await.unwrap();
    assert_eq!(node.claim(10).await, [run(2)]);
    node.pass(99);
    assert_eq!(node.claim(10).await, []);
    node.pass(1);
    assert_eq!(node.claim(10).await, [run(1)]);
    assert_eq!(node.store().run(run(1)).await.unwrap().unwrap().due, Some(due));
}

/// A message makes a waiting run claimable.
pub async fn a_message_wakes_a_run(backend: impl Backend) {
    let node = Setup::new(backend).await;
    for number in [1, 2] {
        node.accept(run(number), RunStatus::Running).await;
        let due = Some(node.now().plus_ms(60_000));
        node.store().append(node.status(run(number), 1, RunStatus::Waiting, due)).await.unwrap();
    }
    node.store().release(&node.lease, vec![run(1), run(2)]).await.unwrap();
    assert_eq!(node.claim(10).await, []);
    assert_eq!(node.store().send(Mail::to(run(2), "a", Json::null())).await, Ok(1));
    assert_eq!(node.claim(10).await, [run(2)]);
    assert_eq!(node.claim(10).await, []);
}

/// A message that comes while the driver goes to sleep is not forgotten.
pub async fn a_message_is_never_slept_through(backend: impl Backend) {
    let node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    node.store().send(Mail::to(run(1), "a", Json::null())).await.unwrap();
    node.store().append(node.status(run(1), 1, RunStatus::Waiting, None)).await.unwrap();
    node.store().release(&node.lease, vec![run(1)]).await.unwrap();
    assert_eq!(node.claim(10).await, [run(1)]);
}

/// The same sender's key is one message; it is gone when an append has consumed it.
pub async fn messages_are_unique_and_consumed(backend: impl Backend) {
    let node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    node.accept(run(2), RunStatus::Running).await;
    let text = |text: &str| Json::from_value(heddle_core::value::Value::text(text));
    for (to, unique, body) in [(1, "b", "first"), (1, "a", "second"), (1, "b", "again"), (2, "b", "other")] {
        assert_eq!(node.store().send(Mail::to(run(to), unique, text(body))).await, Ok(1));
    }
    let inbox = node.store().inbox(run(1)).await.unwrap();
    let shown: Vec<_> = inbox.iter().map(|m| (&*m.unique, m.body.clone(), m.run)).collect();
    assert_eq!(shown, [("b", text("first"), run(1)), ("a", text("second"), run(1))]);
    assert!(inbox[0].id < inbox[1].id);
    let foreign = node.store().inbox(run(2)).await.unwrap()[0].id;
    let consumed = vec![inbox[1].id, foreign];
    node.store().append(Append { consumed, ..node.step(run(1), 1) }).await.unwrap();
    assert_eq!(node.store().inbox(run(1)).await.unwrap(), inbox[..1]);
    assert_eq!(node.store().inbox(run(2)).await.unwrap().len(), 1, "another run's message stays");
    node.store().send(Mail::to(run(1), "c", text("third"))).await.unwrap();
    assert!(node.store().inbox(run(1)).await.unwrap()[1].id > inbox[1].id, "an id is used once");
}

/// Nobody reads a message to a run that does not exist or has ended.
pub async fn messages_to_nobody(backend: impl Backend) {
    let node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    assert_eq!(node.store().send(Mail::to(run(2), "a", Json::null())).await, Ok(0));
    assert_eq!(node.store().send(Mail::to(run(1), "a", Json::null())).await, Ok(1));
    node.store().append(node.end(run(1), 1)).await.unwrap();
    assert_eq!(node.store().send(Mail::to(run(1), "b", Json::null())).await, Ok(0));
    assert_eq!(node.store().inbox(run(1)).await, Ok(vec![]));
    assert_eq!(node.claim(10).await, []);
}

/// What an append sends is there when the append is, and not before; a refused one sends nothing.
pub async fn mail_goes_with_its_append(backend: impl Backend) {
    let node = Setup::new(backend).await;
    node.accept(run(1), RunStatus::Running).await;
    node.accept(run(2), RunStatus::Running).await;
    node.store().append(node.status(run(2), 1, RunStatus::Waiting, None)).await.unwrap();
    node.store().release(&node.lease, vec![run(2)]).await.unwrap();
    let mail = vec![Mail::to(run(2), "done", Json::null()), Mail::to(run(9), "done", Json::null())];
    let refused = Append { mail: mail.clone(), ..node.step(run(1), 7) };
    assert!(node.store().append(refused).await.is_err());
    assert_eq!(node.store().inbox(run(2)).await, Ok(vec![]));
    assert_eq!(node.claim(10).await, []);
    for expected in [1, 2] {
        let sends = Append { mail: mail.clone(), ..node.step(run(1), expected) };
        node.store().append(sends).await.unwrap();
    }
    let inbox = node.store().inbox(run(2)).await.unwrap();
    assert_eq!(inbox.iter().map(|message| &*message.unique).collect::<Vec<_>>(), ["done"]);
    assert_eq!(node.claim(10).await, [run(2)]);
}

/// An event reaches the runs of its tenant that listen to its name, while they live.
pub async fn listeners_are_told_of_events(backend: impl Backend) {
    let node = Setup::new(backend).await;
    for (number, event) in [(1, "paid"), (2, "paid"), (3, "sent"), (4, "paid")] {
        let listens = vec!["other".into(), event.into()];
        let accepted = Append { listens, ..node.acceptance(run(number), RunStatus::Running) };
        node.store().append(accepted).await.unwrap();
    }
    node.store().append(node.end(run(4), 1)).await.unwrap();
    let paid = |tenant: &str, unique: &str| Mail {
        to: Recipient::Listeners(Tenant(tenant.into()), "paid".into()),
        unique: unique.into(),
        body: Json::null(),
    };
    let tenant = node.store().run(run(1)).await.unwrap().unwrap().tenant;
    assert_eq!(node.store().send(paid(&tenant.0, "e1")).await, Ok(2));
    assert_eq!(node.store().send(paid("somebody-else", "e2")).await, Ok(0));
    let sends = Append { mail: vec![paid(&tenant.0, "e3")], ..node.step(run(3), 1) };
    node.store().append(sends).await.unwrap();
    for (number, expected) in [(1, 2), (2, 2), (3, 0), (4, 0)] {
        assert_eq!(node.store().inbox(run(number)).await.unwrap().len(), expected, "run {number}");
    }
}
