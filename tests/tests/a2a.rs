//! `/a2a` of the real binary, with the official Python client by both of its ways, and with what no client would send.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{Answer, Server, plugin, root, tools};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// A node with something to ask for.
fn node(folder: &Path) -> Server {
    let server = Server::start(folder, &[("HEDDLE_A2A_DEFINITIONS", "true")]);
    server.push(plugin("text_chunk"));
    for (name, body) in [
        (
            "report",
            "input: {schema: {type: object, required: [who], properties: {who: {type: string}}}}\nsteps: {greet: {set: \"${ 'Dear ' + input.who }\"}}\noutput: {as: {greeting: \"${ steps.greet.output }\"}}",
        ),
        ("failing", "steps: {cut: {call: \"transform:text-chunk\", with: {text: a, size: 1, overlap: 5}}}"),
        (
            "asking",
            "steps:\n  pay: {title: Pay the invoice, approval: {form: {type: object, required: [amount], properties: {amount: {type: integer}}}}}\noutput: {as: {by: \"${ steps.pay.output.decisions[1].by }\"}}",
        ),
        (
            "twice",
            "steps: {first: {approval: {}}, second: {approval: {}, dependsOn: [first]}}\noutput: {as: both}",
        ),
        (
            "slow",
            "steps: {rest: {wait: {for: 600ms}}, more: {wait: {for: 600ms}, dependsOn: [rest]}}\noutput: {as: rested}",
        ),
        ("endless", "steps: {rest: {wait: {signal: never}}}"),
    ] {
        let text = format!(
            "document: {{dsl: \"1.0\", namespace: test, name: {name}, version: 1.0.0, title: The {name}}}\n{body}\n"
        );
        let answer = server.post_bytes("/v1/workflows", "application/yaml", text);
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    server
}

fn client(server: &Server, transport: &str) -> Value {
    let output = Command::new(tools::python_with_a2a())
        .arg(root().join("tests/tests/a2a/client.py"))
        .args([&server.url, transport])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{transport}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The task of a message that was answered at once.
fn task(answer: &Value) -> &Value {
    let task = &answer[0]["task"];
    assert!(task["id"].is_string(), "{answer}");
    task
}

fn state(task: &Value) -> &str {
    task["status"]["state"].as_str().unwrap_or_default()
}

fn data(task: &Value) -> &Value {
    &task["artifacts"][0]["parts"][0]["data"]
}

/// The states that a stream told, and whether it told what came of it.
fn told(stream: &Value) -> (Vec<&str>, bool) {
    let events = stream.as_array().unwrap();
    assert!(events[0]["task"].is_object(), "the run comes first: {stream}");
    let states = events.iter().filter_map(|event| event["statusUpdate"]["status"]["state"].as_str());
    (states.collect(), events.iter().any(|event| event["artifactUpdate"].is_object()))
}

fn speaks(transport: &str) {
    let folder = tempfile::tempdir().unwrap();
    let server = node(folder.path());
    let seen = client(&server, transport);
    let skills = seen["card"]["skills"].as_array().unwrap();
    let ids: Vec<&str> = skills.iter().map(|skill| skill["id"].as_str().unwrap()).collect();
    assert_eq!(
        ids,
        ["test_asking", "test_endless", "test_failing", "test_report", "test_slow", "test_twice"]
    );
    assert!(skills[3]["description"].as_str().unwrap().contains("\"who\""), "{}", skills[3]);
    for (of, who) in [("text", "Ada"), ("data", "Bob")] {
        let task = task(&seen[of]);
        assert_eq!(
            (state(task), data(task)),
            ("TASK_STATE_COMPLETED", &json!({ "greeting": format!("Dear {who}") }))
        );
        assert_eq!(task["history"][0]["parts"][0]["data"]["who"], who);
    }
    assert_eq!(task(&seen["inline"])["artifacts"][0]["parts"][0]["text"], "made here");
    let refused =
        |of: &str| seen[of]["message"].as_str().unwrap_or_else(|| panic!("{of}: {seen}")).to_owned();
    assert!(refused("wrong").contains("/who"), "{}", seen["wrong"]);
    assert!(
        refused("which").contains("`message.metadata.skill`") && refused("which").contains("`test_report`")
    );
    assert!(refused("nothing").contains("there is no skill `burn`"));
    assert!(seen["file"]["kind"].as_str().unwrap().contains("ContentTypeNotSupported"), "{}", seen["file"]);
    assert_eq!(seen["twice"][0], seen["twice"][1]);
    let failed = task(&seen["failed"]);
    assert_eq!(state(failed), "TASK_STATE_FAILED");
    assert!(
        failed["status"]["message"]["parts"][0]["text"].as_str().unwrap().contains("an overlap of 5"),
        "{failed}"
    );
    let begun = task(&seen["begun"]);
    assert!(matches!(state(begun), "TASK_STATE_SUBMITTED" | "TASK_STATE_WORKING"), "{begun}");
    assert_eq!(begun["contextId"], "talk-1");
    let listed = seen["listed"]["tasks"].as_array().unwrap();
    let ids: Vec<&Value> = listed.iter().map(|task| &task["id"]).collect();
    assert_eq!(ids, [&begun["id"], &seen["twice"][0]], "the newest first");
    assert_eq!(seen["listed"]["totalSize"], 2);
    assert_eq!(seen["working"]["tasks"].as_array().map(Vec::len), Some(1));
    assert!(
        seen["working"]["nextPageToken"].as_str().is_some_and(|token| !token.is_empty()),
        "{}",
        seen["working"]
    );
    assert_eq!(state(&seen["cancelled"]), "TASK_STATE_CANCELED");
    assert!(seen["again"]["kind"].as_str().unwrap().contains("NotCancelable"), "{}", seen["again"]);
    assert!(seen["late"]["kind"].as_str().unwrap().contains("UnsupportedOperation"), "{}", seen["late"]);
    assert!(seen["unknown"]["kind"].as_str().unwrap().contains("TaskNotFound"), "{}", seen["unknown"]);
    assert_eq!(data(&seen["got"]), &json!({ "greeting": "Dear Eve" }));

    people(&seen);
    streams(&seen);
}

fn people(seen: &Value) {
    let refused =
        |of: &str| seen[of]["message"].as_str().unwrap_or_else(|| panic!("{of}: {seen}")).to_owned();
    let asked = task(&seen["asked"]);
    assert_eq!(state(asked), "TASK_STATE_INPUT_REQUIRED");
    let parts = &asked["status"]["message"]["parts"];
    assert!(parts[0]["text"].as_str().unwrap().contains("Pay the invoice"), "{parts}");
    assert_eq!(parts[1]["data"]["decision"], json!(["approve", "reject"]));
    assert_eq!(
        state(task(&seen["alone"])),
        "TASK_STATE_INPUT_REQUIRED",
        "whoever asked does not approve alone"
    );
    assert!(!refused("maybe").is_empty());
    // An answer that comes twice is not one to the question behind.
    assert!(
        refused("unnamed").contains("which question is answered?")
            && refused("unnamed").contains("`first#0`")
    );
    assert!(refused("odd").contains("`zz` is not open"), "{}", seen["odd"]);
    assert_eq!(state(task(&seen["first"])), "TASK_STATE_INPUT_REQUIRED");
    assert!(seen["resent"]["kind"].as_str().unwrap().contains("UnsupportedOperation"), "{}", seen["resent"]);
    assert_eq!(state(task(&seen["second"])), "TASK_STATE_COMPLETED");
    // A paused run is told to go on.
    assert_eq!(state(&seen["paused"]), "TASK_STATE_INPUT_REQUIRED");
    assert!(seen["paused"]["status"]["message"]["parts"][0]["text"].as_str().unwrap().contains("`resume`"));
    assert!(
        matches!(state(task(&seen["resumed"])), "TASK_STATE_WORKING" | "TASK_STATE_COMPLETED"),
        "{}",
        seen["resumed"]
    );
    let approved = task(&seen["approved"]);
    assert_eq!(
        (state(approved), data(approved)),
        ("TASK_STATE_COMPLETED", &json!({ "by": "bob" })),
        "{approved}"
    );
}

fn streams(seen: &Value) {
    let (states, has_output) = told(&seen["stream"]);
    assert!(has_output && states.last() == Some(&"TASK_STATE_COMPLETED") && states.len() > 1, "{states:?}");
    let (states, has_output) = told(&seen["stopped"]);
    assert!(!has_output && states.last() == Some(&"TASK_STATE_INPUT_REQUIRED"), "{states:?}");
    let (states, _) = told(&seen["followed"]);
    assert_eq!(states.last(), Some(&"TASK_STATE_CANCELED"), "who follows follows to the end: {states:?}");
}

#[test]
fn an_agent_speaks_json_rpc() {
    speaks("JSONRPC");
}

#[test]
fn an_agent_speaks_rest() {
    speaks("HTTP+JSON");
}

fn post(server: &Server, body: &Value, headers: &[(&str, &str)]) -> Answer {
    let headers: Vec<(&str, &str)> = [("a2a-version", "1.0")].iter().chain(headers).copied().collect();
    server.post_with("/a2a", body, &headers)
}

fn call(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": "c-1", "method": method, "params": params })
}

/// Case 82, by this door.
#[test]
fn what_no_agent_sends_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = node(folder.path());
    let list = call("ListTasks", json!({}));
    assert_eq!(post(&server, &list, &[]).body["result"]["tasks"], json!([]));
    // With a slash at the end it is the same path.
    assert_eq!(server.post_with("/a2a/", &list, &[("a2a-version", "1.0")]).status, 200);
    let code =
        |answer: &Answer| answer.body["error"]["code"].as_i64().unwrap_or_else(|| panic!("{answer:?}"));
    // One who does not say a version speaks an older one.
    let old = server.post_with("/a2a", &list, &[]);
    assert_eq!((code(&old), &old.body["id"]), (-32_009, &json!("c-1")));
    assert_eq!(old.body["error"]["data"].as_array().unwrap().last().unwrap()["domain"], "a2a-protocol.org");
    assert_eq!(code(&server.post_with("/a2a", &list, &[("a2a-version", "2.0")])), -32_009);
    let batch: Vec<Value> = (0..10_000).map(|_| list.clone()).collect();
    for (body, wanted) in [
        (json!(batch), -32_600),
        (json!({ "jsonrpc": "1.0", "id": 1, "method": "ListTasks" }), -32_600),
        (json!({ "jsonrpc": "2.0", "method": "ListTasks" }), -32_600),
        (json!({ "jsonrpc": "2.0", "id": 1.5, "method": "ListTasks" }), -32_600),
        (json!({ "jsonrpc": "2.0", "id": 1 }), -32_600),
        (json!({ "jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": [] }), -32_602),
        (call("tasks/get", json!({})), -32_601),
        (call("GetTask", json!({})), -32_602),
        (call("GetTask", json!({ "id": "../../etc" })), -32_001),
        (call("ListTasks", json!({ "pageSize": 0 })), -32_602),
        (call("ListTasks", json!({ "pageToken": "x" })), -32_602),
        (call("SendMessage", json!({})), -32_602),
        (
            call("SendMessage", json!({ "message": { "messageId": "m", "role": "ROLE_USER", "parts": [] } })),
            -32_602,
        ),
        (
            call(
                "SendMessage",
                json!({ "message": { "messageId": "m", "role": "ROLE_AGENT", "parts": [{ "text": "x" }] } }),
            ),
            -32_602,
        ),
        (
            call(
                "SendMessage",
                json!({ "message": { "messageId": "a b", "role": "ROLE_USER", "parts": [{ "text": "x" }] } }),
            ),
            -32_602,
        ),
        (call("GetTaskPushNotificationConfig", json!({ "taskId": "x", "id": "y" })), -32_003),
        (call("GetExtendedAgentCard", json!({})), -32_004),
    ] {
        let answer = post(&server, &body, &[]);
        assert_eq!((answer.status, code(&answer)), (200, wanted), "{}", answer.body);
    }
    odd_requests(&server, &list);
}

fn odd_requests(server: &Server, list: &Value) {
    let code =
        |answer: &Answer| answer.body["error"]["code"].as_i64().unwrap_or_else(|| panic!("{answer:?}"));
    let text = server.post_bytes("/a2a", "text/plain", list.to_string());
    assert_eq!(code(&text), -32_005);
    let broken = server.post_text("/a2a", "{\"jsonrpc\":", &[("a2a-version", "1.0")]);
    assert_eq!(code(&broken), -32_700);
    assert_eq!(post(server, list, &[("origin", "https://evil.example")]).status, 403);
    assert_eq!(post(server, list, &[("host", "rebound.example")]).status, 403);
    assert_eq!(post(server, list, &[("heddle-user", "a b")]).status, 400);
    let big = call("SendMessage", json!({ "x": "x".repeat(5 << 20) }));
    // It may hang up before it has read all of it.
    let refused = server.try_post("/a2a", &big, &[("a2a-version", "1.0")]);
    assert!(refused.is_none_or(|answer| answer.status == 413));
    for (path, status) in [("/a2a/tasks/nothing", 404), ("/a2a/burn", 404), ("/a2a/message:send", 405)] {
        assert_eq!(
            server.get(path).status,
            if status == 404 && path.ends_with("nothing") { 400 } else { status },
            "{path}"
        );
    }
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn a_card_is_kept_until_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let server = node(folder.path());
    let card = server.get("/.well-known/agent-card.json");
    assert_eq!(card.status, 200);
    assert_eq!(card.body["supportedInterfaces"][0]["url"], format!("{}/a2a", server.url));
    assert!(card.headers["cache-control"].to_str().unwrap().contains("max-age="));
    let tag = card.headers["etag"].to_str().unwrap().to_owned();
    let again = server.get_with("/.well-known/agent-card.json", &[("if-none-match", &tag)]);
    assert_eq!((again.status, &again.headers["etag"]), (304, &card.headers["etag"]));
    let other = server.get_with("/.well-known/agent-card.json", &[("host", "rebound.example")]);
    assert_eq!(other.status, 403);
}
