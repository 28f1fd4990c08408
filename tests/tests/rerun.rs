//! A run once more, at the real binary: what is taken over, and what is done again.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{Server, bash, workflow};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const STEPS: &str = r#"
steps:
  a: { call: "tool:echo", with: { value: "${ input.x }" } }
  b: { call: "tool:echo", with: { value: { a: "${ steps.a.output.value }", y: "${ input.y }" } } }
  c: { set: "${ 10 / input.d }", dependsOn: [b] }
"#;

fn rerun(server: &Server, run: &str, body: &Value) -> Value {
    let answer = server.post(&format!("/v1/runs/{run}/rerun"), body);
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = answer.body["id"].as_str().unwrap().to_owned();
    assert_ne!(id, run);
    server.ended(&id)
}

/// Which run each step's outcome came from: itself, or another one.
fn sources(run: &Value) -> BTreeMap<String, Value> {
    let steps = run["steps"].as_array().unwrap().iter();
    let source = |step: &Value| {
        let worked = step["attempts"].as_array().is_some_and(|attempts| !attempts.is_empty());
        worked.then(|| step["cache"]["sourceRun"].clone())
    };
    steps.filter_map(|step| Some((step["id"].as_str().unwrap().to_owned(), source(step)?))).collect()
}
fn expected(of: &[(&str, Value)]) -> BTreeMap<String, Value> {
    of.iter().map(|(id, source)| ((*id).to_owned(), source.clone())).collect()
}

#[test]
fn what_has_the_same_fingerprint_is_taken_over_tools_included() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::with_plugins(folder.path(), &["echo"]);
    let first = server.run(&workflow("again", STEPS), json!({"x": 1, "y": 1, "d": 0}));
    assert_eq!(first["status"], "failed", "{first}");
    let id = first["id"].as_str().unwrap().to_owned();
    let mended = rerun(&server, &id, &json!({"input": {"x": 1, "y": 1, "d": 2}}));
    assert_eq!((&mended["status"], &mended["output"]), (&json!("succeeded"), &json!({"c": 5})), "{mended}");
    assert_eq!(mended["rerunOf"], json!({"run": id, "outcomes": 2}));
    assert_eq!(sources(&mended), expected(&[("a", json!(id)), ("b", json!(id))]));
    // What it was computed from has changed.
    let other = rerun(&server, &id, &json!({"input": {"x": 1, "y": 2, "d": 2}}));
    assert_eq!(sources(&other), expected(&[("a", json!(id)), ("b", Value::Null)]));
    // A step and what waits for it, whatever it is computed from; the input is the old one.
    let from = rerun(&server, mended["id"].as_str().unwrap(), &json!({"from": "b"}));
    assert_eq!(from["status"], "succeeded");
    assert_eq!(sources(&from), expected(&[("a", mended["id"].clone()), ("b", Value::Null)]));
    let diff = server.get(&format!("/v1/runs/{id}/diff/{}", other["id"].as_str().unwrap())).body;
    assert_eq!(diff["differs"], json!(["input", "status", "error", "output"]), "{diff}");
    assert_eq!((&diff["same"], &diff["steps"][0]["differs"]), (&json!(1), &json!(["output"])), "{diff}");
    assert_eq!(diff["steps"][1]["differs"], json!(["status", "output", "error"]), "{diff}");
    let shown =
        bash(&server, folder.path(), &format!("heddle runs diff {id} {}", other["id"].as_str().unwrap()));
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("the runs differ in: input, status") && shown.contains("c     failed"), "{shown}");
    // It is all on disk.
    server.kill();
    server = Server::start_at(folder.path(), &server.url, &[]);
    let again = rerun(&server, from["id"].as_str().unwrap(), &json!({}));
    assert_eq!(sources(&again), expected(&[("a", from["id"].clone()), ("b", from["id"].clone())]));
    for (path, body, status, code) in [
        (format!("/v1/runs/{id}/rerun"), json!({"from": "bb"}), 404, "step_not_found"),
        (format!("/v1/runs/{id}/rerun"), json!({"form": "b"}), 400, "body_invalid"),
        (format!("/v1/runs/{id}/rerun"), json!({"workflow": "test/none"}), 404, "workflow_not_found"),
        ("/v1/runs/00000000-0000-7000-8000-000000000000/rerun".to_owned(), json!({}), 404, "run_not_found"),
    ] {
        let answer = server.post(&path, &body);
        assert_eq!((answer.status, &answer.body["code"]), (status, &json!(code)), "{path}: {answer:?}");
    }
    let script = format!("heddle runs rerun {id} --input '{{\"x\": 1, \"y\": 1, \"d\": 1}}'");
    let typed = bash(&server, folder.path(), &script);
    let run = String::from_utf8_lossy(&typed.stdout).trim().to_owned();
    assert_eq!(server.ended(&run)["rerunOf"]["run"], json!(id), "{typed:?}");
}

#[test]
fn what_was_undone_is_done_again_and_a_live_run_can_be_forked() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["echo"]);
    let saga = workflow(
        "saga",
        "steps:\n  kept: {call: \"tool:echo\", with: {value: 1}}\n  paid: {call: \"tool:echo\", with: {value: 2}, compensate: {call: \"tool:echo\", with: {value: 3}}}\n  sent: {set: \"${ 1 / input.d }\", dependsOn: [paid, kept]}",
    );
    let first = server.run(&saga, json!({"d": 0}));
    assert_eq!(first["status"], "failed", "{first}");
    let again = rerun(&server, first["id"].as_str().unwrap(), &json!({"input": {"d": 1}}));
    assert_eq!(sources(&again), expected(&[("kept", first["id"].clone()), ("paid", Value::Null)]), "{again}");

    let waits = workflow(
        "waits",
        "steps:\n  each: {forEach: {in: \"${ input.list }\", as: n}, call: \"tool:echo\", with: {value: \"${ n }\"}}\n  go: {wait: {signal: go}, dependsOn: [each]}",
    );
    let live = server.submit(&waits, json!({"list": [1, 2, 3]}));
    server.until(|| (server.get(&format!("/v1/runs/{live}")).body["status"] == "waiting").then_some(()));
    let fork = server.post(&format!("/v1/runs/{live}/rerun"), &json!({"input": {"list": [1, 3, 3]}}));
    let fork = fork.body["id"].as_str().unwrap().to_owned();
    for run in [&live, &fork] {
        server.until(|| (server.get(&format!("/v1/runs/{run}")).body["status"] == "waiting").then_some(()));
        let answer = server.post(&format!("/v1/runs/{run}/signal"), &json!({"name": "go"}));
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(server.ended(run)["status"], "succeeded");
    }
    let items = server.get(&format!("/v1/runs/{fork}/steps/each/items")).body;
    let source = |item: &Value| item["cache"]["sourceRun"].clone();
    let sources: Vec<Value> = items["items"].as_array().unwrap().iter().map(source).collect();
    assert_eq!(sources, [json!(live), Value::Null, json!(live)], "{items}");
}

#[test]
fn what_is_taken_over_is_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_plugins(folder.path(), &["echo"]);
    // One of two equal items was done.
    let twice = workflow(
        "twice",
        "steps: {each: {forEach: {in: \"${ [1, 1] }\", as: n, maxParallel: 1}, call: \"tool:echo\", with: {value: \"${ n }\", delayMs: 300}}}",
    );
    let half = server.submit(&twice, json!({}));
    server.until(|| {
        let items = server.get(&format!("/v1/runs/{half}")).body["steps"][0]["items"]["succeeded"].as_u64();
        (items == Some(1)).then_some(())
    });
    server.post(&format!("/v1/runs/{half}/cancel"), &json!({}));
    assert_eq!(server.ended(&half)["status"], "cancelled");
    let again = rerun(&server, &half, &json!({}));
    assert_eq!(
        (&again["status"], &again["steps"][0]["items"]["cached"]),
        (&json!("succeeded"), &json!(1)),
        "{again}"
    );

    // A key of the workflow is no obstacle, and what a step asked for is run again by its run.
    let keyed = workflow("keyed", "idempotency: {key: \"${ input.k }\"}\nsteps: {a: {set: 1}}");
    assert_eq!(server.post_bytes("/v1/workflows", "application/yaml", keyed).status, 201);
    let keyed =
        server.post("/v1/runs", &json!({"workflow": "test/keyed", "input": {"k": 1}})).body["id"].clone();
    server.ended(keyed.as_str().unwrap());
    assert_eq!(rerun(&server, keyed.as_str().unwrap(), &json!({}))["status"], "succeeded");
    let asks = "steps: {w: {workflow: test/keyed@^1, with: {k: \"${ input.k }\"}}}";
    let parent = server.run(&workflow("asks", asks), json!({"k": 2}));
    assert_eq!(parent["status"], "succeeded", "{parent}");
    let child = parent["steps"][0]["attempts"][0]["run"].as_str().unwrap();
    let refused = server.post(&format!("/v1/runs/{child}/rerun"), &json!({}));
    assert_eq!((refused.status, &refused.body["code"]), (422, &json!("rerun_invalid")), "{refused:?}");
    // Its key is another run's: the step says so instead of waiting.
    let taken = server.run(&workflow("asks", asks), json!({"k": 1}));
    assert_eq!(taken["status"], "failed", "{taken}");
    assert!(
        taken["error"]["message"].as_str().unwrap().contains("has the same `idempotency.key`"),
        "{taken}"
    );
}
