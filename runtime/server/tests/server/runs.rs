//! A run over HTTP, from its submission to its document.

use crate::support::{Answer, ask, get, hello, post};
use serde_json::{Value, json};

fn submit(name: &str, headers: &[(&str, &str)], input: &Value) -> Answer {
    let definition: Value = serde_json::from_str(&hello(name, "1.0.0")).unwrap();
    let body = json!({ "definition": definition, "input": input, "labels": { "suite": name } }).to_string();
    let mut all = vec![("Content-Type", "application/json")];
    all.extend_from_slice(headers);
    ask("POST", "/v1/runs", &all, &body)
}

#[test]
fn a_run_that_is_waited_for_comes_back_whole() {
    let answer = submit("waited", &[("Prefer", "respond-async, wait=20")], &json!({ "name": "you" }));
    assert_eq!((answer.status, answer.header("preference-applied")), (200, Some("wait=20")), "{answer:?}");
    let run = answer.json();
    assert_eq!(run["status"], "succeeded", "{run}");
    assert_eq!(run["output"], "hello you!");
    assert_eq!(run["workflow"]["name"], "test/waited");
    assert_eq!(run["progress"], json!({ "done": 2, "total": 2, "percent": 100 }));
    assert_eq!(run["maxParallel"], json!({ "value": 16, "source": "node" }));
    let step = &run["steps"][1];
    assert_eq!(
        (&step["id"], &step["dependsOn"], &step["cache"]["verdict"]),
        (&json!("shout"), &json!(["greet"]), &json!("off"))
    );
    assert!(
        step["finishedAt"].is_string() && run["finishedAt"].is_string() && run["durationMs"].is_u64(),
        "{run}"
    );
    let id = run["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), Some(format!("/v1/runs/{id}").as_str()));
    assert_eq!(get(&format!("/v1/runs/{id}")).json()["output"], "hello you!");
    assert_eq!(get(&format!("/v1/runs/{id}/steps/greet")).json()["output"], "hello you");
    get(&format!("/v1/runs/{id}/steps/nope")).is_problem(404, "step_not_found");
    assert_eq!(get(&format!("/v1/runs/{id}/why")).json()["status"], "succeeded");
    let journal = get(&format!("/v1/runs/{id}/journal?limit=1")).json();
    assert_eq!(
        (&journal["items"][0]["seq"], journal["items"][0]["events"].is_array()),
        (&json!(1), true),
        "{journal}"
    );
    let graph = get(&format!("/v1/runs/{id}/graph")).json();
    assert_eq!(
        graph["edges"][0],
        json!({ "from": "greet", "to": "shout", "accepts": ["succeeded", "skipped"], "kind": "waits" })
    );
    assert!(get(&format!("/v1/runs/{id}/graph?format=mermaid")).body.contains("greet --> shout"));
    assert!(get(&format!("/v1/runs/{id}/graph?format=dot")).body.contains("\"greet\" -> \"shout\""));
    get(&format!("/v1/runs/{id}/graph?format=png")).is_problem(400, "parameter_invalid");
    post(&format!("/v1/runs/{id}/cancel"), r#"{"reason":"late"}"#).is_problem(409, "run_ended");
}

#[test]
fn an_input_that_does_not_match_is_told_by_place() {
    let problem = submit("mismatch", &[], &json!({ "name": 7 })).is_problem(422, "input_invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/input/name", "{problem}");
}

#[test]
fn the_same_key_is_the_same_run_and_another_request_is_refused() {
    let key = [("Idempotency-Key", "once")];
    let first = submit("keyed", &key, &json!({ "name": "a" }));
    assert_eq!(first.status, 202, "{first:?}");
    let again = submit("keyed", &key, &json!({ "name": "a" }));
    let id = |body: &str| serde_json::from_str::<Value>(body).unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!((again.status, id(&again.body)), (202, id(&first.body)));
    submit("keyed", &key, &json!({ "name": "b" })).is_problem(422, "idempotency_mismatch");
    let joined: Vec<String> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| submit("keyed", &[("Idempotency-Key", "many")], &json!({ "name": "a" })).body)
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    });
    assert!(joined.iter().all(|body| id(body) == id(&joined[0])), "{joined:?}");
}

#[test]
fn lists_go_by_cursor_and_filter() {
    let ids: Vec<String> = (0..3)
        .map(|i| {
            submit("listed", &[("Prefer", "wait=20")], &json!({ "name": i.to_string() })).json()["id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let mut found = Vec::new();
    let mut target =
        "/v1/runs?label=suite%3Dlisted&limit=2&status=succeeded&workflow=test%2Flisted".to_owned();
    loop {
        let page = get(&target).json();
        found.extend(
            page["items"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()),
        );
        match page["cursor"].as_str() {
            Some(cursor) => target = format!("/v1/runs?label=suite%3Dlisted&limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(found, ids.iter().rev().cloned().collect::<Vec<_>>());
}

#[test]
fn a_workflow_is_published_once_and_run_by_name() {
    let yaml = [("Content-Type", "application/yaml")];
    let text = hello("published", "1.2.3");
    let dry = ask("POST", "/v1/workflows?dryRun=true", &yaml, &text);
    assert_eq!((dry.status, dry.json()["status"].clone()), (200, json!("active")), "{dry:?}");
    get("/v1/workflows/test/published").is_problem(404, "workflow_not_found");
    let first = ask("POST", "/v1/workflows", &yaml, &text);
    assert_eq!(
        (first.status, first.header("location")),
        (201, Some("/v1/workflows/test/published/versions/1.2.3")),
        "{first:?}"
    );
    assert_eq!(post("/v1/workflows", &text).status, 200, "the same content again is not a new version");
    ask("POST", "/v1/workflows", &yaml, &text.replace("hello ", "hallo "))
        .is_problem(409, "version_conflict");
    assert_eq!(get("/v1/workflows/test/published").json()["version"], "1.2.3");
    assert_eq!(get("/v1/workflows/test/published/versions/1.2.3").json()["steps"][0]["id"], "greet");
    assert!(get("/v1/workflows?limit=200").body.contains("test/published"));
    let run = ask(
        "POST",
        "/v1/runs",
        &[("Content-Type", "application/json"), ("Prefer", "wait=20")],
        r#"{"workflow":"test/published@^1","input":{"name":"x"}}"#,
    );
    assert_eq!(run.json()["output"], "hello x!", "{run:?}");
}

#[test]
fn a_workflow_whose_plugin_is_missing_is_told_so() {
    let definition = json!({ "document": { "dsl": "1.0", "namespace": "a", "name": "b", "version": "1.0.0" }, "steps": { "s": { "call": "tool:nobody@^1" } } });
    let problem = post("/v1/runs", &json!({ "definition": definition }).to_string())
        .is_problem(422, "workflow_invalid");
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("heddle plugin push"), "{problem}");
}
