//! Calls by capability, agents with a goal, and the graph form, at the real binary.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{Server, workflow};
use serde_json::{Value, json};

fn asking(name: &str, more: &str) -> String {
    let call = format!("call: {{capability: sample.answer{more}}}, with: {{value: 42}}");
    workflow(name, &format!("steps: {{ask: {{{call}, retry: {{delay: 1ms, limit: {{attempts: 3}}}}}}}}"))
}
fn label(server: &Server, plugin: &str, labels: &Value) -> heddle_tests::Answer {
    server.patch(&format!("/v1/plugins/{plugin}/labels"), labels)
}
/// Who did each attempt, as the events tell it.
fn attempts(server: &Server, run: &Value) -> Vec<String> {
    let events = server.events(run["id"].as_str().unwrap(), None);
    let began = events.iter().filter(|(_, kind, _)| kind == "attempt.started");
    began
        .map(|(_, _, data)| data["data"]["plugin"].as_str().unwrap().split('@').next().unwrap().to_owned())
        .collect()
}

#[test]
fn a_call_by_capability_goes_to_who_is_preferred_and_each_failure_moves_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["fail", "echo"]);
    // By name `echo` comes first, and answers.
    let run = server.run(&asking("by-name", ""), json!({}));
    assert_eq!(
        (&run["status"], attempts(&server, &run)),
        (&json!("succeeded"), vec!["tool:echo".to_owned()])
    );

    assert_eq!(label(&server, "tool:fail", &json!({"cost": "1", "region": "eu"})).status, 200);
    let said = label(&server, "tool:echo", &json!({"cost": "2.5", "region": "eu", "old": "x"}));
    assert_eq!(said.body["labels"], json!({"cost": "2.5", "region": "eu", "old": "x"}));
    let said = label(&server, "tool:echo", &json!({"old": null}));
    assert_eq!(said.body["labels"], json!({"cost": "2.5", "region": "eu"}));

    let run = server.run(&asking("cheapest", ", prefer: [cheapest], requires: {region: eu}"), json!({}));
    assert_eq!(run["status"], "succeeded", "{run}");
    assert_eq!(attempts(&server, &run), ["tool:fail", "tool:echo"]);
    assert_eq!(run["steps"][0]["plugin"]["name"], "tool:echo", "who did it is shown: {run}");
    let events = server.events(run["id"].as_str().unwrap(), None);
    let chosen: Vec<&str> = events
        .iter()
        .filter(|(_, kind, data)| kind == "decision" && data["data"]["about"] == "provider")
        .map(|(_, _, data)| data["data"]["reason"].as_str().unwrap())
        .collect();
    assert_eq!(
        chosen,
        [
            "candidate 1 of 2 for `tool:{sample.answer}`, after 0 failures",
            "candidate 2 of 2 for `tool:{sample.answer}`, after 1 failures"
        ]
    );
    let listed = server.get("/v1/plugins?capability=sample.answer").body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
}

#[test]
fn labels_outlive_the_node_and_what_nobody_can_do_is_refused_with_what_to_type() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["fail", "echo"]);
    let far = asking("far", ", requires: {region: mars}");
    let refused = server.post("/v1/runs", &json!({"definition": far, "input": {}}));
    assert_eq!(refused.status, 422, "{refused:?}");
    let said = refused.body.to_string();
    assert!(said.contains("it has no label `region=mars`"), "{said}");
    assert!(said.contains("heddle plugin label tool:"), "{said}");
    let typed = server.post(
        "/v1/runs",
        &json!({"definition": asking("typed", "").replace("sample.answer", "sample.answr")}),
    );
    assert!(typed.body.to_string().contains("did you mean `sample.answer`?"), "{typed:?}");

    assert_eq!(label(&server, "tool:echo", &json!({"region": "mars"})).status, 200);
    let url = server.url.clone();
    drop(server);
    let server = Server::start_at(folder.path(), &url, &[]);
    assert_eq!(server.run(&far, json!({}))["status"], "succeeded");

    for (plugin, labels, status) in [
        ("tool:nobody", json!({"region": "eu"}), 404),
        ("nobody", json!({"region": "eu"}), 404),
        ("gate:echo", json!({"region": "eu"}), 404),
        ("tool:echo", json!({"Region": "eu"}), 400),
        ("tool:echo", json!({"region": 5}), 400),
        ("tool:echo", json!({"cost": "cheap"}), 400),
        ("tool:echo", json!([]), 400),
        ("tool:echo", Value::Object((0..40).map(|n| (format!("l{n}"), json!("x"))).collect()), 400),
    ] {
        let answer = label(&server, plugin, &labels);
        assert_eq!(answer.status, status, "{plugin} {labels}: {answer:?}");
    }
}

#[test]
fn a_graph_is_checked_at_its_nodes_and_edges() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["echo"]);
    let graph = workflow(
        "drawn",
        "nodes: [{id: a, type: start}, {id: b, type: tool, call: echo, with: {valu: 1}}, {id: c, type: end}]\nedges: [{from: a, to: b}, {from: b, to: c}]",
    );
    let refused = server.post_bytes("/v1/workflows?dryRun=true", "application/yaml", graph);
    assert_eq!(refused.status, 422, "{refused:?}");
    let pointers: Vec<&str> =
        refused.body["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert!(pointers.contains(&"/nodes/1/with/valu"), "{refused:?}");
}

/// A person who wants another try wants the next one, too.
#[test]
fn what_a_person_tries_again_goes_on_to_the_next_provider() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["fail", "echo"]);
    label(&server, "tool:fail", &json!({"cost": "1"}));
    label(&server, "tool:echo", &json!({"cost": "2"}));
    let body = "steps: {ask: {call: {capability: sample.answer, prefer: [cheapest]}, with: {value: 42}, onFailure: ask}}";
    let run = server.submit(&workflow("asked", body), json!({}));
    let asks = || server.get(&format!("/v1/runs/{run}")).body["steps"][0]["status"] == "waiting";
    server.until(|| asks().then_some(()));
    let retried = server.post(&format!("/v1/runs/{run}/steps/ask/retry"), &json!({}));
    assert_eq!(retried.status, 202, "{retried:?}");
    let ended = server.ended(&run);
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(attempts(&server, &ended), ["tool:fail", "tool:echo"]);
}
