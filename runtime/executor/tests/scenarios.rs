#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as it must be")]
//! The scenarios of `tests/scenarios`, told to a whole executor on the memory store under a clock that jumps: the same
//! files as the core is told. A crash here lets go of the node and starts another on what it had committed.

#[path = "../../core/tests/scenario/expect.rs"]
mod expect;
#[path = "../../core/tests/scenario/file.rs"]
mod file;
#[path = "../../core/tests/scenario/view.rs"]
mod view;

use expect::{faults, refusal_faults};
use file::{Act, ActEnd, START, SUBMITTER, Scenario, Word, act_of, all};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::limits::{AskedLimits, Limits};
use heddle_core::outcome::{AttemptEnd, Failure, FailureKind, Outcome as End, Usage};
use heddle_core::plan::{Plan, Verb};
use heddle_core::plugin::{Metadata, PluginRef};
use heddle_core::route::Callee;
use heddle_core::run::approval::Decision;
use heddle_core::run::event::Node;
use heddle_core::time::Timestamp;
use heddle_core::value::Value;
use heddle_executor::*;
use heddle_store::{Lease, MemoryStore, RunStore, StoreClock};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

struct Jumping(tokio::time::Instant);

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        START.plus_ms(self.0.elapsed().as_millis() as u64)
    }
}

/// A sandbox that does what the scenario says.
struct Actor {
    scenario: Scenario,
    began: Arc<Mutex<Vec<String>>>,
    crashed: mpsc::UnboundedSender<LeftInside>,
}

impl Invoker for Actor {
    fn invoke(&self, i: Invocation) -> BoxFuture<'static, AttemptEnd> {
        let name = i.item.map_or_else(|| i.step.to_string(), |item| format!("{}/{item}", i.step));
        self.began.lock().unwrap().push(format!("{name}#{}", i.attempt));
        let Act { takes, end } = act_of(&self.scenario, &name, i.attempt);
        let crashed = self.crashed.clone();
        // A host ends an attempt that outlives its time. Stories reckon with what their workflow says, not with a node's.
        let wall = Some(i.limits.wall_ms).filter(|wall| *wall < Limits::default().step_wall_ms);
        let late = wall.is_some_and(|wall| takes > wall);
        async move {
            tokio::time::sleep(Duration::from_millis(wall.map_or(takes, |wall| takes.min(wall)))).await;
            let outcome = match end {
                _ if late => End::Failed(Failure::new(FailureKind::DeadlineExceeded, "it took too long")),
                ActEnd::Echo => End::Done(i.input.clone()),
                ActEnd::Output(json) => End::Done(json),
                ActEnd::Fail(failure) => End::Failed(failure),
                ActEnd::Crash => {
                    let node = Node { step: i.step_number, item: i.item };
                    let _ = crashed.send(LeftInside { run: i.run, node, attempt: i.attempt });
                    futures_util::future::pending().await
                }
            };
            AttemptEnd { outcome, usage: Usage::default() }
        }
        .boxed()
    }
}

struct Stage {
    scenario: Scenario,
    store: MemoryStore,
    clock: tokio::time::Instant,
    began: Arc<Mutex<Vec<String>>>,
    crashed: mpsc::UnboundedSender<LeftInside>,
}

impl Stage {
    async fn node(&self, left: Option<Vec<LeftInside>>) -> Executor {
        let parts = Parts {
            store: Arc::new(self.store.clone()),
            shelf: Arc::new(self.store.clone()),
            invoker: Arc::new(Actor {
                scenario: self.scenario.clone(),
                began: self.began.clone(),
                crashed: self.crashed.clone(),
            }),
            clock: Arc::new(Jumping(self.clock)),
            limits: Arc::new(Limits::default()),
            // The store's clock does not jump, so what lies there would not come back in time.
            settings: Settings { park_after_ms: u64::MAX, ..Settings::default() },
            left_inside: left.map(|left| left.into_iter().map(|one| (one, Held::default())).collect()),
            webhooks: WebhookParts::default(),
            outside: OutsideParts::default(),
            models: ModelParts::default(),
        };
        Executor::start(parts).await.unwrap()
    }
    /// Every plugin that the workflow calls.
    async fn load(&self, executor: &Executor) {
        // One that is refused calls nothing.
        let Ok(plan) = Plan::read(&self.scenario.workflow, None, &Limits::default()) else { return };
        let read = |doc| Plan::read(doc, None, &Limits::default()).unwrap();
        let others: Vec<Plan> = self.scenario.workflows.iter().map(read).collect();
        let extra = ["tool:e", "tool:other", "transform:t"].map(|text| PluginRef::parse(text).unwrap());
        let extra = extra.into_iter().filter(|_| !others.is_empty()).map(Callee::Plugin);
        let calls = others.iter().chain([&plan]).flat_map(|plan| plan.calls.clone());
        for call in calls.chain(extra) {
            for metadata in plugins_of(&call) {
                let digest = Digest::of(format!("{}{}", metadata.reference(), metadata.version).as_bytes());
                executor.add_plugin(&Tenant::default(), metadata, digest, 1).await.unwrap();
            }
        }
        for doc in &self.scenario.workflows {
            executor.publish(&Tenant::default(), doc, &PublishWish::default()).await.unwrap();
        }
    }
}

/// What a call needs: its plugin, or two that provide what it asks for.
fn plugins_of(call: &Callee) -> Vec<Metadata> {
    let any = Json::trusted("{}");
    let metadata = |name: &str, version, provides| Metadata {
        name: name.to_owned(),
        version,
        kind: call.kind(),
        title: String::new(),
        description: String::new(),
        input_schema: any.clone(),
        output_schema: any.clone(),
        provides,
        limits: AskedLimits::default(),
        documentation: String::new(),
    };
    let first = semver::Version::new(1, 0, 0);
    match call {
        Callee::Plugin(plugin) => {
            let version =
                plugin.range.comparators.first().map_or(first, |c| {
                    semver::Version::new(c.major, c.minor.unwrap_or(0), c.patch.unwrap_or(0))
                });
            vec![metadata(&plugin.name, version, Vec::new())]
        }
        Callee::Capability(capability) => {
            let provides = vec![capability.name.to_string()];
            let of = |side: &str| {
                metadata(
                    &format!("{}-{side}", capability.name.replace('.', "-")),
                    first.clone(),
                    provides.clone(),
                )
            };
            vec![of("one"), of("two")]
        }
    }
}

/// What happens at its time: somebody says something, or looks.
enum Next {
    Said(Word),
    Seen(Value),
}

/// What is not as the file says.
async fn tell(scenario: &Scenario) -> Vec<String> {
    let (crashed, mut crashes) = mpsc::unbounded_channel();
    let stage = Stage {
        scenario: scenario.clone(),
        store: MemoryStore::new(StoreClock::system()),
        clock: tokio::time::Instant::now(),
        began: Arc::default(),
        crashed,
    };
    let mut executor = stage.node(None).await;
    stage.load(&executor).await;
    let wish = Submit {
        tenant: Tenant::default(),
        workflow: WorkflowChoice::Inline(scenario.workflow.clone()),
        input: scenario.input.clone(),
        labels: Vec::new(),
        by: Some(SUBMITTER.into()),
        idempotency: None,
        traceparent: None,
        timing: heddle_executor::Timing::default(),
        rerun: None,
    };
    let began_at = tokio::time::Instant::now();
    let run = match executor.submit(wish).await {
        Ok(submitted) => submitted.run,
        Err(SubmitFault::InvalidWorkflow(said)) => return refusal_faults(&scenario.expect, &texts(&said)),
        Err(SubmitFault::InvalidInput(said)) => return refusal_faults(&scenario.expect, &texts(&said)),
        Err(SubmitFault::Admission(fault)) => {
            return refusal_faults(&scenario.expect, &[fault.to_string()]);
        }
        Err(fault) => panic!("{}: {fault}", scenario.file),
    };
    let mut wrong = Vec::new();
    let said = scenario.outside.iter().map(|(at, word)| (*at, Next::Said(word.clone())));
    let seen = scenario.seen.iter().map(|(at, look)| (*at, Next::Seen(look.clone())));
    let mut words: Vec<(u64, Next)> = said.chain(seen).collect();
    words.sort_by_key(|(at, _)| *at);
    let mut words = words.into_iter().peekable();
    let tenant = Tenant::default();
    let patience = Duration::from_secs(40 * 86_400);
    let detail = loop {
        let next = words.peek().map_or(patience, |(at, _)| Duration::from_millis(*at));
        tokio::select! {
            biased;
            Some(left) = crashes.recv() => {
                let report = executor.report();
                let lease = Lease { node: report.node.into(), epoch: report.epoch, expires: Timestamp(0) };
                stage.store.release_lease(&lease).await.unwrap();
                executor = stage.node(Some(vec![left])).await;
            }
            ended = executor.wait(&tenant, run, patience) => break ended.unwrap().unwrap(),
            () = tokio::time::sleep_until(began_at + next) => match words.next() {
                Some((_, Next::Said(word))) => say(&executor, run, word).await,
                Some((at, Next::Seen(look))) => {
                    // What was said at the same time is heard first.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    let view = executor.run(&tenant, run).await.unwrap().unwrap().view;
                    let began = stage.began.lock().unwrap().clone();
                    let differ = faults(&look, &view::outcome(&view, began, at));
                    wrong.extend(differ.iter().map(|fault| format!("after {at} ms: {fault}")));
                }
                None => panic!("{}: nothing happens any more", scenario.file),
            },
        }
    };
    let took = detail.view.finished_at.unwrap().since_ms(detail.view.created_at);
    let began = stage.began.lock().unwrap().clone();
    wrong.extend(faults(&scenario.expect, &view::outcome(&detail.view, began, took)));
    wrong
}

fn texts(faults: &[impl ToString]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

/// What is refused is refused; the file says what comes of it.
async fn say(executor: &Executor, run: RunId, word: Word) {
    let tenant = Tenant::default();
    match word {
        Word::Signal { name, data } => {
            executor.signal(&tenant, run, (&name, &data), "ops").await.unwrap();
        }
        Word::Event { name, data } => {
            executor.emit(&tenant, (&name, &data), "ops", None).await.unwrap();
        }
        Word::Cancel { force } => {
            executor.cancel(&tenant, run, ("ops", ""), force).await.unwrap();
        }
        Word::Pause => {
            executor.pause(&tenant, run, "ops", "").await.unwrap();
        }
        Word::Resume => {
            executor.resume(&tenant, run, "ops").await.unwrap();
        }
        Word::Order { step, groups, order } => {
            match executor.order(&tenant, run, (&step, &groups), order).await {
                Ok(_) | Err(DecideFault::Undecidable(_)) => {}
                Err(fault) => panic!("{fault}"),
            }
        }
        Word::Decide { step, by, groups, approved, form, comment } => {
            let decision = Decision { by, approved, comment, form };
            match executor.decide(&tenant, run, (&step, &groups), decision).await {
                Ok(_) | Err(DecideFault::Undecidable(_)) => {}
                Err(fault) => panic!("{fault}"),
            }
        }
    }
}

/// Stories that take longer are told to the core only: here every hour is seven thousand looks at the store.
const LONGEST_MS: u64 = 2 * 3_600_000;

fn is_short(scenario: &Scenario) -> bool {
    let took = scenario.expect.get("took").and_then(Value::as_str);
    let took = took.and_then(|text| heddle_core::time::Span::parse(text).ok()).map_or(0, |span| span.0);
    let last =
        scenario.outside.iter().map(|(at, _)| *at).chain(scenario.seen.iter().map(|(at, _)| *at)).max();
    took.max(last.unwrap_or(0)) <= LONGEST_MS && !plays_others(scenario)
}

/// Whether the script plays runs of other workflows, which here would really run.
fn plays_others(scenario: &Scenario) -> bool {
    let plan = Plan::read(&scenario.workflow, None, &Limits::default());
    let runs_others = |plan: &Plan| plan.steps.iter().any(|step| matches!(step.verb, Verb::Workflow(_)));
    scenario.workflows.is_empty() && plan.is_ok_and(|plan| runs_others(&plan))
}

/// Every fourth story, beginning with this one.
async fn part(number: usize) {
    let scenarios: Vec<Scenario> = all().into_iter().filter(is_short).skip(number).step_by(4).collect();
    let mut wrong = Vec::new();
    for scenario in &scenarios {
        for fault in tell(scenario).await {
            wrong.push(format!("{}: {fault}", scenario.file));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} faults in {} scenarios:\n{}",
        wrong.len(),
        scenarios.len(),
        wrong.join("\n")
    );
    assert!(scenarios.len() > 110, "{} scenarios", scenarios.len());
}

#[tokio::test(start_paused = true)]
async fn scenarios_end_as_their_files_say_part_0() {
    part(0).await;
}
#[tokio::test(start_paused = true)]
async fn scenarios_end_as_their_files_say_part_1() {
    part(1).await;
}
#[tokio::test(start_paused = true)]
async fn scenarios_end_as_their_files_say_part_2() {
    part(2).await;
}
#[tokio::test(start_paused = true)]
async fn scenarios_end_as_their_files_say_part_3() {
    part(3).await;
}
