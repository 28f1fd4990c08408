//! Requests by `wasi:http`: a plugin that is written with an ordinary HTTP library has what `heddle:host/http` gives, under
//! the same grants and bounds, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::service::Service;
use heddle_tests::{Server, plugin, workflow};
use serde_json::{Value, json};
use std::path::Path;

const SECRET: &str = "s3cr3t/value+of-42";

/// A node that lets `tool:ordinary` send requests to this service.
fn asking(folder: &Path, service: &Service, env: &[(&str, &str)]) -> Server {
    let place = service.url("");
    std::fs::write(folder.join("key.txt"), SECRET).unwrap();
    let text = format!(
        "[egress]\nallow_private = [\"127.0.0.0/8\"]\n[secrets]\napi-key = \"file:key.txt\"\n[grants.\"tool:ordinary\"]\nhttp = [\"GET|POST|HEAD {place}\"]\nsecrets = [\"api-key {place}\"]\n"
    );
    std::fs::write(folder.join("heddle.toml"), text).unwrap();
    let server = Server::start(folder, env);
    server.push(plugin("ordinary"));
    let body = "steps: {ask: {call: \"tool:ordinary\", with: \"${ input }\"}}\noutput: {as: \"${ steps.ask.output.answers }\"}";
    let published = server.post_bytes("/v1/workflows", "application/yaml", workflow("ordinary", body));
    assert_eq!(published.status, 201, "{published:?}");
    server
}

fn run(server: &Server, input: &Value) -> Value {
    let run = server.post("/v1/runs", &json!({ "workflow": "test/ordinary", "input": input }));
    assert_eq!(run.status, 202, "{run:?}");
    server.ended(run.body["id"].as_str().unwrap())
}

/// The first answer.
fn ask(server: &Server, input: &Value) -> Value {
    let run = run(server, input);
    run["output"][0].as_object().unwrap_or_else(|| panic!("{run}"));
    run["output"][0].clone()
}

fn fault(server: &Server, input: &Value) -> String {
    let answer = ask(server, input);
    answer["fault"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[test]
fn an_ordinary_library_sends_and_reads() {
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start());
    let server = asking(folder.path(), &service, &[]);
    let shown = server.get("/v1/plugins/ordinary").body["items"][0].clone();
    assert!(shown["needs"].as_array().unwrap().contains(&json!("http")), "{shown}");
    // What it says, with the secret where it belongs and nowhere else.
    let headers = json!([["x-key", "Bearer {secret}"], ["accept", "text/plain"]]);
    let echo = ask(
        &server,
        &json!({ "url": service.url("/echo/x?a=b"), "method": "POST", "headers": headers, "body": 70_000 }),
    );
    assert_eq!(echo["ok"]["status"], 200, "{echo}");
    let came = String::from_utf8(service.came().pop().unwrap()).unwrap();
    assert!(
        came.starts_with("POST /echo/x?a=b HTTP/1.1\r\n") && came.contains("content-length: 70000\r\n"),
        "{came:.400}"
    );
    assert!(came.contains(&format!("x-key: Bearer {SECRET}\r\n")) && came.ends_with("xxxx"), "{came:.400}");
    assert!(echo["ok"]["bytes"].as_u64().unwrap() > 70_000 && !echo.to_string().contains(SECRET), "{echo}");
    // An answer of many reads, one without a body, and one that is no success.
    let big = ask(&server, &json!({ "url": service.url("/bytes/3000000") }));
    assert_eq!(big["ok"]["bytes"], 3_000_000, "{big}");
    let none = ask(&server, &json!({ "url": service.url("/bytes/0"), "method": "HEAD" }));
    assert_eq!((&none["ok"]["status"], &none["ok"]["bytes"]), (&json!(200), &json!(0)));
    let refused = ask(&server, &json!({ "url": service.url("/status/503") }));
    assert_eq!(refused["ok"]["status"], 503);
    // Twelve together: six at a time, and all of them.
    let many = run(&server, &json!({ "url": service.url("/busy"), "times": 12 }));
    assert_eq!(
        many["output"].as_array().unwrap().iter().filter(|a| a["ok"]["body"] == "done").count(),
        12,
        "{many}"
    );
    assert!((2..=6).contains(&service.most_at_once()), "{}", service.most_at_once());
}

/// Cases 40, 41, 44, 46, 47, 49 and 50 by the other door. Case 220.
#[test]
fn what_is_refused_by_our_door_is_refused_by_this_one() {
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start());
    let more = [("HEDDLE_LIMITS_HTTP_REQUEST_BYTES", "1MiB"), ("HEDDLE_LIMITS_HTTP_RESPONSE_BYTES", "1MiB")];
    let server = asking(folder.path(), &service, &more);
    let denied = |url: &str| fault(&server, &json!({ "url": url }));
    for url in ["https://example.com/", "http://169.254.169.254/", "http://127.0.0.1:9/", "ftp://127.0.0.1/"]
    {
        let said = denied(url);
        assert!(said.contains("HttpRequestDenied") || said.contains("InternalError"), "{url}: {said}");
    }
    assert!(service.came().is_empty(), "nothing was sent");
    assert!(denied(&service.url("/bytes/2000000")).contains("HttpResponseBodySize"));
    let body = json!({ "url": service.url("/echo"), "method": "POST", "body": 2_000_000 });
    assert!(!fault(&server, &body).is_empty());
    assert!(
        service.came().iter().all(|came| !came.starts_with(b"POST")),
        "a body that is too large is not sent"
    );
    let redirect = ask(&server, &json!({ "url": service.url("/redirect") }));
    assert_eq!(redirect["ok"]["status"], 302, "it is handed back: {redirect}");
    let late = fault(&server, &json!({ "url": service.url("/hang"), "firstByteMs": 100 }));
    assert!(late.contains("HttpResponseTimeout"), "{late}");
    let none = fault(&server, &json!({ "url": service.url("/hang"), "firstByteMs": 0 }));
    assert!(none.contains("HttpResponseTimeout"), "{none}");
    let short = fault(&server, &json!({ "url": service.url("/short") }));
    assert!(short.contains("broke off"), "{short}");
    // Headers of the connection, and a length that is not that of the body.
    for (name, value) in [("connection", "close"), ("proxy-authorization", "x"), ("content-length", "7")] {
        let headers = json!({ "url": service.url("/echo"), "headers": [[name, value]] });
        assert!(!fault(&server, &headers).is_empty(), "{name}");
    }
    // More than there may be.
    let many = run(&server, &json!({ "url": service.url("/busy"), "times": 40 }));
    let refused = many["output"].as_array().unwrap().iter().filter(|answer| answer["fault"].is_string());
    assert_eq!(refused.count(), 8, "{many}");
    // What its attempt fails with where it fails for it.
    let failed = run(&server, &json!({ "url": "http://10.0.0.1/", "fail": true }));
    assert_eq!(failed["steps"][0]["error"]["kind"], "egress_denied", "{failed}");
}
