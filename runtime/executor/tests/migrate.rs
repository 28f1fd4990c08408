//! Runs in flight that go on with another version of their workflow.

#![allow(clippy::unwrap_used, dead_code, reason = "tests; the support is shared with others")]

mod support;

use futures_util::StreamExt;
use heddle_core::document::Doc;
use heddle_core::id::{RunId, Tenant};
use heddle_core::limits::Limits;
use heddle_core::plan::WorkflowRef;
use heddle_core::run::migrate::Unmovable;
use heddle_core::run::view::ValueView;
use heddle_executor::*;
use heddle_store::RunStatus;
use std::time::Duration;
use support::{Node, patient_after, patient_node};

fn doc(version: &str, body: &str) -> Doc {
    let text = format!("document: {{dsl: \"1.0\", namespace: t, name: w, version: {version}}}\n{body}\n");
    Doc::parse(&text, &Limits::default()).unwrap()
}

fn version(text: &str) -> semver::Version {
    text.parse().unwrap()
}

impl Node {
    async fn publish(&self, version: &str, body: &str) {
        self.executor
            .publish(&Tenant::default(), &doc(version, body), &PublishWish::default())
            .await
            .unwrap();
    }
    async fn begin(&self, reference: &str) -> RunId {
        let workflow = WorkflowChoice::Named(WorkflowRef::parse(reference).unwrap());
        let wish = Submit { workflow, ..support::wish("steps: {a: {set: 1}}", "{}") };
        self.executor.submit(wish).await.unwrap().run
    }
    async fn seen(&self, run: RunId) -> RunDetail {
        self.executor.run(&Tenant::default(), run).await.unwrap().unwrap()
    }
    async fn until(&self, run: RunId, fits: impl Fn(&RunDetail) -> bool) -> RunDetail {
        for _ in 0..100_000 {
            let seen = self.seen(run).await;
            if fits(&seen) {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never came: {:?}", self.seen(run).await.view);
    }
    async fn waits(&self, run: RunId) -> RunDetail {
        self.until(run, |seen| seen.view.status == "waiting").await
    }
    async fn migrate(&self, run: RunId, to: &str) -> Result<RunStatus, MigrateFault> {
        self.executor.migrate(&Tenant::default(), run, &version(to), "ada").await
    }
    async fn moved(&self, run: RunId, to: &str) -> RunDetail {
        self.migrate(run, to).await.unwrap();
        self.until(run, |seen| seen.view.migrations.iter().any(|m| &*m.version == to)).await
    }
    /// What is said of a version that waits.
    async fn why(&self, run: RunId) -> Option<String> {
        let detail = self.seen(run).await;
        self.executor.waiting_move(&detail).await.unwrap().map(|waits| waits.to_string())
    }
    async fn signal(&self, run: RunId, name: &str) {
        let data = heddle_core::json::Json::null();
        self.executor.signal(&Tenant::default(), run, (name, &data), "ada").await.unwrap();
    }
    async fn told(&self, run: RunId) -> Vec<((u64, u32), &'static str, String)> {
        let Followed::Events(events) =
            self.executor.events(&Tenant::default(), run, None).await.unwrap().unwrap()
        else {
            panic!("there are no events");
        };
        let events: Vec<StreamItem> = events.collect().await;
        let told = events.into_iter().filter_map(|item| match item {
            StreamItem::Event(event) => Some((event.id?, event.kind, event.data.text().to_owned())),
            other => panic!("{other:?}"),
        });
        told.collect()
    }
}

fn output(detail: &RunDetail) -> String {
    match &detail.view.output {
        Some(ValueView::Inline(json)) => json.text().to_owned(),
        other => panic!("{other:?}"),
    }
}

const FIRST: &str = r#"
steps:
  m: { set: 1 }
  w: { dependsOn: [m], wait: { signal: go, timeout: 50m } }
  z: { dependsOn: [w], set: "old ${ steps.m.output }" }
output: { as: "${ steps.z.output }" }"#;

/// A step more that changes every number, one less, one that is different, and another output.
const SECOND: &str = r#"
steps:
  a: { dependsOn: [w], call: "tool:e", with: { do: ok } }
  m: { set: 1 }
  w: { dependsOn: [m], wait: { signal: go, timeout: 50m } }
  y: { dependsOn: [a], set: "new ${ steps.m.output }" }
output: { as: { y: "${ steps.y.output }", a: "${ steps.a.output.do }" } }"#;

#[tokio::test(start_paused = true)]
async fn a_run_moves_where_its_past_is_the_same() {
    let node = patient_node().await;
    node.publish("1.0.0", FIRST).await;
    let run = node.begin("t/w").await;
    node.waits(run).await;
    node.publish("2.0.0", SECOND).await;
    assert_eq!(node.migrate(run, "2.0.0").await.unwrap(), RunStatus::Waiting);
    let moved = node.moved(run, "2.0.0").await;
    assert_eq!((moved.view.workflow_version.as_str(), moved.view.status), ("2.0.0", "waiting"));
    assert!(
        moved.view.migrations.iter().all(|m| m.refused.is_none() && &*m.by == "ada"),
        "{:?}",
        moved.view.migrations
    );
    assert!(matches!(node.migrate(run, "2.0.0").await, Err(MigrateFault::Same { .. })));
    node.signal(run, "go").await;
    let ended = node.ended(run).await;
    assert_eq!((ended.view.status, output(&ended).as_str()), ("succeeded", r#"{"a":"ok","y":"new 1"}"#));
    assert!(matches!(node.migrate(run, "1.0.0").await, Err(MigrateFault::Unmovable(Unmovable::Ended))));
    // What was told before is told as before, and there is no gap.
    let told = node.told(run).await;
    assert!(told[0].2.contains("1.0.0"), "{told:?}");
    let steps: Vec<&str> = told
        .iter()
        .filter(|(_, kind, _)| *kind == "step.succeeded")
        .map(|(_, _, data)| data.as_str())
        .collect();
    let named: Vec<bool> =
        ["\"m\"", "\"w\"", "\"a\"", "\"y\""].iter().zip(&steps).map(|(id, data)| data.contains(id)).collect();
    assert_eq!(named, [true; 4], "{steps:?}");
    assert_eq!(told.iter().filter(|(_, kind, _)| *kind == "run.migrated").count(), 1);
    let mut ids: Vec<(u64, u32)> = told.iter().map(|(id, ..)| *id).collect();
    let sorted = ids.clone();
    ids.sort();
    ids.dedup();
    assert_eq!(ids, sorted);
    // From the middle on it is the same.
    let middle = told[told.len() / 2].0;
    let Followed::Events(rest) =
        node.executor.events(&Tenant::default(), run, Some(middle)).await.unwrap().unwrap()
    else {
        panic!("there are no events");
    };
    let rest: Vec<StreamItem> = rest.collect().await;
    assert_eq!(rest.len(), told.len() - told.len() / 2 - 1);
}

#[tokio::test(start_paused = true)]
async fn what_has_begun_must_be_the_same() {
    let node = patient_node().await;
    node.publish("1.0.0", &format!("use: {{retries: {{slow: {{delay: 1s}}}}}}\n{FIRST}")).await;
    let run = node.begin("t/w").await;
    node.waits(run).await;
    let same = format!("use: {{retries: {{slow: {{delay: 1s}}, more: {{delay: 2s}}}}}}\n{FIRST}");
    for (number, (from, to, path)) in [
        ("m: { set: 1 }", "m: { set: 2 }", "/steps/m/set"),
        ("m: { set: 1 }", "m: { set: 1, cache: off }", ""),
        ("signal: go", "signal: gone", "/steps/w/wait/signal"),
        ("  w: { dependsOn: [m],", "  w: { dependsOn: [m, k],", "/steps/w/dependsOn"),
        ("slow: {delay: 1s}", "slow: {delay: 2s}", "/use/retries/slow/delay"),
        ("output:", "defaults: { retry: slow }\noutput:", "/defaults"),
        ("output:", "input: { schema: { type: object, required: [id] } }\noutput:", "/input/schema"),
        (
            "output:",
            "input: { schema: { type: object, properties: { id: { default: 1 } } } }\noutput:",
            "/input/schema",
        ),
    ]
    .into_iter()
    .enumerate()
    .filter(|(_, (.., path))| !path.is_empty())
    {
        let mut text = same.replacen(from, to, 1);
        if to.contains(", k]") {
            text = text.replacen("steps:", "steps:\n  k: { set: 0 }", 1);
        }
        assert_ne!(text, same, "{from}");
        let other = format!("2.0.{number}");
        node.publish(&other, &text).await;
        let Err(MigrateFault::Differs { obstacles, .. }) = node.migrate(run, &other).await else {
            panic!("{to}: it may move")
        };
        assert!(obstacles.iter().any(|o| o.path == path), "{to}: {obstacles:?}");
    }
    assert!(matches!(node.migrate(run, "9.0.0").await, Err(MigrateFault::NoSuchVersion(_))));
    assert!(node.seen(run).await.view.migrations.is_empty(), "nothing is recorded of what is refused");
    // A version that may begin no run is not moved to either.
    node.publish("3.0.0", &same).await;
    node.executor
        .set_workflow_status(
            &Tenant::default(),
            ("t/w", &version("3.0.0")),
            heddle_core::version::VersionStatus::Inactive,
            "bo",
        )
        .await
        .unwrap();
    assert!(matches!(node.migrate(run, "3.0.0").await, Err(MigrateFault::NotRunnable(_))));
    node.publish("4.0.0", &same).await;
    assert_eq!(node.moved(run, "4.0.0").await.view.workflow_version, "4.0.0");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_has_moved_goes_on_after_a_crash_and_moves_back() {
    let first = patient_node().await;
    first.publish("1.0.0", FIRST).await;
    let run = first.begin("t/w").await;
    first.waits(run).await;
    first.publish("2.0.0", SECOND).await;
    first.moved(run, "2.0.0").await;
    let before = format!("{:?}", first.seen(run).await.view);
    let second = patient_after(first).await;
    assert_eq!(format!("{:?}", second.seen(run).await.view), before, "it is read as it was driven");
    let back = second.moved(run, "1.0.0").await;
    assert_eq!(back.view.workflow_version, "1.0.0");
    let third = patient_after(second).await;
    third.moved(run, "2.0.0").await;
    third.until(run, |seen| seen.view.migrations.len() == 3 && seen.view.workflow_version == "2.0.0").await;
    let fourth = patient_after(third).await;
    fourth.signal(run, "go").await;
    assert_eq!(output(&fourth.ended(run).await), r#"{"a":"ok","y":"new 1"}"#);
}

#[tokio::test(start_paused = true)]
async fn it_moves_when_nothing_is_under_way_and_keeps_its_children() {
    let node = patient_node().await;
    let child = Doc::parse(
        "document: {dsl: \"1.0\", namespace: t, name: c, version: 1.0.0}\nsteps: {a: {wait: 1m}}",
        &Limits::default(),
    )
    .unwrap();
    node.executor.publish(&Tenant::default(), &child, &PublishWish::default()).await.unwrap();
    let body = |more: &str| {
        format!(
            "steps: {{{more} k: {{workflow: t/c}}, w: {{dependsOn: [k], wait: {{signal: go, timeout: 30m}}}}}}"
        )
    };
    node.publish("1.0.0", &body("")).await;
    let run = node.begin("t/w").await;
    let busy = node
        .until(run, |seen| seen.view.steps.iter().any(|step| &*step.id == "k" && step.status == "running"))
        .await;
    assert!(busy.view.migrations.is_empty());
    node.publish("1.1.0", &body("a: {set: 1}, b: {dependsOn: [w], workflow: t/c},")).await;
    assert_eq!(node.why(run).await, None, "nobody wants anything");
    node.migrate(run, "1.1.0").await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let why = node.why(run).await.unwrap();
    let wanted = format!(
        "to go on with version 1.1.0 (asked for by ada) it waits until nothing is under way, which is `k` now; `heddle runs pause {run}` lets nothing more begin"
    );
    assert_eq!(why, wanted);
    node.executor.pause(&Tenant::default(), run, "ada", "").await.unwrap();
    let paused = node.until(run, |seen| seen.view.paused.is_some()).await;
    let why = node.executor.waiting_move(&paused).await.unwrap().unwrap();
    assert_eq!(
        why.to_string(),
        "to go on with version 1.1.0 (asked for by ada) it waits for what is under way: `k`"
    );
    node.executor.resume(&Tenant::default(), run, "ada").await.unwrap();
    node.until(run, |seen| seen.view.paused.is_none()).await;
    assert_eq!(
        node.seen(run).await.view.workflow_version,
        "1.0.0",
        "the run that it asked for has not ended"
    );
    let child_of = |detail: &RunDetail, id: &str| {
        let step = detail.view.steps.iter().find(|step| &*step.id == id).unwrap();
        step.work.attempts.first().and_then(|attempt| attempt.run)
    };
    let asked = child_of(&node.seen(run).await, "k").unwrap();
    let moved = node.until(run, |seen| seen.view.workflow_version == "1.1.0").await;
    assert_eq!(node.why(run).await, None, "what has been done waits no more");
    assert_eq!(child_of(&moved, "k"), Some(asked), "the run that it asked for is known by the same id");
    assert!(node.executor.run(&Tenant::default(), asked).await.unwrap().is_some());
    node.signal(run, "go").await;
    let ended = node.ended(run).await;
    assert_eq!(ended.view.status, "succeeded", "{:?}", ended.view.error);
    let other = child_of(&ended, "b").unwrap();
    assert!(other != asked && node.executor.run(&Tenant::default(), other).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_version_that_says_so_takes_runs_along_and_the_others_say_why() {
    let node = patient_node().await;
    node.publish("1.0.0", FIRST).await;
    node.publish("1.1.0", &FIRST.replacen("set: 1", "set: 7", 1)).await;
    let (moves, stays) = (node.begin("t/w@=1.0.0").await, node.begin("t/w@=1.1.0").await);
    node.waits(moves).await;
    node.waits(stays).await;
    node.publish("2.0.0", &format!("upgrade: {{inFlight: migrate}}\n{SECOND}")).await;
    let moved = node.until(moves, |seen| !seen.view.migrations.is_empty()).await;
    assert_eq!((moved.view.workflow_version.as_str(), &*moved.view.migrations[0].by), ("2.0.0", "workflow"));
    let stayed = node.until(stays, |seen| !seen.view.migrations.is_empty()).await;
    let why = stayed.view.migrations[0].refused.clone().unwrap();
    assert!(stayed.view.workflow_version == "1.1.0" && why.contains("/steps/m/set"), "{why}");
    for (run, output_is) in [(moves, r#"{"a":"ok","y":"new 1"}"#), (stays, r#""old 7""#)] {
        node.signal(run, "go").await;
        assert_eq!(output(&node.ended(run).await), output_is);
    }
}

/// The events of many runs are those of each: a row that was written before the move is told with the steps of its time.
#[tokio::test(start_paused = true)]
async fn the_feed_of_all_runs_tells_what_the_run_itself_tells() {
    let node = patient_node().await;
    node.publish("1.0.0", FIRST).await;
    let run = node.begin("t/w").await;
    node.waits(run).await;
    node.publish("1.1.0", SECOND).await;
    node.moved(run, "1.1.0").await;
    node.signal(run, "go").await;
    node.until(run, |seen| seen.view.status == "succeeded").await;
    let alone = node.told(run).await;
    for from in 0..3 {
        let place = Some((from, u32::MAX));
        let (_, feed) = node.executor.watch(&Tenant::default(), None, place).await.unwrap();
        let mut feed = feed.boxed();
        let mut told = Vec::new();
        while told.last().is_none_or(|(_, kind, _)| *kind != "run.succeeded") {
            match feed.next().await.unwrap() {
                FeedItem::Event(FeedEvent { event, place: Some(_), .. }) => {
                    told.push((event.id.unwrap(), event.kind, event.data.text().to_owned()));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(alone.ends_with(&told) && told.len() >= 5, "{from}: {told:#?} is no end of {alone:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_steps_are_over_keeps_its_version_also_while_it_stands_still() {
    let node = patient_node().await;
    let body = |n: u32| {
        let steps = "timeout: {total: 10s}\nsteps: {w: {wait: 8s}, z: {dependsOn: [w], set: 1}}";
        format!("{steps}\nfinally: {{f: {{set: {n}}}}}")
    };
    node.publish("1.0.0", &body(1)).await;
    let run = node.begin("t/w").await;
    node.waits(run).await;
    node.executor.pause(&Tenant::default(), run, "ada", "").await.unwrap();
    let is_over = |seen: &RunDetail| seen.view.steps.iter().any(|s| &*s.id == "z" && s.status == "cancelled");
    let over = node.until(run, is_over).await;
    assert_eq!(over.view.status, "paused", "what follows the steps waits until it goes on");
    node.publish("2.0.0", &body(2)).await;
    assert!(matches!(node.migrate(run, "2.0.0").await, Err(MigrateFault::Unmovable(Unmovable::Ending))));
    node.executor.resume(&Tenant::default(), run, "ada").await.unwrap();
    let ended = node.ended(run).await;
    assert_eq!((ended.view.workflow_version.as_str(), ended.view.status), ("1.0.0", "failed"));
    let last = ended.view.steps.iter().find(|step| &*step.id == "finally.f").unwrap();
    assert_eq!(last.work.output, Some(ValueView::Inline(heddle_core::json::Json::trusted("1"))));
}

/// A step that comes with the version has its time from then on, whatever it waits for ended long before.
#[tokio::test(start_paused = true)]
async fn what_is_new_has_its_time_from_the_move_on() {
    let node = patient_node().await;
    node.publish("1.0.0", "steps: {a: {call: \"tool:e\"}, w: {wait: {signal: go}}}").await;
    let run = node.begin("t/w").await;
    node.until(run, |seen| seen.view.steps[0].status == "succeeded" && seen.view.status == "waiting").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let new = "b: {dependsOn: [a], call: \"tool:e\", with: {do: \"sleep:500\"}, timeout: {total: 3s}}, \
        g: {timeout: {total: 3s}, parallel: {steps: {c: {call: \"tool:e\", with: {do: \"sleep:500\"}}}}}";
    let second = format!("steps: {{a: {{call: \"tool:e\"}}, w: {{wait: {{signal: go}}}}, {new}}}");
    node.publish("1.1.0", &second).await;
    node.moved(run, "1.1.0").await;
    node.signal(run, "go").await;
    let ended = node.ended(run).await;
    assert_eq!(ended.view.status, "succeeded", "{:?}", ended.view.error);
}
