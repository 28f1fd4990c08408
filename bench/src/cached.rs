//! A step that the cache answers: what the executor needs for it, from the decision to the fact in the journal, with a
//! store in memory. One run over ten thousand items, twice; the second time every item is a hit.

use crate::pace::Pace;
use crate::report::{Row, Target};
use anyhow::{anyhow, ensure};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use heddle_core::document::Doc;
use heddle_core::id::{Digest, Tenant};
use heddle_core::json::Json;
use heddle_core::limits::{AskedLimits, Limits};
use heddle_core::outcome::{AttemptEnd, Outcome, PluginKind, Usage};
use heddle_core::plan::WorkflowRef;
use heddle_core::plugin::Metadata;
use heddle_executor::{
    Executor, Invocation, Invoker, Parts, PublishWish, Settings, Submit, SystemClock, WebhookParts,
    WorkflowChoice,
};
use heddle_store::MemoryStore;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Items of the run.
const ITEMS: u64 = 10_000;

const WORKFLOW: &str = r#"
document: { dsl: "1.0", namespace: bench, name: cached, version: 1.0.0 }
input: { schema: { type: object, required: [items], properties: { items: { type: array, items: { type: integer } } } } }
steps:
  each:
    forEach: { in: "${ input.items }" }
    call: transform:identity
    with: { n: "${ item }" }
"#;

/// Answers at once with what it got, and counts how often.
#[derive(Debug, Default)]
struct Mirror(AtomicU64);

impl Invoker for Mirror {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'static, AttemptEnd> {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::future::ready(AttemptEnd { outcome: Outcome::Done(invocation.input), usage: Usage::default() })
            .boxed()
    }
}

/// Time per cached step.
pub(crate) async fn rows(pace: Pace) -> anyhow::Result<Vec<Row>> {
    let mirror = Arc::new(Mirror::default());
    let executor = executor(mirror.clone()).await?;
    let limits = Limits::default();
    let doc = Doc::parse(WORKFLOW, &limits).map_err(|fault| anyhow!("{fault}"))?;
    executor.publish(&Tenant::default(), &doc, &PublishWish::default()).await?;
    let missed = one_run(&executor).await?;
    ensure!(mirror.0.load(Ordering::Relaxed) == ITEMS, "the first run should have missed every time");
    let mut best = Duration::MAX;
    for _ in 0..3 * pace.rounds {
        best = best.min(one_run(&executor).await?);
    }
    ensure!(mirror.0.load(Ordering::Relaxed) == ITEMS, "the other runs should have hit every time");
    executor.drain().await;
    let each = |run: Duration| run.as_secs_f64() * 1e6 / ITEMS as f64;
    let note = format!(
        "in process, of {ITEMS} in one run: cache, decision, fact, append to a store in memory; a miss that runs nothing: {:.1} us",
        each(missed)
    );
    Ok(vec![Row::new("cached step", each(best), "us").target(Target::AtMost(10.0)).note(note)])
}

async fn executor(invoker: Arc<dyn Invoker>) -> anyhow::Result<Executor> {
    let store = Arc::new(MemoryStore::default());
    let executor = Executor::start(Parts {
        store: store.clone(),
        shelf: store,
        invoker,
        clock: Arc::new(SystemClock),
        limits: Arc::new(Limits::default()),
        settings: Settings::default(),
        left_inside: None,
        webhooks: WebhookParts::default(),
        outside: heddle_executor::OutsideParts::default(),
        models: heddle_executor::ModelParts::default(),
    })
    .await?;
    let metadata = Metadata {
        name: "identity".into(),
        version: semver::Version::new(1, 0, 0),
        kind: PluginKind::Transform,
        title: "Identity".into(),
        description: String::new(),
        input_schema: Json::trusted("true"),
        output_schema: Json::trusted("true"),
        provides: Vec::new(),
        limits: AskedLimits::default(),
        documentation: String::new(),
    };
    executor.add_plugin(&Tenant::default(), metadata, Digest::of(b"identity"), 1).await?;
    Ok(executor)
}

async fn one_run(executor: &Executor) -> anyhow::Result<Duration> {
    let items: Vec<String> = (0..ITEMS).map(|item| item.to_string()).collect();
    let wish = Submit {
        tenant: Tenant::default(),
        workflow: WorkflowChoice::Named(WorkflowRef::parse("bench/cached")?),
        input: Json::trusted(format!("{{\"items\":[{}]}}", items.join(","))),
        by: None,
        labels: Vec::new(),
        idempotency: None,
        traceparent: None,
        timing: heddle_executor::Timing::default(),
        rerun: None,
    };
    let began = Instant::now();
    let submitted = executor.submit(wish).await?;
    let ended = executor.wait(&Tenant::default(), submitted.run, Duration::from_secs(60)).await?;
    let took = began.elapsed();
    ensure!(ended.is_some_and(|detail| detail.view.status == "succeeded"), "the run did not succeed");
    Ok(took)
}
