//! What agents answer, and what comes of it.

use super::import::import;
use super::*;
use crate::connector::dialogue::Dialogue;
use crate::connector::{Connector, Endpoint};
use crate::limits::Limits;
use serde_json::json;

const DOCUMENT: &str = "connector: \"1.0\"\nname: planner\nversion: 1.0.0\nbaseUrl: https://agent.example/a2a\na2a: \"1.0\"\nauth: {bearer: k}\nendpoints:\n  plan: {skill: plan_trip}\n";

fn endpoint() -> Endpoint {
    Connector::read(DOCUMENT, &Limits::default()).unwrap().tools.remove(0).endpoint
}

fn told<'a>(endpoint: &'a Endpoint, input: &'a Json, again: bool) -> Told<'a> {
    Told { endpoint, input, secret: Ok("s".into()), key: "run/step", again }
}

fn answer(body: &Wire) -> HttpResponse {
    HttpResponse { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() }
}

fn result(result: Wire) -> HttpResponse {
    answer(&json!({ "jsonrpc": "2.0", "id": 1, "result": result }))
}

fn standing(state: &str) -> Wire {
    json!({ "id": "t-1", "contextId": "c", "status": { "state": state, "message": { "parts": [{ "text": "why" }] } } })
}

fn sent(turn: Turn) -> (u64, Wire) {
    let (wait, request) = match turn {
        Turn::Send(request) => (0, request),
        Turn::Later(wait, request) => (wait, request),
        Turn::Done(outcome) => panic!("{outcome:?}"),
    };
    assert_eq!(
        request.headers.iter().filter(|(name, value)| name == "a2a-version" && value == "1.0").count(),
        1
    );
    (wait, serde_json::from_slice(request.body.as_deref().unwrap()).unwrap())
}

#[test]
fn an_agent_is_asked_and_looked_after() {
    let (endpoint, input) = (endpoint(), Json::trusted(r#"{"text":"to Rome","days":3}"#));
    let mut call = Dialogue::new(told(&endpoint, &input, false));
    let (_, body) = sent(call.begin());
    assert_eq!(body["method"], "SendMessage");
    let message = &body["params"]["message"];
    assert_eq!(message["parts"], json!([{ "text": "to Rome" }, { "data": { "days": 3 } }]));
    assert_eq!(
        (&message["metadata"]["skill"], &message["messageId"]),
        (&json!("plan_trip"), &message["contextId"])
    );
    let mut waits = Vec::new();
    let mut turn = call.next(&result(json!({ "task": standing("TASK_STATE_SUBMITTED") })));
    for _ in 0..11 {
        let (wait, body) = sent(turn);
        assert_eq!((&body["method"], &body["params"]["id"]), (&json!("GetTask"), &json!("t-1")));
        waits.push(wait);
        turn = call.next(&result(standing("TASK_STATE_WORKING")));
    }
    assert!(waits.is_sorted() && waits[0] == 100 && waits[10] == 30_000, "{waits:?}");
    let mut done = standing("TASK_STATE_COMPLETED");
    done["artifacts"] = json!([{ "artifactId": "a", "parts": [{ "data": { "stops": 2 } }] }]);
    assert_eq!(call.next(&result(done)), Turn::Done(Outcome::Done(Json::trusted(r#"{"stops":2}"#))));
}

/// An attempt that may not be the first one looks for what was begun.
#[test]
fn what_was_begun_is_found_again() {
    let (endpoint, input) = (endpoint(), Json::trusted(r#""to Rome""#));
    let mut first = Dialogue::new(told(&endpoint, &input, false));
    let (_, sent_first) = sent(first.begin());
    let mut again = Dialogue::new(told(&endpoint, &input, true));
    let (_, body) = sent(again.begin());
    assert_eq!(body["method"], "ListTasks");
    assert_eq!(body["params"]["contextId"], sent_first["params"]["message"]["contextId"]);
    let (_, body) = sent(again.next(&result(json!({ "tasks": [{ "id": "t-7" }] }))));
    assert_eq!((&body["method"], &body["params"]["id"]), (&json!("GetTask"), &json!("t-7")));
    // One that knows nothing of it, or keeps no list, is sent the same message again.
    for unknown in [result(json!({ "tasks": [] })), answer(&json!({ "id": 1, "error": { "code": -32601 } }))]
    {
        let mut again = Dialogue::new(told(&endpoint, &input, true));
        again.begin();
        let (_, body) = sent(again.next(&unknown));
        assert_eq!(body["params"]["message"]["messageId"], sent_first["params"]["message"]["messageId"]);
    }
}

/// Whoever has a failed step tried again does not want to be told of the same failure.
#[test]
fn what_has_failed_is_asked_once_more() {
    let (endpoint, input) = (endpoint(), Json::trusted(r#""to Rome""#));
    let mut first = Dialogue::new(told(&endpoint, &input, false));
    let (_, sent_first) = sent(first.begin());
    let first_id = sent_first["params"]["message"]["messageId"].as_str().unwrap().to_owned();
    let mut again = Dialogue::new(told(&endpoint, &input, true));
    again.begin();
    let known = json!({ "tasks": [standing("TASK_STATE_FAILED")], "totalSize": 2 });
    let (_, body) = sent(again.next(&result(known)));
    let message = &body["params"]["message"];
    assert_eq!(
        (&message["messageId"], &message["contextId"]),
        (&json!(format!("{first_id}-2")), &json!(first_id))
    );
}

#[test]
fn what_an_agent_says_has_an_end() {
    let (endpoint, input) = (endpoint(), Json::trusted(r#""to Rome""#));
    let ends = |response: HttpResponse| {
        let mut call = Dialogue::new(told(&endpoint, &input, false));
        call.begin();
        match call.next(&response) {
            Turn::Done(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    };
    let message = json!({ "message": { "role": "ROLE_AGENT", "parts": [{ "text": "by train" }] } });
    assert_eq!(ends(result(message)), Outcome::Done(Json::trusted("\"by train\"")));
    let code = |response: HttpResponse| match ends(response) {
        Outcome::Failed(failure) => (failure.code.unwrap_or_default().to_string(), failure.message),
        other => panic!("{other:?}"),
    };
    for (state, wanted) in [
        ("FAILED", "a2a_failed"),
        ("REJECTED", "a2a_rejected"),
        ("CANCELED", "a2a_cancelled"),
        ("INPUT_REQUIRED", "a2a_input_required"),
        ("AUTH_REQUIRED", "a2a_input_required"),
    ] {
        let (code, message) = code(result(json!({ "task": standing(&format!("TASK_STATE_{state}")) })));
        assert_eq!(code, wanted);
        assert!(message.ends_with(": why"), "{message}");
    }
    let refused = answer(&json!({ "id": 1, "error": { "code": -32004, "message": "no" } }));
    assert_eq!(code(refused).0, "a2a_32004");
    for body in
        [json!({}), json!([]), json!({ "result": {} }), json!({ "result": { "task": { "status": {} } } })]
    {
        assert!(
            matches!(ends(answer(&body)), Outcome::Failed(failure) if failure.kind == FailureKind::InvalidOutput)
        );
    }
    let busy = HttpResponse { status: 503, ..answer(&json!({})) };
    assert!(matches!(ends(busy), Outcome::Failed(failure) if failure.retryable));
}

#[test]
fn a_card_makes_a_connector() {
    let card = json!({
        "name": "Trips", "version": "3.1.0", "description": "Plans.",
        "supportedInterfaces": [
            { "url": "https://agent.example/grpc", "protocolBinding": "GRPC", "protocolVersion": "1.0" },
            { "url": "https://agent.example/rpc/", "protocolBinding": "JSONRPC", "protocolVersion": "1.0" },
        ],
        "skills": [
            { "id": "plan_trip", "name": "Plan a trip", "description": "Plans one.", "tags": [] },
            { "id": "planTrip", "name": "Again", "description": "", "tags": [] },
        ],
    });
    let found = import(&card, "planner").unwrap();
    assert_eq!(
        (&found.document["baseUrl"], &found.document["version"]),
        (&json!("https://agent.example/rpc/"), &json!("3.1.0"))
    );
    assert_eq!(found.document["endpoints"]["plan-trip"]["skill"], "plan_trip");
    assert_eq!(found.left_out.len(), 1);
    let connector = Connector::read(&found.document.to_string(), &Limits::default()).unwrap();
    assert_eq!(connector.tools[0].metadata.reference(), "tool:planner/plan-trip");
    let older = json!({ "name": "Old", "url": "https://agent.example", "protocolVersion": "0.3" });
    assert!(import(&older, "old").is_err());
}

#[test]
fn a_document_speaks_one_protocol() {
    let faults = |text: &str| {
        let faults = Connector::read(text, &Limits::default()).unwrap_err();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert!(faults(&DOCUMENT.replace("a2a: \"1.0\"", "a2a: \"0.3\"")).contains("`\"1.0\"`"));
    assert!(
        faults(&DOCUMENT.replace("a2a: \"1.0\"", "a2a: \"1.0\"\nmcp: \"2026-07-28\""))
            .contains("leave one out")
    );
}
