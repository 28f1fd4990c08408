//! Who may begin, at the real binary: slots, turns, keys and times, over HTTP and across `kill -9`.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{Server, workflow};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A workflow whose runs last until somebody says `go`.
fn lasting(name: &str, rules: &str) -> String {
    workflow(name, &format!("{rules}\nsteps: {{a: {{wait: {{signal: go}}}}}}"))
}

fn published(server: &Server, document: String) {
    let answer = server.post_bytes("/v1/workflows", "application/yaml", document);
    assert_eq!(answer.status, 201, "{answer:?}");
}

fn submit(server: &Server, workflow: &str, input: &Value) -> String {
    let answer = server.post("/v1/runs", &json!({"workflow": workflow, "input": input}));
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.body["id"].as_str().unwrap().to_owned()
}

fn run(server: &Server, id: &str) -> Value {
    server.get(&format!("/v1/runs/{id}")).body
}
fn begins(server: &Server, id: &str) {
    server.until(|| run(server, id)["startedAt"].is_string().then_some(()));
}
fn has_begun(server: &Server, id: &str) -> bool {
    run(server, id)["startedAt"].is_string()
}
fn go(server: &Server, id: &str) {
    let answer = server.post(&format!("/v1/runs/{id}/signal"), &json!({"name": "go"}));
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(server.ended(id)["status"], "succeeded");
}

#[test]
fn slots_are_kept_across_kills_and_go_from_one_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    published(&server, lasting("busy", "concurrency: {key: \"${ input.customer }\", limit: 2}"));
    let runs: Vec<String> =
        (0..6).map(|_| submit(&server, "test/busy", &json!({"customer": "c1"}))).collect();
    let other = submit(&server, "test/busy", &json!({"customer": "c2"}));
    for id in [&runs[0], &runs[1], &other] {
        begins(&server, id);
    }
    let waits = run(&server, &runs[2]);
    assert_eq!((&waits["status"], &waits["startedAt"]), (&json!("waiting"), &Value::Null), "{waits}");
    let slot = json!({"key": "test/busy:c1", "limit": 2, "heldBy": [runs[1], runs[0]]});
    assert_eq!(waits["queue"], json!({"priority": 3, "slots": [slot]}));
    let why = server.get(&format!("/v1/runs/{}/why", runs[2])).body["why"].as_str().unwrap().to_owned();
    let wanted = format!("one of the 2 slots of the concurrency key `test/busy:c1`; run {} has one", runs[0]);
    assert!(why.contains(&wanted), "{why}");

    // Each slot that comes back is given to the next, whatever happens in between.
    for (ended, next) in [(0, 2), (1, 3), (2, 4), (3, 5)] {
        server.kill();
        server = Server::start_at(folder.path(), &server.url, &[]);
        let open: BTreeSet<&String> = runs[ended..].iter().filter(|id| has_begun(&server, id)).collect();
        assert_eq!(open, BTreeSet::from([&runs[ended], &runs[ended + 1]]));
        go(&server, &runs[ended]);
        begins(&server, &runs[next]);
    }
    go(&server, &runs[4]);
    go(&server, &runs[5]);
}

#[test]
fn one_too_many_is_refused_cancelled_or_takes_the_place_of_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for way in ["reject", "cancel-newest", "cancel-oldest"] {
        published(&server, lasting(way, &format!("concurrency: {{limit: 1, onLimit: {way}}}")));
        let first = submit(&server, &format!("test/{way}"), &json!({}));
        begins(&server, &first);
        let second = server.post("/v1/runs", &json!({"workflow": format!("test/{way}")}));
        let id = second.body["id"].as_str().unwrap_or_default().to_owned();
        match way {
            "reject" => {
                assert_eq!(
                    (second.status, &second.body["code"]),
                    (429, &json!("concurrency_limit")),
                    "{second:?}"
                );
                assert!(second.body["detail"].as_str().unwrap().contains(&first), "{second:?}");
                go(&server, &first);
            }
            "cancel-newest" => {
                let ended = server.ended(&id);
                assert_eq!(
                    (&ended["status"], &ended["startedAt"]),
                    (&json!("cancelled"), &Value::Null),
                    "{ended}"
                );
                assert!(
                    ended["cancelled"]["reason"].as_str().unwrap().contains("`test/cancel-newest:`"),
                    "{ended}"
                );
                go(&server, &first);
            }
            _ => {
                assert_eq!(server.ended(&first)["status"], "cancelled");
                begins(&server, &id);
                go(&server, &id);
            }
        }
    }
}

#[test]
fn the_next_to_begin_is_that_of_the_first_level() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    published(&server, lasting("levels", "concurrency: {limit: 1}\npriority: {level: \"${ input.level }\"}"));
    let first = submit(&server, "test/levels", &json!({"level": 5}));
    begins(&server, &first);
    let late = submit(&server, "test/levels", &json!({"level": 4}));
    let early = submit(&server, "test/levels", &json!({"level": 2}));
    // What the request says wins.
    let raised = json!({"workflow": "test/levels", "input": {"level": 5}, "priority": 1});
    let raised = server.post("/v1/runs", &raised).body["id"].as_str().unwrap().to_owned();
    let mut last = first;
    for next in [raised, early, late] {
        go(&server, &last);
        begins(&server, &next);
        last = next;
    }
    go(&server, &last);
    let wrong = server.post("/v1/runs", &json!({"workflow": "test/levels", "input": {"level": 0}}));
    assert_eq!((wrong.status, &wrong.body["code"]), (422, &json!("admission_invalid")), "{wrong:?}");
}

#[test]
fn the_same_wish_is_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for way in ["return-existing", "reject"] {
        let rule = format!("idempotency: {{key: \"${{ input.order }}\", ttl: 1h, onDuplicate: {way}}}");
        published(&server, lasting(way, &rule));
        let wish = |order: u32| {
            server.post("/v1/runs", &json!({"workflow": format!("test/{way}"), "input": {"order": order}}))
        };
        let (first, again, other) = (wish(1), wish(1), wish(2));
        assert_eq!((first.status, other.status), (202, 202), "{first:?} {other:?}");
        assert_ne!(first.body["id"], other.body["id"]);
        match way {
            "reject" => {
                assert_eq!((again.status, &again.body["code"]), (409, &json!("duplicate_run")), "{again:?}")
            }
            _ => assert_eq!((again.status, &again.body["id"]), (202, &first.body["id"]), "{again:?}"),
        }
    }
}

#[test]
fn a_run_begins_at_its_time_and_not_past_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    published(&server, workflow("short", "concurrency: {limit: 1}\nsteps: {a: {set: 1}}"));
    published(&server, lasting("long", "concurrency: {limit: 1}"));
    let ask = |server: &Server, wish: Value| server.post("/v1/runs", &wish);
    let later = ask(&server, json!({"workflow": "test/short", "delay": "2s"}));
    let never = ask(&server, json!({"workflow": "test/short", "delay": "10m"}));
    let (later, never) = (later.body["id"].as_str().unwrap(), never.body["id"].as_str().unwrap());
    let waits = run(&server, later);
    assert!(waits["queue"]["startAt"].is_string() && waits["startedAt"].is_null(), "{waits}");
    // It is remembered by the store, not by the process.
    server.kill();
    server = Server::start_at(folder.path(), &server.url, &[]);
    let ended = server.ended(later);
    assert_eq!(ended["status"], "succeeded");
    assert!(ended["startedAt"].as_str() >= waits["queue"]["startAt"].as_str(), "{ended}");
    // One that waits for its time has no slot yet, and ends without having begun.
    let cancelled = server.post(&format!("/v1/runs/{never}/cancel"), &json!({}));
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    let ended = server.ended(never);
    assert_eq!((&ended["status"], &ended["startedAt"]), (&json!("cancelled"), &Value::Null));

    let holder = submit(&server, "test/long", &json!({}));
    begins(&server, &holder);
    let soon = server.post("/v1/runs", &json!({"workflow": "test/long", "delay": "200ms"})).body;
    let soon = soon["id"].as_str().unwrap();
    // A deadline a little ahead by the clock of the node.
    let deadline = run(&server, soon)["queue"]["startAt"].clone();
    let hurried = ask(&server, json!({"workflow": "test/long", "deadline": deadline}));
    if hurried.status == 202 {
        let ended = server.ended(hurried.body["id"].as_str().unwrap());
        assert_eq!(
            (&ended["status"], &ended["error"]["kind"]),
            (&json!("failed"), &json!("deadline_exceeded")),
            "{ended}"
        );
        assert!(
            ended["error"]["message"].as_str().unwrap().contains("had not begun by its deadline"),
            "{ended}"
        );
    } else {
        assert_eq!(hurried.body["code"], "deadline_passed", "{hurried:?}");
    }
    let past = ask(&server, json!({"workflow": "test/long", "deadline": "2020-01-01T00:00:00Z"}));
    assert_eq!((past.status, &past.body["code"]), (422, &json!("deadline_passed")), "{past:?}");
    let both = ask(
        &server,
        json!({"workflow": "test/long", "delay": "1s", "startAt": "2126-01-01T00:00:00Z", "priority": 9}),
    );
    assert_eq!((both.status, &both.body["code"]), (400, &json!("body_invalid")), "{both:?}");
    assert_eq!(both.body["errors"].as_array().unwrap().len(), 2, "{both:?}");
    go(&server, &holder);
    begins(&server, soon);
    go(&server, soon);
}
