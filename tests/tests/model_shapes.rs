//! What agents send to providers, held to what the official clients declare and send: the types, the paths, the headers, and
//! the bodies byte by byte of meaning. And that what the tests answer is what those clients read.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::model::{KEY, Models, Said, completion, configured};
use heddle_tests::{Server, root, tools, workflow};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Stdio};

const GRANTED: &str = "[models.fast]\nuse = [\"stub/m-1\"]\n[grants.\"agent:react\"]\nmodels = [\"fast\"]\n";

/// The bodies of an agent that calls a tool and then answers in a form.
fn sent(models: &Models, speaks: &str, path: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let base = if speaks == "openai" { models.url("/v1") } else { models.url("") };
    configured(folder.path(), &[("stub", &base, speaks)], GRANTED);
    let server = Server::with_plugins(folder.path(), &["react", "text_chunk"]);
    let goal = "{goal: \"cut it\", input: {text: \"a b\"}, schema: {type: object, properties: {n: {type: integer}}, required: [n], additionalProperties: false}}";
    let body = format!(
        "steps: {{ask: {{agent: {{use: react, goal: {goal}, tools: [\"transform:text-chunk\"]}}}}}}\noutput: {{as: \"${{ steps.ask.output }}\"}}"
    );
    let run = server.run(&workflow("asking", &body), json!({}));
    assert_eq!(run["status"], "succeeded", "{run}");
    let asked = models.asked(path);
    assert_eq!(asked.len(), 2, "{asked:?}");
    for one in &asked {
        assert_eq!(one.headers["content-type"], "application/json");
        match speaks {
            "openai" => assert_eq!(one.headers["authorization"], format!("Bearer {KEY}")),
            _ => assert_eq!(
                (&*one.headers["x-api-key"], &*one.headers["anthropic-version"]),
                (KEY, "2023-06-01")
            ),
        }
    }
    asked.into_iter().map(|one| one.body).collect()
}

/// What the official client of a provider reads, when it sends these.
fn replayed(provider: &str, url: &str, bodies: &[Value]) -> Value {
    let mut command = Command::new(tools::python_with_models());
    command.arg(root().join("tests/tests/model_shapes/client.py")).args([provider, url]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(json!(bodies).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn as_the_client_of_openai_does() {
    let models = Models::start(|_, n| match n % 2 {
        0 => completion(None, &[("transform_text-chunk", &json!({ "text": "a b", "size": 5 }))]),
        _ => completion(Some("{\"n\":1}"), &[]),
    });
    let bodies = sent(&models, "openai", "/v1/chat/completions");
    let seen = replayed("openai", &models.url("/replay/v1"), &bodies);
    let asked = models.asked("/replay/v1/chat/completions");
    assert_eq!(asked.iter().map(|one| &one.body).collect::<Vec<_>>(), bodies.iter().collect::<Vec<_>>());
    assert_eq!(seen[0]["calls"][0][0], "transform_text-chunk");
    assert_eq!((&seen[1]["text"], &seen[1]["tokens"]), (&json!("{\"n\":1}"), &json!([100, 10])));
    // The second one tells what the tool gave, for the call that wanted it.
    let messages = bodies[1]["messages"].as_array().unwrap();
    let told = messages.iter().find(|message| message["role"] == "tool").unwrap();
    let wanted = messages.iter().find(|message| message["tool_calls"].is_array()).unwrap();
    assert_eq!(told["tool_call_id"], wanted["tool_calls"][0]["id"]);
}

#[test]
fn as_the_client_of_anthropic_does() {
    let message = |stop: &str, content: Value| {
        Said::json(&json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m-1", "stop_reason": stop,
            "stop_sequence": null, "content": content, "usage": { "input_tokens": 7, "output_tokens": 3 },
        }))
    };
    let models = Models::start(move |_, n| match n % 2 {
        0 => message(
            "tool_use",
            json!([{ "type": "tool_use", "id": "toolu_1", "name": "transform_text-chunk", "input": { "text": "a b", "size": 5 } }]),
        ),
        _ => message("end_turn", json!([{ "type": "text", "text": "{\"n\":1}" }])),
    });
    let bodies = sent(&models, "anthropic", "/v1/messages");
    let seen = replayed("anthropic", &models.url("/replay"), &bodies);
    let asked = models.asked("/replay/v1/messages");
    assert_eq!(asked.iter().map(|one| &one.body).collect::<Vec<_>>(), bodies.iter().collect::<Vec<_>>());
    assert_eq!(seen[0]["calls"][0][0], "transform_text-chunk");
    assert_eq!((&seen[1]["text"], &seen[1]["tokens"]), (&json!("{\"n\":1}"), &json!([7, 3])));
}
