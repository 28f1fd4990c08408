//! Schedules on an executor: ticks become runs, once each, whatever happens to the node.

#![allow(clippy::unwrap_used, dead_code, reason = "tests; the support is shared with others")]

mod support;

use heddle_core::document::Doc;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::limits::{AskedLimits, Limits};
use heddle_core::outcome::PluginKind;
use heddle_core::plugin::Metadata;
use heddle_core::schedule::machine::{Input, Order};
use heddle_core::schedule::state::Outcome;
use heddle_core::time::Timestamp;
use heddle_executor::*;
use heddle_store::{Listed, MemoryStore, RunQuery, RunRow, RunStatus, RunStore};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::{START, Script, memory};

/// The time of the test, the same for every node that it starts.
#[derive(Clone)]
struct TestClock(tokio::time::Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(START + self.0.elapsed().as_millis() as u64)
    }
}

struct World {
    store: MemoryStore,
    clock: TestClock,
    limits: Limits,
}

impl World {
    fn new() -> World {
        let limits = Limits { label_bytes: 1_024, ..Limits::default() };
        World { store: memory(), clock: TestClock(tokio::time::Instant::now()), limits }
    }
    async fn node(&self, name: &str) -> Executor {
        let parts = Parts {
            store: Arc::new(self.store.clone()),
            shelf: Arc::new(self.store.clone()),
            invoker: Arc::new(Script::default()),
            clock: Arc::new(self.clock.clone()),
            limits: Arc::new(self.limits.clone()),
            settings: Settings { node: name.into(), ..Settings::default() },
            left_inside: None,
            webhooks: WebhookParts::default(),
            outside: OutsideParts::default(),
            models: ModelParts::default(),
        };
        let executor = Executor::start(parts).await.unwrap();
        let metadata = Metadata {
            name: "e".into(),
            version: semver::Version::new(1, 0, 0),
            kind: PluginKind::Tool,
            title: String::new(),
            description: String::new(),
            input_schema: Json::trusted("{}"),
            output_schema: Json::trusted("{}"),
            provides: vec![],
            limits: AskedLimits::default(),
            documentation: String::new(),
        };
        executor.add_plugin(&Tenant::default(), metadata, Digest::of(b"e"), 1).await.unwrap();
        executor
    }
    /// All runs, the oldest first: the second of their tick and where they stand.
    async fn runs(&self) -> Vec<(u64, RunStatus)> {
        let mut rows = self.rows().await;
        rows.sort_by_key(|row| row.run);
        rows.iter().map(|row| (second(row), row.status)).collect()
    }
    async fn rows(&self) -> Vec<RunRow> {
        let listed = self.store.runs(RunQuery { limit: 100_000, ..RunQuery::default() }).await.unwrap();
        listed.into_iter().filter_map(Listed::row).collect()
    }
}

fn label<'a>(row: &'a RunRow, name: &str) -> &'a str {
    row.labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap_or_default()
}

/// The tick of a run, in seconds of the test.
fn second(row: &RunRow) -> u64 {
    let at: Timestamp = label(row, "scheduledAt").parse().unwrap();
    (at.0 - START) / 1000
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn doc(version: &str, list: &str, body: &str) -> Doc {
    let text = format!(
        "document: {{dsl: \"1.0\", namespace: t, name: w, version: {version}}}\nschedule: {list}\n{body}\n"
    );
    Doc::parse(&text, &Limits::default()).unwrap()
}

const QUICK: &str = "steps: {a: {call: \"tool:e\"}}";
const SLOW: &str = "steps: {a: {call: \"tool:e\", with: {do: \"sleep:100000\"}}}";

async fn publish(node: &Executor, version: &str, list: &str, body: &str) {
    node.publish(&Tenant::default(), &doc(version, list, body), &PublishWish::default()).await.unwrap();
}

async fn view(node: &Executor) -> ScheduleView {
    node.schedule(&Tenant::default(), "t.w.s").await.unwrap().unwrap()
}

async fn tell(node: &Executor, input: &Input) -> ScheduleView {
    node.tell_schedule(&Tenant::default(), "t.w.s", input).await.unwrap().unwrap()
}

/// The ticks that are remembered, by their second, with what became of them.
async fn told(node: &Executor) -> String {
    let view = view(node).await;
    let word = |record: &heddle_core::schedule::state::Record| {
        let what = match &record.outcome {
            Outcome::Skipped(why) => why.word(),
            other => other.word(),
        };
        let last = record.several.map(|several| format!("+{}", several.count - 1));
        format!("{}{}:{what}", (record.tick.at.0 - START) / 1000, last.unwrap_or_default())
    };
    view.state.recent.iter().map(word).collect::<Vec<_>>().join(" ")
}

// The test begins at 11:06:40 UTC, so ticks of a minute come at 20, 80, 140 ...

#[tokio::test(start_paused = true)]
async fn a_published_schedule_ticks() {
    let world = World::new();
    let node = world.node("one").await;
    let body = r#"output: {as: "${ run.scheduledAt }"}
steps: {a: {call: "tool:e"}}"#;
    publish(&node, "1.0.0", "[{id: s, every: 1m}]", body).await;
    assert_eq!(view(&node).await.next[0], Timestamp(START + 20_000));
    pass(150).await;
    assert_eq!(told(&node).await, "20:started 80:started 140:started");
    let rows = world.rows().await;
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| label(row, "schedule") == "t.w.s"));
    let first = rows.iter().find(|row| second(row) == 20).unwrap();
    let run = node.run(&Tenant::default(), first.run).await.unwrap().unwrap();
    assert_eq!(run.view.by.as_deref(), Some("schedule:t.w.s"));
    let output = format!("{:?}", run.view.output);
    assert!(output.contains(&Timestamp(START + 20_000).rfc3339()), "{output}");
    assert_eq!(view(&node).await.runs.values().collect::<Vec<_>>(), [&RunStatus::Succeeded; 3]);
}

#[tokio::test(start_paused = true)]
async fn what_an_overlap_does_to_runs() {
    use RunStatus::{Cancelled, Running, Succeeded};
    for (overlap, ticks, runs) in [
        ("skip", "20:started 80:overlap 140:started 200:overlap", vec![(20, Succeeded), (140, Running)]),
        (
            "bufferOne",
            "20:started 80:started 140:buffered 200:bufferFull",
            vec![(20, Succeeded), (80, Running)],
        ),
        (
            "bufferAll",
            "20:started 80:started 140:buffered 200:buffered",
            vec![(20, Succeeded), (80, Running)],
        ),
        (
            "cancelOther",
            "20:started 80:started 140:started 200:started",
            vec![(20, Cancelled), (80, Cancelled), (140, Cancelled), (200, Running)],
        ),
        (
            "allowAll",
            "20:started 80:started 140:started 200:started",
            vec![(20, Succeeded), (80, Succeeded), (140, Running), (200, Running)],
        ),
    ] {
        let world = World::new();
        let node = world.node("one").await;
        publish(&node, "1.0.0", &format!("[{{id: s, every: 1m, overlap: {overlap}}}]"), SLOW).await;
        pass(203).await;
        assert_eq!((told(&node).await.as_str(), world.runs().await), (ticks, runs), "{overlap}");
        node.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_away_makes_up_for_what_is_not_too_late() {
    let world = World::new();
    let node = world.node("one").await;
    publish(&node, "1.0.0", "[{id: s, every: 1m, catchup: 3m, overlap: allowAll}]", QUICK).await;
    pass(30).await;
    node.drain().await;
    pass(500).await;
    let node = world.node("one").await;
    pass(1).await;
    assert_eq!(
        told(&node).await,
        "20:started 80+4:missed 380:started 440:started 500:started",
        "80 to 320 are more than three minutes ago"
    );
    assert_eq!(world.runs().await.len(), 4);
    pass(60).await;
    assert_eq!(world.runs().await.last(), Some(&(560, RunStatus::Succeeded)));
}

#[tokio::test(start_paused = true)]
async fn the_newest_version_says_what_is_scheduled() {
    let world = World::new();
    let node = world.node("one").await;
    publish(&node, "1.0.0", "[{id: s, every: 1m}, {id: other, every: 1h}]", QUICK).await;
    pass(30).await;
    tell(&node, &Input::Pause { by: "ada".into(), reason: "".into() }).await;
    // The same timing keeps its state, whatever else is new.
    publish(&node, "1.1.0", "[{id: s, every: 1m, overlap: allowAll}]", QUICK).await;
    pass(30).await;
    let view_now = view(&node).await;
    assert_eq!((view_now.version.to_string().as_str(), view_now.status()), ("1.1.0", "paused"));
    assert_eq!(told(&node).await, "20:started");
    let ids = async |node: &Executor| -> Vec<String> {
        let page = node.schedules(&Tenant::default(), "", 10).await.unwrap();
        page.iter().map(|view| view.schedule.id.to_string()).collect()
    };
    assert_eq!(ids(&node).await, ["t.w.s"], "`other` is no more");
    // An older version and a pre-release change nothing.
    publish(&node, "1.0.1", "[{id: late, every: 1m}]", QUICK).await;
    publish(&node, "2.0.0-rc.1", "[{id: early, every: 1m}]", QUICK).await;
    assert_eq!(ids(&node).await, ["t.w.s"]);
    tell(&node, &Input::Resume).await;
    pass(60).await;
    let rows = world.rows().await;
    let last = rows.iter().max_by_key(|row| row.run).unwrap();
    assert_eq!(&*last.workflow_version, "1.1.0");
    publish(&node, "2.0.0", "[]", QUICK).await;
    pass(300).await;
    assert_eq!(ids(&node).await, [""; 0]);
    let count = world.rows().await.len();
    pass(300).await;
    assert_eq!(world.rows().await.len(), count);
}

#[tokio::test(start_paused = true)]
async fn people_pause_trigger_and_fill_in() {
    let world = World::new();
    let node = world.node("one").await;
    publish(&node, "1.0.0", "[{id: s, every: 1m}]", QUICK).await;
    let paused = tell(&node, &Input::Pause { by: "ada".into(), reason: "fair".into() }).await;
    assert_eq!((paused.status(), paused.next.len()), ("paused", 0));
    pass(100).await;
    assert_eq!(told(&node).await, "");
    let triggered = node.trigger(&Tenant::default(), "t.w.s", "bo").await.unwrap().unwrap();
    let Outcome::Started(run) = triggered.outcome else { panic!("{triggered:?}") };
    let detail = node.wait(&Tenant::default(), run, Duration::from_secs(10)).await.unwrap().unwrap();
    assert_eq!((detail.view.status, detail.view.by.as_deref()), ("succeeded", Some("bo")));
    let (from, to) = (Timestamp(START), Timestamp(START + 90_000));
    let backfill = Input::Backfill { id: "b".into(), by: "bo".into(), from, to, order: Order::OneByOne };
    tell(&node, &backfill).await;
    pass(5).await;
    assert_eq!(told(&node).await, "100:started 20:started 80:started");
    let resumed = tell(&node, &Input::Resume).await;
    assert_eq!(resumed.status(), "active");
    pass(60).await;
    assert_eq!(told(&node).await, "100:started 20:started 80:started 20+1:paused 140:started");
    assert!(node.trigger(&Tenant::default(), "t.w.none", "bo").await.unwrap().is_none());
    let future = Input::Backfill {
        id: "c".into(),
        by: "bo".into(),
        from,
        to: Timestamp(u64::MAX / 4),
        order: Order::AtOnce,
    };
    let refused = node.tell_schedule(&Tenant::default(), "t.w.s", &future).await;
    assert!(matches!(refused, Err(WishFault::Refused(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_never_accepted_is_told_and_makes_room() {
    let mut world = World::new();
    world.limits.labels = 1;
    let node = world.node("one").await;
    publish(&node, "1.0.0", "[{id: s, every: 1m}]", QUICK).await;
    pass(150).await;
    assert_eq!(told(&node).await, "20:refused 80:refused 140:refused");
    let record = view(&node).await.state.recent[0].clone();
    let Outcome::Refused(why) = record.outcome else { panic!("{record:?}") };
    assert!(why.contains("the limit labels is 1"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_has_no_room_now_has_it_later() {
    let mut world = World::new();
    (world.limits.runs_active, world.limits.runs_queued) = (1, 1);
    let node = world.node("one").await;
    let publish_other = |name: &str| {
        let text =
            format!("document: {{dsl: \"1.0\", namespace: t, name: {name}, version: 1.0.0}}\n{SLOW}\n");
        Submit {
            tenant: Tenant::default(),
            workflow: WorkflowChoice::Inline(Doc::parse(&text, &Limits::default()).unwrap()),
            input: Json::trusted("{}"),
            labels: vec![("scheduledAt".into(), Timestamp(START).rfc3339())],
            by: None,
            idempotency: None,
            traceparent: None,
            timing: heddle_executor::Timing::default(),
            rerun: None,
        }
    };
    publish(&node, "1.0.0", "[{id: s, every: 1h, catchup: 1m}, {id: x, at: 2100-01-01T00:00:00Z}]", QUICK)
        .await;
    for name in ["a", "b"] {
        node.submit(publish_other(name)).await.unwrap();
    }
    let triggered = node.trigger(&Tenant::default(), "t.w.s", "bo").await.unwrap().unwrap();
    assert_eq!(triggered.outcome, Outcome::Starting, "two runs are in the way");
    pass(300).await;
    assert_eq!(told(&node).await, "0:started");
}

#[tokio::test(start_paused = true)]
async fn a_schedule_has_one_keeper_among_many_nodes() {
    let world = World::new();
    let (one, two) = (world.node("one").await, world.node("two").await);
    publish(&one, "1.0.0", "[{id: s, every: 1m, overlap: allowAll}]", QUICK).await;
    pass(130).await;
    // What is told at the other node is heard, and the other node keeps the time from then on.
    tell(&two, &Input::Pause { by: "ada".into(), reason: "".into() }).await;
    pass(120).await;
    assert_eq!(world.runs().await.len(), 2);
    tell(&one, &Input::Resume).await;
    tell(&two, &Input::Pause { by: "ada".into(), reason: "".into() }).await;
    tell(&two, &Input::Resume).await;
    pass(60).await;
    assert_eq!(world.runs().await.len(), 3);
    two.drain().await;
    pass(60).await;
    assert_eq!(world.runs().await.len(), 4, "the first one has taken over");
    let ticks: Vec<u64> = world.runs().await.into_iter().map(|(second, _)| second).collect();
    assert_eq!(ticks, [20, 80, 260, 320]);
}

/// The disk breaks at any write; the node of before still believes that it lives.
#[tokio::test(start_paused = true)]
async fn a_tick_has_one_run_wherever_the_node_dies() {
    let world = World::new();
    let node = world.node("n").await;
    publish(&node, "1.0.0", "[{id: s, every: 10s, overlap: allowAll}]", QUICK).await;
    let mut dice = 0x5EED_u64;
    let mut below = |n: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % n
    };
    let mut nodes = vec![node];
    for life in 0..120 {
        tokio::time::sleep(Duration::from_millis(below(12_000))).await;
        // Some writes further on, so that each write of a tick has its turn.
        let target = world.store.report(heddle_store::ReportDepth::Quick).await.unwrap().commits + below(6);
        for _ in 0..2_000 {
            if world.store.report(heddle_store::ReportDepth::Quick).await.unwrap().commits >= target {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.store.fail_next_commit();
        tokio::time::sleep(Duration::from_millis(below(11_000))).await;
        world.store.reopen();
        nodes.push(world.node("n").await);
        assert!(nodes.len() == life + 2);
    }
    pass(30).await;
    let mut by_tick: BTreeMap<u64, Vec<RunId>> = BTreeMap::new();
    for row in world.rows().await {
        by_tick.entry(second(&row)).or_default().push(row.run);
    }
    let (first, last) = (*by_tick.keys().next().unwrap(), *by_tick.keys().last().unwrap());
    assert_eq!(first, 10, "from the first tick on");
    for tick in (first..=last).step_by(10) {
        assert_eq!(by_tick.get(&tick).map(Vec::len), Some(1), "tick {tick}");
    }
    assert!(last > 600, "{last}");
    assert!(last + 20 > (world.clock.now().0 - START) / 1000, "up to the last tick");
}
