//! What a node keeps to: the plugins that a run was accepted with, spans around what it does, and the name of what
//! cannot go on.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
#![allow(dead_code, reason = "the support is shared with other tests")]

mod support;

use heddle_core::id::{Digest, Tenant};
use heddle_core::outcome::PluginKind;
use heddle_core::plan::WorkflowRef;
use heddle_core::run::view::ValueView;
use heddle_executor::{PublishWish, ReferenceFault, Submit, SubmitFault, WorkflowChoice};
use heddle_store::memory::Damage;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{node, node_after, node_on};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

async fn begun(node: &support::Node, count: usize) {
    while node.script.count() < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_keeps_the_plugins_that_it_was_accepted_with() {
    let first = node().await;
    let steps = "steps: {a: {call: \"tool:e@^1.0\", with: {do: hang}}}";
    let run = first.submit(steps, "{}").await;
    begun(&first, 1).await;
    first.load(PluginKind::Tool, "e", (1, 1), b"newer").await;
    let newer = first.submit(steps, "{}").await;
    begun(&first, 2).await;
    assert_eq!(*first.script.components.lock().unwrap(), [Digest::of(b"e"), Digest::of(b"newer")]);
    // The next process knows of the newer one from the beginning.
    let second = node_after(first, Vec::new()).await;
    begun(&second, 2).await;
    let (began, components) = (second.script.began.lock().unwrap(), second.script.components.lock().unwrap());
    assert_eq!((began.len(), components.len()), (2, 2), "{run} and {newer} go on");
    assert!(
        components.contains(&Digest::of(b"e")) && components.contains(&Digest::of(b"newer")),
        "{components:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_go_on_is_named() {
    let first = node().await;
    let run = first.submit("steps: {a: {call: \"tool:e\", with: {do: hang}}}", "{}").await;
    begun(&first, 1).await;
    first.store.damage(&Damage::Journal(run, 1));
    let second = node_after(first, Vec::new()).await;
    while second.executor.report().stuck.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let stuck = second.executor.report().stuck;
    assert!(stuck[&run.to_string()].contains("damaged"), "{stuck:?}");
    // Others go on.
    assert_eq!(second.run("steps: {a: {call: \"tool:e\"}}", "{}").await.view.status, "succeeded");
}

/// Writes down each span with the one around it.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    names: HashMap<u64, String>,
    entered: Vec<u64>,
    paths: Vec<String>,
}

impl Subscriber for Spans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut seen = self.0.lock().unwrap();
        let around = span.parent().map(Id::into_u64).or_else(|| seen.entered.last().copied());
        let around = around.and_then(|id| seen.names.get(&id).cloned());
        let path = around.map_or_else(String::new, |around| format!("{around} > ")) + span.metadata().name();
        let id = seen.names.len() as u64 + 1;
        seen.names.insert(id, path.clone());
        seen.paths.push(path);
        Id::from_u64(id)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, id: &Id) {
        self.0.lock().unwrap().entered.push(id.into_u64());
    }
    fn exit(&self, _: &Id) {
        self.0.lock().unwrap().entered.pop();
    }
}

#[tokio::test(start_paused = true)]
async fn runs_steps_and_attempts_are_spans() {
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.clone());
    let node = node().await;
    let steps =
        "steps: {a: {call: \"tool:e\", with: {do: \"flaky:2\"}, retry: {delay: 1ms, limit: {attempts: 2}}}}";
    assert_eq!(node.run(steps, "{}").await.view.status, "succeeded");
    let seen = spans.0.lock().unwrap();
    assert_eq!(seen.paths, ["run", "run > step", "run > step > attempt", "run > step > attempt"]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_sandbox_is_known() {
    let node = node_on(support::memory(), |settings, _| settings.workers = 1).await;
    let steps = "steps: {a: {call: \"tool:e\", with: {do: \"sleep:1000\"}}}";
    let first = node.submit(steps, "{}").await;
    begun(&node, 1).await;
    let second = node.submit(steps, "{}").await;
    let queued = async |run| {
        node.executor
            .run(&Tenant::default(), run)
            .await
            .unwrap()
            .unwrap()
            .queued_steps
            .into_iter()
            .collect::<Vec<_>>()
    };
    while node.executor.report().attempts_queued == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!((queued(first).await, queued(second).await), (vec![], vec![(0, 1)]));
    let ended = node.ended(second).await.view;
    assert_eq!(ended.status, "succeeded");
    let (step, usage) = (&ended.steps[0], ended.steps[0].work.attempts[0].usage);
    assert!(usage.queued_us >= 1_000 && step.started_at > step.ready_at, "{usage:?}: {step:?}");
    assert_eq!((node.executor.report().attempts_queued, queued(second).await), (0, vec![]));
}

#[tokio::test(start_paused = true)]
async fn large_computed_values_are_kept_by_digest() {
    let node = node().await;
    // 600 bytes become 600 KB, and forty items of it 24 MB: none of it belongs into a row of the journal.
    let steps = "steps:\n  big: {set: \"${ [input.x, input.x, input.x, input.x, input.x, input.x, input.x, input.x, input.x, input.x].join('') }\"}\n  many: {forEach: {in: \"${ input.l }\"}, set: \"${ steps.big.output + string(item) }\"}\noutput: {as: \"${ steps.big.output }\"}";
    let input = format!("{{\"x\":\"{}\",\"l\":{:?}}}", "y".repeat(60_000), (0..40).collect::<Vec<_>>());
    let detail = node.run(steps, &input).await;
    assert_eq!(detail.view.status, "succeeded");
    let Some(ValueView::Stored(digest, size)) = detail.view.output else { panic!() };
    assert_eq!(size, 600_002);
    let tenant = Tenant::default();
    let value = node.executor.value(&tenant, detail.view.id, digest).await.unwrap().unwrap();
    assert_eq!(value.size(), 600_002);
    let rows = node.executor.journal(&tenant, detail.view.id, 0, 1_000).await.unwrap().unwrap();
    let largest = rows.iter().map(|row| format!("{:?}", row.batch).len()).max().unwrap();
    assert!(largest < 400_000, "a row of {largest} bytes");
    let items = node.executor.items(&tenant, detail.view.id, "many", 0, 200).await.unwrap().unwrap();
    assert!(items.iter().all(|(_, item)| matches!(item.output, Some(ValueView::Stored(..)))));
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_ends_with_its_step() {
    let node = node().await;
    let steps = "steps:\n  a: {forEach: {in: \"${ [1, 2, 3] }\", maxParallel: 2}, call: \"tool:e\", with: {do: hang}}\n  b: {call: \"tool:e\", with: {do: hang}}\n  c: {call: \"tool:e\", with: {do: fail}}";
    let detail = node.run(steps, "{}").await;
    assert_eq!(detail.view.status, "failed");
    let counts = detail.view.steps[0].items.unwrap();
    assert_eq!((counts.running, counts.cancelled, counts.total), (0, 3, 3));
    let attempt = &detail.view.steps[1].work.attempts[0];
    assert_eq!((attempt.status, attempt.ended_at.is_some()), ("cancelled", true));
    let items = node.executor.items(&Tenant::default(), detail.view.id, "a", 0, 10).await.unwrap().unwrap();
    assert!(items.iter().all(|(_, item)| item.status == "cancelled"), "{items:?}");
    assert!(items.iter().flat_map(|(_, item)| &item.attempts).all(|attempt| attempt.status == "cancelled"));
}

/// Equal documents share their checked plan, and nothing else: each tenant's runs get its own plugins.
#[tokio::test(start_paused = true)]
async fn equal_workflows_of_two_tenants_run_with_the_plugins_of_each() {
    let node = node().await;
    let doc = support::doc("steps: {a: {call: \"tool:own\"}}");
    let tenants = [Tenant("one".into()), Tenant("two".into())];
    for tenant in &tenants {
        let metadata = node.metadata(PluginKind::Tool, "own", (1, 0));
        node.executor.add_plugin(tenant, metadata, Digest::of(tenant.0.as_bytes()), 1).await.unwrap();
        node.executor.publish(tenant, &doc, &PublishWish::default()).await.unwrap();
    }
    // A third one has no such workflow, whatever digest it has elsewhere.
    let named = |tenant: &Tenant| Submit {
        tenant: tenant.clone(),
        workflow: WorkflowChoice::Named(WorkflowRef::parse("t/w").unwrap()),
        ..support::wish("steps: {a: {set: 1}}", "{}")
    };
    assert!(matches!(
        node.executor.submit(named(&Tenant::default())).await,
        Err(SubmitFault::Reference(ReferenceFault::Unknown { .. }))
    ));
    for tenant in &tenants {
        let run = node.executor.submit(named(tenant)).await.unwrap().run;
        let ended = node.executor.wait(tenant, run, Duration::from_secs(60)).await.unwrap().unwrap();
        assert_eq!(ended.view.status, "succeeded");
    }
    let used = node.script.components.lock().unwrap().clone();
    assert_eq!(used, tenants.map(|tenant| Digest::of(tenant.0.as_bytes())));
}
