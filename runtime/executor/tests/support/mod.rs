//! An executor on the memory store with a scripted sandbox, under tokio's paused clock: hours pass in no time.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use heddle_core::document::Doc;
use heddle_core::host_call::{HostCall, ToolCall};
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::limits::{AskedLimits, Limits};
use heddle_core::outcome::{AttemptEnd, Failure, FailureKind, Outcome, PluginKind, Usage};
use heddle_core::plugin::Metadata;
use heddle_core::time::Timestamp;
use heddle_core::value::Value;
use heddle_executor::*;
use heddle_store::{Lease, MemoryStore, RunStore, StoreClock};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

pub(crate) const START: u64 = 1_795_000_000_000;

/// The paused clock of tokio, as the executor's clock.
pub(crate) struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp(START + self.0.elapsed().as_millis() as u64)
    }
}

/// A sandbox that does what the input's `do` says: `ok`, `fail`, `flaky:N` (succeeds at attempt N), `sleep:MS`,
/// `hang`, `first:MS` (whatever is the first to begin fails, after so long). Everything that it began is written down.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) began: Mutex<Vec<String>>,
    /// The wall time, in milliseconds, that each was given.
    pub(crate) walls: Mutex<Vec<u64>>,
    /// The component of each.
    pub(crate) components: Mutex<Vec<Digest>>,
    /// What the executor was given to hold.
    held: Mutex<Vec<Weak<()>>>,
}

impl Script {
    pub(crate) fn count(&self) -> usize {
        self.began.lock().unwrap().len()
    }
    /// Something to hold.
    fn token(&self) -> Held {
        let (held, token) = (Held::default(), Arc::new(()));
        self.held.lock().unwrap().push(Arc::downgrade(&token));
        held.hold(token);
        held
    }
    /// How much of it is still held.
    pub(crate) fn held(&self) -> usize {
        self.held.lock().unwrap().iter().filter(|token| token.strong_count() > 0).count()
    }
}

impl Invoker for Script {
    fn invoke(&self, i: Invocation) -> BoxFuture<'static, AttemptEnd> {
        let item = i.item.map(|n| format!("/{n}")).unwrap_or_default();
        let is_first = self.count() == 0;
        self.began.lock().unwrap().push(format!("{}{item}#{}", i.step, i.attempt));
        self.walls.lock().unwrap().push(i.limits.wall_ms);
        self.components.lock().unwrap().push(i.plugin.digest);
        i.held.hold(self.token());
        async move {
            let todo = i.input.value().get("do").and_then(Value::as_str).unwrap_or("ok").to_owned();
            let (verb, arg) = todo.split_once(':').unwrap_or((&todo, "0"));
            let arg: u64 = arg.parse().unwrap_or(0);
            let outcome = match verb {
                "fail" => Outcome::Failed(Failure::new(FailureKind::Trap, "asked to fail")),
                "flaky" if u64::from(i.attempt) < arg => Outcome::Failed(Failure {
                    retryable: true,
                    ..Failure::new(FailureKind::GuestError, "not yet")
                }),
                "sleep" => {
                    tokio::time::sleep(Duration::from_millis(arg)).await;
                    Outcome::Done(i.input.clone())
                }
                "first" => {
                    tokio::time::sleep(Duration::from_millis(arg)).await;
                    match is_first {
                        true => Outcome::Failed(Failure::new(FailureKind::Trap, "the first one fails")),
                        false => Outcome::Done(i.input.clone()),
                    }
                }
                "hang" => futures_util::future::pending().await,
                "ask" => {
                    let call = ToolCall { name: "transform:t".into(), input: Json::null() };
                    let asked = i.reach.ask(HostCall::Tool(call)).await;
                    match asked.and_then(|answered| answered.answer.tool()?) {
                        Ok(output) => Outcome::Done(output),
                        Err(failure) => Outcome::Failed(failure),
                    }
                }
                "segments" => match i.state {
                    Some(state) if state.text() == arg.to_string() => Outcome::Done(state),
                    state => {
                        let n = state.map_or(0, |s| s.text().parse::<u64>().unwrap_or(0));
                        Outcome::Continue(Json::trusted((n + 1).to_string()))
                    }
                },
                _ => Outcome::Done(i.input.clone()),
            };
            AttemptEnd { outcome, usage: Usage { fuel: 10, ..Usage::default() } }
        }
        .boxed()
    }
}

pub(crate) struct Node {
    pub(crate) executor: Executor,
    pub(crate) script: Arc<Script>,
    pub(crate) store: MemoryStore,
}

pub(crate) fn memory() -> MemoryStore {
    MemoryStore::new(StoreClock::system())
}

/// A node on this store, with `tool:e`, `transform:t` and `agent:a`.
pub(crate) async fn node_on(store: MemoryStore, change: impl FnOnce(&mut Settings, &mut Limits)) -> Node {
    node_telling(store, WebhookParts::default(), change).await
}

/// A node that tells others.
pub(crate) async fn node_telling(
    store: MemoryStore,
    webhooks: WebhookParts,
    change: impl FnOnce(&mut Settings, &mut Limits),
) -> Node {
    let (mut settings, mut limits) = (Settings::default(), Limits::default());
    change(&mut settings, &mut limits);
    start(store, settings, limits, None, webhooks).await
}

/// A node on the store of one that was killed, when these were in their sandboxes.
pub(crate) async fn node_after(killed: Node, left_inside: Vec<LeftInside>) -> Node {
    let (report, store) = (killed.executor.report(), killed.store);
    let lease = Lease { node: report.node.into(), epoch: report.epoch, expires: Timestamp(0) };
    store.release_lease(&lease).await.unwrap();
    start(store, Settings::default(), Limits::default(), Some(left_inside), WebhookParts::default()).await
}

/// What waits stays in hand: the store has a clock of its own, which knows nothing of the paused one.
#[allow(dead_code, reason = "not every test that shares this has runs that wait for long")]
fn patient() -> Settings {
    Settings { park_after_ms: 86_400_000, ..Settings::default() }
}

/// A node that parks no run.
#[allow(dead_code, reason = "not every test that shares this has runs that wait for long")]
pub(crate) async fn patient_node() -> Node {
    start(memory(), patient(), Limits::default(), None, WebhookParts::default()).await
}

/// The same on the store of one that was killed.
#[allow(dead_code, reason = "not every test that shares this has runs that wait for long")]
pub(crate) async fn patient_after(killed: Node) -> Node {
    let (report, store) = (killed.executor.report(), killed.store);
    let lease = Lease { node: report.node.into(), epoch: report.epoch, expires: Timestamp(0) };
    store.release_lease(&lease).await.unwrap();
    start(store, patient(), Limits::default(), Some(Vec::new()), WebhookParts::default()).await
}

async fn start(
    store: MemoryStore,
    settings: Settings,
    limits: Limits,
    left_inside: Option<Vec<LeftInside>>,
    webhooks: WebhookParts,
) -> Node {
    let script = Arc::new(Script::default());
    let parts = Parts {
        store: Arc::new(store.clone()),
        shelf: Arc::new(store.clone()),
        invoker: script.clone(),
        clock: Arc::new(PausedClock(tokio::time::Instant::now())),
        limits: Arc::new(limits),
        settings,
        left_inside: left_inside.map(|left| left.into_iter().map(|one| (one, script.token())).collect()),
        webhooks,
        outside: OutsideParts::default(),
        models: ModelParts::default(),
    };
    let executor = Executor::start(parts).await.unwrap();
    let node = Node { executor, script, store };
    for (kind, name) in [(PluginKind::Tool, "e"), (PluginKind::Transform, "t"), (PluginKind::Agent, "a")] {
        node.load(kind, name, (1, 0), name.as_bytes()).await;
    }
    node
}
pub(crate) async fn node() -> Node {
    node_on(memory(), |_, _| {}).await
}

pub(crate) fn doc(steps: &str) -> Doc {
    let text = format!("document: {{dsl: \"1.0\", namespace: t, name: w, version: 1.0.0}}\n{steps}\n");
    Doc::parse(&text, &Limits::default()).unwrap()
}
pub(crate) fn wish(steps: &str, input: &str) -> Submit {
    Submit {
        tenant: Tenant::default(),
        workflow: WorkflowChoice::Inline(doc(steps)),
        input: Json::parse(input.as_bytes()).unwrap(),
        labels: vec![],
        idempotency: None,
        by: None,
        traceparent: None,
        timing: heddle_executor::Timing::default(),
        rerun: None,
    }
}

impl Node {
    /// Loads a version of a plugin whose component has these bytes.
    pub(crate) async fn load(&self, kind: PluginKind, name: &str, version: (u64, u64), bytes: &[u8]) {
        let metadata = self.metadata(kind, name, version);
        self.executor.add_plugin(&Tenant::default(), metadata, Digest::of(bytes), 1).await.unwrap();
    }
    /// What a plugin of this version says of itself.
    pub(crate) fn metadata(&self, kind: PluginKind, name: &str, (major, minor): (u64, u64)) -> Metadata {
        Metadata {
            name: name.into(),
            version: semver::Version::new(major, minor, 0),
            kind,
            title: String::new(),
            description: String::new(),
            input_schema: Json::trusted("{}"),
            output_schema: Json::trusted("{}"),
            provides: vec![],
            limits: AskedLimits::default(),
            documentation: String::new(),
        }
    }
    pub(crate) async fn submit(&self, steps: &str, input: &str) -> RunId {
        self.executor.submit(wish(steps, input)).await.unwrap().run
    }
    pub(crate) async fn ended(&self, run: RunId) -> RunDetail {
        let patience = Duration::from_secs(100_000);
        let ended = self.executor.wait(&Tenant::default(), run, patience).await.unwrap().unwrap();
        (*ended).clone()
    }
    pub(crate) async fn run(&self, steps: &str, input: &str) -> RunDetail {
        let run = self.submit(steps, input).await;
        self.ended(run).await
    }
}
