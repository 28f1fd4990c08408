//! The example of the language, with nearly every word of it, and nothing played: requests to services at real sockets,
//! values that are kept, an agent, a person, a payment from outside, messages to a webhook. Once it goes well, once what
//! was done is undone.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::receiver::Receiver;
use heddle_tests::service::Service;
use heddle_tests::{Server, plugin};
use serde_json::{Value, json};
use std::path::Path;

const HOOK: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const RESERVE: &str = r#"
document: { dsl: "1.0", namespace: acme, name: reserve-budget, version: 1.4.2 }
input: { schema: { type: object, required: [amount, batch], properties: { amount: { type: number }, batch: { type: string } } } }
steps:
  book: { call: "tool:kv", with: { op: increment, key: reserved } }
output: { as: { id: "${ 'R-' + input.batch }" } }
"#;

const TRIAGE: &str = r#"
document: { dsl: "1.0", namespace: acme, name: invoice-triage, version: 2.3.0, title: Invoice triage }
evaluate: { language: cel, mode: strict }
input:
  schema: { type: object, required: [batchId, urls], properties: { batchId: { type: string }, urls: { type: array, items: { type: string }, maxItems: 500 }, vip: { type: boolean, default: false } } }
use:
  retries:
    flaky:
      delay: 50ms
      backoff: { exponential: { factor: 2, maxDelay: 30s } }
      jitter: full
      limit: { attempts: 3, duration: 10m }
      when: ${ error.retryable && error.kind != 'capability_denied' }
defaults: { retry: flaky, timeout: { run: 30s }, limits: { fuel: 4000000000, memory: 64MiB, output: 4MiB } }
schedule:
  - { cron: "0 6 * * 1-5", timezone: Europe/Madrid, overlap: skip, catchup: 1h, jitter: 30s, input: { batchId: daily, urls: [] } }
triggers:
  - { event: batch-ready, input: { batchId: "${ event.data.batch }", urls: "${ event.data.urls }", vip: true } }
idempotency: { key: "${ input.batchId }", ttl: 24h, onDuplicate: return-existing }
concurrency:
  - { key: "${ run.tenant }", limit: 20, scope: namespace, onLimit: queue }
priority: { level: "${ input.vip ? 1 : 3 }", fairnessKey: "${ run.tenant }", weight: 1.0 }
upgrade: { inFlight: pin }
timeout: { total: 72h }
steps:
  fetch:
    forEach: { in: "${ input.urls }", as: url, at: i, maxParallel: 8, batch: 1, tolerateFailures: 50% }
    call: tool:http-fetch@^0.1
    with: { url: "${ url }", auth: { secret: shop-key }, failOnStatus: true }
    rateLimit: { key: vendor-x, limit: 50, period: 1s, burst: 10, onLimit: queue }
    cache: { mode: read-write, ttl: 7d, scope: tenant }
  extract:
    dependsOn: [fetch]
    call: { capability: http.fetch, prefer: [local, cheapest], requires: { region: eu } }
    with: { url: "SERVICE/echo/ocr", method: POST, json: "${ steps.fetch.output.filter(p, p != null && p.status == 200).map(p, p.body.size()) }" }
    timeout: { queue: 5m, run: 10s, heartbeat: 5s, total: 1h }
    circuitBreaker: { key: ocr, failureRate: 0.5, minCalls: 20, window: 30s, openFor: 15s }
    fallback: [{ call: "tool:fail", with: { kind: permanent } }, { value: { status: 0, body: "", headers: {} } }]
  classify:
    dependsOn: [extract]
    agent: { use: select-analyses, goal: { kind: article, text: "${ steps.extract.output.body }" }, tools: ["transform:*"] }
  approve:
    dependsOn: [classify]
    when: ${ steps.classify.output.agents.tone || input.vip }
    approval: { assignees: ["group:finance"], quorum: 1, form: { type: object, properties: { comment: { type: string } } }, timeout: 48h, onTimeout: reject }
  reserve:
    dependsOn: { classify: [succeeded], approve: [succeeded, skipped] }
    workflow: { ref: acme/reserve-budget@^1.4, onParentCancel: cancel }
    with: { amount: 12.5, batch: "${ input.batchId }" }
    compensate: { call: "tool:kv", with: { op: increment, key: reserved, by: -1 } }
  settle:
    dependsOn: [reserve]
    wait: { signal: payment-settled, match: "${ event.data.id == steps.reserve.output.id }", timeout: 3s }
    breakpoint: false
    compensate: { call: "tool:http-fetch", with: { url: "SERVICE/echo/refund", method: POST } }
  told:
    dependsOn: [settle]
    emit: { event: settled, data: { id: "${ steps.reserve.output.id }" } }
onError: { compensate: reverse, steps: { tell: { call: "tool:http-fetch", with: { url: "SERVICE/echo/slack", method: POST, body: "${ 'failed: ' + error.step }" } } } }
finally: { cleanup: { call: "tool:kv", with: { op: set, key: "last", value: "${ run.id }", ttlMs: 60000 } } }
output: { as: { id: "${ steps.reserve.output.id }", pages: "${ steps.fetch.output.filter(p, p != null).size() }" } }
notify: [{ webhook: "HOOK/200", events: [run.succeeded, run.failed, approval.requested], secret: hook-key }]
"#;

fn node(folder: &Path, service: &Service, receiver: &Receiver) -> Server {
    std::fs::write(folder.join("hook.txt"), HOOK).unwrap();
    std::fs::write(folder.join("shop.txt"), "the-key-of-the-shop").unwrap();
    let at = service.url("");
    let settings = format!(
        "[egress]\nallow_private = [\"127.0.0.0/8\"]\n[webhook_secrets]\nhook-key = \"file:hook.txt\"\n[secrets]\nshop-key = \"file:shop.txt\"\n\
         [grants.\"tool:http-fetch\"]\nhttp = [\"GET|POST {at}\"]\nsecrets = [\"shop-key {at}\"]\n[grants.\"tool:kv\"]\nkv = true\n"
    );
    std::fs::write(folder.join("heddle.toml"), settings).unwrap();
    let server = Server::start(folder, &[]);
    for name in ["http_fetch", "kv", "fail", "select_analyses", "text"] {
        server.push(plugin(name));
    }
    let labelled =
        server.patch("/v1/plugins/tool:http-fetch/labels", &json!({"region": "eu", "local": "true"}));
    assert_eq!(labelled.status, 200, "{labelled:?}");
    let hook = receiver.url("");
    let triage = TRIAGE.replace("SERVICE", &at).replace("HOOK", hook.trim_end_matches('/'));
    for document in [RESERVE, &triage] {
        let published = server.post_bytes("/v1/workflows", "application/yaml", document.to_owned());
        assert_eq!(published.status, 201, "{published:?}");
    }
    server
}

fn status(run: &Value, step: &str) -> String {
    let steps = run["steps"].as_array().unwrap();
    let found = steps.iter().find(|found| found["id"] == step);
    found.map_or("none", |found| found["status"].as_str().unwrap()).to_owned()
}

fn reserved(server: &Server) -> Value {
    let look = "document: {dsl: \"1.0\", namespace: test, name: look, version: 1.0.0}\nsteps: {a: {call: \"tool:kv\", with: {op: get, key: reserved}}}\noutput: {as: \"${ steps.a.output.value }\"}";
    let run = server.submit(look, json!({}));
    server.ended(&run)["output"].clone()
}

/// Until a step stands so.
fn until(server: &Server, run: &str, step: &str, wanted: &str) -> Value {
    server.until(|| {
        let seen = server.get(&format!("/v1/runs/{run}")).body;
        assert!(seen["finishedAt"].is_null(), "{step} is to be {wanted}: {seen}");
        (status(&seen, step) == wanted).then_some(seen)
    })
}

#[test]
fn an_invoice_is_read_approved_reserved_and_paid() {
    let (folder, service, receiver) = (tempfile::tempdir().unwrap(), Service::start(), Receiver::start());
    let server = node(folder.path(), &service, &receiver);
    let urls = [
        service.url("/bytes/100"),
        service.url("/bytes/200"),
        service.url("/garbage"),
        service.url("/bytes/300"),
    ];
    let event = json!({"name": "batch-ready", "id": "b-1", "data": {"batch": "b1", "urls": urls}});
    // Sent twice, it is one batch.
    for _ in 0..2 {
        let sent = server.post("/v1/events", &event);
        assert_eq!(sent.body["starts"], json!(["acme.invoice-triage.batch-ready"]), "{sent:?}");
    }
    let run = server.until(|| {
        let page = server.get("/v1/runs?workflow=acme/invoice-triage").body;
        Some(page["items"].get(0)?["id"].as_str()?.to_owned())
    });
    until(&server, &run, "approve", "waiting");
    let why = server.get(&format!("/v1/runs/{run}/why")).body.to_string();
    assert!(why.contains("group:finance"), "{why}");
    let approve = |user: &str, groups: &str| {
        let headers = [("heddle-user", user), ("heddle-groups", groups)];
        let said = json!({"decision": "approve", "form": {"comment": "fine"}});
        server.post_with(&format!("/v1/approvals/{run}.approve"), &said, &headers)
    };
    assert_eq!(approve("bo", "sales").status, 403);
    assert_eq!(approve("cy", "finance").status, 202);
    until(&server, &run, "settle", "waiting");
    assert_eq!(reserved(&server), 1);
    for id in ["R-other", "R-b1"] {
        let said = server
            .post(&format!("/v1/runs/{run}/signal"), &json!({"name": "payment-settled", "data": {"id": id}}));
        assert_eq!(said.status, 202, "{said:?}");
    }
    let ended = server.ended(&run);
    assert_eq!(
        (&ended["status"], &ended["output"]),
        (&json!("succeeded"), &json!({"id": "R-b1", "pages": 3})),
        "{ended}"
    );
    assert_eq!(
        (status(&ended, "extract"), status(&ended, "finally.cleanup")),
        ("succeeded".into(), "succeeded".into())
    );
    let told = server.until(|| {
        let told: Vec<String> = receiver
            .came("200")
            .iter()
            .map(|came| came.json()["type"].as_str().unwrap().to_owned())
            .collect();
        (told.len() == 2).then_some(told)
    });
    assert!(
        told.contains(&"approval.requested".to_owned()) && told.contains(&"run.succeeded".to_owned()),
        "{told:?}"
    );
    // What others were asked had the key of the shop where it was granted, and the node's own files do not.
    let came: Vec<String> =
        service.came().iter().map(|came| String::from_utf8_lossy(came).into_owned()).collect();
    assert!(came.iter().filter(|came| came.contains("Bearer the-key-of-the-shop")).count() >= 3, "{came:?}");
    assert!(!ended.to_string().contains("the-key-of-the-shop"));
    the_next_batch(&server, &service, &run);
}

/// The same pages again come from the cache, and the same batch is the same run.
fn the_next_batch(server: &Server, service: &Service, run: &str) {
    let again = server.post(
        "/v1/runs",
        &json!({"workflow": "acme/invoice-triage", "input": {"batchId": "b1", "urls": []}}),
    );
    assert_eq!(again.body["id"], json!(run), "{again:?}");
    let before = service.came().len();
    let next = json!({"workflow": "acme/invoice-triage", "input": {"batchId": "b2", "vip": true, "urls": [service.url("/bytes/100")]}});
    let next = server.post("/v1/runs", &next).body["id"].as_str().unwrap().to_owned();
    let waiting = until(server, &next, "approve", "waiting");
    let fetch =
        waiting["steps"].as_array().unwrap().iter().find(|step| step["id"] == "fetch").unwrap().clone();
    assert_eq!(fetch["items"]["cached"], 1, "{fetch}");
    assert_eq!(service.came().len(), before + 1, "only the text was read again");
    server.post(&format!("/v1/runs/{next}/cancel"), &json!({}));
    assert_eq!(server.ended(&next)["status"], "cancelled");
}

#[test]
fn what_is_not_paid_is_given_back() {
    let (folder, service, receiver) = (tempfile::tempdir().unwrap(), Service::start(), Receiver::start());
    let server = node(folder.path(), &service, &receiver);
    let asked = json!({"workflow": "acme/invoice-triage", "input": {"batchId": "b3", "vip": true, "urls": [service.url("/bytes/10")]}});
    let run = server.post("/v1/runs", &asked).body["id"].as_str().unwrap().to_owned();
    until(&server, &run, "approve", "waiting");
    let headers = [("heddle-user", "cy"), ("heddle-groups", "finance")];
    server.post_with(&format!("/v1/approvals/{run}.approve"), &json!({"decision": "approve"}), &headers);
    let ended = server.ended(&run);
    assert_eq!((&ended["status"], &ended["error"]["step"]), (&json!("failed"), &json!("settle")), "{ended}");
    assert_eq!(
        (status(&ended, "reserve"), status(&ended, "settle.compensate")),
        ("compensated".into(), "skipped".into()),
        "{ended}"
    );
    assert_eq!(reserved(&server), 0, "what was reserved is free again");
    let came: Vec<String> =
        service.came().iter().map(|came| String::from_utf8_lossy(came).into_owned()).collect();
    assert!(
        came.iter().any(|came| came.starts_with("POST /echo/slack") && came.ends_with("failed: settle")),
        "{came:?}"
    );
    assert!(
        !came.iter().any(|came| came.contains("/echo/refund")),
        "nothing was paid, so nothing is paid back"
    );
    server
        .until(|| receiver.came("200").iter().any(|came| came.json()["type"] == "run.failed").then_some(()));
}
