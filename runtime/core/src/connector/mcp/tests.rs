//! Messages as servers send them, and what comes of them.

use super::import::{Asked, Listing};
use super::*;
use crate::connector::dialogue::Dialogue;
use crate::connector::{Connector, Endpoint};
use crate::limits::Limits;
use serde_json::json;

fn document(protocol: &str) -> String {
    format!(
        "connector: \"1.0\"\nname: crm\nversion: 1.0.0\nbaseUrl: https://crm.example/mcp\nmcp: \"{protocol}\"\nauth: {{bearer: crm-key}}\nendpoints:\n  find: {{tool: findCustomer, input: {{type: object, properties: {{q: {{type: string}}}}}}}}\n  drop: {{tool: dropCustomer, destructive: true}}\n"
    )
}

fn told<'a>(
    endpoint: &'a Endpoint,
    input: &'a Json,
    secret: Result<String, String>,
    key: &'a str,
) -> Told<'a> {
    Told { endpoint, input, secret, key, again: false }
}

fn endpoint(protocol: &str) -> Endpoint {
    let connector = Connector::read(&document(protocol), &Limits::default()).unwrap();
    connector.tools[0].endpoint.clone()
}

fn answer(status: u16, kind: &str, body: &str) -> HttpResponse {
    let headers = vec![("content-type".to_owned(), kind.to_owned())];
    HttpResponse { status, headers, body: body.as_bytes().to_vec() }
}

fn json_answer(body: Wire) -> HttpResponse {
    answer(200, "application/json", &body.to_string())
}

fn sent(turn: Turn) -> (HttpRequest, Wire) {
    let Turn::Send(request) = turn else { panic!("{turn:?}") };
    let body = request.body.as_deref().map_or(Wire::Null, |body| serde_json::from_slice(body).unwrap());
    (*request, body)
}

fn header_of<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let mut found = request.headers.iter().filter(|(known, _)| known == name);
    let value = found.next().map(|(_, value)| &**value);
    assert!(found.next().is_none(), "`{name}` is sent twice: {request:?}");
    value
}

#[test]
fn a_server_without_sessions_is_asked_once() {
    let (endpoint, input) = (endpoint(MODERN), Json::parse(br#"{"q":"Ada","price":1.50}"#).unwrap());
    let mut call = Dialogue::new(told(&endpoint, &input, Ok("k-1".into()), "key-7"));
    let (request, body) = sent(call.begin());
    assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "https://crm.example/mcp"));
    for (name, value) in [
        ("authorization", "Bearer k-1"),
        ("accept", ACCEPT),
        ("content-type", "application/json"),
        ("mcp-protocol-version", MODERN),
        ("mcp-method", "tools/call"),
        ("mcp-name", "findCustomer"),
    ] {
        assert_eq!(header_of(&request, name), Some(value), "{name}");
    }
    assert_eq!((&body["method"], &body["params"]["name"]), (&json!("tools/call"), &json!("findCustomer")));
    assert_eq!(body["params"]["_meta"]["heddle/idempotencyKey"], "key-7");
    assert_eq!(body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], MODERN);
    // A number is sent as it was written.
    assert!(String::from_utf8(request.body.unwrap()).unwrap().contains("\"price\":1.50"));
    let result = json!({ "resultType": "complete", "content": [], "structuredContent": { "id": 7 } });
    let done = call.next(&json_answer(json!({ "jsonrpc": "2.0", "id": 1, "result": result })));
    assert_eq!(done, Turn::Done(Outcome::Done(Json::parse(br#"{"id":7}"#).unwrap())));
}

/// What takes long becomes a task, which is looked after.
#[test]
fn what_takes_long_is_looked_after() {
    let (endpoint, input) = (endpoint(MODERN), Json::trusted("{}"));
    let begun = |status: &str| json!({ "id": 1, "result": { "resultType": "task", "taskId": "t-1", "status": status } });
    let mut call = Dialogue::new(told(&endpoint, &input, Ok("k".into()), "key"));
    let (_, body) = sent(call.begin());
    let can = &body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]["extensions"];
    assert!(can["io.modelcontextprotocol/tasks"].is_object(), "{body}");
    let mut turn = call.next(&json_answer(begun("working")));
    for wait in [100, 200, 400] {
        let Turn::Later(ms, request) = turn else { panic!("{turn:?}") };
        assert_eq!(
            (ms, header_of(&request, "mcp-method"), header_of(&request, "mcp-name")),
            (wait, Some("tasks/get"), Some("t-1"))
        );
        turn =
            call.next(&json_answer(json!({ "id": 1, "result": { "taskId": "t-1", "status": "working" } })));
    }
    let done = json!({ "id": 1, "result": { "taskId": "t-1", "status": "completed", "result": { "content": [], "structuredContent": { "n": 1 } } } });
    assert_eq!(call.next(&json_answer(done)), Turn::Done(Outcome::Done(Json::trusted(r#"{"n":1}"#))));
    for (ended, code) in
        [("input_required", "mcp_input_required"), ("cancelled", "mcp_cancelled"), ("failed", "mcp_0")]
    {
        let mut call = Dialogue::new(told(&endpoint, &input, Ok("k".into()), "key"));
        call.begin();
        call.next(&json_answer(begun("working")));
        let turn =
            call.next(&json_answer(json!({ "id": 1, "result": { "taskId": "t-1", "status": ended } })));
        assert!(
            matches!(&turn, Turn::Done(Outcome::Failed(failure)) if failure.code.as_deref() == Some(code)),
            "{turn:?}"
        );
    }
}

#[test]
fn an_older_one_wants_a_session() {
    let (endpoint, input) = (endpoint("2025-11-25"), Json::trusted("{}"));
    let mut call = Dialogue::new(told(&endpoint, &input, Ok("k".into()), "key"));
    let (request, body) = sent(call.begin());
    assert_eq!((&body["method"], header_of(&request, "mcp-protocol-version")), (&json!("initialize"), None));
    let mut hello = json_answer(json!({ "id": 1, "result": { "protocolVersion": "2025-11-25" } }));
    hello.headers.push(("mcp-session-id".into(), "s-1".into()));
    let (request, body) = sent(call.next(&hello));
    assert_eq!((&body["method"], body.get("id")), (&json!("notifications/initialized"), None));
    assert_eq!(header_of(&request, "mcp-session-id"), Some("s-1"));
    let (request, body) = sent(call.next(&answer(202, "", "")));
    assert_eq!((&body["method"], header_of(&request, "mcp-method")), (&json!("tools/call"), None));
    assert_eq!(header_of(&request, "mcp-protocol-version"), Some("2025-11-25"));
    let events = "event: message\r\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\r\n\r\nid: 3\r\ndata: {\"jsonrpc\":\"2.0\",\r\ndata: \"id\":1,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"seven\"}]}}\r\n\r\n";
    let (request, _) = sent(call.next(&answer(200, "text/event-stream; charset=utf-8", events)));
    assert_eq!((request.method.as_str(), request.body.as_deref()), ("DELETE", None));
    let seven = Outcome::Done(Json::trusted("\"seven\""));
    assert_eq!(call.known(), Some(seven.clone()));
    assert_eq!(call.next(&answer(405, "", "")), Turn::Done(seven), "how it says goodbye matters to nobody");
}

#[test]
fn a_server_that_speaks_otherwise_now_is_told_of() {
    let (endpoint, input) = (endpoint("2025-06-18"), Json::trusted("{}"));
    let mut call = Dialogue::new(told(&endpoint, &input, Ok("k".into()), "key"));
    call.begin();
    let turn = call.next(&json_answer(json!({ "id": 1, "result": { "protocolVersion": "2025-11-25" } })));
    let Turn::Done(Outcome::Failed(failure)) = turn else { panic!("{turn:?}") };
    assert!(failure.message.contains("import the connector again"), "{failure:?}");
}

#[test]
fn what_goes_wrong_has_a_code() {
    let (endpoint, input) = (endpoint(MODERN), Json::trusted("{}"));
    let failed = |response: HttpResponse| {
        let mut call = Dialogue::new(told(&endpoint, &input, Ok("k".into()), "key"));
        call.begin();
        match call.next(&response) {
            Turn::Done(Outcome::Failed(failure)) => {
                (failure.code.unwrap_or_default().to_string(), failure.retryable, failure.message)
            }
            other => panic!("{other:?}"),
        }
    };
    let error =
        json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32602, "message": "no such customer" } });
    let (code, again, message) = failed(json_answer(error.clone()));
    assert_eq!((code.as_str(), again), ("mcp_32602", false));
    assert!(message.contains("no such customer"));
    assert_eq!(failed(answer(400, "application/json", &error.to_string())).0, "mcp_32602");
    let said = json!({ "id": 1, "result": { "isError": true, "content": [{ "type": "text", "text": "it is closed" }] } });
    let (code, _, message) = failed(json_answer(said));
    assert_eq!(code, "tool_error");
    assert!(message.contains("it is closed"));
    assert_eq!(
        failed(json_answer(json!({ "id": 1, "result": { "resultType": "input_required" } }))).0,
        "mcp_input_required"
    );
    for body in ["<h1>later</h1>".to_owned(), error.to_string()] {
        let (code, again, _) = failed(answer(503, "application/json", &body));
        assert_eq!((code.as_str(), again), ("http_503", true), "whatever stands in it");
    }
    // Somebody else's answer, or none at all.
    for body in
        ["", "<html>", "{}", "{\"id\":2,\"result\":{}}", "[]", "{\"id\":1}", "{\"id\":1,\"result\":7}"]
    {
        assert!(
            failed(answer(200, "application/json", body)).2.contains("is `baseUrl` the address"),
            "{body}"
        );
    }
    let mut denied = Dialogue::new(told(&endpoint, &input, Err("`crm-key` is not granted".into()), "key"));
    assert!(
        matches!(denied.begin(), Turn::Done(Outcome::Failed(failure)) if failure.kind == FailureKind::CapabilityDenied)
    );
}

#[test]
fn what_is_no_text_is_given_as_it_came() {
    let result = json!({ "content": [{ "type": "image", "data": "AA==", "mimeType": "image/png" }] });
    assert_eq!(
        outcome_of(&result),
        Outcome::Done(Json::parse(result["content"].to_string().as_bytes()).unwrap())
    );
    let two = json!({ "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] });
    assert_eq!(outcome_of(&two), Outcome::Done(Json::trusted("\"a\\nb\"")));
}

#[test]
fn a_document_says_what_is_wrong_with_it() {
    let connector = Connector::read(&document(MODERN), &Limits::default()).unwrap();
    assert!(!connector.tools[0].endpoint.destructive && connector.tools[1].endpoint.destructive);
    assert_eq!(connector.tools[1].metadata.reference(), "tool:crm/drop");
    let faults = |text: &str| {
        let faults = Connector::read(text, &Limits::default()).unwrap_err();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert!(faults(&document("2024-11-05")).contains("2026-07-28"));
    let other = document(MODERN).replace("tool: findCustomer", "path: /find");
    assert!(faults(&other).contains("`tool`") && faults(&other).contains("path"), "{}", faults(&other));
}

fn listed(answers: &[HttpResponse]) -> (Vec<String>, Result<Wire, String>) {
    let mut listing =
        Listing::new("https://crm.example/mcp/", "crm", vec![("authorization".into(), "Bearer t".into())]);
    let (mut request, mut methods) = (listing.begin(), Vec::new());
    for answer in answers {
        let body: Wire = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
        methods.push(body["method"].as_str().unwrap().to_owned());
        assert_eq!(header_of(&request, "authorization"), Some("Bearer t"));
        match listing.next(answer) {
            Ok(Asked::Send(next)) => request = *next,
            Ok(Asked::Done(found)) => return (methods, Ok(found.document)),
            Err(why) => return (methods, Err(why)),
        }
    }
    panic!("{methods:?}");
}

#[test]
fn the_tools_of_a_server_make_a_connector() {
    let discover = json!({ "id": 1, "result": { "supportedVersions": [MODERN], "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "crm", "version": "v2.1" } } } });
    let first = json!({ "id": 1, "result": { "nextCursor": "x", "tools": [
        { "name": "findCustomer", "description": "Finds.", "inputSchema": { "$schema": "x", "type": "object" }, "outputSchema": { "type": "object" }, "annotations": { "title": "Find" } },
    ] } });
    let second = json!({ "id": 1, "result": { "tools": [
        { "name": "find_customer", "inputSchema": { "type": "object" } },
        { "name": "drop", "inputSchema": { "type": "object" }, "annotations": { "destructiveHint": true, "readOnlyHint": true } },
        { "name": "region", "inputSchema": { "type": "object", "properties": { "r": { "type": "string", "x-mcp-header": "Region" } } } },
    ] } });
    let (methods, document) = listed(&[discover, first, second].map(json_answer));
    assert_eq!(methods, ["server/discover", "tools/list", "tools/list"]);
    let document = document.unwrap();
    assert_eq!(
        (&document["version"], &document["mcp"], &document["baseUrl"]),
        (&json!("2.1.0"), &json!(MODERN), &json!("https://crm.example/mcp/"))
    );
    let tools = &document["endpoints"];
    assert_eq!(
        tools["find-customer"],
        json!({ "tool": "findCustomer", "title": "Find", "description": "Finds.", "input": { "type": "object" }, "response": { "type": "object" } })
    );
    assert_eq!((tools.as_object().unwrap().len(), &tools["drop"]["destructive"]), (2, &json!(true)));
    Connector::read(&document.to_string(), &Limits::default()).unwrap();
}

#[test]
fn an_older_server_is_asked_in_its_own_words() {
    let unknown = answer(404, "text/plain", "no");
    let hello = json_answer(
        json!({ "id": 1, "result": { "protocolVersion": "2025-06-18", "serverInfo": { "name": "old", "version": "1.2.3" } } }),
    );
    let tools = json_answer(json!({ "id": 1, "result": { "tools": [{ "name": "a", "inputSchema": {} }] } }));
    let (methods, document) = listed(&[unknown.clone(), hello, answer(202, "", ""), tools]);
    assert_eq!(methods, ["server/discover", "initialize", "notifications/initialized", "tools/list"]);
    assert_eq!(document.unwrap()["mcp"], "2025-06-18");
    let (_, refused) = listed(&[unknown.clone(), unknown]);
    assert!(refused.unwrap_err().contains("is this the address"));
    let (_, refused) = listed(&[answer(401, "text/plain", "who?")]);
    assert!(refused.unwrap_err().contains("--header"));
}
