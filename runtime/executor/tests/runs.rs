#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
//! Whole runs through the executor: what is begun when, what is cached, what a crash, a cancel and a drain leave.

mod support;

use futures_util::{Stream, StreamExt};
use heddle_core::id::{RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::outcome::FailureKind;
use heddle_core::run::event::{CacheVerdict, Defaults, Node as Place};
use heddle_core::time::{Span, Timestamp};
use heddle_executor::{
    Delivery, EventId, Followed, LeftInside, ReadFault, Repeated, RunDetail, StreamItem, SubmitFault,
};
use heddle_store::{MemoryStore, ReportDepth, RunStore, StoreClock};
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{Node, START, memory, node, node_after, node_on, wish};

const CHAIN: &str = "steps: {a: {call: \"tool:e\"}, b: {call: \"tool:e\", dependsOn: [a]}, c: {call: \"tool:e\", dependsOn: [b]}}";

fn output(detail: &RunDetail) -> String {
    format!("{:?}", detail.view.output)
}

#[tokio::test(start_paused = true)]
async fn a_chain_runs_in_its_order() {
    let node = node().await;
    let detail = node.run(CHAIN, "{}").await;
    assert_eq!(detail.view.status, "succeeded");
    assert_eq!(*node.script.began.lock().unwrap(), ["a#1", "b#1", "c#1"]);
    assert_eq!((detail.view.done, detail.view.total), (3, 3));
    assert_eq!(detail.view.steps[0].work.attempts[0].usage.fuel, 10);
}

#[tokio::test(start_paused = true)]
async fn steps_keep_their_numbers_whatever_their_names() {
    let node = node().await;
    let steps = "steps: {z: {call: \"tool:e\", with: {n: \"${ input.big }\"}}, m: {call: \"tool:e\", dependsOn: [z]}, a: {call: \"transform:t\", with: {n: \"${ steps.z.output.n }\"}, dependsOn: [m]}}";
    let big = "x".repeat(300_000);
    let detail = node.run(steps, &format!("{{\"big\":\"{big}\"}}")).await;
    assert_eq!(detail.view.status, "succeeded", "{:?}", detail.view.error);
    assert_eq!(*node.script.began.lock().unwrap(), ["z#1", "m#1", "a#1"]);
    let again = node.executor.run(&Tenant::default(), detail.view.id).await.unwrap().unwrap();
    let ids: Vec<_> = again.view.steps.iter().map(|s| (s.id.to_string(), s.status)).collect();
    assert_eq!(ids, [("z".into(), "succeeded"), ("m".into(), "succeeded"), ("a".into(), "succeeded")]);
}

#[tokio::test(start_paused = true)]
async fn an_effect_waits_for_the_disk_and_a_transform_does_not() {
    let node = node().await;
    let steps = "steps: {a: {call: \"transform:t\", with: {n: \"${ input.n }\"}}, b: {call: \"transform:t\", with: {m: \"${ input.n }\"}, dependsOn: [a]}, c: {call: \"tool:e\", dependsOn: [b]}}";
    // The first run leaves the snapshot in the store, so that the second one's first write is its journal.
    node.run(steps, "{\"n\":1}").await;
    node.script.began.lock().unwrap().clear();
    node.store.hold_commits();
    let submit = tokio::spawn({
        let (executor, wish) = (node.executor.clone(), wish(steps, "{\"n\":2}"));
        async move { executor.submit(wish).await.unwrap().run }
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*node.script.began.lock().unwrap(), ["a#1", "b#1"], "the tool waits for the disk");
    assert!(!submit.is_finished(), "and so does the answer");
    assert!(node.store.commit_held() > 0);
    let run = submit.await.unwrap();
    assert_eq!(node.ended(run).await.view.status, "succeeded");
    assert_eq!(node.script.began.lock().unwrap()[2], "c#1");
}

#[tokio::test(start_paused = true)]
async fn a_flaky_step_is_tried_again_after_its_wait() {
    let node = node_on(memory(), |settings, _| settings.park_after_ms = u64::MAX).await;
    let steps = "steps: {a: {call: \"tool:e\", with: {do: \"flaky:3\"}, retry: {delay: 10m, backoff: exponential, limit: {attempts: 4}}}}";
    let detail = node.run(steps, "{}").await;
    assert_eq!(detail.view.status, "succeeded");
    let attempts = &detail.view.steps[0].work.attempts;
    assert_eq!(attempts.len(), 3);
    assert!(attempts[2].started_at.since_ms(attempts[0].started_at) >= 30 * 60_000);
}

#[tokio::test(start_paused = true)]
async fn a_failure_names_its_step_and_stops_the_rest() {
    let node = node().await;
    let detail = node.run("steps: {a: {call: \"tool:e\", with: {do: fail}}, b: {call: \"tool:e\", with: {do: hang}}, c: {call: \"tool:e\", dependsOn: [a]}}", "{}").await;
    assert_eq!(detail.view.status, "failed");
    let error = detail.view.error.as_ref().unwrap();
    assert_eq!((error.failure.kind, error.step.as_deref()), (FailureKind::Trap, Some("a")));
    let statuses: Vec<_> = detail.view.steps.iter().map(|s| s.status).collect();
    assert_eq!(statuses, ["failed", "cancelled", "skipped"]);
    assert_eq!(node.executor.report().slots.0, 0);
}

#[tokio::test(start_paused = true)]
async fn equal_items_are_computed_once_and_a_second_run_not_at_all() {
    let node = node().await;
    let steps = "steps: {a: {forEach: {in: \"${ input.list }\"}, call: \"transform:t\", with: {n: \"${ item }\", do: \"sleep:5\"}}}";
    let list = format!("{{\"list\":[{}]}}", ["7"; 100].join(","));
    let first = node.run(steps, &list).await;
    assert_eq!((first.view.status, node.script.count()), ("succeeded", 1));
    assert_eq!(first.view.steps[0].items.unwrap().cached, 99);
    let second = node.run(steps, &list).await;
    assert_eq!((second.view.status, node.script.count()), ("succeeded", 1));
    let items = node.executor.items(&Tenant::default(), second.view.id, "a", 0, 200).await.unwrap().unwrap();
    assert!(items.iter().all(
        |(_, w)| matches!(&w.cache, CacheVerdict::Hit { source_run, .. } if *source_run == first.view.id)
    ));
}

/// Submits the same so many times: the first leads, the others wait for it.
async fn leader_and_followers<const N: usize>(node: &Node, steps: &str) -> [RunId; N] {
    let mut runs = [RunId(0); N];
    for run in &mut runs {
        *run = node.submit(steps, "{}").await;
        // It is under way before the next one comes.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(node.script.count(), 1, "the others wait for the first");
    runs
}

#[tokio::test(start_paused = true)]
async fn followers_survive_their_leaders_cancel() {
    let node = node().await;
    let steps = "steps: {a: {call: \"transform:t\", with: {do: \"sleep:1000\"}}}";
    let [leader, next, last] = leader_and_followers(&node, steps).await;
    node.executor.cancel(&Tenant::default(), leader, ("ana", "enough"), false).await.unwrap();
    assert_eq!(node.ended(leader).await.view.status, "cancelled");
    for run in [next, last] {
        assert_eq!(node.ended(run).await.view.status, "succeeded");
    }
    assert_eq!(node.script.count(), 2, "one of them led, and the other one waited again");
}

#[tokio::test(start_paused = true)]
async fn a_leaders_failure_is_its_own() {
    let node = node().await;
    let steps = "steps: {a: {call: \"transform:t\", with: {do: \"first:1000\"}}}";
    let [leader, next, last] = leader_and_followers(&node, steps).await;
    let failed = node.ended(leader).await;
    assert_eq!((failed.view.status, failed.view.error.unwrap().failure.kind), ("failed", FailureKind::Trap));
    for run in [next, last] {
        let ended = node.ended(run).await;
        assert_eq!(ended.view.status, "succeeded", "{:?}", ended.view.error);
        assert_eq!(ended.view.steps[0].work.attempts.len(), 1, "nothing of the leader's is in its journal");
    }
    assert_eq!(node.script.count(), 2);
    // And where each of them fails, each has done so by itself.
    let steps = "steps: {a: {call: \"transform:t\", with: {do: fail}}}";
    for _ in 0..2 {
        assert_eq!(node.run(steps, "{}").await.view.status, "failed");
    }
    assert_eq!(node.script.count(), 4, "a failure is never kept");
}

#[tokio::test(start_paused = true)]
async fn hits_survive_a_restart() {
    let store = memory();
    let steps = "steps: {a: {call: \"transform:t\", with: {n: 1}}}";
    let first = node_on(store.clone(), |_, _| {}).await;
    first.run(steps, "{}").await;
    first.executor.drain().await;
    let second = node_on(store, |_, _| {}).await;
    assert_eq!(second.run(steps, "{}").await.view.status, "succeeded");
    assert_eq!(second.script.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_list_of_ten_thousand_keeps_its_order() {
    let node = node().await;
    let list: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
    let steps = "maxParallel: 64\nsteps: {a: {forEach: {in: \"${ input.list }\"}, call: \"transform:t\", with: {n: \"${ item }\"}}, b: {set: \"${ steps.a.output.map(o, o.n).filter(n, n > 9997) }\"}}";
    let detail = node.run(steps, &format!("{{\"list\":[{}]}}", list.join(","))).await;
    assert_eq!(detail.view.status, "succeeded", "{:?}", detail.view.error);
    assert!(output(&detail).contains("[9998,9999]"), "{}", output(&detail));
    let too_many = node.run("steps: {a: {forEach: {in: \"${ input.list.map(i, input.list) }\"}, call: \"transform:t\", with: {n: \"${ item }\"}}}", "{\"list\":[1]}").await;
    assert_eq!(too_many.view.status, "succeeded");
}

#[tokio::test(start_paused = true)]
async fn tolerated_failures_become_null() {
    let node = node().await;
    let steps = "steps: {a: {forEach: {in: \"${ ['ok', 'fail', 'ok'] }\", tolerateFailures: 34%}, call: \"tool:e\", with: {do: \"${ item }\"}}, b: {set: \"${ steps.a.output.map(o, o == null) }\"}}";
    let detail = node.run(steps, "{}").await;
    assert!(output(&detail).contains("[false,true,false]"), "{detail:?} {}", output(&detail));
    let strict = node.run(&steps.replace("34%", "33%"), "{}").await;
    let error = strict.view.error.unwrap();
    assert_eq!(
        (strict.view.status, error.failure.kind, error.failure.code.as_deref()),
        ("failed", FailureKind::ItemsFailed, Some("trap"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancel_ends_what_hangs() {
    let node = node().await;
    let run = node
        .submit(
            "steps: {a: {call: \"tool:e\", with: {do: hang}}, b: {call: \"tool:e\", dependsOn: [a]}}",
            "{}",
        )
        .await;
    while node.script.count() < 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        node.executor.cancel(&Tenant::default(), run, ("ana", "wrong file"), false).await.unwrap(),
        Delivery::Accepted
    );
    let detail = node.ended(run).await;
    assert_eq!(detail.view.status, "cancelled");
    assert_eq!(
        node.executor.cancel(&Tenant::default(), run, ("ana", ""), false).await.unwrap(),
        Delivery::Ended
    );
    assert_eq!(
        node.executor.cancel(&Tenant("other".into()), run, ("ana", ""), false).await.unwrap(),
        Delivery::Unknown
    );
    assert!(node.executor.run(&Tenant("other".into()), run).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn one_key_is_one_run() {
    let node = node().await;
    let keyed =
        |input: &str| heddle_executor::Submit { idempotency: Some("k1".into()), ..wish(CHAIN, input) };
    let first = node.executor.submit(keyed("{}")).await.unwrap();
    assert_eq!(first.repeated, Repeated::No);
    let again = node.executor.submit(keyed(" { } ")).await.unwrap();
    assert_eq!((again.run, again.repeated), (first.run, Repeated::Yes));
    assert!(
        matches!(node.executor.submit(keyed("{\"x\":1}")).await, Err(SubmitFault::IdempotencyMismatch { run }) if run == first.run)
    );
    assert_eq!(node.ended(first.run).await.view.status, "succeeded");
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_is_parked_and_comes_back() {
    let (clock, hand) = StoreClock::manual(Timestamp(START));
    let node = node_on(MemoryStore::new(clock), |_, _| {}).await;
    let run = node.submit("steps: {a: {call: \"tool:e\", with: {do: \"flaky:2\"}, retry: {delay: 30m, limit: {attempts: 2}}}}", "{}").await;
    while node.script.count() < 1 || node.executor.report().runs_active > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(node.executor.run(&Tenant::default(), run).await.unwrap().unwrap().view.status, "waiting");
    // Both clocks go on together, and slowly enough for the lease to be renewed on the way.
    for _ in 0..31 * 15 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        hand.fetch_add(4_000, Ordering::SeqCst);
    }
    assert_eq!(node.ended(run).await.view.status, "succeeded");
}

#[tokio::test(start_paused = true)]
async fn a_drain_gives_runs_back_and_the_next_process_ends_them() {
    let store = memory();
    let first = node_on(store.clone(), |_, _| {}).await;
    let run = first.submit("steps: {a: {call: \"tool:e\", with: {do: \"sleep:100\"}}, b: {call: \"tool:e\", dependsOn: [a]}}", "{}").await;
    first.executor.drain().await;
    assert!(matches!(first.executor.submit(wish(CHAIN, "{}")).await, Err(SubmitFault::Draining)));
    assert_eq!(*first.script.began.lock().unwrap(), ["a#1"], "what ran may end, nothing new begins");
    let second = node_on(store, |_, _| {}).await;
    assert_eq!(second.ended(run).await.view.status, "succeeded");
    assert_eq!(
        *second.script.began.lock().unwrap(),
        ["b#1"],
        "what never began was never said to have begun"
    );
}

#[tokio::test(start_paused = true)]
async fn an_agent_calls_what_it_was_granted_and_nothing_else() {
    let node = node().await;
    let granted =
        node.run("steps: {a: {call: \"agent:a\", with: {do: ask}, tools: [\"transform:*\"]}}", "{}").await;
    assert_eq!(granted.view.status, "succeeded");
    let denied =
        node.run("steps: {a: {call: \"agent:a\", with: {do: ask}, tools: [\"tool:e\"]}}", "{}").await;
    assert_eq!(denied.view.error.unwrap().failure.kind, FailureKind::CapabilityDenied);
    let segments = node.run("steps: {a: {call: \"agent:a\", with: {do: \"segments:5\"}}}", "{}").await;
    assert!(output(&segments).contains('5'), "{}", output(&segments));
    let endless = node.run("steps: {a: {call: \"agent:a\", with: {do: \"segments:1000\"}}}", "{}").await;
    assert_eq!(endless.view.error.unwrap().failure.kind, FailureKind::BudgetExhausted);
}

/// The events of a run that has some left.
async fn followed(node: &Node, run: RunId, after: Option<EventId>) -> impl Stream<Item = StreamItem> {
    match node.executor.events(&Tenant::default(), run, after).await.unwrap().unwrap() {
        Followed::Events(stream) => stream,
        Followed::Over => panic!("nothing is left after {after:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn events_have_no_gap_and_resume_anywhere() {
    let node = node().await;
    let run = node.submit(CHAIN, "{}").await;
    let collect = |after| async move {
        let items: Vec<_> = followed(&node, run, after).await.collect().await;
        (
            node,
            items
                .into_iter()
                .filter_map(|i| match i {
                    StreamItem::Event(e) => Some((e.id.unwrap(), e.kind)),
                    _ => None,
                })
                .collect::<Vec<_>>(),
        )
    };
    let (node, all) = collect(None).await;
    assert_eq!((all[0].1, all.last().unwrap().1), ("run.queued", "run.succeeded"));
    for pair in all.windows(2) {
        let ((a, _), (b, _)) = (pair[0], pair[1]);
        assert!((b.0 == a.0 && b.1 == a.1 + 1) || (b.0 > a.0 && b.1 == 0), "{a:?} {b:?}");
    }
    for cut in [0, 3, all.len() - 2] {
        let rest: Vec<_> = followed(&node, run, Some(all[cut].0)).await.collect().await;
        assert_eq!(rest.len(), all.len() - cut - 1);
    }
    let last = all.last().unwrap().0;
    let over = node.executor.events(&Tenant::default(), run, Some(last)).await.unwrap().unwrap();
    assert!(matches!(over, Followed::Over));
    for never in [(last.0, last.1 + 1), (last.0 + 1, 0), (0, 1)] {
        let refused = node.executor.events(&Tenant::default(), run, Some(never)).await;
        assert!(matches!(refused, Err(ReadFault::NoSuchEvent { event, .. }) if event == never), "{never:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_at_once_is_listed_as_ended() {
    let node = node().await;
    let detail = node.run("steps: {a: {set: 1}}", "{}").await;
    let row = node.store.run(detail.view.id).await.unwrap().unwrap();
    assert!(row.status.is_terminal() && row.finished.is_some(), "{row:?}");
}

#[tokio::test(start_paused = true)]
async fn many_runs_wait_their_turn_in_the_store() {
    let node = node_on(memory(), |_, limits| limits.runs_active = 4).await;
    let mut runs = Vec::new();
    for _ in 0..40 {
        runs.push(node.submit("steps: {a: {call: \"tool:e\", with: {do: \"sleep:20\"}}}", "{}").await);
    }
    assert!(node.executor.report().runs_active <= 4);
    for run in runs {
        assert_eq!(node.ended(run).await.view.status, "succeeded");
    }
    let report = node.store.report(ReportDepth::Deep).await.unwrap();
    assert_eq!(report.runs.get("succeeded"), Some(&40));
}

#[tokio::test(start_paused = true)]
async fn only_what_was_in_its_sandbox_counts_as_interrupted() {
    let mut node = node().await;
    let run = node.submit("steps: {a: {call: \"tool:e\", with: {do: hang}}}", "{}").await;
    let begun = async |node: &Node, attempt: u32| {
        while *node.script.began.lock().unwrap() != [format!("a#{attempt}")] {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    begun(&node, 1).await;
    let inside = |attempt| LeftInside { run, node: Place::step(0), attempt };
    // It was waiting at five kills in a row, with somebody else's attempt in the sandboxes.
    for attempt in 2..=6 {
        node = node_after(node, vec![LeftInside { run: RunId(1), ..inside(attempt - 1) }]).await;
        begun(&node, attempt).await;
    }
    // Then it was inside at three.
    for attempt in 7..=8 {
        node = node_after(node, vec![inside(attempt - 1)]).await;
        begun(&node, attempt).await;
    }
    let last = node_after(node, vec![inside(8)]).await;
    let ended = last.ended(run).await.view;
    assert_eq!(ended.status, "failed");
    assert_eq!(ended.error.unwrap().failure.kind, FailureKind::Interrupted);
    assert_eq!(last.script.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn suspects_run_one_at_a_time() {
    let first = node().await;
    let steps = "steps: {a: {forEach: {in: \"${ [1, 2, 3, 4] }\"}, call: \"tool:e\", with: {do: \"sleep:100\", n: \"${ item }\"}}}";
    let run = first.submit(steps, "{}").await;
    while first.script.count() < 4 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let node_of = |item| Place::item(0, item);
    let left = (0..4).map(|item| LeftInside { run, node: node_of(item), attempt: 1 }).collect();
    let second = node_after(first, left).await;
    let began = tokio::time::Instant::now();
    assert_eq!(second.ended(run).await.view.status, "succeeded");
    assert!(began.elapsed() >= Duration::from_millis(400), "they ran together: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_the_node_does_where_a_workflow_says_nothing_is_kept_with_the_run() {
    let store = memory();
    let defaults = Defaults {
        retry_attempts: Some(3),
        retry_delay: Some(Span(1_000)),
        attempt_timeout: Some(Span(4_000)),
    };
    let first = node_on(store.clone(), |settings, _| settings.defaults = Some(defaults)).await;
    let steps = "steps: {a: {call: \"tool:e\", with: {do: \"flaky:3\"}}}";
    let run = first.submit(steps, "{}").await;
    first.executor.drain().await;
    // The next node has other defaults; the run has its own.
    let second = node_on(store, |_, _| {}).await;
    let ended = second.ended(run).await.view;
    assert_eq!(ended.status, "succeeded");
    assert_eq!(ended.steps[0].work.attempts.len(), 3);
    assert_eq!(second.script.walls.lock().unwrap().last(), Some(&4_000));
    assert_eq!(second.run(steps, "{}").await.view.status, "failed");
}

/// What was decided about a condition, a failed attempt and the plugin, in the words of the events.
#[tokio::test(start_paused = true)]
async fn a_decision_says_why() {
    let node = node().await;
    let steps = "steps: {a: {call: \"tool:e\", with: {do: \"flaky:2\"}, retry: {delay: 1s, limit: {attempts: 2}}}, b: {when: \"${ input.x > 1 }\", set: 1}, c: {dependsOn: [a], call: \"tool:e\", with: {do: fail}}}";
    let detail = node.run(steps, "{\"x\":1}").await;
    let told: Vec<StreamItem> = followed(&node, detail.view.id, None).await.collect().await;
    let decisions: Vec<String> = told
        .iter()
        .filter_map(|item| match item {
            StreamItem::Event(event) if event.kind == "decision" => Some(event.data.text().to_owned()),
            _ => None,
        })
        .collect();
    for part in [
        r#""about":"when","reason":"input.x > 1","step":"b","verdict":"false""#,
        r#""about":"retry","reason":"`guest_error` may be tried again; attempt 2 is due""#,
        r#""about":"retry","reason":"the step has no retry policy","step":"c","verdict":"stop""#,
        r#""about":"provider","#,
        r#""plugin":"tool:e@1.0.0","reason":"what `tool:e@*` meant when the run was accepted""#,
    ] {
        assert!(decisions.iter().any(|said| said.contains(part)), "missing: {part}\nin {decisions:#?}");
    }
}

/// Its sandbox is another's by then, and a process that dies must leave word of it all the same.
#[tokio::test(start_paused = true)]
async fn an_attempt_is_known_to_have_been_inside_until_its_end_is_on_disk() {
    let node = node().await;
    let steps = "steps: {a: {call: \"tool:e\", with: {do: hang}}, b: {call: \"tool:e\", with: {do: \"sleep:1000\"}}, c: {call: \"tool:e\"}, d: {call: \"tool:e\", with: {do: fail}, dependsOn: [b]}}";
    let run = node.submit(steps, "{}").await;
    while node.script.count() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(node.script.held(), 2, "that `c` has ended is on disk");
    node.store.hold_commits();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(node.script.held(), 2, "that `b` has ended is not");
    assert!(node.store.commit_held() > 0);
    // `d` begins and fails, and `a` is cut off.
    assert_eq!(node.ended(run).await.view.status, "failed");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(node.script.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_off_is_known_to_have_been_inside_until_that_is_on_disk() {
    let node = node().await;
    let steps = "steps: {a: {call: \"tool:e\", with: {do: hang}, timeout: {total: 2s}}}";
    let run = node.submit(steps, "{}").await;
    while node.script.count() < 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    node.store.hold_commits();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(node.script.held(), 1, "its time was up long ago, and nobody was told");
    assert!(node.store.commit_held() > 0);
    assert_eq!(node.ended(run).await.view.status, "failed");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(node.script.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_left_inside_is_held_until_its_run_is_taken_over() {
    let (clock, _) = StoreClock::manual(Timestamp(START));
    let first = node_on(MemoryStore::new(clock), |_, _| {}).await;
    let steps = "steps: {a: {call: \"tool:e\"}, w: {wait: {signal: go}, dependsOn: [a]}}";
    let run = first.submit(steps, "{}").await;
    while first.executor.report().runs_active > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let left = LeftInside { run, node: Place::step(0), attempt: 1 };
    let second = node_after(first, vec![left, LeftInside { run: RunId(1), ..left }]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(second.script.held(), 1, "of the run that there is");
    let said = ("go", &Json::null());
    second.executor.signal(&Tenant::default(), run, said, "bo").await.unwrap();
    assert_eq!(second.ended(run).await.view.status, "succeeded");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(second.script.held(), 0);
}
