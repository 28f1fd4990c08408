//! Connectors: services whose endpoints are tools, at the real binary, with a service at a real socket and with the
//! node's own API by its published description.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

#[allow(dead_code, reason = "shared with the tests of what plugins do outside")]
use heddle_host::testkit::Guest;
use heddle_tests::service::Service;
use heddle_tests::{Server, binary, workflow};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

const SECRET: &str = "s3cr3t/value+of-42";

fn connector(at: &str) -> String {
    format!(
        "connector: \"1.0\"\nname: echoes\nversion: 1.0.0\nbaseUrl: {at}\nauth: {{bearer: api-key}}\nendpoints:\n  say: {{path: \"/echo/{{word}}\", provides: [words.say], parameters: {{word: {{in: path}}, loud: {{in: query, schema: {{type: boolean}}}}}}}}\n  keep: {{method: POST, path: /echo, body: {{type: object, required: [n]}}}}\n  gone: {{path: /status/404}}\n  away: {{path: /redirect}}\n"
    )
}

fn configured(folder: &Path, grants: &str) {
    std::fs::write(folder.join("key.txt"), SECRET).unwrap();
    let text = format!(
        "[egress]\nallow_private = [\"127.0.0.0/8\"]\n[secrets]\napi-key = \"file:key.txt\"\n{grants}\n"
    );
    std::fs::write(folder.join("heddle.toml"), text).unwrap();
}

fn granted(at: &str) -> String {
    format!("[grants.\"tool:echoes/*\"]\nhttp = [\"GET|POST {at}\"]\nsecrets = [\"api-key {at}\"]")
}

fn pushed(server: &Server, text: &str) -> heddle_tests::Answer {
    server.post_bytes("/v1/connectors", "application/yaml", text)
}

fn calling(call: &str, with: &str) -> String {
    let body =
        format!("steps: {{a: {{call: {call}, with: {with}}}}}\noutput: {{as: \"${{ steps.a.output }}\"}}");
    workflow("calling", &body)
}

#[test]
fn an_endpoint_is_a_tool_like_any_other() {
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start());
    let at = service.url("");
    configured(folder.path(), &granted(&at));
    let server = Server::start(folder.path(), &[]);
    let answer = pushed(&server, &connector(&at));
    assert_eq!(
        (answer.status, &answer.body["tools"][0]),
        (201, &json!("tool:echoes/say@1.0.0")),
        "{answer:?}"
    );
    assert_eq!(pushed(&server, &connector(&at)).status, 201, "the same again changes nothing");
    let other = connector(&at).replace("/status/404", "/status/500");
    let refused = pushed(&server, &other);
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("version_conflict")), "{refused:?}");
    // What it says of itself is part of what it is.
    let other = pushed(&server, &connector(&at).replace("words.say", "words.shout"));
    assert_eq!((other.status, &other.body["code"]), (409, &json!("version_conflict")), "{other:?}");
    let listed = server.get("/v1/plugins").body["items"].as_array().unwrap().len();
    assert_eq!(listed, 4, "none of a connector that is refused is loaded");

    let run = server.run(&calling("tool:echoes/say", "{word: \"a b\", loud: true}"), json!({}));
    let said = run["output"].as_str().unwrap_or_else(|| panic!("{run}"));
    assert!(said.starts_with("GET /echo/a%20b?loud=true HTTP/1.1\r\n"), "{said}");
    assert!(
        said.contains("authorization: Bearer heddle-secret-"),
        "the value is taken out of what comes back: {said}"
    );
    assert!(service.came().iter().any(|came| contains(came, &format!("Bearer {SECRET}"))), "and was sent");
    let posted = server.run(&calling("tool:echoes/keep", "{body: {n: 1.50}}"), json!({}));
    let said = posted["output"].as_str().unwrap();
    assert!(said.ends_with("{\"n\":1.50}") && said.contains("idempotency-key: "), "{said}");
    // It has versions like any other, and no component.
    let said = server.get("/v1/plugins/tool:echoes%2Fsay/release");
    assert_eq!((said.status, &said.body["plugin"]), (200, &json!("tool:echoes/say")), "{said:?}");
    let digest = server.get("/v1/plugins/tool:echoes%2Fsay").body["items"][0]["digest"].clone();
    let component = server.get(&format!("/v1/components/{}/content", digest.as_str().unwrap()));
    assert_eq!((component.status, &component.body["code"]), (404, &json!("component_not_found")));
    // By capability, and by an agent's patterns, like any other.
    let by = server.run(&calling("{capability: words.say}", "{word: x}"), json!({}));
    assert_eq!(by["status"], "succeeded", "{by}");
    // The input is checked when it is known, and so are inputs that come later.
    let wrong = json!({ "definition": calling("tool:echoes/keep", "{body: {m: 1}}") });
    let failed = server.post("/v1/runs", &wrong);
    assert!(failed.status == 422 || failed.status == 202, "{failed:?}");
    let gone = server.run(&calling("tool:echoes/gone", "{}"), json!({}));
    assert_eq!(gone["steps"][0]["error"]["code"], "http_404", "{gone}");
    let away = server.run(&calling("tool:echoes/away", "{}"), json!({}));
    let error = &away["steps"][0]["error"];
    assert!(error["message"].as_str().unwrap().contains("nothing is followed"), "{away}");
    // No secret anywhere.
    for (path, text) in files(folder.path()) {
        assert!(!contains(&text, SECRET), "{path}");
    }
    let log = std::fs::read_to_string(folder.path().join("server.log")).unwrap();
    assert!(log.contains("tool:echoes/say") && log.contains("a plugin asked the outside"), "it is on record");
}

/// An agent that does something twice does it twice: a service that honours keys takes neither for the other. The next
/// attempt does the same, with the same keys.
#[test]
fn each_call_of_an_agent_has_a_key_of_its_own() {
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start());
    configured(folder.path(), &granted(&service.url("")));
    let server = Server::start(folder.path(), &[]);
    assert_eq!(pushed(&server, &connector(&service.url(""))).status, 201);
    let tool = r#"(import "heddle:host/tools@0.1.0" "call" (func $tool (param i32 i32 i32 i32 i32)))"#;
    let (name, input) = ("tool:echoes/keep", r#"{"body":{"n":1}}"#);
    let call =
        "(call $tool (i32.const 32768) (i32.const 16) (i32.const 32784) (i32.const 16) (i32.const 40000))";
    // It does it twice, and fails.
    let body = format!("{call}{call} unreachable");
    let agent =
        Guest::agent("twice").imports(tool).data(32_768, format!("{name}{input}").as_bytes()).body(&body);
    server.push(agent.build());
    let body = format!(
        "steps: {{a: {{agent: {{use: twice, goal: {{}}, tools: [\"{name}\"]}}, retry: {{delay: 1ms, limit: {{attempts: 2}}, when: \"${{ true }}\"}}}}}}"
    );
    let run = server.run(&workflow("twice", &body), json!({}));
    assert_eq!(run["status"], "failed", "{run}");
    let came = service.came();
    let key = |came: &Vec<u8>| {
        let text = String::from_utf8_lossy(came).into_owned();
        text.lines().find_map(|line| line.strip_prefix("idempotency-key: ").map(str::to_owned))
    };
    let keys: Vec<String> = came.iter().filter_map(key).collect();
    assert_eq!(keys.len(), 4, "two attempts: {run}");
    assert!(keys[0] != keys[1] && keys[..2] == keys[2..], "{keys:?}");
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Every file of a folder but the one with the secret.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().is_some_and(|name| name != "key.txt") {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

/// Case 219.
#[test]
fn what_is_not_granted_is_refused_by_name() {
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start());
    configured(folder.path(), "");
    let server = Server::start(folder.path(), &[]);
    assert_eq!(pushed(&server, &connector(&service.url(""))).status, 201);
    let published =
        server.post_bytes("/v1/workflows", "application/yaml", calling("tool:echoes/say", "{word: a}"));
    let message = published.body["errors"][0]["message"].as_str().unwrap();
    assert!(published.status == 422 && message.contains("[grants.\"tool:echoes/*\"]"), "{published:?}");
    let faulty = pushed(&server, &connector("ftp://x").replace("GET", "get"));
    assert_eq!((faulty.status, &faulty.body["code"]), (422, &json!("connector_invalid")), "{faulty:?}");
    assert_eq!(faulty.body["errors"][0]["line"], 4, "{faulty:?}");
}

/// The node calls itself: its API, by the document that it publishes.
#[test]
fn a_published_description_becomes_tools() {
    let folder = tempfile::tempdir().unwrap();
    configured(folder.path(), "");
    let server = Server::start(folder.path(), &[]);
    std::fs::write(folder.path().join("openapi.json"), server.text("/openapi.json")).unwrap();
    let typed = |words: &[&str]| {
        let done = Command::new(binary())
            .args(words)
            .args(["--server", &server.url])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
        assert!(done.status.success(), "{words:?}: {out}{err}");
        (out, err)
    };
    let import = [
        "connector",
        "import",
        "openapi.json",
        "--name",
        "node",
        "--base-url",
        &server.url,
        "-o",
        "node.yaml",
    ];
    let (_, told) = typed(&import);
    assert!(told.contains("heddle connector check node.yaml"), "{told}");
    let (tools, grant) = typed(&["connector", "check", "node.yaml"]);
    assert!(tools.contains("tool:node/list-runs  GET /v1/runs"), "{tools}");
    // Of several bodies the one that a tool can write: a component may be named instead of sent.
    assert!(tools.contains("tool:node/push-plugin  POST /v1/plugins"), "{tools}");
    let grant = grant.split_once("heddle.toml:\n").unwrap().1.to_owned();
    let (pushed, _) = typed(&["connector", "push", "node.yaml"]);
    assert!(pushed.contains("tool:node/submit-run@") && pushed.lines().count() > 40, "{pushed}");
    // What it says is to be granted is what it needs.
    let url = server.url.clone();
    drop(server);
    configured(folder.path(), &grant);
    let server = Server::start_at(folder.path(), &url, &[]);
    let definition = workflow("inner", "steps: {a: {set: 42}}\noutput: {as: \"${ steps.a.output }\"}");
    let body = "steps:\n  start: {call: \"tool:node/submit-run\", with: {body: \"${ {'definition': input.definition} }\"}}\n  read: {call: \"tool:node/get-run\", with: {id: \"${ steps.start.output.id }\"}, dependsOn: [start]}\noutput: {as: \"${ steps.read.output.workflow.name }\"}";
    let run = server.run(&workflow("outer", body), json!({ "definition": definition }));
    assert_eq!(run["output"], Value::from("test/inner"), "{run}");
}
