#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
//! What is owed to webhooks, on the memory store under a clock that jumps: who is told, what comes of a message by what
//! its receiver answers, and that nothing is lost or held up.

#[allow(dead_code, reason = "what the tests of runs need besides")]
mod support;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use heddle_core::id::{RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::outcome::FailureKind;
use heddle_core::value::Value;
use heddle_core::webhook::filter::EventFilter;
use heddle_core::webhook::retry::Answer;
use heddle_core::webhook::signature::{Secret, verify};
use heddle_executor::*;
use heddle_store::outbox::{DeliveryQuery, DeliveryStatus, Standing};
use heddle_store::{Lease, RunStore};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::*;

/// What came, and when, in milliseconds.
#[derive(Clone)]
struct Came {
    at: u64,
    url: Arc<str>,
    headers: BTreeMap<&'static str, String>,
    body: Json,
}

impl Came {
    fn member(&self, name: &str) -> String {
        self.body.value().get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

/// Receivers that answer by script: what stands in the path, each part for one message; the last goes on.
#[derive(Default)]
struct Receivers {
    came: Mutex<Vec<Came>>,
    under_way: Mutex<BTreeMap<Arc<str>, usize>>,
    most: Mutex<usize>,
    clock: Mutex<Option<tokio::time::Instant>>,
}

impl Receivers {
    fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }
    fn enters(&self, url: &Arc<str>) {
        let mut under_way = self.under_way.lock().unwrap();
        let count = under_way.entry(url.clone()).or_default();
        *count += 1;
        let mut most = self.most.lock().unwrap();
        *most = (*count).max(*most);
    }
    fn to(&self, url: &str) -> Vec<Came> {
        self.came().into_iter().filter(|came| *came.url == *url).collect()
    }
}

struct Script(Arc<Receivers>);

impl Courier for Script {
    fn post(&self, post: Post) -> BoxFuture<'static, Answer> {
        let receivers = self.0.clone();
        let began = receivers.clock.lock().unwrap().get_or_insert_with(tokio::time::Instant::now).elapsed();
        let nth = receivers.to(&post.url).len();
        receivers.came.lock().unwrap().push(Came {
            at: began.as_millis() as u64,
            url: post.url.clone(),
            headers: post.headers.iter().cloned().collect(),
            body: post.body.clone(),
        });
        async move {
            let parts: Vec<&str> = post.url.rsplit('/').next().unwrap().split(',').collect();
            let part = parts[nth.min(parts.len() - 1)];
            let (word, after) =
                part.split_once('+').map_or((part, None), |(word, after)| (word, Some(after)));
            match word {
                "slow" => {
                    receivers.enters(&post.url);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    *receivers.under_way.lock().unwrap().get_mut(&post.url).unwrap() -= 1;
                    Answer::Status { status: 200, retry_after: None }
                }
                "hang" => futures_util::future::pending().await,
                "denied" => {
                    let message = "it is this machine".to_owned();
                    Answer::Failed { kind: FailureKind::EgressDenied, message }
                }
                "timeout" => {
                    Answer::Failed { kind: FailureKind::EgressTimeout, message: "no answer".to_owned() }
                }
                status => {
                    Answer::Status { status: status.parse().unwrap(), retry_after: after.map(str::to_owned) }
                }
            }
        }
        .boxed()
    }
}

const KEY: [u8; 32] = [7; 32];

fn secret() -> Secret {
    Secret::derive(&KEY, "named")
}

fn parts(receivers: &Arc<Receivers>, node: Vec<NodeWebhook>) -> WebhookParts {
    let courier = Arc::new(Script(receivers.clone()));
    WebhookParts { courier, key: KEY, secrets: [("key".into(), vec![secret()])].into(), node }
}

async fn telling() -> (Node, Arc<Receivers>) {
    let receivers = Arc::new(Receivers::default());
    let node = node_telling(memory(), parts(&receivers, vec![]), |_, _| {}).await;
    (node, receivers)
}

/// A workflow with one step, told of these events at this path.
fn told_at(path: &str, events: &str) -> String {
    format!(
        "notify: [{{webhook: \"https://r.example/{path}\", events: [{events}], secret: key}}]\nsteps: {{a: {{call: \"tool:e\", with: {{do: ok}}}}}}"
    )
}

async fn list(node: &Node, query: DeliveryQuery) -> Vec<DeliveryView> {
    node.executor.deliveries(DeliveryQuery { limit: 1_000, ..query }).await.unwrap()
}

/// The deliveries of a run, oldest first, when none of them waits any more.
async fn settled(node: &Node, run: RunId) -> Vec<DeliveryView> {
    for look in 0..10_000 {
        let mut found = list(node, DeliveryQuery { run: Some(run), ..DeliveryQuery::default() }).await;
        if !found.is_empty() && found.iter().all(|view| view.delivery.standing.due().is_none()) {
            found.reverse();
            return found;
        }
        tokio::time::sleep(Duration::from_secs(if look < 2_000 { 1 } else { 120 })).await;
    }
    panic!("the deliveries of run {run} do not end");
}

#[tokio::test(start_paused = true)]
async fn a_workflow_tells_of_its_runs() {
    let (node, receivers) = telling().await;
    let run = node.submit(&told_at("200", "run.*, step.succeeded"), "null").await;
    let detail = node.ended(run).await;
    assert_eq!(detail.view.status, "succeeded");
    let deliveries = settled(&node, run).await;
    let told: Vec<&str> = deliveries.iter().map(|view| &*view.delivery.event).collect();
    assert_eq!(told, ["run.queued", "run.running", "step.succeeded", "run.succeeded"]);
    let came = receivers.came();
    assert_eq!(came.len(), 4);
    for came in &came {
        let id = &came.headers["webhook-id"];
        let view = deliveries.iter().find(|view| view.delivery.id.to_string() == *id).unwrap();
        assert_eq!((came.member("type"), view.tries.len()), (view.delivery.event.to_string(), 1));
        assert_eq!(came.member("subject"), format!("runs/{run}"));
        let timestamp: u64 = came.headers["webhook-timestamp"].parse().unwrap();
        let signature = &came.headers["webhook-signature"];
        let body = came.body.text().as_bytes();
        assert_eq!(verify(&secret(), (id, timestamp, signature), body, timestamp), Ok(()));
        assert_eq!(came.headers["content-type"], "application/cloudevents+json");
    }
    let sequences: Vec<String> = deliveries
        .iter()
        .map(|view| view.delivery.message.value().get("sequence").and_then(Value::as_str).unwrap().to_owned())
        .collect();
    assert!(sequences.is_sorted(), "{sequences:?}");
    assert!(!came.iter().any(|came| came.body.text().contains("\"output\"")));
}

#[tokio::test(start_paused = true)]
async fn what_people_are_asked_is_told() {
    let (node, _) = telling().await;
    let body = "notify: [{webhook: \"https://r.example/200\", events: [approval.*, help.requested], secret: key}]\n\
        timeout: {total: 1h}\n\
        steps: {ask: {approval: {assignees: [ana], timeout: 10m, onTimeout: approve}}, \
        sure: {call: \"tool:e\", with: {do: fail}, skippable: true, onFailure: {ask: {assignees: [bo], timeout: 10m}}}}";
    let run = node.submit(body, "null").await;
    node.ended(run).await;
    let mut told: Vec<String> =
        settled(&node, run).await.iter().map(|view| view.delivery.event.to_string()).collect();
    told.sort();
    assert_eq!(told[0], "approval.requested", "{told:?}");
    assert_eq!(told.last().unwrap(), "help.requested", "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_is_sent_again_under_the_same_id() {
    let (node, receivers) = telling().await;
    let run = node.submit(&told_at("500,timeout,401,200", "run.succeeded"), "null").await;
    let ended = node.ended(run).await;
    assert_eq!(ended.view.status, "succeeded", "the run knows nothing of it");
    let deliveries = settled(&node, run).await;
    assert!(matches!(deliveries[0].delivery.standing, Standing::Delivered(_)));
    let came = receivers.came();
    let ids: Vec<&String> = came.iter().map(|came| &came.headers["webhook-id"]).collect();
    assert!(came.len() == 4 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(came.iter().all(|c| c.body.text() == came[0].body.text()), "byte for byte");
    let waits: Vec<u64> = came.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!((4_000..=6_010).contains(&waits[0]) && (20_000..=30_010).contains(&waits[1]), "{waits:?}");
    let stamps: Vec<u64> =
        came.iter().map(|came| came.headers["webhook-timestamp"].parse().unwrap()).collect();
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "{stamps:?}");
    let tries = &deliveries[0].tries;
    assert_eq!(
        tries.iter().map(|tried| tried.status).collect::<Vec<_>>(),
        [Some(500), None, Some(401), Some(200)]
    );
    assert_eq!(tries[1].error.as_ref().unwrap().0, "egress_timeout");
}

#[tokio::test(start_paused = true)]
async fn after_ten_tries_it_is_given_up_and_may_be_sent_by_hand() {
    let (node, receivers) = telling().await;
    let ten = ["500"; 10].join(",");
    let run = node.submit(&told_at(&format!("{ten},200"), "run.succeeded"), "null").await;
    let given_up = settled(&node, run).await.remove(0);
    assert!(matches!(given_up.delivery.standing, Standing::Failed(_)));
    assert_eq!((given_up.tries.len(), receivers.came().len()), (10, 10));
    let days = receivers.came().last().unwrap().at / 86_400_000;
    assert!((2..=3).contains(&days), "{days} days");
    let again = node.executor.redeliver(&Tenant::default(), given_up.delivery.id).await.unwrap().unwrap();
    assert_eq!(again.delivery.standing.status(), DeliveryStatus::Waiting);
    let delivered = settled(&node, run).await.remove(0);
    assert_eq!((delivered.delivery.id, delivered.tries.len()), (given_up.delivery.id, 11));
    assert!(matches!(delivered.delivery.standing, Standing::Delivered(_)));
    assert_eq!(receivers.came()[10].headers["webhook-id"], given_up.delivery.id.to_string());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_may_not_be_dialled_is_given_up_at_once() {
    let (node, receivers) = telling().await;
    let run = node.submit(&told_at("denied", "run.succeeded"), "null").await;
    let given_up = settled(&node, run).await.remove(0);
    assert_eq!(given_up.tries[0].error.as_ref().unwrap().0, "egress_denied");
    assert_eq!(receivers.came().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_busy_is_left_alone_for_as_long_as_it_says() {
    let (node, receivers) = telling().await;
    let first = node.submit(&told_at("429+600,200", "run.succeeded"), "null").await;
    node.ended(first).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = node.submit(&told_at("429+600,200", "run.succeeded"), "null").await;
    node.ended(second).await;
    let other = node.submit(&told_at("x/200", "run.succeeded"), "null").await;
    settled(&node, other).await;
    assert_eq!(receivers.came().len(), 2, "others are not held up, and it gets nothing");
    settled(&node, first).await;
    settled(&node, second).await;
    let at: Vec<u64> = receivers.to("https://r.example/429+600,200").iter().map(|came| came.at).collect();
    assert!(at.len() == 3 && at[1] >= at[0] + 600_000 && at[2] >= at[0] + 600_000, "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_gone_gets_nothing_more() {
    let (node, receivers) = telling().await;
    let tenant = Tenant::default();
    let workflow = told_at("410,200", "run.succeeded");
    let run = node.submit(&workflow, "null").await;
    settled(&node, run).await;
    let listed = node.executor.webhooks(&tenant, "", 10);
    assert_eq!((listed.len(), listed[0].level), (1, WebhookLevel::Workflow));
    assert!(listed[0].disabled.as_ref().unwrap().reason.contains("410"));
    let run = node.submit(&workflow, "null").await;
    node.ended(run).await;
    assert!(list(&node, DeliveryQuery { run: Some(run), ..DeliveryQuery::default() }).await.is_empty());
    assert_eq!(node.executor.report().webhooks_disabled, 1);
    let on = WebhookChange { enabled: Some(true), ..WebhookChange::default() };
    node.executor.change_webhook(&tenant, &listed[0].id, on).await.unwrap();
    assert!(node.executor.webhooks(&tenant, "", 10).is_empty());
    let run = node.submit(&workflow, "null").await;
    settled(&node, run).await;
    assert_eq!(receivers.came().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn tenants_and_nodes_have_webhooks_too() {
    let receivers = Arc::new(Receivers::default());
    let of_node = NodeWebhook {
        name: "ops".into(),
        url: "https://ops.example/200".into(),
        events: EventFilter::of(["run.failed"]),
        secret: "key".into(),
    };
    let node = node_telling(memory(), parts(&receivers, vec![of_node]), |_, _| {}).await;
    let tenant = Tenant::default();
    let wish = |workflow: Option<&str>| WebhookWish {
        url: "https://t.example/200".into(),
        events: vec!["run.*".into()],
        workflow: workflow.map(str::to_owned),
        by: None,
    };
    let (of_this, secret) = node.executor.make_webhook(&tenant, wish(Some("t/w"))).await.unwrap();
    node.executor.make_webhook(&tenant, wish(Some("t/other"))).await.unwrap();
    let run = node.submit("steps: {a: {call: \"tool:e\", with: {do: fail}}}", "null").await;
    node.ended(run).await;
    settled(&node, run).await;
    assert_eq!(receivers.to("https://ops.example/200").len(), 1);
    let came = receivers.to("https://t.example/200");
    assert_eq!(
        came.iter().map(|came| came.member("type")).collect::<Vec<_>>(),
        ["run.queued", "run.running", "run.failed"]
    );
    // With a new secret the old one signs for a while, and then no more.
    let (_, new) = node.executor.rotate_webhook(&tenant, &of_this.id).await.unwrap().unwrap();
    let signed_by = async |secrets: &[&Secret]| {
        let before = receivers.came().len();
        node.executor.test_webhook(&tenant, &of_this.id).await.unwrap().unwrap();
        while receivers.came().len() == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let came = receivers.came().pop().unwrap();
        let timestamp: u64 = came.headers["webhook-timestamp"].parse().unwrap();
        let signature = &came.headers["webhook-signature"];
        assert_eq!(signature.split(' ').count(), secrets.len());
        for secret in secrets {
            let head = (came.headers["webhook-id"].as_str(), timestamp, signature.as_str());
            assert_eq!(verify(secret, head, came.body.text().as_bytes(), timestamp), Ok(()));
        }
    };
    signed_by(&[&new, &secret]).await;
    tokio::time::sleep(Duration::from_secs(24 * 3_600 + 1)).await;
    signed_by(&[&new]).await;
    assert!(node.executor.remove_webhook(&tenant, &of_this.id).await.unwrap());
    let before = receivers.to("https://t.example/200").len();
    let run = node.submit("steps: {a: {set: 1}}", "null").await;
    node.ended(run).await;
    assert_eq!(receivers.to("https://t.example/200").len(), before);
    let other = Tenant("other".into());
    assert!(node.executor.webhooks(&other, "", 10).iter().all(|view| view.level == WebhookLevel::Node));
}

#[tokio::test(start_paused = true)]
async fn a_slow_endpoint_gets_few_at_once_and_holds_nobody_up() {
    let receivers = Arc::new(Receivers::default());
    let change = |_: &mut Settings, limits: &mut heddle_core::limits::Limits| limits.webhooks_at_once = 6;
    let node = node_telling(memory(), parts(&receivers, vec![]), change).await;
    let mut runs = Vec::new();
    for _ in 0..20 {
        runs.push(node.submit(&told_at("slow", "run.succeeded"), "null").await);
    }
    let other = node.submit(&told_at("200", "run.succeeded"), "null").await;
    settled(&node, other).await;
    for run in runs {
        settled(&node, run).await;
    }
    assert_eq!(*receivers.most.lock().unwrap(), 4, "limits.webhook_endpoint_at_once");
    let quick = receivers.to("https://r.example/200")[0].at;
    assert!(quick < 1_500, "it came after {quick} ms");
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_when_the_node_died_is_sent_again() {
    let receivers = Arc::new(Receivers::default());
    let node = node_telling(memory(), parts(&receivers, vec![]), |_, _| {}).await;
    let run = node.submit(&told_at("hang,200", "run.succeeded"), "null").await;
    node.ended(run).await;
    while receivers.came().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (report, store) = (node.executor.report(), node.store.clone());
    let lease = Lease { node: report.node.into(), epoch: report.epoch, expires: Default::default() };
    store.release_lease(&lease).await.unwrap();
    let next = node_telling(store, parts(&receivers, vec![]), |_, _| {}).await;
    settled(&next, run).await;
    let came = receivers.came();
    assert_eq!(came.len(), 2);
    assert_eq!(came[0].headers["webhook-id"], came[1].headers["webhook-id"]);
    assert_eq!(came[0].body.text(), came[1].body.text());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_secret_is_refused_and_one_that_has_gone_is_waited_for() {
    let (node, receivers) = telling().await;
    let wrong = told_at("200", "run.succeeded").replace("secret: key", "secret: kye");
    let refused = node.executor.submit(wish(&wrong, "null")).await.unwrap_err();
    let SubmitFault::InvalidWorkflow(faults) = refused else { panic!("{refused:?}") };
    assert_eq!(faults[0].path, "/notify/0/secret");
    assert!(faults[0].message.contains("did you mean `key`?"), "{}", faults[0].message);
    assert!(faults[0].message.contains("[webhook_secrets]"), "{}", faults[0].message);
    let run = node.submit(&told_at("500,200", "run.succeeded"), "null").await;
    node.ended(run).await;
    while receivers.came().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    // The next life of the node has no such secret.
    let (report, store) = (node.executor.report(), node.store.clone());
    let lease = Lease { node: report.node.into(), epoch: report.epoch, expires: Default::default() };
    store.release_lease(&lease).await.unwrap();
    let without = WebhookParts { secrets: BTreeMap::new(), ..parts(&receivers, vec![]) };
    let next = node_telling(store, without, |_, _| {}).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let waiting = list(&next, DeliveryQuery { run: Some(run), ..DeliveryQuery::default() }).await.remove(0);
    let (kind, message) = waiting.tries.last().unwrap().error.clone().unwrap();
    assert_eq!(
        (kind.as_str(), waiting.delivery.standing.status()),
        ("egress_failed", DeliveryStatus::Waiting)
    );
    assert!(message.contains("no webhook secret `key`"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_recorded_and_not_sent() {
    let receivers = Arc::new(Receivers::default());
    let change = |_: &mut Settings, limits: &mut heddle_core::limits::Limits| limits.deliveries_waiting = 2;
    let node = node_telling(memory(), parts(&receivers, vec![]), change).await;
    let mut runs = Vec::new();
    for _ in 0..4 {
        let run = node.submit(&told_at("500", "run.succeeded"), "null").await;
        node.ended(run).await;
        runs.push(run);
    }
    let failed = DeliveryQuery { status: Some(DeliveryStatus::Failed), ..DeliveryQuery::default() };
    let failed = list(&node, failed).await;
    assert_eq!(failed.len(), 2);
    assert_eq!(failed[0].tries[0].error.as_ref().unwrap().0, "outbox_full");
}
