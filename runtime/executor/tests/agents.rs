#![allow(clippy::unwrap_used, reason = "an expectation that does not hold is a test that fails")]
//! Agents and their call logs: one that is cut off at any point goes on where it was, no call whose answer was recorded is
//! made again, and what it is told is what it was told.

use futures_util::future::{BoxFuture, FutureExt, join_all, pending};
use heddle_core::call_log::Entry;
use heddle_core::document::Doc;
use heddle_core::host_call::{HostAnswer, HostCall, ToolCall};
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::limits::{AskedLimits, Limits};
use heddle_core::outcome::{AttemptEnd, Failure, FailureKind, Outcome, PluginKind, Usage};
use heddle_core::plugin::Metadata;
use heddle_core::run::event::{Node, Payload};
use heddle_core::time::Timestamp;
use heddle_executor::*;
use heddle_store::{CallLogs as _, CallQuery, Lease, MemoryStore, RunStore as _, StoreClock};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

const START: u64 = 1_795_000_000_000;

/// Rounds of the agent, each of as many calls at once as its number says: twelve calls.
const ROUNDS: [u64; 6] = [1, 3, 1, 2, 4, 1];

struct Paused(tokio::time::Instant);

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        Timestamp(START + self.0.elapsed().as_millis() as u64)
    }
}

/// What goes on whatever is killed: the world.
#[derive(Default)]
struct World {
    /// How often each call had its effect, by its key.
    effects: Mutex<BTreeMap<String, u32>>,
    /// Counts the effects: no two calls give the same.
    told: AtomicU64,
    /// Points that were come to, and the one at which the host goes away.
    points: AtomicU64,
    kill_at: AtomicU64,
    /// How the agent ends, once, behind its first round.
    fails: Mutex<Option<FailureKind>>,
    /// What the agent does otherwise than before.
    changes: AtomicU64,
}

struct Actor {
    world: Arc<World>,
    killed: mpsc::UnboundedSender<LeftInside>,
}

impl Actor {
    /// Something may happen here.
    async fn point(world: &World, killed: &mpsc::UnboundedSender<LeftInside>, i: &Invocation) {
        let point = world.points.fetch_add(1, Ordering::SeqCst) + 1;
        if point == world.kill_at.load(Ordering::SeqCst) {
            let node = Node { step: i.step_number, item: i.item };
            let _ = killed.send(LeftInside { run: i.run, node, attempt: i.attempt });
            pending::<()>().await;
        }
    }
}

impl Invoker for Actor {
    fn invoke(&self, i: Invocation) -> BoxFuture<'static, AttemptEnd> {
        let (world, killed) = (self.world.clone(), self.killed.clone());
        async move {
            let outcome = match i.plugin.kind {
                PluginKind::Agent => agent(&world, &killed, &i).await,
                _ => {
                    Actor::point(&world, &killed, &i).await;
                    let key = i.within.clone().unwrap().to_string();
                    *world.effects.lock().unwrap().entry(key).or_default() += 1;
                    let told = world.told.fetch_add(1, Ordering::SeqCst);
                    // The last of those that were asked at once is there first.
                    tokio::time::sleep(Duration::from_millis(20 - told % 7)).await;
                    Actor::point(&world, &killed, &i).await;
                    Ok(Json::trusted(told.to_string()))
                }
            };
            let outcome = outcome.map_or_else(Outcome::Failed, |output| match i.plugin.kind {
                PluginKind::Agent if output.text().starts_with('[') => Outcome::Continue(output),
                _ => Outcome::Done(output),
            });
            AttemptEnd { outcome, usage: Usage::default() }
        }
        .boxed()
    }
}

/// An agent that writes down everything that it is told: answers, which came first, and the times. Half way it hands on
/// what it has, and begins afresh.
async fn agent(
    world: &World,
    killed: &mpsc::UnboundedSender<LeftInside>,
    i: &Invocation,
) -> Result<Json, Failure> {
    let before = i.state.as_ref().map(|state| state.text().trim_matches(['[', ']', '"']).to_owned());
    let half = ROUNDS.len() / 2;
    let rounds = if before.is_some() { half..ROUNDS.len() } else { 0..half };
    let mut seen = before.unwrap_or_default();
    for round in rounds {
        Actor::point(world, killed, i).await;
        let mut calls = Vec::new();
        for place in 0..ROUNDS[round] {
            let changed = world.changes.load(Ordering::SeqCst);
            let input = Json::trusted(format!("[{},{round},{place}]", changed));
            let call = HostCall::Tool(ToolCall { name: "tool:e".into(), input });
            calls.push(tokio::spawn(i.reach.ask(call)));
        }
        let (news, first) = tokio::sync::oneshot::channel();
        let asked = tokio::spawn(async move {
            let (done, place, rest) = futures_util::future::select_all(calls).await;
            let _ = news.send(place as u32);
            (done, place, rest)
        });
        let picked = i.reach.pick(async move { vec![first.await.unwrap()] }.boxed()).await;
        Actor::point(world, killed, i).await;
        let (done, place, rest) = asked.await.unwrap();
        let mut answers = vec![done];
        answers.extend(join_all(rest).await);
        // In the order of asking, whichever of them was the first here.
        let first = answers.remove(0);
        answers.insert(place, first);
        let mut told = Vec::new();
        for answer in answers {
            let answered = answer.unwrap()?;
            told.push(format!("{}@{}", answered.answer.tool()??.text(), answered.at.0 - START));
        }
        seen.push_str(&format!("{round}:{}!{};", told.join(","), picked[0]));
        Actor::point(world, killed, i).await;
        if let Some(kind) = world.fails.lock().unwrap().take() {
            return Err(Failure::new(kind, "as it was told"));
        }
    }
    match i.state {
        None => Ok(Json::trusted(format!("[\"{seen}\"]"))),
        Some(_) => Ok(Json::trusted(format!("\"{seen}\""))),
    }
}

struct Stage {
    world: Arc<World>,
    store: MemoryStore,
    clock: tokio::time::Instant,
    killed: mpsc::UnboundedSender<LeftInside>,
}

impl Stage {
    fn new() -> (Stage, mpsc::UnboundedReceiver<LeftInside>) {
        let (killed, kills) = mpsc::unbounded_channel();
        let store = MemoryStore::new(StoreClock::system());
        let stage = Stage { world: Arc::default(), store, clock: tokio::time::Instant::now(), killed };
        (stage, kills)
    }
    async fn executor(&self, left: Option<Vec<LeftInside>>) -> Executor {
        let parts = Parts {
            store: Arc::new(self.store.clone()),
            shelf: Arc::new(self.store.clone()),
            invoker: Arc::new(Actor { world: self.world.clone(), killed: self.killed.clone() }),
            clock: Arc::new(Paused(self.clock)),
            limits: Arc::new(Limits::default()),
            settings: Settings { park_after_ms: u64::MAX, ..Settings::default() },
            left_inside: left.map(|left| left.into_iter().map(|one| (one, Held::default())).collect()),
            webhooks: WebhookParts::default(),
            outside: OutsideParts::default(),
            models: ModelParts::default(),
        };
        let executor = Executor::start(parts).await.unwrap();
        for (kind, name) in [(PluginKind::Tool, "e"), (PluginKind::Agent, "a")] {
            let metadata = Metadata {
                name: name.into(),
                version: semver::Version::new(1, 0, 0),
                kind,
                title: String::new(),
                description: String::new(),
                input_schema: Json::trusted("{}"),
                output_schema: Json::trusted("{}"),
                provides: vec![],
                limits: AskedLimits::default(),
                documentation: String::new(),
            };
            executor.add_plugin(&Tenant::default(), metadata, Digest::of(name.as_bytes()), 1).await.unwrap();
        }
        executor
    }
    async fn submit(&self, executor: &Executor, more: &str) -> RunId {
        let text = format!(
            "document: {{dsl: \"1.0\", namespace: t, name: w, version: 1.0.0}}\nsteps: {{a: {{agent: {{use: a, goal: {{}}, tools: [\"tool:e\"]}}{more}}}}}\n"
        );
        let wish = Submit {
            tenant: Tenant::default(),
            workflow: WorkflowChoice::Inline(Doc::parse(&text, &Limits::default()).unwrap()),
            input: Json::trusted("{}"),
            labels: vec![],
            idempotency: None,
            by: None,
            traceparent: None,
            timing: Timing::default(),
            rerun: None,
        };
        executor.submit(wish).await.unwrap().run
    }
    /// The node is gone, as `kill -9` has it; another one takes its place.
    async fn again(&self, executor: Executor, left: LeftInside) -> Executor {
        let report = executor.report();
        let lease = Lease { node: report.node.into(), epoch: report.epoch, expires: Timestamp(0) };
        self.store.release_lease(&lease).await.unwrap();
        drop(executor);
        self.executor(Some(vec![left])).await
    }
    async fn ended(&self, executor: &Executor, run: RunId) -> RunDetail {
        let patience = Duration::from_secs(100_000);
        let ended = executor.wait(&Tenant::default(), run, patience).await.unwrap().unwrap();
        (*ended).clone()
    }
    fn effects(&self) -> Vec<u32> {
        self.world.effects.lock().unwrap().values().copied().collect()
    }
}

fn output_of(detail: &RunDetail) -> String {
    assert_eq!(detail.view.status, "succeeded", "{:?}", detail.view.error);
    format!("{:?}", detail.view.steps[0].work.output)
}

/// At every point of the whole run, twice.
#[tokio::test(start_paused = true)]
async fn an_agent_that_is_killed_at_any_point_goes_on_where_it_was() {
    let (whole, _kills) = Stage::new();
    let executor = whole.executor(None).await;
    let run = whole.submit(&executor, "").await;
    output_of(&whole.ended(&executor, run).await);
    let points = whole.world.points.load(Ordering::SeqCst);
    assert_eq!(whole.effects(), vec![1; 12]);
    assert!(points > 36, "{points}");
    for point in 1..=points {
        let (stage, mut kills) = Stage::new();
        stage.world.kill_at.store(point, Ordering::SeqCst);
        let mut executor = stage.executor(None).await;
        let run = stage.submit(&executor, "").await;
        // Once at this point, and once more somewhat later.
        for later in [7, 0] {
            let left = kills.recv().await.unwrap();
            let so_far = stage.world.points.load(Ordering::SeqCst);
            stage.world.kill_at.store(if later > 0 { so_far + later } else { 0 }, Ordering::SeqCst);
            executor = stage.again(executor, left).await;
            if later > 0 && point + later > points {
                break;
            }
        }
        stage.world.kill_at.store(0, Ordering::SeqCst);
        let detail = stage.ended(&executor, run).await;
        let output = output_of(&detail);
        let effects = stage.effects();
        assert_eq!(effects.len(), 12, "point {point}: no call has two keys");
        let twice = effects.iter().filter(|count| **count > 1).count();
        let most = effects.iter().max().copied().unwrap();
        // Those that were on their way when the node went: up to four at once, at two kills.
        assert!(most <= 3 && twice <= 8, "point {point}: {effects:?}");
        // Everything that it says it was told is what the record says.
        let query = CallQuery { run, log: None, after: None, limit: 1_000 };
        let rows = stage.store.calls(query).await.unwrap();
        let recorded = rows.iter().filter_map(|row| match &row.entry {
            Entry::Answered { answer: Payload::Inline(answer), at, .. } => {
                let told = HostAnswer::read(answer).unwrap().tool().unwrap().unwrap();
                Some(format!("{}@{}", told.text(), at.0 - START))
            }
            _ => None,
        });
        let recorded: Vec<String> = recorded.collect();
        assert_eq!(recorded.len(), 12, "point {point}: each answer is recorded once");
        let is_told = |one: &String| output.split([':', ',', '!']).any(|said| said == one);
        assert!(recorded.iter().all(is_told), "point {point}: {output} {recorded:?}");
        assert_eq!(output.matches('@').count(), 12, "point {point}: {output}");
        executor.drain().await;
    }
}

/// An agent that asks something else than the record says ends as `diverged`, with both; the next attempt begins afresh.
#[tokio::test(start_paused = true)]
async fn an_agent_that_asks_something_else_has_diverged() {
    let (stage, mut kills) = Stage::new();
    // In the second round.
    stage.world.kill_at.store(10, Ordering::SeqCst);
    let executor = stage.executor(None).await;
    let run = stage
        .submit(
            &executor,
            ", retry: {limit: {attempts: 2}, delay: 1s, when: '${ error.kind == \"diverged\" }'}",
        )
        .await;
    let left = kills.recv().await.unwrap();
    stage.world.kill_at.store(0, Ordering::SeqCst);
    stage.world.changes.store(1, Ordering::SeqCst);
    let executor = stage.again(executor, left).await;
    let detail = stage.ended(&executor, run).await;
    let journal = executor.journal(&Tenant::default(), run, 0, 1_000).await.unwrap();
    let said = format!("{journal:?}");
    assert!(said.contains("Diverged") && said.contains("[0,0,0]") && said.contains("[1,0,0]"), "{said}");
    output_of(&detail);
    // The one that had been answered was made again under another key: it was another call.
    assert!(stage.effects().iter().all(|count| *count == 1), "{:?}", stage.effects());
    executor.drain().await;
}

/// A deadline cuts off: the next attempt is told what was answered. A trap is the agent's own: the next one asks again,
/// under the keys that its calls had.
#[tokio::test(start_paused = true)]
async fn what_an_agent_is_told_again_follows_from_how_it_ended() {
    for (kind, first_round) in [(FailureKind::DeadlineExceeded, 1), (FailureKind::Trap, 2)] {
        let (stage, _kills) = Stage::new();
        *stage.world.fails.lock().unwrap() = Some(kind);
        let executor = stage.executor(None).await;
        let run =
            stage.submit(&executor, ", retry: {limit: {attempts: 2}, delay: 1s, when: '${ true }'}").await;
        let detail = stage.ended(&executor, run).await;
        output_of(&detail);
        assert_eq!(detail.view.steps[0].work.attempts.len(), 2, "{kind:?}");
        let effects = stage.effects();
        let twice = effects.iter().filter(|count| **count == 2).count();
        assert_eq!((effects.len(), twice), (12, first_round - 1), "{kind:?}: {effects:?}");
        executor.drain().await;
    }
}
