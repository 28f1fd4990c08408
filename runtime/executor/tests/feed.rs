#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
//! The events of all runs: in one order, without a gap, from any place on, and nobody else's.

#[allow(dead_code, reason = "what other tests use")]
mod support;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use heddle_core::id::{RunId, Tenant};
use heddle_executor::{EventId, FeedEvent, FeedItem, Followed, ReadFault, StreamItem, Submit};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::{Node, memory, node, node_after, node_on, wish};

const CHAIN: &str = "steps: {a: {call: \"tool:e\"}, b: {call: \"transform:t\", dependsOn: [a]}}";

type Feed = BoxStream<'static, FeedItem>;

async fn watch(node: &Node, workflow: Option<&str>, after: Option<EventId>) -> (EventId, Feed) {
    let watched = node.executor.watch(&Tenant::default(), workflow.map(Arc::from), after).await;
    let (from, stream) = watched.unwrap();
    (from, stream.boxed())
}

/// Events until so many runs have ended.
async fn ended(feed: &mut Feed, runs: usize) -> Vec<FeedEvent> {
    let (mut events, mut left) = (Vec::new(), runs);
    while left > 0 {
        match feed.next().await.unwrap() {
            FeedItem::Event(event) => {
                left -= usize::from(event.event.kind == "run.succeeded");
                events.push(event);
            }
            other => panic!("{other:?}"),
        }
    }
    events
}

/// What one run has told, from its own stream.
async fn alone(node: &Node, run: RunId) -> Vec<(EventId, String)> {
    let followed = node.executor.events(&Tenant::default(), run, None).await.unwrap().unwrap();
    let Followed::Events(events) = followed else { panic!("nothing is told of {run}") };
    let told = events.filter_map(|item| async move {
        match item {
            StreamItem::Event(event) => Some((event.id?, format!("{} {}", event.kind, event.data.text()))),
            _ => None,
        }
    });
    told.collect().await
}

fn by_run(events: &[FeedEvent]) -> BTreeMap<RunId, Vec<(EventId, String)>> {
    let mut runs: BTreeMap<RunId, Vec<(EventId, String)>> = BTreeMap::new();
    for told in events {
        let (id, event) = (told.event.id.unwrap(), &told.event);
        runs.entry(told.run).or_default().push((id, format!("{} {}", event.kind, event.data.text())));
    }
    runs
}

fn places(events: &[FeedEvent]) -> Vec<EventId> {
    events.iter().map(|told| told.place.unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn all_runs_are_told_as_each_tells_itself() {
    let node = node_on(memory(), |_, limits| limits.runs_active = 3).await;
    let before = node.run(CHAIN, "{}").await.view.id;
    let (from, mut feed) = watch(&node, None, None).await;
    let mut runs = Vec::new();
    for _ in 0..20 {
        runs.push(node.submit(CHAIN, "{}").await);
    }
    let events = ended(&mut feed, 20).await;
    let told = by_run(&events);
    assert!(told.len() == 20 && !told.contains_key(&before));
    for run in runs {
        assert_eq!(told[&run], alone(&node, run).await);
    }
    let mut sorted = places(&events);
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted, places(&events), "in one order, and each once");
    assert!(from < sorted[0]);
    // What is told later is the same, from the beginning and from any place.
    let (_, mut whole) = watch(&node, None, Some((0, 0))).await;
    let whole = ended(&mut whole, 21).await;
    assert_eq!(whole[0].run, before);
    assert_eq!(places(&whole)[whole.len() - events.len()..], places(&events));
    for cut in [0, 1, events.len() / 2, events.len() - 2] {
        let (_, mut rest) = watch(&node, None, Some(places(&events)[cut])).await;
        let left = events[cut + 1..].iter().filter(|told| told.event.kind == "run.succeeded").count();
        assert_eq!(places(&ended(&mut rest, left).await), places(&events)[cut + 1..]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_outlives_the_node() {
    let first = node().await;
    let (from, feed) = watch(&first, None, None).await;
    drop(feed);
    let run = first.submit("steps: {a: {call: \"tool:e\", with: {do: \"sleep:60000\"}}}", "{}").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let node = node_after(first, vec![]).await;
    let (again, mut feed) = watch(&node, None, Some(from)).await;
    assert_eq!(again, from);
    let events = ended(&mut feed, 1).await;
    assert_eq!(by_run(&events)[&run], alone(&node, run).await);
    assert!(events.iter().any(|told| told.event.kind == "attempt.interrupted"));
    let never = (places(&events).last().unwrap().0 + 100, 0);
    let refused = node.executor.watch(&Tenant::default(), None, Some(never)).await.map(|_| ());
    assert!(matches!(refused, Err(ReadFault::NoSuchPlace { place, .. }) if place == never));
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_what_is_not_theirs() {
    let node = node().await;
    let other = Tenant("other".into());
    let (_, mut own) = watch(&node, None, None).await;
    let (_, mut greetings) = watch(&node, Some("t/w"), None).await;
    let (_, mut others) = watch(&node, Some("t/elsewhere"), None).await;
    let wishes = |tenant: &Tenant| Submit { tenant: tenant.clone(), ..wish("steps: {a: {set: 1}}", "{}") };
    let foreign = node.executor.submit(wishes(&other)).await.unwrap().run;
    let run = node.executor.submit(wishes(&Tenant::default())).await.unwrap().run;
    for feed in [&mut own, &mut greetings] {
        assert_eq!(by_run(&ended(feed, 1).await).into_keys().collect::<Vec<_>>(), [run]);
    }
    // What they were not told from the store, they are not told from what is shared either.
    let again = node.executor.submit(wishes(&other)).await.unwrap().run;
    tokio::time::sleep(Duration::from_secs(5)).await;
    for feed in [&mut own, &mut greetings, &mut others] {
        assert!(feed.next().now_or_never().is_none());
    }
    let (_, theirs) = node.executor.watch(&other, None, Some((0, 0))).await.unwrap();
    let told = by_run(&ended(&mut theirs.boxed(), 2).await);
    assert_eq!(told.into_keys().collect::<Vec<_>>(), [foreign, again]);
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_while_nobody_listens_misses_nothing() {
    let node = node().await;
    let mut from = None;
    let mut seen = Vec::new();
    for _ in 0..10 {
        let (_, mut feed) = watch(&node, None, from).await;
        node.submit(CHAIN, "{}").await;
        seen.extend(ended(&mut feed, 1).await);
        from = places(&seen).last().copied();
        drop(feed);
        // The loop goes to sleep, and something happens meanwhile.
        tokio::time::sleep(Duration::from_secs(2)).await;
        node.run(CHAIN, "{}").await;
        let (_, mut feed) = watch(&node, None, from).await;
        seen.extend(ended(&mut feed, 1).await);
        from = places(&seen).last().copied();
    }
    let (_, mut whole) = watch(&node, None, Some((0, 0))).await;
    assert_eq!(places(&ended(&mut whole, 20).await), places(&seen));
    assert_eq!(node.executor.report().subscribers, 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_a_little_behind_reads_on_and_who_is_far_behind_is_dropped() {
    let node = node_on(memory(), |_, limits| (limits.sse_backlog, limits.feed_backlog) = (2, 40)).await;
    let (_, mut little) = watch(&node, None, None).await;
    let (from, mut far) = watch(&node, None, None).await;
    // Both are where the others are.
    node.run("steps: {a: {set: 1}}", "{}").await;
    let first = ended(&mut far, 1).await;
    ended(&mut little, 1).await;
    for _ in 0..5 {
        node.run(CHAIN, "{}").await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let seen = ended(&mut little, 5).await;
    for _ in 0..50 {
        node.run(CHAIN, "{}").await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut last = *places(&first).last().unwrap();
    let dropped = loop {
        match far.next().await {
            Some(FeedItem::Event(told)) => last = told.place.unwrap(),
            other => break other,
        }
    };
    assert!(matches!(dropped, Some(FeedItem::Lagged)), "{dropped:?}");
    assert!(far.next().await.is_none());
    // It comes back with the last place that it has seen, and has everything.
    let (_, mut rest) = watch(&node, None, Some(last)).await;
    let rest = ended(&mut rest, 55).await;
    let (_, mut whole) = watch(&node, None, Some(from)).await;
    let whole = ended(&mut whole, 56).await;
    let behind: Vec<EventId> = places(&whole).into_iter().filter(|place| *place > last).collect();
    assert_eq!(places(&rest), behind);
    assert_eq!(places(&seen)[..], behind[..seen.len()]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_takes_nothing_from_the_others() {
    let node = node().await;
    let bad = node.run(CHAIN, "{}").await.view.id;
    let good = node.run(CHAIN, "{}").await.view.id;
    node.store.damage(&heddle_store::memory::Damage::Journal(bad, 1));
    let (_, mut feed) = watch(&node, None, Some((0, 0))).await;
    let (mut unreadable, mut told) = (Vec::new(), Vec::new());
    while !told.iter().any(|(run, kind)| (*run, *kind) == (good, "run.succeeded")) {
        match feed.next().await.unwrap() {
            FeedItem::Event(event) => told.push((event.run, event.event.kind)),
            FeedItem::Unreadable { run, .. } => unreadable.push(run),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(unreadable, [bad]);
}

#[tokio::test(start_paused = true)]
async fn listeners_to_many_runs_are_counted_with_the_others() {
    let node = node_on(memory(), |_, limits| limits.subscriptions = 2).await;
    let run = node.submit("steps: {a: {call: \"tool:e\", with: {do: hang}}}", "{}").await;
    let one = watch(&node, None, None).await;
    let _two = node.executor.events(&Tenant::default(), run, None).await.unwrap().unwrap();
    let third = node.executor.watch(&Tenant::default(), None, None).await.map(|_| ());
    assert!(matches!(third, Err(ReadFault::TooManySubscribers { most: 2 })));
    drop(one);
    let _three = watch(&node, None, None).await;
}
