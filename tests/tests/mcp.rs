//! `/mcp` and `heddle mcp` of the real binary, with the official Python client and with what no client would send.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{Server, binary, plugin, root, tools};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const MODERN: &str = "2026-07-28";

/// A node with something to call.
fn node(folder: &Path) -> Server {
    let offered = ("HEDDLE_MCP_TOOLS", "test/*, transform:text-chunk");
    let server = Server::start(folder, &[offered, ("HEDDLE_LIMITS_ANSWER_BYTES", "2KiB")]);
    server.push(plugin("text_chunk"));
    let large = "x".repeat(3_000);
    for text in [
        of(
            "report",
            "title: A report, description: Reports on somebody.",
            "input: {schema: {type: object, required: [who], properties: {who: {type: string}}}}\nsteps:\n  cut: {call: \"transform:text-chunk\", with: {text: \"${ input.who }\", size: 100}}\n  greet: {set: \"${ 'Dear ' + steps.cut.output.chunks[0].text }\"}\noutput: {as: {greeting: \"${ steps.greet.output }\"}}",
        ),
        of(
            "word",
            "title: A word",
            "input: {schema: {type: string}}\nsteps: {say: {set: \"${ input + '!' }\"}}\noutput: {as: {said: \"${ steps.say.output }\"}}",
        ),
        of(
            "large",
            "title: Much",
            &format!(
                "steps: {{much: {{set: {{text: {large}}}}}}}\noutput: {{as: {{much: \"${{ steps.much.output.text }}\"}}}}"
            ),
        ),
        of(
            "failing",
            "title: Fails",
            "steps: {cut: {call: \"transform:text-chunk\", with: {text: a, size: 1, overlap: 5}}}",
        ),
        of(
            "asking",
            "title: Asks",
            "steps:\n  pay: {title: Pay the invoice, approval: {form: {type: object, required: [amount], properties: {amount: {type: integer}}}}}\noutput: {as: {paid: \"${ steps.pay.output.decisions[0].form.amount }\", by: \"${ steps.pay.output.decisions[0].by }\"}}",
        ),
        of("slow", "title: Takes long", "steps: {rest: {wait: {for: 1200ms}}}\noutput: {as: {rested: true}}"),
        of("endless", "title: Never ends", "steps: {rest: {wait: {signal: never}}}"),
    ] {
        publish(&server, &text);
    }
    server
}

fn of(name: &str, head: &str, body: &str) -> String {
    format!("document: {{dsl: \"1.0\", namespace: test, name: {name}, version: 1.0.0, {head}}}\n{body}\n")
}

fn publish(server: &Server, text: &str) {
    let answer = server.post_bytes("/v1/workflows", "application/yaml", text.to_owned());
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// What the Python client saw.
fn client(place: &str, scenario: &str) -> Value {
    let python = tools::python_with_mcp();
    let output = Command::new(python)
        .arg(root().join("tests/tests/mcp/client.py"))
        .args([place, scenario])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

/// What every client must have seen, whatever it speaks.
fn worked(seen: &Value) {
    assert_eq!(seen["server"], "heddle");
    let names: BTreeSet<&str> = seen["tools"].as_object().unwrap().keys().map(String::as_str).collect();
    let wanted = [
        "heddle_cancel",
        "heddle_run",
        "test_asking",
        "test_endless",
        "test_failing",
        "test_large",
        "test_report",
        "test_slow",
        "test_word",
        "transform_text-chunk",
    ];
    assert_eq!(names, wanted.into());
    let report = &seen["tools"]["test_report"];
    assert_eq!(
        (&report["title"], &report["description"]),
        (&json!("A report"), &json!("Reports on somebody."))
    );
    assert_eq!(report["input"]["properties"]["who"]["type"], "string");
    assert_eq!(report["meta"]["heddle/workflow"], "test/report@1.0.0");
    // It calls nothing but a transform.
    assert_eq!(
        (&report["hints"]["readOnlyHint"], &report["hints"]["openWorldHint"]),
        (&json!(true), &json!(false))
    );
    let chunk = &seen["tools"]["transform_text-chunk"];
    assert_eq!(chunk["hints"]["readOnlyHint"], true);
    // An answer may also be where to read the output, so none is promised.
    assert!(chunk["output"].is_null(), "{chunk}");
    assert_eq!(seen["tools"]["heddle_cancel"]["hints"]["destructiveHint"], true);
    assert_eq!(seen["report"]["structured"], json!({ "greeting": "Dear Ada" }));
    assert_eq!(seen["report"]["text"], json!(["{\"greeting\":\"Dear Ada\"}"]));
    assert_eq!(seen["report"]["error"], false);
    // What a model got wrong, it is told where.
    assert_eq!(seen["wrong"]["error"], true);
    assert!(seen["wrong"]["text"][0].as_str().unwrap().contains("/who"), "{}", seen["wrong"]);
    assert_eq!(
        seen["plugin"]["structured"]["chunks"].as_array().map(Vec::len),
        Some(3),
        "{}",
        seen["plugin"]
    );
    assert_eq!(seen["word"]["structured"], json!({ "said": "hello!" }));
    let run = |of: &str| seen[of]["meta"]["heddle/run"].as_str().unwrap().to_owned();
    assert_eq!(seen["large"]["links"], json!([format!("heddle://runs/{}/output", run("large"))]));
    assert!(
        seen["failing"]["text"][0].as_str().unwrap().contains("overlap_too_large")
            || seen["failing"]["text"][0].as_str().unwrap().contains("an overlap of 5"),
        "{}",
        seen["failing"]
    );
    assert_eq!(seen["failing"]["error"], true);
    assert_eq!(seen["unknown"]["code"], -32_602);
    assert!(seen["unknown"]["message"].as_str().unwrap().contains("`tools/list` lists them"));
    assert!(
        seen["resources"].as_array().unwrap().contains(&json!(format!("heddle://runs/{}", run("report"))))
    );
    assert_eq!(seen["templates"].as_array().map(Vec::len), Some(5));
    assert_eq!((&seen["run"]["status"], &seen["run"]["by"]), (&json!("succeeded"), &json!("mcp")));
    assert_eq!(seen["output"], json!({ "greeting": "Dear Ada" }));
    assert!(seen["journal"]["items"].as_array().unwrap().len() > 1);
    assert!(seen["graph"].as_str().unwrap().contains("cut"));
    assert_eq!(seen["workflow"]["document"]["name"], "report");
    assert!(seen["nowhere"]["message"].as_str().unwrap().contains("resources/templates/list"));
}

#[test]
fn a_client_calls_workflows_and_plugins() {
    let folder = tempfile::tempdir().unwrap();
    let server = node(folder.path());
    let url = format!("{}/mcp", server.url);
    let seen = client(&url, "modern");
    worked(&seen);
    assert_eq!((&seen["version"], &seen["nowhere"]["code"]), (&json!(MODERN), &json!(-32_602)));
    let seen = client(&url, "legacy");
    worked(&seen);
    assert_eq!((&seen["version"], &seen["nowhere"]["code"]), (&json!("2025-11-25"), &json!(-32_002)));
}

#[test]
fn a_client_that_starts_its_servers_itself() {
    let folder = tempfile::tempdir().unwrap();
    let server = node(folder.path());
    let program = json!([binary(), "--server", server.url, "mcp"]);
    for scenario in ["modern", "legacy"] {
        worked(&client(&format!("stdio:{program}"), scenario));
    }
    let form = client(&format!("stdio:{program}"), "form");
    assert_eq!(form["approved"]["structured"], json!({ "paid": 12, "by": "mcp-person" }));
}

#[test]
fn people_answer_what_a_run_asks() {
    let folder = tempfile::tempdir().unwrap();
    let server = node(folder.path());
    let seen = client(&format!("{}/mcp", server.url), "form");
    let asked = &seen["asked"][0];
    assert_eq!(seen["asked"].as_array().map(Vec::len), Some(1), "{seen}");
    assert!(asked["message"].as_str().unwrap().contains("Pay the invoice"), "{asked}");
    assert_eq!(asked["requestedSchema"]["properties"]["decision"]["enum"], json!(["approve", "reject"]));
    assert_eq!(asked["requestedSchema"]["properties"]["amount"]["type"], "integer");
    assert_eq!(seen["approved"]["structured"], json!({ "paid": 12, "by": "mcp-person" }));
    // Who looks away is not asked again by the same call; later they are, by the tool that looks at a run.
    let declined = seen["declined"]["text"][0].as_str().unwrap();
    assert!(declined.contains("has not ended") && seen["declinedForms"] == 1, "{seen}");
    assert_eq!(seen["later"]["structured"], json!({ "paid": 12, "by": "mcp-person" }));
    // What does not count is told to whoever said it.
    assert_eq!(seen["misfit"]["error"], true);
    assert!(seen["misfit"]["text"][0].as_str().unwrap().contains("does not count"), "{}", seen["misfit"]);
    // Whose client shows no forms is told that a person is waited for, and goes on.
    let silent = seen["silent"]["text"][0].as_str().unwrap();
    assert!(silent.contains("approval") && silent.contains("heddle_run"), "{silent}");
    assert_eq!(seen["look"]["error"], false);
    assert!(seen["cancelled"]["text"][0].as_str().unwrap().contains("is being cancelled"));
    assert_eq!(seen["over"]["error"], true);
    assert!(seen["over"]["text"][0].as_str().unwrap().contains("cancelled"), "{}", seen["over"]);
}

#[test]
fn what_takes_longer_is_a_task() {
    let folder = tempfile::tempdir().unwrap();
    let server = node(folder.path());
    let seen = client(&format!("{}/mcp", server.url), "tasks");
    assert_eq!(seen["quick"]["seen"], json!([]), "what is over at once needs no task");
    assert_eq!(seen["quick"]["result"]["structured"], json!({ "greeting": "Dear Ada" }));
    let statuses = |of: &str| {
        let seen = seen[of]["seen"].as_array().unwrap().iter();
        seen.map(|state| state["status"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(statuses("slow"), "working completed");
    assert_eq!(seen["slow"]["result"]["structured"], json!({ "rested": true }));
    // The task is the run.
    let run = server.get(&format!("/v1/runs/{}", seen["slow"]["seen"][0]["taskId"].as_str().unwrap()));
    assert_eq!(run.body["status"], "succeeded");
    assert!(seen["slow"]["seen"][0]["statusMessage"].as_str().unwrap().contains("rest"), "{}", seen["slow"]);
    assert!(statuses("asking").contains("input_required") && statuses("asking").ends_with("completed"));
    assert_eq!(seen["asking"]["result"]["structured"], json!({ "paid": 12, "by": "mcp-person" }));
    // What a person has rejected is an answer of the tool, not a broken protocol.
    assert!(statuses("rejected").ends_with("completed"));
    assert_eq!(seen["rejected"]["result"]["error"], true);
    assert!(seen["rejected"]["result"]["text"][0].as_str().unwrap().contains("too much"));
    assert_eq!(statuses("cancelled"), "working cancelled");
}

/// A run goes with the call that nobody waits for any more, but for one that was begun under a key.
#[test]
fn who_gives_up_cancels() {
    let folder = tempfile::tempdir().unwrap();
    let server = node(folder.path());
    client(&format!("{}/mcp", server.url), "gives_up");
    let runs = server.until(|| {
        let page = server.get("/v1/runs?workflow=test/endless").body;
        let runs = page["items"].as_array().unwrap().clone();
        (runs.len() == 2 && runs.iter().any(|run| run["status"] == "cancelled")).then_some(runs)
    });
    let kept = runs.iter().find(|run| run["status"] == "waiting").unwrap();
    assert_eq!(kept["labels"]["door"], "mcp");
}

/// Tools that are not offered are not there, and those of the node itself always are.
#[test]
fn only_what_is_offered_is_a_tool() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = node(folder.path());
    server.kill();
    let names = |offered: &str| {
        let mut server = Server::start(folder.path(), &[("HEDDLE_MCP_TOOLS", offered)]);
        let listed = post(&server, &request("tools/list", json!({})), &[("mcp-method", "tools/list")]);
        server.kill();
        let tools = listed.body["result"]["tools"].as_array().unwrap_or_else(|| panic!("{listed:?}")).clone();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["heddle_run", "heddle_cancel"]);
    assert_eq!(names("test/word, tool:*"), ["heddle_run", "heddle_cancel", "test_word"]);
    assert_eq!(names("transform:*"), ["heddle_run", "heddle_cancel", "transform_text-chunk"]);
}

/// The suite of the protocol's own authors. What it calls are workflows with the names that it wants.
#[test]
fn the_conformance_suite() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for text in [
        of(
            "simple_text",
            "title: T",
            "steps: {a: {set: \"This is a simple text response for testing.\"}}\noutput: {as: \"${ steps.a.output }\"}",
        ),
        of("error_handling", "title: T", "steps: {a: {set: \"${ input.missing }\"}}"),
        of(
            "tool_with_progress",
            "title: T",
            "steps: {a: {wait: {for: 400ms}}, b: {wait: {for: 400ms}, dependsOn: [a]}}",
        ),
    ] {
        publish(&server, &text);
    }
    let (node, suite) = tools::mcp_conformance();
    let output = Command::new(node)
        .arg(suite)
        .args(["server", "--url", &format!("{}/mcp", server.url), "--expected-failures"])
        .arg(root().join("tests/tests/mcp/conformance.yaml"))
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let passed = said.lines().filter(|line| line.starts_with('✓')).count();
    assert!(output.status.success() && passed >= 9, "{passed}: {said}");
}

fn request(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    });
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

fn post(server: &Server, body: &Value, headers: &[(&str, &str)]) -> heddle_tests::Answer {
    let always = [("accept", "application/json, text/event-stream"), ("mcp-protocol-version", MODERN)];
    let headers: Vec<(&str, &str)> = always.iter().chain(headers).copied().collect();
    server.post_with("/mcp", body, &headers)
}

/// Case 82: batches, ids used twice, storms of notifications, other origins and hosts, guessed sessions.
#[test]
fn what_no_client_sends_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = node(folder.path());
    let list = request("tools/list", json!({}));
    let method = ("mcp-method", "tools/list");
    assert_eq!(post(&server, &list, &[method]).status, 200);
    // With a slash at the end it is the same path.
    let slash = server.post_with(
        "/mcp/",
        &list,
        &[("accept", "application/json, text/event-stream"), ("mcp-protocol-version", MODERN), method],
    );
    assert_eq!(slash.status, 200);
    let batch: Vec<Value> = (0..10_000).map(|_| list.clone()).collect();
    let answer = post(&server, &json!(batch), &[method]);
    assert!((400..500).contains(&answer.status), "{answer:?}");
    // The page of another origin, and a name of ours that is not ours.
    assert_eq!(post(&server, &list, &[method, ("origin", "https://evil.example")]).status, 403);
    assert_eq!(post(&server, &list, &[method, ("host", "rebound.example")]).status, 403);
    // The header must say what the body says.
    let other = post(&server, &list, &[("mcp-method", "tools/call")]);
    assert_eq!((other.status, &other.body["error"]["code"]), (400, &json!(-32_020)), "{other:?}");
    let mut old = list.clone();
    old["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("1999-01-01");
    let answer = server.post_with(
        "/mcp",
        &old,
        &[("accept", "application/json, text/event-stream"), ("mcp-protocol-version", "1999-01-01"), method],
    );
    assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &json!(-32_022)), "{answer:?}");
    let answer = post(&server, &request("tools/burn", json!({})), &[("mcp-method", "tools/burn")]);
    assert_eq!((answer.status, &answer.body["error"]["code"]), (404, &json!(-32_601)), "{answer:?}");
    // A task without having said that one knows tasks.
    let get = request("tasks/get", json!({ "taskId": "guessed" }));
    let answer = post(&server, &get, &[("mcp-method", "tasks/get"), ("mcp-name", "guessed")]);
    assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &json!(-32_021)), "{answer:?}");
    let mut get = get;
    get["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
        json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let answer = post(&server, &get, &[("mcp-method", "tasks/get"), ("mcp-name", "guessed")]);
    assert_eq!((answer.status, &answer.body["error"]["code"]), (200, &json!(-32_602)), "{answer:?}");
    // There are no sessions to guess: one that is named changes nothing.
    assert_eq!(post(&server, &list, &[method, ("mcp-session-id", "00000000")]).status, 200);
    assert_eq!(server.get("/mcp").status, 405);
    assert_eq!(server.delete("/mcp").status, 405);
    // Notifications ask for no answer, however many there are.
    let told = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    for _ in 0..200 {
        assert_eq!(post(&server, &told, &[("mcp-method", "notifications/cancelled")]).status, 202);
    }
    // A state that another server made, a person that is none, a body that is too large or no JSON.
    let mut forged =
        request("tools/call", json!({ "name": "test_asking", "arguments": {}, "requestState": "../x" }));
    let call = [("mcp-method", "tools/call"), ("mcp-name", "test_asking")];
    let answer = post(&server, &forged, &call);
    assert_eq!(answer.body["error"]["code"], -32_602, "{answer:?}");
    forged["params"]["requestState"] = json!("018f2f3a-0000-7000-8000-000000000000");
    assert_eq!(post(&server, &forged, &call).body["error"]["code"], -32_602);
    assert_eq!(post(&server, &list, &[method, ("heddle-user", "a b")]).status, 400);
    odd_messages(&server, call);
    let big =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "x": "x".repeat(5 << 20) } });
    // It may hang up before it has read all of it.
    let refused = server.try_post("/mcp", &big, &[method]);
    assert!(refused.is_none_or(|answer| answer.status == 413));
    assert_eq!(server.get("/livez").status, 200);
}

fn odd_messages(server: &Server, call: [(&str, &str); 2]) {
    for (body, code) in [("{\"jsonrpc\":", -32_700), ("42", -32_600), ("{\"jsonrpc\":\"1.0\"}", -32_600)] {
        let answer = server.post_text("/mcp", body, &[("accept", "application/json, text/event-stream")]);
        assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &json!(code)), "{answer:?}");
    }
    // What has another form than its method wants is no unknown method.
    let odd = request("tools/call", json!({ "name": "test_asking", "arguments": "Ada" }));
    assert_eq!(post(server, &odd, &call).body["error"]["code"], -32_602);
    let mut keyed = request("tools/call", json!({ "name": "test_asking", "arguments": {} }));
    keyed["params"]["_meta"]["heddle/idempotencyKey"] = json!(7);
    assert_eq!(post(server, &keyed, &call).body["error"]["code"], -32_602);
    let flat = request("tools/call", json!({ "name": "test_word", "arguments": { "text": "hi" } }));
    let flat = post(server, &flat, &[call[0], ("mcp-name", "test_word")]);
    assert_eq!(flat.body["result"]["isError"], true, "{flat:?}");
    assert!(flat.body["result"]["content"][0]["text"].as_str().unwrap().contains("in the member `input`"));
}
