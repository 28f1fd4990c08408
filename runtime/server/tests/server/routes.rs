//! What a wrong path, method, parameter, header or body is told.

use crate::support::{ask, get, hello, post, raw};

const NOBODY: &str = "0192f000-1234-7abc-8def-0123456789ab";
const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

#[test]
fn a_path_that_is_nothing_and_a_method_that_a_path_lacks() {
    get("/v2/runs").is_problem(404, "route_not_found");
    let problem = ask("DELETE", "/v1/runs", &[], "");
    problem.is_problem(405, "method_not_allowed");
    let allow = problem.header("allow").unwrap_or_default();
    assert!(allow.contains("GET") && allow.contains("POST"), "{problem:?}");
    ask("PATCH", "/livez", &[], "").is_problem(405, "method_not_allowed");
}

#[test]
fn a_slash_at_the_end_is_no_other_path() {
    for path in ["/livez", "/v1/runs", "/version", "/v1/plugins"] {
        assert_eq!(get(path).status, 200, "{path}");
        assert_eq!(get(&format!("{path}/")).status, 200, "{path}/");
        assert_eq!(get(&format!("{path}/?")).status, 200, "{path}/?");
    }
}

#[test]
fn what_is_not_there_is_told_by_its_own_code() {
    for (path, code) in [
        (format!("/v1/runs/{NOBODY}"), "run_not_found"),
        ("/v1/runs/nonsense".into(), "run_not_found"),
        (format!("/v1/runs/{NOBODY}/events"), "run_not_found"),
        (format!("/v1/runs/{NOBODY}/journal"), "run_not_found"),
        (format!("/v1/runs/{NOBODY}/graph"), "run_not_found"),
        (format!("/v1/runs/{NOBODY}/why"), "run_not_found"),
        (format!("/v1/runs/{NOBODY}/steps/a"), "run_not_found"),
        (format!("/v1/runs/{NOBODY}/steps/a/items"), "run_not_found"),
        (format!("/v1/runs/{NOBODY}/values/{DIGEST}"), "value_not_found"),
        ("/v1/workflows/a/b".into(), "workflow_not_found"),
        ("/v1/workflows/a/b/versions/1.0.0".into(), "workflow_not_found"),
        ("/v1/workflows/a/b/versions/latest".into(), "workflow_not_found"),
        ("/v1/plugins/nonsense".into(), "plugin_not_found"),
        (format!("/v1/components/{DIGEST}"), "component_not_found"),
        ("/v1/components/x".into(), "component_not_found"),
    ] {
        get(&path).is_problem(404, code);
    }
    post(&format!("/v1/runs/{NOBODY}/cancel"), "").is_problem(404, "run_not_found");
    post("/v1/runs", r#"{"workflow":"a/b@^1"}"#).is_problem(404, "workflow_not_found");
}

#[test]
fn every_fault_of_a_query_is_told_with_the_nearest_name() {
    let problem =
        get("/v1/runs?stauts=running&limit=0&cursor=x&label=nokey").is_problem(400, "parameter_invalid");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 4, "{problem}");
    assert!(problem.to_string().contains("did you mean `status`"), "{problem}");
    get("/v1/runs?limit=1&limit=2").is_problem(400, "parameter_invalid");
    get("/livez?x=1");
    ask("GET", &format!("/v1/runs/{NOBODY}/events"), &[("Last-Event-ID", "soon")], "")
        .is_problem(400, "parameter_invalid");
    let long = "k".repeat(256);
    let body = format!(r#"{{"definition":{},"input":{{"name":"x"}}}}"#, hello("keys", "1.0.0"));
    ask("POST", "/v1/runs", &[("Content-Type", "application/json"), ("Idempotency-Key", &long)], &body)
        .is_problem(400, "parameter_invalid");
}

#[test]
fn a_body_is_json_of_the_members_that_are_wanted() {
    let problem = post("/v1/runs", "{\n  \"workflow\": nope}").is_problem(400, "json_invalid");
    assert_eq!(
        (&problem["errors"][0]["line"], &problem["errors"][0]["column"]),
        (&2.into(), &16.into()),
        "{problem}"
    );
    post("/v1/runs", r#"{"workflow":"a/b","workflow":"c/d"}"#).is_problem(400, "json_invalid");
    post("/v1/runs", &"[".repeat(100_000)).is_problem(400, "json_depth");
    post("/v1/runs", "[]").is_problem(400, "body_invalid");
    post("/v1/runs", "{}").is_problem(400, "body_invalid");
    post("/v1/runs", r#"{"workflow":"a/b","definition":{}}"#).is_problem(400, "body_invalid");
    let problem =
        post("/v1/runs", r#"{"workflow":"a/b","inputs":{},"labels":[]}"#).is_problem(400, "body_invalid");
    assert!(problem.to_string().contains("did you mean `input`"), "{problem}");
    ask("POST", "/v1/runs", &[("Content-Type", "text/plain")], "{}")
        .is_problem(415, "unsupported_media_type");
}

#[test]
fn what_is_said_twice_or_in_another_alphabet_is_refused() {
    let body = r#"{"workflow":"a/b"}"#;
    let keys = [("Content-Type", "application/json"), ("Idempotency-Key", "x"), ("Idempotency-Key", "y")];
    ask("POST", "/v1/runs", &keys, body).is_problem(400, "parameter_invalid");
    ask("POST", "/v1/runs", &[("Content-Type", "application/json; charset=latin1")], body)
        .is_problem(415, "unsupported_media_type");
    ask("POST", "/v1/runs", &[("Content-Type", "application/json; Charset=\"UTF-8\"")], body)
        .is_problem(404, "workflow_not_found");
    for reference in ["a", "a/b/c", "A/b", "a/b@newest", ""] {
        let problem =
            post("/v1/runs", &format!(r#"{{"workflow":"{reference}"}}"#)).is_problem(400, "body_invalid");
        assert_eq!(problem["errors"][0]["pointer"], "/workflow", "{problem}");
    }
    get("/v1/runs/%ff").is_problem(404, "route_not_found");
    get("/v1/workflows?cursor=zzz").is_problem(400, "parameter_invalid");
    let long = "v".repeat(257);
    let labels = format!(
        r#"{{"definition":{},"input":{{"name":"x"}},"labels":{{"a":"{long}"}}}}"#,
        hello("l", "1.0.0")
    );
    post("/v1/runs", &labels).is_problem(422, "input_too_large");
}

#[test]
fn a_check_says_what_publishing_would() {
    let publish = |target, text: &str| ask("POST", target, &[("Content-Type", "application/json")], text);
    let first = hello("checked", "1.0.0");
    assert_eq!(publish("/v1/workflows", &first).status, 201);
    assert_eq!(publish("/v1/workflows?dryRun=true", &first).status, 200);
    let other = first.replacen("\"steps\"", "\"maxParallel\":3,\"steps\"", 1);
    assert_ne!(other, first);
    publish("/v1/workflows?dryRun=true", &other).is_problem(409, "version_conflict");
    publish("/v1/workflows", &other).is_problem(409, "version_conflict");
}

#[test]
fn all_faults_of_a_workflow_come_at_once() {
    let yaml = "document: {dsl: \"1.0\", namespace: a, name: b, version: 1.0.0}\nsteps:\n  one:\n    sett: 1\n  two:\n    set: ${ steps.three.output }\n    timeout: 30\n";
    for target in ["/v1/workflows?dryRun=true", "/v1/workflows"] {
        let problem = ask("POST", target, &[("Content-Type", "application/yaml")], yaml)
            .is_problem(422, "workflow_invalid");
        let errors = problem["errors"].as_array().unwrap();
        assert!(errors.len() >= 3, "{problem}");
        assert!(errors.iter().any(|e| e["pointer"] == "/steps/one/sett" && e["line"] == 4), "{problem}");
    }
    let inline = serde_json::json!({ "definition": yaml }).to_string();
    let problem = post("/v1/runs", &inline).is_problem(422, "workflow_invalid");
    assert!(problem["errors"].as_array().unwrap().iter().any(|e| e["line"] == 4), "{problem}");
    let bomb = format!("a: &a [x,x]\n{}", (0..200).map(|i| format!("b{i}: *a\n")).collect::<String>());
    ask("POST", "/v1/workflows", &[("Content-Type", "application/yaml")], &bomb)
        .is_problem(422, "yaml_budget");
    ask("POST", "/v1/workflows", &[("Content-Type", "application/yaml")], "a: [")
        .is_problem(400, "yaml_invalid");
}

#[test]
fn bytes_that_are_no_component_are_refused_with_reasons() {
    let push = |bytes: &[u8]| {
        let mut request = format!("POST /v1/plugins HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Type: application/wasm\r\nContent-Length: {}\r\n\r\n", bytes.len()).into_bytes();
        request.extend_from_slice(bytes);
        raw(&request)
    };
    for bytes in [&b"garbage"[..], b"", b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"] {
        let problem = push(bytes).is_problem(422, "component_invalid");
        assert!(!problem["errors"].as_array().unwrap().is_empty(), "{problem}");
    }
    ask("POST", "/v1/plugins", &[("Content-Type", "text/plain")], "x")
        .is_problem(415, "unsupported_media_type");
}

#[test]
fn the_node_says_how_it_is() {
    assert_eq!(get("/livez").json()["status"], "ok");
    assert_eq!(get("/readyz").json()["status"], "ok");
    assert_eq!(get("/version").json()["name"], "heddle");
    let node = get("/v1/node");
    assert_eq!(node.json()["store"]["backend"], "memory", "{node:?}");
    let page = get("/");
    assert!(page.body.contains("<title>Heddle</title>") && page.header("content-security-policy").is_some());
    let metrics = get("/metrics");
    assert!(metrics.body.contains("# TYPE heddle_runs_accepted_total counter"), "{}", metrics.body);
    assert!(get("/metrics").body.contains("heddle_http_requests_total{"), "requests are counted");
    let described = get("/openapi.json").json();
    assert!(described["paths"]["/v1/runs/{id}"]["get"].is_object());
}

#[test]
fn an_incoming_trace_is_kept_in_a_problem() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let problem = ask("GET", "/nothing", &[("traceparent", trace)], "").is_problem(404, "route_not_found");
    assert_eq!(problem["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
}
