//! Waiting: for a time, until a point in time, for a signal. Hours pass in no time under the paused clock, and a wait
//! outlives its process.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
#![allow(dead_code, reason = "the support is shared with other tests")]

mod support;

use heddle_core::id::{RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::outcome::FailureKind;
use heddle_core::run::approval::Decision;
use heddle_core::run::view::ValueView;
use heddle_core::time::Timestamp;
use heddle_executor::Delivery;
use heddle_store::{MemoryStore, RunStatus, StoreClock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::{START, node, node_after, node_on};

async fn signal(node: &support::Node, run: RunId, name: &str, data: &str) -> Delivery {
    let data = Json::parse(data.as_bytes()).unwrap();
    node.executor.signal(&Tenant::default(), run, (name, &data), "ana").await.unwrap()
}

async fn status(node: &support::Node, run: RunId) -> &'static str {
    node.executor.run(&Tenant::default(), run).await.unwrap().unwrap().view.status
}

fn text(output: Option<ValueView>) -> String {
    match output {
        Some(ValueView::Inline(json)) => json.text().to_owned(),
        other => panic!("{other:?}"),
    }
}

async fn until(node: &support::Node, run: RunId, wanted: &str) {
    while status(node, run).await != wanted {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_passes_and_no_sandbox_is_held() {
    let node = node_on(support::memory(), |settings, _| {
        settings.workers = 1;
        settings.park_after_ms = 100_000_000;
    })
    .await;
    let until = Timestamp(START + 7_200_000).rfc3339();
    let steps = format!(
        "timeout: {{total: 1d}}\nsteps: {{a: {{wait: {{for: \"${{ input.long }}\"}}}}, b: {{wait: {{until: \"{until}\"}}}}, c: {{call: \"tool:e\", dependsOn: [a]}}}}"
    );
    let run = node.submit(&steps, "{\"long\":\"1h\"}").await;
    self::until(&node, run, "waiting").await;
    assert_eq!(
        node.run("steps: {a: {call: \"tool:e\"}}", "{}").await.view.status,
        "succeeded",
        "the slot is free"
    );
    let view = node.ended(run).await.view;
    let took = view.finished_at.unwrap().since_ms(Timestamp(START));
    assert_eq!((view.status, took / 1_000), ("succeeded", 7_200));
    assert_eq!(view.steps[0].finished_at.unwrap().since_ms(view.steps[0].started_at.unwrap()), 3_600_000);
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_a_wait_whenever_it_comes() {
    let node = node().await;
    let steps = "steps: {first: {wait: {signal: go}}, then: {wait: {signal: paid, match: \"${ event.data.id == input.id }\"}, dependsOn: [first]}}\noutput: {as: {id: \"${ steps.then.output.id }\", by: \"${ steps.first.output }\"}}";
    let run = node.submit(steps, "{\"id\":7}").await;
    // Before anybody waits for it; one that is not meant; one that says nothing of what is asked.
    for data in ["{\"id\":8}", "{\"other\":1}", "null", "{\"id\":7}"] {
        assert_eq!(signal(&node, run, "paid", data).await, Delivery::Accepted);
    }
    until(&node, run, "waiting").await;
    assert_eq!(signal(&node, run, "go", "\"ana\"").await, Delivery::Accepted);
    let view = node.ended(run).await.view;
    assert_eq!((view.status, text(view.output).as_str()), ("succeeded", "{\"by\":\"ana\",\"id\":7}"));
    assert_eq!(signal(&node, run, "go", "1").await, Delivery::Ended);
    assert_eq!(signal(&node, RunId(1), "go", "1").await, Delivery::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_does_not_come_is_a_failure() {
    let node = node_on(support::memory(), |settings, _| settings.park_after_ms = 100_000_000).await;
    let run = node.submit("timeout: {total: 1d}\nsteps: {a: {wait: {signal: go, timeout: 2h}}}", "{}").await;
    until(&node, run, "waiting").await;
    let detail = node.executor.run(&Tenant::default(), run).await.unwrap().unwrap();
    let waits = detail.view.steps[0].waits.clone().unwrap();
    assert_eq!(waits.signal.as_deref(), Some("go"));
    assert_eq!(waits.until.unwrap().since_ms(detail.view.steps[0].started_at.unwrap()), 7_200_000);
    let error = node.ended(run).await.view.error.unwrap().failure;
    assert_eq!(error.kind, FailureKind::DeadlineExceeded);
    assert!(error.message.contains("no signal `go` came within 2h"), "{}", error.message);
}

#[tokio::test(start_paused = true)]
async fn a_wait_outlives_its_process() {
    let time = Arc::new(AtomicU64::new(START));
    let store = MemoryStore::new(StoreClock::Manual(time.clone()));
    let first = node_on(store, |_, _| {}).await;
    let run = first.submit("steps: {a: {wait: {signal: go}}}", "{}").await;
    until(&first, run, "waiting").await;
    // Nobody drives it any more: it lies in the store until somebody has a word for it.
    while first.executor.report().runs_active > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    time.fetch_add(60_000, Ordering::SeqCst);
    let second = node_after(first, Vec::new()).await;
    assert_eq!(status(&second, run).await, "waiting");
    assert_eq!(signal(&second, run, "go", "[1]").await, Delivery::Accepted);
    let view = second.ended(run).await.view;
    assert_eq!((view.status, text(view.output).as_str()), ("succeeded", "{\"a\":[1]}"));
}

#[tokio::test(start_paused = true)]
async fn a_run_has_only_so_many_signals() {
    let node = node_on(support::memory(), |_, limits| limits.signals = 3).await;
    let run = node.submit("steps: {a: {wait: {signal: go}}}", "{}").await;
    for _ in 0..3 {
        assert_eq!(signal(&node, run, "other", "1").await, Delivery::Accepted);
    }
    assert_eq!(
        signal(&node, run, "go", "1").await,
        Delivery::Full { what: "signals", most: 3, limit: "signals" }
    );
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_what_stands_still_changes_nothing() {
    let node = node_on(support::memory(), |settings, _| settings.park_after_ms = 100_000_000).await;
    let run = node.submit("steps: {a: {wait: {signal: go}}}", "{}").await;
    until(&node, run, "waiting").await;
    let tenant = Tenant::default();
    let pause = async || node.executor.pause(&tenant, run, "ana", "").await.unwrap();
    let resume = async || node.executor.resume(&tenant, run, "ana").await.unwrap();
    assert_eq!(resume().await, Delivery::Unchanged { status: RunStatus::Waiting });
    // One right after the other: the first need not have been taken before the second is judged.
    assert_eq!(pause().await, Delivery::Accepted);
    assert_eq!(pause().await, Delivery::Unchanged { status: RunStatus::Paused });
    until(&node, run, "paused").await;
    assert_eq!(pause().await, Delivery::Unchanged { status: RunStatus::Paused });
    assert_eq!(resume().await, Delivery::Accepted);
    until(&node, run, "waiting").await;
    assert!(matches!(resume().await, Delivery::Unchanged { .. }));
    assert_eq!(signal(&node, run, "go", "1").await, Delivery::Accepted);
    node.ended(run).await;
    assert_eq!((pause().await, resume().await), (Delivery::Ended, Delivery::Ended));
    let rows = node.executor.journal(&tenant, run, 0, 1_000).await.unwrap().unwrap();
    let count =
        |kind: &str| rows.iter().flat_map(|row| &row.batch.events).filter(|e| e.kind() == kind).count();
    assert_eq!((count("RunPaused"), count("RunResumed")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn people_may_do_only_so_much_with_a_run_and_can_always_let_it_go_on() {
    let node = node_on(support::memory(), |settings, limits| {
        settings.park_after_ms = 100_000_000;
        limits.interventions = 2;
    })
    .await;
    let steps = "steps: {ask: {approval: {quorum: 3}}}";
    let run = node.submit(steps, "{}").await;
    until(&node, run, "waiting").await;
    let tenant = Tenant::default();
    let decide = async |by: &str| {
        let decision = Decision { by: by.into(), approved: true, comment: "".into(), form: None };
        node.executor.decide(&tenant, run, ("ask", &[]), decision).await
    };
    assert_eq!(decide("bo").await.unwrap(), Delivery::Accepted);
    assert_eq!(node.executor.pause(&tenant, run, "ana", "").await.unwrap(), Delivery::Accepted);
    until(&node, run, "paused").await;
    assert_eq!(node.executor.resume(&tenant, run, "ana").await.unwrap(), Delivery::Accepted);
    until(&node, run, "waiting").await;
    let full = Delivery::Full { what: "pauses and decisions", most: 2, limit: "interventions" };
    assert_eq!(node.executor.pause(&tenant, run, "ana", "").await.unwrap(), full);
    let refused = decide("cy").await.unwrap_err().to_string();
    assert!(refused.contains("2 pauses and decisions already (limit interventions)"), "{refused}");
    let ended = node.executor.cancel(&tenant, run, ("ana", ""), false).await.unwrap();
    assert_eq!((ended, node.ended(run).await.view.status), (Delivery::Accepted, "cancelled"));
}

#[tokio::test(start_paused = true)]
async fn an_approval_after_the_steps_waits_no_longer_than_they_may_take_in_all() {
    let node = node_on(support::memory(), |settings, _| settings.park_after_ms = 100_000_000).await;
    let steps = "steps: {a: {set: 1}}\nfinally: {late: {approval: {}}, soon: {approval: {timeout: 5m, onTimeout: approve}}}";
    let run = node.submit(steps, "{}").await;
    until(&node, run, "waiting").await;
    let view = node.executor.run(&Tenant::default(), run).await.unwrap().unwrap().view;
    let waits = |id: &str| {
        let step = view.steps.iter().find(|step| &*step.id == id).unwrap();
        let waits = step.waits.clone().unwrap();
        (waits.until.unwrap().since_ms(step.started_at.unwrap()), waits.ends_with_all)
    };
    assert_eq!(waits("finally.late"), (900_000, true));
    assert_eq!(waits("finally.soon"), (300_000, false));
}
