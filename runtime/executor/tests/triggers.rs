#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
//! Triggers, on the memory store under a clock that jumps: what starts, what does not, and that each event has one run.

#[allow(dead_code, reason = "what the tests of runs need besides")]
mod support;

use heddle_core::document::Doc;
use heddle_core::id::{RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::run::view::ValueView;
use heddle_core::version::VersionStatus;
use heddle_executor::*;
use heddle_store::{Lease, Listed, RunQuery, RunRow, RunStore};
use std::time::Duration;
use support::*;

impl Node {
    async fn publish(&self, name: &str, version: &str, body: &str) {
        let text =
            format!("document: {{dsl: \"1.0\", namespace: t, name: {name}, version: {version}}}\n{body}\n");
        let doc = Doc::parse(&text, &Limits::default()).unwrap();
        self.executor.publish(&Tenant::default(), &doc, &PublishWish::default()).await.unwrap();
    }
    async fn emit(&self, event: &str, data: &str, id: Option<&str>) -> Emission {
        let data = Json::parse(data.as_bytes()).unwrap();
        self.executor.emit(&Tenant::default(), (event, &data), "ana", id).await.unwrap()
    }
    async fn runs_of(&self, workflow: &str) -> Vec<RunRow> {
        let query = RunQuery { workflow: Some(format!("t/{workflow}")), limit: 1_000, ..RunQuery::default() };
        let (listed, _) = self.executor.runs(query, &RunFilter::default()).await.unwrap();
        let row = |listed: Listed| match listed {
            Listed::Run(row) => *row,
            other => panic!("{other:?}"),
        };
        listed.into_iter().map(row).collect()
    }
    /// What became of the events for a trigger, the oldest first, when nothing is owed to it any more.
    async fn told(&self, trigger: &str) -> Vec<DeliveryView> {
        for _ in 0..10_000 {
            let id = format!("t.{trigger}");
            let mut found = self.executor.trigger_deliveries(&Tenant::default(), &id, 1_000).await.unwrap();
            if found.iter().all(|view| view.delivery.standing.due().is_none()) {
                found.reverse();
                return found;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("something is owed to {trigger} for ever");
    }
    /// The runs that a trigger has started, in the order of the events.
    async fn started(&self, trigger: &str) -> Vec<RunId> {
        self.told(trigger).await.iter().filter_map(|view| view.tries.last().unwrap().run).collect()
    }
    async fn output(&self, run: RunId) -> String {
        let detail = self.ended(run).await;
        match &detail.view.output {
            Some(ValueView::Inline(output)) => output.text().to_owned(),
            other => format!("{}: {other:?}", detail.view.status),
        }
    }
}

fn label<'a>(row: &'a RunRow, name: &str) -> &'a str {
    row.labels.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value)
}

const ECHO: &str = "steps: {a: {set: \"${ input }\"}}\noutput: {as: \"${ steps.a.output }\"}";

#[tokio::test(start_paused = true)]
async fn an_event_starts_a_run_for_each_trigger_that_it_matches() {
    let node = node().await;
    node.publish("big", "1.0.0", &format!("triggers: [{{event: paid, match: \"${{ event.data.n > 10 }}\", input: {{n: \"${{ event.data.n }}\", by: \"${{ event.by }}\"}}}}]\n{ECHO}")).await;
    node.publish("all", "1.0.0", &format!("triggers: [{{event: paid, id: each}}, {{event: other}}]\n{ECHO}"))
        .await;
    let sent = node.emit("paid", r#"{"n":7}"#, None).await;
    assert_eq!(sent.started, ["t.all.each".into()]);
    let sent = node.emit("paid", r#"{"n":70}"#, None).await;
    assert_eq!(sent.started, ["t.all.each".into(), "t.big.paid".into()]);
    // What the event does not have is no match.
    assert_eq!(node.emit("paid", "{}", None).await.started, ["t.all.each".into()]);
    assert_eq!(node.emit("unheard", "{}", None).await.started.len(), 0);
    let big = node.started("big.paid").await;
    assert_eq!(big.len(), 1);
    assert_eq!(node.output(big[0]).await, r#"{"by":"ana","n":70}"#);
    let mut outputs = Vec::new();
    for run in node.started("all.each").await {
        outputs.push(node.output(run).await);
    }
    assert_eq!(outputs, [r#"{"n":7}"#, r#"{"n":70}"#, "{}"]);
    let rows = node.runs_of("big").await;
    assert_eq!((label(&rows[0], "trigger"), label(&rows[0], "triggerDepth")), ("t.big.paid", "1"));
    assert_eq!(label(&rows[0], "event"), sent.id);
    assert_eq!(rows[0].by.as_deref(), Some("trigger:t.big.paid"));
}

#[tokio::test(start_paused = true)]
async fn the_same_event_sent_twice_is_one_run() {
    let node = node().await;
    node.publish("all", "1.0.0", &format!("triggers: [{{event: paid}}]\n{ECHO}")).await;
    for _ in 0..3 {
        node.emit("paid", r#"{"n":1}"#, Some("order-7")).await;
    }
    // Another version, which would have another input, does not make it another event.
    node.publish("all", "1.1.0", &format!("triggers: [{{event: paid, input: 5}}]\n{ECHO}")).await;
    node.emit("paid", r#"{"n":1}"#, Some("order-7")).await;
    let started = node.started("all.paid").await;
    assert!(started.len() == 4 && started.iter().all(|run| *run == started[0]), "{started:?}");
    assert_eq!(node.runs_of("all").await.len(), 1);
    node.emit("paid", r#"{"n":1}"#, Some("order-8")).await;
    let started = node.started("all.paid").await;
    assert_ne!(started[4], started[0]);
    assert_eq!(node.output(started[4]).await, "5", "the version that counts");
}

#[tokio::test(start_paused = true)]
async fn what_a_step_emits_starts_runs_when_the_step_has_succeeded() {
    let node = node().await;
    node.publish("all", "1.0.0", &format!("triggers: [{{event: paid}}]\n{ECHO}")).await;
    let body = "steps: {one: {emit: {event: paid, data: \"${ input }\"}}, each: {forEach: {in: \"${ [1, 2] }\"}, emit: {event: paid, data: \"${ item }\"}}, \
        bad: {call: \"tool:e\", with: {do: fail}}, never: {emit: paid, dependsOn: [bad]}}";
    let source = node.submit(body, r#"{"n":1}"#).await;
    assert_eq!(node.ended(source).await.view.status, "failed");
    let told = node.told("all.paid").await;
    let mut ids: Vec<String> = told
        .iter()
        .map(|view| view.delivery.message.value().get("id").unwrap().as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    assert_eq!(ids, ["each/0", "each/1", "one"].map(|place| format!("{source}/{place}")));
    assert!(told.iter().all(|view| view.delivery.run == Some(source)));
    let mut outputs = Vec::new();
    for run in node.started("all.paid").await {
        outputs.push(node.output(run).await);
    }
    outputs.sort();
    assert_eq!(outputs, ["1", "2", r#"{"n":1}"#]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_starts_others() {
    let node = node().await;
    let data = "input: {from: \"${ event.data.workflow }\", status: \"${ event.data.status }\", kind: \"${ default(event.data.error.kind, 'none') }\", out: \"${ default(event.data.output, 0) }\", at: \"${ default(event.data.step, '') }\"}";
    node.publish("after", "1.0.0", &format!("triggers: [{{run: t/work, {data}}}]\n{ECHO}")).await;
    node.publish(
        "rescue",
        "1.0.0",
        &format!("triggers: [{{run: \"t/*\", ends: [failed, cancelled], {data}}}]\n{ECHO}"),
    )
    .await;
    let work = "input: {schema: {type: object, properties: {do: {type: string}}}}\nsteps: {a: {call: \"tool:e\", with: {do: \"${ input.do }\"}}}\noutput: {as: \"${ steps.a.output.do }\"}";
    node.publish("work", "1.0.0", work).await;
    for todo in ["ok", "fail", "hang"] {
        let wish = Submit {
            workflow: WorkflowChoice::Named("t/work".parse_ref()),
            ..wish(ECHO, &format!(r#"{{"do":"{todo}"}}"#))
        };
        let run = node.executor.submit(wish).await.unwrap().run;
        if todo == "hang" {
            node.executor.cancel(&Tenant::default(), run, ("ana", "enough"), false).await.unwrap();
        }
        node.ended(run).await;
    }
    let after = node.started("after.work").await;
    assert_eq!(after.len(), 1);
    assert_eq!(
        node.output(after[0]).await,
        r#"{"at":"","from":"t/work","kind":"none","out":"ok","status":"succeeded"}"#
    );
    let mut rescued = Vec::new();
    for run in node.started("rescue.runs").await {
        rescued.push(node.output(run).await);
    }
    assert_eq!(
        rescued,
        [
            r#"{"at":"a","from":"t/work","kind":"trap","out":0,"status":"failed"}"#,
            r#"{"at":"","from":"t/work","kind":"none","out":0,"status":"cancelled"}"#
        ]
    );
}

trait Reference {
    fn parse_ref(&self) -> heddle_core::plan::WorkflowRef;
}

impl Reference for str {
    fn parse_ref(&self) -> heddle_core::plan::WorkflowRef {
        heddle_core::plan::WorkflowRef::parse(self).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_circle_ends() {
    let node = node_on(memory(), |_, limits| limits.trigger_depth = 5).await;
    // Over a run that a step asks for: what its parent was started by counts for it, too.
    node.publish("says", "1.0.0", "steps: {b: {emit: again}}").await;
    node.publish("circle", "1.0.0", "triggers: [{event: again}]\nsteps: {a: {workflow: t/says}}").await;
    node.emit("again", "null", None).await;
    // Each of them is over before the next is owed, so nothing may come after a failure.
    let mut told = node.told("circle.again").await;
    for _ in 0..200 {
        if told.last().is_some_and(|view| view.tries.last().unwrap().error.is_some()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        told = node.told("circle.again").await;
    }
    assert_eq!(told.len(), 6);
    let (kind, message) = told[5].tries[0].error.clone().unwrap();
    assert_eq!(kind, "trigger_depth");
    assert!(message.contains("the limit trigger_depth is 5"), "{message}");
    let depths: Vec<String> =
        node.runs_of("circle").await.iter().rev().map(|row| label(row, "triggerDepth").to_owned()).collect();
    assert_eq!(depths, ["1", "2", "3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn the_triggers_are_those_of_the_highest_active_version() {
    let node = node().await;
    node.publish("w", "1.0.0", &format!("triggers: [{{event: old}}]\n{ECHO}")).await;
    node.publish("w", "2.0.0", &format!("triggers: [{{event: new}}]\n{ECHO}")).await;
    node.publish("w", "3.0.0-rc.1", &format!("triggers: [{{event: next}}]\n{ECHO}")).await;
    let heard = |event: &'static str| async { node.emit(event, "1", None).await.started.len() };
    assert_eq!((heard("old").await, heard("new").await, heard("next").await), (0, 1, 0));
    let set = |version: &'static str, status| {
        let version: semver::Version = version.parse().unwrap();
        let executor = node.executor.clone();
        async move { executor.set_workflow_status(&Tenant::default(), ("t/w", &version), status, "bo").await }
    };
    set("2.0.0", VersionStatus::Inactive).await.unwrap();
    assert_eq!((heard("old").await, heard("new").await), (1, 0));
    set("1.0.0", VersionStatus::Inactive).await.unwrap();
    assert_eq!((heard("old").await, heard("new").await), (0, 0));
    assert!(node.executor.triggers(&Tenant::default(), "", 10).is_empty());
    set("2.0.0", VersionStatus::Active).await.unwrap();
    let shown = node.executor.triggers(&Tenant::default(), "", 10);
    assert_eq!((shown.len(), &*shown[0].trigger.id, shown[0].version.major), (1, "t.w.new", 2));
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_seen_and_can_be_done_by_hand() {
    let node = node().await;
    let schema = "input: {schema: {type: object, required: [n], properties: {n: {type: integer}}}}";
    node.publish("w", "1.0.0", &format!("{schema}\ntriggers: [{{event: paid}}, {{event: other, input: {{n: \"${{ event.data.n }}\"}}}}]\n{ECHO}")).await;
    node.emit("paid", r#"{"n":"seven"}"#, None).await;
    node.emit("other", "{}", None).await;
    let why = |told: &[DeliveryView]| told[0].tries[0].error.clone().unwrap();
    let told = node.told("w.paid").await;
    let (kind, message) = why(&told);
    assert_eq!(kind, "not_accepted");
    assert!(message.contains("/n"), "{message}");
    let (kind, message) = why(&node.told("w.other").await);
    assert_eq!(kind, "expression_failed");
    assert!(message.starts_with("`input`: there is no `n`"), "{message}");
    assert_eq!(node.runs_of("w").await.len(), 0);
    // A version that takes it is published, and somebody sends it on.
    node.publish("w", "1.1.0", &format!("triggers: [{{event: paid}}]\n{ECHO}")).await;
    node.executor.redeliver(&Tenant::default(), told[0].delivery.id).await.unwrap().unwrap();
    let started = node.started("w.paid").await;
    assert_eq!(node.output(started[0]).await, r#"{"n":"seven"}"#);
    // Of a trigger that is no more, the reason says so.
    let other = node.told("w.other").await;
    node.executor.redeliver(&Tenant::default(), other[0].delivery.id).await.unwrap().unwrap();
    let told = node.told("w.other").await;
    assert_eq!(told[0].tries.last().unwrap().error.as_ref().unwrap().0, "trigger_removed");
}

#[tokio::test(start_paused = true)]
async fn a_trigger_that_is_paused_misses_what_happens() {
    let node = node().await;
    node.publish("w", "1.0.0", &format!("triggers: [{{event: paid}}]\n{ECHO}")).await;
    let tenant = Tenant::default();
    let switch = |change| node.executor.switch_trigger(&tenant, "t.w.paid", change);
    for _ in 0..2 {
        assert!(switch(TriggerChange::Pause).await.unwrap().unwrap().paused.is_some());
    }
    assert_eq!(node.emit("paid", "1", None).await.started.len(), 0);
    // It stays so when the next version comes.
    node.publish("w", "1.1.0", &format!("triggers: [{{event: paid}}]\n{ECHO}")).await;
    assert_eq!(node.emit("paid", "2", None).await.started.len(), 0);
    assert!(node.executor.webhooks(&tenant, "", 10).is_empty(), "it is no webhook");
    assert!(switch(TriggerChange::Resume).await.unwrap().unwrap().paused.is_none());
    node.emit("paid", "3", None).await;
    let started = node.started("w.paid").await;
    assert_eq!((started.len(), node.output(started[0]).await), (1, "3".to_owned()));
    assert!(node.executor.switch_trigger(&tenant, "t.w.none", TriggerChange::Pause).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_outlives_the_process() {
    let store = memory();
    let first = node_on(store.clone(), |_, _| {}).await;
    first.publish("w", "1.0.0", &format!("triggers: [{{event: paid}}]\n{ECHO}")).await;
    // The node stops before it comes to the row: it loses its lease in the moment in which the row is written.
    let report = first.executor.report();
    first.emit("paid", "1", Some("one")).await;
    let lease = Lease {
        node: report.node.clone().into(),
        epoch: report.epoch,
        expires: heddle_core::time::Timestamp(0),
    };
    store.release_lease(&lease).await.unwrap();
    let second = node_on(store, |_, _| {}).await;
    let started = second.started("w.paid").await;
    assert_eq!((started.len(), second.output(started[0]).await), (1, "1".to_owned()));
    second.emit("paid", "1", Some("one")).await;
    assert_eq!(second.started("w.paid").await[1], started[0]);
    assert_eq!(second.runs_of("w").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_large_output_is_told_by_its_size() {
    let node = node_on(memory(), |_, limits| limits.event_bytes = 100).await;
    node.publish(
        "after",
        "1.0.0",
        &format!("triggers: [{{run: t/w, input: \"${{ event.data }}\"}}]\n{ECHO}"),
    )
    .await;
    let run = node
        .submit(
            "steps: {a: {set: \"${ input }\"}}\noutput: {as: \"${ steps.a.output }\"}",
            &format!("{:?}", "x".repeat(200)),
        )
        .await;
    node.ended(run).await;
    let started = node.started("after.w").await;
    let told = node.output(started[0]).await;
    assert!(told.contains(r#""outputBytes":202"#) && !told.contains("xxx"), "{told}");
}
