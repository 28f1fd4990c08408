//! What it costs an agent that its calls are recorded, on the SQLite store: flushes and time for a call, and the time in
//! which an agent that was cut off behind a thousand calls is where it was. The calls themselves cost nothing here.

use crate::pace::Pace;
use crate::report::{Row, Target};
use anyhow::{Context as _, anyhow, ensure};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, pending};
use heddle_core::document::Doc;
use heddle_core::host_call::{HostCall, ToolCall};
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::limits::{AskedLimits, Limits};
use heddle_core::outcome::{AttemptEnd, Failure, Outcome, PluginKind, Usage};
use heddle_core::plugin::Metadata;
use heddle_executor::{
    Executor, Invocation, Invoker, ModelParts, OutsideParts, Parts, Settings, Submit, SystemClock, Timing,
    WebhookParts, WorkflowChoice,
};
use heddle_store::{ReportDepth, RunStore as _, SqliteOptions, SqliteStore};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Calls of an agent.
const CALLS: u64 = 1_000;

const WORKFLOW: &str = r#"
document: { dsl: "1.0", namespace: bench, name: asking, version: 1.0.0 }
steps: { ask: { agent: { use: asker, goal: {}, tools: ["tool:answer"] } } }
"#;

/// An agent that asks one thing after the other, and a tool that answers at once.
#[derive(Debug, Default)]
struct Asker {
    /// Calls that have been answered by the tool.
    answered: AtomicU64,
    /// Whether the agent stays where it is behind its last call.
    stays: AtomicBool,
    /// Whether it is there.
    is_there: tokio::sync::Notify,
}

impl Asker {
    async fn ask(&self, invocation: &Invocation) -> Result<Json, Failure> {
        for n in 0..CALLS {
            let input = Json::trusted(n.to_string());
            let call = HostCall::Tool(ToolCall { name: "tool:answer".into(), input });
            invocation.reach.ask(call).await?.answer.tool()??;
        }
        if self.stays.load(Ordering::SeqCst) {
            self.is_there.notify_one();
            pending::<()>().await;
        }
        Ok(Json::trusted(CALLS.to_string()))
    }
}

#[derive(Debug)]
struct Asking(Arc<Asker>);

impl Invoker for Asking {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'static, AttemptEnd> {
        let asker = self.0.clone();
        async move {
            let outcome = match invocation.plugin.kind {
                PluginKind::Agent => asker.ask(&invocation).await.map_or_else(Outcome::Failed, Outcome::Done),
                _ => {
                    asker.answered.fetch_add(1, Ordering::SeqCst);
                    Outcome::Done(invocation.input)
                }
            };
            AttemptEnd { outcome, usage: Usage::default() }
        }
        .boxed()
    }
}

/// Flushes and time for a call, and the time of a replay.
pub(crate) async fn rows(data: &Path, _: Pace) -> anyhow::Result<Vec<Row>> {
    let folder = data.join("agents");
    let asker = Arc::new(Asker::default());
    std::fs::create_dir_all(&folder)?;
    let store = SqliteStore::open(SqliteOptions::new(&folder, Arc::new(|why| eprintln!("error: {why}"))))?;
    let executor = node(&store, &asker).await?;
    let before = commits(&store).await?;
    let began = Instant::now();
    let run = submit(&executor).await?;
    ended(&executor, run).await?;
    let each = began.elapsed().as_secs_f64() * 1e6 / CALLS as f64;
    let flushes = (commits(&store).await? - before) as f64 / CALLS as f64;
    let note = format!(
        "{CALLS} calls one after the other, each a plugin that answers at once; SQLite, a flush at each commit"
    );
    let mut rows = vec![
        Row::new("flushes of a recorded call", flushes, "").target(Target::AtMost(1.05)).note(note),
        Row::new("a recorded call", each, "us"),
    ];
    asker.stays.store(true, Ordering::SeqCst);
    let run = submit(&executor).await?;
    asker.is_there.notified().await;
    executor.drain().await;
    drop(executor);
    asker.stays.store(false, Ordering::SeqCst);
    let began = Instant::now();
    let executor = node(&store, &asker).await?;
    ended(&executor, run).await?;
    let replay = began.elapsed().as_secs_f64() * 1e3;
    ensure!(asker.answered.load(Ordering::SeqCst) == 2 * CALLS, "no call is made again that was answered");
    let note = format!(
        "from the start of the node to the end of a run whose agent was cut off behind {CALLS} calls"
    );
    rows.push(Row::new("an agent is told again", replay, "ms").target(Target::AtMost(100.0)).note(note));
    executor.drain().await;
    Ok(rows)
}

async fn commits(store: &SqliteStore) -> anyhow::Result<u64> {
    Ok(store.report(ReportDepth::Quick).await?.commits)
}

async fn node(store: &SqliteStore, asker: &Arc<Asker>) -> anyhow::Result<Executor> {
    let limits = Limits { tool_calls: CALLS, drain_ms: 1, ..Limits::default() };
    let executor = Executor::start(Parts {
        store: Arc::new(store.clone()),
        shelf: Arc::new(store.clone()),
        invoker: Arc::new(Asking(asker.clone())),
        clock: Arc::new(SystemClock),
        limits: Arc::new(limits),
        settings: Settings::default(),
        left_inside: Some(Vec::new()),
        webhooks: WebhookParts::default(),
        outside: OutsideParts::default(),
        models: ModelParts::default(),
    })
    .await?;
    for (kind, name) in [(PluginKind::Agent, "asker"), (PluginKind::Tool, "answer")] {
        let metadata = Metadata {
            name: name.into(),
            version: semver::Version::new(1, 0, 0),
            kind,
            title: String::new(),
            description: String::new(),
            input_schema: Json::trusted("{}"),
            output_schema: Json::trusted("{}"),
            provides: Vec::new(),
            limits: AskedLimits::default(),
            documentation: String::new(),
        };
        executor.add_plugin(&Tenant::default(), metadata, Digest::of(name.as_bytes()), 1).await?;
    }
    Ok(executor)
}

async fn submit(executor: &Executor) -> anyhow::Result<RunId> {
    let doc = Doc::parse(WORKFLOW, &Limits::default()).map_err(|fault| anyhow!("{fault}"))?;
    let wish = Submit {
        tenant: Tenant::default(),
        workflow: WorkflowChoice::Inline(doc),
        input: Json::trusted("{}"),
        labels: Vec::new(),
        idempotency: None,
        by: None,
        traceparent: None,
        timing: Timing::default(),
        rerun: None,
    };
    Ok(executor.submit(wish).await?.run)
}

async fn ended(executor: &Executor, run: RunId) -> anyhow::Result<()> {
    let ended = executor.wait(&Tenant::default(), run, Duration::from_secs(120)).await?;
    let ended = ended.context("the run is not there")?;
    ensure!(ended.view.status == "succeeded", "the run {}: {:?}", ended.view.status, ended.view.error);
    Ok(())
}
