//! What people may do with one step, at the real binary.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{Answer, Server, workflow};
use serde_json::{Value, json};

fn ask(server: &Server, run: &str, (step, wish): (&str, &str), body: &Value, who: &str) -> Answer {
    server.post_with(&format!("/v1/runs/{run}/steps/{step}/{wish}"), body, &[("heddle-user", who)])
}
fn asks(server: &Server, run: &str) -> Value {
    server.until(|| {
        let page = server.get("/v1/approvals").body;
        page["items"].as_array().unwrap().iter().find(|item| item["run"] == run).cloned()
    })
}

#[test]
fn a_step_that_asks_survives_a_kill_and_is_decided_by_who_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::with_plugins(folder.path(), &["fail"]);
    let document = workflow(
        "asks",
        "steps: {a: {call: \"tool:fail\", with: {kind: retryable, untilAttempt: 2}, onFailure: {ask: {assignees: [ana]}}}, b: {set: \"${ steps.a.output.attempt }\"}}",
    );
    let run = server.submit(&document, json!({}));
    let asked = asks(&server, &run);
    assert_eq!((&asked["step"], &asked["assignees"]), (&json!("a"), &json!(["ana"])), "{asked}");
    assert_eq!(asked["failure"]["kind"], "guest_error");
    let why = server.get(&format!("/v1/runs/{run}/why")).body["why"].as_str().unwrap().to_owned();
    assert!(why.contains("it failed with guest_error") && why.contains("heddle runs step retry"), "{why}");

    server.kill();
    let server = Server::start_at(folder.path(), &server.url, &[]);
    let body = json!({});
    let refused = ask(&server, &run, ("a", "retry"), &body, "bo");
    assert_eq!((refused.status, &refused.body["code"]), (403, &json!("not_assigned")), "{refused:?}");
    let refused = ask(&server, &run, ("a", "skip"), &body, "ana");
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("step_conflict")), "{refused:?}");
    let refused = ask(&server, &run, ("nobody", "retry"), &body, "ana");
    assert_eq!((refused.status, &refused.body["code"]), (404, &json!("step_not_found")), "{refused:?}");
    let refused = ask(&server, &run, ("a", "retry"), &json!({"value": 1}), "ana");
    assert_eq!((refused.status, &refused.body["code"]), (400, &json!("body_invalid")), "{refused:?}");
    let refused = server.post(&format!("/v1/approvals/{run}.a"), &json!({"decision": "approve"}));
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("step_conflict")), "{refused:?}");
    assert_eq!(ask(&server, &run, ("a", "retry"), &json!({"comment": "once more"}), "ana").status, 202);

    let ended = server.ended(&run);
    assert_eq!((&ended["status"], &ended["output"]), (&json!("succeeded"), &json!({"b": 2})), "{ended}");
    let order = json!([{"by": "ana", "what": "retry", "comment": "once more"}]);
    assert_eq!(ended["steps"][0]["orders"], order, "{ended}");
    let kinds: Vec<String> = server.events(&run, None).into_iter().map(|(_, kind, _)| kind).collect();
    for kind in ["help.requested", "step.ordered"] {
        assert!(kinds.iter().any(|known| known == kind), "{kinds:?}");
    }
    let late = ask(&server, &run, ("a", "retry"), &body, "ana");
    assert_eq!((late.status, &late.body["code"]), (409, &json!("step_conflict")), "{late:?}");
}

#[test]
fn a_running_step_is_stopped_and_another_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["echo"]);
    let document = workflow(
        "slow",
        "steps: {slow: {call: \"tool:echo\", with: {value: 1, delayMs: 59000}}, waits: {wait: {signal: never}, skippable: true}, either: {set: \"${ steps.waits.output }\", dependsOn: {slow: [succeeded, cancelled]}}}",
    );
    let run = server.submit(&document, json!({}));
    server.until(|| {
        let steps = server.get(&format!("/v1/runs/{run}")).body["steps"].clone();
        let slow = steps.as_array()?.iter().find(|step| step["id"] == "slow")?.clone();
        (slow["status"] == "running").then_some(())
    });
    assert_eq!(ask(&server, &run, ("waits", "skip"), &json!({"value": [7]}), "ana").status, 202);
    assert_eq!(ask(&server, &run, ("slow", "cancel"), &json!({"comment": "too slow"}), "ana").status, 202);
    let ended = server.ended(&run);
    assert_eq!(
        (&ended["status"], &ended["output"]),
        (&json!("succeeded"), &json!({"either": [7]})),
        "{ended}"
    );
    let steps = ended["steps"].as_array().unwrap();
    let of = |id: &str| steps.iter().find(|step| step["id"] == id).unwrap();
    assert_eq!(
        (&of("slow")["status"], &of("slow")["reason"]),
        (&json!("cancelled"), &json!("ana cancelled it: too slow"))
    );
    assert_eq!((&of("waits")["status"], &of("waits")["output"]), (&json!("skipped"), &json!([7])));
    // The sandbox of what was stopped is free again.
    server.until(|| (server.get("/v1/node").body["executor"]["slots"][0] == 0).then_some(()));
}
